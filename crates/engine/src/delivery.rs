//! The delivery worker: one outbound message at a time per conversation, part by part, each part sent once.
//!
//! 1. *Render*: the message becomes parts.
//! 2. *Permit*: the channel has room, is not asked to be quiet, and the platform's budgets, which all daemons share, have a place for
//!    the part. A worker waits for it no longer than a second.
//! 3. *Intent*: "about to be sent" is stored for the part, and with the first part's intent all parts are frozen. From
//!    here on nothing renders the message again.
//! 4. *Send*, right after looking whether the claim still holds.
//! 5. *Outcome*: what became of it is stored; with the last part the lane moves on in the same step.
//!
//! Steps 1 to 3 of a message's first part are taken by whoever stores the message, in the same write, where nothing has to be
//! waited for ([`prepare`]).
//!
//! A part found in the state of step 3 without an outcome was perhaps sent: where the far end knows its key it is sent again
//! under that key, elsewhere it stays `uncertain` and is shown.
//!
//! A channel that is unwell is tried again along a ladder: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h after one another,
//! counted from the first failure. A try out of turn (the channel is well again, or the daemon started) takes no
//! rung. While the channel serves others a message gets three tries. Then it is a dead letter, and the next goes.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use frontdesk_model::{
    Claim, Content, Conversation, DeliveryStatus, Direction, Dispatch, Effect, EventBody, ExternalId, FrozenPart,
    Guard, Intend, Lane, Link, Message, MessageId, Outcome, Outgoing, Part, PartState, Progress, Resend, Scope, Spent,
    StoreError, Then, Timestamp, UniqueWithin, Waiting,
};
use frontdesk_richtext::{append_buttons, document, write};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

mod revision;

use self::revision::Revision;
use crate::{
    attachments,
    health::{Admit, Backoff, Blow, Errand, Health, ProbeGuard, Turned},
    keys::jitter,
    lane::{Beside, Gate, Lease, Lost, Offer, Settled, Start, Work},
    measure,
    rules::{DeadWork, delivered},
    runtime::{ChannelState, Shared},
    trial::{self, Broken},
};

/// Waits between tries, one after the other.
const LADDER: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(10 * 3600),
];
/// Tries of a message while its channel serves others.
const TRIES_BESIDE_OTHERS: u32 = 3;
/// How long an unwell channel is left alone between two tries of new work.
pub(crate) const CHANNEL_BACKOFF: Backoff = Backoff { first: Duration::from_secs(5), most: Duration::from_secs(300) };
/// Sends at once on one channel.
pub(crate) const CHANNEL_PERMITS: usize = 64;
/// A worker with a claim waits for a permit no longer than this.
const PERMIT_WAIT: Duration = Duration::from_secs(1);
/// How long work for a channel that is not there, or is stopped, sleeps.
const FAR: Duration = Duration::from_secs(3600);

/// The lane's worker.
pub(crate) struct DeliveryWork;

/// One claim being worked on.
struct Turn<'a> {
    shared: &'a Arc<Shared>,
}

/// A channel's limits and record.
pub(crate) struct ChannelGate {
    pub(crate) health: Health,
    pub(crate) last: Last,
    permits: Arc<Semaphore>,
}

/// When something last came in and went out, in milliseconds; 0 for never.
#[derive(Debug, Default)]
pub(crate) struct Last {
    received: AtomicI64,
    sent: AtomicI64,
}

impl Last {
    pub(crate) fn note_received(&self, at: Timestamp) {
        self.received.store(at.as_millis(), Ordering::Relaxed);
    }

    fn note_sent(&self, at: Timestamp) {
        self.sent.store(at.as_millis(), Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> Option<Timestamp> {
        read(&self.received)
    }

    pub(crate) fn sent(&self) -> Option<Timestamp> {
        read(&self.sent)
    }
}

fn read(moment: &AtomicI64) -> Option<Timestamp> {
    Some(moment.load(Ordering::Relaxed)).filter(|millis| *millis > 0).map(Timestamp::from_millis)
}

impl ChannelGate {
    pub(crate) fn new() -> Self {
        Self {
            health: Health::new(CHANNEL_BACKOFF),
            last: Last::default(),
            permits: Arc::new(Semaphore::new(CHANNEL_PERMITS)),
        }
    }
}

/// A send that may be repeated.
struct Later {
    after: Option<Duration>,
    scope: Scope,
    reason: String,
    /// How the part ends when there is no other try.
    at_last: PartState,
}

/// What trying one part leads to.
enum Next {
    /// On to the next part.
    Part,
    /// The message is done or parked; the claim has ended.
    Ended,
}

/// A channel's leave to send one part.
struct Permit<'a> {
    _place: OwnedSemaphorePermit,
    probe: Option<ProbeGuard<'a>>,
}

/// One send that has ended.
#[derive(Clone, Copy)]
struct Sent {
    index: usize,
    before: Before,
    errand: Errand,
}

/// Whether the part may have arrived by an earlier send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Never,
    Perhaps,
}

impl Before {
    /// How a part ends that this send certainly did not deliver.
    fn end(self) -> PartState {
        match self {
            Self::Never => PartState::Failed,
            Self::Perhaps => PartState::Uncertain,
        }
    }
}

/// A channel's leave for a message whose first part was stored as about to be sent when its delivery was claimed.
pub(crate) struct Ready {
    message: MessageId,
    place: OwnedSemaphorePermit,
}

/// One message on its way out.
struct Journey<'a> {
    claim: &'a Claim,
    message: &'a Message,
    channel: &'a ChannelState,
    lease: &'a Lease,
    parts: Vec<Part>,
    frozen: Frozen,
    /// Leave for the first part, which is stored as about to be sent and was not.
    ready: Option<OwnedSemaphorePermit>,
    reason: Option<String>,
}

/// Whether the store knows the message's parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frozen {
    NotYet,
    Stored,
}

/// Makes a message ready to be sent as soon as it is stored and its delivery claimed, if nothing stands in the way: no wait for the
/// channel, for the platform's budgets, or for an attachment.
pub(crate) async fn prepare(
    shared: &Arc<Shared>,
    conversation: &Conversation,
    message: &Message,
) -> Option<(Ready, Intend)> {
    let channel = shared.channel_of(&conversation.thread)?;
    let is_free = channel.gate.health.is_free(shared.clock.boot());
    if !is_free || message.awaits_attachments() || trial::is_broken(Broken::IntentAfterSend) {
        return None;
    }
    let outgoing = Turn { shared }.outgoing(conversation, message).await.ok()?;
    let parts = channel.connected.adapter.render(&outgoing);
    let budgets = channel.connected.adapter.budgets(&conversation.thread.thread, parts.first()?);
    if !budgets.is_empty() {
        return None;
    }
    let place = Arc::clone(&channel.gate.permits).try_acquire_owned().ok()?;
    Some((Ready { message: message.id, place }, Intend { message: message.id, parts }))
}

impl Turn<'_> {
    async fn deliver(&self, claim: &Claim, lease: &Lease, ready: Option<Ready>) -> Result<(), Lost> {
        let message = match &claim.event.body {
            EventBody::MessageCreated { message } => message,
            EventBody::MessageEdited { message, .. } => {
                return self.revise(claim, lease, Revision::Edit(message)).await;
            }
            EventBody::MessageWithdrawn { message_id, .. } => {
                return self.revise(claim, lease, Revision::Withdraw(*message_id)).await;
            }
            EventBody::Unreadable { raw, .. } => return self.read_again(claim, lease, raw).await,
            _ => return lease.settle(Vec::new(), Vec::new(), Then::Advance).await.map(drop),
        };
        let Some(channel) = self.shared.channel_of(&claim.conversation.thread) else {
            tracing::warn!(message_id = %message.id, "the channel of a queued message is not configured; the message waits");
            if let Some(ready) = ready {
                self.not_begun(ready.message, 0, lease).await?;
            }
            self.park(claim, lease, FAR, claim.progress).await;
            return Ok(());
        };
        let until = message.received_at.plus(attachments::REPLY_WAITS);
        if message.awaits_attachments() && until > self.shared.clock.now() {
            return self.wait_for_attachments(claim, lease, message.id, until).await;
        }
        let mut journey = Journey {
            claim,
            message,
            channel: &channel,
            lease,
            parts: Vec::new(),
            frozen: Frozen::Stored,
            ready: ready.filter(|ready| ready.message == message.id).map(|ready| ready.place),
            reason: None,
        };
        journey.parts = match claim.delivery.as_ref().map(|delivery| delivery.parts.as_slice()) {
            Some([_, ..]) => claim.delivery.iter().flat_map(|delivery| delivery.parts.clone()).collect(),
            _ => match self.render(&mut journey).await {
                Some(parts) => parts,
                None => return Ok(()),
            },
        };
        for index in 0..journey.parts.len() {
            if let Next::Ended = self.take_part(&mut journey, index).await? {
                return Ok(());
            }
        }
        self.finish(&journey).await
    }

    /// An input that could not be read when it came is handed to its channel again.
    async fn read_again(&self, claim: &Claim, lease: &Lease, raw: &str) -> Result<(), Lost> {
        let conversation = &claim.conversation;
        let read = match self.shared.channel_of(&conversation.thread) {
            Some(channel) => {
                let inbox = self.shared.inbox(&channel.connected);
                channel.connected.adapter.replay(raw, inbox).await.map_err(|error| error.to_string())
            }
            None => Err("the channel that it came on is not configured".into()),
        };
        let effects = match read {
            Ok(()) => Vec::new(),
            Err(reason) => {
                let dead = DeadWork {
                    ids: &self.shared.ids,
                    now: self.shared.clock.now(),
                    conversation,
                    lane: Lane::Deliver,
                    event: &claim.event,
                    batch_from: None,
                    reason: format!("what came could not be read: {reason}"),
                    attempts: claim.progress.attempts.saturating_add(1),
                };
                dead.effects()
            }
        };
        lease.settle(Vec::new(), effects, Then::Advance).await.map(drop)
    }

    async fn wait_for_attachments(
        &self,
        claim: &Claim,
        lease: &Lease,
        message: MessageId,
        until: Timestamp,
    ) -> Result<(), Lost> {
        lease.release(until, Some(Waiting::Attachments(message)), claim.progress).await;
        attachments::wake_if_here(self.shared, message, Lane::Deliver).await;
        Ok(())
    }

    /// The parts, not stored yet: that happens with the first one's intent.
    async fn render(&self, journey: &mut Journey<'_>) -> Option<Vec<Part>> {
        let Ok(outgoing) = self.outgoing(&journey.claim.conversation, journey.message).await else {
            self.park(journey.claim, journey.lease, Duration::from_secs(1), journey.claim.progress).await;
            return None;
        };
        let frozen: Vec<FrozenPart> = journey.channel.connected.adapter.render(&outgoing);
        journey.frozen = Frozen::NotYet;
        Some(frozen.into_iter().map(|frozen| Part { frozen, state: PartState::Ready }).collect())
    }

    /// Stores that the part is about to be sent, and before the first part what all of them are. `None`: somebody froze the
    /// message under an earlier claim; a new claim brings those parts along.
    async fn intend(&self, journey: &mut Journey<'_>, index: u16) -> Result<Option<()>, Lost> {
        let message = journey.message.id;
        let (mut guards, mut effects) = (Vec::new(), Vec::new());
        if journey.frozen == Frozen::NotYet {
            guards.push(Guard::NotFrozen(message));
            let parts = journey.parts.iter().map(|part| part.frozen.clone()).collect();
            effects.push(Effect::Freeze { message, parts });
        }
        effects.push(Effect::SetPart { message, index, state: PartState::Intent });
        if journey.lease.settle(guards, effects, Then::Keep).await? == Settled::Guarded {
            journey.lease.release(self.shared.clock.now(), None, journey.claim.progress).await;
            return Ok(None);
        }
        journey.frozen = Frozen::Stored;
        Ok(Some(()))
    }

    async fn outgoing(&self, conversation: &Conversation, message: &Message) -> Result<Outgoing, StoreError> {
        let store = &self.shared.store;
        let to = match conversation.participants.first() {
            Some(first) => store.contact(*first).await?,
            None => None,
        };
        let reply_to_external = match message.reply_to {
            // Only what was said here: another conversation's ids are none of this customer's business.
            Some(id) => self.called(conversation, id).await?,
            None => None,
        };
        let has_buttons = self.shared.channel_of(&conversation.thread);
        let has_buttons = has_buttons.is_some_and(|channel| channel.connected.adapter.capabilities().buttons);
        Ok(Outgoing {
            message: if has_buttons { message.clone() } else { with_choices(message) },
            conversation: conversation.id,
            thread: conversation.thread.thread.clone(),
            to,
            reply_to_external,
        })
    }

    /// What the platform calls a message of this conversation: another one's ids are none of this customer's business.
    async fn called(&self, conversation: &Conversation, id: MessageId) -> Result<Option<ExternalId>, StoreError> {
        let store = &self.shared.store;
        let found = store.message(id).await?.filter(|(of, _)| *of == conversation.id);
        let Some((_, record)) = found else { return Ok(None) };
        if record.message.direction == Direction::Inbound {
            return Ok(record.message.external_id);
        }
        let parts = store.parts(id).await?;
        Ok(parts.into_iter().find_map(|part| match part.state {
            PartState::Sent { external_id: Some(id) } => ExternalId::new(id).ok(),
            _ => None,
        }))
    }

    async fn take_part(&self, journey: &mut Journey<'_>, index: usize) -> Result<Next, Lost> {
        let Some(part) = journey.parts.get(index).cloned() else { return Ok(Next::Part) };
        let place = u16::try_from(index).unwrap_or(u16::MAX);
        let may_double = journey.channel.connected.adapter.capabilities().resend == Resend::MayDouble;
        let own = journey.ready.take().filter(|_| index == 0 && part.state == PartState::Intent);
        match part.state {
            PartState::Ready => {}
            PartState::Intent if own.is_none() && may_double => {
                let reason = "the daemon stopped while it was being sent".to_owned();
                return self.mark(journey, index, PartState::Uncertain, Some(reason)).await;
            }
            PartState::Intent => {}
            PartState::Sent { .. } | PartState::Failed | PartState::Uncertain | PartState::Cancelled => {
                return Ok(Next::Part);
            }
        }
        let before = if part.state == PartState::Intent && own.is_none() { Before::Perhaps } else { Before::Never };
        let permit = match own {
            Some(place) => Some(Permit { _place: place, probe: None }),
            None => self.permit(journey, &part.frozen).await,
        };
        let Some(permit) = permit else { return Ok(Next::Ended) };
        let intends = part.state != PartState::Intent;
        let too_late = trial::is_broken(Broken::IntentAfterSend);
        if intends && !too_late && self.intend(journey, place).await?.is_none() {
            return Ok(Next::Ended);
        }
        journey.lease.check().await?;
        trial::point("intended");
        let links = self.links(journey.message);
        let dispatch = Dispatch { message: journey.message.id, index: place, part: &part.frozen, links: &links };
        let sending = Instant::now();
        let outcome = journey.channel.connected.adapter.send(&dispatch).await;
        trial::point("sent");
        if intends && too_late && self.intend(journey, place).await?.is_none() {
            return Ok(Next::Ended);
        }
        measure::delivery_attempt(&journey.channel.connected.name, name(&outcome), sending.elapsed());
        let errand = if permit.probe.is_some() { Errand::Probe } else { Errand::Ordinary };
        self.conclude(journey, Sent { index, before, errand }, outcome).await
    }

    fn links(&self, message: &Message) -> Vec<Link> {
        let here = message.attachments.iter().filter(|attachment| attachment.stored().is_some());
        let links = self.shared.links();
        here.map(|attachment| links.of(attachment.id)).collect()
    }

    /// The channel's leave to send. `None`: the claim was given back, to wait elsewhere.
    async fn permit<'a>(&self, journey: &Journey<'a>, part: &FrozenPart) -> Option<Permit<'a>> {
        let gate: &'a ChannelGate = &journey.channel.gate;
        let mut probe = None;
        let mut admitted = gate.health.admit(self.shared.clock.boot());
        if let Admit::Wait(span) = admitted
            && span <= PERMIT_WAIT
        {
            self.shared.clock.sleep(span).await;
            admitted = gate.health.admit(self.shared.clock.boot());
        }
        let wait = match admitted {
            Admit::Freely => None,
            Admit::Probe => {
                probe = Some(ProbeGuard(&gate.health));
                None
            }
            Admit::Wait(span) => Some(span + jitter(span)),
            Admit::Stopped => Some(FAR),
        };
        if let Some(wait) = wait {
            self.park(journey.claim, journey.lease, wait, journey.claim.progress).await;
            return None;
        }
        let permit = tokio::select! {
            permit = Arc::clone(&gate.permits).acquire_owned() => permit.ok(),
            () = self.shared.clock.sleep(PERMIT_WAIT) => None,
        };
        if permit.is_none() {
            self.park(journey.claim, journey.lease, PERMIT_WAIT, journey.claim.progress).await;
        }
        let place = permit?;
        if let Some(wait) = self.spend(journey, part).await {
            self.park(journey.claim, journey.lease, wait, journey.claim.progress).await;
            return None;
        }
        Some(Permit { _place: place, probe })
    }

    /// Takes the part's places in what the platform allows, and waits for their moment. How long to wait elsewhere, where that
    /// would be longer than a worker waits.
    async fn spend(&self, journey: &Journey<'_>, part: &FrozenPart) -> Option<Duration> {
        let thread = &journey.claim.conversation.thread;
        let budgets = journey.channel.connected.adapter.budgets(&thread.thread, part);
        if budgets.is_empty() {
            return None;
        }
        let channel = Waiting::Channel { kind: thread.kind.clone(), account: thread.account.clone() };
        match self.shared.store.company().spend(&channel, &budgets, PERMIT_WAIT).await {
            Ok(Spent::After(span)) => {
                self.shared.clock.sleep(span).await;
                None
            }
            Ok(Spent::Later(span)) => Some(span + jitter(span.min(PERMIT_WAIT))),
            Err(error) => {
                self.shared.note_store_error(&error);
                Some(PERMIT_WAIT)
            }
        }
    }

    async fn conclude(&self, journey: &mut Journey<'_>, sent: Sent, outcome: Outcome) -> Result<Next, Lost> {
        let Sent { index, before, errand } = sent;
        let conversation = journey.claim.conversation.id;
        let health = &journey.channel.gate.health;
        let now = self.shared.clock.boot();
        match outcome {
            Outcome::Sent { external_id } => {
                journey.channel.gate.last.note_sent(self.shared.clock.now());
                let turned = health.succeeded(conversation, now);
                let next = self.mark(journey, index, PartState::Sent { external_id }, None).await;
                self.turned(journey.channel, turned, "").await;
                next
            }
            Outcome::Failed { scope: Scope::Message, reason } => {
                self.turned(journey.channel, health.succeeded(conversation, now), "").await;
                match before {
                    Before::Never => self.refused(journey, index, reason).await.map(|()| Next::Ended),
                    // Refused now, but an earlier send of it may be visible: nobody knows.
                    Before::Perhaps => self.mark(journey, index, PartState::Uncertain, Some(reason)).await,
                }
            }
            Outcome::Failed { scope: Scope::Channel, reason } => {
                health.stop(self.shared.clock.now());
                tracing::error!(
                    channel = %journey.channel.connected.name, reason,
                    "the channel takes no more messages; they wait until `frontdesk channel resume` with its name"
                );
                self.ready_again(journey, sent).await?;
                self.park(journey.claim, journey.lease, FAR, journey.claim.progress).await;
                Ok(Next::Ended)
            }
            Outcome::RetryAfter { after, scope, reason } => {
                let blow = if scope == Scope::Channel { Blow::ToAll } else { Blow::ToOne };
                let pause = after.filter(|_| scope == Scope::Channel);
                let turned = health.failed(conversation, blow, pause, errand, now);
                health.note(turned, &reason, self.shared.clock.now());
                self.turned(journey.channel, turned, &reason).await;
                self.ready_again(journey, sent).await?;
                self.again(journey, index, Later { after, scope, reason, at_last: before.end() }).await
            }
            Outcome::Uncertain { reason } => {
                let turned = health.failed(conversation, Blow::ToOne, None, errand, now);
                health.note(turned, &reason, self.shared.clock.now());
                self.turned(journey.channel, turned, &reason).await;
                match journey.channel.connected.adapter.capabilities().resend {
                    Resend::MayDouble => self.mark(journey, index, PartState::Uncertain, Some(reason)).await,
                    // It stays as intended: sent again, where the far end knows it under the same key, or the operator wants it.
                    Resend::SameKey | Resend::Wanted => {
                        let at_last = PartState::Uncertain;
                        self.again(journey, index, Later { after: None, scope: Scope::Message, reason, at_last }).await
                    }
                }
            }
        }
    }

    /// Stores a part's last state. With the message's last part the message ends in the same step.
    async fn mark(
        &self,
        journey: &mut Journey<'_>,
        index: usize,
        state: PartState,
        reason: Option<String>,
    ) -> Result<Next, Lost> {
        if let Some(part) = journey.parts.get_mut(index) {
            part.state = state.clone();
        }
        journey.reason = journey.reason.take().or(reason);
        if index + 1 == journey.parts.len() {
            return self.finish(journey).await.map(|()| Next::Ended);
        }
        let place = u16::try_from(index).unwrap_or(u16::MAX);
        let effect = Effect::SetPart { message: journey.message.id, index: place, state };
        journey.lease.settle(Vec::new(), vec![effect], Then::Keep).await?;
        Ok(Next::Part)
    }

    /// Certainly not delivered: a later claim must not think that it might have been.
    async fn ready_again(&self, journey: &Journey<'_>, sent: Sent) -> Result<(), Lost> {
        if sent.before == Before::Perhaps {
            return Ok(());
        }
        let place = u16::try_from(sent.index).unwrap_or(u16::MAX);
        self.not_begun(journey.message.id, place, journey.lease).await
    }

    async fn not_begun(&self, message: MessageId, index: u16, lease: &Lease) -> Result<(), Lost> {
        let effect = Effect::SetPart { message, index, state: PartState::Ready };
        lease.settle(Vec::new(), vec![effect], Then::Keep).await.map(drop)
    }

    /// This part is refused: the rest of the message is not sent.
    async fn refused(&self, journey: &mut Journey<'_>, index: usize, reason: String) -> Result<(), Lost> {
        for (place, part) in journey.parts.iter_mut().enumerate().skip(index) {
            part.state = if place == index { PartState::Failed } else { PartState::Cancelled };
        }
        journey.reason = Some(reason);
        self.finish(journey).await
    }

    /// Another try later, or the end of all tries, where the part ends as `at_last`.
    async fn again(&self, journey: &mut Journey<'_>, index: usize, later: Later) -> Result<Next, Lost> {
        let Later { after, scope, reason, at_last } = later;
        match self.another_try(journey, after, scope) {
            Some((wait, progress)) => {
                tracing::debug!(message_id = %journey.message.id, attempt = progress.attempts, "a send will be repeated");
                self.park(journey.claim, journey.lease, wait, progress).await;
                Ok(Next::Ended)
            }
            _ if at_last == PartState::Uncertain => self.mark(journey, index, at_last, Some(reason)).await,
            _ => self.refused(journey, index, reason).await.map(|()| Next::Ended),
        }
    }

    /// When what failed is tried again, if it is.
    fn another_try(
        &self,
        journey: &Journey<'_>,
        after: Option<Duration>,
        scope: Scope,
    ) -> Option<(Duration, Progress)> {
        let now = self.shared.clock.now();
        let before = journey.claim.progress;
        let first = before.first_failed_at.unwrap_or(now);
        let since_last = before.last_failed_at.map(|last| now.since(last));
        let beside_others = since_last.is_none_or(|span| {
            let boot = self.shared.clock.boot();
            journey.channel.gate.health.served_others(journey.claim.conversation.id, span, boot)
        });
        let progress = Progress {
            attempts: before.attempts.saturating_add(1),
            // A channel that asks all of it to wait says nothing about this message.
            counted: before.counted + u32::from(beside_others && scope == Scope::Message),
            first_failed_at: Some(first),
            last_failed_at: Some(now),
        };
        let wait = next_rung(now.since(first)).filter(|_| progress.counted < TRIES_BESIDE_OTHERS)?;
        Some((after.unwrap_or(wait).max(Duration::from_millis(500)), progress))
    }

    /// Every part has come to its end: so has the message.
    async fn finish(&self, journey: &Journey<'_>) -> Result<(), Lost> {
        let claim = journey.claim;
        let now = self.shared.clock.now();
        let message = journey.message.id;
        let status = status_of(&journey.parts);
        let mut effects: Vec<Effect> = journey
            .parts
            .iter()
            .enumerate()
            .map(|(index, part)| Effect::SetPart {
                message,
                index: u16::try_from(index).unwrap_or(u16::MAX),
                state: part.state.clone(),
            })
            .collect();
        if journey.channel.connected.adapter.capabilities().refers {
            effects.extend(self.known_as(journey));
        }
        let parts = journey.parts.len();
        let error = journey.reason.clone().filter(|_| status != DeliveryStatus::Sent);
        effects.extend(delivered(&self.shared.ids, now, &claim.conversation, message, status, parts, error.clone()));
        if status != DeliveryStatus::Sent {
            tracing::warn!(message_id = %message, ?status, reason = error.as_deref(), "a message was not delivered in full");
            let dead = DeadWork {
                ids: &self.shared.ids,
                now,
                conversation: &claim.conversation,
                lane: Lane::Deliver,
                event: &claim.event,
                batch_from: None,
                reason: error.unwrap_or_else(|| "not delivered".into()),
                attempts: claim.progress.attempts.saturating_add(1),
            };
            effects.extend(dead.effects());
        }
        // What the lane has to do next is claimed in the same step, if somebody is free to do it.
        let offer = self.shared.live().delivery.as_ref().and_then(|worker| worker.offer(self.shared));
        let next = offer.iter().map(|_| Offer::<DeliveryWork>::wanted()).collect();
        let beside = Beside { next, intend: None };
        let settled = journey.lease.settle_and_claim(Vec::new(), effects, Then::Advance, beside).await?;
        if let (Some(offer), Settled::Done(claims)) = (offer, settled)
            && let Some(claim) = claims.into_iter().next()
        {
            offer.take(self.shared, claim, None);
        }
        trial::point("concluded");
        measure::delivered(&journey.channel.connected.name, status);
        Ok(())
    }

    /// What the platform calls the parts that it has.
    fn known_as(&self, journey: &Journey<'_>) -> Vec<Effect> {
        let thread = &journey.claim.conversation.thread;
        let name = |part: &Part| match &part.state {
            PartState::Sent { external_id: Some(id) } => ExternalId::new(id.clone()).ok(),
            _ => None,
        };
        let key = |id: ExternalId| self.shared.keys.dedupe(thread, &id, UniqueWithin::Account);
        let known = journey.parts.iter().filter_map(name).map(key);
        known.map(|key| Effect::Know { key, message: journey.message.id }).collect()
    }

    async fn park(&self, claim: &Claim, lease: &Lease, wait: Duration, progress: Progress) {
        let thread = &claim.conversation.thread;
        let waiting = Waiting::Channel { kind: thread.kind.clone(), account: thread.account.clone() };
        lease.release(self.shared.clock.now().plus(wait), Some(waiting), progress).await;
    }

    async fn turned(&self, channel: &ChannelState, turned: Turned, reason: &str) {
        let connected = &channel.connected;
        match turned {
            Turned::Not => {}
            Turned::Unwell => {
                tracing::warn!(channel = %connected.name, reason, "the channel is unwell; messages wait, nothing is lost");
            }
            Turned::Well => {
                tracing::info!(channel = %connected.name, "the channel is well again");
                let waiting = Waiting::Channel { kind: connected.kind.clone(), account: connected.account.clone() };
                self.shared.unpark(&waiting, Lane::Deliver).await;
            }
        }
    }
}

/// The message with its buttons as a numbered list below it, for channels that have none.
fn with_choices(message: &Message) -> Message {
    let mut message = message.clone();
    let buttons = std::mem::take(&mut message.buttons);
    if buttons.is_empty() {
        return message;
    }
    let mut document = document(&message.content);
    append_buttons(&mut document, buttons.iter().map(|button| button.label.as_str()));
    message.content = match &message.content {
        Content::Text(_) => Content::Text(write::plain(&document).text),
        Content::Markdown(_) => Content::Markdown(write::markdown(&document).text),
    };
    message
}

/// The wait to the next rung of the ladder, `since` the first failure; `None` beyond its end.
fn next_rung(since: Duration) -> Option<Duration> {
    let mut rung = Duration::ZERO;
    LADDER.iter().find_map(|wait| {
        rung += *wait;
        rung.checked_sub(since).filter(|left| !left.is_zero())
    })
}

fn status_of(parts: &[Part]) -> DeliveryStatus {
    let all: BTreeMap<&'static str, usize> = parts.iter().fold(BTreeMap::new(), |mut counts, part| {
        let name = match part.state {
            PartState::Sent { .. } => "sent",
            PartState::Uncertain | PartState::Intent => "uncertain",
            PartState::Failed | PartState::Cancelled | PartState::Ready => "failed",
        };
        *counts.entry(name).or_default() += 1;
        counts
    });
    match (all.get("sent"), all.get("uncertain"), all.get("failed")) {
        (_, None, None) => DeliveryStatus::Sent,
        (_, Some(_), _) => DeliveryStatus::Uncertain,
        (Some(_), None, Some(_)) => DeliveryStatus::Partial,
        (None, None, Some(_)) => DeliveryStatus::Failed,
    }
}

/// For the figures.
fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sent { .. } => "sent",
        Outcome::RetryAfter { .. } => "retry_after",
        Outcome::Failed { .. } => "failed",
        Outcome::Uncertain { .. } => "uncertain",
    }
}

impl Work for DeliveryWork {
    const LANE: Lane = Lane::Deliver;
    type Ready = Ready;

    fn gate(&self, _: &Shared) -> Gate {
        Gate::Open
    }

    fn is_open(&self, _: &Shared) -> bool {
        true
    }

    fn gate_changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    fn report_unused(&self) {}

    async fn work(&self, shared: &Arc<Shared>, claim: Claim, lease: Arc<Lease>, start: Start<Ready>) {
        let ended = Turn { shared }.deliver(&claim, &lease, start.ready).await;
        if ended.is_err() {
            tracing::warn!(conversation = %claim.conversation.id, "a claim was lost; its work will be done again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_ends_by_time_and_an_extra_try_takes_no_rung() {
        assert_eq!(next_rung(Duration::ZERO), Some(Duration::from_secs(5)));
        assert_eq!(next_rung(Duration::from_secs(2)), Some(Duration::from_secs(3)), "a try in between");
        assert_eq!(next_rung(Duration::from_secs(5)), Some(Duration::from_secs(300)));
        let whole: Duration = LADDER.iter().sum();
        assert_eq!(next_rung(whole - Duration::from_secs(1)), Some(Duration::from_secs(1)));
        assert_eq!(next_rung(whole), None);
    }

    #[test]
    fn a_message_is_sent_only_if_every_part_is() {
        let part = |state| Part { frozen: FrozenPart(serde_json::Value::Null), state };
        let sent = || part(PartState::Sent { external_id: None });
        assert_eq!(status_of(&[sent(), sent()]), DeliveryStatus::Sent);
        assert_eq!(status_of(&[sent(), part(PartState::Failed), part(PartState::Cancelled)]), DeliveryStatus::Partial);
        assert_eq!(status_of(&[part(PartState::Failed), part(PartState::Cancelled)]), DeliveryStatus::Failed);
        assert_eq!(status_of(&[part(PartState::Uncertain), sent()]), DeliveryStatus::Uncertain);
    }
}
