//! Conversations and the people in them.

use serde::{Deserialize, Serialize};

use crate::{ChannelName, ContactId, ConversationId, MessageId, Seq, ThreadKey, Timestamp, Version};

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConversationStatus)]
pub enum Status {
    /// Somebody on our side has something to do. Left by `pending` or `resolved`.
    Open,
    /// Waits for the customer; their next message opens it.
    Pending,
    /// Done; the customer's next message opens it again.
    Resolved,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The agent endpoint gets the events.
    Agent,
    /// Teammates answer; the agent gets nothing until it is handed back.
    Desk,
}

/// Why the desk should look at a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// Some work of it became a dead letter.
    DeadLetter,
    /// The agent handed it over.
    Handoff,
    /// The agent has not answered in time.
    Fallback,
}

/// One ordered thread on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The channel of its latest inbound message.
    pub channel: ChannelName,
    /// What its messages have in common on the platform.
    pub thread: ThreadKey,
    /// Where it stands.
    pub status: Status,
    /// Who answers.
    pub owner: Owner,
    /// Why the desk should look, if it should.
    pub attention: Option<Attention>,
    /// The teammate who looks after it, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Until when it sleeps. Left when that moment comes, when a contact writes and when the status is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<Timestamp>,
    /// See [`Version`].
    pub version: Version,
    /// Its subject, on channels that have one.
    pub subject: Option<String>,
    /// What the contact brought along when it began: the payload of the link that they followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Everyone on the other side who has written, in order of appearance.
    pub participants: Vec<ContactId>,
    /// The log's first event that is kept; behind the last one when none is.
    #[serde(default = "Seq::first", skip_serializing_if = "Seq::is_first")]
    pub first_seq: Seq,
    /// The log's last event.
    pub last_seq: Seq,
    /// The first message of a contact that nobody has answered.
    pub unanswered_from: Option<Seq>,
    /// By when that message should be answered; the desk is asked to look when it is not. Goes with `unanswered_from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_by: Option<Timestamp>,
    /// When our side first answered a contact here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answered_at: Option<Timestamp>,
    /// The messages that the agent is asked about together, fixed before the first attempt at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// Attachments that have still to be fetched, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetching: Option<Fetching>,
    /// Replies discarded since the agent was last told.
    pub discarded: Vec<MessageId>,
    /// When its first message was received.
    pub created_at: Timestamp,
    /// When its log last grew.
    pub updated_at: Timestamp,
}

/// Where in a log attachments have still to be fetched, and when that is looked at next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetching {
    /// Events before this one have nothing to be fetched.
    pub from: Seq,
    /// The last event that brought something to be fetched.
    pub through: Seq,
    /// When it is looked at. Who fetches moves this on first, so that nobody else does meanwhile.
    pub at: Timestamp,
}

/// Consecutive events that go to the agent as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The first.
    pub from: Seq,
    /// The last, under whose id they go.
    pub through: Seq,
}

/// A person on the other side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// See [`ContactId`].
    pub id: ContactId,
    /// What they call themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Their language, as a BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Their addresses.
    pub identities: Vec<Identity>,
}

/// One address of a contact on a kind of channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Identity {
    /// `webhook`, `email`, ...: where the address is valid.
    pub kind: String,
    /// The address.
    pub value: String,
    /// How sure we are that it is theirs.
    pub trust: Trust,
}

/// How sure we are that an address is the contact's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The platform, or the business's own signed request, vouches for it.
    Verified,
    /// Somebody said so.
    Asserted,
    /// Inferred.
    Guess,
}
