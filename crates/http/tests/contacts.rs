//! The people on the other side: read, written to, and kept from whom they are not for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::time::Duration;

use serde_json::json;
use world::{ADMIN, AGENT, ANNEX, DESK, NOWHERE, World, soon, steady};

/// Who wrote in this conversation.
async fn contact(world: &World, conversation: &str) -> String {
    let messages = world.get(&format!("/v1/conversations/{conversation}/messages"), ADMIN).await.json;
    messages["data"].as_array().unwrap().last().unwrap()["author"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_contact_is_read_as_it_is() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Hello").await;
    let contact = contact(&world, &id).await;
    let read = world.get(&format!("/v1/contacts/{contact}"), AGENT).await;
    assert_eq!((read.status, &read.json["id"]), (200, &json!(contact)));
    insta::assert_json_snapshot!("contact", steady(&read.json));
    let nobody = world.get("/v1/contacts/cnt_00000000000000000000000000", AGENT).await;
    assert_eq!((nobody.status, nobody.slug()), (404, "not-found"));
    assert_eq!(world.get("/v1/contacts/ada", AGENT).await.slug(), "not-found");
}

#[tokio::test]
async fn a_reply_to_a_contact_goes_to_the_conversation_that_was_last_alive() {
    let world = World::new().await;
    let older = world.write("shop", "order-77", "Hello").await;
    let newer = world.write("shop", "order-78", "Hello").await;
    let path = format!("/v1/contacts/{}/messages", contact(&world, &older).await);
    let body = json!({"text": "How can we help?"});
    let said = world.say_once(&path, DESK, "one", body.clone()).await;
    assert_eq!((said.status, &said.json["conversation_id"]), (202, &json!(newer)));
    insta::assert_json_snapshot!("replied_to_contact", steady(&said.json));
    // A conversation lives on while its reply is on the way.
    let messages = format!("/v1/conversations/{newer}/messages");
    soon("the reply is out", async {
        while world.get(&messages, DESK).await.json["data"][0]["status"] != "sent" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    world.write("shop", "order-77", "And this?").await;
    let repeated = world.say_once(&path, DESK, "one", body.clone()).await;
    assert_eq!(repeated.json, said.json, "a repeat does not wander");
    assert_eq!(repeated.header("idempotent-replayed"), Some("true"));
    let next = world.ask("POST", &path, DESK, Some(body)).await;
    assert_eq!(next.json["conversation_id"], json!(older));
}

#[tokio::test]
async fn a_token_held_to_channels_reaches_a_contact_on_these_only() {
    let world = World::new().await;
    let shop = world.write("shop", "order-77", "Hello").await;
    let shopper = contact(&world, &shop).await;
    let annex = world.write("annex", "order-78", "Hello").await;
    let annexer = contact(&world, &annex).await;
    let body = || Some(json!({"text": "Hello"}));
    for (token, contact) in [(ANNEX, &shopper), (NOWHERE, &shopper), (NOWHERE, &annexer)] {
        let path = format!("/v1/contacts/{contact}");
        let refused = world.get(&path, token).await;
        assert_eq!((refused.status, refused.slug()), (404, "not-found"), "{token}");
        let refused = world.ask("POST", &format!("{path}/messages"), token, body()).await;
        assert_eq!((refused.status, refused.slug()), (404, "not-found"), "{token}");
    }
    let path = format!("/v1/contacts/{annexer}");
    assert_eq!(world.get(&path, ANNEX).await.status, 200);
    let said = world.ask("POST", &format!("{path}/messages"), ANNEX, body()).await;
    assert_eq!((said.status, &said.json["conversation_id"]), (202, &json!(annex)));
    let listed = world.get(&format!("/v1/conversations/{shop}/messages"), ADMIN).await.json;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "nothing was said there");
}

#[tokio::test]
async fn conversations_are_found_by_their_contact() {
    let world = World::new().await;
    let shop = world.write("shop", "order-77", "Hello").await;
    world.write("annex", "order-78", "Hello").await;
    let path = format!("/v1/conversations?contact={}", contact(&world, &shop).await);
    let listed = world.get(&path, DESK).await.json;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "an account of its own has contacts of its own");
    assert_eq!(listed["data"][0]["id"], json!(shop));
    assert_eq!(world.get(&path, ANNEX).await.json["data"], json!([]));
}

#[tokio::test]
async fn an_erased_contact_leaves_bare_places_in_the_log() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "My card is 4111").await;
    let contact = contact(&world, &id).await;
    let path = format!("/v1/contacts/{contact}");
    for (token, slug) in [(AGENT, "forbidden"), (DESK, "forbidden"), (ANNEX, "forbidden")] {
        let refused = world.ask("DELETE", &path, token, None).await;
        assert_eq!((refused.status, refused.slug()), (403, slug), "{token}");
    }
    assert_eq!(world.ask("DELETE", &path, ADMIN, None).await.status, 204);
    let again = world.ask("DELETE", &path, ADMIN, None).await;
    assert_eq!((again.status, again.slug()), (404, "not-found"));
    assert_eq!(world.get(&path, ADMIN).await.status, 404);
    let events = world.get(&format!("/v1/conversations/{id}/events"), ADMIN).await;
    assert!(!events.json.to_string().contains("4111"), "{}", events.json);
    let first = &events.json["data"][0];
    assert_eq!((&first["type"], &first["seq"]), (&json!("message.deleted"), &json!(1)));
    assert!(first["data"]["deleted"]["message_id"].as_str().unwrap().starts_with("msg_"));
    let left = world.get(&format!("/v1/conversations/{id}"), ADMIN).await.json;
    assert_eq!(left["status"], "resolved");
    let messages = world.get(&format!("/v1/conversations/{id}/messages"), ADMIN).await.json;
    assert_eq!(messages["data"], json!([]));
}
