//! Whatever a stranger writes, each reader ends, and what it read can be written for every channel and read again.
#![no_main]

use frontdesk_richtext::{HtmlRules, read, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: String| {
    let source = source.as_str();
    for document in [read::markdown(source), read::discord(source), read::html(source), read::plain(source)] {
        let markdown = write::markdown(&document).text;
        let again = read::markdown(&markdown);
        assert_eq!(read::markdown(&write::markdown(&again).text), again);
        let html = write::html(&document, HtmlRules::CANONICAL).text.to_lowercase();
        assert!(!html.contains("<script") && !html.contains("href=\"javascript:"));
        let discord = write::discord(&document).text.to_lowercase();
        assert!(!discord.contains("@everyone") && !discord.contains("@here"));
    }
});
