//! One delivery: a signed POST to `deliver_url`, sent once.
//!
//! | what is seen | what it means |
//! |---|---|
//! | 2xx | sent |
//! | 410 | the receiver wants no more messages: everything on the channel stops |
//! | 408, 425, 429, 5xx | not delivered; later, by `Retry-After` if it says so; 429 and 503 are about the whole channel |
//! | 3xx | failed: a redirect is not followed, since it may lead anywhere |
//! | other 4xx | failed: the same request would end the same |
//! | no connection | not delivered; later, for the whole channel |
//! | anything that breaks after that, or takes too long | perhaps delivered |
//!
//! Of an address only host and port are ever shown: path and query may hold a secret.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use frontdesk_model::{BuildError, Clock, Dispatch, Outcome, ProbeError, Scope, Timestamp};
use http::{HeaderMap, StatusCode, header};
use reqwest::{Client, Response, redirect};
use url::Url;

use super::{signature::SigningKey, wire::with_links};

/// A connection has this long to open, within the whole time-out.
const CONNECT: Duration = Duration::from_secs(5);
/// This much of an answer is read, so that the connection can be used again; nobody looks at it.
const MAX_ANSWER: usize = 16 * 1024;
/// What has been answered is known by then; a body that drips is left behind after this.
const REST_OF_ANSWER: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The receiver of this channel's messages.
pub(super) struct FarEnd {
    client: Client,
    address: Address,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// Where messages go. Shows itself without what may be secret in it.
#[derive(Clone)]
pub(super) struct Address(pub(super) Url);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port_or_known_default() {
            Some(port) => write!(f, "{host}:{port}"),
            None => f.write_str(host),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FarEnd {
    pub(super) fn new(address: Address, timeout: Duration, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let client = Client::builder()
            .user_agent(concat!("Frontdesk/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            // Below the whole time-out, so that a connection that never opens is told from an answer that never comes.
            .connect_timeout(CONNECT.min(timeout * 4 / 5))
            .timeout(timeout)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| BuildError(format!("the client for deliver_url cannot be made: {}", innermost(&error))))?;
        Ok(Self { client, address, timeout, clock })
    }

    pub(super) async fn send(&self, part: &Dispatch<'_>, keys: &[SigningKey]) -> Outcome {
        let id = part.message.to_string();
        let timestamp = self.clock.now().as_secs().to_string();
        let body = with_links(part.part, part.links);
        let mut request = self
            .client
            .post(self.address.0.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &timestamp);
        if !keys.is_empty() {
            let signatures: Vec<String> = keys.iter().map(|key| key.sign(&id, &timestamp, &body)).collect();
            request = request.header("webhook-signature", signatures.join(" "));
        }
        match request.body(body).send().await {
            Ok(response) => {
                let outcome = self.understood(response.status(), response.headers());
                finish(response).await;
                outcome
            }
            Err(error) => self.broken(&error.without_url()),
        }
    }

    /// Any answer will do: what is asked is whether somebody is there.
    pub(super) async fn probe(&self) -> Result<(), ProbeError> {
        match self.client.request(http::Method::OPTIONS, self.address.0.clone()).send().await {
            Ok(response) => {
                finish(response).await;
                Ok(())
            }
            Err(error) => Err(ProbeError(format!(
                "deliver_url cannot be reached at {}: {}; check the address, and whether the receiver runs",
                self.address,
                self.what_broke(&error.without_url())
            ))),
        }
    }

    fn understood(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        match status.as_u16() {
            200..=299 => Outcome::Sent { external_id: None },
            300..=399 => Outcome::Failed {
                scope: Scope::Message,
                reason: format!(
                    "deliver_url answered {status}: redirects are not followed: put the final address in deliver_url"
                ),
            },
            410 => Outcome::Failed {
                scope: Scope::Channel,
                reason: format!("deliver_url answered {status}: it wants no more messages"),
            },
            code @ (408 | 425 | 429 | 500..=599) => Outcome::RetryAfter {
                after: retry_after(headers, self.clock.now()),
                scope: if matches!(code, 429 | 503) { Scope::Channel } else { Scope::Message },
                reason: format!("deliver_url answered {status}"),
            },
            _ => {
                Outcome::Failed { scope: Scope::Message, reason: format!("deliver_url refused the message: {status}") }
            }
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Outcome {
        let reason = format!("deliver_url ({}): {}", self.address, self.what_broke(error));
        if error.is_connect() {
            return Outcome::RetryAfter { after: None, scope: Scope::Channel, reason };
        }
        if error.is_builder() {
            return Outcome::Failed { scope: Scope::Message, reason };
        }
        Outcome::Uncertain { reason }
    }

    fn what_broke(&self, error: &reqwest::Error) -> String {
        let seconds = self.timeout.as_secs_f64();
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => "the connection took too long to open".to_owned(),
            (true, false) => format!("no connection: {}", innermost(error)),
            (false, true) => format!("no answer within {seconds} s"),
            (false, false) => format!("the connection broke before the answer: {}", innermost(error)),
        }
    }
}

/// A part for a channel that has no far end; the engine does not ask for that.
pub(super) fn no_far_end() -> Outcome {
    Outcome::Failed {
        scope: Scope::Channel,
        reason: "the channel has no deliver_url; replies are read from the API".to_owned(),
    }
}

/// Reads what is left of an answer, within bounds.
async fn finish(mut response: Response) {
    let rest = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > MAX_ANSWER {
                break;
            }
        }
    };
    // Dropping the response closes the connection, which is all there is to do about it.
    let _ = tokio::time::timeout(REST_OF_ANSWER, rest).await;
}

/// The cause at the bottom, which says what happened without the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time too.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(LONGEST_WAIT));
    }
    let moment = httpdate::parse_http_date(value).ok()?;
    let millis = moment.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    let moment = Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    Some(moment.since(now).min(LONGEST_WAIT))
}
