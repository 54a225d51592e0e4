//! The reply format: what is understood, and what is said about the rest.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use frontdesk_engine::{Action, Reply, ReplyMessage, parse_reply};
use frontdesk_model::{Content, Version};
use proptest::prelude::*;

fn says(content: Content) -> ReplyMessage {
    ReplyMessage { content, attachments: Vec::new(), reply_to: None, private: false, buttons: Vec::new() }
}

fn text(text: &str) -> Content {
    Content::Text(text.into())
}

fn markdown(text: &str) -> Content {
    Content::Markdown(text.into())
}

#[test]
fn every_form_of_a_reply_is_understood() {
    let cases: [(&str, Reply); 6] = [
        ("", Reply::default()),
        (" \n", Reply::default()),
        ("{}", Reply::default()),
        (r#"{"text":"a"}"#, Reply { messages: vec![says(text("a"))], ..Reply::default() }),
        (r#"{"markdown":"**a**"}"#, Reply { messages: vec![says(markdown("**a**"))], ..Reply::default() }),
        (
            r#"{"if_version":12,"route":["origin"],"messages":[{"markdown":"a"},{"text":"b"}],
               "actions":[{"type":"handoff","reason":"refund"},{"type":"resolve"}]}"#,
            Reply {
                if_version: Some(Version(12)),
                messages: vec![says(markdown("a")), says(text("b"))],
                actions: vec![Action::Handoff { reason: Some("refund".into()) }, Action::Resolve],
            },
        ),
    ];
    for (body, reply) in cases {
        assert_eq!(parse_reply(body.as_bytes()).as_ref(), Ok(&reply), "{body}");
    }
}

#[test]
fn what_is_not_a_reply_is_named_without_repeating_it() {
    let cases = [
        "<html>busy</html>",
        "{\"text\":",
        "[]",
        "{\"text\":\"a\",\"markdown\":\"b\"}",
        "{\"text\":\" \"}",
        "{\"text\":[\"canary\"]}",
        "{\"text\":5}",
        "{\"messages\":[{}]}",
        "{\"messages\":[{\"text\":\"a\",\"private\":\"canary\"}]}",
        "{\"messages\":[{\"text\":\"a\"}],\"text\":\"b\"}",
        "{\"route\":[\"email\"],\"text\":\"a\"}",
        "{\"actions\":[{\"type\":\"snooze\",\"until\":\"canary\"}]}",
        "{\"if_version\":-1}",
        "{\"if_version\":\"canary\"}",
    ];
    let said: Vec<(&str, String)> =
        cases.iter().map(|body| (*body, parse_reply(body.as_bytes()).unwrap_err().to_string())).collect();
    for (body, error) in &said {
        assert!(!error.contains("canary"), "{body} -> {error}");
    }
    insta::assert_debug_snapshot!(said);
}

#[test]
fn who_wrote_it_is_told_which_field_is_not_known_and_the_log_is_not() {
    let cases = [
        "{\"txet\":\"canary\"}",
        "{\"messages\":[{\"text\":\"a\"},{\"text\":\"a\",\"buttons\":[{\"id\":\"x\"}]}]}",
        "{\"text\":\"a\",\"attachments\":[]}",
        "{\"text\":\"a\",\"private\":true}",
        "{\"messages\":[{\"text\":\"a\",\"privat\":true}]}",
        "{\"text\":\"a\",\"canary`, expected `b\":1}",
        "{\"text\":\"a\",\"canary\\u001b[31m\":1}",
        "{\"actions\":[{\"type\":\"resolve\",\"resaon\":\"canary\"}]}",
        "{\"actions\":[{\"type\":\"reslove\"}]}",
        "{\"actions\":[{\"reason\":\"refund\"}]}",
        "{\"actions\":[\"resolve\"]}",
        "{\"actions\":[{\"type\":\"snooze\"}]}",
        "{\"text\":\"a\",\"text\":\"b\"}",
        "{\"messages\":[\"a\"]}",
        "{\"messages\":{}}",
        "{\"text\":\"a\"} and more",
    ];
    let told: Vec<(&str, String, String)> = cases
        .iter()
        .map(|body| {
            let error = parse_reply(body.as_bytes()).unwrap_err();
            (*body, error.told(), error.to_string())
        })
        .collect();
    for (body, told, said) in &told {
        assert!(!said.contains("canary") && !said.contains("txet"), "{body} -> {said}");
        assert!(!told.contains('\u{1b}') && !told.contains("Raw"), "{body} -> {told}");
    }
    insta::assert_debug_snapshot!(told);
}

#[test]
fn t29_depth_is_an_error_and_not_a_crash() {
    let deep = "[".repeat(100_000);
    assert!(parse_reply(deep.as_bytes()).is_err());
    let deep = format!("{{\"messages\":{deep}");
    assert!(parse_reply(deep.as_bytes()).is_err());
}

#[test]
fn more_messages_than_a_reply_may_have_are_refused_and_not_cut() {
    let one = r#"{"text":"a"}"#;
    let body = |count: usize| format!("{{\"messages\":[{}]}}", vec![one; count].join(","));
    assert_eq!(parse_reply(body(20).as_bytes()).unwrap().messages.len(), 20);
    assert!(parse_reply(body(21).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_reply(&body);
    }

    #[test]
    fn every_text_arrives_as_it_was_written(said in "\\PC{1,200}") {
        prop_assume!(!said.trim().is_empty());
        let body = serde_json::to_vec(&serde_json::json!({ "messages": [{ "text": said }] })).unwrap();
        let reply = parse_reply(&body).unwrap();
        prop_assert_eq!(reply.messages, vec![says(text(&said))]);
    }
}
