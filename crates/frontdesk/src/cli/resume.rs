//! `frontdesk channel resume` and `frontdesk agent resume`: going on after a far end said that it wants no more.

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, piece},
    forms::Status,
    words,
};
use crate::config::nearest;

/// `frontdesk channel`
#[derive(Debug, clap::Args)]
pub struct ChannelArguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: ChannelCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ChannelCommand {
    /// Send messages on a channel again
    ///
    /// After its far end answered 410 nothing more is sent there, and messages wait. This goes on as if nothing had been.
    /// A channel that is merely unwell is tried once at once.
    Resume {
        /// The channel
        name: String,
    },
}

/// `frontdesk agent`
#[derive(Debug, clap::Args)]
pub struct AgentArguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AgentCommand {
    /// Send events to the agent again
    ///
    /// After the agent answered 410 nothing more is sent to it, and events wait. This goes on as if nothing had been.
    /// An agent that is merely unwell is tried once at once.
    Resume,
}

/// Resumes a channel.
///
/// # Errors
/// No daemon answers, or it has no such channel.
pub async fn channel(call: &Call, arguments: &ChannelArguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    let ChannelCommand::Resume { name } = &arguments.command;
    match daemon.ask(&Ask::post(format!("/v1/channels/{}/resume", piece(name)))).await {
        Ok(_) => {}
        Err(failure) if failure.slug() == Some("unknown-channel") => return Err(stranger(&daemon, name).await),
        Err(failure) => return Err(failure),
    }
    say(call, &format!("{name} sends again; what waited goes out now"))
}

/// Resumes the agent.
///
/// # Errors
/// No daemon answers, or it has no agent.
pub async fn agent(call: &Call, arguments: &AgentArguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    let AgentCommand::Resume = &arguments.command;
    daemon.ask(&Ask::post("/v1/agent/resume")).await?;
    say(call, "the agent gets events again; what waited goes to it now")
}

/// The API answers nothing to these, so programs get nothing either.
fn say(call: &Call, words: &str) -> Result<(), Failure> {
    if call.json { Ok(()) } else { call.screen.print(&format!("{}\n", words::on_one_line(words))) }
}

async fn stranger(daemon: &Daemon, name: &str) -> Failure {
    let failure = Failure::failed(format!("there is no channel {name}"));
    let Ok(status) = daemon.read::<Status>(&Ask::get("/v1/status")).await else { return failure };
    let names: Vec<&str> = status.channels.iter().filter(|of| of.kind.is_some()).map(|of| of.name.as_str()).collect();
    match (nearest(name, names.iter().copied()), names.as_slice()) {
        (Some(near), _) => failure.mend(format!("write {near} (there are: {})", names.join(", "))),
        (None, []) => failure.mend("this daemon has no channel at all"),
        (None, _) => failure.mend(format!("write one of {}", names.join(", "))),
    }
}
