//! What the platform knows: chats, messages, files, the queue of updates.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Call, Fault, Flood};

/// Left out unless they are asked for by name.
const NOT_BY_DEFAULT: &[&str] = &["chat_member", "message_reaction", "message_reaction_count"];

#[derive(Debug, Clone)]
pub(super) struct Hook {
    pub(super) url: String,
    pub(super) secret: Option<String>,
    pub(super) max_connections: i64,
    pub(super) last_error: Option<(i64, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    /// A person blocked the bot, or a group threw it out.
    Shut,
    Migrated(i64),
}

#[derive(Debug)]
pub(super) struct Chat {
    pub(super) about: Value,
    pub(super) standing: Standing,
    pub(super) messages: BTreeMap<i64, Value>,
    pub(super) sends: VecDeque<Instant>,
}

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) kind: &'static str,
    pub(super) unique: String,
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

impl File {
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) me: Value,
    pub(super) users: HashMap<i64, Value>,
    pub(super) chats: HashMap<i64, Chat>,
    pub(super) files: HashMap<String, File>,
    pub(super) callbacks: HashMap<String, Instant>,
    pub(super) callback_life: Duration,
    pub(super) commands: Value,
    pub(super) updates: VecDeque<(i64, Value)>,
    pub(super) in_flight: HashSet<i64>,
    pub(super) allowed: Option<Vec<String>>,
    pub(super) webhook: Option<Hook>,
    pub(super) hook_generation: u64,
    pub(super) hook_retry: Duration,
    /// The newest getUpdates; an older one that still waits is ended with a conflict.
    pub(super) poll_generation: u64,
    pub(super) terminated_by: &'static str,
    pub(super) calls: Vec<Call>,
    /// By the method in small letters.
    pub(super) counts: HashMap<String, usize>,
    pub(super) faults: VecDeque<(String, Fault)>,
    pub(super) latency: Duration,
    pub(super) flood: Option<Flood>,
    pub(super) sends: VecDeque<Instant>,
    next_update: i64,
    next_message: i64,
    next_id: i64,
}

impl State {
    pub(super) fn new(bot: i64) -> Self {
        let me = json!({
            "id": bot, "is_bot": true, "first_name": "Desk", "username": "desk_bot", "can_join_groups": true,
            "can_read_all_group_messages": false, "supports_inline_queries": false,
        });
        Self {
            me,
            users: HashMap::new(),
            chats: HashMap::new(),
            files: HashMap::new(),
            callbacks: HashMap::new(),
            callback_life: Duration::from_secs(15),
            commands: json!([]),
            updates: VecDeque::new(),
            in_flight: HashSet::new(),
            allowed: None,
            webhook: None,
            hook_generation: 0,
            hook_retry: Duration::from_millis(100),
            poll_generation: 0,
            terminated_by: "",
            calls: Vec::new(),
            counts: HashMap::new(),
            faults: VecDeque::new(),
            latency: Duration::ZERO,
            flood: None,
            sends: VecDeque::new(),
            next_update: 870_000_001,
            next_message: 0,
            next_id: 1000,
        }
    }

    pub(super) fn fresh(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn add_chat(&mut self, about: Value) -> i64 {
        let id = about["id"].as_i64().unwrap();
        let chat = Chat { about, standing: Standing::Member, messages: BTreeMap::new(), sends: VecDeque::new() };
        self.chats.insert(id, chat);
        id
    }

    /// The bot as a message's sender has it.
    pub(super) fn bot(&self) -> Value {
        json!({ "id": self.me["id"], "is_bot": true, "first_name": self.me["first_name"], "username": self.me["username"] })
    }

    /// Puts a message into its chat. Private chats and groups are numbered together, a supergroup for itself.
    pub(super) fn keep(&mut self, chat: i64, from: &Value, content: &Map<String, Value>) -> Value {
        let room = self.chats.get_mut(&chat).expect("a chat that was made");
        let number = if room.about["type"] == "supergroup" {
            room.messages.last_key_value().map_or(1, |(last, _)| last + 1)
        } else {
            self.next_message += 1;
            self.next_message
        };
        let mut message = Map::new();
        message.insert("message_id".to_owned(), number.into());
        message.insert("from".to_owned(), from.clone());
        message.insert("chat".to_owned(), room.about.clone());
        message.insert("date".to_owned(), now().into());
        message.extend(content.clone());
        let message = Value::Object(message);
        room.messages.insert(number, message.clone());
        message
    }

    /// Queues an update, if its kind is among the allowed.
    pub(super) fn push(&mut self, kind: &str, content: Value) -> Option<i64> {
        let wanted = match &self.allowed {
            Some(allowed) => allowed.iter().any(|name| name == kind),
            None => !NOT_BY_DEFAULT.contains(&kind),
        };
        if !wanted {
            return None;
        }
        let id = self.next_update;
        self.next_update += 1;
        self.updates.push_back((id, json!({ "update_id": id, kind: content })));
        Some(id)
    }

    pub(super) fn add_file(&mut self, kind: &'static str, name: &str, media_type: &str, bytes: Bytes) -> String {
        let number = self.fresh();
        let id = format!("AgACAgIAAxkBAAI{number}");
        let extension = name.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        let file = File {
            kind,
            unique: format!("AQAD{number}"),
            name: format!("file_{number}.{extension}"),
            media_type: media_type.to_owned(),
            bytes,
        };
        self.files.insert(id.clone(), file);
        id
    }

    /// Seconds to wait when one more message to this chat is over a limit; counts it when it is not.
    pub(super) fn flooded(&mut self, chat: i64) -> Option<i64> {
        let flood = self.flood?;
        let at = Instant::now();
        let room = self.chats.get_mut(&chat)?;
        let minute = Duration::from_secs(60);
        let second = Duration::from_secs(1);
        let recent = |sends: &VecDeque<Instant>, span: Duration| {
            sends.iter().rev().take_while(|sent| at.duration_since(**sent) < span).count()
        };
        if recent(&self.sends, second) >= flood.per_second || recent(&room.sends, second) >= flood.per_chat_and_second {
            return Some(flood.retry_after);
        }
        if room.about["type"] != "private" && recent(&room.sends, minute) >= flood.per_group_and_minute {
            return Some(flood.retry_after);
        }
        for sends in [&mut self.sends, &mut room.sends] {
            while sends.front().is_some_and(|sent| at.duration_since(*sent) > minute) {
                sends.pop_front();
            }
            sends.push_back(at);
        }
        None
    }
}

/// Unix time in seconds.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
