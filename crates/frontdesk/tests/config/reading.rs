//! What a right configuration becomes, and what each wrong one is told.

use std::{path::PathBuf, time::Duration};

use frontdesk::config::{Backend, Config, Environment, Redis, locate};
use frontdesk_engine::{OpenAiOptions, Protocol};
use frontdesk_http::Scope;
use frontdesk_model::Secret;
use frontdesk_store::Durability;

use crate::world::{Folder, Post, short};

const WHSEC: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[test]
fn an_empty_file_is_a_configuration_of_defaults_with_warnings() {
    let folder = Folder::new("");
    let config = folder.load(&[]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.public_url, None);
    assert_eq!(config.store.folder, folder.path("data"));
    assert_eq!(config.store.durability, Durability::Strict);
    assert_eq!(config.store.min_free, 256_000_000);
    assert!(config.tokens.is_empty() && config.agent.is_none() && config.channels.is_empty());
    let warnings: Vec<String> = config.warnings.iter().map(short).collect();
    assert_eq!(
        warnings,
        [
            "file [agent] -: missing: new conversations belong to teammates, and stay theirs until they are handed over (owner: agent)",
            "file [channels] -: no channel, so nothing can come in"
        ]
    );
}

#[test]
fn attachments_lie_beside_the_store_unless_a_folder_is_named() {
    let of = |text: &str| {
        let folder = Folder::new(text);
        folder.load(&[]).map(|config| (config.store.attachments, folder.path("")))
    };
    let (beside, root) = of("[store]\nurl = \"sqlite:kept\"\n").unwrap();
    assert_eq!((beside.folder, beside.max_bytes), (root.join("kept/attachments"), 25_000_000));
    let (named, root) = of("[attachments]\nurl = \"file:files\"\nmax_bytes = \"1 MB\"\n").unwrap();
    assert_eq!((named.folder, named.max_bytes), (root.join("files"), 1_000_000));
    let (whole, _) = of("[attachments]\nurl = \"file:///srv/files\"\n").unwrap();
    assert_eq!(whole.folder, PathBuf::from("/srv/files"));
    for (wrong, mend) in [
        ("url = \"s3://bucket\"", "write file: and a folder"),
        ("url = \"file:\"", "write file: and a folder"),
        ("max_bytes = \"0\"", "from 1 B to 1 GB"),
        ("max_bytes = \"2 GB\"", "from 1 B to 1 GB"),
        ("max_byte = \"2 MB\"", "max_bytes"),
    ] {
        let refused = of(&format!("[attachments]\n{wrong}\n")).unwrap_err();
        let finding = refused.findings.iter().find(|finding| finding.table == "attachments").unwrap();
        assert!(finding.mend.contains(mend), "{wrong}: {finding:?}");
    }
}

#[test]
fn every_key_arrives_with_its_type() {
    let folder = Folder::new(&format!(
        r#"
[server]
listen = "[::1]:9000"
public_url = "https://desk.example.com/front/"
[tokens.bot]
token = ["0123456789abcdef-new", "0123456789abcdef-old"]
scopes = ["agent", "ingest"]
channels = ["shop"]
[tokens.root]
token = "fedcba9876543210-root"
scopes = ["admin"]
[store]
url = "sqlite:///var/lib/x"
durability = "relaxed"
min_free = "1 GiB"
retention = "400 days"
[agent]
url = "http://127.0.0.1:8081/"
protocol = "frontdesk"
secret = "{WHSEC}"
timeout = "10 min"
history = 0
concurrency = 4096
coalesce = "60 s"
fallback = "24 h"
[channels.shop]
kind = "post"
deliver_url = "https://shop.example.com/x?y=z"
wait = "2 min"
max_bytes = 7
retries = 9
loud = false
allowed = ["a", "b"]
mode = "push"
"#
    ));
    let config = folder.load(&[]).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.server.listen.port(), 9000);
    assert_eq!(config.server.public_url.as_deref(), Some("https://desk.example.com/front"));
    let tokens: Vec<_> =
        config.tokens.iter().map(|token| (token.name.as_str(), token.token.expose().as_str())).collect();
    assert_eq!(
        tokens,
        [("bot", "0123456789abcdef-new"), ("bot", "0123456789abcdef-old"), ("root", "fedcba9876543210-root")]
    );
    assert!(config.tokens[0].scopes.contains(Scope::Ingest) && !config.tokens[0].scopes.contains(Scope::Desk));
    assert_eq!(config.tokens[0].channels, Some(vec!["shop".parse().unwrap()]));
    assert_eq!(config.tokens[2].channels, None);
    assert_eq!(config.store.folder, PathBuf::from("/var/lib/x"));
    assert_eq!((config.store.durability, config.store.min_free), (Durability::Relaxed, 1 << 30));
    assert_eq!(config.store.retention, Some(Duration::from_secs(400 * 24 * 60 * 60)));
    let agent = config.agent.unwrap();
    assert_eq!(agent.url.as_str(), "http://127.0.0.1:8081/");
    assert_eq!((agent.timeout, agent.history, agent.concurrency), (Duration::from_secs(600), 0, 4096));
    assert_eq!((agent.coalesce, agent.fallback), (Duration::from_secs(60), Some(Duration::from_secs(86_400))));
    assert_eq!(agent.protocol, Protocol::Frontdesk { secrets: vec![Secret::new(WHSEC.to_owned())] });
    assert_eq!((config.channels[0].name.as_str(), config.channels[0].kind.as_str()), ("shop", "post"));
    let seen = format!("{:?}", config.channels[0].config);
    for wanted in ["https://shop.example.com/x?y=z", "Span(120s)", "Number(7)", "Number(9)", "Switch(false)", "push"] {
        assert!(seen.contains(wanted), "{wanted} in {seen}");
    }
}

#[test]
fn a_redis_has_its_own_keys_and_the_daemon_a_folder_beside_it() {
    let folder = Folder::new("[store]\nurl = \"redis://:c4n4ry@localhost\"\n");
    let config = folder.load(&[]).unwrap();
    let warned: Vec<String> = config.warnings.iter().map(short).filter(|line| line.contains("[store]")).collect();
    assert_eq!(warned, ["2 [store] url: a password in an address, where it is easily shown"]);
    let Backend::Redis(redis) = &config.store.backend else { panic!("{:?}", config.store) };
    assert_eq!((redis.shown.as_str(), redis.prefix.as_str()), ("redis://localhost:6379/0", "fd"));
    assert!(!format!("{:?}", config.store).contains("c4n4ry"));
    assert_eq!((config.store.durability, &config.store.folder), (Durability::Relaxed, &folder.path("data")));

    let folder = Folder::new(
        "[store]\nurl = \"rediss://redis.example.com:6380/3\"\ndurability = \"strict\"\nuser = \"desk\"\n\
         password = { env = \"REDIS_PASSWORD\" }\nca = \"ca.pem\"\nprefix = \"desk-2\"\nfolder = \"own\"\n\
         retention = \"400 days\"\n",
    );
    let config = folder.load(&[("REDIS_PASSWORD", "c4n4ry")]).unwrap();
    assert_eq!((config.store.durability, &config.store.folder), (Durability::Strict, &folder.path("own")));
    assert_eq!(config.store.retention, Some(Duration::from_secs(400 * 24 * 60 * 60)));
    let wanted = Redis {
        url: Secret::new("rediss://redis.example.com:6380/3".into()),
        shown: "rediss://redis.example.com:6380/3".into(),
        user: Some("desk".into()),
        password: Some(Secret::new("c4n4ry".into())),
        ca: Some(folder.path("ca.pem")),
        prefix: "desk-2".into(),
    };
    assert_eq!(config.store.backend, Backend::Redis(wanted));

    // A password in a variable is where one belongs; another machine without TLS is pointed out.
    let folder = Folder::new("");
    let config = folder.load(&[("FRONTDESK__STORE__URL", "redis://me:c4n4ry@10.0.0.7:6379/0")]).unwrap();
    let warned: Vec<String> = config.warnings.iter().map(short).filter(|line| line.contains("[store]")).collect();
    assert_eq!(
        warned,
        ["FRONTDESK__STORE__URL [store] url: not TLS, so what customers write crosses the network readable"]
    );
    for alone in ["redis://127.0.0.1/0", "redis://[::1]:6379", "redis://localhost:6379/0", "rediss://10.0.0.7"] {
        let config = folder.load(&[("FRONTDESK__STORE__URL", alone)]).unwrap();
        assert!(!config.warnings.iter().map(short).any(|line| line.contains("[store]")), "{alone}");
    }
}

#[test]
fn a_language_model_has_its_own_keys_and_more_time() {
    let folder = Folder::new(
        r#"
[agent]
url = "https://models.example.com/v1"
protocol = "openai"
api_key = { env = "MODEL_KEY" }
model = "some/model:latest"
instructions = { file = "instructions.md" }
[channels.shop]
kind = "post"
"#,
    );
    folder.put("instructions.md", "You sell bicycles.\nBe kind.\n".as_bytes(), 0o644);
    let config = folder.load(&[("MODEL_KEY", "k-c4n4ry")]).unwrap();
    assert!(config.warnings.is_empty(), "instructions are no secret: {:?}", config.warnings);
    let agent = config.agent.unwrap();
    assert!(!format!("{agent:?}").contains("c4n4ry"));
    assert_eq!((agent.timeout, agent.coalesce, agent.fallback), (Duration::from_secs(120), Duration::ZERO, None));
    let wanted = OpenAiOptions {
        api_key: Some(Secret::new("k-c4n4ry".into())),
        model: "some/model:latest".into(),
        instructions: Some("You sell bicycles.\nBe kind.".into()),
    };
    assert_eq!(agent.protocol, Protocol::OpenAi(wanted));
}

#[test]
fn the_environment_overrides_the_file_and_reaches_into_maps() {
    let folder = Folder::new(
        "[server]\nlisten = \"127.0.0.1:1\"\n[channels.shop]\nkind = \"post\"\ndeliver_url = \"http://127.0.0.1/\"\n",
    );
    let config = folder
        .load(&[
            ("FRONTDESK__SERVER__LISTEN", "127.0.0.1:2"),
            ("FRONTDESK__CHANNELS__SHOP__DELIVER_URL", "http://127.0.0.1/other"),
            ("FRONTDESK__CHANNELS__SHOP__RETRIES", "3"),
            ("FRONTDESK__CHANNELS__SHOP__LOUD", "false"),
            ("FRONTDESK__CHANNELS__SHOP__ALLOWED", "a, b"),
            ("FRONTDESK__CHANNELS__NEW__KIND", "post"),
            ("FRONTDESK__AGENT__URL", "http://localhost:1/"),
            ("FRONTDESK__AGENT__SECRET__ENV", "HIDDEN"),
            ("FRONTDESK_TOKEN", "is none of ours"),
            ("HIDDEN", WHSEC),
        ])
        .unwrap();
    assert_eq!(config.server.listen.port(), 2);
    let secrets = vec![Secret::new(WHSEC.to_owned())];
    assert_eq!(config.agent.unwrap().protocol, Protocol::Frontdesk { secrets });
    let names: Vec<&str> = config.channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["new", "shop"]);
    let shop = format!("{:?}", config.channels[1].config);
    for wanted in ["http://127.0.0.1/other", "Number(3)", "Switch(false)", r#"["a", "b"]"#] {
        assert!(shop.contains(wanted), "{wanted} in {shop}");
    }
}

#[test]
fn what_came_from_the_environment_is_named_by_its_variable() {
    let folder = Folder::new("[server]\nlisten = \"127.0.0.1:1\"\n");
    let vars = [
        ("FRONTDESK__SERVER__LISTEN", "nowhere"),
        ("FRONTDESK__SERVER__LISEN", "x"),
        ("FRONTDESK__CHANNELS__SHOP__RETRIES", "3"),
        ("FRONTDESK__STROE__URL", "x"),
        ("FRONTDESK__TOKENS", "x"),
        ("FRONTDESK__TOKENS__BOT__TOKEN", "x"),
        ("FRONTDESK__server__listen", "127.0.0.1:3"),
        ("FRONTDESK__A____B", "x"),
        ("FRONTDESK__A[999999999999]", "x"),
    ];
    assert_eq!(
        folder.errors(&vars),
        [
            "FRONTDESK__A[999999999999] [] -: not the name of a key",
            "FRONTDESK__A____B [] -: not the name of a key",
            "FRONTDESK__CHANNELS__SHOP__* [channels.shop] kind: missing",
            "FRONTDESK__SERVER__LISEN [server] lisen: unknown key; did you mean listen?",
            "FRONTDESK__SERVER__LISTEN [server] listen: not an address with a port",
            "FRONTDESK__STROE__* [stroe] -: unknown table; did you mean store?",
            "FRONTDESK__TOKENS [tokens] -: text stands where a table belongs",
            "FRONTDESK__TOKENS__BOT__TOKEN [] -: FRONTDESK__TOKENS gives this key a value already, so it cannot have keys of its own",
            "FRONTDESK__server__listen [] -: not the name of a key",
        ]
    );
}

/// One wrong thing each, and what is said about it.
#[test]
fn each_mistake_is_named_at_its_line() {
    let cases: &[(&str, &[&str])] = &[
        ("[server]\nlisten = 80\n", &["2 [server] listen: a number stands where text belongs"]),
        ("[server]\nlisten = \"localhost:80\"\n", &["2 [server] listen: not an address with a port"]),
        ("server = 3\n", &["1 [server] -: a number stands where a table belongs"]),
        ("[[server]]\n", &["1 [server] -: a list stands where a table belongs"]),
        ("listen = \"x\"\n", &["1 [listen] -: unknown key outside of all tables"]),
        ("[desk]\n", &["1 [desk] -: unknown table"]),
        ("\n\n[Server]\n", &["3 [Server] -: unknown table; did you mean server?"]),
        ("[\"a[99999999999]\"]\n", &["1 [\"a[99999999999]\"] -: unknown table"]),
        ("\"server.listen\" = \"127.0.0.1:1\"\n", &["1 [\"server.listen\"] -: unknown table"]),
        ("[\"\\u001b[31m\"]\n", &["1 [\"\\u{1b}[31m\"] -: unknown table"]),
        ("[server]\npublic_url = \"ftp://x\"\n", &["2 [server] public_url: neither http nor https"]),
        (
            "[server]\npublic_url = \"https://me:pw@x\"\n",
            &["2 [server] public_url: a user name or password in an address, where it would end up in logs"],
        ),
        ("[server]\npublic_url = \"https://x/?a\"\n", &["2 [server] public_url: an address with a query"]),
        ("[server]\ncolour = []\n", &["2 [server] colour: unknown key"]),
        ("[store]\nurl = \"redis://\"\n", &["2 [store] url: an address without a host"]),
        ("[store]\nurl = \"redis:x\"\n", &["2 [store] url: an address without a host"]),
        ("[store]\nurl = \"redis://h:99999\"\n", &["2 [store] url: not an address"]),
        ("[store]\nurl = \"redis://h /0\"\n", &["2 [store] url: white space in an address"]),
        (
            "[store]\nurl = \"rediss://h/desk\"\n",
            &["2 [store] url: something else than a number where the database stands"],
        ),
        ("[store]\nurl = \"rediss://h/0?x\"\n", &["2 [store] url: an address with a query or a fragment"]),
        ("[store]\nurl = \"redis+cluster://h\"\n", &["2 [store] url: a cluster has no address of its own kind"]),
        ("[store]\nurl = \"redis+sentinel://h\"\n", &["2 [store] url: a way to Redis that this build does not know"]),
        ("[store]\nuser = \"x\"\n", &["2 [store] user: belongs to a store in Redis, and url names another"]),
        (
            "[store]\nurl = \"rediss://h\"\nmin_free = \"1 GB\"\nprefix = \"A\"\n",
            &[
                "3 [store] min_free: belongs to a store in SQLite, and url names another",
                "4 [store] prefix: not a beginning of keys",
            ],
        ),
        ("[store]\nurl = \"redis://localhost\"\nca = \"x\"\n", &["3 [store] ca: an authority, and no TLS"]),
        ("[store]\nurl = \"rediss://h\"\npassword = [\"a\", \"b\"]\n", &["3 [store] password: several passwords"]),
        ("[store]\nurl = \"./data\"\n", &["2 [store] url: not a store that this build knows"]),
        ("[store]\nurl = \"sqlite://data\"\n", &["2 [store] url: two slashes, but no absolute path after them"]),
        ("[store]\nurl = \"sqlite:\"\n", &["2 [store] url: no folder"]),
        ("[store]\ndurability = \"strickt\"\n", &["2 [store] durability: unknown word; did you mean \"strict\"?"]),
        ("[store]\nmin_free = -1\n", &["2 [store] min_free: below zero"]),
        ("[store]\nretention = \"12 h\"\n", &["2 [store] retention: conversations would be gone within a day"]),
        ("[store]\nretention = \"for ever\"\n", &["2 [store] retention: not a span of time"]),
        ("[store]\nmin_free = \"1 mb\"\n", &["2 [store] min_free: not a size"]),
        ("[store]\nmin_free = 1.5\n", &["2 [store] min_free: a fraction stands where a size belongs"]),
        ("[store]\nmin_free = 2026-01-05\n", &["2 [store] min_free: a date or time stands where a size belongs"]),
        ("[agent]\n", &["1 [agent] url: missing"]),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"open-ai\"\nmodel = \"m\"\n",
            &["3 [agent] protocol: unknown word; did you mean \"openai\"?"],
        ),
        ("[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\n", &["1 [agent] model: missing"]),
        ("[agent]\nprotocol = \"openai\"\nmodel = \"m\"\n", &["1 [agent] url: missing"]),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\nmodel = 4\n",
            &["4 [agent] model: a number stands where text belongs"],
        ),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\nmodel = \"m\"\nsecret = \"short\"\n",
            &["5 [agent] secret: a key of protocol = \"frontdesk\" only"],
        ),
        (
            "[agent]\nurl = \"http://localhost\"\napi_key = \"k\"\nmodel = \"m\"\ninstructions = \"i\"\n",
            &[
                "3 [agent] api_key: a key of protocol = \"openai\" only",
                "4 [agent] model: a key of protocol = \"openai\" only",
                "5 [agent] instructions: a key of protocol = \"openai\" only",
            ],
        ),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\nmodel = \"m\"\napi_key = \"Bearer k\"\n",
            &["5 [agent] api_key: white space or other characters that no header carries"],
        ),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\nmodel = \"m\"\napi_key = [\"a\", \"b\"]\n",
            &["5 [agent] api_key: several keys"],
        ),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\nmodel = \"m\"\ninstructions = 3\n",
            &["5 [agent] instructions: a number stands where text belongs"],
        ),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\nmodel = \"m\"\ninstructions = { env = \"A\" }\n",
            &["5 [agent] instructions: a text comes from file, and from nothing else"],
        ),
        (
            "[agent]\nurl = \"http://localhost\"\nprotocol = \"openai\"\nmodel = \"m\"\ninstructions = { file = \"not-there\" }\n",
            &["5 [agent] instructions: the file that should hold this text does not exist"],
        ),
        ("[agent]\nurl = \"http://localhost\"\ncoalesce = \"61 s\"\n", &["3 [agent] coalesce: out of range"]),
        ("[agent]\nurl = \"http://localhost\"\nfallback = \"9 s\"\n", &["3 [agent] fallback: out of range"]),
        ("[agent]\nurl = \"http://localhost\"\nfallback = \"25 h\"\n", &["3 [agent] fallback: out of range"]),
        ("[agent]\nurl = \"http://localhost\"\ntimeout = \"0 s\"\n", &["3 [agent] timeout: out of range"]),
        ("[agent]\nurl = \"http://localhost\"\ntimeout = \"11 min\"\n", &["3 [agent] timeout: out of range"]),
        (
            "[agent]\nurl = \"http://localhost\"\ntimeout = 30\n",
            &["3 [agent] timeout: a number stands where a span of time belongs"],
        ),
        ("[agent]\nurl = \"http://localhost\"\nhistory = 201\n", &["3 [agent] history: out of range"]),
        ("[agent]\nurl = \"http://localhost\"\nconcurrency = 0\n", &["3 [agent] concurrency: out of range"]),
        (
            "[agent]\nurl = \"http://localhost\"\nsecret = \"short\"\n",
            &["3 [agent] secret: not a Standard Webhooks secret"],
        ),
        ("[agent]\nurl = \"http://localhost\"\nsecret = []\n", &["3 [agent] secret: an empty list of secrets"]),
        (
            "[agent]\nurl = \"http://localhost\"\nsecret = { env = \"A\", file = \"b\" }\n",
            &["3 [agent] secret: not exactly one of env, file and credential"],
        ),
        (
            "[tokens.a]\ntoken = \"0123456789abcdef\"\nscopes = [\"agnet\"]\n",
            &["3 [tokens.a] scopes: unknown scope; did you mean agent?"],
        ),
        (
            "[tokens.a]\ntoken = \"0123456789abcdef\"\nscopes = []\n",
            &["3 [tokens.a] scopes: a token that may do nothing"],
        ),
        (
            "[tokens.a]\ntoken = \"0123456789 bcdef\"\nscopes = [\"agent\"]\n",
            &["2 [tokens.a] token: white space or other characters that no header carries"],
        ),
        ("[tokens.a]\n", &["1 [tokens.a] token: missing", "1 [tokens.a] scopes: missing"]),
        (
            "[tokens.A-B]\ntoken = \"0123456789abcdef\"\nscopes = [\"agent\"]\n",
            &["1 [tokens.A-B] -: not a token's name"],
        ),
        (
            "[tokens.a]\ntoken = \"0123456789abcdef\"\nscopes = [\"agent\"]\nchannels = [\"shpo\"]\n[channels.shop]\nkind = \"post\"\n",
            &["4 [tokens.a] channels: unknown channel; did you mean shop?"],
        ),
        (
            "[tokens.a]\ntoken = \"0123456789abcdef\"\nscopes = [\"agent\"]\nchannels = []\n",
            &["4 [tokens.a] channels: an empty list, so the token opens nothing"],
        ),
        (
            "[tokens.a]\ntoken = \"0123456789abcdef\"\nscopes = [\"agent\"]\n[tokens.b]\ntoken = \"0123456789abcdef\"\nscopes = [\"desk\"]\n",
            &["5 [tokens.b] token: the same token as [tokens.a]"],
        ),
        ("[channels.shop]\n", &["1 [channels.shop] kind: missing"]),
        ("[channels.shop]\nkind = \"pots\"\n", &["2 [channels.shop] kind: unknown kind; did you mean post?"]),
        ("[channels.shop]\nkind = \"telegraph\"\n", &["2 [channels.shop] kind: unknown kind"]),
        (
            "[channels.shop]\nkind = \"pots\"\nretries = 10\nlod = true\nsecret = { env = \"NOT_THERE\" }\n",
            &[
                "2 [channels.shop] kind: unknown kind; did you mean post?",
                "3 [channels.shop] retries: out of range",
                "4 [channels.shop] lod: unknown key; did you mean loud?",
                "5 [channels.shop] secret: the environment has no variable of this name, or an empty one",
            ],
        ),
        // Every key is one of the only kind that has them.
        (
            "[channels.shop]\nretries = 10\n",
            &["1 [channels.shop] kind: missing", "2 [channels.shop] retries: out of range"],
        ),
        // Nobody can say whose keys these are.
        (
            "[channels.shop]\nkind = \"telegraph\"\nretries = 10\nwire = \"copper\"\n",
            &["2 [channels.shop] kind: unknown kind"],
        ),
        ("[channels.shop]\nkind = 3\n", &["2 [channels.shop] kind: a number stands where a kind belongs"]),
        ("[channels]\nshop = 3\n", &["2 [channels.shop] -: a number stands where a table belongs"]),
        ("[channels.Shop]\nkind = \"post\"\n", &["1 [channels.Shop] -: not a channel's name"]),
        (
            "[channels.shop]\nkind = \"post\"\nallowed = [\"a\", 3]\n",
            &["3 [channels.shop] allowed: a number in a list of texts"],
        ),
        ("[channels.shop]\nkind = \"post\"\nloud = true\n", &["1 [channels.shop] mode: needed when loud"]),
        (
            "[channels.shop]\nkind = \"post\"\nloud = true\nmode = 7\n",
            &["4 [channels.shop] mode: a number stands where one of a few words belongs"],
        ),
        ("[channels.shop]\nkind = \"post\"\nsecret = \"abc\"\n", &["3 [channels.shop] secret: too short"]),
        (
            "[channels.shop]\nkind = \"post\"\nloud = \"true\"\n",
            &["3 [channels.shop] loud: text stands where true or false belongs"],
        ),
        (
            "[channels]\nshop = { kind = \"post\",\n  deliver_ulr = \"http://x\" }\n",
            &["3 [channels.shop] deliver_ulr: unknown key; did you mean deliver_url?"],
        ),
        ("channels.shop.kind = \"post\"\nchannels.shop.retries = 10\n", &["2 [channels.shop] retries: out of range"]),
        (
            "[channels.a]\nkind = \"post\"\naccount = \"x\"\n[channels.b]\nkind = \"post\"\naccount = \"x\"\n",
            &["4 [channels.b] -: the same kind and account as [channels.a]"],
        ),
    ];
    for (toml, wanted) in cases {
        assert_eq!(Folder::new(toml).errors(&[]), *wanted, "for:\n{toml}");
    }
}

#[test]
fn a_syntax_error_is_named_by_line_and_column() {
    let refused = |toml: &str| Folder::new(toml).load(&[]).unwrap_err().to_string();
    let report = refused("[server]\nlisten = \"127.0.0.1:1\nx\"\n");
    assert!(report.contains("channels.toml:2:22: not TOML"), "{report}");
    assert!(report.contains("channels.toml:3:"), "every line at once: {report}");
    let report = refused("[server]\nlisten = \"a\"\nlisten = \"b\"\n");
    assert!(report.contains("channels.toml:3:1: not TOML: duplicate key"), "{report}");
    let report = refused(&format!("a = {}1{}", "[".repeat(2000), "]".repeat(2000)));
    assert!(report.contains("channels.toml:1:") && report.contains("max recursion depth"), "{report}");
}

#[test]
fn a_file_that_is_no_text_is_refused_at_the_first_wrong_byte() {
    let folder = Folder::new("");
    folder.put("channels.toml", b"# fine\n# \xff", 0o600);
    assert_eq!(folder.errors(&[]), ["2 [] -: not UTF-8"]);
    folder.put("channels.toml", &vec![b'#'; (1 << 20) + 1], 0o600);
    assert_eq!(folder.errors(&[]), ["file [] -: larger than 1 MiB, so no configuration"]);
}

#[test]
fn a_missing_file_says_where_it_was_looked_for_and_how_to_name_one() {
    let folder = Folder::new("");
    let file = folder.path("other.toml");
    let refused = Config::load(&file, &Environment::default(), &[&Post]).unwrap_err().to_string();
    assert!(refused.contains(&format!("there is no configuration at {}", file.display())), "{refused}");
    assert!(refused.contains("--config FILE") && refused.contains("FRONTDESK_CONFIG"), "{refused}");
}

#[test]
fn the_command_line_names_the_file_before_the_environment_does() {
    let named = [("FRONTDESK_CONFIG", "/env.toml")].into_iter().collect();
    assert_eq!(locate(Some("/flag.toml".as_ref()), &named), PathBuf::from("/flag.toml"));
    assert_eq!(locate(None, &named), PathBuf::from("/env.toml"));
    assert_eq!(locate(None, &Environment::default()), PathBuf::from("channels.toml"));
}

#[test]
fn relative_paths_start_at_the_state_folder_under_systemd_and_at_the_file_otherwise() {
    let folder = Folder::new("[store]\nurl = \"sqlite:./kept\"\n");
    assert_eq!(folder.load(&[]).unwrap().store.folder, folder.path("kept"));
    let under = folder.load(&[("STATE_DIRECTORY", "/var/lib/frontdesk:/var/lib/more")]).unwrap();
    assert_eq!(under.store.folder, PathBuf::from("/var/lib/frontdesk/kept"));
}

#[test]
fn what_is_readable_on_the_way_is_warned_about_and_loopback_is_not() {
    let warnings = |toml: &str| -> Vec<String> {
        let config = Folder::new(&format!("{toml}\n[channels.shop]\nkind = \"post\"\n")).load(&[]).unwrap();
        config.warnings.iter().map(short).collect()
    };
    let agent = "[agent]\nurl = \"http://127.0.0.9:1\"\n";
    assert_eq!(warnings(&format!("[server]\npublic_url = \"http://[::1]:1\"\n{agent}")), Vec::<String>::new());
    assert_eq!(
        warnings("[agent]\nurl = \"http://bot.example.com\"\n"),
        ["2 [agent] url: not https, so what customers write crosses the network readable"]
    );
    assert_eq!(
        warnings(&format!("[server]\npublic_url = \"http://desk.example.com\"\n{agent}")),
        ["2 [server] public_url: not https, so replies and their tokens cross the network readable"]
    );
    assert_eq!(
        warnings(&format!("[server]\nlisten = \"0.0.0.0:80\"\n{agent}")),
        [
            "1 [server] public_url: missing, so events name the listening address for replies, which others may not reach"
        ]
    );
    assert_eq!(
        warnings(&format!("[tokens.a]\ntoken = \"short\"\nscopes = [\"agent\"]\n{agent}")),
        ["2 [tokens.a] token: shorter than 16 characters, so it can be guessed"]
    );
}
