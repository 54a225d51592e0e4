//! What is sent: parts that say all of their request but the bot's token, each sent once.
//!
//! | what is seen | what it means |
//! |---|---|
//! | 200 | sent, under the chat's and the message's number |
//! | 429 | not delivered; later, after `retry_after`. About one chat, until a second chat hears it meanwhile: then about the bot |
//! | 400 with `migrate_to_chat_id` | not delivered; the group has another number from now on, and the next attempt uses it |
//! | 401, 404 | not delivered; the token is not right (any more), for the whole channel |
//! | 3xx, other 4xx | failed: the same request would end the same. 403: the person has blocked the bot, or it was removed |
//! | no connection | not delivered; later, for the whole channel |
//! | a file that cannot be read here | not delivered; later. One that never came here: failed |
//! | 5xx, and anything that breaks after that or takes too long | perhaps delivered: the Bot API has no key to ask again with |

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use frontdesk_model::{
    Attachment, Budget, Clock, Dispatch, FrozenPart, Link, Outcome, Outgoing, Rate, Scope, ThreadId, Wanted,
};
use serde_json::{Value, json};

use crate::{
    api::{Answer, Api, Refused, Upload},
    render,
};

/// Below the 25 seconds that an adapter has for one send; with a file, its reading comes before.
const TIMEOUT: Duration = Duration::from_secs(20);
const UPLOAD: Duration = Duration::from_secs(18);
const READ: Duration = Duration::from_secs(6);
/// What a bot may send (<https://core.telegram.org/bots/api#sending-files>): a larger picture goes as a document.
const MAX_PHOTO: u64 = 10_000_000;
const MAX_FILE: u64 = 50_000_000;
const TYPING: Duration = Duration::from_secs(5);

/// What Telegram allows (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    bot: Rate,
}

const IN_A_CHAT: Rate = Rate { most: 1, within: Duration::from_secs(1) };
const IN_A_GROUP: Rate = Rate { most: 20, within: Duration::from_secs(60) };

impl Limits {
    pub(crate) fn of(bot: Rate) -> Self {
        Self { bot }
    }

    pub(crate) fn budgets(self, thread: &ThreadId) -> Vec<Budget> {
        let mut budgets = vec![self.bot.budget("bot")];
        let chat = thread.as_str().split('/').next().unwrap_or_default();
        budgets.push(IN_A_CHAT.budget(format!("chat {chat}")));
        // Numbers of groups are negative.
        if chat.starts_with('-') {
            budgets.push(IN_A_GROUP.budget(format!("group {chat}")));
        }
        budgets
    }
}

/// What Telegram said about chats, remembered while it holds.
pub(crate) struct Floods {
    clock: Arc<dyn Clock>,
    /// The chat that has to wait, and until when since boot.
    waiting: Mutex<Option<(i64, Duration)>>,
    /// Groups that have another number now. Telegram says it again to whoever does not know.
    moved: Mutex<HashMap<i64, i64>>,
}

/// So many moves are remembered.
const MOST_MOVED: usize = 10_000;

impl Floods {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: Mutex::default(), moved: Mutex::default() }
    }

    /// A 429 does not say whom it is about. Two chats that hear it within one span: the bot.
    fn reach(&self, chat: i64, rest: Duration) -> Scope {
        let now = self.clock.boot();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let scope = match *waiting {
            Some((other, until)) if other != chat && now < until => Scope::Channel,
            _ => Scope::Message,
        };
        *waiting = Some((chat, now.saturating_add(rest)));
        scope
    }

    fn note_moved(&self, from: i64, to: i64) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.len() >= MOST_MOVED {
            moved.clear();
        }
        moved.insert(from, to);
    }

    fn now_called(&self, chat: i64) -> i64 {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).get(&chat).copied().unwrap_or(chat)
    }
}

/// The parts of a message: what `frontdesk render telegram` shows, addressed.
pub(crate) fn render(message: &Outgoing) -> Vec<FrozenPart> {
    let wanted = Wanted {
        content: message.message.content.clone(),
        reply_to: None,
        buttons: Vec::new(),
        attachments: Vec::new(),
    };
    let answered = message.reply_to_external.as_ref().and_then(|id| render::answered(message_number(id.as_str())?));
    let mut requests = render::render(&wanted).requests;
    requests.extend(message.message.attachments.iter().map(file));
    if let Some(first) = requests.first_mut()
        && let Some(answered) = answered
        && let Some(params) = first.get_mut("params").and_then(Value::as_object_mut)
    {
        params.insert("reply_parameters".into(), answered);
    }
    if requests.is_empty() {
        // There is nothing to be seen in it. Telegram says so, and the message is shown as refused.
        requests.push(json!({ "method": "sendMessage", "params": { "text": message.message.content.source() } }));
    }
    let (chat, topic) = place(&message.thread);
    for request in &mut requests {
        if let Some(params) = request.get_mut("params").and_then(Value::as_object_mut) {
            params.insert("chat_id".into(), chat.into());
            params.extend(topic.map(|topic| ("message_thread_id".to_owned(), topic.into())));
            if params.contains_key("text") {
                params.insert("link_preview_options".into(), json!({ "is_disabled": true }));
            }
        }
    }
    requests.into_iter().map(FrozenPart).collect()
}

/// What Telegram calls a message within its chat, of what we call it.
fn message_number(external: &str) -> Option<&str> {
    external.split(':').nth(1)
}

/// A file as a part of its own. Its bytes are read when it is sent.
fn file(attachment: &Attachment) -> Value {
    let stored = attachment.stored();
    let media_type = stored.map_or("", |stored| stored.media_type.as_str());
    let small = stored.is_some_and(|stored| stored.size <= MAX_PHOTO);
    let (method, field) = match media_type {
        "image/jpeg" | "image/png" if small => ("sendPhoto", "photo"),
        "image/gif" => ("sendAnimation", "animation"),
        "video/mp4" => ("sendVideo", "video"),
        "audio/ogg" => ("sendVoice", "voice"),
        "audio/mpeg" | "audio/mp4" => ("sendAudio", "audio"),
        _ => ("sendDocument", "document"),
    };
    let file = json!({
        "id": attachment.id,
        "field": field,
        "name": attachment.name,
        "media_type": media_type,
        "size": stored.map(|stored| stored.size),
    });
    json!({ "method": method, "params": {}, "file": file })
}

/// The bytes that a part sends, if it sends any.
async fn upload(api: &Api, request: &Value, links: &[Link]) -> Result<Option<Upload>, Outcome> {
    let Some(file) = request.get("file") else { return Ok(None) };
    let text = |name: &str| file.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = text("id");
    let Some(link) = links.iter().find(|link| link.id.to_string() == id) else {
        let reason = "the file is not here: it could not be had, or was erased".to_owned();
        return Err(Outcome::Failed { scope: Scope::Message, reason });
    };
    if file.get("size").and_then(Value::as_u64).is_some_and(|size| size > MAX_FILE) {
        let reason = format!("the file is larger than the {} MB that a bot may send", MAX_FILE / 1_000_000);
        return Err(Outcome::Failed { scope: Scope::Message, reason });
    }
    let bytes = api.read(&link.url, MAX_FILE, READ).await.map_err(|what| Outcome::RetryAfter {
        after: None,
        scope: Scope::Message,
        reason: format!("the file cannot be read at this daemon's own address: {what}; is public_url right?"),
    })?;
    Ok(Some(Upload { field: text("field"), name: text("name"), media_type: text("media_type"), bytes }))
}

/// A thread's chat and topic. Threads are named by us; one that is not so belongs to no chat, and Telegram says so.
fn place(thread: &ThreadId) -> (i64, Option<i64>) {
    let (chat, topic) = match thread.as_str().split_once('/') {
        Some((chat, topic)) => (chat, topic.parse().ok()),
        None => (thread.as_str(), None),
    };
    (chat.parse().unwrap_or_default(), topic)
}

pub(crate) async fn send(api: &Api, floods: &Floods, dispatch: &Dispatch<'_>) -> Outcome {
    let FrozenPart(request) = dispatch.part;
    let method = request.get("method").and_then(Value::as_str).unwrap_or("sendMessage");
    let mut params = request.get("params").cloned().unwrap_or_default();
    let frozen = params.get("chat_id").and_then(Value::as_i64).unwrap_or_default();
    let chat = floods.now_called(frozen);
    if chat != frozen
        && let Some(params) = params.as_object_mut()
    {
        params.insert("chat_id".into(), chat.into());
    }
    let answer = match upload(api, request, dispatch.links).await {
        Ok(Some(upload)) => api.upload(method, &params, upload, UPLOAD).await,
        Ok(None) => api.call(method, &params, TIMEOUT).await,
        Err(outcome) => return outcome,
    };
    match answer {
        Answer::Done(sent) => {
            let number = sent.get("message_id").and_then(Value::as_i64);
            Outcome::Sent { external_id: number.map(|number| format!("{chat}:{number}")) }
        }
        Answer::Refused(refused) => understood(refused, floods, frozen),
        Answer::NotReached(what) => Outcome::RetryAfter {
            after: None,
            scope: Scope::Channel,
            reason: format!("Telegram cannot be reached: {what}"),
        },
        Answer::Broken(what) => Outcome::Uncertain { reason: format!("Telegram: {what}") },
    }
}

fn understood(refused: Refused, floods: &Floods, chat: i64) -> Outcome {
    let Refused { status, words, retry_after, migrated_to } = refused;
    let reason = format!("Telegram answered {status}: {words}");
    if let Some(to) = migrated_to {
        floods.note_moved(chat, to);
        return Outcome::RetryAfter { after: Some(Duration::ZERO), scope: Scope::Message, reason };
    }
    match status {
        429 => {
            let scope = floods.reach(chat, retry_after.unwrap_or(Duration::from_secs(1)));
            Outcome::RetryAfter { after: retry_after, scope, reason }
        }
        401 | 404 => Outcome::RetryAfter {
            after: None,
            scope: Scope::Channel,
            reason: format!("{reason}; is the token still the one that @BotFather shows?"),
        },
        500..=599 => Outcome::Uncertain { reason },
        _ => Outcome::Failed { scope: Scope::Message, reason },
    }
}

/// Shows that an answer is being written, for five seconds.
pub(crate) async fn typing(api: &Api, thread: &ThreadId) {
    let (chat, topic) = place(thread);
    let mut params = json!({ "chat_id": chat, "action": "typing" });
    if let (Some(topic), Some(params)) = (topic, params.as_object_mut()) {
        params.insert("message_thread_id".into(), topic.into());
    }
    // Nothing depends on it.
    let _ = api.call("sendChatAction", &params, TYPING).await;
}
