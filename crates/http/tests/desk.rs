//! What teammates do beside replying: notes, assignees, sleep; and what an operator does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};
use world::{ADMIN, AGENT, ANNEX, Client, DESK, World, soon, steady};

#[tokio::test]
async fn a_note_is_seen_by_our_side_and_sent_to_nobody() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}/messages");
    let note = Some(json!({"messages": [{"text": "She is a regular.", "private": true}]}));
    let noted = world.ask("POST", &path, DESK, note).await;
    assert_eq!((noted.status, &noted.json["messages"][0]["status"]), (202, &Value::Null), "{noted:?}");
    let listed = world.get(&path, AGENT).await.json;
    assert_eq!(listed["data"][0]["private"], true);
    assert_eq!(listed["data"][0].get("status"), None);
    insta::assert_json_snapshot!("note", steady(&listed["data"][0]));
    assert_eq!(
        world.ask("POST", &path, ADMIN, Some(json!({"messages": [{"text": "x", "private": true}]}))).await.status,
        202
    );
}

#[tokio::test]
async fn a_note_needs_the_desk() {
    let agent = FarEnd::start(|_| Reply::status(202)).await;
    let world = World::with_agent(&agent.url()).await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let event: Value = serde_json::from_slice(&agent.wait_for(1).await[0].body).unwrap();
    let token = event["data"]["reply_token"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}/messages");
    for token in [AGENT, token] {
        let note = Some(json!({"messages": [{"text": "Hello"}, {"text": "She is a regular.", "private": true}]}));
        let refused = world.ask("POST", &path, token, note).await;
        assert_eq!((refused.status, refused.slug()), (403, "forbidden"));
        assert!(refused.detail().contains("scope desk or admin"), "{refused:?}");
    }
    assert_eq!(world.get(&path, ADMIN).await.json["data"].as_array().unwrap().len(), 1, "nothing of it was said");
}

#[tokio::test]
async fn a_conversation_is_assigned_and_found_by_its_assignee() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    world.write("shop", "order-78", "Hello").await;
    let path = format!("/v1/conversations/{id}");
    let changed = world.ask("PATCH", &path, DESK, Some(json!({"assignee": "Mia"}))).await;
    assert_eq!((changed.status, &changed.json["assignee"]), (200, &json!("Mia")));
    let found = world.get("/v1/conversations?assignee=Mia", DESK).await.json;
    assert_eq!((found["data"].as_array().unwrap().len(), &found["data"][0]["id"]), (1, &json!(id)));
    assert_eq!(world.get("/v1/conversations?assignee=Ben", DESK).await.json["data"], json!([]));
    let freed = world.ask("PATCH", &path, DESK, Some(json!({"assignee": null}))).await;
    assert_eq!(freed.json["assignee"], Value::Null);
}

#[tokio::test]
async fn conversations_are_found_by_their_owner() {
    let world = World::new().await;
    let agents = world.write_to_agent("order-77").await;
    let desks = world.write("shop", "order-78", "Hello").await;
    for (owner, id) in [("agent", agents), ("desk", desks)] {
        let found = world.get(&format!("/v1/conversations?owner={owner}"), DESK).await.json;
        assert_eq!((found["data"].as_array().unwrap().len(), &found["data"][0]["id"]), (1, &json!(id)));
    }
}

#[tokio::test]
async fn a_conversation_sleeps_until_a_moment_that_may_be() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}");
    for (bad, mend) in [
        (json!("2026-01-05T10:00:00Z"), "in the future"),
        (json!("2999-01-05T10:00:00Z"), "a year"),
        (json!("tomorrow"), "RFC 3339"),
        (json!(7), "RFC 3339"),
    ] {
        let refused = world.ask("PATCH", &path, DESK, Some(json!({"snoozed_until": bad}))).await;
        assert_eq!((refused.status, refused.slug()), (422, "invalid-request"), "{bad}");
        assert!(refused.detail().contains(mend), "{refused:?}");
    }
    let tomorrow = frontdesk_model::Timestamp::from_millis(world::now_millis() + 86_400_000).to_string();
    let asleep = world.ask("PATCH", &path, DESK, Some(json!({"snoozed_until": tomorrow}))).await;
    assert_eq!((asleep.status, &asleep.json["snoozed_until"]), (200, &json!(tomorrow)), "{asleep:?}");
    let awake = world.ask("PATCH", &path, DESK, Some(json!({"snoozed_until": null}))).await;
    assert_eq!(awake.json["snoozed_until"], Value::Null);
}

#[tokio::test]
async fn t45_the_status_is_for_admins_and_for_the_administrators_listener() {
    let world = World::new().await;
    for token in [AGENT, DESK] {
        assert_eq!(world.get("/v1/status", token).await.slug(), "forbidden");
    }
    assert_eq!(world.get("/v1/status", "").await.slug(), "unauthorized");
    let held = world.get("/v1/status", ANNEX).await;
    assert_eq!(held.slug(), "forbidden");
    assert!(held.detail().contains("not held to channels"), "{held:?}");
    let status = world.get("/v1/status", ADMIN).await;
    assert_eq!(status.status, 200);
    assert_eq!(status.json["channels"].as_array().unwrap().len(), 2);
    let watched = Client::connect(world.admin().await).await.ask("GET", "/v1/status", "", None).await;
    assert_eq!((watched.status, &watched.json["channels"]), (200, &status.json["channels"]));
}

#[tokio::test]
async fn an_agent_that_wanted_no_more_is_resumed() {
    let agent = FarEnd::start(|_| Reply::status(410)).await;
    let world = World::with_agent(&agent.url()).await;
    world.write("shop", "order-77", "Where is my order?").await;
    agent.wait_for(1).await;
    let state = || async { world.get("/v1/status", ADMIN).await.json["agent"]["state"].clone() };
    soon("the agent's stop is known", async {
        while state().await != "stopped" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let resumed = world.ask("POST", "/v1/agent/resume", ADMIN, None).await;
    assert_eq!((resumed.status, resumed.text.as_str()), (204, ""));
    agent.wait_for(2).await;
    assert_eq!(world.ask("POST", "/v1/agent/resume", ANNEX, None).await.slug(), "forbidden");
}

#[tokio::test]
async fn what_is_not_there_cannot_be_resumed() {
    let world = World::new().await;
    let agent = world.ask("POST", "/v1/agent/resume", ADMIN, None).await;
    assert_eq!((agent.status, agent.slug()), (404, "not-found"));
    assert!(agent.detail().contains("[agent]"), "{agent:?}");
    for (channel, token) in [("elsewhere", ADMIN), ("shop", ANNEX), ("Not-A-Name", ADMIN), ("%ff", ADMIN)] {
        let refused = world.ask("POST", &format!("/v1/channels/{channel}/resume"), token, None).await;
        assert_eq!((refused.status, refused.slug()), (404, "unknown-channel"), "{channel}");
    }
    for (channel, token) in [("shop", ADMIN), ("annex", ANNEX)] {
        assert_eq!(world.ask("POST", &format!("/v1/channels/{channel}/resume"), token, None).await.status, 204);
    }
}
