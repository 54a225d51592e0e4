//! `frontdesk check`: reads the configuration as a start would, and says everything that is wrong with it at once.
//!
//! It opens no store and makes no key, and it connects to nothing unless it is asked to look [online](check_online): then each
//! channel says how its far end is set up.

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use frontdesk_model::{Adapter, ChannelName, Kind, KindName, Level, Surroundings};

use crate::{
    clock::SystemClock,
    config::{Backend, Colour, Config, Environment, Finding, Place, Severity, as_json, as_text},
};

/// A far end that has not answered by then counts as unreachable.
const ANSWERS_WITHIN: Duration = Duration::from_secs(40);

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text(Colour),
    /// For a program: a list, empty when nothing is to be said.
    Json,
}

/// Whether a daemon would start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It would; there may be warnings.
    Fine,
    /// It would, and a channel of it would not work.
    Unwell,
    /// It would not.
    Refused,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether a daemon would start.
    pub verdict: Verdict,
    /// What to print; ends with a line end.
    pub text: String,
}

/// Checks a configuration.
#[must_use]
pub fn check(file: &Path, environment: &Environment, kinds: &[&dyn Kind], form: Form) -> Report {
    let (verdict, findings, summary) = match Config::load(file, environment, kinds) {
        Ok(config) => {
            let summary = format!("{}\n", describe(&config));
            (Verdict::Fine, config.warnings, summary)
        }
        Err(refused) => {
            let summary = format!("{}; a daemon would not start\n", count(&refused.findings));
            (Verdict::Refused, refused.findings, summary)
        }
    };
    let text = match form {
        Form::Text(colour) => as_text(file, &findings, colour) + &summary,
        Form::Json => format!("{:#}\n", as_json(file, &findings)),
    };
    Report { verdict, text }
}

/// Checks a configuration and then, if a daemon would start with it, asks every channel's far end how it is set up.
pub async fn check_online(file: &Path, environment: &Environment, kinds: &[&dyn Kind], form: Form) -> Report {
    let config = match Config::load(file, environment, kinds) {
        Ok(config) => config,
        Err(_) => return check(file, environment, kinds, form),
    };
    crate::run::provide_cryptography();
    let looks = config.channels.iter().map(|channel| {
        let surroundings = Surroundings { clock: Arc::new(SystemClock), public_url: config.server.public_url.clone() };
        let built = channel.config.build(surroundings).map_err(|error| error.to_string());
        let (name, kind) = (channel.name.clone(), channel.kind.clone());
        tokio::spawn(async move { look(name, kind, built).await })
    });
    let mut looked = Vec::new();
    for look in looks.collect::<Vec<_>>() {
        looked.extend(look.await);
    }
    let level = looked.iter().flat_map(|one| &one.findings).map(|finding| finding.level).max();
    let mut findings = config.warnings.clone();
    findings.extend(looked.iter().flat_map(Looked::as_findings));
    let text = match form {
        Form::Text(colour) => {
            let warnings = as_text(file, &config.warnings, colour);
            let shown: String = looked.iter().map(|one| one.shown(colour)).collect();
            format!("{warnings}{}\n{shown}", describe(&config))
        }
        Form::Json => format!("{:#}\n", as_json(file, &findings)),
    };
    Report { verdict: if level == Some(Level::Wrong) { Verdict::Unwell } else { Verdict::Fine }, text }
}

/// What a channel's far end said.
struct Looked {
    name: ChannelName,
    kind: KindName,
    findings: Vec<frontdesk_model::Finding>,
}

async fn look(name: ChannelName, kind: KindName, built: Result<Arc<dyn Adapter>, String>) -> Looked {
    let wrong = |what: String| vec![frontdesk_model::Finding { level: Level::Wrong, what, mend: None }];
    let findings = match built {
        Ok(adapter) => match tokio::time::timeout(ANSWERS_WITHIN, adapter.inspect()).await {
            Ok(findings) => findings,
            Err(_) => wrong(format!("no answer within {} seconds", ANSWERS_WITHIN.as_secs())),
        },
        Err(error) => wrong(error),
    };
    Looked { name, kind, findings }
}

impl Looked {
    fn as_findings(&self) -> impl Iterator<Item = Finding> {
        self.findings.iter().filter_map(|finding| {
            let severity = match finding.level {
                Level::Fine => return None,
                Level::Warning => Severity::Warning,
                Level::Wrong => Severity::Error,
            };
            Some(Finding {
                severity,
                place: Place::File,
                table: format!("channels.{}", self.name),
                key: None,
                what: finding.what.clone(),
                mend: finding.mend.clone().unwrap_or_else(|| "see what the far end says".into()),
            })
        })
    }

    fn shown(&self, colour: Colour) -> String {
        let mut text = format!("\n{} ({})\n", self.name, self.kind);
        for finding in &self.findings {
            let (code, word) = match finding.level {
                Level::Fine => ("32", "fine"),
                Level::Warning => ("33", "warning"),
                Level::Wrong => ("31", "wrong"),
            };
            let padding = " ".repeat(8_usize.saturating_sub(word.len()));
            let word = match colour {
                Colour::On => format!("\u{1b}[{code}m{word}\u{1b}[0m"),
                Colour::Off => word.to_owned(),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {word}{padding} {}", finding.what);
            let _ = finding.mend.as_ref().map_or(Ok(()), |mend| writeln!(text, "    mend: {mend}"));
        }
        text
    }
}

fn describe(config: &Config) -> String {
    let mut text = format!("{} is fine", config.file.display());
    // Writing to a String cannot fail.
    let _ = match config.warnings.len() {
        0 => Ok(()),
        _ => write!(text, " ({})", count(&config.warnings)),
    };
    let channels: Vec<String> = config.channels.iter().map(|one| format!("{} ({})", one.name, one.kind)).collect();
    let agent = match &config.agent {
        Some(agent) => agent.url.origin().ascii_serialization(),
        None => "none".into(),
    };
    let _ = write!(
        text,
        "\n  listen    {}\n  store     {}\n  agent     {agent}\n  channels  {}",
        config.server.listen,
        match &config.store.backend {
            Backend::Sqlite => format!("SQLite in {}", config.store.folder.display()),
            Backend::Redis(redis) => format!("Redis at {}", redis.shown),
        },
        if channels.is_empty() { "none".into() } else { channels.join(", ") },
    );
    text
}

fn count(findings: &[Finding]) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let some = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{number} {word}s")),
    };
    let parts = [some(of(Severity::Error), "mistake"), some(of(Severity::Warning), "warning")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
