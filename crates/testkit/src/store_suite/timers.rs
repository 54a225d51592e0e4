//! Moments that a conversation waits for.

use std::time::Duration;

use frontdesk_model::*;

use super::{Bench, said, thread};

const MINUTE: Duration = Duration::from_secs(60);
const A_LITTLE: Duration = Duration::from_millis(1);

async fn due(bench: &Bench, limit: usize) -> (Vec<ConversationId>, Option<Timestamp>) {
    let timers = bench.store.timers(limit).await.unwrap();
    (timers.due.iter().map(|conversation| conversation.id).collect(), timers.next_due)
}

/// Not sooner, and until an effect changes that.
pub async fn a_moment_comes_and_stays_until_it_is_changed(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    assert_eq!(due(&bench, 5).await, (vec![], None));
    let at = bench.clock.now().plus(MINUTE);
    bench.apply(id, vec![Effect::SetSnooze(Some(at))]).await;
    bench.clock.advance(MINUTE - A_LITTLE);
    assert_eq!(due(&bench, 5).await, (vec![], Some(at)));
    bench.clock.advance(A_LITTLE);
    for _ in 0..2 {
        assert_eq!(due(&bench, 5).await, (vec![id], None));
    }
    assert_eq!(bench.store.timers(5).await.unwrap().due, [bench.conversation(id).await]);
    assert_eq!(bench.conversation(id).await.snoozed_until, Some(at));
    bench.apply(id, vec![Effect::SetSnooze(None)]).await;
    assert_eq!(due(&bench, 5).await, (vec![], None));
}

/// Of the end of its sleep and the time by which it should be answered.
pub async fn the_earlier_of_two_moments_counts(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let (first, second) = (bench.clock.now().plus(MINUTE), bench.clock.now().plus(2 * MINUTE));
    bench.apply(id, vec![Effect::SetSnooze(Some(second)), Effect::SetAnswerBy(Some(first))]).await;
    assert_eq!(due(&bench, 5).await.1, Some(first));
    bench.apply(id, vec![Effect::SetSnooze(Some(first)), Effect::SetAnswerBy(Some(second))]).await;
    assert_eq!(due(&bench, 5).await.1, Some(first));
    bench.clock.advance(MINUTE);
    assert_eq!(due(&bench, 5).await, (vec![id], None));
    bench.apply(id, vec![Effect::SetSnooze(None)]).await;
    assert_eq!(due(&bench, 5).await, (vec![], Some(second)));
}

/// And what comes next is announced, whether it is due already or not.
pub async fn the_longest_past_come_first(bench: Bench) {
    let mut ids = Vec::new();
    let start = bench.clock.now();
    for (name, minutes) in [("c", 3), ("a", 1), ("d", 9), ("b", 2)] {
        let (id, _) = bench.say(name).await;
        bench.apply(id, vec![Effect::SetSnooze(Some(start.plus(minutes * MINUTE)))]).await;
        ids.push(id);
    }
    let [c, a, d, b] = ids[..] else { panic!() };
    bench.clock.advance(3 * MINUTE);
    assert_eq!(due(&bench, 2).await, (vec![a, b], Some(start.plus(3 * MINUTE))));
    assert_eq!(due(&bench, 3).await, (vec![a, b, c], Some(start.plus(9 * MINUTE))));
    assert_eq!(due(&bench, 9).await, (vec![a, b, c], Some(start.plus(9 * MINUTE))));
    bench.clock.advance(6 * MINUTE);
    assert_eq!(due(&bench, 9).await, (vec![a, b, c, d], None));
}

/// It is a promise to whoever waits.
pub async fn there_is_no_time_to_answer_by_where_nothing_waits(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let answer_by = async || bench.conversation(id).await.answer_by;
    let at = |minutes: u32| bench.clock.now().plus(minutes * MINUTE);
    let start = |at| Effect::StartAnswerBy { only_if_owner: Owner::Agent, at };
    bench.apply(id, vec![Effect::StartAnswerBy { only_if_owner: Owner::Desk, at: at(1) }]).await;
    assert_eq!(answer_by().await, None);
    bench.apply(id, vec![start(at(2))]).await;
    assert_eq!(answer_by().await, Some(at(2)));
    bench.apply(id, vec![start(at(3))]).await;
    assert_eq!(answer_by().await, Some(at(2)), "one that was set stays");
    bench.apply(id, vec![Effect::SetAnswerBy(Some(at(4)))]).await;
    assert_eq!(answer_by().await, Some(at(4)));
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(1)))]).await;
    assert_eq!(answer_by().await, Some(at(4)), "another message waits still");
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(2)))]).await;
    assert_eq!(answer_by().await, None);
    bench.apply(id, vec![Effect::SetAnswerBy(Some(at(5))), start(at(5))]).await;
    assert_eq!(answer_by().await, None);
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetAnswerBy(Some(at(6)))]).await;
    bench.apply(id, vec![Effect::AnsweredThrough(None)]).await;
    assert_eq!((answer_by().await, due(&bench, 5).await.1), (None, None));
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetAnswerBy(Some(at(7)))]).await;
    bench.apply(id, vec![Effect::SetAnswerBy(None)]).await;
    assert_eq!(answer_by().await, None);
}

/// What a program wrote by itself waits for nobody.
pub async fn what_waits_next_is_what_waits_for_an_answer_at_all(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let mut automatic = bench.inbound(&thread("order-77"));
    let note = Message { auto_generated: true, ..said(automatic.message, Direction::Inbound) };
    automatic.effects = vec![bench.event(note, Vec::new(), None)];
    bench.apply(id, vec![Effect::SetAnswerBy(Some(bench.clock.now()))]).await;
    bench.store.commit_inbound(automatic).await.unwrap();
    bench.apply(id, vec![bench.reply().1]).await;
    let waits = async || bench.conversation(id).await.unanswered_from.map(|seq| seq.0);
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(1)))]).await;
    assert_eq!(waits().await, Some(4));
    assert!(bench.conversation(id).await.answer_by.is_some());
    bench.apply(id, vec![Effect::AnsweredThrough(None), Effect::AnsweredThrough(Some(Seq(1)))]).await;
    assert_eq!(waits().await, None, "what is answered does not wait again");
}
