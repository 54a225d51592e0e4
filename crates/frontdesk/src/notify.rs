//! What systemd is told: ready, stopping, and what is going on. Without `NOTIFY_SOCKET` nothing is told.

use sd_notify::NotifyState;

/// Work is taken from here on.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What is in hand is being finished.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is in hand")]);
}

fn tell(states: &[NotifyState<'_>]) {
    // A supervisor that does not listen is no reason to stop serving.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the supervisor could not be told");
    }
}
