//! The daemon's life: open the store, start the engine, listen, serve until told to stop, drain, close.
//!
//! Nothing listens before the store is open and the workers run; `READY=1` follows the first moment at which a message
//! would be taken. `SIGTERM` (or Ctrl-C) stops new work at once, gives what is in hand 25 seconds, and ends with 0; a
//! second signal ends at once, which loses nothing that was accepted either.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use frontdesk_engine::{AgentOptions, ConnectedChannel, Drained, Engine, EngineOptions, Protocol};
use frontdesk_http::HttpOptions;
use frontdesk_model::{Clock, Store};
use frontdesk_store::{SqliteOptions, SqliteStore};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    announce::announce,
    clock::SystemClock,
    config::Config,
    keys::{self, Keys},
    notify,
};

/// How long work in hand may go on after a signal to stop. The supervisor's own limit must lie above 30 s.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long connections may take to end after that.
const LAST_CALL: Duration = Duration::from_secs(3);

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
    // Another provider may be there already when the daemon runs inside a test or an example.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(live(config))
}

async fn live(config: Config) -> Result<Ended> {
    let started = Instant::now();
    let mut stop = Stop::listen()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open_store(&config, &clock)?;
    let keys = keys::provide(&config).context("a key could not be made")?;
    let listen = config.server.listen;
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| {
        anyhow!("cannot listen on {listen}: {error}\n  mend: stop what listens there, or set listen in [server]")
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    let public_url = config.server.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    let channels = connect(&config, &clock)?;
    let engine = Engine::start(
        Arc::clone(&store),
        Arc::clone(&clock),
        EngineOptions { public_url: public_url.clone(), agent: agent(&config, &keys), channels: channels.clone() },
    )
    .await
    .context("the engine cannot be started")?;
    let mounted = channels.iter().filter_map(|channel| {
        let routes = channel.adapter.routes(engine.inbox(&channel.name)?);
        Some(frontdesk_http::MountedChannel { name: channel.name.clone(), routes })
    });
    let options = HttpOptions { tokens: grants(&config, &keys), ..HttpOptions::default() };
    let limits = options.limits.clone();
    let front = frontdesk_http::Front::new(engine.desk(), mounted.collect(), options);
    let receivers = receive(&engine, &channels);
    announce(&config, &keys, &store.describe(), &public_url);
    tracing::info!(after = ?started.elapsed(), "ready");
    notify::ready("serving");

    let (quiet, hush) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(frontdesk_http::serve(listener, front, limits, async {
        let _ = hush.await;
    }));
    stop.requested().await;
    tracing::info!("stopping: finishing what is in hand");
    notify::stopping();
    engine.begin_drain();
    drop(receivers);
    let _ = quiet.send(());
    let ended = tokio::select! {
        drained = engine.drain(PATIENCE) => match drained {
            Drained::Clean => Ended::Clean,
            Drained::CutShort => Ended::CutShort,
        },
        () = stop.requested() => Ended::CutShort,
    };
    let _ = tokio::time::timeout(LAST_CALL, serving).await;
    store.close().await.context("the store could not be closed")?;
    tracing::info!(clean = (ended == Ended::Clean), "stopped");
    Ok(ended)
}

fn open_store(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
    let options = SqliteOptions {
        durability: config.store.durability,
        min_free: config.store.min_free,
        ..SqliteOptions::default()
    };
    Ok(Arc::new(SqliteStore::open(&config.store.folder, options, Arc::clone(clock))?))
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

fn connect(config: &Config, clock: &Arc<dyn Clock>) -> Result<Vec<ConnectedChannel>> {
    config
        .channels
        .iter()
        .map(|channel| {
            let adapter = channel
                .config
                .build(Arc::clone(clock))
                .with_context(|| format!("the channel {} cannot be started", channel.name))?;
            Ok(ConnectedChannel {
                name: channel.name.clone(),
                kind: channel.kind.clone(),
                account: channel.config.account(),
                adapter,
            })
        })
        .collect()
}

/// A receiver that ends is started again after a pause; the channels do not disturb each other.
fn receive(engine: &Engine, channels: &[ConnectedChannel]) -> tokio::task::JoinSet<()> {
    let mut receivers = tokio::task::JoinSet::new();
    for channel in channels {
        let Some(inbox) = engine.inbox(&channel.name) else { continue };
        let (name, adapter) = (channel.name.clone(), Arc::clone(&channel.adapter));
        receivers.spawn(async move {
            loop {
                if let Err(error) = adapter.receive(Arc::clone(&inbox)).await {
                    tracing::warn!(channel = %name, %error, "receiving stopped; it starts again in 10 s");
                }
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        });
    }
    receivers
}

/// The signals to stop.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
