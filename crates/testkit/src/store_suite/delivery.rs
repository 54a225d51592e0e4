//! Outbound messages: status and frozen parts.

use frontdesk_model::*;

use super::{Bench, rows, said};

fn frozen(text: &str) -> FrozenPart {
    FrozenPart(serde_json::json!({ "text": text }))
}

fn freeze(message: MessageId) -> Effect {
    Effect::Freeze { message, parts: vec![frozen("one"), frozen("two")] }
}

async fn refused(bench: &Bench, conversation: ConversationId, effects: Vec<Effect>) {
    let append = bench.appending(conversation, Vec::new(), effects);
    let answer = bench.store.append(append).await;
    assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
}

/// By the guard for whoever asks, by refusal for whoever does not.
pub async fn parts_are_frozen_once(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let message = bench.queue_reply(id).await;
    let claim = bench.one(Lane::Deliver).await;
    let guards = vec![Guard::NotFrozen(message)];
    let settle = |effects| Settle { guards: guards.clone(), ..bench.settling(&claim, effects, Then::Keep) };
    refused(&bench, id, vec![Effect::Freeze { message, parts: Vec::new() }]).await;
    let first = bench.store.settle(settle(vec![freeze(message)])).await.unwrap().applied;
    assert!(matches!(first, Applied::Done { .. }), "{first:?}");
    let other = Effect::Freeze { message, parts: vec![frozen("other")] };
    let second = bench.store.settle(settle(vec![other.clone()])).await.unwrap().applied;
    assert!(matches!(second, Applied::Guarded { failed: Guard::NotFrozen(of), .. } if of == message), "{second:?}");
    refused(&bench, id, vec![other]).await;
    let parts = bench.store.parts(message).await.unwrap();
    let expected = ["one", "two"].map(|text| Part { frozen: frozen(text), state: PartState::Ready });
    assert_eq!(parts, expected);
    assert_eq!(bench.store.message(message).await.unwrap().unwrap().1.status, Some(DeliveryStatus::Sending));
}

/// Found by the next holder as the last one left it.
pub async fn a_claim_shows_the_status_and_every_part(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let message = bench.queue_reply(id).await;
    let claim = bench.one(Lane::Deliver).await;
    assert_eq!(claim.delivery, Some(Delivery { status: DeliveryStatus::Queued, parts: Vec::new() }));
    bench.settle(&claim, vec![freeze(message)], Then::Keep).await;
    let sent = PartState::Sent { external_id: Some("77".into()) };
    let states = [(0, PartState::Intent), (0, sent.clone()), (1, PartState::Intent)];
    for (index, state) in states {
        bench.settle(&claim, vec![Effect::SetPart { message, index, state }], Then::Keep).await;
    }
    bench.clock.advance(super::LEASE);
    let again = bench.one(Lane::Deliver).await.delivery.unwrap();
    let states: Vec<_> = again.parts.iter().map(|part| part.state.clone()).collect();
    assert_eq!((again.status, states), (DeliveryStatus::Sending, vec![sent, PartState::Intent]));
}

/// In the list of messages too.
pub async fn a_status_is_known_by_the_messages_id(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let message = bench.queue_reply(id).await;
    bench.apply(id, vec![Effect::SetDelivery { message, status: DeliveryStatus::Uncertain }]).await;
    let (conversation, record) = bench.store.message(message).await.unwrap().unwrap();
    assert_eq!((conversation, record.seq, record.message.id), (id, Seq(2), message));
    assert_eq!(record.status, Some(DeliveryStatus::Uncertain));
    let listed = bench.store.messages(id, None, rows(10)).await.unwrap().unwrap().data;
    assert_eq!(listed[0], record);
    assert_eq!(listed[1].status, None);
}

/// What is sent has a status from the start, and nothing else ever has one: no inbound message and no private note.
pub async fn only_what_is_sent_has_a_status(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let outbound = || said(bench.message_id(), Direction::Outbound);
    let queued = Some(DeliveryStatus::Queued);
    let inbound = said(bench.message_id(), Direction::Inbound);
    let note = || Message { private: true, ..outbound() };
    refused(&bench, id, vec![bench.event(outbound(), Vec::new(), None)]).await;
    refused(&bench, id, vec![bench.event(inbound, Vec::new(), queued)]).await;
    refused(&bench, id, vec![bench.event(note(), Vec::new(), queued)]).await;
    let kept = note();
    bench.apply(id, vec![bench.event(kept.clone(), Vec::new(), None)]).await;
    let (_, record) = bench.store.message(kept.id).await.unwrap().unwrap();
    assert_eq!((record.message, record.status), (kept, None));
}

/// A verb changes its own conversation and no other.
pub async fn another_conversations_message_is_out_of_reach(bench: Bench) {
    let (mine, _) = bench.say("mine").await;
    let (other, _) = bench.say("other").await;
    let message = bench.queue_reply(other).await;
    refused(&bench, mine, vec![Effect::SetDelivery { message, status: DeliveryStatus::Sent }]).await;
    refused(&bench, mine, vec![freeze(message)]).await;
    bench.apply(other, vec![freeze(message)]).await;
    refused(&bench, mine, vec![Effect::SetPart { message, index: 0, state: PartState::Failed }]).await;
    refused(&bench, other, vec![Effect::SetPart { message, index: 2, state: PartState::Failed }]).await;
    let letter = bench.dead_letter(&bench.one(Lane::Deliver).await);
    refused(&bench, mine, vec![Effect::AddDeadLetter(letter)]).await;
    let parts = bench.store.parts(message).await.unwrap();
    assert!(parts.iter().all(|part| part.state == PartState::Ready));
}

/// It is not ours to send.
pub async fn an_inbound_message_has_no_delivery(bench: Bench) {
    let inbound = bench.inbound(&super::thread("order-77"));
    let message = inbound.message;
    let Committed::New { conversation, .. } = bench.store.commit_inbound(inbound).await.unwrap() else { panic!() };
    refused(&bench, conversation, vec![Effect::SetDelivery { message, status: DeliveryStatus::Sent }]).await;
    refused(&bench, conversation, vec![freeze(message)]).await;
    let with_status = bench.event(said(bench.message_id(), Direction::Inbound), Vec::new(), Some(DeliveryStatus::Sent));
    refused(&bench, conversation, vec![with_status]).await;
}

/// Else nobody could say what became of it.
pub async fn an_outbound_message_needs_a_status(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    refused(&bench, id, vec![bench.event(said(bench.message_id(), Direction::Outbound), Vec::new(), None)]).await;
    assert_eq!(bench.log(id).await.len(), 1);
}
