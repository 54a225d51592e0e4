//! Rows of spans: made regular, cut, and nested for channels whose markup nests.

use std::{mem, sync::Arc};

use crate::tree::{Piece, Span, Style};

/// The styles that a writer may set as markup around text.
pub(crate) const MARKUP: Style =
    Style::BOLD.with(Style::ITALIC).with(Style::UNDERLINE).with(Style::STRIKE).with(Style::SPOILER);

/// Appends a span, joined to the last one when they look the same. Line ends inside of words become breaks.
pub(crate) fn push(row: &mut Vec<Span>, span: Span) {
    let Piece::Text(text) = &span.piece else {
        row.push(span);
        return;
    };
    if text.contains(['\n', '\r']) {
        for (nth, line) in text.split('\n').enumerate() {
            if nth > 0 {
                row.push(Span { piece: Piece::Break, style: Style::NONE, link: None });
            }
            let line = line.replace('\r', "");
            push(row, Span { piece: Piece::Text(line), style: span.style, link: span.link.clone() });
        }
        return;
    }
    if text.is_empty() {
        return;
    }
    if let Some(last) = row.last_mut()
        && last.style == span.style
        && same_link(last.link.as_ref(), span.link.as_ref())
        && let Piece::Text(before) = &mut last.piece
    {
        before.push_str(text);
        return;
    }
    row.push(span);
}

/// Joined where neighbours look the same, without breaks at either end, breaks without style and without spaces before
/// them, no more than two in a row.
#[must_use]
pub(crate) fn regular(row: Vec<Span>) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::with_capacity(row.len());
    for mut span in row {
        // No character, and the reader of Markdown has a use for it.
        if let Piece::Text(text) = &mut span.piece
            && text.contains('\u{ffff}')
        {
            *text = text.replace('\u{ffff}', "");
        }
        if span.is_break() {
            if out.is_empty() || out.len() > 1 && out.iter().rev().take(2).all(Span::is_break) {
                continue;
            }
            span.style = Style::NONE;
            span.link = None;
            trim_line_end(&mut out, Style::CODE);
        }
        push(&mut out, span);
    }
    while out.last().is_some_and(Span::is_break) {
        out.pop();
    }
    out
}

/// Takes spaces away at the end, but not from spans of the style `kept`.
pub(crate) fn trim_line_end(row: &mut Vec<Span>, kept: Style) {
    while let Some(last) = row.last_mut()
        && let Piece::Text(text) = &mut last.piece
        && (kept.is_none() || !last.style.has(kept))
    {
        text.truncate(text.trim_end_matches([' ', '\t']).len());
        if !text.is_empty() {
            break;
        }
        row.pop();
    }
}

pub(crate) fn same_link(one: Option<&Arc<str>>, other: Option<&Arc<str>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        (None, None) => true,
        _ => false,
    }
}

/// With white space at the edges of each style and link set free of it: markup cannot begin or end there. A break in the
/// middle carries what stands on both its sides. Spaces at the ends of lines go.
#[must_use]
pub(crate) fn tidy(row: &[Span]) -> Vec<Span> {
    tidy_around(row, Style::CODE)
}

/// The same, without touching white space in spans of the style `kept`.
#[must_use]
pub(crate) fn tidy_around(row: &[Span], kept: Style) -> Vec<Span> {
    let mut pieces: Vec<Span> = Vec::with_capacity(row.len() + 8);
    for span in row {
        let Piece::Text(text) = &span.piece else {
            pieces.push(span.clone());
            continue;
        };
        let is_kept = !kept.is_none() && span.style.has(kept);
        if is_kept || (span.style.is_none() && span.link.is_none()) {
            pieces.push(span.clone());
            continue;
        }
        let start = text.len() - text.trim_start().len();
        let end = text.trim_end().len().max(start);
        for part in [text.get(..start), text.get(start..end), text.get(end..)].into_iter().flatten() {
            if !part.is_empty() {
                pieces.push(Span { piece: Piece::Text(part.to_owned()), style: span.style, link: span.link.clone() });
            }
        }
    }
    spread_over_blanks(&mut pieces, kept);
    let mut out: Vec<Span> = Vec::with_capacity(pieces.len());
    for span in pieces {
        if span.is_break() {
            trim_line_end(&mut out, kept);
            if out.is_empty() {
                continue;
            }
        }
        // A styled blank stays a span of its own, so that markup can begin after it and end before it.
        let after_blank = out.last().is_some_and(|last| !last.style.is_none() && is_blank(last, kept));
        if after_blank || (!span.style.is_none() && is_blank(&span, kept)) {
            out.push(span);
        } else {
            push(&mut out, span);
        }
    }
    while out.last().is_some_and(Span::is_break) {
        out.pop();
    }
    out
}

/// A blank (white space, a break) has the styles and the link that both the last word before it and the next one have.
fn spread_over_blanks(pieces: &mut [Span], kept: Style) {
    let mut before: (Style, Option<Arc<str>>) = (Style::NONE, None);
    let mut blanks_from = None;
    for at in 0..=pieces.len() {
        let now = pieces.get(at).map(|span| (is_blank(span, kept), span.style, span.link.clone()));
        match now {
            Some((true, _, _)) => {
                blanks_from.get_or_insert(at);
            }
            Some((false, style, link)) => {
                if let Some(from) = blanks_from.take() {
                    let common = before.0.only(style).without(Style::CODE.with(Style::IMAGE));
                    let link_goes_on = before.1.is_some() && same_link(before.1.as_ref(), link.as_ref());
                    for blank in pieces.get_mut(from..at).unwrap_or_default() {
                        // A space that was set apart from what it stands between stays so.
                        let had_link = blank.is_break() || blank.link.is_some();
                        blank.style = if blank.is_break() { common } else { common.only(blank.style) };
                        blank.link = if link_goes_on && had_link { before.1.clone() } else { None };
                    }
                }
                before = (style, link);
            }
            None => {
                for blank in blanks_from.and_then(|from| pieces.get_mut(from..)).unwrap_or_default() {
                    blank.style = Style::NONE;
                    blank.link = None;
                }
            }
        }
    }
}

fn is_blank(span: &Span, kept: Style) -> bool {
    match &span.piece {
        Piece::Break | Piece::SoftBreak => true,
        Piece::Text(text) => (kept.is_none() || !span.style.has(kept)) && text.chars().all(char::is_whitespace),
        _ => false,
    }
}

/// With each break in the middle of a style carrying it, for writers that keep white space as it is.
#[must_use]
pub(crate) fn with_styled_breaks(row: &[Span]) -> Vec<Span> {
    let mut out = row.to_vec();
    for at in 1..out.len().saturating_sub(1) {
        let around = (out.get(at - 1).cloned(), out.get(at + 1).cloned());
        if let ((Some(before), Some(after)), Some(span)) = (around, out.get_mut(at))
            && span.is_break()
        {
            span.style = before.style.only(after.style).without(Style::CODE.with(Style::IMAGE));
            span.link = before.link.filter(|link| same_link(Some(link), after.link.as_ref()));
        }
    }
    out
}

/// What markup is set around a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag<'a> {
    /// One style; of [`MARKUP`], or code.
    Style(Style),
    /// A link to there.
    Link(&'a Arc<str>),
}

/// Spans nested again.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Leaf(&'a Span),
    Tagged(Tag<'a>, Vec<Node<'a>>),
}

/// Nests a row: what reaches furthest is outermost, a link is not cut by a style that ends in it, code is innermost.
/// The depth is bounded by the number of styles.
pub(crate) fn nest(row: &[Span]) -> Vec<Node<'_>> {
    nest_within(row, Style::NONE, false)
}

fn nest_within<'a>(row: &'a [Span], open: Style, in_link: bool) -> Vec<Node<'a>> {
    let mut nodes = Vec::new();
    let mut rest = row;
    while let Some(first) = rest.first() {
        if is_blank(first, Style::CODE) {
            nodes.push(Node::Leaf(first));
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let todo = first.style.only(MARKUP).without(open);
        let mut best: Option<(Tag<'a>, usize)> = None;
        if let (false, Some(link)) = (in_link, &first.link) {
            let reach = rest.iter().take_while(|span| same_link(span.link.as_ref(), Some(link))).count();
            best = Some((Tag::Link(link), reach));
        }
        for style in [Style::SPOILER, Style::BOLD, Style::ITALIC, Style::UNDERLINE, Style::STRIKE] {
            if !todo.has(style) {
                continue;
            }
            let mut reach = rest.iter().take_while(|span| span.style.has(style)).count();
            if !in_link {
                reach = before_cut_link(rest, reach);
            }
            if reach > best.map_or(0, |(_, best)| best) {
                best = Some((Tag::Style(style), reach));
            }
        }
        let (node, reach) = match best {
            Some((tag, reach)) => {
                let blanks = rest.iter().take(reach).rev().take_while(|span| is_blank(span, Style::CODE)).count();
                let reach = reach - blanks;
                let (inside, _) = rest.split_at_checked(reach).unwrap_or((rest, &[]));
                let inner = match tag {
                    Tag::Style(style) => nest_within(inside, open.with(style), in_link),
                    Tag::Link(_) => nest_within(inside, open, true),
                };
                (Node::Tagged(tag, inner), reach)
            }
            None if first.style.has(Style::CODE) => {
                let plain_code = |span: &&Span| {
                    span.style.has(Style::CODE)
                        && span.style.only(MARKUP).without(open).is_none()
                        && (in_link || span.link.is_none())
                };
                let reach = rest.iter().take_while(plain_code).count();
                let leaves = rest.iter().take(reach).map(Node::Leaf).collect();
                (Node::Tagged(Tag::Style(Style::CODE), leaves), reach)
            }
            None => (Node::Leaf(first), 1),
        };
        nodes.push(node);
        rest = rest.get(reach.max(1)..).unwrap_or_default();
    }
    nodes
}

/// The reach of a style, drawn back to where a link begins that goes on beyond it.
fn before_cut_link(rest: &[Span], reach: usize) -> usize {
    let (Some(last), Some(next)) = (reach.checked_sub(1).and_then(|last| rest.get(last)), rest.get(reach)) else {
        return reach;
    };
    if last.link.is_none() || !same_link(last.link.as_ref(), next.link.as_ref()) {
        return reach;
    }
    let inside =
        rest.iter().take(reach).rev().take_while(|span| same_link(span.link.as_ref(), last.link.as_ref())).count();
    // Where the link begins with the style, the link reaches further and is chosen.
    if inside < reach { reach - inside } else { reach }
}

/// The first `at` bytes of visible text, which must end between two signs. A piece that cannot be cut is there as a whole.
pub(crate) fn cut(row: &[Span], at: usize) -> Vec<Span> {
    let mut out = Vec::new();
    let mut left = at;
    for span in row {
        if left == 0 {
            break;
        }
        let length = span.visible().len();
        match &span.piece {
            Piece::Text(text) if length > left => {
                let head = text.get(..text.floor_char_boundary(left)).unwrap_or_default();
                out.push(Span { piece: Piece::Text(head.to_owned()), style: span.style, link: span.link.clone() });
            }
            _ => out.push(span.clone()),
        }
        left = left.saturating_sub(length);
    }
    out
}

/// All that a reader sees of it.
pub(crate) fn visible(row: &[Span]) -> String {
    row.iter().map(Span::visible).collect()
}

/// Sets a style on each span.
pub(crate) fn restyle(row: &mut [Span], style: Style) {
    for span in row.iter_mut().filter(|span| !span.is_break()) {
        span.style |= style;
    }
}

/// With links found in words that carry none.
pub(crate) fn with_links_found(row: &mut Vec<Span>) {
    for span in mem::take(row) {
        let Piece::Text(text) = &span.piece else {
            row.push(span);
            continue;
        };
        if span.link.is_some() || span.style.has(Style::CODE) {
            row.push(span);
            continue;
        }
        let mut from = 0;
        let of = |part: Option<&str>, link: Option<Arc<str>>| Span {
            piece: Piece::Text(part.unwrap_or_default().to_owned()),
            style: span.style,
            link,
        };
        for found in crate::links::find(text) {
            push(row, of(text.get(from..found.start), None));
            push(row, of(Some(found.text), Some(format!("{}{}", found.prefix, found.text).into())));
            from = found.start + found.text.len();
        }
        push(row, of(text.get(from..), None));
    }
}
