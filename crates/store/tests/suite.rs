//! SQLite passes the suite that every store passes.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use std::sync::Arc;

use frontdesk_store::{SqliteOptions, SqliteStore};
use frontdesk_testkit::{clock::TestClock, store_suite::Bench};

async fn open() -> Bench {
    let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { min_free: 0, ..SqliteOptions::default() };
    let store = SqliteStore::open(folder.path(), options, Arc::new(clock.clone())).unwrap();
    Bench::new(Arc::new(store), clock, folder)
}

frontdesk_testkit::store_suite!(open);
frontdesk_testkit::keeping_suite!(open);
frontdesk_testkit::company_suite!(open);
frontdesk_testkit::checking_suite!(open);
