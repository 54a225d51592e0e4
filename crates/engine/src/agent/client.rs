//! `protocol = "frontdesk"`: one signed POST, and what its answer means.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use frontdesk_model::{EventId, Secret, Timestamp};
use hmac::{Hmac, Mac as _};
use http::{StatusCode, header};
use sha2::Sha256;

use super::exchange::{self, Verdict};
use crate::{
    options::AgentOptions,
    reply::{Reply, parse_reply},
};

/// Posts events to the one endpoint.
pub(crate) struct Client {
    http: reqwest::Client,
    url: url::Url,
    signers: Vec<Signer>,
}

impl Client {
    /// `secrets`: what events are signed with, all of them.
    pub(crate) fn new(options: &AgentOptions, secrets: &[Secret]) -> Result<Self, String> {
        let signers = secrets
            .iter()
            .map(Signer::of)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| "[agent] secret is not a Standard Webhooks secret (whsec_ and base64)".to_owned())?;
        Ok(Self { http: exchange::client(options)?, url: options.url.clone(), signers })
    }

    /// One attempt.
    pub(crate) async fn post(&self, event: EventId, now: Timestamp, body: Vec<u8>) -> Verdict {
        let id = event.to_string();
        let signatures: Vec<String> = self.signers.iter().map(|signer| signer.sign(&id, now, &body)).collect();
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

/// Signs as Standard Webhooks describes: HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`, in base64 behind `v1,`
/// (<https://github.com/standard-webhooks/standard-webhooks>). An event with its history has ten thousand bytes and more, so the hash
/// is one that uses what the processor has for it.
struct Signer(Hmac<Sha256>);

impl Signer {
    fn of(secret: &Secret) -> Option<Self> {
        let secret = secret.expose();
        let bytes = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?;
        Hmac::new_from_slice(&bytes).ok().map(Self)
    }

    fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{}.", at.as_secs()).as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
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
