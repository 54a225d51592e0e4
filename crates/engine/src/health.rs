//! Whether an endpoint (the agent, a channel's far end) is well, and when it may be asked again.
//!
//! One failing conversation says little: it may be its own fault. So an endpoint counts as unwell when it could not be
//! reached at all, or when two different conversations failed in a row. While it is unwell one request at a time goes
//! out, at growing intervals with full jitter; the first success makes it well and wakes everything that was parked.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use frontdesk_model::{ConversationId, Timestamp};
use tokio::sync::Notify;

use crate::keys::jitter;

/// One endpoint's record. Times are spans since boot, as [`frontdesk_model::Clock::boot`] gives them.
#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
    changed: Notify,
    backoff: Backoff,
}

/// The least time between two tries of an unwell endpoint that new work brings about.
const BETWEEN_EXTRA_TRIES: Duration = Duration::from_secs(5);

/// Full-jitter back-off between these bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

impl Backoff {
    /// The wait after the `failures`th failure in a row (from 1): random up to a bound that doubles, never below half of `first`.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        jitter(doubled.min(self.most)).max(self.first / 2)
    }
}

#[derive(Debug, Default)]
struct State {
    condition: Condition,
    /// The last two different conversations that succeeded, the latest first, with when.
    successes: [Option<(ConversationId, Duration)>; 2],
    last_failed: Option<ConversationId>,
    paused_until: Option<Duration>,
    /// As another daemon on the same store was told.
    hushed_until: Option<Duration>,
    probing: bool,
    /// Since when it is as it is, and why, for whoever asks.
    since: Option<Timestamp>,
    reason: String,
}

impl State {
    fn quiet_until(&self, now: Duration) -> Option<Duration> {
        self.paused_until.max(self.hushed_until).filter(|until| *until > now)
    }
}

/// How an endpoint is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Well,
    Unwell,
    Stopped,
}

#[derive(Debug, Default)]
enum Condition {
    #[default]
    Well,
    Unwell {
        failures: u32,
        last_failure: Duration,
        next_probe: Duration,
    },
    /// It said that it wants nothing more.
    Stopped,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Anything.
    Freely,
    /// One request; its end must be reported.
    Probe,
    /// Nothing for this long.
    Wait(Duration),
    /// Nothing until the operator says so.
    Stopped,
}

/// How bad a failure is for the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// It could not be reached, or said that all of it must wait.
    ToAll,
    /// This request failed; others may fare better.
    ToOne,
}

/// What sent a request that is reported on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// It went out while all was well.
    Ordinary,
    /// It was the one request that an unwell endpoint got.
    Probe,
}

/// What a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It was unwell and is well.
    Well,
    /// It was well and is unwell.
    Unwell,
    /// Nothing.
    Not,
}

/// Sees to it that a probe that is cut short (its claim lost, its task dropped) is not waited for for ever.
pub(crate) struct ProbeGuard<'a>(pub(crate) &'a Health);

impl Drop for ProbeGuard<'_> {
    fn drop(&mut self) {
        self.0.unprobed();
    }
}

impl Health {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), backoff }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; a poisoned record is still a record.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when a report came in after this was called.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// May something be sent? A `Probe` must be followed by a report or by [`Health::unprobed`]: hold a [`ProbeGuard`].
    pub(crate) fn admit(&self, now: Duration) -> Admit {
        let mut state = self.state();
        if let Some(until) = state.quiet_until(now) {
            return Admit::Wait(until - now);
        }
        (state.paused_until, state.hushed_until) = (None, None);
        match state.condition {
            Condition::Well => Admit::Freely,
            Condition::Stopped => Admit::Stopped,
            Condition::Unwell { .. } if state.probing => Admit::Wait(self.backoff.first),
            Condition::Unwell { next_probe, .. } if next_probe > now => Admit::Wait(next_probe - now),
            Condition::Unwell { .. } => {
                state.probing = true;
                Admit::Probe
            }
        }
    }

    /// The probe is over without a report: it found nothing to send, or was cut short.
    pub(crate) fn unprobed(&self) {
        let was_probing = std::mem::take(&mut self.state().probing);
        if was_probing {
            self.changed.notify_one();
        }
    }

    pub(crate) fn succeeded(&self, conversation: ConversationId, now: Duration) -> Turned {
        let mut state = self.state();
        let [latest, _] = state.successes;
        state.successes = match latest {
            Some((same, _)) if same == conversation => [Some((conversation, now)), state.successes[1]],
            other => [Some((conversation, now)), other],
        };
        state.last_failed = None;
        let turned = if matches!(state.condition, Condition::Unwell { .. }) { Turned::Well } else { Turned::Not };
        if !matches!(state.condition, Condition::Stopped) {
            state.condition = Condition::Well;
        }
        if turned == Turned::Well {
            (state.since, state.reason) = (None, String::new());
        }
        drop(state);
        self.changed.notify_one();
        turned
    }

    /// A request failed. `pause`: the endpoint asked for this much quiet.
    pub(crate) fn failed(
        &self,
        conversation: ConversationId,
        blow: Blow,
        pause: Option<Duration>,
        errand: Errand,
        now: Duration,
    ) -> Turned {
        let mut state = self.state();
        if let Some(pause) = pause {
            state.paused_until = state.paused_until.max(now.checked_add(pause));
        }
        let another_failed_before = state.last_failed.is_some_and(|last| last != conversation);
        state.last_failed = Some(conversation);
        let turned = match state.condition {
            Condition::Stopped => Turned::Not,
            Condition::Well if blow == Blow::ToAll || another_failed_before => {
                state.condition =
                    Condition::Unwell { failures: 1, last_failure: now, next_probe: now + self.backoff.after(1) };
                Turned::Unwell
            }
            Condition::Well => Turned::Not,
            // What was in flight when it became unwell says nothing new, however many there were.
            Condition::Unwell { .. } if errand == Errand::Ordinary => Turned::Not,
            Condition::Unwell { failures, .. } => {
                let failures = failures.saturating_add(1);
                let next_probe = now + self.backoff.after(failures);
                state.condition = Condition::Unwell { failures, last_failure: now, next_probe };
                Turned::Not
            }
        };
        drop(state);
        self.changed.notify_one();
        turned
    }

    /// Remembers why it is unwell, and since when.
    pub(crate) fn note(&self, turned: Turned, reason: &str, now: Timestamp) {
        let mut state = self.state();
        if turned == Turned::Unwell {
            state.since = Some(now);
        }
        if matches!(state.condition, Condition::Unwell { .. }) {
            reason.clone_into(&mut state.reason);
        }
    }

    /// How it is, since when (of one that is not well) and why.
    pub(crate) fn standing(&self) -> (Standing, Option<Timestamp>, String) {
        let state = self.state();
        let standing = match state.condition {
            Condition::Well => Standing::Well,
            Condition::Unwell { .. } => Standing::Unwell,
            Condition::Stopped => Standing::Stopped,
        };
        (standing, state.since, state.reason.clone())
    }

    /// For how long nothing is sent, as it asked for quiet.
    pub(crate) fn quiet_for(&self, now: Duration) -> Option<Duration> {
        self.state().quiet_until(now)?.checked_sub(now)
    }

    /// The operator says that it wants work again: a stopped one counts as well, an unwell one is tried at once.
    pub(crate) fn resume(&self) {
        let mut state = self.state();
        (state.paused_until, state.hushed_until) = (None, None);
        match &mut state.condition {
            Condition::Well => {}
            Condition::Unwell { next_probe, .. } => *next_probe = Duration::ZERO,
            Condition::Stopped => {
                state.condition = Condition::Well;
                (state.since, state.reason) = (None, String::new());
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Whether anything may be sent now. Takes nothing.
    pub(crate) fn is_free(&self, now: Duration) -> bool {
        let state = self.state();
        matches!(state.condition, Condition::Well) && state.quiet_until(now).is_none()
    }

    /// It asked another daemon for this much quiet.
    pub(crate) fn hushed(&self, rest: Duration, now: Duration) {
        let mut state = self.state();
        state.hushed_until = state.hushed_until.max(now.checked_add(rest));
    }

    /// What is left of the quiet that it asked this daemon for.
    pub(crate) fn own_pause(&self, now: Duration) -> Option<Duration> {
        self.state().paused_until.and_then(|until| until.checked_sub(now)).filter(|rest| !rest.is_zero())
    }

    /// It wants nothing more.
    pub(crate) fn stop(&self, now: Timestamp) {
        let mut state = self.state();
        state.condition = Condition::Stopped;
        (state.since, state.reason) = (Some(now), "it answered that it wants nothing more (410)".to_owned());
        state.probing = false;
        drop(state);
        self.changed.notify_one();
    }

    /// Something new is there to be sent: an unwell endpoint is tried with it soon, but not sooner than a few seconds after
    /// the last failure.
    pub(crate) fn new_work(&self, now: Duration) {
        if let Condition::Unwell { last_failure, next_probe, .. } = &mut self.state().condition {
            *next_probe = (*next_probe).min((*last_failure + BETWEEN_EXTRA_TRIES).max(now));
            self.changed.notify_one();
        }
    }

    /// Whether an unwell endpoint would get a probe now, if there were one. Takes none.
    pub(crate) fn wants_probe(&self, now: Duration) -> bool {
        let state = self.state();
        let quiet = state.quiet_until(now).is_some();
        let due = matches!(state.condition, Condition::Unwell { next_probe, .. } if next_probe <= now);
        due && !quiet && !state.probing
    }

    /// Whether requests are held back.
    pub(crate) fn is_unwell(&self) -> bool {
        !matches!(self.state().condition, Condition::Well)
    }

    /// Whether another conversation succeeded within the last `span`.
    pub(crate) fn served_others(&self, conversation: ConversationId, span: Duration, now: Duration) -> bool {
        let since = now.saturating_sub(span);
        let state = self.state();
        state.successes.iter().flatten().any(|(who, when)| *who != conversation && *when >= since)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use frontdesk_model::{Partition, ThreadKey, Timestamp};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn health() -> Health {
        Health::new(Backoff { first: SECOND, most: 300 * SECOND })
    }

    fn conversation(entropy: u8) -> ConversationId {
        let thread =
            ThreadKey { kind: "webhook".parse().unwrap(), account: "a".parse().unwrap(), thread: "t".parse().unwrap() };
        ConversationId::new(Timestamp::from_millis(1), Partition::of(&thread), [entropy; 9])
    }

    #[test]
    fn one_failing_conversation_does_not_make_an_endpoint_unwell() {
        let health = health();
        for _ in 0..10 {
            assert_eq!(health.failed(conversation(1), Blow::ToOne, None, Errand::Ordinary, SECOND), Turned::Not);
        }
        assert_eq!(health.admit(SECOND), Admit::Freely);
    }

    #[test]
    fn two_failing_conversations_in_a_row_do_and_one_probe_at_a_time_goes_out() {
        let health = health();
        health.failed(conversation(1), Blow::ToOne, None, Errand::Ordinary, SECOND);
        assert_eq!(health.failed(conversation(2), Blow::ToOne, None, Errand::Ordinary, SECOND), Turned::Unwell);
        assert!(matches!(health.admit(SECOND), Admit::Wait(_)));
        let later = 3 * SECOND;
        assert_eq!(health.admit(later), Admit::Probe);
        assert!(matches!(health.admit(later), Admit::Wait(_)), "a second one beside the probe");
        assert_eq!(health.succeeded(conversation(3), later), Turned::Well);
        assert_eq!(health.admit(later), Admit::Freely);
    }

    #[test]
    fn a_probe_that_is_cut_short_makes_way_for_the_next() {
        let health = health();
        health.failed(conversation(1), Blow::ToAll, None, Errand::Ordinary, SECOND);
        let later = 3 * SECOND;
        assert_eq!(health.admit(later), Admit::Probe);
        drop(ProbeGuard(&health));
        assert_eq!(health.admit(later), Admit::Probe);
    }

    #[test]
    fn what_was_in_flight_when_it_became_unwell_does_not_lengthen_the_wait() {
        let health = health();
        for _ in 0..250 {
            health.failed(conversation(1), Blow::ToAll, None, Errand::Ordinary, SECOND);
        }
        assert_eq!(health.admit(3 * SECOND), Admit::Probe, "within the first wait");
        assert!(matches!(health.admit(3 * SECOND), Admit::Wait(_)));
        health.failed(conversation(2), Blow::ToAll, None, Errand::Ordinary, 3 * SECOND);
        assert!(matches!(health.admit(3 * SECOND), Admit::Wait(_)), "only the probe ends the probe");
    }

    #[test]
    fn new_work_brings_an_extra_try_soon_but_not_at_once() {
        let health = health();
        health.failed(conversation(1), Blow::ToAll, None, Errand::Ordinary, SECOND);
        for n in 1..30 {
            let late = n * 1000 * SECOND;
            assert_eq!(health.admit(late), Admit::Probe);
            health.failed(conversation(1), Blow::ToAll, None, Errand::Probe, late);
            health.unprobed();
            health.new_work(late);
            assert!(matches!(health.admit(late), Admit::Wait(span) if span <= 5 * SECOND));
        }
    }

    #[test]
    fn an_unreachable_endpoint_is_unwell_at_once_and_waits_grow_within_bounds() {
        let health = health();
        assert_eq!(health.failed(conversation(1), Blow::ToAll, None, Errand::Ordinary, SECOND), Turned::Unwell);
        let backoff = Backoff { first: SECOND, most: 300 * SECOND };
        for failures in 1..200 {
            let wait = backoff.after(failures);
            assert!(wait >= SECOND / 2 && wait <= 300 * SECOND, "{wait:?} after {failures}");
        }
    }

    #[test]
    fn others_are_known_to_be_served_only_by_their_own_success() {
        let health = health();
        health.succeeded(conversation(1), 10 * SECOND);
        assert!(!health.served_others(conversation(1), SECOND, 10 * SECOND));
        assert!(health.served_others(conversation(2), SECOND, 10 * SECOND));
        assert!(!health.served_others(conversation(2), SECOND, 12 * SECOND), "too long ago");
        health.succeeded(conversation(2), 12 * SECOND);
        health.succeeded(conversation(2), 13 * SECOND);
        assert!(health.served_others(conversation(2), 5 * SECOND, 13 * SECOND));
    }

    #[test]
    fn a_pause_that_was_asked_for_wins() {
        let health = health();
        health.failed(conversation(1), Blow::ToOne, Some(60 * SECOND), Errand::Ordinary, SECOND);
        assert_eq!(health.admit(2 * SECOND), Admit::Wait(59 * SECOND));
        assert_eq!(health.admit(61 * SECOND), Admit::Freely);
    }
}
