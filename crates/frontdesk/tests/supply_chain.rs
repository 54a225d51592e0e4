//! What comes into the build, held to `deny.toml` on cargo's own list, offline and without further tools: licences, sources,
//! duplicates; and that nothing is asked for that is not used. cargo-deny reads the same page, and knows advisories too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Dependencies that are there for what they switch on or link, and are named nowhere.
const USED_UNNAMED: &[(&str, &str)] = &[];

/// One package of the build.
#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None`: a folder of ours.
    source: Option<String>,
}

/// What `deny.toml` says.
struct Rules {
    allowed: BTreeSet<String>,
    /// Crate, and what it may have beyond `allowed`.
    exceptions: BTreeMap<String, BTreeSet<String>>,
    /// Second versions that are explained.
    skipped: BTreeSet<String>,
    denied: BTreeSet<String>,
}

#[test]
fn every_licence_is_one_that_may_be_given_on() {
    assert_none(&wrong_licences(&packages(), &rules()));
}

#[test]
fn everything_comes_from_one_registry() {
    assert_none(&strange_sources(&packages()));
}

#[test]
fn a_second_version_is_explained_and_an_explanation_is_needed() {
    assert_none(&unexplained(&packages(), &rules()));
}

#[test]
fn nothing_is_asked_for_that_is_not_used() {
    assert_none(&unused());
}

/// The rules must be able to fail.
#[test]
fn each_rule_refuses_a_made_up_offender() {
    let package = |name: &str, version: &str, license: &str, source: Option<&str>| Package {
        name: name.into(),
        version: version.into(),
        license: Some(license.into()),
        source: source.map(str::to_owned),
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    let rules = Rules {
        allowed: set(&["MIT", "Apache-2.0", "ISC"]),
        exceptions: [("roots".to_owned(), set(&["CDLA-Permissive-2.0"]))].into(),
        skipped: set(&["twice@1.0.0", "once@1.0.0"]),
        denied: set(&["openssl-sys"]),
    };
    let registry = Some("registry+one");
    let bad = [
        package("good", "1.0.0", "(MIT OR GPL-3.0-only) AND ISC", registry),
        package("roots", "1.0.0", "CDLA-Permissive-2.0", registry),
        package("copyleft", "1.0.0", "MIT AND GPL-3.0-only", registry),
        package("clause", "1.0.0", "Apache-2.0 WITH LLVM-exception", registry),
        package("twice", "1.0.0", "MIT", registry),
        package("twice", "2.0.0", "MIT", registry),
        package("twice", "3.0.0", "MIT", registry),
        package("once", "1.0.0", "MIT/Apache-2.0", registry),
        package("fork", "1.0.0", "MIT", Some("git+somewhere")),
        package("mirror", "1.0.0", "MIT", Some("registry+two")),
        package("openssl-sys", "1.0.0", "MIT", registry),
    ];
    assert_eq!(
        wrong_licences(&bad, &rules),
        [
            "copyleft 1.0.0: MIT AND GPL-3.0-only is not among the licences of deny.toml",
            "clause 1.0.0: Apache-2.0 WITH LLVM-exception is not among the licences of deny.toml",
        ]
    );
    assert_eq!(
        strange_sources(&bad),
        ["fork 1.0.0 comes from git+somewhere", "mirror 1.0.0 comes from registry+two, others from registry+one"]
    );
    assert_eq!(
        unexplained(&bad, &rules),
        [
            "openssl-sys is denied by deny.toml",
            "twice: 1.0.0, 2.0.0, 3.0.0; explain all but one in deny.toml, or do without",
            "once@1.0.0 is explained in deny.toml and is no second version",
        ]
    );
    let texts = ["use one_crate::Thing;".to_owned(), "#[serde(skip)] // another".to_owned()];
    let asked = ["one-crate", "another", "serde"].map(str::to_owned);
    let found: Vec<&String> = asked.iter().filter(|name| !is_named(name, &texts)).collect();
    assert_eq!(found, ["another"]);
}

fn wrong_licences(packages: &[Package], rules: &Rules) -> Vec<String> {
    let foreign = packages.iter().filter(|package| package.source.is_some());
    let wrong = foreign.filter(|package| {
        let more = rules.exceptions.get(&package.name);
        let is_allowed =
            |license: &str| rules.allowed.contains(license) || more.is_some_and(|more| more.contains(license));
        !package.license.as_deref().is_some_and(|expression| is_satisfied(expression, &is_allowed))
    });
    wrong
        .map(|Package { name, version, license, .. }| {
            let license = license.as_deref().unwrap_or("no licence");
            format!("{name} {version}: {license} is not among the licences of deny.toml")
        })
        .collect()
}

/// Whether an SPDX expression can be fulfilled: `OR` binds weaker than `AND`, `WITH` belongs to its licence, and the `/` of old
/// manifests is an `OR`.
fn is_satisfied(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let satisfied = any_of(&mut words, is_allowed);
    assert_eq!(words.next(), None, "not understood: {expression}");
    satisfied
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut satisfied = all_of(words, is_allowed);
    while words.next_if_eq(&"OR").is_some() {
        satisfied |= all_of(words, is_allowed);
    }
    satisfied
}

fn all_of(words: &mut Words<'_>, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut satisfied = one(words, is_allowed);
    while words.next_if_eq(&"AND").is_some() {
        satisfied &= one(words, is_allowed);
    }
    satisfied
}

fn one(words: &mut Words<'_>, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let word = words.next().expect("an expression goes on after its operators");
    if word == "(" {
        let satisfied = any_of(words, is_allowed);
        assert_eq!(words.next(), Some(")"), "a parenthesis is closed");
        return satisfied;
    }
    match words.next_if_eq(&"WITH") {
        None => is_allowed(word),
        Some(_) => is_allowed(&format!("{word} WITH {}", words.next().expect("WITH names an exception"))),
    }
}

fn strange_sources(packages: &[Package]) -> Vec<String> {
    let mut registry: Option<&str> = None;
    let mut found = Vec::new();
    for package in packages {
        let Some(source) = package.source.as_deref() else { continue };
        let Package { name, version, .. } = package;
        if !source.starts_with("registry+") {
            found.push(format!("{name} {version} comes from {source}"));
        } else if *registry.get_or_insert(source) != source {
            found.push(format!("{name} {version} comes from {source}, others from {}", registry.unwrap()));
        }
    }
    found
}

fn unexplained(packages: &[Package], rules: &Rules) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let denied = rules.denied.iter().filter(|name| versions.contains_key(name.as_str()));
    let mut found: Vec<String> = denied.map(|name| format!("{name} is denied by deny.toml")).collect();
    let is_skipped = |name: &str, version: &str| rules.skipped.contains(&format!("{name}@{version}"));
    for (name, all) in &versions {
        if all.iter().filter(|version| !is_skipped(name, version)).count() > 1 {
            let all: Vec<&str> = all.iter().copied().collect();
            found.push(format!("{name}: {}; explain all but one in deny.toml, or do without", all.join(", ")));
        }
    }
    let needless = rules.skipped.iter().filter(|skipped| {
        let (name, version) = skipped.split_once('@').expect("skipped crates are written name@version");
        !versions.get(name).is_some_and(|all| all.len() > 1 && all.contains(version))
    });
    found.extend(needless.map(|skipped| format!("{skipped} is explained in deny.toml and is no second version")));
    found
}

/// Dependencies of our crates that their sources do not name, and ones of the workspace that no crate takes.
fn unused() -> Vec<String> {
    let metadata = metadata(&["--no-deps"]);
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let targets = package["targets"].as_array().unwrap();
        let own = sources(targets, &["lib", "bin"]);
        let all: Vec<String> = own.iter().cloned().chain(sources(targets, &["test", "example", "bench"])).collect();
        for dependency in package["dependencies"].as_array().unwrap() {
            let wanted = dependency["rename"].as_str().or(dependency["name"].as_str()).unwrap();
            taken.insert(wanted.to_owned());
            let texts = if dependency["kind"] == "dev" { &all } else { &own };
            let excused = USED_UNNAMED.contains(&(name, wanted));
            if !excused && !is_named(wanted, texts) {
                found.push(format!("{name} asks for {wanted} and does not use it"));
            }
        }
    }
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let offered = manifest["workspace"]["dependencies"].as_table().unwrap();
    let left = offered.keys().filter(|name| !taken.contains(*name));
    found.extend(left.map(|name| format!("the workspace offers {name} and no crate takes it")));
    found
}

/// In code, not in a comment behind it.
fn is_named(dependency: &str, texts: &[String]) -> bool {
    let word = dependency.replace('-', "_");
    let is_part = |sign: char| sign.is_alphanumeric() || sign == '_';
    texts.iter().flat_map(|text| text.lines()).any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|sign| !is_part(sign)).any(|found| found == word)
    })
}

/// The texts of these targets: all Rust files below the folder of each one's root, or that file alone at the top of a folder of many.
fn sources(targets: &[Value], kinds: &[&str]) -> Vec<String> {
    let wanted = targets
        .iter()
        .filter(|target| target["kind"].as_array().unwrap().iter().any(|kind| kinds.contains(&kind.as_str().unwrap())));
    let mut files = BTreeSet::new();
    for target in wanted {
        walk(Path::new(target["src_path"].as_str().unwrap()).parent().unwrap(), &mut files);
    }
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.insert(path);
        }
    }
}

fn rules() -> Rules {
    let page: toml::Table = std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let texts = |list: &toml::Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let crates = |list: &toml::Value| -> BTreeSet<String> {
        let explained = |entry: &toml::Value| {
            let reason = entry["reason"].as_str().unwrap_or_default();
            assert!(!reason.is_empty(), "{entry:?} needs a reason");
            entry["crate"].as_str().unwrap().to_owned()
        };
        list.as_array().unwrap().iter().map(explained).collect()
    };
    let exceptions = page["licenses"]["exceptions"].as_array().unwrap();
    Rules {
        allowed: texts(&page["licenses"]["allow"]),
        exceptions: exceptions
            .iter()
            .map(|entry| (entry["crate"].as_str().unwrap().to_owned(), texts(&entry["allow"])))
            .collect(),
        skipped: crates(&page["bans"]["skip"]),
        denied: crates(&page["bans"]["deny"]),
    }
}

/// All packages that a build for the first of deny.toml's targets may need, tests included.
fn packages() -> Vec<Package> {
    let page: toml::Table = std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let target = page["graph"]["targets"][0].as_str().unwrap();
    let metadata = metadata(&["--filter-platform", target]);
    // The list itself holds other platforms' packages too; what is resolved does not.
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let resolved: BTreeSet<&str> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    let all = metadata["packages"].as_array().unwrap().iter();
    let packages: Vec<Package> = all
        .filter(|package| resolved.contains(package["id"].as_str().unwrap()))
        .map(|package| Package {
            name: package["name"].as_str().unwrap().to_owned(),
            version: package["version"].as_str().unwrap().to_owned(),
            license: package["license"].as_str().map(str::to_owned),
            source: package["source"].as_str().map(str::to_owned),
        })
        .collect();
    assert!(packages.len() > 100, "cargo lists too few packages");
    packages
}

fn metadata(arguments: &[&str]) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}
