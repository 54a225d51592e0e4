//! CommonMark that reads back as the same tree, and that a person would write: signs are escaped only where they would be read
//! as markup. Where markup cannot begin or end next to a letter, the letter is written as a reference (`**(a)**&#98;`).

use super::{Degraded, Loss, Rendering};
use crate::{
    links,
    spans::{self, Node, Tag},
    tree::{Block, Column, Document, List, Piece, Span, Style, Table},
};

/// The highest number that CommonMark reads as an item's.
const MAX_NUMBER: u64 = 999_999_999;

pub(super) fn write(document: &Document) -> Rendering {
    let mut writer = Writer::default();
    writer.blocks(&document.blocks, false);
    Rendering { text: writer.out, entities: Vec::new(), degraded: writer.degraded }
}

#[derive(Default)]
struct Writer {
    out: String,
    /// What each further line begins with.
    prefix: String,
    degraded: Degraded,
}

/// Where a row stands, and so which signs mean something in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Paragraph,
    Heading,
    Cell,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block], tight: bool) {
        let mut before: Option<&Block> = None;
        let mut alternate = false;
        for block in blocks {
            if let Some(before) = before {
                self.new_line();
                if !(tight && may_follow_at_once(before, block)) {
                    self.new_line();
                }
            }
            alternate = match (before, block) {
                (Some(Block::List(one)), Block::List(other)) if one.start.is_some() == other.start.is_some() => {
                    !alternate
                }
                _ => false,
            };
            self.block(block, alternate, tight);
            before = Some(block);
        }
    }

    fn new_line(&mut self) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
        self.out.push_str(&self.prefix);
    }

    fn inside(&mut self, first: &str, further: &str, write: impl FnOnce(&mut Self)) {
        self.out.push_str(first);
        let length = self.prefix.len();
        self.prefix.push_str(further);
        write(self);
        self.prefix.truncate(length);
    }

    fn block(&mut self, block: &Block, alternate: bool, tight: bool) {
        match block {
            Block::Paragraph(row) => self.row(row, Place::Paragraph),
            Block::Heading { level, content } => {
                self.out.push_str(&"#".repeat(usize::from((*level).clamp(1, 6))));
                self.out.push(' ');
                self.row(content, Place::Heading);
            }
            Block::List(list) => self.list(list, alternate),
            Block::Quote { blocks, .. } => self.inside("> ", "> ", |writer| writer.blocks(blocks, false)),
            Block::Code { language, text } => self.code(language, text),
            Block::Table(table) => self.table(table),
            Block::Rule => self.out.push_str(if tight || !self.prefix.is_empty() { "___" } else { "---" }),
            Block::Note { label, blocks } => {
                let label = label.replace(|sign: char| sign.is_whitespace() || "[]^\\".contains(sign), "-");
                self.inside(&format!("[^{label}]: "), "    ", |writer| writer.blocks(blocks, false));
            }
        }
    }

    fn list(&mut self, list: &List, alternate: bool) {
        let count = u64::try_from(list.items.len()).unwrap_or(u64::MAX);
        for (nth, item) in (0u64..).zip(&list.items) {
            if nth > 0 {
                self.new_line();
                if !list.tight {
                    self.new_line();
                }
            }
            let marker = match list.start {
                Some(start) => {
                    let start = start.min(MAX_NUMBER.saturating_sub(count));
                    format!("{}{} ", start + nth, if alternate { ')' } else { '.' })
                }
                None => (if alternate { "* " } else { "- " }).to_owned(),
            };
            let indent = " ".repeat(marker.len());
            self.inside(&marker, &indent, |writer| writer.blocks(item, list.tight));
            let kept = self.out.trim_end_matches(' ').len();
            self.out.truncate(kept);
        }
    }

    fn code(&mut self, language: &str, text: &str) {
        let fence = "`".repeat(longest_run(text, '`').max(2) + 1);
        self.out.push_str(&fence);
        self.out.extend(
            language.chars().filter(|sign| !sign.is_whitespace() && !sign.is_control() && *sign != '`').flat_map(
                |sign| {
                    let escaped = matches!(sign, '\\' | '&');
                    escaped.then_some('\\').into_iter().chain([sign])
                },
            ),
        );
        for line in text.split('\n') {
            self.new_line();
            self.out.push_str(line);
        }
        // Not by `new_line`: spaces at the end of a line of code are code.
        self.out.push('\n');
        self.out.push_str(&self.prefix);
        self.out.push_str(&fence);
    }

    fn table(&mut self, table: &Table) {
        self.cells(&table.head, table.columns.len());
        self.new_line();
        self.out.push('|');
        for column in &table.columns {
            self.out.push_str(match column {
                Column::Unsaid => " --- |",
                Column::Left => " :-- |",
                Column::Center => " :-: |",
                Column::Right => " --: |",
            });
        }
        for row in &table.rows {
            self.new_line();
            self.cells(row, table.columns.len());
        }
    }

    fn cells(&mut self, cells: &[Vec<Span>], count: usize) {
        self.out.push('|');
        for nth in 0..count {
            self.out.push(' ');
            if let Some(cell) = cells.get(nth) {
                self.row(cell, Place::Cell);
            }
            self.out.push_str(" |");
        }
    }

    fn row(&mut self, row: &[Span], place: Place) {
        let mut row = spans::tidy(row);
        for span in &mut row {
            if span.is_break() && place == Place::Heading {
                span.piece = Piece::Text(" ".to_owned());
            }
            // A bar in a cell ends it, escaped or not.
            if place == Place::Cell && span.style.has(Style::SPOILER) {
                self.degraded.note(Loss::Styles);
                span.style = span.style.without(Style::SPOILER);
            }
            if span.link.as_ref().is_some_and(|link| links::harmless(link).is_none()) {
                self.degraded.note(Loss::Links);
                span.link = None;
            }
        }
        let mut tokens = Vec::new();
        tokenize(&spans::nest(&row), false, &mut tokens);
        Row { writer: self, place, tokens: &tokens, encode_next: false, at_start: true }.write();
    }
}

fn may_follow_at_once(before: &Block, block: &Block) -> bool {
    let interrupts = match block {
        Block::List(list) => {
            let says_something =
                list.items.first().and_then(|item| item.first()).is_some_and(|first| !first.is_empty());
            says_something && list.start.is_none_or(|start| start == 1)
        }
        Block::Code { .. } | Block::Quote { .. } | Block::Heading { .. } | Block::Rule => true,
        Block::Paragraph(_) | Block::Table(_) | Block::Note { .. } => false,
    };
    match before {
        Block::Paragraph(_) => interrupts,
        Block::Heading { .. } | Block::Code { .. } | Block::Rule => !matches!(block, Block::Note { .. }),
        Block::List(_) | Block::Quote { .. } | Block::Table(_) | Block::Note { .. } => false,
    }
}

/// What is written one after the other.
#[derive(Debug)]
enum Token<'a> {
    /// Words.
    Text(&'a str),
    /// A style begins; at which token it ends.
    Open(Style, usize),
    /// A style ends; at which token it began.
    Close(Style, usize),
    /// As it is.
    Raw(String),
    /// Code.
    Code(String),
    Break,
    SoftBreak,
}

fn tokenize<'a>(nodes: &[Node<'a>], in_link: bool, tokens: &mut Vec<Token<'a>>) {
    for node in nodes {
        match node {
            Node::Leaf(span) => match &span.piece {
                Piece::Text(text) => tokens.push(Token::Text(text)),
                Piece::Break => tokens.push(Token::Break),
                Piece::SoftBreak => tokens.push(Token::SoftBreak),
                Piece::Note(label) if !in_link => {
                    let label = label.replace(|sign: char| sign.is_whitespace() || "[]^\\".contains(sign), "-");
                    tokens.push(Token::Raw(format!("[^{label}]")));
                }
                // Adapted away.
                Piece::Note(_) | Piece::Mention(_) | Piece::Emoji(_) | Piece::Time(_) => {}
            },
            Node::Tagged(Tag::Style(Style::CODE), inside) => {
                let leaves = inside.iter().filter_map(|node| match node {
                    Node::Leaf(span) => Some(span.visible()),
                    Node::Tagged(..) => None,
                });
                tokens.push(Token::Code(leaves.collect::<String>().replace('\n', " ")));
            }
            Node::Tagged(Tag::Style(style), inside) => {
                let open = tokens.len();
                tokens.push(Token::Open(*style, 0));
                tokenize(inside, in_link, tokens);
                let close = tokens.len();
                tokens.push(Token::Close(*style, open));
                if let Some(token) = tokens.get_mut(open) {
                    *token = Token::Open(*style, close);
                }
            }
            Node::Tagged(Tag::Link(link), inside) => {
                let address = links::harmless(link).unwrap_or_default();
                let is_image = all_leaves(inside, &|span| span.style.has(Style::IMAGE));
                if let [Node::Leaf(Span { piece: Piece::Text(text), style, .. })] = inside.as_slice()
                    && !is_image
                    && !style.has(Style::CODE)
                    && is_autolink(text, link)
                {
                    tokens.push(Token::Raw(format!("<{text}>")));
                    continue;
                }
                tokens.push(Token::Raw((if is_image { "![" } else { "[" }).to_owned()));
                tokenize(inside, true, tokens);
                let escaped = if address.contains(';') { address.replace('&', "&amp;") } else { address.into_owned() };
                let needs_angles = escaped.contains(['(', ')']) || escaped.is_empty();
                tokens.push(Token::Raw(if needs_angles { format!("](<{escaped}>)") } else { format!("]({escaped})") }));
            }
        }
    }
}

fn all_leaves(nodes: &[Node<'_>], is_so: &dyn Fn(&Span) -> bool) -> bool {
    nodes.iter().all(|node| match node {
        Node::Leaf(span) => is_so(span),
        Node::Tagged(_, inside) => all_leaves(inside, is_so),
    })
}

/// Whether `<text>` reads as a link to there.
fn is_autolink(text: &str, link: &str) -> bool {
    let plain =
        !text.chars().any(|sign| sign.is_whitespace() || sign.is_control() || matches!(sign, '<' | '>' | '\\' | '|'));
    let is_mail = link.strip_prefix("mailto:") == Some(text)
        && text.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty()
                && name.bytes().all(|sign| sign.is_ascii_alphanumeric() || b"._+-".contains(&sign))
                && host.split('.').all(|label| {
                    !label.is_empty()
                        && label.len() < 64
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.bytes().all(|sign| sign.is_ascii_alphanumeric() || sign == b'-')
                })
        });
    let is_address = text == link && links::scheme(text).is_some_and(|scheme| (2..=32).contains(&scheme.len()));
    plain && (is_mail || is_address)
}

struct Row<'a, 'w> {
    writer: &'w mut Writer,
    place: Place,
    tokens: &'a [Token<'a>],
    /// The next sign of a text is written as a reference.
    encode_next: bool,
    /// Nothing of the row's present line is written.
    at_start: bool,
}

impl Row<'_, '_> {
    fn write(mut self) {
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Text(text) => {
                    let last = at + 1 == self.tokens.len();
                    self.text(
                        text,
                        last || matches!(self.tokens.get(at + 1), Some(Token::Break | Token::SoftBreak)),
                        at,
                    );
                }
                Token::Open(style, close) => self.open(*style, at, *close),
                Token::Close(style, open) => self.close(*style, *open, at),
                Token::Raw(raw) if self.place == Place::Cell => self.out(&raw.replace('|', "%7C")),
                Token::Raw(raw) => self.out(raw),
                Token::Code(code) => self.code(code),
                // Several line ends in a row would be the end of the paragraph.
                Token::SoftBreak if self.is_break(at + 1) => {}
                Token::Break if self.place == Place::Cell || self.is_break(at + 1) => self.out("<br>"),
                Token::Break => {
                    self.out("\\");
                    self.line_end();
                }
                Token::SoftBreak if self.place == Place::Cell => self.out(" "),
                Token::SoftBreak => self.line_end(),
            }
        }
    }

    fn is_break(&self, at: usize) -> bool {
        matches!(self.tokens.get(at), Some(Token::Break | Token::SoftBreak))
    }

    fn out(&mut self, text: &str) {
        self.writer.out.push_str(text);
        self.at_start = false;
        self.encode_next = false;
    }

    fn line_end(&mut self) {
        self.writer.new_line();
        self.at_start = true;
        self.encode_next = false;
    }

    fn code(&mut self, code: &str) {
        let code = if self.place == Place::Cell { code.replace('|', "\\|") } else { code.to_owned() };
        // A fence of a length that is not in the code.
        let runs: Vec<usize> = runs(&code, '`').collect();
        let fence = "`".repeat((1..).find(|length| !runs.contains(length)).unwrap_or(1));
        let touches = code.starts_with('`') || code.ends_with('`');
        let stripped = code.starts_with(' ') && code.ends_with(' ') && !code.trim_matches(' ').is_empty();
        let space = if touches || stripped { " " } else { "" };
        self.out(&format!("{fence}{space}{code}{space}{fence}"));
    }

    /// What stands before the place where we write: `None` at the start of a line.
    fn before(&self) -> Option<char> {
        if self.at_start { None } else { self.writer.out.chars().next_back() }
    }

    /// The first sign that the token after this one will write; a space when it ends the line.
    fn after(&self, at: usize) -> char {
        match self.tokens.get(at + 1) {
            Some(Token::Text(text)) => {
                let mut signs = text.chars();
                let first = signs.next().unwrap_or(' ');
                match first {
                    // A single sign may become a reference for the sake of the markup behind it.
                    only if signs.next().is_none() && self.opens_beside(only, at + 2) => '&',
                    first if is_escaped_anywhere(first) => '\\',
                    first => first,
                }
            }
            Some(Token::Open(style, close)) => self.sign(*style, at + 1, *close).chars().next().unwrap_or(' '),
            Some(Token::Close(style, open)) => self.sign(*style, *open, at + 1).chars().next().unwrap_or(' '),
            Some(Token::Raw(raw)) => raw.chars().next().unwrap_or(' '),
            Some(Token::Code(_)) => '`',
            Some(Token::Break) => '\\',
            Some(Token::SoftBreak) | None => ' ',
        }
    }

    /// The sign of a style. A slant has two to choose from: `_` looks best, `*` can stand in words; next to the stars of bold
    /// only `_` can be told from them.
    fn sign(&self, style: Style, open: usize, close: usize) -> &'static str {
        match style {
            Style::BOLD => "**",
            Style::STRIKE => "~~",
            Style::SPOILER => "||",
            Style::UNDERLINE => "<u>",
            _ => {
                let neighbours = [open.checked_sub(1), Some(open + 1), close.checked_sub(1), Some(close + 1)];
                let near_stars = neighbours.into_iter().flatten().any(|at| {
                    matches!(self.tokens.get(at), Some(Token::Open(Style::BOLD, _) | Token::Close(Style::BOLD, _)))
                });
                let in_word =
                    |text: Option<char>| text.is_some_and(|sign| !sign.is_whitespace() && !sign.is_ascii_punctuation());
                let before = open.checked_sub(1).and_then(|at| self.tokens.get(at)).and_then(|token| match token {
                    Token::Text(text) => text.chars().next_back(),
                    _ => None,
                });
                let after = self.tokens.get(close + 1).and_then(|token| match token {
                    Token::Text(text) => text.chars().next(),
                    _ => None,
                });
                if !near_stars && (in_word(before) || in_word(after)) { "*" } else { "_" }
            }
        }
    }

    /// Whether markup opens there that only opens if the sign before it is written as a reference.
    fn opens_beside(&self, outer: char, at: usize) -> bool {
        match self.tokens.get(at) {
            Some(Token::Open(Style::UNDERLINE | Style::SPOILER, _)) => false,
            Some(Token::Open(style, close)) => {
                !stands_apart(outer) && (!self.after(at).is_alphanumeric() || self.sign(*style, at, *close) == "_")
            }
            _ => false,
        }
    }

    fn open(&mut self, style: Style, at: usize, close: usize) {
        let sign = self.sign(style, at, close);
        if let Some(outer) = self.before()
            && self.opens_beside(outer, at)
        {
            self.writer.out.truncate(self.writer.out.len() - outer.len_utf8());
            self.writer.out.push_str(&reference(outer));
        }
        self.out(sign);
    }

    fn close(&mut self, style: Style, open: usize, at: usize) {
        let sign = self.sign(style, open, at);
        if style == Style::UNDERLINE {
            return self.out("</u>");
        }
        let inner = self.before().unwrap_or(' ');
        let outer = self.after(at);
        let must_encode = style != Style::SPOILER && !stands_apart(outer) && (!inner.is_alphanumeric() || sign == "_");
        self.out(sign);
        self.encode_next = must_encode;
    }

    fn text(&mut self, text: &str, ends_line: bool, at: usize) {
        let mut signs = text.char_indices().peekable();
        let words_end = if ends_line { text.trim_end().len() } else { text.len() };
        let mut before = self.before();
        while let Some((index, sign)) = signs.next() {
            let next = signs.peek().map(|(_, next)| *next);
            let rest = text.get(index..).unwrap_or_default();
            let is_edge =
                sign.is_whitespace() && ((self.at_start && before.is_none()) || (index >= words_end && next.is_none()));
            if self.encode_next || is_edge {
                self.out(&reference(sign));
            } else if self.at_start
                && let Some(length) = number_length(rest)
            {
                // A number with a sign that would make it an item's.
                let (number, _) = rest.split_at(length);
                self.out(number);
                self.out("\\");
                for _ in 1..length {
                    signs.next();
                }
                before = number.chars().next_back();
                continue;
            } else {
                if self.needs_escape(sign, before, next, rest, at) {
                    self.out("\\");
                }
                self.writer.out.push(sign);
                self.at_start = false;
            }
            before = Some(sign);
        }
    }

    fn needs_escape(&self, sign: char, before: Option<char>, next: Option<char>, rest: &str, at: usize) -> bool {
        let starts_markup = match sign {
            '_' => !(before.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric)),
            '<' => next.is_none_or(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?')),
            '&' => next.is_none_or(|next| next.is_ascii_alphanumeric() || next == '#'),
            '!' => next.is_none() && matches!(self.tokens.get(at + 1), Some(Token::Raw(raw)) if raw.starts_with('[')),
            '#' if self.place == Place::Heading => true,
            other => is_escaped_anywhere(other),
        };
        let starts_block = self.at_start
            && match sign {
                '#' => rest.trim_start_matches('#').chars().next().is_none_or(char::is_whitespace),
                '+' | '-' => true,
                '=' | ':' | '>' => true,
                _ => false,
            };
        starts_markup || starts_block
    }
}

/// The digits at the start, when a sign follows that makes them an item's number.
fn number_length(rest: &str) -> Option<usize> {
    let digits = rest.bytes().take(10).take_while(u8::is_ascii_digit).count();
    let after = rest.get(digits..)?;
    ((1..=9).contains(&digits) && after.starts_with(['.', ')'])).then_some(digits)
}

fn is_escaped_anywhere(sign: char) -> bool {
    matches!(sign, '\\' | '`' | '*' | '[' | ']' | '~' | '|')
}

/// Whether markup may begin or end next to it whatever stands inside. (Of signs beyond ASCII we do not say which are
/// punctuation: that changes from one version of Unicode to the next.)
fn stands_apart(sign: char) -> bool {
    sign.is_whitespace() || sign.is_ascii_punctuation()
}

fn reference(sign: char) -> String {
    format!("&#{};", u32::from(sign))
}

fn runs(text: &str, of: char) -> impl Iterator<Item = usize> {
    text.split(move |sign| sign != of).map(str::len).filter(|length| *length > 0)
}

fn longest_run(text: &str, of: char) -> usize {
    runs(text, of).max().unwrap_or(0)
}
