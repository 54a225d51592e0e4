//! `frontdesk store check`: whether what the store holds fits together.
//!
//! A running daemon is asked, as it knows its claims too. Without one the store is opened here, only to be read.

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc};

use frontdesk_attachments::size_in;
use frontdesk_engine::attachment_flaw;
use frontdesk_model::{Checked, Flaw, Look};
use frontdesk_store::{Durability, RedisView, SqliteFile};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, piece},
    place,
    screen::Progress,
    table::{Cell, Table},
    words,
};
use crate::{clock::SystemClock, config::Backend};

/// So many rows are looked at between two words about how far it is.
const ROWS: usize = 2000;

/// `frontdesk store`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Look for what does not fit together in the store
    ///
    /// Every log is read from beginning to end, and everything that leads somewhere is followed. It changes nothing and may be called
    /// while the daemon runs, which is asked then; without one the store itself is read, SQLite's file or the Redis. Ends with 0 when all is well, with 1 when something is
    /// found.
    Check,
}

/// One step's answer.
#[derive(Deserialize)]
struct Step {
    data: Vec<Found>,
    conversations: u64,
    events: u64,
    next: Option<String>,
}

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
struct Found {
    kind: String,
    conversation_id: Option<String>,
    detail: String,
}

impl From<Flaw> for Found {
    fn from(flaw: Flaw) -> Self {
        Self {
            kind: flaw.kind.word().to_owned(),
            conversation_id: flaw.conversation.map(|id| id.to_string()),
            detail: flaw.what,
        }
    }
}

/// Who answers.
enum Source {
    Daemon(Daemon),
    Store {
        store: Box<dyn Checked>,
        /// Where the bytes of its attachments lie.
        attachments: PathBuf,
    },
}

impl Source {
    async fn of(call: &Call, reach: &Reach) -> Result<Self, Failure> {
        let daemon = Daemon::of(call, reach)?;
        if reach.socket.is_some() || daemon.is_there().await? {
            return Ok(Self::Daemon(daemon));
        }
        let stores = place::stores(call.config.as_deref(), &call.environment)?;
        let failed = |error: &dyn std::fmt::Display| Failure::failed(error.to_string());
        if let Some(store) = place::kept_in_a_file(&stores) {
            let file = SqliteFile::open(&store.folder).map_err(|error| failed(&error))?;
            return Ok(Self::Store { store: Box::new(file), attachments: store.attachments.folder.clone() });
        }
        let redis = stores.iter().find_map(|store| match &store.backend {
            Backend::Redis(redis) => Some((redis, store.attachments.folder.clone())),
            Backend::Sqlite => None,
        });
        let (redis, attachments) = redis.ok_or_else(|| Failure::failed("the configuration names no store"))?;
        // What may be lost with its server is no matter of who only looks.
        let options = redis.options(Durability::Relaxed);
        let view = RedisView::open(options, Arc::new(SystemClock)).await.map_err(|error| failed(&error))?;
        Ok(Self::Store { store: Box::new(view), attachments })
    }

    async fn step(&self, resume: Option<String>) -> Result<Step, Failure> {
        match self {
            Self::Daemon(daemon) => {
                let query = resume.map(|page| format!("?page={}", piece(&page))).unwrap_or_default();
                daemon.read(&Ask::get(format!("/v1/store/check{query}"))).await
            }
            Self::Store { store, attachments } => {
                let looked = store.check(Look { rows: ROWS, resume }).await;
                let mut looked = looked.map_err(|error| Failure::failed(error.to_string()))?;
                for (id, stored) in &looked.stored {
                    let found = size_in(attachments, stored.sha256);
                    let found =
                        found.map_err(|error| Failure::failed(format!("{}: {error}", attachments.display())))?;
                    if found != Some(stored.size) {
                        looked.flaws.push(attachment_flaw(*id, found, stored.size));
                    }
                }
                Ok(Step {
                    data: looked.flaws.into_iter().map(Found::from).collect(),
                    conversations: looked.conversations,
                    events: looked.events,
                    next: looked.resume,
                })
            }
        }
    }
}

/// Checks.
///
/// # Errors
/// There is no store to be looked at, or something was found.
pub async fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { reach, command: Command::Check } = arguments;
    let source = Source::of(call, reach).await?;
    let mut progress = Progress::begin(!call.json && std::io::stderr().is_terminal());
    let (mut found, mut conversations, mut events, mut resume) = (Vec::new(), 0_u64, 0_u64, None);
    loop {
        let step = source.step(resume).await?;
        found.extend(step.data);
        conversations += step.conversations;
        events += step.events;
        let Some(next) = step.next else { break };
        progress.say(&format!("{conversations} conversations, {events} events, {} findings", found.len()));
        resume = Some(next);
    }
    progress.end();
    print(call, &found, conversations, events)?;
    if found.is_empty() { Ok(()) } else { Err(Failure::Unwell) }
}

fn print(call: &Call, found: &[Found], conversations: u64, events: u64) -> Result<(), Failure> {
    if call.json {
        let document: Value = json!({ "findings": found, "conversations": conversations, "events": events });
        return call.print_json(&document);
    }
    let looked_at = format!("{conversations} conversations and {events} events were looked at");
    if found.is_empty() {
        return call.screen.print(&format!("all is well: {looked_at}\n"));
    }
    let mut table = Table::new(&["WHAT", "CONVERSATION", "FINDING"], 2);
    for Found { kind, conversation_id, detail } in found {
        let conversation = conversation_id.as_deref().unwrap_or_default();
        table.row([Cell::of(kind), Cell::of(conversation), Cell::of(words::on_one_line(detail).as_ref())]);
    }
    let count = if found.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", found.len()) };
    call.screen.print(&format!("{}\n{count}; {looked_at}\n", table.on(&call.screen)))
}
