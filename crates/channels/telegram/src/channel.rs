//! One running Telegram channel.

use std::sync::Arc;

use async_trait::async_trait;
use frontdesk_model::{
    Adapter, Budget, Capabilities, Content, Dispatch, Finding, FrozenPart, Inbox, LocateError, Located, Outcome,
    Outgoing, ProbeError, ReceiveError, Resend, Route, TextUnit, ThreadId,
};

use crate::{
    api::Api,
    config::Respond,
    files, inspect,
    intake::Intake,
    me::Me,
    outbound::{self, Limits, Sender},
    receive,
    render::{self, Previews},
    webhook::Hook,
};

/// A text's longest part, after its entities are read (<https://core.telegram.org/bots/api#sendmessage>).
const CAPABILITIES: Capabilities = Capabilities {
    max_text: Some(4096),
    unit: TextUnit::Utf16,
    buttons: true,
    edit: true,
    delete: true,
    refers: true,
    attachments: true,
    typing: true,
    outbound: true,
    // The Bot API has nothing by which it would know a repeat.
    resend: Resend::MayDouble,
};

/// How messages go out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentAs {
    /// What follows when nobody knows whether one arrived.
    pub(crate) resend: Resend,
    pub(crate) previews: Previews,
    pub(crate) limits: Limits,
}

pub(crate) struct Telegram {
    capabilities: Capabilities,
    intake: Arc<Intake>,
    hook: Hook,
    previews: Previews,
    limits: Limits,
    sender: Sender,
}

impl Telegram {
    pub(crate) fn new(api: Arc<Api>, hook: Hook, respond: Respond, sent: SentAs) -> Self {
        let SentAs { resend, previews, limits } = sent;
        let sender = Sender::new(Arc::clone(&api.clock));
        let intake = Arc::new(Intake::new(api, respond));
        Self { capabilities: Capabilities { resend, ..CAPABILITIES }, intake, hook, previews, limits, sender }
    }
}

#[async_trait]
impl Adapter for Telegram {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Telegram answers a second poller of a bot with 409; and one daemon is enough to look after a webhook.
    fn is_exclusive(&self) -> bool {
        true
    }

    fn routes(&self, inbox: Arc<dyn Inbox>) -> Vec<Route> {
        self.intake.moves.attach(&inbox);
        match self.hook.url {
            Some(_) => vec![self.hook.route(&self.intake, inbox)],
            None => Vec::new(),
        }
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        Me::ask(&self.intake.api).await.map(drop).map_err(ProbeError)
    }

    async fn receive(&self, inbox: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        self.intake.moves.attach(&inbox);
        match &self.hook.url {
            Some(url) => self.hook.keep(&self.intake, url).await,
            None => receive::poll(&self.intake, &self.hook, &inbox).await,
        }
        .map_err(ReceiveError)
    }

    fn render(&self, message: &Outgoing) -> Vec<FrozenPart> {
        outbound::render(message, self.previews)
    }

    fn degraded(&self, content: &Content) -> Vec<&'static str> {
        render::degraded(content)
    }

    fn budgets(&self, thread: &ThreadId, _part: &FrozenPart) -> Vec<Budget> {
        self.limits.budgets(thread)
    }

    async fn send(&self, part: &Dispatch<'_>) -> Outcome {
        self.sender.send(&self.intake, part).await
    }

    async fn typing(&self, thread: &ThreadId) {
        outbound::typing(&self.intake, thread).await;
    }

    async fn edit(&self, part: &Dispatch<'_>, external_id: &str) -> Outcome {
        self.sender.edit(&self.intake, part, external_id).await
    }

    async fn withdraw(&self, _thread: &ThreadId, external_id: &str) -> Outcome {
        self.sender.withdraw(&self.intake, external_id).await
    }

    async fn locate(&self, handle: &str) -> Result<Located, LocateError> {
        files::locate(&self.intake.api, handle).await
    }

    async fn replay(&self, raw: &str, inbox: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        self.intake.moves.attach(&inbox);
        self.intake.replay(raw, &inbox).await.map_err(ReceiveError)
    }

    async fn inspect(&self) -> Vec<Finding> {
        inspect::inspect(&self.intake, &self.hook).await
    }
}
