//! Where channels hand in what they receive: the commit.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use frontdesk_model::{
    Accepted, AccountId, ChannelName, CommitInbound, Committed, Direction, Effect, Envelope, Inbox, InboxError,
    KindName, Lane, Owner, Seen, StoreError, ThreadKey,
};

use crate::{
    agent::AgentWork,
    lane::Offer,
    measure,
    rules::Arrival,
    runtime::Shared,
    trial::{self, Broken},
};

/// How long a sender is asked to wait when the store cannot take a message.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// One channel's way in.
pub(crate) struct ChannelInbox {
    pub(crate) shared: Arc<Shared>,
    pub(crate) channel: ChannelName,
    pub(crate) kind: KindName,
    pub(crate) account: AccountId,
}

#[async_trait]
impl Inbox for ChannelInbox {
    async fn accept(&self, envelope: Envelope) -> Result<Accepted, InboxError> {
        let shared = &self.shared;
        if shared.is_draining() {
            return Err(unavailable("the daemon is stopping"));
        }
        let live = shared.live();
        let thread =
            ThreadKey { kind: self.kind.clone(), account: self.account.clone(), thread: envelope.thread.clone() };
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
        let (mut commit, accepted) = arrival.of(envelope);
        // The agent's lane is claimed in the same step, if somebody is free to post the event.
        let offer = live.agent.as_ref().and_then(|agent| agent.offer(shared));
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
            Ok(Err(error)) => {
                shared.note_store_error(&error);
                Err(unavailable(match error {
                    StoreError::Full(_) => "the store is full",
                    StoreError::Unavailable(_) => "the store is unavailable",
                    StoreError::Refused(_) => "the store refused the message",
                }))
            }
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
        (Some(offer), Some(claim)) => offer.take(&shared, *claim),
        // Also after an error: the commit may have happened all the same.
        _ => shared.wake(Lane::Agent),
    }
    committed
}

fn unavailable(reason: &str) -> InboxError {
    InboxError::Unavailable { retry_after: COME_AGAIN, reason: reason.to_owned() }
}
