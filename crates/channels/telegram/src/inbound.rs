//! What is taken of an update: messages to the bot, by the same reading that `frontdesk decode telegram` shows.

use frontdesk_model::{Content, Envelope, ExternalId, Identity, Sender, ThreadId, Trust, UniqueWithin};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    KIND,
    config::Respond,
    decode,
    receive::Me,
    update::{Message, Update},
};

/// A file that Telegram has.
pub(crate) struct Wanted {
    pub(crate) file_id: String,
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: Option<String>,
}

impl Wanted {
    /// What it is called; else its place at Telegram, which has at least an ending.
    pub(crate) fn name_of(&self, found: &Value) -> Option<String> {
        let place = || found.get("file_path").and_then(Value::as_str)?.rsplit('/').next().map(str::to_owned);
        self.file_name.clone().or_else(place)
    }
}

/// What becomes of an update.
pub(crate) enum Taken {
    /// It is handed in, with these files.
    Message(Box<(Envelope, Vec<Wanted>)>),
    /// It is recognised and not used.
    Nothing(&'static str),
    /// It is not of a form that we know.
    Unknown(&'static str),
}

pub(crate) fn envelope(raw: &Value, me: &Me, respond: Respond) -> Taken {
    let Ok(update) = Update::deserialize(raw) else { return Taken::Unknown("it is not of the Bot API's form") };
    let Some(said) = update.message else { return Taken::Nothing("it is no new message") };
    if !said.chat.is_private() && !is_meant(&said, me, respond) {
        return Taken::Nothing("it is said in a group, and not to the bot");
    }
    let decoded = decode::message(&said, "message.created");
    if decoded.what == "ignored" {
        return Taken::Nothing("it has neither text nor files");
    }
    let files = decoded.attachments.iter().filter_map(|file| {
        Some(Wanted {
            file_id: file.file_id.clone()?,
            file_name: file.name.clone(),
            media_type: file.media_type.clone(),
        })
    });
    let files: Vec<Wanted> = files.collect();
    let sender = decoded.sender.and_then(|sender| Some((sender.id?, sender.name)));
    let Some((id, name)) = sender else { return Taken::Nothing("nobody is named as its author") };
    let thread = decoded.conversation.and_then(|thread| ThreadId::new(thread.key).ok());
    let external_id = ExternalId::new(format!("{}:{}", said.chat.id, said.message_id)).ok();
    let (Some(thread), Some(external_id)) = (thread, external_id) else {
        return Taken::Unknown("its chat or its number is no name");
    };
    let envelope = Envelope {
        thread,
        external_id,
        unique_within: UniqueWithin::Account,
        sender: Sender {
            identity: Identity { kind: KIND.into(), value: id, trust: Trust::Verified },
            also: Vec::new(),
            name,
            locale: said.from.and_then(|from| from.language_code),
        },
        content: Content::Markdown(decoded.markdown.unwrap_or_default()),
        attachments: Vec::new(),
        subject: None,
        auto_generated: decoded.auto_generated,
        sent_at: decoded.sent_at,
    };
    Taken::Message(Box::new((envelope, files)))
}

/// Says in the message that a file of it cannot be had: who answers has to know that something came.
pub(crate) fn note_missing(envelope: &mut Envelope, file: &Wanted, why: &str) {
    let letter = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '/' | '-' | ' ');
    let name: String = file
        .file_name
        .as_deref()
        .or(file.media_type.as_deref())
        .unwrap_or("file")
        .chars()
        .filter(letter)
        .take(60)
        .collect();
    let said = envelope.content.source();
    let gap = if said.is_empty() { "" } else { "\n\n" };
    envelope.content =
        Content::Markdown(format!("{said}{gap}(a file that came with this, {name}, is not here: {why})"));
}

/// Whether what was said in a group is for the bot: it names it, commands it, or answers it.
fn is_meant(said: &Message, me: &Me, respond: Respond) -> bool {
    match respond {
        Respond::All => return true,
        Respond::Direct => return false,
        Respond::Mentions => {}
    }
    let answers = said.reply_to_message.as_ref().and_then(|answered| answered.from.as_ref());
    if answers.is_some_and(|from| from.id == me.id) {
        return true;
    }
    let (text, entities) = match (&said.text, &said.caption) {
        (Some(text), _) => (text, &said.entities),
        (None, Some(caption)) => (caption, &said.caption_entities),
        (None, None) => return false,
    };
    let units: Vec<u16> = text.encode_utf16().collect();
    entities.iter().any(|entity| {
        let range = || {
            let from = usize::try_from(entity.offset).ok()?;
            let to = from.checked_add(usize::try_from(entity.length).ok()?)?;
            units.get(from..to).map(String::from_utf16_lossy)
        };
        match entity.kind.as_str() {
            "text_mention" => entity.user.as_ref().is_some_and(|user| user.id == me.id),
            "mention" => range().is_some_and(|named| is_name(named.strip_prefix('@'), me)),
            // A command without a name is for every bot of the group.
            "bot_command" => range().is_some_and(|command| match command.split_once('@') {
                Some((_, name)) => is_name(Some(name), me),
                None => true,
            }),
            _ => false,
        }
    })
}

fn is_name(named: Option<&str>, me: &Me) -> bool {
    named.is_some_and(|named| !me.username.is_empty() && named.eq_ignore_ascii_case(&me.username))
}
