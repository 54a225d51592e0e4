//! What was acknowledged is in the folder, whenever somebody looks: at a snapshot of it, or after `kill -9`.
//!
//! A child process (this very test binary, told so by its environment) writes without a pause and prints each id once it is
//! acknowledged. The parent stops it at random moments and copies the folder, as a snapshot of the disk does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use frontdesk_model::*;
use frontdesk_store::{SqliteOptions, SqliteStore};
use frontdesk_testkit::{
    clock::TestClock,
    store_suite::{ALL, Bench, said, thread},
};

const FOLDER: &str = "FRONTDESK_TEST_WRITES_TO";
const WRITERS: usize = 8;

fn open(folder: &Path) -> SqliteStore {
    let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let options = SqliteOptions { min_free: 0, reserve: 0, ..SqliteOptions::default() };
    SqliteStore::open(folder, options, Arc::new(clock)).unwrap()
}

/// Not a test of its own: what the child does. Without the environment there is nothing to do.
#[test]
fn the_child_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(open(Path::new(&folder)));
        let output = Arc::new(Mutex::new(std::io::stdout()));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(Arc::clone(&store), writer, Arc::clone(&output)));
        }
        writers.join_next().await;
    });
    panic!("the child stopped writing");
}

/// Inbound messages, replies under a claim, and settled deliveries, over and over.
async fn write(store: Arc<dyn Store>, writer: usize, output: Arc<Mutex<std::io::Stdout>>) {
    let say = |kind: &str, id: MessageId| {
        let mut output = output.lock().unwrap();
        writeln!(output, "acknowledged {kind} {id}").and_then(|()| output.flush()).unwrap();
    };
    let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let bench = Bench::new(Arc::clone(&store), clock, ());
    for round in 0_u64.. {
        // Ids of different writers, and of a child and its successor, must not meet.
        let own = |id: MessageId| {
            let mut bytes = id.to_bytes();
            bytes[0] = u8::try_from(writer).unwrap();
            bytes[1..5].copy_from_slice(&std::process::id().to_be_bytes());
            MessageId::from_bytes(bytes)
        };
        let key = thread(&format!("{writer}-{}", round % 3));
        let mut inbound = bench.inbound(&key);
        inbound.message = own(inbound.message);
        let mut fresh = inbound.new.id.to_bytes();
        fresh[0] = u8::try_from(writer).unwrap();
        inbound.new.id = ConversationId::from_bytes(fresh);
        inbound.dedupe = DedupeKey(inbound.message.to_bytes());
        let taken = said(inbound.message, Direction::Inbound);
        let wakes = vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }];
        inbound.effects = vec![bench.event(taken, wakes, None), Effect::MarkUnanswered];
        let message = inbound.message;
        store.commit_inbound(inbound).await.unwrap();
        say("inbound", message);
        let operation = random(OperationId::from_bytes);
        let request = ClaimRequest {
            operation,
            lane: Lane::Agent,
            limit: 1,
            lease: Duration::from_secs(30),
            order: ClaimOrder::LongestDue,
        };
        let Some(claim) = store.claim(request).await.unwrap().claims.pop() else { continue };
        let reply = own(bench.message_id());
        let queued = bench.event(said(reply, Direction::Outbound), Vec::new(), Some(DeliveryStatus::Queued));
        let effects = vec![
            queued,
            Effect::Freeze { message: reply, parts: vec![FrozenPart(serde_json::json!({ "text": "one" }))] },
            Effect::SetPart { message: reply, index: 0, state: PartState::Intent },
        ];
        let (claim, operation) = (claim.id, random(OperationId::from_bytes));
        let settle = Settle {
            operation,
            claim,
            guards: Vec::new(),
            effects,
            then: Then::Advance,
            next: Vec::new(),
            intend: None,
        };
        if matches!(store.settle(settle).await.unwrap().applied, Applied::Done { .. }) {
            say("reply", reply);
        }
    }
}

fn random<T>(from: impl Fn([u8; 16]) -> T) -> T {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    from(bytes)
}

/// The child, and what it says. Killed when the test ends, however it ends.
struct Writing {
    child: Child,
    said: Receiver<String>,
}

impl Writing {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_writes_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, said) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok).filter(|line| line.starts_with("acknowledged")) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, said }
    }

    /// Waits until this many more were acknowledged.
    fn hear(&self, acknowledged: &mut Vec<String>, more: usize) {
        for _ in 0..more {
            acknowledged.push(self.said.recv_timeout(Duration::from_secs(60)).unwrap());
        }
    }

    /// All that had been said when the child was stopped: nothing comes after it.
    fn hear_the_rest(&self, acknowledged: &mut Vec<String>) {
        while let Ok(line) = self.said.recv_timeout(Duration::from_millis(200)) {
            acknowledged.push(line);
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(child, signal).unwrap();
    }

    /// Whether every thread of the child stands still. A signal takes its time.
    fn wait_until_stopped(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't']))
        };
        while !fs::read_dir(&tasks).unwrap().map(Result::unwrap).all(stands) {
            std::thread::yield_now();
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number below the bound; another one each time.
fn any_below(bound: u64) -> u64 {
    u64::try_from(random(u128::from_be_bytes) % u128::from(bound)).unwrap()
}

async fn holds_all(folder: &Path, acknowledged: &[String]) {
    let store = open(folder);
    for line in acknowledged {
        let mut words = line.split(' ').skip(1);
        let (kind, id) = (words.next().unwrap(), words.next().unwrap().parse::<MessageId>().unwrap());
        assert!(store.message(id).await.unwrap().is_some(), "lost: {line}");
        if kind == "reply" {
            let parts = store.parts(id).await.unwrap();
            assert_eq!(parts.iter().map(|part| part.state.clone()).collect::<Vec<_>>(), [PartState::Intent], "{line}");
        }
    }
    let page = PageRequest { limit: 200, page: None };
    for conversation in store.conversations(ConversationFilter::default(), page).await.unwrap().data {
        let log = store.events(conversation.id, Seq::ZERO, ALL).await.unwrap().unwrap().data;
        assert!(log.iter().zip(1..).all(|(event, seq)| event.seq == Seq(seq)));
        assert_eq!(log.last().unwrap().seq, conversation.last_seq);
    }
    store.close().await.unwrap();
    let file = rusqlite::Connection::open(folder.join("frontdesk.db")).unwrap();
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_the_folder_at_any_moment_holds_everything_acknowledged_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let writing = Writing::start(folder.path());
    let mut acknowledged = Vec::new();
    for _ in 0..12 {
        writing.hear(&mut acknowledged, usize::try_from(20 + any_below(200)).unwrap());
        // Somewhere in the middle of a write, not always right after an acknowledgement.
        std::thread::sleep(Duration::from_micros(any_below(3000)));
        writing.signal(rustix::process::Signal::STOP);
        writing.wait_until_stopped();
        writing.hear_the_rest(&mut acknowledged);
        let snapshot = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            if !["lock", "reserve"].iter().any(|name| entry.file_name() == *name) {
                fs::copy(entry.path(), snapshot.path().join(entry.file_name())).unwrap();
            }
        }
        writing.signal(rustix::process::Signal::CONT);
        holds_all(snapshot.path(), &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_moment_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..8 {
        let mut writing = Writing::start(folder.path());
        writing.hear(&mut acknowledged, usize::try_from(20 + any_below(200)).unwrap());
        std::thread::sleep(Duration::from_micros(any_below(3000)));
        writing.child.kill().unwrap();
        writing.child.wait().unwrap();
        writing.hear_the_rest(&mut acknowledged);
        holds_all(folder.path(), &acknowledged).await;
    }
}
