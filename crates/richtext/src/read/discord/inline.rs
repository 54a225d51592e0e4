//! What stands between words. The rules are tried in the client's order; each comment shows the pattern.

use super::{Sink, State};
use crate::{
    links,
    tree::{Emoji, Mention, Mentioned, Piece, Platform, Style, Time},
};

/// Deeper than anybody writes; what is nested deeper is text.
const MAX_NESTED: usize = 40;
/// A text that is longer is hostile, and a search that failed in it once is not tried again (see the module).
const LONG: usize = 8 * 1024;
/// How long the label of a link may be, in bytes.
const MAX_LABEL: usize = 2 * 1024;
/// The client leaves this figure alone, whose arms would be markup.
const SHRUG: &str = "¯\\_(ツ)_/¯";

/// Markups whose end is searched for.
#[derive(Clone, Copy)]
enum Search {
    Star,
    Underscore,
    Strong,
    Underline,
    Strike,
    Spoiler,
    Code,
    Fence,
    Label,
}

/// Which searches have reached the end of a long text in vain.
#[derive(Default)]
struct Hopeless([bool; 9]);

impl Hopeless {
    fn try_once(&mut self, search: Search, text: &str, find: impl FnOnce() -> Option<usize>) -> Option<usize> {
        let known = self.0.get_mut(search as usize)?;
        if *known {
            return None;
        }
        let found = find();
        *known = found.is_none() && text.len() > LONG;
        found
    }
}

impl Sink<'_> {
    pub(super) fn read(&mut self, source: &str, state: &State) {
        let mut hopeless = Hopeless::default();
        let mut at = 0;
        while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
            let starts_line = at == 0 || source.as_bytes().get(at - 1) == Some(&b'\n');
            if starts_line
                && state.blocks
                && let Some(length) = self.read_block(rest, state)
            {
                at += length;
                continue;
            }
            if state.depth < MAX_NESTED
                && let Some(length) = self.markup(rest, state, &mut hopeless)
            {
                at += length;
                continue;
            }
            if rest.starts_with('\n') {
                self.line_ends += 1;
                at += 1;
                continue;
            }
            let length = text_length(rest);
            self.span(Piece::Text(rest.get(..length).unwrap_or_default().to_owned()), state);
            at += length;
        }
    }

    /// A markup at the start of `rest`; says how long it was.
    fn markup(&mut self, rest: &str, state: &State, hopeless: &mut Hopeless) -> Option<usize> {
        match rest.bytes().next()? {
            b'\\' => {
                // \\([^0-9A-Za-z\s])
                let sign = rest.chars().nth(1).filter(|sign| !sign.is_ascii_alphanumeric() && !sign.is_whitespace())?;
                self.span(Piece::Text(sign.to_string()), state);
                Some(1 + sign.len_utf8())
            }
            b'`' => self.code(rest, state, hopeless),
            b'<' => self.in_angles(rest, state),
            b'h' if state.link.is_none() => {
                let length = address_length(rest)?;
                let address = rest.get(..length)?;
                let linked = State { link: Some(address.into()), ..state.clone() };
                self.span(Piece::Text(address.to_owned()), &linked);
                Some(length)
            }
            b'[' if state.link.is_none() => self.masked_link(rest, state, hopeless),
            b'*' => {
                let star = hopeless.try_once(Search::Star, rest, || star_end(rest));
                let strong = hopeless.try_once(Search::Strong, rest, || double_end(rest, "**"));
                // The longer one counts, and of two equally long ones the slanted one.
                match (star, strong) {
                    (Some(star), strong) if strong.is_none_or(|strong| star >= strong) => {
                        self.styled(rest, star, 1, Style::ITALIC, state)
                    }
                    (_, Some(strong)) => self.styled(rest, strong, 2, Style::BOLD, state),
                    _ => None,
                }
            }
            b'_' => {
                let single = hopeless.try_once(Search::Underscore, rest, || underscore_end(rest));
                let double = hopeless.try_once(Search::Underline, rest, || double_end(rest, "__"));
                match (single, double) {
                    (Some(single), double) if double.is_none_or(|double| single >= double) => {
                        self.styled(rest, single, 1, Style::ITALIC, state)
                    }
                    (_, Some(double)) => self.styled(rest, double, 2, Style::UNDERLINE, state),
                    _ => None,
                }
            }
            b'~' => {
                // ~~([\s\S]+?)~~(?!_)
                let end = hopeless.try_once(Search::Strike, rest, || simple_end(rest, "~~", Some('_')))?;
                self.styled(rest, end, 2, Style::STRIKE, state)
            }
            b'|' => {
                // \|\|([\s\S]+?)\|\|
                let end = hopeless.try_once(Search::Spoiler, rest, || simple_end(rest, "||", None))?;
                self.styled(rest, end, 2, Style::SPOILER, state)
            }
            _ if rest.starts_with(SHRUG) => {
                self.span(Piece::Text(SHRUG.to_owned()), state);
                Some(SHRUG.len())
            }
            _ => None,
        }
    }

    fn styled(&mut self, rest: &str, length: usize, sign: usize, style: Style, state: &State) -> Option<usize> {
        let content = rest.get(sign..length - sign)?;
        self.read(content, &state.styled(style));
        Some(length)
    }

    fn code(&mut self, rest: &str, state: &State, hopeless: &mut Hopeless) -> Option<usize> {
        if rest.starts_with("```")
            && hopeless.try_once(Search::Fence, rest, || rest.get(3..)?.find("```")).is_some()
            && let Some(length) = self.code_block(rest)
        {
            return Some(length);
        }
        let run = rest.len() - rest.trim_start_matches('`').len();
        let found = hopeless
            .try_once(Search::Code, rest, || code_end(rest, run).map(|(length, _)| length))
            .and_then(|_| code_end(rest, run));
        let Some((length, ticks)) = found else {
            // None of these backticks begins anything.
            self.span(Piece::Text(rest.get(..run)?.to_owned()), state);
            return Some(run);
        };
        let content = rest.get(ticks..length - ticks)?;
        // One space that keeps a backtick of the content from its fence.
        let content = match content.strip_prefix(' ') {
            Some(inner) if inner.trim_start_matches(' ').starts_with('`') => inner,
            _ => content,
        };
        let content = match content.strip_suffix(' ') {
            Some(inner) if inner.trim_end_matches(' ').ends_with('`') => inner,
            _ => content,
        };
        let content = content.replace('\n', " ");
        self.span(Piece::Text(content), &State { style: state.style | Style::CODE, ..state.clone() });
        Some(length)
    }

    /// `<https://…>`, `<a@b.example>`, `<+123>`, `<@1>`, `<@!1>`, `<@&1>`, `<#1>`, `</name:1>`, `<:name:1>`, `<a:name:1>`, `<t:1:f>`,
    /// `<id:guide>` (<https://discord.com/developers/docs/reference#message-formatting>).
    fn in_angles(&mut self, rest: &str, state: &State) -> Option<usize> {
        let end =
            rest.bytes().take(2_100).skip(1).position(|byte| matches!(byte, b'>' | b'<' | b'\n')).map(|end| end + 1)?;
        let inside = rest.get(1..end)?;
        if rest.as_bytes().get(end) != Some(&b'>') {
            return None;
        }
        let length = end + 1;
        let is_address = inside.starts_with("http://") || inside.starts_with("https://");
        if is_address && !inside.contains([' ', '<']) && state.link.is_none() {
            let linked = State { link: Some(inside.into()), ..state.clone() };
            self.span(Piece::Text(inside.to_owned()), &linked);
            return Some(length);
        }
        if let Some((label, address)) = reachable(inside).filter(|_| state.link.is_none()) {
            let linked = State { link: Some(address.into()), ..state.clone() };
            self.span(Piece::Text(label.to_owned()), &linked);
            return Some(length);
        }
        let piece = mention(inside)
            .map(|mut mention| {
                if let Some(known) = (self.name)(&mention) {
                    mention.label = known;
                }
                Piece::Mention(mention)
            })
            .or_else(|| emoji(inside).map(Piece::Emoji))
            .or_else(|| time(inside).map(Piece::Time))
            .or_else(|| navigation(inside).map(|name| Piece::Text(name.to_owned())))?;
        self.span(piece, state);
        Some(length)
    }

    /// `[label](address)`, perhaps with angles around the address or a title behind it. Only to the web; a label that is itself an
    /// address masks nothing.
    fn masked_link(&mut self, rest: &str, state: &State, hopeless: &mut Hopeless) -> Option<usize> {
        let end = hopeless
            .try_once(Search::Label, rest, || rest.find("](").and_then(|at| rest.get(at..)?.find(')')))
            .and_then(|_| label_end(rest))?;
        let label = rest.get(1..end)?;
        let (address, length) = target(rest.get(end + 1..)?)?;
        let web = address.starts_with("http://") || address.starts_with("https://");
        if !web || label.trim().is_empty() || (links::looks_like_address(label) && !links::same_address(label, address))
        {
            return None;
        }
        self.read(label, &State { link: Some(address.into()), blocks: false, ..state.deeper() });
        Some(end + 1 + length)
    }
}

/// Up to the next sign that a rule may begin with.
fn text_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let first = rest.chars().next().map_or(1, char::len_utf8);
    for (at, byte) in bytes.iter().enumerate().skip(first) {
        let special = match byte {
            b'\\' | b'`' | b'<' | b'[' | b'*' | b'_' | b'~' | b'|' | b'\n' => true,
            b'h' => bytes.get(at..).is_some_and(|from| from.starts_with(b"http")),
            // The first byte of the shrugging figure.
            0xC2 => bytes.get(at..).is_some_and(|from| from.starts_with(SHRUG.as_bytes())),
            _ => false,
        };
        if special {
            return at;
        }
    }
    rest.len()
}

/// `https?://[^\s<]+[^<.,:;"'\]\s]`, without a bracket at the end that was not opened in it.
fn address_length(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("https://").or_else(|| rest.strip_prefix("http://"))?;
    let scheme = rest.len() - after.len();
    let end = after.find(|sign: char| sign.is_whitespace() || sign == '<').unwrap_or(after.len());
    let mut address = after.get(..end)?.trim_end_matches(['.', ',', ':', ';', '"', '\'', ']']);
    let opened = address.matches('(').count();
    let mut closed = address.matches(')').count();
    while closed > opened
        && let Some(shorter) = address.strip_suffix(')')
    {
        address = shorter;
        closed -= 1;
    }
    (address.chars().nth(1).is_some()).then_some(scheme + address.len())
}

/// `\*(?=\S)((?:\*\*|\\[\s\S]|\s+(?:\\[\s\S]|[^\s*\\]|\*\*)|[^\s*\\])+?)\*(?!\*)`
fn star_end(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    if rest.chars().nth(1)?.is_whitespace() {
        return None;
    }
    let mut items = 0;
    loop {
        let from = rest.get(at..)?;
        let sign = from.chars().next()?;
        if sign == '*' && items > 0 && bytes.get(at + 1) != Some(&b'*') {
            return Some(at + 1);
        }
        let blank = from.len() - from.trim_start().len();
        let from = from.get(blank..)?;
        let sign = from.chars().next()?;
        at += blank
            + match sign {
                '*' if from.starts_with("**") => 2,
                '*' => return None,
                '\\' => 1 + from.chars().nth(1)?.len_utf8(),
                other => other.len_utf8(),
            };
        items += 1;
    }
}

/// `\b_((?:__|\\[\s\S]|[^\\_])+?)_\b`
fn underscore_end(rest: &str) -> Option<usize> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = rest.as_bytes();
    let mut at = 1;
    let mut items = 0;
    loop {
        match bytes.get(at)? {
            b'_' if items > 0 && !is_word(bytes.get(at + 1)) => return Some(at + 1),
            b'_' if bytes.get(at + 1) == Some(&b'_') => at += 2,
            b'_' => return None,
            b'\\' => at += 1 + rest.get(at + 1..)?.chars().next()?.len_utf8(),
            _ => at += rest.get(at..)?.chars().next()?.len_utf8(),
        }
        items += 1;
    }
}

/// `\*\*((?:\\[\s\S]|[^\\])+?)\*\*(?!\*)`, and the same with underscores.
fn double_end(rest: &str, sign: &str) -> Option<usize> {
    rest.strip_prefix(sign)?;
    let bytes = rest.as_bytes();
    let same = *sign.as_bytes().first()?;
    let mut at = 2;
    loop {
        let from = rest.get(at..)?;
        if at > 2 && from.starts_with(sign) && bytes.get(at + 2) != Some(&same) {
            return Some(at + 2);
        }
        let first = from.chars().next()?;
        at += match first {
            '\\' => 1 + from.chars().nth(1)?.len_utf8(),
            other => other.len_utf8(),
        };
    }
}

fn simple_end(rest: &str, sign: &str, not_before: Option<char>) -> Option<usize> {
    let content = rest.strip_prefix(sign)?;
    let mut from = content.chars().next()?.len_utf8();
    loop {
        let end = from + content.get(from..)?.find(sign)?;
        let after = content.get(end + sign.len()..)?;
        if not_before.is_none_or(|sign| !after.starts_with(sign)) {
            return Some(sign.len() * 2 + end);
        }
        from = end + 1;
    }
}

/// ``(`+)([\s\S]*?[^`])\1(?!`)``: whole length and how many backticks. A run that finds none of its length may give some of its
/// backticks to the content.
fn code_end(rest: &str, run: usize) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    let bytes = rest.as_bytes();
    let mut at = run;
    while let Some(next) = bytes.get(at..).and_then(|from| from.iter().position(|byte| *byte == b'`')) {
        let start = at + next;
        let length = bytes.get(start..)?.iter().take_while(|byte| **byte == b'`').count();
        if length == run {
            return Some((start + length, run));
        }
        // The longest one that fits wins, and of those the first.
        if length < run && best.is_none_or(|(_, ticks)| length > ticks) {
            best = Some((start + length, length));
        }
        at = start + length;
    }
    best
}

/// Where the label that begins with `[` ends. A bracket inside must be closed inside.
fn label_end(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < MAX_LABEL {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'[' => at += 1 + bytes.get(at..)?.iter().take(MAX_LABEL).position(|byte| *byte == b']')?,
            b']' if bytes.get(at + 1) == Some(&b'(') => return Some(at),
            b']' => {
                // Fine when another one follows before any opens.
                let next = bytes.get(at + 1..)?.iter().take(MAX_LABEL).find(|byte| matches!(byte, b'[' | b']'))?;
                if *next == b'[' {
                    return None;
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    None
}

/// `(address)`, `(<address>)` or with a title: the address, and how long all of it is.
fn target(from: &str) -> Option<(&str, usize)> {
    let inside = from.strip_prefix('(')?;
    let blank = inside.len() - inside.trim_start().len();
    let mut at = 1 + blank;
    let angled = from.get(at..)?.starts_with('<');
    at += usize::from(angled);
    let start = at;
    let mut depth = 0;
    let bytes = from.as_bytes();
    loop {
        match bytes.get(at).filter(|_| at - start < MAX_LABEL)? {
            b'>' if angled => break,
            b'(' => depth += 1,
            b')' if depth == 0 => break,
            b')' => depth -= 1,
            byte if byte.is_ascii_whitespace() => break,
            _ => {}
        }
        at += 1;
    }
    let address = from.get(start..at)?;
    at += usize::from(angled && bytes.get(at) == Some(&b'>'));
    let after = from.get(at..)?;
    let mut rest = after.trim_start();
    if rest.len() < after.len()
        && let Some(title) = rest.strip_prefix(['"', '\''])
    {
        let quote = rest.chars().next()?;
        let end = title.bytes().take(MAX_LABEL).position(|byte| char::from(byte) == quote)?;
        rest = title.get(end + 1..)?.trim_start();
    }
    let rest = rest.strip_prefix(')')?;
    (!address.is_empty()).then_some((address, from.len() - rest.len()))
}

/// Somebody to write to or to call: what is seen, and the address.
fn reachable(inside: &str) -> Option<(&str, String)> {
    let mail = inside.strip_prefix("mailto:").unwrap_or(inside);
    let is_mail = links::find(mail).next().is_some_and(|found| found.prefix == "mailto:" && found.text == mail);
    if is_mail {
        return Some((mail, format!("mailto:{mail}")));
    }
    let number = inside.strip_prefix("tel:").unwrap_or(inside);
    let digits = number.strip_prefix('+')?;
    let good = (3..=20).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    good.then(|| (number, format!("tel:{number}")))
}

/// A place of every server, by the name that its client shows.
fn navigation(inside: &str) -> Option<&'static str> {
    let place = inside.strip_prefix("id:")?;
    Some(match place.split(':').next()? {
        "guide" => "Server Guide",
        "browse" => "Browse Channels",
        "customize" => "Channels & Roles",
        "linked-roles" => "Linked Roles",
        _ => return None,
    })
}

fn mention(inside: &str) -> Option<Mention> {
    let of = |of, id: &str, label: String| is_id(id).then(|| Mention { of, id: id.to_owned(), label });
    if let Some(id) = inside.strip_prefix("@&") {
        return of(Mentioned::Role, id, format!("@{id}"));
    }
    if let Some(id) = inside.strip_prefix('@') {
        let id = id.strip_prefix('!').unwrap_or(id);
        return of(Mentioned::User, id, format!("@{id}"));
    }
    if let Some(id) = inside.strip_prefix('#') {
        return of(Mentioned::Channel, id, format!("#{id}"));
    }
    let (name, id) = inside.strip_prefix('/')?.rsplit_once(':')?;
    let good = !name.is_empty() && name.chars().all(|sign| sign.is_alphanumeric() || "-_ '".contains(sign));
    good.then(|| of(Mentioned::Command, id, format!("/{name}"))).flatten()
}

fn emoji(inside: &str) -> Option<Emoji> {
    let (animated, rest) = match inside.strip_prefix("a:") {
        Some(rest) => (true, rest),
        None => (false, inside.strip_prefix(':')?),
    };
    let (name, id) = rest.split_once(':')?;
    let good =
        name.len() <= 64 && !name.is_empty() && name.bytes().all(|sign| sign.is_ascii_alphanumeric() || sign == b'_');
    (good && is_id(id)).then(|| Emoji {
        platform: Platform::Discord,
        id: id.to_owned(),
        text: format!(":{name}:"),
        animated,
    })
}

fn time(inside: &str) -> Option<Time> {
    let rest = inside.strip_prefix("t:")?;
    let (seconds, form) = match rest.split_once(':') {
        Some((seconds, form)) => (seconds, Some(form)),
        None => (rest, None),
    };
    let digits = seconds.strip_prefix('-').unwrap_or(seconds);
    // The last moment that a browser's clock knows.
    let unix = seconds.parse().ok().filter(|unix: &i64| !digits.starts_with('+') && unix.abs() <= 8_640_000_000_000)?;
    let form = match form {
        None => None,
        Some(form) => Some(form.chars().next().filter(|sign| form.len() == 1 && "tTdDfFR".contains(*sign))?),
    };
    Some(Time { unix, form })
}

fn is_id(id: &str) -> bool {
    (1..=20).contains(&id.len()) && id.bytes().all(|digit| digit.is_ascii_digit())
}
