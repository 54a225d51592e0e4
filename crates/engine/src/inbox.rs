//! Where channels hand in what they receive: the commit.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use frontdesk_model::{
    Accepted, AccountId, ChannelName, CommitInbound, Committed, Direction, Effect, Envelope, Inbox, InboxError,
    KindName, Lane, MessageId, Occurrence, Owner, Seen, StoreError,
};

use crate::{
    agent::AgentWork,
    lane::Offer,
    measure,
    options::ConnectedChannel,
    rules::Arrival,
    runtime::Shared,
    trial::{self, Broken},
};

/// How long a sender is asked to wait when the store cannot take a message.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// One channel's way in.
#[derive(Clone)]
pub(crate) struct ChannelInbox {
    pub(crate) shared: Arc<Shared>,
    pub(crate) channel: ChannelName,
    pub(crate) kind: KindName,
    pub(crate) account: AccountId,
}

impl Shared {
    /// Where a channel hands in its messages.
    pub(crate) fn inbox(self: &Arc<Self>, connected: &ConnectedChannel) -> Arc<dyn Inbox> {
        Arc::new(ChannelInbox {
            shared: Arc::clone(self),
            channel: connected.name.clone(),
            kind: connected.kind.clone(),
            account: connected.account.clone(),
        })
    }
}

#[async_trait]
impl Inbox for ChannelInbox {
    async fn accept(&self, envelope: Envelope) -> Result<Accepted, InboxError> {
        self.accept_message(envelope).await
    }

    async fn note(&self, occurrence: Occurrence) -> Result<(), InboxError> {
        // In a task of its own: a sender that hangs up before the answer leaves nothing half known.
        let (inbox, occurrence) = (self.clone(), occurrence);
        match tokio::spawn(async move { inbox.take(occurrence).await }).await {
            Ok(taken) => taken,
            Err(_) => Err(unavailable("the daemon is stopping")),
        }
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, InboxError> {
        self.shared.store.recall(&self.remembered(name)).await.map_err(|error| self.refused(&error))
    }

    async fn remember(&self, name: &str, value: &str) -> Result<(), InboxError> {
        self.shared.store.remember(&self.remembered(name), value).await.map_err(|error| self.refused(&error))
    }
}

impl ChannelInbox {
    fn remembered(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.kind, self.account)
    }

    /// The message that this one answers, if it is kept here.
    async fn answered(&self, envelope: &Envelope) -> Result<Option<MessageId>, InboxError> {
        let Some(answered) = &envelope.reply_to else { return Ok(None) };
        let thread = self.thread(&envelope.thread);
        let key = self.shared.keys.dedupe(&thread, answered, envelope.unique_within);
        let found = self.shared.store.find(&thread, &[key]).await.map_err(|error| self.refused(&error))?;
        Ok(found.messages.first().copied().flatten())
    }

    pub(crate) async fn accept_message(&self, envelope: Envelope) -> Result<Accepted, InboxError> {
        let shared = &self.shared;
        if shared.is_draining() {
            return Err(unavailable("the daemon is stopping"));
        }
        if let Some(found) = self.join_album(&envelope).await? {
            let before = found.messages.first().copied().flatten();
            let message = before.or(found.messages.get(1).copied().flatten());
            if let Some((conversation, message)) = found.conversation.zip(message) {
                let seen = if before.is_some() { Seen::Before } else { Seen::New };
                return Ok(Accepted { conversation, message, seen });
            }
        }
        let answers = self.answered(&envelope).await?;
        let live = shared.live();
        let thread = self.thread(&envelope.thread);
        let settles = envelope.album.is_some();
        let fallback = live.options.agent.as_ref().and_then(|agent| agent.fallback);
        let arrival = Arrival {
            ids: &shared.ids,
            keys: &shared.keys,
            now: shared.clock.now(),
            channel: &self.channel,
            thread,
            first_owner: if live.options.agent.is_some() { Owner::Agent } else { Owner::Desk },
            answer_within: fallback,
        };
        let (mut commit, accepted) = arrival.of(envelope, answers);
        // The agent's lane is claimed in the same step, if somebody is free to post the event, and it is whole.
        let offer = live.agent.as_ref().filter(|_| !settles).and_then(|agent| agent.offer(shared));
        commit.claim = offer.as_ref().map(|_| Offer::<AgentWork>::wanted());
        if trial::is_broken(Broken::AckBeforeCommit) {
            let (shared, channel) = (Arc::clone(shared), self.channel.clone());
            tokio::spawn(async move {
                shared.clock.sleep(Duration::from_millis(50)).await;
                take_in(shared, channel, commit, offer).await
            });
            return Ok(accepted);
        }
        // In a task of its own: a sender that hangs up before the answer takes no claim with it.
        let committing = tokio::spawn(take_in(Arc::clone(shared), self.channel.clone(), commit, offer));
        match committing.await {
            Ok(Ok(Committed::New { conversation, .. })) => Ok(Accepted { conversation, ..accepted }),
            Ok(Ok(Committed::Duplicate { conversation, message })) => {
                Ok(Accepted { conversation, message, seen: Seen::Before })
            }
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(_) => Err(unavailable("the daemon is stopping")),
        }
    }
}

async fn take_in(
    shared: Arc<Shared>,
    channel: ChannelName,
    commit: CommitInbound,
    offer: Option<Offer<AgentWork>>,
) -> Result<Committed, StoreError> {
    trial::point("accepting");
    let brings_something = commit.effects.iter().any(|effect| matches!(effect, Effect::MarkFetching { .. }));
    let mut committed = measure::store("commit_inbound", shared.store.commit_inbound(commit)).await;
    trial::point("committed");
    let claim = match &mut committed {
        Ok(Committed::New { claim, .. }) => {
            measure::message(&channel, Direction::Inbound);
            if let Some(state) = shared.live().channel_named(&channel) {
                state.gate.last.note_received(shared.clock.now());
            }
            shared.log_grew();
            // Only now: timers that were woken before it is stored would find nothing to wait for.
            if brings_something {
                shared.timer_at(shared.clock.now());
            }
            if let Some(span) = shared.live().options.agent.as_ref().and_then(|agent| agent.fallback) {
                shared.timer_at(shared.clock.now().plus(span));
            }
            claim.take()
        }
        _ => None,
    };
    if let Some(agent) = &shared.live().agent {
        agent.work().health.new_work(shared.clock.boot());
    }
    match (offer, claim) {
        (Some(offer), Some(claim)) => offer.take(&shared, *claim, None),
        // Also after an error: the commit may have happened all the same.
        _ => shared.wake(Lane::Agent),
    }
    committed
}

pub(crate) fn refusal(error: &StoreError) -> InboxError {
    unavailable(match error {
        StoreError::Full(_) => "the store is full",
        StoreError::Unavailable(_) => "the store is unavailable",
        StoreError::Refused(_) => "the store refused the message",
    })
}

pub(crate) fn unavailable(reason: &str) -> InboxError {
    InboxError::Unavailable { retry_after: COME_AGAIN, reason: reason.to_owned() }
}
