//! What messages are known under, what becomes of them after they were said, and what channels remember.

use frontdesk_model::*;

use super::{Bench, checking::expect_no_flaw, contact, said, thread};

/// A key of that number.
pub fn key(number: u8) -> DedupeKey {
    DedupeKey([number; 16])
}

fn ada() -> Author {
    Author::Contact { id: contact(1).id, name: Some("Ada".into()) }
}

/// A message that has everything that few have.
pub fn rich(id: MessageId, direction: Direction) -> Message {
    Message {
        buttons: vec![Button { id: "yes".into(), label: "Ja \u{1f44d}".into() }],
        quote: Some("the words".into()),
        forwarded_from: Some("Bo".into()),
        edited_at: Some(Timestamp::from_millis(1_700_000_000_123)),
        settles_at: Some(Timestamp::from_millis(1_700_000_001_123)),
        ..said(id, direction)
    }
}

/// Every event that says what became of a message.
pub fn happenings(message: &Message, seq: Seq) -> Vec<EventBody> {
    let reaction = Reaction { message_id: Some(message.id), reaction: "\u{1f44d}".into(), by: ada() };
    vec![
        EventBody::MessageEdited {
            message: Box::new(message.clone()),
            seq,
            before: Content::Markdown("**before**".into()),
            by: ada(),
        },
        EventBody::MessageWithdrawn { message_id: message.id, by: Author::Agent },
        EventBody::ReactionAdded(reaction.clone()),
        EventBody::ReactionRemoved(Reaction { message_id: None, ..reaction }),
        EventBody::ButtonPressed {
            button: Button { id: "yes".into(), label: "Ja".into() },
            message_id: Some(message.id),
            by: ada(),
        },
        EventBody::Unreadable { raw: "{\"update_id\":".into(), reason: "it ends too early".into() },
    ]
}

/// An effect that adds it.
pub fn appended(bench: &Bench, body: EventBody) -> Effect {
    match bench.note() {
        Effect::Append { id, at, .. } => Effect::Append { id, at, body, wakes: Vec::new(), status: None },
        other => panic!("{other:?}"),
    }
}

/// Under the key of its commit, and under those that were added.
pub async fn a_message_is_found_by_what_it_came_with_and_by_what_it_is_known_as(bench: Bench) {
    let inbound = bench.inbound(&thread("order-77"));
    let (dedupe, message) = (inbound.dedupe, inbound.message);
    let Committed::New { conversation, .. } = bench.store.commit_inbound(inbound).await.unwrap() else {
        panic!("it is new");
    };
    let reply = bench.queue_reply(conversation).await;
    bench
        .apply(conversation, vec![Effect::Know { key: key(1), message: reply }, Effect::Know { key: key(2), message }])
        .await;
    let keys = [dedupe, key(1), key(2), key(3)];
    let found = bench.store.find(&thread("order-77"), &keys).await.unwrap();
    assert_eq!(found.conversation, Some(conversation));
    assert_eq!(found.messages, [Some(message), Some(reply), Some(message), None]);
    bench.apply(conversation, vec![Effect::Know { key: key(1), message }]).await;
    let found = bench.store.find(&thread("order-77"), &[key(1)]).await.unwrap();
    assert_eq!(found.messages, [Some(message)], "the latest counts");
    let nothing = bench.store.find(&thread("nobody"), &[]).await.unwrap();
    assert_eq!(nothing, Found::default());
    expect_no_flaw(&bench).await;
}

/// By its id, in its log and in a claim.
pub async fn a_message_that_is_rewritten_reads_so_wherever_it_is_read(bench: Bench) {
    let (conversation, seq) = bench.say("order-77").await;
    let event = bench.log(conversation).await.into_iter().find(|event| event.seq == seq).unwrap();
    let before = event.body.message().unwrap().clone();
    let now = Message { external_id: before.external_id.clone(), ..rich(before.id, Direction::Inbound) };
    bench
        .apply(conversation, vec![Effect::Rewrite { event: event.id, at: event.at, message: Box::new(now.clone()) }])
        .await;
    let (_, record) = bench.store.message(before.id).await.unwrap().unwrap();
    assert_eq!(record.message, now);
    assert_eq!(bench.log(conversation).await[0].body.message(), Some(&now));
    let claim = bench.one(Lane::Agent).await;
    assert_eq!(claim.event.body.message(), Some(&now));
    expect_no_flaw(&bench).await;
}

/// In the log, in order.
pub async fn what_becomes_of_messages_is_read_as_it_was_written(bench: Bench) {
    let (conversation, seq) = bench.say("order-77").await;
    let message = bench.log(conversation).await[0].body.message().unwrap().clone();
    let bodies = happenings(&message, seq);
    let effects = bodies.iter().map(|body| appended(&bench, body.clone())).collect();
    bench.apply(conversation, effects).await;
    let log = bench.log(conversation).await;
    let read: Vec<EventBody> = log.into_iter().skip(1).map(|event| event.body).collect();
    assert_eq!(read, bodies);
    expect_no_flaw(&bench).await;
}

/// It is the first unanswered, or the next.
pub async fn a_pressed_button_waits_for_an_answer_like_a_message(bench: Bench) {
    let (conversation, seq) = bench.say("order-77").await;
    let message = bench.log(conversation).await[0].body.message().unwrap().clone();
    bench.apply(conversation, vec![Effect::AnsweredThrough(Some(seq))]).await;
    assert_eq!(bench.conversation(conversation).await.unanswered_from, None);
    let press = happenings(&message, seq).remove(4);
    bench.apply(conversation, vec![appended(&bench, press.clone()), Effect::MarkUnanswered]).await;
    assert_eq!(bench.conversation(conversation).await.unanswered_from, Some(seq.next()));
    bench.apply(conversation, vec![appended(&bench, press), Effect::AnsweredThrough(Some(seq.next()))]).await;
    let left = bench.conversation(conversation).await.unanswered_from;
    assert_eq!(left, Some(seq.next().next()), "the second press still waits");
}

/// A second one changes nothing.
pub async fn an_origin_is_noted_once(bench: Bench) {
    let (conversation, _) = bench.say("order-77").await;
    bench.apply(conversation, vec![Effect::SetOrigin("web-42".into())]).await;
    bench.apply(conversation, vec![Effect::SetOrigin("other".into())]).await;
    assert_eq!(bench.conversation(conversation).await.origin.as_deref(), Some("web-42"));
}

/// Each name for itself.
pub async fn what_channels_remember_stays_until_it_is_replaced(bench: Bench) {
    assert_eq!(bench.store.recall("telegram/1/moved:2").await.unwrap(), None);
    bench.store.remember("telegram/1/moved:2", "-5 \u{1f600}").await.unwrap();
    bench.store.remember("telegram/2/moved:2", "-6").await.unwrap();
    assert_eq!(bench.store.recall("telegram/1/moved:2").await.unwrap().as_deref(), Some("-5 \u{1f600}"));
    bench.store.remember("telegram/1/moved:2", "-7").await.unwrap();
    assert_eq!(bench.store.recall("telegram/1/moved:2").await.unwrap().as_deref(), Some("-7"));
}

/// What has to be fetched for an event in the middle of a log is looked for from there on.
pub async fn an_earlier_event_can_bring_something_to_be_fetched(bench: Bench) {
    let (conversation, first) = bench.say("order-77").await;
    bench.say("order-77").await;
    let now = bench.clock.now();
    bench.apply(conversation, vec![Effect::MarkFetching { event: Some(first), at: now }]).await;
    let fetching = bench.conversation(conversation).await.fetching.unwrap();
    assert_eq!((fetching.from, fetching.through, fetching.at), (first, first, now));
    bench.apply(conversation, vec![Effect::MarkFetching { event: None, at: now }]).await;
    let fetching = bench.conversation(conversation).await.fetching.unwrap();
    assert_eq!((fetching.from, fetching.through), (first, first.next()));
}

/// It is a duplicate when it comes again, and nothing is missing.
pub async fn what_comes_and_is_no_message_is_taken_once(bench: Bench) {
    let mut inbound = bench.inbound(&thread("unreadable:1"));
    let body = EventBody::Unreadable { raw: "{".into(), reason: "it ends too early".into() };
    inbound.effects = vec![Effect::SetStatus(Status::Resolved), appended(&bench, body)];
    let Committed::New { conversation, .. } = bench.store.commit_inbound(inbound.clone()).await.unwrap() else {
        panic!("it is new");
    };
    let again = bench.store.commit_inbound(inbound.clone()).await.unwrap();
    assert_eq!(again, Committed::Duplicate { conversation, message: inbound.message });
    expect_no_flaw(&bench).await;
}
