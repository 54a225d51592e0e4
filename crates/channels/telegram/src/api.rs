//! Calls of the Bot API, one HTTP request each: `POST {api_url}/bot{token}/{method}` with a JSON body
//! (<https://core.telegram.org/bots/api#making-requests>).
//!
//! The bot, its client and what control calls ask are teloxide's ([`Api::ask`]). Two sorts of calls go over the same client by an
//! exchange of our own ([`Api::call`], [`Api::upload`]), because on them a guess would cost a message: `getUpdates`, whose answer has
//! to stay as it came, and what is sent, as it was frozen. teloxide's own exchange tells a refusal by its words alone, without the
//! HTTP status, and waits ten seconds after each answer of 5xx.
//!
//! Answers are read loosely, not into teloxide's types: a server of one's own, or one a version behind, leaves fields out that these
//! insist on.
//!
//! The address holds the token: no error of the client is shown with its address, and what the far end says is shown without the
//! token should it repeat it.

use std::{error::Error, sync::Arc, time::Duration};

use frontdesk_model::{BuildError, Clock, Secret};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use teloxide::{
    ApiError, Bot, RequestError, payloads,
    requests::{JsonRequest, Payload, Request as _},
};
use url::Url;

/// A connection has this long to open, within the whole time-out.
const CONNECT: Duration = Duration::from_secs(5);
/// The most that is read of an answer: 100 updates, each with what it answers.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// A control call has this long: teloxide hands an answer of 5xx on after ten seconds.
const CONTROL: Duration = Duration::from_secs(15);
/// So much of what Telegram says is shown.
const MAX_WORDS: usize = 200;

/// The Bot API of one bot.
pub(crate) struct Api {
    bot: Bot,
    client: Client,
    base: Secret,
    /// Before the path of a file.
    files: Secret,
    token: Secret,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A file that goes with a call.
pub(crate) struct Upload {
    pub(crate) field: String,
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// What became of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    /// `ok`, with what it says. Nothing at all where the answer was empty.
    Done(Value),
    /// Telegram, or what stands before it, said no; certainly nothing was done unless the status is one of 5xx.
    Refused(Refused),
    /// No connection opened.
    NotReached(String),
    /// The connection ended, or took too long, after the request had gone out; or the answer was none of the Bot API's.
    Broken(String),
}

impl Answer {
    /// Why it is not what was asked for.
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Done(_) => "Telegram gave an answer of another form".to_owned(),
            Self::Refused(refused) => format!("Telegram answered {}: {}", refused.status, refused.words),
            Self::NotReached(what) => format!("Telegram cannot be reached: {what}"),
            Self::Broken(what) => format!("Telegram: {what}"),
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) words: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) migrated_to: Option<i64>,
}

/// A control call of teloxide's, by the name that the Bot API has for it. teloxide writes names with a capital letter, which Telegram
/// takes, and which a server of one's own need not.
pub(crate) trait Call: Serialize + Send + 'static {
    const NAME: &'static str;
}

macro_rules! calls {
    ($($payload:ident = $name:literal),* $(,)?) => {
        $(impl Call for payloads::$payload {
            const NAME: &'static str = $name;
        })*
    };
}

calls! {
    AnswerCallbackQuery = "answerCallbackQuery",
    DeleteMessage = "deleteMessage",
    DeleteWebhook = "deleteWebhook",
    GetFile = "getFile",
    GetMe = "getMe",
    GetWebhookInfo = "getWebhookInfo",
    SendChatAction = "sendChatAction",
    SetWebhook = "setWebhook",
}

/// Such a call, with its answer as it comes.
#[derive(Serialize)]
#[serde(transparent)]
struct Loose<C>(C);

impl<C: Call> Payload for Loose<C> {
    type Output = Value;

    const NAME: &'static str = C::NAME;
}

#[derive(Deserialize)]
struct Body {
    ok: bool,
    #[serde(default)]
    result: Value,
    error_code: Option<u16>,
    description: Option<String>,
    parameters: Option<Parameters>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    migrate_to_chat_id: Option<i64>,
    retry_after: Option<u64>,
}

impl Api {
    pub(crate) fn new(api_url: &Url, token: &Secret, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let client = Client::builder()
            .user_agent(concat!("Frontdesk/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| BuildError(format!("the client for Telegram cannot be made: {}", innermost(&error))))?;
        let mut address = api_url.clone();
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty();
        }
        let bot = Bot::with_client(token.expose().as_str(), client.clone()).set_api_url(address);
        let root = api_url.as_str().trim_end_matches('/');
        let base = Secret::new(format!("{root}/bot{}", token.expose()));
        let files = Secret::new(format!("{root}/file/bot{}", token.expose()));
        Ok(Self { bot, client, base, files, token: token.clone(), clock })
    }

    /// Asks or sets something, once, with teloxide's payload.
    pub(crate) async fn ask<C: Call>(&self, payload: C) -> Answer {
        let asked = JsonRequest::new(self.bot.clone(), Loose(payload)).send();
        match tokio::time::timeout(CONTROL, asked).await {
            Ok(Ok(answer)) => Answer::Done(answer),
            Ok(Err(error)) => self.refused(&error),
            Err(_) => Answer::Broken(format!("no answer within {} s", CONTROL.as_secs())),
        }
    }

    /// teloxide keeps of a refusal what stands in its body but the number, which its words begin with.
    fn refused(&self, error: &RequestError) -> Answer {
        let refused = |status, words: &str, retry_after, migrated_to| {
            Answer::Refused(Refused { status, words: self.hidden(words), retry_after, migrated_to })
        };
        match error {
            RequestError::Api(error) => {
                let words = match error {
                    ApiError::Unknown(words) => words.clone(),
                    ApiError::InvalidToken => "Unauthorized".to_owned(),
                    known => known.to_string(),
                };
                refused(status_of(&words), &words, None, None)
            }
            RequestError::RetryAfter(seconds) => refused(429, "Too Many Requests", Some(seconds.duration()), None),
            RequestError::MigrateToChatId(chat) => {
                refused(400, "Bad Request: group chat was upgraded to a supergroup chat", None, Some(chat.0))
            }
            RequestError::Network(error) => self.unreached(error),
            // teloxide also knows no refusal with empty parameters.
            RequestError::InvalidJson { raw, .. } => match serde_json::from_str::<Body>(raw) {
                Ok(body) if !body.ok => self.said_no(body, StatusCode::INTERNAL_SERVER_ERROR),
                _ => Answer::Broken("the answer is not the Bot API's".to_owned()),
            },
            RequestError::Io(error) => Answer::NotReached(error.kind().to_string()),
        }
    }

    /// The connection did not bring an answer.
    fn unreached(&self, error: &reqwest::Error) -> Answer {
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => Answer::NotReached("the connection took too long to open".to_owned()),
            (true, false) => Answer::NotReached(format!("no connection: {}", self.hidden(&innermost(error)))),
            (false, true) => Answer::Broken("the answer took too long".to_owned()),
            (false, false) => Answer::Broken(self.broke(error)),
        }
    }

    /// Calls once.
    pub(crate) async fn call(&self, method: &str, params: &Value, timeout: Duration) -> Answer {
        let request = self
            .client
            .post(format!("{}/{method}", self.base.expose()))
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .timeout(timeout)
            .body(params.to_string());
        self.exchange(request, timeout).await
    }

    /// Calls once with a file, as `multipart/form-data` (RFC 7578).
    pub(crate) async fn upload(&self, method: &str, params: &Value, file: Upload, timeout: Duration) -> Answer {
        let boundary = boundary(&file.bytes);
        let request = self
            .client
            .post(format!("{}/{method}", self.base.expose()))
            .header(reqwest::header::CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .timeout(timeout)
            .body(form(params, file, &boundary));
        self.exchange(request, timeout).await
    }

    /// Reads a file of ours at its signed address.
    pub(crate) async fn read(&self, url: &str, most: u64, timeout: Duration) -> Result<Vec<u8>, String> {
        let asked = self.client.get(url).timeout(timeout).send().await;
        let mut response = asked.map_err(|error| innermost(&error.without_url()))?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer was {}", response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| innermost(&error.without_url()))? {
            if u64::try_from(bytes.len() + chunk.len()).map_or(true, |length| length > most) {
                return Err(format!("it is larger than {most} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Where a file lies (<https://core.telegram.org/bots/api#getfile>). `None` for a path that leads elsewhere, such as that of a
    /// Bot API server of one's own, which names its disk.
    pub(crate) fn file_url(&self, path: &str) -> Option<String> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.');
        let plain = !path.is_empty() && !path.starts_with('/') && !path.contains("..") && path.bytes().all(letter);
        plain.then(|| format!("{}/{path}", self.files.expose()))
    }

    async fn exchange(&self, request: reqwest::RequestBuilder, timeout: Duration) -> Answer {
        match request.send().await {
            Ok(response) => self.understood(response).await,
            Err(error) if error.is_timeout() && !error.is_connect() => {
                Answer::Broken(format!("no answer within {} s", timeout.as_secs()))
            }
            Err(error) => self.unreached(&error),
        }
    }

    async fn understood(&self, mut response: Response) -> Answer {
        let status = response.status();
        let mut bytes = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() <= MAX_ANSWER => bytes.extend_from_slice(&chunk),
                Ok(Some(_)) => return Answer::Broken(format!("an answer of more than {MAX_ANSWER} bytes")),
                Ok(None) => break,
                // What was refused is refused, whether or not its reason came through.
                Err(_) if status.is_client_error() => break,
                Err(error) => return Answer::Broken(self.broke(&error.without_url())),
            }
        }
        match serde_json::from_slice::<Body>(&bytes) {
            Ok(body) if body.ok && status.is_success() => Answer::Done(body.result),
            Ok(body) if !body.ok => self.said_no(body, status),
            _ if status.is_success() && bytes.is_empty() => Answer::Done(Value::Null),
            _ if status.is_success() => Answer::Broken("the answer is not the Bot API's".to_owned()),
            _ => Answer::Refused(Refused {
                status: status.as_u16(),
                words: reason(status),
                retry_after: None,
                migrated_to: None,
            }),
        }
    }

    fn said_no(&self, body: Body, status: StatusCode) -> Answer {
        let Parameters { retry_after, migrate_to_chat_id } = body.parameters.unwrap_or_default();
        Answer::Refused(Refused {
            status: body.error_code.unwrap_or(status.as_u16()),
            words: self.hidden(&body.description.unwrap_or_default()),
            retry_after: retry_after.map(Duration::from_secs),
            migrated_to: migrate_to_chat_id,
        })
    }

    fn broke(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return "the answer took too long".to_owned();
        }
        format!("the connection broke before the answer: {}", self.hidden(&innermost(error)))
    }

    /// Words from elsewhere: short, on one line, without the token.
    pub(crate) fn hidden(&self, words: &str) -> String {
        let words = words.replace(self.token.expose().as_str(), "[token]");
        words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_WORDS).collect()
    }
}

/// A line that does not occur in the bytes.
fn boundary(bytes: &[u8]) -> String {
    let mut boundary = "frontdesk-part".to_owned();
    while bytes.windows(boundary.len()).any(|window| window == boundary.as_bytes()) {
        boundary.push_str("-x");
    }
    boundary
}

/// As browsers write it (WHATWG HTML, multipart/form-data encoding), so that nothing in a name ends it. Telegram's server decodes it
/// (`HttpReader` in <https://github.com/tdlib/td>): what would be decoded and was not meant so is written for that. In its older versions
/// a semicolon ends the name.
fn form_name(name: &str) -> String {
    let mut written = String::with_capacity(name.len());
    let mut letters = name.chars().filter(|letter| !letter.is_control()).peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => written.push_str("%22"),
            ';' => written.push_str("%3B"),
            '%' if letters.peek().is_some_and(char::is_ascii_hexdigit) => written.push_str("%25"),
            letter => written.push(letter),
        }
    }
    written
}

fn form(params: &Value, file: Upload, boundary: &str) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in params.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        body.push_str(&format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    let name = form_name(&file.name);
    let media_type = if file.media_type.is_empty() { "application/octet-stream" } else { &file.media_type };
    body.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{name}\"\r\nContent-Type: {media_type}\r\n\r\n",
        file.field
    ));
    let mut body = body.into_bytes();
    body.extend_from_slice(&file.bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}

/// What a refusal's words begin with is the reason phrase of its status (<https://github.com/tdlib/telegram-bot-api>).
fn status_of(words: &str) -> u16 {
    const KNOWN: [(&str, u16); 6] = [
        ("Bad Request", 400),
        ("Unauthorized", 401),
        ("Forbidden", 403),
        ("Not Found", 404),
        ("Conflict", 409),
        ("Too Many Requests", 429),
    ];
    KNOWN.iter().find(|(phrase, _)| words.starts_with(phrase)).map_or(500, |(_, status)| *status)
}

fn reason(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("no reason given").to_owned()
}

/// The cause at the bottom, which says what happened without the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
