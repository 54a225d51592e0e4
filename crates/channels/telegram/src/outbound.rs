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
//! | 5xx, and anything that breaks after that or takes too long | perhaps delivered: the Bot API has no key to ask again with |

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use frontdesk_model::{Budget, Clock, FrozenPart, Outcome, Outgoing, Rate, Scope, ThreadId, Wanted};
use serde_json::{Value, json};

use crate::{
    api::{Answer, Api, Refused},
    render,
};

/// Below the 25 seconds that an adapter has for one send.
const TIMEOUT: Duration = Duration::from_secs(20);
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
        reply_to: message.reply_to_external.as_ref().and_then(|id| message_number(id.as_str())),
        buttons: Vec::new(),
        attachments: Vec::new(),
    };
    let mut requests = render::render(&wanted).requests;
    if requests.is_empty() {
        // There is nothing to be seen in it. Telegram says so, and the message is shown as refused.
        requests.push(json!({ "method": "sendMessage", "params": { "text": message.message.content.source() } }));
    }
    let (chat, topic) = place(&message.thread);
    for request in &mut requests {
        if let Some(params) = request.get_mut("params").and_then(Value::as_object_mut) {
            params.insert("chat_id".into(), chat.into());
            params.extend(topic.map(|topic| ("message_thread_id".to_owned(), topic.into())));
            params.insert("link_preview_options".into(), json!({ "is_disabled": true }));
        }
    }
    requests.into_iter().map(FrozenPart).collect()
}

/// What Telegram calls a message within its chat, of what we call it.
fn message_number(external: &str) -> Option<String> {
    external.split(':').nth(1).map(str::to_owned)
}

/// A thread's chat and topic. Threads are named by us; one that is not so belongs to no chat, and Telegram says so.
fn place(thread: &ThreadId) -> (i64, Option<i64>) {
    let (chat, topic) = match thread.as_str().split_once('/') {
        Some((chat, topic)) => (chat, topic.parse().ok()),
        None => (thread.as_str(), None),
    };
    (chat.parse().unwrap_or_default(), topic)
}

pub(crate) async fn send(api: &Api, floods: &Floods, part: &FrozenPart) -> Outcome {
    let FrozenPart(request) = part;
    let method = request.get("method").and_then(Value::as_str).unwrap_or("sendMessage");
    let mut params = request.get("params").cloned().unwrap_or_default();
    let frozen = params.get("chat_id").and_then(Value::as_i64).unwrap_or_default();
    let chat = floods.now_called(frozen);
    if chat != frozen
        && let Some(params) = params.as_object_mut()
    {
        params.insert("chat_id".into(), chat.into());
    }
    match api.call(method, &params, TIMEOUT).await {
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
