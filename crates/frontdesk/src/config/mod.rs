//! `channels.toml`: read once, checked once, and then a [`Config`] that cannot be wrong.
//!
//! The way of a configuration: `source` reads the file and lays the environment over it (`environment`), every value
//! with its place; `checker` holds each table against the keys it may have, fetching secrets (`secrets`) and reading
//! spans and sizes (`units`); `sections`, `agent` and `channels` check what is more than shape. Everything wrong is collected
//! as a [`Finding`] with its line, its key and the mend, so that one look at the report mends the whole file.
//!
//! What must never be: a value of the configuration in a finding, in a log or in a `Debug` (any of them may be a secret
//! in the wrong place); a table or key that is silently ignored; a second check further inside.

mod agent;
mod attachments;
mod channels;
mod checker;
mod environment;
mod finding;
mod nearest;
mod secrets;
mod sections;
mod source;
mod store;
mod units;

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use frontdesk_engine::Protocol;
use frontdesk_http::{Network, TokenGrant};
use frontdesk_model::{ChannelConfig, ChannelName, Kind, KindName, Secret, Settings};
use frontdesk_store::{Durability, RedisOptions};
use url::Url;

use self::{checker::Checker, finding::shown_name, source::Content};
pub use self::{
    environment::Environment,
    finding::{Colour, Finding, Place, Refused, Severity, as_json, as_text, warn_of},
};
pub(crate) use self::{nearest::nearest, units::span};

/// What is read when nothing else is named.
pub const DEFAULT_FILE: &str = "channels.toml";

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// `[server]`.
    pub server: Server,
    /// `[tokens.NAME]`, by name; a token that is being changed appears once for each of its values.
    pub tokens: Vec<TokenGrant>,
    /// `[store]`.
    pub store: Store,
    /// `[agent]`; without it new conversations belong to teammates.
    pub agent: Option<Agent>,
    /// `[channels.NAME]`, by name; no two speak as the same account.
    pub channels: Vec<ConfiguredChannel>,
    /// What looks wrong but stops nobody.
    pub warnings: Vec<Finding>,
}

/// Where the API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The address and port.
    pub listen: SocketAddr,
    /// How the daemon is reached from outside, without a final slash.
    pub public_url: Option<String>,
    /// Where metrics and status are served without sign-in.
    pub admin_listen: Option<SocketAddr>,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// What keeps it.
    pub backend: Backend,
    /// What belongs to this daemon alone lies here: the control socket, keys that a first start makes, and with SQLite the
    /// store itself.
    pub folder: PathBuf,
    /// What a power cut may take.
    pub durability: Durability,
    /// Nothing new is taken when the disk has less left, in bytes.
    pub min_free: u64,
    /// What is older is not kept: at least a day.
    pub retention: Option<Duration>,
    /// `[attachments]`.
    pub attachments: Attachments,
}

/// Where attachments' bytes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachments {
    /// The folder.
    pub folder: PathBuf,
    /// No attachment is larger, in bytes.
    pub max_bytes: u64,
}

/// What keeps everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// SQLite, in [`Store::folder`].
    Sqlite,
    /// Redis, which other daemons may share.
    Redis(Redis),
}

/// Where a Redis is and how it is signed in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Its address, perhaps with a user and a password in it.
    pub url: Secret,
    /// The address without them.
    pub shown: String,
    /// Signs in under this name, whatever the address says.
    pub user: Option<String>,
    /// With this password, whatever the address says.
    pub password: Option<Secret>,
    /// The certificate of the authority that the server's was signed by, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// What every key begins with.
    pub prefix: String,
}

impl Redis {
    /// How a store in it is opened.
    #[must_use]
    pub fn options(&self, durability: Durability) -> RedisOptions {
        RedisOptions {
            url: self.url.expose().clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            ca: self.ca.clone(),
            prefix: self.prefix.clone(),
            durability,
            ..RedisOptions::default()
        }
    }
}

/// The one agent endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Agent {
    /// Where events are posted, or the base of a chat-completions server.
    pub url: Url,
    /// What is spoken there. Without secrets of its own, `frontdesk` signs with the one that was made at the first start.
    pub protocol: Protocol,
    /// Longest wait for the first byte of an answer, and between two: 1 s to 10 min.
    pub timeout: Duration,
    /// How many earlier messages go along with an event: at most 200.
    pub history: usize,
    /// At most this many requests at once: 1 to 4096.
    pub concurrency: usize,
    /// How long a customer may pause before what they wrote goes out: at most a minute.
    pub coalesce: Duration,
    /// After how long without an answer a conversation is shown to the desk: 10 s to 24 h.
    pub fallback: Option<Duration>,
}

/// Addresses may carry a key in their path or query, so only the host is shown.
impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match &self.protocol {
            Protocol::Frontdesk { .. } => "frontdesk",
            Protocol::OpenAi(_) => "openai",
        };
        f.debug_struct("Agent")
            .field("url", &self.url.origin().ascii_serialization())
            .field("protocol", &protocol)
            .field("timeout", &self.timeout)
            .field("history", &self.history)
            .field("concurrency", &self.concurrency)
            .field("coalesce", &self.coalesce)
            .field("fallback", &self.fallback)
            .finish()
    }
}

/// One channel, checked by its kind.
pub struct ConfiguredChannel {
    /// Its name.
    pub name: ChannelName,
    /// Its kind.
    pub kind: KindName,
    /// Its settings, checked.
    pub config: Box<dyn ChannelConfig>,
    /// Its settings as they were read, to tell whether another reading says the same.
    pub settings: Settings,
}

/// Without its settings, which show what was written.
impl fmt::Debug for ConfiguredChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfiguredChannel")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The configuration's file: what the command line names, else what `FRONTDESK_CONFIG` names, else [`DEFAULT_FILE`].
#[must_use]
pub fn locate(named: Option<&Path>, environment: &Environment) -> PathBuf {
    let variable = || environment.get("FRONTDESK_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.map(Path::to_owned).or_else(variable).unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
}

impl Config {
    /// Reads and checks a configuration. Touches nothing but the file and the files of secrets that it names.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn load(file: &Path, environment: &Environment, kinds: &[&dyn Kind]) -> Result<Self, Refused> {
        let (tree, findings) = source::read(file, environment);
        let base = base(file, environment);
        let mut checker = Checker { environment, base: &base, findings };
        let config = tree.and_then(|tree| assemble(&mut checker, file, tree.content, kinds));
        let mut findings = checker.findings;
        findings.extend(environment.unknown_log_level());
        findings.sort_by(Finding::reading_order);
        let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
        match config {
            Some(config) if !refused => Ok(Self { warnings: findings, ..config }),
            _ => Err(Refused { file: file.to_owned(), findings }),
        }
    }
}

/// A configuration's store, and nothing else of it: for a command that looks for the running daemon or for the file, a mistake
/// elsewhere and a secret that is not at hand are no obstacle.
///
/// # Errors
/// The file cannot be read, or names no folder.
pub fn store_of(file: &Path, environment: &Environment) -> Result<Store, Refused> {
    let (tree, mut findings) = source::read(file, environment);
    let base = base(file, environment);
    let mut checker = Checker { environment, base: &base, findings: Vec::new() };
    let store = match tree.map(|tree| tree.content) {
        Some(Content::Table(tables)) => store::store(&mut checker, tables.get("store"), tables.get("attachments")),
        _ => None,
    };
    findings.append(&mut checker.findings);
    findings.retain(|finding| finding.severity == Severity::Error);
    findings.sort_by(Finding::reading_order);
    store.ok_or_else(|| Refused { file: file.to_owned(), findings })
}

/// Where relative paths start: the state's folder under systemd, else the file's.
fn base(file: &Path, environment: &Environment) -> PathBuf {
    // systemd separates several by colons; the first is the service's main one.
    let state =
        environment.get("STATE_DIRECTORY").and_then(|all| all.split(':').next()).filter(|first| !first.is_empty());
    state.map_or_else(|| file.parent().unwrap_or(Path::new("")).to_owned(), PathBuf::from)
}

fn assemble(checker: &mut Checker<'_>, file: &Path, content: Content, kinds: &[&dyn Kind]) -> Option<Config> {
    let Content::Table(tables) = content else { return None };
    let known = BTreeSet::from(sections::TABLES);
    for (name, node) in tables.iter().filter(|(name, _)| !known.contains(name.as_str())) {
        let sort = if matches!(node.content, Content::Table(_)) { "table" } else { "key outside of all tables" };
        let wrong = checker::unknown(sort, name, &known, "the tables are");
        checker.find(Severity::Error, &node.place, &shown_name(name), None, wrong);
    }
    let names: BTreeSet<&str> = match tables.get("channels").map(|node| &node.content) {
        Some(Content::Table(channels)) => channels.keys().map(String::as_str).collect(),
        _ => BTreeSet::new(),
    };
    let server = sections::server(checker, tables.get("server"));
    let tokens = sections::tokens(checker, tables.get("tokens"), &names);
    let store = store::store(checker, tables.get("store"), tables.get("attachments"));
    let agent = agent::agent(checker, tables.get("agent"));
    let channels = channels::channels(checker, tables.get("channels"), kinds);
    Some(Config {
        file: file.to_owned(),
        server: server?,
        tokens,
        store: store?,
        agent,
        channels,
        warnings: Vec::new(),
    })
}
