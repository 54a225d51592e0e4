//! Each documented kind of error, brought about once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::collections::BTreeSet;

use frontdesk_http::{Limits, ProblemKind};
use serde_json::json;
use std::time::Duration;
use world::{ADMIN, AGENT, Answer, DESK, World, steady};

const NOBODY: &str = "/v1/conversations/cnv_00000000000000000000000000";

async fn raw(world: &World, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
    let mut client = world.client().await;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {ADMIN}\r\n");
    client.send(format!("{head}{content_type}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    client.answer().await
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn every_slug_is_its_own() {
    let slugs: BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
    assert_eq!(slugs.len(), ProblemKind::ALL.len());
    let list: Vec<_> = ProblemKind::ALL
        .iter()
        .map(|kind| format!("{} {} {}", kind.status().as_u16(), kind.slug(), kind.title()))
        .collect();
    insta::assert_snapshot!("slugs", list.join("\n"));
}

#[tokio::test]
async fn invalid_json() {
    let world = World::new().await;
    for (method, path) in [("PATCH", NOBODY.to_owned()), ("POST", format!("{}/messages", conversation(&world).await))] {
        let answer = raw(&world, method, &path, JSON, "{\"text\":\n oops}").await;
        assert_eq!((answer.status, answer.slug()), (400, "invalid-json"), "{method}");
        assert!(answer.detail().contains("line 2 column"), "{answer:?}");
    }
}

#[tokio::test]
async fn t29_depth_is_refused() {
    let world = World::new().await;
    let messages = format!("{}/messages", conversation(&world).await);
    let deep = "[".repeat(60_000);
    let inside = format!("{{\"messages\": {deep}");
    for (method, path) in [("PATCH", NOBODY), ("POST", &messages)] {
        for body in [&deep, &inside] {
            let answer = raw(&world, method, path, JSON, body).await;
            assert!(
                matches!((answer.status, answer.slug()), (400, "invalid-json") | (422, "invalid-request")),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn unauthorized() {
    let world = World::new().await;
    let answer = world.get("/v1/conversations", "").await;
    assert_eq!((answer.status, answer.slug()), (401, "unauthorized"));
    insta::assert_json_snapshot!("unauthorized", answer.json);
    let answer = world.get("/v1/conversations", "unknown").await;
    assert_eq!((answer.status, answer.slug()), (401, "unauthorized"));
    insta::assert_json_snapshot!("unauthorized_unknown_token", answer.json);
}

#[tokio::test]
async fn forbidden() {
    let world = World::new().await;
    let answer = world.ask("PATCH", NOBODY, AGENT, Some(json!({"owner": "desk"}))).await;
    assert_eq!((answer.status, answer.slug()), (403, "forbidden"));
    insta::assert_json_snapshot!("forbidden", answer.json);
}

#[tokio::test]
async fn not_found() {
    let world = World::new().await;
    let answer = world.get(NOBODY, AGENT).await;
    assert_eq!((answer.status, answer.slug()), (404, "not-found"));
    insta::assert_json_snapshot!("not_found", answer.json);
}

#[tokio::test]
async fn not_found_names_the_form_of_an_id() {
    let world = World::new().await;
    for id in ["1", "msg_00000000000000000000000000", "cnv_0", "%ff", "%2e%2e%2f", "a%0a%1b[31m"] {
        for end in ["", "/messages", "/events"] {
            let answer = world.get(&format!("/v1/conversations/{id}{end}"), AGENT).await;
            assert_eq!((answer.status, answer.slug()), (404, "not-found"), "{id}{end}");
            assert!(answer.detail().contains("cnv_ and 26 characters"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn unknown_path() {
    let world = World::new().await;
    for path in ["/", "/v1", "/v1/conversations/", "/v1/contacts", "/metrics", "/v1/conversations/../dead-letters"] {
        let answer = world.get(path, ADMIN).await;
        assert_eq!((answer.status, answer.slug()), (404, "unknown-path"), "{path}");
    }
}

#[tokio::test]
async fn unknown_channel() {
    let world = World::new().await;
    for path in ["/v1/channels/elsewhere", "/v1/channels/elsewhere/messages", "/v1/channels/canary-channel/a/b"] {
        for (method, token) in [("POST", ""), ("GET", ADMIN)] {
            let answer = world.ask(method, path, token, None).await;
            assert_eq!((answer.status, answer.slug()), (404, "unknown-channel"), "{path}");
            for name in ["shop", "annex", "canary"] {
                assert!(!answer.text.contains(name), "{answer:?}");
            }
        }
    }
    insta::assert_json_snapshot!("unknown_channel", world.get("/v1/channels/elsewhere/messages", "").await.json);
}

#[tokio::test]
async fn malformed_request() {
    let world = World::new().await;
    let mut first = None;
    for head in [
        "GET / a path with spaces HTTP/1.1\r\nHost: desk\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: desk\r\nBad Header: x\r\n\r\n",
        "POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nContent-Length: 1, 2\r\n\r\n",
        "POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nTransfer-Encoding: gzip\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut client = world.client().await;
        client.send(head).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.slug()), (400, "malformed-request"), "{head}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(client.ended().await, b"", "and the connection ends");
        first.get_or_insert(answer.json);
    }
    insta::assert_json_snapshot!("malformed_request", first);
    // Behind an answer that is still to be sent.
    let mut client = world.client().await;
    client.send("HEAD /healthz HTTP/1.1\r\nHost: desk\r\n\r\nnonsense\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.answer().await.slug(), "malformed-request");
}

#[tokio::test]
async fn method_not_allowed() {
    let world = World::new().await;
    for (method, path, allowed) in [
        ("DELETE", "/v1/conversations", "GET,HEAD"),
        ("PUT", NOBODY, "GET,HEAD,PATCH"),
        ("GET", "/v1/channels/shop/messages", "POST"),
        ("BREW", "/healthz", "GET,HEAD"),
    ] {
        let answer = world.ask(method, path, ADMIN, None).await;
        assert_eq!((answer.status, answer.slug()), (405, "method-not-allowed"), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn version_conflict() {
    let world = World::new().await;
    let path = conversation(&world).await;
    for (method, path) in [("POST", format!("{path}/messages")), ("PATCH", path.clone())] {
        let body = if method == "POST" {
            json!({"text": "x", "if_version": 99})
        } else {
            json!({"status": "open", "if_version": 99})
        };
        let answer = world.ask(method, &path, DESK, Some(body)).await;
        assert_eq!((answer.status, answer.slug()), (409, "version-conflict"), "{method}: {answer:?}");
        assert_eq!(answer.json["version"], 1, "the present version");
        insta::assert_json_snapshot!("version_conflict", answer.json);
    }
}

#[tokio::test]
async fn taken_over() {
    let world = World::new().await;
    // Without an agent endpoint a new conversation belongs to the desk.
    let path = format!("{}/messages", conversation(&world).await);
    let answer = world.ask("POST", &path, AGENT, Some(json!({"text": "x"}))).await;
    assert_eq!((answer.status, answer.slug()), (409, "taken-over"));
    assert_eq!(answer.json["version"], 1);
    insta::assert_json_snapshot!("taken_over", answer.json);
}

#[tokio::test]
async fn body_too_large() {
    let world = World::new().await;
    let messages = format!("{}/messages", conversation(&world).await);
    let body = json!({"text": "x".repeat(1024 * 1024)}).to_string();
    for (method, path, most) in [("PATCH", NOBODY, "65536 bytes"), ("POST", &messages, "1048576 bytes")] {
        let answer = raw(&world, method, path, JSON, &body).await;
        assert_eq!((answer.status, answer.slug()), (413, "body-too-large"));
        assert!(answer.detail().contains(most), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    insta::assert_json_snapshot!("body_too_large", raw(&world, "PATCH", NOBODY, JSON, &body).await.json);
}

#[tokio::test]
async fn unsupported_media_type() {
    let world = World::new().await;
    let messages = format!("{}/messages", conversation(&world).await);
    for content_type in
        ["", "Content-Type: text/plain\r\n", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"]
    {
        for (method, path) in [("PATCH", NOBODY), ("POST", &messages)] {
            let answer = raw(&world, method, path, content_type, "{\"text\": \"x\"}").await;
            assert_eq!((answer.status, answer.slug()), (415, "unsupported-media-type"), "{content_type}");
        }
    }
}

#[tokio::test]
async fn invalid_request() {
    let world = World::new().await;
    let path = conversation(&world).await;
    let answer = world.ask("PATCH", &path, DESK, Some(json!({"assigne": "mia"}))).await;
    assert_eq!((answer.status, answer.slug()), (422, "invalid-request"));
    insta::assert_json_snapshot!("invalid_request_patch", answer.json);
    let messages = format!("{path}/messages");
    for body in
        [json!({}), json!({"messages": []}), json!({"text": ""}), json!({"text": "x", "keyboard": []}), json!([])]
    {
        let answer = world.ask("POST", &messages, DESK, Some(body.clone())).await;
        assert_eq!((answer.status, answer.slug()), (422, "invalid-request"), "{body}");
    }
    for (body, told) in [
        (json!({"txet": "x"}), "txet: not a field of a reply; did you mean text?"),
        (json!({"messages": [{"text": "x", "buttons": [{"id": "a"}]}]}), "messages[0].buttons[0]: label is missing"),
        (json!({"text": "x", "attachments": []}), "attachments: not a field of a reply; it stands on a message"),
        (json!({"text": "x", "route": ["email"]}), "leave route out"),
        (json!("x"), "write a JSON object such as {\"text\": \"Hello\"}"),
        (json!({"text": 5}), "text: write text in quotes"),
        (json!({"actions": [{"type": "snooze", "until": "2000-01-01T00:00:00Z"}]}), "lies in the future"),
    ] {
        let answer = world.ask("POST", &messages, DESK, Some(body)).await;
        assert_eq!((answer.status, answer.slug()), (422, "invalid-request"), "{told}");
        assert!(answer.detail().contains(told), "{answer:?}");
        assert!(!answer.text.contains("Raw") && !answer.text.contains("struct"), "{answer:?}");
    }
    insta::assert_json_snapshot!(
        "invalid_request",
        world.ask("POST", &messages, DESK, Some(json!({"txet": "x"}))).await.json
    );
}

#[tokio::test]
async fn invalid_query() {
    let world = World::new().await;
    let path = conversation(&world).await;
    for (path, mend) in [
        ("/v1/conversations?limit=0", "from 1 to 200"),
        ("/v1/conversations?limit=201", "from 1 to 200"),
        ("/v1/conversations?status=closed", "open, pending, resolved"),
        ("/v1/conversations?attention=yes", "dead_letter, handoff, fallback"),
        ("/v1/conversations?owner=mia", "agent, desk"),
        ("/v1/conversations?assignee=", "1 to 120 characters"),
        ("/v1/conversations?contact=ada", "cnt_ and 26 characters"),
        ("/v1/conversations?channel=A", "lower-case"),
        ("/v1/conversations?chanel=shop", "did you mean channel? known here are status, channel, owner"),
        ("/v1/changes?afer=x", "did you mean after? known here are after, channel"),
        ("/v1/changes?after=", "leave it out"),
        ("/v1/changes?after=x", "not a position that a stream gave"),
        ("/v1/changes?channel=A", "lower-case"),
        ("/v1/status?x=1", "takes no query"),
        ("/v1/conversations?limit=1&limit=1", "once"),
        ("/v1/dead-letters?status=open", "limit, page"),
        (&format!("{path}?x=1"), "takes no query"),
        (&format!("{path}/messages?status=open"), "limit, page"),
        (&format!("{path}/events?limit=x"), "from 1 to 200"),
    ] {
        let answer = world.get(path, ADMIN).await;
        assert_eq!((answer.status, answer.slug()), (422, "invalid-query"), "{path}");
        assert!(answer.detail().contains(mend), "{path}: {answer:?}");
    }
    insta::assert_json_snapshot!("invalid_query", world.get("/v1/conversations?chanel=shop", ADMIN).await.json);
}

#[tokio::test]
async fn a_page_that_no_answer_gave_is_refused() {
    let world = World::new().await;
    let path = conversation(&world).await;
    for path in [
        "/v1/conversations?page=x",
        "/v1/dead-letters?page=x",
        &format!("{path}/messages?page=x"),
        &format!("{path}/events?page=x"),
    ] {
        let answer = world.get(path, ADMIN).await;
        assert_eq!((answer.status, answer.slug()), (422, "invalid-query"), "{path}");
        assert!(answer.detail().contains("gave as next"), "{answer:?}");
    }
}

#[tokio::test]
async fn internal() {
    let world = World::new().await;
    let answer = world.ask("POST", "/v1/channels/shop/panic", "", None).await;
    assert_eq!((answer.status, answer.slug()), (500, "internal"));
    insta::assert_json_snapshot!("internal", answer.json);
    assert_eq!(world.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn took_too_long() {
    let limits = Limits { request_time: Duration::from_millis(100), ..Limits::default() };
    let answer = World::with(limits).await.get("/v1/channels/shop/hang", "").await;
    assert_eq!((answer.status, answer.slug()), (503, "took-too-long"));
    insta::assert_json_snapshot!("took_too_long", steady(&answer.json));
}

/// The path of a new conversation.
async fn conversation(world: &World) -> String {
    format!("/v1/conversations/{}", world.write("shop", "order-77", "Where is my order?").await)
}
