//! The process's environment, as a value, so that nothing else reads it and tests can bring their own.
//!
//! `FRONTDESK__SERVER__LISTEN=...` stands for `listen` of `[server]`: the prefix `FRONTDESK`, then each piece of the key's
//! path in capital letters, with two underscores before each. What does not have that form is refused instead of
//! ignored, because a misspelt override that does nothing is found out too late. Where the file takes a list of texts, a variable
//! takes them with commas between: `FRONTDESK__TOKENS__BOT__SCOPES=agent,desk`.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use super::{
    finding::{Finding, Place, Severity},
    nearest::nearest,
};
use crate::logging;

const PREFIX: &str = "FRONTDESK__";
const BETWEEN: &str = "__";

/// Variables and their values.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, OsString>,
}

/// The values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.vars.len())
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(vars: I) -> Self {
        Self { vars: vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// A variable's value, if it is there and is text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).and_then(|value| value.to_str())
    }

    /// The same with one variable set.
    #[must_use]
    pub fn with(&self, name: &str, value: impl Into<OsString>) -> Self {
        let mut vars = self.vars.clone();
        vars.insert(name.to_owned(), value.into());
        Self { vars }
    }

    /// The same without the variables that set keys of the configuration.
    #[must_use]
    pub fn without_overrides(&self) -> Self {
        let vars = self.vars.iter().filter(|(name, _)| !name.starts_with(PREFIX));
        Self { vars: vars.map(|(name, value)| (name.clone(), value.clone())).collect() }
    }

    /// A level of logging that there is not.
    pub(super) fn unknown_log_level(&self) -> Option<Finding> {
        let written = self.get(logging::VARIABLE).filter(|text| !text.is_empty() && !logging::is_level(text))?;
        let near = nearest(written, logging::LEVELS).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Some(Finding {
            severity: Severity::Warning,
            place: Place::Variable(logging::VARIABLE.into()),
            table: String::new(),
            key: None,
            what: format!("not a level of logging, so it counts as info{near}"),
            mend: format!("set it to one of {}", logging::LEVELS.join(", ")),
        })
    }

    /// Every `FRONTDESK__...` that can be used, and what is wrong with the others.
    pub(super) fn overrides(&self) -> (Vec<Override>, Vec<Finding>) {
        let mut usable: Vec<Override> = Vec::new();
        let mut findings = Vec::new();
        for (variable, value) in self.vars.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            match Override::read(variable, value) {
                Ok(one) => usable.push(one),
                Err(problem) => findings.push(problem.at(variable)),
            }
        }
        // Sorted, what lies below a key follows it at once.
        usable.sort_by(|a, b| a.path.cmp(&b.path));
        let mut kept: Vec<Override> = Vec::new();
        for one in usable {
            match kept.last() {
                Some(above) if one.path.starts_with(&above.path) => findings.push(
                    BadOverride {
                        what: format!(
                            "{} gives this key a value already, so it cannot have keys of its own",
                            above.variable
                        ),
                        mend: format!("unset {} or {}", above.variable, one.variable),
                    }
                    .at(&one.variable),
                ),
                _ => kept.push(one),
            }
        }
        (kept, findings)
    }
}

/// One key that the environment sets.
#[derive(Clone)]
pub(super) struct Override {
    /// The variable's name.
    pub(super) variable: String,
    /// The key's path, in small letters.
    pub(super) path: Vec<String>,
    /// What it is set to.
    pub(super) value: String,
}

struct BadOverride {
    what: String,
    mend: String,
}

impl BadOverride {
    fn at(self, variable: &str) -> Finding {
        Finding {
            severity: Severity::Error,
            place: Place::Variable(variable.to_owned()),
            table: String::new(),
            key: None,
            what: self.what,
            mend: self.mend,
        }
    }
}

impl Override {
    fn read(variable: &str, value: &OsString) -> Result<Self, BadOverride> {
        let rest = variable.strip_prefix(PREFIX).unwrap_or_default();
        let path: Vec<String> = rest.split(BETWEEN).map(str::to_ascii_lowercase).collect();
        let plain = rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        if !plain || path.iter().any(String::is_empty) {
            return Err(BadOverride {
                what: "not the name of a key".into(),
                mend: "write it in capital letters with two underscores between its pieces, such as FRONTDESK__SERVER__LISTEN"
                    .into(),
            });
        }
        let Some(value) = value.to_str() else {
            return Err(BadOverride { what: "its value is not UTF-8".into(), mend: "set it to text".into() });
        };
        Ok(Self { variable: variable.to_owned(), path, value: value.to_owned() })
    }
}

/// How a variable that would set this key is called.
pub(super) fn variable_for(path: &[String]) -> String {
    let pieces: Vec<String> = path.iter().map(|piece| piece.to_ascii_uppercase()).collect();
    format!("{PREFIX}{}", pieces.join(BETWEEN))
}
