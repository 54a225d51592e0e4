//! A language model as the agent: what becomes of events over the hours, against a strict chat-completions server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use frontdesk_engine::{OpenAiOptions, Protocol, Speaker};
use frontdesk_model::*;
use frontdesk_testkit::{
    chat::{self, Asked, Rules},
    far_end::{FarEnd, Received, Reply},
};
use world::{Channel, World};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

async fn world(server: &FarEnd) -> World {
    let mut options = world::agent(&format!("{}v1/", server.url()));
    options.protocol = Protocol::OpenAi(OpenAiOptions {
        api_key: Some(Secret::new("sk-right".into())),
        model: "m".into(),
        instructions: Some("Be kind.".into()),
    });
    World::with_agent(Some(options), Channel::new(Resend::SameKey, 1)).await
}

fn rules() -> Rules {
    Rules::of("m").with_key("sk-right")
}

fn asked(server: &FarEnd) -> Vec<Asked> {
    server.requests().iter().map(Asked::of).collect()
}

#[tokio::test]
async fn teammates_and_the_agent_are_one_side_of_the_talk() {
    let server = FarEnd::start(rules().answering(|asked| chat::text(&format!("re: {}", asked.last_said())))).await;
    let world = world(&server).await;
    let id = world.write("t", "1", "one").await.conversation;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    let mia = Speaker::Teammate { name: "Mia".into() };
    let reply = frontdesk_engine::parse_reply(br#"{"text": "Mia here"}"#).unwrap();
    world.desk.reply(id, reply, mia.clone(), None).await.unwrap();
    let back = frontdesk_engine::Change { owner: Some(Owner::Agent), ..Default::default() };
    world.desk.update(id, back, &mia).await.unwrap();
    world.write("t", "2", "two").await;
    server.wait_for(2).await;
    assert_eq!(asked(&server)[1].talk(), ["user: one", "assistant: re: one", "assistant: Mia here", "user: two"]);
}

#[tokio::test]
async fn a_replayed_message_comes_last_after_all_that_was_said_since() {
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&refuses);
    let server = FarEnd::start(rules().answering(move |asked| {
        if switch.load(Ordering::SeqCst) && asked.last_said() == "one" {
            chat::error(400, "invalid_request_error", Some("invalid_value"), "no")
        } else {
            chat::text(&format!("re: {}", asked.last_said()))
        }
    }))
    .await;
    let world = world(&server).await;
    let id = world.write("t", "1", "one").await.conversation;
    world.until("a dead letter", || async { world.dead_letters().await.len() == 1 }).await;
    world.write("t", "2", "two").await;
    world.until_status(id, 2, DeliveryStatus::Sent).await;
    refuses.store(false, Ordering::SeqCst);
    world.desk.replay(world.dead_letters().await[0].id).await.unwrap();
    world.until_status(id, 3, DeliveryStatus::Sent).await;
    let talks: Vec<Vec<String>> = asked(&server).iter().map(Asked::talk).collect();
    assert_eq!(talks[1], ["user: one", "user: two"]);
    assert_eq!(talks[2], ["user: two", "assistant: re: two", "user: one"]);
}

#[tokio::test]
async fn history_that_is_too_long_is_halved_until_the_model_takes_it() {
    let server = FarEnd::start(rules().with_context(700).answering(|_| chat::text("ok"))).await;
    let world = world(&server).await;
    for n in 0..8 {
        let id = world.write("t", &n.to_string(), &format!("{n}{}", "x".repeat(70))).await.conversation;
        world.until_status(id, 2 * n + 1, DeliveryStatus::Sent).await;
    }
    let last = asked(&server).pop().unwrap();
    let length: usize = last.messages().iter().map(|(_, text)| text.chars().count()).sum();
    assert!(length <= 700, "{length} characters");
    let talk = last.talk();
    assert!(talk.len() > 1 && talk.len() < 16, "{} of 16 messages", talk.len());
    assert!(talk.last().unwrap().starts_with("user: 7x"), "the latest are kept");
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_message_that_is_too_long_by_itself_is_a_dead_letter_at_once() {
    let server = FarEnd::start(rules().with_context(1000).answering(|_| chat::text("ok"))).await;
    let world = world(&server).await;
    let id = world.write("t", "1", "short").await.conversation;
    world.until_status(id, 1, DeliveryStatus::Sent).await;
    world.write("t", "2", &"x".repeat(1001)).await;
    world.until("a dead letter", || async { world.dead_letters().await.len() == 1 }).await;
    assert!(world.dead_letters().await[0].reason.contains("too long for the language model"));
    assert_eq!(server.requests().len(), 1 + 3, "with two, one and no earlier messages");
}

#[tokio::test]
async fn answers_that_are_always_cut_end_as_a_dead_letter_and_no_piece_is_sent() {
    let cut_or_not = |asked: &Asked| match asked.last_said().as_str() {
        "endless" => chat::cut("Once upon a time"),
        _ => chat::text("fine"),
    };
    let server = FarEnd::start(rules().answering(cut_or_not)).await;
    let world = world(&server).await;
    let id = world.write("bad", "1", "endless").await.conversation;
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
    let letter = &world.dead_letters().await[0];
    assert!(letter.attempts >= 5 && letter.reason.contains("cut off"), "{letter:?}");
    assert_eq!(world.conversation(id).await.attention, Some(Attention::DeadLetter));
    assert_eq!(world.messages(id).await.len(), 1);
    assert!(world.channel.sent().iter().all(|sending| sending.text == "fine/0"));
    let tries = asked(&server).iter().filter(|asked| asked.last_said() == "endless").count();
    assert_eq!(tries, usize::try_from(letter.attempts).unwrap() * 2, "each attempt asks once more, briefly");
}

/// What the operator has to mend costs no event anything, however long it takes.
#[tokio::test]
async fn a_wrong_key_a_missing_model_and_an_empty_account_count_against_no_event() {
    let quota =
        |_: &Received| chat::error(429, "insufficient_quota", Some("insufficient_quota"), "You exceeded your quota");
    let key = |request: &Received| Rules::of("m").with_key("sk-another").refusal(request).unwrap();
    let model = |request: &Received| Rules::of("another").refusal(request).unwrap();
    let address = |_: &Received| Reply::text(404, "<html>404 page not found</html>");
    let mistakes: [fn(&Received) -> Reply; 4] = [quota, key, model, address];
    for mistake in mistakes {
        let mended = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&mended);
        let right = rules().answering(|_| chat::text("fine"));
        let server = FarEnd::start(
            move |request: &Received| {
                if switch.load(Ordering::SeqCst) { right(request) } else { mistake(request) }
            },
        )
        .await;
        let world = world(&server).await;
        // Alone: with others that fail too, an attempt counts for nothing anyway.
        world.write("t", "1", "hello").await;
        let start = world.clock.now();
        world.advance_until(30 * SECOND, "three hours", || async { world.clock.now().since(start) > 3 * HOUR }).await;
        assert!(world.dead_letters().await.is_empty());
        mended.store(true, Ordering::SeqCst);
        world.advance_until(20 * SECOND, "an answer", || async { world.channel.sent().len() == 1 }).await;
    }
}

#[tokio::test]
async fn a_busy_server_is_left_alone_as_long_as_it_asks() {
    let count = AtomicUsize::new(0);
    let server = FarEnd::start(rules().answering(move |_| {
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => chat::error(429, "requests", Some("rate_limit_exceeded"), "Rate limit reached")
                .header("retry-after", "90.5"),
            _ => chat::text("fine"),
        }
    }))
    .await;
    let world = world(&server).await;
    world.write("t", "1", "hello").await;
    server.wait_for(1).await;
    let start = world.clock.now();
    world.advance_until(SECOND, "an answer", || async { world.channel.sent().len() == 1 }).await;
    let waited = world.clock.now().since(start);
    assert!(waited >= 90 * SECOND, "{waited:?}");
    assert!(world.dead_letters().await.is_empty());
}
