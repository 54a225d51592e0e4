//! The change stream: what it says, that nothing is missed or said twice, how it ends, and what a slow reader costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::time::{Duration, Instant};

use frontdesk_http::{HttpOptions, Limits};
use serde_json::json;
use tokio::net::UnixStream;
use world::{
    ADMIN, AGENT, ANNEX, Client, Counts, DESK, NOWHERE, Stream, World, http_options, request_with, soon, steady,
};

const PATH: &str = "/v1/changes";

async fn follow(world: &World, path: &str, token: &str) -> Stream {
    let stream = Stream::open(world.address, path, token, "").await;
    assert_eq!(stream.head.status, 200, "{:?}", stream.head);
    stream
}

async fn go_on(world: &World, token: &str, position: &str) -> Stream {
    let stream = Stream::open(world.address, PATH, token, &format!("Last-Event-ID: {position}\r\n")).await;
    assert_eq!(stream.head.status, 200, "{:?}", stream.head);
    stream
}

/// The text of the message that the next event is about.
async fn next_text(stream: &mut Stream) -> String {
    let event = stream.event().await.unwrap();
    event.data.unwrap()["data"]["message"]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_happens_is_told_as_it_happens() {
    let world = World::new().await;
    world.write("shop", "before", "before the stream").await;
    let mut stream = follow(&world, PATH, AGENT).await;
    assert_eq!(stream.head.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.head.header("cache-control"), Some("no-store"));
    let start = stream.block().await.unwrap();
    assert_eq!((start.retry.as_deref(), start.id.is_some(), &start.event), (Some("1000"), true, &None));

    let id = world.write("shop", "order-77", "Where is my order?").await;
    let written = stream.event().await.unwrap();
    assert_eq!(written.event.as_deref(), Some("message.created"));
    assert!(written.id.is_some());
    insta::assert_json_snapshot!("message_created", steady(written.data.as_ref().unwrap()));
    world.ask("PATCH", &format!("/v1/conversations/{id}"), DESK, Some(json!({"status": "resolved"}))).await;
    let updated = stream.event().await.unwrap();
    assert_eq!(updated.event.as_deref(), Some("conversation.updated"));
    insta::assert_json_snapshot!("conversation_updated", steady(updated.data.as_ref().unwrap()));
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_sees_nothing_twice() {
    let world = World::new().await;
    let mut stream = follow(&world, PATH, AGENT).await;
    // Not even before the first event.
    let mut position = stream.block().await.unwrap().id.unwrap();
    drop(stream);
    for number in 0..30 {
        world.write("shop", &format!("order-{}", number % 4), &number.to_string()).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 30 {
        // Away after every third event, and others come while nobody looks.
        let mut stream = go_on(&world, AGENT, &position).await;
        for _ in 0..3 {
            let event = stream.event().await.unwrap();
            position = event.id.unwrap();
            seen.push(event.data.unwrap()["data"]["message"]["text"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, (0..30).map(|number| number.to_string()).collect::<Vec<_>>());
    let mut by_query = follow(&world, &format!("{PATH}?after={position}"), AGENT).await;
    world.write("shop", "order-0", "next").await;
    assert_eq!(next_text(&mut by_query).await, "next");
}

#[tokio::test]
async fn the_last_event_counts_before_the_address() {
    let world = World::new().await;
    let mut stream = follow(&world, PATH, AGENT).await;
    let first = stream.block().await.unwrap().id.unwrap();
    world.write("shop", "order-77", "one").await;
    let second = stream.event().await.unwrap().id.unwrap();
    world.write("shop", "order-77", "two").await;
    let path = format!("{PATH}?after={first}");
    let mut again = Stream::open(world.address, &path, AGENT, &format!("Last-Event-ID: {second}\r\n")).await;
    assert_eq!(next_text(&mut again).await, "two");
    let mut empty = Stream::open(world.address, &path, AGENT, "Last-Event-ID:\r\n").await;
    assert_eq!(next_text(&mut empty).await, "one", "an empty one says nothing");
}

#[tokio::test]
async fn a_position_that_no_stream_gave_is_refused() {
    let world = World::new().await;
    for headers in ["Last-Event-ID: x\r\n", "Last-Event-ID: \u{e4}\r\n"] {
        let answer = world.client().await.ask_with("GET", PATH, AGENT, headers, None).await;
        assert_eq!((answer.status, answer.slug()), (422, "invalid-query"));
        assert!(answer.detail().contains("Last-Event-ID"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_stream_shows_the_channels_that_were_asked_for_and_may_be_seen() {
    let world = World::new().await;
    let mut shop = follow(&world, "/v1/changes?channel=shop", AGENT).await;
    let mut annex = follow(&world, PATH, ANNEX).await;
    let mut neither = follow(&world, "/v1/changes?channel=shop", ANNEX).await;
    let mut nowhere = follow(&world, PATH, NOWHERE).await;
    world.write("annex", "order-77", "in the annex").await;
    world.write("shop", "order-77", "in the shop").await;
    world.write("annex", "order-77", "in the annex again").await;
    assert_eq!(next_text(&mut shop).await, "in the shop");
    assert_eq!(next_text(&mut annex).await, "in the annex");
    assert_eq!(next_text(&mut annex).await, "in the annex again");
    world
        .front
        .replace(world.mounted(&["shop"]), HttpOptions { tokens: Vec::new(), ..http_options(&Limits::default()) });
    neither.ends().await;
    nowhere.ends().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_not_valid_any_more_and_others_go_on() {
    let world = World::new().await;
    let socket = world.control().await;
    let mut ends = [follow(&world, PATH, DESK).await, follow(&world, PATH, ANNEX).await];
    let mut stays = follow(&world, PATH, AGENT).await;
    let client = Client::over(UnixStream::connect(socket).await.unwrap());
    let mut operator = Stream::over(client, PATH, "", "").await;
    let mut tokens = world::tokens();
    tokens.retain(|grant| grant.name != "Mia");
    let annex = tokens.iter_mut().find(|grant| grant.name == "annex").unwrap();
    annex.channels = Some(vec!["shop".parse().unwrap()]);
    let options = HttpOptions { tokens, ..http_options(&Limits::default()) };
    world.front.replace(world.mounted(&["shop", "annex"]), options);
    for stream in &mut ends {
        stream.ends().await;
    }
    world.write("shop", "order-77", "still here").await;
    assert_eq!(next_text(&mut stays).await, "still here");
    assert_eq!(operator.event().await.unwrap().event.as_deref(), Some("message.created"));
    assert_eq!(world.get(PATH, DESK).await.slug(), "unauthorized", "who comes back learns why");
}

#[tokio::test]
async fn streams_end_in_good_order_when_the_listener_stops_and_go_on_elsewhere() {
    let mut world = World::new().await;
    let mut stream = follow(&world, PATH, AGENT).await;
    world.write("shop", "order-77", "one").await;
    assert_eq!(next_text(&mut stream).await, "one");
    world.stop();
    stream.ends().await;
    assert_eq!(stream.into_client().ended().await, b"");
    world.stopped().await;
}

#[tokio::test]
async fn streams_end_when_the_engine_drains() {
    let world = World::new().await;
    let mut stream = follow(&world, PATH, AGENT).await;
    world.engine.begin_drain();
    stream.ends().await;
}

#[tokio::test]
async fn a_stream_on_which_nothing_happens_shows_that_it_lives() {
    let world = World::new().await;
    let mut stream = follow(&world, "/v1/changes?channel=annex", AGENT).await;
    let start = stream.block().await.unwrap().id;
    // Behind the filter something happens: the position moves on.
    world.write("shop", "order-77", "Hello").await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let mut first = stream.block().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(14), "{:?}", began.elapsed());
    // The clock runs ahead while the store's thread reads: the position may come with a later one.
    for _ in 0..1000 {
        assert!(first.comment && first.event.is_none(), "{first:?}");
        if first.id.is_some() {
            break;
        }
        first = stream.block().await.unwrap();
    }
    assert!(first.id.is_some() && first.id != start, "{first:?}");
    let second = stream.block().await.unwrap();
    assert!(second.comment && second.id.is_none(), "{second:?}");
    tokio::time::resume();
    world.write("annex", "order-78", "Here").await;
    assert_eq!(next_text(&mut stream).await, "Here");
}

#[tokio::test]
async fn too_many_streams() {
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let world = World::new().await;
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(follow(&world, PATH, AGENT).await);
    }
    assert_eq!(counts.of("frontdesk_http_streams_open{}"), 8.0);
    let refused = world.get(PATH, AGENT).await;
    assert_eq!((refused.status, refused.slug()), (429, "too-many-streams"));
    assert_eq!(refused.header("retry-after"), Some("10"));
    insta::assert_json_snapshot!("too_many_streams", refused.json);
    follow(&world, PATH, DESK).await;
    open.pop();
    // Its end is noticed when the connection's is.
    soon("a place for another", async {
        while Stream::open(world.address, PATH, AGENT, "").await.head.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(open);
    soon("every place to be free", async {
        while counts.of("frontdesk_http_streams_open{}") != 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_takes_no_seat_among_the_requests_in_hand() {
    let world = World::new().await;
    let mut open = Vec::new();
    for token in [AGENT, DESK, ADMIN, ANNEX] {
        for _ in 0..8 {
            open.push(follow(&world, PATH, token).await);
        }
    }
    let mut hanging = Vec::new();
    for _ in 0..63 {
        let mut client = world.client().await;
        client.send(world::request("GET", "/v1/channels/shop/hang", "", None)).await;
        hanging.push(client);
    }
    world.booth.in_hand(63).await;
    assert_eq!(world.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_slow_reader_that_goes_on_taking_is_waited_for() {
    const WRITTEN: usize = 200;
    let answer_time = Duration::from_millis(500);
    let world = World::with(Limits { answer_time, ..Limits::default() }).await;
    let mut start = follow(&world, PATH, AGENT).await;
    let position = start.block().await.unwrap().id.unwrap();
    drop(start);
    for number in 0..WRITTEN {
        world.write("shop", &format!("order-{number}"), &"x".repeat(60_000)).await;
    }
    // Little room on its side, so that it is the stream that waits.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut client = Client::over(socket.connect(world.address).await.unwrap());
    let headers = format!("Last-Event-ID: {position}\r\n");
    client.send(request_with("GET", PATH, AGENT, &headers, None)).await;
    let began = Instant::now();
    let mut taken = 0;
    soon("all of it", async {
        while taken < WRITTEN * 60_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            taken += client.take(64 * 1024).await.len();
        }
    })
    .await;
    assert!(began.elapsed() > 2 * answer_time, "too fast to show anything: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_slow_reader_is_dropped_when_it_takes_nothing_for_a_time_and_costs_no_other_reader() {
    let answer_time = Duration::from_millis(500);
    let world = World::with(Limits { answer_time, ..Limits::default() }).await;
    let counts = Counts::default();
    let _guard = metrics::set_default_local_recorder(&counts);
    let slow = follow(&world, PATH, AGENT).await;
    let mut quick = follow(&world, PATH, DESK).await;
    assert_eq!(counts.of("frontdesk_http_streams_open{}"), 2.0);
    let text = "x".repeat(60_000);
    let mut written = 0;
    soon("the slow reader's end", async {
        // More than the kernel holds between two sockets.
        while counts.of("frontdesk_http_streams_open{}") > 1.0 {
            world.write("shop", "order-77", &text).await;
            written += 1;
            assert_eq!(next_text(&mut quick).await.len(), 60_000);
        }
    })
    .await;
    assert!(written > 3);
    drop(slow);
}
