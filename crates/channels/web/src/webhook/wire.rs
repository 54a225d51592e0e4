//! The JSON on both sides. Reading is pure and bounded: the caller bounds the size, serde_json the depth (128 levels), and
//! the ids' own types their length.

use frontdesk_model::{
    Content, Envelope, ExternalId, FrozenPart, HttpProblem, Identity, Outgoing, Sender, ThreadId, Timestamp, Trust,
    UniqueWithin,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest name that is taken, in characters.
const MAX_NAME: usize = 256;
const FIELDS: &[&str] =
    &["id", "thread", "from", "text", "markdown", "subject", "attachments", "auto_generated", "sent_at"];
const FROM_FIELDS: &[&str] = &["id", "name", "email", "locale"];

/// What came with a body and may name the message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrived<'a> {
    /// The header `webhook-id`.
    pub webhook_id: Option<&'a str>,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    thread: Option<String>,
    from: From,
    text: Option<String>,
    markdown: Option<String>,
    subject: Option<String>,
    attachments: Option<Vec<Value>>,
    auto_generated: Option<bool>,
    sent_at: Option<String>,
}

#[derive(Deserialize)]
struct From {
    id: String,
    name: Option<String>,
    email: Option<String>,
    locale: Option<String>,
}

fn problem(status: u16, slug: &'static str, title: &'static str, detail: impl Into<String>) -> HttpProblem {
    HttpProblem { status, slug, title, detail: detail.into(), retry_after: None }
}

fn invalid(detail: impl Into<String>) -> HttpProblem {
    problem(422, "invalid-message", "The message cannot be used", detail)
}

/// Reads the body of an inbound request.
///
/// # Errors
/// `malformed-json`, `invalid-message`, `attachments-not-supported` or `missing-id`; the detail names the field and
/// the mend and repeats nothing of the message.
pub fn decode(body: &[u8], arrived: Arrived<'_>) -> Result<Envelope, HttpProblem> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        let detail = if error.to_string().starts_with("recursion limit") {
            format!("the body is nested deeper than 128 levels ({place})")
        } else {
            format!("the body is not JSON: it breaks off or goes wrong at {place}")
        };
        problem(400, "malformed-json", "The body is not readable JSON", detail)
    })?;
    refuse_unknown(&value, "", FIELDS)?;
    if let Some(from) = value.get("from") {
        refuse_unknown(from, "from.", FROM_FIELDS)?;
    }
    let body = Body::deserialize(&value).map_err(|error| invalid(shape(&error)))?;
    body.check(arrived)
}

/// serde quotes the value that it did not expect; the sender may have put anything there.
fn shape(error: &serde_json::Error) -> String {
    let words = error.to_string();
    if let Some(field) = words.strip_prefix("missing field ") {
        let field = field.replace('`', "");
        return if field == "id" {
            "from.id is missing".into()
        } else {
            format!("{field} is missing; at least from.id and one of text and markdown are needed")
        };
    }
    match words.split_once(", expected ") {
        Some((_, expected)) => format!("a field has the wrong type: expected {expected}"),
        None => "a field has the wrong type".into(),
    }
}

fn refuse_unknown(value: &Value, path: &str, known: &[&str]) -> Result<(), HttpProblem> {
    let Some(fields) = value.as_object() else {
        return if path.is_empty() { Err(invalid("the body is not a JSON object")) } else { Ok(()) };
    };
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        None => Ok(()),
        Some(field) => {
            let shown: String = field.chars().filter(|c| !c.is_control()).take(40).collect();
            Err(invalid(format!("{path}{shown} is not a known field; known are {}", known.join(", "))))
        }
    }
}

impl Body {
    fn check(self, arrived: Arrived<'_>) -> Result<Envelope, HttpProblem> {
        if self.attachments.is_some_and(|attachments| !attachments.is_empty()) {
            return Err(problem(
                422,
                "attachments-not-supported",
                "Attachments are not taken yet",
                "nothing was taken: send the message without attachments, for example with their addresses in the text",
            ));
        }
        let id = self.id.as_deref().or(arrived.webhook_id).or(arrived.idempotency_key).ok_or_else(|| {
            problem(
                400,
                "missing-id",
                "The message has no id",
                "give it an id, in the body or as the header webhook-id or Idempotency-Key, so that a repeat is recognised",
            )
        })?;
        let external_id = ExternalId::new(id).map_err(|error| invalid(format!("id: {error}")))?;
        let thread = self.thread.as_deref().unwrap_or(&self.from.id);
        let thread = ThreadId::new(thread).map_err(|error| invalid(format!("thread (or from.id): {error}")))?;
        let content = match (self.text, self.markdown) {
            (Some(text), None) => Content::Text(text),
            (None, Some(markdown)) => Content::Markdown(markdown),
            (Some(_), Some(_)) => return Err(invalid("text and markdown are both there; send one of them")),
            (None, None) => return Err(invalid("text or markdown is missing; send one of them")),
        };
        if content.source().trim().is_empty() {
            return Err(invalid("text or markdown is empty; say something or do not send it"));
        }
        let sent_at = self
            .sent_at
            .map(|text| text.parse::<Timestamp>().map_err(|error| invalid(format!("sent_at: {error}"))))
            .transpose()?;
        let subject = self.subject.map(|subject| line("subject", subject, 1000)).transpose()?;
        Ok(Envelope {
            thread,
            external_id,
            unique_within: UniqueWithin::Thread,
            sender: self.from.check()?,
            content,
            subject,
            auto_generated: self.auto_generated.unwrap_or(false),
            sent_at,
        })
    }
}

/// One line of bounded length; control characters are refused, as they can forge lines elsewhere.
fn line(field: &str, text: String, most: usize) -> Result<String, HttpProblem> {
    if text.chars().count() > most {
        return Err(invalid(format!("{field} is longer than {most} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("{field} holds control characters")));
    }
    Ok(text)
}

impl From {
    fn check(self) -> Result<Sender, HttpProblem> {
        ThreadId::new(&self.id).map_err(|error| invalid(format!("from.id: {error}")))?;
        let identity = |kind: &str, value: String, trust| Identity { kind: kind.into(), value, trust };
        let email = self.email.map(|email| line("from.email", email, 320)).transpose()?;
        Ok(Sender {
            // The business's own signed request vouches for it.
            identity: identity("webhook", self.id, Trust::Verified),
            also: email.into_iter().map(|email| identity("email", email, Trust::Asserted)).collect(),
            name: self.name.map(|name| line("from.name", name, MAX_NAME)).transpose()?,
            locale: self.locale.map(|locale| line("from.locale", locale, 35)).transpose()?,
        })
    }
}

/// The body of an outbound request.
pub(super) fn encode(outgoing: &Outgoing) -> FrozenPart {
    let message = &outgoing.message;
    let (text, markdown) = match &message.content {
        Content::Text(text) => (Some(text), None),
        Content::Markdown(markdown) => (None, Some(markdown)),
    };
    let to =
        outgoing.to.as_ref().and_then(|contact| contact.identities.iter().find(|identity| identity.kind == "webhook"));
    FrozenPart(json!({
        "type": "message.created",
        "id": message.id,
        "timestamp": message.received_at,
        "data": {
            "thread": outgoing.thread,
            "to": to.map(|identity| json!({ "id": identity.value })),
            "message": {
                "id": message.id,
                "text": text,
                "markdown": markdown,
                "reply_to": outgoing.reply_to_external,
            },
        },
    }))
}
