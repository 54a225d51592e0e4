//! Words from outside, fit for a terminal. A customer chooses their own name and writes what they like; none of it may
//! move the cursor, change a colour, hide or reorder text, or look like a line of ours.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What stands for a letter that must not reach a terminal and has no picture of its own.
const UNSHOWN: char = '\u{fffd}';
/// What stands for the rest of a text that is cut.
const MORE: &str = "…";

/// One line: control characters become pictures of themselves, line ends and tabs become spaces.
pub(super) fn on_one_line(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let shown = text.replace("\r\n", "\n");
    Cow::Owned(shown.chars().filter_map(picture).collect())
}

/// Several lines, each as [`on_one_line`] shows it.
pub(super) fn on_lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.lines().map(on_one_line)
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// At most so many columns, with a sign where something is left out.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut end = 0;
    for (at, letter) in text.char_indices() {
        let next = at + letter.len_utf8();
        // What has no width of its own belongs to what stands before it.
        if letter.width() != Some(0) && text.get(..next).is_none_or(|start| width(start) >= columns) {
            break;
        }
        end = next;
    }
    let start = text.get(..end).unwrap_or_default();
    if columns == 0 { Cow::Borrowed("") } else { Cow::Owned(format!("{start}{MORE}")) }
}

/// Padded on the right to so many columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// JSON that says the same and holds nothing that a terminal would act on: what is more than plain letters stands in it as
/// `\u` and its number. It can only stand inside of strings, where that means the same.
pub(super) fn in_json(document: &str) -> Cow<'_, str> {
    let plain = |letter: char| letter == '\n' || is_harmless(letter);
    if document.chars().all(plain) {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len() + 64);
    for letter in document.chars() {
        if plain(letter) {
            shown.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(shown)
}

/// As one word of a shell's line.
pub(super) fn shell(text: &str) -> Cow<'_, str> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/:=@%+,".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
    }
}

fn is_harmless(letter: char) -> bool {
    picture(letter) == Some(letter)
}

/// What is shown for a letter; `None`: nothing.
fn picture(letter: char) -> Option<char> {
    match letter {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' | '\u{b}' | '\u{c}' => Some(' '),
        // Unicode has pictures of the control characters, in their order.
        '\0'..='\u{1f}' => char::from_u32(u32::from(letter) + 0x2400),
        '\u{7f}' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' => Some(UNSHOWN),
        // Text in the other direction, and marks that turn what follows around: an address can be made to read as another.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some(UNSHOWN),
        // Invisible letters: two names that look alike are two names.
        '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' => {
            Some(UNSHOWN)
        }
        '\u{ad}' | '\u{e0000}'..='\u{e007f}' => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t38_nothing_from_outside_moves_the_cursor_or_makes_a_line() {
        assert_eq!(on_one_line("Ada"), "Ada");
        assert_eq!(on_one_line("\u{1b}[2J\u{1b}]0;owned\u{7}"), "␛[2J␛]0;owned␇");
        assert_eq!(on_one_line("a\nshop ok\r\nb\rc\td"), "a shop ok b␍c d");
        assert_eq!(on_one_line("\u{9b}31m\u{7f}\u{85}"), "\u{fffd}31m␡\u{fffd}");
        assert_eq!(on_one_line("invoice\u{202e}fdp.exe"), "invoice\u{fffd}fdp.exe");
        assert_eq!(on_one_line("A\u{200b}da\u{feff}"), "A\u{fffd}da\u{fffd}");
        assert_eq!(on_lines("one\u{1b}[A\r\ntwo\n").collect::<Vec<_>>(), ["one␛[A", "two"]);
    }

    #[test]
    fn no_letter_at_all_leaves_a_control_character() {
        for number in 0..=0x0010_ffff {
            let Some(letter) = char::from_u32(number) else { continue };
            let shown = on_one_line(letter.encode_utf8(&mut [0; 4])).into_owned();
            assert!(!shown.chars().any(char::is_control), "U+{number:04X}");
        }
    }

    #[test]
    fn t38_json_says_the_same_without_anything_that_a_terminal_acts_on() {
        let said = serde_json::json!({ "name": "a\u{9b}31m\u{202e}b\u{7f}\u{e0041}\n李 👩‍👩‍👧" });
        for document in [said.to_string(), format!("{said:#}")] {
            let shown = in_json(&document);
            assert!(!shown.chars().any(|letter| letter != '\n' && !is_harmless(letter)), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(said.clone()));
        }
    }

    #[test]
    fn what_people_write_in_their_own_letters_stays() {
        for text in ["Zoë", "Ωμέγα", "李小龍", "עברית", "عربي", "👩‍👩‍👧", "🏴‍☠️", "e\u{301}"]
        {
            assert_eq!(on_one_line(text), text);
        }
    }

    #[test]
    fn a_word_of_a_shell_is_that_one_word() {
        assert_eq!(
            (shell("data/a-b.token"), shell(""), shell("a b")),
            ("data/a-b.token".into(), "''".into(), "'a b'".into())
        );
        assert_eq!(shell("it's $HOME"), "'it'\\''s $HOME'");
    }

    #[test]
    fn wide_letters_count_twice_and_are_cut_whole() {
        assert_eq!((width("李小龍"), width("e\u{301}"), width("ok")), (6, 1, 2));
        assert_eq!(cut("李小龍", 6), "李小龍");
        assert_eq!(cut("李小龍", 5), "李小…");
        assert_eq!(cut("李小龍", 4), "李…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), "".into()));
        assert_eq!(padded("李", 4), "李  ");
        for columns in 0..40 {
            for text in ["👩‍👩‍👧 family", "a\u{301}\u{302}bcdefghij", "李李李李李李李李李李", "plain text and more of it"]
            {
                assert!(width(&cut(text, columns)) <= columns, "{text:?} in {columns}");
            }
        }
    }
}
