//! Telegram's Bot API at the socket, with the people and chats behind it in the test's hands.
//!
//! References: <https://core.telegram.org/bots/api>, and for the words of refusals the platform's own server,
//! <https://github.com/tdlib/telegram-bot-api>. One bot, everything in memory. Where the platform quietly repairs what a bot
//! sent (overlapping entities) the fake refuses, and it takes no `parse_mode`; webhooks go to plain `http` addresses.
//!
//! ```no_run
//! # use frontdesk_testkit::bot_api::BotApi;
//! # async fn example() {
//! let telegram = BotApi::start().await;
//! let ada = telegram.person("Ada", "en");
//! telegram.say(ada, ada, "hello");
//! // The program under test talks to `telegram.url()` with `telegram.token()`.
//! let sent = telegram.wait_for("sendMessage", 1).await;
//! # }
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // what a test scripted wrongly fails the test

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

pub use request::Upload;

use crate::far_end::{FarEnd, Received, Reply};
use methods::Refused;
use request::Params;
use state::{Standing, State};

mod methods;
mod request;
mod state;
mod text;
mod webhook;

const TOKEN: &str = "123456789:AAfakefakefakefakefakefakefakefakefa";
const BOT: i64 = 123_456_789;

/// One request of the bot, with its answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// As the path named it.
    pub method: String,
    /// As they came: texts where they came in a form, values where they came as JSON.
    pub params: Map<String, Value>,
    /// Uploads by the name of their part.
    pub files: HashMap<String, Upload>,
    /// When the request was complete.
    pub at: Instant,
    /// The request itself.
    pub raw: Received,
    /// The status of the answer that was made, even where a fault kept it back.
    pub status: u16,
    /// The `result`, or null.
    pub result: Value,
}

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refused with this status, nothing done.
    Status(u16),
    /// Refused with 429 and so many seconds, nothing done.
    RetryAfter(i64),
    /// The connection is reset, nothing done.
    Reset,
    /// Never answered, nothing done.
    Hang,
    /// Done, and then the connection is reset.
    ResetAfterDone,
    /// Done, and never answered.
    HangAfterDone,
}

/// How much the platform takes before it answers 429.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Messages of the bot.
    pub per_second: usize,
    /// Messages to one chat.
    pub per_chat_and_second: usize,
    /// Messages to one group.
    pub per_group_and_minute: usize,
    /// The seconds that the answer says.
    pub retry_after: i64,
}

impl Default for Flood {
    /// What <https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this> says.
    fn default() -> Self {
        Self { per_second: 30, per_chat_and_second: 1, per_group_and_minute: 20, retry_after: 1 }
    }
}

pub(crate) struct Inner {
    state: Mutex<State>,
    /// Something for who polls or delivers.
    news: Notify,
    called: Notify,
}

/// A server on a port of its own; gone when it is dropped.
pub struct BotApi {
    server: FarEnd,
    inner: Arc<Inner>,
}

impl Drop for BotApi {
    fn drop(&mut self) {
        // Workers of a webhook end by this.
        if let Ok(mut state) = self.inner.state.lock() {
            state.hook_generation += 1;
        }
        self.inner.news.notify_waiters();
    }
}

impl BotApi {
    /// With no chats, no limits and no faults.
    pub async fn start() -> Self {
        let state = Mutex::new(State::new(BOT));
        let inner = Arc::new(Inner { state, news: Notify::new(), called: Notify::new() });
        let own = Arc::clone(&inner);
        let server = FarEnd::start_async(move |request| answer(Arc::clone(&own), request)).await;
        Self { server, inner }
    }

    /// `http://127.0.0.1:port`, to stand where `https://api.telegram.org` stands.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url().trim_end_matches('/').to_owned()
    }

    /// The only one that is taken.
    #[must_use]
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let done = act(&mut self.inner.state.lock().unwrap());
        self.inner.news.notify_waiters();
        done
    }

    /// A person with a private chat of the same number.
    pub fn person(&self, first_name: &str, language: &str) -> i64 {
        self.with(|state| {
            let id = 5_000_000_000 + state.fresh();
            let user = json!({ "id": id, "is_bot": false, "first_name": first_name, "language_code": language });
            state.users.insert(id, user);
            state.add_chat(json!({ "id": id, "first_name": first_name, "type": "private" }))
        })
    }

    /// A basic group.
    pub fn group(&self, title: &str) -> i64 {
        self.with(|state| {
            let id = -state.fresh();
            state.add_chat(json!({ "id": id, "title": title, "type": "group" }))
        })
    }

    /// A supergroup; a forum has topics.
    pub fn supergroup(&self, title: &str, kind: Supergroup) -> i64 {
        self.with(|state| {
            let id = -1_001_000_000_000 - state.fresh();
            let mut about = json!({ "id": id, "title": title, "type": "supergroup" });
            if kind == Supergroup::Forum {
                about["is_forum"] = json!(true);
            }
            state.add_chat(about)
        })
    }

    /// A message with this content; returns its number.
    pub fn post(&self, chat: i64, user: i64, content: Value) -> i64 {
        self.with(|state| {
            let from = state.users[&user].clone();
            let message = state.keep(chat, &from, content.as_object().expect("an object"));
            let number = message["message_id"].as_i64().unwrap();
            state.push("message", message);
            number
        })
    }

    /// A text; a command at its beginning is marked as one.
    pub fn say(&self, chat: i64, user: i64, text: &str) -> i64 {
        let mut content = json!({ "text": text });
        if text.starts_with('/') {
            let length = text.split_whitespace().next().unwrap_or_default().encode_utf16().count();
            content["entities"] = json!([{ "type": "bot_command", "offset": 0, "length": length }]);
        }
        self.post(chat, user, content)
    }

    /// A reply to a message of the chat.
    pub fn reply(&self, chat: i64, user: i64, to: i64, text: &str) -> i64 {
        let original = self.message(chat, to).expect("a message to reply to");
        self.post(chat, user, json!({ "text": text, "reply_to_message": original }))
    }

    /// A message with a file of a kind: `photo`, `document`, `voice`, `video`, `audio`, `animation`, `sticker`, `video_note`.
    pub fn send_file(&self, chat: i64, user: i64, kind: &'static str, name: &str, bytes: &[u8], caption: &str) -> i64 {
        let content = self.file_content(kind, name, bytes, caption);
        self.post(chat, user, content)
    }

    /// Photos that belong together: one message each, under one group.
    pub fn album(&self, chat: i64, user: i64, photos: &[&[u8]], caption: &str) -> Vec<i64> {
        let group = self.with(|state| state.fresh()).to_string();
        let post = |(at, bytes): (usize, &&[u8])| {
            let mut content = self.file_content("photo", "photo.jpg", bytes, if at == 0 { caption } else { "" });
            content["media_group_id"] = json!(group);
            self.post(chat, user, content)
        };
        photos.iter().enumerate().map(post).collect()
    }

    fn file_content(&self, kind: &'static str, name: &str, bytes: &[u8], caption: &str) -> Value {
        self.with(|state| {
            let id = state.add_file(kind, name, "", Bytes::copy_from_slice(bytes));
            let mut content = json!({ kind: methods::described(state, kind, &id, name) });
            if kind == "animation" {
                content["document"] = methods::described(state, "document", &id, name);
            }
            if !caption.is_empty() {
                content["caption"] = json!(caption);
            }
            content
        })
    }

    /// The text of a message becomes another.
    pub fn edit(&self, chat: i64, message: i64, text: &str) {
        self.with(|state| {
            let kept = state.chats.get_mut(&chat).unwrap().messages.get_mut(&message).expect("a message to edit");
            kept["text"] = json!(text);
            kept["edit_date"] = json!(state::now());
            let edited = kept.clone();
            state.push("edited_message", edited);
        });
    }

    /// A reaction in place of what was there; only told when `message_reaction` is among the allowed updates.
    pub fn react(&self, chat: i64, user: i64, message: i64, emoji: &str) {
        self.with(|state| {
            let update = json!({
                "chat": state.chats[&chat].about, "message_id": message, "user": state.users[&user],
                "date": state::now(), "old_reaction": [], "new_reaction": [{ "type": "emoji", "emoji": emoji }],
            });
            state.push("message_reaction", update);
        });
    }

    /// The button with this label of a message of the bot; returns the query's id.
    pub fn press(&self, chat: i64, user: i64, message: i64, label: &str) -> String {
        self.with(|state| {
            let shown = state.chats[&chat].messages[&message].clone();
            let rows = shown["reply_markup"]["inline_keyboard"].as_array().expect("buttons").clone();
            let mut buttons = rows.iter().flat_map(|row| row.as_array().into_iter().flatten());
            let button = buttons.find(|button| button["text"] == label).expect("a button of this label");
            let id = format!("4382{}", state.fresh());
            state.callbacks.insert(id.clone(), Instant::now());
            let query = json!({
                "id": id, "from": state.users[&user], "message": shown, "chat_instance": "-3458",
                "data": button["callback_data"],
            });
            state.push("callback_query", query);
            id
        })
    }

    /// How long after it a press can be answered.
    pub fn callbacks_live(&self, span: Duration) {
        self.with(|state| state.callback_life = span);
    }

    /// The person blocks the bot, or the group throws it out.
    pub fn shut(&self, chat: i64, user: i64) {
        self.stand(chat, user, Standing::Shut, "member", "kicked");
    }

    /// It is let in again.
    pub fn open(&self, chat: i64, user: i64) {
        self.stand(chat, user, Standing::Member, "kicked", "member");
    }

    fn stand(&self, chat: i64, user: i64, standing: Standing, old: &str, new: &str) {
        self.with(|state| {
            state.chats.get_mut(&chat).unwrap().standing = standing;
            let member = |status: &str| {
                let mut member = json!({ "user": state.bot(), "status": status });
                if status == "kicked" {
                    member["until_date"] = json!(0);
                }
                member
            };
            let update = json!({
                "chat": state.chats[&chat].about, "from": state.users[&user], "date": state::now(),
                "old_chat_member": member(old), "new_chat_member": member(new),
            });
            state.push("my_chat_member", update);
        });
    }

    /// A group becomes a supergroup, told in both; returns the new number.
    pub fn migrate(&self, group: i64, user: i64) -> i64 {
        let title = self.with(|state| state.chats[&group].about["title"].as_str().unwrap_or_default().to_owned());
        let new = self.supergroup(&title, Supergroup::Plain);
        self.with(|state| state.chats.get_mut(&group).unwrap().standing = Standing::Migrated(new));
        self.post(group, user, json!({ "migrate_to_chat_id": new }));
        self.post(new, user, json!({ "migrate_from_chat_id": group }));
        new
    }

    /// Any update: its kind and content. `None` when it is not among the allowed.
    pub fn push(&self, kind: &str, content: Value) -> Option<i64> {
        self.with(|state| state.push(kind, content))
    }

    /// How many updates are not confirmed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.with(|state| state.updates.len())
    }

    /// A message as it stands now.
    #[must_use]
    pub fn message(&self, chat: i64, message: i64) -> Option<Value> {
        self.with(|state| state.chats.get(&chat)?.messages.get(&message).cloned())
    }

    /// The next request of this method fails so; `*` is any but getUpdates. Several stand in line.
    pub fn fault(&self, method: &str, fault: Fault) {
        self.with(|state| state.faults.push_back((method.to_lowercase(), fault)));
    }

    /// Every answer comes so much later, but that of getUpdates.
    pub fn latency(&self, latency: Duration) {
        self.with(|state| state.latency = latency);
    }

    /// Limits, or none.
    pub fn flood(&self, flood: Option<Flood>) {
        self.with(|state| state.flood = flood);
    }

    /// How long after a refused delivery the webhook is tried again; a tenth of a second unless told.
    pub fn hook_retry(&self, span: Duration) {
        self.with(|state| state.hook_retry = span);
    }

    /// All requests in order, with those that were refused.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.with(|state| state.calls.clone())
    }

    /// How many requests of a method came.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        let state = self.inner.state.lock().unwrap();
        state.counts.get(&method.to_lowercase()).copied().unwrap_or_default()
    }

    /// What the bot sent and the platform took, in order: the messages as they were then.
    #[must_use]
    pub fn sent(&self) -> Vec<Value> {
        let taken = |call: &Call| {
            let sends = call.status == 200 && call.method.to_lowercase().starts_with("send");
            match &call.result {
                Value::Array(album) if sends => album.clone(),
                message @ Value::Object(_) if sends => vec![message.clone()],
                _ => Vec::new(),
            }
        };
        self.with(|state| state.calls.iter().flat_map(taken).collect())
    }

    /// Waits for so many requests of a method; panics after half a minute.
    pub async fn wait_for(&self, method: &str, count: usize) -> Vec<Call> {
        let waiting = async {
            loop {
                let called = self.inner.called.notified();
                tokio::pin!(called);
                called.as_mut().enable();
                if self.count(method) >= count {
                    return;
                }
                called.await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(in_time.is_ok(), "not in time: {count} requests of {method} (have {})", self.count(method));
        self.calls().into_iter().filter(|call| call.method.eq_ignore_ascii_case(method)).collect()
    }
}

/// The two kinds of supergroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supergroup {
    /// One thread.
    Plain,
    /// With topics.
    Forum,
}

async fn answer(inner: Arc<Inner>, request: Received) -> Reply {
    let path = request.path.split('?').next().unwrap_or_default().to_owned();
    if let Some(rest) = path.strip_prefix("/file/bot") {
        return match rest.split_once('/') {
            Some((TOKEN, path)) => download(&inner, path),
            _ => refusal(&Refused::new(401, "Unauthorized")),
        };
    }
    let Some((token, method)) = path.strip_prefix("/bot").and_then(|rest| rest.split_once('/')) else {
        return refusal(&Refused::new(404, "Not Found"));
    };
    if token != TOKEN {
        return refusal(&Refused::new(401, "Unauthorized"));
    }
    let Some(params) = Params::of(&request) else {
        return refusal(&Refused::bad("can't parse the request"));
    };
    let name = method.to_lowercase();
    let (fault, latency) = {
        let mut state = inner.state.lock().unwrap();
        let fits = |wanted: &str| wanted == name || (wanted == "*" && name != "getupdates");
        let at = state.faults.iter().position(|(wanted, _)| fits(wanted));
        let fault = at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault);
        (fault, if name == "getupdates" { Duration::ZERO } else { state.latency })
    };
    let result = match fault {
        Some(Fault::Status(code)) => Err(Refused::new(code, "Bad Gateway")),
        Some(Fault::RetryAfter(seconds)) => Err(Refused::flood(seconds)),
        Some(Fault::Reset | Fault::Hang) => Err(Refused::new(0, "not answered")),
        _ => methods::run(&inner, &name, &params).await,
    };
    let call = Call {
        method: method.to_owned(),
        params: params.values,
        files: params.files,
        at: request.at,
        raw: request,
        status: result.as_ref().map_or_else(|refused| refused.code, |_| 200),
        result: result.as_ref().ok().cloned().unwrap_or_default(),
    };
    {
        let mut state = inner.state.lock().unwrap();
        *state.counts.entry(name).or_default() += 1;
        state.calls.push(call);
    }
    inner.called.notify_waiters();
    let reply = match fault {
        Some(Fault::Reset | Fault::ResetAfterDone) => Reply::reset(),
        Some(Fault::Hang | Fault::HangAfterDone) => Reply::hang(),
        _ => match result {
            Ok(result) => Reply::json(200, json!({ "ok": true, "result": result })),
            Err(refused) => refusal(&refused),
        },
    };
    reply.after(latency)
}

fn refusal(refused: &Refused) -> Reply {
    let mut body = json!({ "ok": false, "error_code": refused.code, "description": refused.description });
    if let Some(parameters) = &refused.parameters {
        body["parameters"] = parameters.clone();
    }
    Reply::json(refused.code, body)
}

fn download(inner: &Inner, path: &str) -> Reply {
    let state = inner.state.lock().unwrap();
    match state.files.values().find(|file| file.path() == path) {
        Some(file) => Reply::bytes(200, file.bytes.clone()),
        None => refusal(&Refused::new(404, "Not Found")),
    }
}

#[cfg(test)]
mod tests;
