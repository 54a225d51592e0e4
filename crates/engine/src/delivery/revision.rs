//! Changing, or taking back, what was sent.
//!
//! Each step names a part that the platform has and says what is to become of it; done twice it is done once. So there is nothing to
//! remember on the way: after a failure, or a restart, it begins again from the front.

use frontdesk_model::{
    Claim, Dispatch, Effect, FrozenPart, Lane, Message, MessageId, Outcome, Part, PartState, Scope, StoreError, Then,
};

use super::{Blow, DeadWork, Errand, FAR, Frozen, Journey, Lease, Lost, Turn};

/// What becomes of a message that was sent.
#[derive(Clone, Copy)]
pub(super) enum Revision<'a> {
    /// It says this from now on.
    Edit(&'a Message),
    /// It goes.
    Withdraw(MessageId),
}

/// A part that the platform has.
struct Standing {
    /// Its place among the message's parts.
    place: u16,
    frozen: FrozenPart,
    external_id: String,
}

/// What one step asks of the platform.
enum Step {
    Edit(FrozenPart),
    Withdraw,
}

/// What a step leads to.
enum Next {
    Step,
    Ended,
}

impl Turn<'_> {
    pub(super) async fn revise(&self, claim: &Claim, lease: &Lease, revision: Revision<'_>) -> Result<(), Lost> {
        let Some(channel) = self.shared.channel_of(&claim.conversation.thread) else {
            tracing::warn!("the channel of a message that is to be changed is not configured; that waits");
            self.park(claim, lease, FAR, claim.progress).await;
            return Ok(());
        };
        let Ok(found) = self.sent_before(claim, revision).await else {
            self.park(claim, lease, std::time::Duration::from_secs(1), claim.progress).await;
            return Ok(());
        };
        let Some((message, sent)) = found else {
            // Erased, or gone for its age.
            return lease.settle(Vec::new(), Vec::new(), Then::Advance).await.map(drop);
        };
        let journey = Journey {
            claim,
            message: &message,
            channel: &channel,
            lease,
            parts: Vec::new(),
            frozen: Frozen::Stored,
            ready: None,
            reason: None,
        };
        if sent.is_empty() {
            let reason = "the message was not sent, so there is nothing to change; replay that first";
            return self.give_up(&journey, reason.into()).await;
        }
        let wanted = match revision {
            Revision::Withdraw(_) => Vec::new(),
            Revision::Edit(_) => {
                let Ok(outgoing) = self.outgoing(&claim.conversation, &message).await else {
                    self.park(claim, lease, std::time::Duration::from_secs(1), claim.progress).await;
                    return Ok(());
                };
                channel.connected.adapter.render(&outgoing)
            }
        };
        if wanted.len() > sent.len() {
            let reason = format!(
                "what it is to say needs {} messages on this channel, and {} had been sent; say the rest in a new message",
                wanted.len(),
                sent.len()
            );
            return self.give_up(&journey, reason).await;
        }
        let wanted = wanted.into_iter().map(Step::Edit).chain(std::iter::repeat_with(|| Step::Withdraw));
        for (standing, step) in sent.iter().zip(wanted) {
            let is_surplus = matches!((&step, revision), (Step::Withdraw, Revision::Edit(_)));
            if let Next::Ended = self.take_step(&journey, standing, step).await? {
                return Ok(());
            }
            if is_surplus {
                // A later change finds what is left of it.
                let gone = PartState::Sent { external_id: None };
                let effect = Effect::SetPart { message: message.id, index: standing.place, state: gone };
                lease.settle(Vec::new(), vec![effect], Then::Keep).await?;
            }
        }
        lease.settle(Vec::new(), Vec::new(), Then::Advance).await.map(drop)
    }

    /// The message as it is now, and what the platform has of it under which names.
    async fn sent_before(
        &self,
        claim: &Claim,
        revision: Revision<'_>,
    ) -> Result<Option<(Message, Vec<Standing>)>, StoreError> {
        let id = match revision {
            Revision::Edit(message) => message.id,
            Revision::Withdraw(id) => id,
        };
        let store = &self.shared.store;
        let found = store.message(id).await?.filter(|(conversation, _)| *conversation == claim.conversation.id);
        let Some((_, record)) = found else { return Ok(None) };
        let message = match revision {
            // As it was to be then: a later change has its own turn.
            Revision::Edit(message) => message.clone(),
            Revision::Withdraw(_) => record.message,
        };
        let named = |(place, part): (usize, Part)| match part.state {
            PartState::Sent { external_id: Some(external_id) } => {
                Some(Standing { place: u16::try_from(place).ok()?, frozen: part.frozen, external_id })
            }
            _ => None,
        };
        Ok(Some((message, store.parts(id).await?.into_iter().enumerate().filter_map(named).collect())))
    }

    async fn take_step(&self, journey: &Journey<'_>, standing: &Standing, step: Step) -> Result<Next, Lost> {
        let Standing { place, frozen, external_id } = standing;
        let Some(permit) = self.permit(journey, frozen).await else { return Ok(Next::Ended) };
        journey.lease.check().await?;
        let adapter = &journey.channel.connected.adapter;
        let links = self.links(journey.message);
        let outcome = match &step {
            Step::Edit(part) => {
                let dispatch = Dispatch { message: journey.message.id, index: *place, part, links: &links };
                adapter.edit(&dispatch, external_id).await
            }
            Step::Withdraw => adapter.withdraw(&journey.claim.conversation.thread.thread, external_id).await,
        };
        let errand = if permit.probe.is_some() { Errand::Probe } else { Errand::Ordinary };
        drop(permit);
        self.judge(journey, outcome, errand).await
    }

    async fn judge(&self, journey: &Journey<'_>, outcome: Outcome, errand: Errand) -> Result<Next, Lost> {
        let conversation = journey.claim.conversation.id;
        let health = &journey.channel.gate.health;
        let now = self.shared.clock.boot();
        let (after, scope, reason) = match outcome {
            Outcome::Sent { .. } => {
                self.turned(journey.channel, health.succeeded(conversation, now), "").await;
                return Ok(Next::Step);
            }
            Outcome::Failed { scope: Scope::Message, reason } => {
                self.turned(journey.channel, health.succeeded(conversation, now), "").await;
                return self.give_up(journey, reason).await.map(|()| Next::Ended);
            }
            Outcome::Failed { scope: Scope::Channel, reason } => {
                health.stop(self.shared.clock.now());
                tracing::error!(
                    channel = %journey.channel.connected.name, reason,
                    "the channel takes no more messages; they wait until `frontdesk channel resume` with its name"
                );
                self.park(journey.claim, journey.lease, FAR, journey.claim.progress).await;
                return Ok(Next::Ended);
            }
            Outcome::RetryAfter { after, scope, reason } => (after, scope, reason),
            // Whatever became of it, it may be done again.
            Outcome::Uncertain { reason } => (None, Scope::Message, reason),
        };
        let blow = if scope == Scope::Channel { Blow::ToAll } else { Blow::ToOne };
        let pause = after.filter(|_| scope == Scope::Channel);
        let turned = health.failed(conversation, blow, pause, errand, now);
        health.note(turned, &reason, self.shared.clock.now());
        self.turned(journey.channel, turned, &reason).await;
        match self.another_try(journey, after, scope) {
            Some((wait, progress)) => self.park(journey.claim, journey.lease, wait, progress).await,
            None => self.give_up(journey, reason).await?,
        }
        Ok(Next::Ended)
    }

    async fn give_up(&self, journey: &Journey<'_>, reason: String) -> Result<(), Lost> {
        let claim = journey.claim;
        tracing::warn!(message_id = %journey.message.id, reason, "a sent message was not changed as it was to be");
        let dead = DeadWork {
            ids: &self.shared.ids,
            now: self.shared.clock.now(),
            conversation: &claim.conversation,
            lane: Lane::Deliver,
            event: &claim.event,
            batch_from: None,
            reason,
            attempts: claim.progress.attempts.saturating_add(1),
        };
        journey.lease.settle(Vec::new(), dead.effects(), Then::Advance).await.map(drop)
    }
}
