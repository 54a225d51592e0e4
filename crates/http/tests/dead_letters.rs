//! Work that was given up, as an operator's token sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::time::Duration;

use serde_json::json;
use world::{ADMIN, AGENT, ANNEX, DESK, World, soon, steady};

#[tokio::test]
async fn a_dead_letter_is_listed_and_replayed() {
    let world = World::new().await;
    let letter = world.dead_letter("shop", "order-77").await;
    let listed = world.get("/v1/dead-letters", ADMIN).await;
    assert_eq!(listed.json, json!({"data": [letter], "next": null}));
    insta::assert_json_snapshot!("dead_letters", steady(&listed.json));
    world.booth.forgive();
    let path = format!("/v1/dead-letters/{}/replay", letter["id"].as_str().unwrap());
    let replayed = world.ask("POST", &path, ADMIN, None).await;
    assert_eq!((replayed.status, replayed.json), (202, json!({"id": letter["id"]})));
    let messages = format!("/v1/conversations/{}/messages", letter["conversation_id"].as_str().unwrap());
    soon("the message goes out", async {
        while world.get(&messages, ADMIN).await.json["data"][0]["status"] != "sent" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(world.get("/v1/dead-letters", ADMIN).await.json, json!({"data": [], "next": null}));
    assert_eq!(world.ask("POST", &path, ADMIN, None).await.slug(), "not-found", "it is gone");
}

#[tokio::test]
async fn a_dropped_dead_letter_is_gone() {
    let world = World::new().await;
    let letter = world.dead_letter("shop", "order-77").await;
    let path = format!("/v1/dead-letters/{}", letter["id"].as_str().unwrap());
    let dropped = world.ask("DELETE", &path, ADMIN, None).await;
    assert_eq!((dropped.status, dropped.text.as_str()), (204, ""));
    assert_eq!(world.get("/v1/dead-letters", ADMIN).await.json, json!({"data": [], "next": null}));
    assert_eq!(world.ask("DELETE", &path, ADMIN, None).await.slug(), "not-found");
}

#[tokio::test]
async fn dead_letters_are_for_admins_and_a_token_held_to_channels_sees_its_own() {
    let world = World::new().await;
    let shop = world.dead_letter("shop", "order-77").await;
    let annex = world.dead_letter("annex", "order-78").await;
    for token in [AGENT, DESK] {
        let refused = world.get("/v1/dead-letters", token).await;
        assert_eq!((refused.status, refused.slug()), (403, "forbidden"));
        assert!(refused.detail().contains("scope admin"), "{refused:?}");
    }
    assert_eq!(world.get("/v1/dead-letters", ANNEX).await.json["data"], json!([annex]));
    for (method, end) in [("DELETE", ""), ("POST", "/replay")] {
        let path = format!("/v1/dead-letters/{}{end}", shop["id"].as_str().unwrap());
        assert_eq!(world.ask(method, &path, ANNEX, None).await.slug(), "forbidden", "{method}");
    }
    assert_eq!(world.get("/v1/dead-letters", ADMIN).await.json["data"], json!([annex, shop]));
}
