//! What each situation does to a conversation, as effects. The domain's rules stand here and nowhere else.

use std::time::Duration;

use frontdesk_model::{
    Accepted, Attention, Author, ChannelName, CommitInbound, Contact, Content, Conversation, DeadLetter,
    DeliveryStatus, Direction, Effect, Envelope, Event, EventBody, Identity, Lane, Message, MessageId, NewConversation,
    Owner, Partition, Seen, Sender, Seq, Status, ThreadKey, Timestamp, Wake,
};

use crate::{
    attachments::{self, Here, NOTHING_HERE},
    desk::Change,
    keys::{Ids, Keys},
    occurrence::ALBUM_SETTLES,
    reply::{Action, Reply},
    runtime::Shared,
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
    /// How soon the agent should answer.
    pub(crate) answer_within: Option<Duration>,
}

impl Arrival<'_> {
    /// A contact wrote: the conversation is (again) open, its version moves, and the agent is due while it owns it.
    /// What a program wrote by itself is recorded and answered by nobody automatically.
    ///
    /// `answers`: the message that this one answers.
    pub(crate) fn of(self, envelope: Envelope, answers: Option<MessageId>) -> (CommitInbound, Accepted) {
        let partition = Partition::of(&self.thread);
        let dedupe = self.keys.dedupe(&self.thread, &envelope.external_id, envelope.unique_within);
        let contact = contact(self.keys, &self.thread, &envelope.sender);
        let album = envelope.album.as_deref().map(|album| self.keys.album(&self.thread, album));
        let id = self.ids.message(self.now, partition);
        let message = Message {
            id,
            direction: Direction::Inbound,
            author: Author::Contact { id: contact.id, name: contact.name.clone() },
            external_id: Some(envelope.external_id),
            content: envelope.content,
            attachments: attachments::arriving(id, envelope.attachments),
            buttons: Vec::new(),
            reply_to: answers,
            private: false,
            auto_generated: envelope.auto_generated,
            sent_at: envelope.sent_at,
            received_at: self.now,
            quote: envelope.quote,
            forwarded_from: envelope.forwarded_from,
            edited_at: None,
            settles_at: album.map(|_| self.now.plus(ALBUM_SETTLES)),
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
        let brings_something = message.awaits_attachments();
        let wakes = if waits_for_answer {
            vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }]
        } else {
            Vec::new()
        };
        let mut effects = vec![
            Effect::PutParticipant(contact),
            Effect::SetChannel(self.channel.clone()),
            Effect::SetStatusIf { from: vec![Status::Pending, Status::Resolved], to: Status::Open },
            Effect::SetSnooze(None),
            Effect::BumpVersion,
            Effect::Append {
                id: self.ids.event(self.now, partition),
                at: self.now,
                body: EventBody::MessageCreated { message },
                wakes,
                status: None,
            },
        ];
        effects.extend(album.map(|key| Effect::Know { key, message: accepted.message }));
        effects.extend(envelope.origin.map(Effect::SetOrigin));
        if brings_something {
            effects.push(Effect::MarkFetching { event: None, at: self.now });
        }
        if waits_for_answer {
            effects.push(Effect::MarkUnanswered);
            let answer_by = self.answer_within.map(|span| self.now.plus(span));
            effects.extend(answer_by.map(|at| Effect::StartAnswerBy { only_if_owner: Owner::Agent, at }));
        }
        (CommitInbound { thread: self.thread, dedupe, message: accepted.message, new, effects, claim: None }, accepted)
    }
}

/// Who did something, as a contact.
pub(crate) fn contact(keys: &Keys, thread: &ThreadKey, sender: &Sender) -> Contact {
    let identities: Vec<Identity> = std::iter::once(&sender.identity).chain(&sender.also).cloned().collect();
    Contact {
        id: keys.contact(thread, &sender.identity),
        name: sender.name.clone(),
        locale: sender.locale.clone(),
        identities,
    }
}

/// What a reply meets.
pub(crate) struct ReplyRules<'a> {
    pub(crate) ids: &'a Ids,
    pub(crate) now: Timestamp,
    pub(crate) conversation: &'a Conversation,
    /// Whether the channel's messages are fetched through the API instead of being sent.
    pub(crate) fetched: Fetched,
    /// What the reply's attachments are, as far as they are here.
    pub(crate) here: &'a Here,
}

/// How a channel's replies reach their reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The channel sends them.
    No,
    /// The other side reads them from the API: stored is delivered.
    Yes,
}

/// What of a conversation a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Everything up to here, also when it says nothing.
    Through(Seq),
    /// Everything there is, if it says something.
    WhatThereIs,
    /// Nothing: the answer is still to come.
    Nothing,
}

impl ReplyRules<'_> {
    /// The reply counts.
    pub(crate) fn accepted(&self, reply: &Reply, voice: &Voice, answers: Answers) -> Vec<Effect> {
        let (status, wakes) = match self.fetched {
            Fetched::No => (DeliveryStatus::Queued, vec![Wake { lane: Lane::Deliver, only_if_owner: None }]),
            Fetched::Yes => (DeliveryStatus::Sent, Vec::new()),
        };
        let mut effects = self.append_messages(reply, voice, status, &wakes);
        let speaks = reply.messages.iter().any(|message| !message.private);
        match answers {
            Answers::Through(seq) => effects.push(Effect::AnsweredThrough(Some(seq))),
            Answers::WhatThereIs if speaks => effects.push(Effect::AnsweredThrough(None)),
            Answers::WhatThereIs | Answers::Nothing => {}
        }
        if speaks {
            effects.push(Effect::NoteAnswered(self.now));
            match voice {
                Voice::Teammate(_) => {
                    effects.push(Effect::BumpVersion);
                    effects.extend(self.taken_over(voice));
                }
                Voice::Agent | Voice::System => effects.push(Effect::ClearAttentionIf(Attention::Fallback)),
            }
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

    /// Announces the moments that the reply's actions set.
    pub(crate) fn set_timers(reply: &Reply, shared: &Shared) {
        let elsewhere = |of: &crate::ReplyAttachment| matches!(of, crate::ReplyAttachment::Elsewhere(_));
        if reply.messages.iter().any(|said| said.attachments.iter().any(elsewhere)) {
            shared.timer_at(shared.clock.now());
        }
        for action in &reply.actions {
            if let Action::Snooze { until } = action {
                shared.timer_at(*until);
            }
        }
    }

    fn append_messages(&self, reply: &Reply, voice: &Voice, status: DeliveryStatus, wakes: &[Wake]) -> Vec<Effect> {
        let partition = self.conversation.id.partition();
        let message = |id: MessageId, said: &crate::ReplyMessage| Message {
            id,
            direction: Direction::Outbound,
            author: voice.author(),
            external_id: None,
            content: said.content.clone(),
            attachments: self.here.attach(id, &said.attachments),
            buttons: said.buttons.clone(),
            reply_to: said.reply_to,
            private: said.private,
            auto_generated: false,
            sent_at: Some(self.now),
            received_at: self.now,
            quote: None,
            forwarded_from: None,
            edited_at: None,
            settles_at: None,
        };
        reply
            .messages
            .iter()
            .flat_map(|said| {
                let message = message(self.ids.message(self.now, partition), said);
                let to_fetch =
                    message.awaits_attachments().then_some(Effect::MarkFetching { event: None, at: self.now });
                let append = Effect::Append {
                    id: self.ids.event(self.now, partition),
                    at: self.now,
                    body: EventBody::MessageCreated { message },
                    wakes: if said.private { Vec::new() } else { wakes.to_vec() },
                    status: (!said.private).then_some(status),
                };
                std::iter::once(append).chain(to_fetch)
            })
            .collect()
    }

    /// A teammate who writes has taken the conversation over.
    fn taken_over(&self, voice: &Voice) -> Vec<Effect> {
        let mut effects = vec![Effect::SetOwner(Owner::Desk), Effect::SetAttention(None)];
        if self.conversation.owner != Owner::Desk || self.conversation.attention.is_some() {
            let now = Standing { owner: Owner::Desk, attention: None, ..self.standing() };
            effects.push(self.noted(voice, now, None));
        }
        effects.push(Effect::AgentFollowsTail);
        effects
    }

    /// What the actions come to together, noted once.
    fn actions<'r>(&self, actions: impl Iterator<Item = &'r Action>, voice: &Voice) -> Vec<Effect> {
        let mut now = self.standing();
        let (mut effects, mut changes, mut tail, mut why) = (Vec::new(), Vec::new(), Vec::new(), None);
        for action in actions {
            match action {
                Action::Handoff { reason } => {
                    (now.owner, now.attention) = (Owner::Desk, Some(Attention::Handoff));
                    why = reason.clone().or(why);
                    effects.extend([Effect::SetOwner(now.owner), Effect::SetAttention(now.attention)]);
                    tail = vec![Effect::AgentFollowsTail, Effect::SetAnswerBy(None)];
                }
                Action::Resolve => {
                    (now.status, now.snoozed_until) = (Status::Resolved, None);
                    effects.extend([Effect::SetStatus(now.status), Effect::SetSnooze(None)]);
                }
                Action::Edit { message, content } => changes.extend(self.edited(*message, content, voice)),
                Action::Delete { message } => changes.push(self.withdrawn(*message, voice)),
                Action::Snooze { until } => {
                    (now.status, now.snoozed_until) = (Status::Pending, Some(*until));
                    effects.extend([Effect::SetStatus(now.status), Effect::SetSnooze(now.snoozed_until)]);
                }
            }
        }
        if !effects.is_empty() {
            effects.push(self.noted(voice, now, why));
        }
        effects.extend(changes);
        effects.extend(tail);
        effects
    }

    /// A message of ours says something else from now on; the platform is told.
    fn edited(&self, id: MessageId, content: &Content, voice: &Voice) -> Vec<Effect> {
        let Some((event, said)) = self.here.said(id) else { return Vec::new() };
        let message = Message { content: content.clone(), edited_at: Some(self.now), ..said.clone() };
        let rewritten = Effect::Rewrite { event: event.id, at: event.at, message: Box::new(message.clone()) };
        let body = EventBody::MessageEdited {
            message: Box::new(message),
            seq: event.seq,
            before: said.content.clone(),
            by: voice.author(),
        };
        vec![rewritten, self.to_deliver(body)]
    }

    fn withdrawn(&self, id: MessageId, voice: &Voice) -> Effect {
        self.to_deliver(EventBody::MessageWithdrawn { message_id: id, by: voice.author() })
    }

    fn to_deliver(&self, body: EventBody) -> Effect {
        let wakes = match self.fetched {
            Fetched::No => vec![Wake { lane: Lane::Deliver, only_if_owner: None }],
            Fetched::Yes => Vec::new(),
        };
        let id = self.ids.event(self.now, self.conversation.id.partition());
        Effect::Append { id, at: self.now, body, wakes, status: None }
    }

    fn standing(&self) -> Standing {
        Standing::of(self.conversation)
    }

    fn noted(&self, voice: &Voice, now: Standing, reason: Option<String>) -> Effect {
        let Standing { status, owner, attention, assignee, snoozed_until } = now;
        Effect::Append {
            id: self.ids.event(self.now, self.conversation.id.partition()),
            at: self.now,
            body: EventBody::ConversationUpdated {
                by: voice.name(),
                status,
                owner,
                attention,
                assignee,
                snoozed_until,
                reason,
            },
            wakes: Vec::new(),
            status: None,
        }
    }
}

/// What an update of a conversation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    status: Status,
    owner: Owner,
    attention: Option<Attention>,
    assignee: Option<String>,
    snoozed_until: Option<Timestamp>,
}

impl Standing {
    fn of(conversation: &Conversation) -> Self {
        Self {
            status: conversation.status,
            owner: conversation.owner,
            attention: conversation.attention,
            assignee: conversation.assignee.clone(),
            snoozed_until: conversation.snoozed_until,
        }
    }
}

/// Whoever looks at the conversation should know this. Nothing else changes.
pub(crate) fn told(ids: &Ids, now: Timestamp, conversation: &Conversation, sentence: String) -> Vec<Effect> {
    let rules = ReplyRules { ids, now, conversation, fetched: Fetched::No, here: &NOTHING_HERE };
    vec![rules.noted(&Voice::System, Standing::of(conversation), Some(sentence))]
}

/// A snooze is over.
pub(crate) fn woken_up(ids: &Ids, now: Timestamp, conversation: &Conversation) -> Vec<Effect> {
    let rules = ReplyRules { ids, now, conversation, fetched: Fetched::No, here: &NOTHING_HERE };
    let status = if conversation.status == Status::Pending { Status::Open } else { conversation.status };
    let awake = Standing { status, snoozed_until: None, ..Standing::of(conversation) };
    vec![
        Effect::SetSnooze(None),
        Effect::SetStatusIf { from: vec![Status::Pending], to: Status::Open },
        rules.noted(&Voice::System, awake, Some("the snooze is over".into())),
    ]
}

/// The agent has let the moment pass: the desk is asked to look. Nothing else changes; the agent may still answer.
pub(crate) fn not_answered(ids: &Ids, now: Timestamp, conversation: &Conversation) -> Vec<Effect> {
    let mut effects = vec![Effect::SetAnswerBy(None)];
    let waits = conversation.owner == Owner::Agent && conversation.unanswered_from.is_some();
    if waits && conversation.attention.is_none() {
        let rules = ReplyRules { ids, now, conversation, fetched: Fetched::No, here: &NOTHING_HERE };
        let shown = Standing { attention: Some(Attention::Fallback), ..Standing::of(conversation) };
        effects.push(Effect::AddAttention(Attention::Fallback));
        effects.push(rules.noted(&Voice::System, shown, Some("the agent has not answered in time".into())));
    }
    effects
}

/// Somebody changes status, owner, assignee, attention or snooze. Empty when everything is so already.
pub(crate) fn changed(
    ids: &Ids,
    now: Timestamp,
    conversation: &Conversation,
    change: &Change,
    voice: &Voice,
    answer_within: Option<Duration>,
) -> Vec<Effect> {
    let before = Standing::of(conversation);
    let mut after = before.clone();
    if let Some(status) = change.status {
        (after.status, after.snoozed_until) = (status, None);
    }
    if let Some(snooze) = change.snoozed_until {
        after.snoozed_until = snooze;
        match (snooze, change.status) {
            (Some(_), None) => after.status = Status::Pending,
            (None, None) if before.snoozed_until.is_some() && before.status == Status::Pending => {
                after.status = Status::Open;
            }
            _ => {}
        }
    }
    after.owner = change.owner.unwrap_or(before.owner);
    if let Some(assignee) = &change.assignee {
        after.assignee.clone_from(assignee);
    }
    let handed_back = after.owner == Owner::Agent && before.owner == Owner::Desk;
    if change.clear_attention || handed_back {
        after.attention = None;
    }
    if after == before {
        return Vec::new();
    }
    // Only what changes is written: the agent may change the rest at the same time without moving the version.
    let mut effects = Vec::new();
    if after.status != before.status {
        effects.push(Effect::SetStatus(after.status));
    }
    if after.snoozed_until != before.snoozed_until {
        effects.push(Effect::SetSnooze(after.snoozed_until));
    }
    if after.owner != before.owner {
        effects.push(Effect::SetOwner(after.owner));
    }
    if after.assignee != before.assignee {
        effects.push(Effect::SetAssignee(after.assignee.clone()));
    }
    if after.attention != before.attention {
        effects.push(Effect::SetAttention(after.attention));
    }
    let moves_version = (after.status, after.owner) != (before.status, before.owner);
    if moves_version && *voice != Voice::Agent {
        effects.push(Effect::BumpVersion);
    }
    let owner = after.owner;
    let rules = ReplyRules { ids, now, conversation, fetched: Fetched::No, here: &NOTHING_HERE };
    effects.push(rules.noted(voice, after, None));
    match owner {
        Owner::Agent if handed_back => {
            effects.push(Effect::RewindAgentToUnanswered);
            effects.push(Effect::SetAnswerBy(answer_within.map(|span| now.plus(span))));
        }
        Owner::Desk if before.owner == Owner::Agent => {
            effects.extend([Effect::AgentFollowsTail, Effect::SetAnswerBy(None)]);
        }
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
    /// Where the batch began that ends with the event, if there is one.
    pub(crate) batch_from: Option<Seq>,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
}

impl DeadWork<'_> {
    /// The dead letter, and the desk is asked to look. The conversation goes on.
    pub(crate) fn effects(self) -> Vec<Effect> {
        let rules = ReplyRules {
            ids: self.ids,
            now: self.now,
            conversation: self.conversation,
            fetched: Fetched::No,
            here: &NOTHING_HERE,
        };
        // A handoff says more than a dead letter; it stays.
        let attention = Some(self.conversation.attention.unwrap_or(Attention::DeadLetter));
        let shown = Standing { attention, ..Standing::of(self.conversation) };
        let noted = rules.noted(&Voice::System, shown, Some(self.reason.clone()));
        let letter = DeadLetter {
            id: self.ids.dead_letter(self.now, self.conversation.id.partition()),
            conversation: self.conversation.id,
            lane: self.lane,
            seq: self.event.seq,
            event: self.event.id,
            batch_from: self.batch_from,
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

/// Everything said among these effects, notes too, which have no status.
pub(crate) fn said_in(effects: &[Effect]) -> impl Iterator<Item = (&Message, Option<DeliveryStatus>)> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Append { body: EventBody::MessageCreated { message }, status, .. } => Some((message, *status)),
        _ => None,
    })
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
