//! What a well agent may answer: at once, later, nothing, or too late.

use std::{sync::Arc, time::Duration};

use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::world::{BOT, World, echo, event, one_after_another, takes, text_of_delivery, text_of_event, webhook_id};

#[tokio::test]
async fn an_answer_without_words_says_nothing_and_the_next_event_goes_on() {
    let silent: Vec<fn(&Received) -> Reply> = vec![
        |_| Reply::status(204),
        |_| Reply::status(202),
        |_| Reply::status(200),
        |_| Reply::text(202, "{\"text\": \"not read in a 202\"}"),
        |_| Reply::json(200, json!({ "messages": [] })),
        echo,
    ];
    let count = silent.len();
    let world = World::of(FarEnd::start(one_after_another(silent)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let mut conversation = String::new();
    for number in 1..=count {
        conversation = world.say("t", &number.to_string(), &format!("word {number}")).await;
    }
    world.settled(&conversation, "sent").await;
    assert_eq!(world.agent.count(), count, "each event once");
    let delivered: Vec<_> = world.shop.requests().iter().map(text_of_delivery).collect();
    assert_eq!(delivered, [format!("re: word {count}")]);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn several_messages_of_one_answer_come_out_in_order() {
    let three: fn(&Received) -> Reply = |_| {
        Reply::json(200, json!({ "messages": [{ "text": "one" }, { "markdown": "**two**" }, { "text": "three" }] }))
    };
    let world = World::of(FarEnd::start(three).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    let delivered = world.shop.wait_for(3).await;
    assert_eq!(delivered.iter().map(text_of_delivery).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert_eq!(event(&delivered[1])["data"]["message"]["markdown"], "**two**");
}

#[tokio::test]
async fn a_reply_that_insists_on_a_version_that_is_past_is_discarded_and_the_next_event_says_so() {
    let gate = Arc::new(Semaphore::new(0));
    let agent = {
        let gate = Arc::clone(&gate);
        FarEnd::start_async(move |request: Received| {
            let gate = Arc::clone(&gate);
            async move {
                let event = event(&request);
                if text_of_event(&request) == "first" {
                    gate.acquire().await.unwrap().forget();
                }
                let version = event["data"]["conversation"]["version"].clone();
                let text = format!("re: {}", text_of_event(&request));
                Reply::json(200, json!({ "if_version": version, "messages": [{ "text": text }] }))
            }
        })
        .await
    };
    let world = World::of(agent, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "first").await;
    world.agent.wait_for(1).await;
    world.say("t", "2", "second, meanwhile").await;
    gate.add_permits(1);

    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: second, meanwhile");
    let asked = world.agent.requests();
    assert_eq!(asked.len(), 2);
    let discarded = event(&asked[1])["data"]["discarded"].clone();
    let messages = world.messages(&conversation).await;
    let kept: Vec<&Value> = messages.iter().filter(|one| one["status"] == "discarded").collect();
    assert_eq!(kept.len(), 1, "the reply is kept, and shown as what it is");
    assert_eq!(kept[0]["text"], "re: first");
    assert_eq!(discarded, json!([kept[0]["id"]]));
    assert_eq!(world.shop.count(), 1);
}

#[tokio::test]
async fn a_reply_may_come_later_by_the_events_reply_token() {
    let world = World::of(FarEnd::start(|_| Reply::status(202)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    let (url, token) = reply_way(&world.agent.wait_for(1).await[0]);
    let answer = reply(&world, &url, &token, json!({ "markdown": "later" })).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["messages"][0]["status"], "queued");
    let delivered = world.shop.wait_for(1).await;
    assert_eq!(text_of_delivery(&delivered[0]), "later");
    assert_eq!(webhook_id(&delivered[0]), answer["messages"][0]["id"].as_str().unwrap());
}

#[tokio::test]
async fn t30_a_reply_token_opens_its_own_conversation_for_replies_and_nothing_else() {
    let world = World::of(FarEnd::start(|_| Reply::status(202)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    world.agent.wait_for(1).await;
    world.say("u", "1", "hello").await;
    let asked = world.agent.wait_for(2).await;
    let ((url, token), (other_url, _)) = (reply_way(&asked[0]), reply_way(&asked[1]));
    let words = || json!({ "text": "let me in" });

    assert_eq!(reply(&world, &other_url, &token, words()).await.status(), StatusCode::UNAUTHORIZED, "of another");
    // The end, written into the token, is under its MAC too: a later one makes it a wrong token.
    let pieces: Vec<&str> = token.splitn(4, '.').collect();
    let past = format!("{}.{}.{}.{}", pieces[0], 1_000_000_000, pieces[2], pieces[3]);
    let longer = format!("{}.{}.{}.{}", pieces[0], pieces[1].parse::<u64>().unwrap() + 1, pieces[2], pieces[3]);
    let last = token.chars().last().unwrap();
    let flipped = format!("{}{}", &token[..token.len() - 1], if last == 'A' { 'Q' } else { 'A' });
    for wrong in [past, longer, flipped, "frt_".into(), "not a token of ours".into()] {
        let answer = reply(&world, &url, &wrong, words()).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let read = world.http.get(&url).bearer_auth(&token).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::UNAUTHORIZED, "reading");
    assert_eq!(world.shop.count(), 0);
    assert_eq!(reply(&world, &url, &token, words()).await.status(), StatusCode::ACCEPTED);
    world.shop.wait_for(1).await;
}

#[tokio::test]
async fn a_reply_posted_again_for_the_same_event_after_a_kill_counts_once() {
    let world = World::of(
        FarEnd::start(|_| Reply::status(202).after(Duration::from_secs(20))).await,
        FarEnd::start(takes).await,
    );
    let mut daemon = world.start().await;
    world.say("t", "1", "hello").await;
    let asked = world.agent.wait_for(1).await;
    let words = || json!({ "text": "on its way" });
    let (url, token) = reply_way(&asked[0]);
    assert_eq!(reply(&world, &url, &token, words()).await.status(), StatusCode::ACCEPTED);
    // Killed while the event's own request is open: the agent is asked again, and says the same again.
    daemon.kill().await.unwrap();
    let _daemon = world.start().await;
    let asked = world.agent.wait_for(2).await;
    assert_eq!(webhook_id(&asked[0]), webhook_id(&asked[1]));
    let (url, token) = reply_way(&asked[1]);
    let again = reply(&world, &url, &token, words()).await;
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    let further = reply(&world, &url, &token, json!({ "text": "and another thing" })).await;
    assert_eq!(further.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = further.json().await.unwrap();
    assert_eq!(problem["type"], "urn:frontdesk:problem:idempotency-key-reused");
    let delivered = world.shop.wait_for(1).await;
    let ids: std::collections::HashSet<_> = delivered.iter().map(webhook_id).collect();
    assert_eq!(ids.len(), 1, "one message");
}

#[tokio::test]
async fn a_posted_reply_with_a_past_version_is_a_conflict_that_names_the_present_one() {
    let world = World::of(FarEnd::start(|_| Reply::status(202)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    let path = format!("/v1/conversations/{conversation}");
    let before = world.get(&path).await["version"].clone();
    world.say("t", "2", "and another thing").await;
    let now = world.get(&path).await["version"].clone();
    assert_ne!(before, now);
    let post = |version: Value| {
        let body = json!({ "if_version": version, "text": "hello" });
        world.request(Method::POST, &format!("{path}/messages")).bearer_auth(BOT).json(&body).send()
    };
    let answer = post(before).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let problem: Value = answer.json().await.unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with("version-conflict"));
    assert_eq!(problem["version"], now);
    assert_eq!(post(now).await.unwrap().status(), StatusCode::ACCEPTED);
    world.shop.wait_for(1).await;
}

/// `reply_url` and `reply_token` of an event.
fn reply_way(request: &Received) -> (String, String) {
    let data = event(request)["data"].clone();
    (data["reply_url"].as_str().unwrap().to_owned(), data["reply_token"].as_str().unwrap().to_owned())
}

async fn reply(world: &World, url: &str, token: &str, body: Value) -> Response {
    world.http.post(url).bearer_auth(token).json(&body).send().await.unwrap()
}

#[tokio::test]
async fn an_agent_that_asked_for_an_hour_of_quiet_is_not_well_and_may_be_asked_at_once() {
    let quiet: Vec<fn(&Received) -> Reply> = vec![|_| Reply::status(503).header("retry-after", "3600"), echo];
    let world = World::of(FarEnd::start(one_after_another(quiet)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.agent.wait_for(1).await;
    let began = std::time::Instant::now();
    loop {
        let status = world.cli(&["status", "--check"]).await;
        if status.out.contains("the agent asked for quiet; events wait until 2") {
            assert_eq!(status.status.code(), Some(1), "{status:?}");
            assert!(status.out.contains("at once with: frontdesk agent resume"), "{status:?}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{status:?}");
    }
    world.cli(&["agent", "resume"]).await.fine();
    world.settled(&id, "sent").await;
    assert_eq!(world.agent.count(), 2);
    assert!(world.cli(&["status"]).await.fine().contains("All is well."));
}
