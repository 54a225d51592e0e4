//! Opening: connecting, and looking at what the server is before anything is written.

use std::{fmt, path::PathBuf, time::Duration};

use frontdesk_model::{StoreDescription, StoreError};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisError,
    TlsCertificates, Value, cluster::ClusterClientBuilder, io::tcp::TcpSettings,
};

use super::{
    RedisOptions,
    effects::Ask,
    keys::{Names, Shard},
    link::{Line, Link, Many, Purpose, Script, Single},
    lists::reading,
    room::field,
    settings::{Settings, describe, mend},
};
use crate::Durability;

static ALLOWED: Script = reading!("allowed.lua");

/// The form in which this program stores.
const FORMAT: u64 = 1;
/// A peer that is gone without a word is given up after this long.
const SILENT_PEER: Duration = Duration::from_secs(15);

/// A Redis could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum RedisOpenError {
    /// The address is not one.
    #[error("[store] url is not the address of a Redis: {0}; write redis://host:6379/0, or rediss:// for TLS")]
    Address(String),
    /// The prefix is not one.
    #[error("[store] prefix has 1 to 32 of a-z, 0-9, _ and -, not {0:?}")]
    Prefix(String),
    /// The authority's certificate cannot be used.
    #[error(
        "the file {0} cannot be used: {1}; it should hold the certificate that the server's was signed with, in PEM form"
    )]
    Ca(PathBuf, String),
    /// Nothing listens.
    #[error("nothing listens at {0}; start Redis there, or correct [store] url")]
    Refused(Place),
    /// No connection comes about.
    #[error("{0} cannot be reached: {1}; correct [store] url, or see to the network in between")]
    Unreachable(Place, String),
    /// Somebody listens and says nothing.
    #[error(
        "{0} takes connections but does not answer; see whether it is stopped or overloaded, and whether it is a Redis"
    )]
    Silent(Place),
    /// Somebody listens who is no Redis.
    #[error("what listens at {0} does not answer like a Redis; correct [store] url (rediss:// if it wants TLS)")]
    NotRedis(Place),
    /// TLS does not come about.
    #[error("no TLS with {0}: {1}; if it speaks without TLS, write redis:// instead of rediss://")]
    Tls(Place, String),
    /// The server's certificate is not one that we trust.
    #[error(
        "the certificate of {0} is not trusted: {1}; name the authority that signed it ([store] ca), and the host by the name that the certificate has"
    )]
    Certificate(Place, String),
    /// The user or the password is wrong, or missing.
    #[error("{0} does not let us in: {1}; correct user and password in [store]")]
    SignIn(Place, String),
    /// There is no such database.
    #[error(
        "{0} has no such database: {1}; correct the number at the end of [store] url, or `databases` in redis.conf"
    )]
    Database(Place, String),
    /// The user may not call all that is called.
    #[error(
        "the Redis user may not call {0} on keys that begin with {1}; allow it, for example: redis-cli ACL SETUSER name '~{1}*' +@read +@write +@scripting +@connection +info +time +config|get +cluster|slots"
    )]
    Permission(String, String),
    /// Another version.
    #[error("{0} is Redis {1}; 7.0 or later is needed")]
    TooOld(Place, String),
    /// It cannot be written to.
    #[error("{0} is a replica; [store] url names the master")]
    Replica(Place),
    /// Not yet.
    #[error("{0} is still loading its data from disk; try again when it has")]
    Loading(Place),
    /// Some slots have nobody.
    #[error("the cluster of {0} is down: {1}; see redis-cli --cluster check")]
    ClusterDown(Place, String),
    /// Data would be thrown away.
    #[error(
        "{0} throws conversations away when its memory is full (maxmemory-policy {1}); put into redis.conf, and say it to the running server with CONFIG SET:\n    maxmemory-policy noeviction"
    )]
    Evicts(Place, String),
    /// `strict` was asked for and the server is not.
    #[error("[store] durability = \"strict\" is more than {0} does: {1}\nor set durability = \"relaxed\"")]
    NotDurable(Place, String),
    /// There is nothing of ours.
    #[error(
        "no Frontdesk has kept anything in {0} yet, under keys that begin with {1}; correct url or prefix in [store]"
    )]
    Absent(Place, String),
    /// Written by a later version.
    #[error(
        "what is stored in {0} was written by a newer Frontdesk (format {1}); this one knows format {FORMAT}; use the newer program"
    )]
    Newer(Place, u64),
    /// Anything else that Redis says.
    #[error("{0} answers with an error: {1}")]
    Other(Place, String),
}

/// Where a Redis is, without credentials.
#[derive(Debug, Clone)]
pub struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an opened store starts with.
pub(super) struct Started {
    pub(super) link: Link,
    pub(super) names: Names,
    pub(super) description: StoreDescription,
}

/// What is done where no store is yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// One is made.
    Make,
    /// That is an error.
    Refuse,
}

pub(super) async fn start(options: &RedisOptions, absent: Absent) -> Result<Started, RedisOpenError> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if !(1..=32).contains(&options.prefix.len()) || !options.prefix.bytes().all(fine) {
        return Err(RedisOpenError::Prefix(options.prefix.clone()));
    }
    let (info, certificates) = address(options)?;
    let place = place(&info);
    let single = || {
        let client = match &certificates {
            Some(certificates) => Client::build_with_tls(info.clone(), certificates.clone()),
            None => Client::open(info.clone()),
        };
        client.map(|client| Single::new(client, options.timeout)).map_err(|error| wrong(&place, &error))
    };
    let (first, second) = (single()?, single()?);
    first.connection().await.map_err(|error| wrong(&place, &error))?;
    let probe = Line::One(Box::new(first));
    let about = probe.each_master("INFO", &["server"]).await.map_err(|error| wrong(&place, &error))?;
    let about: String = about.into_iter().map(text).collect();
    let Some(version) = field(&about, "redis_version") else {
        return Err(RedisOpenError::NotRedis(place));
    };
    if version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_none_or(|major| major < 7) {
        return Err(RedisOpenError::TooOld(place, version.to_owned()));
    }
    let is_cluster = field(&about, "redis_mode") == Some("cluster");
    let link = if is_cluster {
        let verbs = cluster(&info, certificates.as_ref(), options.timeout, &place).await?;
        let reads = cluster(&info, certificates.as_ref(), options.timeout, &place).await?;
        Link::new(verbs, reads)
    } else {
        Link::new(probe, Line::One(Box::new(second)))
    };
    let names = Names::new(&options.prefix);
    check_permissions(&link, &names, &place).await?;
    let settings = settings(&link, &place).await?;
    if let Some(policy) = settings.iter().find_map(Settings::evicts) {
        return Err(RedisOpenError::Evicts(place, policy.to_owned()));
    }
    if options.durability == Durability::Strict && !settings.iter().all(Settings::is_strict) {
        return Err(RedisOpenError::NotDurable(place, mend()));
    }
    let store_id = store_id(&link, &names, &place, absent).await?;
    let kind = if is_cluster { "Redis Cluster of" } else { "Redis at" };
    let durability = match options.durability {
        Durability::Strict => "strict",
        Durability::Relaxed => "relaxed",
    };
    let name = format!("{kind} {place} ({durability})");
    Ok(Started { link, names, description: StoreDescription { name, durability: describe(&settings), store_id } })
}

fn address(options: &RedisOptions) -> Result<(ConnectionInfo, Option<TlsCertificates>), RedisOpenError> {
    let bad = |reason: &str| RedisOpenError::Address(reason.to_owned());
    if !options.url.starts_with("redis://") && !options.url.starts_with("rediss://") {
        return Err(bad("it begins with neither redis:// nor rediss://"));
    }
    // The reason that is given for a bad address may hold the password: it is not repeated.
    let info = options.url.as_str().into_connection_info().map_err(|_| bad("it cannot be read"))?;
    let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    if let Some(user) = &options.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &options.password {
        settings = settings.set_password(password.expose());
    }
    let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(SILENT_PEER);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    if is_tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been quicker, with the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let certificates = match &options.ca {
        Some(path) if is_tls => {
            let unusable = |reason: String| RedisOpenError::Ca(path.clone(), reason);
            let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
                return Err(unusable("it holds no certificate".into()));
            }
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
            Client::build_with_tls(info.clone(), certificates.clone()).map_err(|error| unusable(error.to_string()))?;
            Some(certificates)
        }
        _ => None,
    };
    Ok((info, certificates))
}

fn place(info: &ConnectionInfo) -> Place {
    let database = info.redis_settings().db();
    Place(match info.addr() {
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{database}"),
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
        other => other.to_string(),
    })
}

async fn cluster(
    info: &ConnectionInfo,
    certificates: Option<&TlsCertificates>,
    timeout: Duration,
    place: &Place,
) -> Result<Line, RedisOpenError> {
    let build = |nodes: Vec<ConnectionInfo>| {
        // What is sent again inside is sent with the same operation.
        let mut builder = ClusterClientBuilder::new(nodes)
            .connection_timeout(timeout)
            .response_timeout(timeout)
            .overall_response_timeout(Some(timeout))
            .retries(3)
            .min_retry_wait(20)
            .max_retry_wait(200)
            .use_protocol(ProtocolVersion::RESP2)
            .tcp_settings(info.tcp_settings().clone());
        if let Some(certificates) = certificates {
            builder = builder.certs(certificates.clone());
        }
        builder.build()
    };
    let down = |error: RedisError| match error.code() {
        Some("CLUSTERDOWN") => RedisOpenError::ClusterDown(place.clone(), error.to_string()),
        _ => wrong(place, &error),
    };
    // The one that the address names may be the one that dies: whoever looks for the cluster anew asks all of its nodes.
    let mut first = build(vec![info.clone()]).map_err(down)?.get_async_connection().await.map_err(down)?;
    let slots = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut first).await.unwrap_or(Value::Nil);
    let mut nodes = vec![info.clone()];
    nodes.extend(named_in(&slots).into_iter().map(|(host, port)| {
        let addr = match info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        info.clone().set_addr(addr)
    }));
    Ok(Line::Cluster(Many::new(build(nodes).map_err(down)?).await.map_err(down)?))
}

/// The nodes that an answer to `CLUSTER SLOTS` names, each once.
fn named_in(slots: &Value) -> Vec<(String, u16)> {
    let Value::Array(ranges) = slots else { return Vec::new() };
    let named = ranges.iter().filter_map(|range| match range {
        Value::Array(parts) => Some(parts.iter().skip(2)),
        _ => None,
    });
    let mut nodes: Vec<(String, u16)> = named
        .flatten()
        .filter_map(|node| match node {
            Value::Array(parts) => match parts.as_slice() {
                [Value::BulkString(host), Value::Int(port), ..] if !host.is_empty() => {
                    Some((String::from_utf8(host.clone()).ok()?, u16::try_from(*port).ok()?))
                }
                _ => None,
            },
            _ => None,
        })
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Every command that is called, here or in a script. `K` stands for a key.
const COMMANDS: [&[&str]; 33] = [
    &["time"],
    &["info"],
    &["eval", "return 1", "1", "K"],
    &["evalsha", "0000000000000000000000000000000000000000", "1", "K"],
    &["get", "K"],
    &["set", "K", "v"],
    &["mget", "K"],
    &["del", "K"],
    &["pexpire", "K", "1"],
    &["hget", "K", "f"],
    &["hgetall", "K"],
    &["hkeys", "K"],
    &["hmget", "K", "f"],
    &["hset", "K", "f", "v"],
    &["hsetnx", "K", "f", "v"],
    &["hexists", "K", "f"],
    &["hdel", "K", "f"],
    &["hscan", "K", "0"],
    &["lindex", "K", "0"],
    &["llen", "K"],
    &["lrange", "K", "0", "1"],
    &["lset", "K", "0", "v"],
    &["ltrim", "K", "0", "1"],
    &["rpush", "K", "v"],
    &["zadd", "K", "0", "v"],
    &["zcard", "K"],
    &["zlexcount", "K", "-", "+"],
    &["zrange", "K", "0", "1"],
    &["zrangebylex", "K", "-", "+"],
    &["zrevrangebylex", "K", "+", "-"],
    &["zscan", "K", "0"],
    &["zrem", "K", "v"],
    &["zscore", "K", "v"],
];

async fn check_permissions(link: &Link, names: &Names, place: &Place) -> Result<(), RedisOpenError> {
    let key = names.store();
    let mut ask = Ask::new(vec![key.clone()]);
    let list = ask.say("commands").list(COMMANDS.len());
    for command in COMMANDS {
        list.list(command.len());
        for word in command {
            list.text(if *word == "K" { &key } else { word });
        }
    }
    let answers = link.run_each(Purpose::Verb, &ALLOWED, vec![(Shard::of_byte(0), ask)]).await;
    let mut missing = Vec::new();
    match answers {
        Ok(answers) => {
            let unreadable = |_| RedisOpenError::NotRedis(place.clone());
            for answer in &answers {
                for command in answer.read().map_err(unreadable)?.list().unwrap_or_default() {
                    missing.extend(command.text().map(str::to_uppercase));
                }
            }
        }
        Err(StoreError::Unavailable(reason)) if reason.contains("permission") => missing.push("EVALSHA, EVAL".into()),
        Err(StoreError::Unavailable(reason)) if link.is_cluster() => {
            return Err(RedisOpenError::ClusterDown(place.clone(), reason));
        }
        Err(error) => return Err(RedisOpenError::Other(place.clone(), error.to_string())),
    }
    if missing.is_empty() { Ok(()) } else { Err(RedisOpenError::Permission(missing.join(", "), names.pattern())) }
}

async fn settings(link: &Link, place: &Place) -> Result<Vec<Settings>, RedisOpenError> {
    const ASKED: [&str; 7] = [
        "GET",
        "appendonly",
        "appendfsync",
        "no-appendfsync-on-rewrite",
        "save",
        "maxmemory-policy",
        "min-replicas-to-write",
    ];
    let mut servers: Vec<String> = Vec::new();
    for section in ["persistence", "memory", "replication"] {
        let answers = link.each_master("INFO", &[section]).await.map_err(|error| wrong(place, &error))?;
        servers.resize(answers.len(), String::new());
        for (server, answer) in servers.iter_mut().zip(answers) {
            server.push_str(&text(answer));
        }
    }
    if servers.iter().any(|info| field(info, "loading") == Some("1")) {
        return Err(RedisOpenError::Loading(place.clone()));
    }
    if servers.iter().any(|info| field(info, "role") == Some("slave")) {
        return Err(RedisOpenError::Replica(place.clone()));
    }
    // Often not allowed, or not there: a Redis that somebody else runs.
    let set = link.each_master("CONFIG", &ASKED).await.ok();
    let set = set.map(|answers| answers.into_iter().map(pairs).collect::<Vec<_>>());
    let of = |place: usize| set.as_ref().and_then(|all| all.get(place)).map(Vec::as_slice);
    Ok(servers.iter().enumerate().map(|(place, info)| Settings::read(info, of(place))).collect())
}

/// What the store is called, and whether it is in a form that we know. A new one is named now, if one may be made.
async fn store_id(link: &Link, names: &Names, place: &Place, absent: Absent) -> Result<String, RedisOpenError> {
    let failed = |error: StoreError| RedisOpenError::Other(place.clone(), error.to_string());
    let shard = Shard::of_byte(0);
    let mut get = redis::cmd("HMGET");
    get.arg(names.store()).arg("id").arg("format");
    let mut found = link.ask_one(Purpose::Verb, shard, get.clone()).await.map_err(failed)?;
    if matches!(&found, Value::Array(values) if values.contains(&Value::Nil)) {
        if absent == Absent::Refuse {
            return Err(RedisOpenError::Absent(place.clone(), names.pattern()));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| RedisOpenError::Other(place.clone(), error.to_string()))?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        for (name, value) in [("format", FORMAT.to_string()), ("id", id)] {
            let mut put = redis::cmd("HSETNX");
            put.arg(names.store()).arg(name).arg(value);
            link.ask_one(Purpose::Verb, shard, put).await.map_err(failed)?;
        }
        found = link.ask_one(Purpose::Verb, shard, get).await.map_err(failed)?;
    }
    let foreign = || RedisOpenError::NotRedis(place.clone());
    let Value::Array(values) = found else { return Err(foreign()) };
    let [id, format] = <[Value; 2]>::try_from(values).map_err(|_| foreign())?.map(text);
    match format.parse::<u64>() {
        Ok(FORMAT) => Ok(id),
        Ok(other) => Err(RedisOpenError::Newer(place.clone(), other)),
        Err(_) => Err(foreign()),
    }
}

pub(super) fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    }
}

fn pairs(value: Value) -> Vec<(String, String)> {
    let Value::Array(values) = value else { return Vec::new() };
    let mut texts = values.into_iter().map(text);
    std::iter::from_fn(|| Some((texts.next()?, texts.next()?))).collect()
}

/// What it means that no connection comes about.
fn wrong(place: &Place, error: &RedisError) -> RedisOpenError {
    let (place, said) = (place.clone(), error.to_string());
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let detail = || error.detail().map_or_else(|| said.clone(), str::to_owned);
    match error.code() {
        Some("LOADING") => return RedisOpenError::Loading(place),
        Some("NOAUTH") => return RedisOpenError::SignIn(place, "it wants a password".into()),
        Some("WRONGPASS") => return RedisOpenError::SignIn(place, "the user or the password is wrong".into()),
        Some("CLUSTERDOWN") => return RedisOpenError::ClusterDown(place, detail()),
        _ => {}
    }
    if has(&["db index", "invalid db", "select is not allowed", "switch database"]) {
        return RedisOpenError::Database(place, detail());
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => RedisOpenError::SignIn(place, "the user or the password is wrong".into()),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => RedisOpenError::NotRedis(place),
        ErrorKind::Io if error.is_connection_refusal() => RedisOpenError::Refused(place),
        ErrorKind::Io if place.0.starts_with("rediss:") => tls(place, error, said),
        ErrorKind::Io if error.is_timeout() => RedisOpenError::Silent(place),
        ErrorKind::Io if error.is_connection_dropped() => RedisOpenError::NotRedis(place),
        ErrorKind::Io => RedisOpenError::Unreachable(place, said),
        _ => RedisOpenError::Other(place, said),
    }
}

fn tls(place: Place, error: &RedisError, said: String) -> RedisOpenError {
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["certificate", "not valid for"]) {
        RedisOpenError::Certificate(place, said)
    } else if has(&["lookup", "resolve", "unreachable", "no route"]) {
        RedisOpenError::Unreachable(place, said)
    } else if error.is_timeout() {
        RedisOpenError::Tls(place, "it takes connections but does not answer".into())
    } else {
        RedisOpenError::Tls(place, said)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// A user who may not call one of them is told at the start, and not by a script that stops in the middle.
    #[test]
    fn every_command_that_is_called_is_asked_for_at_the_start() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis");
        let mut called = BTreeSet::new();
        for folder in [folder.join("scripts"), folder] {
            for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|file| file.is_file()) {
                let text = fs::read_to_string(&file).unwrap();
                for opening in ["call('", "redis::cmd(\""] {
                    let words = text.split(opening).skip(1).filter_map(|rest| rest.split(['\'', '"']).next());
                    let words =
                        words.filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase()));
                    called.extend(words.map(str::to_lowercase));
                }
            }
        }
        assert!(called.contains("rpush") && called.contains("hsetnx"), "{called:?}");
        // Of a cluster alone, and there the client calls it before all else.
        assert!(called.remove("cluster"));
        let asked: BTreeSet<String> =
            COMMANDS.iter().filter_map(|command| command.first()).map(|word| (*word).to_owned()).collect();
        assert_eq!(called.difference(&asked).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
