//! Requests that a caller may repeat under a key of its own.

use std::{sync::Arc, time::Duration};

use frontdesk_model::*;
use tokio::task::JoinSet;

use super::{Bench, thread};

const DAY: Duration = Duration::from_secs(24 * 3600);
const A_LITTLE: Duration = Duration::from_millis(1);

fn once(key: u8) -> Once {
    Once { key: [key; 32], fingerprint: [1; 32], answer: format!("the answer to {key}"), keep: DAY }
}

/// One reply, under a key.
fn request(bench: &Bench, conversation: ConversationId, once: Once) -> Append {
    let effects = vec![bench.reply().1, Effect::BumpVersion];
    Append { once: Some(once), ..bench.appending(conversation, Vec::new(), effects) }
}

async fn send(bench: &Bench, append: Append) -> Applied {
    bench.store.append(append).await.unwrap()
}

/// The second one says what the first came to.
pub async fn a_repeated_request_has_its_effects_once(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let done = send(&bench, request(&bench, id, once(1))).await;
    let version = Version(2);
    assert_eq!(done, Applied::Done { version, last_seq: Seq(2) });
    bench.say("order-77").await;
    let repeated = Applied::Repeated { conversation: id, version, answer: "the answer to 1".into() };
    for _ in 0..2 {
        // What a repetition would answer does not count: the first answer does.
        let again = Once { answer: "another".into(), keep: Duration::ZERO, ..once(1) };
        assert_eq!(send(&bench, request(&bench, id, again)).await, repeated);
    }
    assert_eq!(bench.log(id).await.len(), 3);
    assert_eq!(
        send(&bench, request(&bench, id, once(2))).await,
        Applied::Done { version: Version(4), last_seq: Seq(4) }
    );
}

/// Whichever conversation it names now, and though its guards would fail.
pub async fn a_request_is_known_in_every_conversation_and_before_its_guards(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let (other, _) = bench.say("other").await;
    let nobody = bench.new_conversation(&thread("nobody")).id;
    send(&bench, request(&bench, id, once(1))).await;
    for conversation in [id, other, nobody] {
        let guards = vec![Guard::VersionIs(Version(99))];
        let again = Append { guards, ..request(&bench, conversation, once(1)) };
        let answer = send(&bench, again).await;
        assert!(matches!(answer, Applied::Repeated { conversation, .. } if conversation == id), "{answer:?}");
    }
    assert_eq!(bench.log(other).await.len(), 1);
}

/// And has no effect, and does not take the first one's place.
pub async fn a_key_with_another_fingerprint_is_refused(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    send(&bench, request(&bench, id, once(1))).await;
    let other = Once { fingerprint: [2; 32], ..once(1) };
    assert_eq!(send(&bench, request(&bench, id, other)).await, Applied::KeyReused);
    assert!(matches!(send(&bench, request(&bench, id, once(1))).await, Applied::Repeated { .. }));
    assert_eq!(bench.log(id).await.len(), 2);
}

/// It may come again and have them then.
pub async fn a_request_that_had_no_effects_is_not_kept(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let guards = vec![Guard::OwnerIs(Owner::Desk)];
    let guarded = Append { guards, ..request(&bench, id, once(1)) };
    assert!(matches!(send(&bench, guarded).await, Applied::Guarded { .. }));
    let nobody = bench.new_conversation(&thread("nobody")).id;
    assert_eq!(send(&bench, request(&bench, nobody, once(1))).await, Applied::NotFound);
    let nowhere = Effect::SetPart { message: bench.message_id(), index: 0, state: PartState::Failed };
    let refused = Append { effects: vec![bench.note(), nowhere], ..request(&bench, id, once(1)) };
    assert!(matches!(bench.store.append(refused).await, Err(StoreError::Refused(_))));
    assert!(matches!(send(&bench, request(&bench, id, once(1))).await, Applied::Done { .. }));
}

/// That it came is all that is kept of it.
pub async fn a_request_that_asks_for_nothing_is_known_too(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let nothing = |once| Append { effects: Vec::new(), ..request(&bench, id, once) };
    let before = bench.conversation(id).await;
    assert!(matches!(send(&bench, nothing(once(1))).await, Applied::Done { last_seq: Seq(1), .. }));
    assert_eq!(bench.conversation(id).await, before);
    assert!(matches!(send(&bench, request(&bench, id, once(1))).await, Applied::Repeated { .. }));
    assert_eq!(bench.log(id).await.len(), 1);
}

/// At least.
pub async fn a_request_is_known_for_as_long_as_it_asked(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    send(&bench, request(&bench, id, once(1))).await;
    bench.clock.advance(DAY - A_LITTLE);
    // However much has been written since.
    for _ in 0..1500 {
        bench.apply(id, vec![Effect::BumpVersion]).await;
    }
    assert!(matches!(send(&bench, request(&bench, id, once(1))).await, Applied::Repeated { .. }));
}

/// The others are told of it.
pub async fn the_same_request_many_times_at_once_has_its_effects_once(bench: Bench) {
    let bench = Arc::new(bench);
    let (id, _) = bench.say("order-77").await;
    let mut calls = JoinSet::new();
    for _ in 0..24 {
        let bench = Arc::clone(&bench);
        calls.spawn(async move { send(&bench, request(&bench, id, once(1))).await });
    }
    let answers = calls.join_all().await;
    let done = answers.iter().filter(|answer| matches!(answer, Applied::Done { .. })).count();
    let repeated = answers.iter().filter(|answer| matches!(answer, Applied::Repeated { .. })).count();
    assert_eq!((done, repeated), (1, 23));
    assert_eq!(bench.log(id).await.len(), 2);
}

/// Whoever did not hear the first answer hears it, not that it was a repetition.
pub async fn a_repeated_operation_is_looked_at_before_the_key(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let append = request(&bench, id, once(1));
    let first = send(&bench, append.clone()).await;
    assert!(matches!(first, Applied::Done { .. }));
    assert_eq!(send(&bench, append).await, first);
    let again = request(&bench, id, once(1));
    let repeated = send(&bench, again.clone()).await;
    assert_eq!(send(&bench, again).await, repeated);
}
