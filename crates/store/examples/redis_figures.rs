//! What the store on Redis costs: rounds a second and processor time, and bytes a message.
//!
//! `cargo run --release -p frontdesk-store --example redis_figures -- speed` starts a server of its own for each way of writing
//! its log (every second, always) and lets 1, 16 and 256 callers take rounds: a message is committed and claimed; the
//! agent's reply is settled and claimed; its parts are frozen and their intent is stored; the outcome is settled.
//!
//! `... -- memory` stores a million messages in 100,000 conversations, once as a million of customers' messages and once as
//! half a million with a delivered reply each, and says what a message takes beyond its text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)] // a program for whoever measures

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use frontdesk_model::*;
use frontdesk_store::{RedisOptions, RedisStore};
use frontdesk_testkit::{redis_server::Server, store_suite::LEASE};
use tokio::task::JoinSet;

const MEASURED: Duration = Duration::from_secs(6);
const TEXT: &str =
    "Where is my order? It was to be here on Tuesday, and the page says that it has been on its way since Friday.";

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match what.as_str() {
        "speed" => runtime.block_on(speed()),
        "memory" => runtime.block_on(memory()),
        _ => eprintln!("say `speed` or `memory`"),
    }
}

#[derive(Debug)]
struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    }
    fn boot(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// Makes ids, and the calls of one round.
struct Maker {
    made: AtomicU64,
}

impl Maker {
    fn entropy(&self) -> [u8; 9] {
        let mut bytes = [0; 9];
        getrandom::fill(&mut bytes).unwrap();
        self.made.fetch_add(1, Ordering::Relaxed);
        bytes
    }

    fn operation(&self) -> OperationId {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).unwrap();
        OperationId::from_bytes(bytes)
    }

    fn message(&self, partition: Partition, direction: Direction, contact: ContactId) -> Message {
        let author = match direction {
            Direction::Inbound => Author::Contact { id: contact, name: Some("Ada Lovelace".into()) },
            Direction::Outbound => Author::Agent,
        };
        let number = self.made.load(Ordering::Relaxed);
        Message {
            id: MessageId::new(Wall.now(), partition, self.entropy()),
            direction,
            author,
            external_id: (direction == Direction::Inbound).then(|| format!("order-note-{number}").parse().unwrap()),
            content: Content::Text(TEXT.into()),
            reply_to: None,
            private: false,
            attachments: Vec::new(),
            auto_generated: false,
            sent_at: None,
            received_at: Wall.now(),
            buttons: Vec::new(),
            quote: None,
            forwarded_from: None,
            edited_at: None,
            settles_at: None,
        }
    }

    fn append(
        &self,
        partition: Partition,
        body: EventBody,
        wake: Option<Wake>,
        status: Option<DeliveryStatus>,
    ) -> Effect {
        let (id, at) = (EventId::new(Wall.now(), partition, self.entropy()), Wall.now());
        let body = match body {
            EventBody::MessageCreated { message } => {
                EventBody::MessageCreated { message: Message { received_at: at, ..message } }
            }
            other => other,
        };
        Effect::Append { id, at, body, wakes: wake.into_iter().collect(), status }
    }

    fn inbound(&self, number: u64, claim: Option<ClaimNext>) -> CommitInbound {
        let thread = ThreadKey {
            kind: "webhook".parse().unwrap(),
            account: "shop".parse().unwrap(),
            thread: format!("order-{number}").parse().unwrap(),
        };
        let partition = Partition::of(&thread);
        let mut contact = [0; 16];
        contact[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        contact[8..].copy_from_slice(&number.to_be_bytes());
        let contact = Contact {
            id: ContactId::from_bytes(contact),
            name: Some("Ada Lovelace".into()),
            locale: Some("en".into()),
            identities: vec![Identity { kind: "webhook".into(), value: format!("u{number}"), trust: Trust::Verified }],
        };
        let message = self.message(partition, Direction::Inbound, contact.id);
        let mut dedupe = [0; 16];
        getrandom::fill(&mut dedupe).unwrap();
        let id = message.id;
        let channel: ChannelName = "shop".parse().unwrap();
        let wake = Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) };
        let effects = vec![
            Effect::PutParticipant(contact),
            Effect::SetChannel(channel.clone()),
            Effect::SetStatusIf { from: vec![Status::Pending, Status::Resolved], to: Status::Open },
            Effect::SetSnooze(None),
            Effect::BumpVersion,
            self.append(partition, EventBody::MessageCreated { message }, Some(wake), None),
            Effect::MarkUnanswered,
        ];
        let new = NewConversation {
            id: ConversationId::new(Wall.now(), partition, self.entropy()),
            channel,
            owner: Owner::Agent,
            subject: None,
            at: Wall.now(),
        };
        CommitInbound { thread, dedupe: DedupeKey(dedupe), message: id, new, effects, claim }
    }

    fn settle(&self, claim: ClaimId, effects: Vec<Effect>, then: Then, next: Option<ClaimNext>) -> Settle {
        let next = next.into_iter().collect();
        Settle { operation: self.operation(), claim, guards: Vec::new(), effects, then, next, intend: None }
    }

    /// A customer's message that the agent has seen and not answered.
    async fn heard(&self, store: &RedisStore, number: u64) {
        let next = Some(ClaimNext { lane: Lane::Agent, lease: LEASE });
        let committed = store.commit_inbound(self.inbound(number, next)).await.unwrap();
        let Committed::New { claim: Some(agent), .. } = committed else { panic!("{committed:?}") };
        let effects = vec![Effect::AnsweredThrough(Some(agent.event.seq))];
        store.settle(self.settle(agent.id, effects, Then::Advance, None)).await.unwrap();
    }

    /// Four calls; how long they took.
    async fn round(&self, store: &RedisStore, number: u64) -> Duration {
        let began = Instant::now();
        let next = |lane| Some(ClaimNext { lane, lease: LEASE });
        let committed = store.commit_inbound(self.inbound(number, next(Lane::Agent))).await.unwrap();
        let Committed::New { claim: Some(agent), .. } = committed else { panic!("{committed:?}") };
        let partition = agent.conversation.id.partition();
        let reply = self.message(partition, Direction::Outbound, ContactId::from_bytes([0; 16]));
        let message = reply.id;
        let wake = Wake { lane: Lane::Deliver, only_if_owner: None };
        let effects = vec![
            self.append(
                partition,
                EventBody::MessageCreated { message: reply },
                Some(wake),
                Some(DeliveryStatus::Queued),
            ),
            Effect::AnsweredThrough(Some(agent.event.seq)),
            Effect::NoteAnswered(Wall.now()),
            Effect::ClearAttentionIf(Attention::Fallback),
        ];
        let settle = self.settle(agent.id, effects, Then::Advance, next(Lane::Deliver));
        let deliver = store.settle(settle).await.unwrap().next.first().expect("the reply is due").id;
        let part = FrozenPart(serde_json::json!({ "id": message.to_string(), "text": TEXT }));
        let effects = vec![
            Effect::Freeze { message, parts: vec![part] },
            Effect::SetPart { message, index: 0, state: PartState::Intent },
        ];
        store.settle(self.settle(deliver, effects, Then::Keep, None)).await.unwrap();
        let updated =
            EventBody::DeliveryUpdated { message_id: message, status: DeliveryStatus::Sent, parts: 1, error: None };
        let effects = vec![
            Effect::SetPart { message, index: 0, state: PartState::Sent { external_id: None } },
            Effect::SetDelivery { message, status: DeliveryStatus::Sent },
            self.append(partition, updated, None, None),
        ];
        let done = store.settle(self.settle(deliver, effects, Then::Advance, None)).await.unwrap();
        assert!(matches!(done.applied, Applied::Done { .. }), "{done:?}");
        began.elapsed()
    }
}

async fn open(server: &Server) -> RedisStore {
    let options = RedisOptions { url: server.url(), ..RedisOptions::default() };
    RedisStore::open(options, Arc::new(Wall)).await.unwrap()
}

/// Processor time of the server and of this program, in seconds.
fn cpu(server: &Server) -> (f64, f64) {
    let info: String = server.say(&["INFO", "cpu"]);
    let of =
        |name: &str| -> f64 { info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap() };
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    (of("used_cpu_sys:") + of("used_cpu_user:"), ticks / 100.0)
}

fn used_memory(server: &Server) -> i64 {
    let info: String = server.say(&["INFO", "memory"]);
    info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap()
}

async fn speed() {
    println!("one round: commit+claim, settle+claim, settle (freeze, intent), settle (outcome, advance); two messages");
    for fsync in ["everysec", "always"] {
        for callers in [1, 16, 256] {
            let server = Server::start(&["--appendonly", "yes", "--appendfsync", fsync, "--save", ""]);
            let store = Arc::new(open(&server).await);
            let maker = Arc::new(Maker { made: AtomicU64::new(0) });
            // Each thread has been there before: the first message is not what is measured.
            for number in 0..callers * 4 {
                maker.round(&store, number).await;
            }
            let (before, began) = (cpu(&server), Instant::now());
            let mut tasks = JoinSet::new();
            for caller in 0..callers {
                let (store, maker) = (Arc::clone(&store), Arc::clone(&maker));
                tasks.spawn(async move {
                    let mut took = Vec::new();
                    while began.elapsed() < MEASURED {
                        for thread in 0..4 {
                            took.push(maker.round(&store, caller * 4 + thread).await);
                        }
                    }
                    took
                });
            }
            let mut took = tasks.join_all().await.concat();
            let (after, elapsed) = (cpu(&server), began.elapsed().as_secs_f64());
            took.sort();
            let rounds = f64::from(u32::try_from(took.len()).unwrap());
            let micros = |seconds: f64| seconds * 1e6 / rounds;
            println!(
                "{fsync:8} {callers:3} callers: {:6.0} rounds/s ({:6.0} messages/s), p50 {:?}, p99 {:?}; processor time a round: Redis {:.0} us, here {:.0} us",
                rounds / elapsed,
                2.0 * rounds / elapsed,
                took[took.len() / 2],
                took[took.len() * 99 / 100],
                micros(after.0 - before.0),
                micros(after.1 - before.1),
            );
        }
    }
}

async fn memory() {
    const CONVERSATIONS: u64 = 100_000;
    for (name, rounds) in
        [("a million customers' messages", false), ("half a million, each with a delivered reply", true)]
    {
        let server = Server::start(&["--appendonly", "no", "--save", ""]);
        let store = Arc::new(open(&server).await);
        let maker = Arc::new(Maker { made: AtomicU64::new(0) });
        let before = used_memory(&server);
        for _ in 0..if rounds { 5 } else { 10 } {
            let mut tasks = JoinSet::new();
            for worker in 0..64 {
                let (store, maker) = (Arc::clone(&store), Arc::clone(&maker));
                tasks.spawn(async move {
                    for number in (worker..CONVERSATIONS).step_by(64) {
                        if rounds {
                            maker.round(&store, number).await;
                        } else {
                            maker.heard(&store, number).await;
                        }
                    }
                });
            }
            tasks.join_all().await;
        }
        let with_operations = used_memory(&server);
        let operations = forget_operations(&server);
        let after = used_memory(&server);
        let text = i64::try_from(TEXT.len()).unwrap();
        println!("{name} in {CONVERSATIONS} conversations, texts of {text} bytes:");
        println!("  {} bytes a message beyond its text", (after - before) / 1_000_000 - text);
        if operations > 0 {
            println!("  {} bytes for each operation of the last ten minutes", (with_operations - after) / operations);
        }
        breakdown(&server);
    }
}

fn keys(server: &Server, kind: &str) -> Vec<Vec<u8>> {
    let mut connection = server.connection();
    let (mut cursor, mut keys) = (0_u64, Vec::new());
    loop {
        let (next, mut found): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("fd{{*}}{kind}"))
            .arg("COUNT")
            .arg(5000)
            .query(&mut connection)
            .unwrap();
        keys.append(&mut found);
        cursor = next;
        if cursor == 0 {
            return keys;
        }
    }
}

fn forget_operations(server: &Server) -> i64 {
    let (keys, mut connection) = (keys(server, "o:*"), server.connection());
    for some in keys.chunks(1000) {
        let _: () = redis::cmd("DEL").arg(some).query(&mut connection).unwrap();
    }
    i64::try_from(keys.len()).unwrap()
}

/// Where the bytes are: by kind of key, a sample of each.
fn breakdown(server: &Server) {
    let mut connection = server.connection();
    for (name, kind) in [
        ("conversations", "c:*"),
        ("logs", "l:*"),
        ("queues", "[ad]:*"),
        ("messages by id", "m:*"),
        ("dedupe keys", "u:*"),
        ("threads", "h:*"),
        ("index", "i"),
        ("schedule", "s"),
        ("feed", "f"),
        ("contacts", "k"),
        ("contacts' conversations", "j"),
    ] {
        let keys = keys(server, kind);
        let sample: Vec<&Vec<u8>> = keys.iter().step_by(keys.len().div_ceil(2000).max(1)).collect();
        let mut bytes: i64 = 0;
        for key in &sample {
            let used: Option<i64> =
                redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(50).query(&mut connection).unwrap();
            bytes += used.unwrap_or(0);
        }
        let count = i64::try_from(keys.len()).unwrap();
        let each = bytes / i64::try_from(sample.len()).unwrap().max(1);
        println!("  {name:24} {count:7} keys of about {each:6} bytes: {:4} a message", count * each / 1_000_000);
    }
}
