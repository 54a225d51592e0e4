//! What leaves the store: what is too old, and people who want to be forgotten.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::time::Duration;

use frontdesk_engine::{DeskError, Erasure};
use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use serde_json::json;
use world::{Channel, RETENTION, World};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn answered(world: &World, thread: &str, id: &str) -> ConversationId {
    let id = world.write(thread, id, "Where is my order?").await.conversation;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    id
}

async fn echoing() -> (FarEnd, World) {
    let agent = FarEnd::start(|_: &Received| Reply::json(200, json!({"text": "It ships today."}))).await;
    let world = World::new(Some(&agent.url()), Channel::new(Resend::SameKey, 1)).await;
    (agent, world)
}

#[tokio::test]
async fn what_is_older_than_the_retention_goes_and_what_is_younger_stays() {
    let (_agent, world) = echoing().await;
    let old = answered(&world, "old", "1").await;
    world.clock.advance(RETENTION - 3 * HOUR);
    let young = answered(&world, "young", "1").await;
    assert!(world.store.conversation(old).await.unwrap().is_some());
    world
        .advance_until(HOUR, "the old one is gone", || async { world.store.conversation(old).await.unwrap().is_none() })
        .await;
    assert!(world.clock.now() >= Timestamp::from_millis(1_767_607_200_000).plus(RETENTION), "not before its time");
    assert_eq!(world.messages(young).await.len(), 2);
    let anew = answered(&world, "old", "2").await;
    assert_ne!(anew, old);
}

#[tokio::test]
async fn an_erased_contact_is_gone_and_the_channel_goes_on() {
    let (agent, world) = echoing().await;
    let id = answered(&world, "t", "1").await;
    let contact = world.conversation(id).await.participants[0];
    assert_eq!(world.desk.erase_contact(contact).await.unwrap(), Erasure::Done);
    assert_eq!(world.desk.erase_contact(contact).await, Err(DeskError::NotFound("contact")));
    assert!(world.messages(id).await.is_empty());
    let anew = answered(&world, "t", "2").await;
    assert_ne!(anew, id);
    assert_eq!(agent.count(), 2);
    assert_eq!(world.messages(anew).await.len(), 2, "nothing of before is among them");
}

#[tokio::test]
async fn an_erasure_that_was_begun_is_carried_on_by_the_next_daemon() {
    let (_agent, world) = echoing().await;
    let id = answered(&world, "t", "1").await;
    let contact = world.conversation(id).await.participants[0];
    let step = Erase { contact, known_for_millis: 0, events: 1 };
    assert_eq!(world.store.erase(step).await.unwrap(), Erased::More);
    let world = world.crash_and_restart().await;
    world
        .advance_until(Duration::from_secs(1), "the erasure is done", || async {
            world.store.erasures().await.unwrap().is_empty()
        })
        .await;
    assert!(world.messages(id).await.is_empty());
    assert_eq!(world.desk.contact(contact).await, Err(DeskError::NotFound("contact")));
}
