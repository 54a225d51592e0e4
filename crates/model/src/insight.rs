//! A look into a channel: what it makes of a raw input, and what it would send. Pure, without settings, accounts or secrets; the
//! same functions that a running channel goes through.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Button, Content, Timestamp};

/// What a kind of channel makes of an input, and of an answer.
pub trait Insight: Send + Sync {
    /// What the kind is called.
    fn name(&self) -> &'static str;

    /// Understands a raw input. Total: any input is decoded or refused.
    ///
    /// # Errors
    /// It is not what the channel's platform sends.
    fn decode(&self, raw: &Raw) -> Result<Decoded, Unreadable>;

    /// What would be sent, in order. Destinations may be missing: there is no conversation.
    fn render(&self, wanted: &Wanted) -> Rendered;
}

/// A raw input.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// The bytes of an e-mail, or of a body.
    Bytes(Vec<u8>),
    /// A JSON document.
    Json(Value),
}

impl Raw {
    /// As a JSON document.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn json(&self) -> Result<std::borrow::Cow<'_, Value>, Unreadable> {
        match self {
            Self::Json(value) => Ok(std::borrow::Cow::Borrowed(value)),
            Self::Bytes(bytes) => serde_json::from_slice(bytes)
                .map(std::borrow::Cow::Owned)
                .map_err(|error| Unreadable::new("invalid-json", format!("the input is no JSON: {error}"))),
        }
    }

    /// As bytes.
    #[must_use]
    pub fn bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Bytes(bytes) => std::borrow::Cow::Borrowed(bytes),
            Self::Json(value) => std::borrow::Cow::Owned(value.to_string().into_bytes()),
        }
    }
}

/// An input that cannot be decoded, or a request that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// The kind of error; never changes.
    pub code: &'static str,
    /// What was wrong.
    pub message: String,
}

impl Unreadable {
    /// One of that kind.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The input is JSON, and not what the platform sends.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new("invalid-input", message)
    }
}

/// What an input was understood as.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decoded {
    /// The kind of channel.
    pub kind: &'static str,
    /// The type of the event that becomes of it, or `ignored`.
    #[serde(rename = "type")]
    pub what: &'static str,
    /// Why it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A program wrote it by itself.
    pub auto_generated: bool,
    /// Where it belongs.
    pub conversation: Option<DecodedThread>,
    /// What the platform calls it.
    pub message_id: Option<String>,
    /// What the platform calls the message that it answers.
    pub reply_to: Option<String>,
    /// Who wrote it.
    pub sender: Option<DecodedSender>,
    /// Who else it is for.
    pub recipients: Vec<Recipient>,
    /// When it was written.
    pub sent_at: Option<Timestamp>,
    /// Its subject.
    pub subject: Option<String>,
    /// All of it, plain.
    pub text: Option<String>,
    /// All of it, as CommonMark.
    pub markdown: Option<String>,
    /// What this person newly wrote, on channels where they send the message along that they answer.
    pub reply_text: Option<String>,
    /// What they sent along, or picked out of what they answer.
    pub quoted_text: Option<String>,
    /// Whose words these were first, when they were passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<String>,
    /// The button that was pressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<Button>,
    /// All of it, as HTML of a few elements.
    pub html: Option<String>,
    /// Files.
    pub attachments: Vec<DecodedAttachment>,
    /// What was left out or mended.
    pub warnings: Vec<String>,
}

impl Decoded {
    /// Something that happened, with nothing known of it yet.
    #[must_use]
    pub fn new(kind: &'static str, what: &'static str) -> Self {
        Self {
            kind,
            what,
            reason: None,
            auto_generated: false,
            conversation: None,
            message_id: None,
            reply_to: None,
            sender: None,
            recipients: Vec::new(),
            sent_at: None,
            subject: None,
            text: None,
            markdown: None,
            reply_text: None,
            quoted_text: None,
            forwarded_from: None,
            button: None,
            html: None,
            attachments: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Something that is recognised and not used.
    pub fn ignored(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(kind, "ignored") }
    }
}

/// Where a message belongs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecodedThread {
    /// The thread's name on the channel.
    pub key: String,
    /// The platform's own names that it is made of.
    pub native: Map<String, Value>,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecodedSender {
    /// What the platform knows them by.
    pub id: Option<String>,
    /// Where they can be written to, or the name that they are known by to others.
    pub address: Option<String>,
    /// What they call themselves.
    pub name: Option<String>,
    /// A program.
    pub is_bot: bool,
}

/// Somebody a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// `to`, `cc`, ..
    pub role: &'static str,
    /// Their address.
    pub address: Option<String>,
    /// Their name.
    pub name: Option<String>,
}

/// A file of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DecodedAttachment {
    /// Its name.
    pub name: Option<String>,
    /// What it says it is.
    pub media_type: Option<String>,
    /// In bytes, after decoding.
    pub size: Option<u64>,
    /// Of its bytes, in hexadecimal digits, where they came along.
    pub sha256: Option<String>,
    /// It is shown within the text.
    pub inline: bool,
    /// What the text calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
    /// What the platform calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// Where it can be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// An answer that is to be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it says.
    pub content: Content,
    /// What the platform calls the message that it answers.
    pub reply_to: Option<String>,
    /// What can be pressed under it.
    pub buttons: Vec<WantedButton>,
    /// Files that go with it.
    pub attachments: Vec<WantedAttachment>,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedButton {
    /// What comes back when it is pressed.
    pub id: String,
    /// What stands on it.
    pub label: String,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedAttachment {
    /// Where it is.
    pub url: String,
    /// What it is called.
    pub name: Option<String>,
}

/// What would be sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rendered {
    /// The platform's own requests, in order. None at all when there is nothing to be seen in what is said.
    pub requests: Vec<Value>,
    /// What cannot be shown as it was written.
    pub degraded: Vec<&'static str>,
}

impl Wanted {
    /// Reads `{"markdown" or "text", "reply_to", "buttons", "attachments"}`.
    ///
    /// # Errors
    /// It has another form.
    pub fn read(input: &Value) -> Result<Self, Unreadable> {
        const KNOWN: [&str; 5] = ["markdown", "text", "reply_to", "buttons", "attachments"];
        let Value::Object(fields) = input else {
            return Err(Unreadable::input("an object such as {\"markdown\": \"It ships **today**.\"} is wanted"));
        };
        if let Some(unknown) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            let shown: String = unknown.chars().filter(|letter| !letter.is_control()).take(40).collect();
            return Err(Unreadable::input(format!("`{shown}` is not known: known are {}", KNOWN.join(", "))));
        }
        let content = match (text(fields, "markdown")?, text(fields, "text")?) {
            (Some(markdown), None) => Content::Markdown(markdown),
            (None, Some(text)) => Content::Text(text),
            (Some(_), Some(_)) => return Err(Unreadable::input("send `markdown` or `text`, and not both")),
            // With attachments there need be no words.
            (None, None) if !list(fields, "attachments")?.is_empty() => Content::Text(String::new()),
            (None, None) => return Err(Unreadable::input("say what is to be rendered, in `markdown` or in `text`")),
        };
        let buttons = list(fields, "buttons")?.iter().map(|button| {
            let fields = object(button, "buttons")?;
            let label = text(fields, "label")?.filter(|label| !label.trim().is_empty());
            let label = label.ok_or_else(|| Unreadable::input("each of `buttons` needs a `label`"))?;
            Ok(WantedButton { id: text(fields, "id")?.unwrap_or_else(|| label.clone()), label })
        });
        let attachments = list(fields, "attachments")?.iter().map(|attachment| {
            let fields = object(attachment, "attachments")?;
            let url = text(fields, "url")?.ok_or_else(|| Unreadable::input("each of `attachments` needs a `url`"))?;
            Ok(WantedAttachment { url, name: text(fields, "name")? })
        });
        Ok(Self {
            content,
            reply_to: text(fields, "reply_to")?,
            buttons: buttons.collect::<Result<_, Unreadable>>()?,
            attachments: attachments.collect::<Result<_, Unreadable>>()?,
        })
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, Unreadable> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        // Ids of messages are numbers on some platforms.
        Some(Value::Number(number)) if name == "reply_to" => Ok(Some(number.to_string())),
        Some(_) => Err(Unreadable::input(format!("`{name}` must be text in quotes"))),
    }
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], Unreadable> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Unreadable::input(format!("`{name}` must be a list"))),
    }
}

fn object<'a>(value: &'a Value, of: &str) -> Result<&'a Map<String, Value>, Unreadable> {
    value.as_object().ok_or_else(|| Unreadable::input(format!("each of `{of}` must be an object")))
}
