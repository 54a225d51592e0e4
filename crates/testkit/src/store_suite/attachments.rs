//! Attachments: what a message says of them, and that what has still to be fetched is found.

use std::time::Duration;

use frontdesk_model::*;

use super::{Bench, contact, said, thread};

const MINUTE: Duration = Duration::from_secs(60);

fn pending(message: MessageId, place: u8) -> Attachment {
    let state = AttachmentState::Pending { at: FileAt::Url("https://files.example/photo.jpg?key=1".into()), tries: 0 };
    Attachment { id: AttachmentId::of_message(message, place), name: "foto \u{1f600}.jpg".into(), state }
}

fn stored(message: MessageId, place: u8) -> Attachment {
    let state = AttachmentState::Stored(Stored {
        media_type: "image/jpeg".into(),
        size: 1234,
        sha256: ContentHash([place.wrapping_add(7); 32]),
    });
    Attachment { state, ..pending(message, place) }
}

fn failed(message: MessageId, place: u8) -> Attachment {
    let state = AttachmentState::Failed { reason: "it is larger than 25 MB".into() };
    Attachment { state, ..pending(message, place) }
}

/// A customer's message with these attachments, committed as one that has something to be fetched by `at`.
async fn say_with(bench: &Bench, name: &str, make: &[fn(MessageId, u8) -> Attachment], at: Timestamp) -> Said {
    let mut inbound = bench.inbound(&thread(name));
    let attachments = (0..).zip(make).map(|(place, make)| make(inbound.message, place)).collect();
    let message = Message { attachments, ..said(inbound.message, Direction::Inbound) };
    let wakes = vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }];
    inbound.effects = vec![
        Effect::PutParticipant(contact(1)),
        bench.event(message.clone(), wakes, None),
        Effect::MarkFetching { event: None, at },
    ];
    match bench.store.commit_inbound(inbound).await.unwrap() {
        Committed::New { conversation, seq, .. } => Said { conversation, seq, message },
        duplicate @ Committed::Duplicate { .. } => panic!("{duplicate:?}"),
    }
}

struct Said {
    conversation: ConversationId,
    seq: Seq,
    message: Message,
}

impl Said {
    async fn event(&self, bench: &Bench) -> Event {
        let log = bench.log(self.conversation).await;
        log.into_iter().find(|event| event.seq == self.seq).unwrap()
    }

    /// The effect that says what has become of its attachments.
    async fn become_of(&self, bench: &Bench, attachments: Vec<Attachment>) -> Effect {
        let event = self.event(bench).await;
        let message = Box::new(Message { attachments, ..self.message.clone() });
        Effect::Rewrite { event: event.id, at: event.at, message }
    }
}

async fn due(bench: &Bench) -> Vec<ConversationId> {
    bench.store.timers(9).await.unwrap().due.iter().map(|conversation| conversation.id).collect()
}

/// In both directions, in every state, wherever it is read.
pub async fn what_a_message_brings_stays_with_it(bench: Bench) {
    let now = bench.clock.now();
    let said = say_with(&bench, "order-77", &[pending, stored, failed], now).await;
    let expected = said.message.clone();
    assert_eq!(expected.attachments.len(), 3);
    assert_eq!(said.event(&bench).await.body.message(), Some(&expected));
    let (_, record) = bench.store.message(expected.id).await.unwrap().unwrap();
    assert_eq!(record.message, expected);
    let messages = bench.store.messages(said.conversation, None, super::ALL).await.unwrap().unwrap().data;
    assert_eq!(messages[0].message, expected);
    assert_eq!(bench.one(Lane::Agent).await.event.body.message(), Some(&expected));
    let (reply, effect) = bench.reply();
    let Effect::Append { id, at, wakes, status, .. } = effect else { panic!() };
    let answer = Message { attachments: vec![stored(reply, 0)], ..super::said(reply, Direction::Outbound) };
    let body = EventBody::MessageCreated { message: answer.clone() };
    bench.apply(said.conversation, vec![Effect::Append { id, at, body, wakes, status }]).await;
    assert_eq!(bench.one(Lane::Deliver).await.event.body.message(), Some(&answer));
}

/// Its place, its time and what was made of it stay as they are.
pub async fn what_becomes_of_an_attachment_is_shown_by_its_message(bench: Bench) {
    let said = say_with(&bench, "order-77", &[pending, pending], bench.clock.now()).await;
    let before = said.event(&bench).await;
    let id = said.message.id;
    let now_known = vec![stored(id, 0), failed(id, 1)];
    let told = EventBody::AttachmentUpdated {
        message_id: id,
        attachment_id: AttachmentId::of_message(id, 0),
        state: FetchOutcome::Stored,
    };
    let append = Effect::Append {
        id: bench.event_id(),
        at: bench.clock.now(),
        body: told.clone(),
        wakes: Vec::new(),
        status: None,
    };
    bench.clock.advance(MINUTE);
    bench.apply(said.conversation, vec![said.become_of(&bench, now_known.clone()).await, append]).await;
    let after = said.event(&bench).await;
    assert_eq!((after.id, after.seq, after.at), (before.id, before.seq, before.at));
    assert_eq!(after.body.message().unwrap().attachments, now_known);
    assert_eq!(bench.log(said.conversation).await[1].body, told);
    assert_eq!(bench.conversation(said.conversation).await.last_seq, Seq(2));
    let claim = bench.one(Lane::Agent).await;
    assert_eq!(claim.event.body.message().unwrap().attachments, now_known, "who works on it sees it too");
    assert_eq!(bench.store.message(id).await.unwrap().unwrap().1.message.attachments, now_known);
}

/// What was erased is not written down again by who was fetching for it, and neither is what another conversation said.
pub async fn a_message_that_is_gone_takes_no_attachments(bench: Bench) {
    let said = say_with(&bench, "order-77", &[pending], bench.clock.now()).await;
    let (other, _) = bench.say("order-78").await;
    let effect = said.become_of(&bench, vec![stored(said.message.id, 0)]).await;
    let elsewhere = bench.store.append(bench.appending(other, vec![], vec![effect.clone()])).await;
    assert!(matches!(elsewhere, Err(StoreError::Refused(_))), "{elsewhere:?}");
    let erase = Erase { contact: contact(1).id, known_for_millis: 1000, events: 100 };
    while bench.keeping().erase(erase).await.unwrap() == Erased::More {}
    let gone = bench.store.append(bench.appending(said.conversation, vec![], vec![effect])).await;
    assert!(matches!(gone, Err(StoreError::Refused(_))), "{gone:?}");
    assert_eq!(said.event(&bench).await.body, EventBody::MessageDeleted { message_id: said.message.id });
}

/// By its moment, and until everything that was there is done with; what came meanwhile is found as well.
pub async fn what_has_to_be_fetched_is_found_until_it_is_done_with(bench: Bench) {
    let start = bench.clock.now();
    let first = say_with(&bench, "order-77", &[pending], start.plus(MINUTE)).await;
    let id = first.conversation;
    assert_eq!(due(&bench).await, []);
    assert_eq!(bench.store.timers(9).await.unwrap().next_due, Some(start.plus(MINUTE)));
    bench.say("order-77").await;
    let second = say_with(&bench, "order-77", &[pending], start).await;
    assert_eq!(due(&bench).await, [id], "the earlier moment counts");
    let fetching = |from: Seq, at| Some(Fetching { from, through: second.seq, at });
    assert_eq!(bench.conversation(id).await.fetching, fetching(first.seq, start));
    bench.apply(id, vec![Effect::FetchedThrough { through: first.seq, at: start.plus(2 * MINUTE) }]).await;
    assert_eq!(bench.conversation(id).await.fetching, fetching(first.seq.next(), start.plus(2 * MINUTE)));
    assert_eq!(due(&bench).await, []);
    bench.clock.advance(2 * MINUTE);
    assert_eq!(due(&bench).await, [id]);
    bench.apply(id, vec![Effect::FetchedThrough { through: second.seq, at: start }]).await;
    assert_eq!((bench.conversation(id).await.fetching, due(&bench).await), (None, vec![]));
    bench.apply(id, vec![Effect::SetFetchingAt(start)]).await;
    assert_eq!((bench.conversation(id).await.fetching, due(&bench).await), (None, vec![]), "nothing is to be fetched");
}

/// Who moves the moment on has it.
pub async fn of_two_who_look_one_fetches(bench: Bench) {
    let now = bench.clock.now();
    let id = say_with(&bench, "order-77", &[pending], now).await.conversation;
    let take = |at| (vec![Guard::FetchingAt(now)], vec![Effect::SetFetchingAt(at)]);
    let (guards, effects) = take(now.plus(MINUTE));
    assert!(matches!(bench.append(id, guards, effects).await, Applied::Done { .. }));
    let (guards, effects) = take(now.plus(2 * MINUTE));
    let second = bench.append(id, guards, effects).await;
    assert!(matches!(second, Applied::Guarded { failed: Guard::FetchingAt(_), .. }), "{second:?}");
    assert_eq!(due(&bench).await, []);
    bench.clock.advance(MINUTE);
    assert_eq!(due(&bench).await, [id], "who said nothing more has it no longer");
}

/// Nobody looks for what was forgotten.
pub async fn an_erased_conversation_fetches_nothing(bench: Bench) {
    let id = say_with(&bench, "order-77", &[pending], bench.clock.now()).await.conversation;
    let erase = Erase { contact: contact(1).id, known_for_millis: 1000, events: 100 };
    while bench.keeping().erase(erase).await.unwrap() == Erased::More {}
    assert_eq!((bench.conversation(id).await.fetching, due(&bench).await), (None, vec![]));
}

/// And by nothing else's.
pub async fn a_lane_that_waits_for_attachments_is_woken_by_their_message(bench: Bench) {
    let said = say_with(&bench, "order-77", &[pending], bench.clock.now()).await;
    let claim = bench.one(Lane::Agent).await;
    let waiting = Waiting::Attachments(said.message.id);
    bench.park(&claim, MINUTE, Some(waiting.clone()), 0).await;
    let other = Waiting::Attachments(bench.message_id());
    assert_eq!((bench.store.wake(Waiting::Agent).await, bench.store.wake(other).await), (Ok(0), Ok(0)));
    assert_eq!(bench.try_one(Lane::Agent).await, None);
    assert_eq!(bench.store.wake(waiting).await, Ok(1));
    assert_eq!(bench.one(Lane::Agent).await.event.seq, said.seq);
}

/// Whoever asks.
pub async fn that_files_lie_beside_the_store_is_known_for_ever(bench: Bench) {
    assert_eq!(bench.store.has_files().await, Ok(false));
    assert_eq!(bench.store.note_files().await, Ok(false));
    assert_eq!(bench.store.has_files().await, Ok(true));
    assert_eq!(bench.store.note_files().await, Ok(true));
}
