//! Discord's dialect, with everything else escaped.
//!
//! The client's rules look for the end of a markup without looking into what stands between (a code's stars end a bold), so
//! each styled row is read again as the client would read it; when that says something else, styles are taken from its code,
//! and if that does not help, from all of it. Nothing that was written as text can ping or link elsewhere than it says.

use super::{Degraded, Loss, Rendering, adapt::with_links_shown};
use crate::{
    links,
    read::discord as reader,
    spans::{self, MARKUP, Node, Tag},
    tree::{Block, Document, List, Mentioned, Piece, Span, Style},
};

/// A sign of no width: breaks what must not be read as one.
const BREAKER: char = '\u{200b}';

pub(super) fn write(document: &Document) -> Rendering {
    let mut writer = Writer { out: String::new(), prefix: String::new(), degraded: Degraded::default() };
    writer.blocks(&document.blocks, "\n\n");
    let text = without_broadcasts(writer.out.trim());
    Rendering { text, entities: Vec::new(), degraded: writer.degraded }
}

struct Writer {
    out: String,
    /// What each further line begins with.
    prefix: String,
    degraded: Degraded,
}

impl Writer {
    fn blocks(&mut self, blocks: &[Block], between: &str) {
        for (nth, block) in blocks.iter().enumerate() {
            if nth > 0 {
                for _ in 0..between.len() {
                    self.new_line();
                }
            }
            self.block(block);
        }
    }

    fn new_line(&mut self) {
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

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(row) => {
                let is_small = row.iter().all(|span| span.style.has(Style::SMALL));
                if is_small && !row.is_empty() {
                    self.out.push_str("-# ");
                }
                self.row(row, true);
            }
            Block::Heading { level, content } => {
                self.out.push_str(&"#".repeat(usize::from((*level).clamp(1, 3))));
                self.out.push(' ');
                self.row(&one_line(content), false);
            }
            Block::List(list) => self.list(list),
            Block::Quote { blocks, .. } => self.inside("> ", "> ", |writer| writer.blocks(blocks, "\n\n")),
            Block::Code { language, text } => self.code(language, text),
            // Adapted away.
            Block::Table(_) | Block::Rule | Block::Note { .. } => {}
        }
    }

    fn list(&mut self, list: &List) {
        for (nth, item) in (0u64..).zip(&list.items) {
            if nth > 0 {
                self.new_line();
            }
            let marker = match list.start {
                Some(start) => format!("{}. ", start.min(999_999).saturating_add(nth)),
                None => "- ".to_owned(),
            };
            let indent = " ".repeat(marker.len());
            // A blank line would end the list.
            self.inside(&marker, &indent, |writer| writer.blocks(item, "\n"));
        }
    }

    /// A fence must not stand in its own code: three backticks in it are broken.
    fn code(&mut self, language: &str, text: &str) {
        let is_name = |sign: char| sign.is_ascii_alphanumeric() || "_+-.#".contains(sign);
        let language: String = language.chars().filter(|sign| is_name(*sign)).collect();
        self.out.push_str("```");
        self.out.push_str(&language);
        let text = text.replace("```", &format!("``{BREAKER}`"));
        for line in text.trim_matches('\n').split('\n') {
            self.new_line();
            self.out.push_str(&without_mentions(line));
        }
        self.new_line();
        self.out.push_str("```");
    }

    fn row(&mut self, row: &[Span], at_line_start: bool) {
        let has_link = |label: &str, link: &str| {
            links::web(link).is_some()
                && !label.trim().is_empty()
                && label.len() <= 1_000
                && (!links::looks_like_address(label) || links::same_address(label, link))
                && brackets_match(label)
        };
        let row = with_links_shown(row, &has_link, &mut self.degraded);
        let row = spans::tidy(&row);
        let first = self.written(&row, at_line_start);
        // What a further line begins with is not the row's.
        let reads_back = |row: &[Span]| says(&written(row, "", at_line_start), row);
        let is_marked = row.iter().any(|span| !span.style.only(MARKUP | Style::CODE).is_none() || span.link.is_some());
        if !is_marked || reads_back(&row) {
            self.out.push_str(&first);
            return;
        }
        self.degraded.note(Loss::Styles);
        let mut bare_code = row.clone();
        for span in bare_code.iter_mut().filter(|span| span.style.has(Style::CODE)) {
            span.style = Style::CODE;
        }
        let bare_code = spans::tidy(&bare_code);
        if reads_back(&bare_code) {
            self.out.push_str(&self.written(&bare_code, at_line_start));
            return;
        }
        let bare: Vec<Span> =
            row.into_iter().map(|span| Span { style: span.style.only(Style::CODE), ..span }).collect();
        let third = self.written(&spans::tidy(&bare), at_line_start);
        self.out.push_str(&third);
    }

    fn written(&self, row: &[Span], at_line_start: bool) -> String {
        written(row, &self.prefix, at_line_start)
    }
}

fn written(row: &[Span], prefix: &str, at_line_start: bool) -> String {
    let mut tokens = Vec::new();
    tokenize(&spans::nest(row), &mut tokens);
    Row { out: String::new(), prefix, tokens: &tokens, starts_line: at_line_start }.write()
}

/// The address as it is written: a bracket would end it, an at-sign could call everybody.
fn address(link: &str) -> Option<String> {
    let address = links::web(link)?;
    let address = address.replace('(', "%28").replace(')', "%29");
    Some(address.replace("@everyone", "%40everyone").replace("@here", "%40here"))
}

/// Whether the client reads it as that row.
fn says(written: &str, row: &[Span]) -> bool {
    let seen = |row: &[Span]| -> Vec<(char, Style, Option<std::sync::Arc<str>>)> {
        let signs = row.iter().flat_map(|span| {
            let style = span.style.only(MARKUP | Style::CODE);
            let link = span.link.as_ref();
            let visible: Vec<char> = span.visible().chars().collect();
            visible.into_iter().map(move |sign| (sign, style, link.cloned()))
        });
        signs.filter(|(sign, _, _)| !sign.is_whitespace() && *sign != BREAKER).collect()
    };
    let (meant, read) = (seen(row), seen(&reader::inside(written)));
    meant.len() == read.len()
        && meant.iter().zip(&read).all(|(meant, read)| {
            // An address in plain words becomes a link by itself.
            meant.0 == read.0
                && meant.1 == read.1
                && meant.2.as_ref().is_none_or(|link| read.2.as_ref().is_some_and(|read| same_place(link, read)))
        })
}

fn same_place(link: &str, read: &str) -> bool {
    links::same_address(link, read) || address(link).is_some_and(|written| links::same_address(&written, read))
}

fn one_line(row: &[Span]) -> Vec<Span> {
    row.iter().map(|span| if span.is_break() { Span::text(" ") } else { span.clone() }).collect()
}

fn brackets_match(label: &str) -> bool {
    let mut open = false;
    for sign in label.chars() {
        match (sign, open) {
            ('[', false) => open = true,
            (']', true) => open = false,
            ('[' | ']', _) | ('\n', _) => return false,
            _ => {}
        }
    }
    !open
}

enum Token<'a> {
    Text(&'a str),
    Open(Style, usize),
    Close(Style, usize),
    /// Code, without its fence.
    Code(String),
    /// `[` before a label.
    Label,
    /// `](address)` after it.
    Target(String),
    /// An address that shows itself.
    Address(String),
    /// As it is.
    Raw(String),
    Break,
}

fn tokenize<'a>(nodes: &[Node<'a>], tokens: &mut Vec<Token<'a>>) {
    for node in nodes {
        match node {
            Node::Leaf(span) => tokens.push(match &span.piece {
                Piece::Text(text) => Token::Text(text),
                Piece::Break | Piece::SoftBreak => Token::Break,
                Piece::Mention(mention) => {
                    let id = &mention.id;
                    Token::Raw(match mention.of {
                        Mentioned::User => format!("<@{id}>"),
                        Mentioned::Role => format!("<@&{id}>"),
                        Mentioned::Channel => format!("<#{id}>"),
                        Mentioned::Command => format!("<{}:{id}>", mention.label),
                    })
                }
                Piece::Emoji(emoji) => {
                    Token::Raw(format!("<{}{}{}>", if emoji.animated { "a" } else { "" }, emoji.text, emoji.id))
                }
                Piece::Time(time) => Token::Raw(match time.form {
                    Some(form) => format!("<t:{}:{form}>", time.unix),
                    None => format!("<t:{}>", time.unix),
                }),
                // Adapted away.
                Piece::Note(_) => continue,
            }),
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
                tokenize(inside, tokens);
                let close = tokens.len();
                tokens.push(Token::Close(*style, open));
                if let Some(token) = tokens.get_mut(open) {
                    *token = Token::Open(*style, close);
                }
            }
            Node::Tagged(Tag::Link(link), inside) => {
                let Some(address) = address(link) else {
                    tokenize(inside, tokens);
                    continue;
                };
                if let [Node::Leaf(Span { piece: Piece::Text(text), style, .. })] = inside.as_slice()
                    && !style.has(Style::CODE)
                    && **text == ***link
                {
                    tokens.push(Token::Address(address));
                    continue;
                }
                tokens.push(Token::Label);
                tokenize(inside, tokens);
                tokens.push(Token::Target(address));
            }
        }
    }
}

struct Row<'a> {
    out: String,
    prefix: &'a str,
    tokens: &'a [Token<'a>],
    /// What comes next would stand at the start of a line.
    starts_line: bool,
}

impl Row<'_> {
    fn write(mut self) -> String {
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Text(text) => self.text(text, at),
                Token::Open(style, close) => self.out.push_str(self.sign(*style, at, *close)),
                Token::Close(style, open) => {
                    let sign = self.sign(*style, *open, at);
                    // These rules see no escapes: a sign of the same kind before them would be taken for theirs.
                    if matches!(*style, Style::STRIKE | Style::SPOILER)
                        && self.out.chars().next_back() == sign.chars().next()
                    {
                        self.out.push(BREAKER);
                    }
                    self.out.push_str(sign);
                    let next = match self.tokens.get(at + 1) {
                        Some(Token::Text(text)) => text.chars().next(),
                        _ => None,
                    };
                    if sign == "_" && next.is_some_and(|next| next.is_ascii_alphanumeric()) {
                        self.out.push(BREAKER);
                    }
                }
                Token::Code(code) => self.code(code),
                Token::Label => self.out.push('['),
                Token::Target(address) => self.out.push_str(&format!("]({address})")),
                Token::Address(address) => self.address(address, at),
                Token::Raw(raw) => self.out.push_str(raw),
                Token::Break => {
                    self.out.push('\n');
                    self.out.push_str(self.prefix);
                    self.starts_line = true;
                    continue;
                }
            }
            let is_blank = matches!(token, Token::Text(text) if text.trim().is_empty());
            self.starts_line &= is_blank;
        }
        self.out
    }

    /// A slant has two signs to choose from; next to bold's stars or underline's dashes only the other can be told from them.
    fn sign(&self, style: Style, open: usize, close: usize) -> &'static str {
        match style {
            Style::BOLD => "**",
            Style::STRIKE => "~~",
            Style::SPOILER => "||",
            Style::UNDERLINE => "__",
            _ => {
                let neighbours = [open.checked_sub(1), Some(open + 1), close.checked_sub(1), Some(close + 1)];
                let near = |style: Style| {
                    neighbours.into_iter().flatten().any(|at| match self.tokens.get(at) {
                        Some(Token::Open(of, _) | Token::Close(of, _)) => *of == style,
                        _ => false,
                    })
                };
                if near(Style::BOLD) { "_" } else { "*" }
            }
        }
    }

    fn code(&mut self, code: &str) {
        // A fence of a length that is not in the code; one of three would be another thing.
        let has_run = |length: usize| code.split(|sign| sign != '`').any(|run| run.len() == length);
        let (code, fence) = match (has_run(1), has_run(2)) {
            (false, _) => (code.to_owned(), "`"),
            (true, false) => (code.to_owned(), "``"),
            (true, true) => (code.replace("``", &format!("`{BREAKER}`")), "``"),
        };
        let (before, after) =
            (if code.starts_with('`') { " " } else { "" }, if code.ends_with('`') { " " } else { "" });
        self.out.push_str(&format!("{fence}{before}{}{after}{fence}", without_mentions(&code)));
    }

    fn address(&mut self, address: &str, at: usize) {
        let stands_free = match self.tokens.get(at + 1) {
            None | Some(Token::Break) => true,
            Some(Token::Text(text)) => text.starts_with(char::is_whitespace),
            _ => false,
        };
        let ends_well = !address.ends_with(['.', ',', ':', ';', '"', '\'', ']']);
        if stands_free && ends_well {
            self.out.push_str(address);
        } else {
            self.out.push_str(&format!("<{address}>"));
        }
    }

    fn text(&mut self, text: &str, at: usize) {
        let mut rest = text;
        if rest.starts_with('@') && self.out.ends_with('<') {
            self.out.push('@');
            self.out.push(BREAKER);
            rest = rest.get(1..).unwrap_or_default();
        }
        if self.starts_line {
            rest = self.line_start(rest);
        }
        while let Some(sign) = rest.chars().next() {
            if matches!(sign, 'h' | 's')
                && let Some(length) = address_length(rest)
            {
                // Escapes would be part of it. Where something follows that would be taken into it, it stands in angles.
                let (address, after) = rest.split_at(length);
                let address = address.replace("@everyone", "%40everyone").replace("@here", "%40here");
                let goes_on = after.is_empty() && !matches!(self.tokens.get(at + 1), None | Some(Token::Break));
                let ends_badly = address.ends_with(['.', ',', ':', ';', '"', '\'', ']', ')']);
                // A backslash behind it would be taken into it, too, and free nothing.
                if after.starts_with('<') || (goes_on && !ends_badly) {
                    self.out.push_str(&format!("<{address}>"));
                } else {
                    self.out.push_str(&address);
                }
                rest = after;
                continue;
            }
            if matches!(sign, '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '[' | ']') {
                self.out.push('\\');
            }
            self.out.push(sign);
            rest = rest.get(sign.len_utf8()..).unwrap_or_default();
            if sign == '<' && rest.starts_with('@') {
                self.out.push('@');
                self.out.push(BREAKER);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }

    /// Escapes what would begin a block.
    fn line_start<'t>(&mut self, text: &'t str) -> &'t str {
        // The client takes white space away before it looks.
        let words = text.trim_start();
        let (blanks, _) = text.split_at(text.len() - words.len());
        self.out.push_str(blanks);
        let digits = words.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = words.split_at(digits);
        if digits > 0 && after.starts_with('.') {
            self.out.push_str(number);
            self.out.push('\\');
            self.out.push('.');
            return after.get(1..).unwrap_or_default();
        }
        if words.starts_with(['#', '-', '>', '+']) {
            self.out.push('\\');
            let (first, after) = words.split_at(1);
            self.out.push_str(first);
            return after;
        }
        words
    }
}

/// `http(s)://` or `steam://` and all that follows up to white space or `<`, as the client takes it.
fn address_length(rest: &str) -> Option<usize> {
    let after = ["https://", "http://", "steam://"].iter().find_map(|scheme| rest.strip_prefix(scheme))?;
    let length = after.find(|sign: char| sign.is_whitespace() || sign == '<').unwrap_or(after.len());
    // A single sign is no address, but with the backslash that would free a `<` behind it.
    let is_one = length > 1 || (length == 1 && after.get(1..).is_some_and(|behind| behind.starts_with('<')));
    is_one.then_some(rest.len() - after.len() + length)
}

/// With mentions broken.
fn without_mentions(text: &str) -> String {
    text.replace("<@", &format!("<@{BREAKER}"))
}

/// With `@everyone` and `@here` broken, in whatever letters.
fn without_broadcasts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, from) = rest.split_at(at + 1);
        out.push_str(before);
        let calls = |word: &str| from.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        if calls("everyone") || calls("here") {
            out.push(BREAKER);
        }
        rest = from;
    }
    out.push_str(rest);
    out
}
