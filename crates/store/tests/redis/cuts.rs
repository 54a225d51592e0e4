//! The connection breaks between a verb's script and its answer: each verb has its effects once.

use std::time::Duration;

use frontdesk_model::*;
use frontdesk_testkit::{
    redis_proxy::{Lose, Proxy},
    store_suite::{Bench, LEASE, contact, thread},
};

use crate::server::{bench, options, shared_server};

async fn cut_bench() -> (Bench, Proxy) {
    let proxy = Proxy::to(shared_server().port);
    let bench = bench(options(proxy.url())).await;
    (bench, proxy)
}

/// Names an operation as its key does.
fn mark(operation: OperationId) -> Vec<u8> {
    operation.to_string().split_once('_').unwrap().1.as_bytes().to_vec()
}

/// Calls, hears nothing because `lose` is lost, and calls again.
macro_rules! twice {
    ($proxy:ident, $mark:expr, $lose:expr, $call:expr) => {{
        $proxy.cut_at($mark, 0, $lose);
        let first = $call.await;
        assert!(matches!(first, Err(StoreError::Unavailable(_))), "{first:?}");
        assert!($proxy.has_cut());
        $call.await.unwrap()
    }};
}

const BOTH: [Lose; 2] = [Lose::Call, Lose::Answer];

#[tokio::test]
async fn a_commit_is_taken_once() {
    let (bench, proxy) = cut_bench().await;
    for lose in BOTH {
        let inbound = bench.inbound(&thread("order-77"));
        let mark = inbound.message.to_bytes();
        let committed = twice!(proxy, mark, lose, bench.store.commit_inbound(inbound.clone()));
        assert_eq!(matches!(committed, Committed::Duplicate { .. }), lose == Lose::Answer, "{committed:?}");
    }
    let (id, seq) = bench.say("order-77").await;
    assert_eq!((seq, bench.log(id).await.len()), (Seq(3), 3));
}

#[tokio::test]
async fn an_append_has_its_effects_once() {
    let (bench, proxy) = cut_bench().await;
    let (id, _) = bench.say("order-77").await;
    for (lose, last) in BOTH.into_iter().zip(2..) {
        let append = bench.appending(id, Vec::new(), vec![bench.note(), Effect::BumpVersion]);
        let applied = twice!(proxy, mark(append.operation), lose, bench.store.append(append.clone()));
        assert_eq!(applied, Applied::Done { version: Version(last), last_seq: Seq(last) });
    }
    assert_eq!(bench.log(id).await.len(), 3);
}

#[tokio::test]
async fn a_settling_write_has_its_effects_once_and_its_next_claim_is_not_lost() {
    let (bench, proxy) = cut_bench().await;
    for (lose, name) in BOTH.into_iter().zip(["a", "b"]) {
        let (id, _) = bench.say(name).await;
        let claim = bench.one(Lane::Agent).await;
        let next = vec![ClaimNext { lane: Lane::Deliver, lease: LEASE }];
        let settle = Settle { next, ..bench.settling(&claim, vec![bench.reply().1], Then::Advance) };
        let settled = twice!(proxy, mark(settle.operation), lose, bench.store.settle(settle.clone()));
        assert!(matches!(settled.applied, Applied::Done { last_seq: Seq(2), .. }), "{settled:?}");
        let [deliver] = settled.next.try_into().unwrap();
        assert_eq!((deliver.lane, bench.log(id).await.len()), (Lane::Deliver, 2));
        bench.finish(&deliver).await;
        assert!(bench.try_one(Lane::Deliver).await.is_none() && bench.try_one(Lane::Agent).await.is_none());
    }
}

#[tokio::test]
async fn a_release_parks_once() {
    let (bench, proxy) = cut_bench().await;
    for (lose, name) in BOTH.into_iter().zip(["a", "b"]) {
        bench.say(name).await;
        let claim = bench.one(Lane::Agent).await;
        let release = Release {
            operation: bench.operation(),
            claim: claim.id,
            until: bench.clock.now(),
            waiting: None,
            progress: Progress { attempts: 1, ..Progress::default() },
        };
        let held = twice!(proxy, mark(release.operation), lose, bench.store.release(release.clone()));
        assert_eq!(held, Held::Yes);
        let again = bench.one(Lane::Agent).await;
        assert_eq!(again.progress.attempts, 1);
        bench.finish(&again).await;
    }
}

#[tokio::test]
async fn renewing_and_waking_may_simply_be_repeated() {
    let (bench, proxy) = cut_bench().await;
    bench.say("a").await;
    let claim = bench.one(Lane::Agent).await;
    for lose in BOTH {
        let held = twice!(proxy, claim.id.to_bytes(), lose, bench.store.renew(claim.id, LEASE));
        assert_eq!(held, Held::Yes);
    }
    for (lose, woken) in BOTH.into_iter().zip([1, 0]) {
        let claim = if lose == Lose::Call { claim.clone() } else { bench.one(Lane::Agent).await };
        bench.park(&claim, LEASE, Some(Waiting::Agent), 1).await;
        assert_eq!(twice!(proxy, b"waiting", lose, bench.store.wake(Waiting::Agent)), woken);
    }
    assert!(bench.try_one(Lane::Agent).await.is_some());
}

/// Cut at the first of its two steps, it has taken nothing and takes nothing; at the second, it hands out what it took.
#[tokio::test]
async fn a_claim_takes_nothing_that_nobody_hears_of_for_long() {
    let (bench, proxy) = cut_bench().await;
    for (passing, lose, given) in [(0, Lose::Call, 3), (0, Lose::Answer, 0), (1, Lose::Call, 0), (1, Lose::Answer, 3)] {
        for name in ["a", "b", "c"] {
            bench.say(name).await;
        }
        let operation = bench.operation();
        let order = ClaimOrder::LongestDue;
        let request = ClaimRequest { operation, lane: Lane::Agent, limit: 5, lease: LEASE, order };
        proxy.cut_at(mark(operation), passing, lose);
        let first = bench.store.claim(request).await;
        assert!(matches!(first, Err(StoreError::Unavailable(_))), "{first:?}");
        let again = bench.store.claim(request).await.unwrap();
        assert_eq!(again.claims.len(), given, "{passing} {lose:?}");
        for claim in again.claims.iter().chain(&bench.claim(Lane::Agent, 5).await.claims) {
            bench.finish(claim).await;
        }
        assert!(bench.try_one(Lane::Agent).await.is_none());
    }
}

#[tokio::test]
async fn a_dead_letter_is_replayed_once() {
    let (bench, proxy) = cut_bench().await;
    for (lose, name) in BOTH.into_iter().zip(["a", "b"]) {
        let (id, _) = bench.say(name).await;
        let letter = bench.bury(&bench.one(Lane::Agent).await).await;
        let requeue = Requeue {
            operation: bench.operation(),
            dead_letter: letter.id,
            guards: Vec::new(),
            effects: vec![bench.note()],
            end: DeadLetterEnd::Replay,
        };
        let applied = twice!(proxy, mark(requeue.operation), lose, bench.store.requeue(requeue.clone()));
        assert_eq!(applied, Applied::Done { version: Version(1), last_seq: Seq(2) });
        assert_eq!(bench.log(id).await.len(), 2);
        bench.finish(&bench.one(Lane::Agent).await).await;
        assert!(bench.try_one(Lane::Agent).await.is_none());
    }
}

fn once(key: u8) -> Once {
    Once { key: [key; 32], fingerprint: [1; 32], answer: "done".into(), keep: Duration::from_secs(3600) }
}

/// Two conversations of different partitions.
async fn two(bench: &Bench) -> (ConversationId, ConversationId) {
    let (a, b) = (bench.say("a").await.0, bench.say("b").await.0);
    assert_ne!(a.partition(), b.partition());
    (a, b)
}

/// Wherever it was cut, whichever conversation the repetition names.
#[tokio::test]
async fn a_request_has_its_effects_once_whoever_died_in_between() {
    let (bench, proxy) = cut_bench().await;
    let (a, b) = two(&bench).await;
    // The calls of a request: where it is to be carried out; carrying it out.
    for (key, (step, lose, carried_out)) in
        (1..).zip([(0, Lose::Call, false), (0, Lose::Answer, false), (1, Lose::Call, false), (1, Lose::Answer, true)])
    {
        let append = |id, effects| Append { once: Some(once(key)), ..bench.appending(id, Vec::new(), effects) };
        let before = (bench.log(a).await.len(), bench.log(b).await.len());
        // Whoever dies here is not heard of again: what comes next is another operation, for another conversation.
        let name: String = [key; 32].iter().map(|byte| format!("{byte:02x}")).collect();
        proxy.cut_at(&name, step, lose);
        let first = bench.store.append(append(a, vec![bench.note()])).await;
        assert!(matches!(first, Err(StoreError::Unavailable(_))), "{first:?}");
        let second = bench.store.append(append(b, vec![bench.note()])).await.unwrap();
        let third = bench.store.append(append(a, vec![bench.note()])).await.unwrap();
        let place = if carried_out { a } else { b };
        assert_eq!(matches!(second, Applied::Done { .. }), !carried_out, "{step} {lose:?}: {second:?}");
        assert!(matches!(third, Applied::Repeated { conversation, .. } if conversation == place), "{third:?}");
        let after = (bench.log(a).await.len(), bench.log(b).await.len());
        let (at_a, at_b) = (usize::from(carried_out), usize::from(!carried_out));
        assert_eq!(after, (before.0 + at_a, before.1 + at_b), "{step} {lose:?}");
    }
}

/// Not even when whoever withdrew it died before naming the new place.
#[tokio::test]
async fn a_request_that_was_withdrawn_and_forgotten_is_carried_out_after_all() {
    let (bench, proxy) = cut_bench().await;
    let (a, b) = two(&bench).await;
    let append = |id| Append { once: Some(once(9)), ..bench.appending(id, Vec::new(), vec![bench.note()]) };
    let guarded = Append { guards: vec![Guard::OwnerIs(Owner::Desk)], ..append(a) };
    assert!(matches!(bench.store.append(guarded).await.unwrap(), Applied::Guarded { .. }));
    // The steps for another conversation: where; withdrawing there; where from now on.
    let name: String = [9_u8; 32].iter().map(|byte| format!("{byte:02x}")).collect();
    proxy.cut_at(&name, 2, Lose::Call);
    assert!(bench.store.append(append(b)).await.is_err());
    assert!(matches!(bench.store.append(append(a)).await.unwrap(), Applied::Done { .. }));
    assert!(matches!(bench.store.append(append(b)).await.unwrap(), Applied::Repeated { .. }));
    assert_eq!((bench.log(a).await.len(), bench.log(b).await.len()), (2, 1));
}

/// What a conversation says of its contact is known to that conversation at once, and reaches the contact when somebody looks.
#[tokio::test]
async fn what_was_said_of_a_contact_is_brought_by_whoever_comes_later() {
    let proxy = Proxy::to(shared_server().port);
    // The server knows the scripts by then: each is one call.
    bench(options(proxy.url())).await.say("order-77").await;
    let shared = options(proxy.url());
    let bench = bench(shared.clone()).await;
    // The calls that hold the contact's id: the commit; the word to the contact's partition, which is lost.
    proxy.cut_at(contact(1).id.to_bytes(), 1, Lose::Call);
    bench.say("order-77").await;
    assert!(proxy.has_cut());
    assert_eq!(bench.store.contact(contact(1).id).await.unwrap(), None);
    assert_eq!(bench.one(Lane::Agent).await.contact, Some(contact(1)), "whoever claims knows");
    let filter = ConversationFilter { contact: Some(contact(1).id), ..ConversationFilter::default() };
    bench.clock.advance(Duration::from_secs(11));
    let other = crate::server::open_on(shared, &bench.clock).await;
    while other.contact(contact(1).id).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let page = PageRequest { limit: 5, page: None };
    assert_eq!(other.conversations(filter, page).await.unwrap().data.len(), 1);
}
