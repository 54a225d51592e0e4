//! The daemon's life: open the store, start the engine, listen, serve until told to stop, drain, close.
//!
//! Nothing listens before the store is open and the workers run; `READY=1` follows the first moment at which a message
//! would be taken. `SIGHUP` reads the configuration anew ([`reload`]). `SIGTERM` (or Ctrl-C) stops new work at once, gives
//! what is in hand 25 seconds, and ends with 0; a second signal ends at once, which loses nothing that was accepted either.

mod reload;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use frontdesk_attachments::{Exempt, Files, FilesOptions};
use frontdesk_engine::{AgentOptions, Drained, Engine, EngineOptions, Protocol, SharedKeys};
use frontdesk_http::{Front, HttpOptions, Limits, MountedChannel};
use frontdesk_model::{Clock, Shape, Store};
use frontdesk_store::{RedisOpenError, RedisOptions, RedisStore, SqliteOptions, SqliteStore};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use url::Url;

use self::reload::{Channels, RunningChannel};
use crate::{
    announce::{Place, announce},
    clock::SystemClock,
    config::{Backend, Config, Environment},
    figures::{self, Render},
    keys::{self, Keys},
    listeners, notify,
    own_folder::OwnFolder,
    registry,
};

/// How long work in hand may go on after a signal to stop. The supervisor's own limit must lie above 30 s.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long connections may take to end after that.
const LAST_CALL: Duration = Duration::from_secs(3);
/// How long a Redis may not be ready at the start before that is called a failure. The supervisor's limit for a start lies above it.
const REDIS_PATIENCE: Duration = Duration::from_secs(4 * 60);
const LOOK_FOR_REDIS: Duration = Duration::from_millis(500);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As told, with everything in hand finished.
    Clean,
    /// As told; some work was cut short and is due again after the next start.
    CutShort,
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// It could not start, in words for the operator; or it could not close its store.
pub fn run(config: Config) -> Result<Ended> {
    provide_cryptography();
    take_all_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(live(config))
}

/// The soft limit is low by habit, for the sake of programs that use select(2); the hard one is what the operator allows.
fn take_all_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Fewer descriptors are no reason not to serve.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// `FRONTDESK_TRIAL_DIE_AT=sent:17` and `FRONTDESK_TRIAL_BREAK=no_fence`.
#[cfg(feature = "trial")]
fn put_on_trial() {
    use frontdesk_engine::{Broken, Trial, arm};
    let die_at = std::env::var("FRONTDESK_TRIAL_DIE_AT").ok().and_then(|at| {
        let (point, times) = at.split_once(':')?;
        Some((point.to_owned(), times.parse().ok()?))
    });
    let broken = match std::env::var("FRONTDESK_TRIAL_BREAK").as_deref() {
        Ok("ack_before_commit") => Some(Broken::AckBeforeCommit),
        Ok("no_fence") => Some(Broken::NoFence),
        Ok("intent_after_send") => Some(Broken::IntentAfterSend),
        Ok("skip_operation_id") => Some(Broken::SkipOperationId),
        _ => None,
    };
    arm(Trial { die_at, broken });
}

/// A running daemon.
struct Daemon {
    config: Config,
    clock: Arc<dyn Clock>,
    engine: Engine,
    front: Front,
    channels: Channels,
    figures: Option<Render>,
    files: Files,
    key_source: keys::Source,
    /// How this daemon is reached where the configuration does not say.
    own_url: String,
}

async fn live(config: Config) -> Result<Ended> {
    #[cfg(feature = "trial")]
    put_on_trial();
    let started = Instant::now();
    let mut signals = Signals::listen()?;
    let environment = Environment::of_process();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opened = tokio::select! {
        opened = open_store(&config, &clock, &environment) => opened?,
        () = signals.stop() => return Ok(Ended::Clean),
    };
    let Opened { store, key_source, _folder } = opened;
    let files = open_attachments(&config, &*store).await?;
    let keys = keys::provide(&config, &key_source).context("a key could not be made")?;
    let listeners = listeners::open(&config, &environment).await?;
    let address = listeners.public.local_addr().context("the listener has no address")?;
    let own_url = format!("http://{address}");
    let public_url = config.server.public_url.clone().unwrap_or_else(|| own_url.clone());
    let figures = figures::install();
    let channels = Channels::build(&config, &reload::surroundings_of(&config, &clock))?;
    let engine = Engine::start(
        Arc::clone(&store),
        Arc::clone(&clock),
        engine_options(&config, &keys, &channels, public_url.clone(), files.clone()),
    )
    .await
    .context("the engine cannot be started")?;
    let options = http_options(&config, &keys, figures.as_ref());
    let limits = options.limits.clone();
    let front = Front::new(engine.desk(), mounted(&engine, &channels), options);
    announce(&config, &keys, &store.describe(), &Place { address, public_url: &public_url });
    let mut daemon = Daemon { config, clock, engine, front, channels, figures, files, key_source, own_url };
    daemon.channels.receive(&daemon.engine);

    let quiet = watch::Sender::new(false);
    let (serving, _control) = serve(listeners, &daemon.front, &limits, &quiet);
    let telling = tell_the_supervisor(&daemon);
    tracing::info!(after = ?started.elapsed(), "ready");
    notify::ready("serving");
    while let Told::Reload = signals.next().await {
        daemon.reload().await;
    }

    tracing::info!("stopping: finishing what is in hand");
    notify::stopping(PATIENCE + LAST_CALL);
    daemon.engine.begin_drain();
    drop(telling);
    drop(daemon.channels);
    quiet.send_replace(true);
    let ended = tokio::select! {
        drained = daemon.engine.drain(PATIENCE) => match drained {
            Drained::Clean => Ended::Clean,
            Drained::CutShort => Ended::CutShort,
        },
        () = signals.stop() => Ended::CutShort,
    };
    let _ = tokio::time::timeout(LAST_CALL, serving.join_all()).await;
    store.close().await.context("the store could not be closed")?;
    tracing::info!(clean = (ended == Ended::Clean), "stopped");
    Ok(ended)
}

/// Every listener's loop, and the control socket's file for as long as it is needed.
fn serve(
    listeners: listeners::Listeners,
    front: &Front,
    limits: &Limits,
    quiet: &watch::Sender<bool>,
) -> (JoinSet<()>, Option<listeners::SocketFile>) {
    let mut serving = JoinSet::new();
    let hush = || {
        let mut quiet = quiet.subscribe();
        async move {
            let _ = quiet.wait_for(|quiet| *quiet).await;
        }
    };
    serving.spawn(frontdesk_http::serve(listeners.public, front.clone(), limits.clone(), hush()));
    if let Some(admin) = listeners.admin {
        serving.spawn(frontdesk_http::serve_admin(admin, front.clone(), limits.clone(), hush()));
    }
    let file = listeners.control.map(|control| {
        serving.spawn(frontdesk_http::serve_control(control.listener, front.clone(), limits.clone(), hush()));
        control.file
    });
    (serving, file)
}

fn tell_the_supervisor(daemon: &Daemon) -> JoinSet<()> {
    let mut telling = JoinSet::new();
    telling.spawn(notify::keep_telling(daemon.engine.desk(), Arc::clone(&daemon.clock)));
    telling.spawn(notify::watchdog(daemon.engine.desk()));
    telling
}

/// The folder of the attachments, which must be this store's.
async fn open_attachments(config: &Config, store: &dyn Store) -> Result<Files> {
    let has_files = store.has_files().await.context("the store cannot say whether it has attachments")?;
    let options = FilesOptions { max_bytes: config.store.attachments.max_bytes, min_free: config.store.min_free };
    Ok(Files::open(&config.store.attachments.folder, &store.describe().store_id, has_files, options)?)
}

/// The addresses that the configuration names for channels, by host and port: the business's own systems, whose files are fetched
/// wherever they lie.
fn exempt(config: &Config) -> Vec<Exempt> {
    let of_channels = config.channels.iter().flat_map(|channel| {
        let kind = registry::kinds().iter().find(|kind| kind.name() == channel.kind);
        let keys = kind.map(|kind| kind.keys()).unwrap_or_default();
        keys.iter().filter(|key| matches!(key.shape, Shape::HttpUrl)).filter_map(|key| channel.settings.text(key.name))
    });
    of_channels.filter_map(|url| Exempt::of(&Url::parse(url).ok()?)).collect()
}

/// Those that our side's replies may name besides: the agent's own, and what we gave it ourselves.
fn exempt_for_replies(config: &Config, public_url: &str) -> Vec<Exempt> {
    let own = Url::parse(public_url).ok().into_iter().chain(config.agent.iter().map(|agent| agent.url.clone()));
    own.filter_map(|url| Exempt::of(&url)).collect()
}

fn engine_options(
    config: &Config,
    keys: &Keys,
    channels: &Channels,
    public_url: String,
    files: Files,
) -> EngineOptions {
    let machine = rustix::system::uname();
    EngineOptions {
        name: format!("{}/{}", machine.nodename().to_string_lossy(), std::process::id()),
        exempt: exempt(config),
        exempt_for_replies: exempt_for_replies(config, &public_url),
        public_url,
        files: Some(files),
        agent: agent(config, keys),
        channels: channels.connected(),
        retention: config.store.retention,
    }
}

fn http_options(config: &Config, keys: &Keys, figures: Option<&Render>) -> HttpOptions {
    HttpOptions {
        tokens: grants(config, keys),
        metrics: figures.cloned(),
        trusted_proxies: config.server.trusted_proxies.clone(),
        ..HttpOptions::default()
    }
}

fn mounted(engine: &Engine, channels: &Channels) -> Vec<MountedChannel> {
    let mounted = channels.running().filter_map(|RunningChannel { connected, .. }| {
        let routes = connected.adapter.routes(engine.inbox(&connected.name)?);
        Some(MountedChannel { name: connected.name.clone(), routes })
    });
    mounted.collect()
}

/// An open store, and what goes with it.
struct Opened {
    store: Arc<dyn Store>,
    key_source: keys::Source,
    /// The daemon's own folder, where it is not the store's.
    _folder: Option<OwnFolder>,
}

async fn open_store(config: &Config, clock: &Arc<dyn Clock>, environment: &Environment) -> Result<Opened> {
    let folder = &config.store.folder;
    match &config.store.backend {
        Backend::Sqlite => {
            let options = SqliteOptions {
                durability: config.store.durability,
                min_free: config.store.min_free,
                ..SqliteOptions::default()
            };
            let store = Arc::new(SqliteStore::open(folder, options, Arc::clone(clock))?);
            Ok(Opened { store, key_source: keys::Source::Random, _folder: None })
        }
        Backend::Redis(redis) => {
            let own = OwnFolder::take(folder)?;
            let options = redis.options(config.store.durability);
            let store: Arc<dyn Store> = Arc::new(open_redis(options, clock, environment).await?);
            let keys = SharedKeys::of(&*store).await.context("the store's master key cannot be read")?;
            Ok(Opened { store, key_source: keys::Source::Shared(keys), _folder: Some(own) })
        }
    }
}

/// After the start of a machine a Redis reads its data from disk for a while; that is waited for. Under a supervisor a Redis that is not
/// there yet is waited for as well: whoever sits before a terminal wants to know at once.
async fn open_redis(
    options: RedisOptions,
    clock: &Arc<dyn Clock>,
    environment: &Environment,
) -> Result<RedisStore, RedisOpenError> {
    use RedisOpenError::{ClusterDown, Loading, Refused, Silent, Unreachable};
    let until = clock.boot() + REDIS_PATIENCE;
    let is_supervised = notify::is_heard(environment);
    let mut told = String::new();
    loop {
        let error = match RedisStore::open(options.clone(), Arc::clone(clock)).await {
            Err(error @ Loading(_)) => error,
            Err(error @ (Refused(_) | Unreachable(..) | Silent(_) | ClusterDown(..))) if is_supervised => error,
            opened => return opened,
        };
        if clock.boot() >= until {
            return Err(error);
        }
        let said = error.to_string();
        if said != told {
            tracing::warn!("{said}; waiting for it");
            notify::waiting(&said);
            told = said;
        }
        clock.sleep(LOOK_FOR_REDIS).await;
    }
}

/// The configured secrets, or the one that was made at the first start.
fn agent(config: &Config, keys: &Keys) -> Option<AgentOptions> {
    let agent = config.agent.as_ref()?;
    let protocol = match (&agent.protocol, &keys.agent) {
        (Protocol::Frontdesk { secrets }, Some(made)) if secrets.is_empty() => {
            Protocol::Frontdesk { secrets: vec![made.secret.clone()] }
        }
        (protocol, _) => protocol.clone(),
    };
    Some(AgentOptions {
        url: agent.url.clone(),
        protocol,
        timeout: agent.timeout,
        history: agent.history,
        concurrency: agent.concurrency,
        coalesce: agent.coalesce,
        fallback: agent.fallback,
    })
}

fn grants(config: &Config, keys: &Keys) -> Vec<frontdesk_http::TokenGrant> {
    config.tokens.iter().cloned().chain(keys.grants()).collect()
}

/// The signals that a daemon listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal says.
enum Told {
    Stop,
    Reload,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// Whoever stops has no use for another configuration.
    async fn stop(&mut self) {
        while let Told::Reload = self.next().await {}
    }
}

/// Before the first client is made.
pub(crate) fn provide_cryptography() {
    // Another provider may be there already when the daemon runs inside a test or an example.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
