//! What the workers share, and how they are started and stopped.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use frontdesk_model::{AccountId, ChannelName, Clock, Inbox, KindName, Lane, Store, StoreError, ThreadKey, Waiting};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::{
    agent::{self, AgentWork},
    delivery::{ChannelGate, DeliveryWork},
    desk::Desk,
    health::Health,
    inbox::ChannelInbox,
    keys::{Ids, Keys},
    lane,
    options::{ConnectedChannel, EngineOptions},
    rules::Fetched,
};

/// Deliveries in hand at once, over all channels.
const DELIVERY_HANDS: usize = 256;

/// Everything that the parts of the engine have in common.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: EngineOptions,
    pub(crate) keys: Keys,
    pub(crate) ids: Ids,
    channels: HashMap<(KindName, AccountId), ChannelState>,
    pub(crate) agent_health: Health,
    agent_due: Notify,
    deliver_due: Notify,
    drain: watch::Sender<bool>,
    /// When the store's trouble was last logged, so that an outage does not fill the log.
    complained_at: AtomicI64,
}

/// A channel and its record.
pub(crate) struct ChannelState {
    pub(crate) connected: ConnectedChannel,
    pub(crate) gate: ChannelGate,
}

impl Shared {
    fn notify(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Agent => &self.agent_due,
            Lane::Deliver => &self.deliver_due,
        }
    }

    /// Something of this lane may be due.
    pub(crate) fn wake(&self, lane: Lane) {
        self.notify(lane).notify_one();
    }

    /// Completes when something may be due; one that came before is not missed.
    pub(crate) async fn woken(&self, lane: Lane) {
        self.notify(lane).notified().await;
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// Completes once the daemon is stopping.
    pub(crate) async fn draining(&self) {
        let mut drain = self.drain.subscribe();
        // The sender lives in `self`, so the wait ends only with the value.
        let _ = drain.wait_for(|draining| *draining).await;
    }

    pub(crate) fn channel_of(&self, thread: &ThreadKey) -> Option<&ChannelState> {
        self.channels.get(&(thread.kind.clone(), thread.account.clone()))
    }

    /// Whether replies in this thread wait to be fetched instead of being sent.
    pub(crate) fn is_fetched(&self, thread: &ThreadKey) -> Fetched {
        match self.channel_of(thread) {
            Some(channel) if !channel.connected.adapter.capabilities().outbound => Fetched::Yes,
            _ => Fetched::No,
        }
    }

    /// Makes everything due that waited for this.
    pub(crate) async fn unpark(&self, waiting: &Waiting, lane: Lane) {
        // The news comes once: a store that does not answer is asked again, for a while.
        for _ in 0..20 {
            match self.store.wake(waiting.clone()).await {
                Ok(_) => break,
                Err(error) => self.note_store_error(&error),
            }
            self.clock.sleep(Duration::from_millis(500)).await;
        }
        self.wake(lane);
    }

    /// There is something new to deliver in this thread. An unwell channel that has been left alone long enough gets an
    /// extra try with it, and so do the messages that were parked before.
    pub(crate) async fn delivery_due(&self, thread: &ThreadKey) {
        let wants_probe = self.channel_of(thread).is_some_and(|channel| {
            channel.gate.health.new_work(self.clock.boot());
            channel.gate.health.wants_probe(self.clock.boot())
        });
        if wants_probe {
            let waiting = Waiting::Channel { kind: thread.kind.clone(), account: thread.account.clone() };
            self.unpark(&waiting, Lane::Deliver).await;
        } else {
            self.wake(Lane::Deliver);
        }
    }

    /// Logs the store's trouble, at most once in five seconds.
    pub(crate) fn note_store_error(&self, error: &StoreError) {
        let now = self.clock.now().as_millis();
        let last = self.complained_at.load(Ordering::Relaxed);
        if now - last >= 5_000
            && self.complained_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::error!(%error, "the store cannot take work; nothing is acknowledged meanwhile");
        }
    }
}

/// A running engine.
pub struct Engine {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

/// An engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent's options cannot be used.
    #[error("{0}")]
    Agent(String),
    /// The kernel gives no random bytes.
    #[error("no random bytes from the kernel: {0}")]
    NoRandomness(String),
}

/// How stopping went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// All work in hand was finished.
    Clean,
    /// Some was cut short; it will be done again after the next start.
    CutShort,
}

impl Engine {
    /// Starts the workers. What was due or parked before is tried at once.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: EngineOptions,
    ) -> Result<Self, StartError> {
        let master = store.master_key(Keys::candidate()?).await?;
        let channels = options.channels.iter().map(|connected| {
            let state = ChannelState { connected: connected.clone(), gate: ChannelGate::new() };
            ((connected.kind.clone(), connected.account.clone()), state)
        });
        let shared = Arc::new(Shared {
            channels: channels.collect(),
            store,
            clock,
            options,
            keys: Keys::new(master),
            ids: Ids,
            agent_health: Health::new(agent::BACKOFF),
            agent_due: Notify::new(),
            deliver_due: Notify::new(),
            drain: watch::Sender::new(false),
            complained_at: AtomicI64::new(0),
        });
        shared.store.wake(Waiting::Agent).await?;
        for channel in &shared.options.channels {
            let (kind, account) = (channel.kind.clone(), channel.account.clone());
            shared.store.wake(Waiting::Channel { kind, account }).await?;
        }
        let mut workers = JoinSet::new();
        if let Some(agent) = shared.options.agent.clone() {
            let work = Arc::new(AgentWork::new(&shared, &agent)?);
            workers.spawn(lane::run(Arc::clone(&shared), work, agent.concurrency));
        }
        let work = Arc::new(DeliveryWork { shared: Arc::clone(&shared) });
        workers.spawn(lane::run(Arc::clone(&shared), work, DELIVERY_HANDS));
        Ok(Self { shared, workers })
    }

    /// Where a channel hands in its messages. `None`: no such channel.
    #[must_use]
    pub fn inbox(&self, channel: &ChannelName) -> Option<Arc<dyn Inbox>> {
        let connected = self.shared.options.channels.iter().find(|connected| connected.name == *channel)?;
        Some(Arc::new(ChannelInbox {
            shared: Arc::clone(&self.shared),
            channel: connected.name.clone(),
            kind: connected.kind.clone(),
            account: connected.account.clone(),
        }))
    }

    /// The reading and writing side.
    #[must_use]
    pub fn desk(&self) -> Desk {
        Desk::new(Arc::clone(&self.shared))
    }

    /// Takes nothing new from here on; what is in hand goes on. Call it as soon as stopping is decided.
    pub fn begin_drain(&self) {
        self.shared.drain.send_replace(true);
    }

    /// Takes nothing new, finishes what is in hand for at most `patience`, then lets the rest go: it is due again after
    /// the next start. Does not close the store.
    pub async fn drain(mut self, patience: Duration) -> Drained {
        self.begin_drain();
        let all_done = async { while self.workers.join_next().await.is_some() {} };
        let drained = tokio::select! {
            () = all_done => Drained::Clean,
            () = self.shared.clock.sleep(patience) => Drained::CutShort,
        };
        // What is cut short is gone when this returns, so that nothing of it writes afterwards.
        self.workers.shutdown().await;
        drained
    }
}
