//! The requests that an answer becomes: one `sendMessage` for each part of the text, then one for each file.

use frontdesk_model::{Content, Rendered, Wanted, WantedAttachment};
use frontdesk_richtext::{
    ChannelRules, Loss, append_buttons, document, render_parts,
    telegram::{Entity, EntityKind},
};
use serde_json::{Map, Value, json};

/// 1 to 64 bytes (<https://core.telegram.org/bots/api#inlinekeyboardbutton>).
const MAX_BUTTON_ID: usize = 64;
/// What one message takes.
const MAX_BUTTONS: usize = 100;

pub(crate) fn render(wanted: &Wanted) -> Rendered {
    let files = wanted.attachments.iter().map(by_address).collect();
    with_files(wanted, files, Previews::Off)
}

/// Whether Telegram shows what the first link of a text leads to
/// (<https://core.telegram.org/bots/api#linkpreviewoptions>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Previews {
    /// Not at all.
    Off,
    /// As Telegram thinks best.
    On,
}

/// The text in its parts, then each file as a message of its own.
pub(crate) fn with_files(wanted: &Wanted, files: Vec<Value>, previews: Previews) -> Rendered {
    let mut document = document(&wanted.content);
    let keyboard = keyboard(wanted);
    let listed = keyboard.is_none() && !wanted.buttons.is_empty();
    if listed {
        append_buttons(&mut document, wanted.buttons.iter().map(|button| button.label.as_str()));
    }
    let mut parts = render_parts(&document, &ChannelRules::TELEGRAM);
    if listed {
        parts.degraded.note(Loss::Buttons);
    }
    let texts = parts.parts.iter().map(|part| {
        let mut params = Map::new();
        params.insert("text".into(), part.text.as_str().into());
        if !part.entities.is_empty() {
            let entities = part.entities.iter().filter_map(|one| entity(one, &part.text));
            params.insert("entities".into(), entities.collect());
        }
        if previews == Previews::Off {
            params.insert("link_preview_options".into(), json!({ "is_disabled": true }));
        }
        json!({ "method": "sendMessage", "params": params })
    });
    let mut requests: Vec<Value> = texts.collect();
    // The buttons stand under the last text, and where there is none under the last file.
    let last_text = requests.len().checked_sub(1);
    requests.extend(files);
    let under = last_text.or_else(|| requests.len().checked_sub(1));
    let mut put = |nth: Option<usize>, name: &str, value: Option<Value>| {
        let params = nth.and_then(|nth| requests.get_mut(nth)).and_then(|request| request.get_mut("params"));
        if let (Some(params), Some(value)) = (params.and_then(Value::as_object_mut), value) {
            params.insert(name.to_owned(), value);
        }
    };
    put(under, "reply_markup", keyboard);
    put(Some(0), "reply_parameters", wanted.reply_to.as_deref().and_then(answered));
    Rendered { requests, degraded: parts.degraded.names().collect() }
}

/// A file that Telegram fetches itself.
fn by_address(file: &WantedAttachment) -> Value {
    let path = file.url.split(['?', '#']).next().unwrap_or_default();
    let ending = |name: &str| name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let ending = file.name.as_deref().and_then(ending).or_else(|| ending(path)).unwrap_or_default();
    let media_type = match ending.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "mp4" => "video/mp4",
        "ogg" | "oga" | "opus" => "audio/opus",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        _ => "",
    };
    let (method, field) = sent_as(media_type);
    json!({ "method": method, "params": { field: file.url } })
}

/// How a file of this type is sent (<https://core.telegram.org/bots/api#sending-files>), and which field holds it. The types are those
/// that bytes show: an Ogg file is a voice if it holds Opus, and a document if it does not.
pub(crate) fn sent_as(media_type: &str) -> (&'static str, &'static str) {
    match media_type {
        "image/jpeg" | "image/png" => ("sendPhoto", "photo"),
        "image/gif" => ("sendAnimation", "animation"),
        "video/mp4" => ("sendVideo", "video"),
        "audio/opus" => ("sendVoice", "voice"),
        "audio/mpeg" | "audio/mp4" | "audio/m4a" => ("sendAudio", "audio"),
        _ => ("sendDocument", "document"),
    }
}

/// What of this Telegram cannot show as it was written.
pub(crate) fn degraded(content: &Content) -> Vec<&'static str> {
    render_parts(&document(content), &ChannelRules::TELEGRAM).degraded.names().collect()
}

/// What is answered. An id that is no number is none of Telegram's: the answer then stands on its own.
pub(crate) fn answered(id: &str) -> Option<Value> {
    let id = id.parse::<i64>().ok()?;
    Some(json!({ "message_id": id, "allow_sending_without_reply": true }))
}

/// Buttons under the message, one to a row. `None` when there are none, or Telegram would refuse one.
pub(crate) fn keyboard(wanted: &Wanted) -> Option<Value> {
    let fits = |id: &str| (1..=MAX_BUTTON_ID).contains(&id.len());
    let possible = (1..=MAX_BUTTONS).contains(&wanted.buttons.len()) && wanted.buttons.iter().all(|one| fits(&one.id));
    possible.then(|| {
        let row =
            |button: &frontdesk_model::WantedButton| json!([{ "text": button.label, "callback_data": button.id }]);
        json!({ "inline_keyboard": wanted.buttons.iter().map(row).collect::<Vec<_>>() })
    })
}

fn entity(entity: &Entity, text: &str) -> Option<Value> {
    let mut fields = Map::new();
    fields.insert("type".into(), entity.kind.name()?.into());
    fields.insert("offset".into(), entity.offset.into());
    fields.insert("length".into(), entity.length.into());
    let further = match &entity.kind {
        EntityKind::Pre { language } if !language.is_empty() => Some(("language", language.as_str().into())),
        EntityKind::TextLink { url } => Some(("url", url.as_str().into())),
        // A User has to have a name (https://core.telegram.org/bots/api#user). Telegram looks at the number alone.
        EntityKind::TextMention { user } => {
            let units = text.encode_utf16().skip(entity.offset).take(entity.length);
            let name: String = char::decode_utf16(units).filter_map(Result::ok).collect();
            Some(("user", json!({ "id": user, "is_bot": false, "first_name": name })))
        }
        EntityKind::CustomEmoji { id } => Some(("custom_emoji_id", id.as_str().into())),
        _ => None,
    };
    fields.extend(further.map(|(name, value)| (name.to_owned(), value)));
    Some(Value::Object(fields))
}
