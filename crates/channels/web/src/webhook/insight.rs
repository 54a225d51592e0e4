//! A look into the channel: what a body means, and the body of an answer.

use frontdesk_model::{
    Button, Decoded, DecodedAttachment, DecodedSender, DecodedThread, Envelope, FileAt, Insight, Raw, RemoteFile,
    Rendered, Unreadable, Wanted, WantedAttachment,
};
use frontdesk_richtext::{Said, document, show};
use serde_json::{Map, Value, json};

use super::{
    KIND,
    refusal::Refusal,
    wire::{self, Arrived, Delivered},
};

/// What the kind `webhook` makes of bodies and answers.
#[derive(Debug, Clone, Copy)]
pub struct WebhookInsight;

impl Insight for WebhookInsight {
    fn name(&self) -> &'static str {
        KIND
    }

    fn decode(&self, raw: &Raw) -> Result<Decoded, Unreadable> {
        let body = raw.bytes();
        match wire::decode(&body, Arrived::default()) {
            Ok(envelope) => Ok(decoded(&envelope)),
            // A header may name it; here there are none.
            Err(problem) if problem.slug == Refusal::MissingId.slug() => {
                let named = Arrived { webhook_id: Some("a"), idempotency_key: None };
                let envelope = wire::decode(&body, named).map_err(unreadable)?;
                let warning = "the body names no `id`: the header webhook-id or Idempotency-Key must";
                Ok(Decoded { message_id: None, warnings: vec![warning.into()], ..decoded(&envelope) })
            }
            Err(problem) => Err(unreadable(problem)),
        }
    }

    fn render(&self, wanted: &Wanted) -> Rendered {
        let document = document(&wanted.content);
        let Said { text, markdown } = Said::of_document(&wanted.content, &document);
        let html = wire::html(&document);
        let buttons: Vec<Button> =
            wanted.buttons.iter().map(|of| Button { id: of.id.clone(), label: of.label.clone() }).collect();
        let body = wire::body(&Delivered {
            id: None,
            timestamp: None,
            thread: None,
            to: None,
            text: &text,
            markdown: &markdown,
            html: &html.text,
            attachments: wanted.attachments.iter().map(attached).collect(),
            buttons: &buttons,
            reply_to: wanted.reply_to.as_deref(),
        });
        Rendered { requests: vec![json!({ "body": body })], degraded: html.degraded.names().collect() }
    }
}

/// As it is delivered, but for what is known only once its bytes are here: then its address is one of ours.
fn attached(file: &WantedAttachment) -> Value {
    json!({
        "id": null, "name": file.name, "state": null, "media_type": null, "size": null, "sha256": null,
        "url": file.url, "expires_at": null,
    })
}

fn unreadable(problem: frontdesk_model::HttpProblem) -> Unreadable {
    Unreadable::new(problem.slug, problem.detail)
}

fn decoded(envelope: &Envelope) -> Decoded {
    let mut native = Map::new();
    native.insert("thread".into(), Value::from(envelope.thread.as_str()));
    let sender = &envelope.sender;
    let mut decoded = Decoded {
        auto_generated: envelope.auto_generated,
        conversation: Some(DecodedThread { key: envelope.thread.as_str().to_owned(), native }),
        message_id: Some(envelope.external_id.as_str().to_owned()),
        sender: Some(DecodedSender {
            id: Some(sender.identity.value.clone()),
            address: sender.also.first().map(|identity| identity.value.clone()),
            name: sender.name.clone(),
            is_bot: false,
        }),
        sent_at: envelope.sent_at,
        subject: envelope.subject.clone(),
        ..Decoded::new(KIND, "message.created")
    };
    let said = Said::by_a_stranger(&envelope.content);
    decoded.text = Some(said.text.into_owned());
    show(&mut decoded, &document(&envelope.content));
    let attachment = |file: &RemoteFile| DecodedAttachment {
        name: file.name.clone(),
        media_type: None,
        size: None,
        sha256: None,
        inline: false,
        content_id: None,
        file_id: None,
        url: match &file.at {
            FileAt::Url(url) => Some(url.clone()),
            FileAt::Handle(_) => None,
        },
    };
    decoded.attachments = envelope.attachments.iter().map(attachment).collect();
    decoded
}
