//! What goes to the log: nothing of what clients send, at any level that an operator may choose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use serde_json::json;
use tracing::Level;
use world::{ADMIN, DESK, INGEST, Log, World};

/// Requests of many ends, all of which carry what must not be seen.
async fn misbehave(world: &World) {
    let id = world.write("shop", "order-77", "canary-text").await;
    let messages = format!("/v1/conversations/{id}/messages");
    for (method, path, token) in [
        ("GET", "/canary-path%0a%1b[31m?canary-query=1", "canary-token"),
        ("GET", "/v1/conversations/canary-id%0d%0a", ADMIN),
        ("GET", "/v1/conversations?canary-key=canary-value", ADMIN),
        ("POST", &messages, "canary-token"),
        ("POST", "/v1/channels/shop/panic?canary-query", INGEST),
        ("POST", "/v1/channels/shop/broken?canary-query", INGEST),
        ("CANARY", "/healthz", ADMIN),
    ] {
        let answer = world.ask(method, path, token, Some(json!({"text": "canary-text"}))).await;
        assert!(answer.status >= 400);
        assert!(!answer.text.contains(token), "t37: {answer:?}");
    }
    let unknown = world.ask("POST", &messages, DESK, Some(json!({"text": "canary-text", "canary-field": 1}))).await;
    assert!(unknown.detail().contains("canary-field"), "who wrote it is told: {unknown:?}");
    let said = world.ask("POST", &messages, DESK, Some(json!({"text": "canary-text\n\u{1b}[31m"}))).await;
    assert_eq!(said.status, 202);
    let mut client = world.client().await;
    client.send("GET /healthz HTTP/1.1\r\nHost: desk\r\nX-Canary-Name: canary-header\u{1b}[31m\r\n\r\n").await;
    client.ended_or_answered().await;
    let mut client = world.client().await;
    client.send("canary-line\u{1b}[31m\n\n\r\n\r\n").await;
    client.ended().await;
}

#[tokio::test]
async fn t37_no_secret_is_in_the_log_at_the_default_level() {
    let log = Log::at(Level::INFO);
    let _guard = log.record();
    misbehave(&World::new().await).await;
    let text = log.text();
    for secret in [ADMIN, DESK, INGEST] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!text.to_lowercase().contains("canary"), "{text}");
    assert!(text.contains("a request ended in a panic"), "something is recorded at all: {text}");
}

#[tokio::test]
async fn t38_nothing_that_a_client_writes_reaches_the_log() {
    let log = Log::at(Level::TRACE);
    let _guard = log.record();
    misbehave(&World::new().await).await;
    let text = log.text();
    assert!(text.contains("method=\"POST\" route=\"/v1/conversations/{id}/messages\" status=202"), "{text}");
    assert!(text.contains("route=\"none\" status=404"), "{text}");
    assert!(text.contains("method=\"other\""), "{text}");
    for secret in [ADMIN, DESK, INGEST, "\u{1b}"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!text.to_lowercase().contains("canary"), "{text}");
}
