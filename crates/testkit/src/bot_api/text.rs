//! What the platform makes of a text and its entities (<https://core.telegram.org/bots/api#messageentity>).
//!
//! Stricter than the platform in one thing: of entities that overlap or nest against its rules it silently drops or splits
//! some, and here the request is refused, so that a test sees it.

use serde_json::Value;

use super::methods::Refused;

/// The most entities of one text that are honoured.
const MOST_ENTITIES: usize = 100;
const KINDS: &[&str] = &[
    "mention",
    "hashtag",
    "cashtag",
    "bot_command",
    "url",
    "email",
    "phone_number",
    "bold",
    "italic",
    "underline",
    "strikethrough",
    "spoiler",
    "blockquote",
    "expandable_blockquote",
    "code",
    "pre",
    "text_link",
    "text_mention",
    "custom_emoji",
    "date_time",
];
/// Found by the platform itself: given by a bot they are passed over.
const FOUND: &[&str] = &["mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number"];

/// The text as it is kept, and the entities that are honoured.
pub(super) fn checked(text: &str, entities: Option<&Value>) -> Result<(String, Vec<Value>), Refused> {
    let kept = text.trim_end();
    let length = kept.encode_utf16().count();
    let whole = text.encode_utf16().count();
    let none = Vec::new();
    let list = match entities {
        None => &none,
        Some(list) => list.as_array().ok_or_else(|| wrong("expected an Array of MessageEntity"))?,
    };
    let mut honoured: Vec<(usize, usize, &str, Value)> = Vec::new();
    for entity in list.iter().take(MOST_ENTITIES) {
        let kind = entity["type"].as_str().ok_or_else(|| wrong("can't find field \"type\""))?;
        if !KINDS.contains(&kind) {
            return Err(wrong("unsupported type specified"));
        }
        let place = |name: &str| {
            let number = entity[name].as_i64().ok_or_else(|| wrong(&format!("can't find field \"{name}\"")))?;
            usize::try_from(number)
                .map_err(|_| Refused::bad(&format!("receive an entity with incorrect {name} {number}")))
        };
        let (from, span) = (place("offset")?, place("length")?);
        let to = from + span;
        if span == 0 {
            continue;
        }
        if to > whole {
            let said = format!(
                "entity beginning at UTF-16 offset {from} ends after the end of the text at UTF-16 offset {whole}"
            );
            return Err(Refused::bad(&said));
        }
        for (edge, what) in [(from, "begins"), (to, "ends")] {
            if let Some(byte) = within_symbol(text, edge) {
                let said = format!("entity {what} in a middle of a UTF-16 symbol at byte offset {byte}");
                return Err(Refused::bad(&said));
            }
        }
        match kind {
            "text_link" if entity["url"].as_str().is_none_or(str::is_empty) => {
                return Err(wrong("can't find field \"url\""));
            }
            "text_mention" if !entity["user"]["id"].is_i64() => return Err(wrong("can't find field \"user\"")),
            "custom_emoji" if !entity["custom_emoji_id"].is_string() => {
                return Err(wrong("can't find field \"custom_emoji_id\""));
            }
            _ => {}
        }
        let to = to.min(length);
        if from >= to || FOUND.contains(&kind) {
            continue;
        }
        let mut entity = entity.clone();
        entity["length"] = Value::from(to - from);
        honoured.push((from, to, kind, entity));
    }
    honoured.sort_by_key(|(from, to, ..)| (*from, std::cmp::Reverse(*to)));
    nested_right(&honoured)?;
    Ok((kept.to_owned(), honoured.into_iter().map(|(.., entity)| entity).collect()))
}

/// "If two entities have common characters, one is fully contained inside the other"; code and pre contain nothing and
/// are in nothing but a quotation; quotations are not nested.
fn nested_right(entities: &[(usize, usize, &str, Value)]) -> Result<(), Refused> {
    let mono = |kind: &str| kind == "code" || kind == "pre";
    let quote = |kind: &str| kind.ends_with("blockquote");
    for (at, (from, to, kind, _)) in entities.iter().enumerate() {
        for (other_from, other_to, other, _) in entities.iter().skip(at + 1) {
            if other_from >= to {
                break;
            }
            if other_to > to {
                return Err(wrong(&format!("entities {kind} at {from} and {other} at {other_from} overlap")));
            }
            let apart = (mono(kind) && !quote(other)) || (mono(other) && !quote(kind));
            if apart || (quote(kind) && quote(other)) || kind == other {
                return Err(wrong(&format!("{other} at {other_from} can't be within {kind} at {from}")));
            }
        }
    }
    Ok(())
}

/// The byte of the symbol that a UTF-16 place splits.
fn within_symbol(text: &str, place: usize) -> Option<usize> {
    let mut units = 0;
    for (byte, symbol) in text.char_indices() {
        if units >= place {
            return None;
        }
        units += symbol.len_utf16();
        if units > place {
            return Some(byte);
        }
    }
    None
}

fn wrong(what: &str) -> Refused {
    Refused::bad(&format!("can't parse entities: {what}"))
}
