//! Texts that are made to break a reader: each is read in a time that grows as the text does, and nothing runs out of stack.
//! The targets under `tests/fuzz`, run for a while over texts put together from seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod common;

use std::time::{Duration, Instant};

use common::{assert_discord_takes, assert_telegram_takes};
use frontdesk_richtext::{
    ChannelRules, Document, HtmlRules, Part, read, render_parts,
    telegram::{Entity, EntityKind},
    write,
};

/// What markup is made of, repeated.
const UNITS: &[&str] = &[
    "[",
    "*",
    ">",
    "||",
    "`",
    "_",
    "a**",
    "*a **b ",
    "[a](",
    "![",
    "<b>",
    "<",
    "&",
    "> ",
    "- ",
    "# ",
    "\n",
    "`a``",
    "https://a ",
    "~~a",
    "_a __b ",
    "<div>",
    "<p>",
    "<table>",
    "<a href='x'>",
    "|a|b|\n|-|-|\n",
    "[^a] ",
    "* a\n  ",
    "(",
    "\\",
    "<!--",
    "1. ",
    "a@b.c",
    "```a\n",
    "<u>",
    "**a** ",
    "[a][",
    "[a]: b\n",
    "<ul><li>",
    "www.",
    "<a:a:1>",
    ">>> ",
    "e\u{301}",
    "\u{202e}",
    "😀",
];

type Reader = fn(&str) -> Document;

const READERS: [(&str, Reader); 4] =
    [("markdown", read::markdown), ("discord", read::discord), ("html", read::html), ("plain", read::plain)];

/// Generous: a square would take minutes. The figures are the benchmark's.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn much_of_anything_is_read_and_written_again() {
    for unit in UNITS {
        let text = unit.repeat(64 * 1024 / unit.len());
        for (name, read) in READERS {
            let started = Instant::now();
            let document = read(&text);
            let _ = (write::markdown(&document), write::html(&document, HtmlRules::CANONICAL), write::plain(&document));
            assert!(started.elapsed() < PATIENCE, "{name} of {unit:?} took {:?}", started.elapsed());
        }
    }
}

#[test]
fn a_hundred_thousand_entities_are_read() {
    let text = "ab 👍 ".repeat(100_000);
    let kinds = ["bold", "italic", "code", "blockquote", "spoiler", "pre", "text_link"];
    let entities: Vec<Entity> = (0..100_000)
        .map(|nth| Entity {
            offset: nth * 3,
            length: 7 + nth % 1_000,
            kind: EntityKind::of(kinds[nth % kinds.len()], Some("x")),
        })
        .collect();
    let started = Instant::now();
    let document = read::telegram(&text, &entities);
    assert!(started.elapsed() < PATIENCE);
    assert!(write::plain(&document).text.len() > 100_000);
}

/// Signs of the same seed give the same texts every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn text(&mut self) -> String {
        const WORDS: &[&str] = &[
            " ",
            "  ",
            "a",
            "b c",
            "\n\n",
            "    ",
            "\t",
            "**",
            "__",
            "~~",
            "||",
            "](https://x.example)",
            "[https://y.example](",
            "```js\n",
            "\n```\n",
            "> > ",
            "- - ",
            "<span class=\"spoiler\">",
            "</b>",
            "<pre>",
            "&#124;",
            "&nbsp;",
            "\u{200b}",
            "\u{ffff}",
            "\0",
            "שלום",
            "👩‍👩‍👧",
            "@everyone",
            "<@1>",
            "<t:1:R>",
            "| - |",
            "!",
            "\\|",
            "<br>",
            "</u>",
            "<javascript:x>",
        ];
        let count = 1 + self.roll(24);
        (0..count)
            .map(|_| if self.roll(2) == 0 { UNITS[self.roll(UNITS.len())] } else { WORDS[self.roll(WORDS.len())] })
            .collect()
    }
}

#[test]
fn the_fuzz_targets_hold_for_some_seconds() {
    let mut dice = Dice(2_026);
    let until = Instant::now() + Duration::from_secs(6);
    let mut rounds = 0;
    while Instant::now() < until {
        rounds += 1;
        let source = dice.text();
        for (name, reader) in READERS {
            let document = reader(&source);
            let again = read::markdown(&write::markdown(&document).text);
            let written = write::markdown(&again).text;
            assert_eq!(read::markdown(&written), again, "{name} of {source:?}: {written:?}");
            let html = write::html(&document, HtmlRules::RICH).text.to_lowercase();
            assert!(!html.contains("<script") && !html.contains("href=\"javascript:"), "{source:?}");
            let max = 64 + dice.roll(400);
            for part in render_parts(&document, &ChannelRules { max_text: max, ..ChannelRules::TELEGRAM }).parts {
                assert_telegram_takes(&part, max);
            }
            if name != "discord" {
                // Only Discord's own reader knows mentions.
                for part in render_parts(&document, &ChannelRules { max_text: max, ..ChannelRules::DISCORD }).parts {
                    assert_discord_takes(&part, max);
                }
            }
        }
        let kinds = ["bold", "italic", "code", "pre", "blockquote", "text_link", "custom_emoji", "spoiler"];
        let entities: Vec<Entity> = (0..dice.roll(8))
            .map(|_| Entity {
                offset: dice.roll(40),
                length: dice.roll(40),
                kind: EntityKind::of(kinds[dice.roll(kinds.len())], Some("https://x.example")),
            })
            .collect();
        let rendering = write::telegram(&read::telegram(&source, &entities));
        if rendering.text.chars().any(char::is_alphanumeric) {
            assert_telegram_takes(&Part { text: rendering.text, entities: rendering.entities }, usize::MAX);
        }
    }
    assert!(rounds > 20, "only {rounds} rounds");
}

#[test]
fn deep_nesting_is_read_as_if_it_were_shallow() {
    for source in [
        format!("{}x", "> ".repeat(50_000)),
        format!("{}x", "- ".repeat(50_000)),
        "<blockquote>".repeat(50_000) + "x",
        "<ul><li>".repeat(50_000) + "x",
    ] {
        for (_, reader) in READERS {
            let document = reader(&source);
            assert!(write::plain(&document).text.ends_with('x'));
        }
    }
    let stars = format!("{}x{}", "*a **b __c ".repeat(10_000), " c__ b** a*".repeat(10_000));
    for (_, reader) in READERS {
        assert!(write::plain(&reader(&stars)).text.contains('x'));
    }
}
