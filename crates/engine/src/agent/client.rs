//! The HTTP side of the agent endpoint: one signed POST, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use frontdesk_model::{EventId, Timestamp};
use http::{HeaderMap, StatusCode, header};
use standardwebhooks::Webhook;

use crate::{
    options::AgentOptions,
    reply::{Reply, parse_reply},
};

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1_000_000;
/// The whole answer may take this many times the time-out for its first byte.
const WHOLE_ANSWER: u32 = 10;
/// What a busy endpoint gets that does not say how long.
const BREATH: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(10);

/// Posts events to the one endpoint.
pub(crate) struct Client {
    http: reqwest::Client,
    url: url::Url,
    signers: Vec<Webhook>,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answered: this is the reply, perhaps an empty one.
    Answered(Reply),
    /// It could not be reached; the event had no part in it.
    Unreachable(String),
    /// It asks everyone to come later (429, 503).
    Busy {
        /// In a sentence.
        reason: String,
        /// How much later.
        retry_after: Duration,
    },
    /// It failed, or answered what cannot be read.
    Trouble {
        /// In a sentence.
        reason: String,
        /// It does not want this event sooner.
        retry_after: Option<Duration>,
    },
    /// It refuses this event for good.
    Rejected(String),
    /// It wants no events any more.
    Gone,
}

impl Client {
    pub(crate) fn new(options: &AgentOptions) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("Frontdesk/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT.min(options.timeout))
            .read_timeout(options.timeout)
            .timeout(options.timeout * WHOLE_ANSWER)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| format!("the agent's HTTP client cannot be made: {error}"))?;
        let signers = options
            .secrets
            .iter()
            .map(|secret| Webhook::new(secret.expose()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "[agent] secret is not a Standard Webhooks secret (whsec_ and base64)".to_owned())?;
        Ok(Self { http, url: options.url.clone(), signers })
    }

    /// One attempt. Sends once, follows no redirect, reads at most [`MAX_ANSWER`] bytes.
    pub(crate) async fn post(&self, event: EventId, now: Timestamp, body: Vec<u8>) -> Verdict {
        let id = event.to_string();
        let mut signatures = Vec::with_capacity(self.signers.len());
        for signer in &self.signers {
            match signer.sign(&id, now.as_secs(), &body) {
                Ok(signature) => signatures.push(signature),
                Err(_) => return Verdict::Unreachable("the event cannot be signed".into()),
            }
        }
        let sent = self
            .http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now.as_secs())
            .header("webhook-signature", signatures.join(" "))
            .body(body)
            .send()
            .await;
        match sent {
            Ok(response) => self.read(response, now).await,
            Err(error) => broken(&error),
        }
    }

    async fn read(&self, response: reqwest::Response, now: Timestamp) -> Verdict {
        let status = response.status();
        if !status.is_success() {
            let retry_after = retry_after(response.headers(), now);
            return refusal(status, retry_after);
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Verdict::Answered(Reply::default());
        }
        let body = match bounded(response).await {
            Ok(body) => body,
            Err(verdict) => return verdict,
        };
        match parse_reply(&body) {
            Ok(reply) => Verdict::Answered(reply),
            Err(error) => Verdict::Trouble { reason: format!("its answer cannot be read: {error}"), retry_after: None },
        }
    }
}

async fn bounded(mut response: reqwest::Response) -> Result<Bytes, Verdict> {
    let too_large =
        || Verdict::Trouble { reason: format!("its answer is larger than {MAX_ANSWER} bytes"), retry_after: None };
    if response.content_length().is_some_and(|length| length > MAX_ANSWER as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_ANSWER => return Err(too_large()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.into()),
            Err(error) => return Err(broken(&error)),
        }
    }
}

fn broken(error: &reqwest::Error) -> Verdict {
    if error.is_connect() {
        let what = if error.is_timeout() { "the connection took too long to open" } else { "no connection" };
        return Verdict::Unreachable(format!("{what}: {}", innermost(error)));
    }
    let reason = if error.is_timeout() {
        "it did not answer in time".to_owned()
    } else {
        format!("the connection broke: {}", innermost(error))
    };
    Verdict::Trouble { reason, retry_after: None }
}

/// The cause at the bottom, which says what happened without the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut depth = 0;
    while let Some(next) = cause.source() {
        cause = next;
        depth += 1;
    }
    if depth == 0 { "the request failed".into() } else { cause.to_string() }
}

fn refusal(status: StatusCode, retry_after: Option<Duration>) -> Verdict {
    match status.as_u16() {
        410 => Verdict::Gone,
        400 | 413 | 422 => Verdict::Rejected(format!("it refused the event ({status})")),
        300..=399 => Verdict::Trouble {
            reason: format!("it answered {status}; redirects are not followed: put the final address in [agent] url"),
            retry_after: None,
        },
        429 | 503 => {
            Verdict::Busy { reason: format!("it answered {status}"), retry_after: retry_after.unwrap_or(BREATH) }
        }
        _ => Verdict::Trouble { reason: format!("it answered {status}"), retry_after },
    }
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(24 * 3600)));
    }
    let moment = httpdate::parse_http_date(value).ok()?;
    let millis = moment.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    let moment = Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    Some(moment.since(now).min(Duration::from_secs(24 * 3600)))
}
