//! All of a verb or nothing.

use std::sync::Arc;

use frontdesk_model::*;
use tokio::task::JoinSet;

use super::{Bench, rows};

/// With a claim and without.
pub async fn a_guard_that_fails_leaves_everything_as_it_was(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let before = (bench.conversation(id).await, bench.log(id).await);
    let version = before.0.version;
    for failed in [Guard::VersionIs(Version(99)), Guard::OwnerIs(Owner::Desk)] {
        let effects = || vec![bench.reply().1, Effect::SetOwner(Owner::Desk), Effect::BumpVersion];
        assert_eq!(bench.append(id, vec![failed], effects()).await, Applied::Guarded { failed, version });
        let settle = Settle { guards: vec![failed], ..bench.settling(&claim, effects(), Then::Advance) };
        assert_eq!(bench.store.settle(settle).await.unwrap().applied, Applied::Guarded { failed, version });
    }
    assert_eq!((bench.conversation(id).await, bench.log(id).await), before);
    assert!(bench.try_one(Lane::Deliver).await.is_none());
}

/// In the order of the call.
pub async fn the_first_guard_that_fails_is_named(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let version = bench.conversation(id).await.version;
    let failed = Guard::OwnerIs(Owner::Desk);
    let guards = vec![Guard::VersionIs(version), failed, Guard::VersionIs(Version(99))];
    assert_eq!(bench.append(id, guards, Vec::new()).await, Applied::Guarded { failed, version });
}

/// An effect cannot make its own guard hold or fail; the answer tells the version after it.
pub async fn guards_look_at_the_state_before_the_effects(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let version = bench.conversation(id).await.version;
    let guards = vec![Guard::VersionIs(version), Guard::OwnerIs(Owner::Agent)];
    let effects = vec![Effect::BumpVersion, Effect::SetOwner(Owner::Desk), bench.note()];
    let applied = bench.append(id, guards, effects).await;
    assert_eq!(applied, Applied::Done { version: Version(version.0 + 1), last_seq: Seq(2) });
    let guards = vec![Guard::VersionIs(version)];
    assert!(matches!(bench.append(id, guards, vec![Effect::BumpVersion]).await, Applied::Guarded { .. }));
}

/// The worker can settle in another way.
pub async fn a_failed_guard_keeps_the_claim(bench: Bench) {
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let guards = vec![Guard::OwnerIs(Owner::Desk)];
    let settle = Settle { guards, ..bench.settling(&claim, Vec::new(), Then::Advance) };
    assert!(matches!(bench.store.settle(settle).await.unwrap().applied, Applied::Guarded { .. }));
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.finish(&claim).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// What contradicts the contract is refused as a whole.
pub async fn a_refused_effect_undoes_those_before_it(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let before = (bench.conversation(id).await, bench.log(id).await);
    let nowhere = Effect::SetPart { message: bench.message_id(), index: 0, state: PartState::Failed };
    let effects = || vec![bench.reply().1, Effect::SetOwner(Owner::Desk), nowhere.clone()];
    let append = bench.appending(id, Vec::new(), effects());
    assert!(matches!(bench.store.append(append).await, Err(StoreError::Refused(_))));
    let settle = bench.settling(&claim, effects(), Then::Advance);
    assert!(matches!(bench.store.settle(settle).await, Err(StoreError::Refused(_))));
    assert_eq!((bench.conversation(id).await, bench.log(id).await), before);
    assert!(bench.try_one(Lane::Deliver).await.is_none());
    bench.finish(&claim).await;
}

/// Neither by the guards and claims of whoever comes next, nor as a message that is known.
pub async fn nothing_of_a_refused_write_is_remembered(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let before = bench.conversation(id).await;
    let nowhere = || Effect::SetPart { message: bench.message_id(), index: 0, state: PartState::Failed };
    let renamed = Contact { name: Some("Eve".into()), ..super::contact(1) };
    let effects = || {
        let renamed = Effect::PutParticipant(renamed.clone());
        let changes = [Effect::BumpVersion, Effect::SetOwner(Owner::Desk), bench.reply().1, Effect::AgentFollowsTail];
        [vec![renamed, Effect::PutParticipant(super::contact(2))], changes.to_vec(), vec![nowhere()]].concat()
    };
    let inbound = CommitInbound { effects: effects(), ..bench.inbound(&super::thread("order-77")) };
    let stranger = CommitInbound { effects: effects(), ..bench.inbound(&super::thread("stranger")) };
    for refused in [&inbound, &stranger] {
        assert!(matches!(bench.store.commit_inbound(refused.clone()).await, Err(StoreError::Refused(_))));
    }
    let append = bench.appending(id, Vec::new(), effects());
    assert!(matches!(bench.store.append(append.clone()).await, Err(StoreError::Refused(_))));
    let next = vec![ClaimNext { lane: Lane::Deliver, lease: super::LEASE }];
    let settle = Settle { next, ..bench.settling(&claim, effects(), Then::Advance) };
    assert!(matches!(bench.store.settle(settle.clone()).await, Err(StoreError::Refused(_))));
    let guards = vec![Guard::VersionIs(before.version), Guard::OwnerIs(Owner::Agent)];
    let applied = bench.append(id, guards, Vec::new()).await;
    assert_eq!(applied, Applied::Done { version: before.version, last_seq: before.last_seq });
    assert!(bench.try_one(Lane::Deliver).await.is_none());
    // The operations may be repeated with something that is not refused, and so may the message.
    let append = Append { effects: vec![bench.note()], ..append };
    assert!(matches!(bench.store.append(append).await.unwrap(), Applied::Done { .. }));
    let settled = bench.store.settle(Settle { effects: Vec::new(), ..settle }).await.unwrap();
    assert!(matches!(&settled, Settled { applied: Applied::Done { .. }, next } if next.is_empty()), "{settled:?}");
    let claim = Some(ClaimNext { lane: Lane::Agent, lease: super::LEASE });
    let message = inbound.message;
    let said = bench.event(super::said(message, Direction::Inbound), vec![AGENT], None);
    let again = CommitInbound { effects: vec![said], claim, ..inbound };
    let committed = bench.store.commit_inbound(again).await.unwrap();
    let Committed::New { conversation, seq: Seq(3), claim: Some(claim) } = committed else { panic!("{committed:?}") };
    assert_eq!((conversation, claim.contact), (id, Some(super::contact(1))));
    assert_eq!(claim.conversation.participants, [super::contact(1).id]);
    assert_eq!(bench.store.conversation(stranger.new.id).await.unwrap(), None);
}

const AGENT: Wake = Wake { lane: Lane::Agent, only_if_owner: None };

/// Many at once share what they can, never their failures. A message id that exists already is refused.
pub async fn a_refusal_does_not_touch_what_is_written_at_once(bench: Bench) {
    let bench = Arc::new(bench);
    let (id, _) = bench.say("order-77").await;
    let (taken, first) = bench.reply();
    bench.apply(id, vec![first]).await;
    let mut calls = JoinSet::new();
    for number in 0..40 {
        let bench = Arc::clone(&bench);
        calls.spawn(async move {
            let effect = match number % 2 {
                0 => bench.reply().1,
                _ => bench.event(super::said(taken, Direction::Outbound), Vec::new(), Some(DeliveryStatus::Queued)),
            };
            (number, bench.store.append(bench.appending(id, Vec::new(), vec![effect])).await)
        });
    }
    for (number, answer) in calls.join_all().await {
        match number % 2 {
            0 => assert!(matches!(answer, Ok(Applied::Done { .. })), "{answer:?}"),
            _ => assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}"),
        }
    }
    let places: Vec<u64> = bench.log(id).await.iter().map(|event| event.seq.0).collect();
    assert_eq!(places, (1..=22).collect::<Vec<_>>());
}

/// Conversations, dead letters, messages.
pub async fn what_is_unknown_is_not_found(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let nobody = bench.new_conversation(&super::thread("nobody")).id;
    assert_eq!(bench.append(nobody, Vec::new(), vec![Effect::BumpVersion]).await, Applied::NotFound);
    assert_eq!(bench.requeue(&bench.dead_letter(&claim), DeadLetterEnd::Replay).await, Applied::NotFound);
    assert_eq!(bench.store.conversation(nobody).await.unwrap(), None);
    assert_eq!(bench.store.events(nobody, Seq::ZERO, rows(5)).await.unwrap(), None);
    assert_eq!(bench.store.messages(nobody, None, rows(5)).await.unwrap(), None);
    assert_eq!(bench.store.message(bench.message_id()).await.unwrap(), None);
    assert_eq!(bench.store.parts(bench.message_id()).await.unwrap(), []);
    let end = Slice { data: Vec::new(), more: false };
    assert_eq!(bench.store.events(id, Seq(1), rows(5)).await.unwrap(), Some(end));
}

/// A timer that was moved meanwhile is not acted on.
pub async fn a_moment_must_be_exactly_the_one_named(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let (one, two) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));
    let version = bench.conversation(id).await.version;
    for failed in [Guard::SnoozedUntil(one), Guard::AnswerBy(one)] {
        assert_eq!(bench.append(id, vec![failed], Vec::new()).await, Applied::Guarded { failed, version });
    }
    bench.apply(id, vec![Effect::SetSnooze(Some(one)), Effect::SetAnswerBy(Some(two))]).await;
    let holds = vec![Guard::SnoozedUntil(one), Guard::AnswerBy(two)];
    assert!(matches!(bench.append(id, holds, Vec::new()).await, Applied::Done { .. }));
    for failed in [Guard::SnoozedUntil(two), Guard::AnswerBy(one)] {
        assert_eq!(bench.append(id, vec![failed], Vec::new()).await, Applied::Guarded { failed, version });
    }
}

/// And keeps its dead letter.
pub async fn a_requeue_is_guarded(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    let failed = Guard::OwnerIs(Owner::Desk);
    let requeue = |guards| Requeue {
        operation: bench.operation(),
        dead_letter: letter.id,
        guards,
        effects: vec![Effect::BumpVersion],
        end: DeadLetterEnd::Replay,
    };
    let version = bench.conversation(id).await.version;
    let answer = bench.store.requeue(requeue(vec![failed])).await.unwrap();
    assert_eq!(answer, Applied::Guarded { failed, version });
    assert_eq!(bench.store.dead_letter(letter.id).await.unwrap(), Some(letter.clone()));
    assert!(bench.try_one(Lane::Agent).await.is_none());
    let answer = bench.store.requeue(requeue(vec![Guard::OwnerIs(Owner::Agent)])).await.unwrap();
    assert!(matches!(answer, Applied::Done { .. }));
    assert_eq!(bench.one(Lane::Agent).await.turn, Turn::Replay);
}
