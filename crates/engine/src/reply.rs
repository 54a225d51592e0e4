//! The reply format: one form for the body of a 200 and for what is posted to a conversation.

use std::time::Duration;

use frontdesk_model::{Content, MessageId, Timestamp, Version};
use serde::Deserialize;

/// At most this many messages in one reply.
pub(crate) const MAX_MESSAGES: usize = 20;

/// A reply that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// Only if the conversation has this version still.
    pub if_version: Option<Version>,
    /// What to say, in order.
    pub messages: Vec<ReplyMessage>,
    /// What else to do.
    pub actions: Vec<Action>,
}

/// One message of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyMessage {
    /// What it says; not empty.
    pub content: Content,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// A note that only our side sees.
    pub private: bool,
}

/// What a reply does besides saying something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Teammates go on.
    Handoff {
        /// Why.
        reason: Option<String>,
    },
    /// The matter is done.
    Resolve,
    /// The conversation sleeps, unless the contact writes.
    Snooze {
        /// Until then: later than now, at most a year from now.
        until: Timestamp,
    },
}

/// A conversation sleeps no longer than this.
const LONGEST_SNOOZE: Duration = Duration::from_secs(366 * 24 * 3600);

/// Whether a conversation may sleep until then.
///
/// # Errors
/// Why not, in a sentence.
pub(crate) fn check_snooze(until: Timestamp, now: Timestamp) -> Result<(), String> {
    if until <= now {
        return Err("snooze: until is not in the future".into());
    }
    if until > now.plus(LONGEST_SNOOZE) {
        return Err("snooze: until is more than a year away".into());
    }
    Ok(())
}

impl Reply {
    /// Whether its moments can be used.
    pub(crate) fn check_moments(&self, now: Timestamp) -> Result<(), String> {
        self.actions.iter().try_for_each(|action| match action {
            Action::Snooze { until } => check_snooze(*until, now),
            Action::Handoff { .. } | Action::Resolve => Ok(()),
        })
    }
}

/// A body is not a reply; the sentence says what is wrong and names no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// Not JSON at all.
    #[error("the reply is not JSON: {0}")]
    NotJson(String),
    /// JSON of another form.
    #[error("{0}")]
    Form(String),
}

/// Reads a reply. An empty body is a reply that says nothing. Depth is bounded (128 levels) and so is the number of
/// messages (20); the caller bounds the size.
///
/// # Errors
/// What is wrong, in a sentence for the agent's author.
pub fn parse_reply(body: &[u8]) -> Result<Reply, BadReply> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Reply::default());
    }
    let raw: RawReply = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => BadReply::Form(describe(&error)),
        _ => BadReply::NotJson(describe(&error)),
    })?;
    raw.check()
}

/// serde's own words can quote a value; only the place and the kind of mistake are passed on.
fn describe(error: &serde_json::Error) -> String {
    let place = format!("line {} column {}", error.line(), error.column());
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or_default();
    let said = match (words.split_once(' '), words.split_once(", expected ")) {
        (Some(("invalid", _)), Some((_, expected))) => format!("expected {expected}"),
        (Some(("invalid", _)), None) => "a value of the wrong type".to_owned(),
        (Some(("unknown", rest)), expected) => {
            let what = rest.split(' ').next().unwrap_or_default();
            format!("unknown {what}, expected {}", expected.map_or("none", |(_, expected)| expected))
        }
        _ => words.to_owned(),
    };
    format!("{said} ({place})")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReply {
    if_version: Option<Version>,
    messages: Option<Vec<RawMessage>>,
    route: Option<Vec<String>>,
    actions: Option<Vec<RawAction>>,
    text: Option<String>,
    markdown: Option<String>,
    reply_to: Option<MessageId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMessage {
    text: Option<String>,
    markdown: Option<String>,
    reply_to: Option<MessageId>,
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum RawAction {
    Handoff { reason: Option<String> },
    Resolve {},
    Snooze { until: Timestamp },
}

impl RawReply {
    fn check(self) -> Result<Reply, BadReply> {
        let form = |sentence: &str| BadReply::Form(sentence.to_owned());
        if self.route.is_some_and(|route| route.iter().any(|stop| stop != "origin")) {
            return Err(form("route: only \"origin\" is known; leave route out"));
        }
        let alone = RawMessage { text: self.text, markdown: self.markdown, reply_to: self.reply_to, private: false };
        let has_alone = alone.text.is_some() || alone.markdown.is_some() || alone.reply_to.is_some();
        let raw_messages = match (has_alone, self.messages) {
            (true, Some(_)) => {
                return Err(form("write either messages, or one text or markdown beside it, not both"));
            }
            (true, None) => vec![alone],
            (false, messages) => messages.unwrap_or_default(),
        };
        if raw_messages.len() > MAX_MESSAGES {
            return Err(BadReply::Form(format!("messages: at most {MAX_MESSAGES} in one reply")));
        }
        let messages = raw_messages.into_iter().enumerate().map(|(at, raw)| raw.check(at)).collect::<Result<_, _>>()?;
        let actions = self.actions.unwrap_or_default();
        if actions.len() > 4 {
            return Err(form("actions: at most 4 in one reply"));
        }
        let actions = actions
            .into_iter()
            .map(|action| match action {
                RawAction::Handoff { reason } => Action::Handoff { reason },
                RawAction::Resolve {} => Action::Resolve,
                RawAction::Snooze { until } => Action::Snooze { until },
            })
            .collect();
        Ok(Reply { if_version: self.if_version, messages, actions })
    }
}

impl RawMessage {
    fn check(self, at: usize) -> Result<ReplyMessage, BadReply> {
        let content = match (self.text, self.markdown) {
            (Some(text), None) => Content::Text(text),
            (None, Some(markdown)) => Content::Markdown(markdown),
            _ => {
                return Err(BadReply::Form(format!("messages[{at}]: write exactly one of text and markdown")));
            }
        };
        if content.source().trim().is_empty() {
            return Err(BadReply::Form(format!("messages[{at}]: says nothing; leave it out")));
        }
        Ok(ReplyMessage { content, reply_to: self.reply_to, private: self.private })
    }
}
