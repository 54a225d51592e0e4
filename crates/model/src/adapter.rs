//! What a channel owes. One implementation per kind.
//!
//! In the order in which they are called: [`Kind::validate`] (no input or output), [`ChannelConfig::build`],
//! [`Adapter::routes`] and [`Adapter::receive`] (with the inbox), [`Adapter::render`] and [`Adapter::send`].
//! The obligations stand on the methods; the adapter suite in `testkit` checks them.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, AttachmentId, Budget, Capabilities, ChannelName, Clock, Contact, Content, ConversationId, ExternalId,
    FileAt, Key, KindName, Message, MessageId, Outcome, Problem, RouteDocument, Settings, ThreadId, Timestamp,
};

/// One kind of channel: knows its settings and makes channels of them.
pub trait Kind: Send + Sync {
    /// What `kind = ".."` says in the configuration.
    fn name(&self) -> KindName;

    /// Every key of the channel's table but `kind`.
    fn keys(&self) -> &'static [Key];

    /// Checks the settings: every mistake at once. No input or output: the same settings give the same answer anywhere.
    ///
    /// # Errors
    /// All that is wrong, each with its mend.
    fn validate(&self, channel: &ChannelName, settings: &Settings) -> Result<Box<dyn ChannelConfig>, Vec<Problem>>;

    /// What [`Adapter::routes`] of every channel of this kind serves.
    fn routes(&self) -> Vec<RouteDocument> {
        Vec::new()
    }
}

/// Checked settings of one channel. Cannot be wrong any more.
pub trait ChannelConfig: Send + Sync + fmt::Debug {
    /// The account that the channel speaks as. Must outlive a renaming of the channel where the platform has accounts.
    fn account(&self) -> AccountId;

    /// Makes the channel. May prepare clients; opens no connection yet.
    ///
    /// # Errors
    /// The machine does not provide what is needed, in a sentence for the operator.
    fn build(&self, surroundings: Surroundings) -> Result<Arc<dyn Adapter>, BuildError>;
}

/// What a channel is made in.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where this daemon is reached from outside, without a slash at its end, if the operator said so. A channel's routes lie
    /// under `{public_url}/v1/channels/{channel}`.
    pub public_url: Option<String>,
}

/// A channel could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(pub String);

/// One running channel.
#[async_trait]
pub trait Adapter: Send + Sync {
    /// What the channel can do. Constant for the adapter's life.
    fn capabilities(&self) -> &Capabilities;

    /// Whether its platform allows one connection at a time: then, of several daemons on one store, one receives.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// The HTTP routes that the platform, or the business's own systems, write to. Mounted under
    /// `/v1/channels/{channel}`.
    ///
    /// A handler owes: an answer of 2xx only after [`Inbox::accept`] returned; input that cannot be understood gets an
    /// error that names the mistake; nothing of the input in logs.
    fn routes(&self, inbox: Arc<dyn Inbox>) -> Vec<Route>;

    /// Asks the far end, once, whether it would take messages. Sends nothing that a customer could see.
    ///
    /// # Errors
    /// What is wrong and what to do about it.
    async fn probe(&self) -> Result<(), ProbeError>;

    /// Receives until it is dropped: the future may be dropped at any await, and nothing that was accepted before is lost
    /// and nothing unaccepted confirmed. Confirms to the platform only what [`Inbox::accept`] returned for, in order.
    /// A channel that only has routes stays pending.
    ///
    /// # Errors
    /// It cannot go on; the daemon says so and calls it again after a while.
    async fn receive(&self, inbox: Arc<dyn Inbox>) -> Result<(), ReceiveError>;

    /// Turns an outbound message into the parts that will be sent, in order; at least one. Pure: the same message gives
    /// the same parts. The engine stores them before the first is sent and never asks again for that message, so
    /// a part must hold all that [`Adapter::send`] needs. Truncates nothing.
    fn render(&self, message: &Outgoing) -> Vec<FrozenPart>;

    /// What of this the channel cannot show as it is written, by the stable names of such losses (`tables`, `headings`, ..). Told
    /// to whoever wrote it before it is sent. Pure.
    fn degraded(&self, content: &Content) -> Vec<&'static str> {
        let _ = content;
        Vec::new()
    }

    /// What the platform allows and this part would be counted against. Empty: nothing is counted. Pure. The engine takes a place
    /// in each, over all daemons, before it sends; the adapter need not count itself.
    fn budgets(&self, thread: &ThreadId, part: &FrozenPart) -> Vec<Budget> {
        let _ = (thread, part);
        Vec::new()
    }

    /// Sends one part, once: no retries of its own. Returns what became of it; after a time-out of its own at the latest,
    /// which must lie below 25 seconds. Says [`Outcome::Uncertain`] whenever the far end may have taken it.
    async fn send(&self, part: &Dispatch<'_>) -> Outcome;

    /// Shows the other side that an answer is being written. May be dropped silently; never fails.
    async fn typing(&self, thread: &ThreadId) {
        let _ = thread;
    }

    /// Replaces a part that was sent, which is called `external_id` there, by another. Once more with the same is no mistake: a
    /// part that says so already counts as sent. Only asked for when [`Capabilities::edit`] says so.
    async fn edit(&self, part: &Dispatch<'_>, external_id: &str) -> Outcome {
        let _ = (part, external_id);
        Outcome::Failed { scope: crate::Scope::Message, reason: "this channel cannot change a sent message".into() }
    }

    /// Takes a part back that was sent, which is called `external_id` there. One that is gone already counts as sent. Only asked for
    /// when [`Capabilities::delete`] says so.
    async fn withdraw(&self, thread: &ThreadId, external_id: &str) -> Outcome {
        let _ = (thread, external_id);
        Outcome::Failed { scope: crate::Scope::Message, reason: "this channel cannot take a sent message back".into() }
    }

    /// Where the bytes of a [`FileAt::Handle`] can be fetched, now. The address may hold a secret: it is used at once and kept nowhere.
    ///
    /// # Errors
    /// The platform does not say.
    async fn locate(&self, handle: &str) -> Result<Located, LocateError> {
        let _ = handle;
        Err(LocateError::Gone("this channel gives its files no names of their own".into()))
    }

    /// Takes an input again that could not be read when it came ([`Happening::Unreadable`]), by a later version of this program.
    ///
    /// # Errors
    /// It still cannot be read; or nothing was taken.
    async fn replay(&self, raw: &str, inbox: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        let _ = (raw, inbox);
        Err(ReceiveError("this channel reads nothing that it kept".into()))
    }

    /// Asks the far end how it is set up, and says what fits and what does not. Sends nothing that a customer could see and changes
    /// nothing.
    async fn inspect(&self) -> Vec<Finding> {
        vec![match self.probe().await {
            Ok(()) => Finding { level: Level::Fine, what: "the far end answers".into(), mend: None },
            Err(error) => Finding { level: Level::Wrong, what: error.to_string(), mend: None },
        }]
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The address. May hold a secret.
    pub url: String,
    /// The host lies where the operator said that the platform is: it may be one that is not on the public Internet.
    pub trusted: bool,
}

/// It cannot be said where a file is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// It will not come: too large, or not there any more.
    #[error("{0}")]
    Gone(String),
    /// Not now.
    #[error("{0}")]
    Later(String),
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was found, in a sentence without secrets.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Fine,
    /// It works, and perhaps not as the operator thinks.
    Warning,
    /// The channel does not work so.
    Wrong,
}

/// The far end would not take messages.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProbeError(pub String);

/// Receiving cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReceiveError(pub String);

/// An outbound message as an adapter renders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The message.
    pub message: Message,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Where it goes.
    pub thread: ThreadId,
    /// Who is written to, where the platform wants to know.
    pub to: Option<Contact>,
    /// What `message.reply_to` is called on the platform.
    pub reply_to_external: Option<ExternalId>,
}

/// What is sent as one platform message: an adapter's own JSON, stored before the first attempt and sent as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FrozenPart(pub serde_json::Value);

/// One attempt at one part.
#[derive(Debug, Clone, Copy)]
pub struct Dispatch<'a> {
    /// The message it belongs to.
    pub message: MessageId,
    /// Its place among the message's parts, from 0. With `message`, its key: the same on every attempt.
    pub index: u16,
    /// What to send.
    pub part: &'a FrozenPart,
    /// Where the message's attachments can be read, signed now. None of those whose bytes are not here.
    pub links: &'a [Link],
}

/// Where an attachment's bytes can be read without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub id: AttachmentId,
    /// The address.
    pub url: String,
    /// Until then.
    pub expires_at: Timestamp,
}

/// Where adapters hand in what they receive.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Takes a message. Returns only after it is durably committed, or known to have been before.
    ///
    /// # Errors
    /// Nothing was taken; confirm nothing, and say to the sender what the error says.
    async fn accept(&self, envelope: Envelope) -> Result<Accepted, InboxError>;

    /// Takes something else that happened. Returns only after it is durably committed, or known to have been before, or known to
    /// concern nothing that is kept here.
    ///
    /// # Errors
    /// Nothing was taken; confirm nothing.
    async fn note(&self, occurrence: Occurrence) -> Result<(), InboxError>;

    /// What this account remembered last under a name.
    ///
    /// # Errors
    /// The store cannot be asked.
    async fn recall(&self, name: &str) -> Result<Option<String>, InboxError>;

    /// Remembers a short text under a name, for good, for this account.
    ///
    /// # Errors
    /// It is not remembered.
    async fn remember(&self, name: &str, value: &str) -> Result<(), InboxError>;
}

/// One thing that a contact did, as an adapter understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The thread it belongs to.
    pub thread: ThreadId,
    /// What the platform calls it; arriving again under the same id it is a duplicate.
    pub external_id: ExternalId,
    /// Where ids repeat across threads: `Thread`. Where they do not: `Account`.
    pub unique_within: UniqueWithin,
    /// Who wrote it.
    pub sender: Sender,
    /// What they wrote.
    pub content: Content,
    /// Files that came with it, of which it is known where they can be fetched.
    pub attachments: Vec<RemoteFile>,
    /// The subject, on channels that have one.
    pub subject: Option<String>,
    /// A program wrote it by itself.
    pub auto_generated: bool,
    /// When the sender's side says it was sent.
    pub sent_at: Option<Timestamp>,
    /// What the platform calls the message that it answers.
    pub reply_to: Option<ExternalId>,
    /// The words that it answers, where the sender picked some out.
    pub quote: Option<String>,
    /// Whose words these were first, when it was passed on.
    pub forwarded_from: Option<String>,
    /// What the platform calls the set that it came in: its items become one message, if they come shortly after each other.
    pub album: Option<String>,
    /// What the sender brought along: the payload of the link that they followed.
    pub origin: Option<String>,
}

/// Something that happened and is no new message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The thread it belongs to.
    pub thread: ThreadId,
    /// What the platform calls it; arriving again under the same id it is a duplicate.
    pub external_id: ExternalId,
    /// Where the ids of messages that it names repeat across threads: `Thread`. Where they do not: `Account`.
    pub unique_within: UniqueWithin,
    /// Who did it.
    pub sender: Option<Sender>,
    /// When the platform says that it happened.
    pub at: Option<Timestamp>,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The sender changed a message of theirs.
    Edited {
        /// Which.
        message: ExternalId,
        /// What it says now.
        content: Content,
        /// Its files now. Empty: as they were.
        attachments: Vec<RemoteFile>,
        /// What it is where that message never came here: a message as it stands now. `None`: nothing.
        unknown: Option<Box<Envelope>>,
    },
    /// The sender changed their reactions to a message. Nothing, where the thread has no conversation.
    Reacted {
        /// To which.
        message: ExternalId,
        /// New ones: emoji, or what the platform calls those that are no character.
        added: Vec<String>,
        /// Those taken back.
        removed: Vec<String>,
    },
    /// The sender pressed a button under a message of ours. Where the thread has no conversation any more, it begins one, with what
    /// stands on the button as their words.
    Pressed {
        /// Under which.
        message: Option<ExternalId>,
        /// The button's id.
        button: String,
        /// What stands on it, if the platform says so.
        label: Option<String>,
    },
    /// Something that whoever looks at the conversation should know: a sentence. Nothing, where the thread has none.
    Told(String),
    /// An input that could not be read, kept as it came; `thread` is not looked at.
    Unreadable {
        /// All of it.
        raw: String,
        /// Why, in a sentence without its contents.
        reason: String,
    },
}

/// A file that lies elsewhere, as whoever sent it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Where.
    pub at: FileAt,
    /// What it is called there, as it came.
    pub name: Option<String>,
}

/// Where a platform's message ids do not repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UniqueWithin {
    /// In the whole account.
    Account,
    /// In one thread.
    Thread,
}

/// Who wrote an inbound message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Their address on this kind of channel, and how sure the adapter is of it.
    pub identity: crate::Identity,
    /// Further addresses that came with the message.
    pub also: Vec<crate::Identity>,
    /// Their name.
    pub name: Option<String>,
    /// Their language, as a BCP 47 tag.
    pub locale: Option<String>,
}

/// A message that is in our hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The message.
    pub message: MessageId,
    /// Whether it was here before.
    pub seen: Seen,
}

/// Whether a message came for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is new.
    New,
    /// It was here before; nothing changed.
    Before,
}

/// A message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// The store is unreachable or full, or the daemon is stopping; the sender should come again.
    #[error("{reason}")]
    Unavailable {
        /// When to come again.
        retry_after: Duration,
        /// Why, for the operator.
        reason: String,
    },
}

/// A route that an adapter hands over. HTTP mounts it without knowing what it does.
#[derive(Clone)]
pub struct Route {
    /// Where it is mounted, and what it is for: a route cannot be served undescribed.
    pub document: RouteDocument,
    /// The largest body that is read, in bytes; more gets 413.
    pub max_body: usize,
    /// What answers.
    pub handler: Arc<dyn RouteHandler>,
}

/// The methods that routes are mounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Writes.
    Post,
}

/// What answers a mounted route.
#[async_trait]
pub trait RouteHandler: Send + Sync {
    /// Answers one request.
    async fn handle(&self, request: RouteRequest) -> RouteResponse;
}

/// A request to a mounted route, its body complete and within the bound.
#[derive(Debug, Clone)]
pub struct RouteRequest {
    /// Header names in lower case, in the order they came; values that are not UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    /// The body's raw bytes: what a signature is checked over.
    pub body: Bytes,
    /// Whether a bearer token of ours came with it that may hand in messages on this channel. A wrong token never gets
    /// here.
    pub bearer: Bearer,
}

impl RouteRequest {
    /// The first header of this name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a request brought a token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bearer {
    /// A valid one with scope `ingest` for this channel.
    Ingest,
    /// None.
    Absent,
}

/// The answer of a mounted route.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteResponse {
    /// Fine.
    Json {
        /// 2xx.
        status: u16,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: serde_json::Value,
    },
    /// Refused.
    Problem(HttpProblem),
}

/// An error as RFC 9457 shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProblem {
    /// 4xx or 5xx.
    pub status: u16,
    /// The stable name of the kind of error, such as `bad-signature`; becomes the last piece of `type`.
    pub slug: &'static str,
    /// The kind of error, in a few words that do not change.
    pub title: &'static str,
    /// What was wrong this time, and what to do about it. Shows no secret.
    pub detail: String,
    /// Seconds, for a `Retry-After` header.
    pub retry_after: Option<u64>,
}
