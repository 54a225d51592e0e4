//! What a body is understood as.
#![allow(clippy::unwrap_used, missing_docs)] // tests may stop at the first surprise

use frontdesk_model::{Content, Envelope, HttpProblem};
use frontdesk_web::{Arrived, decode};
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(body: &str) -> Result<Envelope, HttpProblem> {
    decode(body.as_bytes(), Arrived::default())
}

/// A body that means this envelope.
fn encoded(envelope: &Envelope) -> Value {
    let email = envelope.sender.also.first().map(|identity| &identity.value);
    let (text, markdown) = match &envelope.content {
        Content::Text(text) => (Some(text), None),
        Content::Markdown(markdown) => (None, Some(markdown)),
    };
    json!({
        "id": envelope.external_id,
        "thread": envelope.thread,
        "from": {
            "id": envelope.sender.identity.value,
            "name": envelope.sender.name,
            "email": email,
            "locale": envelope.sender.locale,
        },
        "text": text,
        "markdown": markdown,
        "subject": envelope.subject,
        "auto_generated": envelope.auto_generated,
        "sent_at": envelope.sent_at,
    })
}

#[test]
fn a_full_message_is_understood_whole() {
    let body = r#"{
        "id": "order-77-note-3", "thread": "order-77",
        "from": {"id": "u42", "name": "Ada", "email": "ada@example.com", "locale": "en-GB"},
        "markdown": "**Where** is my order?", "subject": "Order 77", "auto_generated": true, "attachments": [],
        "sent_at": "2026-01-05T11:00:00+01:00"
    }"#;
    insta::assert_debug_snapshot!("full_envelope", read(body).unwrap());
}

#[test]
fn the_least_message_is_a_thread_of_its_sender() {
    let body = br#"{"from":{"id":"u42"},"text":"Hi"}"#;
    let arrived = Arrived { webhook_id: Some("w1"), idempotency_key: Some("k1") };
    insta::assert_debug_snapshot!("least_envelope", decode(body, arrived).unwrap());
}

#[test]
fn the_body_names_the_message_before_the_headers_do() {
    let id = |body: &str, webhook_id, idempotency_key| {
        decode(body.as_bytes(), Arrived { webhook_id, idempotency_key }).unwrap().external_id.to_string()
    };
    let named = r#"{"id":"b","from":{"id":"u"},"text":"x"}"#;
    let unnamed = r#"{"from":{"id":"u"},"text":"x"}"#;
    assert_eq!(id(named, Some("w"), Some("k")), "b");
    assert_eq!(id(unnamed, Some("w"), Some("k")), "w");
    assert_eq!(id(unnamed, None, Some("k")), "k");
}

#[test]
fn every_character_of_a_text_survives() {
    let text = "\0\u{1b}[31m\r\n\u{202e}\u{feff}e\u{301}👩‍👩‍👧\u{10ffff} }{:\"\\";
    let body = json!({ "id": "m", "from": { "id": "u" }, "text": text }).to_string();
    assert_eq!(read(&body).unwrap().content, Content::Text(text.into()));
}

#[test]
fn t38_names_and_subjects_keep_no_control_characters() {
    let body = json!({
        "id": "m", "from": { "id": "u", "name": " Ada\n\u{1b}[31m" }, "text": "x", "subject": "\r\n\u{85}"
    });
    let envelope = read(&body.to_string()).unwrap();
    assert_eq!(envelope.sender.name.as_deref(), Some("Ada[31m"));
    assert_eq!(envelope.subject, None);
}

#[test]
fn t29_depth_is_refused_wherever_it_is() {
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let deep = open.repeat(100_000);
        let body = json!({ "id": "m", "from": { "id": "u" }, "text": "x" }).to_string();
        for body in [deep.clone(), body.replace("\"x\"", &deep), body.replace("\"u\"", &deep)] {
            let problem = read(&body).unwrap_err();
            assert_eq!((problem.status, problem.slug), (400, "json-too-deep"));
            assert!(problem.detail.contains("128"), "{}", problem.detail);
        }
    }
}

/// JSON of any kind, of fields that are known and others.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("2026-01-05T10:00:00Z")),
        Just(Value::from("a@b")),
    ];
    let name = prop::sample::select(vec![
        "id",
        "thread",
        "from",
        "text",
        "markdown",
        "subject",
        "sent_at",
        "auto_generated",
        "attachments",
        "name",
        "email",
        "locale",
        "else",
    ]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Messages that are mostly good.
fn likely() -> impl Strategy<Value = Value> {
    let id = "[a-zA-Z0-9:{}* é]{1,20}";
    let line = prop::option::of(".{0,30}");
    (id, id, id, line.clone(), line, ".{0,60}", any::<bool>(), prop::option::of(0_i64..253_402_300_799_999)).prop_map(
        |(id, thread, from, name, subject, content, is_text, sent_at)| {
            let form = if is_text { "text" } else { "markdown" };
            let sent_at = sent_at.map(frontdesk_model::Timestamp::from_millis);
            json!({
                "id": id, "thread": thread, "from": { "id": from, "name": name }, form: content, "subject": subject,
                "auto_generated": is_text, "sent_at": sent_at,
            })
        },
    )
}

fn holds(body: &[u8]) {
    match decode(body, Arrived { webhook_id: Some("w"), idempotency_key: None }) {
        Ok(envelope) => assert_eq!(read(&encoded(&envelope).to_string()).unwrap(), envelope),
        Err(problem) => {
            assert!(matches!(problem.status, 400 | 422) && !problem.detail.is_empty(), "{problem:?}");
            assert!(!problem.detail.chars().any(char::is_control), "{problem:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_envelope_or_a_problem(body in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&body);
    }

    #[test]
    fn any_json_gives_an_envelope_or_a_problem(body in any_json()) {
        holds(body.to_string().as_bytes());
    }

    #[test]
    fn what_is_taken_can_be_written_and_read_again(body in likely()) {
        holds(body.to_string().as_bytes());
        let said = body.get("text").or(body.get("markdown")).and_then(Value::as_str).unwrap();
        prop_assert_eq!(read(&body.to_string()).is_ok(), !said.trim().is_empty());
    }
}
