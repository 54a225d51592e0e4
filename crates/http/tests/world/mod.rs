//! A real engine over a real store, served on a real socket; a channel with routes of every temper; and a client that
//! speaks bytes, so that it can misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub
)] // tests may stop at the first surprise; not every test file uses everything

mod booth;
mod client;
mod counts;
mod log;
pub mod record;
mod stream;

use std::{
    future::pending,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use frontdesk_attachments::{Files, FilesOptions};
use frontdesk_engine::{AgentOptions, ConnectedChannel, Engine, EngineOptions, Protocol};
use frontdesk_http::{Front, HttpOptions, Limits, MountedChannel, Scope, TokenGrant};
use frontdesk_model::*;
use frontdesk_store::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
    task::JoinHandle,
};

pub use booth::{Booth, LARGE};
pub use client::{Answer, Client, request, request_with};
pub use counts::Counts;
pub use log::Log;
pub use stream::Stream;

pub const ADMIN: &str = "token-of-the-admin";
pub const DESK: &str = "token-of-mia";
pub const AGENT: &str = "token-of-the-bot";
pub const INGEST: &str = "token-of-the-shop-system";
/// Everything, on the channel `annex` only.
pub const ANNEX: &str = "token-held-to-the-annex";
/// Everything, nowhere.
pub const NOWHERE: &str = "token-held-to-nothing";

/// What the metrics' page says.
pub const METRICS: &str = "frontdesk_up 1\n";

/// Everything around one listener.
pub struct World {
    pub address: SocketAddr,
    pub booth: Booth,
    pub engine: Engine,
    pub front: Front,
    limits: Limits,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
    folder: tempfile::TempDir,
}

/// No attachment is larger here.
pub const MAX_BYTES: u64 = 1_000_000;

impl World {
    pub async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::build(limits, None).await
    }

    /// With an agent endpoint: new conversations are the agent's.
    pub async fn with_agent(url: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = AgentOptions {
            url: url.parse().unwrap(),
            protocol: Protocol::Frontdesk {
                secrets: vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())],
            },
            timeout: Duration::from_secs(5),
            history: 20,
            concurrency: 16,
            coalesce: Duration::ZERO,
            fallback: None,
        };
        Self::build(Limits::default(), Some(agent)).await
    }

    /// Requests from these addresses say themselves where they come from.
    pub async fn behind_proxies(proxies: &[&str]) -> Self {
        let world = Self::new().await;
        let trusted_proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let options = HttpOptions { trusted_proxies, ..http_options(&Limits::default()) };
        world.front.replace(world.mounted(&["shop", "annex"]), options);
        world
    }

    async fn build(limits: Limits, agent: Option<AgentOptions>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { min_free: 0, ..SqliteOptions::default() };
        let store = SqliteStore::open(folder.path(), options, Arc::new(WallClock)).unwrap();
        let booth = Booth::default();
        let channels = ["shop", "annex"].map(|name| ConnectedChannel {
            name: name.parse().unwrap(),
            kind: "booth".parse().unwrap(),
            account: name.parse().unwrap(),
            adapter: Arc::new(booth.clone()),
        });
        let files = FilesOptions { max_bytes: MAX_BYTES, min_free: 0 };
        let files = Files::open(&folder.path().join("attachments"), "a store", false, files).unwrap();
        let options = EngineOptions {
            files: Some(files),
            exempt: Vec::new(),
            exempt_for_replies: Vec::new(),
            name: "here".into(),
            public_url: "https://desk.example.com".into(),
            agent,
            channels: channels.to_vec(),
            retention: None,
        };
        let engine = Engine::start(Arc::new(store), Arc::new(WallClock), options).await.unwrap();
        let mounted = channels.map(|channel| MountedChannel {
            routes: channel.adapter.routes(engine.inbox(&channel.name).unwrap()),
            name: channel.name,
        });
        let front = Front::new(engine.desk(), mounted.to_vec(), http_options(&limits));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(frontdesk_http::serve(listener, front.clone(), limits.clone(), async {
            let _ = stopped.await;
        }));
        Self { address, booth, engine, front, limits, stop: Some(stop), served, folder }
    }

    /// The channels of these names, as the front mounts them.
    pub fn mounted(&self, names: &[&str]) -> Vec<MountedChannel> {
        let mounted = |name: &&str| {
            let name: ChannelName = name.parse().unwrap();
            let routes = self.booth.routes(self.engine.inbox(&name).unwrap());
            MountedChannel { name, routes }
        };
        names.iter().map(mounted).collect()
    }

    /// Opens the administrators' listener as well.
    pub async fn admin(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = frontdesk_http::serve_admin(listener, self.front.clone(), self.limits.clone(), pending());
        tokio::spawn(serving);
        address
    }

    /// Opens the control socket as well.
    pub async fn control(&self) -> PathBuf {
        let path = self.folder.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = frontdesk_http::serve_control(listener, self.front.clone(), self.limits.clone(), pending());
        tokio::spawn(serving);
        path
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        self.client().await.ask(method, path, token, body).await
    }

    /// One reply under a key.
    pub async fn say_once(&self, path: &str, token: &str, key: &str, body: Value) -> Answer {
        let headers = format!("Idempotency-Key: {key}\r\n");
        self.client().await.ask_with("POST", path, token, &headers, Some(body)).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, None).await
    }

    /// A customer writes; returns the conversation's id.
    pub async fn write(&self, channel: &str, thread: &str, text: &str) -> String {
        let path = format!("/v1/channels/{channel}/messages");
        let answer = self.ask("POST", &path, INGEST, Some(json!({"thread": thread, "text": text}))).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json["conversation_id"].as_str().unwrap().to_owned()
    }

    /// A conversation that the agent owns.
    pub async fn write_to_agent(&self, thread: &str) -> String {
        let id = self.write("shop", thread, "Where is my order?").await;
        let path = format!("/v1/conversations/{id}");
        let answer = self.ask("PATCH", &path, DESK, Some(json!({"owner": "agent"}))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        id
    }

    /// A dead letter: a reply that the channel refuses.
    pub async fn dead_letter(&self, channel: &str, thread: &str) -> Value {
        let id = self.write(channel, thread, "Where is my order?").await;
        let path = format!("/v1/conversations/{id}/messages");
        let answer = self.ask("POST", &path, ADMIN, Some(json!({"text": booth::REFUSED}))).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        soon("a dead letter", async {
            loop {
                let letters = self.get("/v1/dead-letters", ADMIN).await.json;
                let found = letters["data"].as_array().unwrap().iter().find(|row| row["conversation_id"] == *id);
                if let Some(found) = found {
                    return found.clone();
                }
                // The far end's refusal is stored by the engine's worker, which nothing signals.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// Tells the listener to stop.
    pub fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Gives up on serving without waiting for anybody.
    pub fn abandon(&self) {
        self.served.abort();
    }

    /// Waits until the last connection has ended.
    pub async fn stopped(self) {
        soon("the end of serving", self.served).await.unwrap();
    }
}

/// What the front is built with.
pub fn http_options(limits: &Limits) -> HttpOptions {
    let metrics: Arc<dyn Fn() -> String + Send + Sync> = Arc::new(|| METRICS.to_owned());
    HttpOptions { tokens: tokens(), limits: limits.clone(), metrics: Some(metrics), ..HttpOptions::default() }
}

pub fn tokens() -> Vec<TokenGrant> {
    let grant = |name: &str, token: &str, scopes: &[Scope], channels: Option<&[&str]>| TokenGrant {
        name: name.to_owned(),
        token: Secret::new(token.to_owned()),
        scopes: scopes.iter().copied().collect(),
        channels: channels.map(|names| names.iter().map(|name| name.parse().unwrap()).collect()),
    };
    vec![
        grant("root", ADMIN, &[Scope::Admin], None),
        grant("Mia", DESK, &[Scope::Desk], None),
        grant("bot", AGENT, &[Scope::Agent], None),
        grant("system", INGEST, &[Scope::Ingest], None),
        grant("annex", ANNEX, &[Scope::Ingest, Scope::Desk, Scope::Admin], Some(&["annex"])),
        grant("nowhere", NOWHERE, &[Scope::Admin], Some(&[])),
    ]
}

/// The machine's own time: nothing here waits for a lease or a ladder.
#[derive(Debug)]
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
    }

    fn boot(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// The clock on the wall.
pub fn now_millis() -> i64 {
    WallClock.now().as_millis()
}

/// A deadline for what should happen at once.
pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Ids, times and opaque pages are different on every run: their kinds are what a snapshot can hold.
pub fn steady(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), steady(value))).collect(),
        Value::Array(items) => items.iter().map(steady).collect(),
        Value::String(text) if text.len() == 30 && text.as_bytes()[3] == b'_' => json!(format!("[{}]", &text[..3])),
        Value::String(text) if text.parse::<Timestamp>().is_ok() => json!("[time]"),
        other => other.clone(),
    }
}
