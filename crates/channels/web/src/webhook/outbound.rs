//! Posting a message to `deliver_url`, once, and saying what became of it.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{BuildError, Dispatch, Outcome, ProbeError, Scope, Timestamp};
use http::{HeaderMap, StatusCode, header};
use standardwebhooks::Webhook as Signer;

use super::config::WebhookConfig;

const CONNECT: Duration = Duration::from_secs(5);
/// The longest pause that a far end is granted.
const LONGEST_PAUSE: u64 = 24 * 3600;

pub(super) struct Sender {
    http: reqwest::Client,
    url: Option<url::Url>,
    signers: Arc<[Signer]>,
}

impl Sender {
    pub(super) fn new(config: &WebhookConfig) -> Result<Self, BuildError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("Frontdesk/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT.min(config.timeout))
            .timeout(config.timeout)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| BuildError(format!("the HTTP client cannot be made: {}", error.without_url())))?;
        Ok(Self { http, url: config.deliver_url.clone(), signers: Arc::clone(&config.signers) })
    }

    /// A request without effect: any answer at all shows that somebody is there.
    pub(super) async fn probe(&self) -> Result<(), ProbeError> {
        let Some(url) = self.url.clone() else { return Ok(()) };
        match self.http.request(reqwest::Method::OPTIONS, url).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(ProbeError(format!("deliver_url does not answer: {}", cause(&error)))),
        }
    }

    pub(super) async fn send(&self, part: &Dispatch<'_>, now: Timestamp) -> Outcome {
        let Some(url) = self.url.clone() else {
            return Outcome::Failed { scope: Scope::Channel, reason: "the channel has no deliver_url".into() };
        };
        let id = part.message.to_string();
        let body = part.part.0.to_string().into_bytes();
        let mut request = self
            .http
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now.as_secs());
        let signatures: Vec<String> =
            self.signers.iter().filter_map(|signer| signer.sign(&id, now.as_secs(), &body).ok()).collect();
        if !signatures.is_empty() {
            request = request.header("webhook-signature", signatures.join(" "));
        }
        match request.body(body).send().await {
            Ok(response) => judge(response.status(), response.headers(), now),
            Err(error) if error.is_connect() => Outcome::RetryAfter {
                after: None,
                scope: Scope::Channel,
                reason: format!("deliver_url cannot be reached: {}", cause(&error)),
            },
            Err(error) => Outcome::Uncertain { reason: format!("no answer: {}", cause(&error)) },
        }
    }
}

fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Outcome {
    let reason = format!("deliver_url answered {status}");
    match status.as_u16() {
        200..=299 => Outcome::Sent { external_id: None },
        410 => Outcome::Failed { scope: Scope::Channel, reason },
        429 | 503 => Outcome::RetryAfter { after: retry_after(headers, now), scope: Scope::Channel, reason },
        408 | 425 | 500..=599 => {
            Outcome::RetryAfter { after: retry_after(headers, now), scope: Scope::Message, reason }
        }
        300..=399 => Outcome::Failed {
            scope: Scope::Message,
            reason: format!("{reason}; redirects are not followed: put the final address in deliver_url"),
        },
        _ => Outcome::Failed { scope: Scope::Message, reason },
    }
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(LONGEST_PAUSE)));
    }
    let moment = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let moment = Timestamp::from_millis(i64::try_from(moment.as_millis()).unwrap_or(i64::MAX));
    Some(moment.since(now).min(Duration::from_secs(LONGEST_PAUSE)))
}

/// The cause at the bottom: what happened, without the address, which may hold a secret.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".into();
    }
    let mut cause: &dyn std::error::Error = error;
    let mut depth = 0;
    while let Some(next) = cause.source() {
        cause = next;
        depth += 1;
    }
    if depth == 0 { "the request failed".into() } else { cause.to_string() }
}
