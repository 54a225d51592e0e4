//! CommonMark with strike-through, tables and footnotes as GitHub has them, and `||spoiler||`.
//!
//! HTML in Markdown is text, as written: whoever answers writes Markdown, and what he quotes must not turn into markup. Two tags
//! stand for what Markdown has no sign for: `<u>…</u>` (or `<ins>`) and `<br>`.

use std::{ops::Range, sync::Arc};

use pulldown_cmark::{Alignment, CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd};

use super::build::{Builder, Kind};
use crate::{
    spans,
    tree::{Block, Column, Document, Piece, Span, Style, Table},
};

/// Stands for two bars that open or close a spoiler until the paragraph is whole: a sign that no text may hold.
const BARS: &str = "\u{FFFF}";

/// What a span may be in Markdown, beside code and hidden.
const STYLES: [Style; 5] = [Style::BOLD, Style::ITALIC, Style::STRIKE, Style::UNDERLINE, Style::IMAGE];

/// Reads Markdown.
#[must_use]
pub fn markdown(source: &str) -> Document {
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
    let mut reader = Reader {
        source,
        builder: Builder::default(),
        styles: STYLES.map(|style| (style, 0)),
        links: Vec::new(),
        code: None,
        html: None,
        filled: Vec::new(),
    };
    for (event, range) in Parser::new_ext(source, options).into_offset_iter() {
        reader.event(event, range);
    }
    reader.builder.finish()
}

struct Reader<'a> {
    source: &'a str,
    builder: Builder,
    /// How often each style is open: stars nest as deep as a stranger likes.
    styles: [(Style, usize); 5],
    /// Open links and pictures, innermost last.
    links: Vec<Arc<str>>,
    /// The code block that is open.
    code: Option<(String, String)>,
    /// The block of HTML that is open.
    html: Option<String>,
    /// For each open link and picture whether there is something in it.
    filled: Vec<bool>,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text, &range),
            Event::Code(text) => self.span(Piece::Text(text.into_string()), Style::CODE),
            Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.span(Piece::Text(text.into_string()), Style::NONE)
            }
            Event::Html(text) => match &mut self.html {
                Some(html) => html.push_str(&text),
                None => self.span(Piece::Text(text.into_string()), Style::NONE),
            },
            Event::InlineHtml(tag) => self.tag(&tag),
            Event::FootnoteReference(label) => self.span(Piece::Note(label.into_string()), Style::NONE),
            Event::SoftBreak => self.span(Piece::SoftBreak, Style::NONE),
            Event::HardBreak => self.span(Piece::Break, Style::NONE),
            Event::Rule => {
                self.end_block(Kind::Paragraph);
                self.builder.block(Block::Rule);
            }
            Event::TaskListMarker(done) => {
                self.span(Piece::Text(if done { "[x] " } else { "[ ] " }.to_owned()), Style::NONE);
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => {
                self.end_block(Kind::Paragraph);
                self.builder.loosen();
            }
            Tag::Heading { .. } => self.end_block(Kind::Paragraph),
            Tag::BlockQuote(_) => {
                self.end_block(Kind::Paragraph);
                self.builder.open_quote();
            }
            Tag::CodeBlock(kind) => {
                self.end_block(Kind::Paragraph);
                let language = match kind {
                    CodeBlockKind::Fenced(info) => info.split_whitespace().next().unwrap_or_default().to_owned(),
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((language, String::new()));
            }
            Tag::HtmlBlock => {
                self.end_block(Kind::Paragraph);
                self.html = Some(String::new());
            }
            Tag::List(start) => {
                self.end_block(Kind::Paragraph);
                self.builder.open_list(start);
            }
            Tag::Item => {
                self.end_block(Kind::Paragraph);
                self.builder.open_item();
            }
            Tag::FootnoteDefinition(label) => {
                self.end_block(Kind::Paragraph);
                self.builder.open_note(label.into_string());
            }
            Tag::Table(columns) => {
                self.end_block(Kind::Paragraph);
                let columns = columns.into_iter().map(column).collect();
                self.builder.open_table(Table { columns, ..Table::default() });
            }
            Tag::Emphasis => self.style(Style::ITALIC),
            Tag::Strong => self.style(Style::BOLD),
            Tag::Strikethrough => self.style(Style::STRIKE),
            Tag::Link { link_type, dest_url, .. } => {
                self.links.push(address(link_type, &dest_url));
                self.filled.push(false);
            }
            Tag::Image { link_type, dest_url, .. } => {
                self.links.push(address(link_type, &dest_url));
                self.filled.push(false);
                self.style(Style::IMAGE);
            }
            Tag::TableHead
            | Tag::TableRow
            | Tag::TableCell
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.end_block(Kind::Paragraph),
            TagEnd::Heading(level) => self.end_block(Kind::Heading(level as u8)),
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item | TagEnd::FootnoteDefinition => {
                self.end_block(Kind::Paragraph);
                self.builder.close();
            }
            TagEnd::CodeBlock => {
                if let Some((language, mut text)) = self.code.take() {
                    if text.ends_with('\n') {
                        text.pop();
                    }
                    self.builder.block(Block::Code { language, text });
                }
            }
            TagEnd::HtmlBlock => {
                if let Some(html) = self.html.take() {
                    self.builder.span(Span::text(html.trim_end()));
                    self.builder.end_spans(Kind::Paragraph);
                }
            }
            TagEnd::TableCell => {
                spoilers(self.builder.spans_mut());
                self.builder.end_cell();
            }
            TagEnd::TableHead => self.builder.end_row(true),
            TagEnd::TableRow => self.builder.end_row(false),
            TagEnd::Table => self.builder.close_table(),
            TagEnd::Emphasis => self.unstyle(Style::ITALIC),
            TagEnd::Strong => self.unstyle(Style::BOLD),
            TagEnd::Strikethrough => self.unstyle(Style::STRIKE),
            TagEnd::Link => self.end_link(),
            TagEnd::Image => {
                self.end_link();
                self.unstyle(Style::IMAGE);
            }
            TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    /// A link that says nothing, and a picture that nobody described, are shown by their address.
    fn end_link(&mut self) {
        let is_bare = self.filled.pop().is_some_and(|filled| !filled);
        if let (true, Some(address)) = (is_bare, self.links.last().cloned())
            && !address.trim().is_empty()
        {
            self.span(Piece::Text(address.to_string()), Style::NONE);
        }
        self.links.pop();
    }

    fn end_block(&mut self, kind: Kind) {
        spoilers(self.builder.spans_mut());
        self.builder.end_spans(kind);
        self.styles = STYLES.map(|style| (style, 0));
    }

    fn text(&mut self, text: &CowStr<'_>, range: &Range<usize>) {
        if let Some((_, code)) = &mut self.code {
            code.push_str(text);
            return;
        }
        let written = self.source.get(range.clone()) == Some(text);
        // What follows a tag that ends a line begins one.
        let begins_line = range.start > 0 && self.builder.spans_mut().last().is_some_and(Span::is_break);
        if begins_line && text.starts_with(' ') && written {
            let kept = text.trim_start_matches(' ');
            let start = range.end - kept.len();
            return self.text(&CowStr::from(kept.to_owned()), &(start..range.end));
        }
        if !written || !text.contains('|') {
            self.span(Piece::Text(text.replace(BARS, "")), Style::NONE);
            return;
        }
        // An escaped bar is the first of its text, and the backslash stands right before it.
        let escaped =
            text.starts_with('|') && self.source.get(..range.start).is_some_and(|before| before.ends_with('\\'));
        let (literal, rest) = text.split_at(usize::from(escaped));
        self.span(Piece::Text(literal.to_owned()), Style::NONE);
        // Two bars are a sign, one or three and more are bars.
        let mut rest = rest;
        while let Some(at) = rest.find('|') {
            let (before, from) = rest.split_at(at);
            let count = from.len() - from.trim_start_matches('|').len();
            let (bars, after) = from.split_at(count);
            self.span(Piece::Text(before.replace(BARS, "")), Style::NONE);
            self.span(Piece::Text(if count == 2 { BARS.to_owned() } else { bars.to_owned() }), Style::NONE);
            rest = after;
        }
        self.span(Piece::Text(rest.replace(BARS, "")), Style::NONE);
    }

    /// A tag of HTML between words.
    fn tag(&mut self, tag: &str) {
        match tag {
            "<br>" | "<br/>" | "<br />" => self.span(Piece::Break, Style::NONE),
            "<u>" | "<ins>" => self.style(Style::UNDERLINE),
            "</u>" | "</ins>" if self.open_style().has(Style::UNDERLINE) => self.unstyle(Style::UNDERLINE),
            _ => self.span(Piece::Text(tag.to_owned()), Style::NONE),
        }
    }

    fn style(&mut self, style: Style) {
        for (_, count) in self.styles.iter_mut().filter(|(of, _)| *of == style) {
            *count += 1;
        }
    }

    fn unstyle(&mut self, style: Style) {
        for (_, count) in self.styles.iter_mut().filter(|(of, _)| *of == style) {
            *count = count.saturating_sub(1);
        }
    }

    fn open_style(&self) -> Style {
        self.styles.iter().filter(|(_, count)| *count > 0).fold(Style::NONE, |all, (style, _)| all | *style)
    }

    fn span(&mut self, piece: Piece, style: Style) {
        let style = style | self.open_style();
        // A picture inside of a link leads where the link leads.
        let link = self.links.first().cloned();
        if !matches!(&piece, Piece::Text(text) if text.is_empty()) {
            self.filled.iter_mut().for_each(|filled| *filled = true);
        }
        self.builder.span(Span { piece, style, link });
    }
}

fn address(link_type: LinkType, dest: &str) -> Arc<str> {
    match link_type {
        LinkType::Email if !dest.starts_with("mailto:") => format!("mailto:{dest}").into(),
        _ => dest.into(),
    }
}

fn column(alignment: Alignment) -> Column {
    match alignment {
        Alignment::None => Column::Unsaid,
        Alignment::Left => Column::Left,
        Alignment::Center => Column::Center,
        Alignment::Right => Column::Right,
    }
}

/// Turns pairs of [`BARS`] with something between them into the style; one that is left alone is two bars, and so are those that
/// white space sets apart from what they would hide (`a || b`).
fn spoilers(row: &mut Vec<Span>) {
    let holds = |span: &Span| matches!(&span.piece, Piece::Text(text) if text.contains(BARS));
    if !row.iter().any(holds) {
        return;
    }
    // Cut at the signs, each sign a span of its own.
    let mut pieces: Vec<(bool, Span)> = Vec::new();
    for span in std::mem::take(row) {
        let Piece::Text(text) = &span.piece else {
            pieces.push((false, span));
            continue;
        };
        for (nth, part) in text.split(BARS).enumerate() {
            let of =
                |text: &str| Span { piece: Piece::Text(text.to_owned()), style: span.style, link: span.link.clone() };
            if nth > 0 {
                pieces.push((true, of("||")));
            }
            if !part.is_empty() {
                pieces.push((false, of(part)));
            }
        }
    }
    let is_blank = |at: Option<usize>, edge: fn(&str) -> Option<char>| {
        at.and_then(|at| pieces.get(at)).is_none_or(|(_, span)| match &span.piece {
            Piece::Text(text) => edge(text).is_none_or(char::is_whitespace),
            piece => matches!(piece, Piece::Break | Piece::SoftBreak),
        })
    };
    let may_open: Vec<bool> = (0..pieces.len()).map(|at| !is_blank(Some(at + 1), |text| text.chars().next())).collect();
    let may_close: Vec<bool> =
        (0..pieces.len()).map(|at| !is_blank(at.checked_sub(1), |text| text.chars().next_back())).collect();
    let may = |which: &[bool], at: usize| which.get(at).copied().unwrap_or_default();
    let mut opened: Option<usize> = None;
    let mut is_sign = vec![false; pieces.len()];
    for at in 0..pieces.len() {
        if !pieces.get(at).is_some_and(|(sign, _)| *sign) {
            continue;
        }
        match opened {
            Some(from) if at > from + 1 && may(&may_close, at) => {
                for (_, span) in pieces.get_mut(from + 1..at).unwrap_or_default() {
                    span.style |= Style::SPOILER;
                }
                for sign in [from, at] {
                    if let Some(is_sign) = is_sign.get_mut(sign) {
                        *is_sign = true;
                    }
                }
                opened = None;
            }
            _ if may(&may_open, at) => opened = Some(at),
            _ => {}
        }
    }
    for ((_, span), is_sign) in pieces.into_iter().zip(is_sign) {
        if !is_sign {
            spans::push(row, span);
        }
    }
}
