//! Webhook mode (<https://core.telegram.org/bots/api#setwebhook>): Telegram posts each update to
//! `{public_url}/v1/channels/{channel}/updates`.
//!
//! A request shows that it is Telegram's by the header `X-Telegram-Bot-Api-Secret-Token`. The secret is an HMAC of the bot's token:
//! every daemon with the same configuration knows it, and nothing is stored. The answer is 2xx only after the commit; what cannot be
//! taken now gets 503 with Retry-After, and Telegram sends it again. One connection (`max_connections = 1`) keeps the order.
//!
//! The daemon registers its address when it begins to receive, and looks after it now and then. When the channel polls again, it takes its
//! own address away. One that another program registered is reported, and never touched.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use frontdesk_model::{
    Admission, AnswerDocument, ChannelName, HeaderDocument, HttpProblem, Inbox, InboxError, Method, ProblemDocument,
    Route, RouteDocument, RouteHandler, RouteRequest, RouteResponse, Secret,
};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use teloxide::payloads::{DeleteWebhook, GetWebhookInfo, SetWebhook, SetWebhookSetters as _};
use url::Url;

use crate::{
    api::{Answer, Api},
    inbound,
    intake::Intake,
    receive,
};

/// The header that Telegram sends the secret in, in lower case.
const HEADER: &str = "x-telegram-bot-api-secret-token";
const ROUTE: &str = "/updates";
/// More than any update has.
const MAX_BODY: usize = 1024 * 1024;
/// So often it is looked whether the address is still registered.
const LOOK: Duration = Duration::from_secs(600);

const UNAUTHORIZED: ProblemDocument =
    ProblemDocument { status: 401, slug: "unauthorized", title: "The secret token is missing or not right" };
const UNAVAILABLE: ProblemDocument =
    ProblemDocument { status: 503, slug: "unavailable", title: "Nothing new is taken at the moment" };

/// The path of a channel's route.
pub(crate) fn path(channel: &ChannelName) -> String {
    format!("/v1/channels/{channel}{ROUTE}")
}

/// Where and how Telegram posts updates.
pub(crate) struct Hook {
    secret: Secret,
    path: String,
    /// In webhook mode.
    pub(crate) url: Option<Url>,
}

impl Hook {
    pub(crate) fn new(token: &Secret, channel: &ChannelName, url: Option<Url>) -> Self {
        Self { secret: secret(token), path: path(channel), url }
    }

    /// An address of this channel, at this public address or an earlier one.
    pub(crate) fn is_ours(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| url.path().ends_with(&self.path))
    }

    /// Takes an address of ours away. That of another program stays.
    pub(crate) async fn remove(&self, api: &Api) -> Result<(), String> {
        let registered = Registered::ask(api).await?;
        if registered.url.is_empty() {
            return Ok(());
        }
        if !self.is_ours(&registered.url) {
            return Err(registered.foreign());
        }
        match api.ask(DeleteWebhook::new()).await {
            Answer::Done(_) => {
                tracing::info!("the webhook of this channel is removed: it polls");
                Ok(())
            }
            other => Err(other.in_words()),
        }
    }

    /// Has updates posted to this address, and sees to it that it stays so.
    pub(crate) async fn keep(&self, intake: &Intake, url: &Url) -> Result<(), String> {
        let me = intake.ask_me().await?;
        receive::warn_of_privacy(&me, intake.respond);
        let api = &intake.api;
        let mut told = api.clock.now().as_secs();
        let mut first = true;
        loop {
            let registered = Registered::ask(api).await?;
            if !registered.url.is_empty() && !self.is_ours(&registered.url) {
                return Err(registered.foreign());
            }
            if first || registered.url != url.as_str() {
                let set = SetWebhook::new(url.clone())
                    .max_connections(1)
                    .allowed_updates(receive::WANTED)
                    .secret_token(self.secret.expose().as_str());
                match api.ask(set).await {
                    Answer::Done(_) => tracing::info!("Telegram posts this bot's updates to public_url"),
                    Answer::Refused(refused) if refused.status == 400 => {
                        return Err(format!(
                            "Telegram does not take public_url for its updates ({}): it needs https, a certificate that others trust, and \
                             port 443, 80, 88 or 8443; or write receive = \"poll\"",
                            refused.words
                        ));
                    }
                    other => return Err(other.in_words()),
                }
                first = false;
            }
            if let Some((at, words)) = registered.last_error.filter(|(at, _)| *at > told) {
                told = at;
                tracing::warn!(words, waiting = registered.waiting, "Telegram could not post an update");
            }
            api.clock.sleep(LOOK).await;
        }
    }

    pub(crate) fn route(&self, intake: &Arc<Intake>, inbox: Arc<dyn Inbox>) -> Route {
        let handler = Updates { secret: self.secret.clone(), intake: Arc::clone(intake), inbox };
        Route { document: document(), max_body: MAX_BODY, handler: Arc::new(handler) }
    }
}

/// What Telegram has registered (<https://core.telegram.org/bots/api#webhookinfo>).
pub(crate) struct Registered {
    /// Empty when updates are polled.
    pub(crate) url: String,
    pub(crate) waiting: i64,
    /// When posting failed last, in seconds since 1970, and Telegram's words for it.
    pub(crate) last_error: Option<(i64, String)>,
}

impl Registered {
    pub(crate) async fn ask(api: &Api) -> Result<Self, String> {
        let info = match api.ask(GetWebhookInfo::new()).await {
            Answer::Done(info) => info,
            other => return Err(other.in_words()),
        };
        let text = |name: &str| info.get(name).and_then(Value::as_str);
        let number = |name: &str| info.get(name).and_then(Value::as_i64);
        Ok(Self {
            url: text("url").unwrap_or_default().to_owned(),
            waiting: number("pending_update_count").unwrap_or_default(),
            last_error: number("last_error_date").zip(text("last_error_message").map(|words| api.hidden(words))),
        })
    }

    /// Whose it is, without its path, which may hold a secret.
    pub(crate) fn foreign(&self) -> String {
        let host = Url::parse(&self.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        format!(
            "another program has set a webhook for this bot, at {}, and Telegram sends everything there (409): stop that program \
             and call deleteWebhook, or use another bot",
            host.as_deref().unwrap_or("an address of another form")
        )
    }
}

/// Only letters that Telegram takes: hexadecimal.
fn secret(token: &Secret) -> Secret {
    #[allow(clippy::expect_used)] // HMAC takes keys of any length
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes()).expect("a key of any length");
    mac.update(b"frontdesk telegram webhook 1");
    Secret::new(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What answers `POST /updates`.
struct Updates {
    secret: Secret,
    intake: Arc<Intake>,
    inbox: Arc<dyn Inbox>,
}

#[async_trait]
impl RouteHandler for Updates {
    async fn handle(&self, request: RouteRequest) -> RouteResponse {
        match self.take(&request).await {
            Ok(()) => RouteResponse::Json { status: 200, headers: Vec::new(), body: json!({}) },
            Err(problem) => RouteResponse::Problem(problem),
        }
    }
}

impl Updates {
    async fn take(&self, request: &RouteRequest) -> Result<(), HttpProblem> {
        let brought = request.header(HEADER).unwrap_or_default();
        if !bool::from(brought.as_bytes().ct_eq(self.secret.expose().as_bytes())) {
            return Err(problem(
                &UNAUTHORIZED,
                "this address is Telegram's alone: the header X-Telegram-Bot-Api-Secret-Token does not hold what was agreed on".to_owned(),
            ));
        }
        let Ok(update) = serde_json::from_slice::<Value>(&request.body) else {
            // It is Telegram's, so it is kept: an error would have it sent for ever, and hold up all that follows.
            let raw = String::from_utf8_lossy(&request.body).into_owned();
            tracing::warn!("an update is not JSON; it is kept as it came");
            return self.inbox.note(inbound::unreadable(raw, "it is not JSON")).await.map_err(not_taken);
        };
        let me = self
            .intake
            .me()
            .await
            .map_err(|reason| not_taken(InboxError::Unavailable { retry_after: Duration::from_secs(5), reason }))?;
        let items = self.intake.sorted(&self.inbox, &me, std::slice::from_ref(&update)).await.map_err(not_taken)?;
        for item in &items {
            self.intake.hand_in(&self.inbox, item).await.map_err(not_taken)?;
        }
        Ok(())
    }
}

fn not_taken(error: InboxError) -> HttpProblem {
    let InboxError::Unavailable { retry_after, reason } = error;
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let problem = problem(&UNAVAILABLE, format!("{reason}; nothing was taken, so send the same update again later"));
    HttpProblem { retry_after: Some(seconds.max(1)), ..problem }
}

fn problem(of: &ProblemDocument, detail: String) -> HttpProblem {
    HttpProblem { status: of.status, slug: of.slug, title: of.title, detail, retry_after: None }
}

/// `POST /updates`.
pub(crate) fn document() -> RouteDocument {
    RouteDocument {
        method: Method::Post,
        path: ROUTE,
        id: "receiveTelegramUpdate",
        summary: "Takes an update from Telegram (kind telegram, receive = \"webhook\")",
        description: "Called by Telegram, which the daemon tells the address and a secret. The answer comes after what the update holds is \
                      stored. An update that was here before changes nothing.",
        admissions: vec![Admission::Anybody],
        headers: vec![HeaderDocument {
            name: "X-Telegram-Bot-Api-Secret-Token",
            description: "The secret that the daemon registered the address with. Without it the answer is 401.",
        }],
        body: Some(json!({
            "type": "object",
            "description": "An Update of the Bot API: https://core.telegram.org/bots/api#update",
            "required": ["update_id"],
            "properties": {"update_id": {"type": "integer"}}
        })),
        example: Some(json!({
            "update_id": 870_000_001,
            "message": {
                "message_id": 77, "date": 1_767_607_200, "text": "Where is my order?",
                "chat": {"id": 123, "type": "private", "first_name": "Ada"},
                "from": {"id": 123, "is_bot": false, "first_name": "Ada"}
            }
        })),
        answers: vec![AnswerDocument {
            status: 200,
            description: "It is stored, or was before, or there is nothing in it that is used.",
            headers: Vec::new(),
            body: json!({"type": "object", "additionalProperties": false}),
        }],
        problems: vec![UNAUTHORIZED, UNAVAILABLE],
    }
}
