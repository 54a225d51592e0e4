//! `protocol = "frontdesk"`: one signed POST, and what its answer means.

use frontdesk_model::{EventId, Secret, Timestamp};
use http::{StatusCode, header};
use standardwebhooks::Webhook;

use super::exchange::{self, Verdict};
use crate::{
    options::AgentOptions,
    reply::{Reply, parse_reply},
};

/// Posts events to the one endpoint.
pub(crate) struct Client {
    http: reqwest::Client,
    url: url::Url,
    signers: Vec<Webhook>,
}

impl Client {
    /// `secrets`: what events are signed with, all of them.
    pub(crate) fn new(options: &AgentOptions, secrets: &[Secret]) -> Result<Self, String> {
        let signers = secrets
            .iter()
            .map(|secret| Webhook::new(secret.expose()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| "[agent] secret is not a Standard Webhooks secret (whsec_ and base64)".to_owned())?;
        Ok(Self { http: exchange::client(options)?, url: options.url.clone(), signers })
    }

    /// One attempt.
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
            Ok(response) => read(response, now).await,
            Err(error) => exchange::broken(&error),
        }
    }
}

async fn read(response: reqwest::Response, now: Timestamp) -> Verdict {
    let status = response.status();
    if !status.is_success() {
        let retry_after = exchange::retry_after(response.headers(), now);
        return exchange::refusal(status, retry_after);
    }
    match status {
        StatusCode::ACCEPTED => return Verdict::Later,
        StatusCode::NO_CONTENT => return Verdict::Answered(Reply::default()),
        _ => {}
    }
    let body = match exchange::bounded(response).await {
        Ok(body) => body,
        Err(verdict) => return verdict,
    };
    match parse_reply(&body) {
        Ok(reply) => Verdict::Answered(reply),
        Err(error) => Verdict::trouble(format!("its answer cannot be read: {error}")),
    }
}
