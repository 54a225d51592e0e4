//! What a channel can do, and what became of one send.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a channel can do: data, not code, so that the engine and the agent can plan with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The longest text of one part, in `unit`s. `None`: no limit of the channel's own.
    pub max_text: Option<usize>,
    /// What `max_text` counts.
    pub unit: TextUnit,
    /// Whether messages can carry buttons.
    pub buttons: bool,
    /// Whether a sent message can be changed.
    pub edit: bool,
    /// Whether a sent message can be taken back.
    pub delete: bool,
    /// Whether what comes in names sent messages by their ids (an answer to one, a reaction), which do not repeat in the account: then
    /// those are remembered.
    pub refers: bool,
    /// Whether messages can carry files.
    pub attachments: bool,
    /// Whether the other side can be shown that an answer is being written.
    pub typing: bool,
    /// Whether messages can be sent at all.
    pub outbound: bool,
    /// What sending a part again does after an ambiguous end.
    pub resend: Resend,
}

/// What a channel counts a text's length in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextUnit {
    /// UTF-16 code units.
    Utf16,
    /// Unicode code points.
    CodePoints,
    /// Bytes of UTF-8.
    Bytes,
}

/// What sending a part a second time does when nobody knows what became of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// The far end recognises the part's key and shows it once: safe to repeat.
    SameKey,
    /// The far end has no key: a repeat may be seen twice, so the engine does not repeat.
    MayDouble,
    /// The far end has no key, and the operator would rather have a part seen twice than not at all: repeated.
    Wanted,
}

/// What became of one send of one part. An adapter says what happened; the engine decides what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The platform has it.
    Sent {
        /// What the platform calls it, if it says so.
        external_id: Option<String>,
    },
    /// Certainly not delivered; may be tried again.
    RetryAfter {
        /// Not sooner than this, when the platform names a span.
        after: Option<Duration>,
        /// What has to wait.
        scope: Scope,
        /// Why, without secrets or customers' text.
        reason: String,
    },
    /// Certainly not delivered, and trying again would end the same.
    Failed {
        /// What is refused.
        scope: Scope,
        /// Why, without secrets or customers' text.
        reason: String,
    },
    /// Perhaps delivered: the connection ended after bytes had gone out.
    Uncertain {
        /// What was seen.
        reason: String,
    },
}

/// How far an outcome reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This message alone.
    Message,
    /// Everything on the channel.
    Channel,
}
