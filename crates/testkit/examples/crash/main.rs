//! A campaign that tries to break "nothing lost, nothing doubled, in order".
//!
//! Senders write to many threads at once, each message after the one before was acknowledged; what was not acknowledged is sent again
//! under the same id. An agent answers, a far end takes the answers, a teammate leaves notes that are sent once and never
//! repeated. Meanwhile one blow after the other falls ([`stand::Blow`]): kills at named points of a message's way and at any moment,
//! standstills, unwell ends, full disks, and with Redis two daemons and blows at the server. In the end a ledger outside ([`book`]) says
//! what was lost, doubled or out of order.
//!
//! It needs a daemon built with the feature `trial`; `tests/crash` builds it and runs this. With `--teeth` the daemon breaks its promises
//! on purpose, one after the other, and the campaign fails if it does not notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)] // it may stop at the first surprise

mod book;
mod ends;
mod stand;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use frontdesk_testkit::ledger::{Dice, Said};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use self::{
    book::{Book, Ledger, Verdict},
    ends::Mood,
    stand::{Blow, POINTS, Stand, TOKEN},
};

const THREADS: usize = 48;
/// A sender waits while so many of its thread are in flight.
const WINDOW: usize = 4;
/// Several at once, so that mostly one of them is being written when a blow falls.
const NOTERS: usize = 16;
const BETWEEN_NOTES: Duration = Duration::from_millis(40);
/// What was in flight at a blow has to have come out by then.
const WELL_WITHIN: Duration = Duration::from_secs(60);
/// With daemons that share a store, so many blows fall in a row.
const BETWEEN_RESTS: usize = 10;
/// A daemon may have so much memory, in MiB.
const MEMORY: f64 = 256.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StoreKind {
    Sqlite,
    Redis,
}

/// Tries to break what the daemon promises.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// The daemon, built with the feature `trial`.
    #[arg(long)]
    daemon: PathBuf,
    /// What it keeps everything in.
    #[arg(long, value_enum, default_value = "sqlite")]
    store: StoreKind,
    /// With Redis: appendfsync everysec; what a kill of it costs is counted, and no failure.
    #[arg(long)]
    everysec: bool,
    /// With Redis: a replica, which takes over again and again; what its master took alone is counted, and no failure.
    #[arg(long, conflicts_with = "everysec")]
    failover: bool,
    /// So many blows.
    #[arg(long, default_value_t = 40)]
    runs: usize,
    /// At least so many messages.
    #[arg(long, default_value_t = 2000)]
    messages: usize,
    /// Repeats a run's choices.
    #[arg(long, default_value_t = rand_seed())]
    seed: u64,
    /// Instead: SIGSTOP past the lease and SIGCONT, half a minute each time, with an agent that may take longer than that.
    #[arg(long)]
    standstills: bool,
    /// Instead: breaks each promise on purpose, and fails where that is not noticed.
    #[arg(long)]
    teeth: bool,
    /// The promise that is broken on purpose.
    #[arg(long, hide = true)]
    sabotage: Option<String>,
}

impl Options {
    /// Whether Redis is told to keep less than everything.
    fn may_lose(&self) -> bool {
        self.everysec || self.failover
    }
}

fn rand_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let held = runtime.block_on(async {
        if options.teeth { teeth(&options).await } else { campaign(&options).await.report(&options) }
    });
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Breaks each promise, and looks whether it is noticed.
async fn teeth(options: &Options) -> bool {
    let mut all = true;
    let redis = options.store == StoreKind::Redis;
    // With what each of them must be noticed by: something else that goes wrong proves nothing.
    let promises = [
        ("ack_before_commit", "lost"),
        ("no_fence", "doubled"),
        ("intent_after_send", "sent before that was noted"),
        // A message's own id keeps it from being there twice; but what was written is told to be refused.
        ("skip_operation_id", "notes refused"),
    ];
    for (promise, by) in promises {
        let seen_here = match promise {
            // Seen in SQLite's file.
            "intent_after_send" => !redis,
            // Between a caller and SQLite nothing can be lost.
            "skip_operation_id" => redis,
            _ => true,
        };
        if !seen_here {
            continue;
        }
        let standstills = promise == "no_fence";
        let runs = if standstills { 1 } else { 6 };
        let sabotage = Some(promise.to_owned());
        let sabotaged = Options { sabotage, standstills, runs, messages: 300, ..options.clone() };
        let outcome = campaign(&sabotaged).await;
        let violations = outcome.violations(&sabotaged);
        let is_it = |violation: &String| violation.split_once(' ').is_some_and(|(_, what)| what == by);
        let noticed = violations.iter().any(is_it);
        all &= noticed;
        let found = violations.join("; ");
        let verdict = if noticed { found } else { format!("NOT NOTICED: nothing {by} ({found})") };
        println!("{promise:<20} {verdict}");
    }
    all
}

/// What a campaign came to.
struct Outcome {
    verdict: Verdict,
    blows: BTreeMap<&'static str, (usize, usize)>,
    kills: usize,
    struck: usize,
    /// So many repeats under one id can be told from what was done to the daemon.
    may_repeat: usize,
    taken: usize,
    late: Vec<(&'static str, usize)>,
    unintended: usize,
    notes: Notes,
    dead_letters: usize,
    peak: f64,
    took: Duration,
    untidy: Option<String>,
}

#[derive(Debug, Default)]
struct Notes {
    acknowledged: usize,
    lost: usize,
    doubled: usize,
    /// There is nothing wrong with any of them.
    refused: usize,
}

impl Outcome {
    fn violations(&self, options: &Options) -> Vec<String> {
        let Self { verdict, notes, .. } = self;
        let mut found = Vec::new();
        let mut must_be_none = |what: &str, count: usize| {
            if count > 0 {
                found.push(format!("{count} {what}"));
            }
        };
        // What can be lost with a server is said at the daemon's start, and counted here.
        if !options.may_lose() {
            must_be_none("lost", verdict.lost);
            must_be_none("doubled", verdict.doubled);
            must_be_none("out of order", verdict.reordered);
            // No fence reaches what leaves a daemon that was stopped after its last look.
            if !options.standstills {
                must_be_none("repeated late", verdict.late_repeats);
            }
            must_be_none("notes lost", notes.lost);
            must_be_none("notes refused", notes.refused);
            must_be_none("not out within a minute", self.late.iter().map(|(_, count)| count).sum());
        }
        must_be_none("notes doubled", notes.doubled);
        must_be_none("sent before that was noted", self.unintended);
        must_be_none("dead letters", self.dead_letters);
        if verdict.acknowledged < options.messages {
            found.push(format!("only {} messages were taken, of {}", verdict.acknowledged, options.messages));
        }
        if verdict.raw_repeats > self.may_repeat {
            found.push(format!("{} repeats, where {} could be", verdict.raw_repeats, self.may_repeat));
        }
        if self.peak > MEMORY {
            found.push(format!("{:.0} MiB of memory", self.peak));
        }
        found.extend(self.untidy.clone());
        found
    }

    fn report(&self, options: &Options) -> bool {
        let store = match (options.store, options.everysec) {
            (StoreKind::Sqlite, _) => "SQLite, strict",
            (StoreKind::Redis, false) if options.failover => "Redis, a master and its replica, two daemons",
            (StoreKind::Redis, false) => "Redis, appendfsync always, two daemons",
            (StoreKind::Redis, true) => "Redis, appendfsync everysec, two daemons",
        };
        println!("{store}; seed {}; {:.0} s", options.seed, self.took.as_secs_f64());
        println!("{:<34} {:>6} {:>10}", "blow", "times", "in flight");
        for (blow, (times, struck)) in &self.blows {
            println!("{blow:<34} {times:>6} {struck:>10}");
        }
        let Self { verdict, notes, .. } = self;
        for (what, figure) in [
            ("kills", self.kills),
            ("messages acknowledged", verdict.acknowledged),
            ("lost", verdict.lost),
            ("lost with a server, as is said at the start", self.taken),
            ("doubled (several ids, or several events)", verdict.doubled),
            ("out of order within a thread", verdict.reordered),
            ("raw repeats at the far end, one id", verdict.raw_repeats),
            ("raw repeats that there could be", self.may_repeat),
            ("repeats after younger ones, at either end", verdict.late_repeats),
            ("in flight, summed over the blows", self.struck),
            ("asked again", verdict.asked_again),
            ("not out within 60 s of the blow", self.late.iter().map(|(_, count)| count).sum()),
            ("sent before that was noted", self.unintended),
            ("notes acknowledged", notes.acknowledged),
            ("notes lost", notes.lost),
            ("notes doubled", notes.doubled),
            ("notes refused", notes.refused),
            ("dead letters", self.dead_letters),
        ] {
            println!("{what:<44} {figure:>7}");
        }
        println!(
            "{:<44} {:>7}",
            "store check, running and stopped",
            if self.untidy.is_none() { "clean" } else { "flaws" }
        );
        println!("{:<44} {:>7.1} MiB", "most memory of a daemon", self.peak);
        let violations = self.violations(options);
        if !violations.is_empty() {
            println!("BROKEN: {} (--seed {} repeats the choices)", violations.join("; "), options.seed);
        }
        violations.is_empty()
    }
}

/// Which blows fall, in which order.
fn plan(options: &Options, dice: &mut Dice, with_disk: bool) -> Vec<Blow> {
    let all: Vec<Blow> = match options.sabotage.as_deref() {
        Some("ack_before_commit") => vec![Blow::Kill, Blow::KillAt("accepting")],
        _ if options.standstills => vec![Blow::Freeze(33)],
        Some("intent_after_send") => vec![Blow::KillAt("sent")],
        // What a caller no longer waits for is carried out when Redis goes on.
        Some("skip_operation_id") => vec![Blow::RedisFreeze],
        _ => {
            let mut all = vec![Blow::Kill, Blow::Terminate, Blow::Descriptors];
            all.extend(POINTS.map(Blow::KillAt));
            all.extend([Mood::Fails, Mood::Hangs, Mood::Drips].map(Blow::Agent));
            all.extend([Mood::Busy, Mood::Fails, Mood::Resets].map(Blow::FarEnd));
            all.extend([Blow::Clock(3600), Blow::Clock(0), Blow::Clock(-3600), Blow::Clock(0)]);
            if options.store == StoreKind::Redis {
                all.extend([Blow::RedisKill, Blow::RedisKill, Blow::RedisFreeze, Blow::RedisFull, Blow::RedisCut]);
            }
            if options.failover {
                all.extend([Blow::Failover; 8]);
            }
            if with_disk {
                all.push(Blow::FullDisk);
            }
            all
        }
    };
    let mut plan = Vec::new();
    while plan.len() < options.runs {
        // Each round has every blow once, in an order of its own.
        let mut round = all.clone();
        while !round.is_empty() && plan.len() < options.runs {
            let next = usize::try_from(dice.roll()).unwrap_or(0) % round.len();
            plan.push(round.remove(next));
            if options.sabotage.is_none() && !options.standstills {
                plan.push(Blow::Kill);
            }
        }
    }
    plan.truncate(options.runs);
    plan
}

async fn campaign(options: &Options) -> Outcome {
    let began = Instant::now();
    // The other daemon takes over what a dead one had in hand when its leases are over, half a minute later: so of daemons on one
    // store a minute is asked from the last of several blows, and of one alone from each.
    let shared = options.store == StoreKind::Redis;
    let mut dice = Dice(options.seed);
    let ledger = Arc::new(Ledger::default());
    let mut stand = Stand::build(options, &ledger).await;
    let urls: Arc<[String]> = stand.sites.iter().map(|site| site.url("")).collect();
    let http = client();
    let notes = begin_notes(&http, &urls).await;
    let (stop, stopped) = watch::channel(false);
    let mut senders = JoinSet::new();
    for thread in 0..THREADS {
        senders.spawn(write_to(thread, Arc::clone(&urls), Arc::clone(&ledger), stopped.clone()));
    }
    let mut noting = JoinSet::new();
    for first in 0..NOTERS {
        let (urls, ledger) = (Arc::clone(&urls), Arc::clone(&ledger));
        noting.spawn(leave_notes(notes.clone(), first, urls, ledger, stopped.clone()));
    }

    let mut blows: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
    for (number, blow) in plan(options, &mut dice, stand.has_a_disk()).into_iter().enumerate() {
        let needs_rest = options.standstills || (shared && number % BETWEEN_RESTS == 0);
        if number > 0 && needs_rest {
            rest(&ledger).await;
        }
        tokio::time::sleep(dice.millis(100, 900)).await;
        ledger.until(WELL_WITHIN, |book| book.in_flight().len() >= THREADS / 2).await;
        let before = ledger.with(|book| book.in_flight().len());
        stand.strike(blow, &mut dice).await;
        let open = ledger.with(|book| {
            book.hold_promises(false);
            let open = book.in_flight().len();
            book.struck += open;
            // After a standstill that is the rest's.
            if !shared && !options.standstills {
                book.promise(blow.name(), WELL_WITHIN);
            }
            open
        });
        let entry = blows.entry(blow.name()).or_default();
        *entry = (entry.0 + 1, entry.1 + before.max(open));
    }
    if shared || options.standstills {
        rest(&ledger).await;
    }
    ledger.until(Duration::from_secs(600), |book| book.acknowledged.len() >= options.messages).await;
    stop.send_replace(true);
    senders.join_all().await;
    noting.join_all().await;
    ledger.until(WELL_WITHIN, |book| book.in_flight().is_empty()).await;
    ledger.with(|book| book.hold_promises(true));
    let (notes, dead_letters) = look_back(&http, &urls[0], &notes, &ledger).await;
    let untidy = stand.end().await.err();
    let verdict = ledger.with(|book| Verdict::of(book));
    let (struck, resets, late) = ledger.with(|book| (book.struck, book.resets, book.late.clone()));
    let taken = ledger.with(|book| book.taken.len());
    Outcome {
        verdict,
        blows,
        kills: stand.kills,
        struck,
        taken,
        // A conversation has one delivery on its way at a time.
        may_repeat: resets + THREADS * stand.interruptions,
        late,
        unintended: stand.unintended,
        notes,
        dead_letters,
        peak: stand.peak,
        took: began.elapsed(),
        untidy,
    }
}

/// Nothing falls until all that is in flight has come out, for which there is a minute.
async fn rest(ledger: &Ledger) {
    ledger.with(|book| book.promise("a rest", WELL_WITHIN));
    ledger.until(WELL_WITHIN, Book::keeps_its_promises).await;
    ledger.with(|book| book.hold_promises(true));
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build().unwrap()
}

/// Writes to one thread until told to stop.
async fn write_to(thread: usize, urls: Arc<[String]>, ledger: Arc<Ledger>, stopped: watch::Receiver<bool>) {
    let http = client();
    let mut at = thread;
    for number in 0.. {
        loop {
            if *stopped.borrow() {
                return;
            }
            if ledger.with(|book| book.in_flight_of(thread) < WINDOW) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let said: Said = (thread, number);
        let body = json!({ "id": number.to_string(), "thread": format!("thread-{thread}"),
            "from": { "id": format!("customer-{thread}"), "name": "Ada" }, "text": ends::words(said) });
        loop {
            let url = format!("{}/v1/channels/shop/messages", urls[at % urls.len()]);
            let answer = http.post(url).bearer_auth(TOKEN).json(&body).send().await;
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(202) => break,
                Ok(429 | 503) => tokio::time::sleep(Duration::from_millis(50)).await,
                Ok(other) => panic!("a message was refused: {other}"),
                // Whether it was taken is not known: it is sent again, to the other daemon where there is one.
                Err(_) => {
                    at += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            if *stopped.borrow() && ledger.with(|book| book.acknowledged.is_empty()) {
                return;
            }
        }
        ledger.with(|book| book.acknowledged.insert(said));
        // In turn: each daemon that is there gets messages, also one that just came back.
        at += 1;
    }
}

/// The conversation in which the notes are left.
async fn begin_notes(http: &reqwest::Client, urls: &[String]) -> String {
    let body = json!({ "id": "1", "thread": "notes", "from": { "id": "notes" }, "text": "hello" });
    let url = format!("{}/v1/channels/shop/messages", urls[0]);
    let answer = http.post(url).bearer_auth(TOKEN).json(&body).send().await.unwrap();
    let accepted: Value = answer.json().await.unwrap();
    accepted["conversation_id"].as_str().unwrap().to_owned()
}

/// Each is posted once, without a key: what is not acknowledged may be there or not, and nothing may be there twice.
async fn leave_notes(
    conversation: String,
    first: usize,
    urls: Arc<[String]>,
    ledger: Arc<Ledger>,
    stopped: watch::Receiver<bool>,
) {
    let http = client();
    for number in (first..).step_by(NOTERS) {
        if *stopped.borrow() {
            return;
        }
        let url = format!("{}/v1/conversations/{conversation}/messages", urls[(number / NOTERS + first) % urls.len()]);
        let body = json!({ "messages": [{ "text": format!("note {number}"), "private": true }] });
        let answer = http.post(url).bearer_auth(TOKEN).json(&body).send().await;
        match answer.map(|answer| answer.status().as_u16()) {
            Ok(202) => {
                ledger.with(|book| book.noted.insert(number));
            }
            Ok(429 | 503 | 507) | Err(_) => {}
            Ok(_) => ledger.with(|book| book.refused += 1),
        }
        tokio::time::sleep(BETWEEN_NOTES).await;
    }
}

/// What the API shows in the end: the notes, and the dead letters.
async fn look_back(http: &reqwest::Client, url: &str, conversation: &str, ledger: &Ledger) -> (Notes, usize) {
    let get = async |path: String| -> Value {
        let answer = http.get(format!("{url}{path}")).bearer_auth(TOKEN).send().await.unwrap();
        answer.json().await.unwrap()
    };
    let mut found: BTreeMap<usize, usize> = BTreeMap::new();
    let mut page = String::new();
    loop {
        let list = get(format!("/v1/conversations/{conversation}/messages?limit=200{page}")).await;
        for message in list["data"].as_array().unwrap() {
            let number = message["text"].as_str().and_then(|text| text.strip_prefix("note ")?.parse().ok());
            if let Some(number) = number {
                *found.entry(number).or_default() += 1;
            }
        }
        match list["next"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => break,
        }
    }
    let letters = get("/v1/dead-letters?limit=200".into()).await;
    let notes = ledger.with(|book| Notes {
        acknowledged: book.noted.len(),
        refused: book.refused,
        lost: book.noted.iter().filter(|number| !found.contains_key(number)).count(),
        doubled: found.values().filter(|times| **times > 1).count(),
    });
    (notes, letters["data"].as_array().map_or(0, Vec::len))
}
