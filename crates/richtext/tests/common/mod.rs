//! Random trees, and what a platform insists on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, dead_code)] // a test may stop at the first surprise, and not each one uses all

use frontdesk_richtext::{
    Block, ChannelRules, Document, List, Part, Piece, Span, Style, Table, Unit,
    telegram::{Entity, EntityKind},
};
use proptest::prelude::*;

/// Words with what markup is made of, letters of several scripts, signs of several units, graphemes of several signs.
pub(crate) fn words() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        8 => "[a-z]{1,8}",
        3 => Just(" ".to_owned()),
        2 => "[*_~|`<>\\[\\]()#+.!&\\\\-]{1,3}",
        1 => Just("@everyone".to_owned()),
        1 => Just("<@123>".to_owned()),
        1 => Just("https://a.example/b_c?d=e".to_owned()),
        1 => Just("snake_case_name".to_owned()),
        1 => Just("1. ".to_owned()),
        1 => Just("&amp;".to_owned()),
        1 => Just("שלום עולם".to_owned()),
        1 => Just("e\u{301}\u{323}\u{302}".to_owned()),
        1 => Just("👩‍👩‍👧‍👦".to_owned()),
        1 => Just("🇩🇪👍🏽".to_owned()),
        1 => Just("漢字".to_owned()),
        1 => Just(". ".to_owned()),
    ];
    prop::collection::vec(pieces, 1..6).prop_map(|pieces| pieces.concat())
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![
        4 => Just(Style::NONE),
        2 => Just(Style::BOLD),
        2 => Just(Style::ITALIC),
        1 => Just(Style::UNDERLINE),
        1 => Just(Style::STRIKE),
        1 => Just(Style::SPOILER),
        1 => Just(Style::CODE),
        1 => Just(Style::BOLD | Style::ITALIC),
        1 => Just(Style::BOLD | Style::UNDERLINE | Style::STRIKE),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    let link = prop_oneof![
        6 => Just(None),
        1 => Just(Some("https://example.com/a?b=c&d=e")),
        1 => Just(Some("https://example.org/(x)")),
        1 => Just(Some("/relative")),
        1 => Just(Some("javascript:alert(1)")),
    ];
    (words(), style(), link, 0..12u8).prop_map(|(text, style, link, kind)| match kind {
        0 => Span::of(Piece::Break),
        1 => Span::of(Piece::SoftBreak),
        _ => {
            let span = Span::text(text).styled(style);
            match link {
                Some(link) => span.linked(link),
                None => span,
            }
        }
    })
}

pub(crate) fn row() -> impl Strategy<Value = Vec<Span>> {
    prop::collection::vec(span(), 1..7)
}

fn leaf() -> impl Strategy<Value = Block> {
    prop_oneof![
        6 => row().prop_map(Block::Paragraph),
        1 => (1..7u8, row()).prop_map(|(level, content)| Block::Heading { level, content }),
        1 => ("[a-z+]{0,5}", prop::collection::vec("[ a-z`*<@>|]{0,30}", 1..6))
            .prop_map(|(language, lines)| Block::Code { language, text: lines.join("\n") }),
        1 => Just(Block::Rule),
        1 => (prop::collection::vec(row(), 2..4), prop::collection::vec(row(), 2..4)).prop_map(|(head, row)| {
            let columns = vec![frontdesk_richtext::Column::Unsaid; head.len()];
            let rows = vec![row.into_iter().take(head.len()).collect()];
            Block::Table(Table { columns, head, rows })
        }),
    ]
}

pub(crate) fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let block = leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|blocks| Block::Quote { expandable: false, blocks }),
            (
                prop_oneof![Just(None), Just(Some(1)), Just(Some(7))],
                any::<bool>(),
                prop::collection::vec(prop::collection::vec(inner, 1..3), 1..4)
            )
                .prop_map(|(start, tight, items)| Block::List(List { start, tight, items })),
        ]
    });
    prop::collection::vec(block, 1..6)
}

pub(crate) fn document() -> impl Strategy<Value = Document> {
    blocks().prop_map(|blocks| Document { blocks })
}

/// Letters and digits of all that a reader of the tree sees, in order; each with its styles.
pub(crate) fn letters(document: &Document) -> Vec<(char, Style)> {
    fn of_row(row: &[Span], out: &mut Vec<(char, Style)>) {
        for span in row {
            out.extend(span.visible().chars().filter(|sign| sign.is_alphanumeric()).map(|sign| (sign, span.style)));
        }
    }
    fn of_blocks(blocks: &[Block], out: &mut Vec<(char, Style)>) {
        for block in blocks {
            match block {
                Block::Paragraph(row) | Block::Heading { content: row, .. } => of_row(row, out),
                Block::List(list) => list.items.iter().for_each(|item| of_blocks(item, out)),
                Block::Quote { blocks, .. } | Block::Note { blocks, .. } => of_blocks(blocks, out),
                Block::Code { text, .. } => {
                    out.extend(text.chars().filter(|sign| sign.is_alphanumeric()).map(|sign| (sign, Style::CODE)))
                }
                Block::Table(table) => {
                    table.head.iter().chain(table.rows.iter().flatten()).for_each(|cell| of_row(cell, out));
                }
                Block::Rule => {}
            }
        }
    }
    let mut out = Vec::new();
    of_blocks(&document.blocks, &mut out);
    out
}

/// Whether each letter of `needle` comes in `hay`, in order.
pub(crate) fn is_said_in(needle: &[char], hay: &str) -> bool {
    let mut hay = hay.chars();
    needle.iter().all(|sign| hay.any(|other| other == *sign))
}

/// What Telegram would otherwise repair or refuse.
pub(crate) fn assert_telegram_takes(part: &Part, max: usize) {
    let units: Vec<u16> = part.text.encode_utf16().collect();
    assert!(!units.is_empty() && units.len() <= max, "{} units", units.len());
    assert!(part.entities.len() <= 100, "{} entities", part.entities.len());
    assert_eq!(part.text.trim_matches([' ', '\n']), part.text, "untrimmed");
    assert!(!part.text.chars().any(|sign| (sign < ' ' && sign != '\n') || ('\u{2028}'..='\u{202e}').contains(&sign)));
    let mut open: Vec<&Entity> = Vec::new();
    let mut before = (0, usize::MAX);
    for entity in &part.entities {
        let Entity { offset, length, kind } = entity;
        let (offset, length) = (*offset, *length);
        assert!(length > 0 && offset + length <= units.len(), "out of the text: {entity:?}");
        assert!((offset, usize::MAX - length) >= (before.0, usize::MAX - before.1), "unsorted");
        before = (offset, length);
        let is_low = |at: usize| units.get(at).is_some_and(|unit| (0xDC00..0xE000).contains(unit));
        assert!(!is_low(offset) && !is_low(offset + length), "cuts a surrogate pair: {entity:?}");
        let inside = String::from_utf16(&units[offset..offset + length]).unwrap();
        assert_eq!(inside.trim_matches([' ', '\n']), inside, "white space at the edge: {entity:?}");
        while open.last().is_some_and(|last| last.offset + last.length <= offset) {
            open.pop();
        }
        for around in &open {
            assert!(offset + length <= around.offset + around.length, "{around:?} crosses {entity:?}");
            assert!(around.kind != *kind, "{kind:?} in itself");
            assert!(!is_code(&around.kind), "{entity:?} in {around:?}");
            assert!(!is_code(kind) || is_quote(&around.kind), "{entity:?} in {around:?}");
            assert!(!(is_quote(kind) && is_quote(&around.kind)), "a quote in a quote");
            assert!(!(stands_alone(kind) && stands_alone(&around.kind)), "{entity:?} in {around:?}");
        }
        if let EntityKind::TextLink { url } = kind {
            assert!(url.starts_with("http://") || url.starts_with("https://"), "{url}");
        }
        open.push(entity);
    }
}

fn is_code(kind: &EntityKind) -> bool {
    matches!(kind, EntityKind::Code | EntityKind::Pre { .. })
}

fn is_quote(kind: &EntityKind) -> bool {
    matches!(kind, EntityKind::Blockquote | EntityKind::ExpandableBlockquote)
}

fn stands_alone(kind: &EntityKind) -> bool {
    is_code(kind)
        || matches!(kind, EntityKind::TextLink { .. } | EntityKind::TextMention { .. } | EntityKind::CustomEmoji { .. })
}

/// What Discord would refuse, and what could call anybody.
pub(crate) fn assert_discord_takes(part: &Part, max: usize) {
    let text = &part.text;
    assert!(!text.trim().is_empty() && text.chars().count() <= max, "{} code points", text.chars().count());
    assert!(part.entities.is_empty());
    let lower = text.to_lowercase();
    assert!(!lower.contains("@everyone") && !lower.contains("@here"), "{text}");
    for (at, _) in text.match_indices("<@") {
        let after = text[at + 2..].trim_start_matches(['!', '&']);
        assert!(!after.starts_with(|sign: char| sign.is_ascii_digit()), "{text}");
    }
}

/// A channel like `of` with a smaller limit.
pub(crate) fn limited(of: ChannelRules, max_text: usize, unit: Unit) -> ChannelRules {
    ChannelRules { max_text, unit, ..of }
}
