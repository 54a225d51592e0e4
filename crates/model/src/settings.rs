//! How a kind says which settings it has, and how it gets them checked.
//!
//! A kind lists its [`Key`]s. The binary reads the file, finds unknown keys and wrong types with their lines, fetches
//! secrets from where the file says, and hands the rest over as [`Settings`]. What is left for the kind to check
//! is what only it can know.

use std::{collections::BTreeMap, time::Duration};

use crate::Secret;

/// One key of a table of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As it stands in the file.
    pub name: &'static str,
    /// What may stand behind it.
    pub shape: Shape,
    /// Whether the table is wrong without it.
    pub need: Need,
    /// What it does, in one line.
    pub doc: &'static str,
}

/// Whether a key has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The table is refused without it.
    Required,
    /// It may be left out.
    Optional,
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Text.
    Text,
    /// Text of any length up to 64 KiB, or `{ file = ".." }` that holds it.
    LongText,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An `http` or `https` address without user information.
    HttpUrl,
    /// A span such as `"30 s"`, `"2 min"`, `"400 days"`.
    Span,
    /// A size such as `"25 MB"`, `"256 MiB"`, or a number of bytes.
    Size,
    /// A whole number between these.
    Whole(u64, u64),
    /// `true` or `false`.
    Switch,
    /// Texts in brackets.
    Texts,
    /// A secret: text, `{ env = ".." }`, `{ file = ".." }` or `{ credential = ".." }`; or, while it is being changed,
    /// several of these in brackets, the one to sign with first.
    Secrets,
}

/// A value that has passed its [`Shape`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// Of [`Shape::Text`], [`Shape::LongText`], [`Shape::Choice`], [`Shape::HttpUrl`].
    Text(String),
    /// Of [`Shape::Span`].
    Span(Duration),
    /// Of [`Shape::Size`] and [`Shape::Whole`].
    Number(u64),
    /// Of [`Shape::Switch`].
    Switch(bool),
    /// Of [`Shape::Texts`].
    Texts(Vec<String>),
    /// Of [`Shape::Secrets`]; never empty.
    Secrets(Vec<Secret>),
}

/// The settings of one table, each of the shape that its key has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    /// Adds one; the last one under a name counts.
    pub fn insert(&mut self, name: &'static str, setting: Setting) {
        self.0.insert(name, setting);
    }

    /// Text, a choice or an address.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A span of time.
    #[must_use]
    pub fn span(&self, name: &str) -> Option<Duration> {
        match self.0.get(name) {
            Some(Setting::Span(span)) => Some(*span),
            _ => None,
        }
    }

    /// A size in bytes or a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Setting::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A switch.
    #[must_use]
    pub fn switch(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(Setting::Switch(on)) => Some(*on),
            _ => None,
        }
    }

    /// A list of texts; empty when it is not there.
    #[must_use]
    pub fn texts(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(Setting::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// Secrets, the one to sign with first; empty when there are none.
    #[must_use]
    pub fn secrets(&self, name: &str) -> &[Secret] {
        match self.0.get(name) {
            Some(Setting::Secrets(secrets)) => secrets,
            _ => &[],
        }
    }
}

/// What is wrong with a setting, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key within the table.
    pub key: &'static str,
    /// What is wrong, in a sentence that shows no secret.
    pub what: String,
    /// What to write instead.
    pub mend: String,
}
