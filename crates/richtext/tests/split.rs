//! Messages: each one fits, says something, is valid for its platform; together they say all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod common;

use common::{assert_discord_takes, assert_telegram_takes, document, is_said_in, letters, limited};
use frontdesk_richtext::{ChannelRules, Document, Part, Unit, render_parts};
use proptest::prelude::*;

fn said(parts: &[Part]) -> String {
    parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n")
}

fn says_all(document: &Document, parts: &[Part]) {
    let meant: Vec<char> = letters(document).into_iter().map(|(sign, _)| sign).collect();
    assert!(is_said_in(&meant, &said(parts)), "lost something: {:#?}", parts);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn telegram_takes_each_message_and_they_say_all(document in document(), max in 40..300usize) {
        let parts = render_parts(&document, &limited(ChannelRules::TELEGRAM, max, Unit::Utf16)).parts;
        parts.iter().for_each(|part| assert_telegram_takes(part, max));
        says_all(&document, &parts);
    }

    #[test]
    fn discord_takes_each_message_and_they_say_all(document in document(), max in 60..300usize) {
        let parts = render_parts(&document, &limited(ChannelRules::DISCORD, max, Unit::CodePoints)).parts;
        parts.iter().for_each(|part| assert_discord_takes(part, max));
        says_all(&document, &parts);
    }

    #[test]
    fn plain_messages_fit_in_bytes(document in document(), max in 40..200usize) {
        let parts = render_parts(&document, &limited(ChannelRules::PLAIN, max, Unit::Bytes)).parts;
        for part in &parts {
            prop_assert!(part.text.len() <= max && !part.text.trim().is_empty());
        }
        says_all(&document, &parts);
    }

    #[test]
    fn whole_texts_fit_their_platforms(document in document()) {
        for part in render_parts(&document, &ChannelRules::TELEGRAM).parts {
            assert_telegram_takes(&part, 4096);
        }
        for part in render_parts(&document, &ChannelRules::DISCORD).parts {
            assert_discord_takes(&part, 2000);
        }
    }
}
