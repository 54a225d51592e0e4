//! Where a conversation stands: a chat, or a topic of one. Threads and `frontdesk decode telegram` name it the same way.

use std::fmt;

use frontdesk_model::ThreadId;

/// What of a chat a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A topic of a forum (`message_thread_id`).
    Forum(i64),
    /// What one person writes to a channel in its direct messages (<https://core.telegram.org/bots/api#directmessagestopic>).
    Direct(i64),
}

impl Topic {
    /// By which parameter something is sent there.
    pub(crate) fn param(self) -> (&'static str, i64) {
        match self {
            Self::Forum(topic) => ("message_thread_id", topic),
            Self::Direct(topic) => ("direct_messages_topic_id", topic),
        }
    }

    fn read(name: &str) -> Option<Self> {
        match name.strip_prefix("direct-") {
            Some(topic) => topic.parse().ok().map(Self::Direct),
            None => name.parse().ok().map(Self::Forum),
        }
    }
}

/// A chat, or a topic of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) chat: i64,
    pub(crate) topic: Option<Topic>,
}

/// `-1001`, `-1001/5`, `-1001/direct-5`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.chat)?;
        match self.topic {
            Some(Topic::Forum(topic)) => write!(f, "/{topic}"),
            Some(Topic::Direct(topic)) => write!(f, "/direct-{topic}"),
            None => Ok(()),
        }
    }
}

impl Place {
    /// Threads are named by us; one that is not so belongs to no chat, and Telegram says so.
    pub(crate) fn of(thread: &ThreadId) -> Self {
        let (chat, topic) = match thread.as_str().split_once('/') {
            Some((chat, topic)) => (chat, Topic::read(topic)),
            None => (thread.as_str(), None),
        };
        Self { chat: chat.parse().unwrap_or_default(), topic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_by_its_name() {
        for topic in [None, Some(Topic::Forum(5)), Some(Topic::Direct(5_000_000_000))] {
            let place = Place { chat: -1_001, topic };
            assert_eq!(ThreadId::new(place.to_string()).ok().map(|thread| Place::of(&thread)), Some(place));
        }
    }
}
