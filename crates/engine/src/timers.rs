//! Moments that conversations wait for: the end of a snooze, the moment by which a contact should have an answer, and the one at which
//! attachments are fetched ([`attachments`]).
//!
//! Nothing is claimed for them. What a moment brings is written under a guard that the moment is still the
//! conversation's, so whoever comes second changes nothing.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use frontdesk_model::{Append, Applied, Conversation, Effect, Guard, Owner, Seq, StoreError, Take, Timestamp};

use tokio::task::JoinSet;

use crate::{attachments, rules, runtime::Shared};

/// How many conversations are looked at in one go.
const BATCH: usize = 100;
/// Another daemon on the same store may set moments of which nothing is heard here.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);
const TROUBLE_PAUSE: Duration = Duration::from_secs(2);

/// Runs until the daemon drains.
pub(crate) async fn run(shared: Arc<Shared>) {
    // What is being fetched ends with this; whoever looks next goes on with it.
    let mut fetching = JoinSet::new();
    while !shared.is_draining() {
        while fetching.try_join_next().is_some() {}
        let sleep = match round(&shared, &mut fetching).await {
            Ok(sleep) => sleep,
            Err(error) => {
                shared.note_store_error(&error);
                TROUBLE_PAUSE
            }
        };
        tokio::select! {
            () = shared.clock.sleep(sleep) => {}
            () = shared.timer_set.notified() => {}
            () = shared.draining() => {}
        }
    }
}

/// Deals with what is due and says how long there is nothing more.
async fn round(shared: &Arc<Shared>, fetching: &mut JoinSet<()>) -> Result<Duration, StoreError> {
    // A moment set while the store is asked is nearer than "never": it wakes the next round.
    shared.next_timer.store(i64::MAX, Ordering::Relaxed);
    let timers = shared.store.timers(BATCH).await?;
    let full = timers.due.len() >= BATCH;
    for conversation in timers.due {
        came(shared, &conversation).await?;
        let to_fetch = conversation.fetching.is_some_and(|fetching| fetching.at <= shared.clock.now());
        if to_fetch && let Some(task) = attachments::came(shared, &conversation).await? {
            fetching.spawn(task.run());
        }
    }
    if full {
        return Ok(Duration::ZERO);
    }
    let Some(next) = timers.next_due else { return Ok(LONGEST_SLEEP) };
    shared.next_timer.fetch_min(next.as_millis(), Ordering::Relaxed);
    Ok(next.since(shared.clock.now()).clamp(Duration::from_millis(5), LONGEST_SLEEP))
}

async fn came(shared: &Shared, conversation: &Conversation) -> Result<(), StoreError> {
    let now = shared.clock.now();
    let past = |moment: Option<Timestamp>| moment.filter(|at| *at <= now);
    if let Some(until) = past(conversation.snoozed_until) {
        let effects = rules::woken_up(&shared.ids, now, conversation);
        write(shared, conversation, Guard::SnoozedUntil(until), effects).await?;
    }
    if let Some(at) = past(conversation.answer_by) {
        let effects = match still_in_time(shared, conversation).await? {
            Some(later) => vec![Effect::SetAnswerBy(Some(later))],
            None => rules::not_answered(&shared.ids, now, conversation),
        };
        write(shared, conversation, Guard::AnswerBy(at), effects).await?;
    }
    Ok(())
}

/// The message that the moment was set for may be answered, and a later one wait: then its own moment counts.
async fn still_in_time(shared: &Shared, conversation: &Conversation) -> Result<Option<Timestamp>, StoreError> {
    let live = shared.live();
    let Some(span) = live.options.agent.as_ref().and_then(|agent| agent.fallback) else { return Ok(None) };
    let Some(from) = conversation.unanswered_from.filter(|_| conversation.owner == Owner::Agent) else {
        return Ok(None);
    };
    let before = Seq(from.0.saturating_sub(1));
    let found = shared.store.events(conversation.id, before, Take { rows: 1, bytes: 0 }).await?;
    let asked_at = found.and_then(|slice| slice.data.first().map(|event| event.at));
    Ok(asked_at.map(|at| at.plus(span)).filter(|at| *at > shared.clock.now()))
}

async fn write(
    shared: &Shared,
    conversation: &Conversation,
    guard: Guard,
    effects: Vec<Effect>,
) -> Result<(), StoreError> {
    let append = Append {
        operation: shared.ids.operation(),
        conversation: conversation.id,
        once: None,
        guards: vec![guard],
        effects,
    };
    let mut applied = shared.store.append(append.clone()).await;
    if matches!(applied, Err(StoreError::Unavailable(_))) {
        applied = shared.store.append(append).await;
    }
    if let Applied::Done { .. } = applied? {
        shared.log_grew();
    }
    Ok(())
}
