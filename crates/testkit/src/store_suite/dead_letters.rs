//! Work that was parked for good, and its ends.

use std::time::Duration;

use frontdesk_model::*;

use super::Bench;

async fn page(bench: &Bench, limit: usize, page: Option<String>) -> Page<DeadLetter> {
    bench.store.dead_letters(PageRequest { limit, page }).await.unwrap()
}

/// A new one does not shift the pages.
pub async fn they_are_listed_newest_first_in_pages(bench: Bench) {
    let mut letters = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        bench.say(name).await;
        letters.insert(0, bench.bury(&bench.one(Lane::Agent).await).await);
        bench.clock.advance(Duration::from_millis(1));
    }
    let first = page(&bench, 2, None).await;
    bench.say("f").await;
    let newest = bench.bury(&bench.one(Lane::Agent).await).await;
    let second = page(&bench, 2, first.next.clone()).await;
    let third = page(&bench, 2, second.next.clone()).await;
    assert_eq!(third.next, None);
    assert_eq!([first.data, second.data, third.data].concat(), letters);
    assert_eq!(page(&bench, 1, None).await.data, [newest]);
    assert_eq!(bench.store.dead_letter(letters[3].id).await.unwrap(), Some(letters[3].clone()));
}

/// And does not move the cursor.
pub async fn a_replay_comes_before_other_work_and_once(bench: Bench) {
    bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.say("order-77").await;
    bench.say("order-77").await;
    bench.finish(&bench.one(Lane::Agent).await).await;
    assert!(matches!(bench.requeue(&letter, DeadLetterEnd::Replay).await, Applied::Done { .. }));
    assert_eq!(bench.requeue(&letter, DeadLetterEnd::Replay).await, Applied::NotFound);
    assert_eq!(bench.store.dead_letter(letter.id).await.unwrap(), None);
    let replay = bench.one(Lane::Agent).await;
    assert_eq!((replay.event.seq, replay.turn), (Seq(1), Turn::Replay));
    bench.finish(&replay).await;
    let next = bench.one(Lane::Agent).await;
    assert_eq!((next.event.seq, next.turn), (Seq(3), Turn::Next));
    bench.finish(&next).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// Whatever the lane had been waiting for.
pub async fn a_replay_makes_a_parked_lane_due(bench: Bench) {
    bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.say("order-77").await;
    bench.park(&bench.one(Lane::Agent).await, Duration::from_secs(3600), Some(Waiting::Agent), 2).await;
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    assert_eq!(bench.one(Lane::Agent).await.turn, Turn::Replay);
}

/// One request in flight per lane.
pub async fn a_replay_waits_for_the_lanes_holder(bench: Bench) {
    bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.say("order-77").await;
    let held = bench.one(Lane::Agent).await;
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
    bench.finish(&held).await;
    let replay = bench.one(Lane::Agent).await;
    assert_eq!((replay.event.seq, replay.turn), (Seq(1), Turn::Replay));
    bench.finish(&replay).await;
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// The tries of one event say nothing about another.
pub async fn a_replay_has_its_own_progress(bench: Bench) {
    bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.say("order-77").await;
    bench.park(&bench.one(Lane::Agent).await, Duration::ZERO, None, 4).await;
    let second = bench.one(Lane::Agent).await;
    assert_eq!(second.progress.attempts, 4);
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    bench.park(&second, Duration::ZERO, None, 5).await;
    let replay = bench.one(Lane::Agent).await;
    assert_eq!((replay.turn, replay.progress), (Turn::Replay, Progress::default()));
    bench.park(&replay, Duration::ZERO, None, 1).await;
    let replay = bench.one(Lane::Agent).await;
    assert_eq!((replay.turn, replay.progress.attempts), (Turn::Replay, 1));
    bench.finish(&replay).await;
    let second = bench.one(Lane::Agent).await;
    assert_eq!((second.event.seq, second.progress.attempts), (Seq(2), 5));
}

/// Its work is given up.
pub async fn a_dropped_one_is_gone_for_good(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    assert!(matches!(bench.requeue(&letter, DeadLetterEnd::Drop).await, Applied::Done { .. }));
    assert_eq!(bench.requeue(&letter, DeadLetterEnd::Replay).await, Applied::NotFound);
    assert_eq!(page(&bench, 10, None).await, Page { data: Vec::new(), next: None });
    assert!(bench.try_one(Lane::Agent).await.is_none());
    assert_eq!(bench.conversation(id).await.attention, None);
}

/// Not before.
pub async fn attention_goes_with_the_last_one(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.say("order-77").await;
    let first = bench.bury(&bench.one(Lane::Agent).await).await;
    let second = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.say("other").await;
    bench.bury(&bench.one(Lane::Agent).await).await;
    bench.requeue(&second, DeadLetterEnd::Replay).await;
    assert_eq!(bench.conversation(id).await.attention, Some(Attention::DeadLetter));
    bench.requeue(&first, DeadLetterEnd::Drop).await;
    assert_eq!(bench.conversation(id).await.attention, None);
}

/// A handoff is not taken back by ending a dead letter.
pub async fn another_attention_stays(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.apply(id, vec![Effect::SetAttention(Some(Attention::Handoff))]).await;
    bench.requeue(&letter, DeadLetterEnd::Drop).await;
    assert_eq!(bench.conversation(id).await.attention, Some(Attention::Handoff));
}

/// So that the replay can be asked about together with what it was asked about.
pub async fn a_replay_knows_where_its_batch_began(bench: Bench) {
    for _ in 0..3 {
        bench.say("order-77").await;
    }
    let claim = bench.one(Lane::Agent).await;
    assert_eq!(claim.batch_from, None);
    let last = bench.log(claim.conversation.id).await.remove(1);
    let batch_from = Some(claim.event.seq);
    let letter = DeadLetter { seq: last.seq, event: last.id, batch_from, ..bench.dead_letter(&claim) };
    let effects = vec![Effect::AddDeadLetter(letter.clone()), Effect::AgentDoneThrough(last.seq)];
    bench.settle(&claim, effects, Then::Advance).await;
    assert_eq!(bench.store.dead_letter(letter.id).await.unwrap(), Some(letter.clone()));
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    let replay = bench.one(Lane::Agent).await;
    assert_eq!((replay.turn, replay.event.seq, replay.batch_from), (Turn::Replay, Seq(2), Some(Seq(1))));
    bench.park(&replay, Duration::ZERO, None, 1).await;
    let again = bench.one(Lane::Agent).await;
    assert_eq!((again.batch_from, again.progress.attempts), (Some(Seq(1)), 1));
    bench.finish(&again).await;
    let next = bench.one(Lane::Agent).await;
    assert_eq!((next.turn, next.event.seq, next.batch_from), (Turn::Next, Seq(3), None));
}
