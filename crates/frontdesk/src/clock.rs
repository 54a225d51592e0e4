//! The machine's clocks.

use std::time::Duration;

use frontdesk_model::{BoxFuture, Clock, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Wall time, time since boot (suspension counted), and tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(now.saturating_add(wrong_by()))
    }

    fn boot(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// By how many milliseconds the wall clock of a daemon on trial is wrong.
#[cfg(feature = "trial")]
fn wrong_by() -> i64 {
    static SECONDS: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let read = || std::env::var("FRONTDESK_TRIAL_CLOCK").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    SECONDS.get_or_init(read).saturating_mul(1000)
}

#[cfg(not(feature = "trial"))]
fn wrong_by() -> i64 {
    0
}
