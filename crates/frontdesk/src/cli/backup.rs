//! `frontdesk backup`: a copy of the store, made while the daemon runs or not.

use std::{io::IsTerminal as _, path::PathBuf};

use frontdesk_store::{Copied, backup};
use serde_json::json;

use super::{Call, Failure, place, screen::Progress};

/// `frontdesk backup`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The file to write; it must not be there yet. The files of attachments are not part of it: copy their folder too
    file: PathBuf,
}

/// Copies.
///
/// # Errors
/// The store is not a file, or it cannot be copied there.
pub fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let stores = place::stores(call.config.as_deref(), &call.environment)?;
    let store = place::kept_in_a_file(&stores).ok_or_else(|| {
        Failure::failed("the store is not a file: the configuration names a Redis").mend(
            "a Redis is copied by its own means: BGSAVE writes a dump (dump.rdb) while it runs; with appendonly yes, copy the files in \
             appenddirname",
        )
    })?;
    let mut progress = Progress::begin(!call.json && std::io::stderr().is_terminal());
    let copied = backup(&store.folder, &arguments.file, &mut |Copied { done, of }| {
        progress.say(&format!("{} of {} MB", done >> 20, of >> 20));
    });
    progress.end();
    let bytes = copied.map_err(|error| Failure::failed(error.to_string()))?;
    let file = arguments.file.display().to_string();
    if call.json {
        return call.print_json(&json!({ "file": file, "bytes": bytes }));
    }
    call.screen.print(&format!("{file}: {bytes} bytes, checked\n"))
}
