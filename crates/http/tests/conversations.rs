//! Reading, replying and changing, as a program with a token sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use serde_json::{Value, json};
use world::{ADMIN, AGENT, ANNEX, DESK, NOWHERE, World, steady};

fn ids(list: &Value) -> Vec<String> {
    let rows = list["data"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_conversation_is_read_as_it_is() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let one = world.get(&format!("/v1/conversations/{id}"), AGENT).await;
    assert_eq!(one.status, 200);
    assert_eq!(one.json["id"], *id);
    insta::assert_json_snapshot!("conversation", steady(&one.json));
    let listed = world.get("/v1/conversations", AGENT).await;
    assert_eq!(listed.json, json!({"data": [one.json], "next": null}));
}

#[tokio::test]
async fn a_teammates_reply_is_accepted_and_shown_with_the_question() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}/messages");
    let replied = world.ask("POST", &path, DESK, Some(json!({"markdown": "It ships **today**."}))).await;
    assert_eq!(replied.status, 202);
    insta::assert_json_snapshot!("replied", steady(&replied.json));
    // Delivery goes on beside this.
    let mut listed = world.get(&path, DESK).await.json;
    listed["data"][0]["status"] = json!("[status]");
    insta::assert_json_snapshot!("messages", steady(&listed));
    assert_eq!(listed["data"][0]["id"], replied.json["messages"][0]["id"], "newest first");
}

#[tokio::test]
async fn the_log_is_read_in_order() {
    let world = World::new().await;
    let id = world.write_to_agent("order-77").await;
    let events = world.get(&format!("/v1/conversations/{id}/events"), AGENT).await;
    assert_eq!(events.status, 200);
    insta::assert_json_snapshot!("events", steady(&events.json));
}

#[tokio::test]
async fn the_agents_reply_leaves_the_version_and_a_teammates_moves_it() {
    let world = World::new().await;
    let id = world.write_to_agent("order-77").await;
    let path = format!("/v1/conversations/{id}/messages");
    let version = world.get(&format!("/v1/conversations/{id}"), AGENT).await.json["version"].as_u64().unwrap();
    let agent = world.ask("POST", &path, AGENT, Some(json!({"text": "Soon.", "if_version": version}))).await;
    assert_eq!((agent.status, agent.json["version"].as_u64()), (202, Some(version)));
    let mia = world.ask("POST", &path, DESK, Some(json!({"text": "I am on it."}))).await;
    assert!(mia.json["version"].as_u64().unwrap() > version, "{mia:?}");
    let after = world.get(&format!("/v1/conversations/{id}"), AGENT).await.json;
    assert_eq!(after["owner"], "desk", "who replies takes it over");
    let messages = world.get(&path, AGENT).await.json;
    assert_eq!(messages["data"][0]["author"], json!({"kind": "teammate", "name": "Mia"}));
    assert_eq!(messages["data"][1]["author"], json!({"kind": "agent"}));
}

#[tokio::test]
async fn a_change_by_patch_is_signed_with_the_tokens_name() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}");
    let before = world.get(&path, DESK).await.json;
    let version = before["version"].clone();
    let changed = world.ask("PATCH", &path, DESK, Some(json!({"if_version": version, "status": "pending"}))).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json["status"], "pending");
    assert_ne!(changed.json["version"], version);
    let unchanged = world.ask("PATCH", &path, DESK, Some(json!({}))).await;
    assert_eq!((unchanged.status, unchanged.json), (200, changed.json));
    let events = world.get(&format!("{path}/events"), DESK).await.json;
    assert_eq!(events["data"][1]["data"]["conversation"]["by"], "Mia");
}

#[tokio::test]
async fn attention_is_found_and_taken_away() {
    let world = World::new().await;
    let letter = world.dead_letter("shop", "order-77").await;
    let id = letter["conversation_id"].as_str().unwrap().to_owned();
    world.write("shop", "order-78", "Hello").await;
    let marked = world.get("/v1/conversations?attention=dead_letter", DESK).await.json;
    assert_eq!(ids(&marked), [id.as_str()]);
    let path = format!("/v1/conversations/{id}");
    let cleared = world.ask("PATCH", &path, DESK, Some(json!({"attention": null}))).await;
    assert_eq!((cleared.status, &cleared.json["attention"]), (200, &Value::Null));
    assert_eq!(ids(&world.get("/v1/conversations?attention=dead_letter", DESK).await.json), Vec::<String>::new());
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let world = World::new().await;
    let mut written = Vec::new();
    for thread in 0..5 {
        written.push(world.write("shop", &format!("order-{thread}"), "Hello").await);
    }
    written.reverse();
    let mut found = Vec::new();
    let mut path = "/v1/conversations?limit=2".to_owned();
    loop {
        let page = world.get(&path, DESK).await.json;
        assert!(ids(&page).len() <= 2);
        found.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/conversations?limit=2&page={next}");
    }
    assert_eq!(found, written, "each once, the latest first");
    let resolve = Some(json!({"status": "resolved"}));
    assert_eq!(world.ask("PATCH", &format!("/v1/conversations/{}", written[0]), DESK, resolve).await.status, 200);
    assert_eq!(ids(&world.get("/v1/conversations?status=resolved", DESK).await.json), written[..1]);
    assert_eq!(ids(&world.get("/v1/conversations?status=open", DESK).await.json), written[1..]);
    assert_eq!(ids(&world.get("/v1/conversations?channel=annex", DESK).await.json), Vec::<String>::new());
    assert_eq!(ids(&world.get("/v1/conversations?channel=shop", DESK).await.json).len(), 5);
}

#[tokio::test]
async fn messages_and_events_are_paged_without_gap_or_repeat() {
    let world = World::new().await;
    let id = (0..5).map(|_| "order-77");
    let mut conversation = String::new();
    for thread in id {
        conversation = world.write("shop", thread, "Hello").await;
    }
    for (list, wanted) in [("messages", [5, 4, 3, 2, 1]), ("events", [1, 2, 3, 4, 5])] {
        let mut path = format!("/v1/conversations/{conversation}/{list}?limit=2");
        let mut found = Vec::new();
        loop {
            let page = world.get(&path, AGENT).await.json;
            found.extend(page["data"].as_array().unwrap().iter().map(|row| row["seq"].as_u64().unwrap()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/conversations/{conversation}/{list}?limit=2&page={next}");
        }
        assert_eq!(found, wanted, "{list}");
    }
}

#[tokio::test]
async fn a_token_held_to_channels_sees_nothing_of_the_others() {
    let world = World::new().await;
    let shop = world.write("shop", "order-77", "Hello").await;
    let annex = world.write("annex", "order-77", "Hello").await;
    assert_eq!(ids(&world.get("/v1/conversations", ANNEX).await.json), [annex.as_str()]);
    assert_eq!(ids(&world.get("/v1/conversations?channel=annex", ANNEX).await.json), [annex.as_str()]);
    for empty in ["?channel=shop", "?channel=elsewhere"] {
        let listed = world.get(&format!("/v1/conversations{empty}"), ANNEX).await;
        assert_eq!(listed.json, json!({"data": [], "next": null}), "{empty}");
    }
    let body = Some(json!({"text": "Hello"}));
    let change = Some(json!({"status": "resolved"}));
    for (method, path, body) in [
        ("GET", format!("/v1/conversations/{shop}"), None),
        ("GET", format!("/v1/conversations/{shop}/messages"), None),
        ("GET", format!("/v1/conversations/{shop}/events"), None),
        ("POST", format!("/v1/conversations/{shop}/messages"), body.clone()),
        ("PATCH", format!("/v1/conversations/{shop}"), change.clone()),
    ] {
        let refused = world.ask(method, &path, ANNEX, body).await;
        assert_eq!((refused.status, refused.slug()), (404, "not-found"), "{method} {path}");
        let none = path.replace(&shop, "cnv_00000000000000000000000000");
        let unknown = world.get(&none.replace("/messages", "").replace("/events", ""), ANNEX).await;
        assert_eq!(unknown.json, refused.json, "what may not be seen looks like what is not there");
    }
    assert_eq!(world.ask("POST", &format!("/v1/conversations/{annex}/messages"), ANNEX, body).await.status, 202);
    assert_eq!(world.ask("PATCH", &format!("/v1/conversations/{annex}"), ANNEX, change).await.status, 200);
    let shown = world.get(&format!("/v1/conversations/{shop}/messages"), ADMIN).await.json;
    assert_eq!(shown["data"].as_array().unwrap().len(), 1, "nothing was said there");
}

#[tokio::test]
async fn a_token_held_to_no_channel_sees_no_conversation() {
    let world = World::new().await;
    world.write("shop", "order-77", "Hello").await;
    assert_eq!(world.get("/v1/conversations", NOWHERE).await.json, json!({"data": [], "next": null}));
}
