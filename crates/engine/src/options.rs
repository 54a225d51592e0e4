//! What an engine is made of.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{AccountId, Adapter, ChannelName, KindName, Secret};

/// What the operator decided, checked.
pub struct EngineOptions {
    /// Where this daemon is reached from outside, without a final slash: what `reply_url` starts with.
    pub public_url: String,
    /// The agent endpoint. `None`: new conversations belong to the desk.
    pub agent: Option<AgentOptions>,
    /// Every channel.
    pub channels: Vec<ConnectedChannel>,
}

/// The one agent endpoint.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Where events are posted.
    pub url: url::Url,
    /// Standard Webhooks secrets (`whsec_...`); all of them sign, so that they can be changed one by one. Not empty.
    pub secrets: Vec<Secret>,
    /// Longest wait for the first byte of an answer, and between two; the whole answer may take ten times as long.
    pub timeout: Duration,
    /// How many earlier messages go along with an event.
    pub history: usize,
    /// At most this many requests at once.
    pub concurrency: usize,
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
