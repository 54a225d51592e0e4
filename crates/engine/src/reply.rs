//! The reply format: one form for the body of a 200 and for what is posted to a conversation.

use std::time::Duration;

use frontdesk_model::{Attachment, AttachmentId, Button, Content, FileAt, MessageId, RemoteFile, Timestamp, Version};
use serde::Deserialize;
use serde_path_to_error::Segment;

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
    /// Files that go with it.
    pub attachments: Vec<ReplyAttachment>,
    /// What can be pressed under it.
    pub buttons: Vec<Button>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// A note that only our side sees.
    pub private: bool,
}

/// A file that goes with a message of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyAttachment {
    /// One that is here: handed in before, or of a message of the same conversation.
    Here(AttachmentId),
    /// One that lies elsewhere and is fetched.
    Elsewhere(RemoteFile),
}

/// What a reply does besides saying something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Teammates go on.
    Handoff {
        /// Why.
        reason: Option<String>,
    },
    /// A message of ours says something else.
    Edit {
        /// Which.
        message: MessageId,
        /// What it says from now on; not empty.
        content: Content,
    },
    /// A message of ours is taken back.
    Delete {
        /// Which.
        message: MessageId,
    },
    /// The matter is done.
    Resolve,
    /// The conversation sleeps, unless the contact writes.
    Snooze {
        /// Until then: later than now, at most a year from now.
        until: Timestamp,
    },
}

/// What becomes of a message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Edit,
    Delete,
}

/// A conversation sleeps no longer than this.
const LONGEST_SNOOZE: Duration = Duration::from_secs(366 * 24 * 3600);

/// Whether a conversation may sleep until then.
///
/// # Errors
/// Why not, in words that follow the name of the field.
pub(crate) fn check_snooze(until: Timestamp, now: Timestamp) -> Result<(), &'static str> {
    if until <= now {
        return Err("write a moment that lies in the future");
    }
    if until > now.plus(LONGEST_SNOOZE) {
        return Err("write a moment that is at most a year away");
    }
    Ok(())
}

impl Reply {
    /// Whether its moments can be used.
    pub(crate) fn check_moments(&self, now: Timestamp) -> Result<(), String> {
        self.actions.iter().try_for_each(|action| match action {
            Action::Snooze { until } => check_snooze(*until, now).map_err(|rule| format!("until of snooze: {rule}")),
            Action::Handoff { .. } | Action::Resolve | Action::Edit { .. } | Action::Delete { .. } => Ok(()),
        })
    }

    /// The messages that its actions change.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (MessageId, Change)> {
        self.actions.iter().filter_map(|action| match action {
            Action::Edit { message, .. } => Some((*message, Change::Edit)),
            Action::Delete { message } => Some((*message, Change::Delete)),
            Action::Handoff { .. } | Action::Resolve | Action::Snooze { .. } => None,
        })
    }
}

/// A body is not a reply.
///
/// Shown (`Display`) it says what is wrong without a word of the body, as a log may have it. Who wrote the body is told more:
/// see [`BadReply::told`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// Not JSON at all.
    #[error("the reply is not JSON: {0}")]
    NotJson(String),
    /// JSON of another form.
    #[error("{said}")]
    Form {
        /// What is wrong.
        said: String,
        /// The same with the name of a field that is not known here.
        told: String,
    },
}

impl BadReply {
    /// What is wrong and what to do about it, for whoever wrote the body and for nobody else.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::NotJson(_) => self.to_string(),
            Self::Form { told, .. } => told.clone(),
        }
    }

    fn form(sentence: impl Into<String>) -> Self {
        let said = sentence.into();
        Self::Form { told: said.clone(), said }
    }
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
    let mut reader = serde_json::Deserializer::from_slice(body);
    let raw: RawReply =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| Mistake::of(&error).into_bad())?;
    reader.end().map_err(|error| BadReply::NotJson(format!("something stands behind it ({})", place(&error))))?;
    raw.check()
}

fn place(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

/// What serde found, in the words of the format. Its own words can quote the body and name types of ours; neither is
/// passed on.
struct Mistake {
    is_json: bool,
    /// Where, as far as the names on the way are the format's own.
    path: String,
    /// What is wrong there.
    said: String,
    /// A field that is not known, and what to do about it.
    unknown: Option<(String, String)>,
    place: String,
}

impl Mistake {
    fn of(error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let inner = error.inner();
        let words = inner.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        let mut mistake = Self {
            is_json: inner.classify() == serde_json::error::Category::Data,
            path: known_path(error.path()),
            said: words.to_owned(),
            unknown: None,
            place: place(inner),
        };
        if let Some((name, known)) = unknown_field(words) {
            let listed =
                if known.is_empty() { "none is needed".to_owned() } else { format!("known are {}", known.join(", ")) };
            mistake.said = format!("a field that is not known; {listed}");
            let guess = || nearest(name, &known).map(|nearest| format!("did you mean {nearest}?"));
            let mend = advice(name).map(str::to_owned).or_else(guess).unwrap_or(listed);
            mistake.unknown = Some((excerpt(name), mend));
            // The path leads to the field itself where its name has a meaning elsewhere.
            if let Some(holder) = mistake.path.strip_suffix(name) {
                mistake.path = holder.trim_end_matches('.').to_owned();
            }
        } else if let Some((_, known)) =
            words.strip_prefix("unknown variant `").and_then(|rest| rest.rsplit_once("`, expected "))
        {
            mistake.said = format!("write one of {}", quoted(known).join(", "));
        } else if let Some(name) = words.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            mistake.said = format!("{name} is missing");
        } else if let Some(name) = words.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
            mistake.said = format!("{name} is there twice; write it once");
        } else if let Some((_, expected)) =
            words.strip_prefix("invalid ").and_then(|rest| rest.rsplit_once(", expected "))
        {
            mistake.said = format!("write {}", in_our_words(expected));
        }
        mistake
    }

    fn into_bad(self) -> BadReply {
        let Self { is_json, path, said, unknown, place } = self;
        if !is_json {
            return BadReply::NotJson(format!("{said} ({place})"));
        }
        let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let told = match unknown {
            Some((name, mend)) => {
                let name = if path.is_empty() { name } else { format!("{path}.{name}") };
                format!("{name}: not a field of a reply; {mend} ({place})")
            }
            None => format!("{at}{said} ({place})"),
        };
        BadReply::Form { said: format!("{at}{said} ({place})"), told }
    }
}

/// Fields that somebody may well expect, and what to do without them.
fn advice(name: &str) -> Option<&'static str> {
    match name {
        "buttons" => Some(
            "it stands on a message: {\"messages\": [{\"text\": \"...\", \"buttons\": [{\"id\": \"yes\", \"label\": \"Yes\"}]}]}",
        ),
        "attachments" => Some(
            "it stands on a message: {\"messages\": [{\"text\": \"...\", \"attachments\": [{\"id\": \"att_...\"}]}]}",
        ),
        "private" => Some("it stands on a message: {\"messages\": [{\"text\": \"...\", \"private\": true}]}"),
        "html" => Some("write markdown instead"),
        _ => None,
    }
}

/// Every name that the format has, so that a path holds no other.
const NAMES: &[&str] = &[
    "if_version",
    "messages",
    "route",
    "actions",
    "text",
    "markdown",
    "reply_to",
    "private",
    "attachments",
    "buttons",
    "label",
    "message_id",
    "id",
    "url",
    "name",
    "type",
    "reason",
    "until",
];

fn known_path(path: &serde_path_to_error::Path) -> String {
    let mut written = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => written += &format!("[{index}]"),
            Segment::Map { key } if NAMES.contains(&key.as_str()) => {
                if !written.is_empty() {
                    written.push('.');
                }
                written += key;
            }
            _ => break,
        }
    }
    written
}

/// The field that is not known, and those that are.
fn unknown_field(words: &str) -> Option<(&str, Vec<&str>)> {
    let rest = words.strip_prefix("unknown field `")?;
    match rest.rsplit_once("`, expected ") {
        Some((name, known)) => Some((name, quoted(known))),
        None => Some((rest.strip_suffix("`, there are no fields")?, Vec::new())),
    }
}

/// The names in a list such as "one of `a`, `b`".
fn quoted(list: &str) -> Vec<&str> {
    list.split('`').skip(1).step_by(2).collect()
}

fn in_our_words(expected: &str) -> &str {
    match expected {
        "a string" | "a borrowed string" => "text in quotes",
        "a sequence" => "a list in brackets",
        "a boolean" => "true or false",
        "u64" => "a whole number from 0",
        other => other,
    }
}

/// The start of what somebody wrote, without what could disturb a terminal.
fn excerpt(text: &str) -> String {
    text.chars().take(40).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Which of the known words somebody probably meant.
#[must_use]
pub fn nearest<'k>(wrong: &str, known: &[&'k str]) -> Option<&'k str> {
    // Longer ones are nobody's typing mistake, and comparing them would cost time.
    if wrong.len() > 64 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    // A third of the letters may be wrong, and at least one.
    let bound = (wrong.chars().count() / 3).max(1);
    let distances = known.iter().map(|known| (strsim::osa_distance(&wrong, known), *known));
    let (_, nearest) = distances.filter(|(distance, _)| *distance <= bound).min_by_key(|(distance, _)| *distance)?;
    Some(nearest)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object such as {\"text\": \"Hello\"}")]
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
#[serde(deny_unknown_fields, expecting = "a message such as {\"text\": \"Hello\"}")]
struct RawMessage {
    text: Option<String>,
    markdown: Option<String>,
    reply_to: Option<MessageId>,
    attachments: Option<Vec<RawAttachment>>,
    buttons: Option<Vec<RawButton>>,
    #[serde(default)]
    private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a button such as {\"id\": \"yes\", \"label\": \"Yes\"}")]
struct RawButton {
    id: Option<String>,
    label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an attachment such as {\"id\": \"att_...\"} or {\"url\": \"https://...\"}")]
struct RawAttachment {
    id: Option<AttachmentId>,
    url: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    deny_unknown_fields,
    expecting = "an action such as {\"type\": \"resolve\"}"
)]
enum RawAction {
    Handoff { reason: Option<String> },
    Resolve {},
    Edit { message_id: MessageId, text: Option<String>, markdown: Option<String> },
    Delete { message_id: MessageId },
    Snooze { until: Timestamp },
}

impl RawReply {
    fn check(self) -> Result<Reply, BadReply> {
        let form = |sentence: &str| BadReply::form(sentence);
        if self.route.is_some_and(|route| route.iter().any(|stop| stop != "origin")) {
            return Err(form("route: replies go where the customer wrote, which is \"origin\"; leave route out"));
        }
        let (text, markdown, reply_to) = (self.text, self.markdown, self.reply_to);
        let alone = RawMessage { text, markdown, reply_to, attachments: None, buttons: None, private: false };
        let has_alone = alone.text.is_some() || alone.markdown.is_some() || alone.reply_to.is_some();
        let raw_messages = match (has_alone, self.messages) {
            (true, Some(_)) => {
                return Err(form("write either messages, or one text or markdown beside it, not both"));
            }
            (true, None) => vec![alone],
            (false, messages) => messages.unwrap_or_default(),
        };
        if raw_messages.len() > MAX_MESSAGES {
            return Err(BadReply::form(format!("messages: at most {MAX_MESSAGES} in one reply")));
        }
        let messages = raw_messages.into_iter().enumerate().map(|(at, raw)| raw.check(at)).collect::<Result<_, _>>()?;
        let actions = self.actions.unwrap_or_default();
        if actions.len() > 4 {
            return Err(form("actions: at most 4 in one reply"));
        }
        let actions = actions.into_iter().enumerate().map(|(at, action)| {
            Ok(match action {
                RawAction::Handoff { reason } => Action::Handoff { reason },
                RawAction::Resolve {} => Action::Resolve,
                RawAction::Edit { message_id, text, markdown } => {
                    let content = match (text, markdown) {
                        (Some(text), None) => Content::Text(text),
                        (None, Some(markdown)) => Content::Markdown(markdown),
                        _ => {
                            return Err(BadReply::form(format!(
                                "actions[{at}]: write exactly one of text and markdown"
                            )));
                        }
                    };
                    if content.source().trim().is_empty() {
                        return Err(BadReply::form(format!(
                            "actions[{at}]: says nothing; take the message back with {{\"type\": \"delete\"}} instead"
                        )));
                    }
                    Action::Edit { message: message_id, content }
                }
                RawAction::Delete { message_id } => Action::Delete { message: message_id },
                RawAction::Snooze { until } => Action::Snooze { until },
            })
        });
        let actions = actions.collect::<Result<Vec<_>, BadReply>>()?;
        let mut changed: Vec<MessageId> = Vec::new();
        for action in &actions {
            if let Action::Edit { message, .. } | Action::Delete { message } = action {
                if changed.contains(message) {
                    return Err(form("actions: a message is edited or deleted once in one reply; leave the other out"));
                }
                changed.push(*message);
            }
        }
        Ok(Reply { if_version: self.if_version, messages, actions })
    }
}

impl RawMessage {
    fn check(self, at: usize) -> Result<ReplyMessage, BadReply> {
        let raw = self.attachments.unwrap_or_default();
        // With attachments there need be no words.
        let has_more = !raw.is_empty();
        let content = match (self.text, self.markdown) {
            (Some(text), None) => Content::Text(text),
            (None, Some(markdown)) => Content::Markdown(markdown),
            (None, None) if has_more => Content::Text(String::new()),
            _ => {
                return Err(BadReply::form(format!("messages[{at}]: write exactly one of text and markdown")));
            }
        };
        if content.source().trim().is_empty() && !has_more {
            return Err(BadReply::form(format!("messages[{at}]: says nothing; leave it out")));
        }
        if raw.len() > Attachment::MAX_OF_A_MESSAGE {
            let most = Attachment::MAX_OF_A_MESSAGE;
            return Err(BadReply::form(format!("messages[{at}].attachments: at most {most} with one message")));
        }
        let attachments = raw.into_iter().enumerate().map(|(place, raw)| {
            raw.check().map_err(|rule| BadReply::form(format!("messages[{at}].attachments[{place}]: {rule}")))
        });
        let attachments = attachments.collect::<Result<_, _>>()?;
        let buttons = check_buttons(self.buttons.unwrap_or_default(), self.private)
            .map_err(|rule| BadReply::form(format!("messages[{at}].buttons{rule}")))?;
        Ok(ReplyMessage { content, attachments, buttons, reply_to: self.reply_to, private: self.private })
    }
}

/// The buttons, each with an id of its own: its label, where none is written.
fn check_buttons(raw: Vec<RawButton>, private: bool) -> Result<Vec<Button>, String> {
    if raw.len() > Button::MAX_OF_A_MESSAGE {
        return Err(format!(": at most {} under one message", Button::MAX_OF_A_MESSAGE));
    }
    if private && !raw.is_empty() {
        return Err(": nobody sees a note's buttons; leave them out".into());
    }
    let mut buttons: Vec<Button> = Vec::new();
    for (at, RawButton { id, label }) in raw.into_iter().enumerate() {
        if label.trim().is_empty() || label.chars().count() > Button::MAX_LABEL || label.chars().any(char::is_control) {
            return Err(format!("[{at}].label: write 1 to {} characters on one line", Button::MAX_LABEL));
        }
        let id = id.unwrap_or_else(|| label.clone());
        if id.is_empty() || id.len() > Button::MAX_ID || id.chars().any(char::is_control) {
            return Err(format!(
                "[{at}].id: write 1 to {} bytes on one line; the label counts where there is none",
                Button::MAX_ID
            ));
        }
        if buttons.iter().any(|known| known.id == id) {
            return Err(format!("[{at}].id: another button has the same; give each its own"));
        }
        buttons.push(Button { id, label });
    }
    Ok(buttons)
}

impl RawAttachment {
    fn check(self) -> Result<ReplyAttachment, &'static str> {
        match (self.id, self.url) {
            (Some(id), None) if self.name.is_none() => Ok(ReplyAttachment::Here(id)),
            (Some(_), None) => Err("name: one that is here has its name already; leave it out"),
            (None, Some(url)) if is_web_address(&url) => {
                Ok(ReplyAttachment::Elsewhere(RemoteFile { at: FileAt::Url(url), name: self.name }))
            }
            (None, Some(_)) => Err("url: write an http or https address of at most 2048 characters"),
            _ => Err("write exactly one of id and url"),
        }
    }
}

fn is_web_address(text: &str) -> bool {
    let parsed = url::Url::parse(text).ok().filter(|_| text.len() <= 2048);
    parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}
