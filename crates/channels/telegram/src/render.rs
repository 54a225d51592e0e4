//! The requests that an answer becomes: one `sendMessage` for each part.

use frontdesk_model::{Content, Rendered, Wanted};
use frontdesk_richtext::{
    ChannelRules, Loss, append_attachments, append_buttons, document, render_parts,
    telegram::{Entity, EntityKind},
};
use serde_json::{Map, Value, json};

/// 1 to 64 bytes (<https://core.telegram.org/bots/api#inlinekeyboardbutton>).
const MAX_BUTTON_ID: usize = 64;
/// What one message takes.
const MAX_BUTTONS: usize = 100;

pub(crate) fn render(wanted: &Wanted) -> Rendered {
    let mut document = document(&wanted.content);
    let mut lost = Vec::new();
    if !wanted.attachments.is_empty() {
        let files = wanted.attachments.iter().map(|file| (file.name.as_deref(), file.url.as_str()));
        append_attachments(&mut document, files);
        lost.push(Loss::Attachments);
    }
    let keyboard = keyboard(wanted);
    if keyboard.is_none() && !wanted.buttons.is_empty() {
        append_buttons(&mut document, wanted.buttons.iter().map(|button| button.label.as_str()));
        lost.push(Loss::Buttons);
    }
    let mut parts = render_parts(&document, &ChannelRules::TELEGRAM);
    lost.into_iter().for_each(|loss| parts.degraded.note(loss));
    let last = parts.parts.len().saturating_sub(1);
    let requests = parts.parts.iter().enumerate().map(|(nth, part)| {
        let mut params = Map::new();
        params.insert("text".into(), part.text.as_str().into());
        if !part.entities.is_empty() {
            params.insert("entities".into(), part.entities.iter().filter_map(entity).collect());
        }
        if let Some(answered) = wanted.reply_to.as_ref().filter(|_| nth == 0).and_then(|id| answered(id)) {
            params.insert("reply_parameters".into(), answered);
        }
        if let Some(keyboard) = keyboard.as_ref().filter(|_| nth == last) {
            params.insert("reply_markup".into(), keyboard.clone());
        }
        json!({ "method": "sendMessage", "params": params })
    });
    Rendered { requests: requests.collect(), degraded: parts.degraded.names().collect() }
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

fn entity(entity: &Entity) -> Option<Value> {
    let mut fields = Map::new();
    fields.insert("type".into(), entity.kind.name()?.into());
    fields.insert("offset".into(), entity.offset.into());
    fields.insert("length".into(), entity.length.into());
    let further = match &entity.kind {
        EntityKind::Pre { language } if !language.is_empty() => Some(("language", language.as_str().into())),
        EntityKind::TextLink { url } => Some(("url", url.as_str().into())),
        EntityKind::TextMention { user } => Some(("user", json!({ "id": user }))),
        EntityKind::CustomEmoji { id } => Some(("custom_emoji_id", id.as_str().into())),
        _ => None,
    };
    fields.extend(further.map(|(name, value)| (name.to_owned(), value)));
    Some(Value::Object(fields))
}
