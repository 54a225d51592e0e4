//! Stores of a test's own, on servers that tests share.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use frontdesk_store::{RedisOptions, RedisStore, TimeSource};
use frontdesk_testkit::{clock::TestClock, store_suite::Bench};

pub(crate) use frontdesk_testkit::redis_server::*;

/// Options under a prefix that no other test has.
pub(crate) fn options(url: String) -> RedisOptions {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    RedisOptions { url, prefix, time: TimeSource::Clock, ..RedisOptions::default() }
}

/// A bench on an empty store.
pub(crate) async fn bench(options: RedisOptions) -> Bench {
    let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let store = open_on(options, &clock).await;
    Bench::new(store, clock, ())
}

/// Another daemon's store, on the same clock.
pub(crate) async fn open_on(options: RedisOptions, clock: &TestClock) -> Arc<RedisStore> {
    Arc::new(RedisStore::open(options, Arc::new(clock.clone())).await.unwrap())
}
