//! Recorded payloads: what each sort of update is read as, and the exact requests that answers become.
//!
//! The updates have the forms of <https://core.telegram.org/bots/api#update>. A line that changes is a change for whoever uses
//! `frontdesk decode telegram` or `frontdesk render telegram`.
#![allow(clippy::unwrap_used, missing_docs)] // tests may stop at the first surprise

use frontdesk_model::{Insight, Raw, Wanted};
use frontdesk_telegram::TelegramInsight;
use serde_json::{Value, json};

const INBOUND: &str = include_str!("../../../../tests/fixtures/telegram/inbound.jsonl");
const OUTBOUND: &str = include_str!("../../../../tests/fixtures/telegram/outbound.jsonl");

/// Every line whose `got` is not what it should be, by name.
fn differing(table: &str, expected: &str, got: impl Fn(&Value) -> Value) -> Vec<String> {
    let lines = table.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter_map(|line| {
            let (got, expected) = (got(&line), line.get(expected).unwrap());
            (got != *expected)
                .then(|| format!("{}\n  got      {got}\n  expected {expected}", line.get("name").unwrap()))
        })
        .collect()
}

#[test]
fn every_recorded_update_is_read_as_it_was() {
    let differing = differing(INBOUND, "decoded", |line| {
        let decoded = TelegramInsight.decode(&Raw::Json(line.get("update").unwrap().clone())).unwrap();
        serde_json::to_value(decoded).unwrap()
    });
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(INBOUND.lines().count() > 100);
}

#[test]
fn every_recorded_answer_becomes_these_requests() {
    let differing = differing(OUTBOUND, "rendered", |line| {
        let rendered = TelegramInsight.render(&Wanted::read(line.get("wanted").unwrap()).unwrap());
        json!(rendered)
    });
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(OUTBOUND.lines().count() > 10);
}
