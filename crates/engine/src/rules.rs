//! What each situation does to a conversation, as effects. The domain's rules stand here and nowhere else.

use frontdesk_model::{
    Accepted, Attention, Author, ChannelName, CommitInbound, Contact, Conversation, DeadLetter, DeliveryStatus,
    Direction, Effect, Envelope, Event, EventBody, Identity, Lane, Message, MessageId, NewConversation, Owner,
    Partition, Seen, Seq, Status, ThreadKey, Timestamp, Wake,
};

use crate::{
    desk::Change,
    keys::{Ids, Keys},
    reply::{Action, Reply},
};

/// Whose words or wishes these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Voice {
    Agent,
    Teammate(String),
    System,
}

impl Voice {
    fn name(&self) -> String {
        match self {
            Self::Agent => "agent".into(),
            Self::Teammate(name) => name.clone(),
            Self::System => "system".into(),
        }
    }

    fn author(&self) -> Author {
        match self {
            Self::Agent => Author::Agent,
            Self::Teammate(name) => Author::Teammate { name: name.clone() },
            Self::System => Author::System,
        }
    }
}

/// An inbound message on its way into the store.
pub(crate) struct Arrival<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) keys: &'a Keys,
    pub(crate) now: Timestamp,
    pub(crate) channel: &'a ChannelName,
    pub(crate) thread: ThreadKey,
    /// Who answers a new conversation.
    pub(crate) first_owner: Owner,
}

impl Arrival<'_> {
    /// A contact wrote: the conversation is (again) open, its version moves, and the agent is due while it owns it.
    /// What a program wrote by itself is recorded and answered by nobody automatically.
    pub(crate) fn of(self, envelope: Envelope) -> (CommitInbound, Accepted) {
        let partition = Partition::of(&self.thread);
        let dedupe = self.keys.dedupe(&self.thread, &envelope.external_id, envelope.unique_within);
        let contact = self.contact(&envelope);
        let message = Message {
            id: self.ids.message(self.now, partition),
            direction: Direction::Inbound,
            author: Author::Contact { id: contact.id, name: contact.name.clone() },
            external_id: Some(envelope.external_id),
            content: envelope.content,
            reply_to: None,
            private: false,
            auto_generated: envelope.auto_generated,
            sent_at: envelope.sent_at,
            received_at: self.now,
        };
        let new = NewConversation {
            id: self.ids.conversation(self.now, partition),
            channel: self.channel.clone(),
            owner: self.first_owner,
            subject: envelope.subject,
            at: self.now,
        };
        let accepted = Accepted { conversation: new.id, message: message.id, seen: Seen::New };
        let waits_for_answer = !message.auto_generated;
        let wakes = if waits_for_answer {
            vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }]
        } else {
            Vec::new()
        };
        let mut effects = vec![
            Effect::PutParticipant(contact),
            Effect::SetChannel(self.channel.clone()),
            Effect::SetStatusIf { from: vec![Status::Pending, Status::Resolved], to: Status::Open },
            Effect::BumpVersion,
            Effect::Append {
                id: self.ids.event(self.now, partition),
                at: self.now,
                body: EventBody::MessageCreated { message },
                wakes,
                status: None,
            },
        ];
        if waits_for_answer {
            effects.push(Effect::MarkUnanswered);
        }
        (CommitInbound { thread: self.thread, dedupe, message: accepted.message, new, effects, claim: None }, accepted)
    }

    fn contact(&self, envelope: &Envelope) -> Contact {
        let sender = &envelope.sender;
        let identities: Vec<Identity> = std::iter::once(&sender.identity).chain(&sender.also).cloned().collect();
        Contact {
            id: self.keys.contact(&self.thread, &sender.identity),
            name: sender.name.clone(),
            locale: sender.locale.clone(),
            identities,
        }
    }
}

/// What a reply meets.
pub(crate) struct ReplyRules<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) now: Timestamp,
    pub(crate) conversation: &'a Conversation,
    /// Whether the channel's messages are fetched through the API instead of being sent.
    pub(crate) fetched: Fetched,
}

/// How a channel's replies reach their reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The channel sends them.
    No,
    /// The other side reads them from the API: stored is delivered.
    Yes,
}

impl ReplyRules<'_> {
    /// The reply counts. `answers`: the event it answers, when it came as an answer to one.
    pub(crate) fn accepted(&self, reply: &Reply, voice: &Voice, answers: Option<Seq>) -> Vec<Effect> {
        let (status, wakes) = match self.fetched {
            Fetched::No => (DeliveryStatus::Queued, vec![Wake { lane: Lane::Deliver, only_if_owner: None }]),
            Fetched::Yes => (DeliveryStatus::Sent, Vec::new()),
        };
        let mut effects = self.append_messages(reply, voice, status, &wakes);
        if !reply.messages.is_empty() {
            effects.push(Effect::AnsweredThrough(answers));
        }
        if matches!(voice, Voice::Teammate(_)) {
            effects.push(Effect::BumpVersion);
            effects.extend(self.taken_over(voice));
        }
        effects.extend(self.actions(reply.actions.iter(), voice));
        effects
    }

    /// The reply came too late: it is kept where everyone can see it, and sent to nobody. A handoff still holds.
    pub(crate) fn discarded(&self, reply: &Reply, voice: &Voice) -> Vec<Effect> {
        let mut effects = self.append_messages(reply, voice, DeliveryStatus::Discarded, &[]);
        let ids: Vec<MessageId> = messages_in(&effects).into_iter().map(|(id, _)| id).collect();
        if !ids.is_empty() {
            effects.push(Effect::NoteDiscarded(ids));
        }
        let handoffs = reply.actions.iter().filter(|action| matches!(action, Action::Handoff { .. }));
        effects.extend(self.actions(handoffs, voice));
        effects
    }

    fn append_messages(&self, reply: &Reply, voice: &Voice, status: DeliveryStatus, wakes: &[Wake]) -> Vec<Effect> {
        let partition = self.conversation.id.partition();
        let message = |said: &crate::ReplyMessage| Message {
            id: self.ids.message(self.now, partition),
            direction: Direction::Outbound,
            author: voice.author(),
            external_id: None,
            content: said.content.clone(),
            reply_to: said.reply_to,
            private: false,
            auto_generated: false,
            sent_at: Some(self.now),
            received_at: self.now,
        };
        reply
            .messages
            .iter()
            .map(|said| Effect::Append {
                id: self.ids.event(self.now, partition),
                at: self.now,
                body: EventBody::MessageCreated { message: message(said) },
                wakes: wakes.to_vec(),
                status: Some(status),
            })
            .collect()
    }

    /// A teammate who writes has taken the conversation over.
    fn taken_over(&self, voice: &Voice) -> Vec<Effect> {
        let mut effects = vec![Effect::SetOwner(Owner::Desk), Effect::SetAttention(None)];
        if self.conversation.owner != Owner::Desk || self.conversation.attention.is_some() {
            effects.push(self.noted(voice, self.conversation.status, Owner::Desk, None, None));
        }
        effects.push(Effect::AgentFollowsTail);
        effects
    }

    /// What the actions come to together, noted once.
    fn actions<'r>(&self, actions: impl Iterator<Item = &'r Action>, voice: &Voice) -> Vec<Effect> {
        let Conversation { mut status, mut owner, mut attention, .. } = *self.conversation;
        let (mut effects, mut tail, mut why) = (Vec::new(), None, None);
        for action in actions {
            match action {
                Action::Handoff { reason } => {
                    (owner, attention) = (Owner::Desk, Some(Attention::Handoff));
                    why = reason.clone().or(why);
                    effects.extend([Effect::SetOwner(owner), Effect::SetAttention(attention)]);
                    tail = Some(Effect::AgentFollowsTail);
                }
                Action::Resolve => {
                    status = Status::Resolved;
                    effects.push(Effect::SetStatus(status));
                }
            }
        }
        if !effects.is_empty() {
            effects.push(self.noted(voice, status, owner, attention, why));
        }
        effects.extend(tail);
        effects
    }

    fn noted(
        &self,
        voice: &Voice,
        status: Status,
        owner: Owner,
        attention: Option<Attention>,
        reason: Option<String>,
    ) -> Effect {
        Effect::Append {
            id: self.ids.event(self.now, self.conversation.id.partition()),
            at: self.now,
            body: EventBody::ConversationUpdated {
                by: voice.name(),
                status,
                owner,
                attention,
                assignee: self.conversation.assignee.clone(),
                snoozed_until: self.conversation.snoozed_until,
                reason,
            },
            wakes: Vec::new(),
            status: None,
        }
    }
}

/// Somebody changes status, owner or attention. Empty when everything is so already.
pub(crate) fn changed(
    ids: &Ids,
    now: Timestamp,
    conversation: &Conversation,
    change: &Change,
    voice: &Voice,
) -> Vec<Effect> {
    let status = change.status.unwrap_or(conversation.status);
    let owner = change.owner.unwrap_or(conversation.owner);
    let handed_back = owner == Owner::Agent && conversation.owner == Owner::Desk;
    let attention = if change.clear_attention || handed_back { None } else { conversation.attention };
    if (status, owner, attention) == (conversation.status, conversation.owner, conversation.attention) {
        return Vec::new();
    }
    let rules = ReplyRules { ids, now, conversation, fetched: Fetched::No };
    // Only what changes is written: the agent may change the rest at the same time without moving the version.
    let mut effects = Vec::new();
    if status != conversation.status {
        effects.push(Effect::SetStatus(status));
    }
    if owner != conversation.owner {
        effects.push(Effect::SetOwner(owner));
    }
    if attention != conversation.attention {
        effects.push(Effect::SetAttention(attention));
    }
    let moves_version = (status, owner) != (conversation.status, conversation.owner);
    if moves_version && *voice != Voice::Agent {
        effects.push(Effect::BumpVersion);
    }
    effects.push(rules.noted(voice, status, owner, attention, None));
    match owner {
        Owner::Agent if handed_back => effects.push(Effect::RewindAgentToUnanswered),
        Owner::Desk if conversation.owner == Owner::Agent => effects.push(Effect::AgentFollowsTail),
        _ => {}
    }
    effects
}

/// A piece of work is parked for good.
pub(crate) struct DeadWork<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) now: Timestamp,
    pub(crate) conversation: &'a Conversation,
    pub(crate) lane: Lane,
    pub(crate) event: &'a Event,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
}

impl DeadWork<'_> {
    /// The dead letter, and the desk is asked to look. The conversation goes on.
    pub(crate) fn effects(self) -> Vec<Effect> {
        let rules = ReplyRules { ids: self.ids, now: self.now, conversation: self.conversation, fetched: Fetched::No };
        // A handoff says more than a dead letter; it stays.
        let attention = Some(self.conversation.attention.unwrap_or(Attention::DeadLetter));
        let noted = rules.noted(
            &Voice::System,
            self.conversation.status,
            self.conversation.owner,
            attention,
            Some(self.reason.clone()),
        );
        let letter = DeadLetter {
            id: self.ids.dead_letter(self.now, self.conversation.id.partition()),
            conversation: self.conversation.id,
            lane: self.lane,
            seq: self.event.seq,
            event: self.event.id,
            batch_from: None,
            channel: self.conversation.channel.clone(),
            reason: self.reason,
            attempts: self.attempts,
            at: self.now,
        };
        vec![Effect::AddDeadLetter(letter), Effect::AddAttention(Attention::DeadLetter), noted]
    }
}

/// An outbound message has come to an end.
pub(crate) fn delivered(
    ids: &Ids,
    now: Timestamp,
    conversation: &Conversation,
    message: MessageId,
    status: DeliveryStatus,
    parts: usize,
    error: Option<String>,
) -> Vec<Effect> {
    vec![
        Effect::SetDelivery { message, status },
        Effect::Append {
            id: ids.event(now, conversation.id.partition()),
            at: now,
            body: EventBody::DeliveryUpdated {
                message_id: message,
                status,
                parts: u16::try_from(parts).unwrap_or(u16::MAX),
                error,
            },
            wakes: Vec::new(),
            status: None,
        },
    ]
}

/// The outbound messages among these effects.
pub(crate) fn messages_in(effects: &[Effect]) -> Vec<(MessageId, DeliveryStatus)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Append { body: EventBody::MessageCreated { message }, status: Some(status), .. } => {
                Some((message.id, *status))
            }
            _ => None,
        })
        .collect()
}
