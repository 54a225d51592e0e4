//! What leaves a store, and what stays of it.

use std::time::Duration;

use frontdesk_model::*;

use super::{
    ALL, Bench,
    checking::expect_no_flaw,
    contact,
    finding::{appended, happenings, key},
    rows, said, thread,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const EIGHT_DAYS: i64 = 8 * 24 * 60 * 60 * 1000;

/// One pass, in steps of so many events.
async fn retire(bench: &Bench, before: Timestamp, events: usize) -> Retired {
    let (mut all, mut resume) = (Retired::default(), None);
    loop {
        let step = Retire { before, known_for_millis: EIGHT_DAYS, events, resume };
        let done = bench.keeping().retire(step).await.unwrap();
        all.events += done.events;
        all.conversations += done.conversations;
        match done.resume {
            Some(next) => resume = Some(next),
            None => return all,
        }
    }
}

/// An erasure from beginning to end; how many steps it took.
async fn erase(bench: &Bench, contact: ContactId, events: usize) -> usize {
    for steps in 1..1000 {
        match bench.keeping().erase(Erase { contact, known_for_millis: EIGHT_DAYS, events }).await.unwrap() {
            Erased::More => {}
            Erased::Done => return steps,
            Erased::NotFound => panic!("no such contact"),
        }
    }
    panic!("an erasure without an end");
}

/// A message of the second contact in the thread of this name.
async fn other_says(bench: &Bench, name: &str) -> ConversationId {
    let mut inbound = bench.inbound(&thread(name));
    let mut message = said(inbound.message, Direction::Inbound);
    message.author = Author::Contact { id: contact(2).id, name: Some("Bo".into()) };
    inbound.effects = vec![
        Effect::PutParticipant(contact(2)),
        bench.event(message, vec![Wake { lane: Lane::Agent, only_if_owner: None }], None),
        Effect::MarkUnanswered,
    ];
    match bench.store.commit_inbound(inbound).await.unwrap() {
        Committed::New { conversation, .. } | Committed::Duplicate { conversation, .. } => conversation,
    }
}

async fn answer_all(bench: &Bench) {
    while let Some(claim) = bench.try_one(Lane::Agent).await {
        bench.finish(&claim).await;
    }
    while let Some(claim) = bench.try_one(Lane::Deliver).await {
        bench.finish(&claim).await;
    }
}

fn places(log: &[Event]) -> Vec<u64> {
    log.iter().map(|event| event.seq.0).collect()
}

/// And its places are not counted anew.
pub async fn what_is_older_goes_from_the_front_of_its_log(bench: Bench) {
    let (conversation, _) = bench.say("order-77").await;
    bench.say("order-77").await;
    answer_all(&bench).await;
    bench.clock.advance(DAY);
    let moment = bench.clock.now();
    bench.say("order-77").await;
    bench.say("order-78").await;
    answer_all(&bench).await;
    let retired = retire(&bench, moment, 100).await;
    assert_eq!((retired.events, retired.conversations), (2, 0));
    assert_eq!(places(&bench.log(conversation).await), [3]);
    let left = bench.conversation(conversation).await;
    assert_eq!((left.first_seq, left.last_seq), (Seq(3), Seq(3)));
    let messages = bench.store.messages(conversation, None, ALL).await.unwrap().unwrap().data;
    assert_eq!(messages.len(), 1);
    let (_, seq) = bench.say("order-77").await;
    assert_eq!(seq, Seq(4));
    assert_eq!(retire(&bench, moment, 100).await, Retired::default(), "nothing more is old");
}

/// However old it is.
pub async fn what_has_still_to_be_done_stays_with_what_came_after_it(bench: Bench) {
    let (conversation, _) = bench.say("order-77").await;
    let reply = bench.queue_reply(conversation).await;
    bench.clock.advance(DAY);
    bench.clock.advance(DAY);
    let moment = bench.clock.now();
    assert_eq!(retire(&bench, moment, 100).await.events, 0);
    let agent = bench.one(Lane::Agent).await;
    bench.finish(&agent).await;
    assert_eq!(retire(&bench, moment, 100).await.events, 1, "the question is answered, its answer is not sent");
    let deliver = bench.one(Lane::Deliver).await;
    assert_eq!(deliver.event.body.message().map(|message| message.id), Some(reply));
    bench.finish(&deliver).await;
    assert_eq!(retire(&bench, moment, 100).await.events, 1);
}

/// A contact who takes part elsewhere stays.
pub async fn an_empty_log_goes_with_its_conversation_and_its_contacts(bench: Bench) {
    let (old, _) = bench.say("order-77").await;
    let both = other_says(&bench, "order-78").await;
    answer_all(&bench).await;
    bench.clock.advance(DAY);
    let moment = bench.clock.now();
    other_says(&bench, "order-79").await;
    answer_all(&bench).await;
    let retired = retire(&bench, moment, 100).await;
    assert_eq!((retired.events, retired.conversations), (2, 2));
    assert_eq!(bench.store.conversation(old).await.unwrap(), None);
    assert_eq!(bench.store.conversation(both).await.unwrap(), None);
    assert!(bench.store.events(old, Seq::ZERO, ALL).await.unwrap().is_none());
    assert_eq!(bench.store.contact(contact(1).id).await.unwrap(), None);
    assert_eq!(bench.store.contact(contact(2).id).await.unwrap(), Some(contact(2)));
    let (anew, seq) = bench.say("order-77").await;
    assert_ne!(anew, old);
    assert_eq!(seq, Seq(1));
    let listed = bench.store.conversations(ConversationFilter::default(), PageRequest { limit: 10, page: None }).await;
    assert_eq!(listed.unwrap().data.len(), 2);
}

/// Its sender gets the first answer; later it is a new message.
pub async fn a_message_that_is_gone_is_known_for_as_long_as_was_asked(bench: Bench) {
    let first = bench.inbound(&thread("order-77"));
    let again = || CommitInbound { dedupe: first.dedupe, ..bench.inbound(&thread("order-77")) };
    let Committed::New { conversation, .. } = bench.store.commit_inbound(first.clone()).await.unwrap() else {
        panic!()
    };
    answer_all(&bench).await;
    bench.clock.advance(DAY);
    assert_eq!(retire(&bench, bench.clock.now(), 100).await.conversations, 1);
    let known = Committed::Duplicate { conversation, message: first.message };
    assert_eq!(bench.store.commit_inbound(again()).await.unwrap(), known);
    bench.clock.advance(7 * DAY);
    retire(&bench, bench.clock.now(), 100).await;
    assert_eq!(bench.store.commit_inbound(again()).await.unwrap(), known);
    bench.clock.advance(2 * DAY);
    retire(&bench, bench.clock.now(), 100).await;
    assert!(matches!(bench.store.commit_inbound(again()).await.unwrap(), Committed::New { .. }));
}

/// Each step looks at so much and no more.
pub async fn a_pass_goes_on_where_its_last_step_ended(bench: Bench) {
    for number in 0..10 {
        bench.say(&format!("order-{number}")).await;
    }
    // One that stays, between those that go.
    let held = bench.claim(Lane::Agent, 1).await.claims.remove(0);
    answer_all(&bench).await;
    bench.clock.advance(DAY);
    let before = bench.clock.now();
    let (mut steps, mut gone, mut resume) = (0, 0, None);
    loop {
        let step = Retire { before, known_for_millis: 0, events: 3, resume };
        let done = bench.keeping().retire(step).await.unwrap();
        assert!(done.events <= 3, "{done:?}");
        (steps, gone, resume) = (steps + 1, gone + done.events, done.resume);
        if resume.is_none() {
            break;
        }
    }
    assert_eq!(gone, 9);
    assert!(steps >= 3);
    assert!(bench.store.conversation(held.conversation.id).await.unwrap().is_some());
    let foreign = Retire { before, known_for_millis: 0, events: 3, resume: Some("nothing".into()) };
    assert!(matches!(bench.keeping().retire(foreign).await, Err(StoreError::Refused(_))));
}

/// And with the last of them the desk need not look.
pub async fn dead_letters_go_with_their_events(bench: Bench) {
    let (conversation, _) = bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.clock.advance(DAY);
    let moment = bench.clock.now();
    bench.say("order-77").await;
    assert_eq!(retire(&bench, moment, 100).await.events, 1);
    assert_eq!(bench.store.dead_letter(letter.id).await.unwrap(), None);
    assert_eq!(bench.conversation(conversation).await.attention, None);
}

/// Positions that are further on stay good.
pub async fn who_follows_the_changes_is_told_what_is_gone(bench: Bench) {
    let filter = ChangeFilter::default;
    let start = bench.store.changes(None, filter(), ALL).await.unwrap().position;
    bench.say("order-77").await;
    answer_all(&bench).await;
    let read = bench.store.changes(Some(start.clone()), filter(), ALL).await.unwrap();
    assert!(!read.lost && read.data.len() == 1);
    bench.clock.advance(DAY);
    let moment = bench.clock.now();
    assert_eq!(retire(&bench, moment, 100).await.events, 1);
    let late = bench.store.changes(Some(start), filter(), ALL).await.unwrap();
    assert!(late.lost && late.data.is_empty());
    let up_to_date = bench.store.changes(Some(read.position), filter(), ALL).await.unwrap();
    assert!(!up_to_date.lost && up_to_date.data.is_empty());
    bench.say("order-78").await;
    let next = bench.store.changes(Some(up_to_date.position), filter(), rows(10)).await.unwrap();
    assert!(!next.lost && next.data.len() == 1, "a position never comes again");
}

fn deleted(event: &Event) -> Option<MessageId> {
    match event.body {
        EventBody::MessageDeleted { message_id } => Some(message_id),
        _ => None,
    }
}

/// Both sides of what was said.
pub async fn an_erased_contact_leaves_places_in_the_log_and_nothing_else(bench: Bench) {
    let inbound = bench.inbound(&thread("order-77"));
    let (dedupe, question) = (inbound.dedupe, inbound.message);
    let Committed::New { conversation, .. } = bench.store.commit_inbound(inbound).await.unwrap() else { panic!() };
    let reply = bench.queue_reply(conversation).await;
    answer_all(&bench).await;
    let parts = vec![FrozenPart(serde_json::json!({"text": "It ships."}))];
    bench.apply(conversation, vec![Effect::Freeze { message: reply, parts }]).await;
    bench.apply(conversation, vec![bench.note()]).await;
    erase(&bench, contact(1).id, 100).await;
    let log = bench.log(conversation).await;
    assert_eq!(places(&log), [1, 2, 3]);
    assert_eq!(log.iter().map(deleted).collect::<Vec<_>>(), [Some(question), Some(reply), None]);
    assert!(bench.store.messages(conversation, None, ALL).await.unwrap().unwrap().data.is_empty());
    assert_eq!(bench.store.message(question).await.unwrap(), None);
    assert_eq!(bench.store.parts(reply).await.unwrap(), []);
    assert_eq!(bench.store.contact(contact(1).id).await.unwrap(), None);
    assert_eq!(bench.keeping().erasures().await.unwrap(), []);
    let left = bench.conversation(conversation).await;
    assert_eq!((left.status, left.participants), (Status::Resolved, vec![]));
    assert!(!left.thread.thread.as_str().contains("order"), "{:?}", left.thread);
    let filter = ConversationFilter { contact: Some(contact(1).id), ..ConversationFilter::default() };
    let listed = bench.store.conversations(filter, PageRequest { limit: 10, page: None }).await.unwrap();
    assert!(listed.data.is_empty());
    // A repeat of the sender is not said anew.
    let again = CommitInbound { dedupe, ..bench.inbound(&thread("order-77")) };
    let known = Committed::Duplicate { conversation, message: question };
    assert_eq!(bench.store.commit_inbound(again).await.unwrap(), known);
}

/// What was claimed is not the claimer's any more.
pub async fn an_erased_conversation_is_not_worked_on_any_more(bench: Bench) {
    let (conversation, _) = bench.say("order-77").await;
    bench.bury(&bench.one(Lane::Agent).await).await;
    bench.say("order-77").await;
    bench.queue_reply(conversation).await;
    let claim = bench.one(Lane::Agent).await;
    erase(&bench, contact(1).id, 100).await;
    assert_eq!(bench.settle(&claim, Vec::new(), Then::Advance).await, Applied::LeaseLost);
    assert!(bench.try_one(Lane::Agent).await.is_none());
    assert!(bench.try_one(Lane::Deliver).await.is_none());
    let letters = bench.store.dead_letters(PageRequest { limit: 10, page: None }).await.unwrap();
    assert!(letters.data.is_empty());
    let left = bench.conversation(conversation).await;
    assert_eq!((left.attention, left.unanswered_from), (None, None));
}

/// Who writes there again is somebody new.
pub async fn an_erased_thread_begins_anew(bench: Bench) {
    let (old, _) = bench.say("order-77").await;
    erase(&bench, contact(1).id, 100).await;
    let (new, seq) = bench.say("order-77").await;
    assert_ne!(new, old);
    assert_eq!(seq, Seq(1));
    assert_eq!(bench.store.contact(contact(1).id).await.unwrap(), Some(contact(1)));
    assert_eq!(bench.one(Lane::Agent).await.conversation.id, new);
}

/// The conversation goes on with them.
pub async fn others_keep_what_they_said(bench: Bench) {
    let (conversation, _) = bench.say("order-77").await;
    other_says(&bench, "order-77").await;
    bench.say("order-77").await;
    let held = bench.one(Lane::Agent).await;
    erase(&bench, contact(1).id, 100).await;
    assert_eq!(bench.settle(&held, Vec::new(), Then::Advance).await, Applied::LeaseLost, "its question is gone");
    let log = bench.log(conversation).await;
    assert_eq!(log.iter().map(|event| deleted(event).is_some()).collect::<Vec<_>>(), [true, false, true]);
    let left = bench.conversation(conversation).await;
    assert_eq!(left.participants, [contact(2).id]);
    assert_eq!(left.thread, thread("order-77"));
    assert_eq!(left.unanswered_from, Some(Seq(2)));
    let next = bench.one(Lane::Agent).await;
    assert_eq!(next.event.seq, Seq(2), "the agent is asked what is left to ask");
    bench.finish(&next).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// Also after the caller was gone.
pub async fn a_long_conversation_is_erased_in_steps_that_can_be_resumed(bench: Bench) {
    let mut ids = Vec::new();
    for name in ["order-77", "order-78"] {
        for _ in 0..25 {
            ids.push(bench.say(name).await.0);
        }
    }
    ids.dedup();
    let one = contact(1).id;
    let step = Erase { contact: one, known_for_millis: EIGHT_DAYS, events: 10 };
    assert_eq!(bench.keeping().erase(step).await.unwrap(), Erased::More);
    assert_eq!(bench.keeping().erasures().await.unwrap(), [one]);
    assert!(erase(&bench, one, 10).await >= 5);
    for id in ids {
        assert!(bench.log(id).await.iter().all(|event| deleted(event).is_some()));
    }
    assert_eq!(bench.keeping().erasures().await.unwrap(), []);
}

/// Nothing is begun for them.
pub async fn who_is_unknown_is_not_erased(bench: Bench) {
    let step = Erase { contact: contact(9).id, known_for_millis: EIGHT_DAYS, events: 10 };
    assert_eq!(bench.keeping().erase(step).await.unwrap(), Erased::NotFound);
    assert_eq!(bench.keeping().erasures().await.unwrap(), []);
}

/// The places in the log stay.
pub async fn an_erased_contact_leaves_no_edit_no_reaction_and_no_press(bench: Bench) {
    let (conversation, seq) = bench.say("order-77").await;
    let message = bench.log(conversation).await[0].body.message().unwrap().clone();
    let mut effects: Vec<Effect> = happenings(&message, seq).into_iter().map(|body| appended(&bench, body)).collect();
    effects.push(Effect::Know { key: key(1), message: message.id });
    effects.push(Effect::SetOrigin("web-42".into()));
    bench.apply(conversation, effects).await;
    loop {
        let erase = Erase { contact: contact(1).id, known_for_millis: 1000, events: 3 };
        if bench.keeping().erase(erase).await.unwrap() == Erased::Done {
            break;
        }
    }
    let log = bench.log(conversation).await;
    let left = serde_json::to_string(&log).unwrap();
    for word in ["before", "order?", "Ada", "\u{1f44d}", "Ja", "update_id", "web-42"] {
        assert!(!left.contains(word), "{word} in {left}");
    }
    assert_eq!(log.len(), 7, "every place stays");
    assert_eq!(bench.conversation(conversation).await.origin, None);
    expect_no_flaw(&bench).await;
}
