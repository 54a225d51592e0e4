//! `[agent]`: its keys, which of them belong to which protocol, and what is checked beyond the shape of a value.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use frontdesk_engine::{OpenAiOptions, Protocol};
use frontdesk_model::{Key, Secret, Shape};
use url::Url;

use super::{
    Agent,
    checker::{Checker, Table, Wrong},
    finding::{Place, Severity},
    sections::{in_the_clear, optional, problem, required},
    source::Node,
};

const FRONTDESK: &str = "frontdesk";
const OPENAI: &str = "openai";

const TIMEOUT: Duration = Duration::from_secs(30);
/// A language model's answer comes whole, so that its first byte comes late.
const MODEL_TIMEOUT: Duration = Duration::from_secs(120);
const TIMEOUT_LEAST: Duration = Duration::from_secs(1);
const TIMEOUT_MOST: Duration = Duration::from_secs(600);
const HISTORY: u64 = 20;
const CONCURRENCY: u64 = 256;
const COALESCE_MOST: Duration = Duration::from_secs(60);
const FALLBACK_LEAST: Duration = Duration::from_secs(10);
const FALLBACK_MOST: Duration = Duration::from_secs(24 * 3600);
/// What Standard Webhooks asks of a secret's bytes.
const WEBHOOK_SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// `[agent]`.
pub(super) const AGENT: &[Key] = &[
    required("url", Shape::HttpUrl, "where events are posted, or the base of a chat-completions server"),
    optional("protocol", Shape::Choice(&[FRONTDESK, OPENAI]), "what is spoken there"),
    optional("secret", Shape::Secrets, "what events are signed with, whsec_..."),
    optional("api_key", Shape::Secrets, "what a chat-completions server wants as bearer token"),
    optional("model", Shape::Text, "the language model to ask for"),
    optional("instructions", Shape::LongText, "what a language model is told about its work"),
    optional("timeout", Shape::Span, "longest wait for an answer's first byte, and between two"),
    optional("history", Shape::Whole(0, 200), "how many earlier messages go along"),
    optional("concurrency", Shape::Whole(1, 4096), "most requests at once"),
    optional("coalesce", Shape::Span, "how long to wait for a customer who writes in bursts"),
    optional("fallback", Shape::Span, "after how long without an answer the desk is asked to look"),
];

/// `None`: there is no agent, or something is wrong, and the checker knows what.
pub(super) fn agent(checker: &mut Checker<'_>, node: Option<&Node>) -> Option<Agent> {
    let Some(node) = node else {
        let wrong = Wrong::new(
            "missing: new conversations belong to teammates, and stay theirs until they are handed over (owner: agent)",
            "add [agent] with url = \"http://...\", unless people shall answer",
        );
        checker.find(Severity::Warning, &Place::File, "agent", None, wrong);
        return None;
    };
    let mut table = checker.table(node, "agent", AGENT, &[])?;
    let url = table.settings.text("url").and_then(|text| Url::parse(text).ok());
    if url.as_ref().is_some_and(in_the_clear) {
        let what = "not https, so what customers write crosses the network readable";
        checker.complain(
            Severity::Warning,
            &mut table,
            problem("url", what, "write https://... unless the network is yours alone"),
        );
    }
    let (protocol, usual_timeout) = match table.settings.text("protocol") {
        Some(OPENAI) => (openai(checker, &mut table), MODEL_TIMEOUT),
        // What is no protocol at all says nothing about the other keys.
        None if table.has("protocol") => (None, TIMEOUT),
        _ => (Some(frontdesk(checker, &mut table)), TIMEOUT),
    };
    let timeout = table.settings.span("timeout").unwrap_or(usual_timeout);
    within(checker, &mut table, "timeout", timeout, TIMEOUT_LEAST..=TIMEOUT_MOST, "1 s to 10 min");
    let coalesce = table.settings.span("coalesce").unwrap_or_default();
    within(checker, &mut table, "coalesce", coalesce, Duration::ZERO..=COALESCE_MOST, "0 s to 60 s");
    let fallback = table.settings.span("fallback");
    if let Some(fallback) = fallback {
        within(checker, &mut table, "fallback", fallback, FALLBACK_LEAST..=FALLBACK_MOST, "10 s to 24 h");
    }
    let number = |name, default| usize::try_from(table.settings.number(name).unwrap_or(default)).ok();
    Some(Agent {
        url: url?,
        protocol: protocol?,
        timeout,
        history: number("history", HISTORY)?,
        concurrency: number("concurrency", CONCURRENCY)?,
        coalesce,
        fallback,
    })
}

fn within(
    checker: &mut Checker<'_>,
    table: &mut Table,
    key: &'static str,
    span: Duration,
    bounds: std::ops::RangeInclusive<Duration>,
    in_words: &str,
) {
    if !bounds.contains(&span) {
        checker.complain(Severity::Error, table, problem(key, "out of range", format!("write a span from {in_words}")));
    }
}

fn frontdesk(checker: &mut Checker<'_>, table: &mut Table) -> Protocol {
    let mend = "remove it, or add protocol = \"openai\" if a chat-completions server is meant";
    belongs_elsewhere(checker, table, &["api_key", "model", "instructions"], OPENAI, mend);
    let secrets = table.settings.secrets("secret").to_vec();
    if !secrets.iter().all(is_webhook_secret) {
        let mend = "write whsec_ and the base64 of 24 to 64 random bytes: echo \"whsec_$(head -c 32 /dev/urandom | base64)\"; \
                    without the key one is made at the first start";
        checker.complain(Severity::Error, table, problem("secret", "not a Standard Webhooks secret", mend));
    }
    Protocol::Frontdesk { secrets }
}

/// `None`: no model is named.
fn openai(checker: &mut Checker<'_>, table: &mut Table) -> Option<Protocol> {
    let mend = "remove it; a chat-completions server is shown api_key instead, and nothing is signed";
    belongs_elsewhere(checker, table, &["secret"], FRONTDESK, mend);
    let keys = table.settings.secrets("api_key").to_vec();
    if keys.len() > 1 {
        let mend = "leave one: a server is shown one key at a time";
        checker.complain(Severity::Error, table, problem("api_key", "several keys", mend));
    }
    if !keys.iter().all(|key| key.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
        let what = "white space or other characters that no header carries";
        checker.complain(Severity::Error, table, problem("api_key", what, "write the key alone, without \"Bearer\""));
    }
    let model = table.settings.text("model").map(str::to_owned);
    if model.is_none() {
        let mend =
            "add model = \"...\": the name that the server has for the language model (GET {url}/models lists them)";
        checker.complain(Severity::Error, table, problem("model", "missing", mend));
    }
    Some(Protocol::OpenAi(OpenAiOptions {
        api_key: keys.into_iter().next(),
        model: model?,
        instructions: table.settings.text("instructions").map(str::to_owned),
    }))
}

fn belongs_elsewhere(checker: &mut Checker<'_>, table: &mut Table, keys: &[&'static str], protocol: &str, mend: &str) {
    for key in keys.iter().copied().filter(|key| table.has(key)).collect::<Vec<_>>() {
        let what = format!("a key of protocol = \"{protocol}\" only");
        checker.complain(Severity::Error, table, problem(key, &what, mend));
    }
}

fn is_webhook_secret(secret: &Secret) -> bool {
    secret
        .expose()
        .strip_prefix("whsec_")
        .and_then(|text| STANDARD.decode(text).ok())
        .is_some_and(|bytes| WEBHOOK_SECRET_BYTES.contains(&bytes.len()))
}
