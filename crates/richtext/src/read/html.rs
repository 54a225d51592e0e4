//! HTML of e-mails, as strangers send it. Sanitised first (ammonia: what is not on a short list of elements and attributes is
//! gone, with the content of scripts and styles), then read. Nothing is loaded, pictures are their description.
//!
//! Before that, [`shallow`] takes away what would make an HTML parser work for nothing: comments, scripts, and elements nested
//! deeper than [`MAX_OPEN`].

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
};

use super::build::{Builder, Kind};
use crate::{
    links,
    tree::{Block, Document, Piece, Span, Style, Table},
};

/// How many elements may be open at once. Layout tables nest deeply; people who write do not.
const MAX_OPEN: usize = 200;
/// How many references (`&eacute;`) are looked up. The parser takes the square of their number.
const MAX_REFERENCES: usize = 20_000;
/// Stand for `&amp;`, `&lt;` and `&gt;` on their way through the parser, for the same reason: no characters, so in no text.
const AMPERSAND: char = '\u{fdd0}';
const LESS: char = '\u{fdd1}';
const GREATER: char = '\u{fdd2}';
/// Elements whose content is no text.
const WITHOUT_TEXT: &[&str] = &[
    "script", "style", "title", "template", "xmp", "iframe", "noembed", "noframes", "textarea", "svg", "math", "object",
];
const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// Elements that stand on lines of their own and say nothing else.
const PLAIN_BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "header",
    "footer",
    "center",
    "address",
    "dl",
    "dt",
    "dd",
    "main",
    "aside",
    "nav",
    "figure",
    "figcaption",
    "details",
    "summary",
];

static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let elements = [
        "b",
        "strong",
        "i",
        "em",
        "cite",
        "var",
        "u",
        "ins",
        "s",
        "strike",
        "del",
        "code",
        "kbd",
        "samp",
        "tt",
        "pre",
        "blockquote",
        "a",
        "span",
        "font",
        "br",
        "ul",
        "ol",
        "li",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "table",
        "caption",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "td",
        "th",
        "hr",
        "img",
    ];
    let attributes: HashMap<&str, HashSet<&str>> = [
        ("a", &["href", "style"][..]),
        ("span", &["class", "style"]),
        ("font", &["style"]),
        ("code", &["class"]),
        ("pre", &["class"]),
        ("ol", &["start"]),
        ("img", &["alt"]),
        ("td", &["align"]),
        ("th", &["align"]),
    ]
    .into_iter()
    .map(|(element, attributes)| (element, attributes.iter().copied().collect()))
    .collect();
    let mut cleaner = ammonia::Builder::empty();
    cleaner
        .tags(elements.iter().chain(PLAIN_BLOCKS).copied().collect())
        .clean_content_tags(WITHOUT_TEXT.iter().copied().filter(|element| *element != "textarea").collect())
        .tag_attributes(attributes)
        .generic_attributes(["hidden", "style"].into())
        .url_schemes(["http", "https", "mailto", "tel", "tg"].into())
        .url_relative(ammonia::UrlRelative::Deny)
        .link_rel(None);
    cleaner
});

/// Reads HTML that a stranger wrote.
#[must_use]
pub fn html(source: &str) -> Document {
    let clean = CLEANER.clean(&shallow(source)).to_string();
    let mut reader = Reader {
        builder: Builder::default(),
        open: Vec::new(),
        pre: None,
        data_tables: data_tables(&clean),
        table: None,
        nth_table: 0,
    };
    let mut rest = clean.as_str();
    while let Some(at) = rest.find('<') {
        let (text, from) = rest.split_at(at);
        reader.text(text);
        let (tag, after) = tag_and_rest(from);
        reader.tag(tag);
        rest = after;
    }
    reader.text(rest);
    reader.finish()
}

struct Reader {
    builder: Builder,
    open: Vec<Element>,
    /// The text in `<pre>`, and its language.
    pre: Option<(String, String)>,
    /// For each table of the source whether it holds data; the others only lay out a page.
    data_tables: Vec<bool>,
    /// Where in `open` the table that we are in stands.
    table: Option<usize>,
    nth_table: usize,
}

/// An element that is open.
struct Element {
    name: String,
    style: Style,
    link: Option<Arc<str>>,
    /// It opened something in the builder that must be closed with it.
    holds: bool,
    /// Nobody sees it, nor what is in it.
    hidden: bool,
}

impl Element {
    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), style: Style::NONE, link: None, holds: false, hidden: false }
    }
}

impl Reader {
    fn tag(&mut self, tag: &str) {
        if let Some(name) = tag.strip_prefix('/') {
            self.close(name.trim());
            return;
        }
        let name_length = tag.find(|sign: char| sign.is_whitespace() || sign == '/').unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(name_length);
        self.start(name, attributes);
    }

    fn start(&mut self, name: &str, attributes: &str) {
        if self.is_hidden() || is_hidden(attributes) {
            self.nth_table += usize::from(name == "table");
            if !VOID.contains(&name) {
                self.open.push(Element { hidden: true, ..Element::of(name) });
            }
            return;
        }
        if self.pre.is_some() {
            match name {
                "br" => self.text("\n"),
                "code" => {
                    if let (Some((language, _)), Some(class)) = (&mut self.pre, attribute(attributes, "class"))
                        && language.is_empty()
                    {
                        *language = language_of(&class);
                    }
                }
                _ => {}
            }
            if !VOID.contains(&name) {
                self.open.push(Element::of(name));
            }
            return;
        }
        let mut element = Element::of(name);
        match name {
            "br" => return self.line_end(),
            "hr" => {
                self.builder.end_spans(Kind::Paragraph);
                return self.builder.block(Block::Rule);
            }
            "img" => {
                if let Some(alt) = attribute(attributes, "alt").filter(|alt| !alt.trim().is_empty()) {
                    // In a link it leads where the link leads.
                    let is_linked = self.open.iter().any(|element| element.link.is_some());
                    self.words(&alt, if is_linked { Style::NONE } else { Style::IMAGE });
                }
                return;
            }
            "b" | "strong" => element.style = Style::BOLD,
            "i" | "em" | "cite" | "var" => element.style = Style::ITALIC,
            "u" | "ins" => element.style = Style::UNDERLINE,
            "s" | "strike" | "del" => element.style = Style::STRIKE,
            "code" | "kbd" | "samp" | "tt" => element.style = Style::CODE,
            "span" | "font" => {
                let class = attribute(attributes, "class").unwrap_or_default();
                if class.split_whitespace().any(|class| matches!(class, "spoiler" | "tg-spoiler")) {
                    element.style |= Style::SPOILER;
                }
                element.style |= attribute(attributes, "style").map_or(Style::NONE, |style| written_style(&style));
            }
            "a" => {
                element.link =
                    attribute(attributes, "href").filter(|href| links::harmless(href).is_some()).map(Arc::from)
            }
            "pre" => {
                self.builder.end_spans(Kind::Paragraph);
                let language = attribute(attributes, "class").map_or_else(String::new, |class| language_of(&class));
                self.pre = Some((language, String::new()));
            }
            "blockquote" => {
                self.builder.open_quote();
                element.holds = true;
            }
            "ul" => {
                self.builder.open_list(None);
                element.holds = true;
            }
            "ol" => {
                let start = attribute(attributes, "start").and_then(|start| start.parse().ok());
                self.builder.open_list(Some(start.unwrap_or(1)));
                element.holds = true;
            }
            "li" if self.builder.is_in_list() => {
                self.builder.open_item();
                element.holds = true;
            }
            "table" => {
                self.builder.end_spans(Kind::Paragraph);
                let holds_data = self.data_tables.get(self.nth_table).copied().unwrap_or_default();
                self.nth_table += 1;
                if holds_data && self.table.is_none() {
                    self.table = Some(self.open.len());
                    self.builder.open_table(Table::default());
                    element.holds = true;
                }
            }
            "td" | "th" if self.table.is_none() && self.builder.has_spans() => self.words(" ", Style::NONE),
            "td" | "th" => {}
            _ if self.table.is_some() => {}
            _ => self.builder.end_spans(Kind::Paragraph),
        }
        self.open.push(element);
    }

    fn close(&mut self, name: &str) {
        let Some(element) = self.open.pop() else { return };
        if element.hidden {
            return;
        }
        if self.pre.is_some() && name != "pre" {
            return;
        }
        if let Some(table) = self.table {
            match element.name.as_str() {
                "table" if table == self.open.len() => {
                    self.table = None;
                    self.builder.close_table();
                }
                "td" | "th" => self.builder.end_cell(),
                "tr" => {
                    let is_head = self.builder.table_has_no_head();
                    self.builder.end_row(is_head);
                }
                "p" | "div" | "li" => self.words(" ", Style::NONE),
                _ => {}
            }
            return;
        }
        match element.name.as_str() {
            "pre" => {
                if let Some((language, text)) = self.pre.take() {
                    let text = text.strip_prefix('\n').unwrap_or(&text);
                    let text = text.trim_end_matches('\n').to_owned();
                    if !text.trim().is_empty() {
                        self.builder.block(Block::Code { language, text });
                    }
                }
            }
            "h1" => self.builder.end_spans(Kind::Heading(1)),
            "h2" => self.builder.end_spans(Kind::Heading(2)),
            "h3" => self.builder.end_spans(Kind::Heading(3)),
            "h4" => self.builder.end_spans(Kind::Heading(4)),
            "h5" => self.builder.end_spans(Kind::Heading(5)),
            "h6" => self.builder.end_spans(Kind::Heading(6)),
            // A row of a table that only lays out is a line.
            "tr" => self.line_end(),
            "td" | "th" => {}
            _ if element.holds => self.builder.close(),
            _ if !element.style.is_none() || element.link.is_some() || is_inline(&element.name) => {}
            "p" if self.open.last().is_some_and(|around| around.name == "li") => {
                self.builder.loosen();
                self.builder.end_spans(Kind::Paragraph);
            }
            _ => self.builder.end_spans(Kind::Paragraph),
        }
    }

    /// Two in a row end the paragraph: so mails are written.
    fn line_end(&mut self) {
        match self.builder.spans_mut().last() {
            Some(last) if last.is_break() && self.table.is_none() => self.builder.end_spans(Kind::Paragraph),
            Some(_) => self.builder.span(Span::of(Piece::Break)),
            None => {}
        }
    }

    /// Whether we are in something that nobody sees.
    fn is_hidden(&self) -> bool {
        self.open.last().is_some_and(|element| element.hidden)
    }

    fn text(&mut self, text: &str) {
        if self.is_hidden() {
            return;
        }
        let text = decoded(text);
        if let Some((_, pre)) = &mut self.pre {
            pre.push_str(&text);
        } else {
            self.words(&text, Style::NONE);
        }
    }

    /// Words, white space as one space, none at the start of a line.
    fn words(&mut self, text: &str, style: Style) {
        let is_blank = |sign: char| matches!(sign, ' ' | '\t' | '\n' | '\r' | '\u{c}');
        let mut after_blank = match self.builder.spans_mut().last() {
            None => true,
            Some(last) => last.is_break() || matches!(&last.piece, Piece::Text(text) if text.ends_with(' ')),
        };
        let mut out = String::with_capacity(text.len());
        for sign in text.chars() {
            if !is_blank(sign) {
                out.push(sign);
            } else if !after_blank {
                out.push(' ');
            }
            after_blank = is_blank(sign);
        }
        let style = self.open.iter().fold(style, |all, element| all | element.style);
        let link = self.open.iter().rev().find_map(|element| element.link.clone());
        self.builder.span(Span { piece: Piece::Text(out), style, link });
    }

    fn finish(self) -> Document {
        let mut document = self.builder.finish();
        trim_line_ends(&mut document.blocks);
        document
    }
}

/// A space before a line end, or at the end of a paragraph, is nothing that anybody sees.
fn trim_line_ends(blocks: &mut [Block]) {
    for block in blocks {
        match block {
            Block::Paragraph(row) | Block::Heading { content: row, .. } => trim_row(row),
            Block::List(list) => list.items.iter_mut().for_each(|item| trim_line_ends(item)),
            Block::Quote { blocks, .. } | Block::Note { blocks, .. } => trim_line_ends(blocks),
            Block::Table(table) => table.head.iter_mut().chain(table.rows.iter_mut().flatten()).for_each(trim_row),
            Block::Code { .. } | Block::Rule => {}
        }
    }
}

fn trim_row(row: &mut Vec<Span>) {
    let mut ends_line = true;
    for span in row.iter_mut().rev() {
        if let (true, Piece::Text(text)) = (ends_line, &mut span.piece) {
            text.truncate(text.trim_end_matches(' ').len());
            if text.is_empty() {
                continue;
            }
        }
        ends_line = span.is_break();
    }
    row.retain(|span| !matches!(&span.piece, Piece::Text(text) if text.is_empty()));
}

fn is_inline(name: &str) -> bool {
    matches!(
        name,
        "span"
            | "font"
            | "a"
            | "b"
            | "strong"
            | "i"
            | "em"
            | "cite"
            | "var"
            | "u"
            | "ins"
            | "s"
            | "strike"
            | "del"
            | "code"
            | "kbd"
            | "samp"
            | "tt"
    )
}

/// Whether its writer took care that nobody sees it. (No size and no colour say so: layouts set sizes to nothing and set them
/// again further in.)
fn is_hidden(attributes: &str) -> bool {
    if attribute(attributes, "hidden").is_some() {
        return true;
    }
    let Some(style) = attribute(attributes, "style") else { return false };
    style.to_ascii_lowercase().split(';').filter_map(|rule| rule.split_once(':')).any(|(property, value)| {
        let value = value.trim().trim_end_matches("!important").trim_end();
        let is_nothing =
            || value.trim_end_matches(|sign: char| sign.is_ascii_alphabetic() || sign == '%').parse() == Ok(0.0);
        match property.trim() {
            "display" => value == "none",
            "visibility" => value == "hidden",
            "mso-hide" => value == "all",
            "opacity" | "max-height" => is_nothing(),
            _ => false,
        }
    })
}

/// The styles that a `style` attribute asks for in the ways that mail programs write them.
fn written_style(style: &str) -> Style {
    let mut found = Style::NONE;
    for rule in style.to_ascii_lowercase().split(';') {
        let Some((property, value)) = rule.split_once(':') else { continue };
        let value = value.trim();
        match property.trim() {
            "font-weight" if value.starts_with("bold") || matches!(value, "600" | "700" | "800" | "900") => {
                found |= Style::BOLD
            }
            "font-style" if value.starts_with("italic") => found |= Style::ITALIC,
            "text-decoration" | "text-decoration-line" => {
                if value.contains("underline") {
                    found |= Style::UNDERLINE;
                }
                if value.contains("line-through") {
                    found |= Style::STRIKE;
                }
            }
            _ => {}
        }
    }
    found
}

fn language_of(class: &str) -> String {
    let named = class
        .split_whitespace()
        .find_map(|class| class.strip_prefix("language-").or_else(|| class.strip_prefix("lang-")));
    named.unwrap_or_default().to_owned()
}

/// An attribute of a tag as ammonia writes it: `name="value"`.
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|sign: char| sign.is_whitespace() || sign == '/');
        let (found, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        if found.trim() == name {
            return Some(decoded(value).into_owned());
        }
        rest = after;
    }
}

/// The references that are left in sanitised HTML.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', AMPERSAND, LESS, GREATER]) {
        return Cow::Borrowed(text);
    }
    let text = text.replace(AMPERSAND, "&amp;").replace(LESS, "&lt;").replace(GREATER, "&gt;");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&nbsp;", '\u{a0}')];
        match known.iter().find(|(reference, _)| from.starts_with(reference)) {
            Some((reference, sign)) => {
                out.push(*sign);
                rest = from.get(reference.len()..).unwrap_or_default();
            }
            None => {
                out.push('&');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What stands between the `<` at the start and the `>` that ends it outside of quotes, and what comes after.
fn tag_and_rest(from: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, byte) in from.bytes().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return (from.get(1..at).unwrap_or_default(), from.get(at + 1..).unwrap_or_default()),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    (from.get(1..).unwrap_or_default(), "")
}

/// Which tables hold data: those with a `<th>` and no table inside of them.
fn data_tables(clean: &str) -> Vec<bool> {
    let mut found: Vec<(bool, bool)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = clean;
    while let Some(at) = rest.find('<') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if rest.starts_with("table>") || rest.starts_with("table ") {
            if let Some((_, nests)) = open.last().and_then(|nth| found.get_mut(*nth)) {
                *nests = true;
            }
            open.push(found.len());
            found.push((false, false));
        } else if rest.starts_with("/table>") {
            open.pop();
        } else if (rest.starts_with("th>") || rest.starts_with("th "))
            && let Some((has_head, _)) = open.last().and_then(|nth| found.get_mut(*nth))
        {
            *has_head = true;
        }
    }
    found.into_iter().map(|(has_head, nests)| has_head && !nests).collect()
}

/// Without comments, scripts and the like, and without the tags of elements that would be nested too deep: their text stays.
fn shallow(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut open: HashMap<String, usize> = HashMap::new();
    let mut count = 0;
    let mut references = 0;
    let source = source.replace([AMPERSAND, LESS, GREATER], "");
    let mut rest = source.as_str();
    while let Some(at) = rest.find(['<', '&']) {
        let (text, from) = rest.split_at(at);
        out.push_str(text);
        if let Some(after) = from.strip_prefix('&') {
            let known = [("amp;", AMPERSAND), ("lt;", LESS), ("gt;", GREATER)];
            if let Some((name, sign)) = known.iter().find(|(name, _)| after.starts_with(name)) {
                out.push(*sign);
                rest = after.get(name.len()..).unwrap_or_default();
            } else {
                let is_reference = references < MAX_REFERENCES && is_reference(after);
                references += usize::from(is_reference);
                out.push(if is_reference { '&' } else { AMPERSAND });
                rest = after;
            }
            continue;
        }
        let second = from.as_bytes().get(1).copied().unwrap_or(b' ');
        if let Some(comment) = from.strip_prefix("<!--") {
            // `<!-->` and `<!--->` are whole comments.
            let skip = if comment.starts_with('>') {
                Some(1)
            } else if comment.starts_with("->") {
                Some(2)
            } else {
                None
            };
            let end = skip.or_else(|| comment.find("-->").map(|end| end + 3));
            rest = end.and_then(|end| comment.get(end..)).unwrap_or_default();
            continue;
        }
        if matches!(second, b'!' | b'?') {
            rest = from.split_once('>').map_or("", |(_, after)| after);
            continue;
        }
        if !second.is_ascii_alphabetic() && second != b'/' {
            out.push(LESS);
            rest = from.get(1..).unwrap_or_default();
            continue;
        }
        let (tag, after) = tag_and_rest(from);
        rest = after;
        let name = tag.trim_start_matches('/').split(|sign: char| sign.is_whitespace() || sign == '/').next();
        let name = name.unwrap_or_default().to_ascii_lowercase();
        if second == b'/' {
            if let Some(same) = open.get_mut(&name).filter(|same| **same > 0) {
                *same -= 1;
                count -= 1;
                put(&mut out, tag);
            } else if name == "p" || name == "br" {
                // A stray one of these is an empty paragraph or a line end.
                out.push_str("<br>");
            }
        } else if WITHOUT_TEXT.contains(&name.as_str()) {
            rest = after_end_of(rest, &name);
        } else if VOID.contains(&name.as_str()) {
            put(&mut out, tag);
        } else if count < MAX_OPEN {
            *open.entry(name).or_default() += 1;
            count += 1;
            put(&mut out, tag);
        }
    }
    out.push_str(rest);
    out
}

/// Whether a reference goes on so: `name;`, `#123;` or `#x1f;`.
fn is_reference(after: &str) -> bool {
    let length = after.bytes().take(33).take_while(|sign| sign.is_ascii_alphanumeric() || *sign == b'#').count();
    length > 1 && after.as_bytes().get(length) == Some(&b';')
}

fn put(out: &mut String, tag: &str) {
    out.push('<');
    out.push_str(tag);
    out.push('>');
}

/// What comes after `</name…>`; nothing when it is never closed.
fn after_end_of<'a>(from: &'a str, name: &str) -> &'a str {
    let mut rest = from;
    while let Some((_, after)) = rest.split_once("</") {
        if after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return after.split_once('>').map_or("", |(_, after)| after);
        }
        rest = after;
    }
    ""
}
