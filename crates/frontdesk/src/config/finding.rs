//! What is wrong with a configuration, and how that is shown.
//!
//! A finding names its place, what is wrong in one sentence, and the mend. It never holds a value of the configuration:
//! any value may be a secret that stands in the wrong place. Names of keys are escaped, since they come from the
//! file.

use std::{
    cmp::Ordering,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// Longest part of a name that is repeated in a finding.
const NAME_SHOWN: usize = 64;

/// One thing that is wrong, or that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the daemon starts all the same.
    pub severity: Severity,
    /// Where it stands.
    pub place: Place,
    /// The table, such as `channels.shop`; empty for the file as a whole.
    pub table: String,
    /// The key within the table, when it is about one.
    pub key: Option<String>,
    /// What is wrong, in a sentence that shows no value.
    pub what: String,
    /// What to write instead.
    pub mend: String,
}

/// Whether the daemon starts all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does not.
    Error,
    /// It does.
    Warning,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular: the file as a whole, or what is not there.
    File,
    /// Counted from 1, columns in characters.
    Line {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A variable of the environment.
    Variable(String),
}

impl Place {
    fn rank(&self) -> (u8, usize, usize, &str) {
        match self {
            Self::File => (0, 0, 0, ""),
            Self::Line { line, column } => (1, *line, *column, ""),
            Self::Variable(name) => (2, 0, 0, name),
        }
    }
}

impl Finding {
    /// Order of reading: by line, then what came from the environment.
    pub(super) fn reading_order(&self, other: &Self) -> Ordering {
        self.place.rank().cmp(&other.place.rank())
    }

    fn subject(&self) -> String {
        let table = if self.table.is_empty() { String::new() } else { format!("[{}]", self.table) };
        match (&self.key, table.is_empty()) {
            (Some(key), true) => format!("{key}: "),
            (Some(key), false) => format!("{table} {key}: "),
            (None, true) => String::new(),
            (None, false) => format!("{table}: "),
        }
    }

    fn dotted_key(&self) -> Option<String> {
        match (&self.key, self.table.is_empty()) {
            (Some(key), true) => Some(key.clone()),
            (Some(key), false) => Some(format!("{}.{key}", self.table)),
            (None, true) => None,
            (None, false) => Some(self.table.clone()),
        }
    }
}

/// Whether a report is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    On,
    /// For anything else.
    Off,
}

/// The report for a person: two lines for each finding.
#[must_use]
pub fn as_text(file: &Path, findings: &[Finding], colour: Colour) -> String {
    let paint = |code: &str, text: &str| match colour {
        Colour::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        Colour::Off => text.to_owned(),
    };
    let file = shown_path(file);
    let mut text = String::new();
    for finding in findings {
        let place = match &finding.place {
            Place::File => file.clone(),
            // A column helps only where no key says which part of the line is meant.
            Place::Line { line, column } if finding.key.is_none() && finding.table.is_empty() => {
                format!("{file}:{line}:{column}")
            }
            Place::Line { line, .. } => format!("{file}:{line}"),
            Place::Variable(name) => shown_name(name),
        };
        let (code, word) = match finding.severity {
            Severity::Error => ("31", ""),
            Severity::Warning => ("33", "warning: "),
        };
        let sentence = paint(code, &format!("{word}{}", finding.what));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}{sentence}", paint("1", &place), finding.subject());
        let _ = writeln!(text, "  mend: {}", finding.mend);
    }
    text
}

/// The report for a program: a list of `{severity, file, line, column, variable, key, message, mend}`.
#[must_use]
pub fn as_json(file: &Path, findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        let (line, column, variable) = match &finding.place {
            Place::File => (None, None, None),
            Place::Line { line, column } => (Some(line), Some(column), None),
            Place::Variable(name) => (None, None, Some(name)),
        };
        json!({
            "severity": match finding.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "file": file.to_string_lossy(),
            "line": line,
            "column": column,
            "variable": variable,
            "key": finding.dotted_key(),
            "message": finding.what,
            "mend": finding.mend,
        })
    };
    findings.iter().map(one).collect()
}

/// One line of the log for each.
pub fn warn_of(findings: &[Finding]) {
    for finding in findings {
        let (line, variable) = match &finding.place {
            Place::File => (None, None),
            Place::Line { line, .. } => (Some(*line), None),
            Place::Variable(name) => (None, Some(name.as_str())),
        };
        tracing::warn!(line, variable, key = finding.dotted_key(), mend = finding.mend, "{}", finding.what);
    }
}

/// A configuration that no daemon starts with: every mistake at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// Every mistake, and every warning, in reading order.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(as_text(&self.file, &self.findings, Colour::Off).trim_end())
    }
}

impl std::error::Error for Refused {}

/// A name from the file, fit for a terminal: control characters escaped, cut when it is endless.
pub(super) fn shown_name(name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte == b'*');
    if plain && name.len() <= NAME_SHOWN {
        return name.to_owned();
    }
    let cut: String = name.chars().take(NAME_SHOWN).collect();
    let more = if cut.len() < name.len() { "..." } else { "" };
    format!("\"{}{more}\"", cut.escape_debug())
}

/// A path, fit for a terminal.
pub(super) fn shown_path(path: &Path) -> String {
    let mut shown = String::new();
    for letter in path.to_string_lossy().chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}
