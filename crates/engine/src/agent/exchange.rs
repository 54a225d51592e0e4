//! One HTTP exchange with the agent endpoint: what both protocols have in common.
//!
//! A request is sent once and follows no redirect; at most [`MAX_ANSWER`] bytes of an answer are read, however it comes.
//! What went wrong is said in a sentence without addresses, keys or anybody's words.

use std::time::Duration;

use bytes::Bytes;
use frontdesk_model::Timestamp;
use http::{HeaderMap, StatusCode, header};

use crate::{options::AgentOptions, reply::Reply};

/// The largest answer that is read, in bytes.
pub(super) const MAX_ANSWER: usize = 1_000_000;
/// The whole answer may take this many times the time-out for its first byte.
pub(super) const WHOLE_ANSWER: u32 = 10;
/// What a busy endpoint gets that does not say how long.
const BREATH: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(10);
/// The longest quiet that an endpoint can ask for.
const LONGEST_QUIET: Duration = Duration::from_secs(24 * 3600);

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answered: this is the reply, perhaps an empty one.
    Answered(Reply),
    /// It has taken the event and may answer later.
    Later,
    /// It could not be reached, or it turns everyone away; the event had no part in it.
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

impl Verdict {
    /// For the figures.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Later => "later",
            Self::Unreachable(_) => "unreachable",
            Self::Busy { .. } => "busy",
            Self::Trouble { .. } => "trouble",
            Self::Rejected(_) => "rejected",
            Self::Gone => "gone",
        }
    }

    /// Trouble that says nothing about when to come again.
    pub(super) fn trouble(reason: impl Into<String>) -> Self {
        Self::Trouble { reason: reason.into(), retry_after: None }
    }
}

/// The HTTP client for the agent endpoint.
pub(super) fn client(options: &AgentOptions) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .user_agent(concat!("Frontdesk/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT.min(options.timeout))
        .read_timeout(options.timeout)
        .timeout(options.timeout * WHOLE_ANSWER)
        .tcp_nodelay(true)
        .build()
        .map_err(|error| format!("the agent's HTTP client cannot be made: {error}"))
}

/// The whole body, if it keeps the bounds.
pub(super) async fn bounded(mut response: reqwest::Response) -> Result<Bytes, Verdict> {
    let too_large = || Verdict::trouble(format!("its answer is larger than {MAX_ANSWER} bytes"));
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

/// No answer, or only a piece of one.
pub(super) fn broken(error: &reqwest::Error) -> Verdict {
    if error.is_connect() {
        let what = if error.is_timeout() { "the connection took too long to open" } else { "no connection" };
        return Verdict::Unreachable(format!("{what}: {}", innermost(error)));
    }
    Verdict::trouble(if error.is_timeout() {
        "it did not answer in time".to_owned()
    } else {
        format!("the connection broke: {}", innermost(error))
    })
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

/// What a status other than 2xx means in either protocol.
pub(super) fn refusal(status: StatusCode, retry_after: Option<Duration>) -> Verdict {
    match status.as_u16() {
        410 => Verdict::Gone,
        400 | 413 | 422 => Verdict::Rejected(format!("it refused the event ({status})")),
        300..=399 => Verdict::trouble(format!(
            "it answered {status}; redirects are not followed: put the final address in [agent] url"
        )),
        429 | 503 => {
            Verdict::Busy { reason: format!("it answered {status}"), retry_after: retry_after.unwrap_or(BREATH) }
        }
        _ => Verdict::Trouble { reason: format!("it answered {status}"), retry_after },
    }
}

/// How long the endpoint asks to be left alone: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    // RFC 9110 knows whole seconds only; rate limiters in front of language models write fractions of them too.
    if let Some(seconds) = value.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        return Duration::try_from_secs_f64(seconds.min(LONGEST_QUIET.as_secs_f64())).ok();
    }
    let moment = httpdate::parse_http_date(value).ok()?;
    let millis = moment.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis();
    let moment = Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    Some(moment.since(now).min(LONGEST_QUIET))
}
