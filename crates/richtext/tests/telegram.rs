//! Telegram's text and entities, read and written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use frontdesk_richtext::{
    HtmlRules, read,
    telegram::{Entity, EntityKind},
    write,
};

fn entity(offset: usize, length: usize, name: &str) -> Entity {
    Entity { offset, length, kind: EntityKind::of(name, None) }
}

fn with(offset: usize, length: usize, name: &str, argument: &str) -> Entity {
    Entity { offset, length, kind: EntityKind::of(name, Some(argument)) }
}

fn seen(text: &str, entities: &[Entity]) -> String {
    write::html(&read::telegram(text, entities), HtmlRules::CANONICAL).text
}

#[test]
fn entities_are_read_as_what_is_seen() {
    let cases: Vec<(&str, Vec<Entity>, &str)> = vec![
        ("plain <b> & text", vec![], "<p>plain &lt;b&gt; &amp; text</p>"),
        ("bold", vec![entity(0, 4, "bold")], "<p><b>bold</b></p>"),
        (
            "a b c d e f",
            vec![
                entity(0, 1, "bold"),
                entity(2, 1, "italic"),
                entity(4, 1, "underline"),
                entity(6, 1, "strikethrough"),
                entity(8, 1, "spoiler"),
                entity(10, 1, "code"),
            ],
            "<p><b>a</b> <i>b</i> <u>c</u> <s>d</s> <span class=\"spoiler\">e</span> <code>f</code></p>",
        ),
        // Nested, adjoining, crossing.
        ("abcdef", vec![entity(0, 6, "bold"), entity(2, 2, "italic")], "<p><b>ab<i>cd</i>ef</b></p>"),
        ("abcdef", vec![entity(2, 2, "italic"), entity(0, 6, "bold")], "<p><b>ab<i>cd</i>ef</b></p>"),
        ("abcdef", vec![entity(0, 3, "bold"), entity(3, 3, "italic")], "<p><b>abc</b><i>def</i></p>"),
        ("abcdef", vec![entity(0, 4, "bold"), entity(2, 4, "italic")], "<p><b>ab<i>cd</i></b><i>ef</i></p>"),
        (
            "abc",
            vec![entity(0, 3, "bold"), entity(0, 3, "italic"), entity(0, 3, "underline")],
            "<p><b><i><u>abc</u></i></b></p>",
        ),
        ("ab", vec![entity(0, 1, "bold"), entity(1, 1, "bold")], "<p><b>ab</b></p>"),
        // Units of UTF-16: a surrogate pair counts twice.
        ("👍 ok", vec![entity(3, 2, "bold")], "<p>👍 <b>ok</b></p>"),
        ("x👩‍👩‍👧y", vec![entity(1, 8, "italic"), entity(9, 1, "bold")], "<p>x<i>👩‍👩‍👧</i><b>y</b></p>"),
        ("שלום עולם", vec![entity(5, 4, "bold")], "<p>שלום <b>עולם</b></p>"),
        ("e\u{301}x", vec![entity(0, 2, "bold")], "<p><b>e\u{301}</b>x</p>"),
        // Lines and paragraphs.
        ("a\nb\n\nc", vec![entity(0, 3, "bold")], "<p><b>a<br>b</b></p><p>c</p>"),
        ("a\n\nb", vec![entity(0, 4, "bold")], "<p><b>a</b></p><p><b>b</b></p>"),
        // Links.
        (
            "see here",
            vec![with(4, 4, "text_link", "https://a.example/?a=1&b=2")],
            "<p>see <a href=\"https://a.example/?a=1&amp;b=2\">here</a></p>",
        ),
        (
            "see here",
            vec![with(4, 4, "text_link", "https://a.example"), entity(0, 8, "bold")],
            "<p><b>see <a href=\"https://a.example\">here</a></b></p>",
        ),
        ("x", vec![with(0, 1, "text_link", "javascript:alert(1)")], "<p>x</p>"),
        (
            "a.example https://b.example",
            vec![entity(0, 9, "url"), entity(10, 17, "url")],
            "<p><a href=\"https://a.example\">a.example</a> <a href=\"https://b.example\">https://b.example</a></p>",
        ),
        ("me@a.example", vec![entity(0, 12, "email")], "<p><a href=\"mailto:me@a.example\">me@a.example</a></p>"),
        ("Ada", vec![with(0, 3, "text_mention", "123")], "<p><a href=\"tg://user?id=123\">Ada</a></p>"),
        (
            "@ada #x /y $Z +1",
            vec![
                entity(0, 4, "mention"),
                entity(5, 2, "hashtag"),
                entity(8, 2, "bot_command"),
                entity(11, 2, "cashtag"),
                entity(14, 2, "phone_number"),
            ],
            "<p>@ada #x /y $Z +1</p>",
        ),
        (
            "hi 👍!",
            vec![with(3, 2, "custom_emoji", "5368324170671202286"), entity(0, 6, "bold")],
            "<p><b>hi 👍!</b></p>",
        ),
        // Blocks.
        ("fn main() {}\n", vec![with(0, 13, "pre", "rust")], "<pre>fn main() {}</pre>"),
        ("a\ncode\n  <more>\nb", vec![entity(2, 13, "pre")], "<p>a</p><pre>code\n  &lt;more&gt;</pre><p>b</p>"),
        (
            "quote\nmore\nafter",
            vec![entity(0, 10, "blockquote")],
            "<blockquote><p>quote<br>more</p></blockquote><p>after</p>",
        ),
        (
            "long quote",
            vec![entity(0, 10, "expandable_blockquote"), entity(5, 5, "bold")],
            "<blockquote><p>long <b>quote</b></p></blockquote>",
        ),
        (
            "ab",
            vec![entity(0, 1, "blockquote"), entity(1, 1, "blockquote")],
            "<blockquote><p>a</p></blockquote><blockquote><p>b</p></blockquote>",
        ),
        (
            "q code",
            vec![entity(0, 6, "blockquote"), entity(2, 4, "code")],
            "<blockquote><p>q <code>code</code></p></blockquote>",
        ),
        (
            "q\nx = 1",
            vec![entity(0, 7, "blockquote"), with(2, 5, "pre", "python")],
            "<blockquote><p>q</p><pre>x = 1</pre></blockquote>",
        ),
    ];
    for (text, entities, html) in cases {
        assert_eq!(seen(text, &entities), html, "{text:?} {entities:?}");
    }
}

#[test]
fn hostile_offsets_harm_nobody() {
    for (offset, length) in [(0, usize::MAX), (usize::MAX, 1), (usize::MAX, usize::MAX), (4, 1), (100, 0), (0, 0)] {
        for name in ["bold", "pre", "blockquote", "code", "custom_emoji", "text_link"] {
            let html = seen("ab👍", &[with(offset, length, name, "https://a.example"), entity(1, 1, "italic")]);
            assert!(html.contains('a') && html.contains("👍"), "{html}");
        }
    }
    // In the middle of a surrogate pair: moved to its edges.
    assert_eq!(seen("a👍b", &[entity(2, 2, "bold")]), "<p>a<b>👍b</b></p>");
    assert_eq!(seen("a👍b", &[entity(0, 2, "bold")]), "<p><b>a👍</b>b</p>");
}

#[test]
fn markdown_becomes_entities_that_need_no_repair() {
    let written = |source: &str| {
        let rendering = write::telegram(&read::markdown(source));
        let entities =
            rendering.entities.iter().map(|entity| (entity.offset, entity.length, entity.kind.name().unwrap()));
        (rendering.text, entities.collect::<Vec<_>>(), rendering.degraded.names().collect::<Vec<_>>())
    };
    assert_eq!(written("**bold ** x *it*"), ("**bold ** x it".into(), vec![(12, 2, "italic")], vec![]));
    assert_eq!(
        written("# Head `c`\n\ntext"),
        ("Head c\n\ntext".into(), vec![(0, 4, "bold"), (5, 1, "code")], vec!["headings"])
    );
    assert_eq!(
        written("**a `c` b**"),
        ("a c b".into(), vec![(0, 1, "bold"), (2, 1, "code"), (4, 1, "bold")], vec!["styles"])
    );
    assert_eq!(written("[`c`](https://a.example)"), ("c".into(), vec![(0, 1, "text_link")], vec!["styles"]));
    assert_eq!(written("> a\n>\n> > b"), ("a\n\nb".into(), vec![(0, 4, "blockquote")], vec!["nested_quotes"]));
    assert_eq!(written("> ```rust\n> x\n> ```"), ("x".into(), vec![(0, 1, "blockquote"), (0, 1, "pre")], vec![]));
    assert_eq!(written("- a\n  - b\n\n3. c"), ("• a\n  ◦ b\n\n3. c".into(), vec![], vec!["nested_lists"]));
    assert_eq!(
        written("[x](/rel) [y](mailto:a@b.example)"),
        ("x (/rel) y (a@b.example)".into(), vec![], vec!["links"])
    );
    assert_eq!(written("[Ada](tg://user?id=7)"), ("Ada".into(), vec![(0, 3, "text_mention")], vec![]));
    assert_eq!(written("![alt](https://a.example/p.png)"), ("alt".into(), vec![(0, 3, "text_link")], vec!["images"]));
    assert_eq!(written("||a **b**||"), ("a b".into(), vec![(0, 3, "spoiler"), (2, 1, "bold")], vec![]));
    assert_eq!(written("a\tb\u{202e}c"), ("a bc".into(), vec![], vec![]));
    assert_eq!(written("    \tx\n    y"), ("x\ny".into(), vec![(0, 3, "pre")], vec![]));
}

#[test]
fn custom_emoji_and_languages_come_back() {
    let entities = [
        with(0, 2, "custom_emoji", "5368324170671202286"),
        with(4, 1, "pre", "rust"),
        entity(7, 1, "expandable_blockquote"),
    ];
    let document = read::telegram("👍\n\nx\n\nq", &entities);
    assert_eq!(write::telegram(&document).entities, entities);
    assert_eq!(write::markdown(&document).text, "👍\n\n```rust\nx\n```\n\n> q");
}

/// Next to a letter a mark opens and closes only by rules that look at both of its neighbours
/// (<https://spec.commonmark.org/0.31.2/#left-flanking-delimiter-run>).
#[test]
fn styles_that_begin_and_end_anywhere_in_a_word_are_the_same_in_markdown() {
    let kinds = ["bold", "italic", "strikethrough"];
    let ranges: Vec<(usize, usize)> = (0..5).flat_map(|from| (from + 1..6).map(move |to| (from, to))).collect();
    let mut tried = 0;
    for text in ["abcde", "a.c*e", "ab_(e"] {
        for (nth, (from, to)) in ranges.iter().enumerate() {
            for (others_from, others_to) in ranges.iter().skip(nth) {
                let apart = to <= others_from || others_to <= from;
                let nested = (from <= others_from && others_to <= to) || (others_from <= from && to <= others_to);
                if !apart && !nested {
                    continue;
                }
                for (outer, inner) in kinds.iter().flat_map(|outer| kinds.iter().map(move |inner| (outer, inner))) {
                    if outer == inner {
                        continue;
                    }
                    let entities =
                        [entity(*from, to - from, outer), entity(*others_from, others_to - others_from, inner)];
                    let said = read::telegram(text, &entities);
                    let markdown = write::markdown(&said).text;
                    let html = |document| write::html(document, HtmlRules::CANONICAL).text;
                    assert_eq!(html(&read::markdown(&markdown)), html(&said), "{entities:?}: {markdown}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}
