//! An engine with a real store, a real agent endpoint over HTTP, a channel whose far end the test holds in its hand,
//! and a clock that only the test moves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, dead_code, unreachable_pub, missing_docs)] // tests may stop at the first surprise; not every test file uses everything

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_engine::{AgentOptions, ConnectedChannel, Desk, Engine, EngineOptions, Protocol};
use frontdesk_model::*;
use frontdesk_store::{SqliteOptions, SqliteStore};
use frontdesk_testkit::clock::TestClock;
use tokio::sync::Notify;

/// How long a test's engine keeps what was said.
pub const RETENTION: Duration = Duration::from_secs(400 * 24 * 60 * 60);
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A channel whose outcomes the test decides, one after the other; without any left, everything is sent.
pub struct Channel {
    capabilities: Capabilities,
    parts_per_message: AtomicUsize,
    outcomes: Mutex<VecDeque<Scripted>>,
    sent: Mutex<Vec<Sending>>,
    changed: Notify,
    hanging: AtomicUsize,
    budgets: Mutex<Vec<Budget>>,
    typed: AtomicUsize,
    read_again: Mutex<Vec<String>>,
}

/// What one send comes to.
pub enum Scripted {
    Ends(Outcome),
    Hangs,
}

/// One send that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    pub message: MessageId,
    pub index: u16,
    pub text: String,
}

impl Channel {
    pub fn new(resend: Resend, parts_per_message: usize) -> Arc<Self> {
        Arc::new(Self {
            capabilities: Capabilities {
                max_text: Some(100),
                unit: TextUnit::Bytes,
                buttons: false,
                edit: false,
                attachments: false,
                typing: false,
                outbound: true,
                resend,
                delete: false,
                refers: false,
            },
            parts_per_message: AtomicUsize::new(parts_per_message),
            outcomes: Mutex::default(),
            sent: Mutex::default(),
            changed: Notify::new(),
            hanging: AtomicUsize::new(0),
            budgets: Mutex::default(),
            typed: AtomicUsize::new(0),
            read_again: Mutex::default(),
        })
    }

    /// One that can do everything, whose platform numbers what it is sent: `ext1`, `ext2`, ...
    pub fn able(parts_per_message: usize) -> Arc<Self> {
        let mut channel = Arc::into_inner(Self::new(Resend::SameKey, parts_per_message)).unwrap();
        let can = &mut channel.capabilities;
        (can.buttons, can.edit, can.delete, can.refers, can.typing) = (true, true, true, true, true);
        Arc::new(channel)
    }

    /// From now on a message takes so many parts.
    pub fn takes_parts(&self, parts_per_message: usize) {
        self.parts_per_message.store(parts_per_message, Ordering::SeqCst);
    }

    /// How often it was shown that an answer is being written.
    pub fn typed(&self) -> usize {
        self.typed.load(Ordering::SeqCst)
    }

    /// What it was given to read again.
    pub fn read_again(&self) -> Vec<String> {
        self.read_again.lock().unwrap().clone()
    }

    fn scripted(&self, message: MessageId, index: u16, text: String) -> (usize, Option<Scripted>) {
        let mut sent = self.sent.lock().unwrap();
        sent.push(Sending { message, index, text });
        self.changed.notify_waiters();
        (sent.len(), self.outcomes.lock().unwrap().pop_front())
    }

    /// From now on every part counts against this.
    pub fn allow(&self, most: u32, within: Duration) {
        *self.budgets.lock().unwrap() = vec![Budget { of: "all".into(), most, within }];
    }

    pub fn then(&self, outcome: Outcome) {
        self.outcomes.lock().unwrap().push_back(Scripted::Ends(outcome));
    }

    pub fn then_hang(&self) {
        self.outcomes.lock().unwrap().push_back(Scripted::Hangs);
    }

    pub fn sent(&self) -> Vec<Sending> {
        self.sent.lock().unwrap().clone()
    }

    /// Waits until so many sends were asked for.
    pub async fn sends(&self, count: usize) -> Vec<Sending> {
        soon("sends", async {
            loop {
                let changed = self.changed.notified();
                let sent = self.sent();
                if sent.len() >= count {
                    return sent;
                }
                changed.await;
            }
        })
        .await
    }
}

#[async_trait]
impl Adapter for Channel {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn routes(&self, _: Arc<dyn Inbox>) -> Vec<Route> {
        Vec::new()
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        Ok(())
    }

    async fn receive(&self, _: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        std::future::pending().await
    }

    fn render(&self, outgoing: &Outgoing) -> Vec<FrozenPart> {
        let text = outgoing.message.content.source();
        let parts = self.parts_per_message.load(Ordering::SeqCst);
        (0..parts).map(|index| FrozenPart(serde_json::json!(format!("{text}/{index}")))).collect()
    }

    fn budgets(&self, _: &ThreadId, _: &FrozenPart) -> Vec<Budget> {
        self.budgets.lock().unwrap().clone()
    }

    async fn send(&self, part: &Dispatch<'_>) -> Outcome {
        let text = part.part.0.as_str().unwrap().to_owned();
        let (number, scripted) = self.scripted(part.message, part.index, text);
        match scripted {
            Some(Scripted::Ends(outcome)) => outcome,
            Some(Scripted::Hangs) => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
            None if self.capabilities.refers => Outcome::Sent { external_id: Some(format!("ext{number}")) },
            None => Outcome::Sent { external_id: Some("ext".into()) },
        }
    }

    async fn edit(&self, part: &Dispatch<'_>, external_id: &str) -> Outcome {
        let text = format!("edit {external_id}: {}", part.part.0.as_str().unwrap());
        match self.scripted(part.message, part.index, text).1 {
            Some(Scripted::Ends(outcome)) => outcome,
            _ => Outcome::Sent { external_id: Some(external_id.to_owned()) },
        }
    }

    async fn withdraw(&self, _: &ThreadId, external_id: &str) -> Outcome {
        let nobody = MessageId::from_bytes([0; 16]);
        match self.scripted(nobody, 0, format!("withdraw {external_id}")).1 {
            Some(Scripted::Ends(outcome)) => outcome,
            _ => Outcome::Sent { external_id: None },
        }
    }

    async fn typing(&self, _: &ThreadId) {
        self.typed.fetch_add(1, Ordering::SeqCst);
    }

    async fn replay(&self, raw: &str, inbox: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        self.read_again.lock().unwrap().push(raw.to_owned());
        if raw.contains("still") {
            return Err(ReceiveError("it is still not known".into()));
        }
        inbox.accept(envelope("t", "again", raw)).await.map(drop).map_err(|error| ReceiveError(error.to_string()))
    }
}

/// Everything around one engine.
pub struct World {
    pub clock: Arc<TestClock>,
    pub store: Arc<SqliteStore>,
    pub channel: Arc<Channel>,
    pub engine: Engine,
    pub desk: Desk,
    agent: Option<AgentOptions>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn new(agent_url: Option<&str>, channel: Arc<Channel>) -> Self {
        Self::with_agent(agent_url.map(agent), channel).await
    }

    /// With other options for the agent.
    pub async fn with(agent_url: Option<&str>, channel: Arc<Channel>, change: impl FnMut(&mut AgentOptions)) -> Self {
        let mut options = agent_url.map(agent);
        options.iter_mut().for_each(change);
        Self::with_agent(options, channel).await
    }

    pub async fn with_agent(agent: Option<AgentOptions>, channel: Arc<Channel>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(TestClock::new("2026-01-05T10:00:00Z".parse().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let shared: Arc<dyn Clock> = clock.clone();
        let options = SqliteOptions { min_free: 0, ..SqliteOptions::default() };
        let store = Arc::new(SqliteStore::open(folder.path(), options, shared).unwrap());
        let engine = start(&store, &clock, &channel, agent.clone()).await;
        let desk = engine.desk();
        Self { clock, store, channel, engine, desk, agent, _folder: folder }
    }

    /// The agent's options with another address.
    pub fn agent_options(&self, url: &str) -> AgentOptions {
        AgentOptions { url: url.parse().unwrap(), ..self.agent.clone().unwrap() }
    }

    /// As after a kill: whatever was in hand is cut short, leases are void, and an engine starts on what is stored.
    pub async fn crash_and_restart(self) -> Self {
        let Self { clock, store, channel, engine, agent, _folder, desk: _ } = self;
        engine.drain(Duration::ZERO).await;
        // A request of the old engine that was on its way to the store's thread is carried out before this one.
        store.wake(Waiting::Agent).await.unwrap();
        // The old claims run out, as they do when nobody renews them.
        clock.advance(Duration::from_secs(31));
        let engine = start(&store, &clock, &channel, agent.clone()).await;
        let desk = engine.desk();
        Self { clock, store, channel, engine, desk, agent, _folder }
    }

    /// A customer writes.
    pub async fn write(&self, thread: &str, id: &str, text: &str) -> Accepted {
        let inbox = self.engine.inbox(&"shop".parse().unwrap()).unwrap();
        inbox.accept(envelope(thread, id, text)).await.unwrap()
    }

    pub async fn conversation(&self, id: ConversationId) -> Conversation {
        self.desk.conversation(id).await.unwrap()
    }

    /// The conversation's messages, oldest first.
    pub async fn messages(&self, id: ConversationId) -> Vec<MessageRecord> {
        let mut page = self.desk.messages(id, PageRequest { limit: 200, page: None }).await.unwrap().data;
        page.reverse();
        page
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.desk.dead_letters(PageRequest { limit: 200, page: None }).await.unwrap().data
    }

    /// Moves the clock in steps until the condition holds.
    pub async fn advance_until<F: Future<Output = bool>>(
        &self,
        step: Duration,
        what: &str,
        mut holds: impl FnMut() -> F,
    ) {
        for _ in 0..20_000 {
            if holds().await {
                return;
            }
            let nobody = ClaimId::from_bytes([0; 16]);
            self.clock.advance(step);
            // Everything that the new moment woke gets its turn, and its answers from the store's thread, before the
            // clock moves on; otherwise leases would run out under work that is being done. Sockets need real time.
            for _ in 0..8 {
                self.store.renew(nobody, Duration::from_secs(1)).await.unwrap();
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {what}");
    }

    /// Waits, with the clock standing still, until the condition holds.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        soon(what, async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    pub async fn until_status(&self, conversation: ConversationId, at: usize, status: DeliveryStatus) {
        self.until(&format!("message {at} is {status:?}"), || async {
            self.messages(conversation).await.get(at).is_some_and(|row| row.status == Some(status))
        })
        .await;
    }
}

/// An agent that speaks our own protocol.
pub fn agent(url: &str) -> AgentOptions {
    AgentOptions {
        url: url.parse().unwrap(),
        protocol: Protocol::Frontdesk { secrets: vec![Secret::new(SECRET.to_owned())] },
        timeout: Duration::from_secs(5),
        history: 20,
        concurrency: 16,
        coalesce: Duration::ZERO,
        fallback: None,
    }
}

async fn start(
    store: &Arc<SqliteStore>,
    clock: &Arc<TestClock>,
    channel: &Arc<Channel>,
    agent: Option<AgentOptions>,
) -> Engine {
    let connected = ConnectedChannel {
        name: "shop".parse().unwrap(),
        kind: "webhook".parse().unwrap(),
        account: "shop".parse().unwrap(),
        adapter: channel.clone(),
    };
    let options = EngineOptions {
        files: None,
        exempt: Vec::new(),
        exempt_for_replies: Vec::new(),
        name: "here".into(),
        public_url: "https://desk.example.com".into(),
        agent,
        channels: vec![connected],
        retention: Some(RETENTION),
    };
    Engine::start(store.clone(), clock.clone(), options).await.unwrap()
}

pub fn envelope(thread: &str, id: &str, text: &str) -> Envelope {
    let identity = Identity { kind: "webhook".into(), value: "u42".into(), trust: Trust::Verified };
    Envelope {
        thread: thread.parse().unwrap(),
        external_id: id.parse().unwrap(),
        unique_within: UniqueWithin::Thread,
        sender: Sender { identity, also: Vec::new(), name: Some("Ada".into()), locale: None },
        content: Content::Text(text.into()),
        subject: None,
        attachments: Vec::new(),
        auto_generated: false,
        sent_at: None,
        reply_to: None,
        quote: None,
        forwarded_from: None,
        album: None,
        origin: None,
    }
}

/// A deadline for what should happen at once.
pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
