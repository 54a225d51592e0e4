//! What a frame means.

use frontdesk_model::{Decoded, DecodedAttachment, DecodedSender, DecodedThread, Timestamp, Unreadable};
use frontdesk_richtext::{Mention, Mentioned, read, show};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    KIND,
    frame::{Deleted, File, Interaction, Member, Message, Reaction, User},
};

/// Kinds of messages that persons write (<https://discord.com/developers/docs/resources/message#message-object-message-types>): as
/// such, as a reply, by a command.
const WRITTEN: [u64; 4] = [0, 19, 20, 23];
/// A button or a menu was used.
const COMPONENT: u64 = 3;

pub(crate) fn decode(input: &Value) -> Result<Decoded, Unreadable> {
    let Value::Object(frame) = input else { return Err(Unreadable::input("a frame is a JSON object")) };
    let Some(op) = frame.get("op").and_then(Value::as_u64) else {
        return Err(Unreadable::input("a frame has an `op`, a number; this has none"));
    };
    if op != 0 {
        return Ok(Decoded::ignored(KIND, format!("frames with op {op} keep the connection and say nothing")));
    }
    let Some(name) = frame.get("t").and_then(Value::as_str) else {
        return Err(Unreadable::input("a frame with op 0 has a `t`, the event's name; this has none"));
    };
    let data = frame.get("d").cloned().unwrap_or_default();
    match name {
        "MESSAGE_CREATE" => message(of_form(data)?, "message.created"),
        "MESSAGE_UPDATE" => message(of_form(data)?, "message.edited"),
        "MESSAGE_DELETE" => Ok(deleted(of_form(data)?)),
        "MESSAGE_REACTION_ADD" => Ok(reacted(of_form(data)?, "reaction.added")),
        "MESSAGE_REACTION_REMOVE" => Ok(reacted(of_form(data)?, "reaction.removed")),
        "INTERACTION_CREATE" => Ok(pressed(of_form(data)?)),
        other => {
            let shown: String = other.chars().filter(|letter| !letter.is_control()).take(40).collect();
            Ok(Decoded::ignored(KIND, format!("events of the name {shown} are not used")))
        }
    }
}

fn of_form<T: DeserializeOwned>(data: Value) -> Result<T, Unreadable> {
    serde_json::from_value(data)
        .map_err(|error| Unreadable::input(format!("`d` is not of the gateway's form: {error}")))
}

fn message(said: Message, what: &'static str) -> Result<Decoded, Unreadable> {
    let written = WRITTEN.contains(&said.kind);
    let moment = said.edited_timestamp.as_deref().filter(|_| what == "message.edited").or(said.timestamp.as_deref());
    let sent_at = moment
        .map(str::parse::<Timestamp>)
        .transpose()
        .map_err(|error| Unreadable::input(format!("a `timestamp` is {error}")))?;
    let name = said.member.as_ref().and_then(|member| member.nick.clone());
    let mut decoded = Decoded {
        conversation: Some(thread(&said.channel_id, said.guild_id.as_deref())),
        message_id: Some(said.id.clone()),
        reply_to: said.message_reference.as_ref().filter(|to| to.kind == 0).and_then(|to| to.message_id.clone()),
        sender: said.author.as_ref().map(|author| {
            let of = sender(author, name);
            DecodedSender { is_bot: of.is_bot || said.webhook_id.is_some(), ..of }
        }),
        sent_at,
        attachments: said.attachments.iter().map(attachment).collect(),
        ..Decoded::new(KIND, what)
    };
    decoded.auto_generated = decoded.sender.as_ref().is_some_and(|sender| sender.is_bot);
    if !written {
        let reason = format!("messages of type {} are notes of the service", said.kind);
        return Ok(Decoded { what: "ignored", reason: Some(reason), ..decoded });
    }
    let Some(content) = &said.content else {
        if what == "message.edited" {
            return Ok(Decoded { what: "ignored", reason: Some("what was written has not changed".into()), ..decoded });
        }
        decoded.warnings.push("there is no `content`: the application may lack the intent MESSAGE_CONTENT".into());
        return Ok(decoded);
    };
    let document = read::discord_with(content, &|mention| called(mention, &said));
    show(&mut decoded, &document);
    let stickers: Vec<&str> = said.sticker_items.iter().map(|sticker| sticker.name.as_str()).collect();
    if !stickers.is_empty() {
        decoded.warnings.push(format!("stickers are not shown: {}", stickers.join(", ")));
    }
    Ok(decoded)
}

/// What a mention is called, as far as the frame says.
fn called(mention: &Mention, said: &Message) -> Option<String> {
    match mention.of {
        Mentioned::User => said.mentions.iter().find(|one| one.user.id == mention.id).map(|one| {
            let nick = one.member.as_ref().and_then(|member| member.nick.clone());
            format!("@{}", nick.unwrap_or_else(|| shown_name(&one.user)))
        }),
        Mentioned::Channel => {
            said.mention_channels.iter().find(|one| one.id == mention.id).map(|one| format!("#{}", one.name))
        }
        Mentioned::Role | Mentioned::Command => None,
    }
}

fn attachment(file: &File) -> DecodedAttachment {
    DecodedAttachment {
        name: file.filename.clone(),
        media_type: file.content_type.clone(),
        size: file.size,
        file_id: Some(file.id.clone()),
        url: file.url.clone(),
        ..DecodedAttachment::default()
    }
}

fn deleted(data: Deleted) -> Decoded {
    Decoded {
        conversation: Some(thread(&data.channel_id, data.guild_id.as_deref())),
        message_id: Some(data.id),
        ..Decoded::new(KIND, "message.deleted")
    }
}

fn reacted(data: Reaction, what: &'static str) -> Decoded {
    let nobody = |id| DecodedSender { id: Some(id), address: None, name: None, is_bot: false };
    let member = data.member.and_then(|Member { nick, user }| Some(sender(&user?, nick)));
    Decoded {
        conversation: Some(thread(&data.channel_id, data.guild_id.as_deref())),
        reply_to: Some(data.message_id),
        sender: Some(member.unwrap_or_else(|| nobody(data.user_id))),
        text: data.emoji.name,
        ..Decoded::new(KIND, what)
    }
}

fn pressed(data: Interaction) -> Decoded {
    if data.kind != COMPONENT {
        return Decoded::ignored(KIND, format!("interactions of type {} are not used", data.kind));
    }
    let by_member = data.member.and_then(|Member { nick, user }| Some(sender(&user?, nick)));
    Decoded {
        conversation: data.channel_id.map(|channel| thread(&channel, data.guild_id.as_deref())),
        message_id: Some(data.id),
        reply_to: data.message.map(|message| message.id),
        sender: by_member.or_else(|| data.user.as_ref().map(|user| sender(user, None))),
        text: data.data.as_ref().and_then(|data| data.get("custom_id")?.as_str()).map(str::to_owned),
        ..Decoded::new(KIND, "button.pressed")
    }
}

fn thread(channel: &str, guild: Option<&str>) -> DecodedThread {
    let mut native = Map::new();
    native.insert("channel_id".into(), channel.into());
    if let Some(guild) = guild {
        native.insert("guild_id".into(), guild.into());
    }
    DecodedThread { key: channel.to_owned(), native }
}

fn sender(user: &User, nick: Option<String>) -> DecodedSender {
    DecodedSender {
        id: Some(user.id.clone()),
        address: Some(user.username.clone()).filter(|name| !name.is_empty()),
        name: Some(nick.unwrap_or_else(|| shown_name(user))).filter(|name| !name.is_empty()),
        is_bot: user.bot,
    }
}

fn shown_name(user: &User) -> String {
    user.global_name.clone().unwrap_or_else(|| user.username.clone())
}
