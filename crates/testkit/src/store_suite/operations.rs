//! A call that is repeated is not carried out twice.

use std::time::Duration;

use frontdesk_model::*;

use super::{Bench, LEASE};

const NEARLY_TEN_MINUTES: Duration = Duration::from_secs(9 * 60 + 59);

/// Whatever happened since.
pub async fn a_repeated_append_repeats_its_answer(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let effects = vec![bench.reply().1, Effect::BumpVersion];
    let append = bench.appending(id, Vec::new(), effects);
    let first = bench.store.append(append.clone()).await.unwrap();
    bench.say("order-77").await;
    bench.clock.advance(NEARLY_TEN_MINUTES);
    assert_eq!(bench.store.append(append).await.unwrap(), first);
    assert_eq!(bench.log(id).await.len(), 3);
}

/// The operation is looked at before the fence.
pub async fn a_repeated_settle_repeats_its_answer_though_its_claim_is_over(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let settle = bench.settling(&claim, vec![bench.reply().1], Then::Advance);
    let first = bench.store.settle(settle.clone()).await.unwrap();
    assert!(matches!(first.applied, Applied::Done { .. }));
    bench.say("order-77").await;
    bench.one(Lane::Agent).await;
    bench.clock.advance(NEARLY_TEN_MINUTES);
    assert_eq!(bench.store.settle(settle).await.unwrap(), first);
    assert_eq!(bench.log(id).await.len(), 3);
    let late = bench.settle(&claim, Vec::new(), Then::Advance).await;
    assert_eq!(late, Applied::LeaseLost);
}

/// And does not park the lane again.
pub async fn a_repeated_release_repeats_its_answer(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let release = Release {
        operation: bench.operation(),
        claim: claim.id,
        until: bench.clock.now(),
        waiting: None,
        progress: Progress::default(),
    };
    assert_eq!(bench.store.release(release.clone()).await.unwrap(), Held::Yes);
    let next = bench.one(Lane::Agent).await;
    assert_eq!(bench.store.release(release).await.unwrap(), Held::Yes);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.finish(&next).await;
}

/// The dead letter is gone; the second call says what the first said.
pub async fn a_repeated_requeue_repeats_its_answer(bench: Bench) {
    bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    let end = DeadLetterEnd::Replay;
    let (operation, guards, effects) = (bench.operation(), Vec::new(), vec![Effect::BumpVersion]);
    let requeue = Requeue { operation, dead_letter: letter.id, guards, effects, end };
    let first = bench.store.requeue(requeue.clone()).await.unwrap();
    assert!(matches!(first, Applied::Done { .. }));
    bench.finish(&bench.one(Lane::Agent).await).await;
    assert_eq!(bench.store.requeue(requeue).await.unwrap(), first);
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// With the same fences, and no others beside them.
pub async fn a_repeated_claim_hands_out_the_same_claims(bench: Bench) {
    for name in ["a", "b", "c"] {
        bench.say(name).await;
    }
    let request = ClaimRequest {
        operation: bench.operation(),
        lane: Lane::Agent,
        limit: 2,
        lease: LEASE,
        order: ClaimOrder::LongestDue,
    };
    let first = bench.store.claim(request).await.unwrap().claims;
    bench.clock.advance(LEASE / 2);
    let again = bench.store.claim(request).await.unwrap().claims;
    assert_eq!(again, first);
    assert_eq!(first.len(), 2);
    assert_eq!(bench.claim(Lane::Agent, 5).await.claims.len(), 1);
}

/// A repetition takes no work that the first call did not take.
pub async fn a_claim_repeated_after_its_claims_are_over_hands_out_nothing_new(bench: Bench) {
    let empty = ClaimRequest {
        operation: bench.operation(),
        lane: Lane::Agent,
        limit: 1,
        lease: LEASE,
        order: ClaimOrder::LongestDue,
    };
    assert_eq!(bench.store.claim(empty).await.unwrap().claims, []);
    bench.say("a").await;
    assert_eq!(bench.store.claim(empty).await.unwrap().claims, []);
    let request = ClaimRequest { operation: bench.operation(), ..empty };
    let first = bench.store.claim(request).await.unwrap().claims;
    bench.finish(&first[0]).await;
    bench.say("b").await;
    let again = bench.store.claim(request).await.unwrap().claims;
    assert!(again.iter().all(|claim| claim.id == first[0].id), "{again:?}");
    assert_eq!(bench.claim(Lane::Agent, 5).await.claims.len(), 1);
}

/// Even when the guard would hold by now.
pub async fn a_refusal_by_a_guard_is_repeated_too(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let guards = vec![Guard::OwnerIs(Owner::Desk)];
    let append = bench.appending(id, guards, vec![bench.note()]);
    let first = bench.store.append(append.clone()).await.unwrap();
    assert!(matches!(first, Applied::Guarded { .. }));
    bench.apply(id, vec![Effect::SetOwner(Owner::Desk)]).await;
    assert_eq!(bench.store.append(append).await.unwrap(), first);
    assert_eq!(bench.log(id).await.len(), 1);
}
