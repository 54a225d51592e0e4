//! HTML, of a few elements without scripts, styles and remote things: safe to be shown as it is.

use super::{Degraded, Loss, Rendering};
use crate::{
    links,
    spans::{self, Node, Tag},
    tree::{Block, Column, Document, List, Span, Style, Table},
};

/// Which elements HTML may have beyond `b i u s code pre blockquote a[href] span.spoiler p br ul ol li h1–h6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HtmlRules {
    /// `table thead tbody tr th td`; otherwise a table is aligned text in `pre`.
    pub tables: bool,
    /// `hr`; otherwise three dashes.
    pub rules: bool,
    /// `<code class="language-…">` inside of `pre`; otherwise just `pre`.
    pub languages: bool,
}

impl HtmlRules {
    /// Only the canonical elements: what `decode` shows.
    pub const CANONICAL: Self = Self { tables: false, rules: false, languages: false };
    /// With tables, rules and languages: for mails and pages.
    pub const RICH: Self = Self { tables: true, rules: true, languages: true };
}

pub(super) fn write(document: &Document, rules: HtmlRules) -> Rendering {
    let mut writer = Writer { rules, out: String::new(), degraded: Degraded::default() };
    writer.blocks(&document.blocks);
    Rendering { text: writer.out, entities: Vec::new(), degraded: writer.degraded }
}

struct Writer {
    rules: HtmlRules,
    out: String,
    degraded: Degraded,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            self.block(block);
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(row) => self.element("p", row),
            Block::Heading { level, content } => {
                let name = ["h1", "h2", "h3", "h4", "h5", "h6"]
                    .get(usize::from(level.saturating_sub(1)))
                    .copied()
                    .unwrap_or("h6");
                self.element(name, content);
            }
            Block::List(list) => self.list(list),
            Block::Quote { blocks, .. } => {
                self.out.push_str("<blockquote>");
                self.blocks(blocks);
                self.out.push_str("</blockquote>");
            }
            Block::Code { language, text } => {
                self.out.push_str("<pre>");
                if text.starts_with('\n') {
                    // The first line end in it would not count.
                    self.out.push('\n');
                }
                if self.rules.languages {
                    self.out.push_str("<code");
                    if !language.is_empty() {
                        self.out.push_str(" class=\"language-");
                        escape(language, &mut self.out);
                        self.out.push('"');
                    }
                    self.out.push('>');
                }
                escape(text, &mut self.out);
                self.out.push_str(if self.rules.languages { "</code></pre>" } else { "</pre>" });
            }
            Block::Table(table) => self.table(table),
            Block::Rule => self.out.push_str("<hr>"),
            // Adapted away.
            Block::Note { .. } => {}
        }
    }

    fn element(&mut self, name: &str, row: &[Span]) {
        self.out.push_str(&format!("<{name}>"));
        self.row(row);
        self.out.push_str(&format!("</{name}>"));
    }

    fn list(&mut self, list: &List) {
        let name = if list.start.is_some() { "ol" } else { "ul" };
        match list.start {
            // Canonical HTML has no `start`: the number is lost there, the order is not.
            Some(start) if start != 1 && self.rules != HtmlRules::CANONICAL => {
                self.out.push_str(&format!("<ol start=\"{start}\">"));
            }
            _ => self.out.push_str(&format!("<{name}>")),
        }
        for item in &list.items {
            self.out.push_str("<li>");
            for block in item {
                match block {
                    Block::Paragraph(row) if list.tight && is_only_paragraph(item) => self.row(row),
                    other => self.block(other),
                }
            }
            self.out.push_str("</li>");
        }
        self.out.push_str(&format!("</{name}>"));
    }

    fn table(&mut self, table: &Table) {
        self.out.push_str("<table><thead><tr>");
        self.cells("th", &table.head, &table.columns);
        self.out.push_str("</tr></thead><tbody>");
        for row in &table.rows {
            self.out.push_str("<tr>");
            self.cells("td", row, &table.columns);
            self.out.push_str("</tr>");
        }
        self.out.push_str("</tbody></table>");
    }

    fn cells(&mut self, name: &str, cells: &[Vec<Span>], columns: &[Column]) {
        for (nth, _) in columns.iter().enumerate() {
            let align = match columns.get(nth).copied().unwrap_or_default() {
                Column::Unsaid => "",
                Column::Left => " align=\"left\"",
                Column::Center => " align=\"center\"",
                Column::Right => " align=\"right\"",
            };
            self.out.push_str(&format!("<{name}{align}>"));
            if let Some(cell) = cells.get(nth) {
                self.row(cell);
            }
            self.out.push_str(&format!("</{name}>"));
        }
    }

    fn row(&mut self, row: &[Span]) {
        self.nodes(&spans::nest(&spans::with_styled_breaks(row)));
    }

    fn nodes(&mut self, nodes: &[Node<'_>]) {
        for node in nodes {
            let (open, close) = match node {
                Node::Leaf(span) => {
                    self.leaf(span);
                    continue;
                }
                Node::Tagged(Tag::Link(link), inside) => {
                    match links::harmless(link) {
                        Some(address) => {
                            self.out.push_str("<a href=\"");
                            escape(&address, &mut self.out);
                            self.out.push_str("\">");
                            self.nodes(inside);
                            self.out.push_str("</a>");
                        }
                        None => {
                            self.degraded.note(Loss::Links);
                            self.nodes(inside);
                        }
                    }
                    continue;
                }
                Node::Tagged(Tag::Style(style), _) => match *style {
                    Style::BOLD => ("<b>", "</b>"),
                    Style::ITALIC => ("<i>", "</i>"),
                    Style::UNDERLINE => ("<u>", "</u>"),
                    Style::STRIKE => ("<s>", "</s>"),
                    Style::SPOILER => ("<span class=\"spoiler\">", "</span>"),
                    Style::CODE => ("<code>", "</code>"),
                    _ => ("", ""),
                },
            };
            let Node::Tagged(_, inside) = node else { continue };
            self.out.push_str(open);
            self.nodes(inside);
            self.out.push_str(close);
        }
    }

    fn leaf(&mut self, span: &Span) {
        match span.piece {
            crate::tree::Piece::Break => self.out.push_str("<br>"),
            _ => escape(&span.visible(), &mut self.out),
        }
    }
}

fn is_only_paragraph(item: &[Block]) -> bool {
    item.iter().filter(|block| matches!(block, Block::Paragraph(_))).count() == 1
}

fn escape(text: &str, out: &mut String) {
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // No document may hold these, not even as a reference.
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}')
            }
            other => out.push(other),
        }
    }
}
