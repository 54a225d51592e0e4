//! What an update means.

use frontdesk_model::{Decoded, DecodedAttachment, DecodedSender, DecodedThread, Timestamp, Unreadable};
use frontdesk_richtext::{
    read, show,
    telegram::{Entity, EntityKind},
};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::{
    KIND,
    update::{self, CallbackQuery, Chat, File, Message, Reaction, Update, User},
};

pub(crate) fn decode(input: &Value) -> Result<Decoded, Unreadable> {
    let Value::Object(fields) = input else { return Err(Unreadable::input("an update is a JSON object")) };
    if !fields.contains_key("update_id") {
        return Err(Unreadable::input("an update has an `update_id`; this has none"));
    }
    let update = Update::deserialize(input)
        .map_err(|error| Unreadable::input(format!("the update is not of the Bot API's form: {error}")))?;
    Ok(match update {
        Update { message: Some(said), .. } => message(&said, "message.created"),
        Update { edited_message: Some(said), .. } => message(&said, "message.edited"),
        Update { callback_query: Some(query), .. } => pressed(query),
        Update { message_reaction: Some(reaction), .. } => reacted(&reaction),
        _ => {
            let sort = fields.keys().find(|name| name.as_str() != "update_id").map_or("nothing", String::as_str);
            Decoded::ignored(KIND, format!("updates of the sort `{}` are not used", shortened(sort)))
        }
    })
}

pub(crate) fn message(said: &Message, what: &'static str) -> Decoded {
    let mut decoded = Decoded {
        conversation: Some(thread(&said.chat, said.message_thread_id.filter(|_| said.is_topic_message))),
        message_id: Some(said.message_id.to_string()),
        reply_to: said.reply_to_message.as_ref().map(|answered| answered.message_id.to_string()),
        sender: said.from.as_ref().map(sender).or_else(|| said.sender_chat.as_ref().map(as_sender)),
        sent_at: moment(said.edit_date.unwrap_or(said.date)),
        attachments: attachments(said),
        ..Decoded::new(KIND, what)
    };
    decoded.auto_generated = said.via_bot.is_none() && decoded.sender.as_ref().is_some_and(|sender| sender.is_bot);
    let words = match (&said.text, &said.caption) {
        (Some(text), _) => Some((text.clone(), &said.entities)),
        (None, Some(caption)) => Some((caption.clone(), &said.caption_entities)),
        (None, None) => in_words(said).map(|text| (text, &said.entities)),
    };
    match words {
        Some((text, entities)) => {
            let document = read::telegram(&text, &placed(entities, &mut decoded.warnings));
            decoded.text = Some(text);
            show(&mut decoded, &document);
            decoded
        }
        None if decoded.attachments.is_empty() => Decoded {
            what: "ignored",
            reason: Some("a message without text or files, such as a note of the service".into()),
            ..decoded
        },
        None => decoded,
    }
}

/// What is neither text nor file, in words.
fn in_words(said: &Message) -> Option<String> {
    let lines =
        |lines: &[&str]| lines.iter().filter(|line| !line.trim().is_empty()).copied().collect::<Vec<_>>().join("\n");
    if let Some(card) = &said.contact {
        return Some(lines(&[&full_name(&card.first_name, card.last_name.as_deref()), &card.phone_number]));
    }
    if let Some(venue) = &said.venue {
        let at = said.location.as_ref().map(|at| format!("{}, {}", at.latitude, at.longitude));
        return Some(lines(&[&venue.title, &venue.address, &at.unwrap_or_default()]));
    }
    if let Some(at) = &said.location {
        return Some(format!("{}, {}", at.latitude, at.longitude));
    }
    if let Some(poll) = &said.poll {
        let options: Vec<String> = poll.options.iter().map(|option| format!("- {}", option.text)).collect();
        return Some(lines(&[&poll.question, &options.join("\n")]));
    }
    if let Some(dice) = &said.dice {
        return Some(format!("{} {}", dice.emoji, dice.value));
    }
    said.sticker.as_ref().and_then(|sticker| sticker.emoji.clone())
}

fn attachments(said: &Message) -> Vec<DecodedAttachment> {
    // The largest picture comes last; an animation comes once more as a document.
    let document = said.document.as_ref().filter(|_| said.animation.is_none());
    let sticker = said.sticker.as_ref().map(|sticker| match (sticker.is_animated, sticker.is_video) {
        (true, _) => (sticker, "application/x-tgsticker"),
        (_, true) => (sticker, "video/webm"),
        _ => (sticker, "image/webp"),
    });
    let files: [Option<(&File, &str)>; 8] = [
        said.photo.last().map(|file| (file, "image/jpeg")),
        said.animation.as_ref().map(|file| (file, "video/mp4")),
        said.audio.as_ref().map(|file| (file, "audio/mpeg")),
        document.map(|file| (file, "application/octet-stream")),
        sticker,
        said.video.as_ref().map(|file| (file, "video/mp4")),
        said.video_note.as_ref().map(|file| (file, "video/mp4")),
        said.voice.as_ref().map(|file| (file, "audio/ogg")),
    ];
    let shown = |(file, usual): (&File, &str)| DecodedAttachment {
        name: file.file_name.clone(),
        media_type: Some(file.mime_type.clone().unwrap_or_else(|| usual.to_owned())),
        size: file.file_size,
        file_id: Some(file.file_id.clone()),
        ..DecodedAttachment::default()
    };
    files.into_iter().flatten().map(shown).collect()
}

fn placed(entities: &[update::Entity], warnings: &mut Vec<String>) -> Vec<Entity> {
    let place = |entity: &update::Entity| {
        let user = entity.user.as_ref().map(|user| user.id.to_string());
        let argument = match entity.kind.as_str() {
            "text_link" => entity.url.as_deref(),
            "text_mention" => user.as_deref(),
            "pre" => entity.language.as_deref(),
            "custom_emoji" => entity.custom_emoji_id.as_deref(),
            _ => None,
        };
        Some(Entity {
            offset: usize::try_from(entity.offset).ok()?,
            length: usize::try_from(entity.length).ok()?,
            kind: EntityKind::of(&entity.kind, argument),
        })
    };
    let placed: Vec<Entity> = entities.iter().filter_map(place).collect();
    if placed.len() < entities.len() {
        warnings.push("entities at places before the text were left out".into());
    }
    placed
}

fn pressed(query: CallbackQuery) -> Decoded {
    let message = query.message.as_ref();
    Decoded {
        conversation: message.map(|said| thread(&said.chat, said.message_thread_id.filter(|_| said.is_topic_message))),
        message_id: Some(query.id),
        reply_to: message.map(|said| said.message_id.to_string()),
        sender: Some(sender(&query.from)),
        text: query.data,
        ..Decoded::new(KIND, "button.pressed")
    }
}

fn reacted(reaction: &Reaction) -> Decoded {
    let what = if reaction.new_reaction.is_empty() { "reaction.removed" } else { "reaction.added" };
    let signs: Vec<&str> = reaction.new_reaction.iter().filter_map(|sign| sign.get("emoji")?.as_str()).collect();
    Decoded {
        conversation: Some(thread(&reaction.chat, None)),
        reply_to: Some(reaction.message_id.to_string()),
        sender: reaction.user.as_ref().map(sender),
        sent_at: moment(reaction.date),
        text: Some(signs.concat()).filter(|signs| !signs.is_empty()),
        ..Decoded::new(KIND, what)
    }
}

fn thread(chat: &Chat, topic: Option<i64>) -> DecodedThread {
    let mut native = Map::new();
    native.insert("chat_id".into(), chat.id.into());
    let key = match topic {
        Some(topic) => {
            native.insert("thread_id".into(), topic.into());
            format!("{}/{topic}", chat.id)
        }
        None => chat.id.to_string(),
    };
    DecodedThread { key, native }
}

pub(crate) fn sender(user: &User) -> DecodedSender {
    DecodedSender {
        id: Some(user.id.to_string()),
        address: user.username.clone(),
        name: Some(full_name(&user.first_name, user.last_name.as_deref())).filter(|name| !name.is_empty()),
        is_bot: user.is_bot,
    }
}

/// Somebody who writes in a group's or a channel's name.
pub(crate) fn as_sender(chat: &Chat) -> DecodedSender {
    DecodedSender {
        id: Some(chat.id.to_string()),
        address: chat.username.clone(),
        name: chat.title.clone(),
        is_bot: false,
    }
}

fn full_name(first: &str, last: Option<&str>) -> String {
    format!("{first} {}", last.unwrap_or_default()).trim().to_owned()
}

fn moment(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1000)))
}

fn shortened(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(40).collect()
}
