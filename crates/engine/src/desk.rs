//! What people and programs see and do beside the agent's requests: reading, replying, changing, dead letters.

use std::sync::Arc;

use frontdesk_model::{
    Append, Applied, Conversation, ConversationFilter, ConversationId, DeadLetter, DeadLetterEnd, DeadLetterId,
    DeliveryStatus, Effect, Event, Guard, Lane, MessageId, MessageRecord, Owner, Page, PageRequest, PartState, Requeue,
    Room, Seq, Slice, Status, StoreError, Take, Version,
};

use crate::{
    reply::Reply,
    rules::{self, Voice},
    runtime::Shared,
};

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
}

/// An accepted reply.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Replied {
    /// The version after it.
    pub version: Version,
    /// Its messages, in order.
    pub messages: Vec<RepliedMessage>,
}

/// One message of an accepted reply.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RepliedMessage {
    /// Its id.
    pub id: MessageId,
    /// Where it starts: `queued`, or `sent` on a channel whose messages are fetched.
    pub status: DeliveryStatus,
    /// What its channel cannot show as written.
    pub degraded: [(); 0],
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// No such conversation or dead letter.
    #[error("there is no {0} with this id")]
    NotFound(&'static str),
    /// `if_version` is not the present version.
    #[error("the conversation has moved on: its version is {}", version.0)]
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

    /// Whether a reply token was made for this conversation and is not over.
    #[must_use]
    pub fn reply_token_opens(&self, token: &str, conversation: ConversationId) -> bool {
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
        let found = self.shared.store.messages(id, before, whole(page.limit)).await?;
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
        let found = self.shared.store.events(id, after, whole(page.limit)).await?;
        let Slice { data, more } = found.ok_or(DeskError::NotFound("conversation"))?;
        let next = if more { data.last().map(|row| row.seq.to_string()) } else { None };
        Ok(Page { data, next })
    }

    /// Says something in a conversation. Returns once it is stored; delivery follows.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing was said.
    pub async fn reply(&self, id: ConversationId, reply: Reply, speaker: Speaker) -> Result<Replied, DeskError> {
        self.refuse_while_draining()?;
        let conversation = self.conversation(id).await?;
        let voice = match &speaker {
            Speaker::Agent => Voice::Agent,
            Speaker::Teammate { name } => Voice::Teammate(name.clone()),
        };
        let reply_rules = rules::ReplyRules {
            ids: &self.shared.ids,
            now: self.shared.clock.now(),
            conversation: &conversation,
            fetched: self.shared.is_fetched(&conversation.thread),
        };
        let effects = reply_rules.accepted(&reply, &voice, None);
        let mut guards: Vec<Guard> = reply.if_version.map(Guard::VersionIs).into_iter().collect();
        if speaker == Speaker::Agent {
            guards.push(Guard::OwnerIs(Owner::Agent));
        }
        let messages = rules::messages_in(&effects);
        let applied = self.apply(id, guards, effects).await?;
        self.shared.delivery_due(&conversation.thread).await;
        Ok(Replied {
            version: applied,
            messages: messages.into_iter().map(|(id, status)| RepliedMessage { id, status, degraded: [] }).collect(),
        })
    }

    /// Changes status, owner or attention.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing changed.
    pub async fn update(&self, id: ConversationId, change: Change, by: &Speaker) -> Result<Conversation, DeskError> {
        self.refuse_while_draining()?;
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
            let effects = rules::changed(&self.shared.ids, self.shared.clock.now(), &conversation, &change, &voice);
            if effects.is_empty() {
                return match change.if_version {
                    Some(wanted) if wanted != conversation.version => {
                        Err(DeskError::VersionConflict { version: conversation.version })
                    }
                    _ => Ok(conversation),
                };
            }
            match self.apply(id, guards, effects).await {
                Ok(_) => {
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

    /// Tries a dead letter's work anew: an event is posted to the agent once more, a message's unsent parts are sent.
    ///
    /// # Errors
    /// See [`DeskError`]; it stays.
    pub async fn replay(&self, id: DeadLetterId) -> Result<(), DeskError> {
        let letter = self.dead_letter(id).await?;
        let mut effects = vec![Effect::ClearDeadLetterAttention];
        match letter.lane {
            Lane::Agent => {
                let conversation = self.conversation(letter.conversation).await?;
                if conversation.owner == Owner::Desk {
                    return Err(DeskError::TakenOver { version: conversation.version });
                }
            }
            Lane::Deliver => effects.extend(self.undo_failure(&letter).await?),
        }
        self.end_dead_letter(id, effects, DeadLetterEnd::Replay).await?;
        self.shared.wake(letter.lane);
        Ok(())
    }

    /// Gives a dead letter's work up.
    ///
    /// # Errors
    /// See [`DeskError`]; it stays.
    pub async fn drop_dead_letter(&self, id: DeadLetterId) -> Result<(), DeskError> {
        self.dead_letter(id).await?;
        self.end_dead_letter(id, vec![Effect::ClearDeadLetterAttention], DeadLetterEnd::Drop).await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<DeadLetter, DeskError> {
        self.shared.store.dead_letter(id).await?.ok_or(DeskError::NotFound("dead letter"))
    }

    async fn end_dead_letter(
        &self,
        id: DeadLetterId,
        effects: Vec<Effect>,
        end: DeadLetterEnd,
    ) -> Result<(), DeskError> {
        let operation = self.shared.ids.operation();
        let applied =
            self.shared.store.requeue(Requeue { operation, dead_letter: id, guards: Vec::new(), effects, end }).await?;
        match applied {
            Applied::Done { .. } => Ok(()),
            _ => Err(DeskError::NotFound("dead letter")),
        }
    }

    /// Parts that are not out become ready again; those that are stay out.
    async fn undo_failure(&self, letter: &DeadLetter) -> Result<Vec<Effect>, DeskError> {
        let after = Seq(letter.seq.0.saturating_sub(1));
        let events = self.shared.store.events(letter.conversation, after, whole(1)).await?;
        let first = events.and_then(|events| events.data.into_iter().next());
        let Some(message) = first.as_ref().and_then(|event| event.body.message()) else {
            return Err(DeskError::Invalid("the message of this dead letter is gone".into()));
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

    async fn apply(
        &self,
        conversation: ConversationId,
        guards: Vec<Guard>,
        effects: Vec<Effect>,
    ) -> Result<Version, DeskError> {
        let operation = self.shared.ids.operation();
        let append = Append { operation, conversation, once: None, guards, effects };
        let mut applied = self.shared.store.append(append.clone()).await;
        if matches!(applied, Err(StoreError::Unavailable(_))) {
            // It may have run: the same operation once more tells, and does nothing twice.
            applied = self.shared.store.append(append).await;
        }
        match applied? {
            Applied::Done { version, .. } => Ok(version),
            Applied::Guarded { failed: Guard::OwnerIs(_), version } => Err(DeskError::TakenOver { version }),
            Applied::Guarded { version, .. } => Err(DeskError::VersionConflict { version }),
            Applied::Repeated { version, .. } => Ok(version),
            Applied::LeaseLost | Applied::NotFound | Applied::KeyReused => Err(DeskError::NotFound("conversation")),
        }
    }
}

/// So many rows, however large.
fn whole(rows: usize) -> Take {
    Take { rows, bytes: usize::MAX }
}

fn read_seq(page: &str) -> Result<Seq, DeskError> {
    page.parse().map(Seq).map_err(|_| DeskError::Invalid("page: not a page that an answer gave as next".into()))
}
