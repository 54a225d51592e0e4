//! `frontdesk check` as it is built and called, and the configuration that ships.

#![allow(clippy::unwrap_used)] // a test may stop at the first surprise

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use frontdesk::{
    config::{Backend, Config, Environment},
    registry,
};
use frontdesk_engine::Protocol;
use frontdesk_model::Kind;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../channels.toml")
}

/// The program with nothing in its environment.
fn frontdesk(arguments: &[&str], folder: &Path, vars: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_frontdesk"))
        .args(arguments)
        .env_clear()
        .envs(vars.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_shipped_configuration_is_fine_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(shipped(), folder.path().join("channels.toml")).unwrap();
    let output = frontdesk(&["check", "--json"], folder.path(), &[]);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "[]\n"));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["channels.toml"], "a check makes nothing");
}

/// The shipped file with every example switched on but those of the other protocol and the other store.
fn all_switched_on(protocol: &str, store: &str) -> Config {
    let (mut table, mut lines) = (String::new(), Vec::new());
    for line in fs::read_to_string(shipped()).unwrap().lines() {
        let bare = match line.strip_prefix('#') {
            Some(rest)
                if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                rest
            }
            _ => line,
        };
        if bare.starts_with('[') {
            bare.clone_into(&mut table);
        }
        let (key, _) = bare.split_once(" = ").unwrap_or_default();
        let of_the_other = match (protocol, key) {
            ("frontdesk", "api_key" | "model" | "instructions") | ("openai", "secret") => table == "[agent]",
            _ => false,
        } || match (store, key) {
            ("redis", "min_free") | ("sqlite", "user" | "password" | "ca" | "prefix" | "folder") => table == "[store]",
            _ => false,
        };
        if store == "redis" && table == "[store]" && key == "url" {
            lines.push("url = \"rediss://redis.example.com:6379/0\"".to_owned());
        } else if key == "protocol" {
            lines.push(format!("protocol = \"{protocol}\""));
        } else if !of_the_other {
            lines.push(bare.to_owned());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("channels.toml");
    fs::write(&file, lines.join("\n")).unwrap();
    fs::write(folder.path().join("instructions.md"), "You help.\n").unwrap();
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let environment: Environment = [
        ("FRONTDESK_TOKEN", "0123456789abcdef"),
        ("AGENT_SECRET", secret),
        ("SHOP_SECRET", secret),
        ("MODEL_KEY", "a-key"),
        ("REDIS_PASSWORD", "a-password"),
        ("TELEGRAM_TOKEN", "4242:a-token"),
    ]
    .into_iter()
    .collect();
    Config::load(&file, &environment, registry::kinds()).unwrap_or_else(|refused| panic!("{refused}"))
}

/// What stands behind a # must work as well as what does not.
#[test]
fn the_shipped_configuration_with_every_example_switched_on_is_fine() {
    let config = all_switched_on("frontdesk", "sqlite");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.tokens.len(), 1);
}

#[test]
fn the_shipped_configuration_with_a_language_model_switched_on_is_fine() {
    let config = all_switched_on("openai", "sqlite");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let Protocol::OpenAi(model) = config.agent.unwrap().protocol else { panic!("another protocol") };
    assert_eq!((model.model.as_str(), model.instructions.as_deref()), ("the-model", Some("You help.")));
}

#[test]
fn the_shipped_configuration_with_a_redis_switched_on_is_fine() {
    let config = all_switched_on("frontdesk", "redis");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let Backend::Redis(redis) = config.store.backend else { panic!("another store") };
    assert_eq!((redis.user.as_deref(), redis.prefix.as_str()), (Some("frontdesk"), "fd"));
}

#[test]
fn the_shipped_configuration_explains_every_key_of_its_kinds() {
    let text = fs::read_to_string(shipped()).unwrap();
    let (_, channels) = text.split_once("[channels.shop]").unwrap();
    let (webhook, telegram) = channels.split_once("[channels.tg]").unwrap();
    let webhook = (webhook, frontdesk_web::WebhookKind.keys());
    for (channel, keys) in [webhook, (telegram, frontdesk_telegram::TelegramKind.keys())] {
        for key in keys {
            let explained =
                channel.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{} = ", key.name)));
            assert!(explained, "{} is not in channels.toml", key.name);
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_looked_for_in_a_folder_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[agent]\nurl = \"http://127.0.0.1:1/\"\nsecret = { file = \"agent.secret\" }\n";
    fs::write(folder.path().join("channels.toml"), toml).unwrap();
    for name in ["channels.toml", "./channels.toml"] {
        let output = frontdesk(&["check", "--config", name], folder.path(), &[]);
        let place = folder.path().canonicalize().unwrap();
        let wanted = format!("relative paths start at {}\n", place.display());
        assert!(said(&output).contains(&wanted), "{}", said(&output));
    }
}

#[test]
fn what_stops_a_start_is_told_with_its_own_mend() {
    let folder = tempfile::tempdir().unwrap();
    let write = |listen: &str| {
        let toml = format!(
            "[server]\nlisten = \"{listen}\"\npublic_url = \"https://desk.example.com\"\n\
             [agent]\nurl = \"http://127.0.0.1:1/\"\n[channels.shop]\nkind = \"webhook\"\n"
        );
        fs::write(folder.path().join("channels.toml"), toml).unwrap();
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // An address of a documentation network (RFC 5737) is nobody's.
    for (listen, mend) in [
        ("192.0.2.1:8080".to_owned(), "192.0.2.1 is not an address of this machine"),
        (taken.local_addr().unwrap().to_string(), "stop what listens there"),
    ] {
        write(&listen);
        let output = frontdesk(&["run"], folder.path(), &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(&format!("frontdesk: cannot listen on {listen}")), "{}", said(&output));
        assert!(said(&output).contains(&format!("mend: {mend}")), "{}", said(&output));
    }
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data"), "a file").unwrap();
    let output = frontdesk(&["run"], folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("a file stands in the way: set [store] url to a folder"), "{}", said(&output));

    let json = frontdesk(&["run", "--json"], folder.path(), &[]);
    let lines: Vec<serde_json::Value> =
        said(&json).lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert_eq!((json.status.code(), lines.len()), (Some(1), 1));
}

#[test]
fn wrong_configurations_and_wrong_usage_end_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let missing = frontdesk(&["check"], folder.path(), &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing).contains("there is no configuration at"), "{}", said(&missing));
    fs::write(folder.path().join("wrong.toml"), "[server]\nlisen = \"c4n4ry\"\n").unwrap();
    for (arguments, vars) in [
        (&["check", "--config", "wrong.toml"][..], &[][..]),
        (&["check"], &[("FRONTDESK_CONFIG", "wrong.toml")]),
        (&["run", "--config", "wrong.toml"], &[]),
        (&["--config", "wrong.toml"], &[]),
    ] {
        let output = frontdesk(arguments, folder.path(), vars);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = said(&output);
        assert!(said.contains("wrong.toml:2: [server] lisen: unknown key; did you mean listen?\n"), "{said}");
        assert!(!said.contains("c4n4ry") && !said.contains('\u{1b}'), "{said}");
    }
    assert_eq!(frontdesk(&["chekc"], folder.path(), &[]).status.code(), Some(2));
    assert_eq!(frontdesk(&["check", "--what"], folder.path(), &[]).status.code(), Some(2));
}
