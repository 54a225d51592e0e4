//! How much there is of everything.

use std::time::Duration;

use frontdesk_model::*;

use super::{Bench, LEASE};

async fn lane(bench: &Bench, lane: Lane, channel: &str) -> Option<(u64, u64, u64, Option<Timestamp>)> {
    let census = bench.store.census().await.unwrap();
    let found: Vec<_> = census
        .lanes
        .iter()
        .filter(|counted| counted.lane == lane && counted.channel.as_str() == channel)
        .map(|counted| (counted.ready, counted.claimed, counted.parked, counted.oldest_at))
        .collect();
    assert!(found.len() < 2, "{found:?}");
    found.first().copied()
}

/// By status.
pub async fn conversations_and_dead_letters_are_counted(bench: Bench) {
    assert_eq!(bench.store.census().await.unwrap(), Census::default());
    for (name, status) in
        [("a", Status::Open), ("b", Status::Pending), ("c", Status::Resolved), ("d", Status::Resolved)]
    {
        let (id, _) = bench.say(name).await;
        bench.finish(&bench.one(Lane::Agent).await).await;
        bench.apply(id, vec![Effect::SetStatus(status), Effect::SetOwner(Owner::Desk)]).await;
    }
    let (other, _) = bench.say("e").await;
    bench.bury(&bench.one(Lane::Agent).await).await;
    bench.apply(other, vec![Effect::SetChannel("other".parse().unwrap())]).await;
    let expected = Census { lanes: Vec::new(), open: 2, pending: 1, resolved: 2, dead_letters: 1 };
    assert_eq!(bench.store.census().await.unwrap(), expected);
}

/// By what they wait for, and since when.
pub async fn lanes_with_something_to_do_are_counted(bench: Bench) {
    let start = bench.clock.now();
    let minute = Duration::from_secs(60);
    for name in ["a", "b", "c", "d"] {
        bench.say(name).await;
        bench.clock.advance(minute);
    }
    assert_eq!(lane(&bench, Lane::Agent, "shop").await, Some((4, 0, 0, Some(start))));
    assert_eq!(lane(&bench, Lane::Deliver, "shop").await, None);
    let first = bench.one(Lane::Agent).await;
    let second = bench.one(Lane::Agent).await;
    bench.park(&second, minute, None, 1).await;
    assert_eq!(lane(&bench, Lane::Agent, "shop").await, Some((2, 1, 1, Some(start))));
    bench.settle(&first, vec![bench.reply().1], Then::Advance).await;
    assert_eq!(lane(&bench, Lane::Agent, "shop").await, Some((2, 0, 1, Some(start.plus(minute)))));
    let now = bench.clock.now();
    assert_eq!(lane(&bench, Lane::Deliver, "shop").await, Some((1, 0, 0, Some(now))));
    bench.apply(first.conversation.id, vec![Effect::SetChannel("other".parse().unwrap())]).await;
    assert_eq!(lane(&bench, Lane::Deliver, "shop").await, None);
    assert_eq!(lane(&bench, Lane::Deliver, "other").await, Some((1, 0, 0, Some(now))));
    bench.clock.advance(minute);
    assert_eq!(lane(&bench, Lane::Agent, "shop").await, Some((3, 0, 0, Some(start.plus(minute)))));
    bench.claim(Lane::Agent, 9).await;
    assert_eq!(lane(&bench, Lane::Agent, "shop").await, Some((0, 3, 0, Some(start.plus(minute)))));
    bench.clock.advance(LEASE);
    assert_eq!(lane(&bench, Lane::Agent, "shop").await, Some((3, 0, 0, Some(start.plus(minute)))), "nobody's again");
}

/// Of a replay, the event's own time counts.
pub async fn what_is_replayed_is_as_old_as_its_event(bench: Bench) {
    let start = bench.clock.now();
    bench.say("a").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.clock.advance(Duration::from_secs(60));
    bench.say("a").await;
    assert_eq!(lane(&bench, Lane::Agent, "shop").await.unwrap().3, Some(bench.clock.now()));
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    assert_eq!(lane(&bench, Lane::Agent, "shop").await, Some((1, 0, 0, Some(start))));
}
