//! Whatever entities a text comes with, reading it ends, and what is written from it needs no repair.
#![no_main]

use frontdesk_richtext::{
    read,
    telegram::{Entity, EntityKind},
    write,
};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 14] = [
    "bold", "italic", "underline", "strikethrough", "spoiler", "code", "pre", "blockquote", "expandable_blockquote",
    "text_link", "text_mention", "custom_emoji", "url", "email",
];

fuzz_target!(|input: (String, Vec<(u8, u16, u16)>)| {
    let (text, places) = input;
    let entities: Vec<Entity> = places
        .iter()
        .filter_map(|(kind, offset, length)| {
            let name = NAMES.get(usize::from(*kind) % NAMES.len())?;
            let kind = EntityKind::of(name, Some("7"));
            Some(Entity { offset: usize::from(*offset), length: usize::from(*length), kind })
        })
        .collect();
    let rendering = write::telegram(&read::telegram(&text, &entities));
    let units = rendering.text.encode_utf16().count();
    let mut open: Vec<usize> = Vec::new();
    for entity in &rendering.entities {
        let end = entity.offset + entity.length;
        assert!(entity.length > 0 && end <= units);
        open.retain(|around| *around > entity.offset);
        assert!(open.iter().all(|around| end <= *around));
        open.push(end);
    }
});
