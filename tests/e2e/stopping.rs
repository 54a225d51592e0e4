//! SIGTERM: what is in hand is finished, nothing new is taken, and the rest comes after the next start.

use std::time::{Duration, Instant};

use frontdesk_testkit::far_end::{FarEnd, Reply};

use crate::world::{World, echo, gate, gated, takes, text_of_delivery, webhook_id};

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_idle_daemon_stops_at_once_with_0() {
    let world = World::that_echoes().await;
    let mut daemon = world.start().await;
    daemon.terminate().unwrap();
    assert_eq!(daemon.ended(Duration::from_secs(5)).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn what_is_in_hand_is_finished_nothing_new_is_taken_and_the_rest_comes_after_the_restart() {
    let gate = gate();
    let world = World::of(gated(&gate, &crate::world::gate(), echo).await, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    let first = world.say("t", "1", "in hand").await;
    world.agent.wait_for(1).await;
    // Behind it in the same conversation, so it waits for its turn.
    world.say("t", "2", "behind").await;

    daemon.terminate().unwrap();
    daemon.says("stopping").await.unwrap();
    match world.post("t", "3", "too late").await {
        Ok(answer) => {
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("retry-after"));
        }
        Err(error) => assert!(error.is_connect() || error.is_request(), "{error:?}"),
    }
    gate.add_permits(1);
    assert_eq!(daemon.ended(STOP).await.unwrap().code(), Some(0));
    assert_eq!(world.agent.count(), 1, "nothing was begun after the signal");

    gate.add_permits(100);
    let _daemon = world.start().await;
    let delivered = world.shop.wait_for(2).await;
    world.settled(&first, "sent").await;
    assert_eq!(delivered.iter().map(text_of_delivery).collect::<Vec<_>>(), ["re: in hand", "re: behind"]);
    let asked = world.agent.requests();
    assert_eq!(asked.len(), 2, "what was answered before the stop is not asked again");
    assert_ne!(webhook_id(&asked[0]), webhook_id(&asked[1]));
    assert_eq!(world.messages(&first).await.len(), 4, "the message that came too late was not taken");
}

#[tokio::test]
async fn an_agent_that_never_answers_does_not_hold_a_stop_beyond_30_seconds() {
    let world = World::of(FarEnd::start(|_| Reply::hang()).await, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    world.say("t", "1", "hello").await;
    world.agent.wait_for(1).await;
    let asked_to_stop = Instant::now();
    daemon.terminate().unwrap();
    let status = daemon.ended(STOP).await.unwrap();
    assert_eq!(status.code(), Some(0), "after {:?}: {}", asked_to_stop.elapsed(), daemon.said());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let gate = gate();
    let world = World::of(gated(&gate, &crate::world::gate(), echo).await, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    world.agent.wait_for(1).await;
    daemon.terminate().unwrap();
    daemon.says("stopping").await.unwrap();
    daemon.terminate().unwrap();
    assert_eq!(daemon.ended(Duration::from_secs(10)).await.unwrap().code(), Some(0));

    gate.add_permits(100);
    let _daemon = world.start().await;
    world.settled(&conversation, "sent").await;
    assert_eq!(world.shop.count(), 1);
}
