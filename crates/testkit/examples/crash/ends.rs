//! The agent and the far end: what they answer, and how they misbehave while a blow says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use frontdesk_testkit::{
    far_end::{FarEnd, Received, Reply},
    ledger::{Dice, Said},
};
use serde_json::{Value, json};

use crate::book::Ledger;

/// How an end behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mood {
    Well,
    /// 500.
    Fails,
    /// Never answers.
    Hangs,
    /// Byte by byte.
    Drips,
    /// 429 with a pause.
    Busy,
    /// Takes it, and resets the connection.
    Resets,
}

impl Mood {
    const ALL: [Self; 6] = [Self::Well, Self::Fails, Self::Hangs, Self::Drips, Self::Busy, Self::Resets];
}

/// Changed while the end runs.
#[derive(Default)]
pub(crate) struct Moods(AtomicU8);

impl Moods {
    pub(crate) fn set(&self, mood: Mood) {
        self.0.store(mood as u8, Ordering::SeqCst);
    }

    fn get(&self) -> Mood {
        Mood::ALL.into_iter().find(|mood| *mood as u8 == self.0.load(Ordering::SeqCst)).unwrap_or(Mood::Well)
    }
}

pub(crate) fn words((thread, number): Said) -> String {
    format!("{thread} says {number}")
}

fn said(words: &str) -> Option<Said> {
    let (thread, number) = words.trim_start_matches("re: ").split_once(" says ")?;
    Some((thread.parse().ok()?, number.parse().ok()?))
}

fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn misbehave(mood: Mood, good: Reply) -> Reply {
    match mood {
        Mood::Well => good,
        Mood::Fails => Reply::status(500),
        Mood::Hangs => Reply::hang(),
        Mood::Drips => good.drip(1, Duration::from_millis(400)),
        Mood::Busy => Reply::status(429).header("retry-after", "1"),
        Mood::Resets => Reply::reset(),
    }
}

/// Answers each event after a while with what it was asked.
pub(crate) async fn agent(ledger: &Arc<Ledger>, moods: &Arc<Moods>, seed: u64) -> FarEnd {
    let (ledger, moods) = (Arc::clone(ledger), Arc::clone(moods));
    FarEnd::start(move |request| {
        let event = body(request);
        let words = event["data"]["message"]["text"].as_str().unwrap_or_default().to_owned();
        let Some(said) = said(&words) else { return Reply::status(204) };
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        let turn = ledger.with(|book| book.ask(id, said));
        let good = Reply::json(200, json!({ "text": format!("re: {words}") }));
        misbehave(moods.get(), good).after(Dice::of_message(seed, said, turn).millis(20, 120))
    })
    .await
}

/// Takes each message, a little later.
pub(crate) async fn shop(ledger: &Arc<Ledger>, moods: &Arc<Moods>, seed: u64) -> FarEnd {
    let (ledger, moods) = (Arc::clone(ledger), Arc::clone(moods));
    FarEnd::start(move |request| {
        let mood = moods.get();
        let refuses = matches!(mood, Mood::Fails | Mood::Busy);
        let words = body(request)["data"]["message"]["text"].as_str().unwrap_or_default().to_owned();
        let Some(said) = said(&words) else { return Reply::status(400) };
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        // What is refused has not been seen by anybody.
        let turn = if refuses {
            0
        } else {
            ledger.with(|book| {
                book.resets += usize::from(mood == Mood::Resets);
                book.deliver(said, id)
            })
        };
        misbehave(mood, Reply::status(204)).after(Dice::of_message(!seed, said, turn).millis(2, 20))
    })
    .await
}
