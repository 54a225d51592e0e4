//! What is taken of an update, by the same reading that `frontdesk decode telegram` shows: messages to the bot, and what else
//! happened to one.
//!
//! | update | becomes |
//! |---|---|
//! | `message` in private; in a group, if it is meant for the bot | a message; its command `/start x` brings the origin `x` |
//! | `edited_message` | [`Happening::Edited`] |
//! | `message_reaction` | [`Happening::Reacted`]: what came and what went |
//! | `callback_query` | [`Happening::Pressed`], answered after the commit |
//! | `my_chat_member` | [`Happening::Told`]: blocked, let in again, added, removed |
//! | `message` with `migrate_to_chat_id`, `migrate_from_chat_id` | [`What::Moved`] |
//! | what cannot be read | [`Happening::Unreadable`], as it came |
//! | channel posts, notes of the service, all other kinds | nothing, with the reason |
//!
//! Ids are made of what the platform numbers: the chat and the message, and for what happens to one the moment and a hash of what it
//! says. Never the update's number, which may begin anew.

use std::fmt::Write as _;

use frontdesk_model::{
    Content, DecodedSender, Envelope, ExternalId, FileAt, Happening, Identity, Occurrence, RemoteFile, Sender,
    ThreadId, Timestamp, Trust, UniqueWithin,
};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    KIND,
    config::Respond,
    decode,
    me::Me,
    meant::is_meant,
    recent::Recent,
    update::{self, Message, Update},
};

/// What becomes of an update.
pub(crate) struct Taken {
    pub(crate) what: What,
    /// The press that has to be answered, whatever it is.
    pub(crate) press: Option<String>,
}

/// What is handed in, if anything is.
pub(crate) enum What {
    Message(Box<Envelope>),
    Happening(Box<Occurrence>),
    /// A group has another number from now on, as this tells its conversation.
    Moved {
        old: i64,
        new: i64,
        told: Box<Occurrence>,
    },
    /// It is recognised and not used.
    Nothing(&'static str),
}

/// What of a message the reading for people does not show.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Further {
    media_group_id: Option<String>,
    quote: Option<Quote>,
    forward_origin: Option<Forwarded>,
    is_automatic_forward: bool,
    migrate_to_chat_id: Option<i64>,
    migrate_from_chat_id: Option<i64>,
}

#[derive(Deserialize)]
struct Quote {
    text: String,
}

/// <https://core.telegram.org/bots/api#messageorigin>
#[derive(Default, Deserialize)]
#[serde(default)]
struct Forwarded {
    sender_user: Option<Named>,
    sender_user_name: Option<String>,
    sender_chat: Option<Named>,
    chat: Option<Named>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    first_name: String,
    last_name: String,
    title: String,
    username: String,
}

/// <https://core.telegram.org/bots/api#chatmemberupdated>
#[derive(Deserialize)]
struct Membership {
    chat: update::Chat,
    from: update::User,
    #[serde(default)]
    date: i64,
    old_chat_member: Standing,
    new_chat_member: Standing,
}

#[derive(Deserialize)]
struct Standing {
    status: String,
}

pub(crate) fn read(raw: &Value, me: &Me, respond: Respond, recent: &Recent) -> Taken {
    let press = raw.pointer("/callback_query/id").and_then(Value::as_str).map(str::to_owned);
    let what = what(raw, me, respond, recent)
        .unwrap_or_else(|reason| What::Happening(Box::new(unreadable(raw.to_string(), reason))));
    Taken { what, press }
}

/// Notes an album that is meant for the bot. Looked at before its messages are, since any of them may be the one that says so.
pub(crate) fn note_album(raw: &Value, me: &Me, respond: Respond, recent: &Recent) {
    let Some(album) = raw.pointer("/message/media_group_id").and_then(Value::as_str) else { return };
    let said = Update::deserialize(raw).ok().and_then(|update| update.message);
    if let Some(said) = said.filter(|said| is_meant(said, me, respond)) {
        recent.note_album(said.chat.id, album);
    }
}

/// What could not be read, as it came.
pub(crate) fn unreadable(raw: String, reason: impl Into<String>) -> Occurrence {
    Occurrence {
        thread: named("unreadable"),
        external_id: named(&format!("unreadable:{}", hash(&[&raw]))),
        unique_within: UniqueWithin::Account,
        sender: None,
        at: None,
        what: Happening::Unreadable { raw, reason: reason.into() },
    }
}

fn what(raw: &Value, me: &Me, respond: Respond, recent: &Recent) -> Result<What, String> {
    let form =
        |error: serde_json::Error| format!("the update is not of the Bot API's form: {}", without_contents(&error));
    if let Some(member) = raw.get("my_chat_member") {
        return Ok(membership(Membership::deserialize(member).map_err(form)?));
    }
    let update = Update::deserialize(raw).map_err(form)?;
    let further = |name: &str| raw.get(name).and_then(|said| Further::deserialize(said).ok()).unwrap_or_default();
    Ok(match update {
        Update { message: Some(said), .. } => message(&said, further("message"), me, respond, recent),
        Update { edited_message: Some(said), .. } => edited(&said),
        Update { callback_query: Some(_), .. } => pressed(raw, recent),
        Update { message_reaction: Some(_), .. } => reacted(raw, recent),
        _ => What::Nothing("updates of this sort are not used"),
    })
}

fn message(said: &Message, further: Further, me: &Me, respond: Respond, recent: &Recent) -> What {
    let chat = said.chat.id;
    if let Some((old, new)) = (further.migrate_to_chat_id.map(|new| (chat, new)))
        .or_else(|| further.migrate_from_chat_id.map(|old| (old, chat)))
    {
        return What::Moved { old, new, told: Box::new(moved(old, new, said.date)) };
    }
    if said.chat.kind == "channel" {
        return What::Nothing("it is a post in a channel");
    }
    if further.is_automatic_forward {
        return What::Nothing("it is a channel's post, passed on to its group by Telegram");
    }
    if said.from.as_ref().is_some_and(|from| from.id == me.id) {
        return What::Nothing("it is the bot's own");
    }
    let in_album = || further.media_group_id.as_deref().is_some_and(|album| recent.knows_album(chat, album));
    if !said.chat.is_private() && !is_meant(said, me, respond) && !in_album() {
        return What::Nothing("it is said in a group, and not to the bot");
    }
    let decoded = decode::message(said, "message.created");
    if decoded.what == "ignored" {
        return What::Nothing("it has neither text nor files");
    }
    let Some(sender) = decoded.sender.as_ref().and_then(|sender| author(sender, locale(said.from.as_ref()))) else {
        return What::Nothing("nobody is named as its author");
    };
    if let Some(topic) = topic(said) {
        recent.note_topic(chat, said.message_id, topic);
    }
    What::Message(Box::new(Envelope {
        thread: thread(said.chat.id, topic(said)),
        external_id: message_id(chat, said.message_id),
        unique_within: UniqueWithin::Account,
        sender,
        content: Content::Markdown(decoded.markdown.clone().unwrap_or_default()),
        attachments: files(&decoded),
        subject: None,
        auto_generated: decoded.auto_generated,
        sent_at: decoded.sent_at,
        reply_to: answered(said).map(|answered| message_id(chat, answered.message_id)),
        quote: further.quote.map(|quote| quote.text),
        forwarded_from: further.forward_origin.and_then(Forwarded::name),
        album: further.media_group_id,
        origin: origin(said),
    }))
}

fn edited(said: &Message) -> What {
    if said.chat.kind == "channel" {
        return What::Nothing("it is a post in a channel");
    }
    let decoded = decode::message(said, "message.edited");
    if decoded.what == "ignored" {
        return What::Nothing("it has neither text nor files");
    }
    let content = decoded.markdown.clone().unwrap_or_default();
    let files = files(&decoded);
    let mut says = content.clone();
    for file in &decoded.attachments {
        says.push_str(file.file_id.as_deref().unwrap_or_default());
    }
    let chat = said.chat.id;
    let at = said.edit_date.unwrap_or(said.date);
    What::Happening(Box::new(Occurrence {
        thread: thread(chat, topic(said)),
        // Of two changes in one second both count.
        external_id: named(&format!("{chat}:{}:edited:{at}:{}", said.message_id, short(&[&says]))),
        unique_within: UniqueWithin::Account,
        sender: decoded.sender.as_ref().and_then(|sender| author(sender, locale(said.from.as_ref()))),
        at: moment(at),
        what: Happening::Edited {
            message: message_id(chat, said.message_id),
            content: Content::Markdown(content),
            attachments: files,
        },
    }))
}

fn pressed(raw: &Value, recent: &Recent) -> What {
    let query = raw.get("callback_query").unwrap_or(&Value::Null);
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let (Some(id), Some(button)) = (text(query, "id"), text(query, "data")) else {
        return What::Nothing("it is a press that says nothing");
    };
    let said = query.get("message").unwrap_or(&Value::Null);
    let place = said.pointer("/chat/id").and_then(Value::as_i64).zip(said.get("message_id").and_then(Value::as_i64));
    let Some((chat, number)) = place else { return What::Nothing("it is a press under a message in another chat") };
    if said.pointer("/chat/type").and_then(Value::as_str) == Some("channel") {
        return What::Nothing("it is a press in a channel");
    }
    let in_topic = said.get("is_topic_message").and_then(Value::as_bool) == Some(true);
    let topic = said.get("message_thread_id").and_then(Value::as_i64).filter(|_| in_topic);
    let topic = topic.or_else(|| recent.topic(chat, number));
    let rows = said.pointer("/reply_markup/inline_keyboard").and_then(Value::as_array);
    let mut keys = rows.into_iter().flatten().filter_map(Value::as_array).flatten();
    let label = keys.find(|key| key.get("callback_data").and_then(Value::as_str) == Some(button.as_str()));
    What::Happening(Box::new(Occurrence {
        thread: thread(chat, topic),
        external_id: named(&format!("press:{id}")),
        unique_within: UniqueWithin::Account,
        sender: person(query.get("from")),
        at: None,
        what: Happening::Pressed {
            message: Some(message_id(chat, number)),
            button,
            label: label.and_then(|key| text(key, "text")),
        },
    }))
}

fn reacted(raw: &Value, recent: &Recent) -> What {
    let reaction = raw.get("message_reaction").unwrap_or(&Value::Null);
    let number = |pointer: &str| reaction.pointer(pointer).and_then(Value::as_i64);
    let (Some(chat), Some(message)) = (number("/chat/id"), number("/message_id")) else {
        return What::Nothing("it is a reaction to no message");
    };
    let signs = |name: &str| -> Vec<String> {
        reaction.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(sign).collect()
    };
    let (old, new) = (signs("old_reaction"), signs("new_reaction"));
    let without = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|sign| !those.contains(sign)).cloned().collect()
    };
    let (added, removed) = (without(&new, &old), without(&old, &new));
    if added.is_empty() && removed.is_empty() {
        return What::Nothing("it is a reaction that changes nothing");
    }
    let sender = person(reaction.get("user")).or_else(|| person(reaction.get("actor_chat")));
    let who = sender.as_ref().map_or("", |sender| sender.identity.value.as_str());
    let at = number("/date").unwrap_or_default();
    let says = short(&[&old.join(","), &new.join(",")]);
    What::Happening(Box::new(Occurrence {
        thread: thread(chat, recent.topic(chat, message)),
        external_id: named(&format!("{chat}:{message}:reacted:{who}:{at}:{says}")),
        unique_within: UniqueWithin::Account,
        sender,
        at: moment(at),
        what: Happening::Reacted { message: message_id(chat, message), added, removed },
    }))
}

/// <https://core.telegram.org/bots/api#reactiontype>
fn sign(reaction: &Value) -> Option<String> {
    let text = |name: &str| reaction.get(name).and_then(Value::as_str);
    match text("type")? {
        "emoji" => text("emoji").map(str::to_owned),
        "custom_emoji" => text("custom_emoji_id").map(|id| format!("custom_emoji:{id}")),
        other => Some(other.to_owned()),
    }
}

fn membership(change: Membership) -> What {
    let Membership { chat, from, date, old_chat_member: old, new_chat_member: new } = change;
    let out = |standing: &Standing| matches!(standing.status.as_str(), "kicked" | "left");
    let told = match (out(&old), out(&new), chat.is_private()) {
        (_, _, _) if chat.kind == "channel" => return What::Nothing("it is about a channel"),
        (false, true, true) => {
            "The contact has blocked the bot on Telegram: nothing reaches them until they start it again."
        }
        (true, false, true) => "The contact has started the bot on Telegram again.",
        (false, true, false) => "The bot was removed from the group on Telegram.",
        (true, false, false) => "The bot was added to the group on Telegram.",
        _ => return What::Nothing("it changes neither whether the bot is in the chat nor whether it is blocked"),
    };
    What::Happening(Box::new(Occurrence {
        thread: thread(chat.id, None),
        external_id: named(&format!("{}:member:{date}:{}", chat.id, short(&[&old.status, &new.status]))),
        unique_within: UniqueWithin::Account,
        sender: author(&decode::sender(&from), locale(Some(&from))),
        at: moment(date),
        what: Happening::Told(told.to_owned()),
    }))
}

fn moved(old: i64, new: i64, date: i64) -> Occurrence {
    Occurrence {
        thread: thread(old, None),
        // Told in both chats, kept once.
        external_id: named(&format!("{old}:moved:{new}")),
        unique_within: UniqueWithin::Account,
        sender: None,
        at: moment(date),
        what: Happening::Told("The group became a supergroup on Telegram; this conversation goes on there.".to_owned()),
    }
}

impl Forwarded {
    fn name(self) -> Option<String> {
        let Self { sender_user, sender_user_name, sender_chat, chat } = self;
        let name = sender_user_name.or_else(|| sender_user.or(sender_chat).or(chat).map(Named::name));
        name.map(|name| clean(&name)).filter(|name| !name.is_empty())
    }
}

impl Named {
    fn name(self) -> String {
        let Self { first_name, last_name, title, username } = self;
        let full = format!("{first_name} {last_name}").trim().to_owned();
        [full, title, username].into_iter().find(|name| !name.is_empty()).unwrap_or_default()
    }
}

fn person(raw: Option<&Value>) -> Option<Sender> {
    let raw = raw?;
    match update::User::deserialize(raw) {
        Ok(user) if raw.get("first_name").is_some() => author(&decode::sender(&user), locale(Some(&user))),
        _ => author(&decode::as_sender(&update::Chat::deserialize(raw).ok()?), None),
    }
}

fn author(sender: &DecodedSender, locale: Option<String>) -> Option<Sender> {
    Some(Sender {
        identity: Identity { kind: KIND.into(), value: sender.id.clone()?, trust: Trust::Verified },
        also: Vec::new(),
        name: sender.name.as_deref().map(clean).filter(|name| !name.is_empty()),
        locale,
    })
}

fn locale(user: Option<&update::User>) -> Option<String> {
    user.and_then(|user| user.language_code.clone())
}

/// A name on one line.
fn clean(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect::<String>().trim().to_owned()
}

/// Its files, by the names that Telegram has for them: where they are is asked when they are fetched.
fn files(decoded: &frontdesk_model::Decoded) -> Vec<RemoteFile> {
    let file = |file: &frontdesk_model::DecodedAttachment| {
        let name = file.name.clone().or_else(|| usual_name(file.media_type.as_deref()?).map(str::to_owned));
        Some(RemoteFile { at: FileAt::Handle(file.file_id.clone()?), name })
    };
    decoded.attachments.iter().filter_map(file).collect()
}

/// Photos, voices and stickers come without a name.
fn usual_name(media_type: &str) -> Option<&'static str> {
    Some(match media_type {
        "image/jpeg" => "photo.jpg",
        "image/webp" => "sticker.webp",
        "application/x-tgsticker" => "sticker.tgs",
        "video/webm" => "sticker.webm",
        "video/mp4" => "video.mp4",
        "audio/ogg" => "voice.ogg",
        "audio/mpeg" => "audio.mp3",
        _ => return None,
    })
}

/// What follows `/start` in a link such as `https://t.me/bot?start=x` (<https://core.telegram.org/bots/features#deep-linking>).
fn origin(said: &Message) -> Option<String> {
    let mut words = said.text.as_deref()?.split_whitespace();
    let command = words.next()?;
    let starts = command == "/start" || command.starts_with("/start@");
    let payload = words.next().filter(|_| starts)?;
    let fits =
        payload.len() <= 64 && payload.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    (fits && words.next().is_none()).then(|| payload.to_owned())
}

/// What it answers. In a topic every message answers the one that opened it.
pub(crate) fn answered(said: &Message) -> Option<&update::Answered> {
    said.reply_to_message.as_ref().filter(|answered| topic(said) != Some(answered.message_id))
}

fn topic(said: &Message) -> Option<i64> {
    said.message_thread_id.filter(|_| said.is_topic_message)
}

fn thread(chat: i64, topic: Option<i64>) -> ThreadId {
    named(&match topic {
        Some(topic) => format!("{chat}/{topic}"),
        None => chat.to_string(),
    })
}

/// What we call a message of Telegram's.
pub(crate) fn message_id(chat: i64, message: i64) -> ExternalId {
    named(&format!("{chat}:{message}"))
}

/// A name made of numbers and of what the platform calls things. Made anew of its hash where it breaks a rule of ours.
fn named<T: std::str::FromStr>(name: &str) -> T {
    name.parse().or_else(|_| hash(&[name]).parse()).unwrap_or_else(|_| unreachable!("a hash is a name"))
}

fn moment(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1000)))
}

/// SHA-256 in hexadecimal.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Enough of it to tell apart what is said in one second.
fn short(parts: &[&str]) -> String {
    hash(parts).chars().take(12).collect()
}

/// What is wrong with a JSON value, without what stands in it.
fn without_contents(error: &serde_json::Error) -> &'static str {
    let words = error.to_string();
    if words.starts_with("missing field") {
        "a field is missing"
    } else if words.starts_with("invalid type") {
        "a field is of another type"
    } else {
        "a field holds what it cannot hold"
    }
}
