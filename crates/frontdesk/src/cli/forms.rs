//! The API's JSON, as far as it is shown here. What is not known is passed over, so that a newer daemon can still be asked.

use frontdesk_model::{ConversationId, Timestamp};
use serde::Deserialize;

/// `GET /v1/status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) daemon: Process,
    pub(super) store: Store,
    #[serde(default)]
    pub(super) daemons: Vec<Present>,
    pub(super) agent: Agent,
    pub(super) channels: Vec<Channel>,
    pub(super) lanes: Vec<Lane>,
    pub(super) conversations: Counts,
    pub(super) dead_letters: u64,
    pub(super) unwell: Vec<String>,
}

/// One daemon of those on the store.
#[derive(Debug, Deserialize)]
pub(super) struct Present {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) started_at: Timestamp,
    pub(super) seen_at: Timestamp,
    pub(super) this: bool,
    pub(super) agent_in_hand: u64,
    pub(super) deliver_in_hand: u64,
    pub(super) holds: Vec<String>,
    pub(super) unwell: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Process {
    pub(super) version: String,
    pub(super) started_at: Timestamp,
    pub(super) now: Timestamp,
    #[serde(default)]
    pub(super) public_url: Option<String>,
    #[serde(default)]
    pub(super) stopping: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Store {
    pub(super) name: String,
    pub(super) durability: String,
    pub(super) room: bool,
    pub(super) reason: Option<String>,
}

/// How an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Well,
    Unwell,
    Stopped,
    Absent,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
pub(super) struct Agent {
    pub(super) state: State,
    pub(super) since: Option<Timestamp>,
    pub(super) reason: Option<String>,
    pub(super) in_hand: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) kind: Option<String>,
    pub(super) state: State,
    pub(super) since: Option<Timestamp>,
    pub(super) reason: Option<String>,
    pub(super) last_received_at: Option<Timestamp>,
    pub(super) last_sent_at: Option<Timestamp>,
    pub(super) waiting: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Lane {
    pub(super) lane: String,
    pub(super) channel: String,
    pub(super) ready: u64,
    pub(super) claimed: u64,
    pub(super) parked: u64,
    pub(super) oldest_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Counts {
    pub(super) open: u64,
    pub(super) pending: u64,
    pub(super) resolved: u64,
}

/// A conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Conversation {
    pub(super) id: ConversationId,
    pub(super) version: u64,
    pub(super) status: String,
    pub(super) owner: String,
    #[serde(default)]
    pub(super) assignee: Option<String>,
    pub(super) attention: Option<String>,
    #[serde(default)]
    pub(super) snoozed_until: Option<Timestamp>,
    pub(super) channel: String,
    pub(super) kind: String,
    pub(super) thread: String,
    pub(super) subject: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

/// A message of a conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) direction: String,
    pub(super) author: Author,
    pub(super) text: String,
    #[serde(default)]
    pub(super) private: bool,
    #[serde(default)]
    pub(super) auto_generated: bool,
    #[serde(default)]
    pub(super) attachments: Vec<Attachment>,
    pub(super) received_at: Timestamp,
    #[serde(default)]
    pub(super) status: Option<String>,
}

/// A file of a message.
#[derive(Debug, Deserialize)]
pub(super) struct Attachment {
    pub(super) name: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) media_type: Option<String>,
    #[serde(default)]
    pub(super) size: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Author {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
}

impl Author {
    /// Their name, or what else there is.
    pub(super) fn shown(&self) -> &str {
        self.name.as_deref().filter(|name| !name.is_empty()).or(self.id.as_deref()).unwrap_or(&self.kind)
    }
}

/// An event of the live stream.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) timestamp: Timestamp,
    pub(super) data: EventData,
}

#[derive(Debug, Deserialize)]
pub(super) struct EventData {
    pub(super) conversation: Conversation,
    #[serde(default)]
    pub(super) message: Option<Message>,
    #[serde(default)]
    pub(super) delivery: Option<Delivery>,
    #[serde(default)]
    pub(super) change: Option<Change>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Delivery {
    pub(super) status: String,
    pub(super) error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Change {
    pub(super) by: String,
    pub(super) status: String,
    pub(super) owner: String,
    pub(super) assignee: Option<String>,
    pub(super) attention: Option<String>,
    pub(super) snoozed_until: Option<Timestamp>,
    pub(super) reason: Option<String>,
}

/// What was given up.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct DeadLetter {
    pub(super) id: String,
    pub(super) conversation_id: String,
    pub(super) lane: String,
    pub(super) seq: u64,
    pub(super) event_id: String,
    pub(super) channel: String,
    pub(super) reason: String,
    pub(super) attempts: u64,
    pub(super) at: Timestamp,
}

/// An accepted reply.
#[derive(Debug, Deserialize)]
pub(super) struct Replied {
    #[serde(default)]
    pub(super) conversation_id: Option<String>,
    pub(super) version: u64,
    pub(super) messages: Vec<RepliedMessage>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RepliedMessage {
    pub(super) id: String,
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) degraded: Vec<String>,
}
