//! What bytes are, by how they begin: what somebody says of them counts for nothing.

/// So much of the beginning is looked at.
pub(crate) const HEAD: usize = 8192;
/// What nothing is known of.
const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

/// The media type of bytes that begin so.
#[must_use]
pub fn media_type_of(head: &[u8]) -> &'static str {
    let head = head.get(..HEAD).unwrap_or(head);
    if let Some(markup) = markup_of(head) {
        return markup;
    }
    match infer::get(head) {
        Some(kind) => kind.mime_type(),
        None if is_text(head) => TEXT,
        None => UNKNOWN,
    }
}

/// What such a file's name usually ends with.
pub(crate) fn ending_of(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        "video/mp4" => "mp4",
        "audio/mpeg" => "mp3",
        "text/html" => "html",
        "text/plain" => "txt",
        _ => return None,
    })
}

/// Whether a browser may show it where it stands: pictures that run nothing.
#[must_use]
pub fn is_safe_inline(media_type: &str) -> bool {
    matches!(media_type, "image/jpeg" | "image/png" | "image/gif" | "image/webp")
}

/// Whatever a browser might take for a page or a drawing that runs something, before anything else is thought of it.
fn markup_of(head: &[u8]) -> Option<&'static str> {
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if start.first() != Some(&b'<') {
        return None;
    }
    let lower = start.to_ascii_lowercase();
    let has = |needle: &[u8]| lower.windows(needle.len()).any(|window| window == needle);
    if has(b"<svg") {
        return Some("image/svg+xml");
    }
    if lower.starts_with(b"<?xml") && !has(b"<html") {
        return Some("text/xml");
    }
    is_text(head).then_some("text/html")
}

/// UTF-8 (perhaps cut in its last character) without control characters that texts do not have.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty()
        && !valid.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t' | '\x0c' | '\x1b'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t23_bytes_are_what_they_show() {
        for (head, wanted) in [
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), "image/png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
            (b"GIF89a\x01\0\x01\0", "image/gif"),
            (b"%PDF-1.7\n", "application/pdf"),
            (b"PK\x03\x04\x14\0\0\0", "application/zip"),
            (b"<!doctype html><script>", "text/html"),
            (b"  \n<HTML>", "text/html"),
            (b"<script>alert(1)</script>", "text/html"),
            (b"\xef\xbb\xbf<svg onload=alert(1)>", "image/svg+xml"),
            (b"<?xml version=\"1.0\"?><svg xmlns=\"x\">", "image/svg+xml"),
            (b"<?xml version=\"1.0\"?><note/>", "text/xml"),
            (b"hello, w\xc3\xb6rld", "text/plain"),
            (b"cut \xf0\x9f", "text/plain"),
            (b"\0\x01\x02", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ] {
            assert_eq!(media_type_of(head), wanted, "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn t21_nothing_that_runs_is_shown_in_place() {
        for (media_type, safe) in [
            ("image/png", true),
            ("image/jpeg", true),
            ("image/gif", true),
            ("image/webp", true),
            ("image/svg+xml", false),
            ("text/html", false),
            ("text/xml", false),
            ("application/pdf", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_safe_inline(media_type), safe, "{media_type}");
        }
    }
}
