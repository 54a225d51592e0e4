//! Reading what was written gives the same again, where the channel can express it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod common;

use common::{document, is_said_in, letters};
use frontdesk_richtext::{ChannelRules, Document, HtmlRules, Style, read, write};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn markdown_reads_back_as_it_was_written(document in document()) {
        let written = write::markdown(&document).text;
        let again = read::markdown(&written);
        let (meant, read) = (letters(&document), letters(&again));
        let hidden_in_cells = Style::SPOILER | Style::SMALL | Style::IMAGE;
        let bare = |letters: Vec<(char, Style)>| letters.into_iter().map(|(sign, style)| (sign, style.without(hidden_in_cells))).collect::<Vec<_>>();
        prop_assert_eq!(bare(meant), bare(read), "{}", written);
        // What was read once is regular: it must come back exactly.
        let twice = write::markdown(&again).text;
        prop_assert_eq!(read::markdown(&twice), again, "{}\n---\n{}", written, twice);
    }

    #[test]
    fn html_reads_back_as_it_was_written(document in document()) {
        let written = write::html(&document, HtmlRules::RICH).text;
        let again = read::html(&written);
        let harmless = |letters: Vec<(char, Style)>| letters.into_iter().map(|(sign, style)| (sign, style.without(Style::SMALL))).collect::<Vec<_>>();
        prop_assert_eq!(harmless(letters(&document)), harmless(letters(&again)), "{}", written);
    }

    #[test]
    fn telegram_reads_back_its_paragraphs(row in common::row()) {
        // Once written and read, a text is regular; from then on nothing may change.
        let first = write::telegram(&Document::paragraph(row));
        let second = write::telegram(&read::telegram(&first.text, &first.entities));
        let read = read::telegram(&second.text, &second.entities);
        let third = write::telegram(&read);
        prop_assert_eq!((&second.text, &second.entities), (&third.text, &third.entities));
        prop_assert_eq!(first.text, second.text);
    }

    #[test]
    fn discord_reads_back_its_words_and_what_it_could_style(document in document()) {
        let rendering = write::discord(&document);
        let again = read::discord(&rendering.text);
        let meant: Vec<char> = letters(&document).into_iter().map(|(sign, _)| sign).collect();
        let read: String = letters(&again).into_iter().map(|(sign, _)| sign).collect();
        prop_assert!(is_said_in(&meant, &read), "{}\nread as {}", rendering.text, read);
    }

    #[test]
    fn plain_text_says_every_word(document in document()) {
        let written = write::plain(&document).text;
        let meant: Vec<char> = letters(&document).into_iter().map(|(sign, _)| sign).collect();
        prop_assert!(is_said_in(&meant, &written), "{}", written);
    }
}

#[test]
fn every_channel_has_rules_that_take_a_short_text() {
    for rules in [
        ChannelRules::TELEGRAM,
        ChannelRules::TELEGRAM_CAPTION,
        ChannelRules::DISCORD,
        ChannelRules::HTML,
        ChannelRules::MARKDOWN,
        ChannelRules::PLAIN,
    ] {
        let parts = frontdesk_richtext::render_parts(&read::markdown("It ships **today**."), &rules);
        assert_eq!(parts.parts.len(), 1);
        assert!(parts.degraded.is_empty());
    }
}
