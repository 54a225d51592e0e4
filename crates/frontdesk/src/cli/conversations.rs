//! `frontdesk conversations`: the list, one with what was said in it, and who goes on with it.

use std::{collections::BTreeSet, fmt::Write as _};

use frontdesk_model::{ConversationId, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, read},
    forms::{Attachment, Conversation, Message},
    pages::Paging,
    screen::{Paint, Screen},
    table::{Cell, Table},
    times::{ago, moment, now},
    words,
};
use crate::config::span;

/// `frontdesk conversations`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only of this status
    #[arg(long, value_parser = ["open", "pending", "resolved"])]
    status: Option<String>,
    /// Only on this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Only those that are answered by this side
    #[arg(long, value_parser = ["agent", "desk"])]
    owner: Option<String>,
    /// Only those of this teammate
    #[arg(long, value_name = "NAME")]
    assignee: Option<String>,
    /// Only those that teammates should look at for this reason
    #[arg(long, value_parser = ["fallback", "dead_letter", "handoff"])]
    attention: Option<String>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List conversations, the latest first (the default)
    List(List),
    /// Show one, with what was said in it
    Show {
        /// The conversation
        id: ConversationId,
        #[command(flatten)]
        paging: Paging,
    },
    /// The matter is done; the next message opens it again
    Resolve(Which),
    /// It is open again
    Reopen(Which),
    /// Teammates go on; the agent gets nothing of it until it is handed back
    Take(Which),
    /// The agent goes on, at the first message without an answer
    HandBack(Which),
    /// Make it somebody's, or nobody's
    Assign {
        #[command(flatten)]
        which: Which,
        /// The teammate
        #[arg(required_unless_present = "nobody", conflicts_with = "nobody")]
        name: Option<String>,
        /// Take it from whoever has it
        #[arg(long)]
        nobody: bool,
    },
    /// Let it sleep until then, or until the customer writes
    Snooze {
        #[command(flatten)]
        which: Which,
        /// A span from now, such as 2h or "3 days", or a moment such as 2026-01-05T10:00:00Z
        until: Until,
    },
    /// Nobody needs to look at it any more
    Seen(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The conversation
    id: ConversationId,
    /// Only if it still has this version
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// Until when.
#[derive(Debug, Clone, Copy)]
struct Until(Timestamp);

impl std::str::FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let later = || span(text).map(|span| now().plus(span));
        let until = text.parse().ok().or_else(later);
        until
            .map(Self)
            .ok_or_else(|| "write a span such as 2h or \"3 days\", or a moment such as 2026-01-05T10:00:00Z".into())
    }
}

/// Lists, shows, or changes.
///
/// # Errors
/// No daemon answers, or it refuses.
pub async fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    let change = |which: &Which, change: Value| {
        let mut fields: Map<String, Value> = change.as_object().cloned().unwrap_or_default();
        fields.extend(which.if_version.map(|version| ("if_version".to_owned(), version.into())));
        Ask::patch(format!("/v1/conversations/{}", which.id)).with(Value::Object(fields))
    };
    let ask = match &arguments.command {
        None => return list(call, &daemon, &arguments.list).await,
        Some(Command::List(arguments)) => return list(call, &daemon, arguments).await,
        Some(Command::Show { id, paging }) => return show(call, &daemon, *id, paging).await,
        Some(Command::Resolve(which)) => change(which, json!({ "status": "resolved" })),
        Some(Command::Reopen(which)) => change(which, json!({ "status": "open" })),
        Some(Command::Take(which)) => change(which, json!({ "owner": "desk" })),
        Some(Command::HandBack(which)) => change(which, json!({ "owner": "agent" })),
        Some(Command::Assign { which, name, .. }) => change(which, json!({ "assignee": name })),
        Some(Command::Snooze { which, until }) => change(which, json!({ "snoozed_until": until.0 })),
        Some(Command::Seen(which)) => change(which, json!({ "attention": null })),
    };
    let answer = daemon.ask(&ask).await?;
    if call.json {
        return call.print_json(&answer);
    }
    let conversation: Conversation = read(answer)?;
    let line = format!("{}: {}, version {}", conversation.id, stands(&conversation), conversation.version);
    call.screen.print(&format!("{}\n", words::on_one_line(&line)))
}

async fn list(call: &Call, daemon: &Daemon, arguments: &List) -> Result<(), Failure> {
    let filters = [
        ("status", &arguments.status),
        ("channel", &arguments.channel),
        ("owner", &arguments.owner),
        ("assignee", &arguments.assignee),
        ("attention", &arguments.attention),
    ];
    let filters: Vec<(&str, &str)> =
        filters.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect();
    let found = arguments.paging.of(daemon, "/v1/conversations", &filters).await?;
    if call.json {
        return call.print_json(&found.as_json());
    }
    let mut table = Table::new(&["CONVERSATION", "CHANNEL", "STATUS", "OWNER", "ATTENTION", "UPDATED", "THREAD"], 6);
    let now = now();
    for conversation in found.rows::<Conversation>()? {
        let owner = conversation.assignee.as_ref().map(|assignee| format!("{}: {assignee}", conversation.owner));
        table.row([
            Cell::of(conversation.id.to_string()),
            Cell::of(&conversation.channel),
            Cell::of(status(&conversation)),
            Cell::of(owner.as_ref().unwrap_or(&conversation.owner)),
            Cell::of(conversation.attention.as_deref().unwrap_or_default()).painted(Paint::Odd),
            Cell::of(ago(Some(conversation.updated_at), now)),
            Cell::of(conversation.subject.as_ref().unwrap_or(&conversation.thread)),
        ]);
    }
    if table.is_empty() {
        return call.screen.print("no conversation\n");
    }
    call.screen.print(&table.on(&call.screen))?;
    let narrowed: String = filters.iter().map(|(key, value)| format!(" --{key} {}", words::shell(value))).collect();
    found.say_how_to_go_on(&format!("frontdesk conversations{narrowed}"));
    Ok(())
}

/// `open`, or how long it still sleeps.
fn status(conversation: &Conversation) -> String {
    match conversation.snoozed_until {
        Some(until) => format!("{} until {}", conversation.status, moment(until)),
        None => conversation.status.clone(),
    }
}

fn stands(conversation: &Conversation) -> String {
    let of = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!(", {name} {value}"));
    format!(
        "{}, owner {}{}{}",
        status(conversation),
        conversation.owner,
        of("assignee", &conversation.assignee).unwrap_or_default(),
        of("attention", &conversation.attention).unwrap_or_default(),
    )
}

async fn show(call: &Call, daemon: &Daemon, id: ConversationId, paging: &Paging) -> Result<(), Failure> {
    let path = format!("/v1/conversations/{id}");
    let header = daemon.ask(&Ask::get(path.clone())).await?;
    let messages = paging.of(daemon, &format!("{path}/messages"), &[]).await?;
    if call.json {
        return call.print_json(&json!({ "conversation": header, "messages": messages.as_json() }));
    }
    let conversation: Conversation = read(header)?;
    let said = messages.rows::<Message>()?;
    let mut page = heading(&conversation, &said, &call.screen);
    // The API gives the newest first; people read the other way.
    for message in said.iter().rev() {
        page.push('\n');
        page.push_str(&of_message(message, &call.screen));
    }
    call.screen.print(&page)?;
    messages.say_how_to_go_on(&format!("frontdesk conversations show {id}"));
    Ok(())
}

fn heading(conversation: &Conversation, said: &[Message], screen: &Screen) -> String {
    let mut page = String::new();
    let mut fact = |name: &str, what: &str| {
        let name = screen.paint(Paint::Faint, &words::padded(name, 14));
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{name}{}", words::on_one_line(what));
    };
    fact("Conversation", &conversation.id.to_string());
    fact("Channel", &format!("{} ({}), thread {}", conversation.channel, conversation.kind, conversation.thread));
    let contacts: BTreeSet<(&str, &str)> = said
        .iter()
        .filter(|message| message.author.kind == "contact")
        .filter_map(|message| Some((message.author.shown(), message.author.id.as_deref()?)))
        .collect();
    for (name, id) in contacts {
        fact("Contact", &if name == id { id.to_owned() } else { format!("{name}, {id}") });
    }
    if let Some(subject) = &conversation.subject {
        fact("Subject", subject);
    }
    fact("Stands", &format!("{}, version {}", stands(conversation), conversation.version));
    let (begun, updated) = (moment(conversation.created_at), moment(conversation.updated_at));
    fact("Begun", &format!("{begun}, last change {updated}"));
    page
}

/// A line about it, and below what was said, each line behind a margin that nothing in it can leave.
fn of_message(message: &Message, screen: &Screen) -> String {
    let sort = match (message.private, message.direction.as_str(), message.status.as_deref()) {
        (true, ..) => "note".to_owned(),
        (false, direction, Some(status)) => format!("{direction}, {status}"),
        (false, direction, None) => direction.to_owned(),
    };
    let automatic = if message.auto_generated { ", automatic" } else { "" };
    let author = message.author.shown();
    let kind = &message.author.kind;
    let who = if author == kind { author.to_owned() } else { format!("{author} ({kind})") };
    let mut text = format!(
        "{}  {}  {}\n",
        screen.paint(Paint::Faint, &moment(message.received_at)),
        screen.paint(Paint::Bold, &words::on_one_line(&who)),
        screen.paint(Paint::Faint, &words::on_one_line(&format!("{sort}{automatic}"))),
    );
    for line in words::on_lines(&message.text) {
        let _ = writeln!(text, "{}", format!("  {line}").trim_end());
    }
    for Attachment { name, state, media_type, size } in &message.attachments {
        let what = match (media_type, size) {
            (Some(kind), Some(size)) => format!("{kind}, {size} bytes"),
            _ => state.clone(),
        };
        let line = words::on_one_line(&format!("[{name}, {what}]")).into_owned();
        let _ = writeln!(text, "  {}", screen.paint(Paint::Faint, &line));
    }
    text
}
