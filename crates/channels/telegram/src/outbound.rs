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
//!
//! Changing a message and taking one back can be asked for again without harm: what is not known there is tried again. A message that
//! already says so, or is gone already, is as it should be.
//!
//! A file goes up once: Telegram's name for it is remembered for a while by what it holds, and sent in its place.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use frontdesk_model::{
    Attachment, Budget, Button, Clock, Dispatch, FrozenPart, Link, Outcome, Outgoing, Rate, Scope, ThreadId, Wanted,
    WantedButton,
};
use serde_json::{Value, json};
use teloxide::{
    payloads::{DeleteMessage, SendChatAction},
    types::{ChatAction, ChatId, MessageId, ThreadId as TopicId},
};

use crate::{
    api::{Answer, Api, Refused, Upload},
    intake::Intake,
    place::{Place, Topic},
    render::{self, Previews},
};

/// Below the 25 seconds that an adapter has for one send; with a file, its reading comes before.
const TIMEOUT: Duration = Duration::from_secs(20);
const UPLOAD: Duration = Duration::from_secs(18);
const READ: Duration = Duration::from_secs(6);
/// What a bot may send (<https://core.telegram.org/bots/api#sending-files>): a larger picture goes as a document.
const MAX_PHOTO: u64 = 10_000_000;
const MAX_FILE: u64 = 50_000_000;
const TYPING: Duration = Duration::from_secs(5);
/// Takes any file.
const DOCUMENT: &str = "sendDocument";

/// What Telegram allows (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>), or less. `None`: not
/// counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) bot: Option<Rate>,
    pub(crate) chat: Option<Rate>,
    /// Beside that of the chat.
    pub(crate) group: Option<Rate>,
}

impl Limits {
    pub(crate) fn budgets(self, thread: &ThreadId) -> Vec<Budget> {
        let chat = thread.as_str().split('/').next().unwrap_or_default();
        // Numbers of groups are negative.
        let group = self.group.filter(|_| chat.starts_with('-'));
        [
            self.bot.map(|rate| rate.budget("bot")),
            self.chat.map(|rate| rate.budget(format!("chat {chat}"))),
            group.map(|rate| rate.budget(format!("group {chat}"))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What sends, with what Telegram said that holds for further sends.
pub(crate) struct Sender {
    clock: Arc<dyn Clock>,
    /// The chat that has to wait, and until when since boot.
    waiting: Mutex<Option<(i64, Duration)>>,
    /// Telegram's names for files that went up, by how and what.
    uploaded: Mutex<HashMap<String, String>>,
    /// Files that Telegram did not take as what they are, by how and what: they go as documents.
    plain: Mutex<HashSet<String>>,
}

/// So many files are remembered, of each sort.
const MOST_UPLOADED: usize = 1_000;

impl Sender {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: Mutex::default(), uploaded: Mutex::default(), plain: Mutex::default() }
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

    fn plain(&self) -> MutexGuard<'_, HashSet<String>> {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uploaded(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.uploaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn send(&self, intake: &Intake, dispatch: &Dispatch<'_>) -> Outcome {
        let FrozenPart(request) = dispatch.part;
        let api = &intake.api;
        let mut method = request.get("method").and_then(Value::as_str).unwrap_or("sendMessage");
        let mut params = request.get("params").cloned().unwrap_or_default();
        let frozen = params.get("chat_id").and_then(Value::as_i64).unwrap_or_default();
        let chat = intake.moves.now_called(frozen);
        if let Some(params) = params.as_object_mut() {
            if chat != frozen {
                params.insert("chat_id".into(), chat.into());
            }
            // Messages are numbered anew where a group moved to: the number of an old one is that of another there.
            let answered_in = request.get("answers_in").and_then(Value::as_i64).unwrap_or(frozen);
            if answered_in != chat {
                params.remove("reply_parameters");
            }
        }
        let mut file = request.get("file").and_then(File::of);
        if let Some(file) = file.as_mut().filter(|file| self.plain().contains(&file.key)) {
            method = DOCUMENT;
            file.becomes_document();
        }
        let known = file.as_ref().and_then(|file| self.uploaded().get(&file.key).cloned());
        let answer = match (&file, &known) {
            (None, _) => api.call(method, &params, TIMEOUT).await,
            (Some(file), Some(id)) if dispatch.links.iter().any(|link| link.id.to_string() == file.id) => {
                if let Some(params) = params.as_object_mut() {
                    params.insert(file.field.clone(), id.as_str().into());
                }
                api.call(method, &params, TIMEOUT).await
            }
            (Some(file), _) => match file.upload(api, dispatch.links).await {
                Ok(upload) => api.upload(method, &params, upload, UPLOAD).await,
                Err(outcome) => return outcome,
            },
        };
        match answer {
            Answer::Done(sent) => {
                if let Some(file) = &file {
                    self.remember(file, &sent);
                }
                let number = sent.get("message_id").and_then(Value::as_i64);
                let named = |name: &str| params.get(name).and_then(Value::as_i64);
                let forum = named("message_thread_id").map(Topic::Forum);
                let topic = forum.or_else(|| named("direct_messages_topic_id").map(Topic::Direct));
                if let (Some(number), Some(topic)) = (number, topic) {
                    intake.recent.note_topic(chat, number, topic);
                }
                Outcome::Sent { external_id: number.map(|number| format!("{chat}:{number}")) }
            }
            // Telegram keeps names of files for as long as it likes: then the bytes go up again.
            Answer::Refused(refused) if refused.status == 400 && known.is_some() && refused.words.contains("file") => {
                if let Some(file) = &file {
                    self.uploaded().remove(&file.key);
                }
                let reason = format!("Telegram answered 400: {}; the file goes up again", refused.words);
                Outcome::RetryAfter { after: Some(Duration::ZERO), scope: Scope::Message, reason }
            }
            Answer::Refused(refused)
                if refused.status == 400 && file.is_some() && method != DOCUMENT && is_about_medium(&refused.words) =>
            {
                if let Some(file) = &file {
                    self.goes_plain(file);
                }
                let reason = format!("Telegram answered 400: {}; the file goes as a document", refused.words);
                Outcome::RetryAfter { after: Some(Duration::ZERO), scope: Scope::Message, reason }
            }
            Answer::Refused(refused) => self.understood(intake, refused, frozen).await,
            Answer::NotReached(what) => unreached(&what),
            Answer::Broken(what) => Outcome::Uncertain { reason: format!("Telegram: {what}") },
        }
    }

    /// Replaces the text and the buttons of a message.
    pub(crate) async fn edit(&self, intake: &Intake, dispatch: &Dispatch<'_>, external_id: &str) -> Outcome {
        let FrozenPart(request) = dispatch.part;
        let Some((chat, message)) = numbers(external_id) else { return no_message(external_id) };
        let mut params = request.get("params").cloned().unwrap_or_default();
        match params.as_object_mut() {
            Some(params) if params.contains_key("text") => {
                params.remove("message_thread_id");
                params.remove("direct_messages_topic_id");
                params.remove("reply_parameters");
                params.insert("chat_id".into(), chat.into());
                params.insert("message_id".into(), message.into());
            }
            _ => {
                let reason = "Telegram changes the text of a message, and this part is a file".to_owned();
                return Outcome::Failed { scope: Scope::Message, reason };
            }
        }
        let answer = intake.api.call("editMessageText", &params, TIMEOUT).await;
        self.again(intake, answer, chat, external_id, "message is not modified").await
    }

    /// Takes a message back.
    pub(crate) async fn withdraw(&self, intake: &Intake, external_id: &str) -> Outcome {
        let found = numbers(external_id).and_then(|(chat, number)| Some((chat, i32::try_from(number).ok()?)));
        let Some((chat, message)) = found else { return no_message(external_id) };
        let answer = intake.api.ask(DeleteMessage::new(ChatId(chat), MessageId(message))).await;
        self.again(intake, answer, chat, external_id, "message to delete not found").await
    }

    /// What became of something that does no harm twice.
    async fn again(&self, intake: &Intake, answer: Answer, chat: i64, external_id: &str, done: &str) -> Outcome {
        let sent = || Outcome::Sent { external_id: Some(external_id.to_owned()) };
        match answer {
            Answer::Done(_) => sent(),
            Answer::Refused(refused) if refused.words.contains(done) => sent(),
            Answer::Refused(refused) if refused.status < 500 => self.understood(intake, refused, chat).await,
            Answer::NotReached(what) => unreached(&what),
            other => Outcome::RetryAfter { after: None, scope: Scope::Message, reason: other.in_words() },
        }
    }

    async fn understood(&self, intake: &Intake, refused: Refused, chat: i64) -> Outcome {
        let Refused { status, words, retry_after, migrated_to } = refused;
        let reason = format!("Telegram answered {status}: {words}");
        if let Some(to) = migrated_to {
            intake.moves.overheard(chat, to).await;
            return Outcome::RetryAfter { after: Some(Duration::ZERO), scope: Scope::Message, reason };
        }
        match status {
            429 => {
                let scope = self.reach(chat, retry_after.unwrap_or(Duration::from_secs(1)));
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

    fn goes_plain(&self, file: &File) {
        let mut plain = self.plain();
        if plain.len() >= MOST_UPLOADED {
            plain.clear();
        }
        plain.insert(file.key.clone());
    }

    /// Of the sizes of a picture the largest comes last.
    fn remember(&self, file: &File, sent: &Value) {
        let kept = sent.get(&file.field);
        let kept = kept.and_then(|kept| kept.as_array().map_or(Some(kept), |sizes| sizes.last()));
        if let Some(id) = kept.and_then(|kept| kept.get("file_id")).and_then(Value::as_str) {
            let mut uploaded = self.uploaded();
            if uploaded.len() >= MOST_UPLOADED {
                uploaded.clear();
            }
            uploaded.insert(file.key.clone(), id.to_owned());
        }
    }
}

/// A refusal that is about what the file is, not about the chat: a picture that is too long, a sound that is no voice, somebody who
/// takes no voices. As a document each of them is taken. The words are the platform's, of its own server
/// (<https://github.com/tdlib/telegram-bot-api>) and of those behind it.
fn is_about_medium(words: &str) -> bool {
    const ABOUT: [&str; 7] = [
        "PHOTO_INVALID_DIMENSIONS",
        "PHOTO_EXT_INVALID",
        "PHOTO_SAVE_FILE_INVALID",
        "IMAGE_PROCESS_FAILED",
        "VOICE_MESSAGES_FORBIDDEN",
        "VIDEO_CONTENT_TYPE_INVALID",
        "type of file mismatch",
    ];
    ABOUT.iter().any(|about| words.contains(about))
}

fn unreached(what: &str) -> Outcome {
    let reason = format!("Telegram cannot be reached: {what}");
    Outcome::RetryAfter { after: None, scope: Scope::Channel, reason }
}

fn no_message(external_id: &str) -> Outcome {
    let reason = format!("{external_id} is no message of Telegram's");
    Outcome::Failed { scope: Scope::Message, reason }
}

/// The parts of a message: what `frontdesk render telegram` shows, addressed.
pub(crate) fn render(message: &Outgoing, previews: Previews) -> Vec<FrozenPart> {
    let wanted = Wanted {
        content: message.message.content.clone(),
        reply_to: None,
        buttons: message.message.buttons.iter().map(button).collect(),
        attachments: Vec::new(),
    };
    let answered_in = message.reply_to_external.as_ref().and_then(|id| numbers(id.as_str()));
    let answered = answered_in.and_then(|(_, number)| render::answered(&number.to_string()));
    let files = message.message.attachments.iter().map(file).collect();
    let mut requests = render::with_files(&wanted, files, previews).requests;
    if let Some(first) = requests.first_mut()
        && let Some(answered) = answered
        && let Some(params) = first.get_mut("params").and_then(Value::as_object_mut)
    {
        params.insert("reply_parameters".into(), answered);
    }
    if requests.is_empty() {
        // There is nothing to be seen in it. Telegram says so, and the message is shown as refused.
        requests.push(json!({ "method": "sendMessage", "params": { "text": message.message.content.source(), "link_preview_options": { "is_disabled": true } } }));
    }
    let Place { chat, topic } = Place::of(&message.thread);
    if let (Some((there, _)), Some(first)) = (answered_in, requests.first_mut().and_then(Value::as_object_mut))
        && there != chat
    {
        first.insert("answers_in".into(), there.into());
    }
    for request in &mut requests {
        if let Some(params) = request.get_mut("params").and_then(Value::as_object_mut) {
            params.insert("chat_id".into(), chat.into());
            params.extend(topic.map(Topic::param).map(|(name, topic)| (name.to_owned(), topic.into())));
        }
    }
    requests.into_iter().map(FrozenPart).collect()
}

/// A message's chat and number, of what we call it.
fn numbers(external: &str) -> Option<(i64, i64)> {
    let (chat, number) = external.split_once(':')?;
    Some((chat.parse().ok()?, number.parse().ok()?))
}

fn button(button: &Button) -> WantedButton {
    WantedButton { id: button.id.clone(), label: button.label.clone() }
}

/// A file as a part of its own. Its bytes are read when it is sent.
fn file(attachment: &Attachment) -> Value {
    let stored = attachment.stored();
    let media_type = stored.map_or("", |stored| stored.media_type.as_str());
    let fits = stored.is_none_or(|stored| stored.size <= MAX_PHOTO);
    let (method, field) = match render::sent_as(media_type) {
        ("sendPhoto", _) if !fits => ("sendDocument", "document"),
        way => way,
    };
    let file = json!({
        "id": attachment.id,
        "field": field,
        "name": attachment.name,
        "media_type": media_type,
        "size": stored.map(|stored| stored.size),
        "sha256": stored.map(|stored| stored.sha256.to_string()),
    });
    json!({ "method": method, "params": {}, "file": file })
}

/// The file of a part.
struct File {
    id: String,
    field: String,
    name: String,
    media_type: String,
    size: u64,
    /// What it is remembered by: Telegram's names are good for the way that a file was sent.
    key: String,
}

impl File {
    fn of(file: &Value) -> Option<Self> {
        let text = |name: &str| file.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = format!("{} {}", text("field"), text("sha256"));
        Some(Self {
            id: text("id"),
            field: text("field"),
            name: text("name"),
            media_type: text("media_type"),
            size: file.get("size").and_then(Value::as_u64).unwrap_or_default(),
            key,
        })
    }

    /// It is sent for what it holds, not for what it shows.
    fn becomes_document(&mut self) {
        if let Some((_, sha256)) = self.key.split_once(' ') {
            self.key = format!("document {sha256}");
        }
        "document".clone_into(&mut self.field);
    }

    /// Its bytes, read here.
    async fn upload(&self, api: &Api, links: &[Link]) -> Result<Upload, Outcome> {
        let refused = |reason: String| Outcome::Failed { scope: Scope::Message, reason };
        let Some(link) = links.iter().find(|link| link.id.to_string() == self.id) else {
            return Err(refused("the file is not here: it could not be had, or was erased".to_owned()));
        };
        if self.size > MAX_FILE {
            return Err(refused(format!(
                "the file is larger than the {} MB that a bot may send",
                MAX_FILE / 1_000_000
            )));
        }
        if self.size == 0 {
            return Err(refused("the file is empty, and Telegram takes none that is".to_owned()));
        }
        let bytes = api.read(&link.url, MAX_FILE, READ).await.map_err(|what| Outcome::RetryAfter {
            after: None,
            scope: Scope::Message,
            reason: format!("the file cannot be read at this daemon's own address: {what}; is public_url right?"),
        })?;
        let (field, name, media_type) = (self.field.clone(), self.name.clone(), self.media_type.clone());
        Ok(Upload { field, name, media_type, bytes })
    }
}

/// Shows that an answer is being written, for five seconds.
pub(crate) async fn typing(intake: &Intake, thread: &ThreadId) {
    let Place { chat, topic } = Place::of(thread);
    let mut action = SendChatAction::new(ChatId(intake.moves.now_called(chat)), ChatAction::Typing);
    action.message_thread_id = match topic {
        Some(Topic::Forum(topic)) => i32::try_from(topic).ok().map(|topic| TopicId(MessageId(topic))),
        // There is no parameter for it: it would be shown to nobody or to the wrong one.
        Some(Topic::Direct(_)) => return,
        None => None,
    };
    // Nothing depends on it.
    let _ = tokio::time::timeout(TYPING, intake.api.ask(action)).await;
}
