//! What clients are held to, over real sockets: nobody can wear the listener out by being slow, endless or many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::time::{Duration, Instant};

use frontdesk_http::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{AGENT, INGEST, LARGE, World, request, soon};

const SHORT: Duration = Duration::from_millis(300);

fn limits() -> Limits {
    Limits { farewell_time: SHORT, ..Limits::default() }
}

#[tokio::test]
async fn t27_a_head_that_drips_is_cut_off() {
    let world = World::with(Limits { head_time: SHORT, ..limits() }).await;
    let mut client = world.client().await;
    client.send("GET /healthz HTTP/1.1\r\nHost: desk\r\n").await;
    let began = Instant::now();
    let mut drips = 0_u32;
    // A byte now and then, as a slow client does, until the other side has had enough.
    soon("the end of patience", async {
        while client.stream.write_all(b"x").await.is_ok() {
            drips += 1;
            let mut byte = [0];
            let read = tokio::time::timeout(Duration::from_millis(20), client.stream.read(&mut byte)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                break;
            }
        }
    })
    .await;
    assert!(drips > 1, "cut off before its time");
    assert!(began.elapsed() >= SHORT, "cut off before its time");
    assert_eq!(world.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let world = World::with(Limits { head_time: SHORT, ..limits() }).await;
    let mut client = world.client().await;
    assert_eq!(client.ask("GET", "/healthz", "", None).await.status, 200);
    assert_eq!(client.ended().await, b"", "nothing comes but the end");
}

#[tokio::test]
async fn t27_a_head_of_ten_megabytes_is_refused_and_others_are_served() {
    let world = World::with(limits()).await;
    let mut client = world.client().await;
    client.send("GET /healthz HTTP/1.1\r\nHost: desk\r\nX-Bomb: ").await;
    let (mut from, mut to) = client.stream.split();
    let bomb = vec![b'x'; 10 * 1024 * 1024];
    let mut answer = Vec::new();
    // The other side may stop listening in the middle.
    let (_, read) = soon("an answer", async { tokio::join!(to.write_all(&bomb), from.read_to_end(&mut answer)) }).await;
    read.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.contains("urn:frontdesk:problem:head-too-large"), "{answer}");
    assert_eq!(world.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn t27_too_many_headers_are_refused() {
    let world = World::with(limits()).await;
    let mut client = world.client().await;
    client.send(format!("GET /healthz HTTP/1.1\r\nHost: desk\r\n{}\r\n", "Received: x\r\n".repeat(1000))).await;
    let answer = String::from_utf8(client.ended().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn a_head_above_the_limit_is_refused_and_one_below_is_not() {
    let world = World::with(Limits { head_bytes: 9000, ..limits() }).await;
    let head = |padding| format!("GET /healthz HTTP/1.1\r\nHost: desk\r\nX-Padding: {}\r\n\r\n", "x".repeat(padding));
    let mut client = world.client().await;
    client.send(head(8000)).await;
    assert_eq!(client.answer().await.status, 200);
    client.send(head(9000)).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.slug()), (431, "head-too-large"));
    assert_eq!(client.ended().await, b"");
}

#[tokio::test]
async fn a_body_that_drips_gets_408_and_the_connection_ends() {
    let world = World::with(Limits { body_time: SHORT, ..limits() }).await;
    let mut client = world.client().await;
    client.send("POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nContent-Length: 1000\r\n\r\n").await;
    let began = Instant::now();
    // Bytes keep coming: it is the whole body that has a time, not the next byte.
    let answer = soon("an answer", async {
        loop {
            client.send("x").await;
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(20), client.answer()).await {
                break answer;
            }
        }
    })
    .await;
    assert_eq!((answer.status, answer.slug()), (408, "body-too-slow"));
    assert!(began.elapsed() >= SHORT, "before its time");
    assert_eq!(client.ended().await, b"");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_before_it_is_read_and_the_answer_arrives() {
    let world = World::with(limits()).await;
    let mut client = world.client().await;
    let head = "POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nContent-Length: 4000000\r\n\r\n";
    client.send(head).await;
    // A client that first sends everything and only then looks.
    client.send(vec![b'x'; 4_000_000]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.slug()), (413, "body-too-large"));
    assert!(answer.detail().contains("4096 bytes"), "{answer:?}");
    assert_eq!(client.ended().await, b"");
}

#[tokio::test]
async fn a_chunked_body_is_held_to_the_same_limit() {
    let world = World::with(limits()).await;
    let mut client = world.client().await;
    client.send("POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    client.send(chunk.repeat(4)).await;
    client.send(chunk).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.slug()), (413, "body-too-large"));
}

#[tokio::test]
async fn nothing_is_read_of_a_body_whose_sender_is_not_let_in() {
    let world = World::with(limits()).await;
    let mut client = world.client().await;
    let path = "/v1/conversations/cnv_00000000000000000000000000/messages";
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: desk\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n");
    client.send(format!("{head}Authorization: Bearer wrong\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 401, "and no 100 before it");
}

#[tokio::test]
async fn a_handler_that_does_not_end_gets_503() {
    let world = World::with(Limits { request_time: SHORT, ..limits() }).await;
    let answer = world.get("/v1/channels/shop/hang", "").await;
    assert_eq!((answer.status, answer.slug()), (503, "took-too-long"));
    assert_eq!(answer.header("retry-after"), Some("5"));
}

/// The one place is held by a client that does not take its answer; it is free again once the listener gives up.
async fn gives_up_on_a_reader(limits: Limits, head: &str, mut drip: Option<Duration>) {
    let world = World::with(Limits { connections: 1, ..limits }).await;
    let mut slow = world.client().await;
    slow.send(head).await;
    let mut first = [0; 16];
    slow.stream.read_exact(&mut first).await.unwrap();
    let mut taken = first.len();
    let next = world.get("/healthz", "");
    let mut next = std::pin::pin!(next);
    soon("the next client's turn", async {
        loop {
            let pause = drip.unwrap_or(Duration::from_secs(3600));
            tokio::select! {
                answer = &mut next => break assert_eq!(answer.status, 200),
                () = tokio::time::sleep(pause) => match slow.stream.read(&mut first).await {
                    Ok(read) if read > 0 => taken += read,
                    _ => drip = None,
                },
            }
        }
    })
    .await;
    assert!(taken < LARGE, "the answer was too small to show anything");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_loses_its_place() {
    let head = "GET /v1/channels/shop/large HTTP/1.1\r\nHost: desk\r\nConnection: close\r\n\r\n";
    gives_up_on_a_reader(Limits { answer_time: SHORT, ..limits() }, head, None).await;
}

#[tokio::test]
async fn a_client_that_takes_its_answer_in_drips_loses_its_place() {
    let head = "GET /v1/channels/shop/large HTTP/1.1\r\nHost: desk\r\nConnection: close\r\n\r\n";
    let drip = Some(Duration::from_millis(5));
    gives_up_on_a_reader(Limits { answer_time: SHORT, ..limits() }, head, drip).await;
}

#[tokio::test]
async fn a_client_that_keeps_the_connection_and_does_not_take_its_answer_loses_its_place() {
    let head = "GET /v1/channels/shop/large HTTP/1.1\r\nHost: desk\r\n\r\n";
    gives_up_on_a_reader(Limits { answer_time: SHORT, ..limits() }, head, None).await;
}

#[tokio::test]
async fn a_large_answer_is_taken_whole_by_a_client_that_reads() {
    let world = World::new().await;
    let answer = world.get("/v1/channels/shop/large", "").await;
    assert_eq!(answer.text.len(), LARGE + 2);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let world = World::with(Limits { connections: 2, ..limits() }).await;
    let (mut one, mut two) = (world.client().await, world.client().await);
    assert_eq!(one.ask("GET", "/healthz", "", None).await.status, 200);
    assert_eq!(two.ask("GET", "/healthz", "", None).await.status, 200);
    let mut three = world.client().await;
    three.send(request("GET", "/healthz", "", None)).await;
    // The others are served meanwhile, and the third gets nothing.
    for _ in 0..20 {
        assert_eq!(one.ask("GET", "/healthz", "", None).await.status, 200);
    }
    let mut byte = [0];
    assert!(three.stream.try_read(&mut byte).is_err(), "it was served beyond the limit");
    drop(two);
    assert_eq!(three.answer().await.status, 200);
}

#[tokio::test]
async fn a_request_with_a_body_that_ends_early_has_no_effect() {
    let world = World::with(limits()).await;
    let mut client = world.client().await;
    let head = format!("POST /v1/channels/shop/messages HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {INGEST}\r\n");
    client.send(format!("{head}Content-Length: 1000\r\n\r\n{{\"thread\": \"t\", \"text\": \"x\"}}")).await;
    client.stream.shutdown().await.unwrap();
    client.ended().await;
    let listed = world.get("/v1/conversations", AGENT).await;
    assert_eq!(listed.json, json!({"data": [], "next": null}));
}

#[tokio::test]
async fn a_body_with_broken_framing_is_refused() {
    let world = World::with(limits()).await;
    let mut client = world.client().await;
    client.send("POST /v1/channels/shop/echo HTTP/1.1\r\nHost: desk\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.slug()), (400, "body-incomplete"));
}
