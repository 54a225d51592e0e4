//! Clients that mean harm: all descriptors, huge, packed and deep bodies, floods. What was accepted is safe, the daemon stays
//! within its memory and does not spin, and others are served.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use frontdesk_testkit::{far_end::FarEnd, process::processor_time};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::world::{ADMIN, Growth, INGEST, World, echo, gate, gated, message, takes};

const PATH: &str = "/v1/channels/shop/messages";
/// By how much a daemon may grow, in MiB.
const GROWTH: f64 = 48.0;

/// A client at another address of this machine.
async fn connect_from(last: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    tokio::time::timeout(Duration::from_secs(5), socket.connect(to)).await?
}

fn head(length: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {INGEST}\r\n{length}\r\n\r\n")
}

/// The status of the next answer, its body included in what was read.
async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
    std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()
}

#[tokio::test]
async fn t36_with_no_descriptor_left_it_neither_spins_nor_loses_and_goes_on_when_there_are_some() {
    let mut world = World::that_echoes().await;
    world.site = world.site.under(&["prlimit", "--nofile=72"]);
    let mut daemon = world.start().await;
    // Its connection is open before the descriptors are gone.
    world.say("before", "1", "hello").await;
    world.shop.wait_for(1).await;
    let mut held = Vec::new();
    for client in 0..160 {
        // Those that are not accepted wait in the kernel.
        if let Ok(stream) = connect_from(2 + client % 4, world.site.address()).await {
            held.push(stream);
        }
    }
    daemon.says("cannot take connections").await.unwrap();
    let accepted = world.say("during", "1", "hello").await;
    let spent = processor_time(daemon.pid()).unwrap().total();
    let watched = Duration::from_secs(3);
    tokio::time::sleep(watched).await;
    let spent = processor_time(daemon.pid()).unwrap().total() - spent;
    assert!(spent < watched / 5, "it spins: {spent:?} in {watched:?}");
    drop(held);
    world.settled(&accepted, "sent").await;
    let fresh = World { http: crate::world::client(), ..world };
    fresh.say("after", "1", "hello").await;
    fresh.shop.wait_for(3).await;
    assert!(fresh.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t28_a_gigabyte_is_refused_before_it_is_sent_and_costs_no_memory() {
    let world = World::that_echoes().await;
    let daemon = world.start().await;
    world.say("before", "1", "hello").await;
    let growth = Growth::of(&daemon);
    let address = world.site.address();
    let mut senders = JoinSet::new();
    for client in 0..16 {
        senders.spawn(async move {
            let stream = connect_from(2, address).await.unwrap();
            let (mut reading, mut writing) = stream.into_split();
            let pieces = client % 2 == 1;
            let length = if pieces { "Transfer-Encoding: chunked" } else { "Content-Length: 1073741824" };
            writing.write_all(head(length).as_bytes()).await.unwrap();
            let sending = tokio::spawn(async move {
                let piece = [b"10000\r\n".as_slice(), &[b'['; 65536], b"\r\n"].concat();
                let piece = if pieces { piece } else { vec![b'['; 65536] };
                let mut sent = 0;
                while sent < 1 << 30 && writing.write_all(&piece).await.is_ok() {
                    sent += piece.len();
                }
                sent
            });
            let mut answer = Vec::new();
            while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
                assert_ne!(reading.read_buf(&mut answer).await.unwrap(), 0, "closed without an answer");
            }
            assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
            drop(reading);
            sending.await.unwrap()
        });
    }
    let began = Instant::now();
    world.say("meanwhile", "1", "hello").await;
    assert!(began.elapsed() < Duration::from_secs(5), "others wait: {:?}", began.elapsed());
    while let Some(sent) = senders.join_next().await {
        let sent = sent.unwrap();
        assert!(sent < 64 << 20, "{sent} bytes were sent before it was refused");
    }
    growth.assert_below(GROWTH);
}

#[tokio::test]
async fn t28_packed_bodies_are_not_unpacked_but_refused() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    for packed in ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP"] {
        let request = world.request(Method::POST, PATH).bearer_auth(INGEST).header("content-encoding", packed);
        let answer = request.body(message("t", "1", "hello").to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{packed}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "urn:frontdesk:problem:unsupported-media-type", "{packed}");
    }
    let plain = world.request(Method::POST, PATH).bearer_auth(INGEST).header("content-encoding", "identity");
    let answer = plain.body(message("t", "1", "hello").to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(world.shop.wait_for(1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t29_deep_and_wide_bodies_at_once_are_refused_fast_and_cost_little_memory() {
    let world = World::that_echoes().await;
    let daemon = world.start().await;
    world.say("before", "1", "hello").await;
    let growth = Growth::of(&daemon);
    let deep = format!("{{\"id\":\"1\",\"from\":{}", "[".repeat(900_000));
    let objects = format!("{{\"id\":\"1\",\"from\":{}", "{\"a\":".repeat(180_000));
    let wide = format!("{{\"id\":\"1\",\"from\":[{}{{}}]}}", "{},".repeat(300_000));
    let again = format!("{{{}\"id\":\"1\"}}", "\"text\":\"a\",".repeat(80_000));
    let mut posts = JoinSet::new();
    for number in 0..32 {
        let body = [&deep, &objects, &wide, &again][number % 4].clone();
        let request = world.request(Method::POST, PATH).bearer_auth(INGEST).body(body);
        posts.spawn(async move { request.send().await.unwrap().status() });
    }
    let began = Instant::now();
    world.say("meanwhile", "1", "hello").await;
    assert!(began.elapsed() < Duration::from_secs(5), "others wait: {:?}", began.elapsed());
    while let Some(status) = posts.join_next().await {
        assert!(matches!(status.unwrap().as_u16(), 400 | 422));
    }
    // 32 bodies of 900 kB lie in memory at once; a tree of the wide ones would be many times that.
    growth.assert_below(GROWTH + 32.0);
    world.shop.wait_for(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t36_a_flood_from_one_address_leaves_the_others_served_and_loses_nothing_that_it_was_acknowledged() {
    const CONNECTIONS: usize = 100;
    const EACH: usize = 10;
    let world = World::that_echoes().await;
    let daemon = world.start().await;
    world.say("before", "1", "hello").await;
    let growth = Growth::of(&daemon);
    let address = world.site.address();
    let mut flood = JoinSet::new();
    for connection in 0..CONNECTIONS {
        flood.spawn(async move {
            let mut stream = connect_from(2, address).await.unwrap();
            // All of it is sent before an answer is read.
            let mut all = String::new();
            for number in 0..EACH {
                let body = message(&format!("flood-{connection}"), &number.to_string(), "flood").to_string();
                all += &head(&format!("Content-Length: {}", body.len()));
                all += &body;
            }
            let _ = stream.write_all(all.as_bytes()).await;
            let mut answers = String::new();
            let mut accepted = 0;
            // Each answer begins with its status line; how many there are is all that counts here.
            while answers.matches("HTTP/1.1 ").count() < EACH || !answers.ends_with('}') {
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await {
                    Ok(length) if length > 0 => answers += &String::from_utf8_lossy(&piece[..length]),
                    _ => break,
                }
            }
            accepted += answers.matches("HTTP/1.1 202 ").count();
            accepted
        });
    }
    let neighbour = reqwest::Client::builder().local_address(IpAddr::from([127, 0, 0, 3])).no_proxy().build().unwrap();
    let mut asked = 0;
    let mut slowest = Duration::ZERO;
    let mut accepted = 0;
    while !flood.is_empty() {
        let began = Instant::now();
        let body = message("neighbour", &asked.to_string(), "hello").to_string();
        let answer = neighbour.post(world.site.url(PATH)).bearer_auth(INGEST).body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        slowest = slowest.max(began.elapsed());
        asked += 1;
        while let Some(count) = flood.try_join_next() {
            accepted += count.unwrap();
        }
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?} for one of {asked}");
    let wanted = 1 + accepted + asked;
    let began = Instant::now();
    while world.shop.count() < wanted {
        assert!(began.elapsed() < Duration::from_secs(60), "{} of {wanted} came out", world.shop.count());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.shop.count(), wanted, "and nothing more");
    growth.assert_below(GROWTH);
}

#[tokio::test]
async fn t36_what_was_accepted_before_a_crowd_came_is_delivered_and_the_crowd_is_let_in_piece_by_piece() {
    // The agent answers when it is told to, so the message is in hand while the crowd comes.
    let (open, answered) = (gate(), gate());
    let world = World::of(gated(&open, &answered, echo).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.agent.wait_for(1).await;
    let mut crowd = Vec::new();
    for client in 0..1100_u16 {
        let from = u8::try_from(10 + client % 16).unwrap();
        crowd.push(connect_from(from, world.site.address()).await.unwrap());
    }
    open.add_permits(1);
    let answer = world.request(Method::GET, "/healthz").bearer_auth(ADMIN).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "its connection was there before");
    world.settled(&conversation, "sent").await;
    // Who came last waits in the kernel; when others leave it is let in.
    let mut last = crowd.pop().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nHost: desk\r\n\r\n").await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(300), last.readable()).await;
    assert!(waited.is_err(), "more connections than there are places");
    crowd.drain(..600);
    let served = tokio::time::timeout(Duration::from_secs(20), status(&mut last)).await.unwrap();
    assert_eq!(served, Some(200));
}
