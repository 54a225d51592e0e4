//! The log's facts.

use serde::{Deserialize, Serialize};

use crate::{
    AttachmentId, Attention, DeliveryStatus, Direction, EventId, Message, MessageId, Owner, Seq, Status, Timestamp,
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
            Self::MessageDeleted { .. } => "message.deleted",
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

    /// Whether it is a contact's message that somebody on our side should answer: what a program wrote by itself is not.
    #[must_use]
    pub fn waits_for_answer(&self) -> bool {
        self.message().is_some_and(|message| message.direction == Direction::Inbound && !message.auto_generated)
    }

    /// Whether a contact did it.
    #[must_use]
    pub fn is_by_contact(&self) -> bool {
        self.message().is_some_and(|message| message.direction == Direction::Inbound)
    }
}
