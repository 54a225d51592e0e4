//! Who may know whom (`crates/README.md`), enforced: on cargo's own list of dependencies, and on the sources.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

/// Which of our crates each one may use outside its tests. A crate under `crates/channels` may use what everybody may.
const MAY_USE: &[(&str, &[&str])] = &[
    ("frontdesk-model", &[]),
    ("frontdesk-richtext", &["frontdesk-model"]),
    ("frontdesk-store", &["frontdesk-model", "frontdesk-richtext"]),
    ("frontdesk-attachments", &["frontdesk-model"]),
    ("frontdesk-engine", &["frontdesk-model", "frontdesk-richtext", "frontdesk-attachments"]),
    ("frontdesk-http", &["frontdesk-model", "frontdesk-richtext", "frontdesk-engine"]),
    ("frontdesk-testkit", &["frontdesk-model"]),
];
/// What every channel may know.
const SHARED: &[&str] = &["frontdesk-model", "frontdesk-richtext"];
/// The binary: knows all of them but the testkit.
const BINARY: &str = "frontdesk";
const TESTKIT: &str = "frontdesk-testkit";
/// Crates that do input and output, wait, or speak a protocol, and which of ours must do without.
const MUST_DO_WITHOUT: &[(&str, &[&str])] = &[
    (
        "frontdesk-model",
        &[
            "tokio",
            "reqwest",
            "hyper",
            "hyper-util",
            "axum",
            "rusqlite",
            "rustix",
            "http",
            "tower",
            "tracing",
            "config",
        ],
    ),
    (
        "frontdesk-richtext",
        &["tokio", "reqwest", "hyper", "hyper-util", "axum", "rusqlite", "rustix", "http", "tracing", "config"],
    ),
    ("frontdesk-engine", &["axum", "hyper", "hyper-util", "rusqlite", "config", "clap"]),
    ("frontdesk-attachments", &["axum", "hyper", "hyper-util", "rusqlite", "redis", "config", "clap"]),
    ("frontdesk-store", &["axum", "hyper", "hyper-util", "reqwest", "http", "config", "clap"]),
    ("frontdesk-http", &["rusqlite", "reqwest", "config", "clap"]),
];
/// Who may read files and the environment. The store and the attachments have a folder of their own, and no environment.
const MAY_READ_FILES: &[&str] = &["frontdesk", "frontdesk-store", "frontdesk-attachments", "frontdesk-testkit"];
const MAY_READ_ENVIRONMENT: &[&str] = &["frontdesk", "frontdesk-testkit"];
/// What stands at the top of the repository, and what tools insist on there.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "crates",
    "channels.toml",
    "systemd",
    "tests",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "rustfmt.toml",
    "clippy.toml",
    "deny.toml",
];

/// One of our crates.
struct Crate {
    name: String,
    folder: PathBuf,
    /// Dependencies outside its tests.
    uses: BTreeSet<String>,
}

impl Crate {
    fn is_channel(&self) -> bool {
        self.folder.parent().is_some_and(|parent| parent.ends_with("crates/channels"))
    }
}

#[test]
fn crates_use_only_the_crates_that_they_may_know() {
    assert_none(&wrong_uses(&ours()));
}

#[test]
fn the_model_and_the_middle_do_without_input_and_output() {
    assert_none(&forbidden_libraries(&ours()));
}

#[test]
fn only_the_binary_reads_the_environment_and_only_it_and_a_store_touch_files() {
    assert_none(
        &ours().iter().flat_map(|of| sources(of).into_iter().flat_map(|file| reads(of, &file))).collect::<Vec<_>>(),
    );
}

#[test]
fn no_channel_names_a_store_the_engine_or_another_channel() {
    let ours = ours();
    let found = ours.iter().filter(|of| of.is_channel()).flat_map(|of| {
        let strange = |other: &&Crate| other.name != of.name && !SHARED.contains(&other.name.as_str());
        let others: Vec<String> = ours.iter().filter(strange).map(|other| path_name(&other.name)).collect();
        sources(of).into_iter().flat_map(move |file| named_strangers(&file, &others))
    });
    assert_none(&found.collect::<Vec<_>>());
}

#[test]
fn the_top_level_holds_only_what_it_should() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let names: BTreeSet<String> = match listed {
        Ok(out) if out.status.success() && !out.stdout.is_empty() => String::from_utf8(out.stdout)
            .unwrap()
            .split('\0')
            .filter_map(|path| path.split('/').next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        // Unpacked from an archive: everything that is there, but what a build and a run leave.
        _ => std::fs::read_dir(root())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["target", "data"].contains(&name.as_str()))
            .collect(),
    };
    assert!(names.contains("Cargo.toml"), "looked at the wrong place: {names:?}");
    assert_none(&strangers_at_the_top(&names));
}

/// The rules must be able to fail: a made-up workspace that breaks each of them.
#[test]
fn each_rule_refuses_a_made_up_offender() {
    let made_up = |name: &str, folder: &str, uses: &[&str]| Crate {
        name: name.into(),
        folder: Path::new("/made/up/crates").join(folder),
        uses: uses.iter().map(|used| (*used).to_owned()).collect(),
    };
    let bad = [
        made_up("frontdesk-model", "model", &["frontdesk-store", "tokio"]),
        made_up("frontdesk-engine", "engine", &["frontdesk-model", "frontdesk-web", "rusqlite"]),
        made_up("frontdesk-web", "channels/web", &["frontdesk-model", "frontdesk-engine"]),
        made_up("frontdesk-mail", "channels/mail", &["frontdesk-web", "frontdesk-richtext"]),
        made_up("frontdesk-richtext", "richtext", &["frontdesk-engine", "tokio"]),
        made_up("frontdesk-http", "http", &["frontdesk-store"]),
        made_up("frontdesk", "frontdesk", &["frontdesk-http", "frontdesk-testkit"]),
        made_up("frontdesk-newcomer", "newcomer", &[]),
    ];
    assert_eq!(
        wrong_uses(&bad),
        [
            "frontdesk-model may not use frontdesk-store",
            "frontdesk-engine may not use frontdesk-web",
            "frontdesk-web may not use frontdesk-engine",
            "frontdesk-mail may not use frontdesk-web",
            "frontdesk-richtext may not use frontdesk-engine",
            "frontdesk-http may not use frontdesk-store",
            "frontdesk may not use frontdesk-testkit",
            "frontdesk-newcomer: say here whom it may know",
        ]
    );
    assert_eq!(
        forbidden_libraries(&bad),
        [
            "frontdesk-model must do without tokio",
            "frontdesk-engine must do without rusqlite",
            "frontdesk-richtext must do without tokio",
        ]
    );
    let engine = &bad[1];
    for code in [
        "std::fs::read(path)",
        "use std::{fmt, fs};",
        "use std::{\n    collections::{BTreeMap, HashMap},\n    fs,\n};",
        "tokio::fs::read(path)",
        "std::env::var(name)",
        "use std::env;",
        "use std::{env, io};",
    ] {
        assert_eq!(reads(engine, &made_up_source(code)).len(), 1, "{code}");
    }
    for code in [
        "env!(\"CARGO_PKG_VERSION\")",
        "// std::fs is for the store",
        "let fs = 1; let env = fs;",
        "let words = \"std::fs::read\";",
        "fn live() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
    ] {
        assert_none(&reads(engine, &made_up_source(code)));
    }
    let others = ["frontdesk_engine".to_owned()];
    assert_eq!(named_strangers(&made_up_source("use frontdesk_engine::Desk;"), &others).len(), 1);
    let top = ["Cargo.toml", ".gitignore", "notes.md"].map(str::to_owned).into();
    assert_eq!(strangers_at_the_top(&top), ["notes.md does not belong at the top"]);
}

fn wrong_uses(ours: &[Crate]) -> Vec<String> {
    let names: BTreeSet<&str> = ours.iter().map(|of| of.name.as_str()).collect();
    let mut found = Vec::new();
    for of in ours {
        let may: Vec<&str> = match MAY_USE.iter().find(|(name, _)| *name == of.name) {
            Some((_, may)) => may.to_vec(),
            None if of.is_channel() => SHARED.to_vec(),
            None if of.name == BINARY => names.iter().copied().filter(|name| *name != TESTKIT).collect(),
            None => {
                found.push(format!("{}: say here whom it may know", of.name));
                continue;
            }
        };
        let is_ours = |name: &str| names.contains(name) || name.starts_with("frontdesk");
        let wrong = of.uses.iter().filter(|used| is_ours(used) && !may.contains(&used.as_str()));
        found.extend(wrong.map(|used| format!("{} may not use {used}", of.name)));
    }
    found
}

fn forbidden_libraries(ours: &[Crate]) -> Vec<String> {
    let rules: BTreeMap<&str, &[&str]> = MUST_DO_WITHOUT.iter().copied().collect();
    let of_one = |of: &Crate| {
        let forbidden = rules.get(of.name.as_str()).copied().unwrap_or_default();
        let wrong = forbidden.iter().filter(|library| of.uses.contains(**library));
        wrong.map(|library| format!("{} must do without {library}", of.name)).collect::<Vec<_>>()
    };
    ours.iter().flat_map(of_one).collect()
}

fn strangers_at_the_top(names: &BTreeSet<String>) -> Vec<String> {
    let stranger = |name: &&String| !name.starts_with('.') && !TOP.contains(&name.as_str());
    names.iter().filter(stranger).map(|name| format!("{name} does not belong at the top")).collect()
}

/// A source file without its tests, comments and texts, as words and signs.
struct Source {
    path: PathBuf,
    tokens: Vec<String>,
}

fn reads(of: &Crate, file: &Source) -> Vec<String> {
    let rules = [("fs", MAY_READ_FILES, "touches files"), ("env", MAY_READ_ENVIRONMENT, "reads the environment")];
    let mut found = Vec::new();
    for (module, allowed, what) in rules {
        if !allowed.contains(&of.name.as_str()) && names_module(&file.tokens, module) {
            found.push(format!("{} {what}: {}", of.name, file.path.display()));
        }
    }
    found
}

/// As a piece of a path, or in the list of a `use`.
fn names_module(tokens: &[String], module: &str) -> bool {
    let mut in_use = false;
    tokens.iter().enumerate().any(|(at, token)| {
        match token.as_str() {
            "use" => in_use = true,
            ";" => in_use = false,
            _ => {}
        }
        let next_to_colons = tokens.get(at + 1).is_some_and(|next| next == "::")
            || at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|before| before == "::");
        token == module && (in_use || next_to_colons)
    })
}

fn named_strangers(file: &Source, strangers: &[String]) -> Vec<String> {
    let named = strangers.iter().filter(|stranger| file.tokens.contains(stranger));
    named.map(|stranger| format!("{} names {stranger}", file.path.display())).collect()
}

fn sources(of: &Crate) -> Vec<Source> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&of.folder.join("src"), &mut files);
    assert!(!files.is_empty(), "no sources in {}", of.folder.display());
    files.into_iter().map(|path| read(path.clone(), &std::fs::read_to_string(path).unwrap())).collect()
}

fn made_up_source(code: &str) -> Source {
    read("made-up.rs".into(), code)
}

fn read(path: PathBuf, text: &str) -> Source {
    // Here the tests of a file are its last item.
    let living = text.find("#[cfg(test)]").map_or(text, |start| &text[..start]);
    Source { path, tokens: tokens(living) }
}

/// Words, `::`, and single signs; good enough to find paths in code that compiles.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if rest.starts_with("//") {
                break;
            }
            let length = if first == '"' {
                // To the closing quote on this line; a text over several lines only adds words that name nothing.
                end_of_text(rest)
            } else if rest.starts_with("::") {
                2
            } else if first.is_alphanumeric() || first == '_' {
                rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            if first != '"' && !token.trim().is_empty() {
                found.push(token.to_owned());
            }
            rest = after;
        }
    }
    found
}

fn end_of_text(rest: &str) -> usize {
    let mut escaped = false;
    let closing = rest.char_indices().skip(1).find(|(_, sign)| {
        let closes = *sign == '"' && !escaped;
        escaped = *sign == '\\' && !escaped;
        closes
    });
    closing.map_or(rest.len(), |(at, _)| at + 1)
}

fn path_name(package: &str) -> String {
    package.replace('-', "_")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn ours() -> Vec<Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: Vec<Crate> = packages.iter().map(of_metadata).collect();
    assert!(ours.len() >= 7, "cargo lists too few crates");
    ours
}

fn of_metadata(package: &serde_json::Value) -> Crate {
    let dependencies = package["dependencies"].as_array().unwrap();
    let uses = dependencies.iter().filter(|dependency| dependency["kind"] != "dev");
    Crate {
        name: package["name"].as_str().unwrap().to_owned(),
        folder: Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned(),
        uses: uses.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect(),
    }
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}
