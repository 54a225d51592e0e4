//! One source that floods leaves room for the others (threat 36).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::time::{Duration, Instant};

use frontdesk_http::Limits;
use serde_json::json;
use tokio::task::JoinSet;
use world::{Answer, Client, Counts, INGEST, World, request, soon};

const FLOODER: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";

/// Requests that stay in hand, each on a connection of its own.
async fn occupy(world: &World, from: &'static str, headers: &str, how_many: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..how_many {
        let mut client = Client::connect_from(from, world.address).await;
        client.send(format!("GET /v1/channels/shop/hang HTTP/1.1\r\nHost: desk\r\n{headers}\r\n")).await;
        clients.push(client);
    }
    clients
}

async fn ask_from(world: &World, from: &str, headers: &str) -> Answer {
    let mut client = Client::connect_from(from, world.address).await;
    client.send(format!("GET /healthz HTTP/1.1\r\nHost: desk\r\n{headers}\r\n")).await;
    client.answer().await
}

#[tokio::test]
async fn t36_one_source_has_64_requests_in_hand_and_the_next_is_told_to_come_again() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let world = World::new().await;
    let mut occupied = occupy(&world, FLOODER, "", 64).await;
    world.booth.in_hand(64).await;
    let began = Instant::now();
    let refused = ask_from(&world, FLOODER, "").await;
    assert_eq!((refused.status, refused.slug()), (429, "too-many-requests"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    assert!(began.elapsed() >= Duration::from_secs(1), "it waited for a seat first");
    assert_eq!(counts.of("frontdesk_http_refused_total{reason=waited}"), 1.0);
    insta::assert_json_snapshot!("too_many_requests", refused.json);
    assert_eq!(world.booth.hanging(), 64);
    assert_eq!(ask_from(&world, OTHER, "").await.status, 200, "another source is served meanwhile");
    // Who waits while a seat becomes free is served.
    let waiting = ask_from(&world, FLOODER, "");
    let (answer, ()) = tokio::join!(waiting, async { world.booth.release_all() });
    assert_eq!(answer.status, 200);
    for client in &mut occupied {
        assert_eq!(client.answer().await.status, 200, "what was in hand is answered");
    }
}

#[tokio::test]
async fn t36_behind_a_proxy_of_ours_each_client_is_a_source_and_cannot_pass_for_another() {
    let world = World::behind_proxies(&[FLOODER]).await;
    let _occupied = occupy(&world, FLOODER, "X-Forwarded-For: 203.0.113.7\r\n", 64).await;
    world.booth.in_hand(64).await;
    for flooder in ["203.0.113.7", "198.51.100.1, 203.0.113.7"] {
        let refused = ask_from(&world, FLOODER, &format!("X-Forwarded-For: {flooder}\r\n")).await;
        assert_eq!(refused.status, 429, "{flooder}");
    }
    assert_eq!(ask_from(&world, FLOODER, "X-Forwarded-For: 203.0.113.8\r\n").await.status, 200);
    assert_eq!(ask_from(&world, OTHER, "X-Forwarded-For: 203.0.113.7\r\n").await.status, 200, "no proxy of ours");
}

#[tokio::test]
async fn t36_a_source_holds_a_quarter_of_the_connections_and_is_told_so_on_a_further_one() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let world = World::with(Limits { connections: 400, ..Limits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect_from(FLOODER, world.address).await;
        assert_eq!(client.ask("GET", "/healthz", "", None).await.status, 200);
        held.push(client);
    }
    let mut further = Client::connect_from(FLOODER, world.address).await;
    let refused = further.ask("GET", "/healthz", "", None).await;
    assert_eq!((refused.status, refused.slug()), (429, "too-many-requests"));
    assert_eq!(further.ended().await, b"");
    assert_eq!(counts.of("frontdesk_http_refused_total{reason=connections}"), 1.0);
    assert_eq!(ask_from(&world, OTHER, "").await.status, 200);
    assert_eq!(held[0].ask("GET", "/healthz", "", None).await.status, 200, "those that it has are served");
    drop(held.pop());
    soon("a place for the next", async {
        while ask_from(&world, FLOODER, "").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_proxy_of_ours_may_hold_more_than_a_share() {
    let limits = Limits { connections: 400, ..Limits::default() };
    let world = World::with(limits.clone()).await;
    let trusted_proxies = vec![FLOODER.parse().unwrap()];
    let options = frontdesk_http::HttpOptions { trusted_proxies, ..world::http_options(&limits) };
    world.front.replace(world.mounted(&["shop"]), options);
    let mut held = Vec::new();
    for _ in 0..150 {
        let mut client = Client::connect_from(FLOODER, world.address).await;
        assert_eq!(client.ask("GET", "/healthz", "", None).await.status, 200);
        held.push(client);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t36_while_one_source_sends_thousands_of_requests_the_others_are_answered_fast_and_nothing_is_lost() {
    let world = World::new().await;
    let address = world.address;
    let mut flood = JoinSet::new();
    // 200 connections, 20 requests each, all sent without waiting for an answer.
    for _ in 0..200 {
        flood.spawn(async move {
            let mut client = Client::connect_from(FLOODER, address).await;
            let body = json!({"thread": "order-77", "text": "flood"});
            client.send(request("POST", "/v1/channels/shop/messages", INGEST, Some(&body)).repeat(20)).await;
            let mut statuses = Vec::new();
            for _ in 0..20 {
                statuses.push(client.answer().await.status);
            }
            statuses
        });
    }
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    let mut statuses = Vec::new();
    let mut other = Client::connect_from(OTHER, address).await;
    while !flood.is_empty() {
        let began = Instant::now();
        let body = json!({"thread": format!("order-{asked}"), "text": "Where is my order?"});
        let answer = other.ask("POST", "/v1/channels/shop/messages", INGEST, Some(body)).await;
        assert_eq!(answer.status, 202, "the other source is taken in full");
        slowest = slowest.max(began.elapsed());
        asked += 1;
        while let Some(done) = flood.try_join_next() {
            statuses.extend(done.unwrap());
        }
    }
    assert_eq!(statuses.len(), 200 * 20, "every request has an answer");
    assert!(statuses.iter().all(|status| matches!(status, 202 | 429)), "{statuses:?}");
    assert!(asked > 10, "the other one asked meanwhile");
    assert!(slowest < Duration::from_secs(3), "{slowest:?} for one of {asked}");
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let world = World::new().await;
    world.write("shop", "order-77", "Hello").await;
    world.write("annex", "order-77", "Hello").await;
    world.get("/v1/conversations/cnv_00000000000000000000000000", world::ADMIN).await;
    world.get("/canary", "").await;
    let of = |method, route, status| {
        counts.of(&format!("frontdesk_http_requests_total{{method={method},route={route},status={status}}}"))
    };
    assert_eq!(of("POST", "/v1/channels/{channel}/messages", "2xx"), 2.0, "{:?}", counts.keys());
    assert_eq!(of("GET", "/v1/conversations/{id}", "4xx"), 1.0);
    assert_eq!(of("GET", "none", "4xx"), 1.0);
    let timed = "frontdesk_http_request_seconds{method=POST,route=/v1/channels/{channel}/messages}";
    assert_eq!(counts.of(timed), 2.0);
    let told = |key: &String| key.contains("canary") || (key.starts_with("frontdesk_http") && key.contains("shop"));
    assert!(!counts.keys().iter().any(told), "{:?}", counts.keys());
}
