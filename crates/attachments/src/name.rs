//! What a file is called, for people. Never a name on our disk: there bytes lie under their hash.

use frontdesk_model::Attachment;

/// A longer ending is not one.
const LONGEST_ENDING: usize = 12;
/// The end of a longer text is all that is looked at.
const LOOKED_AT: usize = 4096;

/// A name without a path, without characters that cannot be seen or turn others around, and of bounded length. `ending`: what a file
/// of this sort usually ends with, for one that has no name.
#[must_use]
pub fn plain_name(given: Option<&str>, ending: Option<&str>) -> String {
    let given = given.unwrap_or_default();
    let start = given.len().saturating_sub(LOOKED_AT);
    let looked_at = given.get(given.ceil_char_boundary(start)..).unwrap_or_default();
    let last = looked_at.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|letter| !is_hidden(*letter)).map(harmless).collect();
    let plain = visible.trim_matches(|letter: char| letter.is_whitespace() || letter == '.');
    if plain.is_empty() {
        return match ending {
            Some(ending) => format!("file.{ending}"),
            None => "file".into(),
        };
    }
    if plain.chars().count() <= Attachment::MAX_NAME {
        return plain.to_owned();
    }
    let (stem, ending) = match plain.rsplit_once('.') {
        Some((stem, ending)) if ending.chars().count() <= LONGEST_ENDING && !ending.contains(' ') => {
            (stem, Some(ending))
        }
        _ => (plain, None),
    };
    let room = Attachment::MAX_NAME - ending.map_or(0, |ending| ending.chars().count() + 1);
    let stem: String = stem.chars().take(room).collect();
    match ending {
        Some(ending) => format!("{stem}.{ending}"),
        None => stem,
    }
}

/// Controls, and what shows nothing or turns the direction of what follows.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What some system or other does not take in a name.
fn harmless(letter: char) -> char {
    match letter {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' | '/' | '\\' => '_',
        letter if letter.is_whitespace() => ' ',
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn t24_a_name_is_no_path_and_hides_nothing() {
        for (given, wanted) in [
            ("photo.jpg", "photo.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ada\\re:port?.pdf", "re_port_.pdf"),
            ("a\0b\r\nc.txt", "abc.txt"),
            ("invoice\u{202e}gpj.exe", "invoicegpj.exe"),
            ("..", "file.png"),
            ("/", "file.png"),
            (" .hidden. ", "hidden"),
            ("Größe 日本 \u{1f600}.png", "Größe 日本 \u{1f600}.png"),
        ] {
            assert_eq!(plain_name(Some(given), Some("png")), wanted, "{given:?}");
        }
        assert_eq!(plain_name(None, None), "file");
    }

    proptest! {
        #[test]
        fn any_name_comes_out_plain(given in "\\PC{0,300}|[\\x00-\\x7f]{0,300}|(?s).{0,200}") {
            let plain = plain_name(Some(&given), None);
            prop_assert!(!plain.is_empty() && plain.chars().count() <= Attachment::MAX_NAME);
            prop_assert!(!plain.chars().any(|letter| is_hidden(letter) || "/\\<>:\"|?*".contains(letter)));
            prop_assert!(plain != "." && plain != "..");
        }
    }
}
