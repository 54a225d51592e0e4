//! Any body gives an envelope or a problem of status 400 or 422, and the same one each time.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz webhook_decode`
#![no_main]

use frontdesk_web::{Arrived, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let arrived = Arrived { webhook_id: Some("w"), idempotency_key: None };
    let first = decode(body, arrived);
    assert_eq!(first, decode(body, arrived));
    match first {
        Ok(envelope) => assert!(!envelope.content.source().trim().is_empty()),
        Err(problem) => assert!(matches!(problem.status, 400 | 422) && !problem.detail.is_empty()),
    }
});
