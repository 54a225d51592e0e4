//! Secrets: where they come from, and that nothing shows them.

use frontdesk::{
    check::{Form, check},
    config::{Colour, Environment},
};

use crate::world::{Folder, Post, short};

/// A token that takes its value from here; the token that was found.
fn token(folder: &Folder, vars: &[(&str, &str)]) -> Result<String, Vec<String>> {
    match folder.load(vars) {
        Ok(config) => Ok(config.tokens[0].token.expose().clone()),
        Err(refused) => Err(refused.findings.iter().filter(|one| one.table == "tokens.a").map(short).collect()),
    }
}

fn folder(source: &str) -> Folder {
    Folder::new(&format!("[tokens.a]\ntoken = {source}\nscopes = [\"agent\"]\n"))
}

#[test]
fn a_secret_comes_from_text_variable_file_or_credential() {
    let value = "0123456789abcdef";
    assert_eq!(token(&folder("\"0123456789abcdef\""), &[]).unwrap(), value);
    assert_eq!(token(&folder("{ env = \"HERE\" }"), &[("HERE", value)]).unwrap(), value);
    for bytes in ["0123456789abcdef", "0123456789abcdef\n", "0123456789abcdef\r\n"] {
        let folder = folder("{ file = \"secret\" }");
        folder.put("secret", bytes.as_bytes(), 0o600);
        assert_eq!(token(&folder, &[]).unwrap(), value);
    }
    let folder = folder("{ credential = \"secret\" }");
    folder.put("secret", value.as_bytes(), 0o444);
    let credentials = folder.path("");
    let config = folder.load(&[("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())]).unwrap();
    assert_eq!(config.tokens[0].token.expose(), value);
    assert!(!config.warnings.iter().any(|one| one.table == "tokens.a"), "systemd guards its credentials itself");
}

#[test]
fn a_secret_that_cannot_be_had_is_an_error_that_repeats_nothing() {
    let cases: &[(&str, &str)] = &[
        ("{ env = \"NOT_THERE\" }", "the environment has no variable of this name, or an empty one"),
        ("{ env = \"EMPTY\" }", "the environment has no variable of this name, or an empty one"),
        ("{ file = \"not_there\" }", "the file that should hold this secret does not exist"),
        ("{ file = \"empty\" }", "the file that should hold this secret is empty"),
        ("{ file = \"newline\" }", "the file that should hold this secret is empty"),
        ("{ file = \"noise\" }", "the file that should hold this secret is not UTF-8"),
        ("{ file = \"large\" }", "the file that should hold this secret is larger than 64 KiB"),
        ("{ file = \".\" }", "the file that should hold this secret is not a regular file"),
        ("{ credential = \"x\" }", "there are no credentials: CREDENTIALS_DIRECTORY is not set"),
        ("{ credential = \"../x\" }", "not a credential's name"),
        ("{ credential = \"x/\" }", "not a credential's name"),
        ("{ vault = \"x\" }", "a secret comes from env, file or credential, and from nothing else"),
        ("{ env = 3 }", "where the secret is to be found must be text"),
        ("{}", "not exactly one of env, file and credential"),
        ("\"\"", "an empty secret"),
        ("3", "a number stands where a secret belongs"),
        ("[[\"a\"]]", "a list in a list of secrets"),
    ];
    for (source, what) in cases {
        let folder = folder(source);
        folder.put("empty", b"", 0o600);
        folder.put("newline", b"\n", 0o600);
        folder.put("noise", b"\xff\xfe", 0o600);
        folder.put("large", &vec![b'a'; 70_000], 0o600);
        assert_eq!(token(&folder, &[("EMPTY", "")]).unwrap_err(), [format!("2 [tokens.a] token: {what}")], "{source}");
    }
}

#[test]
fn a_secret_that_others_may_read_is_a_warning() {
    let folder = folder("{ file = \"secret\" }");
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        folder.put("secret", b"0123456789abcdef", mode);
        let config = folder.load(&[]).unwrap();
        let warnings: Vec<String> = config.warnings.iter().filter(|one| one.table == "tokens.a").map(short).collect();
        assert_eq!(!warnings.is_empty(), warned, "{mode:o}: {warnings:?}");
    }
}

const CANARY: &str = "c4n4ry";

/// Right and wrong configurations with the canary at every place where somebody could put a secret.
fn with_canaries() -> Vec<String> {
    let whsec = "whsec_YzRuNHJ5YzRuNHJ5YzRuNHJ5YzRuNHJ5YzRuNHJ5";
    let right = format!(
        "[tokens.a]\ntoken = [\"{CANARY}-0123456789\", {{ env = \"CANARY\" }}, {{ file = \"canary\" }}, {{ credential = \"canary2\" }}]\n\
         scopes = [\"agent\"]\n[agent]\nurl = \"http://127.0.0.1/{CANARY}?k={CANARY}\"\nsecret = \"{whsec}\"\n\
         [channels.shop]\nkind = \"post\"\nsecret = [\"{CANARY}\", {{ env = \"CANARY\" }}]\n"
    );
    let wrong_values = [
        "\"c4n4ry\"",
        "\"c4n4ry c4n4ry\"",
        "[\"c4n4ry\"]",
        "[\"c4n4ry\", \"c4n4ry\"]",
        "{ env = \"c4n4ry\" }",
        "{ file = \"c4n4ry\" }",
        "{ credential = \"c4n4ry\" }",
        "{ credential = \"/c4n4ry\" }",
        "{ env = [\"c4n4ry\"] }",
        "{ env = \"c4n4ry\", file = \"c4n4ry\" }",
        "\"http://c4n4ry:c4n4ry@h/\"",
        "\"redis://:c4n4ry@h/\"",
        "\"sqlite:\\u0000c4n4ry\"",
        "\"whsec_c4n4ry!\"",
        "\"c4n4ry",
        "\"\\c4n4ry\"",
        "c4n4ry",
        "'c4n4ry",
        "[\"c4n4ry\"",
    ];
    let keys = [
        ("server", "listen"),
        ("server", "public_url"),
        ("server", "unknown"),
        ("tokens.b", "token"),
        ("tokens.b", "scopes"),
        ("tokens.b", "channels"),
        ("store", "url"),
        ("store", "durability"),
        ("store", "min_free"),
        ("store", "password"),
        ("store", "ca"),
        ("agent", "url"),
        ("agent", "protocol"),
        ("agent", "secret"),
        ("agent", "timeout"),
        ("agent", "history"),
        ("channels.shop", "kind"),
        ("channels", "shop"),
        ("unknown", "key"),
    ];
    let mut all = vec![right];
    for (table, key) in keys {
        all.extend(wrong_values.iter().map(|value| format!("[{table}]\n{key} = {value}\n")));
    }
    for key in ["account", "secret", "deliver_url", "wait", "max_bytes", "retries", "loud", "allowed", "mode", "other"]
    {
        all.extend(wrong_values.iter().map(|value| format!("[channels.shop]\nkind = \"post\"\n{key} = {value}\n")));
    }
    all
}

#[test]
fn t37_no_report_and_no_debug_shows_a_secret() {
    let mut right = 0;
    for toml in with_canaries() {
        let folder = Folder::new(&toml);
        folder.put("canary", format!("{CANARY}-file-0123456789").as_bytes(), 0o644);
        folder.put("canary2", format!("{CANARY}-credential-0123456789").as_bytes(), 0o400);
        let credentials = folder.path("").to_str().unwrap().to_owned();
        let environment: Environment = [
            ("CANARY", "c4n4ry-env-0123456789"),
            ("CREDENTIALS_DIRECTORY", credentials.as_str()),
            ("FRONTDESK__STORE__MIN_FREE", "c4n4ry"),
        ]
        .into_iter()
        .filter(|(name, _)| !name.starts_with("FRONTDESK") || toml.contains("[store]"))
        .collect();
        let mut outputs = vec![format!("{environment:?}")];
        for form in [Form::Text(Colour::On), Form::Text(Colour::Off), Form::Json] {
            outputs.push(check(&folder.file(), &environment, &[&Post], form).text);
        }
        match frontdesk::config::Config::load(&folder.file(), &environment, &[&Post]) {
            Ok(config) => {
                right += 1;
                outputs.push(format!(
                    "{:?} {:?} {:?} {:?} {:?}",
                    config.server, config.store, config.tokens, config.agent, config.warnings
                ));
            }
            Err(refused) => outputs.push(format!("{refused} {refused:?}")),
        }
        for output in outputs {
            assert!(
                !output.contains(CANARY) && !output.contains("YzRuNHJ5"),
                "the configuration\n{toml}\nis shown in\n{output}"
            );
        }
    }
    assert!(right > 0, "the right configuration was read, so that its Debug was looked at");
}
