//! What begins at the start of a line: headings, small print, quotes, lists. And code blocks, which begin anywhere.

use super::{Sink, State};
use crate::{
    spans,
    tree::{Block, List, MAX_DEPTH, Style},
};

/// How long a language's name may be.
const MAX_LANGUAGE: usize = 100;
/// How long a list's number may be.
const MAX_DIGITS: usize = 9;

impl Sink<'_> {
    /// Reads a block that begins at the start of `rest`, which is the start of a line. Says how long it was.
    pub(super) fn read_block(&mut self, rest: &str, state: &State) -> Option<usize> {
        let indent = rest.len() - rest.trim_start_matches(' ').len();
        let from = rest.get(indent..)?;
        match from.bytes().next()? {
            b'#' => self.heading(from, state),
            b'-' if from.starts_with("-#") => self.small(from, state),
            b'>' if !state.in_quote => self.quote(rest, state),
            b'-' | b'*' | b'0'..=b'9' => self.list(rest, indent, state),
            _ => None,
        }
        .map(|length| if from.starts_with('#') || from.starts_with("-#") { indent + length } else { length })
    }

    fn heading(&mut self, from: &str, state: &State) -> Option<usize> {
        let level = from.len() - from.trim_start_matches('#').len();
        let line = from.split('\n').next()?;
        let said = line.get(level..).filter(|said| said.starts_with([' ', '\t']))?.trim();
        // Signs of the same kind may close a heading.
        let content = said.trim_end_matches('#').trim_end();
        if level > 3 || content.is_empty() {
            return None;
        }
        let content = self.row_of(content, state);
        let level = u8::try_from(level).ok()?;
        self.block(Block::Heading { level, content });
        Some(line.len() + usize::from(from.len() > line.len()))
    }

    fn small(&mut self, from: &str, state: &State) -> Option<usize> {
        let line = from.split('\n').next()?;
        let said = line.get(2..).filter(|said| said.starts_with([' ', '\t']))?.trim();
        if said.is_empty() {
            return None;
        }
        let mut row = self.row_of(said, state);
        spans::restyle(&mut row, Style::SMALL);
        self.block(Block::Paragraph(row));
        Some(line.len() + usize::from(from.len() > line.len()))
    }

    fn quote(&mut self, rest: &str, state: &State) -> Option<usize> {
        let trimmed = rest.trim_start_matches(' ');
        let (content, length) = if let Some(all) = trimmed.strip_prefix(">>> ") {
            (all.to_owned(), rest.len())
        } else {
            let mut content = String::new();
            let mut length = 0;
            for line in rest.split_inclusive('\n') {
                let Some(said) = line.trim_start_matches(' ').strip_prefix("> ") else { break };
                content.push_str(said);
                length += line.len();
            }
            if length == 0 {
                return None;
            }
            (content, length)
        };
        let inner = State { in_quote: true, ..state.deeper() };
        let blocks = self.blocks_of(content.trim_end_matches('\n'), &inner);
        if blocks.is_empty() {
            return None;
        }
        self.block(Block::Quote { expandable: false, blocks });
        Some(length)
    }

    /// Lines of items and, indented, what belongs to them; a blank line ends the list.
    fn list(&mut self, rest: &str, indent: usize, state: &State) -> Option<usize> {
        if state.depth >= MAX_DEPTH {
            return None;
        }
        let first = marker(rest.get(indent..)?)?;
        let mut items: Vec<String> = Vec::new();
        let mut length = 0;
        let mut width = 0;
        for line in rest.split_inclusive('\n') {
            let text = line.strip_suffix('\n').unwrap_or(line);
            // A line of spaces does not end a list, only an empty one does.
            if text.is_empty() {
                break;
            }
            let spaces = text.len() - text.trim_start_matches(' ').len();
            let own = text.get(indent..).filter(|_| spaces == indent).and_then(marker);
            match (own, items.last_mut()) {
                (Some(own), _) => {
                    width = own.length;
                    items.push(text.get(indent + own.length..).unwrap_or_default().to_owned());
                }
                (None, Some(item)) if spaces > indent => {
                    item.push('\n');
                    item.push_str(text.get(spaces.min(indent + width)..).unwrap_or_default());
                }
                _ => break,
            }
            length += line.len();
        }
        let inner = State { in_quote: state.in_quote, blocks: true, ..state.deeper() };
        let items = items.iter().map(|item| self.blocks_of(item, &inner)).collect();
        self.block(Block::List(List { start: first.number, tight: true, items }));
        Some(length)
    }

    /// Three backticks to the next three. A first line that can be a language's name is one. Says how long it was.
    pub(super) fn code_block(&mut self, rest: &str) -> Option<usize> {
        let after = rest.strip_prefix("```")?;
        let (language, content, skipped) = fenced(after)?;
        let text = content.trim_matches('\n').to_owned();
        self.block(Block::Code { language: language.to_owned(), text });
        let length = 3 + skipped + content.len() + 3;
        Some(length + usize::from(rest.get(length..).is_some_and(|after| after.starts_with('\n'))))
    }
}

/// Language, content, and how much stood before the content.
fn fenced(after: &str) -> Option<(&str, &str, usize)> {
    let in_name = |sign: char| sign.is_ascii_alphanumeric() || "_+-.#".contains(sign);
    let until_close = |from: &'_ str| -> Option<usize> {
        // At least one sign that is no line end stands before the closing backticks.
        let start = from.len() - from.trim_start_matches('\n').len();
        let first = from.get(start..)?.chars().next()?.len_utf8();
        from.get(start + first..)?.find("```").map(|end| start + first + end)
    };
    let first_line_end = after.bytes().take(MAX_LANGUAGE).position(|byte| byte == b'\n');
    if let Some(line) = first_line_end.and_then(|end| after.get(..end))
        && let Some(content) = after.get(line.len() + 1..)
        && !line.is_empty()
        && line.chars().all(in_name)
        && !content.trim_start_matches('\n').starts_with("```")
        && let Some(end) = until_close(content)
    {
        return Some((line, content.get(..end)?, line.len() + 1));
    }
    Some(("", after.get(..until_close(after)?)?, 0))
}

struct Marker {
    number: Option<u64>,
    /// With the spaces that follow.
    length: usize,
}

/// A bullet or a number with its space, and something after it.
fn marker(text: &str) -> Option<Marker> {
    let digits = text.bytes().take(MAX_DIGITS + 1).take_while(u8::is_ascii_digit).count();
    let (number, sign) = match digits {
        0 => (None, text.strip_prefix(['-', '*'])?),
        1..=MAX_DIGITS => (Some(text.get(..digits)?.parse().ok()?), text.get(digits..)?.strip_prefix('.')?),
        _ => return None,
    };
    let said = sign.split('\n').next().unwrap_or_default();
    let spaces = said.len() - said.trim_start_matches(' ').len();
    (spaces > 0 && spaces < said.len()).then_some(Marker { number, length: text.len() - sign.len() + spaces })
}
