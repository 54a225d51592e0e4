//! A clock that only the test moves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a poisoned lock means that a test has failed already

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use frontdesk_model::{BoxFuture, Clock, Timestamp};

/// Wall time and time since boot, moved together by [`TestClock::advance`]; wakes whoever sleeps.
#[derive(Debug, Clone)]
pub struct TestClock {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    boot: Duration,
    sleepers: Vec<(Duration, Waker)>,
}

impl TestClock {
    /// Stands still at this moment.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let inner = Inner { now, boot: Duration::from_secs(1000), sleepers: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Moves both clocks and wakes those whose time has come.
    pub fn advance(&self, span: Duration) {
        let due: Vec<Waker> = {
            let mut inner = self.inner.lock().unwrap();
            inner.now = inner.now.plus(span);
            inner.boot += span;
            let boot = inner.boot;
            let (due, waiting) = std::mem::take(&mut inner.sleepers).into_iter().partition(|(until, _)| *until <= boot);
            inner.sleepers = waiting;
            let due: Vec<(Duration, Waker)> = due;
            due.into_iter().map(|(_, waker)| waker).collect()
        };
        due.into_iter().for_each(Waker::wake);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.inner.lock().unwrap().now
    }

    fn boot(&self) -> Duration {
        self.inner.lock().unwrap().boot
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let until = self.boot().saturating_add(span);
        Box::pin(Sleep { clock: self.clone(), until })
    }
}

struct Sleep {
    clock: TestClock,
    until: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.clock.inner.lock().unwrap();
        if inner.boot >= self.until {
            return Poll::Ready(());
        }
        inner.sleepers.push((self.until, context.waker().clone()));
        Poll::Pending
    }
}
