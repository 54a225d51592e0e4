//! A clock that stands still until the test moves it.

use std::{sync::Mutex, time::Duration};

use frontdesk_model::{BoxFuture, Clock, Timestamp};
use tokio::sync::watch;

/// Wall time and time since boot, both moved by hand; whoever sleeps is woken when their moment has come.
#[derive(Debug)]
pub struct TestClock {
    wall: Mutex<Timestamp>,
    boot: watch::Sender<Duration>,
}

impl TestClock {
    /// Stands at this wall time, a thousand seconds after boot.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { wall: Mutex::new(now), boot: watch::Sender::new(Duration::from_secs(1000)) }
    }

    /// Lets this much time pass.
    pub fn advance(&self, span: Duration) {
        {
            let mut wall = self.lock();
            *wall = wall.plus(span);
        }
        self.boot.send_modify(|boot| *boot = boot.saturating_add(span));
    }

    /// Sets the wall time, as an administrator or a time server does. No time passes.
    pub fn jump(&self, to: Timestamp) {
        *self.lock() = to;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Timestamp> {
        self.wall.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.lock()
    }

    fn boot(&self) -> Duration {
        *self.boot.borrow()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let mut boot = self.boot.subscribe();
        let until = boot.borrow().saturating_add(span);
        Box::pin(async move {
            // A clock that is gone never wakes anybody: its test is over.
            if boot.wait_for(|now| *now >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    #[tokio::test]
    async fn wakes_sleepers_when_their_moment_has_come_and_not_before() {
        let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
        let mut sleeper = clock.sleep(Duration::from_secs(10));
        clock.advance(Duration::from_secs(9));
        assert!(tokio::time::timeout(Duration::ZERO, &mut sleeper).await.is_err());
        clock.advance(Duration::from_secs(1));
        sleeper.await;
        assert_eq!(clock.now(), "2026-01-05T10:00:10Z".parse().unwrap());
    }
}
