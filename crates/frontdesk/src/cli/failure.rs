//! How a command ends when it does not end well: what was wrong, the mend, and the exit code.

use serde_json::{Value, json};

use super::words;
use crate::config::{Colour, Refused, as_json, as_text};

const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Why a command did not do what it was called for.
#[derive(Debug)]
pub enum Failure {
    /// It could not.
    Failed(Words),
    /// It was called wrongly.
    Wrong(Words),
    /// The configuration is wrong.
    Refused(Box<Refused>),
    /// What it found is not as it should be, and it has said so already.
    Unwell,
    /// Nobody reads its output any more.
    Unread,
}

/// A sentence, and the mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What was wrong.
    pub what: String,
    /// What to do about it.
    pub mend: Option<String>,
    /// The problem's type, where the API named one.
    pub slug: Option<String>,
}

impl Failure {
    /// It could not be done.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::Failed(Words { what: what.into(), mend: None, slug: None })
    }

    /// It was called wrongly.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong(Words { what: what.into(), mend: None, slug: None })
    }

    /// The same, with the mend.
    #[must_use]
    pub fn mend(self, mend: impl Into<String>) -> Self {
        let with = |words| Words { mend: Some(mend.into()), ..words };
        match self {
            Self::Failed(words) => Self::Failed(with(words)),
            Self::Wrong(words) => Self::Wrong(with(words)),
            other => other,
        }
    }

    /// The same, with the stable name of what went wrong.
    #[must_use]
    pub(super) fn called(self, slug: &str) -> Self {
        match self {
            Self::Failed(words) => Self::Failed(Words { slug: Some(slug.to_owned()), ..words }),
            Self::Wrong(words) => Self::Wrong(Words { slug: Some(slug.to_owned()), ..words }),
            other => other,
        }
    }

    /// The API's name for it.
    #[must_use]
    pub fn slug(&self) -> Option<&str> {
        match self {
            Self::Failed(words) | Self::Wrong(words) => words.slug.as_deref(),
            _ => None,
        }
    }

    /// What was wrong, in a sentence.
    #[must_use]
    pub fn what(&self) -> &str {
        match self {
            Self::Failed(words) | Self::Wrong(words) => &words.what,
            Self::Refused(_) => "the configuration is wrong",
            Self::Unwell => "something is unwell",
            Self::Unread => "nobody reads the output",
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Unwell => FAILED,
            Self::Wrong(_) | Self::Refused(_) => WRONG,
            Self::Unread => 0,
        }
    }

    /// What is said about it; for programs one JSON object on a line.
    pub(super) fn said(&self, json: bool) -> String {
        match self {
            Self::Unwell | Self::Unread => String::new(),
            Self::Refused(refused) if json => {
                let message = "the configuration is wrong";
                let findings = as_json(&refused.file, &refused.findings);
                line(&json!({ "message": message, "mend": null, "type": null, "findings": findings }))
            }
            Self::Refused(refused) => as_text(&refused.file, &refused.findings, Colour::Off),
            Self::Failed(Words { what, mend, slug }) | Self::Wrong(Words { what, mend, slug }) if json => {
                line(&json!({ "message": what, "mend": mend, "type": slug }))
            }
            Self::Failed(Words { what, mend, .. }) | Self::Wrong(Words { what, mend, .. }) => {
                let mend = mend.as_deref().map(|mend| format!("  mend: {}\n", words::on_one_line(mend)));
                format!("frontdesk: {}\n{}", words::on_one_line(what), mend.unwrap_or_default())
            }
        }
    }
}

fn line(document: &Value) -> String {
    words::in_json(&format!("{document}\n")).into_owned()
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(Box::new(refused))
    }
}
