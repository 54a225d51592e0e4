//! `frontdesk init`: a first configuration that works, with the secrets that it names, and what to do next.
//!
//! Nothing that is there is lost: a configuration is replaced with `--force` only and kept beside the new one, and secrets
//! that are there already stay and are used, since somebody else may know them by now. What is written is read as a
//! start would read it before it takes its place.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufRead as _, ErrorKind, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use frontdesk_model::ChannelName;
use serde_json::json;
use url::Url;

use super::{Call, Failure, words};
use crate::{
    config::{Config, DEFAULT_FILE, Severity, locate},
    keys::{self, Origin},
    registry,
};

const AGENT: &str = "http://127.0.0.1:8081/";
const CHANNEL: &str = "shop";
const LISTEN: &str = "127.0.0.1:8080";

/// `frontdesk init`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where your agent takes events [default: asked on a terminal, else http://127.0.0.1:8081/]
    #[arg(long, value_name = "URL")]
    agent: Option<Url>,
    /// No agent: teammates answer
    #[arg(long, conflicts_with = "agent")]
    no_agent: bool,
    /// What the first channel is called [default: asked on a terminal, else shop]
    #[arg(long, value_name = "NAME")]
    channel: Option<ChannelName>,
    /// Where replies are posted [default: they are read from the API]
    #[arg(long, value_name = "URL")]
    deliver_url: Option<Url>,
    /// The address and port of the API [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Ask nothing; take the defaults
    #[arg(long)]
    yes: bool,
    /// Replace a configuration that is there; it is kept as FILE.old
    #[arg(long)]
    force: bool,
}

/// What to write.
struct Plan {
    file: PathBuf,
    agent: Option<Url>,
    channel: ChannelName,
    deliver_url: Option<Url>,
    listen: SocketAddr,
}

/// One file with a secret.
struct SecretFile {
    name: String,
    what: &'static str,
    origin: Origin,
}

/// Writes a configuration.
///
/// # Errors
/// There is one already, or it cannot be written.
pub fn run(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    let file = locate(call.config.as_deref(), &call.environment);
    if file.symlink_metadata().is_ok() && !arguments.force {
        return Err(Failure::failed(format!("{} is there already, and nothing was changed", file.display()))
            .mend("edit it, replace it with --force, or name another file with --config FILE"));
    }
    let plan = Plan::of(arguments, file, !call.json)?;
    let secrets = plan.provide_secrets()?;
    let kept = plan.write(call, arguments)?;
    if call.json {
        let names = |origin| {
            secrets.iter().filter(|one| one.origin == origin).map(|one| plan.path(&one.name)).collect::<Vec<_>>()
        };
        return call.print_json(&json!({
            "configuration": plan.file, "replaced": kept, "made": names(Origin::Made), "kept": names(Origin::Read),
        }));
    }
    call.screen.print(&plan.told(&secrets, kept.as_deref()))
}

impl Plan {
    fn of(arguments: &Arguments, file: PathBuf, may_ask: bool) -> Result<Self, Failure> {
        let listen = LISTEN.parse().map_err(|_| Failure::failed("the default address is none"))?;
        let asks = may_ask && !arguments.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
        let agent = match (&arguments.agent, arguments.no_agent) {
            (Some(url), _) => Some(url.clone()),
            (None, true) => None,
            (None, false) if asks => {
                question("Where does your agent take events? (none: teammates answer)", AGENT, |text| {
                    if text == "none" { Some(None) } else { Url::parse(text).ok().map(Some) }
                })?
            }
            (None, false) => Url::parse(AGENT).ok(),
        };
        let channel = match &arguments.channel {
            Some(name) => name.clone(),
            None if asks => question("What is the first channel called?", CHANNEL, |text| ChannelName::new(text).ok())?,
            None => CHANNEL.parse().map_err(|_| Failure::failed("the default channel has no name"))?,
        };
        Ok(Self {
            file,
            agent,
            channel,
            deliver_url: arguments.deliver_url.clone(),
            listen: arguments.listen.unwrap_or(listen),
        })
    }

    fn folder(&self) -> &Path {
        self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// A file beside the configuration, as a shell in the present folder finds it.
    fn path(&self, name: &str) -> PathBuf {
        self.file.with_file_name(name)
    }

    /// What the channel's own token and secret are called: `admin` and `agent` mean something else already.
    fn own_name(&self) -> String {
        match self.channel.as_str() {
            name @ ("admin" | "agent") => format!("{name}_channel"),
            name => name.to_owned(),
        }
    }

    fn own_token(&self) -> String {
        format!("{}.token", self.own_name())
    }

    fn own_secret(&self) -> String {
        format!("{}.secret", self.own_name())
    }

    fn provide_secrets(&self) -> Result<Vec<SecretFile>, Failure> {
        fs::create_dir_all(self.folder()).map_err(|error| cannot_write(self.folder(), &error))?;
        let token = "a bearer token that hands messages in, reads and answers, on this channel only";
        let mut wanted = vec![
            ("admin.token".to_owned(), keys::Sort::Token, "a bearer token that may do everything"),
            (self.own_token(), keys::Sort::Token, token),
            (self.own_secret(), keys::Sort::Secret, "signs requests and replies of this channel (Standard Webhooks)"),
        ];
        if self.agent.is_some() {
            wanted.push(("agent.secret".to_owned(), keys::Sort::Secret, "signs events to the agent"));
        }
        let provide = |(name, sort, what): (String, keys::Sort, &'static str)| {
            let origin = keys::provide_file(&self.folder().join(&name), sort)
                .map_err(|error| Failure::failed(error.to_string()))?;
            Ok(SecretFile { name, what, origin })
        };
        wanted.into_iter().map(provide).collect()
    }

    /// Where the old one is kept, if there was one.
    fn write(&self, call: &Call, arguments: &Arguments) -> Result<Option<PathBuf>, Failure> {
        let draft = self.beside("new");
        let refuse = |error: io::Error| cannot_write(&self.file, &error);
        fs::write(&draft, self.toml()).map_err(refuse)?;
        // Variables that override keys are for a start; they are none of this file's mistakes.
        let environment = call.environment.without_overrides();
        let read = Config::load(&draft, &environment, registry::kinds());
        if let Err(mut refused) = read {
            let _ = fs::remove_file(&draft);
            refused.findings.retain(|finding| finding.severity == Severity::Error);
            refused.file.clone_from(&self.file);
            return Err(refused.into());
        }
        let kept = self.beside("old");
        let placed = if arguments.force {
            match fs::rename(&self.file, &kept) {
                Ok(()) => fs::rename(&draft, &self.file).map(|()| Some(kept)),
                Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(&draft, &self.file).map(|()| None),
                Err(error) => Err(error),
            }
        } else {
            // Not over one that somebody else has made meanwhile.
            let new = File::options().write(true).create_new(true).open(&self.file);
            new.and_then(|mut new| new.write_all(self.toml().as_bytes())).map(|()| None)
        };
        let _ = fs::remove_file(&draft);
        placed.map_err(refuse)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let name = self.file.file_name().unwrap_or(DEFAULT_FILE.as_ref());
        let mut name = name.to_owned();
        name.push(".");
        name.push(ending);
        self.file.with_file_name(name)
    }

    fn toml(&self) -> String {
        let Self { channel, listen, .. } = self;
        let (own, token, secret) = (self.own_name(), self.own_token(), self.own_secret());
        let agent = match &self.agent {
            Some(url) => format!(
                "[agent]\n\
                 # A program that answers an HTTP POST with {{\"text\": \"...\"}}; the README has one in fifteen lines.\n\
                 url = \"{url}\"\n\
                 # Events are signed with it (Standard Webhooks), so that the agent can tell that they come from here.\n\
                 secret = {{ file = \"agent.secret\" }}\n\
                 # A language model instead of a program: its server's address as url, no secret, and\n\
                 #protocol = \"openai\"\n\
                 #api_key = {{ env = \"MODEL_KEY\" }}\n\
                 #model = \"the-model\"\n\
                 #instructions = {{ file = \"instructions.md\" }}\n"
            ),
            None => "# Without an agent new conversations belong to teammates. A program or a language model that answers:\n\
                     #[agent]\n\
                     #url = \"http://127.0.0.1:8081/\"\n"
                .to_owned(),
        };
        let deliver = match &self.deliver_url {
            Some(url) => format!("deliver_url = \"{url}\"\n"),
            None => "#deliver_url = \"https://shop.example.com/frontdesk\"\n".to_owned(),
        };
        format!(
            "# Frontdesk's configuration. After a change: frontdesk check\n\
             # These are the keys that most need. All of them, each explained, are in the channels.toml that comes with the program.\n\
             #\n\
             # A secret stands in a file that only its owner may read. Elsewhere it may come from the environment, {{ env = \"NAME\" }},\n\
             # or from systemd, {{ credential = \"name\" }}. Relative paths start in this file's folder; in a service of systemd, in\n\
             # its state folder (/var/lib/frontdesk).\n\
             \n\
             [server]\n\
             # The API, as plain HTTP. For anything but this machine put a TLS proxy in front, and say how it is reached:\n\
             listen = \"{listen}\"\n\
             #public_url = \"https://desk.example.com\"\n\
             \n\
             [store]\n\
             # One folder that holds every message. `frontdesk backup FILE` copies it; the secrets beside this file belong to a backup too.\n\
             url = \"sqlite:./data\"\n\
             \n\
             {agent}\n\
             # Each channel has a table; its name stands in addresses: POST /v1/channels/{channel}/messages\n\
             [channels.{channel}]\n\
             kind = \"webhook\"\n\
             # Signs what is posted to deliver_url, and verifies messages that come with a signature instead of a token.\n\
             secret = {{ file = \"{secret}\" }}\n\
             # Where replies are posted. Without it they are read from the API.\n\
             {deliver}\
             \n\
             # Who may use the API: `Authorization: Bearer` and the token. Each should have what it needs and no more:\n\
             # ingest hands messages in, agent reads and answers, desk also takes conversations over, admin may do everything.\n\
             [tokens.admin]\n\
             token = {{ file = \"admin.token\" }}\n\
             scopes = [\"admin\"]\n\
             \n\
             [tokens.{own}]\n\
             token = {{ file = \"{token}\" }}\n\
             scopes = [\"ingest\", \"agent\"]\n\
             channels = [\"{channel}\"]\n"
        )
    }

    fn told(&self, secrets: &[SecretFile], kept: Option<&Path>) -> String {
        let shown = |path: &Path| words::shell(&path.to_string_lossy()).into_owned();
        let mut text = format!("{} is written. Its secrets lie beside it, for your eyes only:\n", shown(&self.file));
        // Writing to a String cannot fail.
        for secret in secrets {
            let kept = if secret.origin == Origin::Read { " (was there, and is kept)" } else { "" };
            let _ = writeln!(text, "  {:<16} {}{kept}", shown(&self.path(&secret.name)), secret.what);
        }
        if let Some(kept) = kept {
            let _ = writeln!(text, "The configuration that was there is kept as {}.", shown(kept));
        }
        let named = if self.file == Path::new(DEFAULT_FILE) {
            String::new()
        } else {
            format!(" --config {}", shown(&self.file))
        };
        let agent = match &self.agent {
            Some(url) => format!("   It posts events to {url}; without an agent there they wait.\n"),
            None => String::new(),
        };
        let (listen, channel, token) = (reached_at(self.listen), &self.channel, shown(&self.path(&self.own_token())));
        let _ = write!(
            text,
            "\nNext:\n\
             1. Start it:\n\
             \x20  frontdesk run{named}\n{agent}\
             2. In another terminal, write as a customer:\n\
             \x20  curl -s http://{listen}/v1/channels/{channel}/messages -H \"Authorization: Bearer $(cat {token})\" -d \
             '{{\"id\":\"1\",\"from\":{{\"id\":\"ada\",\"name\":\"Ada\"}},\"text\":\"When do you open?\"}}'\n\
             3. See what came of it:\n\
             \x20  frontdesk conversations{named}\n\
             \x20  frontdesk status{named}\n"
        );
        text
    }
}

/// From this machine.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(of) if of.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], of.port())),
        SocketAddr::V6(of) if of.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, of.port())),
        other => other,
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::failed(format!("{} cannot be written: {error}", path.display()));
    match error.kind() {
        ErrorKind::AlreadyExists => failure.mend("replace it with --force, or name another file with --config FILE"),
        ErrorKind::PermissionDenied => {
            failure.mend("call it as a user that may write there, or name another place with --config FILE")
        }
        _ => failure,
    }
}

/// Asks until the answer can be used; an empty one is the default.
fn question<T>(words: &str, default: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Failure> {
    loop {
        let _ = write!(io::stderr(), "{words} [{default}] ");
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) => return Err(Failure::failed("nothing was written: there was no answer")),
            Ok(_) => {}
            Err(error) => return Err(Failure::failed(format!("the answer cannot be read: {error}"))),
        }
        let answer = if line.trim().is_empty() { default } else { line.trim() };
        match read(answer) {
            Some(value) => return Ok(value),
            None => {
                let _ = writeln!(io::stderr(), "That cannot be used here.");
            }
        }
    }
}
