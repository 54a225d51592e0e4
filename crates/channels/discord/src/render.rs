//! The requests that an answer becomes: one message for each part.

use frontdesk_model::{Rendered, Wanted, WantedButton};
use frontdesk_richtext::{ChannelRules, Loss, append_attachments, append_buttons, document, render_parts};
use serde_json::{Map, Value, json};

/// Where messages are posted; the destination is not known here.
const PATH: &str = "/api/v10/channels/{channel_id}/messages";
/// <https://discord.com/developers/docs/components/reference#button>: 5 in a row, 5 rows, an id of 1 to 100 characters, a
/// label of up to 80.
const IN_A_ROW: usize = 5;
const MAX_BUTTONS: usize = 25;
const MAX_BUTTON_ID: usize = 100;
const MAX_LABEL: usize = 80;
/// An action row, a button, and its grey look.
const ROW: u8 = 1;
const BUTTON: u8 = 2;
const SECONDARY: u8 = 2;

pub(crate) fn render(wanted: &Wanted) -> Rendered {
    let mut document = document(&wanted.content);
    let mut lost = Vec::new();
    if !wanted.attachments.is_empty() {
        let files = wanted.attachments.iter().map(|file| (file.name.as_deref(), file.url.as_str()));
        append_attachments(&mut document, files);
        lost.push(Loss::Attachments);
    }
    let components = components(&wanted.buttons);
    if components.is_none() && !wanted.buttons.is_empty() {
        append_buttons(&mut document, wanted.buttons.iter().map(|button| button.label.as_str()));
        lost.push(Loss::Buttons);
    }
    let mut parts = render_parts(&document, &ChannelRules::DISCORD);
    lost.into_iter().for_each(|loss| parts.degraded.note(loss));
    let last = parts.parts.len().saturating_sub(1);
    let requests = parts.parts.iter().enumerate().map(|(nth, part)| {
        let mut body = Map::new();
        body.insert("content".into(), part.text.as_str().into());
        body.insert("allowed_mentions".into(), json!({ "parse": [] }));
        if let Some(id) = wanted.reply_to.as_ref().filter(|id| nth == 0 && is_snowflake(id)) {
            body.insert("message_reference".into(), json!({ "message_id": id, "fail_if_not_exists": false }));
        }
        if let Some(components) = components.as_ref().filter(|_| nth == last) {
            body.insert("components".into(), components.clone());
        }
        json!({ "path": PATH, "body": body })
    });
    Rendered { requests: requests.collect(), degraded: parts.degraded.names().collect() }
}

/// An id of Discord's; with any other the request would be refused.
fn is_snowflake(id: &str) -> bool {
    id.parse::<u64>().is_ok() && id.bytes().all(|digit| digit.is_ascii_digit())
}

/// Buttons under the message. `None` when there are none, or Discord would refuse one.
fn components(buttons: &[WantedButton]) -> Option<Value> {
    let within = |text: &str, max: usize| (1..=max).contains(&text.chars().count());
    let fits = |one: &WantedButton| within(&one.id, MAX_BUTTON_ID) && within(&one.label, MAX_LABEL);
    let mut ids: Vec<&str> = buttons.iter().map(|one| one.id.as_str()).collect();
    ids.sort_unstable();
    let twice = ids.windows(2).any(|pair| matches!(pair, [one, other] if one == other));
    let possible = (1..=MAX_BUTTONS).contains(&buttons.len()) && !twice && buttons.iter().all(fits);
    possible.then(|| {
        let button =
            |one: &WantedButton| json!({ "type": BUTTON, "style": SECONDARY, "label": one.label, "custom_id": one.id });
        let row =
            |row: &[WantedButton]| json!({ "type": ROW, "components": row.iter().map(button).collect::<Vec<_>>() });
        buttons.chunks(IN_A_ROW).map(row).collect()
    })
}
