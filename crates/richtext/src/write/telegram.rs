//! Telegram's text and entities.
//!
//! Telegram repairs entities that it does not like, silently and in its own way: it drops those that overlap wrongly, shortens
//! those that begin with white space, drops styles on code, control signs and white space around the text. What is written here
//! needs no repair: entities nest, none is empty or begins or ends with white space, none stands on code or on another link,
//! quotes do not nest, and the text is trimmed (<https://core.telegram.org/bots/api#formatting-options>).

use super::{Degraded, Loss, Rendering, adapt::with_links_shown};
use crate::{
    links,
    spans::{self, Node, Tag},
    telegram::{Entity, EntityKind},
    tree::{Block, Document, List, Piece, Span, Style},
};

/// What a level of a list is indented by.
const INDENT: &str = "  ";

pub(super) fn write(document: &Document) -> Rendering {
    let mut writer = Writer::default();
    writer.blocks(&document.blocks, 0, "\n\n");
    writer.finish()
}

#[derive(Default)]
struct Writer {
    text: String,
    units: usize,
    entities: Vec<Entity>,
    degraded: Degraded,
}

/// Where an entity begins.
#[derive(Clone, Copy)]
struct Mark {
    bytes: usize,
    units: usize,
}

impl Writer {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.units += text.chars().map(char::len_utf16).sum::<usize>();
    }

    fn mark(&self) -> Mark {
        Mark { bytes: self.text.len(), units: self.units }
    }

    /// An entity from there to here, without the white space at its edges.
    fn entity(&mut self, from: Mark, kind: EntityKind) {
        let Some(inside) = self.text.get(from.bytes..) else { return };
        let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
        let from_word = inside.trim_start();
        let before = units(inside.get(..inside.len() - from_word.len()).unwrap_or_default());
        let after = units(from_word.get(from_word.trim_end().len()..).unwrap_or_default());
        let offset = from.units + before;
        let length = (self.units - offset).saturating_sub(after);
        if length > 0 && !from_word.is_empty() {
            self.entities.push(Entity { offset, length, kind });
        }
    }

    fn blocks(&mut self, blocks: &[Block], depth: usize, between: &str) {
        let mut is_first = true;
        for block in blocks {
            if !is_first {
                self.push(between);
                if !matches!(block, Block::Code { .. } | Block::Quote { .. } | Block::List(_)) {
                    self.indent(depth);
                }
            }
            is_first = false;
            self.block(block, depth);
        }
    }

    fn block(&mut self, block: &Block, depth: usize) {
        match block {
            Block::Paragraph(row) | Block::Heading { content: row, .. } => self.row(row, depth),
            Block::List(list) => self.list(list, depth),
            Block::Quote { expandable, blocks } => {
                let from = self.mark();
                self.blocks(blocks, depth, "\n\n");
                let kind = if *expandable { EntityKind::ExpandableBlockquote } else { EntityKind::Blockquote };
                self.entity(from, kind);
            }
            Block::Code { language, text } => {
                let from = self.mark();
                self.push(&clean(&text.replace('\t', "    ")));
                self.entity(from, EntityKind::Pre { language: language.clone() });
            }
            // Adapted away.
            Block::Table(_) | Block::Rule | Block::Note { .. } => {}
        }
    }

    fn list(&mut self, list: &List, depth: usize) {
        let between = if list.tight || list.items.iter().all(|item| item.len() <= 1) { "\n" } else { "\n\n" };
        for (nth, item) in (0u64..).zip(&list.items) {
            if nth > 0 {
                self.push(between);
            }
            self.indent(depth);
            let bullet = match list.start {
                Some(start) => format!("{}. ", start.saturating_add(nth)),
                None => (if depth.is_multiple_of(2) { "• " } else { "◦ " }).to_owned(),
            };
            self.push(&bullet);
            if matches!(item.first(), Some(Block::Code { .. } | Block::Quote { .. } | Block::List(_))) {
                self.text.truncate(self.text.trim_end_matches(' ').len());
                self.units -= 1;
                self.push("\n");
            }
            self.blocks(item, depth + 1, if list.tight { "\n" } else { "\n\n" });
        }
    }

    fn indent(&mut self, depth: usize) {
        // Deeper steps would leave no room on a telephone.
        for _ in 0..depth.min(6) {
            self.push(INDENT);
        }
    }

    fn row(&mut self, row: &[Span], depth: usize) {
        let has_link = |_: &str, link: &str| links::web(link).is_some() || links::telegram_user(link).is_some();
        let mut row = with_links_shown(row, &has_link, &mut self.degraded);
        for span in &mut row {
            if let Piece::Text(text) = &mut span.piece
                && needs_cleaning(text)
            {
                *text = clean(text);
            }
            span.style = span.style.without(Style::SMALL);
            // Code stands alone; and where a link says more than it, the link does.
            if span.style.has(Style::CODE) {
                let alone = if span.link.is_some() { span.style.without(Style::CODE) } else { Style::CODE };
                if alone != span.style {
                    self.degraded.note(Loss::Styles);
                }
                span.style = alone;
            }
        }
        let row = spans::tidy_around(&row, Style::NONE);
        self.nodes(&spans::nest(&row), depth, false);
    }

    fn nodes(&mut self, nodes: &[Node<'_>], depth: usize, in_link: bool) {
        for node in nodes {
            match node {
                Node::Leaf(span) => self.leaf(span, depth, in_link),
                Node::Tagged(tag, inside) => {
                    let from = self.mark();
                    self.nodes(inside, depth, in_link || matches!(tag, Tag::Link(_)));
                    if let Some(kind) = kind(tag) {
                        self.entity(from, kind);
                    }
                }
            }
        }
    }

    fn leaf(&mut self, span: &Span, depth: usize, in_link: bool) {
        if span.is_break() {
            self.push("\n");
            self.indent(depth);
            return;
        }
        let from = self.mark();
        let visible = span.visible();
        let visible = if needs_cleaning(&visible) { clean(&visible).into() } else { visible };
        self.push(&visible);
        if let (Piece::Emoji(emoji), false) = (&span.piece, in_link || span.style.has(Style::CODE)) {
            self.entity(from, EntityKind::CustomEmoji { id: emoji.id.clone() });
        }
    }

    fn finish(mut self) -> Rendering {
        let kept = self.text.trim_end().len();
        self.text.truncate(kept);
        let words = self.text.trim_start();
        let skipped = self.text.get(..self.text.len() - words.len()).unwrap_or_default();
        let units = skipped.chars().map(char::len_utf16).sum::<usize>();
        let text = words.to_owned();
        for entity in &mut self.entities {
            entity.offset = entity.offset.saturating_sub(units);
        }
        self.entities.sort_by_key(|entity| (entity.offset, usize::MAX - entity.length, entity.kind.rank()));
        Rendering { text, entities: self.entities, degraded: self.degraded }
    }
}

fn kind(tag: &Tag<'_>) -> Option<EntityKind> {
    Some(match tag {
        Tag::Link(link) => match links::web(link) {
            Some(url) => EntityKind::TextLink { url: url.into_owned() },
            // A link to that address calls nobody, and leads nowhere in some of the clients
            // (https://github.com/tdlib/telegram-bot-api/issues/245).
            None => EntityKind::TextMention { user: links::telegram_user(link)? },
        },
        Tag::Style(Style::BOLD) => EntityKind::Bold,
        Tag::Style(Style::ITALIC) => EntityKind::Italic,
        Tag::Style(Style::UNDERLINE) => EntityKind::Underline,
        Tag::Style(Style::STRIKE) => EntityKind::Strikethrough,
        Tag::Style(Style::SPOILER) => EntityKind::Spoiler,
        Tag::Style(Style::CODE) => EntityKind::Code,
        Tag::Style(_) => return None,
    })
}

/// Signs that Telegram would take away or turn into a space.
fn needs_cleaning(text: &str) -> bool {
    text.chars().any(|sign| sign.is_ascii_control() || matches!(sign, '\u{2028}'..='\u{202e}'))
}

fn clean(text: &str) -> String {
    let kept = text.chars().filter(|sign| !matches!(sign, '\r' | '\u{2028}'..='\u{202e}'));
    kept.map(|sign| if sign < ' ' && sign != '\n' { ' ' } else { sign }).collect()
}
