//! Spans of time and sizes as people write them: a whole number, perhaps a space, a unit.

use std::time::Duration;

/// Longest number that is read, in digits.
const DIGITS: usize = 15;
/// Longest span: a hundred years.
const LONGEST_SPAN: Duration = Duration::from_secs(36_525 * 86_400);
/// Largest size: 2^60 bytes.
const LARGEST_SIZE: u64 = 1 << 60;

const SPANS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("day", 86_400_000), ("days", 86_400_000)];

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// `"30 s"`, `"2 min"`, `"400 days"`; at most a hundred years.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, millis) = SPANS.iter().find(|(name, _)| *name == unit)?;
    let span = Duration::from_millis(number.checked_mul(*millis)?);
    (span <= LONGEST_SPAN).then_some(span)
}

/// `"25 MB"`, `"256 MiB"`, or digits alone for bytes; at most 2^60 bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "" => number,
        unit => number.checked_mul(SIZES.iter().find(|(name, _)| *name == unit)?.1)?,
    };
    (bytes <= LARGEST_SIZE).then_some(bytes)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > DIGITS {
        return None;
    }
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    // "5 " is a unit forgotten, not a number of bytes.
    if unit.is_empty() && text.len() > digits {
        return None;
    }
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may stop at the first surprise

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_the_documentation_writes() {
        assert_eq!(span("30 s"), Some(Duration::from_secs(30)));
        assert_eq!(span("2 min"), Some(Duration::from_secs(120)));
        assert_eq!(span("400 days"), Some(Duration::from_secs(400 * 86_400)));
        assert_eq!(span("1day"), Some(Duration::from_secs(86_400)));
        assert_eq!(size("25 MB"), Some(25_000_000));
        assert_eq!(size("256 MiB"), Some(256 << 20));
        assert_eq!(size("1048576"), Some(1 << 20));
    }

    #[test]
    fn refuses_what_could_mean_something_else() {
        for text in
            ["", "30", "s", "-1 s", "+1 s", "1.5 s", "1 S", "1  s", "1 s ", " 1 s", "1 m", "1 M", "٣ s", "200 years"]
        {
            assert_eq!(span(text), None, "{text:?}");
        }
        for text in ["", "MB", "-1", "1 mb", "1.5 MB", "1 m", "5 ", "9999999999999999999999", "999999999999999 TB"] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_whole_number_with_a_unit_is_read_as_their_product(number in 0u64..100_000, which in 0usize..6, gap in 0usize..2) {
            let (unit, millis) = SPANS[which];
            let text = format!("{number}{}{unit}", " ".repeat(gap));
            let wanted = Duration::from_millis(number * millis);
            prop_assert_eq!(span(&text), (wanted <= LONGEST_SPAN).then_some(wanted));
        }

        #[test]
        fn no_text_is_beyond_the_bounds(text in "[0-9]{0,25} ?[a-zA-Zµ]{0,4}|\\PC*") {
            prop_assert!(span(&text).is_none_or(|span| span <= LONGEST_SPAN));
            prop_assert!(size(&text).is_none_or(|size| size <= LARGEST_SIZE));
        }
    }
}
