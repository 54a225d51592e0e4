//! Which known word somebody most likely meant.

/// Words longer than this are nobody's typing mistake, and comparing them would cost time.
const LONGEST: usize = 64;

/// The known word that is fewest changes away, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let letters = word.chars().count();
    if letters > LONGEST {
        return None;
    }
    // A third of the letters may be wrong, and at least one.
    let bound = (letters / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, candidate), candidate))
        .filter(|(changes, _)| *changes <= bound)
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        assert_eq!(nearest("Listen", ["listen", "public_url"]), Some("listen"));
        assert_eq!(nearest("ulr", ["url"]), Some("url"), "a swap is one change");
        assert_eq!(nearest("lisen", ["listen", "public_url"]), Some("listen"));
        assert_eq!(nearest("password", ["listen", "public_url"]), None);
        assert_eq!(nearest("", ["listen"]), None);
        assert_eq!(nearest(&"x".repeat(1_000_000), ["listen"]), None);
    }
}
