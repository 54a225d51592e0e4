//! Named points at which a daemon on trial dies, and promises that it breaks on purpose, so that a campaign of crashes can show that it
//! would notice. All of it is there with the feature `trial` only; without, points and broken promises are nothing.

/// A promise that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "trial"), allow(dead_code, unreachable_pub))] // named where they would be broken
pub enum Broken {
    /// A message is acknowledged before it is committed.
    AckBeforeCommit,
    /// What a lost claim brings is written all the same.
    NoFence,
    /// A part is sent before it is known that it is about to be.
    IntentAfterSend,
    /// A write whose end is not known is repeated under another id.
    SkipOperationId,
}

#[cfg(not(feature = "trial"))]
pub(crate) fn point(_: &'static str) {}

#[cfg(not(feature = "trial"))]
pub(crate) fn is_broken(_: Broken) -> bool {
    false
}

#[cfg(feature = "trial")]
pub use on::{Trial, arm};
#[cfg(feature = "trial")]
pub(crate) use on::{is_broken, point};

#[cfg(feature = "trial")]
mod on {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use super::Broken;

    /// What a daemon is put on trial with.
    #[derive(Debug, Clone, Default)]
    pub struct Trial {
        /// Dies when it comes by this point for the so manieth time, from 1.
        pub die_at: Option<(String, u32)>,
        /// Breaks this promise.
        pub broken: Option<Broken>,
    }

    static TRIAL: OnceLock<Trial> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    /// Once, before anything begins; a second call does nothing.
    pub fn arm(trial: Trial) {
        let _ = TRIAL.set(trial);
    }

    pub(crate) fn point(name: &'static str) {
        let Some((wanted, times)) = TRIAL.get().and_then(|trial| trial.die_at.as_ref()) else { return };
        if wanted == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *times {
            // Without a word and without tidying up, as by SIGKILL.
            std::process::abort();
        }
    }

    pub(crate) fn is_broken(promise: Broken) -> bool {
        TRIAL.get().is_some_and(|trial| trial.broken == Some(promise))
    }
}
