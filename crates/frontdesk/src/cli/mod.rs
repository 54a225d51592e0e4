//! The commands beside `run` and `check`. Most of them ask a running daemon, over the socket in its store's folder, for what
//! the API answers to an administrator; `init` writes a first configuration; `backup`, and `store check` where no daemon runs, read the
//! store's file themselves; `decode` and `render` need neither.
//!
//! The way of a command: `place` finds the socket, `daemon` speaks HTTP over it, the command's own file turns the answer
//! into `table` and words, and `screen` prints it. With `--json` the API's own JSON is printed instead. Everything that
//! a customer may have written goes through [`words`] before it reaches a terminal.
//!
//! Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration. A reader that goes away (`| head`) ends a command quietly.

pub mod backup;
pub mod contact;
pub mod conversations;
mod daemon;
pub mod dead_letters;
mod failure;
mod forms;
pub mod init;
pub mod insight;
mod pages;
mod place;
pub mod resume;
mod screen;
pub mod send;
pub mod status;
pub mod store;
mod stream;
mod table;
pub mod tail;
mod times;
mod words;

use std::{future::Future, path::PathBuf, process::ExitCode};

pub use self::{
    failure::Failure,
    screen::{Screen, colour_of},
};
use crate::config::Environment;

/// Where the daemon is to be found.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Reach {
    /// The running daemon's socket [default: control.sock in the daemon's folder, as the configuration names it]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// How a command was called.
#[derive(Debug, Clone)]
pub struct Call {
    /// What `--config` names.
    pub config: Option<PathBuf>,
    /// Whether the output is for programs.
    pub json: bool,
    /// The process's environment.
    pub environment: Environment,
    /// Where the output goes.
    pub screen: Screen,
}

impl Call {
    /// Says how a command ended, on standard error where there is something to say.
    #[must_use]
    pub fn end(&self, ended: Result<(), Failure>) -> ExitCode {
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                // Who closed standard error wants to hear nothing.
                let _ = std::io::Write::write_all(&mut std::io::stderr(), failure.said(self.json).as_bytes());
                ExitCode::from(failure.exit_code())
            }
        }
    }

    /// Runs a command that waits for the daemon.
    ///
    /// # Errors
    /// Its own; or the machine has no room for it.
    pub fn wait<F: Future<Output = Result<(), Failure>>>(&self, command: F) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| Failure::failed(format!("the command cannot be started: {error}")))?.block_on(command)
    }

    /// Prints the API's own JSON, on one page of text.
    fn print_json(&self, document: &serde_json::Value) -> Result<(), Failure> {
        self.screen.print(&words::in_json(&format!("{document:#}\n")))
    }
}
