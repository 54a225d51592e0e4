//! The three ways in, and that what lies behind them can be replaced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use frontdesk_http::{HttpOptions, Limits};
use serde_json::json;
use tokio::net::UnixStream;
use world::{ADMIN, AGENT, Client, DESK, METRICS, World, http_options, request, soon};

#[tokio::test]
async fn t45_metrics_are_not_on_the_public_listener() {
    let world = World::new().await;
    for token in ["", "wrong", AGENT, ADMIN] {
        let answer = world.get("/metrics", token).await;
        assert_eq!((answer.status, answer.slug()), (404, "unknown-path"));
        assert!(!answer.text.contains(METRICS.trim()), "{answer:?}");
    }
}

#[tokio::test]
async fn t45_the_administrators_listener_shows_what_machines_watch_and_nothing_else() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let address = world.admin().await;
    let mut client = Client::connect(address).await;
    let page = client.ask("GET", "/metrics", "", None).await;
    assert_eq!((page.status, page.text.as_str()), (200, METRICS));
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for path in ["/healthz", "/readyz", "/v1/status"] {
        assert_eq!(client.ask("GET", path, "", None).await.status, 200, "{path}");
    }
    for (method, path) in [
        ("GET", "/v1/conversations".to_owned()),
        ("GET", format!("/v1/conversations/{id}/messages")),
        ("POST", format!("/v1/conversations/{id}/messages")),
        ("PATCH", format!("/v1/conversations/{id}")),
        ("GET", "/v1/dead-letters".to_owned()),
        ("POST", "/v1/channels/shop/messages".to_owned()),
    ] {
        for token in ["", ADMIN] {
            let answer = client.ask(method, &path, token, None).await;
            assert_eq!((answer.status, answer.slug()), (404, "unknown-path"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn who_opens_the_control_socket_may_do_everything_as_the_operator() {
    let world = World::new().await;
    let socket = world.control().await;
    let mut client = Client::over(UnixStream::connect(&socket).await.unwrap());
    let written = Some(json!({"thread": "order-77", "text": "Where is my order?"}));
    let written = client.ask("POST", "/v1/channels/shop/messages", "", written).await;
    assert_eq!(written.status, 202, "{written:?}");
    let path = format!("/v1/conversations/{}", written.json["conversation_id"].as_str().unwrap());
    let said = client.ask("POST", &format!("{path}/messages"), "", Some(json!({"text": "On its way."}))).await;
    assert_eq!(said.status, 202, "{said:?}");
    let messages = client.ask("GET", &format!("{path}/messages"), "", None).await;
    assert_eq!(messages.json["data"][0]["author"], json!({"kind": "teammate", "name": "operator"}));
    let changed = client.ask("PATCH", &path, "", Some(json!({"status": "resolved"}))).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(client.ask("GET", "/v1/dead-letters", "", None).await.status, 200);
}

#[tokio::test]
async fn a_token_shown_at_the_control_socket_counts_as_what_it_is() {
    let world = World::new().await;
    let socket = world.control().await;
    let mut client = Client::over(UnixStream::connect(&socket).await.unwrap());
    assert_eq!(client.ask("GET", "/v1/dead-letters", ADMIN, None).await.status, 200);
    assert_eq!(client.ask("GET", "/v1/dead-letters", AGENT, None).await.slug(), "forbidden");
    assert_eq!(client.ask("GET", "/v1/dead-letters", "wrong", None).await.slug(), "unauthorized");
}

#[tokio::test]
async fn nothing_is_open_without_a_token_but_the_control_socket() {
    let world = World::new().await;
    world.control().await;
    assert_eq!(world.get("/v1/conversations", "").await.slug(), "unauthorized");
}

#[tokio::test]
async fn the_control_socket_holds_its_clients_to_the_limits_too() {
    let limits = Limits { head_time: std::time::Duration::from_millis(300), ..Limits::default() };
    let world = World::with(limits).await;
    let socket = world.control().await;
    let mut client = Client::over(UnixStream::connect(&socket).await.unwrap());
    client.send("GET /healthz HTTP/1.1\r\nHost: desk\r\n").await;
    assert_eq!(client.ended().await, b"", "a head that does not end");
}

#[tokio::test]
async fn routes_are_replaced_while_serving_and_what_is_in_flight_finishes_as_it_began() {
    let world = World::new().await;
    let mut busy = world.client().await;
    busy.send(request("GET", "/v1/channels/shop/hang", "", None)).await;
    world.booth.entered().await;
    let mut idle = world.client().await;
    assert_eq!(idle.ask("POST", "/v1/channels/shop/echo", "", None).await.status, 200);

    let tokens = world::tokens().into_iter().filter(|grant| grant.name != "Mia").collect();
    let options = HttpOptions { tokens, ..http_options(&Limits::default()) };
    world.front.replace(world.mounted(&["annex"]), options);

    // The same connection, other routes and tokens.
    assert_eq!(idle.ask("POST", "/v1/channels/shop/echo", "", None).await.status, 404);
    assert_eq!(idle.ask("POST", "/v1/channels/annex/echo", "", None).await.status, 200);
    assert_eq!(idle.ask("GET", "/v1/conversations", DESK, None).await.slug(), "unauthorized");
    assert_eq!(idle.ask("GET", "/v1/conversations", AGENT, None).await.status, 200);
    world.booth.release();
    assert_eq!(soon("the answer", busy.answer()).await.status, 200);
    assert_eq!(busy.ask("POST", "/v1/channels/shop/echo", "", None).await.status, 404, "and then the new ones");
}
