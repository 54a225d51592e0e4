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

/// What becomes of an update.
pub(crate) enum Taken {
    /// It is handed in.
    Message(Box<Envelope>),
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
    let mut markdown = decoded.markdown.unwrap_or_default();
    // Files are named until they are fetched: an agent has to know that something came.
    for file in &decoded.attachments {
        let name = file.name.as_deref().unwrap_or(file.media_type.as_deref().unwrap_or("file"));
        let plain: String = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '.' | '/' | ' ')).collect();
        if !markdown.is_empty() {
            markdown.push_str("\n\n");
        }
        markdown.push_str(&format!("(a file came with this message and was not fetched: {plain})"));
    }
    let sender = decoded.sender.and_then(|sender| Some((sender.id?, sender.name)));
    let Some((id, name)) = sender else { return Taken::Nothing("nobody is named as its author") };
    let thread = decoded.conversation.and_then(|thread| ThreadId::new(thread.key).ok());
    let external_id = ExternalId::new(format!("{}:{}", said.chat.id, said.message_id)).ok();
    let (Some(thread), Some(external_id)) = (thread, external_id) else {
        return Taken::Unknown("its chat or its number is no name");
    };
    Taken::Message(Box::new(Envelope {
        thread,
        external_id,
        unique_within: UniqueWithin::Account,
        sender: Sender {
            identity: Identity { kind: KIND.into(), value: id, trust: Trust::Verified },
            also: Vec::new(),
            name,
            locale: said.from.and_then(|from| from.language_code),
        },
        content: Content::Markdown(markdown),
        attachments: Vec::new(),
        subject: None,
        auto_generated: decoded.auto_generated,
        sent_at: decoded.sent_at,
    }))
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
