//! The command line. Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use frontdesk::{
    check::{Form, Verdict, check},
    config::{Colour, Config, Environment, locate},
    logging, registry,
    run::run,
};

/// One daemon for every channel a customer writes on.
#[derive(Parser)]
#[command(name = "frontdesk", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration [default: $FRONTDESK_CONFIG, else channels.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output for programs: a list of findings from `check`, JSON log lines from `run`
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Take messages in and carry replies out, until SIGTERM or Ctrl-C (the default)
    Run,
    /// Say everything that is wrong with the configuration
    Check,
}

const FAILED: u8 = 1;
const WRONG: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = Environment::of_process();
    match arguments.command {
        None | Some(Command::Run) => serve(&arguments, &environment),
        Some(Command::Check) => report(&arguments, &environment),
    }
}

fn colour(terminal: bool, environment: &Environment) -> Colour {
    if terminal && environment.get("NO_COLOR").is_none_or(str::is_empty) { Colour::On } else { Colour::Off }
}

fn report(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let file = locate(arguments.config.as_deref(), environment);
    let form =
        if arguments.json { Form::Json } else { Form::Text(colour(std::io::stdout().is_terminal(), environment)) };
    let report = check(&file, environment, registry::kinds(), form);
    let written = std::io::stdout().write_all(report.text.as_bytes());
    match report.verdict {
        Verdict::Refused => ExitCode::from(WRONG),
        Verdict::Fine if written.is_err() => ExitCode::from(FAILED),
        Verdict::Fine => ExitCode::SUCCESS,
    }
}

fn serve(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let file = locate(arguments.config.as_deref(), environment);
    let config = match Config::load(&file, environment, registry::kinds()) {
        Ok(config) => config,
        Err(refused) => {
            let colour = colour(std::io::stderr().is_terminal(), environment);
            eprint!("{}", frontdesk::config::as_text(&file, &refused.findings, colour));
            return ExitCode::from(WRONG);
        }
    };
    let form = if arguments.json { logging::Form::Json } else { logging::Form::Text };
    let level = environment.get("FRONTDESK_LOG").unwrap_or("info");
    logging::start(form, level, environment.get("JOURNAL_STREAM").is_some());
    match run(config) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frontdesk: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
