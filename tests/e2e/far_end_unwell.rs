//! A far end that is not well: replies wait, go out once it is, and always under the same id.

use std::time::Duration;

use frontdesk_testkit::far_end::{FarEnd, Reply};
use reqwest::{Method, StatusCode};

use crate::world::{ADMIN, World, echo, one_after_another, sections, takes, text_of_delivery, webhook_id};

#[tokio::test]
async fn after_a_500_the_same_message_is_sent_again_under_the_same_id() {
    let world = World::of(
        FarEnd::start(echo).await,
        FarEnd::start(one_after_another(vec![|_| Reply::status(500), takes])).await,
    );
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    let delivered = world.shop.wait_for(2).await;
    assert_eq!(webhook_id(&delivered[0]), webhook_id(&delivered[1]));
    assert_eq!(delivered[0].body, delivered[1].body);
    assert!(delivered[1].at - delivered[0].at >= Duration::from_secs(4), "the first rung of the ladder");
    world.settled(&conversation, "sent").await;
    assert_eq!(world.agent.count(), 1);
}

#[tokio::test]
async fn a_reply_waits_for_a_far_end_that_is_not_there() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut world = World::that_echoes().await;
    world.site.reconfigure(&sections(&world.agent.url(), &format!("http://{address}/"), ""));
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    daemon.says("the channel is unwell").await.unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let shop = FarEnd::listen(listener, |request| async move { takes(&request) });
    let delivered = shop.wait_for(1).await;
    assert_eq!(text_of_delivery(&delivered[0]), "re: hello");
    world.settled(&conversation, "sent").await;
    assert_eq!(shop.count(), 1);
}

#[tokio::test]
async fn a_refused_reply_is_a_dead_letter_and_a_replay_sends_it_under_the_same_id() {
    let world = World::of(
        FarEnd::start(echo).await,
        FarEnd::start(one_after_another(vec![|_| Reply::status(422), takes])).await,
    );
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.settled(&conversation, "failed").await;
    let letters = world.dead_letters().await;
    assert_eq!((letters.len(), &letters[0]["lane"]), (1, &"deliver".into()));
    let path = format!("/v1/dead-letters/{}/replay", letters[0]["id"].as_str().unwrap());
    let answer = world.request(Method::POST, &path).bearer_auth(ADMIN).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    world.settled(&conversation, "sent").await;
    let delivered = world.shop.requests();
    assert_eq!(delivered.len(), 2);
    assert_eq!(webhook_id(&delivered[0]), webhook_id(&delivered[1]));
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn after_a_410_messages_wait_for_the_next_start() {
    let world = World::of(
        FarEnd::start(echo).await,
        FarEnd::start(one_after_another(vec![|_| Reply::status(410), takes])).await,
    );
    let mut daemon = world.start().await;
    let first = world.say("t", "1", "one").await;
    daemon.says("takes no more messages").await.unwrap();
    let second = world.say("u", "1", "two").await;
    world.agent.wait_for(2).await;
    daemon.terminate().unwrap();
    daemon.ended(Duration::from_secs(30)).await.unwrap();
    assert_eq!(world.shop.count(), 1);

    let _daemon = world.start().await;
    world.settled(&first, "sent").await;
    world.settled(&second, "sent").await;
    let mut delivered: Vec<_> = world.shop.requests().iter().skip(1).map(text_of_delivery).collect();
    delivered.sort();
    assert_eq!(delivered, ["re: one", "re: two"]);
}

#[tokio::test]
async fn t18_a_far_ends_redirect_is_not_followed_and_the_message_is_kept() {
    let inside = FarEnd::start(takes).await;
    let target = inside.url();
    let shop = FarEnd::start(move |_| Reply::status(302).header("location", &target)).await;
    let world = World::of(FarEnd::start(echo).await, shop);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.settled(&conversation, "failed").await;
    assert_eq!(inside.count(), 0);
    let letters = world.dead_letters().await;
    assert!(letters[0]["reason"].as_str().unwrap().contains("redirects are not followed"), "{}", letters[0]);
}
