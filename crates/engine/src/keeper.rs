//! What leaves the store: what is older than the operator wants to keep, and contacts whose erasure was begun; and the bytes of
//! attachments that nothing refers to any more.
//!
//! Both go in small steps with pauses between them, so that messages are taken and sent meanwhile. A daemon that stops in the middle
//! goes on after its next start.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{ContactId, Erase, Erased, Retire, Retired, StoreError};

use crate::{attachments, runtime::Shared};

/// Between two passes over what is old.
const PASS_EVERY: Duration = Duration::from_secs(60 * 60);
/// Between two passes over the attachments' folder.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// Between two looks for erasures that nobody carries on.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Events in one step: some milliseconds of the store's time.
const STEP: usize = 200;
/// Between two steps.
const BREATH: Duration = Duration::from_millis(20);
/// A message that has left is known to have been taken for so long: platforms repeat themselves for up to a week.
const KNOWN_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Runs until the daemon drains.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut next_pass = shared.clock.boot();
    let mut next_sweep = next_pass;
    while !shared.is_draining() {
        if let Err(error) = carry_on_erasing(&shared).await {
            shared.note_store_error(&error);
        }
        let retention = shared.live().options.retention;
        if let Some(retention) = retention.filter(|_| shared.clock.boot() >= next_pass) {
            next_pass = shared.clock.boot() + PASS_EVERY;
            match pass(&shared, retention).await {
                Ok(gone) if gone.events > 0 => {
                    tracing::info!(
                        events = gone.events,
                        conversations = gone.conversations,
                        "what was too old is gone"
                    );
                }
                Ok(_) => {}
                Err(error) => shared.note_store_error(&error),
            }
        }
        if shared.clock.boot() >= next_sweep {
            next_sweep = shared.clock.boot() + SWEEP_EVERY;
            if let Err(error) = attachments::sweep(&shared).await {
                shared.note_store_error(&error);
            }
        }
        tokio::select! {
            () = shared.clock.sleep(LOOK_EVERY) => {}
            () = shared.draining() => {}
        }
    }
}

/// Between two steps; `false`: the daemon stops.
pub(crate) async fn breathe(shared: &Shared) -> bool {
    tokio::select! {
        () = shared.clock.sleep(BREATH) => true,
        () = shared.draining() => false,
    }
}

async fn pass(shared: &Shared, retention: Duration) -> Result<Retired, StoreError> {
    let mut gone = Retired::default();
    loop {
        let step = Retire {
            before: shared.clock.now().minus(retention),
            known_for_millis: millis(KNOWN_FOR),
            events: STEP,
            resume: gone.resume.take(),
        };
        let done = shared.store.keeping().retire(step).await?;
        gone.events += done.events;
        gone.conversations += done.conversations;
        gone.resume = done.resume;
        if gone.resume.is_none() || !breathe(shared).await {
            return Ok(gone);
        }
    }
}

async fn carry_on_erasing(shared: &Shared) -> Result<(), StoreError> {
    for contact in shared.store.keeping().erasures().await? {
        attachments::note_erased(shared, contact).await?;
        while step(shared, contact).await? == Erased::More {
            if !breathe(shared).await {
                return Ok(());
            }
        }
        tracing::info!(%contact, "a contact is erased");
    }
    attachments::settle_erased(shared).await
}

/// One step of an erasure; the first one has it carried on whatever happens.
pub(crate) async fn step(shared: &Shared, contact: ContactId) -> Result<Erased, StoreError> {
    shared.store.keeping().erase(Erase { contact, known_for_millis: millis(KNOWN_FOR), events: STEP }).await
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
