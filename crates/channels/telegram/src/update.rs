//! An update as far as we read it (<https://core.telegram.org/bots/api#update>). What the platform adds is passed over.

use std::borrow::Borrow;

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
pub(crate) struct Update {
    pub(crate) message: Option<Message>,
    pub(crate) edited_message: Option<Message>,
    pub(crate) callback_query: Option<CallbackQuery>,
    pub(crate) message_reaction: Option<Reaction>,
    pub(crate) my_chat_member: Option<Membership>,
}

#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) message_id: i64,
    pub(crate) message_thread_id: Option<i64>,
    #[serde(default)]
    pub(crate) is_topic_message: bool,
    pub(crate) from: Option<User>,
    pub(crate) sender_chat: Option<Chat>,
    pub(crate) via_bot: Option<User>,
    #[serde(default)]
    pub(crate) date: i64,
    pub(crate) edit_date: Option<i64>,
    pub(crate) chat: Chat,
    pub(crate) reply_to_message: Option<Answered>,
    pub(crate) text: Option<String>,
    #[serde(default)]
    pub(crate) entities: Vec<Entity>,
    pub(crate) caption: Option<String>,
    #[serde(default)]
    pub(crate) caption_entities: Vec<Entity>,
    #[serde(default)]
    pub(crate) photo: Vec<File>,
    pub(crate) animation: Option<File>,
    pub(crate) audio: Option<File>,
    pub(crate) document: Option<File>,
    pub(crate) sticker: Option<File>,
    pub(crate) video: Option<File>,
    pub(crate) video_note: Option<File>,
    pub(crate) voice: Option<File>,
    pub(crate) contact: Option<Card>,
    pub(crate) location: Option<Location>,
    pub(crate) venue: Option<Venue>,
    pub(crate) poll: Option<Poll>,
    pub(crate) dice: Option<Dice>,
    pub(crate) media_group_id: Option<String>,
    pub(crate) quote: Option<Quote>,
    pub(crate) forward_origin: Option<Origin>,
    #[serde(default)]
    pub(crate) is_automatic_forward: bool,
    pub(crate) migrate_to_chat_id: Option<i64>,
    pub(crate) migrate_from_chat_id: Option<i64>,
    /// Everything else: what it says besides, notes of the service, and what the platform added since.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

#[derive(Deserialize)]
pub(crate) struct Answered {
    pub(crate) message_id: i64,
    pub(crate) from: Option<User>,
}

#[derive(Deserialize)]
pub(crate) struct Quote {
    #[serde(default)]
    pub(crate) text: String,
}

/// <https://core.telegram.org/bots/api#messageorigin>
#[derive(Deserialize)]
pub(crate) struct Origin {
    sender_user: Option<Named>,
    sender_user_name: Option<String>,
    sender_chat: Option<Named>,
    chat: Option<Named>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Named {
    first_name: String,
    last_name: String,
    title: String,
    username: String,
}

impl Origin {
    /// Whose words these were first.
    pub(crate) fn name(&self) -> Option<String> {
        let Self { sender_user, sender_user_name, sender_chat, chat } = self;
        let named = || sender_user.as_ref().or(sender_chat.as_ref()).or(chat.as_ref()).map(Named::name);
        let name = sender_user_name.clone().or_else(named)?;
        let name = name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect::<String>();
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }
}

impl Named {
    fn name(&self) -> String {
        let full = format!("{} {}", self.first_name, self.last_name).trim().to_owned();
        [full, self.title.clone(), self.username.clone()].into_iter().find(|name| !name.is_empty()).unwrap_or_default()
    }
}

/// <https://core.telegram.org/bots/api#chatmemberupdated>
#[derive(Deserialize)]
pub(crate) struct Membership {
    pub(crate) chat: Chat,
    pub(crate) from: User,
    #[serde(default)]
    pub(crate) date: i64,
    old_chat_member: Standing,
    new_chat_member: Standing,
}

#[derive(Deserialize)]
struct Standing {
    #[serde(default)]
    status: String,
    /// Of somebody restricted.
    is_member: Option<bool>,
}

impl Standing {
    fn is_out(&self) -> bool {
        matches!(self.status.as_str(), "kicked" | "left") || self.is_member == Some(false)
    }
}

impl Membership {
    /// What changed, in a sentence; else why that is nothing.
    pub(crate) fn told(&self) -> Result<&'static str, &'static str> {
        let (was_out, is_out) = (self.old_chat_member.is_out(), self.new_chat_member.is_out());
        match (was_out, is_out, self.chat.is_private()) {
            _ if self.chat.kind == "channel" => Err("it is about a channel"),
            (false, true, true) => {
                Ok("The contact has blocked the bot on Telegram: nothing reaches them until they start it again.")
            }
            (true, false, true) => Ok("The contact has started the bot on Telegram again."),
            (false, true, false) => Ok("The bot was removed from the group on Telegram."),
            (true, false, false) => Ok("The bot was added to the group on Telegram."),
            _ => Err("it changes neither whether the bot is in the chat nor whether it is blocked"),
        }
    }

    /// What it was before and what it is now.
    pub(crate) fn both(&self) -> [&str; 2] {
        [&self.old_chat_member.status, &self.new_chat_member.status]
    }
}

#[derive(Deserialize)]
pub(crate) struct User {
    pub(crate) id: i64,
    #[serde(default)]
    pub(crate) is_bot: bool,
    #[serde(default)]
    pub(crate) first_name: String,
    pub(crate) last_name: Option<String>,
    pub(crate) username: Option<String>,
    /// A BCP 47 tag.
    pub(crate) language_code: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Chat {
    pub(crate) id: i64,
    /// `private`, `group`, `supergroup`, `channel`.
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    pub(crate) title: Option<String>,
    pub(crate) username: Option<String>,
}

impl Chat {
    pub(crate) fn is_private(&self) -> bool {
        self.kind == "private"
    }
}

#[derive(Deserialize)]
pub(crate) struct Entity {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) offset: i64,
    pub(crate) length: i64,
    pub(crate) url: Option<String>,
    pub(crate) user: Option<User>,
    pub(crate) language: Option<String>,
    pub(crate) custom_emoji_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) file_id: String,
    /// The same for everybody, and no way to the file.
    pub(crate) file_unique_id: Option<String>,
    pub(crate) file_name: Option<String>,
    pub(crate) mime_type: Option<String>,
    pub(crate) file_size: Option<u64>,
    #[serde(default)]
    pub(crate) width: u64,
    #[serde(default)]
    pub(crate) height: u64,
    /// Of a sticker, the sign that it stands for.
    pub(crate) emoji: Option<String>,
    #[serde(default)]
    pub(crate) is_animated: bool,
    #[serde(default)]
    pub(crate) is_video: bool,
}

/// Of the sizes of a picture the largest; among equals the last, where Telegram has it.
pub(crate) fn largest<F: Borrow<File>>(sizes: impl IntoIterator<Item = F>) -> Option<F> {
    sizes.into_iter().max_by_key(|size| {
        let File { width, height, .. } = size.borrow();
        width.saturating_mul(*height)
    })
}

#[derive(Deserialize)]
pub(crate) struct Card {
    #[serde(default)]
    pub(crate) phone_number: String,
    #[serde(default)]
    pub(crate) first_name: String,
    pub(crate) last_name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Location {
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
}

#[derive(Deserialize)]
pub(crate) struct Venue {
    pub(crate) location: Option<Location>,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) address: String,
}

#[derive(Deserialize)]
pub(crate) struct Poll {
    #[serde(default)]
    pub(crate) question: String,
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) options: Vec<Choice>,
}

#[derive(Deserialize)]
pub(crate) struct Choice {
    #[serde(default)]
    pub(crate) text: String,
}

#[derive(Deserialize)]
pub(crate) struct Dice {
    #[serde(default)]
    pub(crate) emoji: String,
    #[serde(default)]
    pub(crate) value: i64,
}

#[derive(Deserialize)]
pub(crate) struct CallbackQuery {
    pub(crate) id: String,
    pub(crate) from: User,
    pub(crate) message: Option<Message>,
    pub(crate) data: Option<String>,
    pub(crate) game_short_name: Option<String>,
}

impl CallbackQuery {
    /// What stands on the button, as the message that it stands under says.
    pub(crate) fn label(&self) -> Option<String> {
        let rows = self.message.as_ref()?.more.get("reply_markup")?.get("inline_keyboard")?.as_array()?;
        let mut keys = rows.iter().filter_map(Value::as_array).flatten();
        let pressed = keys.find(|key| key.get("callback_data").and_then(Value::as_str) == self.data.as_deref())?;
        pressed.get("text").and_then(Value::as_str).map(str::to_owned)
    }
}

#[derive(Deserialize)]
pub(crate) struct Reaction {
    pub(crate) chat: Chat,
    pub(crate) message_id: i64,
    pub(crate) user: Option<User>,
    pub(crate) actor_chat: Option<Chat>,
    #[serde(default)]
    pub(crate) date: i64,
    #[serde(default)]
    old_reaction: Vec<Value>,
    #[serde(default)]
    new_reaction: Vec<Value>,
}

impl Reaction {
    pub(crate) fn added(&self) -> Vec<String> {
        without(&self.new_reaction, &self.old_reaction)
    }

    pub(crate) fn removed(&self) -> Vec<String> {
        without(&self.old_reaction, &self.new_reaction)
    }
}

fn without(these: &[Value], those: &[Value]) -> Vec<String> {
    let those: Vec<String> = those.iter().filter_map(sign).collect();
    these.iter().filter_map(sign).filter(|sign| !those.contains(sign)).collect()
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
