//! What becomes of an outbound message: every outcome that a channel can report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::{sync::Arc, time::Duration};

use frontdesk_engine::{DeskError, Speaker, parse_reply};
use frontdesk_model::*;
use world::{Channel, World};

const SECOND: Duration = Duration::from_secs(1);

/// No agent: teammates answer, and what they say is delivered.
async fn world(channel: &Arc<Channel>) -> World {
    World::new(None, Arc::clone(channel)).await
}

async fn say(world: &World, conversation: ConversationId, text: &str) -> MessageId {
    let reply = parse_reply(serde_json::json!({ "text": text }).to_string().as_bytes()).unwrap();
    let mia = Speaker::Teammate { name: "Mia".into() };
    world.desk.reply(conversation, reply, mia, None).await.unwrap().messages[0].id
}

fn retry(scope: Scope) -> Outcome {
    Outcome::RetryAfter { after: None, scope, reason: "it answered 503".into() }
}

fn texts(channel: &Channel) -> Vec<String> {
    channel.sent().into_iter().map(|sending| sending.text).collect()
}

#[tokio::test]
async fn parts_go_out_in_order_and_the_message_is_sent_with_the_last() {
    let channel = Channel::new(Resend::MayDouble, 3);
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    say(&world, id, "b").await;
    channel.sends(6).await;
    assert_eq!(texts(&channel), ["a/0", "a/1", "a/2", "b/0", "b/1", "b/2"]);
    world.until_status(id, 2, DeliveryStatus::Sent).await;
}

#[tokio::test]
async fn a_refused_part_cancels_the_rest_and_the_next_message_goes() {
    let channel = Channel::new(Resend::MayDouble, 3);
    channel.then(Outcome::Sent { external_id: None });
    channel.then(Outcome::Failed { scope: Scope::Message, reason: "it answered 400".into() });
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    say(&world, id, "b").await;
    channel.sends(5).await;
    assert_eq!(texts(&channel), ["a/0", "a/1", "b/0", "b/1", "b/2"]);
    world.until_status(id, 2, DeliveryStatus::Sent).await;
    assert_eq!(world.messages(id).await[1].status, Some(DeliveryStatus::Partial));
    let letters = world.dead_letters().await;
    assert_eq!((letters.len(), letters[0].lane), (1, Lane::Deliver));
    // Replayed, only what is not out is sent.
    world.desk.replay(letters[0].id).await.unwrap();
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    assert_eq!(texts(&channel)[5..], ["a/1", "a/2"]);
}

#[tokio::test]
async fn an_ambiguous_end_without_a_key_is_shown_and_never_repeated_while_the_rest_goes_on() {
    let channel = Channel::new(Resend::MayDouble, 2);
    channel.then(Outcome::Uncertain { reason: "the connection broke".into() });
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    channel.sends(2).await;
    world.until_status(id, 1, DeliveryStatus::Uncertain).await;
    assert_eq!(texts(&channel), ["a/0", "a/1"]);
}

#[tokio::test]
async fn an_ambiguous_end_under_a_known_key_is_repeated_under_that_key() {
    let channel = Channel::new(Resend::SameKey, 1);
    channel.then(Outcome::Uncertain { reason: "the connection broke".into() });
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    let message = say(&world, id, "a").await;
    channel.sends(1).await;
    world.advance_until(SECOND, "a second send", || async { channel.sent().len() == 2 }).await;
    assert!(channel.sent().iter().all(|sending| sending.message == message && sending.index == 0));
    world.until_status(id, 1, DeliveryStatus::Sent).await;
}

#[tokio::test]
async fn a_refusal_after_an_ambiguous_end_is_not_called_failed() {
    let channel = Channel::new(Resend::SameKey, 1);
    channel.then(Outcome::Uncertain { reason: "the connection broke".into() });
    channel.then(Outcome::Failed { scope: Scope::Message, reason: "it answered 409".into() });
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    channel.sends(1).await;
    world.advance_until(SECOND, "a second send", || async { channel.sent().len() == 2 }).await;
    world.until_status(id, 1, DeliveryStatus::Uncertain).await;
}

#[tokio::test]
async fn a_kill_during_a_send_without_a_key_leaves_it_uncertain() {
    let channel = Channel::new(Resend::MayDouble, 2);
    channel.then_hang();
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    channel.sends(1).await;
    let world = world.crash_and_restart().await;
    world.until_status(id, 1, DeliveryStatus::Uncertain).await;
    assert_eq!(texts(&channel), ["a/0", "a/1"], "the part in flight is not repeated, the rest goes on");
}

#[tokio::test]
async fn a_kill_during_a_send_under_a_known_key_repeats_it_under_that_key() {
    let channel = Channel::new(Resend::SameKey, 1);
    channel.then_hang();
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    let message = say(&world, id, "a").await;
    channel.sends(1).await;
    let world = world.crash_and_restart().await;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    assert_eq!(channel.sent().len(), 2);
    assert!(channel.sent().iter().all(|sending| sending.message == message));
}

#[tokio::test]
async fn an_unwell_channel_is_tried_along_the_ladder_for_more_than_a_day_and_then_shown() {
    let channel = Channel::new(Resend::SameKey, 1);
    for _ in 0..200 {
        channel.then(retry(Scope::Channel));
    }
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    let start = world.clock.now();
    world.advance_until(25 * SECOND, "the ladder's end", || async { !world.dead_letters().await.is_empty() }).await;
    let lasted = world.clock.now().since(start);
    assert!(lasted > Duration::from_secs(27 * 3600), "ended after {lasted:?}");
    assert_eq!(channel.sent().len(), 8, "the first try and one per rung");
    assert_eq!(world.messages(id).await[1].status, Some(DeliveryStatus::Failed));
}

#[tokio::test]
async fn beside_others_that_are_served_a_message_gets_three_tries() {
    let channel = Channel::new(Resend::SameKey, 1);
    let world = world(&channel).await;
    let bad = world.write("bad", "1", "hello").await.conversation;
    let good = world.write("good", "1", "hello").await.conversation;
    for round in 0..3 {
        channel.then(retry(Scope::Message));
        if round == 0 {
            say(&world, bad, "a").await;
        }
        let sends = channel.sent().len();
        world.advance_until(10 * SECOND, "the next try", || async { channel.sent().len() > sends }).await;
        assert_eq!(channel.sent().last().unwrap().text, "a/0");
        let served = say(&world, good, "b").await;
        world
            .until("the other is served", || async {
                world
                    .messages(good)
                    .await
                    .iter()
                    .any(|row| row.message.id == served && row.status == Some(DeliveryStatus::Sent))
            })
            .await;
    }
    world.until("it is given up", || async { !world.dead_letters().await.is_empty() }).await;
    assert_eq!(texts(&channel).iter().filter(|text| *text == "a/0").count(), 3);
    assert_eq!(world.messages(bad).await[1].status, Some(DeliveryStatus::Failed));
}

#[tokio::test]
async fn a_pause_that_the_channel_asks_for_is_kept() {
    let channel = Channel::new(Resend::SameKey, 1);
    let pause = Duration::from_secs(90);
    channel.then(Outcome::RetryAfter { after: Some(pause), scope: Scope::Channel, reason: "it answered 429".into() });
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    let other = world.write("u", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    channel.sends(1).await;
    let start = world.clock.now();
    say(&world, other, "b").await;
    world.advance_until(SECOND, "both are sent", || async { channel.sent().len() == 3 }).await;
    assert!(world.clock.now().since(start) >= pause, "after {:?}", world.clock.now().since(start));
}

#[tokio::test]
async fn a_channel_that_wants_nothing_more_gets_nothing_until_the_next_start() {
    let channel = Channel::new(Resend::SameKey, 1);
    channel.then(Outcome::Failed { scope: Scope::Channel, reason: "it answered 410".into() });
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    say(&world, id, "a").await;
    channel.sends(1).await;
    let start = world.clock.now();
    world
        .advance_until(60 * SECOND, "five hours", || async {
            world.clock.now().since(start) > Duration::from_secs(5 * 3600)
        })
        .await;
    assert_eq!(channel.sent().len(), 1);
    let world = world.crash_and_restart().await;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
}

#[tokio::test]
async fn a_stale_version_and_a_taken_over_conversation_refuse_a_posted_reply() {
    let channel = Channel::new(Resend::SameKey, 1);
    let world = world(&channel).await;
    let id = world.write("t", "1", "hello").await.conversation;
    let stale = parse_reply(br#"{"text": "a", "if_version": 7}"#).unwrap();
    let mia = Speaker::Teammate { name: "Mia".into() };
    let refused = world.desk.reply(id, stale, mia, None).await;
    assert_eq!(refused, Err(DeskError::VersionConflict { version: Version(1) }));
    let refused = world.desk.reply(id, parse_reply(br#"{"text": "a"}"#).unwrap(), Speaker::Agent, None).await;
    assert_eq!(refused, Err(DeskError::TakenOver { version: Version(1) }), "without an agent the desk owns it");
    assert_eq!(world.messages(id).await.len(), 1);
    assert!(channel.sent().is_empty());
}

#[tokio::test]
async fn what_the_platform_allows_is_kept_to_over_all_conversations_and_nobody_holds_a_claim_meanwhile() {
    let channel = Channel::new(Resend::MayDouble, 2);
    channel.allow(3, 10 * SECOND);
    let world = world(&channel).await;
    let mut conversations = Vec::new();
    for thread in ["s", "t"] {
        let id = world.write(thread, "1", "hello").await.conversation;
        say(&world, id, thread).await;
        conversations.push(id);
    }
    let began = world.clock.now();
    channel.sends(3).await;
    world
        .until("a conversation that waits", || async {
            let lanes = world.store.census().await.unwrap().lanes;
            let delivers = |row: &&LaneCensus| row.lane == Lane::Deliver;
            lanes.iter().filter(delivers).any(|row| (row.claimed, row.parked) == (0, 1))
        })
        .await;
    assert_eq!(channel.sent().len(), 3);
    world.advance_until(SECOND / 10, "the last part", || async { channel.sent().len() == 4 }).await;
    let took = world.clock.now().since(began);
    assert!((10 * SECOND..12 * SECOND).contains(&took), "{took:?}");
    for id in conversations {
        world.until_status(id, 1, DeliveryStatus::Sent).await;
    }
}
