//! The command line. Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use frontdesk::{
    check::{Form, Verdict, check, check_online},
    cli::{self, Call, Failure, Screen, colour_of},
    config::{Config, Environment, as_json, as_text, locate},
    logging, registry,
    run::run,
};

mod help;

/// A message is some hundred small allocations and a few large ones: measured through a Telegram channel on Redis, the daemon takes a
/// quarter less of the processor than with glibc's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One daemon for every channel a customer writes on.
#[derive(Parser)]
#[command(name = "frontdesk", version, about, max_term_width = 100, long_about = help::ALL, after_help = help::AFTER_ALL, after_long_help = help::AFTER_ALL_LONG)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration [default: $FRONTDESK_CONFIG, else channels.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output for programs: the API's JSON, findings from `check`, JSON log lines from `run`
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Take messages in and carry replies out, until SIGTERM or Ctrl-C (the default)
    #[command(long_about = help::RUN)]
    Run,
    /// Say everything that is wrong with the configuration
    #[command(long_about = help::CHECK)]
    Check {
        /// Also ask the channels' far ends how they are set up
        #[arg(long)]
        online: bool,
    },
    /// Write a first configuration, with secrets
    #[command(long_about = help::INIT, after_long_help = help::AFTER_INIT)]
    Init(cli::init::Arguments),
    /// How everything is; what is unwell comes first
    #[command(long_about = help::STATUS, after_long_help = help::AFTER_STATUS)]
    Status(cli::status::Arguments),
    /// Show what happens, as it happens
    #[command(long_about = help::TAIL, after_long_help = help::AFTER_TAIL)]
    Tail(cli::tail::Arguments),
    /// Say something to a customer, or leave a note
    #[command(long_about = help::SEND, after_long_help = help::AFTER_SEND)]
    Send(cli::send::Arguments),
    /// List conversations, read one, change who goes on with it
    #[command(visible_alias = "conversation", long_about = help::CONVERSATIONS, after_long_help = help::AFTER_CONVERSATIONS)]
    Conversations(Box<cli::conversations::Arguments>),
    /// What was given up: list it, try it anew, drop it
    #[command(visible_alias = "dead-letter", long_about = help::DEAD_LETTERS, after_long_help = help::AFTER_DEAD_LETTERS)]
    DeadLetters(cli::dead_letters::Arguments),
    /// Erase what there is about somebody
    Contact(cli::contact::Arguments),
    /// Whether what the store holds fits together
    #[command(after_long_help = help::AFTER_STORE)]
    Store(cli::store::Arguments),
    /// Copy the store to a file, while the daemon runs or not
    #[command(long_about = help::BACKUP, after_long_help = help::AFTER_BACKUP)]
    Backup(cli::backup::Arguments),
    /// Show what a channel makes of an input, without the network
    #[command(long_about = help::DECODE, after_long_help = help::AFTER_DECODE)]
    Decode(cli::insight::Arguments),
    /// Show what a channel would send, without the network
    #[command(long_about = help::RENDER, after_long_help = help::AFTER_RENDER)]
    Render(cli::insight::Arguments),
    /// Go on with a channel that was stopped
    Channel(cli::resume::ChannelArguments),
    /// Go on with an agent that was stopped
    Agent(cli::resume::AgentArguments),
    /// Print the description of the API (OpenAPI 3.1)
    #[command(long_about = help::OPENAPI, after_long_help = help::AFTER_OPENAPI)]
    Openapi,
    /// Print completions for a shell
    #[command(long_about = help::COMPLETIONS, after_long_help = help::AFTER_COMPLETIONS)]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

const FAILED: u8 = 1;
const WRONG: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::of_process();
    let screen = Screen::of_stdout(&environment);
    let call = Call { config: arguments.config, json: arguments.json, environment, screen };
    let ended = match arguments.command {
        None | Some(Command::Run) => return serve(&call),
        Some(Command::Check { online }) => return report(&call, online),
        Some(Command::Init(arguments)) => cli::init::run(&call, &arguments),
        Some(Command::Status(arguments)) => call.wait(cli::status::run(&call, &arguments)),
        Some(Command::Tail(arguments)) => call.wait(cli::tail::run(&call, &arguments)),
        Some(Command::Send(arguments)) => call.wait(cli::send::run(&call, &arguments)),
        Some(Command::Conversations(arguments)) => call.wait(cli::conversations::run(&call, &arguments)),
        Some(Command::DeadLetters(arguments)) => call.wait(cli::dead_letters::run(&call, &arguments)),
        Some(Command::Contact(arguments)) => call.wait(cli::contact::run(&call, &arguments)),
        Some(Command::Store(arguments)) => call.wait(cli::store::run(&call, &arguments)),
        Some(Command::Backup(arguments)) => cli::backup::run(&call, &arguments),
        Some(Command::Decode(arguments)) => cli::insight::decode(&call, &arguments),
        Some(Command::Render(arguments)) => cli::insight::render(&call, &arguments),
        Some(Command::Channel(arguments)) => call.wait(cli::resume::channel(&call, &arguments)),
        Some(Command::Agent(arguments)) => call.wait(cli::resume::agent(&call, &arguments)),
        Some(Command::Openapi) => openapi(&call),
        Some(Command::Completions { shell }) => completions(&call, shell),
    };
    call.end(ended)
}

fn report(call: &Call, online: bool) -> ExitCode {
    let file = locate(call.config.as_deref(), &call.environment);
    let form =
        if call.json { Form::Json } else { Form::Text(colour_of(std::io::stdout().is_terminal(), &call.environment)) };
    let report = if online {
        let mut looked = None;
        let ended = call.wait(async {
            looked = Some(check_online(&file, &call.environment, registry::kinds(), form).await);
            Ok(())
        });
        match looked {
            Some(report) => report,
            None => return call.end(ended),
        }
    } else {
        check(&file, &call.environment, registry::kinds(), form)
    };
    let written = call.screen.print(&report.text);
    match (report.verdict, written) {
        (Verdict::Refused, _) => ExitCode::from(WRONG),
        (Verdict::Unwell, Ok(_)) => ExitCode::from(FAILED),
        (Verdict::Fine | Verdict::Unwell, written) => call.end(written),
    }
}

fn openapi(call: &Call) -> Result<(), Failure> {
    let of_channels: Vec<_> = registry::kinds().iter().flat_map(|kind| kind.routes()).collect();
    call.screen.print(&format!("{}\n", frontdesk_http::openapi(&of_channels).trim_end()))
}

fn completions(call: &Call, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "frontdesk", &mut script);
    call.screen.print(&String::from_utf8_lossy(&script))
}

fn serve(call: &Call) -> ExitCode {
    let file = locate(call.config.as_deref(), &call.environment);
    let config = match Config::load(&file, &call.environment, registry::kinds()) {
        Ok(config) => config,
        Err(refused) => {
            let colour = colour_of(std::io::stderr().is_terminal(), &call.environment);
            say(&if call.json {
                format!("{}\n", as_json(&file, &refused.findings))
            } else {
                as_text(&file, &refused.findings, colour)
            });
            return ExitCode::from(WRONG);
        }
    };
    let form = if call.json { logging::Form::Json } else { logging::Form::Text };
    let level = call.environment.get(logging::VARIABLE).unwrap_or("info");
    logging::start(form, level, call.environment.get("JOURNAL_STREAM").is_some());
    match run(config) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) if call.json => {
            tracing::error!("{error:#}");
            ExitCode::from(FAILED)
        }
        Err(error) => {
            say(&format!("frontdesk: {error:#}\n"));
            ExitCode::from(FAILED)
        }
    }
}

/// A closed standard error is no reason to end otherwise.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
