//! What people and programs see and do beside the agent's requests: reading, replying, changing, dead letters.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{
    Append, Applied, ChannelName, Contact, ContactId, Conversation, ConversationFilter, ConversationId, DeadLetter,
    DeadLetterEnd, DeadLetterId, DeliveryStatus, Effect, Erased, Event, EventBody, EventId, Guard, Lane, Look, Looked,
    Message, MessageId, MessageRecord, Once, Owner, Page, PageRequest, PartState, Requeue, Room, Seq, Slice, Status,
    StoreError, Take, Timestamp, Version, Waiting,
};

use crate::{
    attachments::{self, Here},
    feed::Feed,
    keeper, measure,
    reply::{Reply, check_snooze},
    rules::{self, Answers, Voice},
    runtime::Shared,
    status::{self, StatusView},
    trial::{self, Broken},
};

/// A step of a check looks at about so many rows: a few hundredths of a second.
const CHECKED_AT_ONCE: usize = 2000;

/// The engine's reading and writing side. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    shared: Arc<Shared>,
}

/// On whose behalf something is said or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// The agent: its messages move no version, and are refused once teammates have taken over.
    Agent,
    /// A person of the business, or a program in their name: takes the conversation over by replying.
    Teammate {
        /// The name that the customer may see.
        name: String,
    },
}

/// What to change in a conversation. Everything left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Only if the conversation has this version still.
    pub if_version: Option<Version>,
    /// The new status.
    pub status: Option<Status>,
    /// The new owner.
    pub owner: Option<Owner>,
    /// Takes the attention away.
    pub clear_attention: bool,
    /// The new assignee; `Some(None)`: nobody.
    pub assignee: Option<Option<String>>,
    /// Until when it sleeps, from now at most a year; `Some(None)`: it wakes up.
    pub snoozed_until: Option<Option<Timestamp>>,
}

/// An accepted reply.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Replied {
    /// In which conversation.
    pub conversation_id: ConversationId,
    /// The version after it.
    pub version: Version,
    /// Whether this is the first answer once more.
    #[serde(skip)]
    pub repeated: bool,
    /// Its messages, in order.
    pub messages: Vec<RepliedMessage>,
}

/// A caller's own mark of a request that it may repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// The mark.
    pub key: String,
    /// Whose mark it is; marks of two callers never meet.
    pub by: String,
    /// What the request says, hashed: method, path and body.
    pub fingerprint: [u8; 32],
}

/// How far an erasure has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Nothing of the contact is left.
    Done,
    /// It goes on by itself.
    GoesOn,
}

/// Who asks for an erasure waits so long for its end.
const ERASE_FOR: Duration = Duration::from_secs(5);
/// How long the first answer is kept for a repeat.
const REPEATS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// A list's answer holds no further row once it has so many bytes: half a megabyte of what was written, which is shown in two forms.
const PAGE_BYTES: usize = 512 * 1024;

/// One message of an accepted reply.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct RepliedMessage {
    /// Its id.
    pub id: MessageId,
    /// Where it starts: `queued`, or `sent` on a channel whose messages are fetched. A private note has none.
    #[schema(required)]
    pub status: Option<DeliveryStatus>,
    /// What its channel cannot show as written.
    pub degraded: Vec<String>,
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// No such conversation or dead letter.
    #[error("there is no {0} with this id")]
    NotFound(&'static str),
    /// `if_version` is not the present version.
    #[error("the conversation is at version {}, and not at the one named", version.0)]
    VersionConflict {
        /// The present one.
        version: Version,
    },
    /// Teammates have taken the conversation over.
    #[error("teammates have taken this conversation over (version {}); hand it back before the agent goes on", version.0)]
    TakenOver {
        /// The present version.
        version: Version,
    },
    /// The mark of the request was used before, for one that said something else.
    #[error("this Idempotency-Key was used before for another request; a new request needs a key of its own")]
    KeyReused,
    /// The event that a reply token was made for is answered, and this says something else.
    #[error(
        "the event that this reply token belongs to has its reply already; send a further one with an Idempotency-Key of its own"
    )]
    AlreadyAnswered,
    /// The request contradicts what is stored.
    #[error("{0}")]
    Invalid(String),
    /// Nothing new is taken at the moment.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// When to come again, in seconds.
        retry_after: u64,
    },
}

/// Whether the daemon should be sent work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// No, and why.
    NotReady(String),
}

impl From<StoreError> for DeskError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(reason) => Self::Invalid(reason),
            StoreError::Full(_) | StoreError::Unavailable(_) => {
                Self::Unavailable { reason: error.to_string(), retry_after: 5 }
            }
        }
    }
}

impl Desk {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The event that a reply token was made for, if it was made in this conversation and is not over.
    #[must_use]
    pub fn reply_token_opens(&self, token: &str, conversation: ConversationId) -> Option<EventId> {
        self.shared.keys.reply_token_opens(token, conversation, self.shared.clock.now())
    }

    /// Whether new work can be taken: the store has room and the daemon is not stopping.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.shared.is_draining() {
            return Readiness::NotReady("stopping".into());
        }
        match self.shared.store.room() {
            Room::Enough => Readiness::Ready,
            Room::Low(reason) => Readiness::NotReady(reason),
        }
    }

    /// One conversation.
    ///
    /// # Errors
    /// It does not exist, or the store is not there.
    pub async fn conversation(&self, id: ConversationId) -> Result<Conversation, DeskError> {
        self.shared.store.conversation(id).await?.ok_or(DeskError::NotFound("conversation"))
    }

    /// Conversations, the latest first.
    ///
    /// # Errors
    /// A page that no answer gave, or the store is not there.
    pub async fn conversations(
        &self,
        filter: ConversationFilter,
        page: PageRequest,
    ) -> Result<Page<Conversation>, DeskError> {
        Ok(self.shared.store.conversations(filter, page).await?)
    }

    /// A conversation's messages, newest first; `next` is the page before them.
    ///
    /// # Errors
    /// It does not exist, a page that no answer gave, or the store is not there.
    pub async fn messages(&self, id: ConversationId, page: PageRequest) -> Result<Page<MessageRecord>, DeskError> {
        let before = page.page.as_deref().map(read_seq).transpose()?;
        let take = Take { rows: page.limit, bytes: PAGE_BYTES };
        let found = self.shared.store.messages(id, before, take).await?;
        let Slice { data, more } = found.ok_or(DeskError::NotFound("conversation"))?;
        let next = if more { data.last().map(|row| row.seq.to_string()) } else { None };
        Ok(Page { data, next })
    }

    /// A conversation's log in order; `next` goes on behind it.
    ///
    /// # Errors
    /// It does not exist, a page that no answer gave, or the store is not there.
    pub async fn events(&self, id: ConversationId, page: PageRequest) -> Result<Page<Event>, DeskError> {
        let after = page.page.as_deref().map_or(Ok(Seq::ZERO), read_seq)?;
        let take = Take { rows: page.limit, bytes: PAGE_BYTES };
        let found = self.shared.store.events(id, after, take).await?;
        let Slice { data, more } = found.ok_or(DeskError::NotFound("conversation"))?;
        let next = if more { data.last().map(|row| row.seq.to_string()) } else { None };
        Ok(Page { data, next })
    }

    /// One contact.
    ///
    /// # Errors
    /// It does not exist, or the store is not there.
    pub async fn contact(&self, id: ContactId) -> Result<Contact, DeskError> {
        self.shared.store.contact(id).await?.ok_or(DeskError::NotFound("contact"))
    }

    /// Erases a contact: what was said with them becomes a bare place in its log. Returns once that is done, or after some seconds
    /// with what is left still to go: it goes on by itself, also after a restart.
    ///
    /// # Errors
    /// There is no such contact, or the store is not there. Asked again, it goes on.
    pub async fn erase_contact(&self, id: ContactId) -> Result<Erasure, DeskError> {
        let begun = self.shared.clock.boot();
        attachments::note_erased(&self.shared, id).await?;
        let mut step = keeper::step(&self.shared, id).await?;
        if step == Erased::NotFound {
            return Err(DeskError::NotFound("contact"));
        }
        while step == Erased::More && self.shared.clock.boot().saturating_sub(begun) < ERASE_FOR {
            step = keeper::step(&self.shared, id).await?;
        }
        if step == Erased::More {
            return Ok(Erasure::GoesOn);
        }
        attachments::settle_erased(&self.shared).await?;
        Ok(Erasure::Done)
    }

    /// Says something in a conversation. Returns once it is stored; delivery follows. A request that comes again with the
    /// same mark is answered as the first time and has no further effect, for a day.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing was said.
    pub async fn reply(
        &self,
        id: ConversationId,
        reply: Reply,
        speaker: Speaker,
        repeat: Option<Repeat>,
    ) -> Result<Replied, DeskError> {
        self.refuse_while_draining()?;
        let now = self.shared.clock.now();
        reply.check_moments(now).map_err(DeskError::Invalid)?;
        let conversation = self.conversation(id).await?;
        let voice = match &speaker {
            Speaker::Agent => Voice::Agent,
            Speaker::Teammate { name } => Voice::Teammate(name.clone()),
        };
        let fetched = self.shared.is_fetched(&conversation.thread);
        let here = Here::find(&self.shared, id, &reply).await?;
        let rules = rules::ReplyRules { ids: &self.shared.ids, now, conversation: &conversation, fetched, here: &here };
        let effects = rules.accepted(&reply, &voice, Answers::WhatThereIs);
        here.refer(&self.shared, &effects).await?;
        let mut guards: Vec<Guard> = reply.if_version.map(Guard::VersionIs).into_iter().collect();
        if speaker == Speaker::Agent {
            guards.push(Guard::OwnerIs(Owner::Agent));
        }
        let channel = self.shared.channel_of(&conversation.thread);
        let said = |(message, status): (&Message, Option<DeliveryStatus>)| {
            // A note never gets to the channel.
            let shown = channel.as_ref().filter(|_| status.is_some());
            let mut lost =
                shown.map(|channel| channel.connected.adapter.degraded(&message.content)).unwrap_or_default();
            let has_buttons = shown.is_none_or(|channel| channel.connected.adapter.capabilities().buttons);
            if !has_buttons && !message.buttons.is_empty() {
                lost.push("buttons");
            }
            RepliedMessage { id: message.id, status, degraded: lost.into_iter().map(str::to_owned).collect() }
        };
        let messages: Vec<RepliedMessage> = rules::said_in(&effects).map(said).collect();
        let once = match repeat {
            None => None,
            Some(repeat) => Some(Once {
                key: self.shared.keys.once(&repeat.by, &repeat.key),
                fingerprint: repeat.fingerprint,
                answer: serde_json::to_string(&messages).map_err(|error| DeskError::Invalid(error.to_string()))?,
                keep: REPEATS_KEPT,
            }),
        };
        let replied = match self.append(id, once, guards, effects).await? {
            Appended::Now(version) => Replied { conversation_id: id, version, repeated: false, messages },
            Appended::Before { conversation, version, answer } => {
                let messages = serde_json::from_str(&answer).map_err(|error| DeskError::Invalid(error.to_string()))?;
                return Ok(Replied { conversation_id: conversation, version, repeated: true, messages });
            }
        };
        if conversation.unanswered_from.is_some() && reply.messages.iter().any(|message| !message.private) {
            measure::answered(&conversation, now);
        }
        rules::ReplyRules::set_timers(&reply, &self.shared);
        self.shared.delivery_due(&conversation.thread).await;
        Ok(replied)
    }

    /// Says something to a contact, in the conversation that was last alive with them; with `channels`, on one of these.
    ///
    /// # Errors
    /// The contact has no such conversation. Else see [`DeskError`]; nothing was said.
    pub async fn reply_to_contact(
        &self,
        contact: ContactId,
        reply: Reply,
        speaker: Speaker,
        repeat: Option<Repeat>,
        channels: Option<&[ChannelName]>,
    ) -> Result<Replied, DeskError> {
        let nobody = || DeskError::NotFound("contact");
        let channels = channels.map(<[ChannelName]>::to_vec).unwrap_or_default();
        let filter = ConversationFilter { contact: Some(contact), channels, ..ConversationFilter::default() };
        let page = self.conversations(filter, PageRequest { limit: 1, page: None }).await?;
        let conversation = page.data.into_iter().next().ok_or_else(nobody)?;
        self.reply(conversation.id, reply, speaker, repeat).await
    }

    /// What is added to any log from now on, or from a position that an earlier item named; with `channels`, only there.
    ///
    /// # Errors
    /// A position that nothing named, or the store is not there.
    pub async fn changes(&self, after: Option<String>, channels: Vec<ChannelName>) -> Result<Feed, DeskError> {
        Feed::open(Arc::clone(&self.shared), after, channels).await
    }

    /// How everything is, for the operator.
    ///
    /// # Errors
    /// The store is not there.
    pub async fn status(&self) -> Result<StatusView, DeskError> {
        status::of(&self.shared).await
    }

    /// The agent gets events again: after a 410 as if nothing had been, while it is unwell one try at once.
    ///
    /// # Errors
    /// There is no agent, or the store is not there.
    pub async fn resume_agent(&self) -> Result<(), DeskError> {
        let live = self.shared.live();
        let agent = live.agent.as_ref().ok_or(DeskError::NotFound("agent"))?;
        agent.work().health.resume();
        self.shared.store.wake(Waiting::Agent).await?;
        self.shared.wake(Lane::Agent);
        tracing::info!("the agent is resumed");
        Ok(())
    }

    /// A channel sends again: after it said that it takes no more as if nothing had been, while it is unwell one try at once.
    ///
    /// # Errors
    /// There is no such channel, or the store is not there.
    pub async fn resume_channel(&self, channel: &ChannelName) -> Result<(), DeskError> {
        let live = self.shared.live();
        let state = live.channel_named(channel).ok_or(DeskError::NotFound("channel"))?;
        state.gate.health.resume();
        let (kind, account) = (state.connected.kind.clone(), state.connected.account.clone());
        self.shared.store.wake(Waiting::Channel { kind, account }).await?;
        self.shared.wake(Lane::Deliver);
        tracing::info!(%channel, "the channel is resumed");
        Ok(())
    }

    /// Changes status, owner, assignee, attention or snooze.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing changed.
    pub async fn update(&self, id: ConversationId, change: Change, by: &Speaker) -> Result<Conversation, DeskError> {
        self.refuse_while_draining()?;
        if let Some(Some(until)) = change.snoozed_until {
            check_snooze(until, self.shared.clock.now())
                .map_err(|rule| DeskError::Invalid(format!("snoozed_until: {rule}, or null to wake it up")))?;
        }
        for _ in 0..8 {
            let conversation = self.conversation(id).await?;
            let wanted = change.if_version.unwrap_or(conversation.version);
            // A handoff by the agent moves no version; the owner that was read must still be the owner.
            let owner = if *by == Speaker::Agent { Owner::Agent } else { conversation.owner };
            let guards = vec![Guard::VersionIs(wanted), Guard::OwnerIs(owner)];
            let voice = match by {
                Speaker::Agent => Voice::Agent,
                Speaker::Teammate { name } => Voice::Teammate(name.clone()),
            };
            let answer_within = self.shared.live().options.agent.as_ref().and_then(|agent| agent.fallback);
            let now = self.shared.clock.now();
            let effects = rules::changed(&self.shared.ids, now, &conversation, &change, &voice, answer_within);
            if effects.is_empty() {
                return match change.if_version {
                    Some(wanted) if wanted != conversation.version => {
                        Err(DeskError::VersionConflict { version: conversation.version })
                    }
                    _ => Ok(conversation),
                };
            }
            match self.append(id, None, guards, effects).await {
                Ok(_) => {
                    let moments =
                        change.snoozed_until.flatten().into_iter().chain(answer_within.map(|span| now.plus(span)));
                    moments.for_each(|at| self.shared.timer_at(at));
                    self.shared.wake(Lane::Agent);
                    return self.conversation(id).await;
                }
                // The caller named no version: what was read a moment ago is read again.
                Err(DeskError::VersionConflict { .. }) if change.if_version.is_none() => {}
                Err(DeskError::TakenOver { .. }) if *by != Speaker::Agent => {}
                Err(error) => return Err(error),
            }
        }
        Err(DeskError::Unavailable { reason: "the conversation changes too fast; try again".into(), retry_after: 1 })
    }

    /// Dead letters, newest first.
    ///
    /// # Errors
    /// A page that no answer gave, or the store is not there.
    pub async fn dead_letters(&self, page: PageRequest) -> Result<Page<DeadLetter>, DeskError> {
        Ok(self.shared.store.dead_letters(page).await?)
    }

    /// Looks for what does not fit together in the store: one step of a pass, behind the step that gave `resume`. `None`: the
    /// store cannot say.
    ///
    /// # Errors
    /// No step gave this, or the store is not there.
    pub async fn check(&self, resume: Option<String>) -> Result<Option<Looked>, DeskError> {
        match self.shared.store.checked() {
            Some(checked) => {
                let mut looked = checked.check(Look { rows: CHECKED_AT_ONCE, resume }).await?;
                let stored = std::mem::take(&mut looked.stored);
                looked.flaws.extend(attachments::missing(&self.shared, stored).await?);
                Ok(Some(looked))
            }
            None => Ok(None),
        }
    }

    /// Tries a dead letter's work anew: an event is posted to the agent once more, a message's unsent parts are sent.
    ///
    /// # Errors
    /// See [`DeskError`]; it stays.
    pub async fn replay(&self, id: DeadLetterId) -> Result<(), DeskError> {
        let letter = self.dead_letter(id).await?;
        let mut effects = vec![Effect::ClearDeadLetterAttention];
        let mut guards = Vec::new();
        match letter.lane {
            // While teammates have the conversation, the event would be passed by without a word.
            Lane::Agent => guards.push(Guard::OwnerIs(Owner::Agent)),
            Lane::Deliver => effects.extend(self.undo_failure(&letter).await?),
        }
        self.end_dead_letter(id, guards, effects, DeadLetterEnd::Replay).await?;
        self.shared.wake(letter.lane);
        Ok(())
    }

    /// Gives a dead letter's work up.
    ///
    /// # Errors
    /// See [`DeskError`]; it stays.
    pub async fn drop_dead_letter(&self, id: DeadLetterId) -> Result<(), DeskError> {
        self.dead_letter(id).await?;
        self.end_dead_letter(id, Vec::new(), vec![Effect::ClearDeadLetterAttention], DeadLetterEnd::Drop).await
    }

    /// One dead letter.
    ///
    /// # Errors
    /// It does not exist, or the store is not there.
    pub async fn dead_letter(&self, id: DeadLetterId) -> Result<DeadLetter, DeskError> {
        self.shared.store.dead_letter(id).await?.ok_or(DeskError::NotFound("dead letter"))
    }

    async fn end_dead_letter(
        &self,
        id: DeadLetterId,
        guards: Vec<Guard>,
        effects: Vec<Effect>,
        end: DeadLetterEnd,
    ) -> Result<(), DeskError> {
        let operation = self.shared.ids.operation();
        let requeue = Requeue { operation, dead_letter: id, guards, effects, end };
        let mut applied = self.shared.store.requeue(requeue.clone()).await;
        if matches!(applied, Err(StoreError::Unavailable(_))) {
            applied = self.shared.store.requeue(requeue).await;
        }
        match applied? {
            Applied::Done { .. } => {
                self.shared.log_grew();
                Ok(())
            }
            Applied::Guarded { version, .. } => Err(DeskError::TakenOver { version }),
            _ => Err(DeskError::NotFound("dead letter")),
        }
    }

    /// Parts that are not out become ready again; those that are stay out.
    async fn undo_failure(&self, letter: &DeadLetter) -> Result<Vec<Effect>, DeskError> {
        let after = Seq(letter.seq.0.saturating_sub(1));
        let take = Take { rows: 1, bytes: 0 };
        let events = self.shared.store.events(letter.conversation, after, take).await?;
        let events = events.map(|slice| slice.data).unwrap_or_default();
        let message = match events.first().map(|event| &event.body) {
            Some(EventBody::MessageCreated { message }) => message,
            // Done again from the front.
            Some(
                EventBody::MessageEdited { .. } | EventBody::MessageWithdrawn { .. } | EventBody::Unreadable { .. },
            ) => return Ok(Vec::new()),
            _ => return Err(DeskError::Invalid("the message of this dead letter is gone".into())),
        };
        let mut effects = vec![Effect::SetDelivery { message: message.id, status: DeliveryStatus::Queued }];
        for (index, part) in self.shared.store.parts(message.id).await?.iter().enumerate() {
            if !matches!(part.state, PartState::Sent { .. }) {
                let index = u16::try_from(index).unwrap_or(u16::MAX);
                effects.push(Effect::SetPart { message: message.id, index, state: PartState::Ready });
            }
        }
        Ok(effects)
    }

    fn refuse_while_draining(&self) -> Result<(), DeskError> {
        if self.shared.is_draining() {
            return Err(DeskError::Unavailable { reason: "the daemon is stopping".into(), retry_after: 5 });
        }
        Ok(())
    }

    async fn append(
        &self,
        conversation: ConversationId,
        once: Option<Once>,
        guards: Vec<Guard>,
        effects: Vec<Effect>,
    ) -> Result<Appended, DeskError> {
        let operation = self.shared.ids.operation();
        let append = Append { operation, conversation, once, guards, effects };
        let mut applied = measure::store("append", self.shared.store.append(append.clone())).await;
        if matches!(applied, Err(StoreError::Unavailable(_))) {
            // It may have run: the same operation once more tells, and does nothing twice.
            let operation =
                if trial::is_broken(Broken::SkipOperationId) { self.shared.ids.operation() } else { append.operation };
            applied = self.shared.store.append(Append { operation, ..append }).await;
        }
        match applied? {
            Applied::Done { version, .. } => {
                self.shared.log_grew();
                Ok(Appended::Now(version))
            }
            Applied::Repeated { conversation, version, answer } => {
                Ok(Appended::Before { conversation, version, answer })
            }
            Applied::KeyReused => Err(DeskError::KeyReused),
            Applied::Guarded { failed: Guard::OwnerIs(_), version } => Err(DeskError::TakenOver { version }),
            Applied::Guarded { version, .. } => Err(DeskError::VersionConflict { version }),
            Applied::LeaseLost | Applied::NotFound => Err(DeskError::NotFound("conversation")),
        }
    }
}

/// When a request had its effects.
enum Appended {
    Now(Version),
    Before { conversation: ConversationId, version: Version, answer: String },
}

fn read_seq(page: &str) -> Result<Seq, DeskError> {
    page.parse().map(Seq).map_err(|_| DeskError::Invalid("page: not a page that an answer gave as next".into()))
}
