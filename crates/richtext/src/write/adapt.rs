//! What a channel has no form for, put into a form that it has: tables, headings, pictures, notes, rules, quotes in quotes.
//! From tree to tree, before anything is written or cut.

use super::{Degraded, Loss, table};
use crate::{
    rules::Markup,
    spans,
    tree::{Block, Document, List, Piece, Span, Style},
};

/// What stands for a line across.
const DASHES: &str = "———";

/// The tree with what the channel has a form for.
pub(crate) fn adapt(document: &Document, markup: Markup, degraded: &mut Degraded) -> Document {
    let mut adapter = Adapter { markup, degraded };
    Document { blocks: adapter.blocks(&document.blocks, Place::default()) }
}

#[derive(Clone, Copy, Default)]
struct Place {
    in_quote: bool,
    in_list: bool,
}

struct Adapter<'a> {
    markup: Markup,
    degraded: &'a mut Degraded,
}

impl Adapter<'_> {
    fn blocks(&mut self, blocks: &[Block], place: Place) -> Vec<Block> {
        let mut out = Vec::with_capacity(blocks.len());
        for block in blocks {
            self.block(block, place, &mut out);
        }
        out
    }

    fn block(&mut self, block: &Block, place: Place, out: &mut Vec<Block>) {
        let is_chat = matches!(self.markup, Markup::Telegram | Markup::Discord);
        match block {
            Block::Paragraph(row) => {
                let row = self.row(row);
                if !row.is_empty() {
                    out.push(Block::Paragraph(row));
                }
            }
            Block::Heading { level, content } => {
                let mut content = self.row(content);
                let has_it = match self.markup {
                    Markup::Telegram => false,
                    Markup::Discord => *level <= 3,
                    Markup::Html(_) | Markup::Markdown | Markup::Plain => true,
                };
                if content.is_empty() {
                    // Nothing to be seen.
                } else if has_it {
                    out.push(Block::Heading { level: *level, content });
                } else {
                    self.degraded.note(Loss::Headings);
                    // Code is set off from a heading by itself, and could not be both on Telegram.
                    let code_is_bold = !matches!(self.markup, Markup::Telegram);
                    for span in content.iter_mut().filter(|span| code_is_bold || !span.style.has(Style::CODE)) {
                        span.style |= Style::BOLD;
                    }
                    out.push(Block::Paragraph(content));
                }
            }
            Block::List(list) => {
                if place.in_list && matches!(self.markup, Markup::Telegram) {
                    self.degraded.note(Loss::NestedLists);
                }
                let inner = Place { in_list: true, ..place };
                let items = list.items.iter().map(|item| self.blocks(item, inner)).collect();
                out.push(Block::List(List { start: list.start, tight: list.tight, items }));
            }
            Block::Quote { expandable, blocks } => {
                let nests = place.in_quote || (place.in_list && matches!(self.markup, Markup::Discord));
                let inner = Place { in_quote: true, ..place };
                let blocks = self.blocks(blocks, inner);
                if is_chat && nests {
                    self.degraded.note(Loss::NestedQuotes);
                    out.extend(blocks);
                } else {
                    out.push(Block::Quote { expandable: *expandable, blocks });
                }
            }
            Block::Table(inner) => {
                let has_it = match self.markup {
                    Markup::Markdown => true,
                    Markup::Html(rules) => rules.tables,
                    Markup::Telegram | Markup::Discord | Markup::Plain => false,
                };
                if has_it {
                    let mut kept = inner.clone();
                    for cell in kept.head.iter_mut().chain(kept.rows.iter_mut().flatten()) {
                        *cell = self.row(cell);
                    }
                    out.push(Block::Table(kept));
                } else {
                    self.degraded.note(Loss::Tables);
                    out.push(Block::Code { language: String::new(), text: table::aligned(inner) });
                }
            }
            Block::Rule => {
                let has_it = match self.markup {
                    Markup::Markdown => true,
                    Markup::Html(rules) => rules.rules,
                    Markup::Telegram | Markup::Discord | Markup::Plain => false,
                };
                if has_it {
                    out.push(Block::Rule);
                } else {
                    self.degraded.note(Loss::Rules);
                    out.push(Block::Paragraph(vec![Span::text(DASHES)]));
                }
            }
            Block::Note { label, blocks } if matches!(self.markup, Markup::Markdown) => {
                out.push(Block::Note { label: label.clone(), blocks: self.blocks(blocks, place) });
            }
            Block::Note { label, blocks } => {
                self.degraded.note(Loss::Footnotes);
                let mut blocks = self.blocks(blocks, place);
                let mark = Span::text(format!("[{label}] "));
                if let Some(Block::Paragraph(row)) = blocks.first_mut() {
                    row.insert(0, mark);
                } else {
                    blocks.insert(0, Block::Paragraph(vec![mark]));
                }
                out.extend(blocks);
            }
            // A frame around nothing is nothing to a chat.
            Block::Code { text, .. } if is_chat && text.trim().is_empty() => {}
            Block::Code { .. } => out.push(block.clone()),
        }
    }

    fn row(&mut self, row: &[Span]) -> Vec<Span> {
        let mut out = Vec::with_capacity(row.len());
        for span in row {
            let mut span = span.clone();
            if span.style.has(Style::IMAGE) && !matches!(self.markup, Markup::Markdown) {
                self.degraded.note(Loss::Images);
                span.style = span.style.without(Style::IMAGE);
            }
            match &span.piece {
                Piece::Note(_) if !matches!(self.markup, Markup::Markdown) => {
                    self.degraded.note(Loss::Footnotes);
                    span.piece = Piece::Text(span.visible().into_owned());
                }
                Piece::Mention(_) if !matches!(self.markup, Markup::Discord) => {
                    self.degraded.note(Loss::Mentions);
                    span.piece = Piece::Text(span.visible().into_owned());
                }
                Piece::Time(_) if !matches!(self.markup, Markup::Discord) => {
                    span.piece = Piece::Text(span.visible().into_owned());
                }
                Piece::Emoji(emoji) => {
                    let own = match self.markup {
                        Markup::Telegram => emoji.platform == crate::tree::Platform::Telegram,
                        Markup::Discord => emoji.platform == crate::tree::Platform::Discord,
                        _ => false,
                    };
                    if !own {
                        self.degraded.note(Loss::Emoji);
                        span.piece = Piece::Text(span.visible().into_owned());
                    }
                }
                _ => {}
            }
            out.push(span);
        }
        spans::regular(out)
    }
}

/// With links that the channel does not have turned into words: `label (address)`.
pub(super) fn with_links_shown(
    row: &[Span],
    has_it: &dyn Fn(&str, &str) -> bool,
    degraded: &mut Degraded,
) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::with_capacity(row.len());
    let mut rest = row;
    while let Some(first) = rest.first() {
        let Some(link) = &first.link else {
            out.push(first.clone());
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let reach = rest.iter().take_while(|span| spans::same_link(span.link.as_ref(), Some(link))).count().max(1);
        let (linked, after) = rest.split_at_checked(reach).unwrap_or((rest, &[]));
        rest = after;
        let label = spans::visible(linked);
        if has_it(&label, link) {
            out.extend_from_slice(linked);
            continue;
        }
        degraded.note(Loss::Links);
        out.extend(linked.iter().cloned().map(|span| Span { link: None, ..span }));
        if let Some(shown) = crate::links::worth_showing(link, &label) {
            out.push(Span::text(format!(" ({shown})")));
        }
    }
    out
}
