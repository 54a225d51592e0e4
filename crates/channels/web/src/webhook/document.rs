//! The channel's route as the API's description shows it. What it says of the body is what [`super::wire`] holds a body to.

use frontdesk_model::{Admission, AnswerDocument, Attachment, HeaderDocument, Method, ProblemDocument, RouteDocument};
use serde_json::{Value, json};

use super::{
    refusal::Refusal,
    wire::{MAX_EMAIL, MAX_LOCALE, MAX_NAME, MAX_SUBJECT, MAX_URL},
};

/// `POST /messages`.
pub(super) fn messages() -> RouteDocument {
    RouteDocument {
        method: Method::Post,
        path: "/messages",
        id: "receiveWebhookMessage",
        summary: "Hands in a customer's message (kind webhook)",
        description: "Shown to be allowed by a Standard Webhooks signature with the channel's secret, or by a bearer token with scope \
                      `ingest`. The answer comes after the message is stored.\n\nThe message is named by `id` in the body, else by \
                      the header `webhook-id`, else by `Idempotency-Key`. The same name again within the same thread is the same \
                      message: it changes nothing and gets the first answer, with `Frontdesk-Duplicate: true`. So who hears no \
                      answer sends the same request again.",
        admissions: vec![Admission::Signature, Admission::Bearer],
        headers: vec![
            HeaderDocument {
                name: "webhook-id",
                description: "Names the message where the body does not; the signature covers it.",
            },
            HeaderDocument {
                name: "webhook-timestamp",
                description: "Of a signed request: when it was signed, in seconds since 1970, at most 5 minutes from now.",
            },
            HeaderDocument {
                name: "Idempotency-Key",
                description: "Names the message where neither the body nor `webhook-id` does.",
            },
        ],
        body: Some(body()),
        example: Some(json!({
            "id": "order-77-note-3",
            "thread": "order-77",
            "from": {"id": "u42", "name": "Ada", "email": "ada@example.com"},
            "text": "Where is my order?",
            "attachments": [{"url": "https://files.example.com/photo.jpg", "name": "photo.jpg"}],
            "sent_at": "2026-01-05T10:00:00Z"
        })),
        answers: vec![AnswerDocument {
            status: 202,
            description: "It is stored.",
            headers: vec![HeaderDocument {
                name: "Frontdesk-Duplicate",
                description: "`true` when the message was here before; then this is the first answer once more.",
            }],
            body: json!({
                "type": "object",
                "required": ["message_id", "conversation_id"],
                "properties": {
                    "message_id": {"type": "string", "pattern": "^msg_[0-9a-hjkmnp-tv-z]{26}$"},
                    "conversation_id": {"type": "string", "pattern": "^cnv_[0-9a-hjkmnp-tv-z]{26}$"}
                },
                "additionalProperties": false
            }),
        }],
        problems: Refusal::ALL
            .iter()
            .map(|refusal| ProblemDocument { status: refusal.status(), slug: refusal.slug(), title: refusal.title() })
            .collect(),
    }
}

fn body() -> Value {
    let opaque = |kind: Value, description: &str| {
        json!({
            "type": kind,
            "minLength": 1,
            "maxLength": 512,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
            "description": format!("{description} 1 to 512 bytes without control characters.")
        })
    };
    let optional = || json!(["string", "null"]);
    let person = opaque(json!("string"), "The sender's side's own name for the person.");
    let content = |description: &str| json!({"type": ["string", "null"], "pattern": "\\S", "description": description});
    let line = |most: usize, description: &str| json!({"type": ["string", "null"], "maxLength": most, "description": description});
    json!({
        "type": "object",
        "required": ["from"],
        "properties": {
            "id": opaque(optional(), "The sender's side's own name for the message."),
            "thread": opaque(optional(), "What belongs to one conversation has the same; `from.id` by default."),
            "from": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": person,
                    "name": line(MAX_NAME, "What they call themselves."),
                    "email": line(MAX_EMAIL, "Their e-mail address, as the sender's side says."),
                    "locale": line(MAX_LOCALE, "Their language, as a BCP 47 tag.")
                },
                "additionalProperties": false
            },
            "text": content("What was written, where every character means itself."),
            "markdown": content("What was written, as CommonMark."),
            "subject": line(MAX_SUBJECT, "The subject, if it has one."),
            "sent_at": {"type": ["string", "null"], "format": "date-time", "description": "When it was written."},
            "auto_generated": {
                "type": ["boolean", "null"],
                "description": "A program wrote it by itself; it is not answered automatically."
            },
            "attachments": {
                "type": ["array", "null"],
                "maxItems": Attachment::MAX_OF_A_MESSAGE,
                "description": "Files that came with it. They are fetched after the message is stored: from public addresses, and from hosts and \
                                ports that the configuration names.",
                "items": {
                    "type": "object",
                    "required": ["url"],
                    "properties": {
                        "url": {"type": "string", "format": "uri", "maxLength": MAX_URL, "description": "Where it is fetched: http or https."},
                        "name": {"type": ["string", "null"], "description": "What it is called; of a path the last piece counts."}
                    },
                    "additionalProperties": false
                }
            }
        },
        "additionalProperties": false,
        "oneOf": [
            {"required": ["text"], "properties": {"text": {"type": "string"}, "markdown": {"type": "null"}}},
            {"required": ["markdown"], "properties": {"markdown": {"type": "string"}, "text": {"type": "null"}}},
            {
                "required": ["attachments"],
                "properties": {
                    "attachments": {"type": "array", "minItems": 1}, "text": {"type": "null"}, "markdown": {"type": "null"}
                }
            }
        ]
    })
}
