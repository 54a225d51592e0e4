//! Telegram's text and entities. Offsets count UTF-16 units and come from far away: one that lies in the middle of a sign is moved
//! to its edge, one beyond the end ends there. Of two links, code stretches, quotes or pictures that overlap the first counts, as
//! Telegram itself has it; styles may overlap as they like.

use std::sync::Arc;

use crate::{
    spans,
    telegram::{Entity, EntityKind},
    tree::{Block, Document, Emoji, Piece, Platform, Span, Style},
};

/// Reads a text with its entities.
#[must_use]
pub fn telegram(text: &str, entities: &[Entity]) -> Document {
    let placed = placed(text, entities);
    let tracks = Tracks::of(&placed, text);
    let mut cuts: Vec<usize> = placed.iter().flat_map(|(start, end, _)| [*start, *end]).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.dedup();

    let mut styles = Sweep::styles(&placed);
    let mut sink = Sink::default();
    let (mut quote, mut pre, mut code, mut link, mut emoji) = (
        Walk::new(&tracks.quotes),
        Walk::new(&tracks.pres),
        Walk::new(&tracks.codes),
        Walk::new(&tracks.links),
        Walk::new(&tracks.emoji),
    );
    for pair in cuts.windows(2) {
        let &[start, end] = pair else { continue };
        let Some(part) = text.get(start..end) else { continue };
        sink.enter_quote(quote.at(start).map(|(nth, expandable)| (nth, *expandable)));
        let mut style = styles.at(start);
        if let Some((nth, language)) = pre.at(start) {
            sink.code(nth, language, part);
            continue;
        }
        if code.at(start).is_some() {
            style |= Style::CODE;
        }
        let link = link.at(start).map(|(_, link)| Arc::clone(link));
        match emoji.at(start) {
            // Only as a whole; cut by another entity it is the sign that it stands for.
            Some((_, (id, whole))) if *whole == (start, end) && !part.contains('\n') => sink.span(Span {
                piece: Piece::Emoji(Emoji {
                    platform: Platform::Telegram,
                    id: id.clone(),
                    text: part.to_owned(),
                    animated: false,
                }),
                style,
                link,
            }),
            _ => sink.text(part, style, link.as_ref()),
        }
    }
    sink.finish()
}

type Placed<'a> = (usize, usize, &'a EntityKind);

/// Entities with byte offsets, without empty ones; longer before shorter where they begin together.
fn placed<'a>(text: &str, entities: &'a [Entity]) -> Vec<Placed<'a>> {
    let mut wanted: Vec<usize> =
        entities.iter().flat_map(|entity| [entity.offset, entity.offset.saturating_add(entity.length)]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    // One walk over the text for all of them. A place inside of a sign is both the sign's start and its end.
    let mut found: Vec<(usize, usize)> = Vec::with_capacity(wanted.len());
    let mut wanted_from = wanted.iter().peekable();
    let mut units = 0;
    for (at, sign) in text.char_indices() {
        let next = units + sign.len_utf16();
        while let Some(unit) = wanted_from.next_if(|unit| **unit < next) {
            let end = if *unit == units { at } else { at + sign.len_utf8() };
            found.push((at, end));
        }
        units = next;
    }
    found.resize(wanted.len(), (text.len(), text.len()));
    let place = |unit: usize| wanted.binary_search(&unit).ok().and_then(|nth| found.get(nth)).copied();
    let mut placed: Vec<Placed<'a>> = entities
        .iter()
        .filter_map(|entity| {
            let (start, _) = place(entity.offset)?;
            let (_, end) = place(entity.offset.saturating_add(entity.length))?;
            (entity.length > 0 && start < end).then_some((start, end, &entity.kind))
        })
        .collect();
    placed.sort_by_key(|(start, end, _)| (*start, usize::MAX - end));
    placed
}

/// Stretches of one kind that do not overlap.
type Track<T> = Vec<(usize, usize, T)>;

#[derive(Default)]
struct Tracks {
    quotes: Track<bool>,
    pres: Track<String>,
    codes: Track<()>,
    links: Track<Arc<str>>,
    emoji: Track<(String, (usize, usize))>,
}

impl Tracks {
    fn of(placed: &[Placed<'_>], text: &str) -> Self {
        fn add<T>(track: &mut Track<T>, start: usize, end: usize, what: T) {
            if track.last().is_none_or(|(_, before, _)| *before <= start) {
                track.push((start, end, what));
            }
        }
        let mut tracks = Self::default();
        for (start, end, kind) in placed {
            let (start, end) = (*start, *end);
            let shown = text.get(start..end).unwrap_or_default();
            match kind {
                EntityKind::Blockquote => add(&mut tracks.quotes, start, end, false),
                EntityKind::ExpandableBlockquote => add(&mut tracks.quotes, start, end, true),
                EntityKind::Pre { language } => add(&mut tracks.pres, start, end, language.clone()),
                EntityKind::Code => add(&mut tracks.codes, start, end, ()),
                EntityKind::TextLink { url } => add(&mut tracks.links, start, end, url.as_str().into()),
                EntityKind::TextMention { user } => {
                    add(&mut tracks.links, start, end, format!("tg://user?id={user}").into());
                }
                EntityKind::Url => {
                    let prefix =
                        if crate::links::scheme(shown).is_some() && shown.contains("://") { "" } else { "https://" };
                    add(&mut tracks.links, start, end, format!("{prefix}{shown}").into());
                }
                EntityKind::Email => add(&mut tracks.links, start, end, format!("mailto:{shown}").into()),
                EntityKind::CustomEmoji { id } => add(&mut tracks.emoji, start, end, (id.clone(), (start, end))),
                _ => {}
            }
        }
        tracks
    }
}

/// A walk along a track from left to right.
struct Walk<'a, T> {
    track: &'a Track<T>,
    next: usize,
}

impl<'a, T> Walk<'a, T> {
    fn new(track: &'a Track<T>) -> Self {
        Self { track, next: 0 }
    }

    /// What stands there, and the how-manieth it is.
    fn at(&mut self, at: usize) -> Option<(usize, &'a T)> {
        while let Some((start, end, what)) = self.track.get(self.next) {
            if *end > at {
                return (*start <= at).then_some((self.next, what));
            }
            self.next += 1;
        }
        None
    }
}

/// How many of each style are open, from left to right.
struct Sweep {
    /// Where, which, and whether it opens.
    changes: Vec<(usize, Style, bool)>,
    next: usize,
    open: [(Style, usize); 5],
}

impl Sweep {
    fn styles(placed: &[Placed<'_>]) -> Self {
        let mut changes = Vec::new();
        for (start, end, kind) in placed {
            let style = match kind {
                EntityKind::Bold => Style::BOLD,
                EntityKind::Italic => Style::ITALIC,
                EntityKind::Underline => Style::UNDERLINE,
                EntityKind::Strikethrough => Style::STRIKE,
                EntityKind::Spoiler => Style::SPOILER,
                _ => continue,
            };
            changes.extend([(*start, style, true), (*end, style, false)]);
        }
        changes.sort_by_key(|(at, _, _)| *at);
        let open =
            [Style::BOLD, Style::ITALIC, Style::UNDERLINE, Style::STRIKE, Style::SPOILER].map(|style| (style, 0));
        Self { changes, next: 0, open }
    }

    fn at(&mut self, at: usize) -> Style {
        while let Some((_, style, opens)) = self.changes.get(self.next).filter(|(from, _, _)| *from <= at) {
            for (_, count) in self.open.iter_mut().filter(|(of, _)| of == style) {
                *count = if *opens { *count + 1 } else { count.saturating_sub(1) };
            }
            self.next += 1;
        }
        self.open.iter().filter(|(_, count)| *count > 0).fold(Style::NONE, |all, (style, _)| all | *style)
    }
}

/// Gathers paragraphs and code, inside and outside of quotes.
#[derive(Default)]
struct Sink {
    done: Vec<Block>,
    /// The quote that is open: which, whether expandable, and what it holds.
    quote: Option<(usize, bool, Vec<Block>)>,
    row: Vec<Span>,
    /// Line ends since the last word.
    line_ends: usize,
    code: Option<(usize, String, String)>,
}

impl Sink {
    fn enter_quote(&mut self, quote: Option<(usize, bool)>) {
        if self.quote.as_ref().map(|(nth, _, _)| *nth) == quote.map(|(nth, _)| nth) {
            return;
        }
        self.end_block();
        if let Some((_, expandable, blocks)) = self.quote.take()
            && !blocks.is_empty()
        {
            self.done.push(Block::Quote { expandable, blocks });
        }
        self.quote = quote.map(|(nth, expandable)| (nth, expandable, Vec::new()));
    }

    fn code(&mut self, nth: usize, language: &str, part: &str) {
        match &mut self.code {
            Some((open, _, text)) if *open == nth => text.push_str(part),
            _ => {
                self.end_block();
                self.code = Some((nth, language.to_owned(), part.to_owned()));
            }
        }
    }

    fn text(&mut self, part: &str, style: Style, link: Option<&Arc<str>>) {
        for (nth, line) in part.split('\n').enumerate() {
            if nth > 0 {
                if self.code.is_some() {
                    self.end_block();
                }
                self.line_ends += 1;
            }
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.is_empty() {
                self.span(Span { piece: Piece::Text(line.to_owned()), style, link: link.cloned() });
            }
        }
    }

    fn span(&mut self, span: Span) {
        if self.code.is_some() || self.line_ends > 1 {
            self.end_block();
        } else if self.line_ends == 1 && !self.row.is_empty() {
            self.row.push(Span::of(Piece::Break));
        }
        self.line_ends = 0;
        spans::push(&mut self.row, span);
    }

    fn end_block(&mut self) {
        self.line_ends = 0;
        let blocks = match &mut self.quote {
            Some((_, _, blocks)) => blocks,
            None => &mut self.done,
        };
        if let Some((_, language, text)) = self.code.take() {
            let text = text.replace('\r', "");
            blocks.push(Block::Code { language, text: text.strip_suffix('\n').unwrap_or(&text).to_owned() });
        }
        let row = spans::regular(std::mem::take(&mut self.row));
        if row.iter().any(|span| !span.visible().trim().is_empty()) {
            blocks.push(Block::Paragraph(row));
        }
    }

    fn finish(mut self) -> Document {
        self.enter_quote(None);
        self.end_block();
        Document { blocks: self.done }
    }
}
