//! `frontdesk send`: says something to a customer, or leaves a note, in the operator's name.

use std::io::Read as _;

use frontdesk_model::{ContactId, ConversationId};
use serde_json::{Value, json};

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, mark, read},
    forms::Replied,
    words,
};

/// More than the API takes.
const MOST_BYTES: u64 = 4 << 20;

/// `frontdesk send`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// A conversation (cnv_...), or a contact (cnt_...): then the conversation that was last alive with them
    #[arg(value_name = "CONVERSATION|CONTACT")]
    to: Target,
    /// What to say; - reads it from standard input
    text: String,
    /// The text is CommonMark
    #[arg(long)]
    markdown: bool,
    /// A note that only our side sees
    #[arg(long)]
    private: bool,
    /// Only if the conversation still has this version
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// To whom.
#[derive(Debug, Clone, Copy)]
enum Target {
    Conversation(ConversationId),
    Contact(ContactId),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let conversation = text.parse().map(Self::Conversation);
        conversation.or_else(|_| text.parse().map(Self::Contact)).map_err(|_| {
            "neither a conversation's id (cnv_ and 26 characters; `frontdesk conversations` lists them) nor a contact's \
             (cnt_ and 26 characters)"
                .into()
        })
    }
}

/// Sends.
///
/// # Errors
/// It was not taken; the reason says why.
pub async fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    let text = text(&arguments.text)?;
    let path = match arguments.to {
        Target::Conversation(id) => format!("/v1/conversations/{id}/messages"),
        Target::Contact(id) => format!("/v1/contacts/{id}/messages"),
    };
    let mut message = serde_json::Map::new();
    message.insert(if arguments.markdown { "markdown" } else { "text" }.into(), Value::String(text));
    if arguments.private {
        message.insert("private".into(), Value::Bool(true));
    }
    let mut reply = json!({ "messages": [message] });
    if let (Some(version), Value::Object(reply)) = (arguments.if_version, &mut reply) {
        reply.insert("if_version".into(), version.into());
    }
    let answer = daemon.ask(&Ask::post(path).with(reply).once(mark()?)).await?;
    if call.json {
        return call.print_json(&answer);
    }
    let replied: Replied = read(answer)?;
    call.screen.print(&said(arguments, &replied))
}

fn text(given: &str) -> Result<String, Failure> {
    let text = if given == "-" { piped()? } else { given.to_owned() };
    if text.trim().is_empty() {
        return Err(
            Failure::wrong("there is nothing to say").mend("write the text behind the id, or - to read it from a pipe")
        );
    }
    Ok(text)
}

fn piped() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MOST_BYTES + 1).read_to_string(&mut text);
    let read = read.map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
    if read as u64 > MOST_BYTES {
        return Err(Failure::wrong("standard input holds more than 4 MiB").mend("send less at once"));
    }
    // What a line ends with is not part of what is said.
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

fn said(arguments: &Arguments, replied: &Replied) -> String {
    let conversation = match (&replied.conversation_id, arguments.to) {
        (Some(id), _) => id.clone(),
        (None, Target::Conversation(id)) => id.to_string(),
        (None, Target::Contact(id)) => id.to_string(),
    };
    let mut text = String::new();
    for message in &replied.messages {
        let how = if arguments.private { "noted" } else { message.status.as_deref().unwrap_or("taken") };
        let degraded = match message.degraded.as_slice() {
            [] => String::new(),
            some => format!(" (the channel cannot show: {})", some.join(", ")),
        };
        text.push_str(&format!("{how} as {} in {conversation}, version {}{degraded}\n", message.id, replied.version));
    }
    if !arguments.private {
        text.push_str(&format!(
            "The desk has this conversation now; to hand it back to the agent: frontdesk conversations hand-back {conversation}\n"
        ));
    }
    words::on_lines(&text).map(|line| format!("{line}\n")).collect()
}
