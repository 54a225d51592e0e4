//! A check finds nothing in a store that was only used.

use std::{collections::BTreeSet, time::Duration};

use frontdesk_model::*;

use super::{Bench, LEASE, contact};

/// A pass in steps of so many rows: what it found, and how much it looked at.
///
/// # Panics
/// The store cannot be checked, or a check does not end.
pub async fn checked(bench: &Bench, rows: usize) -> Looked {
    let (mut all, mut resume) = (Looked::default(), None);
    for _ in 0..100_000 {
        let step = Look { rows, resume };
        let looked = bench.store.checked().expect("the store can be checked").check(step).await.unwrap();
        all.flaws.extend(looked.flaws);
        all.conversations += looked.conversations;
        all.events += looked.events;
        match looked.resume {
            Some(next) => resume = Some(next),
            None => return all,
        }
    }
    panic!("a check without an end");
}

/// Nothing is found, however large the steps are.
///
/// # Panics
/// Something is.
pub async fn expect_no_flaw(bench: &Bench) {
    for rows in [1, 7, 1000] {
        assert_eq!(checked(bench, rows).await.flaws, [], "in steps of {rows}");
    }
}

/// A reply with two parts: the first is sent, the second ends like this.
pub async fn deliver(bench: &Bench, claim: &Claim, second: PartState, status: DeliveryStatus) {
    let message = claim.event.body.message().unwrap().id;
    let part = |text: &str| FrozenPart(serde_json::json!({ "text": text }));
    let set = |index, state| Effect::SetPart { message, index, state };
    let freeze = Effect::Freeze { message, parts: vec![part("one"), part("two")] };
    bench.settle(claim, vec![freeze, set(0, PartState::Intent)], Then::Keep).await;
    let sent = PartState::Sent { external_id: Some("77".into()) };
    bench.settle(claim, vec![set(0, sent), set(1, PartState::Intent)], Then::Keep).await;
    bench.settle(claim, vec![set(1, second), Effect::SetDelivery { message, status }], Then::Advance).await;
}

/// Some of everything, in one place each: `order-77` has three messages, one of them delivered and one to be answered; `order-78` has
/// a dead letter; `order-79` sleeps and is parked; the agent has been given `order-80`.
pub async fn some_of_everything(bench: &Bench) -> [ConversationId; 4] {
    let (delivered, _) = bench.say("order-77").await;
    bench.finish(&bench.one(Lane::Agent).await).await;
    bench.queue_reply(delivered).await;
    let sent = PartState::Sent { external_id: None };
    deliver(bench, &bench.one(Lane::Deliver).await, sent, DeliveryStatus::Sent).await;
    let (dead, _) = bench.say("order-78").await;
    bench.bury(&bench.one(Lane::Agent).await).await;
    let (parked, _) = bench.say("order-79").await;
    bench.park(&bench.one(Lane::Agent).await, Duration::from_secs(3600), Some(Waiting::Agent), 1).await;
    let tomorrow = bench.clock.now().plus(Duration::from_secs(24 * 3600));
    bench.apply(parked, vec![Effect::SetSnooze(Some(tomorrow)), Effect::SetAssignee(Some("Mia".into()))]).await;
    let (given, _) = bench.say("order-80").await;
    assert_eq!(bench.one(Lane::Agent).await.conversation.id, given);
    bench.say("order-77").await;
    [delivered, dead, parked, given]
}

/// All that may be in a store, and in between too.
pub async fn a_store_that_was_used_has_no_flaw(bench: Bench) {
    assert_eq!(checked(&bench, 100).await, Looked::default(), "an empty one");
    some_of_everything(&bench).await;
    expect_no_flaw(&bench).await;
    let looked = checked(&bench, 1000).await;
    assert_eq!((looked.conversations, looked.events), (4, 6));
    let letter = bench.store.dead_letters(PageRequest { limit: 1, page: None }).await.unwrap().data.remove(0);
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    expect_no_flaw(&bench).await;
    bench.clock.advance(LEASE);
    bench.store.wake(Waiting::Agent).await.unwrap();
    while let Some(claim) = bench.try_one(Lane::Agent).await {
        bench.queue_reply(claim.conversation.id).await;
        bench.finish(&claim).await;
        expect_no_flaw(&bench).await;
    }
    let doubtful = bench.one(Lane::Deliver).await;
    deliver(&bench, &doubtful, PartState::Uncertain, DeliveryStatus::Uncertain).await;
    let partial = bench.one(Lane::Deliver).await;
    deliver(&bench, &partial, PartState::Failed, DeliveryStatus::Partial).await;
    expect_no_flaw(&bench).await;
}

/// Whoever looks in the middle of it sees no flaw either.
pub async fn what_leaves_a_store_leaves_no_flaw(bench: Bench) {
    some_of_everything(&bench).await;
    bench.clock.advance(Duration::from_secs(48 * 3600));
    let (before, mut resume) = (bench.clock.now(), None);
    loop {
        let step = Retire { before, known_for_millis: 1000, events: 1, resume };
        let retired = bench.keeping().retire(step).await.unwrap();
        resume = retired.resume;
        if retired.events > 0 || resume.is_none() {
            expect_no_flaw(&bench).await;
        }
        if resume.is_none() {
            break;
        }
    }
    bench.store.wake(Waiting::Agent).await.unwrap();
    while let Some(claim) = bench.try_one(Lane::Agent).await {
        bench.finish(&claim).await;
    }
    some_of_everything(&bench).await;
    let erase = Erase { contact: contact(1).id, known_for_millis: 1000, events: 1 };
    while bench.keeping().erase(erase).await.unwrap() == Erased::More {
        expect_no_flaw(&bench).await;
    }
    expect_no_flaw(&bench).await;
}

/// Steps of any size come by every event once.
pub async fn a_check_goes_on_where_its_last_step_ended(bench: Bench) {
    for number in 0..5 {
        for _ in 0..4 {
            bench.say(&format!("order-{number}")).await;
        }
    }
    let sizes = [1, 2, 3, 5, 1000];
    let mut seen = BTreeSet::new();
    for rows in sizes {
        let looked = checked(&bench, rows).await;
        seen.insert((looked.conversations, looked.events, looked.flaws.len()));
    }
    assert_eq!(seen, BTreeSet::from([(5, 20, 0)]));
}

/// Nor is a step that looks at nothing.
pub async fn a_place_that_no_step_gave_is_refused(bench: Bench) {
    let store = bench.store.checked().unwrap();
    for (rows, resume) in [(1, Some("elsewhere".to_owned())), (1, Some(String::new()))] {
        let refused = store.check(Look { rows, resume }).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    let first = store.check(Look { rows: 1, resume: None }).await.unwrap();
    let refused = store.check(Look { rows: 0, resume: first.resume }).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}
