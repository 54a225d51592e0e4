//! Whether what a store holds fits together.
//!
//! A check reads, and changes nothing. It goes a bounded step at a time, as how things leave a store does, so that it may run beside
//! everything else: each step looks at one state of the store, and what changes between two steps is no flaw.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{AttachmentId, ConversationId, StoreError, Stored};

/// What a store that can be checked owes.
#[async_trait]
pub trait Checked: Send + Sync {
    /// Looks at some of what is there, one step of a pass over everything.
    async fn check(&self, look: Look) -> Result<Looked, StoreError>;
}

/// One step of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Looks at about this many rows; at least 1.
    pub rows: usize,
    /// What the step before gave as [`Looked::resume`]; `None` begins a pass.
    pub resume: Option<String>,
}

/// What one step found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// What does not fit.
    pub flaws: Vec<Flaw>,
    /// Conversations that the step has come to the end of.
    pub conversations: u64,
    /// Events that it looked at.
    pub events: u64,
    /// Attachments whose bytes should be here, by what it looked at. A store does not look for them: they lie beside it.
    pub stored: Vec<(AttachmentId, Stored)>,
    /// Where the pass goes on; `None` when it is over. Opaque.
    pub resume: Option<String>,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaw {
    /// What sort of thing.
    pub kind: FlawKind,
    /// In which conversation, where it is in one.
    pub conversation: Option<ConversationId>,
    /// What it is, in a sentence without addresses, secrets or customers' text.
    pub what: String,
}

/// What sort of thing does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlawKind {
    /// The file itself is damaged.
    File,
    /// Something is stored in a form that cannot be read.
    Unreadable,
    /// A log has a gap, goes beyond its ends, or belongs to nobody.
    Log,
    /// A lane stands outside its log, or has something to do that is not in it.
    Lane,
    /// What is to be done is not where it would be looked for, or what is looked for there has nothing to do.
    Schedule,
    /// A claim that does not end.
    Claim,
    /// What became of a message and what became of its parts are two stories.
    Delivery,
    /// What finds a message by its id does not find it, or finds something else.
    Message,
    /// What knows a message that comes again leads nowhere.
    Known,
    /// Who takes part in a conversation is not who it says, or is not known.
    Participant,
    /// A dead letter leads nowhere, or the attention that is asked for it has none.
    DeadLetter,
    /// The thread does not lead to its conversation.
    Thread,
    /// The bytes of an attachment are not where they should be.
    Attachment,
    /// A list or a timer shows the conversation as it is not.
    List,
}

impl FlawKind {
    /// As it is written in answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Unreadable => "unreadable",
            Self::Log => "log",
            Self::Lane => "lane",
            Self::Schedule => "schedule",
            Self::Claim => "claim",
            Self::Delivery => "delivery",
            Self::Message => "message",
            Self::Known => "known",
            Self::Participant => "participant",
            Self::DeadLetter => "dead_letter",
            Self::Thread => "thread",
            Self::Attachment => "attachment",
            Self::List => "list",
        }
    }
}
