//! Messages and their content.

use serde::{Deserialize, Serialize};

use crate::{Attachment, AttachmentId, ContactId, ExternalId, MessageId, Timestamp};

/// One unit said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// In or out.
    pub direction: Direction,
    /// Who said it.
    pub author: Author,
    /// What the platform calls it; of an inbound message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// What was said.
    pub content: Content,
    /// Files that came with it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// What can be pressed under it, of an outbound message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// The message it answers, when the platform or the agent says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Only our side sees it: it is never sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// What a program wrote by itself (an out-of-office note). Never answered automatically.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_generated: bool,
    /// When the sender's side says that it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When we took it.
    pub received_at: Timestamp,
    /// The words that it answers, when the sender picked some out of a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Whose words these were first, when it was passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<String>,
    /// When it was last changed by whoever said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// Until then more may come to it: it came as the first of several that belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settles_at: Option<Timestamp>,
}

impl Message {
    /// Whether something of it has still to be fetched.
    #[must_use]
    pub fn awaits_attachments(&self) -> bool {
        self.attachments.iter().any(Attachment::is_pending)
    }

    /// Until when more may come to it, where that moment is still ahead.
    #[must_use]
    pub fn settles_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.settles_at.filter(|at| *at > now)
    }

    /// One of its attachments.
    #[must_use]
    pub fn attachment(&self, id: AttachmentId) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.id == id)
    }
}

/// Something that can be pressed under a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Button {
    /// What comes back when it is pressed: 1 to [`Button::MAX_ID`] bytes.
    pub id: String,
    /// What stands on it: 1 to [`Button::MAX_LABEL`] characters.
    pub label: String,
}

impl Button {
    /// The longest id, in bytes: what every platform that has buttons carries.
    pub const MAX_ID: usize = 64;
    /// The longest label, in characters.
    pub const MAX_LABEL: usize = 80;
    /// A message has at most so many.
    pub const MAX_OF_A_MESSAGE: usize = 25;
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a contact.
    Inbound,
    /// To a contact.
    Outbound,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Author {
    /// A person on the other side.
    Contact {
        /// Who.
        id: ContactId,
        /// Their name at that time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// The agent endpoint.
    Agent,
    /// A person of the business.
    Teammate {
        /// The name that the customer may see.
        name: String,
    },
    /// Frontdesk itself.
    System,
}

/// What was said, in the form it came. At least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Literal text: every character means itself.
    Text(String),
    /// CommonMark.
    Markdown(String),
}

impl Content {
    /// The characters as they came, whichever form they have.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Text(source) | Self::Markdown(source) => source,
        }
    }
}

/// How far an outbound message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Waits for its turn. Left by `sending`.
    Queued,
    /// Its parts are frozen and some may be out. Left by every other status but `queued`.
    Sending,
    /// The platform has every part. Final, until a receipt comes.
    Sent,
    /// A part was refused and none is visible. Left only by a replay.
    Failed,
    /// A part was refused after others had gone out. Left only by a replay.
    Partial,
    /// A part may or may not be visible; nothing is repeated without being asked. Left only by a replay.
    Uncertain,
    /// Never sent: the conversation had moved on when it was written. Final.
    Discarded,
}
