//! The two bodies: the message that is handed in, and the message that is delivered.
//!
//! In: `from.id` and one of `text` and `markdown` are required; `id`, `thread` (by default `from.id`), `from.name`,
//! `from.email`, `from.locale`, `subject`, `sent_at`, `auto_generated` and `attachments` may be there. A field that is not known is refused, because it
//! is more often a slip than a wish; `null` stands for a field that is not there.
//!
//! Out: `{"type": "message.created", "id", "timestamp", "data": {"thread", "to", "message"}}`. Of `text` and `markdown` the one
//! that was written is there as it is, and the other one and `html` are made of it. `html` is safe to be shown as it is; what it
//! has no element for is told to whoever wrote the message ([`degraded`]).

use frontdesk_model::{
    Attachment, AttachmentState, Button, Content, Envelope, ExternalId, FileAt, FrozenPart, HttpProblem, Identity,
    Link, MessageId, Outgoing, RemoteFile, Sender, ThreadId, Timestamp, Trust, UniqueWithin,
};
use frontdesk_richtext::{Document, HtmlRules, Rendering, Said, document, write};
use serde_json::json;

use super::{
    KIND,
    json::{Value, read},
    refusal::Refusal,
};

const MESSAGE: &[&str] =
    &["id", "thread", "from", "text", "markdown", "subject", "sent_at", "auto_generated", ATTACHMENTS];
const ATTACHMENTS: &str = "attachments";
const ATTACHMENT: &[&str] = &["url", "name"];
/// The longest address of an attachment, in bytes.
pub(super) const MAX_URL: usize = 2048;
const FROM: &[&str] = &["id", "name", "email", "locale"];
/// The bounds of ids, in the words of a sender's side.
const ID_RULE: &str = "it must have 1 to 512 bytes and no control characters";
/// The longest name, in characters.
pub(super) const MAX_NAME: usize = 256;
/// The longest subject, in characters: what a header line of a mail can hold.
pub(super) const MAX_SUBJECT: usize = 998;
/// The longest address that mail can be sent to, in bytes: RFC 5321, erratum 1690.
pub(super) const MAX_EMAIL: usize = 254;
/// Longer than any language tag in use, in bytes.
pub(super) const MAX_LOCALE: usize = 35;

/// What came with a body and may name the message when the body does not, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// The header `webhook-id`.
    pub webhook_id: Option<&'a str>,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
}

/// Understands a message that was handed in. Pure, and total: any bytes give an envelope or say what is wrong with them.
///
/// # Errors
/// Everything in [`Refusal`] with status 400 and 422.
pub fn decode(body: &[u8], arrived: Arrived<'_>) -> Result<Envelope, HttpProblem> {
    let Value::Object(fields) = read(body)? else {
        return Err(Refusal::InvalidField
            .because("the body must be a JSON object such as {\"from\": {\"id\": \"u42\"}, \"text\": \"Hello\"}"));
    };
    let mut message = Object::of("", fields, MESSAGE)?;
    let attachments = attachments(&mut message)?;
    let from = match message.take("from") {
        Some(Value::Object(fields)) => fields,
        Some(other) => return Err(message.not("from", "an object such as {\"id\": \"u42\"}", &other)),
        None => return Err(message.missing("from.id", "say who wrote it: \"from\": {\"id\": \"u42\"}")),
    };
    let (person, sender) = sender(Object::of("from.", from, FROM)?)?;
    let content = content(&mut message, !attachments.is_empty())?;
    let thread = match message.text("thread")? {
        Some(thread) => ThreadId::new(thread).map_err(|_| message.invalid("thread", &ID_RULE))?,
        None => person,
    };
    Ok(Envelope {
        thread,
        external_id: external_id(&mut message, arrived)?,
        unique_within: UniqueWithin::Thread,
        sender,
        content,
        subject: message.line("subject", MAX_SUBJECT)?,
        attachments,
        auto_generated: message.switch("auto_generated")?,
        sent_at: message.moment("sent_at")?,
        reply_to: None,
        quote: None,
        forwarded_from: None,
        album: None,
        origin: None,
    })
}

fn attachments(message: &mut Object) -> Result<Vec<RemoteFile>, HttpProblem> {
    let items = match message.take(ATTACHMENTS) {
        None => return Ok(Vec::new()),
        Some(Value::List(items)) => items,
        Some(other) => {
            return Err(message.not(
                ATTACHMENTS,
                "a list such as [{\"url\": \"https://…\", \"name\": \"photo.jpg\"}]",
                &other,
            ));
        }
    };
    if items.len() > Attachment::MAX_OF_A_MESSAGE {
        let most = Attachment::MAX_OF_A_MESSAGE;
        return Err(
            message.invalid(ATTACHMENTS, &format_args!("a message has at most {most}; send the rest with another one"))
        );
    }
    items.into_iter().map(attachment).collect()
}

fn attachment(item: Value) -> Result<RemoteFile, HttpProblem> {
    let Value::Object(fields) = item else {
        return Err(Refusal::InvalidField.because(
            "`attachments` must be a list of objects such as {\"url\": \"https://…\", \"name\": \"photo.jpg\"}",
        ));
    };
    let mut file = Object::of("attachments.", fields, ATTACHMENT)?;
    let Some(url) = file.text("url")? else {
        return Err(file.missing("url", "say where the file can be fetched"));
    };
    let is_address = |text: &str| {
        let parsed = url::Url::parse(text).ok();
        parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
    };
    if url.len() > MAX_URL || !is_address(&url) {
        return Err(file.invalid("url", &format_args!("write an http or https address of at most {MAX_URL} bytes")));
    }
    // However long a name is, a bounded piece of it is used.
    Ok(RemoteFile { at: FileAt::Url(url), name: file.text("name")? })
}

fn sender(mut from: Object) -> Result<(ThreadId, Sender), HttpProblem> {
    let Some(id) = from.text("id")? else {
        return Err(from.missing("id", "your own name for this person, such as \"u42\""));
    };
    // An id of a person is held to what a thread is held to, being one by default.
    let id = ThreadId::new(id).map_err(|_| from.invalid("id", &ID_RULE))?;
    let also = from.email()?.map(|value| Identity { kind: "email".into(), value, trust: Trust::Asserted });
    let sender = Sender {
        identity: Identity { kind: KIND.into(), value: id.as_str().to_owned(), trust: Trust::Verified },
        also: also.into_iter().collect(),
        name: from.line("name", MAX_NAME)?,
        locale: from.locale()?,
    };
    Ok((id, sender))
}

/// With attachments there need be no words.
fn content(message: &mut Object, has_more: bool) -> Result<Content, HttpProblem> {
    let content = match (message.text("text")?, message.text("markdown")?) {
        (Some(_), Some(_)) => {
            return Err(Refusal::TextAndMarkdown
                .because("send `text`, where every character means itself, or `markdown`, and not both"));
        }
        (Some(text), None) => Content::Text(text),
        (None, Some(markdown)) => Content::Markdown(markdown),
        (None, None) if has_more => Content::Text(String::new()),
        (None, None) => return Err(message.missing("text", "say what was written, in `text` or in `markdown`")),
    };
    if content.source().trim().is_empty() && !has_more {
        let name = if matches!(content, Content::Text(_)) { "text" } else { "markdown" };
        return Err(message.invalid(name, &"it is empty; an empty message is not taken"));
    }
    Ok(content)
}

fn external_id(message: &mut Object, arrived: Arrived<'_>) -> Result<ExternalId, HttpProblem> {
    let in_body = message.text("id")?;
    let (name, id) = match (in_body.as_deref(), arrived.webhook_id, arrived.idempotency_key) {
        (Some(id), _, _) => ("id", id),
        (None, Some(id), _) => ("the header webhook-id", id),
        (None, None, Some(id)) => ("the header Idempotency-Key", id),
        (None, None, None) => {
            return Err(Refusal::MissingId.because(
                "name the message, so that sending it twice does not make it two: `id` in the body, or the header \
                 webhook-id or Idempotency-Key",
            ));
        }
    };
    ExternalId::new(id).map_err(|_| message.invalid(name, &ID_RULE))
}

/// The fields of one object that are still to be read.
struct Object {
    /// What stands before its fields' names in a sentence.
    path: &'static str,
    fields: Vec<(String, Value)>,
}

impl Object {
    fn of(path: &'static str, mut fields: Vec<(String, Value)>, known: &[&str]) -> Result<Self, HttpProblem> {
        for (index, (name, _)) in fields.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(path, name, known));
            }
            if fields.iter().skip(index + 1).any(|(other, _)| other == name) {
                return Err(Refusal::InvalidField.because(format!("`{path}{name}` is given twice; give it once")));
            }
        }
        fields.retain(|(_, value)| *value != Value::Null);
        Ok(Self { path, fields })
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.fields.iter().position(|(found, _)| found == name)?;
        Some(self.fields.swap_remove(place).1)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, HttpProblem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.not(name, "text in quotes", &other)),
        }
    }

    /// One line for people: control characters are left out, and of nothing but spaces nothing is left.
    fn line(&mut self, name: &str, max_letters: usize) -> Result<Option<String>, HttpProblem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let plain: String = text.chars().filter(|letter| !letter.is_control()).collect();
        let plain = plain.trim();
        if plain.chars().count() > max_letters {
            return Err(self.invalid(name, &format_args!("it may have at most {max_letters} characters")));
        }
        Ok((!plain.is_empty()).then(|| plain.to_owned()))
    }

    fn switch(&mut self, name: &str) -> Result<bool, HttpProblem> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Switch(on)) => Ok(on),
            Some(other) => Err(self.not(name, "true or false", &other)),
        }
    }

    fn moment(&mut self, name: &str) -> Result<Option<Timestamp>, HttpProblem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|bad| self.invalid(name, &format_args!("it is {bad}")))
    }

    fn email(&mut self) -> Result<Option<String>, HttpProblem> {
        let Some(email) = self.text("email")? else { return Ok(None) };
        let halves = email.rsplit_once('@');
        let whole = halves.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        let plain = !email.chars().any(|letter| letter.is_control() || letter.is_whitespace());
        if whole && plain && email.len() <= MAX_EMAIL {
            Ok(Some(email))
        } else {
            Err(self.invalid("email", &"it is not an e-mail address such as ada@example.com"))
        }
    }

    fn locale(&mut self) -> Result<Option<String>, HttpProblem> {
        let Some(tag) = self.text("locale")? else { return Ok(None) };
        let subtag = |piece: &str| (1..=8).contains(&piece.len()) && piece.bytes().all(|b| b.is_ascii_alphanumeric());
        if tag.len() <= MAX_LOCALE && tag.split('-').all(subtag) && tag.starts_with(|c: char| c.is_ascii_alphabetic()) {
            Ok(Some(tag))
        } else {
            Err(self.invalid("locale", &"it is not a language tag such as en or pt-BR"))
        }
    }

    fn missing(&self, name: &str, mend: &str) -> HttpProblem {
        Refusal::MissingField.because(format!("`{}{name}` is missing: {mend}", self.path))
    }

    fn invalid(&self, name: &str, rule: &dyn std::fmt::Display) -> HttpProblem {
        let field = if name.contains(' ') { name.to_owned() } else { format!("`{}{name}`", self.path) };
        Refusal::InvalidField.because(format!("{field} is not right: {rule}"))
    }

    fn not(&self, name: &str, wanted: &str, found: &Value) -> HttpProblem {
        Refusal::InvalidField.because(format!("`{}{name}` must be {wanted}, and is {}", self.path, found.what()))
    }
}

fn unknown(path: &str, name: &str, known: &[&str]) -> HttpProblem {
    // What the sender wrote goes back to the sender, short and without what a terminal would act on.
    let shown: String = name.chars().filter(|letter| !letter.is_control()).take(40).collect();
    let nearest =
        known.iter().map(|word| (strsim::osa_distance(&shown, word), word)).min_by_key(|(changes, _)| *changes);
    let mend = match nearest {
        Some((changes, word)) if changes <= (word.len() / 2).max(1) => format!("did you mean `{path}{word}`?"),
        _ => {
            let all: Vec<String> = known.iter().map(|word| format!("`{path}{word}`")).collect();
            format!("known are {}", all.join(", "))
        }
    };
    Refusal::UnknownField.because(format!("`{path}{shown}` is not known: {mend}"))
}

/// What is delivered; what is not known when one only looks is null.
pub(super) struct Delivered<'a> {
    pub(super) id: Option<MessageId>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) thread: Option<&'a ThreadId>,
    pub(super) to: Option<&'a str>,
    pub(super) text: &'a str,
    pub(super) markdown: &'a str,
    pub(super) html: &'a str,
    pub(super) attachments: Vec<serde_json::Value>,
    pub(super) buttons: &'a [Button],
    pub(super) reply_to: Option<&'a str>,
}

/// The body that is delivered: the same on every attempt but for the addresses of its attachments.
pub(super) fn encode(outgoing: &Outgoing) -> FrozenPart {
    let message = &outgoing.message;
    let document = document(&message.content);
    let Said { text, markdown } = Said::of_document(&message.content, &document);
    let identities = outgoing.to.iter().flat_map(|contact| &contact.identities);
    FrozenPart(body(&Delivered {
        id: Some(message.id),
        timestamp: Some(message.received_at),
        thread: Some(&outgoing.thread),
        to: identities.filter(|identity| identity.kind == KIND).map(|identity| identity.value.as_str()).next(),
        text: &text,
        markdown: &markdown,
        html: &html(&document).text,
        attachments: message.attachments.iter().map(attached).collect(),
        buttons: &message.buttons,
        reply_to: outgoing.reply_to_external.as_ref().map(ExternalId::as_str),
    }))
}

/// The body as JSON.
pub(super) fn body(of: &Delivered<'_>) -> serde_json::Value {
    json!({
        "type": "message.created",
        "id": of.id,
        "timestamp": of.timestamp,
        "data": {
            "thread": of.thread,
            "to": of.to.map(|id| json!({ "id": id })),
            "message": {
                "id": of.id,
                "text": of.text,
                "markdown": of.markdown,
                "html": of.html,
                "attachments": of.attachments,
                "buttons": of.buttons,
                "reply_to": of.reply_to,
            },
        },
    })
}

/// A file that goes with the message; its address is signed with each attempt.
fn attached(attachment: &Attachment) -> serde_json::Value {
    let stored = attachment.stored();
    let error = match &attachment.state {
        AttachmentState::Failed { reason } => Some(reason),
        AttachmentState::Pending { .. } | AttachmentState::Stored(_) => None,
    };
    json!({
        "id": attachment.id,
        "name": attachment.name,
        "state": attachment.state.word(),
        "error": error,
        "media_type": stored.map(|stored| &stored.media_type),
        "size": stored.map(|stored| stored.size),
        "sha256": stored.map(|stored| stored.sha256),
        "url": null,
        "expires_at": null,
    })
}

/// The body of one attempt: the frozen one, with addresses of the attachments that open now.
pub(super) fn with_links(part: &FrozenPart, links: &[Link]) -> Vec<u8> {
    if links.is_empty() {
        return part.0.to_string().into_bytes();
    }
    let mut body = part.0.clone();
    let attachments = body.pointer_mut("/data/message/attachments").and_then(serde_json::Value::as_array_mut);
    for attachment in attachments.into_iter().flatten() {
        let id = attachment.get("id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let link = links.iter().find(|link| link.id.to_string() == id);
        if let (Some(link), Some(fields)) = (link, attachment.as_object_mut()) {
            fields.insert("url".into(), json!(link.url));
            fields.insert("expires_at".into(), json!(link.expires_at));
        }
    }
    body.to_string().into_bytes()
}

/// What `html` cannot show as it was written.
pub(super) fn degraded(content: &Content) -> Vec<&'static str> {
    html(&document(content)).degraded.names().collect()
}

/// What is delivered as HTML.
pub(super) fn html(document: &Document) -> Rendering {
    write::html(document, HtmlRules::RICH)
}
