//! Plain text: what is left when nobody can see styles, still in good order.

use super::Rendering;
use crate::{
    links, spans,
    tree::{Block, Document, Piece, Span},
};

pub(super) fn write(document: &Document) -> Rendering {
    let mut text = String::new();
    blocks(&document.blocks, "\n\n", &Prefix::default(), &mut text);
    Rendering { text: text.trim_end().to_owned(), ..Rendering::default() }
}

/// What stands at the start of each further line.
#[derive(Clone, Default)]
struct Prefix(String);

fn blocks(blocks: &[Block], between: &str, prefix: &Prefix, out: &mut String) {
    for (nth, block) in blocks.iter().enumerate() {
        if nth > 0 {
            for _ in 0..between.len() {
                new_line(prefix, out);
            }
        }
        self::block(block, prefix, out);
    }
}

fn new_line(prefix: &Prefix, out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
    out.push_str(&prefix.0);
}

fn lines(text: &str, prefix: &Prefix, out: &mut String) {
    for (nth, line) in text.split('\n').enumerate() {
        if nth > 0 {
            new_line(prefix, out);
        }
        out.push_str(line);
    }
}

fn block(block: &Block, prefix: &Prefix, out: &mut String) {
    match block {
        Block::Paragraph(content) | Block::Heading { content, .. } => lines(&row(content), prefix, out),
        Block::Code { text, .. } => lines(text, prefix, out),
        Block::Quote { blocks, .. } => {
            out.push_str("> ");
            self::blocks(blocks, "\n\n", &Prefix(format!("{}> ", prefix.0)), out);
        }
        Block::List(list) => {
            let between = if list.tight || list.items.iter().all(|item| item.len() <= 1) { 1 } else { 2 };
            for (nth, item) in (0u64..).zip(&list.items) {
                if nth > 0 {
                    for _ in 0..between {
                        new_line(prefix, out);
                    }
                }
                let bullet = match list.start {
                    Some(start) => format!("{}. ", start.saturating_add(nth)),
                    None => "- ".to_owned(),
                };
                out.push_str(&bullet);
                let inner = Prefix(format!("{}{}", prefix.0, " ".repeat(bullet.len())));
                self::blocks(item, if list.tight { "\n" } else { "\n\n" }, &inner, out);
            }
        }
        // Adapted away.
        Block::Table(_) | Block::Rule | Block::Note { .. } => {}
    }
}

/// A row as words; where a link leads is said in brackets, unless its label says it.
pub(super) fn row(row: &[Span]) -> String {
    let mut out = String::new();
    let mut label = String::new();
    for (nth, span) in row.iter().enumerate() {
        if span.is_break() {
            out.truncate(out.trim_end_matches([' ', '\t']).len());
        }
        let visible = span.visible();
        out.push_str(&visible);
        let Some(link) = &span.link else { continue };
        label.push_str(&visible);
        let goes_on = row.get(nth + 1).is_some_and(|next| spans::same_link(next.link.as_ref(), Some(link)));
        if !goes_on {
            if let Some(shown) = links::worth_showing(link, &label)
                && !matches!(span.piece, Piece::Mention(_))
            {
                out.push_str(&format!(" ({shown})"));
            }
            label.clear();
        }
    }
    out
}
