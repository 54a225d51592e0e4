//! Addresses: which may stand behind a link, and where they stand in plain words.

use std::{borrow::Cow, net::Ipv6Addr};

/// Schemes that only open a page, a letter or a call.
const HARMLESS: &[&str] = &["http", "https", "mailto", "tel"];
/// What a letter-box name may hold besides letters and digits.
const IN_MAILBOX: &str = "._%+-";

/// The scheme of an address, as it is written: `None` for one that is relative.
#[must_use]
pub fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once(':')?;
    let first_is_letter = scheme.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
    let well_formed = scheme.chars().all(|sign| sign.is_ascii_alphanumeric() || "+-.".contains(sign));
    (first_is_letter && well_formed).then_some(scheme)
}

/// The address, fit to stand behind a link in HTML, or `None` for one that must not: only `http`, `https`, `mailto`, `tel`,
/// `tg://user?id=…`, and relative ones. Signs that end an address elsewhere are percent-encoded.
#[must_use]
pub fn harmless(address: &str) -> Option<Cow<'_, str>> {
    let address = address.trim_matches(|sign: char| sign.is_whitespace() || sign.is_control());
    if address.is_empty() || address.chars().any(char::is_control) {
        return None;
    }
    let allowed = match scheme(address) {
        Some(scheme) => {
            HARMLESS.iter().any(|harmless| harmless.eq_ignore_ascii_case(scheme)) || telegram_user(address).is_some()
        }
        // What stands before a colon and is no scheme to us may be one to a forgiving browser.
        None => !address.split(['/', '?', '#']).next().unwrap_or_default().contains(':'),
    };
    allowed.then(|| encoded(address))
}

/// The address of a page on the web, fit to stand behind a link in a chat: `http` or `https` with a host that has a dot or is
/// an address of IPv6, and a port that there can be. Telegram refuses a whole message for the sake of another one
/// (`LinkManager::check_link` in <https://github.com/tdlib/td>).
#[must_use]
pub fn web(address: &str) -> Option<Cow<'_, str>> {
    let address = harmless(address)?;
    let (scheme, rest) = address.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (is_host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, port)) => (host.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let (host, port) = place.find(':').map_or((place, ""), |colon| place.split_at(colon));
            let known = |sign: char| sign.is_alphanumeric() || matches!(sign, '.' | '-' | '_');
            (host.trim_matches('.').contains('.') && host.chars().all(known), port)
        }
    };
    let is_port =
        |port: &str| port.bytes().all(|sign| sign.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    (is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))).then_some(address)
}

/// The id in `tg://user?id=123`. Ids have at most 40 bits (`UserId::is_valid` in <https://github.com/tdlib/td>).
#[must_use]
pub fn telegram_user(address: &str) -> Option<u64> {
    let id = address.strip_prefix("tg://user?id=")?;
    let id: u64 = id.parse().ok().filter(|_| id.bytes().all(|digit| digit.is_ascii_digit()))?;
    (1..(1 << 40) - 1).contains(&id).then_some(id)
}

/// What a reader should still see of a link that his channel cannot show: its address, unless that says nothing to him or
/// would harm him.
#[must_use]
pub fn worth_showing<'a>(address: &'a str, label: &str) -> Option<&'a str> {
    harmless(address)?;
    let shown = strip_prefix_ignoring_case(address, "mailto:").unwrap_or(address);
    let shown = strip_prefix_ignoring_case(shown, "tel:").unwrap_or(shown);
    (!shown.starts_with('#') && telegram_user(address).is_none() && !same_address(label, shown)).then_some(shown)
}

/// Whether a label is the address itself, give or take what a reader would not miss.
#[must_use]
pub fn same_address(label: &str, address: &str) -> bool {
    fn bare(text: &str) -> &str {
        let text = strip_prefix_ignoring_case(text.trim(), "mailto:").unwrap_or(text.trim());
        let text = strip_prefix_ignoring_case(text, "http://").unwrap_or(text);
        let text = strip_prefix_ignoring_case(text, "https://").unwrap_or(text);
        text.strip_suffix('/').unwrap_or(text)
    }
    bare(label) == bare(address) || bare(&encoded(label)) == bare(&encoded(address))
}

/// Whether a label looks like an address of its own: masking another one with it would be a forgery.
#[must_use]
pub fn looks_like_address(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    lower.contains("://") || lower.contains("www.")
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..)).flatten()
}

/// With signs that end an address somewhere percent-encoded.
fn encoded(address: &str) -> Cow<'_, str> {
    let ends = |sign: char| sign.is_whitespace() || "\"<>`{}|\\^".contains(sign);
    if !address.contains(ends) {
        return Cow::Borrowed(address);
    }
    let mut out = String::with_capacity(address.len() + 8);
    for sign in address.chars() {
        if ends(sign) {
            percent(sign, &mut out);
        } else {
            out.push(sign);
        }
    }
    Cow::Owned(out)
}

/// Appends a sign as the `%XX` of its bytes.
pub(crate) fn percent(sign: char, out: &mut String) {
    for byte in sign.encode_utf8(&mut [0; 4]).bytes() {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
        }
        let at = out.len() - 2;
        out.insert(at, '%');
    }
}

/// An address that stands in plain words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where it begins, in bytes.
    pub start: usize,
    /// What is written there.
    pub text: &'a str,
    /// What is missing before it to make it an address: empty, `https://` or `mailto:`.
    pub prefix: &'static str,
}

/// Addresses in plain words, from first to last: `http://…`, `https://…`, `www.…` and mail addresses. Punctuation that ends a
/// sentence, and a bracket that was opened before it, do not belong to an address. Linear in the text.
pub fn find(text: &str) -> impl Iterator<Item = Found<'_>> {
    let mut at = 0;
    let mut mail_from = 0;
    std::iter::from_fn(move || {
        while let Some(rest) = text.get(at..) {
            let offset = rest.find([':', '@', 'w', 'W'])?;
            let sign = at + offset;
            at = sign + 1;
            let found = match rest.as_bytes().get(offset) {
                Some(b':') => web_address(text, sign, mail_from),
                Some(b'@') => mail_address(text, sign, mail_from),
                _ => bare_web_address(text, sign, mail_from),
            };
            if let Some(found) = found {
                at = found.start + found.text.len();
                mail_from = at;
                return Some(found);
            }
        }
        None
    })
}

fn web_address(text: &str, colon: usize, not_before: usize) -> Option<Found<'_>> {
    let after = text.get(colon..)?.strip_prefix("://")?;
    let before = text.get(not_before..colon)?;
    let scheme = ["https", "http"].into_iter().find(|scheme| {
        before
            .len()
            .checked_sub(scheme.len())
            .and_then(|from| before.get(from..))
            .is_some_and(|end| end.eq_ignore_ascii_case(scheme))
    })?;
    let start = colon - scheme.len();
    // What is not one must be refused before the way to its end is walked: a text may hold very many of them.
    let joined = text.get(..start)?.chars().next_back().is_some_and(|sign| sign.is_ascii_alphanumeric());
    let begins = after.chars().next().is_some_and(|first| first.is_alphanumeric() || first == '[');
    (!joined && begins).then_some(())?;
    let length = address_length(after);
    Some(Found { start, text: text.get(start..colon + 3 + length)?, prefix: "" })
}

fn bare_web_address(text: &str, start: usize, not_before: usize) -> Option<Found<'_>> {
    let rest = text.get(start..)?;
    rest.get(..4).filter(|begin| begin.eq_ignore_ascii_case("www."))?;
    let joined = text
        .get(not_before..start)?
        .chars()
        .next_back()
        .is_some_and(|sign| sign.is_alphanumeric() || "/.@-_".contains(sign));
    let host: String =
        rest.chars().skip(4).take(254).take_while(|sign| sign.is_alphanumeric() || ".-".contains(*sign)).collect();
    (!joined && host.trim_matches('.').contains('.')).then_some(())?;
    let length = address_length(rest);
    Some(Found { start, text: rest.get(..length)?, prefix: "https://" })
}

/// Up to a space or a sign that no address holds, without the punctuation of the sentence around it. A bracket belongs to a host that is
/// a number (`[::1]`) and nowhere else, so that `[www.a.example](https://b.example)` in plain words is two addresses.
fn address_length(rest: &str) -> usize {
    let mut open = 0_usize;
    let mut in_number = rest.starts_with('[');
    let end = rest.find(|sign: char| match sign {
        '[' if in_number => false,
        ']' if in_number => {
            in_number = false;
            false
        }
        '[' | ']' => true,
        '(' => {
            open += 1;
            false
        }
        // One that closes what was opened before the address.
        ')' if open == 0 => true,
        ')' => {
            open -= 1;
            false
        }
        _ => {
            sign.is_whitespace()
                || sign.is_control()
                || is_unseen(sign)
                || "<>\"`|\\^{}‘’“”«»。，、」』）】".contains(sign)
        }
    });
    let mut inside = end.map_or(rest, |end| rest.get(..end).unwrap_or_default());
    while let Some(last) = inside.chars().next_back() {
        if !matches!(last, '.' | ',' | ':' | ';' | '!' | '?' | '\'' | '*' | '_' | '~' | ']' | '…') {
            break;
        }
        inside = inside.get(..inside.len() - last.len_utf8()).unwrap_or_default();
    }
    inside.len()
}

/// Signs that nobody sees: an address that holds one is not the one that a reader takes it for.
fn is_unseen(sign: char) -> bool {
    matches!(sign, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn mail_address(text: &str, at: usize, not_before: usize) -> Option<Found<'_>> {
    // A name has at most 64 signs, a host 253 (RFC 5321, 4.5.3.1): so far we look, and no further.
    let before = text.get(not_before..at)?;
    let name_length: usize = before
        .bytes()
        .rev()
        .take(65)
        .take_while(|sign| sign.is_ascii_alphanumeric() || IN_MAILBOX.contains(char::from(*sign)))
        .count();
    let name = before.get(before.len() - name_length..)?.trim_start_matches(['.', '-', '%', '+']);
    let after = text.get(at + 1..)?;
    let host_length =
        after.bytes().take(254).take_while(|sign| sign.is_ascii_alphanumeric() || b".-".contains(sign)).count();
    let host = after.get(..host_length)?.trim_end_matches(['.', '-']);
    let good_host = host.contains('.') && !host.contains("..") && !host.starts_with(['.', '-']);
    let last_is_a_name = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.len() > 1 && last.bytes().any(|sign| sign.is_ascii_alphabetic()));
    (!name.is_empty() && name.len() <= 64 && good_host && last_is_a_name).then_some(())?;
    let start = at - name.len();
    Some(Found { start, text: text.get(start..at + 1 + host.len())?, prefix: "mailto:" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise
    use super::*;

    #[test]
    fn finds_addresses_and_leaves_the_sentence_around_them() {
        let found = |text| find(text).map(|found| format!("{}{}", found.prefix, found.text)).collect::<Vec<_>>();
        assert_eq!(
            found("See https://a.example/b_c(d), or (http://b.example/x)."),
            ["https://a.example/b_c(d)", "http://b.example/x"]
        );
        assert_eq!(
            found("www.example.com/a. Write to ada+x@mail.example.com!"),
            ["https://www.example.com/a", "mailto:ada+x@mail.example.com"]
        );
        assert_eq!(found("HTTPS://A.EXAMPLE now"), ["HTTPS://A.EXAMPLE"]);
        assert_eq!(
            found("(https://a.example)-ish [b](https://b.example)!x (https://c.example/(d)e)f"),
            ["https://a.example", "https://b.example", "https://c.example/(d)e"]
        );
        assert_eq!(
            found(
                "https://a.example’s «https://b.example» https://c.example。 https://d.example\u{200b}x https://e.example/(y"
            ),
            [
                "https://a.example",
                "https://b.example",
                "https://c.example",
                "https://d.example",
                "https://e.example/(y"
            ]
        );
        assert_eq!(
            found("[www.shop.example](https://www.shop.example/a) http://[::1]:80/x[1]"),
            ["https://www.shop.example", "https://www.shop.example/a", "http://[::1]:80/x"]
        );
        assert_eq!(found("https://почта.example/ünï?q=1&r=2#f"), ["https://почта.example/ünï?q=1&r=2#f"]);
        assert_eq!(
            found("https:// http://. xhttp://y.example @ada a@b 1@2.3 javascript://x ww.w"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn lets_only_harmless_addresses_stand_behind_a_link() {
        for good in [
            "https://a.example",
            "HTTP://a",
            "mailto:a@b.example",
            "tel:+1",
            "/path",
            "a/b:c",
            "#f",
            "?q",
            "tg://user?id=7",
        ] {
            assert_eq!(harmless(good).as_deref(), Some(good));
        }
        for bad in [
            "javascript:alert(1)",
            "JaVaScRiPt:x",
            "java\nscript:x",
            "data:text/html,x",
            "vbscript:x",
            "file:///x",
            "",
            " ",
            "tg://x",
            "\u{1}javascript:x",
            "&colon;:x",
        ] {
            assert_eq!(harmless(bad), None, "{bad:?}");
        }
        assert_eq!(harmless("https://a.example/a b\"<").unwrap(), "https://a.example/a%20b%22%3C");
        assert_eq!(web("https://localhost/x"), None);
        assert_eq!(web("/x"), None);
        for good in ["https://[::1]/x", "https://a.example:8443/x", "https://ada@a.example", "https://почта.example"]
        {
            assert_eq!(web(good).as_deref(), Some(good));
        }
        for bad in [
            "http://a.example:99999/",
            "http://a.example:0",
            "http://a.example:port",
            "http://a.example:",
            "http://a.b:c:80/",
            "http://[zz]/",
            "http://[::1]x/",
            "http://a[b].example/",
            "http://ex%ample.com/",
        ] {
            assert_eq!(web(bad), None, "{bad}");
        }
        assert_eq!(telegram_user("tg://user?id=7"), Some(7));
        for bad in ["tg://user?id=0", "tg://user?id=+7", "tg://user?id=1099511627776", "tg://user?id="] {
            assert_eq!(telegram_user(bad), None, "{bad}");
        }
    }
}
