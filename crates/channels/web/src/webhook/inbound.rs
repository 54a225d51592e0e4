//! The route that takes messages.
//!
//! Who may: whoever signed the raw bytes with the channel's secret within five minutes, or brings a bearer token with the
//! scope `ingest`. The answer is 202 only after the commit; a known message gets the same answer again, with
//! `Frontdesk-Duplicate: true`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use frontdesk_model::{
    Bearer, Clock, HttpProblem, Inbox, InboxError, RouteHandler, RouteRequest, RouteResponse, Seen, Timestamp,
};
use serde_json::json;
use standardwebhooks::Webhook as Signer;

use super::wire::{Arrived, decode};

/// How far a signature's time may lie from ours, as Standard Webhooks has it.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

pub(super) struct Messages {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) signers: Arc<[Signer]>,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl RouteHandler for Messages {
    async fn handle(&self, request: RouteRequest) -> RouteResponse {
        match self.take(&request).await {
            Ok(response) => response,
            Err(problem) => RouteResponse::Problem(problem),
        }
    }
}

impl Messages {
    async fn take(&self, request: &RouteRequest) -> Result<RouteResponse, HttpProblem> {
        if request.bearer != Bearer::Ingest {
            self.verify(request)?;
        }
        let arrived =
            Arrived { webhook_id: request.header("webhook-id"), idempotency_key: request.header("idempotency-key") };
        let envelope = decode(&request.body, arrived)?;
        let accepted = self.inbox.accept(envelope).await.map_err(unavailable)?;
        let headers = match accepted.seen {
            Seen::New => Vec::new(),
            Seen::Before => vec![("frontdesk-duplicate", "true".to_owned())],
        };
        let body = json!({ "message_id": accepted.message, "conversation_id": accepted.conversation });
        Ok(RouteResponse::Json { status: 202, headers, body })
    }

    fn verify(&self, request: &RouteRequest) -> Result<(), HttpProblem> {
        let header = |name: &str| request.header(name);
        let (Some(id), Some(at), Some(signatures)) =
            (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
        else {
            return Err(denied(
                "unauthorized",
                "Nobody vouches for this request",
                "sign it (webhook-id, webhook-timestamp, webhook-signature with the channel's secret), or send Authorization: Bearer with a token of scope ingest",
            ));
        };
        let stale = || {
            denied(
                "stale-timestamp",
                "The signature is too old or from the future",
                "webhook-timestamp must be the time of sending, in seconds since 1970, within 5 minutes of this server's clock",
            )
        };
        let seconds: i64 = at.parse().map_err(|_| stale())?;
        let sent = Timestamp::from_millis(seconds.saturating_mul(1000));
        let now = self.clock.now();
        if now.since(sent).max(sent.since(now)) > TOLERANCE {
            return Err(stale());
        }
        let good = self.signers.iter().any(|signer| is_signed(signer, id, seconds, &request.body, signatures));
        if good {
            return Ok(());
        }
        let detail = if self.signers.is_empty() {
            "this channel has no secret; set one, or use a bearer token with scope ingest"
        } else {
            "sign \"{webhook-id}.{webhook-timestamp}.{body}\" over the body's raw bytes with the channel's secret"
        };
        Err(denied("bad-signature", "The signature is not ours", detail))
    }
}

/// The header may carry several signatures; each is compared in constant time.
fn is_signed(signer: &Signer, id: &str, seconds: i64, body: &[u8], signatures: &str) -> bool {
    use subtle::ConstantTimeEq;
    let Ok(wanted) = signer.sign(id, seconds, body) else { return false };
    signatures.split(' ').any(|one| bool::from(one.as_bytes().ct_eq(wanted.as_bytes())))
}

fn denied(slug: &'static str, title: &'static str, detail: &str) -> HttpProblem {
    HttpProblem { status: 401, slug, title, detail: detail.into(), retry_after: None }
}

fn unavailable(error: InboxError) -> HttpProblem {
    let InboxError::Unavailable { retry_after, reason } = error;
    HttpProblem {
        status: 503,
        slug: "unavailable",
        title: "Nothing is taken at the moment",
        detail: format!("{reason}; send it again later, under the same id"),
        retry_after: Some(retry_after.as_secs().max(1)),
    }
}
