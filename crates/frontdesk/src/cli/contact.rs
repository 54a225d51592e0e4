//! `frontdesk contact erase`: somebody wants to be forgotten.

use serde_json::{Value, json};

use super::{
    Call, Failure, Reach,
    daemon::{Ask, Daemon, piece},
    screen::agreed,
};

/// `frontdesk contact`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Erase a contact, with what was said in their conversations
    ///
    /// Conversations that they had alone are emptied, our side's words included; where others take part, their own words are. Of
    /// each message its place in the log is left. There is no way back. A backup made before still holds everything.
    Erase {
        /// The contact (cnt_..., as `frontdesk conversations show` names it)
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Erases.
///
/// # Errors
/// No daemon answers, or it knows no such contact.
pub async fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let daemon = Daemon::of(call, &arguments.reach)?;
    let Command::Erase { id, yes } = &arguments.command;
    let path = format!("/v1/contacts/{}", piece(id));
    if !yes {
        let contact = daemon.ask(&Ask::get(path.clone())).await?;
        let name = contact.get("name").and_then(Value::as_str).unwrap_or("this contact");
        let name = super::words::on_one_line(name);
        if !agreed(
            "what is erased is gone for good",
            &format!("Erase {name} and all that was said with them for good?"),
        )? {
            return Err(Failure::failed("nothing was erased"));
        }
    }
    let done = daemon.ask(&Ask::delete(&path)).await? == Value::Null;
    match (call.json, done) {
        (true, _) => call.print_json(&json!({ "id": id, "done": done })),
        (false, true) => call.screen.print("erased\n"),
        (false, false) => {
            call.screen.print("there is much to erase; the daemon goes on by itself, also after a restart\n")
        }
    }
}
