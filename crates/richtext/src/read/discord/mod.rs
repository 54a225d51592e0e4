//! Discord's dialect, read as its client reads it.
//!
//! The client tries a list of rules at each place, the first that fits wins (<https://support.discord.com/hc/articles/210298617>,
//! and the general rules of the `simple-markdown` library that it is built on). What differs from CommonMark: every line end
//! counts, `__x__` is underlined, `||x||` hidden, `-# ` small; a quote needs its space and takes one line (`>>> ` all that
//! follows); code blocks may stand in the middle of a line; links lead to the web only; a backslash frees any sign that is no
//! letter, digit or space.
//!
//! A search for the end of a markup that reached the end of a long text in vain is not repeated in it, so that hostile texts
//! are read in a time that grows as they do.

mod blocks;
mod inline;

use std::sync::Arc;

use crate::{
    spans,
    tree::{Block, Document, Mention, Piece, Span, Style},
};

/// Reads what was written on Discord.
#[must_use]
pub fn discord(source: &str) -> Document {
    discord_with(source, &|_| None)
}

/// Reads what was written on Discord; `name` knows what a mention is called (with its `@` or `#`).
#[must_use]
pub fn discord_with(source: &str, name: &dyn Fn(&Mention) -> Option<String>) -> Document {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut sink = Sink::new(name);
    sink.read(&source, &State::top());
    Document { blocks: sink.finish() }
}

/// The spans of a stretch that is read as a paragraph's inside.
pub(crate) fn inside(source: &str) -> Vec<Span> {
    let mut sink = Sink::new(&|_| None);
    sink.read(source, &State { blocks: false, ..State::top() });
    let last = std::mem::take(&mut sink.row);
    // Blank lines are line ends here, and no more.
    let rows = sink.blocks.into_iter().filter_map(|block| match block {
        Block::Paragraph(row) => Some(row),
        _ => None,
    });
    rows.chain([last]).flatten().collect()
}

/// What holds where we read.
#[derive(Clone)]
struct State {
    style: Style,
    link: Option<Arc<str>>,
    /// Headings, lists and quotes may begin at the start of a line.
    blocks: bool,
    in_quote: bool,
    /// How many markups, lists and quotes we are in.
    depth: usize,
}

impl State {
    fn top() -> Self {
        Self { style: Style::NONE, link: None, blocks: true, in_quote: false, depth: 0 }
    }

    fn deeper(&self) -> Self {
        Self { depth: self.depth + 1, ..self.clone() }
    }

    fn styled(&self, style: Style) -> Self {
        Self { style: self.style | style, blocks: false, ..self.deeper() }
    }
}

/// Gathers blocks.
struct Sink<'a> {
    name: &'a dyn Fn(&Mention) -> Option<String>,
    blocks: Vec<Block>,
    row: Vec<Span>,
    /// Line ends since the last word.
    line_ends: usize,
}

impl<'a> Sink<'a> {
    fn new(name: &'a dyn Fn(&Mention) -> Option<String>) -> Self {
        Self { name, blocks: Vec::new(), row: Vec::new(), line_ends: 0 }
    }

    fn span(&mut self, piece: Piece, state: &State) {
        if matches!(&piece, Piece::Text(text) if text.is_empty()) {
            return;
        }
        if self.line_ends > 1 {
            self.end_paragraph();
        } else if self.line_ends == 1 && !self.row.is_empty() {
            self.row.push(Span::of(Piece::Break));
        }
        self.line_ends = 0;
        spans::push(&mut self.row, Span { piece, style: state.style, link: state.link.clone() });
    }

    fn end_paragraph(&mut self) {
        self.line_ends = 0;
        let mut row = spans::regular(std::mem::take(&mut self.row));
        spans::trim_line_end(&mut row, Style::CODE);
        if row.iter().any(|span| !span.visible().trim().is_empty()) {
            self.blocks.push(Block::Paragraph(row));
        }
    }

    fn block(&mut self, block: Block) {
        self.end_paragraph();
        self.blocks.push(block);
    }

    fn finish(mut self) -> Vec<Block> {
        self.end_paragraph();
        self.blocks
    }

    /// What another sink makes of a stretch.
    fn blocks_of(&self, source: &str, state: &State) -> Vec<Block> {
        let mut sink = Sink::new(self.name);
        sink.read(source, state);
        sink.finish()
    }

    /// The spans that another sink makes of a stretch.
    fn row_of(&self, source: &str, state: &State) -> Vec<Span> {
        let mut sink = Sink::new(self.name);
        sink.read(source, &State { blocks: false, ..state.deeper() });
        spans::regular(sink.row)
    }
}
