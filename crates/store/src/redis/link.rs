//! The way to Redis: one connection for verbs, one for reads, both shared by all callers, whose calls travel packed together.
//!
//! A connection that broke, or that ends at what has become a replica, is replaced by the next call; whoever waited on it is told that the store is unavailable, as what
//! was on its way may have been carried out. A server that knows a script no longer (after a restart, on another master) is sent
//! the whole script once more. On a cluster each call goes to the master of its shard's slot.

use std::{
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use frontdesk_model::StoreError;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::sync::Mutex;

use super::{effects::Ask, keys::Shard, pack::Item};

/// A connection that could not be made is not tried again for this long: callers fail fast meanwhile.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Connections to a cluster are made anew no more often than this.
const RENEW_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// So many calls may wait to be written before callers wait to be heard.
const WAITING_CALLS: usize = 1024;

/// A script and its name on the server.
pub(super) struct Script {
    source: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(source: &'static str) -> Self {
        Self { source, sha: OnceLock::new() }
    }

    fn sha(&self) -> &str {
        self.sha.get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }

    /// By its name, as nearly always.
    pub(super) fn named(&self, ask: &mut Ask) -> Cmd {
        let packed = ask.packed();
        self.command("EVALSHA", self.sha(), &ask.keys, packed)
    }

    fn command(&self, verb: &str, script: &str, keys: &[String], ask: Vec<u8>) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(keys.len()).arg(keys).arg(ask);
        command
    }

    /// The same call with the whole script, which the server then knows by name.
    fn whole(&self, named: &Cmd) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.source);
        for arg in named.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        command
    }
}

/// What a server answered to a script.
pub(super) struct Answer(Vec<u8>);

impl Answer {
    pub(super) fn read(&self) -> Result<Item<'_>, StoreError> {
        Ok(Item::read(&self.0)?)
    }
}

/// Both connections.
pub(super) struct Link {
    verbs: Line,
    reads: Line,
}

/// Which of them.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Verb,
    Read,
}

impl Link {
    pub(super) fn new(verbs: Line, reads: Line) -> Self {
        Self { verbs, reads }
    }

    fn line(&self, purpose: Purpose) -> &Line {
        match purpose {
            Purpose::Verb => &self.verbs,
            Purpose::Read => &self.reads,
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.verbs, Line::Cluster(_))
    }

    /// Carries out a verb's script.
    pub(super) async fn run(&self, shard: Shard, script: &Script, mut ask: Ask) -> Result<Answer, StoreError> {
        let named = script.named(&mut ask);
        let mut value = self.verbs.call(shard, &named).await;
        if is_unknown_script(&value) {
            value = self.verbs.call(shard, &script.whole(&named)).await;
        }
        self.leave_a_former_master(value.as_ref().err()).await;
        answer(value)
    }

    /// Where the master is another server now under the same address, old connections still lead to the former one.
    async fn leave_a_former_master(&self, error: Option<&RedisError>) {
        if error.is_some_and(|error| matches!(error.code(), Some("READONLY" | "MASTERDOWN"))) {
            for line in [&self.verbs, &self.reads] {
                if let Line::One(single) = line {
                    single.give_up(single.number.load(Ordering::Relaxed)).await;
                }
            }
        }
    }

    /// Runs one script in several shards at once. The answers come in the order of the calls.
    pub(super) async fn run_each(
        &self,
        purpose: Purpose,
        script: &Script,
        asks: Vec<(Shard, Ask)>,
    ) -> Result<Vec<Answer>, StoreError> {
        let calls: Vec<(Shard, Vec<Cmd>)> =
            asks.into_iter().map(|(shard, mut ask)| (shard, vec![script.named(&mut ask)])).collect();
        let line = self.line(purpose);
        let values = self.send(purpose, &calls).await.map_err(failed)?;
        let mut answers = Vec::with_capacity(values.len());
        for ((shard, commands), values) in calls.iter().zip(values) {
            for (command, value) in commands.iter().zip(values) {
                let mut value = value.extract_error();
                if is_unknown_script(&value) {
                    value = line.call(*shard, &script.whole(command)).await;
                }
                self.leave_a_former_master(value.as_ref().err()).await;
                answers.push(answer(value)?);
            }
        }
        Ok(answers)
    }

    /// What only reads is asked once more where the connection broke. One that does not answer is not waited for twice.
    async fn send(&self, purpose: Purpose, calls: &[(Shard, Vec<Cmd>)]) -> RedisResult<Vec<Vec<Value>>> {
        let line = self.line(purpose);
        let values = line.calls(calls).await;
        match (&values, purpose) {
            (Err(error), Purpose::Read) if error.is_unrecoverable_error() && !error.is_timeout() => {
                line.calls(calls).await
            }
            _ => values,
        }
    }

    /// Plain commands in several shards at once. The answers come in the order of the commands.
    pub(super) async fn ask(
        &self,
        purpose: Purpose,
        calls: Vec<(Shard, Vec<Cmd>)>,
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        let values = self.send(purpose, &calls).await;
        let extract =
            |values: Vec<Value>| values.into_iter().map(Value::extract_error).collect::<RedisResult<Vec<_>>>();
        values.and_then(|shards| shards.into_iter().map(extract).collect()).map_err(failed)
    }

    /// What each master answers to a command that has no key.
    pub(super) async fn each_master(&self, command: &str, args: &[&str]) -> RedisResult<Vec<Value>> {
        self.reads.each_master(command, args).await
    }

    /// One plain command.
    pub(super) async fn ask_one(&self, purpose: Purpose, shard: Shard, command: Cmd) -> Result<Value, StoreError> {
        let mut values = self.ask(purpose, vec![(shard, vec![command])]).await?;
        Ok(values.pop().and_then(|mut values| values.pop()).unwrap_or(Value::Nil))
    }
}

fn is_unknown_script(value: &RedisResult<Value>) -> bool {
    value.as_ref().is_err_and(|error| error.code() == Some("NOSCRIPT"))
}

fn answer(value: RedisResult<Value>) -> Result<Answer, StoreError> {
    match value.map_err(failed)? {
        Value::BulkString(bytes) => Ok(Answer(bytes)),
        _ => Err(super::pack::Unreadable.into()),
    }
}

/// One connection, or one to each node of a cluster.
pub(super) enum Line {
    One(Box<Single>),
    Cluster(Arc<Many>),
}

impl Line {
    pub(super) async fn each_master(&self, command: &str, args: &[&str]) -> RedisResult<Vec<Value>> {
        let mut asked = redis::cmd(command);
        asked.arg(args);
        match self {
            Self::One(single) => {
                let value = single.send(async |connection| connection.req_packed_command(&asked).await).await?;
                Ok(vec![value.extract_error()?])
            }
            Self::Cluster(cluster) => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                match cluster
                    .send(async |connection| connection.route_command(asked, masters).await)
                    .await?
                    .extract_error()?
                {
                    Value::Map(answers) => Ok(answers.into_iter().map(|(_, answer)| answer).collect()),
                    answer => Ok(vec![answer]),
                }
            }
        }
    }

    async fn call(&self, shard: Shard, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(single) => single.send(async |connection| connection.req_packed_command(command).await).await,
            Self::Cluster(cluster) => {
                let routing = RoutingInfo::SingleNode(master(shard));
                cluster.send(async |connection| connection.route_command(command.clone(), routing).await).await
            }
        }
        .and_then(Value::extract_error)
    }

    async fn calls(&self, calls: &[(Shard, Vec<Cmd>)]) -> RedisResult<Vec<Vec<Value>>> {
        match self {
            Self::One(single) => {
                let mut pipeline = Pipeline::with_capacity(calls.len());
                for command in calls.iter().flat_map(|(_, commands)| commands) {
                    pipeline.add_command(command.clone());
                }
                if pipeline.is_empty() {
                    return Ok(calls.iter().map(|_| Vec::new()).collect());
                }
                let count = pipeline.len();
                let values =
                    single.send(async |connection| connection.req_packed_commands(&pipeline, 0, count).await).await?;
                let mut values = values.into_iter();
                Ok(calls.iter().map(|(_, commands)| values.by_ref().take(commands.len()).collect()).collect())
            }
            Self::Cluster(cluster) => {
                let each = calls.iter().map(async |(shard, commands)| {
                    let mut pipeline = Pipeline::with_capacity(commands.len());
                    for command in commands {
                        pipeline.add_command(command.clone());
                    }
                    if pipeline.is_empty() {
                        return Ok(Vec::new());
                    }
                    let count = pipeline.len();
                    let pipeline = &pipeline;
                    let send = async |connection: &mut ClusterConnection| {
                        connection.route_pipeline(pipeline.clone(), 0, count, master(*shard)).await
                    };
                    cluster.send(send).await
                });
                futures_util::future::try_join_all(each).await
            }
        }
    }
}

fn master(shard: Shard) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(shard.number().to_string(), SlotAddr::Master))
}

/// Connections to a cluster. The client follows its masters by itself; but with one that died under load it may go on asking the
/// dead for good. So while calls come to nothing all of it is made anew, once in a while, beside the present one.
pub(super) struct Many {
    client: ClusterClient,
    present: std::sync::RwLock<ClusterConnection>,
    /// When that was done last, or is being done.
    renewed: std::sync::Mutex<Instant>,
}

impl Many {
    pub(super) async fn new(client: ClusterClient) -> RedisResult<Arc<Self>> {
        let present = std::sync::RwLock::new(client.get_async_connection().await?);
        Ok(Arc::new(Self { client, present, renewed: std::sync::Mutex::new(Instant::now()) }))
    }

    async fn send<T>(
        self: &Arc<Self>,
        send: impl AsyncFnOnce(&mut ClusterConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        // No code panics while it holds one of the locks.
        let mut connection = self.present.read().unwrap_or_else(PoisonError::into_inner).clone();
        let result = send(&mut connection).await;
        if result.as_ref().is_err_and(leads_nowhere) {
            self.renew();
        }
        result
    }

    fn renew(self: &Arc<Self>) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed.elapsed() < RENEW_AGAIN_AFTER {
            return;
        }
        *renewed = Instant::now();
        drop(renewed);
        let many = Arc::clone(self);
        tokio::spawn(async move {
            // Nothing is lost when it comes to nothing: the next call that fails brings another try.
            if let Ok(connection) = many.client.get_async_connection().await {
                *many.present.write().unwrap_or_else(PoisonError::into_inner) = connection;
            }
        });
    }
}

/// Whether a call failed on its way, and not by what a server said of it.
fn leads_nowhere(error: &RedisError) -> bool {
    error.is_timeout()
        || error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::ClusterConnectionNotFound)
        || matches!(error.code(), Some("MOVED" | "READONLY" | "MASTERDOWN"))
}

/// A connection to one server, made anew after it broke.
pub(super) struct Single {
    client: Client,
    config: AsyncConnectionConfig,
    present: Mutex<Present>,
    /// Counts the connections, so that only the one that broke is given up.
    number: AtomicU64,
}

enum Present {
    Up(MultiplexedConnection),
    Down { since: Option<Instant>, error: Option<RedisError> },
}

impl Single {
    pub(super) fn new(client: Client, timeout: Duration) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_pipeline_buffer_size(WAITING_CALLS);
        let present = Mutex::new(Present::Down { since: None, error: None });
        Self { client, config, present, number: AtomicU64::new(0) }
    }

    /// A connection, made now if there is none. Callers who come meanwhile wait for the same one.
    pub(super) async fn connection(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        let mut present = self.present.lock().await;
        match &*present {
            Present::Up(connection) => return Ok((connection.clone(), self.number.load(Ordering::Relaxed))),
            Present::Down { since: Some(since), error: Some(error) } if since.elapsed() < TRY_AGAIN_AFTER => {
                return Err(error.clone());
            }
            Present::Down { .. } => {}
        }
        match self.client.get_multiplexed_async_connection_with_config(&self.config).await {
            Ok(connection) => {
                *present = Present::Up(connection.clone());
                Ok((connection, self.number.fetch_add(1, Ordering::Relaxed) + 1))
            }
            Err(error) => {
                *present = Present::Down { since: Some(Instant::now()), error: Some(error.clone()) };
                Err(error)
            }
        }
    }

    async fn send<T>(&self, send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> RedisResult<T> {
        let (mut connection, number) = self.connection().await?;
        let result = send(&mut connection).await;
        if result.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            self.give_up(number).await;
        }
        result
    }

    /// Unless somebody was quicker.
    async fn give_up(&self, number: u64) {
        let mut present = self.present.lock().await;
        if self.number.load(Ordering::Relaxed) == number {
            *present = Present::Down { since: None, error: None };
        }
    }
}

/// What an error of Redis means for whoever called. The sentence is for the operator.
pub(super) fn failed(error: RedisError) -> StoreError {
    let detail = error.detail().unwrap_or_default();
    let unavailable = |sentence: &str| StoreError::Unavailable(sentence.to_owned());
    match error.code() {
        Some("REFUSED") => {
            let reason = detail.split_once(" script: ").map_or(detail, |(reason, _)| reason);
            StoreError::Refused(reason.to_owned())
        }
        Some("OOM") => StoreError::Full("Redis has used up its maxmemory".into()),
        Some("LOADING") => unavailable("Redis is still loading its data from disk"),
        Some("READONLY") => unavailable("this Redis is a replica, which takes no writes"),
        Some("MASTERDOWN") => unavailable("this Redis is a replica that has lost its master"),
        Some("CLUSTERDOWN") => unavailable("the Redis cluster is down: some of its slots have no master"),
        Some("NOREPLICAS") => unavailable("Redis has fewer replicas in reach than min-replicas-to-write asks for"),
        Some("MISCONF") => unavailable("Redis cannot write to its disk and takes no writes until it can"),
        Some("BUSY") => unavailable("Redis is busy with somebody's script"),
        Some("NOAUTH" | "WRONGPASS") => unavailable("Redis no longer accepts the user or password"),
        Some("NOPERM") => StoreError::Unavailable(format!("the Redis user lacks a permission: {detail}")),
        _ if error.kind() == ErrorKind::ClusterConnectionNotFound => {
            unavailable("some slots of the Redis cluster have no master in reach")
        }
        _ if error.is_timeout() => unavailable("Redis did not answer in time"),
        _ if error.is_connection_refusal() => unavailable("nothing listens at the address of Redis"),
        _ if error.kind() == ErrorKind::Io => {
            StoreError::Unavailable(format!("the connection to Redis broke: {error}"))
        }
        _ => StoreError::Unavailable(format!("Redis answered with an error: {error}")),
    }
}
