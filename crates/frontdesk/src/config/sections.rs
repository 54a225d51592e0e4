//! Our own sections but `[agent]`: their keys, and what is checked about them beyond the shape of a value.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use frontdesk_http::{Network, Scope, TokenGrant};
use frontdesk_model::{ChannelName, Key, Need, Problem, Secret, Shape};
use url::{Host, Url};

use super::{
    Server,
    checker::{Checker, Table, Wrong, unknown},
    finding::{Place, Severity, shown_name},
    source::Node,
};

/// Every table of the file.
pub(super) const TABLES: [&str; 6] = ["agent", "attachments", "channels", "server", "store", "tokens"];

const LISTEN: &str = "127.0.0.1:8080";
/// Shorter ones can be guessed.
const TOKEN_LETTERS: usize = 16;

pub(super) const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, need: Need::Optional, doc }
}

pub(super) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, shape, need: Need::Required, doc }
}

/// `[server]`.
pub(super) const SERVER: &[Key] = &[
    optional("listen", Shape::Text, "the address and port that the API is served on"),
    optional("public_url", Shape::HttpUrl, "how this daemon is reached from outside"),
    optional("admin_listen", Shape::Text, "where metrics and status are served without sign-in"),
    optional("trusted_proxies", Shape::Texts, "whose X-Forwarded-For counts"),
];

/// `[tokens.NAME]`.
pub(super) const TOKEN: &[Key] = &[
    required("token", Shape::Secrets, "what is sent as Authorization: Bearer ..."),
    required("scopes", Shape::Texts, "what it may do: agent, ingest, desk, admin"),
    optional("channels", Shape::Texts, "the channels it is held to"),
];

pub(super) fn problem(key: &'static str, what: &str, mend: impl Into<String>) -> Problem {
    Problem { key, what: what.into(), mend: mend.into() }
}

/// An empty table when it is left out.
pub(super) fn section(checker: &mut Checker<'_>, node: Option<&Node>, name: &str, keys: &[Key]) -> Option<Table> {
    match node {
        Some(node) => checker.table(node, name, keys, &[]),
        None => {
            let nothing = Node { place: Place::File, content: super::source::Content::Table(BTreeMap::new()) };
            checker.table(&nothing, name, keys, &[])
        }
    }
}

/// `None`: something is wrong, and the checker knows what.
pub(super) fn server(checker: &mut Checker<'_>, node: Option<&Node>) -> Option<Server> {
    let mut table = section(checker, node, "server", SERVER)?;
    let listen = table.settings.text("listen").unwrap_or(LISTEN).parse::<SocketAddr>();
    if listen.is_err() {
        let mend = "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
        checker.complain(Severity::Error, &mut table, problem("listen", "not an address with a port", mend));
    }
    let public_url = table.settings.text("public_url").and_then(|text| Url::parse(text).ok());
    match &public_url {
        Some(url) if url.query().is_some() => {
            let mend = "leave out everything from the question mark on";
            checker.complain(Severity::Error, &mut table, problem("public_url", "an address with a query", mend));
        }
        Some(url) if in_the_clear(url) => {
            let what = "not https, so replies and their tokens cross the network readable";
            checker.complain(
                Severity::Warning,
                &mut table,
                problem("public_url", what, "put a TLS proxy in front and write https://..."),
            );
        }
        None if listen.as_ref().is_ok_and(|listen| !listen.ip().is_loopback()) => {
            let what = "missing, so events name the listening address for replies, which others may not reach";
            checker.complain(
                Severity::Warning,
                &mut table,
                problem("public_url", what, "add public_url = \"https://...\""),
            );
        }
        _ => {}
    }
    let public_url = public_url.map(|url| url.as_str().trim_end_matches('/').to_owned());
    let admin_listen = admin_listen(checker, &mut table);
    let trusted_proxies = trusted_proxies(checker, &mut table);
    Some(Server { listen: listen.ok()?, public_url, admin_listen, trusted_proxies })
}

/// Nobody signs in there, so nobody else should reach it.
fn admin_listen(checker: &mut Checker<'_>, table: &mut Table) -> Option<SocketAddr> {
    let address = table.settings.text("admin_listen")?.parse::<SocketAddr>();
    match &address {
        Err(_) => {
            let mend = "write an IP address and a port, such as \"127.0.0.1:9090\"";
            checker.complain(Severity::Error, table, problem("admin_listen", "not an address with a port", mend));
        }
        Ok(address) if !address.ip().is_loopback() => {
            let what =
                "not an address of this machine alone, and it shows metrics and status to everyone who reaches it";
            let mend = "write \"127.0.0.1:9090\", or see to it that only your own machines reach it";
            checker.complain(Severity::Warning, table, problem("admin_listen", what, mend));
        }
        Ok(_) => {}
    }
    address.ok()
}

fn trusted_proxies(checker: &mut Checker<'_>, table: &mut Table) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in table.settings.texts("trusted_proxies").to_vec() {
        match text.parse::<Network>() {
            Ok(network) => networks.push(network),
            Err(error) => {
                let mend = "write an address or a range such as 127.0.0.1, 10.0.0.0/8 or fd00::/8";
                let what = error.to_string();
                let what = what.split(';').next().unwrap_or_default();
                checker.complain(Severity::Error, table, problem("trusted_proxies", what, mend));
            }
        }
    }
    networks
}

pub(super) fn in_the_clear(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !loopback
}

/// Every token that is right.
pub(super) fn tokens(checker: &mut Checker<'_>, node: Option<&Node>, channels: &BTreeSet<&str>) -> Vec<TokenGrant> {
    let Some(entries) = node.and_then(|node| checker.entries(node, "tokens")) else { return Vec::new() };
    let mut grants: Vec<TokenGrant> = Vec::new();
    for (name, node) in entries {
        let title = format!("tokens.{}", shown_name(name));
        // The same bounds as for a channel: the name signs what the token does.
        if ChannelName::new(name).is_err() {
            let wrong = Wrong::new(
                "not a token's name",
                "use lower-case letters, digits and underscores, a letter first, at most 64",
            );
            checker.find(Severity::Error, &node.place, &title, None, wrong);
        }
        let Some(mut table) = checker.table(node, &title, TOKEN, &[]) else { continue };
        let scopes = scopes(checker, &mut table);
        let allowed = allowed_channels(checker, &mut table, channels);
        for token in token_values(checker, &mut table, &grants) {
            grants.push(TokenGrant {
                name: name.clone(),
                token,
                scopes: scopes.iter().copied().collect(),
                channels: allowed.clone(),
            });
        }
    }
    grants
}

fn scopes(checker: &mut Checker<'_>, table: &mut Table) -> Vec<Scope> {
    let known: BTreeSet<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let mut scopes = Vec::new();
    for word in table.settings.texts("scopes").to_vec() {
        match word.parse() {
            Ok(scope) => scopes.push(scope),
            Err(_) => {
                let Wrong { what, mend } = unknown("scope", &word, &known, "there are");
                checker.complain(Severity::Error, table, Problem { key: "scopes", what, mend });
            }
        }
    }
    if scopes.is_empty() {
        let mend = "write at least one of agent, ingest, desk, admin";
        checker.complain(Severity::Error, table, problem("scopes", "a token that may do nothing", mend));
    }
    scopes
}

/// `None`: all of them.
fn allowed_channels(
    checker: &mut Checker<'_>,
    table: &mut Table,
    channels: &BTreeSet<&str>,
) -> Option<Vec<ChannelName>> {
    if !table.has("channels") {
        return None;
    }
    let names = table.settings.texts("channels").to_vec();
    if names.is_empty() {
        let mend = "name channels, or remove the key to allow all of them";
        checker.complain(
            Severity::Error,
            table,
            problem("channels", "an empty list, so the token opens nothing", mend),
        );
    }
    for name in names.iter().filter(|name| !channels.contains(name.as_str())) {
        let Wrong { what, mend } = unknown("channel", name, channels, "configured are");
        checker.complain(Severity::Error, table, Problem { key: "channels", what, mend });
    }
    Some(names.iter().filter_map(|name| ChannelName::new(name).ok()).collect())
}

fn token_values(checker: &mut Checker<'_>, table: &mut Table, before: &[TokenGrant]) -> Vec<Secret> {
    let mut values: Vec<Secret> = Vec::new();
    for token in table.settings.secrets("token").to_vec() {
        let text = token.expose();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let mend = "use visible ASCII characters only: it has to travel in a header";
            checker.complain(
                Severity::Error,
                table,
                problem("token", "white space or other characters that no header carries", mend),
            );
        } else if text.len() < TOKEN_LETTERS {
            let mend = "use a random one: head -c 20 /dev/urandom | base32";
            checker.complain(
                Severity::Warning,
                table,
                problem("token", "shorter than 16 characters, so it can be guessed", mend),
            );
        }
        if let Some(other) = before.iter().find(|grant| grant.token == token) {
            let what = format!("the same token as [tokens.{}]", shown_name(&other.name));
            checker.complain(Severity::Error, table, problem("token", &what, "give each its own"));
        } else if values.contains(&token) {
            checker.complain(Severity::Error, table, problem("token", "the same token twice", "remove one"));
        }
        values.push(token);
    }
    values
}
