//! Each way in which a Redis cannot be opened has a sentence of its own, and what an opened one can lose is said.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use frontdesk_model::{Secret, Store};
use frontdesk_store::{Durability, RedisOpenError, RedisOptions, RedisStore};
use frontdesk_testkit::clock::TestClock;

use crate::server::{ALWAYS, Cluster, Server, bench, options};

async fn open(options: RedisOptions) -> Result<RedisStore, RedisOpenError> {
    let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    RedisStore::open(options, Arc::new(clock)).await
}

/// The sentence, without ports.
async fn sentence(options: RedisOptions) -> String {
    let options = RedisOptions { timeout: Duration::from_millis(1500), ..options };
    let error = match open(options).await {
        Err(error) => error.to_string(),
        Ok(store) => panic!("it was opened: {:?}", store.describe()),
    };
    let mut plain = String::new();
    for piece in error.split_inclusive("127.0.0.1:") {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (port, rest) = if plain.is_empty() { ("", piece) } else { piece.split_at(digits) };
        plain.push_str(if port.is_empty() { "" } else { "PORT" });
        plain.push_str(rest);
    }
    plain
}

fn url(port: u16, database: u32) -> String {
    format!("redis://127.0.0.1:{port}/{database}")
}

/// Answers every command with what `answer` makes of its name.
fn pretend(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let mut stream = stream;
                while let Some(head) = lines.next() {
                    let words: usize = head.strip_prefix('*').and_then(|count| count.parse().ok()).unwrap_or(0);
                    let words: Vec<String> = (0..words).filter_map(|_| lines.by_ref().nth(1)).collect();
                    let Some(answer) = answer(words.first().map_or("", String::as_str)) else { continue };
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_without_repeating_a_password() {
    for address in ["localhost:6379", "http://localhost", "redis+sentinel://a", "redis://:secret@a:b:c/x", ""] {
        let error = open(RedisOptions { url: address.into(), ..options(String::new()) }).await.err().unwrap();
        assert!(matches!(error, RedisOpenError::Address(_)), "{address}: {error}");
        assert!(!error.to_string().contains("secret"));
    }
    for prefix in ["", "a b", "{a}", "A", &"a".repeat(33)] {
        let error = open(RedisOptions { prefix: prefix.into(), ..options(url(1, 0)) }).await.err().unwrap();
        assert!(matches!(error, RedisOpenError::Prefix(_)), "{error}");
    }
}

#[tokio::test]
async fn nobody_or_somebody_else_listens() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let web = pretend(|_| Some("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".into()));
    let old = pretend(|command| match command {
        "INFO" => Some("$22\r\nredis_version:6.2.14\r\n\r\n".into()),
        _ => Some("+OK\r\n".into()),
    });
    let loading = pretend(|_| Some("-LOADING Redis is loading the dataset in memory\r\n".into()));
    let silent = silent.local_addr().unwrap().port();
    let unknown_host = RedisOptions { url: "redis://no-such-host.invalid/0".into(), ..options(String::new()) };
    let mut said = Vec::new();
    for (name, port) in [("free", free), ("silent", silent), ("web", web), ("old", old), ("loading", loading)] {
        said.push(format!("[{name}]\n{}\n", sentence(options(url(port, 0))).await));
    }
    insta::assert_snapshot!(said.join("\n"));
    let error = open(unknown_host).await.err().unwrap();
    assert!(matches!(error, RedisOpenError::Unreachable(..)), "{error}");
}

#[tokio::test]
async fn whoever_is_not_let_in_or_may_not_do_all_is_told_why() {
    let server = Server::start(&["--save", "", "--databases", "4"]);
    let mut said = vec![format!("[database]\n{}\n", sentence(options(url(server.port, 9))).await)];
    let rules = |name: &str, rules: &[&str]| {
        server.say::<()>(&[["ACL", "SETUSER", name, "on", ">secret"].as_slice(), rules].concat());
    };
    rules("all", &["~*", "+@all"]);
    rules("keys", &["~other:*", "+@all"]);
    rules("lists", &["~*", "+@all", "-rpush", "-ltrim"]);
    rules("scripts", &["~*", "+@all", "-@scripting"]);
    rules("config", &["~*", "+@all", "-config"]);
    rules("suggested", &["~t*{*", "+@read", "+@write", "+@scripting", "+@connection", "+info", "+time"]);
    let user = |user: &str, password: &str| RedisOptions {
        user: Some(user.into()),
        password: Some(Secret::new(password.into())),
        ..options(url(server.port, 0))
    };
    for (name, password) in
        [("all", "wrong"), ("nobody", "secret"), ("keys", "secret"), ("lists", "secret"), ("scripts", "secret")]
    {
        let options = RedisOptions { prefix: "fd".into(), ..user(name, password) };
        said.push(format!("[{name} {password}]\n{}\n", sentence(options).await));
    }
    for name in ["all", "suggested"] {
        open(user(name, "secret")).await.unwrap();
    }
    let in_the_address = format!("redis://all:secret@127.0.0.1:{}/1", server.port);
    let opened = open(options(in_the_address)).await.unwrap();
    assert_eq!(opened.describe().name, format!("Redis at redis://127.0.0.1:{}/1 (relaxed)", server.port));
    let unsaid = open(user("config", "secret")).await.unwrap().describe().durability;
    assert!(unsaid.contains("keeps no log"), "INFO tells that much: {unsaid}");
    server.say::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
    said.push(format!("[no password]\n{}\n", sentence(options(url(server.port, 0))).await));
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_with_data_is_refused() {
    let master = Server::start(&["--save", ""]);
    let replica = Server::start(&["--save", "", "--replicaof", &format!("127.0.0.1 {}", master.port)]);
    let evicting = Server::start(&["--save", "", "--maxmemory-policy", "allkeys-lru"]);
    let alone = Server::start(&["--save", "", "--cluster-enabled", "yes"]);
    let mut said = Vec::new();
    for (name, server) in [("replica", &replica), ("evicting", &evicting), ("cluster without slots", &alone)] {
        said.push(format!("[{name}]\n{}\n", sentence(options(server.url())).await));
    }
    let strict = |server: &Server| RedisOptions { durability: Durability::Strict, ..options(server.url()) };
    said.push(format!("[not durable]\n{}\n", sentence(strict(&master)).await));
    let newer = options(master.url());
    master.say::<()>(&["HSET", &format!("{}{{0}}store", newer.prefix), "format", "99", "id", "x"]);
    said.push(format!("[newer]\n{}\n", sentence(newer).await));
    insta::assert_snapshot!(said.join("\n"));
    master.say::<()>(&["CONFIG", "SET", "appendonly", "yes", "appendfsync", "everysec"]);
    assert!(matches!(open(strict(&master)).await, Err(RedisOpenError::NotDurable(..))));
    master.say::<()>(&["CONFIG", "SET", "appendfsync", "always"]);
    open(strict(&master)).await.unwrap();
}

#[tokio::test]
async fn a_store_has_the_same_name_for_all_who_open_it_and_another_than_others() {
    let server = Server::start(ALWAYS);
    let shared = options(server.url());
    let id = async |options: RedisOptions| open(options).await.unwrap().describe().store_id;
    let first = id(shared.clone()).await;
    assert_eq!(id(shared.clone()).await, first);
    assert_ne!(id(RedisOptions { url: url(server.port, 1), ..shared.clone() }).await, first);
    assert_ne!(id(options(server.url())).await, first);
    let strict = RedisOptions { durability: Durability::Strict, ..shared };
    let described = open(strict).await.unwrap().describe();
    assert!(described.name.ends_with("/0 (strict)"), "{}", described.name);
    let sentence = described.durability.lines().next().unwrap().to_owned();
    assert_eq!(sentence, "a power cut loses nothing that was acknowledged");
}

/// Not only the node that is named: each.
#[tokio::test]
async fn every_node_of_a_cluster_is_signed_in_to() {
    let cluster = Cluster::start(ALWAYS);
    for node in &cluster.nodes {
        node.say::<()>(&["ACL", "SETUSER", "desk", "on", ">secret", "~*", "+@all"]);
        node.say::<()>(&["ACL", "SETUSER", "default", "nopass", "off"]);
    }
    let user = |password: &str| RedisOptions {
        user: Some("desk".into()),
        password: Some(Secret::new(password.into())),
        ..options(cluster.url())
    };
    let bench = bench(user("secret")).await;
    for number in 0..12 {
        bench.say(&format!("order-{number}")).await;
    }
    let refused = open(user("wrong")).await.err().unwrap();
    assert!(matches!(refused, RedisOpenError::SignIn(..)), "{refused}");
    let anybody = open(options(cluster.url())).await.err().unwrap();
    assert!(matches!(anybody, RedisOpenError::SignIn(..)), "{anybody}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis/tls").join(name)
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_authority_vouches_for() {
    let files = [fixture("server.pem"), fixture("server.key"), fixture("authority.pem")];
    let [certificate, key, ca] = files.each_ref().map(|path| path.to_str().unwrap());
    let server = Server::start(&[
        "--save",
        "",
        "--tls-port",
        "{port}",
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        ca,
        "--tls-auth-clients",
        "no",
    ]);
    let plain = Server::start(&["--save", ""]);
    let trusting =
        |ca: Option<PathBuf>, port: u16| RedisOptions { ca, ..options(format!("rediss://127.0.0.1:{port}/0")) };
    let opened = open(trusting(Some(fixture("authority.pem")), server.port)).await.unwrap();
    assert_eq!(opened.conversation(frontdesk_model::ConversationId::from_bytes([0; 16])).await.unwrap(), None);
    let mut said = Vec::new();
    for (name, options) in [
        ("another authority", trusting(Some(fixture("stranger.pem")), server.port)),
        ("public authorities", trusting(None, server.port)),
        ("no TLS there", trusting(Some(fixture("authority.pem")), plain.port)),
        ("TLS there", options(url(server.port, 0))),
    ] {
        said.push(format!("[{name}]\n{}\n", sentence(options).await));
    }
    insta::assert_snapshot!(said.join("\n"));
    for (name, path) in [("no certificate", fixture("server.key")), ("no file", fixture("absent.pem"))] {
        let error = open(trusting(Some(path), server.port)).await.err().unwrap();
        assert!(matches!(error, RedisOpenError::Ca(..)), "{name}: {error}");
    }
}
