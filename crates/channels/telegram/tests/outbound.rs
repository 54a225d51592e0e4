//! What is sent, exactly, and what answers are understood as.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::time::Duration;

use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};
use world::*;

#[tokio::test]
async fn a_message_is_one_exact_request() {
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 501, "chat": {"id": 123}}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outcome = send(&adapter, &outgoing("123", "It ships **today**, *Ada*.")).await;
    assert_eq!(outcome, Outcome::Sent { external_id: Some("123:501".into()) });
    let requests = far_end.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, format!("/bot{TOKEN}/sendMessage"));
    assert_eq!(
        params(&requests[0]),
        json!({
            "chat_id": 123,
            "text": "It ships today, Ada.",
            "entities": [
                {"type": "bold", "offset": 9, "length": 5},
                {"type": "italic", "offset": 16, "length": 3}
            ],
            "reply_parameters": {"message_id": 76, "allow_sending_without_reply": true},
            "link_preview_options": {"is_disabled": true}
        })
    );
}

#[tokio::test]
async fn parts_go_to_the_topic_and_only_the_first_answers() {
    let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), vec![]);
    let parts = adapter.render(&outgoing("-1001/5", &"word ".repeat(2000)));
    assert!(parts.len() > 1);
    for (nth, FrozenPart(part)) in parts.iter().enumerate() {
        let params = &part["params"];
        assert_eq!((&params["chat_id"], &params["message_thread_id"]), (&json!(-1001), &json!(5)));
        assert!(params["text"].as_str().unwrap().encode_utf16().count() <= 4096);
        assert_eq!(params.get("reply_parameters").is_some(), nth == 0);
    }
}

async fn outcome(reply: Reply) -> Outcome {
    let far_end = FarEnd::start(move |_| reply.clone()).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outcome = send(&adapter, &outgoing("123", "Hello")).await;
    assert_eq!(far_end.count(), 1, "no tries of its own");
    outcome
}

#[tokio::test]
async fn each_answer_is_what_the_contract_says() {
    let none = || json!({});
    for status in [400, 403, 413] {
        let outcome = outcome(refused(status, "Bad Request: chat not found", none())).await;
        assert!(matches!(outcome, Outcome::Failed { scope: Scope::Message, .. }), "{status}: {outcome:?}");
    }
    for status in [401, 404] {
        let outcome = outcome(refused(status, "Unauthorized", none())).await;
        assert!(matches!(outcome, Outcome::RetryAfter { scope: Scope::Channel, .. }), "{status}: {outcome:?}");
    }
    for status in [500, 502, 504] {
        let outcome = outcome(Reply::text(status, "<html>")).await;
        assert!(matches!(outcome, Outcome::Uncertain { .. }), "{status}: {outcome:?}");
    }
    let stranger = outcome(Reply::text(200, "<html>welcome to our network</html>")).await;
    assert!(matches!(stranger, Outcome::Uncertain { .. }), "{stranger:?}");
    let echo = outcome(refused(400, &format!("cannot find {TOKEN}"), none())).await;
    assert!(!format!("{echo:?}").contains("secret"), "{echo:?}");
}

#[tokio::test]
async fn a_flood_is_about_its_chat_until_a_second_chat_hears_of_it() {
    let far_end = FarEnd::start(|_| refused(429, "Too Many Requests: retry after 7", json!({"retry_after": 7}))).await;
    let (adapter, clock) = channel_at(far_end.addr(), vec![]);
    let scope = async |thread: &str| match send(&adapter, &outgoing(thread, "Hello")).await {
        Outcome::RetryAfter { after, scope, .. } => {
            assert_eq!(after, Some(Duration::from_secs(7)));
            scope
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(scope("123").await, Scope::Message);
    assert_eq!(scope("123").await, Scope::Message, "the same chat again");
    assert_eq!(scope("124").await, Scope::Channel);
    clock.advance(Duration::from_secs(8));
    assert_eq!(scope("125").await, Scope::Message, "the earlier one is over");
}

#[tokio::test]
async fn a_group_that_moved_is_written_to_where_it_is() {
    let far_end = FarEnd::start(|request| match params(request)["chat_id"].as_i64() {
        Some(-5) => {
            let words = "Bad Request: group chat was upgraded to a supergroup chat";
            refused(400, words, json!({"migrate_to_chat_id": -1005}))
        }
        _ => ok(json!({"message_id": 9})),
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let first = send(&adapter, &outgoing("-5", "Hello")).await;
    assert!(matches!(first, Outcome::RetryAfter { scope: Scope::Message, .. }), "{first:?}");
    let second = send(&adapter, &outgoing("-5", "Hello")).await;
    assert_eq!(second, Outcome::Sent { external_id: Some("-1005:9".into()) });
}

#[tokio::test]
async fn typing_is_shown_in_the_topic() {
    let far_end = FarEnd::start(|_| ok(Value::Bool(true))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    adapter.typing(&ThreadId::new("-1001/5").unwrap()).await;
    let requests = far_end.requests();
    assert_eq!(method(&requests[0]), "sendChatAction");
    assert_eq!(params(&requests[0]), json!({"chat_id": -1001, "action": "typing", "message_thread_id": 5}));
}

/// A message with one file that is here.
fn with_file(name: &str, media_type: &str) -> Outgoing {
    let mut outgoing = outgoing("-1001/5", "");
    let stored = Stored { media_type: media_type.into(), size: 4, sha256: ContentHash([0; 32]) };
    let id = AttachmentId::of_message(outgoing.message.id, 0);
    outgoing.message.attachments = vec![Attachment { id, name: name.into(), state: AttachmentState::Stored(stored) }];
    outgoing
}

#[tokio::test]
async fn a_file_is_read_here_and_uploaded() {
    let here = FarEnd::start(|_| Reply::text(200, "%PDF")).await;
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 8}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outgoing = with_file("bill \"5\".pdf", "application/pdf");
    let parts = adapter.render(&outgoing);
    assert_eq!(parts.len(), 1, "there are no words");
    let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
    let send = async |links: &[Link]| {
        adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part: &parts[0], links }).await
    };
    assert_eq!(send(&[link]).await, Outcome::Sent { external_id: Some("-1001:8".into()) });
    let requests = far_end.requests();
    assert_eq!(method(&requests[0]), "sendDocument");
    assert_eq!(requests[0].header("content-type"), Some("multipart/form-data; boundary=frontdesk-part"));
    let body = String::from_utf8(requests[0].body.to_vec()).unwrap();
    for field in [
        "name=\"chat_id\"\r\n\r\n-1001\r\n",
        "name=\"message_thread_id\"\r\n\r\n5\r\n",
        "name=\"reply_parameters\"\r\n\r\n{\"allow_sending_without_reply\":true,\"message_id\":76}\r\n",
        "name=\"document\"; filename=\"bill %225%22.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n--frontdesk-part--\r\n",
    ] {
        assert!(body.contains(field), "{field} in {body}");
    }
    let mut large = parts[0].clone();
    large.0["file"]["size"] = 50_000_001.into();
    let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
    let dispatch = Dispatch { message: outgoing.message.id, index: 0, part: &large, links: &[link] };
    let outcome = adapter.send(&dispatch).await;
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let gone = send(&[]).await;
    assert!(matches!(gone, Outcome::Failed { scope: Scope::Message, .. }), "{gone:?}");
    assert_eq!(far_end.count(), 1, "nothing is sent without its bytes");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_tried_again() {
    let here = FarEnd::start(|_| Reply::status(503)).await;
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 8}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outgoing = with_file("a.jpg", "image/jpeg");
    let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
    let part = &adapter.render(&outgoing)[0];
    assert_eq!(part.0["method"], "sendPhoto");
    let outcome = adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part, links: &[link] }).await;
    assert!(matches!(outcome, Outcome::RetryAfter { scope: Scope::Message, .. }), "{outcome:?}");
    assert_eq!(far_end.count(), 0);
}
