//! What the interface is made of, checked by whoever read the configuration.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use frontdesk_model::{ChannelName, Route, Secret};

use crate::Network;

/// What the operator decided.
#[derive(Clone, Default)]
pub struct HttpOptions {
    /// Who may come in.
    pub tokens: Vec<TokenGrant>,
    /// What clients are held to.
    pub limits: Limits,
    /// Writes down the metrics as Prometheus reads them. `None`: there is no such page.
    pub metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("tokens", &self.tokens)
            .field("limits", &self.limits)
            .field("metrics", &self.metrics.is_some())
            .field("trusted_proxies", &self.trusted_proxies)
            .finish()
    }
}

/// A bearer token and what it opens.
#[derive(Debug, Clone)]
pub struct TokenGrant {
    /// Its name in the configuration: how its words and changes are signed.
    pub name: String,
    /// The token. An empty one opens nothing.
    pub token: Secret,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Where it may do it; `None`: on all channels.
    pub channels: Option<Vec<ChannelName>>,
}

/// A channel with routes of its own, mounted under `/v1/channels/{name}`.
#[derive(Clone)]
pub struct MountedChannel {
    /// Its name.
    pub name: ChannelName,
    /// What its adapter handed over.
    pub routes: Vec<Route>,
}

/// One thing that a token may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Hands in messages, by the channels' own routes; nothing else.
    Ingest,
    /// Reads and answers conversations.
    Agent,
    /// Reads and answers conversations, and changes owner, status and attention.
    Desk,
    /// Everything.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Agent, Self::Desk, Self::Admin];

    /// As the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Agent => "agent",
            Self::Desk => "desk",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Ingest => 1,
            Self::Agent => 2,
            Self::Desk => 4,
            Self::Admin => 8,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope; write ingest, agent, desk or admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(UnknownScope)
    }
}

/// Several scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeSet(u8);

impl ScopeSet {
    /// Whether exactly this one was given; see [`ScopeSet::allows_any`] for whether something may be done.
    #[must_use]
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether what needs one of these may be done. `admin` may do everything.
    #[must_use]
    pub fn allows_any(self, scopes: &[Scope]) -> bool {
        self.contains(Scope::Admin) || scopes.iter().any(|scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope.bit()))
    }
}

/// What every client is held to, whoever it is.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel's backlog. Keep it well below the limit of open files.
    pub connections: usize,
    /// How long a request's head may take to arrive in full, counted from the end of the answer before it or from the
    /// connection's start: so also how long a connection may lie idle.
    pub head_time: Duration,
    /// A request's head (request line and headers) in bytes. The number of headers is bounded too, at 100.
    pub head_bytes: usize,
    /// How long a request's whole body may take to arrive.
    pub body_time: Duration,
    /// How long a request may take, from its head to its answer, its body included.
    pub request_time: Duration,
    /// How long a client may take over an answer, counted from when the connection could hold no more of it.
    pub answer_time: Duration,
    /// How long a connection that we end is still listened to, so that a client in the middle of sending sees the answer
    /// instead of a reset.
    pub farewell_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head_time: Duration::from_secs(30),
            head_bytes: 32 * 1024,
            body_time: Duration::from_secs(30),
            request_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(30),
            farewell_time: Duration::from_secs(2),
        }
    }
}
