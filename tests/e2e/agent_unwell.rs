//! Agents that are not there, do not answer, or answer what is no answer: the message waits, and comes through when they
//! are well.

use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{ADMIN, World, echo, event, one_after_another, takes, text_of_delivery, text_of_event, webhook_id};

#[tokio::test]
async fn a_message_waits_for_an_agent_that_is_not_there_and_is_answered_when_it_comes() {
    // A listener's address, without the listener.
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut world = World::that_echoes().await;
    world.site.reconfigure(&crate::world::sections(&format!("http://{address}/"), &world.shop.url(), ""));
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    daemon.says("the agent is unwell").await.unwrap();
    assert_eq!(world.messages(&conversation).await.len(), 1);
    assert!(world.dead_letters().await.is_empty(), "nothing counts against the event");

    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _agent = FarEnd::listen(listener, |request| async move { echo(&request) });
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: hello");
    daemon.says("the agent is well again").await.unwrap();
}

#[tokio::test]
async fn after_a_500_the_same_event_is_asked_again() {
    assert_second_attempt_answers(|_| Reply::status(500), "").await;
}

#[tokio::test]
async fn an_agent_that_hangs_is_given_up_after_the_timeout_and_asked_again() {
    assert_second_attempt_answers(|_| Reply::hang(), "timeout = \"1 s\"").await;
}

#[tokio::test]
async fn an_agent_that_closes_the_connection_is_asked_again() {
    assert_second_attempt_answers(|_| Reply::close(), "").await;
}

#[tokio::test]
async fn garbage_is_not_an_answer() {
    assert_second_attempt_answers(|_| Reply::text(200, "<html>It works!</html>"), "").await;
}

#[tokio::test]
async fn json_that_is_no_reply_is_not_an_answer() {
    assert_second_attempt_answers(|_| Reply::json(200, json!({ "mesages": [{ "text": "typing error" }] })), "").await;
}

#[tokio::test]
async fn an_answer_of_more_than_1_mb_is_not_an_answer() {
    let large: fn(&Received) -> Reply = |_| Reply::json(200, json!({ "text": "x".repeat(1_200_000) }));
    assert_second_attempt_answers(large, "").await;
}

/// The first answer is bad, the second is good; the event is the same, and only the good one comes out.
async fn assert_second_attempt_answers(bad: fn(&Received) -> Reply, agent_lines: &str) {
    let agent = FarEnd::start(one_after_another(vec![bad, echo])).await;
    let world = World::with_agent_lines(agent, FarEnd::start(takes).await, agent_lines);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.settled(&conversation, "sent").await;
    let asked = world.agent.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(webhook_id(&asked[0]), webhook_id(&asked[1]));
    assert_eq!((&event(&asked[0])["attempt"], &event(&asked[1])["attempt"]), (&json!(1), &json!(2)));
    let delivered: Vec<_> = world.shop.requests().iter().map(text_of_delivery).collect();
    assert_eq!(delivered, ["re: hello"]);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn t18_a_redirect_is_not_followed() {
    let inside = FarEnd::start(echo).await;
    let target = inside.url();
    let agent = FarEnd::start(move |_| Reply::status(307).header("location", &target)).await;
    let world = World::of(agent, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.agent.wait_for(2).await;
    assert_eq!(inside.count(), 0);
    assert_eq!(world.messages(&conversation).await.len(), 1, "still waiting");
}

#[tokio::test]
async fn an_event_that_is_refused_becomes_a_dead_letter_the_next_goes_on_and_a_replay_asks_again() {
    let agent = FarEnd::start(one_after_another(vec![|_| Reply::status(400), echo])).await;
    let world = World::of(agent, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "refused").await;
    world.get_until("/v1/dead-letters", "a dead letter", |page| page["data"][0].is_object()).await;
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["lane"], "agent");
    assert_eq!(letters[0]["event_id"], webhook_id(&world.agent.requests()[0]));
    assert!(letters[0]["reason"].as_str().unwrap().contains("400"), "{}", letters[0]);
    let shown = world.get(&format!("/v1/conversations/{conversation}")).await;
    assert_eq!(shown["attention"], "dead_letter");

    world.say("t", "2", "next").await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: next");

    let id = letters[0]["id"].as_str().unwrap();
    let replay = format!("/v1/dead-letters/{id}/replay");
    let answer = world.request(Method::POST, &replay).bearer_auth(ADMIN).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let delivered = world.shop.wait_for(2).await;
    assert_eq!(text_of_delivery(&delivered[1]), "re: refused");
    let asked = world.agent.requests();
    assert_eq!(webhook_id(&asked[0]), webhook_id(&asked[2]), "the same event");
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_dropped_dead_letter_is_gone_and_only_an_admin_may_drop_it() {
    let agent = FarEnd::start(|_| Reply::status(422)).await;
    let world = World::of(agent, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    world.say("t", "1", "refused").await;
    let page = world.get_until("/v1/dead-letters", "a dead letter", |page| page["data"][0].is_object()).await;
    let path = format!("/v1/dead-letters/{}", page["data"][0]["id"].as_str().unwrap());
    let drop_with = |token: &'static str| world.request(Method::DELETE, &path).bearer_auth(token).send();
    assert_eq!(drop_with(crate::world::BOT).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(drop_with(ADMIN).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(drop_with(ADMIN).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(world.dead_letters().await.is_empty());

    daemon.kill().await.unwrap();
    let _daemon = world.start().await;
    assert!(world.dead_letters().await.is_empty());
    assert_eq!(world.agent.count(), 1, "a dropped event is not asked again");
}

/// One conversation's trouble is no reason to let others wait.
#[tokio::test]
async fn a_conversation_that_the_agent_fails_on_does_not_hold_up_others() {
    let agent = FarEnd::start(
        |request: &Received| {
            if text_of_event(request) == "poison" { Reply::status(500) } else { echo(request) }
        },
    )
    .await;
    let world = World::of(agent, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    world.say("bad", "1", "poison").await;
    world.agent.wait_for(1).await;
    for number in 0..5 {
        world.say(&format!("good{number}"), "1", "hello").await;
    }
    let delivered = world.shop.wait_for(5).await;
    assert!(delivered.iter().all(|one| text_of_delivery(one) == "re: hello"));
}

#[tokio::test]
async fn after_a_410_nothing_more_is_asked_until_the_next_start() {
    let agent = FarEnd::start(one_after_another(vec![|_| Reply::status(410), echo])).await;
    let world = World::of(agent, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    daemon.says("the agent answered 410").await.unwrap();
    world.say("u", "1", "hello too").await;
    daemon.terminate().unwrap();
    assert_eq!(daemon.ended(std::time::Duration::from_secs(30)).await.unwrap().code(), Some(0));
    assert_eq!(world.agent.count(), 1);

    let _daemon = world.start().await;
    world.shop.wait_for(2).await;
    world.settled(&conversation, "sent").await;
    let asked = world.agent.requests();
    let again: Vec<Value> = asked.iter().skip(1).map(|one| event(one)["data"]["message"]["text"].clone()).collect();
    assert_eq!(again.len(), 2, "{again:?}");
}
