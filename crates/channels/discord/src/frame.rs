//! A frame of the gateway as far as we read it (<https://discord.com/developers/docs/events/gateway-events>). What the platform
//! adds is passed over.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) channel_id: String,
    pub(crate) guild_id: Option<String>,
    pub(crate) author: Option<User>,
    pub(crate) member: Option<Member>,
    pub(crate) content: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) edited_timestamp: Option<String>,
    #[serde(default)]
    pub(crate) mentions: Vec<Mentioned>,
    #[serde(default)]
    pub(crate) mention_channels: Vec<Channel>,
    #[serde(default)]
    pub(crate) attachments: Vec<File>,
    #[serde(default)]
    pub(crate) sticker_items: Vec<Sticker>,
    pub(crate) message_reference: Option<Reference>,
    pub(crate) webhook_id: Option<String>,
    #[serde(default, rename = "type")]
    pub(crate) kind: u64,
}

#[derive(Deserialize)]
pub(crate) struct User {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) username: String,
    pub(crate) global_name: Option<String>,
    #[serde(default)]
    pub(crate) bot: bool,
}

#[derive(Deserialize)]
pub(crate) struct Member {
    pub(crate) nick: Option<String>,
    pub(crate) user: Option<User>,
}

#[derive(Deserialize)]
pub(crate) struct Mentioned {
    #[serde(flatten)]
    pub(crate) user: User,
    pub(crate) member: Option<Member>,
}

#[derive(Deserialize)]
pub(crate) struct Channel {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) filename: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) url: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Sticker {
    #[serde(default)]
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct Reference {
    pub(crate) message_id: Option<String>,
    /// 0 is a reply, 1 a forward.
    #[serde(default, rename = "type")]
    pub(crate) kind: u64,
}

#[derive(Deserialize)]
pub(crate) struct Deleted {
    pub(crate) id: String,
    pub(crate) channel_id: String,
    pub(crate) guild_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Reaction {
    pub(crate) message_id: String,
    pub(crate) channel_id: String,
    pub(crate) guild_id: Option<String>,
    pub(crate) user_id: String,
    pub(crate) member: Option<Member>,
    pub(crate) emoji: Sign,
}

#[derive(Deserialize)]
pub(crate) struct Sign {
    pub(crate) name: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Interaction {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: u64,
    pub(crate) channel_id: Option<String>,
    pub(crate) guild_id: Option<String>,
    pub(crate) data: Option<Value>,
    pub(crate) member: Option<Member>,
    pub(crate) user: Option<User>,
    pub(crate) message: Option<Pressed>,
}

#[derive(Deserialize)]
pub(crate) struct Pressed {
    pub(crate) id: String,
}
