//! Kind `webchat`: what the widget on a web page sends and shows.
//!
//! A visitor's message is `{"id", "text"}`; every character of the text means itself, addresses in it become links. An answer is
//! shown as HTML without scripts, styles and remote things ([`HtmlRules::RICH`]).

use frontdesk_model::{Decoded, Insight, Raw, Rendered, Unreadable, Wanted};
use frontdesk_richtext::{HtmlRules, Loss, append_attachments, append_buttons, document, read, show, write};
use serde_json::{Value, json};

const KIND: &str = "webchat";

/// What the kind `webchat` makes of messages and answers.
#[derive(Debug, Clone, Copy)]
pub struct WebchatInsight;

impl Insight for WebchatInsight {
    fn name(&self) -> &'static str {
        KIND
    }

    fn decode(&self, raw: &Raw) -> Result<Decoded, Unreadable> {
        let input = raw.json()?;
        let Value::Object(fields) = input.as_ref() else {
            return Err(Unreadable::input(
                "a visitor's message is an object such as {\"id\": \"1\", \"text\": \"Hello\"}",
            ));
        };
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Unreadable::input(format!("`{name}` must be text in quotes"))),
        };
        let said = text("text")?.ok_or_else(|| Unreadable::input("`text` is missing: it says what was written"))?;
        if said.trim().is_empty() {
            return Err(Unreadable::input("`text` is empty; an empty message is not taken"));
        }
        let mut decoded = Decoded { message_id: text("id")?, ..Decoded::new(KIND, "message.created") };
        let document = read::plain(&said);
        decoded.text = Some(said);
        show(&mut decoded, &document);
        Ok(decoded)
    }

    fn render(&self, wanted: &Wanted) -> Rendered {
        let mut document = document(&wanted.content);
        let mut lost = Vec::new();
        if !wanted.attachments.is_empty() {
            let files = wanted.attachments.iter().map(|file| (file.name.as_deref(), file.url.as_str()));
            append_attachments(&mut document, files);
            lost.push(Loss::Attachments);
        }
        if !wanted.buttons.is_empty() {
            append_buttons(&mut document, wanted.buttons.iter().map(|button| button.label.as_str()));
            lost.push(Loss::Buttons);
        }
        let html = write::html(&document, HtmlRules::RICH);
        let mut degraded = html.degraded;
        lost.into_iter().for_each(|loss| degraded.note(loss));
        Rendered { requests: vec![json!({ "html": html.text })], degraded: degraded.names().collect() }
    }
}
