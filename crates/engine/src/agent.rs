//! The agent worker: one question at a time per conversation, many conversations at once.
//!
//! A claim names the next event. [`batch`] says which events go together; they are posted, and what comes back decides:
//!
//! * an answer: its messages, its actions and the cursor are written in one step; if the conversation has moved on
//!   meanwhile (a version the reply insisted on, or teammates who took over), the messages are kept as `discarded` and
//!   the next event says so;
//! * "later" (202): nothing now; the conversation still waits for an answer;
//! * no connection, 429 or 503: the endpoint is unwell or busy; nothing counts against the event;
//! * an error, a time-out, an unreadable answer: tried again later; it counts against the event only while the
//!   endpoint serves others, and after five that count over two minutes the event is a dead letter;
//! * a refusal of this very event (400, 413, 422): a dead letter at once;
//! * 410: nothing more is sent until the operator resumes the agent.

mod ahead;
mod batch;
mod client;
mod exchange;
pub(crate) mod openai;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use frontdesk_model::{
    Claim, ClaimNext, DeliveryStatus, Direction, Effect, EventBody, Guard, Lane, Message, MessageId, MessageRecord,
    Owner, Progress, Seq, Take, Then, Timestamp, Waiting,
};

use crate::{
    attachments::{self, Here},
    delivery::{DeliveryWork, prepare},
    desk::DeskError,
    health::{Admit, Backoff, Blow, Errand, Health, ProbeGuard, Turned},
    lane::{Beside, Gate, Lease, Lost, Offer, Settled, Start, Work},
    measure,
    options::{AgentOptions, Protocol},
    reply::Reply,
    rules::{Answers, DeadWork, ReplyRules, Voice, said_in},
    runtime::Shared,
    trial,
    wire::{AgentEvent, AgentEventData},
};
use ahead::Ahead;
use batch::{Gathered, Together};
use client::Client;
use exchange::Verdict;
use openai::{OpenAi, Question};

/// Waits between attempts, with full jitter.
pub(crate) const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(300) };
/// This many attempts that count, over this span, make a dead letter.
const COUNTED_TRIES: u32 = 5;
const COUNTED_SPAN: Duration = Duration::from_secs(120);
/// Alone, with no other conversation to tell by, an event that got bad answers for so long counts as the cause.
const ALONE_SPAN: Duration = Duration::from_secs(30 * 60);
/// Earlier messages that go along with an event are at most so many bytes together, as stored; the nearest come first. With
/// every hand busy that is still a bounded amount of memory.
const HISTORY_BYTES: usize = 256 * 1024;

/// A longer pause than this is worth a line in the log.
pub(crate) const LOUD_PAUSE: Duration = Duration::from_secs(60);

/// An answer that takes longer than this is announced.
const TYPING_AFTER: Duration = Duration::from_millis(250);
/// Platforms show it for five seconds or more.
const TYPING_AGAIN: Duration = Duration::from_secs(4);

/// The lane's worker.
pub(crate) struct AgentWork {
    options: AgentOptions,
    endpoint: Endpoint,
    ahead: Ahead,
    pub(crate) health: Health,
}

/// The one endpoint, in its language.
enum Endpoint {
    Frontdesk(Client),
    OpenAi(OpenAi),
}

impl Endpoint {
    fn new(options: &AgentOptions) -> Result<Self, String> {
        match &options.protocol {
            Protocol::Frontdesk { secrets } => Client::new(options, secrets).map(Self::Frontdesk),
            Protocol::OpenAi(chat) => OpenAi::new(options, chat).map(Self::OpenAi),
        }
    }
}

/// One claim being worked on.
struct Turn<'a> {
    shared: &'a Arc<Shared>,
    work: &'a AgentWork,
    claim: &'a Claim,
    lease: &'a Lease,
    errand: Errand,
}

/// What an event brings.
struct Told<'t> {
    message: Option<(&'t Message, Seq)>,
    coalesced: Vec<(&'t Message, Seq)>,
    history: &'t [MessageRecord],
}

impl AgentWork {
    pub(crate) fn new(options: &AgentOptions) -> Result<Self, String> {
        Ok(Self {
            options: options.clone(),
            endpoint: Endpoint::new(options)?,
            ahead: Ahead::default(),
            health: Health::new(BACKOFF),
        })
    }

    /// Whether these options would make the same worker.
    pub(crate) fn is_made_of(&self, options: &AgentOptions) -> bool {
        self.options == *options
    }
}

impl Turn<'_> {
    async fn attempt(&self) -> Result<(), Lost> {
        let claim = self.claim;
        let told = match &claim.event.body {
            EventBody::AttachmentUpdated { message_id, .. } => Some(*message_id),
            EventBody::MessageEdited { message, .. } if claim.event.body.is_by_contact() => Some(message.id),
            EventBody::ReactionAdded(reaction) | EventBody::ReactionRemoved(reaction) => reaction.message_id,
            _ => None,
        };
        if let Some(message) = told.filter(|_| claim.conversation.owner == Owner::Agent) {
            return self.tell_of(message).await;
        }
        let asks = claim.event.body.waits_for_answer()
            || claim.event.body.message().is_some_and(|message| message.direction == Direction::Inbound);
        if !asks || claim.conversation.owner == Owner::Desk {
            return self.lease.settle(Vec::new(), Vec::new(), Then::Advance).await.map(drop);
        }
        let waits_for_store = |reason: &'static str| {
            tracing::warn!(conversation = %claim.conversation.id, reason, "an event waits for the store");
            self.shared.clock.now().plus(BACKOFF.after(1))
        };
        let together = match self.gather().await {
            Ok(Gathered::Now(together)) => *together,
            Ok(Gathered::Quiet { until }) => {
                self.lease.release(until, None, claim.progress).await;
                return Ok(());
            }
            Err(_) => {
                self.lease.release(waits_for_store("the log cannot be read"), None, claim.progress).await;
                return Ok(());
            }
        };
        let now = self.shared.clock.now();
        if let Some(until) = together.all_messages().filter_map(|message| message.settles_after(now)).max() {
            self.lease.release(until, None, claim.progress).await;
            return Ok(());
        }
        if let Some((message, until)) = self.young_with_attachments(&together) {
            return self.wait_for_attachments(message, until).await;
        }
        if let Some(batch) = together.to_fix {
            self.lease.settle(Vec::new(), vec![Effect::SetBatch(Some(batch))], Then::Keep).await?;
        }
        let Ok(history) = self.history(&together).await else {
            self.lease.release(waits_for_store("the history cannot be read"), None, claim.progress).await;
            return Ok(());
        };
        let progress = Progress { attempts: claim.progress.attempts.saturating_add(1), ..claim.progress };
        self.lease.check().await?;
        trial::point("asking");
        let asked = Instant::now();
        let verdict = self.while_typing(self.post(&together, &history, progress.attempts)).await;
        trial::point("answered");
        measure::agent_attempt(verdict.name(), asked.elapsed());
        self.conclude(&together, progress, verdict).await
    }

    /// Shows the other side that an answer is being made, as long as it is, where the channel can.
    async fn while_typing<T>(&self, asking: impl Future<Output = T>) -> T {
        let thread = &self.claim.conversation.thread;
        let channel = self.shared.channel_of(thread).filter(|channel| channel.connected.adapter.capabilities().typing);
        let Some(channel) = channel else { return asking.await };
        let typing = async {
            self.shared.clock.sleep(TYPING_AFTER).await;
            loop {
                channel.connected.adapter.typing(&thread.thread).await;
                self.shared.clock.sleep(TYPING_AGAIN).await;
            }
        };
        tokio::pin!(asking);
        tokio::select! {
            biased;
            answer = &mut asking => answer,
            () = typing => asking.await,
        }
    }

    /// A message whose attachments are still on their way, and until when that is waited for.
    fn young_with_attachments(&self, together: &Together) -> Option<(MessageId, Timestamp)> {
        let now = self.shared.clock.now();
        let waited_for = together.all_messages().filter(|message| message.awaits_attachments());
        waited_for
            .map(|message| (message.id, message.received_at.plus(attachments::AGENT_WAITS)))
            .find(|(_, until)| *until > now)
    }

    async fn wait_for_attachments(&self, message: MessageId, until: Timestamp) -> Result<(), Lost> {
        self.lease.release(until, Some(Waiting::Attachments(message)), self.claim.progress).await;
        attachments::wake_if_here(self.shared, message, Lane::Agent).await;
        Ok(())
    }

    /// Something became of a message after it had been shown: an attachment came, or failed; it was changed; somebody reacted to it. A
    /// model that remembers nothing has no use for that.
    async fn tell_of(&self, message: MessageId) -> Result<(), Lost> {
        let found = match &self.work.endpoint {
            Endpoint::OpenAi(_) => Ok(None),
            Endpoint::Frontdesk(client) => {
                self.shared.store.message(message).await.map(|found| Some((client, found?.1)))
            }
        };
        let claim = self.claim;
        let (client, record) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return self.lease.settle(Vec::new(), Vec::new(), Then::Advance).await.map(drop),
            Err(_) => {
                let until = self.shared.clock.now().plus(BACKOFF.after(1));
                self.lease.release(until, None, claim.progress).await;
                return Ok(());
            }
        };
        let together = Together::update(claim);
        let progress = Progress { attempts: claim.progress.attempts.saturating_add(1), ..claim.progress };
        self.lease.check().await?;
        let asked = Instant::now();
        let said = Told { message: Some((&record.message, record.seq)), coalesced: Vec::new(), history: &[] };
        let verdict = match self.body(&together, said, progress.attempts) {
            Some(body) => client.post(claim.event.id, self.shared.clock.now(), body).await,
            None => Verdict::Unreachable("the event cannot be written".into()),
        };
        measure::agent_attempt(verdict.name(), asked.elapsed());
        self.conclude(&together, progress, verdict).await
    }

    /// What was said before the events, oldest first.
    ///
    /// A language model remembers nothing, not even what it answered last: an answer is recorded after the messages that came
    /// while it was made, so what our side said since the first of the events belongs to it too. For a replay of a dead
    /// letter that is everything that was said since.
    async fn history(&self, together: &Together) -> Result<Vec<MessageRecord>, frontdesk_model::StoreError> {
        let rows = self.work.options.history;
        let (first, last) = (together.first().seq, together.last().seq);
        let remembers = matches!(self.work.endpoint, Endpoint::Frontdesk(_));
        let is_first_word = if remembers { first.0 <= 1 } else { self.claim.conversation.last_seq.0 <= 1 };
        if rows == 0 || is_first_word {
            return Ok(Vec::new());
        }
        let (before, own) = if remembers { (Some(first), 0) } else { (None, together.all_messages().count()) };
        let take = Take { rows: rows + own, bytes: HISTORY_BYTES };
        let found = self.shared.store.messages(self.claim.conversation.id, before, take).await?;
        let mut history = found.map(|slice| slice.data).unwrap_or_default();
        let replayed = self.claim.turn == frontdesk_model::Turn::Replay;
        history.retain(|record| {
            // What the contact wrote after the events is asked about next.
            let comes_later = record.seq > last && record.message.direction == Direction::Inbound && !replayed;
            !together.holds(record.seq) && !comes_later
        });
        history.truncate(rows);
        history.reverse();
        Ok(history)
    }

    async fn post(&self, together: &Together, history: &[MessageRecord], attempt: u32) -> Verdict {
        let now = self.shared.clock.now();
        match &self.work.endpoint {
            Endpoint::Frontdesk(client) => match self.body(together, self.said(together, history), attempt) {
                Some(body) => client.post(together.last().id, now, body).await,
                None => Verdict::Unreachable("the event cannot be written".into()),
            },
            Endpoint::OpenAi(model) => {
                let messages = together.as_messages();
                let messages: Vec<&Message> = messages.iter().map(AsRef::as_ref).collect();
                let question = Question { conversation: &self.claim.conversation, history, messages: &messages };
                model.ask(question, now).await
            }
        }
    }

    fn said<'t>(&self, together: &'t Together, history: &'t [MessageRecord]) -> Told<'t> {
        let (message, coalesced) = together.messages();
        let message = message.map(|message| (message, together.last().seq));
        Told { message, coalesced: coalesced.collect(), history }
    }

    fn body(&self, together: &Together, said: Told<'_>, attempt: u32) -> Option<Vec<u8>> {
        let conversation = &self.claim.conversation;
        let event = together.last();
        let links = self.shared.links();
        let capabilities = self.shared.channel_of(&conversation.thread);
        let live = self.shared.live();
        let event = AgentEvent {
            kind: event.body.kind(),
            id: event.id,
            timestamp: event.at,
            attempt,
            data: AgentEventData {
                seq: event.seq,
                conversation: crate::ConversationView::from(conversation).at(together.version),
                contact: self.claim.contact.as_ref().map(Into::into),
                message: said.message.map(|(message, seq)| AgentEventData::message_view(message, seq).linked(&links)),
                attachment: crate::wire::FetchedView::of(&event.body),
                before: crate::wire::BeforeView::of(&event.body),
                reaction: crate::wire::ReactionView::of(&event.body),
                button: crate::wire::PressView::of(&event.body),
                history: said.history.iter().map(|record| crate::MessageView::from(record).linked(&links)).collect(),
                coalesced: said
                    .coalesced
                    .iter()
                    .map(|(message, seq)| AgentEventData::message_view(message, *seq).linked(&links))
                    .collect(),
                discarded: &conversation.discarded,
                capabilities: capabilities.map(|channel| channel.connected.adapter.capabilities().into()),
                reply_url: format!("{}/v1/conversations/{}/messages", live.options.public_url, conversation.id),
                reply_token: self.shared.keys.reply_token(conversation.id, event.id, self.shared.clock.now()),
            },
        };
        serde_json::to_vec(&event).ok()
    }

    async fn conclude(&self, together: &Together, progress: Progress, verdict: Verdict) -> Result<(), Lost> {
        let id = self.claim.conversation.id;
        let now = self.shared.clock.boot();
        let health = &self.work.health;
        match verdict {
            Verdict::Answered(reply) => {
                self.turned(health.succeeded(id, now), "").await;
                match reply.check_moments(self.shared.clock.now()) {
                    // That an attachment came asks nothing: silence about it answers nothing that waits.
                    Ok(()) if together.is_update() && reply.messages.is_empty() => {
                        self.settle_reply(together, progress, &reply, Answers::Nothing).await
                    }
                    Ok(()) => {
                        self.settle_reply(together, progress, &reply, Answers::Through(together.last().seq)).await
                    }
                    Err(reason) => {
                        self.trouble(together, progress, format!("its answer cannot be used: {reason}"), None).await
                    }
                }
            }
            Verdict::Later => {
                self.turned(health.succeeded(id, now), "").await;
                self.settle_reply(together, progress, &Reply::default(), Answers::Nothing).await
            }
            Verdict::Rejected(reason) => {
                self.turned(health.succeeded(id, now), "").await;
                self.bury(together, progress, reason).await
            }
            Verdict::Gone => {
                health.stop(self.shared.clock.now());
                tracing::error!("the agent answered 410: nothing more is sent to it until `frontdesk agent resume`");
                let until = self.shared.clock.now();
                self.lease.release(until, Some(Waiting::Agent), self.claim.progress).await;
                Ok(())
            }
            Verdict::Unreachable(reason) => {
                self.turned(self.failed(Blow::ToAll, None, &reason), &reason).await;
                self.park(progress, None).await;
                Ok(())
            }
            Verdict::Busy { reason, retry_after } => {
                if retry_after > LOUD_PAUSE {
                    tracing::warn!(?retry_after, reason, "the agent asked for quiet; events wait that long");
                }
                self.turned(self.failed(Blow::ToOne, Some(retry_after), &reason), &reason).await;
                self.park(progress, Some(retry_after)).await;
                Ok(())
            }
            Verdict::Trouble { reason, retry_after } => self.trouble(together, progress, reason, retry_after).await,
        }
    }

    fn failed(&self, blow: Blow, pause: Option<Duration>, reason: &str) -> Turned {
        let id = self.claim.conversation.id;
        let turned = self.work.health.failed(id, blow, pause, self.errand, self.shared.clock.boot());
        self.work.health.note(turned, reason, self.shared.clock.now());
        turned
    }

    async fn trouble(
        &self,
        together: &Together,
        progress: Progress,
        reason: String,
        retry_after: Option<Duration>,
    ) -> Result<(), Lost> {
        let counted = self.count(progress);
        self.turned(self.failed(Blow::ToOne, None, &reason), &reason).await;
        if self.is_hopeless(counted) {
            return self.bury(together, counted, reason).await;
        }
        tracing::debug!(conversation = %self.claim.conversation.id, attempt = counted.attempts, reason, "the agent failed on an event");
        self.park(counted, retry_after).await;
        Ok(())
    }

    /// The first failure counts; a later one only if the endpoint has served another conversation since the last.
    fn count(&self, progress: Progress) -> Progress {
        let counts = match progress.last_failed_at {
            None => true,
            Some(last) => self.served_others(self.shared.clock.now().since(last)),
        };
        let now = self.shared.clock.now();
        Progress {
            counted: progress.counted + u32::from(counts),
            first_failed_at: progress.first_failed_at.or(Some(now)),
            last_failed_at: Some(now),
            ..progress
        }
    }

    fn served_others(&self, span: Duration) -> bool {
        self.work.health.served_others(self.claim.conversation.id, span, self.shared.clock.boot())
    }

    fn is_hopeless(&self, progress: Progress) -> bool {
        let span = self.failing_for(progress);
        let by_count = progress.counted >= COUNTED_TRIES && span >= COUNTED_SPAN;
        let alone = !self.served_others(span)
            && !self.work.health.is_unwell()
            && progress.attempts >= COUNTED_TRIES
            && span >= ALONE_SPAN;
        by_count || alone
    }

    fn failing_for(&self, progress: Progress) -> Duration {
        let now = self.shared.clock.now();
        now.since(progress.first_failed_at.unwrap_or(now))
    }

    async fn park(&self, progress: Progress, at_least: Option<Duration>) {
        let mut wait = BACKOFF.after(progress.attempts);
        if progress.counted + 1 >= COUNTED_TRIES {
            // The next failure may be its last: the conversation behind it waits no longer than the span asks.
            wait = wait.min(COUNTED_SPAN.saturating_sub(self.failing_for(progress)).max(BACKOFF.first));
        }
        let until = self.shared.clock.now().plus(wait.max(at_least.unwrap_or_default()));
        self.lease.release(until, Some(Waiting::Agent), progress).await;
    }

    /// The answer is there and what it names cannot be looked at: it is asked for again.
    async fn wait_for_folder(&self) -> Result<(), Lost> {
        tracing::warn!(conversation = %self.claim.conversation.id, "an answer waits for the folder of the attachments");
        self.lease.release(self.shared.clock.now().plus(BACKOFF.after(1)), None, self.claim.progress).await;
        Ok(())
    }

    async fn settle_reply(
        &self,
        together: &Together,
        progress: Progress,
        reply: &Reply,
        answers: Answers,
    ) -> Result<(), Lost> {
        let conversation = &self.claim.conversation;
        let now = self.shared.clock.now();
        let here = match Here::find(self.shared, conversation.id, reply).await {
            Ok(here) => here,
            Err(error @ DeskError::Invalid(_)) => {
                let reason = format!("its answer cannot be used: {error}");
                return self.trouble(together, progress, reason, None).await;
            }
            Err(_) => return self.wait_for_folder().await,
        };
        let rules = ReplyRules {
            ids: &self.shared.ids,
            now,
            conversation,
            fetched: self.shared.is_fetched(&conversation.thread),
            here: &here,
        };
        let told = (!conversation.discarded.is_empty()).then_some(Effect::ClearDiscarded);
        let mut effects: Vec<Effect> = told.iter().cloned().collect();
        effects.extend(together.done());
        let accepted = rules.accepted(reply, &Voice::Agent, answers);
        if here.refer(self.shared, &accepted).await.is_err() {
            return self.wait_for_folder().await;
        }
        let wants_delivery =
            crate::rules::messages_in(&accepted).iter().any(|(_, status)| *status == DeliveryStatus::Queued);
        let mut accepted_too = effects.clone();
        accepted_too.extend(accepted);
        let mut guards = Vec::new();
        if !reply.messages.is_empty() || !reply.actions.is_empty() {
            guards.push(Guard::OwnerIs(Owner::Agent));
            // An agent that was just told of a discarded reply is heard, or a busy customer would never get an answer.
            guards.extend(reply.if_version.filter(|_| told.is_none()).map(Guard::VersionIs));
        }
        // The reply's delivery is claimed in the same step, if somebody is free to carry it out, and so is what the agent is to be
        // asked next.
        let delivery = if wants_delivery { self.delivery_offer() } else { None };
        let (mut ready, mut intend) = (None, None);
        if delivery.is_some()
            && let Some(message) = first_queued(&accepted_too)
        {
            (ready, intend) = prepare(self.shared, conversation, message).await.unzip();
        }
        let more = self.offer_of_more();
        let mut next: Vec<ClaimNext> = delivery.iter().map(|_| Offer::<DeliveryWork>::wanted()).collect();
        next.extend(more.iter().map(|_| Offer::<AgentWork>::wanted()));
        match self.lease.settle_and_claim(guards, accepted_too, Then::Advance, Beside { next, intend }).await? {
            Settled::Done(claims) => {
                trial::point("recorded");
                self.note_response(reply, now);
                ReplyRules::set_timers(reply, self.shared);
                let (to_deliver, to_ask): (Vec<Claim>, Vec<Claim>) =
                    claims.into_iter().partition(|claim| claim.lane == Lane::Deliver);
                match (delivery, to_deliver.into_iter().next()) {
                    (Some(offer), Some(claim)) => offer.take(self.shared, claim, ready),
                    _ if wants_delivery => {
                        drop(ready);
                        self.shared.delivery_due(&conversation.thread).await;
                    }
                    _ => {}
                }
                if let (Some(offer), Some(claim)) = (more, to_ask.into_iter().next()) {
                    offer.take(self.shared, claim, None);
                }
            }
            Settled::Guarded => {
                let discarded = rules.discarded(reply, &Voice::Agent);
                if here.refer(self.shared, &discarded).await.is_err() {
                    return self.wait_for_folder().await;
                }
                effects.extend(discarded);
                self.lease.settle(Vec::new(), effects, Then::Advance).await?;
                tracing::info!(conversation = %conversation.id, "a reply came too late and was discarded");
            }
        }
        Ok(())
    }

    /// Only while the channel is well: what an unwell one gets is chosen by the delivery's own loop.
    fn delivery_offer(&self) -> Option<Offer<DeliveryWork>> {
        let live = self.shared.live();
        let thread = &self.claim.conversation.thread;
        let well = live.channel(&thread.kind, &thread.account).is_some_and(|channel| !channel.gate.health.is_unwell());
        live.delivery.as_ref().filter(|_| well)?.offer(self.shared)
    }

    /// Where more lies behind the event: a free hand for it.
    fn offer_of_more(&self) -> Option<Offer<AgentWork>> {
        let claim = self.claim;
        let more = claim.conversation.last_seq > claim.event.seq && self.errand == Errand::Ordinary;
        self.shared.live().agent.as_ref().filter(|_| more)?.offer(self.shared)
    }

    fn note_response(&self, reply: &Reply, now: frontdesk_model::Timestamp) {
        if reply.messages.iter().any(|message| !message.private) {
            let conversation = &self.claim.conversation;
            let asked_at = self.claim.event.at;
            measure::response(now.since(asked_at), conversation.first_answered_at.is_none());
        }
    }

    async fn bury(&self, together: &Together, progress: Progress, reason: String) -> Result<(), Lost> {
        let claim = self.claim;
        let event = together.last();
        tracing::warn!(
            conversation = %claim.conversation.id, event = %event.id, attempts = progress.attempts, reason,
            "an event became a dead letter"
        );
        let dead = DeadWork {
            ids: &self.shared.ids,
            now: self.shared.clock.now(),
            conversation: &claim.conversation,
            lane: Lane::Agent,
            event,
            batch_from: together.batch_from(),
            reason,
            attempts: progress.attempts,
        };
        let mut effects = together.done();
        effects.extend(dead.effects());
        self.lease.settle(Vec::new(), effects, Then::Advance).await.map(drop)
    }

    async fn turned(&self, turned: Turned, reason: &str) {
        match turned {
            Turned::Not => {}
            Turned::Unwell => tracing::warn!(reason, "the agent is unwell; events wait, nothing is lost"),
            Turned::Well => {
                tracing::info!("the agent is well again");
                self.shared.unpark(&Waiting::Agent, Lane::Agent).await;
            }
        }
    }
}

/// The message among these effects that is delivered first.
fn first_queued(effects: &[Effect]) -> Option<&Message> {
    said_in(effects).find(|(_, status)| *status == Some(DeliveryStatus::Queued)).map(|(message, _)| message)
}

impl Work for AgentWork {
    const LANE: Lane = Lane::Agent;
    type Ready = ();

    fn gate(&self, shared: &Shared) -> Gate {
        match self.health.admit(shared.clock.boot()) {
            Admit::Freely => Gate::Open,
            Admit::Probe => Gate::One,
            Admit::Wait(span) => Gate::Closed(span),
            Admit::Stopped => Gate::Closed(Duration::MAX),
        }
    }

    fn is_open(&self, shared: &Shared) -> bool {
        // A burst is waited for before anything is claimed.
        self.options.coalesce.is_zero() && self.health.is_free(shared.clock.boot())
    }

    fn gate_changed(&self) -> impl Future<Output = ()> + Send {
        self.health.changed()
    }

    fn report_unused(&self) {
        self.health.unprobed();
    }

    async fn work(&self, shared: &Arc<Shared>, claim: Claim, lease: Arc<Lease>, start: Start<()>) {
        let errand = start.errand;
        let _probe = (errand == Errand::Probe).then(|| ProbeGuard(&self.health));
        let turn = Turn { shared, work: self, claim: &claim, lease: &lease, errand };
        if turn.attempt().await.is_err() {
            tracing::warn!(conversation = %claim.conversation.id, "a claim was lost; its work will be done again");
        }
    }
}
