//! `[store]`: its keys, which of them belong to which store, and what is checked beyond the shape of a value.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use frontdesk_model::{Key, Problem, Secret, Shape};
use frontdesk_store::Durability;
use url::{Host, Url};

use super::{
    Backend, Redis, Store,
    checker::{Checker, Table, Wrong},
    finding::Severity,
    sections::{optional, problem, section},
    source::Node,
};

const URL: &str = "sqlite:./data";
const FOLDER: &str = "./data";
const MIN_FREE: u64 = 256_000_000;
const RETENTION_LEAST: Duration = Duration::from_secs(24 * 60 * 60);
const PREFIX: &str = "fd";
const PREFIX_LETTERS: usize = 32;

/// `[store]`.
pub(super) const STORE: &[Key] = &[
    optional("url", Shape::Text, "where everything is kept"),
    optional("durability", Shape::Choice(&["strict", "relaxed"]), "what a power cut may take"),
    optional("min_free", Shape::Size, "nothing new is taken when the disk has less left"),
    optional("retention", Shape::Span, "what is older is not kept"),
    optional("user", Shape::Text, "who signs in to Redis"),
    optional("password", Shape::Secrets, "with which password"),
    optional("ca", Shape::Text, "the certificate of the authority that Redis's was signed by"),
    optional("prefix", Shape::Text, "what every key in Redis begins with"),
    optional("folder", Shape::Text, "what belongs to this daemon alone, beside a Redis"),
];

const OF_SQLITE: &[&str] = &["min_free"];
const OF_REDIS: &[&str] = &["user", "password", "ca", "prefix", "folder"];

/// `None`: something is wrong, and the checker knows what.
pub(super) fn store(checker: &mut Checker<'_>, node: Option<&Node>, attachments: Option<&Node>) -> Option<Store> {
    let mut table = section(checker, node, "store", STORE)?;
    let url = table.settings.text("url").unwrap_or(URL).to_owned();
    let store = if is_redis(&url) {
        not_here(checker, &mut table, OF_SQLITE, "SQLite");
        redis(checker, &mut table, &url)
    } else {
        not_here(checker, &mut table, OF_REDIS, "Redis");
        match sqlite_folder(&url, checker.base) {
            Ok(folder) => Some((Backend::Sqlite, folder)),
            Err(Wrong { what, mend }) => {
                checker.complain(Severity::Error, &mut table, Problem { key: "url", what, mend });
                None
            }
        }
    };
    let retention = table.settings.span("retention");
    if retention.is_some_and(|retention| retention < RETENTION_LEAST) {
        let what = "conversations would be gone within a day";
        let mend = "write a span of at least \"1 day\", such as \"400 days\"; leave it out to keep everything";
        checker.complain(Severity::Error, &mut table, problem("retention", what, mend));
    }
    let beside = store.as_ref().map(|(_, folder)| folder.clone());
    let attachments = super::attachments::attachments(checker, attachments, beside);
    let (backend, folder) = store?;
    let durability = match (table.settings.text("durability"), &backend) {
        (Some("relaxed"), _) | (None, Backend::Redis(_)) => Durability::Relaxed,
        _ => Durability::Strict,
    };
    let min_free = table.settings.number("min_free").unwrap_or(MIN_FREE);
    let attachments = attachments?;
    Some(Store { backend, folder, durability, min_free, retention, attachments })
}

fn is_redis(url: &str) -> bool {
    url.starts_with("redis:") || url.starts_with("rediss:") || url.starts_with("redis+")
}

/// A key that would be ignored is a mistake.
fn not_here(checker: &mut Checker<'_>, table: &mut Table, keys: &[&'static str], owner: &str) {
    for key in keys.iter().copied().filter(|key| table.has(key)).collect::<Vec<_>>() {
        let what = format!("belongs to a store in {owner}, and url names another");
        let mend = if key == "min_free" {
            "remove it; how much memory Redis may use is said there (maxmemory)"
        } else {
            "remove it, or correct url"
        };
        checker.complain(Severity::Error, table, problem(key, &what, mend));
    }
}

fn sqlite_folder(url: &str, base: &Path) -> Result<PathBuf, Wrong> {
    let mend = "write \"sqlite:\" and a folder, such as \"sqlite:./data\" or \"sqlite:/var/lib/frontdesk\"";
    let refuse = |what: &str| Err(Wrong::new(what, mend));
    let Some(rest) = url.strip_prefix("sqlite:") else {
        let mend = "write \"sqlite:\" and a folder, such as \"sqlite:./data\", or \"redis://host:6379/0\"";
        return Err(Wrong::new("not a store that this build knows", mend));
    };
    let folder = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return refuse("two slashes, but no absolute path after them"),
        None => rest,
    };
    if folder.is_empty() || folder.chars().any(char::is_control) {
        return refuse("no folder");
    }
    Ok(base.join(folder))
}

/// Also the daemon's own folder.
fn redis(checker: &mut Checker<'_>, table: &mut Table, url: &str) -> Option<(Backend, PathBuf)> {
    let address = address(url);
    if let Err(Wrong { what, mend }) = &address {
        let (what, mend) = (what.clone(), mend.clone());
        checker.complain(Severity::Error, table, Problem { key: "url", what, mend });
    }
    if address.as_ref().is_ok_and(|address| address.password().is_some()) && table.is_in_the_file("url") {
        let what = "a password in an address, where it is easily shown";
        checker.complain(Severity::Warning, table, problem("url", what, "write password = { env = \"NAME\" }"));
    }
    if address.as_ref().is_ok_and(in_the_clear) {
        let what = "not TLS, so what customers write crosses the network readable";
        let mend = "write rediss://..., unless the network is yours alone";
        checker.complain(Severity::Warning, table, problem("url", what, mend));
    }
    if table.has("ca") && address.as_ref().is_ok_and(|address| address.scheme() == "redis") {
        let mend = "write rediss:// in url, or remove it";
        checker.complain(Severity::Error, table, problem("ca", "an authority, and no TLS", mend));
    }
    let password = match table.settings.secrets("password") {
        [] => None,
        [password] => Some(password.clone()),
        _ => {
            let mend = "write the one that Redis takes now; it takes two while it is being changed (ACL SETUSER)";
            checker.complain(Severity::Error, table, problem("password", "several passwords", mend));
            None
        }
    };
    let prefix = table.settings.text("prefix").unwrap_or(PREFIX).to_owned();
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if prefix.len() > PREFIX_LETTERS || !prefix.bytes().all(fine) {
        let mend = "write 1 to 32 of a-z, 0-9, _ and -";
        checker.complain(Severity::Error, table, problem("prefix", "not a beginning of keys", mend));
    }
    let folder = checker.base.join(table.settings.text("folder").unwrap_or(FOLDER));
    let ca = table.settings.text("ca").map(|file| checker.base.join(file));
    let user = table.settings.text("user").map(str::to_owned);
    let shown = shown(&address.ok()?);
    let redis = Redis { url: Secret::new(url.to_owned()), shown, user, password, ca, prefix };
    Some((Backend::Redis(redis), folder))
}

fn address(url: &str) -> Result<Url, Wrong> {
    let refuse = |what: &str| {
        Err(Wrong::new(
            what,
            "write \"redis://host:6379/0\", or \"rediss://host:6379/0\" for TLS; the number is the database",
        ))
    };
    if url.starts_with("redis+cluster:") {
        let mend = "write redis:// (or rediss://) and the address of any node: that it is of a cluster is seen";
        return Err(Wrong::new("a cluster has no address of its own kind", mend));
    }
    if url.starts_with("redis+") {
        let mend = "write redis:// (or rediss://) and the address under which the present master is reached";
        return Err(Wrong::new("a way to Redis that this build does not know", mend));
    }
    if url.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return refuse("white space in an address");
    }
    let Ok(address) = Url::parse(url) else { return refuse("not an address") };
    if address.host_str().is_none_or(str::is_empty) {
        return refuse("an address without a host");
    }
    if address.query().is_some() || address.fragment().is_some() {
        return refuse("an address with a query or a fragment");
    }
    let database = address.path().trim_start_matches('/');
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return refuse("something else than a number where the database stands");
    }
    Ok(address)
}

fn in_the_clear(address: &Url) -> bool {
    // Hosts of other schemes than the web's are not read as numbers.
    let host = address.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = match Host::parse(host) {
        Ok(Host::Ipv4(ip)) => ip.is_loopback(),
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        _ => host.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()),
    };
    address.scheme() == "redis" && !loopback
}

/// Without user and password.
fn shown(address: &Url) -> String {
    let port = address.port().unwrap_or(6379);
    let database = address.path().trim_start_matches('/').parse::<u16>().unwrap_or(0);
    format!("{}://{}:{port}/{database}", address.scheme(), address.host_str().unwrap_or_default())
}
