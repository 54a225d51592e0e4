//! Puts a tree together from what opens and closes, as the readers of Markdown and of HTML meet it. Containers that stand deeper
//! than [`MAX_DEPTH`] are counted and left out: their content stands in the last one that was opened.

use crate::{
    spans,
    tree::{Block, Column, Document, List, MAX_DEPTH, Span, Table},
};

/// A container that is open.
#[derive(Debug)]
enum Open {
    Quote(Vec<Block>),
    List(List),
    Item(Vec<Block>),
    Note(String, Vec<Block>),
}

/// What becomes of the spans that have gathered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Paragraph,
    Heading(u8),
}

#[derive(Debug, Default)]
pub(crate) struct Builder {
    done: Vec<Block>,
    open: Vec<Open>,
    /// Containers that were asked for and are too deep.
    too_deep: usize,
    spans: Vec<Span>,
    table: Option<Table>,
    row: Vec<Vec<Span>>,
}

impl Builder {
    pub(crate) fn span(&mut self, span: Span) {
        spans::push(&mut self.spans, span);
    }

    pub(crate) fn spans_mut(&mut self) -> &mut Vec<Span> {
        &mut self.spans
    }

    pub(crate) fn has_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Ends what has gathered as a block of that kind; nothing when nothing has.
    pub(crate) fn end_spans(&mut self, kind: Kind) {
        let row = spans::regular(std::mem::take(&mut self.spans));
        if row.iter().all(|span| span.visible().trim().is_empty()) {
            return;
        }
        self.block(match kind {
            Kind::Paragraph => Block::Paragraph(row),
            Kind::Heading(level) => Block::Heading { level, content: row },
        });
    }

    pub(crate) fn block(&mut self, block: Block) {
        match self.open.last_mut() {
            Some(Open::Quote(blocks) | Open::Item(blocks) | Open::Note(_, blocks)) => blocks.push(block),
            // Between items: it belongs to the last one.
            Some(Open::List(list)) => match list.items.last_mut() {
                Some(item) => item.push(block),
                None => list.items.push(vec![block]),
            },
            None => self.done.push(block),
        }
    }

    pub(crate) fn open_quote(&mut self) {
        self.open(Open::Quote(Vec::new()));
    }

    pub(crate) fn open_list(&mut self, start: Option<u64>) {
        self.open(Open::List(List { start, tight: true, items: Vec::new() }));
    }

    pub(crate) fn open_item(&mut self) {
        self.open(Open::Item(Vec::new()));
    }

    /// Whether an item may be opened here.
    pub(crate) fn is_in_list(&self) -> bool {
        self.too_deep > 0 || matches!(self.open.last(), Some(Open::List(_)))
    }

    pub(crate) fn open_note(&mut self, label: String) {
        self.open(Open::Note(label, Vec::new()));
    }

    fn open(&mut self, container: Open) {
        self.end_spans(Kind::Paragraph);
        // A list and its item count as one.
        if self.too_deep > 0 || self.open.len() >= MAX_DEPTH * 2 {
            self.too_deep += 1;
        } else {
            self.open.push(container);
        }
    }

    /// A paragraph of the item that is open was set apart by blank lines.
    pub(crate) fn loosen(&mut self) {
        if let [.., Open::List(list), Open::Item(_)] = self.open.as_mut_slice() {
            list.tight = false;
        }
    }

    /// Closes the innermost container.
    pub(crate) fn close(&mut self) {
        self.end_spans(Kind::Paragraph);
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        match self.open.pop() {
            Some(Open::Quote(blocks)) if blocks.is_empty() => {}
            Some(Open::List(list)) if list.items.is_empty() => {}
            Some(Open::Quote(blocks)) => self.block(Block::Quote { expandable: false, blocks }),
            Some(Open::List(mut list)) => {
                // Blank lines between what?
                let holds_paragraph = list.items.iter().flatten().any(|block| matches!(block, Block::Paragraph(_)));
                list.tight |=
                    !holds_paragraph || list.items.len() == 1 && list.items.iter().all(|item| item.len() <= 1);
                self.block(Block::List(list));
            }
            Some(Open::Item(blocks)) => {
                if let Some(Open::List(list)) = self.open.last_mut() {
                    list.items.push(blocks);
                }
            }
            Some(Open::Note(label, blocks)) => self.block(Block::Note { label, blocks }),
            None => {}
        }
    }

    pub(crate) fn open_table(&mut self, table: Table) {
        self.end_spans(Kind::Paragraph);
        self.table = Some(table);
    }

    pub(crate) fn end_cell(&mut self) {
        self.row.push(spans::regular(std::mem::take(&mut self.spans)));
    }

    pub(crate) fn end_row(&mut self, is_head: bool) {
        let row = std::mem::take(&mut self.row);
        if let Some(table) = &mut self.table {
            if is_head {
                table.head = row;
            } else {
                table.rows.push(row);
            }
        }
    }

    pub(crate) fn table_has_no_head(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.head.is_empty())
    }

    pub(crate) fn close_table(&mut self) {
        if let Some(mut table) = self.table.take()
            && !(table.head.is_empty() && table.rows.is_empty())
        {
            let width = table.rows.iter().map(Vec::len).fold(table.head.len(), usize::max);
            table.head.resize_with(width, Vec::new);
            table.columns.resize(width, Column::Unsaid);
            self.block(Block::Table(table));
        }
    }

    pub(crate) fn finish(mut self) -> Document {
        self.close_table();
        self.too_deep = 0;
        self.end_spans(Kind::Paragraph);
        while !self.open.is_empty() {
            self.close();
        }
        Document { blocks: self.done }
    }
}
