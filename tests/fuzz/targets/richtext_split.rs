//! Whatever is cut at whatever length: each message fits and says something, and no letter is lost.
#![no_main]

use frontdesk_richtext::{ChannelRules, read, render_parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (String, u16)| {
    let (source, max) = input;
    let max_text = 64 + usize::from(max);
    let document = read::markdown(&source);
    for rules in [ChannelRules::TELEGRAM, ChannelRules::DISCORD] {
        let rules = ChannelRules { max_text, ..rules };
        let parts = render_parts(&document, &rules).parts;
        assert!(parts.iter().all(|part| rules.takes(&part.text, &part.entities) && !part.text.trim().is_empty()));
        let letters = |text: &str| text.chars().filter(char::is_ascii_alphabetic).count();
        let said: usize = parts.iter().map(|part| letters(&part.text)).sum();
        let visible: usize = letters(&frontdesk_richtext::write::plain(&read::plain(&plain_words(&document))).text);
        assert!(said >= visible);
    }
});

fn plain_words(document: &frontdesk_richtext::Document) -> String {
    // Telegram's text without limits says every word of the tree.
    frontdesk_richtext::write::telegram(document).text
}
