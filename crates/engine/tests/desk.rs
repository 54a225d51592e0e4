//! What people and programs do beside the agent's requests, and the stream they follow.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::{sync::Arc, time::Duration};

use frontdesk_engine::{
    Change, ConnectedChannel, DeskError, EngineOptions, FeedItem, Repeat, Replied, Reply, Speaker, parse_reply,
};
use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Received, Reply as Answer};
use serde_json::{Value, json};
use world::{Channel, World, soon};

async fn world() -> (FarEnd, World) {
    let agent = FarEnd::start(|_: &Received| Answer::status(202)).await;
    let world = World::new(Some(&agent.url()), Channel::new(Resend::SameKey, 1)).await;
    (agent, world)
}

fn mia() -> Speaker {
    Speaker::Teammate { name: "mia".into() }
}

fn reply(body: Value) -> Reply {
    parse_reply(body.to_string().as_bytes()).unwrap()
}

fn repeat(key: &str, by: &str, says: u8) -> Option<Repeat> {
    Some(Repeat { key: key.into(), by: by.into(), fingerprint: [says; 32] })
}

#[tokio::test]
async fn a_request_with_a_key_has_its_effects_once_and_its_first_answer_again() {
    let (_agent, world) = world().await;
    let id = world.write("t", "1", "hello").await.conversation;
    let say = || reply(json!({"text": "it ships today"}));
    let first = world.desk.reply(id, say(), Speaker::Agent, repeat("k", "bot", 1)).await.unwrap();
    world.write("t", "2", "meanwhile").await;
    let again = world.desk.reply(id, say(), Speaker::Agent, repeat("k", "bot", 1)).await.unwrap();
    assert_eq!(again, Replied { repeated: true, ..first.clone() });
    assert_eq!(
        world.desk.reply(id, say(), Speaker::Agent, repeat("k", "bot", 2)).await,
        Err(DeskError::KeyReused),
        "another body"
    );
    let other = world.desk.reply(id, say(), Speaker::Agent, repeat("k", "another caller", 1)).await.unwrap();
    assert_ne!(other.messages, first.messages, "keys of two callers never meet");
    assert_eq!(world.channel.sends(2).await.len(), 2);
}

#[tokio::test]
async fn a_key_is_remembered_over_a_crash_and_for_a_day() {
    let (_agent, world) = world().await;
    let id = world.write("t", "1", "hello").await.conversation;
    let say = || reply(json!({"text": "it ships today"}));
    let first = world.desk.reply(id, say(), mia(), repeat("k", "desk", 1)).await.unwrap();
    let world = world.crash_and_restart().await;
    world.clock.advance(Duration::from_secs(23 * 3600));
    let again = world.desk.reply(id, say(), mia(), repeat("k", "desk", 1)).await.unwrap();
    assert_eq!((again.repeated, again.messages), (true, first.messages));
}

#[tokio::test]
async fn two_requests_with_one_key_at_the_same_time_have_one_effect() {
    let (_agent, world) = world().await;
    let id = world.write("t", "1", "hello").await.conversation;
    let say = || world.desk.reply(id, reply(json!({"text": "once"})), Speaker::Agent, repeat("k", "bot", 1));
    let (a, b, c) = tokio::join!(say(), say(), say());
    let answers = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
    assert!(answers.iter().all(|answer| answer.messages == answers[0].messages));
    assert_eq!(world.messages(id).await.len(), 2);
}

#[tokio::test]
async fn a_note_is_seen_by_our_side_only_and_takes_nothing_over() {
    let (_agent, world) = world().await;
    let id = world.write("t", "1", "hello").await.conversation;
    let before = world.conversation(id).await;
    let note = reply(json!({"messages": [{"text": "a regular, be kind", "private": true}]}));
    let noted = world.desk.reply(id, note, mia(), None).await.unwrap();
    assert_eq!(noted.messages[0].status, None);
    let after = world.conversation(id).await;
    assert_eq!((after.owner, after.version), (Owner::Agent, before.version));
    assert_eq!(after.unanswered_from, before.unanswered_from, "a note answers nobody");
    let said = reply(json!({"messages": [{"text": "hello!"}, {"text": "for us", "private": true}]}));
    world.desk.reply(id, said, Speaker::Agent, None).await.unwrap();
    world.until_status(id, 2, DeliveryStatus::Sent).await;
    let sent = world.channel.sent();
    assert_eq!(sent.iter().map(|sending| sending.text.as_str()).collect::<Vec<_>>(), ["hello!/0"]);
    let messages = world.messages(id).await;
    let private: Vec<bool> = messages.iter().map(|row| row.message.private).collect();
    assert_eq!(private, [false, true, false, true]);
}

#[tokio::test]
async fn a_contact_is_answered_where_they_wrote_last() {
    let (_agent, world) = world().await;
    let first = world.write("one", "1", "hello").await.conversation;
    world.clock.advance(Duration::from_secs(60));
    let second = world.write("two", "2", "hello again").await.conversation;
    assert_ne!(first, second);
    let contact = world.conversation(first).await.participants[0];
    assert_eq!(world.conversation(second).await.participants, [contact], "one person");
    let say = reply(json!({"text": "there you are"}));
    let said = world.desk.reply_to_contact(contact, say.clone(), mia(), repeat("k", "desk", 1), None).await.unwrap();
    assert_eq!(said.conversation_id, second);
    world.clock.advance(Duration::from_secs(60));
    world.write("one", "3", "and here").await;
    let again = world.desk.reply_to_contact(contact, say.clone(), mia(), repeat("k", "desk", 1), None).await.unwrap();
    assert_eq!((again.conversation_id, again.repeated), (second, true), "a repeat stays where it went");
    let elsewhere = ["annex".parse().unwrap()];
    let refused = world.desk.reply_to_contact(contact, say, mia(), None, Some(&elsewhere)).await;
    assert_eq!(refused, Err(DeskError::NotFound("contact")));
}

#[tokio::test]
async fn assignee_and_snooze_move_no_version_unless_the_status_changes() {
    let (_agent, world) = world().await;
    let id = world.write("t", "1", "hello").await.conversation;
    let version = world.conversation(id).await.version;
    let assign = Change { assignee: Some(Some("mia".into())), ..Change::default() };
    let assigned = world.desk.update(id, assign, &mia()).await.unwrap();
    assert_eq!((assigned.assignee.as_deref(), assigned.version), (Some("mia"), version));
    let nobody = Change { assignee: Some(None), ..Change::default() };
    assert_eq!(world.desk.update(id, nobody, &mia()).await.unwrap().assignee, None);
}

/// Reads the stream until it has so many items.
async fn read(world: &World, after: Option<String>, count: usize) -> Vec<FeedItem> {
    let mut feed = world.desk.changes(after, Vec::new()).await.unwrap();
    let mut items = Vec::new();
    while items.len() < count {
        items.extend(soon("items of the stream", feed.next()).await.unwrap().items);
    }
    items
}

fn seqs(items: &[FeedItem]) -> Vec<(String, u64)> {
    items
        .iter()
        .map(|item| {
            let data: Value = serde_json::from_str(&item.data).unwrap();
            (data["data"]["conversation"]["thread"].as_str().unwrap().to_owned(), data["data"]["seq"].as_u64().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn the_stream_goes_on_behind_any_item_without_gap_or_double_also_after_a_crash() {
    let (_agent, world) = world().await;
    let start = world.desk.changes(None, Vec::new()).await.unwrap().position().to_owned();
    for n in 0..30 {
        world.write(&format!("t{}", n % 3), &n.to_string(), "hello").await;
    }
    let whole = read(&world, Some(start.clone()), 30).await;
    let mut expected: Vec<_> = (0..30).map(|n| (format!("t{}", n % 3), n / 3 + 1)).collect();
    assert_eq!(seqs(&whole), expected);
    let world = world.crash_and_restart().await;
    for cut in [0, 1, 13, 29] {
        let rest = read(&world, Some(whole[cut].position.clone()), 29 - cut).await;
        assert_eq!(seqs(&rest), expected[cut + 1..]);
    }
    world.write("t0", "30", "and on").await;
    expected.push(("t0".into(), 11));
    assert_eq!(seqs(&read(&world, Some(start), 31).await), expected);
    assert!(matches!(world.desk.changes(Some("nonsense".into()), Vec::new()).await, Err(DeskError::Invalid(_))));
}

#[tokio::test]
async fn a_follower_hears_at_once_what_is_said_and_what_becomes_of_it() {
    let (_agent, world) = world().await;
    let mut feed = world.desk.changes(None, vec!["shop".parse().unwrap()]).await.unwrap();
    let id = world.write("t", "1", "hello").await.conversation;
    world.desk.reply(id, reply(json!({"text": "hi"})), mia(), None).await.unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        kinds.extend(soon("events", feed.next()).await.unwrap().items.into_iter().map(|item| item.kind));
    }
    assert_eq!(kinds, ["message.created", "message.created", "conversation.updated", "delivery.updated"]);
    let mut elsewhere = world.desk.changes(None, vec!["annex".parse().unwrap()]).await.unwrap();
    world.write("t", "2", "not for annex").await;
    let quiet = tokio::time::timeout(Duration::from_millis(200), elsewhere.next()).await;
    assert!(quiet.is_err(), "another channel's events");
}

fn options(world: &World, channel: Option<Arc<Channel>>, agent: &FarEnd) -> EngineOptions {
    let channels = channel.map(|adapter| ConnectedChannel {
        name: "shop".parse().unwrap(),
        kind: "webhook".parse().unwrap(),
        account: "shop".parse().unwrap(),
        adapter,
    });
    EngineOptions {
        files: None,
        exempt: Vec::new(),
        exempt_for_replies: Vec::new(),
        name: "here".into(),
        public_url: "https://desk.example.com".into(),
        agent: Some(world.agent_options(&agent.url())),
        channels: channels.into_iter().collect(),
        retention: None,
    }
}

#[tokio::test]
async fn what_waits_for_a_removed_channel_is_shown_and_goes_out_when_it_is_back() {
    let (agent, world) = world().await;
    let id = world.write("t", "1", "hello").await.conversation;
    world.engine.reconfigure(options(&world, None, &agent)).await.unwrap();
    world.desk.reply(id, reply(json!({"text": "hi"})), Speaker::Agent, None).await.unwrap();
    let shown = || async { serde_json::to_value(world.desk.status().await.unwrap()).unwrap() };
    world
        .until("it is parked and shown", || async {
            let status = shown().await;
            status["channels"][0]["state"] == "absent" && status["lanes"].to_string().contains(r#""parked":1"#)
        })
        .await;
    assert_eq!(shown().await["channels"][0]["waiting"], 1);
    assert!(world.channel.sent().is_empty());
    world.engine.reconfigure(options(&world, Some(Arc::clone(&world.channel)), &agent)).await.unwrap();
    assert_eq!(world.channel.sends(1).await[0].text, "hi/0");
}

#[tokio::test]
async fn another_agent_takes_over_at_once_and_what_the_old_one_has_in_hand_still_counts() {
    let old = FarEnd::start(|_: &Received| {
        Answer::json(200, json!({"text": "from the old one"})).after(Duration::from_millis(300))
    })
    .await;
    let new = FarEnd::start(|_: &Received| Answer::json(200, json!({"text": "from the new one"}))).await;
    let world = World::new(Some(&old.url()), Channel::new(Resend::SameKey, 1)).await;
    world.write("a", "1", "hello").await;
    old.wait_for(1).await;
    world.engine.reconfigure(options(&world, Some(Arc::clone(&world.channel)), &new)).await.unwrap();
    world.write("b", "1", "hello").await;
    let sent = world.channel.sends(2).await;
    let texts: Vec<&str> = sent.iter().map(|sending| sending.text.as_str()).collect();
    assert_eq!(texts, ["from the new one/0", "from the old one/0"]);
    assert_eq!((old.requests().len(), new.requests().len()), (1, 1), "nobody is asked twice");
}
