//! A message is handed in: who may, what it says, and the answer once it is committed.

use std::sync::Arc;

use async_trait::async_trait;
use frontdesk_model::{
    Accepted, Bearer, Clock, HttpProblem, Inbox, InboxError, RouteHandler, RouteRequest, RouteResponse, Seen,
};
use serde_json::json;

use super::{
    refusal::Refusal,
    signature::{Refused, Signed, SigningKey},
    wire::{Arrived, decode},
};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// What answers `POST /messages`.
pub(super) struct Messages {
    pub(super) keys: Arc<[SigningKey]>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) inbox: Arc<dyn Inbox>,
}

#[async_trait]
impl RouteHandler for Messages {
    async fn handle(&self, request: RouteRequest) -> RouteResponse {
        match self.take(&request).await {
            Ok(accepted) => answer(accepted),
            Err(problem) => RouteResponse::Problem(problem),
        }
    }
}

impl Messages {
    async fn take(&self, request: &RouteRequest) -> Result<Accepted, HttpProblem> {
        self.authenticate(request)?;
        let arrived = Arrived { webhook_id: request.header(ID), idempotency_key: request.header("idempotency-key") };
        let envelope = decode(&request.body, arrived)?;
        self.inbox.accept(envelope).await.map_err(not_taken)
    }

    fn authenticate(&self, request: &RouteRequest) -> Result<(), HttpProblem> {
        if request.bearer == Bearer::Ingest {
            return Ok(());
        }
        let Some(signatures) = request.header(SIGNATURE) else { return Err(unauthorized(&self.keys)) };
        if self.keys.is_empty() {
            return Err(unauthorized(&self.keys));
        }
        let header = |name| {
            let missing =
                || Refusal::BadSignature.because(format!("the header {name} is missing; the signature covers it"));
            request.header(name).ok_or_else(missing)
        };
        let signed = Signed { id: header(ID)?, timestamp: header(TIMESTAMP)?, signatures };
        let now = self.clock.now();
        signed.verify(&self.keys, &request.body, now).map_err(|refused| match refused {
            Refused::NoMatch => Refusal::BadSignature.because(
                "no signature in webhook-signature is one of this channel's secrets over these very bytes; sign \
                 `{webhook-id}.{webhook-timestamp}.{body}` and send the body exactly as it was signed",
            ),
            Refused::NotATimestamp => {
                Refusal::StaleTimestamp.because("webhook-timestamp must be whole seconds since 1970, such as 1767607200")
            }
            Refused::Stale => Refusal::StaleTimestamp.because(format!(
                "webhook-timestamp lies more than 5 minutes from now, which is {}; sign anew for each attempt, and set the \
                 clock if it is wrong",
                now.as_secs()
            )),
        })
    }
}

fn unauthorized(keys: &[SigningKey]) -> HttpProblem {
    Refusal::Unauthorized.because(if keys.is_empty() {
        "send a bearer token with the scope `ingest` for this channel (Authorization: Bearer ...), or give the channel a `secret` \
         and sign the request (Standard Webhooks)"
    } else {
        "sign the request with the channel's `secret` (Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature), or \
         send a bearer token with the scope `ingest` for this channel (Authorization: Bearer ...)"
    })
}

fn not_taken(error: InboxError) -> HttpProblem {
    let InboxError::Unavailable { retry_after, reason } = error;
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    HttpProblem {
        retry_after: Some(seconds.max(1)),
        ..Refusal::Unavailable.because(format!("{reason}; nothing was taken, so send the same message again later"))
    }
}

fn answer(accepted: Accepted) -> RouteResponse {
    let headers = match accepted.seen {
        Seen::New => Vec::new(),
        Seen::Before => vec![("frontdesk-duplicate", "true".to_owned())],
    };
    let body = json!({ "message_id": accepted.message, "conversation_id": accepted.conversation });
    RouteResponse::Json { status: 202, headers, body }
}
