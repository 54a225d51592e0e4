//! Structured logs on standard error: one line per fact, as `key=value` pairs, or as JSON.
//!
//! At the default level no line holds a message's text, an address or a secret. Control characters in values are
//! escaped, so that nothing from outside can forge a line.

use std::{io::IsTerminal, sync::OnceLock};

use tracing_subscriber::{filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The variable that says how much is logged.
pub const VARIABLE: &str = "FRONTDESK_LOG";
/// What it may be set to.
pub const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

static STARTED_AS: OnceLock<Form> = OnceLock::new();

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people and `grep`.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether a text is one of [`LEVELS`], in small or capital letters.
#[must_use]
pub fn is_level(text: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text))
}

/// How lines are written since [`start`]; text before.
#[must_use]
pub fn form() -> Form {
    STARTED_AS.get().copied().unwrap_or(Form::Text)
}

/// Starts logging. `level`: one of [`LEVELS`]; anything else counts as `info`.
/// Under systemd the journal adds the time, so lines leave it out there.
pub fn start(form: Form, level: &str, under_journal: bool) {
    let level: LevelFilter = if is_level(level) { level.parse().ok() } else { None }.unwrap_or(LevelFilter::INFO);
    let form = *STARTED_AS.get_or_init(|| form);
    let colour = std::io::stderr().is_terminal();
    let base = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colour);
    // A second start in one process (an example, a test) keeps the first.
    let _ = match form {
        Form::Json => tracing_subscriber::registry().with(level).with(base.json().flatten_event(true)).try_init(),
        Form::Text if under_journal => tracing_subscriber::registry().with(level).with(base.without_time()).try_init(),
        Form::Text => tracing_subscriber::registry().with(level).with(base).try_init(),
    };
}
