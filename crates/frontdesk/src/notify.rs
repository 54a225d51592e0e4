//! What systemd is told: ready, reloading, stopping, alive, and what is going on. Without `NOTIFY_SOCKET` nothing is told.

use std::time::Duration;

use frontdesk_engine::Desk;
use frontdesk_model::{Clock, ContactId};
use sd_notify::NotifyState;

use crate::config::Environment;

/// How often the status line is looked at.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// A store that does not answer for so long is not alive.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Whether somebody is told, who waits for the start and begins it again when it fails.
pub(crate) fn is_heard(environment: &Environment) -> bool {
    environment.get("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// What the start waits for.
pub(crate) fn waiting(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Work is taken from here on.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read anew; `ready` ends it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration anew")]),
        Err(error) => tracing::debug!(%error, "no monotonic clock; the supervisor is not told of the reload"),
    }
}

/// What is in hand is being finished, which may take this long.
pub(crate) fn stopping(at_most: Duration) {
    let micros = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("finishing what is in hand"),
    ]);
}

/// Says what is going on, whenever it changes. Runs until it is dropped.
pub(crate) async fn keep_telling(desk: Desk, clock: std::sync::Arc<dyn Clock>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let mut told = String::new();
    loop {
        if let Ok(status) = desk.status().await {
            let line = status.line();
            if line != told {
                tell(&[NotifyState::Status(&line)]);
                told = line;
            }
        }
        clock.sleep(STATUS_EVERY).await;
    }
}

/// Tells a supervisor that asked for it that the daemon lives: the runtime turns and the store answers. Runs until it is
/// dropped; without `WATCHDOG_USEC` it ends at once.
pub(crate) async fn watchdog(desk: Desk) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval((within / 2).max(Duration::from_millis(10)));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        // No contact has this id: the answer is short, and it passes through the store.
        let asked = tokio::time::timeout(ANSWER_WITHIN.min(within), desk.contact(ContactId::from_bytes([0; 16]))).await;
        match asked {
            Ok(_) => tell(&[NotifyState::Watchdog]),
            Err(_) => tracing::error!("the store does not answer; the supervisor is not told that the daemon lives"),
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // A supervisor that does not listen is no reason to stop serving.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the supervisor could not be told");
    }
}
