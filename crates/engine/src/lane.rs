//! How a worker gets its claims and holds them.
//!
//! A [`Worker`] claims due lanes of one kind, as many as it has hands for, and gives each to a task of its own. It sleeps
//! until something new is due and is woken by [`Shared::wake`]. Whoever is about to make a lane due may ask the worker for
//! an [`Offer`] first: then the lane is claimed in the very step that makes it due, and nobody has to look for it.
//! A [`Lease`] travels with each claim: it is renewed while the work lasts, and it is what every write under the claim
//! goes through.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use frontdesk_model::{
    Append, Applied, Claim, ClaimId, ClaimNext, ClaimOrder, ClaimRequest, Claims, ConversationId, Effect, Guard, Held,
    Intend, Lane, Progress, Release, Room, Seq, Settle, StoreError, Then, Timestamp, Waiting,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::{
    health::Errand,
    keys::jitter,
    measure,
    runtime::Shared,
    trial::{self, Broken},
};

/// How long a claim is held without being renewed.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// A lease with less than this left is not sent under.
const MARGIN: Duration = Duration::from_secs(2);
/// At most this many claims in one request.
const BATCH: usize = 32;
/// How long a full store is left alone.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(2);
/// The longest sleep between two looks at the store, whatever was announced.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Where other daemons leave work behind when they die, it is looked for so often.
const LONGEST_SLEEP_IN_COMPANY: Duration = Duration::from_secs(5);

/// What may be claimed now.
pub(crate) enum Gate {
    /// As many as there are hands.
    Open,
    /// One; `report_unused` is called if nothing was due.
    One,
    /// Nothing for this long, unless the gate changes.
    Closed(Duration),
}

/// What a lane's worker does with its claims.
pub(crate) trait Work: Send + Sync + 'static {
    /// The kind of lane.
    const LANE: Lane;
    /// What whoever made the claim has made ready for it.
    type Ready: Send;
    fn gate(&self, shared: &Shared) -> Gate;
    /// Whether [`Work::gate`] would say [`Gate::Open`]. Takes nothing.
    fn is_open(&self, shared: &Shared) -> bool;
    /// Completes when the gate may have changed.
    fn gate_changed(&self) -> impl Future<Output = ()> + Send;
    /// A claim of [`Gate::One`] found nothing due.
    fn report_unused(&self);
    /// Works on one claim until it is settled, released or lost.
    fn work(
        &self,
        shared: &Arc<Shared>,
        claim: Claim,
        lease: Arc<Lease>,
        start: Start<Self::Ready>,
    ) -> impl Future<Output = ()> + Send;
}

/// How a claim is begun.
pub(crate) struct Start<R> {
    pub(crate) errand: Errand,
    /// What is ready for it.
    pub(crate) ready: Option<R>,
}

/// The hands of one lane.
pub(crate) struct Worker<W> {
    work: W,
    hands: Arc<Semaphore>,
    all_hands: usize,
    tasks: TaskTracker,
    stopped: watch::Sender<bool>,
}

/// A free hand, held for a claim that may come with the next write.
pub(crate) struct Offer<W> {
    worker: Arc<Worker<W>>,
    hand: OwnedSemaphorePermit,
    asked_at: Duration,
}

impl<W: Work> Worker<W> {
    pub(crate) fn new(work: W, hands: usize) -> Arc<Self> {
        Arc::new(Self {
            work,
            hands: Arc::new(Semaphore::new(hands)),
            all_hands: hands,
            tasks: TaskTracker::new(),
            stopped: watch::Sender::new(false),
        })
    }

    /// Claims and works until the daemon drains or the worker is stopped.
    pub(crate) fn begin(self: &Arc<Self>, shared: &Arc<Shared>) {
        let (worker, shared) = (Arc::clone(self), Arc::clone(shared));
        self.tasks.spawn(async move {
            tokio::select! {
                () = worker.run(&shared) => {}
                () = shared.cut_short() => {}
            }
        });
    }

    pub(crate) fn work(&self) -> &W {
        &self.work
    }

    /// How many claims are being worked on.
    pub(crate) fn in_hand(&self) -> usize {
        self.all_hands.saturating_sub(self.hands.available_permits())
    }

    /// Takes no more claims; what is in hand goes on.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Completes once it takes no more claims and nothing is in hand.
    pub(crate) async fn done(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A free hand, if there is one and the gate is open. Ask right before the write that makes a lane due.
    pub(crate) fn offer(self: &Arc<Self>, shared: &Shared) -> Option<Offer<W>> {
        let ready = !self.is_over(shared) && self.work.is_open(shared) && shared.store.room() == Room::Enough;
        if !ready {
            return None;
        }
        let hand = Arc::clone(&self.hands).try_acquire_owned().ok()?;
        Some(Offer { worker: Arc::clone(self), hand, asked_at: shared.clock.boot() })
    }

    fn is_over(&self, shared: &Shared) -> bool {
        shared.is_draining() || *self.stopped.borrow()
    }

    async fn over(&self, shared: &Shared) {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            () = shared.draining() => {}
            // The sender lives in `self`, so the wait ends only with the value.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn run(self: &Arc<Self>, shared: &Arc<Shared>) {
        while !self.is_over(shared) {
            if let Room::Low(reason) = shared.store.room() {
                // Every send writes before and after it: without room, nothing new is begun.
                shared.note_no_room(&reason);
                self.pause(shared, NO_ROOM_PAUSE).await;
                continue;
            }
            let Some(hand) = self.free_hand(shared).await else { break };
            let gate = self.work.gate(shared);
            let errand = if matches!(gate, Gate::One) { Errand::Probe } else { Errand::Ordinary };
            let limit = match gate {
                Gate::Open => (self.hands.available_permits() + 1).min(BATCH),
                Gate::One => 1,
                Gate::Closed(span) => {
                    drop(hand);
                    tokio::select! {
                        () = self.pause(shared, span.min(LONGEST_SLEEP)) => {}
                        () = self.work.gate_changed() => {}
                    }
                    continue;
                }
            };
            let asked_at = shared.clock.boot();
            let order = match errand {
                Errand::Ordinary => ClaimOrder::LongestDue,
                Errand::Probe => ClaimOrder::UntriedFirst,
            };
            let claims = match claim(shared, W::LANE, limit, order).await {
                Ok(claims) => claims,
                Err(error) => {
                    shared.note_store_error(&error);
                    if errand == Errand::Probe {
                        self.work.report_unused();
                    }
                    drop(hand);
                    self.pause(shared, Duration::from_millis(500) + jitter(Duration::from_secs(1))).await;
                    continue;
                }
            };
            if claims.claims.is_empty() {
                if errand == Errand::Probe {
                    self.work.report_unused();
                }
                drop(hand);
                self.sleep_until_due(shared, claims.next_due).await;
                continue;
            }
            let mut first_hand = Some(hand);
            for claim in claims.claims {
                let hand = match first_hand.take() {
                    Some(hand) => hand,
                    None => match Arc::clone(&self.hands).acquire_owned().await {
                        Ok(hand) => hand,
                        Err(_) => return,
                    },
                };
                self.give(shared, claim, hand, asked_at, Start { errand, ready: None });
            }
        }
    }

    fn give(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        claim: Claim,
        hand: OwnedSemaphorePermit,
        asked_at: Duration,
        start: Start<W::Ready>,
    ) {
        let (worker, shared) = (Arc::clone(self), Arc::clone(shared));
        let lease = Arc::new(Lease::new(&shared, &claim, asked_at));
        self.tasks.spawn(async move {
            let _hand = hand;
            tokio::select! {
                () = worker.work.work(&shared, claim, Arc::clone(&lease), start) => {}
                () = lease.keep() => {}
                () = shared.cut_short() => {}
            }
            if lease.left_more.load(Ordering::Relaxed) != NOTHING_MORE {
                shared.wake(W::LANE);
            }
        });
    }

    async fn free_hand(&self, shared: &Shared) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.hands).acquire_owned() => permit.ok(),
            () = self.over(shared) => None,
        }
    }

    async fn pause(&self, shared: &Shared, span: Duration) {
        tokio::select! {
            () = shared.clock.sleep(span) => {}
            () = self.over(shared) => {}
        }
    }

    async fn sleep_until_due(&self, shared: &Shared, next_due: Option<Timestamp>) {
        let most = if shared.store.company().is_open() { LONGEST_SLEEP_IN_COMPANY } else { LONGEST_SLEEP };
        let until_due = next_due.map_or(most, |due| due.since(shared.clock.now()));
        tokio::select! {
            () = shared.woken(W::LANE) => {}
            () = self.pause(shared, until_due.clamp(Duration::from_millis(5), most)) => {}
        }
    }
}

impl<W: Work> Offer<W> {
    /// What to ask the store for.
    pub(crate) fn wanted() -> ClaimNext {
        ClaimNext { lane: W::LANE, lease: LEASE }
    }

    /// The write gave this claim: it is worked on at once.
    pub(crate) fn take(self, shared: &Arc<Shared>, claim: Claim, ready: Option<W::Ready>) {
        let Self { worker, hand, asked_at } = self;
        worker.give(shared, claim, hand, asked_at, Start { errand: Errand::Ordinary, ready });
    }
}

async fn claim(shared: &Shared, lane: Lane, limit: usize, order: ClaimOrder) -> Result<Claims, StoreError> {
    let request = ClaimRequest { operation: shared.ids.operation(), lane, limit, lease: LEASE, order };
    let first = measure::store("claim", shared.store.claim(request)).await;
    match first {
        Err(StoreError::Unavailable(_)) => shared.store.claim(request).await,
        answer => answer,
    }
}

/// A claim's hold on its lane.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    claim: ClaimId,
    conversation: ConversationId,
    lane: Lane,
    /// The claim's event: what the log holds beyond it may be more work for the lane.
    event: Seq,
    /// The log's end when it was claimed.
    log_end: Seq,
    /// Until when it surely holds, in milliseconds since boot; counted from before the store was asked.
    holds_until: AtomicU64,
    /// [`NOTHING_MORE`] once it is known that the lane has nothing to do after this claim.
    left_more: AtomicU64,
}

const PERHAPS_MORE: u64 = 0;
const NOTHING_MORE: u64 = 1;

/// The claim is somebody else's now, or may be: stop, write nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// What a settling write does beside it.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Lanes that are claimed.
    pub(crate) next: Vec<ClaimNext>,
    /// A message that is about to be sent if one of those comes to it.
    pub(crate) intend: Option<Intend>,
}

/// How a settling write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Done; with the claims that were asked for beside it, as far as they could be had.
    Done(Vec<Claim>),
    /// A guard did not hold; the claim is still ours.
    Guarded,
}

impl Lease {
    fn new(shared: &Arc<Shared>, claim: &Claim, asked_at: Duration) -> Self {
        Self {
            shared: Arc::clone(shared),
            claim: claim.id,
            conversation: claim.conversation.id,
            lane: claim.lane,
            event: claim.event.seq,
            log_end: claim.conversation.last_seq,
            holds_until: AtomicU64::new(millis(asked_at + LEASE)),
            left_more: AtomicU64::new(PERHAPS_MORE),
        }
    }

    /// Renews for as long as it is polled; completes when the claim is gone.
    async fn keep(&self) {
        if trial::is_broken(Broken::NoFence) {
            std::future::pending::<()>().await;
        }
        loop {
            self.shared.clock.sleep(RENEW).await;
            if self.renew().await.is_err() && !self.is_safe() {
                return;
            }
        }
    }

    async fn renew(&self) -> Result<(), Lost> {
        let asked_at = self.shared.clock.boot();
        match self.shared.store.renew(self.claim, LEASE).await {
            Ok(Held::Yes) => {
                self.holds_until.store(millis(asked_at + LEASE), Ordering::Relaxed);
                Ok(())
            }
            Ok(Held::Gone) => {
                self.holds_until.store(0, Ordering::Relaxed);
                Err(Lost)
            }
            Err(error) => {
                self.shared.note_store_error(&error);
                Err(Lost)
            }
        }
    }

    fn is_safe(&self) -> bool {
        trial::is_broken(Broken::NoFence)
            || self.holds_until.load(Ordering::Relaxed) > millis(self.shared.clock.boot() + MARGIN)
    }

    /// Must be asked right before anything is sent.
    pub(crate) async fn check(&self) -> Result<(), Lost> {
        if self.is_safe() { Ok(()) } else { self.renew().await }
    }

    /// Writes under the claim. Repeats the same operation while the store does not answer and the lease lasts.
    pub(crate) async fn settle(&self, guards: Vec<Guard>, effects: Vec<Effect>, then: Then) -> Result<Settled, Lost> {
        self.settle_and_claim(guards, effects, then, Beside::default()).await
    }

    /// Like [`Lease::settle`], and claims lanes of the conversation in the same step.
    pub(crate) async fn settle_and_claim(
        &self,
        guards: Vec<Guard>,
        effects: Vec<Effect>,
        then: Then,
        beside: Beside,
    ) -> Result<Settled, Lost> {
        let appended = effects.iter().filter(|effect| matches!(effect, Effect::Append { .. })).count();
        let Beside { next, intend } = beside;
        let goes_on_here = next.iter().any(|next| next.lane == self.lane);
        let operation = self.shared.ids.operation();
        let mut settle = Settle { operation, claim: self.claim, guards, effects, then, next, intend };
        loop {
            match measure::store("settle", self.shared.store.settle(settle.clone())).await {
                Ok(settled) => {
                    return match settled.applied {
                        Applied::Done { last_seq, .. } => {
                            if appended > 0 {
                                self.shared.log_grew();
                            }
                            if then == Then::Advance && goes_on_here {
                                // What the lane has to do now was claimed, or there was nothing.
                                self.left_more.store(NOTHING_MORE, Ordering::Relaxed);
                            } else if then == Then::Advance {
                                self.note_what_is_left(last_seq, appended);
                            }
                            Ok(Settled::Done(settled.next))
                        }
                        Applied::Guarded { .. } => Ok(Settled::Guarded),
                        Applied::Repeated { .. } | Applied::KeyReused | Applied::LeaseLost | Applied::NotFound => {
                            if trial::is_broken(Broken::NoFence) {
                                return self.write_all_the_same(settle).await;
                            }
                            Err(Lost)
                        }
                    };
                }
                Err(error) => self.wait_or_lose(&error).await?,
            }
            if trial::is_broken(Broken::SkipOperationId) {
                settle.operation = self.shared.ids.operation();
            }
        }
    }

    /// What a fence is there to keep out.
    async fn write_all_the_same(&self, settle: Settle) -> Result<Settled, Lost> {
        let append = Append {
            operation: self.shared.ids.operation(),
            conversation: self.conversation,
            once: None,
            guards: Vec::new(),
            effects: settle.effects,
        };
        let applied = self.shared.store.append(append).await;
        if let Ok(Applied::Done { .. }) = applied {
            self.shared.log_grew();
            self.shared.wake(Lane::Deliver);
        }
        Err(Lost)
    }

    /// The lane is done for now if its event was the log's end and since then the log grew by nothing but what this claim
    /// itself appended. That spares a look at the store after most claims.
    fn note_what_is_left(&self, last_seq: Seq, appended: usize) {
        let grown = last_seq.0.saturating_sub(self.log_end.0);
        let by_others = grown > u64::try_from(appended).unwrap_or(u64::MAX);
        if self.event == self.log_end && !by_others {
            self.left_more.store(NOTHING_MORE, Ordering::Relaxed);
        }
    }

    /// Gives the claim back: due again at `until`.
    pub(crate) async fn release(&self, until: Timestamp, waiting: Option<Waiting>, progress: Progress) {
        let release = Release { operation: self.shared.ids.operation(), claim: self.claim, until, waiting, progress };
        loop {
            match self.shared.store.release(release.clone()).await {
                Ok(_) => return,
                Err(error) => {
                    if self.wait_or_lose(&error).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn wait_or_lose(&self, error: &StoreError) -> Result<(), Lost> {
        self.shared.note_store_error(error);
        if matches!(error, StoreError::Refused(_)) || !self.is_safe() {
            return Err(Lost);
        }
        self.shared.clock.sleep(Duration::from_millis(200) + jitter(Duration::from_millis(300))).await;
        Ok(())
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
