//! A request that is sent again under its `Idempotency-Key` has its effect once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use world::{ADMIN, AGENT, Client, DESK, World};

async fn said(world: &World, conversation: &str) -> usize {
    let listed = world.get(&format!("/v1/conversations/{conversation}/messages"), ADMIN).await.json;
    let outbound = |row: &&Value| row["direction"] == "outbound";
    listed["data"].as_array().unwrap().iter().filter(outbound).count()
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_says_nothing_more() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}/messages");
    let body = json!({"messages": [{"text": "It ships today."}, {"markdown": "**Soon.**"}]});
    let first = world.say_once(&path, DESK, "one", body.clone()).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (202, None));
    // What happens meanwhile changes nothing about it.
    world.write("shop", "order-77", "Hello?").await;
    for _ in 0..2 {
        let again = world.say_once(&path, DESK, "one", body.clone()).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (202, Some("true")));
        assert_eq!(again.json, first.json);
    }
    assert_eq!(said(&world, &id).await, 2);
    assert_eq!(world.say_once(&path, DESK, "two", body).await.header("idempotent-replayed"), None);
    assert_eq!(said(&world, &id).await, 4);
}

#[tokio::test]
async fn idempotency_key_reused() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let other = world.write("shop", "order-78", "Hello").await;
    let path = format!("/v1/conversations/{id}/messages");
    assert_eq!(world.say_once(&path, DESK, "one", json!({"text": "x"})).await.status, 202);
    let refused = world.say_once(&path, DESK, "one", json!({"text": "y"})).await;
    assert_eq!((refused.status, refused.slug()), (422, "idempotency-key-reused"));
    insta::assert_json_snapshot!("idempotency_key_reused", refused.json);
    let elsewhere = format!("/v1/conversations/{other}/messages");
    assert_eq!(world.say_once(&elsewhere, DESK, "one", json!({"text": "x"})).await.slug(), "idempotency-key-reused");
    assert_eq!((said(&world, &id).await, said(&world, &other).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_many_times_at_once_has_one_effect() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}/messages");
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (path, address) = (path.clone(), world.address);
        asked.spawn(async move {
            let mut client = Client::connect(address).await;
            let body = Some(json!({"text": "It ships today."}));
            client.ask_with("POST", &path, DESK, "Idempotency-Key: one\r\n", body).await
        });
    }
    let answers = asked.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == 202 && answer.json == answers[0].json), "{answers:?}");
    let first = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none());
    assert_eq!(first.count(), 1);
    assert_eq!(said(&world, &id).await, 1);
}

#[tokio::test]
async fn a_request_that_had_no_effect_leaves_its_key_free() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}/messages");
    let stale = json!({"text": "x", "if_version": 99});
    assert_eq!(world.say_once(&path, DESK, "one", stale).await.slug(), "version-conflict");
    assert_eq!(world.say_once(&path, DESK, "one", json!({"text": "y"})).await.status, 202);
}

#[tokio::test]
async fn the_same_key_of_two_callers_are_two() {
    let agent = FarEnd::start(|_| Reply::status(202)).await;
    let world = World::with_agent(&agent.url()).await;
    let socket = world.control().await;
    let mut tokens = Vec::new();
    let mut conversations = Vec::new();
    for (number, thread) in ["order-77", "order-78"].into_iter().enumerate() {
        conversations.push(world.write("shop", thread, "Where is my order?").await);
        let event: Value = serde_json::from_slice(&agent.wait_for(number + 1).await[number].body).unwrap();
        tokens.push(event["data"]["reply_token"].as_str().unwrap().to_owned());
    }
    let path = format!("/v1/conversations/{}/messages", conversations[0]);
    let other = format!("/v1/conversations/{}/messages", conversations[1]);
    let body = json!({"text": "On its way."});
    let new = |answer: world::Answer| {
        assert_eq!((answer.status, answer.header("idempotent-replayed")), (202, None), "{answer:?}");
    };
    new(world.say_once(&path, AGENT, "one", body.clone()).await);
    new(world.say_once(&path, &tokens[0], "one", body.clone()).await);
    new(world.say_once(&other, &tokens[1], "one", body.clone()).await);
    new(world.say_once(&path, DESK, "one", body.clone()).await);
    let mut operator = Client::over(UnixStream::connect(socket).await.unwrap());
    new(operator.ask_with("POST", &path, "", "Idempotency-Key: one\r\n", Some(body)).await);
}

#[tokio::test]
async fn a_key_is_visible_ascii_of_1_to_255_characters() {
    let world = World::new().await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let path = format!("/v1/conversations/{id}/messages");
    let body = || Some(json!({"text": "x"}));
    let long = "k".repeat(256);
    for bad in ["", " ", "two words", "\u{e4}", "tab\tbed", &long] {
        let refused = world.say_once(&path, DESK, bad, body().unwrap()).await;
        assert_eq!((refused.status, refused.slug()), (422, "invalid-request"), "{bad:?}");
        assert!(refused.detail().contains("1 to 255 visible ASCII characters"), "{refused:?}");
    }
    let twice = "Idempotency-Key: a\r\nIdempotency-Key: a\r\n";
    let refused = world.client().await.ask_with("POST", &path, DESK, twice, body()).await;
    assert_eq!(refused.slug(), "invalid-request");
    assert_eq!(said(&world, &id).await, 0);
    assert_eq!(world.say_once(&path, DESK, &long[1..], body().unwrap()).await.status, 202);
    assert_eq!(world.say_once(&path, DESK, "!~", body().unwrap()).await.status, 202);
}

#[tokio::test]
async fn one_event_has_one_reply_by_its_token_and_a_further_one_needs_a_key() {
    let agent = FarEnd::start(|_| Reply::status(202)).await;
    let world = World::with_agent(&agent.url()).await;
    let id = world.write("shop", "order-77", "Where is my order?").await;
    let event: Value = serde_json::from_slice(&agent.wait_for(1).await[0].body).unwrap();
    let token = event["data"]["reply_token"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}/messages");
    let say = |text: &str| world.ask("POST", &path, token, Some(json!({"text": text})));
    assert_eq!(say("On its way.").await.header("idempotent-replayed"), None);
    assert_eq!(say("On its way.").await.header("idempotent-replayed"), Some("true"));
    let another = say("Anything else?").await;
    assert_eq!((another.status, another.slug()), (422, "idempotency-key-reused"));
    assert!(another.detail().contains("Idempotency-Key of its own"), "{another:?}");
    assert_eq!(world.say_once(&path, token, "further", json!({"text": "Anything else?"})).await.status, 202);
    assert_eq!(said(&world, &id).await, 2);
}
