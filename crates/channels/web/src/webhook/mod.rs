//! Kind `webhook`: the business's own systems hand messages in and take replies, both by signed HTTP requests.
//!
//! **In.** `POST /v1/channels/{channel}/messages` with a JSON body. The sender shows who it is in one of two ways: a
//! [Standard Webhooks] signature over the raw bytes (`webhook-id`, `webhook-timestamp`, `webhook-signature`), or a bearer
//! token that HTTP has already checked. The answer is `202 {"message_id", "conversation_id"}` once the message is
//! committed. The sender names each message (`id` in the body, else `webhook-id`, else `Idempotency-Key`); the same
//! name again within the same thread is the same message, gets the same answer with `Frontdesk-Duplicate: true`, and changes
//! nothing. So a sender that heard no answer simply repeats the request.
//!
//! **Out.** `POST` to `deliver_url`, signed the same way. `webhook-id` is the message's id, the same on every attempt, so
//! the receiver shows a message once however often it arrives; body and id are frozen, timestamp and signature are of the
//! attempt. What the answers mean stands in [`outbound`].
//!
//! In reading order: [`config`] (settings, and what can be wrong with them), [`inbound`] (who may, then the answer), [`wire`]
//! (both bodies, over the reader in [`json`]), [`outbound`], [`signature`], [`refusal`] (every error that a sender can get),
//! [`document`] (the route, described), [`insight`] (what `frontdesk decode` and `render` show).
//!
//! [Standard Webhooks]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

mod capabilities;
mod config;
mod document;
mod inbound;
mod insight;
mod json;
mod outbound;
mod refusal;
mod signature;
mod wire;

use std::{future, sync::Arc};

use async_trait::async_trait;
use frontdesk_model::{
    Adapter, Budget, Capabilities, Clock, Content, Dispatch, FrozenPart, Inbox, Outcome, Outgoing, ProbeError,
    ReceiveError, Route, ThreadId,
};

pub use self::{
    config::WebhookKind,
    insight::WebhookInsight,
    refusal::Refusal,
    wire::{Arrived, decode},
};
use self::{inbound::Messages, outbound::FarEnd, signature::SigningKey};

/// The name of the kind, and of the kind of address that its senders have.
const KIND: &str = "webhook";

/// One running webhook channel.
struct Webhook {
    capabilities: Capabilities,
    keys: Arc<[SigningKey]>,
    max_body: usize,
    budget: Option<Budget>,
    clock: Arc<dyn Clock>,
    far_end: Option<FarEnd>,
}

#[async_trait]
impl Adapter for Webhook {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn routes(&self, inbox: Arc<dyn Inbox>) -> Vec<Route> {
        let handler = Messages { keys: Arc::clone(&self.keys), clock: Arc::clone(&self.clock), inbox };
        vec![Route { document: document::messages(), max_body: self.max_body, handler: Arc::new(handler) }]
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        match &self.far_end {
            Some(far_end) => far_end.probe().await,
            None => Ok(()),
        }
    }

    async fn receive(&self, _inbox: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        future::pending().await
    }

    fn render(&self, message: &Outgoing) -> Vec<FrozenPart> {
        vec![wire::encode(message)]
    }

    fn degraded(&self, content: &Content) -> Vec<&'static str> {
        wire::degraded(content)
    }

    fn budgets(&self, _thread: &ThreadId, _part: &FrozenPart) -> Vec<Budget> {
        self.budget.iter().cloned().collect()
    }

    async fn send(&self, part: &Dispatch<'_>) -> Outcome {
        match &self.far_end {
            Some(far_end) => far_end.send(part, &self.keys).await,
            None => outbound::no_far_end(),
        }
    }
}
