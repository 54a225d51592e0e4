//! Which events the agent is asked about together.
//!
//! Without `coalesce` that is the claim's event alone (a language model gets all that wait: it answers a burst better as a
//! whole). With `coalesce`, consecutive messages of the contact go together: the claim is given back until nothing came
//! for that span, or five times the span has passed since the first; then the batch's bounds are stored before the first
//! attempt, so that every attempt carries the same events under the same id, the last one's.

use std::{borrow::Cow, time::Duration};

use frontdesk_model::{
    Author, Batch, Claim, Content, Direction, Effect, Event, EventBody, Message, MessageId, Seq, StoreError, Take,
    Timestamp, Version,
};

use super::{Protocol, Turn};

/// A burst waits for its end at most so many spans.
const AT_MOST_SPANS: u32 = 5;
/// At most so many events in one batch, of so many bytes together; what is beyond comes in the next.
const TAKE: Take = Take { rows: 100, bytes: 256 * 1024 };

/// What is to be done now.
pub(super) enum Gathered {
    /// Ask about these.
    Now(Box<Together>),
    /// The contact may be writing still.
    Quiet {
        /// Look again then.
        until: Timestamp,
    },
}

/// Events that go to the agent as one.
pub(super) struct Together {
    /// At least one, in order.
    events: Vec<Event>,
    /// The version of the conversation as far as these events go: without what the contact has done after them.
    pub(super) version: Version,
    /// Bounds to store before the first attempt.
    pub(super) to_fix: Option<Batch>,
    /// Whether bounds are stored, or will be.
    fixed: bool,
    /// The claim's event, for the unlikely case of an empty list.
    claimed: Event,
}

impl Together {
    pub(super) fn first(&self) -> &Event {
        self.events.first().unwrap_or(&self.claimed)
    }

    /// The event under whose id they go.
    pub(super) fn last(&self) -> &Event {
        self.events.last().unwrap_or(&self.claimed)
    }

    /// The last event's message, if it brings one, and those before it.
    pub(super) fn messages(&self) -> (Option<&Message>, impl Iterator<Item = (&Message, Seq)>) {
        let (last, before) = self.events.split_last().unwrap_or((&self.claimed, &[]));
        let before = before.iter().filter_map(|event| Some((event.body.message()?, event.seq)));
        (last.body.message(), before)
    }

    /// What the contact said and did, in order, all of it as messages: who knows of no buttons is told the words on them.
    pub(super) fn as_messages(&self) -> Vec<Cow<'_, Message>> {
        let alone = self.events.is_empty().then_some(&self.claimed);
        self.events.iter().chain(alone).filter_map(as_message).collect()
    }

    /// All their messages in order.
    pub(super) fn all_messages(&self) -> impl Iterator<Item = &Message> {
        let alone = self.events.is_empty().then_some(&self.claimed);
        self.events.iter().chain(alone).filter_map(|event| event.body.message())
    }

    /// Whether the event at this place is one of them.
    pub(super) fn holds(&self, seq: Seq) -> bool {
        self.events.iter().any(|event| event.seq == seq) || (self.events.is_empty() && self.claimed.seq == seq)
    }

    /// Where they begin, if they are more than one.
    pub(super) fn batch_from(&self) -> Option<Seq> {
        (self.first().seq != self.last().seq).then(|| self.first().seq)
    }

    /// What has to be written when the lane moves past them.
    pub(super) fn done(&self) -> Vec<Effect> {
        let fixed = self.fixed.then_some(Effect::SetBatch(None));
        let more = (self.last().seq > self.claimed.seq).then(|| Effect::AgentDoneThrough(self.last().seq));
        fixed.into_iter().chain(more).collect()
    }

    /// Something that asks nothing, alone: that an attachment was fetched, an edit, a reaction.
    pub(super) fn update(claim: &Claim) -> Self {
        Self { fixed: false, ..Self::of(claim, Vec::new(), 0) }
    }

    /// Whether it is that.
    pub(super) fn is_update(&self) -> bool {
        self.events.is_empty() && !self.claimed.body.waits_for_answer()
    }

    fn of(claim: &Claim, events: Vec<Event>, later: usize) -> Self {
        let version = Version(claim.conversation.version.0.saturating_sub(u64::try_from(later).unwrap_or(u64::MAX)));
        let next = claim.turn == frontdesk_model::Turn::Next;
        let fixed = next && claim.conversation.batch.is_some_and(|batch| batch.from == claim.event.seq);
        Self { events, version, to_fix: None, fixed, claimed: claim.event.clone() }
    }
}

impl Turn<'_> {
    pub(super) async fn gather(&self) -> Result<Gathered, StoreError> {
        let claim = self.claim;
        let span = self.work.options.coalesce;
        let alone = claim.event.seq == claim.conversation.last_seq;
        if alone && span.is_zero() && claim.batch_from.is_none() {
            return Ok(Gathered::Now(Box::new(Together::of(claim, vec![claim.event.clone()], 0))));
        }
        let bounds = self.bounds();
        let presses_are_messages = matches!(self.work.options.protocol, Protocol::OpenAi(_));
        let events = match bounds {
            Some(bounds) => within(self.events_from(bounds.from).await?, bounds),
            None if span.is_zero() && !presses_are_messages => vec![claim.event.clone()],
            None => consecutive(self.events_from(claim.event.seq).await?, presses_are_messages),
        };
        let last = events.last().map_or(claim.event.seq, |event| event.seq);
        let later = self.work.ahead.count(self.shared.store.as_ref(), &claim.conversation, last).await?;
        let mut together = Together::of(claim, events, later);
        if bounds.is_none() && !span.is_zero() {
            if let Some(until) = still_writing(&together, span, self.shared.clock.now()) {
                return Ok(Gathered::Quiet { until });
            }
            together.to_fix = Some(Batch { from: together.first().seq, through: together.last().seq });
            together.fixed = true;
        }
        Ok(Gathered::Now(Box::new(together)))
    }

    async fn events_from(&self, from: Seq) -> Result<Vec<Event>, StoreError> {
        let before = Seq(from.0.saturating_sub(1));
        let found = self.shared.store.events(self.claim.conversation.id, before, TAKE).await?;
        Ok(found.map(|slice| slice.data).unwrap_or_default())
    }

    /// What an earlier attempt, or the dead letter that is replayed, was about.
    fn bounds(&self) -> Option<Batch> {
        let claim = self.claim;
        match claim.turn {
            frontdesk_model::Turn::Replay => {
                Some(Batch { from: claim.batch_from.unwrap_or(claim.event.seq), through: claim.event.seq })
            }
            frontdesk_model::Turn::Next => claim.conversation.batch.filter(|batch| batch.from == claim.event.seq),
        }
    }
}

/// What the agent is to answer.
fn asks(event: &Event) -> bool {
    event.body.waits_for_answer()
}

fn as_message(event: &Event) -> Option<Cow<'_, Message>> {
    let EventBody::ButtonPressed { button, by, .. } = &event.body else {
        return event.body.message().map(Cow::Borrowed);
    };
    Some(Cow::Owned(Message {
        id: MessageId::from_bytes(event.id.to_bytes()),
        direction: Direction::Inbound,
        author: by.clone(),
        external_id: None,
        content: Content::Text(button.label.clone()),
        attachments: Vec::new(),
        buttons: Vec::new(),
        reply_to: None,
        private: false,
        auto_generated: false,
        sent_at: None,
        received_at: event.at,
        quote: None,
        forwarded_from: None,
        edited_at: None,
        settles_at: None,
    }))
}

/// The events of the batch.
fn within(events: Vec<Event>, bounds: Batch) -> Vec<Event> {
    events.into_iter().filter(|event| event.seq <= bounds.through && asks(event)).collect()
}

/// The contact's messages from the first on. What the agent said and what became of it stands between them without parting
/// them; a teammate's word does. So does a pressed button, which goes alone, unless it is told as a message like any other.
fn consecutive(events: Vec<Event>, presses_are_messages: bool) -> Vec<Event> {
    let is_press = |event: &Event| matches!(event.body, EventBody::ButtonPressed { .. }) && !presses_are_messages;
    let begins_with_press = events.first().is_some_and(is_press);
    let parts = |(place, event): (usize, &Event)| {
        let by_teammate = |message: &Message| matches!(message.author, Author::Teammate { .. }) && !message.private;
        let by_press = place > 0 && (is_press(event) || (begins_with_press && asks(event)));
        event.body.message().is_some_and(by_teammate) || by_press
    };
    let end = events.iter().enumerate().position(parts).unwrap_or(events.len());
    events.into_iter().take(end).filter(asks).collect()
}

/// Until when it is worth waiting for more.
fn still_writing(together: &Together, span: Duration, now: Timestamp) -> Option<Timestamp> {
    let quiet_at = together.last().at.plus(span);
    let at_last = together.first().at.plus(span * AT_MOST_SPANS);
    Some(quiet_at.min(at_last)).filter(|until| *until > now)
}
