//! Readers that do not read: lists and the change stream, and histories that are far too long to be sent along.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::world::{ADMIN, BOT, Growth, World, event, takes};

/// A client with a small buffer, that has asked and does not read.
async fn unread(to: SocketAddr, path: &str, token: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_unread_lists_of_two_hundred_large_events_cost_little_memory() {
    let world = World::of(FarEnd::start(takes).await, FarEnd::start(takes).await);
    let daemon = world.start().await;
    let mut conversation = String::new();
    for number in 0..200 {
        conversation = world.say("t", &number.to_string(), &"x".repeat(60_000)).await;
    }
    world.agent.wait_for(200).await;
    let growth = Growth::of(&daemon);
    let mut readers = Vec::new();
    for number in 0..30 {
        let list = ["events", "messages"][number % 2];
        let path = format!("/v1/conversations/{conversation}/{list}?limit=200");
        readers.push(unread(world.site.address(), &path, ADMIN).await);
    }
    for reader in &mut readers {
        // Its answer has begun, so it is made; that is all that is taken of it.
        let mut first = [0; 15];
        reader.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
    }
    let began = Instant::now();
    world.say("another", "1", "hello").await;
    world.agent.wait_for(201).await;
    assert!(began.elapsed() < Duration::from_secs(5), "others wait: {:?}", began.elapsed());
    growth.assert_below(96.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_events_at_once_with_long_histories_cost_little_memory() {
    const CONVERSATIONS: usize = 12;
    const EARLIER: usize = 8;
    let asked = AtomicUsize::new(0);
    let agent = FarEnd::start(move |_| {
        let earlier = asked.fetch_add(1, Ordering::SeqCst) < EARLIER * CONVERSATIONS;
        if earlier { Reply::status(204) } else { Reply::hang() }
    });
    let world = World::of(agent.await, FarEnd::start(takes).await);
    let daemon = world.start().await;
    // 2.4 MB each.
    for number in 0..EARLIER {
        for conversation in 0..CONVERSATIONS {
            world.say(&format!("t{conversation}"), &number.to_string(), &"x".repeat(300_000)).await;
        }
    }
    world.agent.wait_until("all of it", |requests| requests.len() >= EARLIER * CONVERSATIONS).await;
    let growth = Growth::of(&daemon);
    for conversation in 0..CONVERSATIONS {
        world.say(&format!("t{conversation}"), "last", "Where is my order?").await;
    }
    let wanted = (EARLIER + 1) * CONVERSATIONS;
    let requests = world.agent.wait_until("the last ones", |requests| requests.len() >= wanted).await;
    for request in &requests[EARLIER * CONVERSATIONS..] {
        let history = event(request)["data"]["history"].as_array().unwrap().len();
        assert!((1..EARLIER).contains(&history), "some of it goes along: {history}");
        assert!(request.body.len() < 1_000_000, "{}", request.body.len());
    }
    growth.assert_below(48.0);
}

/// Opens the change stream behind a position, or from now on.
async fn follow(world: &World, after: Option<&str>) -> reqwest::Response {
    let mut request = world.http.get(world.site.url("/v1/changes")).bearer_auth(BOT);
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

/// Reads a change stream until so many messages came; gives their ids and the last position.
async fn read(mut answer: reqwest::Response, count: usize) -> (Vec<String>, String) {
    let (mut text, mut seen, mut position) = (String::new(), Vec::new(), String::new());
    while seen.len() < count {
        let piece = answer.chunk().await.unwrap().expect("the stream goes on");
        text += std::str::from_utf8(&piece).unwrap();
        // An event is looked at when it is whole.
        while let Some(end) = text.find("\n\n").filter(|_| seen.len() < count) {
            let whole: String = text.drain(..end + 2).collect();
            for line in whole.lines() {
                if let Some(id) = line.strip_prefix("id:") {
                    id.trim().clone_into(&mut position);
                }
                let change: Value =
                    line.strip_prefix("data:").map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
                if let Some(id) = change["data"]["message"]["external_id"].as_str() {
                    seen.push(id.to_owned());
                }
            }
        }
    }
    (seen, position)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_cost_little_memory_and_hold_up_no_other_stream() {
    const MESSAGES: usize = 300;
    let world = World::of(FarEnd::start(takes).await, FarEnd::start(takes).await);
    let daemon = world.start().await;
    world.say("before", "before", "hello").await;
    let mut nobody = Vec::new();
    for number in 0..12 {
        let token = if number < 6 { BOT } else { ADMIN };
        nobody.push(unread(world.site.address(), "/v1/changes", token).await);
    }
    let growth = Growth::of(&daemon);
    let (whole, broken_off) = (follow(&world, None).await, follow(&world, None).await);
    let sending = async {
        for number in 0..MESSAGES {
            world.say("t", &number.to_string(), &"x".repeat(60_000)).await;
        }
    };
    let all: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    let ((seen, _), (first, position), ()) = tokio::join!(read(whole, MESSAGES), read(broken_off, 50), sending);
    assert_eq!(seen, all);
    let (rest, _) = read(follow(&world, Some(&position)).await, MESSAGES - 50).await;
    assert_eq!([first, rest].concat(), all, "who comes back misses nothing and sees nothing twice");
    growth.assert_below(64.0);
}
