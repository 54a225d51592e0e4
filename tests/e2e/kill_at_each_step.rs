//! A kill right after each step of a message's way. Whatever the step: nothing is lost, and nothing comes out twice under
//! two ids.

use std::sync::atomic::{AtomicUsize, Ordering};

use frontdesk_testkit::far_end::{FarEnd, Reply};
use reqwest::Method;

use crate::world::{World, echo, event, gate, gated, takes, text_of_delivery, webhook_id};

#[tokio::test]
async fn killed_right_after_the_202_the_message_is_answered_after_the_restart() {
    let world = World::that_echoes().await;
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "accepted").await;
    daemon.kill().await.unwrap();

    let _daemon = world.start().await;
    world.settled(&conversation, "sent").await;
    let delivered = world.shop.requests();
    assert_eq!(text_of_delivery(&delivered[0]), "re: accepted");
    assert_one_reply(&world, &conversation).await;
}

#[tokio::test]
async fn killed_while_the_agent_thinks_the_same_event_is_asked_again() {
    let world = World::of(hanging_once(echo).await, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.agent.wait_for(1).await;
    daemon.kill().await.unwrap();

    let _daemon = world.start().await;
    world.settled(&conversation, "sent").await;
    let asked = world.agent.requests();
    assert_eq!(asked.len(), 2);
    assert_eq!(webhook_id(&asked[0]), webhook_id(&asked[1]));
    assert_eq!(event(&asked[0])["data"]["message"], event(&asked[1])["data"]["message"]);
    assert_eq!(world.shop.count(), 1);
    assert_one_reply(&world, &conversation).await;
}

/// The agent's answer lies in the daemon's socket when it dies.
#[tokio::test]
async fn killed_with_an_answer_unread_the_agent_is_asked_again_and_one_reply_comes_out() {
    let (gate, answered) = (gate(), crate::world::gate());
    let agent = gated(&gate, &answered, echo).await;
    let world = World::of(agent, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.agent.wait_for(1).await;
    daemon.freeze().await.unwrap();
    gate.add_permits(2);
    answered.acquire().await.unwrap().forget();
    daemon.kill().await.unwrap();

    let _daemon = world.start().await;
    world.settled(&conversation, "sent").await;
    assert_eq!(world.agent.count(), 2);
    assert_eq!(world.shop.count(), 1);
    assert_one_reply(&world, &conversation).await;
}

#[tokio::test]
async fn killed_while_the_far_end_takes_a_message_it_is_sent_again_under_the_same_id() {
    let world = World::of(FarEnd::start(echo).await, hanging_once(takes).await);
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.shop.wait_for(1).await;
    daemon.kill().await.unwrap();

    let _daemon = world.start().await;
    world.settled(&conversation, "sent").await;
    let delivered = world.shop.requests();
    assert_eq!(delivered.len(), 2);
    assert_eq!(webhook_id(&delivered[0]), webhook_id(&delivered[1]));
    assert_eq!(delivered[0].body, delivered[1].body, "frozen once, sent as it is");
    assert_eq!(world.agent.count(), 1, "the agent's answer was stored");
    assert_one_reply(&world, &conversation).await;
}

/// The far end said yes, and the daemon never read it.
#[tokio::test]
async fn killed_with_the_far_ends_yes_unread_the_repeat_has_the_same_id() {
    let (gate, answered) = (gate(), crate::world::gate());
    let world = World::of(FarEnd::start(echo).await, gated(&gate, &answered, takes).await);
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.shop.wait_for(1).await;
    daemon.freeze().await.unwrap();
    gate.add_permits(2);
    answered.acquire().await.unwrap().forget();
    daemon.kill().await.unwrap();

    let _daemon = world.start().await;
    world.settled(&conversation, "sent").await;
    let delivered = world.shop.requests();
    assert_eq!(delivered.len(), 2);
    assert!(delivered.iter().all(|one| webhook_id(one) == webhook_id(&delivered[0])));
    assert_one_reply(&world, &conversation).await;
}

#[tokio::test]
async fn killed_before_the_202_arrives_the_senders_repeat_is_known_or_new_but_never_doubled() {
    let world = World::that_echoes().await;
    let mut daemon = world.start().await;
    // Frozen first: the request is in the kernel's hands, and the daemon dies with it unread or half done.
    daemon.freeze().await.unwrap();
    let post = world.post("t", "1", "hello");
    let kill = async {
        daemon.thaw().unwrap();
        daemon.kill().await.unwrap();
    };
    let (first, ()) = tokio::join!(post, kill);
    drop(first);

    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.settled(&conversation, "sent").await;
    assert_one_reply(&world, &conversation).await;
}

/// One message in, one out, and what came out is that one.
async fn assert_one_reply(world: &World, conversation: &str) {
    let messages = world.messages(conversation).await;
    let directions: Vec<_> = messages.iter().map(|one| one["direction"].as_str().unwrap()).collect();
    assert_eq!(directions, ["inbound", "outbound"]);
    for delivered in world.shop.requests() {
        assert_eq!(webhook_id(&delivered), messages[1]["id"].as_str().unwrap());
    }
    let list = world.request(Method::GET, "/v1/conversations").bearer_auth(crate::world::BOT).send().await.unwrap();
    let list: serde_json::Value = list.json().await.unwrap();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert!(world.dead_letters().await.is_empty());
}

/// Hangs on the first request, and answers the others.
async fn hanging_once(answer: fn(&frontdesk_testkit::far_end::Received) -> Reply) -> FarEnd {
    let seen = AtomicUsize::new(0);
    FarEnd::start(move |request| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::hang(),
        _ => answer(request),
    })
    .await
}
