//! The log's facts.

use serde::{Deserialize, Serialize};

use crate::{
    AttachmentId, Attention, Author, Button, ContactId, Content, DeliveryStatus, Direction, EventId, Message,
    MessageId, Owner, Seq, Status, Timestamp,
};

/// A fact in a conversation's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id: what the agent endpoint sees as `webhook-id` on every attempt.
    pub id: EventId,
    /// Its place in the conversation's log.
    pub seq: Seq,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum EventBody {
    /// Something was said.
    #[serde(rename = "message.created")]
    MessageCreated {
        /// What.
        message: Message,
    },
    /// Something had been said here and was erased: only that there was something is left.
    #[serde(rename = "message.deleted")]
    MessageDeleted {
        /// What it was called.
        message_id: MessageId,
    },
    /// Somebody changed what they had said. The message says so too from then on.
    #[serde(rename = "message.edited")]
    MessageEdited {
        /// As it is after the change.
        message: Box<Message>,
        /// Its own place in the log.
        seq: Seq,
        /// What it said before.
        before: Content,
        /// Who changed it.
        by: Author,
    },
    /// Our side takes back what it had said. The log keeps it; the platform is asked to take it away.
    #[serde(rename = "message.withdrawn")]
    MessageWithdrawn {
        /// Which message.
        message_id: MessageId,
        /// Who takes it back.
        by: Author,
    },
    /// Somebody reacted to a message.
    #[serde(rename = "reaction.added")]
    ReactionAdded(Reaction),
    /// Somebody took a reaction back.
    #[serde(rename = "reaction.removed")]
    ReactionRemoved(Reaction),
    /// Somebody pressed a button under a message of ours.
    #[serde(rename = "button.pressed")]
    ButtonPressed {
        /// Which.
        button: Button,
        /// Under which message; `None` where that is not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<MessageId>,
        /// Who.
        by: Author,
    },
    /// The platform sent something that could not be read. It is kept as it came, for a later version of this program.
    #[serde(rename = "input.unreadable")]
    Unreadable {
        /// All of it.
        raw: String,
        /// Why it could not be read, in a sentence without its contents.
        reason: String,
    },
    /// An outbound message reached a status that it does not leave by itself.
    #[serde(rename = "delivery.updated")]
    DeliveryUpdated {
        /// Which message.
        message_id: MessageId,
        /// What became of it.
        status: DeliveryStatus,
        /// How many parts it has.
        parts: u16,
        /// Why it is not `sent`, in a sentence without secrets or customers' text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A message's attachment, which had still to be fetched, is here or will not come. The message says the rest.
    #[serde(rename = "attachment.updated")]
    AttachmentUpdated {
        /// Of which message.
        message_id: MessageId,
        /// Which.
        attachment_id: AttachmentId,
        /// What has become of it.
        state: FetchOutcome,
    },
    /// Status, owner, assignee, attention or snooze changed.
    #[serde(rename = "conversation.updated")]
    ConversationUpdated {
        /// Who changed it: `agent`, `system`, or a teammate's or token's name.
        by: String,
        /// The status now.
        status: Status,
        /// The owner now.
        owner: Owner,
        /// The attention now.
        attention: Option<Attention>,
        /// The assignee now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assignee: Option<String>,
        /// Until when it sleeps now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snoozed_until: Option<Timestamp>,
        /// Why, as whoever changed it said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A reaction to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// To which message; `None` where that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// An emoji; or, for one that is no character, what the platform calls it.
    pub reaction: String,
    /// Whose.
    pub by: Author,
}

/// How the fetching of an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FetchOutcome {
    /// Its bytes are here.
    Stored,
    /// They could not be had.
    Failed,
}

impl EventBody {
    /// The type as the wire has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MessageCreated { .. } => "message.created",
            Self::MessageEdited { .. } => "message.edited",
            Self::MessageDeleted { .. } | Self::MessageWithdrawn { .. } => "message.deleted",
            Self::ReactionAdded(_) => "reaction.added",
            Self::ReactionRemoved(_) => "reaction.removed",
            Self::ButtonPressed { .. } => "button.pressed",
            Self::Unreadable { .. } => "input.unreadable",
            Self::DeliveryUpdated { .. } => "delivery.updated",
            Self::AttachmentUpdated { .. } => "attachment.updated",
            Self::ConversationUpdated { .. } => "conversation.updated",
        }
    }

    /// The message it brings, if it brings one.
    #[must_use]
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::MessageCreated { message } => Some(message),
            _ => None,
        }
    }

    /// Whether it is something that a contact said or did and that somebody on our side should answer: a message, unless a
    /// program wrote it by itself, or a pressed button.
    #[must_use]
    pub fn waits_for_answer(&self) -> bool {
        match self {
            Self::MessageCreated { message } => message.direction == Direction::Inbound && !message.auto_generated,
            Self::ButtonPressed { .. } => true,
            _ => false,
        }
    }

    /// Who said or did it, where that is known.
    #[must_use]
    pub fn author(&self) -> Option<&Author> {
        match self {
            Self::MessageCreated { message } => Some(&message.author),
            Self::MessageEdited { by, .. } | Self::MessageWithdrawn { by, .. } | Self::ButtonPressed { by, .. } => {
                Some(by)
            }
            Self::ReactionAdded(reaction) | Self::ReactionRemoved(reaction) => Some(&reaction.by),
            _ => None,
        }
    }

    /// The contact who said or did it, if one did.
    #[must_use]
    pub fn contact(&self) -> Option<ContactId> {
        match self.author() {
            Some(Author::Contact { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// What is left of it when everything that is this contact's is erased, or, `alone`, when nobody else takes part in the
    /// conversation: then what was said to them goes too. `None`: it stays as it is.
    #[must_use]
    pub fn without(&self, contact: ContactId, alone: bool) -> Option<Self> {
        let theirs = |author: &Author| matches!(author, Author::Contact { id, .. } if *id == contact);
        let reaction = |Reaction { message_id, by, .. }: &Reaction| {
            (alone || theirs(by)).then(|| Reaction {
                message_id: *message_id,
                reaction: String::new(),
                by: Author::System,
            })
        };
        match self {
            Self::MessageCreated { message } if alone || theirs(&message.author) => {
                Some(Self::MessageDeleted { message_id: message.id })
            }
            Self::MessageEdited { message, by, .. } if alone || theirs(by) || theirs(&message.author) => {
                Some(Self::MessageDeleted { message_id: message.id })
            }
            Self::ReactionAdded(it) => reaction(it).map(Self::ReactionAdded),
            Self::ReactionRemoved(it) => reaction(it).map(Self::ReactionRemoved),
            Self::ButtonPressed { message_id, by, .. } if alone || theirs(by) => Some(Self::ButtonPressed {
                button: Button { id: String::new(), label: String::new() },
                message_id: *message_id,
                by: Author::System,
            }),
            Self::Unreadable { .. } if alone => {
                Some(Self::Unreadable { raw: String::new(), reason: "it was erased".into() })
            }
            Self::ConversationUpdated { by, status, owner, attention, assignee, snoozed_until, reason: Some(_) }
                if alone =>
            {
                Some(Self::ConversationUpdated {
                    by: by.clone(),
                    status: *status,
                    owner: *owner,
                    attention: *attention,
                    assignee: assignee.clone(),
                    snoozed_until: *snoozed_until,
                    reason: None,
                })
            }
            _ => None,
        }
    }

    /// Whether a contact did it.
    #[must_use]
    pub fn is_by_contact(&self) -> bool {
        self.contact().is_some()
    }
}
