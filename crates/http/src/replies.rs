//! Replies: what is the same whether a conversation or a contact is answered. Reading the body, who speaks, and that a request
//! that is repeated under its `Idempotency-Key` is carried out once.

use axum::{body::Body, response::Response};
use frontdesk_engine::{BadReply, Repeat, Replied, Reply, Speaker, parse_reply};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    Scope,
    auth::Access,
    body,
    endpoint::Endpoint,
    problem::{Problem, ProblemKind},
    routes::Api,
};

/// The largest reply, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// The longest key, in characters.
const MAX_KEY: usize = 255;
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A reply as it was asked for.
pub(crate) struct Said {
    pub(crate) reply: Reply,
    /// Of a request with a key.
    pub(crate) repeat: Option<Repeat>,
    /// The body's hash.
    pub(crate) digest: [u8; 32],
}

/// What the description says of every way to reply.
pub(crate) fn described(endpoint: Endpoint) -> Endpoint {
    let key = json!({"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"});
    endpoint
        .with_header(
            "Idempotent-Replayed",
            "`true`: the key is known, and this is the first answer once more; nothing was done now.",
            json!({"type": "string", "const": "true"}),
        )
        .header(
            "Idempotency-Key",
            "The caller's own name for this request, kept for 24 hours. Repeated under the same key the same request has no \
             further effect and gets the first answer. Keys of different tokens never meet.",
            key,
        )
        .fails(&[
            ProblemKind::NotFound,
            ProblemKind::VersionConflict,
            ProblemKind::TakenOver,
            ProblemKind::IdempotencyKeyReused,
            ProblemKind::Unavailable,
        ])
}

/// Reads what is to be said. `by` names the caller: keys of two callers never meet.
pub(crate) async fn read(api: &Api, head: &Parts, body: Body, by: &str) -> Result<Said, Problem> {
    let key = key(&head.headers)?;
    body::must_be_json(&head.headers)?;
    let body = body::read(body, MAX_BODY, api.limits.body_time).await?;
    let reply = parse_reply(&body).map_err(|error| match error {
        BadReply::NotJson(_) => Problem::new(ProblemKind::InvalidJson, error.to_string()),
        BadReply::Form { .. } => invalid(error.told()),
    })?;
    if reply.messages.is_empty() && reply.actions.is_empty() {
        return Err(invalid("the reply says and does nothing; write text, markdown, messages or actions"));
    }
    let digest: [u8; 32] = Sha256::digest(&body).into();
    let repeat = key.map(|key| {
        let mut request = Sha256::new();
        // Neither a method nor a path holds a line break.
        request.update(format!("{}\n{}\n", head.method, head.uri.path()));
        request.update(digest);
        Repeat { key, by: by.to_owned(), fingerprint: request.finalize().into() }
    });
    Ok(Said { reply, repeat, digest })
}

impl Said {
    /// In whose name it is said, if the caller may say it.
    pub(crate) fn speaker(&self, access: &Access) -> Result<Speaker, Problem> {
        if !self.has_notes() {
            return Ok(access.speaker());
        }
        access.needs(&[Scope::Desk]).map_err(|_| no_notes())?;
        // A note is a teammate's, also of one whose token may speak as the agent.
        Ok(access.teammate())
    }

    /// Whether any of it is for our side only.
    pub(crate) fn has_notes(&self) -> bool {
        self.reply.messages.iter().any(|message| message.private)
    }
}

/// Notes are the desk's.
pub(crate) fn no_notes() -> Problem {
    Problem::new(
        ProblemKind::Forbidden,
        "private notes need a token with scope desk or admin; leave the note out, or give it as the reason of a handoff",
    )
}

/// The answer to a reply that was taken.
pub(crate) fn answer(replied: &Replied) -> Response {
    let mut response = body::json(StatusCode::ACCEPTED, replied);
    if replied.repeated {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut all = headers.get_all(KEY).iter();
    let (Some(key), more) = (all.next(), all.next()) else { return Ok(None) };
    let is_plain = |key: &&str| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match key.to_str().ok().filter(is_plain) {
        Some(key) if more.is_none() => Ok(Some(key.to_owned())),
        _ => Err(invalid(format!(
            "Idempotency-Key: write one of 1 to {MAX_KEY} visible ASCII characters, such as a UUID, or leave it out"
        ))),
    }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(ProblemKind::InvalidRequest, detail)
}
