//! The mail that an answer becomes: the same said twice, plain and as HTML (`multipart/alternative`, RFC 2046).
//!
//! Both bodies are quoted-printable (RFC 2045), so that no line is too long and no byte is changed on the way. The mark between them
//! is made of what it parts, so the same answer gives the same mail. Addresses, `Date` and `Message-ID` are not known here.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use frontdesk_model::{Content, Rendered, Wanted};
use frontdesk_richtext::{HtmlRules, Loss, append_attachments, append_buttons, document, write};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// RFC 2045, 6.7: with the sign of a soft line end.
const MAX_LINE: usize = 76;

pub(crate) fn render(wanted: &Wanted) -> Rendered {
    let mut document = document(&wanted.content);
    let mut lost = Vec::new();
    if !wanted.attachments.is_empty() {
        let files = wanted.attachments.iter().map(|file| (file.name.as_deref(), file.url.as_str()));
        append_attachments(&mut document, files);
        lost.push(Loss::Attachments);
    }
    if !wanted.buttons.is_empty() {
        append_buttons(&mut document, wanted.buttons.iter().map(|button| button.label.as_str()));
        lost.push(Loss::Buttons);
    }
    let html = write::html(&document, HtmlRules::RICH);
    let plain = match &wanted.content {
        // Literal text is its own plain text, unless something was added.
        Content::Text(text) if lost.is_empty() => text.clone(),
        _ => write::plain(&document).text,
    };
    let mut degraded = html.degraded;
    lost.into_iter().for_each(|loss| degraded.note(loss));
    let page = format!("<!DOCTYPE html>\n<html>\n<body>\n{}\n</body>\n</html>\n", html.text);
    let mail = mail(&plain, &page, wanted.reply_to.as_deref());
    let raw = STANDARD.encode(mail);
    Rendered { requests: vec![json!({ "raw_b64": raw })], degraded: degraded.names().collect() }
}

fn mail(plain: &str, html: &str, reply_to: Option<&str>) -> String {
    let (plain, html) = (quoted_printable(plain), quoted_printable(html));
    let mark = mark(&plain, &html);
    let mut mail = String::new();
    if let Some(id) = reply_to.and_then(message_id) {
        mail.push_str(&format!("In-Reply-To: {id}\r\nReferences: {id}\r\n"));
    }
    mail.push_str("MIME-Version: 1.0\r\n");
    mail.push_str(&format!("Content-Type: multipart/alternative;\r\n boundary=\"{mark}\"\r\n\r\n"));
    for (kind, body) in [("plain", plain), ("html", html)] {
        mail.push_str(&format!("--{mark}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"));
        mail.push_str(&format!("Content-Transfer-Encoding: quoted-printable\r\n\r\n{body}\r\n"));
    }
    mail.push_str(&format!("--{mark}--\r\n"));
    mail
}

/// A text that stands in neither body: it holds `=_`, which quoted-printable never has.
fn mark(plain: &str, html: &str) -> String {
    let digest = Sha256::digest(format!("{plain}\0{html}"));
    let mut mark = String::from("=_");
    for byte in digest.iter().take(12) {
        // Writing into a string cannot fail.
        let _ = write!(mark, "{byte:02x}");
    }
    mark
}

/// An id of a mail, fit for a header line; nothing else gets there.
fn message_id(id: &str) -> Option<String> {
    let inside = id.trim().trim_start_matches('<').trim_end_matches('>');
    let fine = inside.contains('@') && inside.len() <= 900;
    let plain = inside.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte));
    (fine && plain).then(|| format!("<{inside}>"))
}

/// RFC 2045, 6.7.
fn quoted_printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (nth, line) in text.split('\n').enumerate() {
        if nth > 0 {
            out.push_str("\r\n");
        }
        let mut column = 0;
        let mut bytes = line.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let at_end = bytes.peek().is_none();
            let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !at_end);
            // A lone dot at the start of a line means something to mail servers, `From ` to mailboxes.
            let plain = plain && !(column == 0 && matches!(byte, b'.' | b'F'));
            let width = if plain { 1 } else { 3 };
            if column + width > MAX_LINE - usize::from(!at_end) {
                out.push_str("=\r\n");
                column = 0;
            }
            if plain && !(column == 0 && matches!(byte, b'.' | b'F')) {
                out.push(char::from(byte));
                column += 1;
            } else {
                let _ = write!(out, "={byte:02X}");
                column += 3;
            }
        }
    }
    out
}
