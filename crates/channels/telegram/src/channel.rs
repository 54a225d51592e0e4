//! One running Telegram channel.

use std::sync::Arc;

use async_trait::async_trait;
use frontdesk_model::{
    Adapter, Budget, Capabilities, Clock, Content, Dispatch, FrozenPart, Inbox, Outcome, Outgoing, ProbeError,
    ReceiveError, Resend, Route, TextUnit, ThreadId,
};

use crate::{
    api::Api,
    config::Respond,
    outbound::{self, Floods, Limits},
    receive::{self, Me},
    render,
};

/// A text's longest part, after its entities are read (<https://core.telegram.org/bots/api#sendmessage>).
const CAPABILITIES: Capabilities = Capabilities {
    max_text: Some(4096),
    unit: TextUnit::Utf16,
    buttons: false,
    edit: false,
    attachments: true,
    typing: true,
    outbound: true,
    // The Bot API has nothing by which it would know a repeat.
    resend: Resend::MayDouble,
};

pub(crate) struct Telegram {
    api: Api,
    respond: Respond,
    limits: Option<Limits>,
    floods: Floods,
}

impl Telegram {
    pub(crate) fn new(api: Api, respond: Respond, limits: Option<Limits>, clock: Arc<dyn Clock>) -> Self {
        Self { api, respond, limits, floods: Floods::new(clock) }
    }
}

#[async_trait]
impl Adapter for Telegram {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    /// Telegram answers a second poller of a bot with 409.
    fn is_exclusive(&self) -> bool {
        true
    }

    fn routes(&self, _inbox: Arc<dyn Inbox>) -> Vec<Route> {
        Vec::new()
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        Me::ask(&self.api).await.map(drop).map_err(ProbeError)
    }

    async fn receive(&self, inbox: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        receive::receive(&self.api, self.respond, &inbox).await.map_err(ReceiveError)
    }

    fn render(&self, message: &Outgoing) -> Vec<FrozenPart> {
        outbound::render(message)
    }

    fn degraded(&self, content: &Content) -> Vec<&'static str> {
        render::degraded(content)
    }

    fn budgets(&self, thread: &ThreadId, _part: &FrozenPart) -> Vec<Budget> {
        self.limits.map_or_else(Vec::new, |limits| limits.budgets(thread))
    }

    async fn send(&self, part: &Dispatch<'_>) -> Outcome {
        outbound::send(&self.api, &self.floods, part).await
    }

    async fn typing(&self, thread: &ThreadId) {
        outbound::typing(&self.api, thread).await;
    }
}
