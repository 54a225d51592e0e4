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
    Content, Decoded, DecodedSender, Envelope, ExternalId, FileAt, Happening, Identity, Occurrence, RemoteFile, Sender,
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
    place::{Place, Topic},
    recent::Recent,
    update::{self, CallbackQuery, Membership, Message, Reaction, Update},
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
    let update = Update::deserialize(raw).map_err(form)?;
    Ok(match update {
        Update { message: Some(said), .. } => message(&said, me, respond, recent),
        Update { edited_message: Some(said), .. } => edited(&said, me, respond, recent),
        Update { callback_query: Some(query), .. } => pressed(query, recent),
        Update { message_reaction: Some(reaction), .. } => reacted(&reaction, recent),
        Update { my_chat_member: Some(change), .. } => membership(&change),
        _ => What::Nothing("updates of this sort are not used"),
    })
}

fn message(said: &Message, me: &Me, respond: Respond, recent: &Recent) -> What {
    let chat = said.chat.id;
    if let Some((old, new)) =
        (said.migrate_to_chat_id.map(|new| (chat, new))).or_else(|| said.migrate_from_chat_id.map(|old| (old, chat)))
    {
        return What::Moved { old, new, told: Box::new(moved(old, new, said.date)) };
    }
    if said.chat.kind == "channel" {
        return What::Nothing("it is a post in a channel");
    }
    if said.is_automatic_forward {
        return What::Nothing("it is a channel's post, passed on to its group by Telegram");
    }
    if let Some(reason) = decode::elsewhere(said) {
        return What::Nothing(reason);
    }
    if said.from.as_ref().is_some_and(|from| from.id == me.id) {
        return What::Nothing("it is the bot's own");
    }
    if !is_for_us(said, me, respond, recent) {
        return What::Nothing("it is said in a group, and not to the bot");
    }
    let decoded = decode::message(said, "message.created");
    if decoded.what == "ignored" {
        return What::Nothing("it is a note of the service, or says nothing");
    }
    if let Some(topic) = decode::topic(said) {
        recent.note_topic(chat, said.message_id, topic);
    }
    envelope(said, decoded)
        .map_or(What::Nothing("nobody is named as its author"), |envelope| What::Message(Box::new(envelope)))
}

/// In a group, whether it is meant for the bot, or comes with what is.
fn is_for_us(said: &Message, me: &Me, respond: Respond, recent: &Recent) -> bool {
    let in_album = || said.media_group_id.as_deref().is_some_and(|album| recent.knows_album(said.chat.id, album));
    said.chat.is_private() || is_meant(said, me, respond) || in_album()
}

/// A message as it is handed in. `None`: nobody is named as its author.
fn envelope(said: &Message, decoded: Decoded) -> Option<Envelope> {
    let chat = said.chat.id;
    let sender = decoded.sender.as_ref().and_then(|sender| author(sender, locale(said.from.as_ref())))?;
    Some(Envelope {
        thread: thread(chat, decode::topic(said)),
        external_id: message_id(chat, said.message_id),
        unique_within: UniqueWithin::Account,
        sender,
        attachments: files(said, &decoded),
        content: Content::Markdown(decoded.markdown.unwrap_or_default()),
        subject: None,
        auto_generated: decoded.auto_generated,
        sent_at: decoded.sent_at,
        reply_to: decode::answered(said).map(|answered| message_id(chat, answered.message_id)),
        quote: decoded.quoted_text,
        forwarded_from: decoded.forwarded_from,
        album: said.media_group_id.clone(),
        origin: origin(said),
    })
}

fn edited(said: &Message, me: &Me, respond: Respond, recent: &Recent) -> What {
    if said.chat.kind == "channel" {
        return What::Nothing("it is a post in a channel");
    }
    if let Some(reason) = decode::elsewhere(said) {
        return What::Nothing(reason);
    }
    let decoded = decode::message(said, "message.edited");
    if decoded.what == "ignored" {
        return What::Nothing("it is a note of the service, or says nothing");
    }
    let content = decoded.markdown.clone().unwrap_or_default();
    let files = files(said, &decoded);
    let mut says = content.clone();
    for file in &decoded.attachments {
        says.push_str(file.file_id.as_deref().unwrap_or_default());
    }
    let chat = said.chat.id;
    let at = said.edit_date.unwrap_or(said.date);
    let sender = decoded.sender.as_ref().and_then(|sender| author(sender, locale(said.from.as_ref())));
    // As it stands now it may be the first that is heard of it: written before this channel was there, or meant for the bot only since.
    let is_ours = said.from.as_ref().is_some_and(|from| from.id == me.id);
    let unknown = (!is_ours && is_for_us(said, me, respond, recent)).then(|| envelope(said, decoded)).flatten();
    let unknown = unknown.map(|envelope| Box::new(Envelope { album: None, ..envelope }));
    What::Happening(Box::new(Occurrence {
        thread: thread(chat, decode::topic(said)),
        // Of two changes in one second both count.
        external_id: named(&format!("{chat}:{}:edited:{at}:{}", said.message_id, short(&[&says]))),
        unique_within: UniqueWithin::Account,
        sender,
        at: moment(at),
        what: Happening::Edited {
            message: message_id(chat, said.message_id),
            content: Content::Markdown(content),
            attachments: files,
            unknown,
        },
    }))
}

fn pressed(query: CallbackQuery, recent: &Recent) -> What {
    let Some(button) = query.data.clone() else { return What::Nothing("it is a press that says nothing") };
    let Some(said) = &query.message else { return What::Nothing("it is a press under a message in another chat") };
    if said.chat.kind == "channel" {
        return What::Nothing("it is a press in a channel");
    }
    if let Some(reason) = decode::elsewhere(said) {
        return What::Nothing(reason);
    }
    let chat = said.chat.id;
    let topic = decode::topic(said).or_else(|| recent.topic(chat, said.message_id));
    What::Happening(Box::new(Occurrence {
        thread: thread(chat, topic),
        external_id: named(&format!("press:{}", query.id)),
        unique_within: UniqueWithin::Account,
        sender: author(&decode::sender(&query.from), locale(Some(&query.from))),
        at: None,
        what: Happening::Pressed { message: Some(message_id(chat, said.message_id)), button, label: query.label() },
    }))
}

fn reacted(reaction: &Reaction, recent: &Recent) -> What {
    let (chat, message, at) = (reaction.chat.id, reaction.message_id, reaction.date);
    let (added, removed) = (reaction.added(), reaction.removed());
    if added.is_empty() && removed.is_empty() {
        return What::Nothing("it is a reaction that changes nothing");
    }
    let user = reaction.user.as_ref();
    let who = user.map(decode::sender).or_else(|| reaction.actor_chat.as_ref().map(decode::as_sender));
    let sender = who.and_then(|who| author(&who, locale(user)));
    let who = sender.as_ref().map_or("", |sender| sender.identity.value.as_str());
    let says = short(&[&removed.join(","), &added.join(",")]);
    What::Happening(Box::new(Occurrence {
        thread: thread(chat, recent.topic(chat, message)),
        external_id: named(&format!("{chat}:{message}:reacted:{who}:{at}:{says}")),
        unique_within: UniqueWithin::Account,
        sender,
        at: moment(at),
        what: Happening::Reacted { message: message_id(chat, message), added, removed },
    }))
}

fn membership(change: &Membership) -> What {
    let told = match change.told() {
        Ok(told) => told,
        Err(reason) => return What::Nothing(reason),
    };
    let (chat, date) = (change.chat.id, change.date);
    What::Happening(Box::new(Occurrence {
        thread: thread(chat, None),
        external_id: named(&format!("{chat}:member:{date}:{}", short(&change.both()))),
        unique_within: UniqueWithin::Account,
        sender: author(&decode::sender(&change.from), locale(Some(&change.from))),
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
        what: Happening::Told(decode::MOVED.to_owned()),
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
fn files(said: &Message, decoded: &Decoded) -> Vec<RemoteFile> {
    let unique = decode::unique_names(said);
    let file = |(place, file): (usize, &frontdesk_model::DecodedAttachment)| {
        let usual = || usual_name(file.media_type.as_deref()?, unique.get(place)?.as_deref());
        Some(RemoteFile { at: FileAt::Handle(file.file_id.clone()?), name: file.name.clone().or_else(usual) })
    };
    decoded.attachments.iter().enumerate().filter_map(file).collect()
}

/// Photos, voices and stickers come without a name. One that takes the place of another by an edit has another name.
fn usual_name(media_type: &str, unique: Option<&str>) -> Option<String> {
    let (word, ending) = match media_type {
        "image/jpeg" => ("photo", "jpg"),
        "image/webp" => ("sticker", "webp"),
        "application/x-tgsticker" => ("sticker", "tgs"),
        "video/webm" => ("sticker", "webm"),
        "video/mp4" => ("video", "mp4"),
        "audio/ogg" => ("voice", "ogg"),
        "audio/mpeg" => ("audio", "mp3"),
        _ => return None,
    };
    Some(unique.map_or_else(|| format!("{word}.{ending}"), |unique| format!("{word}-{unique}.{ending}")))
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

fn thread(chat: i64, topic: Option<Topic>) -> ThreadId {
    named(&Place { chat, topic }.to_string())
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
