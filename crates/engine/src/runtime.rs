//! What the workers share, and how they are started, reconfigured and stopped.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use frontdesk_attachments::Files;
use frontdesk_model::{
    AccountId, ChannelName, Clock, Inbox, KindName, Lane, Store, StoreError, ThreadKey, Timestamp, Waiting,
};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::task::TaskTracker;

use crate::{
    agent::AgentWork,
    attachments,
    company::{self, Company},
    delivery::{ChannelGate, DeliveryWork},
    desk::Desk,
    keeper,
    keys::{Ids, Keys},
    lane::Worker,
    measure,
    options::{ConnectedChannel, EngineOptions},
    rules::Fetched,
    timers,
};

/// Deliveries in hand at once, over all channels.
const DELIVERY_HANDS: usize = 256;
/// How long a receiver that ended is left alone.
const RECEIVE_AGAIN: Duration = Duration::from_secs(10);
/// How long a parked lane is asked for again while the store does not answer.
const UNPARK_PAUSE: Duration = Duration::from_millis(500);

/// Everything that the parts of the engine have in common.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Keys,
    pub(crate) ids: Ids,
    pub(crate) started_at: Timestamp,
    pub(crate) company: Company,
    /// How many fetch attachments at once.
    pub(crate) fetching: attachments::Hands,
    live: RwLock<Arc<Live>>,
    agent_due: Notify,
    deliver_due: Notify,
    drain: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    /// Counts what was added to any log here; readers of the change feed wait on it.
    grown: watch::Sender<u64>,
    /// The earliest moment that the timers wait for, in milliseconds; a nearer one wakes them.
    pub(crate) next_timer: AtomicI64,
    pub(crate) timer_set: Notify,
    /// When the store's trouble was last logged, so that an outage does not fill the log.
    complained_at: AtomicI64,
}

/// What the operator's latest configuration made.
pub(crate) struct Live {
    pub(crate) options: EngineOptions,
    channels: HashMap<(KindName, AccountId), Arc<ChannelState>>,
    pub(crate) agent: Option<Arc<Worker<AgentWork>>>,
    /// `None` only before the start has finished and after the end has begun.
    pub(crate) delivery: Option<Arc<Worker<DeliveryWork>>>,
}

/// A channel and its record.
pub(crate) struct ChannelState {
    pub(crate) connected: ConnectedChannel,
    pub(crate) gate: ChannelGate,
}

impl Shared {
    /// The configuration of this moment. Work that began under an older one goes on with it.
    pub(crate) fn live(&self) -> Arc<Live> {
        // No code panics while it holds the lock.
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn go_live(&self, live: Live) -> Arc<Live> {
        let mut place = self.live.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, Arc::new(live))
    }

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

    /// Where attachments' bytes lie, if this daemon keeps any.
    pub(crate) fn files(&self) -> Option<Files> {
        self.live().options.files.clone()
    }

    /// Something was added to a log.
    pub(crate) fn log_grew(&self) {
        self.grown.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sees every [`Shared::log_grew`] from now on.
    pub(crate) fn watch_logs(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// A conversation has a moment to wait for.
    pub(crate) fn timer_at(&self, at: Timestamp) {
        if at.as_millis() < self.next_timer.load(Ordering::Relaxed) {
            self.timer_set.notify_one();
        }
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

    /// Completes when even work in hand has to end.
    pub(crate) async fn cut_short(&self) {
        let mut cut = self.cut.subscribe();
        let _ = cut.wait_for(|cut| *cut).await;
    }

    pub(crate) fn channel_of(&self, thread: &ThreadKey) -> Option<Arc<ChannelState>> {
        self.live().channel(&thread.kind, &thread.account).cloned()
    }

    /// Whether replies in this thread wait to be fetched instead of being sent.
    pub(crate) fn is_fetched(&self, thread: &ThreadKey) -> Fetched {
        match self.live().channel(&thread.kind, &thread.account) {
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
            self.clock.sleep(UNPARK_PAUSE).await;
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
        measure::store_trouble(error);
        self.complain(error);
    }

    /// The store takes nothing new, for a reason that it gives in a sentence of its own.
    pub(crate) fn note_no_room(&self, reason: &str) {
        measure::store_trouble(&StoreError::Full(String::new()));
        self.complain(&reason);
    }

    fn complain(&self, error: &dyn std::fmt::Display) {
        let now = self.clock.now().as_millis();
        let last = self.complained_at.load(Ordering::Relaxed);
        if now - last >= 5_000
            && self.complained_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::error!(%error, "the store cannot take work; nothing is acknowledged meanwhile");
        }
    }
}

impl Live {
    pub(crate) fn channel(&self, kind: &KindName, account: &AccountId) -> Option<&Arc<ChannelState>> {
        // Cloning the names for a look-up would cost more than this walk: there are few channels.
        self.channels.values().find(|channel| channel.connected.kind == *kind && channel.connected.account == *account)
    }

    pub(crate) fn channel_named(&self, name: &ChannelName) -> Option<&Arc<ChannelState>> {
        self.channels.values().find(|channel| channel.connected.name == *name)
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &Arc<ChannelState>> {
        self.channels.values()
    }
}

/// A running engine. Dropped without [`Engine::drain`], it lets go of what is in hand.
pub struct Engine {
    shared: Arc<Shared>,
    housekeeping: TaskTracker,
    /// One change of the configuration at a time.
    reconfiguring: Mutex<()>,
    /// Workers of earlier configurations that still have something in hand.
    leaving: std::sync::Mutex<Vec<Arc<Worker<AgentWork>>>>,
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

/// Keys that every daemon of one store makes alike, each from a name.
pub struct SharedKeys(Keys);

impl SharedKeys {
    /// From the store's master key, which is made if there is none yet.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn of(store: &dyn Store) -> Result<Self, StartError> {
        Ok(Self(Keys::new(store.master_key(Keys::candidate()?).await?)))
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> [u8; 32] {
        self.0.outside(name)
    }
}

impl Engine {
    /// Starts the workers. What was due or parked before is tried at once. A store that is full at that moment is no reason
    /// not to start: what is parked then comes at its time.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: EngineOptions,
    ) -> Result<Self, StartError> {
        let master = store.master_key(Keys::candidate()?).await?;
        let started_at = clock.now();
        let nothing = Live { options: EngineOptions::default(), channels: HashMap::new(), agent: None, delivery: None };
        let shared = Arc::new(Shared {
            store,
            clock,
            keys: Keys::new(master),
            ids: Ids,
            started_at,
            company: Company::new(Ids.daemon()),
            fetching: attachments::Hands::default(),
            live: RwLock::new(Arc::new(nothing)),
            agent_due: Notify::new(),
            deliver_due: Notify::new(),
            drain: watch::Sender::new(false),
            cut: watch::Sender::new(false),
            grown: watch::Sender::new(0),
            next_timer: AtomicI64::new(i64::MAX),
            timer_set: Notify::new(),
            complained_at: AtomicI64::new(0),
        });
        let engine = Self {
            shared,
            housekeeping: TaskTracker::new(),
            reconfiguring: Mutex::default(),
            leaving: std::sync::Mutex::default(),
        };
        engine.reconfigure(options).await?;
        engine.housekeeping.spawn(timers::run(Arc::clone(&engine.shared)));
        engine.housekeeping.spawn(company::run(Arc::clone(&engine.shared)));
        engine.housekeeping.spawn(keeper::run(Arc::clone(&engine.shared)));
        engine.housekeeping.spawn(measure::census(Arc::clone(&engine.shared)));
        Ok(engine)
    }

    /// Goes on with another configuration. A channel with the same kind, account and adapter (the same `Arc`) goes on
    /// untouched, and so does an agent with the same options. What is in hand ends as it began. What waits for a channel
    /// that is gone stays parked until one with its kind and account is there again.
    ///
    /// # Errors
    /// See [`StartError`]; everything stays as it was.
    pub async fn reconfigure(&self, options: EngineOptions) -> Result<(), StartError> {
        let _turn = self.reconfiguring.lock().await;
        let shared = &self.shared;
        let before = shared.live();
        let agent = match &options.agent {
            None => None,
            Some(agent) => match &before.agent {
                Some(running) if running.work().is_made_of(agent) => Some(Arc::clone(running)),
                _ => Some(Worker::new(AgentWork::new(agent).map_err(StartError::Agent)?, agent.concurrency)),
            },
        };
        let mut back = Vec::new();
        let mut channels = HashMap::new();
        for connected in &options.channels {
            let (kind, account) = (connected.kind.clone(), connected.account.clone());
            let state = match before.channel(&kind, &account) {
                Some(state) if state.is_made_of(connected) => Arc::clone(state),
                _ => {
                    back.push(Waiting::Channel { kind: kind.clone(), account: account.clone() });
                    Arc::new(ChannelState { connected: connected.clone(), gate: ChannelGate::new() })
                }
            };
            channels.insert((kind, account), state);
        }
        let same_agent = match (&before.agent, &agent) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (None, None) => true,
            _ => false,
        };
        let delivery = match &before.delivery {
            Some(running) => Arc::clone(running),
            None => Worker::new(DeliveryWork, DELIVERY_HANDS),
        };
        shared.go_live(Live { options, channels, agent: agent.clone(), delivery: Some(Arc::clone(&delivery)) });
        // Only now: a worker that began earlier would not find its channels.
        if before.delivery.is_none() {
            delivery.begin(shared);
        }
        if !same_agent {
            if let Some(new) = &agent {
                new.begin(shared);
            }
            if let Some(old) = &before.agent {
                old.stop();
                let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
                leaving.retain(|worker| worker.in_hand() > 0);
                leaving.push(Arc::clone(old));
            }
            back.push(Waiting::Agent);
        }
        for waiting in back {
            if let Err(error) = shared.store.wake(waiting).await {
                shared.note_store_error(&error);
            }
        }
        shared.wake(Lane::Agent);
        shared.wake(Lane::Deliver);
        Ok(())
    }

    /// Where a channel hands in its messages. `None`: no such channel.
    #[must_use]
    pub fn inbox(&self, channel: &ChannelName) -> Option<Arc<dyn Inbox>> {
        let live = self.shared.live();
        Some(self.shared.inbox(&live.channel_named(channel)?.connected))
    }

    /// Receives on a channel for as long as this daemon may: on one that one daemon alone may hold, while it is the one. Never
    /// ends by itself: a receiver that stops is started again after a pause.
    pub fn receive(&self, channel: &ChannelName) -> Option<impl Future<Output = ()> + Send + use<>> {
        let shared = Arc::clone(&self.shared);
        let state = Arc::clone(self.shared.live().channel_named(channel)?);
        let inbox = self.inbox(channel)?;
        Some(async move {
            let ConnectedChannel { name, kind, account, adapter } = &state.connected;
            let of = Waiting::Channel { kind: kind.clone(), account: account.clone() };
            let alone = adapter.is_exclusive();
            loop {
                if alone {
                    company::held(&shared, &of).await;
                }
                let ended = tokio::select! {
                    ended = adapter.receive(Arc::clone(&inbox)) => ended,
                    () = company::lost(&shared, &of), if alone => {
                        tracing::warn!(channel = %name, "another daemon may have this channel now; receiving stopped");
                        continue;
                    }
                };
                if let Err(error) = ended {
                    tracing::warn!(channel = %name, %error, "receiving stopped; it starts again in 10 s");
                }
                shared.clock.sleep(RECEIVE_AGAIN).await;
            }
        })
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
    pub async fn drain(self, patience: Duration) -> Drained {
        self.begin_drain();
        let live = self.shared.live();
        let leaving = std::mem::take(&mut *self.leaving.lock().unwrap_or_else(PoisonError::into_inner));
        let all_done = async {
            for worker in live.agent.iter().chain(&leaving) {
                worker.done().await;
            }
            if let Some(worker) = &live.delivery {
                worker.done().await;
            }
            self.housekeeping.close();
            self.housekeeping.wait().await;
        };
        tokio::pin!(all_done);
        let drained = tokio::select! {
            () = &mut all_done => Drained::Clean,
            () = self.shared.clock.sleep(patience) => Drained::CutShort,
        };
        if drained == Drained::CutShort {
            // What is cut short is gone when this returns, so that nothing of it writes afterwards.
            self.shared.cut.send_replace(true);
            all_done.await;
        }
        drained
    }
}

impl ChannelState {
    fn is_made_of(&self, connected: &ConnectedChannel) -> bool {
        self.connected.name == connected.name && Arc::ptr_eq(&self.connected.adapter, &connected.adapter)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.drain.send_replace(true);
        self.shared.cut.send_replace(true);
        // The workers hold nothing of the shared part once they have ended; without this they would hold each other.
        self.shared.go_live(Live {
            options: EngineOptions::default(),
            channels: HashMap::new(),
            agent: None,
            delivery: None,
        });
    }
}
