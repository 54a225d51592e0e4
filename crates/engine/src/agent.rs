//! The agent worker: one event at a time per conversation, many conversations at once.
//!
//! A claim names the next event. It is posted, and what comes back decides:
//!
//! * an answer: its messages, its actions and the cursor are written in one step; if the conversation has moved on
//!   meanwhile (a version the reply insisted on, or teammates who took over), the messages are kept as `discarded` and
//!   the next event says so;
//! * no connection, 429 or 503: the endpoint is unwell or busy; nothing counts against the event;
//! * an error, a time-out, an unreadable answer: tried again later; it counts against the event only while the
//!   endpoint serves others, and after five that count over two minutes the event is a dead letter;
//! * a refusal of this very event (400, 413, 422): a dead letter at once;
//! * 410: nothing more is sent until the daemon starts again.

mod client;
mod exchange;
pub(crate) mod openai;

use std::{future::Future, sync::Arc, time::Duration};

use frontdesk_model::{
    Claim, Direction, Effect, Guard, Lane, Message, MessageRecord, Owner, Progress, Take, Then, Waiting,
};

use crate::{
    health::{Admit, Backoff, Blow, Errand, ProbeGuard, Turned},
    lane::{Gate, Lease, Lost, Settled, Work},
    options::{AgentOptions, Protocol},
    reply::Reply,
    rules::{DeadWork, ReplyRules, Voice},
    runtime::{Shared, StartError},
    wire::{AgentEvent, AgentEventData},
};
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

/// A longer pause than this is worth a line in the log.
const LOUD_PAUSE: Duration = Duration::from_secs(60);

/// The lane's worker.
pub(crate) struct AgentWork {
    shared: Arc<Shared>,
    options: AgentOptions,
    endpoint: Endpoint,
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

impl AgentWork {
    pub(crate) fn new(shared: &Arc<Shared>, options: &AgentOptions) -> Result<Self, StartError> {
        let endpoint = Endpoint::new(options).map_err(StartError::Agent)?;
        Ok(Self { shared: Arc::clone(shared), options: options.clone(), endpoint })
    }

    async fn attempt(&self, claim: &Claim, lease: &Lease, errand: Errand) -> Result<(), Lost> {
        let Some(message) = claim.event.body.message().filter(|message| message.direction == Direction::Inbound) else {
            return self.skip(lease).await;
        };
        if claim.conversation.owner == Owner::Desk {
            return self.skip(lease).await;
        }
        let attempt = claim.progress.attempts.saturating_add(1);
        let history = match self.history(claim).await {
            Ok(history) => history,
            Err(reason) => return self.wait_for_the_store(claim, lease, reason).await,
        };
        let verdict = match &self.endpoint {
            Endpoint::Frontdesk(client) => {
                let body = match self.body(claim, message, &history, attempt) {
                    Ok(body) => body,
                    Err(reason) => return self.wait_for_the_store(claim, lease, reason).await,
                };
                lease.check().await?;
                client.post(claim.event.id, self.shared.clock.now(), body).await
            }
            Endpoint::OpenAi(model) => {
                let question = Question { conversation: &claim.conversation, history: &history, messages: &[message] };
                lease.check().await?;
                model.ask(question, self.shared.clock.now()).await
            }
        };
        let progress = Progress { attempts: attempt, ..claim.progress };
        self.conclude(claim, lease, progress, verdict, errand).await
    }

    async fn skip(&self, lease: &Lease) -> Result<(), Lost> {
        lease.settle(Vec::new(), Vec::new(), Then::Advance).await.map(drop)
    }

    async fn wait_for_the_store(&self, claim: &Claim, lease: &Lease, reason: &'static str) -> Result<(), Lost> {
        tracing::warn!(conversation = %claim.conversation.id, reason, "an event waits for the store");
        let until = self.shared.clock.now().plus(BACKOFF.after(1));
        lease.release(until, None, claim.progress).await;
        Ok(())
    }

    /// What was said before the event, oldest first.
    async fn history(&self, claim: &Claim) -> Result<Vec<MessageRecord>, &'static str> {
        if self.options.history == 0 || claim.event.seq.0 <= 1 {
            return Ok(Vec::new());
        }
        let take = Take { rows: self.options.history, bytes: usize::MAX };
        let earlier = self.shared.store.messages(claim.conversation.id, Some(claim.event.seq), take).await;
        let mut history =
            earlier.map_err(|_| "the history cannot be read")?.map(|slice| slice.data).unwrap_or_default();
        history.reverse();
        Ok(history)
    }

    fn body(
        &self,
        claim: &Claim,
        message: &Message,
        history: &[MessageRecord],
        attempt: u32,
    ) -> Result<Vec<u8>, &'static str> {
        let conversation = &claim.conversation;
        let capabilities = self.shared.channel_of(&conversation.thread).map(|channel| {
            let adapter: &dyn frontdesk_model::Adapter = &*channel.connected.adapter;
            adapter.capabilities().into()
        });
        let event = AgentEvent {
            kind: claim.event.body.kind(),
            id: claim.event.id,
            timestamp: claim.event.at,
            attempt,
            data: AgentEventData {
                seq: claim.event.seq,
                conversation: conversation.into(),
                contact: claim.contact.as_ref().map(Into::into),
                message: AgentEventData::message_view(message, claim.event.seq),
                history: history.iter().map(Into::into).collect(),
                coalesced: [],
                discarded: &conversation.discarded,
                capabilities,
                reply_url: format!("{}/v1/conversations/{}/messages", self.shared.options.public_url, conversation.id),
                reply_token: self.shared.keys.reply_token(conversation.id, self.shared.clock.now()),
            },
        };
        serde_json::to_vec(&event).map_err(|_| "the event cannot be written")
    }

    async fn conclude(
        &self,
        claim: &Claim,
        lease: &Lease,
        progress: Progress,
        verdict: Verdict,
        errand: Errand,
    ) -> Result<(), Lost> {
        let id = claim.conversation.id;
        let now = self.shared.clock.boot();
        match verdict {
            Verdict::Answered(reply) => {
                self.turned(self.shared.agent_health.succeeded(id, now), "").await;
                self.settle_reply(claim, lease, &reply).await
            }
            Verdict::Rejected(reason) => {
                self.turned(self.shared.agent_health.succeeded(id, now), "").await;
                self.bury(claim, lease, progress, reason).await
            }
            Verdict::Gone => {
                self.shared.agent_health.stop();
                tracing::error!("the agent answered 410: nothing more is sent to it until the daemon is started again");
                let until = self.shared.clock.now();
                lease.release(until, Some(Waiting::Agent), claim.progress).await;
                Ok(())
            }
            Verdict::Unreachable(reason) => {
                self.turned(self.shared.agent_health.failed(id, Blow::ToAll, None, errand, now), &reason).await;
                self.park(lease, progress, None).await;
                Ok(())
            }
            Verdict::Busy { reason, retry_after } => {
                if retry_after > LOUD_PAUSE {
                    tracing::warn!(?retry_after, reason, "the agent asked for quiet; events wait that long");
                }
                self.turned(self.shared.agent_health.failed(id, Blow::ToOne, Some(retry_after), errand, now), &reason)
                    .await;
                self.park(lease, progress, Some(retry_after)).await;
                Ok(())
            }
            Verdict::Trouble { reason, retry_after } => {
                let counted = self.count(claim, progress);
                self.turned(self.shared.agent_health.failed(id, Blow::ToOne, None, errand, now), &reason).await;
                if self.is_hopeless(claim, counted) {
                    return self.bury(claim, lease, counted, reason).await;
                }
                tracing::debug!(conversation = %id, attempt = counted.attempts, "the agent failed on an event");
                self.park(lease, counted, retry_after).await;
                Ok(())
            }
        }
    }

    /// The first failure counts; a later one only if the endpoint has served another conversation since the last.
    fn count(&self, claim: &Claim, progress: Progress) -> Progress {
        let counts = match progress.last_failed_at {
            None => true,
            Some(last) => {
                let span = self.shared.clock.now().since(last);
                self.shared.agent_health.served_others(claim.conversation.id, span, self.shared.clock.boot())
            }
        };
        let now = self.shared.clock.now();
        Progress {
            counted: progress.counted + u32::from(counts),
            first_failed_at: progress.first_failed_at.or(Some(now)),
            last_failed_at: Some(now),
            ..progress
        }
    }

    fn is_hopeless(&self, claim: &Claim, progress: Progress) -> bool {
        let first = progress.first_failed_at.unwrap_or_else(|| self.shared.clock.now());
        let span = self.shared.clock.now().since(first);
        let others = self.shared.agent_health.served_others(claim.conversation.id, span, self.shared.clock.boot());
        let by_count = progress.counted >= COUNTED_TRIES && span >= COUNTED_SPAN;
        let alone = !others
            && !self.shared.agent_health.is_unwell()
            && progress.attempts >= COUNTED_TRIES
            && span >= ALONE_SPAN;
        by_count || alone
    }

    async fn park(&self, lease: &Lease, progress: Progress, at_least: Option<Duration>) {
        let wait = BACKOFF.after(progress.attempts).max(at_least.unwrap_or_default());
        let until = self.shared.clock.now().plus(wait);
        lease.release(until, Some(Waiting::Agent), progress).await;
    }

    async fn settle_reply(&self, claim: &Claim, lease: &Lease, reply: &Reply) -> Result<(), Lost> {
        let conversation = &claim.conversation;
        let rules = ReplyRules {
            ids: &self.shared.ids,
            now: self.shared.clock.now(),
            conversation,
            fetched: self.shared.is_fetched(&conversation.thread),
        };
        let told = (!conversation.discarded.is_empty()).then_some(Effect::ClearDiscarded);
        let mut effects: Vec<Effect> = told.iter().cloned().collect();
        effects.extend(rules.accepted(reply, &Voice::Agent, Some(claim.event.seq)));
        let mut guards = Vec::new();
        if !reply.messages.is_empty() || !reply.actions.is_empty() {
            guards.push(Guard::OwnerIs(Owner::Agent));
            // An agent that was just told of a discarded reply is heard, or a busy customer would never get an answer.
            guards.extend(reply.if_version.filter(|_| told.is_none()).map(Guard::VersionIs));
        }
        if lease.settle(guards, effects, Then::Advance).await? == Settled::Guarded {
            let mut effects: Vec<Effect> = told.into_iter().collect();
            effects.extend(rules.discarded(reply, &Voice::Agent));
            lease.settle(Vec::new(), effects, Then::Advance).await?;
            tracing::info!(conversation = %conversation.id, "a reply came too late and was discarded");
        }
        self.shared.delivery_due(&conversation.thread).await;
        Ok(())
    }

    async fn bury(&self, claim: &Claim, lease: &Lease, progress: Progress, reason: String) -> Result<(), Lost> {
        tracing::warn!(
            conversation = %claim.conversation.id, event = %claim.event.id, attempts = progress.attempts, reason,
            "an event became a dead letter"
        );
        let dead = DeadWork {
            ids: &self.shared.ids,
            now: self.shared.clock.now(),
            conversation: &claim.conversation,
            lane: Lane::Agent,
            event: &claim.event,
            reason,
            attempts: progress.attempts,
        };
        lease.settle(Vec::new(), dead.effects(), Then::Advance).await.map(drop)
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

impl Work for AgentWork {
    fn lane(&self) -> Lane {
        Lane::Agent
    }

    fn gate(&self) -> Gate {
        match self.shared.agent_health.admit(self.shared.clock.boot()) {
            Admit::Freely => Gate::Open,
            Admit::Probe => Gate::One,
            Admit::Wait(span) => Gate::Closed(span),
            Admit::Stopped => Gate::Closed(Duration::MAX),
        }
    }

    fn gate_changed(&self) -> impl Future<Output = ()> + Send {
        self.shared.agent_health.changed()
    }

    fn report_unused(&self) {
        self.shared.agent_health.unprobed();
    }

    async fn work(&self, claim: Claim, lease: Arc<Lease>, errand: Errand) {
        let _probe = (errand == Errand::Probe).then(|| ProbeGuard(&self.shared.agent_health));
        let ended = self.attempt(&claim, &lease, errand).await;
        if ended.is_err() {
            tracing::warn!(conversation = %claim.conversation.id, "a claim was lost; its work will be done again");
        }
    }
}
