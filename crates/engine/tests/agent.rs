//! What becomes of an event: every answer that the agent endpoint can give.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use frontdesk_engine::{Change, Speaker};
use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use serde_json::{Value, json};
use world::{Channel, World};

const SECOND: Duration = Duration::from_secs(1);

fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn said(request: &Received) -> String {
    body(request)["data"]["message"]["text"].as_str().unwrap().to_owned()
}

async fn world(agent: &FarEnd) -> World {
    World::new(Some(&agent.url()), Channel::new(Resend::SameKey, 1)).await
}

#[tokio::test]
async fn an_answer_is_delivered_once_and_recorded() {
    let agent =
        FarEnd::start(|request: &Received| Reply::json(200, json!({"markdown": format!("re: {}", said(request))})))
            .await;
    let world = world(&agent).await;
    let accepted = world.write("t", "1", "hello").await;
    let sent = world.channel.sends(1).await;
    assert_eq!(sent[0].text, "re: hello/0");
    world.until_status(accepted.conversation, 1, DeliveryStatus::Sent).await;
    let conversation = world.conversation(accepted.conversation).await;
    assert_eq!(conversation.unanswered_from, None);
    assert_eq!(conversation.version, Version(1), "the agent's own reply moves no version");
    assert_eq!(agent.requests().len(), 1);
}

#[tokio::test]
async fn the_event_has_the_form_that_agents_are_promised() {
    let agent = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let world = world(&agent).await;
    world.write("t", "1", "first").await;
    agent.wait_for(1).await;
    world.write("t", "2", "second").await;
    agent.wait_for(2).await;
    let request = &agent.requests()[1];
    assert_eq!(request.header("webhook-id"), body(request)["id"].as_str());
    let verifier = standardwebhooks::Webhook::new(world::SECRET).unwrap();
    let signed = verifier
        .sign(
            request.header("webhook-id").unwrap(),
            request.header("webhook-timestamp").unwrap().parse().unwrap(),
            &request.body,
        )
        .unwrap();
    assert_eq!(request.header("webhook-signature"), Some(signed.as_str()));
    insta::assert_json_snapshot!(body(request), {
        ".id" => "[event]",
        ".data.conversation.id" => "[conversation]",
        ".data.contact.id" => "[contact]",
        ".data.message.id" => "[message]",
        ".data.message.author.id" => "[contact]",
        ".data.history[].id" => "[message]",
        ".data.history[].author.id" => "[contact]",
        ".data.reply_url" => "[reply url]",
        ".data.reply_token" => "[reply token]",
    });
}

#[tokio::test]
async fn one_conversation_has_one_request_in_flight_and_strict_order() {
    let agent = FarEnd::start(|request: &Received| {
        Reply::json(200, json!({"text": said(request)})).after(Duration::from_millis(20))
    })
    .await;
    let world = world(&agent).await;
    for n in 0..10 {
        world.write("t", &n.to_string(), &n.to_string()).await;
    }
    let sent = world.channel.sends(10).await;
    let order: Vec<&str> = sent.iter().map(|sending| sending.text.trim_end_matches("/0")).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(agent.most_at_once(), 1);
}

#[tokio::test]
async fn an_unreachable_agent_costs_an_event_nothing_however_long_it_lasts() {
    let gone = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let url = gone.url();
    drop(gone);
    let world = World::new(Some(&url), Channel::new(Resend::SameKey, 1)).await;
    let accepted = world.write("t", "1", "hello").await;
    let start = world.clock.now();
    world
        .advance_until(30 * SECOND, "three hours", || async {
            world.clock.now().since(start) > Duration::from_secs(3 * 3600)
        })
        .await;
    assert!(world.dead_letters().await.is_empty());
    assert_eq!(world.conversation(accepted.conversation).await.attention, None);
}

#[tokio::test]
async fn an_event_that_alone_fails_becomes_a_dead_letter_and_the_conversation_goes_on() {
    let agent = FarEnd::start(|request: &Received| {
        if said(request) == "poison" { Reply::status(500) } else { Reply::json(200, json!({"text": "fine"})) }
    })
    .await;
    let world = world(&agent).await;
    let poisoned = world.write("bad", "1", "poison").await;
    let start = world.clock.now();
    let count = AtomicUsize::new(0);
    world
        .advance_until(SECOND, "a dead letter", || async {
            // Others are served all the while.
            let n = count.fetch_add(1, Ordering::Relaxed);
            if n.is_multiple_of(10) {
                world.write(&format!("good-{n}"), "1", "hello").await;
            }
            !world.dead_letters().await.is_empty()
        })
        .await;
    let took = world.clock.now().since(start);
    assert!(took >= 120 * SECOND && took <= 150 * SECOND, "the conversation behind it waited {took:?}");
    let letter = &world.dead_letters().await[0];
    assert_eq!((letter.conversation, letter.lane, letter.seq), (poisoned.conversation, Lane::Agent, Seq(1)));
    assert!(letter.attempts >= 5, "{} attempts", letter.attempts);
    let conversation = world.conversation(poisoned.conversation).await;
    assert_eq!(conversation.attention, Some(Attention::DeadLetter));
    let tries: Vec<Value> = agent
        .requests()
        .iter()
        .filter(|request| said(request) == "poison")
        .map(|request| body(request)["id"].clone())
        .collect();
    assert!(tries.iter().all(|id| *id == tries[0]), "the same event id on every attempt");
    world.write("bad", "2", "hello").await;
    world
        .until("the next message is answered", || async { world.messages(poisoned.conversation).await.len() == 3 })
        .await;
}

#[tokio::test]
async fn conversations_that_always_fail_do_not_keep_a_new_one_waiting() {
    let agent = FarEnd::start(|request: &Received| {
        if said(request) == "poison" { Reply::status(500) } else { Reply::json(200, json!({"text": "fine"})) }
    })
    .await;
    let world = world(&agent).await;
    for n in 0..7 {
        world.write(&format!("bad-{n}"), "1", "poison").await;
    }
    let start = world.clock.now();
    world
        .advance_until(5 * SECOND, "a quiet hour", || async {
            world.clock.now().since(start) > Duration::from_secs(3600)
        })
        .await;
    let written = world.clock.now();
    world.write("good", "1", "hello").await;
    world.advance_until(SECOND, "an answer", || async { world.channel.sent().len() == 1 }).await;
    let waited = world.clock.now().since(written);
    assert!(waited <= 20 * SECOND, "waited {waited:?}");
}

#[tokio::test]
async fn nothing_counts_against_events_while_the_agent_fails_on_all() {
    let well = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&well);
    let agent = FarEnd::start(move |_: &Received| {
        if switch.load(Ordering::SeqCst) { Reply::json(200, json!({"text": "fine"})) } else { Reply::status(503) }
    })
    .await;
    let world = world(&agent).await;
    let mut conversations = Vec::new();
    for n in 0..5 {
        conversations.push(world.write(&format!("t{n}"), "1", "hello").await.conversation);
    }
    let start = world.clock.now();
    world
        .advance_until(20 * SECOND, "two hours", || async {
            world.clock.now().since(start) > Duration::from_secs(2 * 3600)
        })
        .await;
    assert!(world.dead_letters().await.is_empty());
    well.store(true, Ordering::SeqCst);
    world.advance_until(20 * SECOND, "all are answered", || async { world.channel.sent().len() == 5 }).await;
}

#[tokio::test]
async fn a_refused_event_is_a_dead_letter_at_once_and_its_replay_is_answered() {
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&refuses);
    let agent = FarEnd::start(move |_: &Received| {
        if switch.load(Ordering::SeqCst) { Reply::status(422) } else { Reply::json(200, json!({"text": "fine"})) }
    })
    .await;
    let world = world(&agent).await;
    let accepted = world.write("t", "1", "hello").await;
    world.until("a dead letter", || async { world.dead_letters().await.len() == 1 }).await;
    assert_eq!(agent.requests().len(), 1);
    refuses.store(false, Ordering::SeqCst);
    world.desk.replay(world.dead_letters().await[0].id).await.unwrap();
    world.until_status(accepted.conversation, 1, DeliveryStatus::Sent).await;
    assert!(world.dead_letters().await.is_empty());
    assert_eq!(world.conversation(accepted.conversation).await.attention, None);
    let ids: Vec<_> = agent.requests().iter().map(|request| body(request)["id"].clone()).collect();
    assert_eq!(ids[0], ids[1], "the replay is the same event");
}

#[tokio::test]
async fn a_stale_reply_is_kept_discarded_and_the_next_event_says_so_once_in_a_row() {
    let (first_in, hold) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Semaphore::new(0)));
    let (seen, gate) = (Arc::clone(&first_in), Arc::clone(&hold));
    let agent = FarEnd::start_async(move |request: Received| {
        let (seen, gate) = (Arc::clone(&seen), Arc::clone(&gate));
        async move {
            seen.notify_one();
            gate.acquire().await.unwrap().forget();
            let version = body(&request)["data"]["conversation"]["version"].clone();
            Reply::json(200, json!({"if_version": version, "messages": [{"text": format!("re: {}", said(&request))}]}))
        }
    })
    .await;
    let world = world(&agent).await;
    let id = world.write("t", "1", "one").await.conversation;
    first_in.notified().await;
    world.write("t", "2", "two").await;
    hold.add_permits(1);
    first_in.notified().await;
    // Stale again, but the agent was just told of a discarded reply: this one is heard.
    world.write("t", "3", "three").await;
    hold.add_permits(2);
    let sent = world.channel.sends(2).await;
    assert_eq!(sent.iter().map(|sending| sending.text.as_str()).collect::<Vec<_>>(), ["re: two/0", "re: three/0"]);
    let messages = world.messages(id).await;
    let discarded: Vec<_> = messages.iter().filter(|row| row.status == Some(DeliveryStatus::Discarded)).collect();
    assert_eq!(discarded.len(), 1);
    let told: Vec<Value> = agent.requests().iter().map(|request| body(request)["data"]["discarded"].clone()).collect();
    assert_eq!(told, [Value::Null, json!([discarded[0].message.id.to_string()]), Value::Null]);
}

#[tokio::test]
async fn a_reply_after_a_take_over_is_discarded_but_its_handoff_holds() {
    let (seen, gate) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Semaphore::new(0)));
    let (signal, hold) = (Arc::clone(&seen), Arc::clone(&gate));
    let agent = FarEnd::start_async(move |_: Received| {
        let (signal, hold) = (Arc::clone(&signal), Arc::clone(&hold));
        async move {
            signal.notify_one();
            hold.acquire().await.unwrap().forget();
            Reply::json(200, json!({"text": "too late", "actions": [{"type": "handoff", "reason": "refund"}]}))
        }
    })
    .await;
    let world = world(&agent).await;
    let id = world.write("t", "1", "one").await.conversation;
    seen.notified().await;
    let mia = Speaker::Teammate { name: "Mia".into() };
    let reply = frontdesk_engine::parse_reply(br#"{"text": "Mia here"}"#).unwrap();
    world.desk.reply(id, reply, mia, None).await.unwrap();
    gate.add_permits(1);
    world.until("the late reply is recorded", || async { world.messages(id).await.len() == 3 }).await;
    let messages = world.messages(id).await;
    assert_eq!(messages[2].status, Some(DeliveryStatus::Discarded));
    assert_eq!(world.conversation(id).await.attention, Some(Attention::Handoff));
    let sent = world.channel.sends(1).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].text, "Mia here/0");
}

#[tokio::test]
async fn handed_back_the_agent_starts_at_the_first_unanswered_message() {
    let agent =
        FarEnd::start(|request: &Received| Reply::json(200, json!({"text": format!("re: {}", said(request))}))).await;
    let world = world(&agent).await;
    let id = world.write("t", "1", "one").await.conversation;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    let mia = Speaker::Teammate { name: "Mia".into() };
    let to = |owner| Change { owner: Some(owner), ..Change::default() };
    world.desk.update(id, to(Owner::Desk), &mia).await.unwrap();
    world.write("t", "2", "two").await;
    world
        .desk
        .reply(id, frontdesk_engine::parse_reply(br#"{"text": "Mia here"}"#).unwrap(), mia.clone(), None)
        .await
        .unwrap();
    world.write("t", "3", "three").await;
    world.write("t", "4", "four").await;
    assert_eq!(agent.requests().len(), 1, "the desk owns it");
    world.desk.update(id, to(Owner::Agent), &mia).await.unwrap();
    agent.wait_for(3).await;
    let heard: Vec<String> = agent.requests().iter().map(said).collect();
    assert_eq!(heard, ["one", "three", "four"]);
}

/// An agent that answers 410 until the switch is thrown, and a world that has been told so.
async fn stopped_agent() -> (FarEnd, Arc<AtomicBool>, World) {
    let gone = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&gone);
    let agent = FarEnd::start(move |_: &Received| {
        if switch.load(Ordering::SeqCst) { Reply::status(410) } else { Reply::json(200, json!({"text": "fine"})) }
    })
    .await;
    let world = world(&agent).await;
    world.write("t", "1", "one").await;
    world
        .until("the agent counts as stopped", || async {
            serde_json::to_value(world.desk.status().await.unwrap()).unwrap()["agent"]["state"] == "stopped"
        })
        .await;
    world.write("u", "1", "two").await;
    let start = world.clock.now();
    world
        .advance_until(30 * SECOND, "an hour", || async { world.clock.now().since(start) > Duration::from_secs(3600) })
        .await;
    assert_eq!(agent.requests().len(), 1);
    (agent, gone, world)
}

#[tokio::test]
async fn after_410_nothing_is_posted_until_the_next_start_and_nothing_is_lost() {
    let (_agent, gone, world) = stopped_agent().await;
    gone.store(false, Ordering::SeqCst);
    let world = world.crash_and_restart().await;
    world.channel.sends(2).await;
}

#[tokio::test]
async fn after_410_the_operator_resumes_the_agent_and_everything_that_waited_goes_on() {
    let (agent, gone, world) = stopped_agent().await;
    gone.store(false, Ordering::SeqCst);
    world.desk.resume_agent().await.unwrap();
    world.channel.sends(2).await;
    assert_eq!(agent.requests().len(), 3);
    let status = serde_json::to_value(world.desk.status().await.unwrap()).unwrap();
    assert_eq!(status["agent"]["state"], "well");
    assert_eq!(status["unwell"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_read_redirects_or_is_too_large_is_tried_again() {
    let huge = "x".repeat(1_000_001);
    let elsewhere = FarEnd::start(|_: &Received| Reply::json(200, json!({"text": "from elsewhere"}))).await;
    let target = elsewhere.url();
    let count = AtomicUsize::new(0);
    let agent = FarEnd::start(move |_: &Received| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::text(200, "<html>oops</html>"),
        1 => Reply::text(200, &huge),
        2 => Reply::status(302).header("location", &target),
        3 => Reply::close(),
        _ => Reply::json(200, json!({"text": "fine"})),
    })
    .await;
    let world = world(&agent).await;
    let id = world.write("t", "1", "one").await.conversation;
    world.advance_until(SECOND, "an answer", || async { world.channel.sent().len() == 1 }).await;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    assert_eq!(elsewhere.requests().len(), 0, "redirects are not followed");
    let attempts: Vec<u64> =
        agent.requests().iter().map(|request| body(request)["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_kill_while_the_agent_thinks_has_it_asked_again_and_answered_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let agent = FarEnd::start(move |_: &Received| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::hang(),
        _ => Reply::json(200, json!({"text": "fine"})),
    })
    .await;
    let world = world(&agent).await;
    let id = world.write("t", "1", "one").await.conversation;
    agent.wait_for(1).await;
    let world = world.crash_and_restart().await;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    let ids: Vec<_> = agent.requests().iter().map(|request| body(request)["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(world.messages(id).await.len(), 2);
}
