//! How a worker gets its claims and holds them.
//!
//! [`run`] claims due lanes of one kind, as many as it has hands for, and gives each to a task of its own. It sleeps until
//! something new is due and is woken by [`Shared::wake`]. A [`Lease`] travels with each claim: it is renewed
//! while the work lasts, and it is what every write under the claim goes through.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use frontdesk_model::{
    Applied, Claim, ClaimId, ClaimOrder, ClaimRequest, Claims, Effect, Guard, Held, Lane, Progress, Release, Room,
    Settle, StoreError, Then, Timestamp, Waiting,
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{health::Errand, keys::jitter, runtime::Shared};

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
    fn lane(&self) -> Lane;
    fn gate(&self) -> Gate;
    /// Completes when the gate may have changed.
    fn gate_changed(&self) -> impl Future<Output = ()> + Send;
    /// A claim of [`Gate::One`] found nothing due.
    fn report_unused(&self);
    /// Works on one claim until it is settled, released or lost.
    fn work(&self, claim: Claim, lease: Arc<Lease>, errand: Errand) -> impl Future<Output = ()> + Send;
}

/// Runs until the daemon drains, then waits for the work in hand.
pub(crate) async fn run<W: Work>(shared: Arc<Shared>, work: Arc<W>, hands: usize) {
    let hands = Arc::new(Semaphore::new(hands));
    let mut tasks = JoinSet::new();
    while !shared.is_draining() {
        while tasks.try_join_next().is_some() {}
        if let Room::Low(reason) = shared.store.room() {
            // Every send writes before and after it: without room, nothing new is begun.
            shared.note_store_error(&StoreError::Full(reason));
            tokio::select! {
                () = shared.clock.sleep(NO_ROOM_PAUSE) => {}
                () = shared.draining() => {}
            }
            continue;
        }
        let Some(permit) = free_hand(&shared, &hands).await else { break };
        let gate = work.gate();
        let errand = if matches!(gate, Gate::One) { Errand::Probe } else { Errand::Ordinary };
        let limit = match gate {
            Gate::Open => (hands.available_permits() + 1).min(BATCH),
            Gate::One => 1,
            Gate::Closed(span) => {
                drop(permit);
                tokio::select! {
                    () = shared.clock.sleep(span.min(LONGEST_SLEEP)) => {}
                    () = work.gate_changed() => {}
                    () = shared.draining() => {}
                }
                continue;
            }
        };
        let asked_at = shared.clock.boot();
        let order = match errand {
            Errand::Ordinary => ClaimOrder::LongestDue,
            Errand::Probe => ClaimOrder::UntriedFirst,
        };
        let claims = match claim(&shared, work.lane(), limit, order).await {
            Ok(claims) => claims,
            Err(error) => {
                shared.note_store_error(&error);
                if errand == Errand::Probe {
                    work.report_unused();
                }
                drop(permit);
                tokio::select! {
                    () = shared.clock.sleep(Duration::from_millis(500) + jitter(Duration::from_secs(1))) => {}
                    () = shared.draining() => {}
                }
                continue;
            }
        };
        if claims.claims.is_empty() {
            if errand == Errand::Probe {
                work.report_unused();
            }
            drop(permit);
            sleep_until_due(&shared, work.lane(), claims.next_due).await;
            continue;
        }
        let mut first_hand = Some(permit);
        for claim in claims.claims {
            let hand = match first_hand.take() {
                Some(hand) => Ok(hand),
                None => Arc::clone(&hands).acquire_owned().await,
            };
            let (work, shared) = (Arc::clone(&work), Arc::clone(&shared));
            let lease = Arc::new(Lease::new(&shared, claim.id, asked_at));
            tasks.spawn(async move {
                let _hand = hand;
                let lane = claim.lane;
                tokio::select! {
                    () = work.work(claim, Arc::clone(&lease), errand) => {}
                    () = lease.keep() => {}
                }
                // The lane may have more to do, and a reply makes the other one due.
                shared.wake(lane);
            });
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn free_hand(shared: &Shared, hands: &Arc<Semaphore>) -> Option<tokio::sync::OwnedSemaphorePermit> {
    tokio::select! {
        permit = Arc::clone(hands).acquire_owned() => permit.ok(),
        () = shared.draining() => None,
    }
}

async fn sleep_until_due(shared: &Shared, lane: Lane, next_due: Option<Timestamp>) {
    let until_due = next_due.map_or(LONGEST_SLEEP, |due| due.since(shared.clock.now()));
    tokio::select! {
        () = shared.woken(lane) => {}
        () = shared.clock.sleep(until_due.clamp(Duration::from_millis(5), LONGEST_SLEEP)) => {}
        () = shared.draining() => {}
    }
}

async fn claim(shared: &Shared, lane: Lane, limit: usize, order: ClaimOrder) -> Result<Claims, StoreError> {
    let request = ClaimRequest { operation: shared.ids.operation(), lane, limit, lease: LEASE, order };
    let first = shared.store.claim(request).await;
    match first {
        Err(StoreError::Unavailable(_)) => shared.store.claim(request).await,
        answer => answer,
    }
}

/// A claim's hold on its lane.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    claim: ClaimId,
    /// Until when it surely holds, in milliseconds since boot; counted from before the store was asked.
    holds_until: AtomicU64,
}

/// The claim is somebody else's now, or may be: stop, write nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// How a settling write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Done.
    Done,
    /// A guard did not hold; the claim is still ours.
    Guarded,
}

impl Lease {
    fn new(shared: &Arc<Shared>, claim: ClaimId, asked_at: Duration) -> Self {
        Self { shared: Arc::clone(shared), claim, holds_until: AtomicU64::new(millis(asked_at + LEASE)) }
    }

    /// Renews for as long as it is polled; completes when the claim is gone.
    async fn keep(&self) {
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
        self.holds_until.load(Ordering::Relaxed) > millis(self.shared.clock.boot() + MARGIN)
    }

    /// Must be asked right before anything is sent.
    pub(crate) async fn check(&self) -> Result<(), Lost> {
        if self.is_safe() { Ok(()) } else { self.renew().await }
    }

    /// Writes under the claim. Repeats the same operation while the store does not answer and the lease lasts.
    pub(crate) async fn settle(&self, guards: Vec<Guard>, effects: Vec<Effect>, then: Then) -> Result<Settled, Lost> {
        let settle =
            Settle { operation: self.shared.ids.operation(), claim: self.claim, guards, effects, then, next: None };
        loop {
            match self.shared.store.settle(settle.clone()).await.map(|settled| settled.applied) {
                Ok(Applied::Done { .. }) => return Ok(Settled::Done),
                Ok(Applied::Guarded { .. }) => return Ok(Settled::Guarded),
                Ok(Applied::LeaseLost | Applied::NotFound | Applied::Repeated { .. } | Applied::KeyReused) => {
                    return Err(Lost);
                }
                Err(error) => self.wait_or_lose(&error).await?,
            }
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
