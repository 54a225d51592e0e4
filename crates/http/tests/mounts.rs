//! The channels' own routes, and what is around every answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use serde_json::json;
use world::{ADMIN, World};

#[tokio::test]
async fn a_route_gets_the_raw_body_and_the_headers() {
    let world = World::new().await;
    let mut client = world.client().await;
    let head = "POST /v1/channels/shop/echo?x=1 HTTP/1.1\r\nHost: desk\r\nWebhook-Id: msg_1\r\nX-Name: \u{e4}\r\n";
    let head = format!("{head}Authorization: Basic abc\r\nContent-Length: 9\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(b"{\"b\": 1 }");
    client.send(bytes).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("frontdesk-duplicate"), Some("true"));
    assert_eq!(answer.header("broken"), None, "what cannot be a header is left out");
    insta::assert_json_snapshot!("echo", answer.json);
}

#[tokio::test]
async fn a_header_that_is_not_utf_8_is_left_out() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send(b"POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nX-Name: \xff\r\n\r\n").await;
    assert_eq!(client.answer().await.json["headers"], json!({"host": "desk"}));
}

#[tokio::test]
async fn a_routes_own_problem_has_the_common_form() {
    let world = World::new().await;
    let answer = world.ask("POST", "/v1/channels/shop/refuse", "", None).await;
    assert_eq!((answer.status, answer.slug()), (401, "bad-signature"));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert!(answer.header("www-authenticate").is_some());
    insta::assert_json_snapshot!("channels_problem", answer.json);
}

#[tokio::test]
async fn a_route_that_answers_with_no_status_is_our_mistake() {
    let world = World::new().await;
    assert_eq!(world.ask("POST", "/v1/channels/shop/broken", "", None).await.slug(), "internal");
}

#[tokio::test]
async fn health_is_plain() {
    let world = World::new().await;
    let alive = world.get("/healthz", "wrong").await;
    assert_eq!((alive.status, alive.json), (200, json!({"status": "ok"})));
    let ready = world.get("/readyz?probe=1", "").await;
    assert_eq!((ready.status, ready.json), (200, json!({"status": "ready"})));
}

#[tokio::test]
async fn every_answer_is_kept_from_caches_and_sniffers_and_names_no_server() {
    let world = World::new().await;
    let mut client = world.client().await;
    for (method, path, token) in [
        ("GET", "/healthz", ""),
        ("HEAD", "/healthz", ""),
        ("GET", "/v1/conversations", ADMIN),
        ("GET", "/v1/conversations", ""),
        ("GET", "/nowhere", ""),
        ("DELETE", "/v1/conversations", ADMIN),
        ("POST", "/v1/channels/shop/echo", ""),
        ("POST", "/v1/channels/shop/panic", ""),
    ] {
        let mut answer = if method == "HEAD" {
            // Its length announces a body that does not come.
            client.send(world::request(method, path, token, None)).await;
            world::soon("a head", client.head()).await
        } else {
            client.ask(method, path, token, None).await
        };
        let mut wanted = |name, value| {
            assert_eq!(answer.headers.remove(name).as_deref(), Some(value), "{method} {path}: {name}");
        };
        wanted("x-content-type-options", "nosniff");
        wanted("cache-control", "no-store");
        assert_eq!(answer.headers.get("server"), None);
    }
}

#[tokio::test]
async fn one_channels_routes_are_not_another_path() {
    let world = World::new().await;
    for path in ["/v1/channels/shop", "/v1/channels/shop/echo/", "/v1//channels/shop/echo", "/v1/channels/"] {
        assert_eq!(world.ask("POST", path, "", None).await.slug(), "unknown-path", "{path}");
    }
}

#[tokio::test]
async fn t28_a_packed_body_is_refused_before_it_is_read() {
    let world = World::new().await;
    for (encoding, status) in [("gzip", 415), ("identity, br", 415), ("Identity", 200), ("", 415)] {
        let mut client = world.client().await;
        let head = "POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nContent-Length: 3\r\n";
        client.send(format!("{head}Content-Encoding: {encoding}\r\n\r\nabc")).await;
        assert_eq!(client.answer().await.status, status, "{encoding}");
    }
    let mut client = world.client().await;
    let head = "POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nContent-Length: 1000000\r\n";
    client.send(format!("{head}Content-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n")).await;
    assert_eq!(client.answer().await.slug(), "unsupported-media-type");
}

#[tokio::test]
async fn requests_of_one_connection_do_not_disturb_each_other() {
    let world = World::new().await;
    let mut client = world.client().await;
    // Sent without waiting for answers; a panic and a refusal in the middle.
    for path in ["/v1/channels/shop/echo", "/v1/channels/shop/panic", "/nowhere", "/v1/channels/shop/echo"] {
        client.send(world::request("POST", path, "", Some(&json!({"path": path})))).await;
    }
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.answer().await.status);
    }
    assert_eq!(statuses, [200, 500, 404, 200]);
}
