//! What an engine is made of.

use std::{sync::Arc, time::Duration};

use frontdesk_attachments::{Exempt, Files};
use frontdesk_model::{AccountId, Adapter, ChannelName, KindName, Secret};

/// What the operator decided, checked.
#[derive(Clone, Default)]
pub struct EngineOptions {
    /// What this daemon is called among those on the same store: its machine and process.
    pub name: String,
    /// Where this daemon is reached from outside, without a final slash: what `reply_url` starts with.
    pub public_url: String,
    /// The agent endpoint. `None`: new conversations belong to the desk.
    pub agent: Option<AgentOptions>,
    /// Every channel.
    pub channels: Vec<ConnectedChannel>,
    /// Where attachments' bytes lie. `None`: none are kept, and what a message brings fails.
    pub files: Option<Files>,
    /// Whose attachments are fetched though they lie on an address that is not public: the business's own systems.
    pub exempt: Vec<Exempt>,
    /// And those of replies.
    pub exempt_for_replies: Vec<Exempt>,
    /// What is older is taken out of the store, in passes an hour apart. `None`: everything is kept.
    pub retention: Option<Duration>,
}

/// The one agent endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentOptions {
    /// Where events are posted, or the base of a chat-completions server.
    pub url: url::Url,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Longest wait for the first byte of an answer, and between two; the whole answer may take ten times as long.
    pub timeout: Duration,
    /// How many earlier messages go along with an event, as far as they fit in 256 kB together.
    pub history: usize,
    /// At most this many requests at once.
    pub concurrency: usize,
    /// How long to wait for a customer who writes in bursts: an event goes out once this long nothing more came, and at the
    /// latest after five times as long. Zero: at once.
    pub coalesce: Duration,
    /// A conversation that is not answered for so long is shown to the desk. `None`: never for that reason.
    pub fallback: Option<Duration>,
}

/// What is spoken with the agent endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// Events and replies.
    Frontdesk {
        /// Standard Webhooks secrets (`whsec_...`); all of them sign, so that they can be changed one by one. Not empty.
        secrets: Vec<Secret>,
    },
    /// Chat completions.
    OpenAi(OpenAiOptions),
}

/// A language model as the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAiOptions {
    /// What the server wants as bearer token.
    pub api_key: Option<Secret>,
    /// Which model to ask for.
    pub model: String,
    /// What the model is told about its work.
    pub instructions: Option<String>,
}

/// A channel that is ready to run.
#[derive(Clone)]
pub struct ConnectedChannel {
    /// Its name in the configuration.
    pub name: ChannelName,
    /// Its kind.
    pub kind: KindName,
    /// The account it speaks as.
    pub account: AccountId,
    /// The channel.
    pub adapter: Arc<dyn Adapter>,
}
