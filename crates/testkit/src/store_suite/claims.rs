//! Who holds which lane, and until when.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use frontdesk_model::*;
use tokio::task::JoinSet;

use super::{Bench, LEASE, contact, thread};

const A_LITTLE: Duration = Duration::from_millis(1);

/// Until it is settled.
pub async fn a_claimed_lane_is_given_to_nobody_else(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.clock.advance(LEASE - A_LITTLE);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.finish(&claim).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// Many workers ask at the same time.
pub async fn claims_at_once_never_share_a_lane(bench: Bench) {
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        bench.say(name).await;
    }
    let bench = Arc::new(bench);
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let bench = Arc::clone(&bench);
        calls.spawn(async move { bench.claim(Lane::Agent, 2).await.claims });
    }
    let claims = calls.join_all().await.concat();
    let conversations: BTreeSet<_> = claims.iter().map(|claim| claim.conversation.id).collect();
    let fences: BTreeSet<_> = claims.iter().map(|claim| claim.id).collect();
    assert_eq!((claims.len(), conversations.len(), fences.len()), (7, 7, 7));
}

/// The agent's work and the platform's.
pub async fn lanes_of_one_conversation_do_not_wait_for_each_other(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.queue_reply(id).await;
    let agent = bench.one(Lane::Agent).await;
    let deliver = bench.one(Lane::Deliver).await;
    assert_eq!((agent.event.seq, deliver.event.seq), (Seq(1), Seq(2)));
    bench.finish(&deliver).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.finish(&agent).await;
}

/// One that is held and one that is parked hold up no third.
pub async fn conversations_do_not_wait_for_each_other(bench: Bench) {
    bench.say("held").await;
    bench.one(Lane::Agent).await;
    bench.say("parked").await;
    let claim = bench.one(Lane::Agent).await;
    bench.park(&claim, Duration::from_secs(3600), Some(Waiting::Agent), 1).await;
    let (third, _) = bench.say("third").await;
    assert_eq!(bench.one(Lane::Agent).await.conversation.id, third);
}

/// No write of the old holder has any effect.
pub async fn a_lease_that_is_over_is_claimed_anew_and_the_old_fence_is_refused(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let old = bench.one(Lane::Agent).await;
    bench.clock.advance(LEASE);
    let new = bench.one(Lane::Agent).await;
    assert_ne!(new.id, old.id);
    assert_eq!(new.event, old.event);
    assert_eq!(bench.settle(&old, vec![bench.reply().1], Then::Advance).await, Applied::LeaseLost);
    assert_eq!(bench.settle(&old, vec![Effect::BumpVersion], Then::Keep).await, Applied::LeaseLost);
    assert_eq!(bench.store.renew(old.id, LEASE).await.unwrap(), Held::Gone);
    assert_eq!(bench.park(&old, Duration::ZERO, None, 1).await, Held::Gone);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    assert_eq!(bench.log(id).await.len(), 1);
    bench.finish(&new).await;
}

/// Time is what ends a lease, not the next claim.
pub async fn a_lease_that_is_over_is_refused_though_nobody_else_claimed(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    bench.clock.advance(LEASE);
    assert_eq!(bench.store.renew(claim.id, LEASE).await.unwrap(), Held::Gone);
    assert_eq!(bench.settle(&claim, vec![bench.note()], Then::Advance).await, Applied::LeaseLost);
    assert_eq!(bench.park(&claim, Duration::from_secs(9), None, 1).await, Held::Gone);
    assert_eq!(bench.log(id).await.len(), 1);
    assert_eq!(bench.one(Lane::Agent).await.event.seq, Seq(1));
}

/// As often as it is asked for.
pub async fn renewing_counts_the_lease_from_now(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    for _ in 0..5 {
        bench.clock.advance(LEASE - A_LITTLE);
        assert_eq!(bench.store.renew(claim.id, LEASE).await.unwrap(), Held::Yes);
    }
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.clock.advance(LEASE);
    assert_eq!(bench.store.renew(claim.id, LEASE).await.unwrap(), Held::Gone);
}

/// A fence cannot be made up.
pub async fn renewing_or_releasing_a_strange_claim_does_nothing(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let strange = Claim { id: ClaimId::from_bytes([7; 16]), ..claim.clone() };
    assert_eq!(bench.store.renew(strange.id, LEASE).await.unwrap(), Held::Gone);
    assert_eq!(bench.park(&strange, Duration::ZERO, None, 1).await, Held::Gone);
    assert_eq!(bench.settle(&strange, Vec::new(), Then::Advance).await, Applied::LeaseLost);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.finish(&claim).await;
}

/// Its end makes the lane due.
pub async fn new_work_never_moves_a_leased_lane(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    bench.say("order-77").await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
    assert_eq!(bench.store.renew(claim.id, LEASE).await.unwrap(), Held::Yes);
    bench.finish(&claim).await;
    assert_eq!(bench.one(Lane::Agent).await.event.seq, Seq(2));
}

/// In order, passing by what is for others.
pub async fn a_lane_gives_one_event_after_the_other(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.queue_reply(id).await;
    bench.apply(id, vec![bench.note()]).await;
    bench.say("order-77").await;
    bench.say("order-77").await;
    for seq in [1, 4, 5] {
        let claim = bench.one(Lane::Agent).await;
        assert_eq!((claim.event.seq, claim.turn), (Seq(seq), Turn::Next));
        assert_eq!(claim.conversation, bench.conversation(id).await);
        bench.finish(&claim).await;
    }
    assert!(bench.try_one(Lane::Agent).await.is_none());
    assert_eq!(bench.one(Lane::Deliver).await.event.seq, Seq(2));
}

/// Effects hold, the lane does not move, and the lease ends when it would have.
pub async fn keeping_a_claim_keeps_its_event(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    bench.clock.advance(LEASE - A_LITTLE);
    assert!(matches!(bench.settle(&claim, vec![bench.note()], Then::Keep).await, Applied::Done { .. }));
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.clock.advance(A_LITTLE);
    let again = bench.one(Lane::Agent).await;
    assert_eq!(again.event.seq, Seq(1));
    assert_eq!(bench.log(id).await.len(), 2);
}

/// Not sooner, and `next_due` says when.
pub async fn a_released_lane_is_due_at_its_moment_with_its_progress(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    assert_eq!(claim.progress, Progress::default());
    let span = Duration::from_secs(300);
    let until = bench.clock.now().plus(span);
    assert_eq!(bench.park(&claim, span, Some(Waiting::Agent), 3).await, Held::Yes);
    bench.say("order-77").await;
    bench.clock.advance(span - A_LITTLE);
    let none = bench.claim(Lane::Agent, 5).await;
    assert_eq!((none.claims, none.next_due), (Vec::new(), Some(until)));
    bench.clock.advance(A_LITTLE);
    let again = bench.one(Lane::Agent).await;
    assert_eq!((again.event.seq, again.progress.attempts), (Seq(1), 3));
    assert_eq!(bench.settle(&claim, Vec::new(), Then::Advance).await, Applied::LeaseLost);
}

/// However the lane got past it.
pub async fn progress_ends_with_its_event(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.say("order-77").await;
    bench.park(&bench.one(Lane::Agent).await, Duration::ZERO, None, 3).await;
    bench.finish(&bench.one(Lane::Agent).await).await;
    let second = bench.one(Lane::Agent).await;
    assert_eq!((second.event.seq, second.progress), (Seq(2), Progress::default()));
    // The lane is taken away from under the claim; what the holder reports then is not about the next event.
    bench.apply(id, vec![Effect::AgentFollowsTail]).await;
    bench.park(&second, Duration::ZERO, None, 5).await;
    bench.say("order-77").await;
    let third = bench.one(Lane::Agent).await;
    assert_eq!((third.event.seq, third.progress), (Seq(3), Progress::default()));
}

/// And leaves what waits for something else.
pub async fn waking_makes_due_what_waits_for_that(bench: Bench) {
    let hour = Duration::from_secs(3600);
    let shop = Waiting::Channel { kind: "webhook".parse().unwrap(), account: "shop".parse().unwrap() };
    let other = Waiting::Channel { kind: "webhook".parse().unwrap(), account: "other".parse().unwrap() };
    for (name, waiting) in [("a", Some(shop.clone())), ("b", Some(shop.clone())), ("c", Some(other)), ("d", None)] {
        bench.say(name).await;
        let claim = bench.one(Lane::Agent).await;
        bench.park(&claim, hour, waiting, 1).await;
    }
    assert_eq!(bench.store.wake(Waiting::Agent).await.unwrap(), 0);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    assert_eq!(bench.store.wake(shop).await.unwrap(), 2);
    let woken = bench.claim(Lane::Agent, 10).await;
    assert_eq!(woken.claims.len(), 2);
    assert!(woken.claims.iter().all(|claim| claim.progress.attempts == 1));
    assert_eq!(woken.next_due, Some(bench.clock.now().plus(hour)));
}

/// However many they are.
pub async fn waking_reaches_all_that_wait(bench: Bench) {
    const MANY: usize = 2300;
    let bench = Arc::new(bench);
    let mut said = JoinSet::new();
    for number in 0..MANY {
        let bench = Arc::clone(&bench);
        said.spawn(async move { bench.say(&format!("order-{number}")).await });
    }
    said.join_all().await;
    let mut parked = JoinSet::new();
    for claim in bench.claim(Lane::Agent, MANY).await.claims {
        let bench = Arc::clone(&bench);
        parked.spawn(async move { bench.park(&claim, Duration::from_secs(3600), Some(Waiting::Agent), 1).await });
    }
    assert_eq!(parked.join_all().await, vec![Held::Yes; MANY]);
    assert_eq!(bench.claim(Lane::Agent, 1).await.claims, []);
    assert_eq!(bench.store.wake(Waiting::Agent).await.unwrap(), MANY as u64);
    assert_eq!(bench.claim(Lane::Agent, MANY + 1).await.claims.len(), MANY);
}

/// What was claimed since it waited does not wait any more.
pub async fn waking_leaves_a_claimed_lane_with_its_holder(bench: Bench) {
    bench.say("order-77").await;
    bench.park(&bench.one(Lane::Agent).await, Duration::from_secs(1), Some(Waiting::Agent), 1).await;
    bench.clock.advance(Duration::from_secs(1));
    let claim = bench.one(Lane::Agent).await;
    assert_eq!(bench.store.wake(Waiting::Agent).await.unwrap(), 0);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.finish(&claim).await;
}

/// Whatever the threads are called and however often they wrote since.
pub async fn the_longest_due_comes_first(bench: Bench) {
    let mut order = Vec::new();
    for name in ["c", "a", "d", "b"] {
        order.push(bench.say(name).await.0);
        bench.clock.advance(A_LITTLE);
    }
    bench.say("c").await;
    let mut claimed = Vec::new();
    for limit in [1, 3] {
        claimed.extend(bench.claim(Lane::Agent, limit).await.claims.iter().map(|claim| claim.conversation.id));
    }
    assert_eq!(claimed, order);
}

/// A backlog in one conversation does not starve the others.
pub async fn a_lane_with_much_to_do_lets_others_in_between(bench: Bench) {
    let (busy, _) = bench.say("busy").await;
    bench.say("busy").await;
    bench.clock.advance(A_LITTLE);
    let (other, _) = bench.say("other").await;
    bench.clock.advance(A_LITTLE);
    let mut claimed = Vec::new();
    for _ in 0..3 {
        let claim = bench.one(Lane::Agent).await;
        claimed.push(claim.conversation.id);
        bench.finish(&claim).await;
    }
    assert_eq!(claimed, [busy, other, busy]);
}

/// So that a worker sleeps exactly as long as nothing is due.
pub async fn next_due_names_only_what_nobody_holds(bench: Bench) {
    assert_eq!(bench.claim(Lane::Agent, 1).await.next_due, None);
    bench.say("a").await;
    let held = bench.claim(Lane::Agent, 1).await;
    assert_eq!((held.claims.len(), held.next_due), (1, None));
    bench.say("b").await;
    bench.say("c").await;
    let more = bench.claim(Lane::Agent, 1).await;
    assert_eq!(more.claims.len(), 1);
    assert!(more.next_due.is_some_and(|due| due <= bench.clock.now()), "{:?}", more.next_due);
    assert_eq!(bench.claim(Lane::Deliver, 1).await.next_due, None);
}

/// As they are now.
pub async fn a_claim_shows_who_wrote(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.queue_reply(id).await;
    let renamed = Contact { name: Some("Ada L.".into()), ..contact(1) };
    bench.apply(id, vec![Effect::PutParticipant(renamed.clone())]).await;
    let agent = bench.one(Lane::Agent).await;
    assert_eq!((agent.contact, agent.delivery), (Some(renamed), None));
    assert_eq!(bench.one(Lane::Deliver).await.contact, None);
}

/// One request to an unwell endpoint is not spent on what has just failed, though that has been due for longer.
pub async fn untried_lanes_come_first_when_asked_for(bench: Bench) {
    let (tried, _) = bench.say("tried").await;
    let claim = bench.one(Lane::Agent).await;
    bench.park(&claim, Duration::ZERO, None, 1).await;
    let (untried, _) = bench.say("untried").await;
    let request =
        |order| ClaimRequest { operation: bench.operation(), lane: Lane::Agent, limit: 1, lease: LEASE, order };
    let claims = bench.store.claim(request(ClaimOrder::UntriedFirst)).await.unwrap().claims;
    assert_eq!(claims.iter().map(|claim| claim.conversation.id).collect::<Vec<_>>(), [untried]);
    let claims = bench.store.claim(request(ClaimOrder::UntriedFirst)).await.unwrap().claims;
    assert_eq!(claims.iter().map(|claim| claim.conversation.id).collect::<Vec<_>>(), [tried], "but it gets its turn");
}

/// It would be asked for again and again.
pub async fn a_limit_of_nothing_is_refused(bench: Bench) {
    let request = ClaimRequest {
        operation: bench.operation(),
        lane: Lane::Agent,
        limit: 0,
        lease: LEASE,
        order: ClaimOrder::LongestDue,
    };
    assert!(matches!(bench.store.claim(request).await, Err(StoreError::Refused(_))));
}

const AGENT: ClaimNext = ClaimNext { lane: Lane::Agent, lease: LEASE };
const DELIVER: ClaimNext = ClaimNext { lane: Lane::Deliver, lease: LEASE };

async fn say_and_claim(bench: &Bench, name: &str, next: ClaimNext) -> Option<Claim> {
    let inbound = CommitInbound { claim: Some(next), ..bench.inbound(&thread(name)) };
    match bench.store.commit_inbound(inbound).await.unwrap() {
        Committed::New { claim, .. } => claim.map(|claim| *claim),
        duplicate @ Committed::Duplicate { .. } => panic!("{duplicate:?}"),
    }
}

/// As it would have been by a claim right after it.
pub async fn a_commit_claims_what_it_makes_due(bench: Bench) {
    let claim = say_and_claim(&bench, "order-77", AGENT).await.unwrap();
    let conversation = bench.conversation(claim.conversation.id).await;
    let event = bench.log(conversation.id).await.remove(0);
    let expected = Claim {
        id: claim.id,
        lane: Lane::Agent,
        conversation,
        event,
        turn: Turn::Next,
        batch_from: None,
        progress: Progress::default(),
        contact: Some(contact(1)),
        delivery: None,
    };
    assert_eq!(claim, expected);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.clock.advance(LEASE - A_LITTLE);
    assert_eq!(bench.store.renew(claim.id, LEASE).await.unwrap(), Held::Yes);
    bench.finish(&claim).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// Nor is a claim kept from whoever asks later.
pub async fn a_commit_claims_nothing_that_cannot_be_had(bench: Bench) {
    assert_eq!(say_and_claim(&bench, "order-77", DELIVER).await, None, "nothing to do");
    assert_eq!(say_and_claim(&bench, "order-77", AGENT).await.unwrap().event.seq, Seq(1), "the first, not the newest");
    assert_eq!(say_and_claim(&bench, "order-77", AGENT).await, None, "somebody has it");
    bench.clock.advance(LEASE);
    let claim = say_and_claim(&bench, "order-77", AGENT).await.unwrap();
    bench.park(&claim, LEASE, None, 1).await;
    assert_eq!(say_and_claim(&bench, "order-77", AGENT).await, None, "it waits for its time");
    let known = CommitInbound { claim: Some(AGENT), ..bench.inbound(&thread("other")) };
    bench.store.commit_inbound(CommitInbound { claim: None, ..known.clone() }).await.unwrap();
    let again = bench.store.commit_inbound(known).await.unwrap();
    assert!(matches!(again, Committed::Duplicate { .. }));
    assert_eq!(bench.claim(Lane::Agent, 5).await.claims.len(), 1, "a known message claims nothing");
}

/// While other lanes of the conversation go on.
pub async fn settling_claims_the_lane_that_it_makes_due(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let (message, reply) = bench.reply();
    let settle = Settle { next: vec![DELIVER], ..bench.settling(&claim, vec![reply], Then::Advance) };
    let settled = bench.store.settle(settle.clone()).await.unwrap();
    let [next] = settled.next.as_slice() else { panic!("{settled:?}") };
    assert_eq!((next.lane, next.event.seq, next.turn), (Lane::Deliver, Seq(2), Turn::Next));
    assert_eq!(next.delivery, Some(Delivery { status: DeliveryStatus::Queued, parts: Vec::new() }));
    assert_eq!(next.conversation, bench.conversation(claim.conversation.id).await);
    assert!(bench.try_one(Lane::Deliver).await.is_none());
    // Whoever did not hear the answer is given the same claim, as long as it lasts.
    let again = bench.store.settle(settle.clone()).await.unwrap();
    assert_eq!(again, settled);
    let frozen = vec![FrozenPart(serde_json::json!({ "text": "one" }))];
    assert!(matches!(
        bench.settle(next, vec![Effect::Freeze { message, parts: frozen }], Then::Keep).await,
        Applied::Done { .. }
    ));
    bench.finish(next).await;
    let again = bench.store.settle(settle).await.unwrap();
    assert_eq!((again.applied, again.next), (settled.applied, Vec::new()));
}

/// Nothing to do, somebody's, not settled at all.
pub async fn settling_claims_nothing_that_cannot_be_had(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let next = async |settle: Settle| bench.store.settle(settle).await.unwrap().next.pop();
    let keep = || Settle { next: vec![DELIVER], ..bench.settling(&claim, Vec::new(), Then::Keep) };
    assert_eq!(next(keep()).await, None, "nothing to do");
    bench.queue_reply(id).await;
    let guards = vec![Guard::OwnerIs(Owner::Desk)];
    assert_eq!(next(Settle { guards, ..keep() }).await, None, "the guards do not hold");
    let strange = ClaimId::from_bytes([7; 16]);
    assert_eq!(next(Settle { claim: strange, ..keep() }).await, None, "no claim");
    let held = next(keep()).await.unwrap();
    assert_eq!(next(keep()).await, None, "somebody has it");
    bench.park(&held, LEASE, None, 1).await;
    assert_eq!(next(keep()).await, None, "it waits for its time");
    let own = Settle { next: vec![AGENT], ..bench.settling(&claim, Vec::new(), Then::Keep) };
    assert_eq!(next(own).await, None, "the lane is the settling claim's");
}

/// One request after the other, without asking in between.
pub async fn settling_may_claim_the_same_lanes_next_event(bench: Bench) {
    bench.say("order-77").await;
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let settle = Settle { next: vec![AGENT], ..bench.settling(&claim, Vec::new(), Then::Advance) };
    let next = bench.store.settle(settle).await.unwrap().next.pop().unwrap();
    assert_eq!((next.event.seq, next.id == claim.id), (Seq(2), false));
    let settle = Settle { next: vec![AGENT], ..bench.settling(&next, Vec::new(), Then::Advance) };
    assert_eq!(bench.store.settle(settle).await.unwrap().next, Vec::new());
}

/// What one answer makes due on both sides.
pub async fn settling_may_claim_several_lanes(bench: Bench) {
    bench.say("order-77").await;
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let (_, reply) = bench.reply();
    let settle = Settle { next: vec![DELIVER, AGENT], ..bench.settling(&claim, vec![reply], Then::Advance) };
    let settled = bench.store.settle(settle.clone()).await.unwrap();
    let [deliver, agent] = settled.next.as_slice() else { panic!("{settled:?}") };
    assert_eq!((deliver.lane, deliver.event.seq), (Lane::Deliver, Seq(3)));
    assert_eq!((agent.lane, agent.event.seq), (Lane::Agent, Seq(2)));
    let now = bench.conversation(claim.conversation.id).await;
    assert_eq!((&deliver.conversation, &agent.conversation), (&now, &now));
    assert!(bench.try_one(Lane::Deliver).await.is_none() && bench.try_one(Lane::Agent).await.is_none());
    bench.finish(deliver).await;
    let again = bench.store.settle(settle).await.unwrap();
    assert_eq!((again.applied, again.next.as_slice()), (settled.applied.clone(), std::slice::from_ref(agent)));
    bench.clock.advance(LEASE);
    assert_eq!(bench.one(Lane::Agent).await.event.seq, Seq(2), "both claims end by themselves");
}

fn two_parts(message: MessageId) -> Intend {
    let part = |text: &str| FrozenPart(serde_json::json!({ "text": text }));
    Intend { message, parts: vec![part("one"), part("two")] }
}

/// Whoever claims a message to send it at once says so in the same step.
pub async fn a_message_that_is_claimed_may_be_intended_at_once(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let (message, reply) = bench.reply();
    let intend = Some(two_parts(message));
    let settle = Settle { next: vec![DELIVER], intend, ..bench.settling(&claim, vec![reply], Then::Advance) };
    let settled = bench.store.settle(settle.clone()).await.unwrap();
    let [next] = settled.next.as_slice() else { panic!("{settled:?}") };
    let delivery = next.delivery.clone().unwrap();
    assert_eq!(delivery.status, DeliveryStatus::Sending);
    let states: Vec<PartState> = delivery.parts.iter().map(|part| part.state.clone()).collect();
    assert_eq!(states, [PartState::Intent, PartState::Ready]);
    let frozen: Vec<FrozenPart> = delivery.parts.iter().map(|part| part.frozen.clone()).collect();
    assert_eq!(frozen, two_parts(message).parts);
    assert_eq!(bench.store.parts(message).await.unwrap(), delivery.parts);
    assert_eq!(bench.store.settle(settle).await.unwrap(), settled);
    let guards = vec![Guard::NotFrozen(message)];
    let settle = Settle { guards, ..bench.settling(next, Vec::new(), Then::Keep) };
    assert!(matches!(bench.store.settle(settle).await.unwrap().applied, Applied::Guarded { .. }));
    bench.clock.advance(LEASE);
    assert_eq!(bench.one(Lane::Deliver).await.delivery, Some(delivery), "whoever comes next sees it");
}

/// Another message comes first, or the lane is somebody's.
pub async fn a_message_that_is_not_claimed_is_not_intended(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.say("order-77").await;
    let earlier = bench.queue_reply(id).await;
    let claim = bench.one(Lane::Agent).await;
    let (message, reply) = bench.reply();
    let intend = Some(two_parts(message));
    let settle = Settle { next: vec![DELIVER], intend, ..bench.settling(&claim, vec![reply], Then::Advance) };
    let [next] = bench.store.settle(settle).await.unwrap().next.try_into().unwrap();
    assert_eq!(next.event.body.message().map(|message| message.id), Some(earlier));
    assert_eq!(next.delivery, Some(Delivery { status: DeliveryStatus::Queued, parts: Vec::new() }));
    let claim = bench.one(Lane::Agent).await;
    let (second, reply) = bench.reply();
    let intend = Some(two_parts(second));
    let settle = Settle { next: vec![DELIVER], intend, ..bench.settling(&claim, vec![reply], Then::Advance) };
    assert_eq!(bench.store.settle(settle).await.unwrap().next, Vec::new());
    for message in [earlier, message, second] {
        assert_eq!(bench.store.parts(message).await.unwrap(), Vec::new());
    }
}
