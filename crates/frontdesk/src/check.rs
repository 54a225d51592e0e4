//! `frontdesk check`: reads the configuration as a start would, and says everything that is wrong with it at once.
//!
//! It opens no store, makes no key and connects to nothing.

use std::{fmt::Write as _, path::Path};

use frontdesk_model::Kind;

use crate::config::{Backend, Colour, Config, Environment, Finding, Severity, as_json, as_text};

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
