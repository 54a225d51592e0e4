//! Moments: snoozes that end, answers that do not come in time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::time::Duration;

use frontdesk_engine::{AgentOptions, Change, Speaker, parse_reply};
use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use serde_json::json;
use world::{Channel, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn world(agent: &FarEnd, change: impl FnMut(&mut AgentOptions)) -> World {
    World::with(Some(&agent.url()), Channel::new(Resend::SameKey, 1), change).await
}

fn mia() -> Speaker {
    Speaker::Teammate { name: "mia".into() }
}

#[tokio::test]
async fn a_snoozed_conversation_waits_and_opens_again_at_its_moment() {
    let agent = FarEnd::start(|_: &Received| {
        Reply::json(
            200,
            json!({"text": "I will be back", "actions": [{"type": "snooze", "until": "2026-01-05T11:00:00Z"}]}),
        )
    })
    .await;
    let world = world(&agent, |_| {}).await;
    let accepted = world.write("t", "1", "hello").await;
    world.channel.sends(1).await;
    let asleep = world.conversation(accepted.conversation).await;
    assert_eq!(asleep.status, Status::Pending);
    assert_eq!(asleep.snoozed_until, Some("2026-01-05T11:00:00Z".parse().unwrap()));
    world
        .advance_until(MINUTE, "it is open", || async {
            world.conversation(accepted.conversation).await.status == Status::Open
        })
        .await;
    let awake = world.conversation(accepted.conversation).await;
    assert_eq!(awake.snoozed_until, None);
    assert!(world.clock.now() >= "2026-01-05T11:00:00Z".parse().unwrap(), "not before its moment");
    assert!(world.clock.now() < "2026-01-05T11:05:00Z".parse().unwrap(), "soon after its moment");
    assert_eq!(awake.version, asleep.version, "nobody did anything");
}

#[tokio::test]
async fn a_customer_who_writes_wakes_a_snoozed_conversation_and_the_moment_does_nothing_more() {
    let agent = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let world = world(&agent, |_| {}).await;
    let id = world.write("t", "1", "hello").await.conversation;
    agent.wait_for(1).await;
    let until = world.clock.now().plus(10 * MINUTE);
    let change = Change { snoozed_until: Some(Some(until)), ..Change::default() };
    assert_eq!(world.desk.update(id, change, &mia()).await.unwrap().status, Status::Pending);
    world.write("t", "2", "I forgot something").await;
    let awake = world.conversation(id).await;
    assert_eq!((awake.status, awake.snoozed_until), (Status::Open, None));
    agent.wait_for(2).await;
    let change = Change { status: Some(Status::Resolved), ..Change::default() };
    world.desk.update(id, change, &mia()).await.unwrap();
    world.advance_until(MINUTE, "long after", || async { world.clock.now() > until.plus(10 * MINUTE) }).await;
    assert_eq!(world.conversation(id).await.status, Status::Resolved, "the old moment means nothing");
}

#[tokio::test]
async fn a_snooze_into_the_past_or_beyond_a_year_is_refused() {
    let agent = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let world = world(&agent, |_| {}).await;
    let id = world.write("t", "1", "hello").await.conversation;
    for until in ["2026-01-05T09:59:59Z", "2027-02-01T00:00:00Z"] {
        let body = json!({"actions": [{"type": "snooze", "until": until}]}).to_string();
        let reply = parse_reply(body.as_bytes()).unwrap();
        assert!(world.desk.reply(id, reply, mia(), None).await.is_err(), "{until}");
    }
    assert_eq!(world.conversation(id).await.snoozed_until, None);
}

#[tokio::test]
async fn a_conversation_without_an_answer_shows_up_at_the_desk_and_stays_the_agents() {
    let agent = FarEnd::start(|_: &Received| Reply::status(202)).await;
    let world = world(&agent, |agent| agent.fallback = Some(2 * MINUTE)).await;
    let id = world.write("t", "1", "hello").await.conversation;
    agent.wait_for(1).await;
    let start = world.clock.now();
    world.advance_until(5 * SECOND, "attention", || async { world.conversation(id).await.attention.is_some() }).await;
    let took = world.clock.now().since(start);
    assert!(took >= 2 * MINUTE && took < 2 * MINUTE + 30 * SECOND, "{took:?}");
    let shown = world.conversation(id).await;
    assert_eq!((shown.attention, shown.owner), (Some(Attention::Fallback), Owner::Agent));
    let late = parse_reply(br#"{"text": "sorry, here it is"}"#).unwrap();
    world.desk.reply(id, late, Speaker::Agent, None).await.unwrap();
    assert_eq!(world.conversation(id).await.attention, None, "answered after all");
}

#[tokio::test]
async fn an_empty_answer_is_an_answer_and_nothing_falls_back() {
    let agent = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let world = world(&agent, |agent| agent.fallback = Some(2 * MINUTE)).await;
    let id = world.write("t", "1", "thanks!").await.conversation;
    world.until("it is answered", || async { world.conversation(id).await.unanswered_from.is_none() }).await;
    let start = world.clock.now();
    world.advance_until(20 * SECOND, "ten minutes", || async { world.clock.now().since(start) > 10 * MINUTE }).await;
    assert_eq!(world.conversation(id).await.attention, None);
}

#[tokio::test]
async fn a_burst_goes_out_as_one_event_after_a_moment_of_quiet() {
    let agent = FarEnd::start(|_: &Received| Reply::json(200, json!({"text": "all of it"}))).await;
    let world = world(&agent, |agent| agent.coalesce = 3 * SECOND).await;
    let id = world.write("t", "1", "hello").await.conversation;
    world.write("t", "2", "I have a question").await;
    world.write("t", "3", "about my order").await;
    world.advance_until(SECOND, "one request", || async { !agent.requests().is_empty() }).await;
    world.channel.sends(1).await;
    let request: serde_json::Value = serde_json::from_slice(&agent.requests()[0].body).unwrap();
    assert_eq!(request["data"]["message"]["text"], "about my order");
    let coalesced: Vec<_> =
        request["data"]["coalesced"].as_array().unwrap().iter().map(|m| m["text"].clone()).collect();
    assert_eq!(coalesced, ["hello", "I have a question"]);
    assert_eq!(request["data"]["history"], json!([]));
    assert_eq!(request["data"]["seq"], 3);
    world.until_status(id, 3, DeliveryStatus::Sent).await;
    assert_eq!(world.conversation(id).await.unanswered_from, None);
    assert_eq!(agent.requests().len(), 1, "one answer for all");
}

#[tokio::test]
async fn a_retried_burst_carries_the_same_events_under_the_same_id() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let agent = FarEnd::start(move |_: &Received| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Reply::status(500),
        _ => Reply::json(200, json!({"text": "ok"})),
    })
    .await;
    let world = world(&agent, |agent| agent.coalesce = 2 * SECOND).await;
    let id = world.write("t", "1", "one").await.conversation;
    world.write("t", "2", "two").await;
    world.advance_until(SECOND, "a first try", || async { !agent.requests().is_empty() }).await;
    world.write("t", "3", "three").await;
    world.advance_until(SECOND, "a second try and the rest", || async { agent.requests().len() >= 3 }).await;
    let seen: Vec<serde_json::Value> =
        agent.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert_eq!(seen[0]["id"], seen[1]["id"]);
    assert_eq!(seen[1]["data"]["coalesced"].as_array().unwrap().len(), 1);
    assert_eq!(seen[1]["data"]["message"]["text"], "two");
    assert_eq!(seen[2]["data"]["message"]["text"], "three");
    assert_eq!(seen[2]["data"]["coalesced"], json!([]));
    world.until_status(id, 3, DeliveryStatus::Sent).await;
}

#[tokio::test]
async fn a_burst_without_end_goes_out_after_five_spans() {
    let agent = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let world = world(&agent, |agent| agent.coalesce = 2 * SECOND).await;
    let start = world.clock.now();
    let mut n = 0;
    while agent.requests().is_empty() {
        n += 1;
        assert!(n < 60, "it is never asked");
        world.write("t", &n.to_string(), "and another thing").await;
        let now = world.clock.now();
        world.advance_until(SECOND / 4, "a second", || async { world.clock.now().since(now) >= SECOND }).await;
    }
    let took = world.clock.now().since(start);
    assert!(took >= 8 * SECOND && took <= 16 * SECOND, "{took:?}");
}

#[tokio::test]
async fn a_reply_to_what_was_asked_before_the_customer_wrote_on_is_stale() {
    let agent = FarEnd::start(|request: &Received| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        Reply::json(200, json!({"if_version": body["data"]["conversation"]["version"], "text": "re"}))
            .after(Duration::from_millis(150))
    })
    .await;
    let world = world(&agent, |_| {}).await;
    let id = world.write("t", "1", "one").await.conversation;
    agent.wait_for(1).await;
    world.write("t", "2", "two").await;
    world.write("t", "3", "three").await;
    agent.wait_for(3).await;
    world.channel.sends(1).await;
    world.until("all are answered", || async { world.conversation(id).await.unanswered_from.is_none() }).await;
    let said: Vec<_> = world.messages(id).await.into_iter().filter_map(|row| row.status).collect();
    assert_eq!(said[0], DeliveryStatus::Discarded, "two and three came meanwhile");
    assert_ne!(said[1], DeliveryStatus::Discarded, "at most one in a row");
}
