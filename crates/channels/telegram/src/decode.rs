//! What an update means.

use frontdesk_model::{Button, Decoded, DecodedAttachment, DecodedSender, DecodedThread, Timestamp, Unreadable};
use frontdesk_richtext::{
    read, show,
    telegram::{Entity, EntityKind},
};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::{
    KIND,
    place::{Place, Topic},
    rich::{self, Rich},
    update::{self, CallbackQuery, Chat, File, Membership, Message, Origin, Reaction, Update, User},
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
        Update { my_chat_member: Some(change), .. } => membership(&change),
        _ => {
            let sort = fields.keys().find(|name| name.as_str() != "update_id").map_or("nothing", String::as_str);
            Decoded::ignored(KIND, format!("updates of the sort `{}` are not used", shortened(sort)))
        }
    })
}

pub(crate) fn message(said: &Message, what: &'static str) -> Decoded {
    // Who writes in a group's or a channel's name stands there as a bot.
    let sender = said.sender_chat.as_ref().map(as_sender).or_else(|| said.from.as_ref().map(sender));
    let mut decoded = Decoded {
        conversation: Some(thread(&said.chat, topic(said))),
        message_id: Some(said.message_id.to_string()),
        reply_to: answered(said).map(|answered| answered.message_id.to_string()),
        sender,
        sent_at: moment(said.edit_date.unwrap_or(said.date)),
        quoted_text: said.quote.as_ref().map(|quote| quote.text.clone()).filter(|text| !text.is_empty()),
        forwarded_from: said.forward_origin.as_ref().and_then(Origin::name),
        attachments: attachments(said),
        ..Decoded::new(KIND, what)
    };
    if said.migrate_to_chat_id.is_some() || said.migrate_from_chat_id.is_some() {
        return Decoded { what: "conversation.updated", reason: Some(MOVED.into()), ..decoded };
    }
    if said.chat.kind == "channel" || said.is_automatic_forward {
        return Decoded { what: "ignored", reason: Some("it is a channel's post".into()), ..decoded };
    }
    if let Some(reason) = elsewhere(said) {
        return Decoded { what: "ignored", reason: Some(reason.to_owned()), ..decoded };
    }
    decoded.auto_generated = said.via_bot.is_none() && decoded.sender.as_ref().is_some_and(|sender| sender.is_bot);
    if let (None, None, Some(rich)) = (&said.text, &said.caption, rich(said))
        && !rich.document.is_empty()
    {
        show(&mut decoded, &rich.document);
        return decoded;
    }
    let words = match (&said.text, &said.caption) {
        (Some(text), _) => Some((text.clone(), &said.entities)),
        (None, Some(caption)) => Some((caption.clone(), &said.caption_entities)),
        // Places in words of ours are no places in words of theirs.
        (None, None) => in_words(said).map(|text| (text, &NOTHING)),
    };
    match words {
        Some((text, entities)) => {
            let document = read::telegram(&text, &placed(entities, &mut decoded.warnings));
            decoded.text = Some(text);
            show(&mut decoded, &document);
            decoded
        }
        None if decoded.attachments.is_empty() => {
            let note = said.more.keys().find(|name| !ABOUT.contains(&name.as_str()));
            let reason = note.map_or_else(
                || "a message that says nothing".to_owned(),
                |note| format!("a note of the service: `{}`", shortened(note)),
            );
            Decoded { what: "ignored", reason: Some(reason), ..decoded }
        }
        None => decoded,
    }
}

/// What a group's conversation is told when the group gets another number.
pub(crate) const MOVED: &str = "The group became a supergroup on Telegram; this conversation goes on there.";

static NOTHING: Vec<update::Entity> = Vec::new();

/// What a message has besides what it says (<https://core.telegram.org/bots/api#message>).
const ABOUT: [&str; 31] = [
    "author_signature",
    "business_connection_id",
    "direct_messages_topic",
    "effect_id",
    "ephemeral_message_id",
    "external_reply",
    "forward_date",
    "forward_from",
    "forward_from_chat",
    "forward_from_message_id",
    "forward_sender_name",
    "forward_signature",
    "guest_bot_caller_chat",
    "guest_bot_caller_user",
    "guest_query_id",
    "has_media_spoiler",
    "has_protected_content",
    "is_from_offline",
    "is_paid_post",
    "link_preview_options",
    "paid_star_count",
    "receiver_user",
    "reply_markup",
    "reply_to_checklist_task_id",
    "reply_to_poll_option_id",
    "reply_to_story",
    "sender_boost_count",
    "sender_business_bot",
    "sender_tag",
    "show_caption_above_media",
    "suggested_post_info",
];

/// Notes of the service, which nobody says.
const NOTES: [&str; 49] = [
    "boost_added",
    "channel_chat_created",
    "chat_background_set",
    "chat_owner_changed",
    "chat_owner_left",
    "checklist_tasks_added",
    "checklist_tasks_done",
    "community_chat_added",
    "community_chat_joined",
    "community_chat_removed",
    "connected_website",
    "delete_chat_photo",
    "direct_message_price_changed",
    "forum_topic_closed",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "gift_upgrade_sent",
    "giveaway_completed",
    "giveaway_created",
    "group_chat_created",
    "left_chat_member",
    "left_chat_participant",
    "managed_bot_created",
    "message_auto_delete_timer_changed",
    "new_chat_member",
    "new_chat_members",
    "new_chat_participant",
    "new_chat_photo",
    "new_chat_title",
    "paid_message_price_changed",
    "passport_data",
    "pinned_message",
    "poll_option_added",
    "poll_option_deleted",
    "proximity_alert_triggered",
    "suggested_post_approval_failed",
    "suggested_post_approved",
    "suggested_post_declined",
    "suggested_post_paid",
    "suggested_post_refunded",
    "supergroup_chat_created",
    "video_chat_ended",
    "video_chat_participants_invited",
    "video_chat_scheduled",
    "video_chat_started",
    "write_access_allowed",
];

/// The topic that it stands in.
pub(crate) fn topic(said: &Message) -> Option<Topic> {
    let direct = || said.more.get("direct_messages_topic")?.get("topic_id")?.as_i64();
    let forum = said.message_thread_id.filter(|_| said.is_topic_message);
    forum.map(Topic::Forum).or_else(|| direct().map(Topic::Direct))
}

/// Why it is nothing of a chat of the bot's, whose number it may carry all the same
/// (<https://core.telegram.org/bots/api#message>).
pub(crate) fn elsewhere(said: &Message) -> Option<&'static str> {
    let has = |name: &str| said.more.contains_key(name);
    if has("business_connection_id") {
        Some("it belongs to a chat of somebody else's account")
    } else if has("guest_query_id") {
        Some("it was said to the bot as a guest, in a chat that it is not in")
    } else if has("ephemeral_message_id") {
        Some("only the bot sees it, and all would see an answer")
    } else {
        None
    }
}

/// What it answers. In a topic every message answers the one that opened it.
pub(crate) fn answered(said: &Message) -> Option<&update::Answered> {
    said.reply_to_message.as_ref().filter(|answered| topic(said) != Some(Topic::Forum(answered.message_id)))
}

/// What it says in blocks, where it has neither text nor caption.
fn rich(said: &Message) -> Option<Rich> {
    said.more.get("rich_message").map(Rich::read)
}

/// What is neither text nor file, in words.
fn in_words(said: &Message) -> Option<String> {
    if let Some(card) = &said.contact {
        return Some(lines(&[&full_name(&card.first_name, card.last_name.as_deref()), &card.phone_number]));
    }
    if let Some(venue) = &said.venue {
        let at =
            said.location.as_ref().or(venue.location.as_ref()).map(|at| format!("{}, {}", at.latitude, at.longitude));
        return Some(lines(&[&venue.title, &venue.address, &at.unwrap_or_default()]));
    }
    if let Some(at) = &said.location {
        return Some(format!("{}, {}", at.latitude, at.longitude));
    }
    if let Some(poll) = &said.poll {
        let options: Vec<String> = poll.options.iter().map(|option| format!("- {}", option.text)).collect();
        let description = poll.description.as_deref().unwrap_or_default();
        return Some(lines(&[&poll.question, description, &options.join("\n")]));
    }
    if let Some(dice) = &said.dice {
        return Some(format!("{} {}", dice.emoji, dice.value));
    }
    if let Some(emoji) = said.sticker.as_ref().and_then(|sticker| sticker.emoji.clone()) {
        return Some(emoji);
    }
    if !attachments(said).is_empty() {
        return None;
    }
    said.more.iter().find_map(|(name, value)| further(name, value))
}

/// What few messages are, by the name of the field that says it. One that is not known is named, so that nothing that somebody sent
/// passes unseen.
fn further(name: &str, value: &Value) -> Option<String> {
    if ABOUT.contains(&name) || NOTES.contains(&name) {
        return None;
    }
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let said = match name {
        "checklist" => {
            let task = |task: &Value| {
                let done = if task.get("completion_date").is_some() { "x" } else { " " };
                format!("- [{done}] {}", task.get("text").and_then(Value::as_str).unwrap_or_default())
            };
            let tasks: Vec<String> =
                value.get("tasks").and_then(Value::as_array).into_iter().flatten().map(task).collect();
            lines(&[text("/title"), &tasks.join("\n")])
        }
        "users_shared" => {
            let name = |user: &Value| {
                let part = |name: &str| user.get(name).and_then(Value::as_str);
                let full = full_name(part("first_name").unwrap_or_default(), part("last_name"));
                let id = || user.get("user_id").map(Value::to_string).unwrap_or_default();
                Some(full).filter(|full| !full.is_empty()).unwrap_or_else(id)
            };
            let users = value.get("users").and_then(Value::as_array).into_iter().flatten();
            format!("[users shared: {}]", users.map(name).collect::<Vec<_>>().join(", "))
        }
        "chat_shared" => match text("/title") {
            "" => format!("[chat shared: {}]", value.get("chat_id").map(Value::to_string).unwrap_or_default()),
            title => format!("[chat shared: {title}]"),
        },
        "gift" => lines(&["[gift]", text("/text")]),
        "game" => lines(&[&format!("[game: {}]", text("/title")), text("/description")]),
        "invoice" => {
            let price = amount(value).unwrap_or_default();
            lines(&[&format!("[invoice: {} {price}]", text("/title")).replace(" ]", "]"), text("/description")])
        }
        "successful_payment" => format!("[payment: {}]", amount(value).unwrap_or_default()),
        "refunded_payment" => format!("[refund: {}]", amount(value).unwrap_or_default()),
        "web_app_data" => text("/data").to_owned(),
        _ => String::new(),
    };
    Some(if said.trim().is_empty() { format!("[{}]", shortened(name).replace('_', " ")) } else { said })
}

/// An amount of money in the smallest units of its currency: as the platform counts, two decimals in most.
fn amount(of: &Value) -> Option<String> {
    let currency = of.get("currency")?.as_str()?;
    let units = of.get("total_amount")?.as_i64()?;
    Some(match currency {
        "XTR" | "JPY" | "KRW" | "CLP" | "VND" | "ISK" | "UGX" | "PYG" => format!("{units} {currency}"),
        _ => format!("{}.{:02} {currency}", units / 100, units.unsigned_abs() % 100),
    })
}

fn lines(lines: &[&str]) -> String {
    lines.iter().filter(|line| !line.trim().is_empty()).copied().collect::<Vec<_>>().join("\n")
}

fn attachments(said: &Message) -> Vec<DecodedAttachment> {
    // An animation comes once more as a document.
    let document = said.document.as_ref().filter(|_| said.animation.is_none());
    let sticker = said.sticker.as_ref().map(|sticker| match (sticker.is_animated, sticker.is_video) {
        (true, _) => (sticker, "application/x-tgsticker"),
        (_, true) => (sticker, "video/webm"),
        _ => (sticker, "image/webp"),
    });
    let files: [Option<(&File, &str)>; 8] = [
        update::largest(&said.photo).map(|file| (file, "image/jpeg")),
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
    let paid = said.more.get("paid_media").and_then(|paid| paid.get("paid_media")?.as_array());
    let paid = paid.into_iter().flatten().flat_map(paid_for);
    let live = said.more.get("live_photo").map(|live| live_photo(live, said.photo.is_empty()));
    let rich = rich(said).map(|rich| rich.files);
    let further = live.into_iter().flatten().chain(paid).chain(rich.into_iter().flatten());
    files.into_iter().flatten().map(shown).chain(further.map(|(file, usual)| shown((&file, usual)))).collect()
}

/// A picture that moves: its picture, where that does not come beside it, and how it moves.
fn live_photo(live: &Value, with_picture: bool) -> Vec<(File, &'static str)> {
    let picture = rich::picture(live.get("photo")).filter(|_| with_picture).map(|file| (file, "image/jpeg"));
    picture.into_iter().chain(File::deserialize(live).ok().map(|file| (file, "video/mp4"))).collect()
}

/// Of paid media, what was bought.
fn paid_for(item: &Value) -> Vec<(File, &'static str)> {
    let photo = rich::picture(item.get("photo"));
    let video = item.get("video").and_then(|video| File::deserialize(video).ok());
    let found = photo.map(|file| (file, "image/jpeg")).or_else(|| Some((video?, "video/mp4")));
    let live = item.get("live_photo").map(|live| live_photo(live, true));
    found.into_iter().chain(live.into_iter().flatten()).collect()
}

/// What tells the files apart from others, each at its place among the attachments.
pub(crate) fn unique_names(said: &Message) -> Vec<Option<String>> {
    let document = said.document.as_ref().filter(|_| said.animation.is_none());
    let files = [
        update::largest(&said.photo),
        said.animation.as_ref(),
        said.audio.as_ref(),
        document,
        said.sticker.as_ref(),
        said.video.as_ref(),
        said.video_note.as_ref(),
        said.voice.as_ref(),
    ];
    files.into_iter().flatten().map(|file| file.file_unique_id.clone()).collect()
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
    let label = query.label();
    let message = query.message.as_ref();
    let mut decoded = Decoded {
        conversation: message.map(|said| thread(&said.chat, topic(said))),
        message_id: message.map(|said| said.message_id.to_string()),
        reply_to: message.map(|said| said.message_id.to_string()),
        sender: Some(sender(&query.from)),
        ..Decoded::new(KIND, "button.pressed")
    };
    if let Some(reason) = query.message.as_ref().and_then(elsewhere) {
        return Decoded { what: "ignored", reason: Some(reason.to_owned()), ..decoded };
    }
    let Some(id) = query.data else {
        let what = query.game_short_name.map_or("a press that says nothing", |_| "a press that starts a game");
        return Decoded { what: "ignored", reason: Some(what.to_owned()), ..decoded };
    };
    decoded.text = Some(id.clone());
    decoded.button = Some(Button { label: label.unwrap_or_else(|| id.clone()), id });
    decoded
}

fn reacted(reaction: &Reaction) -> Decoded {
    let (added, removed) = (reaction.added(), reaction.removed());
    let (what, signs) = if added.is_empty() { ("reaction.removed", removed) } else { ("reaction.added", added) };
    let decoded = Decoded {
        conversation: Some(thread(&reaction.chat, None)),
        message_id: Some(reaction.message_id.to_string()),
        reply_to: Some(reaction.message_id.to_string()),
        sender: reaction.user.as_ref().map(sender).or_else(|| reaction.actor_chat.as_ref().map(as_sender)),
        sent_at: moment(reaction.date),
        text: Some(signs.join(" ")).filter(|signs| !signs.is_empty()),
        ..Decoded::new(KIND, what)
    };
    if decoded.text.is_none() {
        let reason = Some("a reaction that changes nothing".to_owned());
        return Decoded { what: "ignored", reason, ..decoded };
    }
    decoded
}

fn membership(change: &Membership) -> Decoded {
    let (what, reason) = match change.told() {
        Ok(told) => ("conversation.updated", told),
        Err(reason) => ("ignored", reason),
    };
    Decoded {
        reason: Some(reason.to_owned()),
        conversation: Some(thread(&change.chat, None)),
        sender: Some(sender(&change.from)),
        sent_at: moment(change.date),
        ..Decoded::new(KIND, what)
    }
}

fn thread(chat: &Chat, topic: Option<Topic>) -> DecodedThread {
    let mut native = Map::new();
    native.insert("chat_id".into(), chat.id.into());
    native.extend(topic.map(|topic| match topic {
        Topic::Forum(topic) => ("thread_id".to_owned(), topic.into()),
        Topic::Direct(topic) => ("direct_messages_topic_id".to_owned(), topic.into()),
    }));
    DecodedThread { key: Place { chat: chat.id, topic }.to_string(), native }
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
