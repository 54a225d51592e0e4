//! What a message's way through the store costs: many conversations at once, each message taken in, answered, frozen and
//! delivered in four calls, and its history read, as the engine does it when nothing goes wrong.
//!
//! ```text
//! cargo run --release -p frontdesk-store --example ways -- [messages] [at once] [conversations] [folder]
//! ```
//!
//! Prints the CPU time of the writing and the reading thread and of the whole process per message, and messages per second. The
//! process includes this program's own work: making ids, effects and tasks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a measurement may stop at the first surprise

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use frontdesk_model::*;
use frontdesk_store::{SqliteOptions, SqliteStore};

const LEASE: Duration = Duration::from_secs(30);
const TEXT: &str = "Hello! I ordered two of the blue ones on Monday and the page still says that they are being packed. \
    Could you please tell me when they will leave, and whether I can still change the address?";

#[derive(Debug)]
struct RunningClock(Instant);

impl Clock for RunningClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn boot(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: usize| arguments.get(place).map_or(default, |text| text.parse().unwrap());
    let (messages, at_once, conversations) = (number(0, 20_000), number(1, 64), number(2, 2_000));
    let temporary = tempfile::tempdir().unwrap();
    let folder = arguments.get(3).map_or(temporary.path(), |folder| Path::new(folder));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteOptions { min_free: 0, ..SqliteOptions::default() };
        let store = Arc::new(SqliteStore::open(folder, options, Arc::new(RunningClock(Instant::now()))).unwrap());
        // Every conversation exists before the measurement.
        run(&store, conversations, at_once, conversations, 0).await;
        let before = Spent::until_now();
        let start = Instant::now();
        run(&store, messages, at_once, conversations, conversations).await;
        let took = start.elapsed();
        let spent = Spent::until_now();
        let per = |nanos: u64| nanos / 1000 / u64::try_from(messages).unwrap();
        println!(
            "{messages} messages, {at_once} at once, {conversations} conversations: {:.0} messages/s, writer {} us, \
             reader {} us, process {} us of CPU per message",
            messages as f64 / took.as_secs_f64(),
            per(spent.writer - before.writer),
            per(spent.reader - before.reader),
            per(spent.process - before.process),
        );
        store.close().await.unwrap();
    });
}

/// Nanoseconds of CPU time.
struct Spent {
    writer: u64,
    reader: u64,
    process: u64,
}

impl Spent {
    fn until_now() -> Self {
        let mut spent = Self { writer: 0, reader: 0, process: 0 };
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let task = task.unwrap().path();
            let stat = std::fs::read_to_string(task.join("schedstat")).unwrap();
            let nanos: u64 = stat.split(' ').next().unwrap().parse().unwrap();
            spent.process += nanos;
            match std::fs::read_to_string(task.join("comm")).unwrap().trim() {
                "store-writer" => spent.writer += nanos,
                "store-reader" => spent.reader += nanos,
                _ => {}
            }
        }
        spent
    }
}

async fn run(store: &Arc<SqliteStore>, messages: usize, at_once: usize, conversations: usize, from: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut hands = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        hands.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    return;
                }
                one(&store, number % conversations, from + number).await;
            }
        });
    }
    hands.join_all().await;
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// One message's way. Another message of the same conversation may be on its way, too: then a claim is not had, and whoever
/// has it goes on with this one.
async fn one(store: &SqliteStore, conversation: usize, number: usize) {
    let thread = ThreadKey {
        kind: "webhook".parse().unwrap(),
        account: "shop".parse().unwrap(),
        thread: format!("order-{conversation}").parse().unwrap(),
    };
    let committed = store.commit_inbound(inbound(&thread, conversation, number)).await.unwrap();
    let Committed::New { claim: Some(mut agent), .. } = committed else { return };
    loop {
        let take = Take { rows: 20, bytes: 200_000 };
        store.messages(agent.conversation.id, Some(agent.event.seq), take).await.unwrap().unwrap();
        let (settled, reply) = answer(store, &agent).await;
        if let Some(deliver) = settled.next.first() {
            send(store, deliver, reply).await;
        }
        // Rare here: the customer wrote again before the answer.
        let request = ClaimRequest {
            operation: OperationId::from_bytes(random()),
            lane: Lane::Agent,
            limit: 1,
            lease: LEASE,
            order: ClaimOrder::LongestDue,
        };
        if agent.conversation.last_seq == agent.event.seq {
            return;
        }
        match store.claim(request).await.unwrap().claims.pop() {
            Some(next) => *agent = next,
            None => return,
        }
    }
}

fn inbound(thread: &ThreadKey, conversation: usize, number: usize) -> CommitInbound {
    let (at, partition) = (now(), Partition::of(thread));
    let id = MessageId::new(at, partition, random());
    let mut contact = [0; 16];
    contact[..8].copy_from_slice(&conversation.to_be_bytes());
    let contact = Contact {
        id: ContactId::from_bytes(contact),
        name: Some("Ada Lovelace".into()),
        locale: Some("en".into()),
        identities: vec![
            Identity { kind: "webhook".into(), value: format!("u{conversation}"), trust: Trust::Verified },
            Identity { kind: "email".into(), value: format!("u{conversation}@example.com"), trust: Trust::Asserted },
        ],
    };
    let message = Message {
        id,
        direction: Direction::Inbound,
        author: Author::Contact { id: contact.id, name: contact.name.clone() },
        external_id: Some(format!("note-{number}").parse().unwrap()),
        content: Content::Text(TEXT.into()),
        reply_to: None,
        private: false,
        attachments: Vec::new(),
        auto_generated: false,
        sent_at: Some(at),
        received_at: at,
        buttons: Vec::new(),
        quote: None,
        forwarded_from: None,
        edited_at: None,
        settles_at: None,
    };
    let channel: ChannelName = "shop".parse().unwrap();
    let new = NewConversation {
        id: ConversationId::new(at, partition, random()),
        channel: channel.clone(),
        owner: Owner::Agent,
        subject: None,
        at,
    };
    let effects = vec![
        Effect::PutParticipant(contact),
        Effect::SetChannel(channel),
        Effect::SetStatusIf { from: vec![Status::Pending, Status::Resolved], to: Status::Open },
        Effect::BumpVersion,
        Effect::Append {
            id: EventId::new(at, partition, random()),
            at,
            body: EventBody::MessageCreated { message },
            wakes: vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }],
            status: None,
        },
        Effect::MarkUnanswered,
        Effect::StartAnswerBy { only_if_owner: Owner::Agent, at: at.plus(Duration::from_secs(120)) },
    ];
    let claim = Some(ClaimNext { lane: Lane::Agent, lease: LEASE });
    CommitInbound { thread: thread.clone(), dedupe: DedupeKey(random()), message: id, new, effects, claim }
}

async fn answer(store: &SqliteStore, claim: &Claim) -> (Settled, MessageId) {
    let (at, partition) = (now(), claim.conversation.id.partition());
    let id = MessageId::new(at, partition, random());
    let reply = Message {
        id,
        direction: Direction::Outbound,
        author: Author::Agent,
        external_id: None,
        content: Content::Markdown(TEXT.into()),
        reply_to: None,
        private: false,
        attachments: Vec::new(),
        auto_generated: false,
        sent_at: Some(at),
        received_at: at,
        buttons: Vec::new(),
        quote: None,
        forwarded_from: None,
        edited_at: None,
        settles_at: None,
    };
    let effects = vec![
        Effect::Append {
            id: EventId::new(at, partition, random()),
            at,
            body: EventBody::MessageCreated { message: reply },
            wakes: vec![Wake { lane: Lane::Deliver, only_if_owner: None }],
            status: Some(DeliveryStatus::Queued),
        },
        Effect::AnsweredThrough(Some(claim.event.seq)),
        Effect::NoteAnswered(at),
    ];
    let settle = Settle {
        operation: OperationId::from_bytes(random()),
        claim: claim.id,
        guards: vec![Guard::OwnerIs(Owner::Agent)],
        effects,
        then: Then::Advance,
        next: vec![ClaimNext { lane: Lane::Deliver, lease: LEASE }],
        intend: None,
    };
    let settled = store.settle(settle).await.unwrap();
    assert!(matches!(settled.applied, Applied::Done { .. }));
    (settled, id)
}

async fn send(store: &SqliteStore, claim: &Claim, message: MessageId) {
    let part = FrozenPart(serde_json::json!({ "type": "message.created", "text": TEXT, "markdown": TEXT }));
    let effects = vec![
        Effect::Freeze { message, parts: vec![part] },
        Effect::SetPart { message, index: 0, state: PartState::Intent },
    ];
    let settle = |guards, effects, then| Settle {
        operation: OperationId::from_bytes(random()),
        claim: claim.id,
        guards,
        effects,
        then,
        next: Vec::new(),
        intend: None,
    };
    store.settle(settle(vec![Guard::NotFrozen(message)], effects, Then::Keep)).await.unwrap();
    let at = now();
    let updated =
        EventBody::DeliveryUpdated { message_id: message, status: DeliveryStatus::Sent, parts: 1, error: None };
    let effects = vec![
        Effect::SetPart { message, index: 0, state: PartState::Sent { external_id: None } },
        Effect::SetDelivery { message, status: DeliveryStatus::Sent },
        Effect::Append {
            id: EventId::new(at, claim.conversation.id.partition(), random()),
            at,
            body: updated,
            wakes: Vec::new(),
            status: None,
        },
    ];
    let settled = store.settle(settle(Vec::new(), effects, Then::Advance)).await.unwrap();
    assert!(matches!(settled.applied, Applied::Done { .. }));
}
