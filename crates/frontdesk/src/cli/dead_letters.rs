//! `frontdesk dead-letters`: what was given up, to be tried anew or dropped.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, piece, read},
    forms::DeadLetter,
    pages::Paging,
    screen::{Paint, agreed, note},
    table::{Cell, Table},
    times::{ago, moment, now},
    words,
};

const PATH: &str = "/v1/dead-letters";

/// `frontdesk dead-letters`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List them, the newest first
    List {
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one, with what it is about
    Show {
        /// The dead letter
        id: String,
    },
    /// Try them anew
    ///
    /// An event goes to the agent once more; of a message the parts that were not sent are sent.
    Replay {
        #[command(flatten)]
        which: Which,
    },
    /// Give them up for good
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The dead letters
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// All there are
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// With --all: only on this channel
    #[arg(long, value_name = "NAME", requires = "all", conflicts_with = "ids")]
    channel: Option<String>,
}

/// Lists, shows, replays or drops.
///
/// # Errors
/// No daemon answers; or not all of it could be done.
pub async fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    match &arguments.command {
        Command::List { paging } => list(call, &daemon, paging).await,
        Command::Show { id } => show(call, &daemon, id).await,
        Command::Replay { which } => {
            let ids = which.ids(&daemon).await?;
            each(call, &daemon, &ids, "replayed", |id| Ask::post(format!("{PATH}/{}/replay", piece(id)))).await
        }
        Command::Drop { which, yes } => {
            let ids = which.ids(&daemon).await?;
            let what = if let [_] = ids.as_slice() {
                "this dead letter".to_owned()
            } else {
                format!("these {} dead letters", ids.len())
            };
            if !yes
                && !ids.is_empty()
                && !agreed("what is dropped is gone for good", &format!("Drop {what} for good?"))?
            {
                return Err(Failure::failed("nothing was dropped"));
            }
            each(call, &daemon, &ids, "dropped", |id| Ask::delete(format!("{PATH}/{}", piece(id)))).await
        }
    }
}

impl Which {
    async fn ids(&self, daemon: &Daemon) -> Result<Vec<String>, Failure> {
        if !self.all {
            return Ok(self.ids.clone());
        }
        let letters: Vec<DeadLetter> = Paging::all().of(daemon, PATH, &[]).await?.rows()?;
        let wanted = |letter: &DeadLetter| self.channel.as_ref().is_none_or(|channel| letter.channel == *channel);
        // The oldest first, so that what is sent again comes in its order.
        Ok(letters.into_iter().rev().filter(wanted).map(|letter| letter.id).collect())
    }
}

async fn list(call: &Call, daemon: &Daemon, paging: &Paging) -> Result<(), Failure> {
    let found = paging.of(daemon, PATH, &[]).await?;
    if call.json {
        return call.print_json(&found.as_json());
    }
    let mut table = Table::new(&["DEAD LETTER", "WHEN", "LANE", "CHANNEL", "CONVERSATION", "TRIES", "WHY"], 6);
    let now = now();
    for letter in found.rows::<DeadLetter>()? {
        table.row([
            Cell::of(&letter.id),
            Cell::of(ago(Some(letter.at), now)),
            Cell::of(&letter.lane),
            Cell::of(&letter.channel),
            Cell::of(&letter.conversation_id),
            Cell::of(letter.attempts.to_string()),
            Cell::of(&letter.reason),
        ]);
    }
    if table.is_empty() {
        return call.screen.print("no dead letter\n");
    }
    call.screen.print(&table.on(&call.screen))?;
    found.say_how_to_go_on("frontdesk dead-letters list");
    Ok(())
}

async fn show(call: &Call, daemon: &Daemon, id: &str) -> Result<(), Failure> {
    let all = Paging::all().of(daemon, PATH, &[]).await?;
    let found = all.data.into_iter().find(|letter| letter.get("id").and_then(Value::as_str) == Some(id));
    let document = found.ok_or_else(|| {
        Failure::failed(format!("there is no dead letter {id}")).mend("see: frontdesk dead-letters list")
    })?;
    let letter: DeadLetter = read(document.clone())?;
    let event = event(daemon, &letter).await?;
    if call.json {
        return call.print_json(&json!({ "dead_letter": document, "event": event }));
    }
    let mut page = String::new();
    let mut fact = |name: &str, what: &str| {
        let name = call.screen.paint(Paint::Faint, &words::padded(name, 14));
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{name}{}", words::on_one_line(what));
    };
    fact("Dead letter", &letter.id);
    let tries = if letter.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", letter.attempts) };
    fact("Given up", &format!("{}, after {tries}", moment(letter.at)));
    let what = match letter.lane.as_str() {
        "agent" => "an event that the agent did not take",
        "deliver" => "a message that did not go out",
        other => other,
    };
    fact("What", what);
    fact("Why", &letter.reason);
    fact("Channel", &letter.channel);
    fact("Conversation", &letter.conversation_id);
    fact("Event", &format!("{} (number {} of its log)", letter.event_id, letter.seq));
    if let Some(said) = event.pointer("/data/message/text").and_then(Value::as_str) {
        page.push('\n');
        for line in words::on_lines(said) {
            let _ = writeln!(page, "{}", format!("  {line}").trim_end());
        }
    }
    let _ = write!(
        page,
        "\nTry it anew: frontdesk dead-letters replay {0}\nDrop it:     frontdesk dead-letters drop {0}\n",
        letter.id
    );
    call.screen.print(&page)
}

/// What it is about.
async fn event(daemon: &Daemon, letter: &DeadLetter) -> Result<Value, Failure> {
    let path = format!("/v1/conversations/{}/events?limit=1", piece(&letter.conversation_id));
    let path = match letter.seq.saturating_sub(1) {
        0 => path,
        before => format!("{path}&page={before}"),
    };
    let page = daemon.ask(&Ask::get(path)).await?;
    Ok(page.pointer("/data/0").cloned().unwrap_or_default())
}

/// One after the other; what cannot be done is told, and the others go on.
async fn each(
    call: &Call,
    daemon: &Daemon,
    ids: &[String],
    done: &'static str,
    ask: impl Fn(&str) -> Ask,
) -> Result<(), Failure> {
    let mut failed: BTreeMap<&str, String> = BTreeMap::new();
    for id in ids {
        match daemon.ask(&ask(id)).await {
            Ok(_) => {}
            // Without a daemon the others fail too.
            Err(failure) if failure.slug().is_none() => return Err(failure),
            Err(failure) => {
                let reason = failure.what().to_owned();
                if !call.json {
                    note(&words::on_one_line(&format!("{id}: {reason}")));
                }
                failed.insert(id, reason);
            }
        }
    }
    let succeeded: Vec<&String> = ids.iter().filter(|id| !failed.contains_key(id.as_str())).collect();
    if call.json {
        call.print_json(&json!({ done: succeeded, "failed": failed }))?;
    } else {
        call.screen.print(&format!("{} {done}\n", succeeded.len()))?;
    }
    match failed.len() {
        0 => Ok(()),
        _ if call.json => Err(Failure::Unwell),
        number => Err(Failure::failed(format!("{number} could not be {done}"))),
    }
}
