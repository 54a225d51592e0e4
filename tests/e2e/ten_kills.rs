//! Ten kills at random moments, with at least fifty messages in flight at each, and a ledger outside that knows what was
//! accepted and what came out.
//!
//! Senders write to many threads at once, each message of a thread after the one before was acknowledged; what was not
//! acknowledged is sent again under the same id. The agent takes 100 to 300 ms for an event, the far end 5 to 40 ms for a
//! message. *In flight* is what was acknowledged and has not come to the far end. After the tenth kill everything
//! drains, and then the ledger is held against what both ends saw.
//!
//! `FRONTDESK_TEST_SEED` repeats a run's choices. The figures are printed, and kept where cargo keeps tests' files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use frontdesk_testkit::{
    far_end::{FarEnd, Received, Reply},
    ledger::{Dice, Said, out_of_order},
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::world::{World, text_of_delivery, text_of_event, thread_of_delivery, webhook_id};

const KILLS: usize = 10;
const THREADS: usize = 48;
/// A sender waits while so many of its thread are in flight.
const WINDOW: usize = 4;
const LEAST_IN_FLIGHT: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Book {
    /// The daemon's present life, from 1.
    pub(crate) life: usize,
    pub(crate) acknowledged: BTreeSet<Said>,
    duplicates: usize,
    /// By event: which message, and in which lives the agent was asked.
    asked: BTreeMap<String, (Said, Vec<usize>)>,
    asked_in_order: Vec<Said>,
    /// By reply: under which webhook-ids it came, and in which lives.
    pub(crate) delivered: BTreeMap<Said, (BTreeSet<String>, Vec<usize>)>,
    delivered_in_order: Vec<Said>,
    /// What was said and had not come out at each kill.
    pub(crate) in_flight_at_kills: Vec<BTreeSet<Said>>,
}

/// Knows what went in and came out; asks the daemon nothing.
#[derive(Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    changed: Notify,
}

impl Ledger {
    pub(crate) fn write<T>(&self, entry: impl FnOnce(&mut Book) -> T) -> T {
        let written = entry(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        written
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.lock().unwrap())
    }

    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Book) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.read(&wanted) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not in time: {what}; in flight: {}", self.read(Book::in_flight));
        }
    }
}

impl Book {
    pub(crate) fn in_flight(&self) -> usize {
        self.acknowledged.len() - self.acknowledged.iter().filter(|said| self.delivered.contains_key(said)).count()
    }

    fn in_flight_of(&self, thread: usize) -> usize {
        let of_thread = self.acknowledged.range((thread, 0)..(thread + 1, 0));
        of_thread.filter(|said| !self.delivered.contains_key(said)).count()
    }
}

pub(crate) fn seed() -> u64 {
    match std::env::var("FRONTDESK_TEST_SEED") {
        Ok(seed) => seed.parse().expect("FRONTDESK_TEST_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into(),
    }
}

fn words((thread, number): Said) -> String {
    format!("{thread} says {number}")
}

fn said(words: &str) -> Said {
    let (thread, number) = words.trim_start_matches("re: ").split_once(" says ").unwrap();
    (thread.parse().unwrap(), number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_with_fifty_in_flight_lose_nothing_double_nothing_and_keep_the_order() {
    let seed = seed();
    println!("seed {seed} (FRONTDESK_TEST_SEED repeats it)");
    let mut dice = Dice(seed);
    let ledger = Arc::new(Ledger::default());
    let world = Arc::new(World::of(agent(&ledger, seed).await, shop(&ledger, seed).await));
    let (stop, stopped) = watch::channel(false);
    let (serving, is_serving) = watch::channel(false);
    let mut senders = JoinSet::new();
    for thread in 0..THREADS {
        senders.spawn(write_to(
            thread,
            Arc::clone(&world),
            Arc::clone(&ledger),
            stopped.clone(),
            is_serving.clone(),
            Refusals::None,
        ));
    }

    let mut table = Table::new(seed);
    for kill in 1..=KILLS {
        ledger.write(|book| book.life = kill);
        let start = Instant::now();
        let mut daemon = world.start().await;
        let ready = start.elapsed();
        serving.send_replace(true);
        // Long enough for agent answers and deliveries of this life, and then at any moment.
        tokio::time::sleep(dice.millis(350, 1200)).await;
        ledger.until("fifty in flight", |book| book.in_flight() >= LEAST_IN_FLIGHT).await;
        let at = start.elapsed();
        daemon.kill().await.unwrap();
        serving.send_replace(false);
        ledger.write(|book| {
            let delivered = &book.delivered;
            let open = book.acknowledged.iter().filter(|said| !delivered.contains_key(said)).copied();
            let open: BTreeSet<Said> = open.collect();
            table.kill(kill, ready, at, book, open.len());
            book.in_flight_at_kills.push(open);
        });
    }

    ledger.write(|book| book.life = KILLS + 1);
    let mut daemon = world.start().await;
    serving.send_replace(true);
    stop.send_replace(true);
    let written: usize = senders.join_all().await.into_iter().sum();
    ledger.until("everything has come out", |book| book.delivered.len() >= written).await;
    // A last repeat, if there were one, would come before the daemon has ended.
    wait_until_all_is_sent(&world).await;
    assert!(world.dead_letters().await.is_empty());
    daemon.terminate().unwrap();
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());

    let verdict = ledger.read(|book| Verdict::of(book, written));
    table.end(&verdict);
    println!("{}", table.text);
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/ten-kills.txt"), &table.text).unwrap();
    ledger.read(|book| verdict.hold(book));
}

/// Answers each event after a while, with what it was asked.
pub(crate) async fn agent(ledger: &Arc<Ledger>, seed: u64) -> FarEnd {
    let ledger = Arc::clone(ledger);
    FarEnd::start(move |request| {
        let words = text_of_event(request);
        let said = said(&words);
        let event = webhook_id(request);
        let turn = ledger.write(|book| {
            book.asked_in_order.push(said);
            let life = book.life;
            let (_, lives) = book.asked.entry(event).or_insert_with(|| (said, Vec::new()));
            lives.push(life);
            lives.len()
        });
        let delay = Dice::of_message(seed, said, turn).millis(100, 300);
        Reply::json(200, json!({ "text": format!("re: {words}") })).after(delay)
    })
    .await
}

/// Takes each message, a little later.
pub(crate) async fn shop(ledger: &Arc<Ledger>, seed: u64) -> FarEnd {
    let ledger = Arc::clone(ledger);
    FarEnd::start(move |request: &Received| {
        let said = said(&text_of_delivery(request));
        assert_eq!(thread_of_delivery(request), format!("thread-{}", said.0));
        let turn = ledger.write(|book| {
            book.delivered_in_order.push(said);
            let life = book.life;
            let (ids, lives) = book.delivered.entry(said).or_default();
            ids.insert(webhook_id(request));
            lives.push(life);
            lives.len()
        });
        Reply::status(204).after(Dice::of_message(!seed, said, turn).millis(5, 40))
    })
    .await
}

/// Which answers besides 202 a sender has to expect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusals {
    /// None.
    None,
    /// 503, as the store may be gone for a while.
    Unavailable,
}

/// Writes to one thread until told to stop; how many messages it wrote.
pub(crate) async fn write_to(
    thread: usize,
    world: Arc<World>,
    ledger: Arc<Ledger>,
    stopped: watch::Receiver<bool>,
    mut serving: watch::Receiver<bool>,
    refusals: Refusals,
) -> usize {
    let mut number = 0;
    loop {
        ledger.until("room in a thread", |book| book.in_flight_of(thread) < WINDOW).await;
        if *stopped.borrow() {
            return number;
        }
        let said = (thread, number);
        loop {
            serving.wait_for(|serving| *serving).await.unwrap();
            let answer = world.post(&format!("thread-{thread}"), &number.to_string(), &words(said)).await;
            match answer {
                Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                    let seen = answer.headers().contains_key("frontdesk-duplicate");
                    ledger.write(|book| {
                        book.acknowledged.insert(said);
                        book.duplicates += usize::from(seen);
                    });
                    break;
                }
                Ok(answer)
                    if refusals == Refusals::Unavailable && answer.status() == StatusCode::SERVICE_UNAVAILABLE =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(answer) => panic!("a message was refused: {}", answer.status()),
                // The daemon was killed; whether it had taken the message is not known, so it is sent again.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        number += 1;
    }
}

pub(crate) async fn wait_until_all_is_sent(world: &World) {
    let mut page = String::new();
    loop {
        let list = world.get(&format!("/v1/conversations?limit=200{page}")).await;
        for conversation in list["data"].as_array().unwrap() {
            world.settled(conversation["id"].as_str().unwrap(), "sent").await;
        }
        match list["next"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => return,
        }
    }
}

/// What the ledger says in the end.
pub(crate) struct Verdict {
    written: usize,
    pub(crate) lost: usize,
    pub(crate) in_flight: usize,
    pub(crate) out_of_order_at_agent: usize,
    pub(crate) out_of_order_at_far_end: usize,
    pub(crate) most_ids_of_a_reply: usize,
    pub(crate) repeats_at_far_end: usize,
    repeats_within_a_life: usize,
    pub(crate) asked_again: usize,
    asked_again_without_need: usize,
    duplicates: usize,
}

impl Verdict {
    pub(crate) fn of(book: &Book, written: usize) -> Self {
        let again: Vec<_> = book.asked.values().filter(|(_, lives)| lives.len() > 1).collect();
        let without_need = again.iter().filter(|(said, lives)| {
            // Asked in a life and again in the next one, it must have been in flight at the kill between the two.
            lives
                .windows(2)
                .any(|pair| !(pair[0]..pair[1]).any(|kill| book.in_flight_at_kills[kill - 1].contains(said)))
        });
        let within_a_life = |lives: &Vec<usize>| lives.windows(2).filter(|pair| pair[0] == pair[1]).count();
        Self {
            written,
            lost: book.acknowledged.iter().filter(|said| !book.delivered.contains_key(said)).count(),
            in_flight: book.in_flight_at_kills.iter().map(BTreeSet::len).sum(),
            out_of_order_at_agent: out_of_order(&book.asked_in_order),
            out_of_order_at_far_end: out_of_order(&book.delivered_in_order),
            most_ids_of_a_reply: book.delivered.values().map(|(ids, _)| ids.len()).max().unwrap_or(0),
            repeats_at_far_end: book.delivered_in_order.len() - book.delivered.len(),
            repeats_within_a_life: book.delivered.values().map(|(_, lives)| within_a_life(lives)).sum::<usize>()
                + book.asked.values().map(|(_, lives)| within_a_life(lives)).sum::<usize>(),
            asked_again: book.asked_in_order.len() - book.asked.len(),
            asked_again_without_need: without_need.count(),
            duplicates: book.duplicates,
        }
    }

    fn hold(&self, book: &Book) {
        assert_eq!(book.in_flight_at_kills.len(), KILLS);
        for open in &book.in_flight_at_kills {
            assert!(open.len() >= LEAST_IN_FLIGHT, "too little in flight at a kill");
        }
        assert_eq!(book.acknowledged.len(), self.written);
        assert_eq!(self.lost, 0, "lost");
        assert_eq!(self.out_of_order_at_agent, 0, "out of order at the agent");
        assert_eq!(self.out_of_order_at_far_end, 0, "out of order at the far end");
        assert_eq!(self.most_ids_of_a_reply, 1, "a reply came under several webhook-ids");
        let ids: BTreeSet<&String> = book.delivered.values().flat_map(|(ids, _)| ids).collect();
        assert_eq!(ids.len(), self.written, "a webhook-id carried several replies");
        let events: BTreeSet<Said> = book.asked.values().map(|(said, _)| *said).collect();
        assert_eq!(events.len(), book.asked.len(), "a message became several events");
        assert_eq!(self.repeats_within_a_life, 0, "repeats that no kill explains");
        assert!(self.repeats_at_far_end <= self.in_flight, "more repeats than were in flight");
        assert_eq!(self.asked_again_without_need, 0, "the agent was asked again for what was not in flight");
    }
}

/// The figures.
struct Table {
    text: String,
}

impl Table {
    fn new(seed: u64) -> Self {
        let mut text = format!("ten kills, {THREADS} threads, seed {seed}\n");
        text += "kill   after ms   ready ms   acknowledged   come out   in flight   asked, not come out\n";
        Self { text }
    }

    fn kill(&mut self, kill: usize, ready: Duration, at: Duration, book: &Book, open: usize) {
        let asked: BTreeSet<Said> =
            book.asked.values().filter(|(_, lives)| lives.last() == Some(&kill)).map(|(said, _)| *said).collect();
        let unanswered = asked.iter().filter(|said| !book.delivered.contains_key(said)).count();
        let _ = writeln!(
            self.text,
            "{kill:>4} {:>10} {:>10} {:>14} {:>10} {open:>11} {unanswered:>21}",
            at.as_millis(),
            ready.as_millis(),
            book.acknowledged.len(),
            book.delivered.len(),
        );
    }

    fn end(&mut self, verdict: &Verdict) {
        let mut row = |what: &str, figure: usize| {
            let _ = writeln!(self.text, "{what:<58} {figure:>6}");
        };
        row("messages acknowledged", verdict.written);
        row("in flight, summed over the kills", verdict.in_flight);
        row("lost", verdict.lost);
        row("out of order within a thread, at the agent", verdict.out_of_order_at_agent);
        row("out of order within a thread, at the far end", verdict.out_of_order_at_far_end);
        row("distinct webhook-ids per reply, at most", verdict.most_ids_of_a_reply);
        row("raw repeats at the far end", verdict.repeats_at_far_end);
        row("repeats within one life, at either end", verdict.repeats_within_a_life);
        row("events asked again", verdict.asked_again);
        row("events asked again that were not in flight", verdict.asked_again_without_need);
        row("posts repeated by the sender and known to the daemon", verdict.duplicates);
    }
}
