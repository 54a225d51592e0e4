//! What answers cost in memory: a list is bounded in bytes, and answers that nobody takes do not pile up. The figure is the
//! process's own, so this file has one test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use serde_json::Value;
use world::{AGENT, Client, World, request, soon};

const MESSAGES: usize = 12;
const LENGTH: usize = 900_000;
const CLIENTS: usize = 30;

/// What the process holds, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn large_messages_come_in_pages_and_what_is_not_taken_does_not_pile_up() {
    let world = World::new().await;
    let mut id = String::new();
    for _ in 0..MESSAGES {
        id = world.write("shop", "order-77", &"x".repeat(LENGTH)).await;
    }
    for list in ["messages", "events"] {
        let mut path = format!("/v1/conversations/{id}/{list}?limit=200");
        let mut found = Vec::new();
        loop {
            let page = world.get(&path, AGENT).await;
            assert!(page.text.len() < 2 * 1024 * 1024 + LENGTH, "a page of {} bytes", page.text.len());
            found.extend(page.json["data"].as_array().unwrap().iter().map(|row| row["seq"].as_u64().unwrap()));
            let Value::String(next) = &page.json["next"] else { break };
            path = format!("/v1/conversations/{id}/{list}?limit=200&page={next}");
        }
        found.sort_unstable();
        assert_eq!(found, (1..=MESSAGES as u64).collect::<Vec<_>>(), "{list}: all of them, each once");
    }

    let before = resident();
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = world.client().await;
        let path = format!("/v1/conversations/{id}/messages?limit=200");
        // Several requests at once: the next one is not begun before the answer before it is taken.
        client.send(request("GET", &path, AGENT, None).repeat(20)).await;
        clients.push(client);
    }
    // Each has begun to come, and nobody takes it.
    for client in &mut clients {
        soon("the first bytes", client.stream.readable()).await.unwrap();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < CLIENTS * 4 * 1024 * 1024, "{} MB more for {CLIENTS} clients", grown / 1024 / 1024);
    assert_eq!(world.get("/healthz", "").await.status, 200);
    println!("{} MB more for {CLIENTS} clients", grown / 1024 / 1024);
}
