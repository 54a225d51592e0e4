//! Plain text: every sign means itself. A blank line ends a paragraph, addresses are found. A line ends where Unicode says that it
//! must (UAX 14, LB4 and LB5), whoever wrote it.

use std::borrow::Cow;

use crate::{
    spans,
    tree::{Block, Document, Piece, Span},
};

/// Reads plain text, such as an e-mail's or a web chat's.
#[must_use]
pub fn plain(text: &str) -> Document {
    let mut document = Document::default();
    let mut row: Vec<Span> = Vec::new();
    let text = if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
    for line in text.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
        if line.trim().is_empty() {
            end(&mut document, &mut row);
            continue;
        }
        if !row.is_empty() {
            row.push(Span::of(Piece::Break));
        }
        spans::push(&mut row, Span::text(line));
    }
    end(&mut document, &mut row);
    link_addresses(&mut document);
    document
}

fn end(document: &mut Document, row: &mut Vec<Span>) {
    let row = spans::regular(std::mem::take(row));
    if !row.is_empty() {
        document.blocks.push(Block::Paragraph(row));
    }
}

/// Makes links of the addresses that stand in plain words, as chats show them; CommonMark leaves them words.
pub fn link_addresses(document: &mut Document) {
    link_in(&mut document.blocks);
}

fn link_in(blocks: &mut [Block]) {
    for block in blocks {
        match block {
            Block::Paragraph(row) | Block::Heading { content: row, .. } => spans::with_links_found(row),
            Block::List(list) => list.items.iter_mut().for_each(|item| link_in(item)),
            Block::Quote { blocks, .. } | Block::Note { blocks, .. } => link_in(blocks),
            Block::Table(table) => {
                table.head.iter_mut().chain(table.rows.iter_mut().flatten()).for_each(spans::with_links_found);
            }
            Block::Code { .. } | Block::Rule => {}
        }
    }
}
