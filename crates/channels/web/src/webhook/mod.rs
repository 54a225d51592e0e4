//! The kind `webhook`.
//!
//! In: `POST /v1/channels/{channel}/messages` with a Standard Webhooks signature or a bearer token ([`inbound`]), whose
//! body [`wire`] reads. Out: a signed `POST` to `deliver_url` ([`outbound`]), with the same `webhook-id` on every
//! attempt, so that a receiver that looks at it sees each message once.

mod capabilities;
mod config;
mod inbound;
mod outbound;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use frontdesk_model::{
    Adapter, Capabilities, ChannelConfig, ChannelName, Dispatch, FrozenPart, Inbox, Key, Kind, KindName, Method,
    Outcome, Outgoing, ProbeError, Problem, ReceiveError, Route, Settings,
};

pub use wire::{Arrived, decode};

use self::{config::WebhookConfig, inbound::Messages, outbound::Sender};

/// Makes webhook channels.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebhookKind;

impl Kind for WebhookKind {
    fn name(&self) -> KindName {
        // A constant that keeps the rules of names; a test makes sure.
        #[allow(clippy::expect_used)]
        KindName::new("webhook").expect("a valid name")
    }

    fn keys(&self) -> &'static [Key] {
        config::KEYS
    }

    fn validate(&self, channel: &ChannelName, settings: &Settings) -> Result<Box<dyn ChannelConfig>, Vec<Problem>> {
        Ok(Box::new(WebhookConfig::check(channel, settings)?))
    }
}

/// One webhook channel.
struct Webhook {
    config: WebhookConfig,
    capabilities: Capabilities,
    sender: Sender,
    clock: Arc<dyn frontdesk_model::Clock>,
}

#[async_trait]
impl Adapter for Webhook {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn routes(&self, inbox: Arc<dyn Inbox>) -> Vec<Route> {
        let handler = Messages { inbox, signers: self.config.signers.clone(), clock: Arc::clone(&self.clock) };
        vec![Route {
            method: Method::Post,
            path: "/messages",
            max_body: self.config.max_body,
            handler: Arc::new(handler),
        }]
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        self.sender.probe().await
    }

    async fn receive(&self, _: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        // Everything comes in by the route.
        std::future::pending().await
    }

    fn render(&self, outgoing: &Outgoing) -> Vec<FrozenPart> {
        vec![wire::encode(outgoing)]
    }

    async fn send(&self, part: &Dispatch<'_>) -> Outcome {
        self.sender.send(part, self.clock.now()).await
    }
}
