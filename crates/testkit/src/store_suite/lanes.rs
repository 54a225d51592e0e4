//! Cursors, owners, and what is unanswered.

use frontdesk_model::*;

use super::{Bench, said, thread};

async fn unanswered(bench: &Bench, id: ConversationId) -> Option<u64> {
    bench.conversation(id).await.unanswered_from.map(|seq| seq.0)
}

async fn due(bench: &Bench) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(claim) = bench.try_one(Lane::Agent).await {
        seqs.push(claim.event.seq.0);
        bench.finish(&claim).await;
    }
    seqs
}

/// The first that came after the last that was answered.
pub async fn the_first_unanswered_message_is_known(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.say("order-77").await;
    assert_eq!(unanswered(&bench, id).await, Some(1));
    bench.apply(id, vec![bench.reply().1, Effect::AnsweredThrough(Some(Seq(1)))]).await;
    assert_eq!(unanswered(&bench, id).await, Some(2));
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(1)))]).await;
    assert_eq!(unanswered(&bench, id).await, Some(2));
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(2)))]).await;
    assert_eq!(unanswered(&bench, id).await, Some(4));
    bench.apply(id, vec![Effect::AnsweredThrough(None)]).await;
    assert_eq!(unanswered(&bench, id).await, None);
    bench.say("order-77").await;
    assert_eq!(unanswered(&bench, id).await, Some(5));
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(5)))]).await;
    assert_eq!(unanswered(&bench, id).await, None);
}

/// And is not made due by what comes after it is handed back without a rewind.
pub async fn what_comes_while_the_desk_owns_is_not_due(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    assert_eq!(due(&bench).await, [1]);
    bench.apply(id, vec![Effect::SetOwner(Owner::Desk)]).await;
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [0; 0]);
    bench.apply(id, vec![Effect::SetOwner(Owner::Agent)]).await;
    assert_eq!(due(&bench).await, [0; 0]);
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [3]);
}

/// Including what came while the lane was switched off, and what it had seen before.
pub async fn handed_back_it_goes_on_at_the_first_unanswered(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [1, 2]);
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(1)))]).await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Desk), Effect::AgentFollowsTail]).await;
    bench.say("order-77").await;
    let handed_back = vec![Effect::SetOwner(Owner::Agent), bench.note(), Effect::RewindAgentToUnanswered];
    bench.apply(id, handed_back).await;
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [2, 3, 5]);
}

/// Nothing is sent a second time.
pub async fn handed_back_without_anything_unanswered_it_goes_on_at_the_end(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Desk), Effect::AgentFollowsTail]).await;
    bench.say("order-77").await;
    bench.apply(id, vec![bench.reply().1, Effect::AnsweredThrough(None)]).await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Agent), Effect::RewindAgentToUnanswered]).await;
    assert_eq!(due(&bench).await, [0; 0]);
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [4]);
}

/// Of the agent lane only.
pub async fn following_the_tail_skips_what_was_waiting(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.queue_reply(id).await;
    bench.apply(id, vec![Effect::AgentFollowsTail]).await;
    assert_eq!(due(&bench).await, [0; 0]);
    assert_eq!(bench.one(Lane::Deliver).await.event.seq, Seq(2));
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [3]);
}

/// All that is in the log, those that were asked for again too.
pub async fn following_the_tail_gives_up_replays(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    bench.apply(id, vec![Effect::AgentFollowsTail]).await;
    assert_eq!(due(&bench).await, [0; 0]);
}

/// Only a lane with nothing left to do follows the tail by itself.
pub async fn work_left_from_before_is_not_skipped_by_an_owner_that_does_not_match(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Desk)]).await;
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [1]);
}

/// A program's own note, for example, is answered by nobody automatically.
pub async fn what_wakes_nobody_stays_so_when_handed_back(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Desk), Effect::AgentFollowsTail]).await;
    let mut automatic = bench.inbound(&thread("order-77"));
    let message = Message { auto_generated: true, ..said(automatic.message, Direction::Inbound) };
    automatic.effects = vec![bench.event(message, Vec::new(), None)];
    bench.store.commit_inbound(automatic).await.unwrap();
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Agent), Effect::RewindAgentToUnanswered]).await;
    assert_eq!(due(&bench).await, [1, 3]);
}

/// A lane rewound by the very write that settles an event starts over.
pub async fn an_effect_that_moves_the_lane_has_the_last_word_over_advancing(bench: Bench) {
    bench.say("order-77").await;
    bench.say("order-77").await;
    bench.finish(&bench.one(Lane::Agent).await).await;
    let second = bench.one(Lane::Agent).await;
    bench.settle(&second, vec![Effect::RewindAgentToUnanswered], Then::Advance).await;
    assert_eq!(due(&bench).await, [1, 2]);
    bench.say("order-77").await;
    bench.say("order-77").await;
    let third = bench.one(Lane::Agent).await;
    bench.settle(&third, vec![Effect::AgentFollowsTail], Then::Advance).await;
    assert_eq!(due(&bench).await, [0; 0]);
}

/// What did not wake the lane when it came is no work of the lane's, though it lies beyond the cursor.
pub async fn a_message_that_is_passed_by_wakes_nobody_later(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Desk)]).await;
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::SetOwner(Owner::Agent)]).await;
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [1, 3]);
}

/// One answer to several events.
pub async fn the_agent_lane_goes_on_behind_what_is_done(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.say("order-77").await;
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    bench.settle(&claim, vec![Effect::AgentDoneThrough(Seq(2))], Then::Advance).await;
    assert_eq!(due(&bench).await, [3]);
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::AgentDoneThrough(Seq(2))]).await;
    assert_eq!(due(&bench).await, [4], "what was done before is no step back");
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::AgentDoneThrough(Seq(5))]).await;
    assert_eq!(due(&bench).await, [0; 0]);
    bench.say("order-77").await;
    assert_eq!(due(&bench).await, [6]);
    let beyond = bench.appending(id, Vec::new(), vec![Effect::AgentDoneThrough(Seq(7))]);
    assert!(matches!(bench.store.append(beyond).await, Err(StoreError::Refused(_))));
}

/// It waited for what is done now.
pub async fn a_parked_agent_lane_that_goes_on_is_due_at_once(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.park(&bench.one(Lane::Agent).await, std::time::Duration::from_secs(60), Some(Waiting::Agent), 1).await;
    bench.say("order-77").await;
    bench.apply(id, vec![Effect::AgentDoneThrough(Seq(0))]).await;
    assert_eq!(due(&bench).await, [0; 0], "nothing was done");
    bench.apply(id, vec![Effect::AgentDoneThrough(Seq(1))]).await;
    assert_eq!(due(&bench).await, [2]);
}

/// They were asked for.
pub async fn replays_are_not_done_with_what_came_before(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let letter = bench.bury(&bench.one(Lane::Agent).await).await;
    bench.say("order-77").await;
    bench.requeue(&letter, DeadLetterEnd::Replay).await;
    bench.apply(id, vec![Effect::AgentDoneThrough(Seq(2))]).await;
    assert_eq!(due(&bench).await, [1]);
}
