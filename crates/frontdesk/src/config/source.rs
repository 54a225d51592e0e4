//! From the file's bytes and the environment to one tree in which every value knows where it stands.
//!
//! `toml` reads the text and keeps the places; `config` lays the environment over the values; the tree puts both
//! together again. Syntax errors are all reported, and end the reading: what was understood beside them may be wrong.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::Read as _,
    path::Path,
};

use config::{Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::{
    environment::{Environment, Override, variable_for},
    finding::{Finding, Place, Severity, shown_name, shown_path},
};

/// More than any configuration needs; what is larger is some other file.
const MAX_BYTES: u64 = 1 << 20;
/// A file with more of them is hardly meant as TOML.
const MAX_SYNTAX_ERRORS: usize = 20;

type KeyPath = Vec<String>;

/// A value and where it stands. No `Debug`: it may be a secret.
pub(super) struct Node {
    /// Where its key stands, or the value itself inside a list.
    pub(super) place: Place,
    /// The value.
    pub(super) content: Content,
}

/// What stands there.
pub(super) enum Content {
    /// Text; from the environment everything is text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// `true` or `false`.
    Switch(bool),
    /// A list.
    List(Vec<Node>),
    /// A table, by keys.
    Table(BTreeMap<String, Node>),
    /// What no key takes: a fraction, a date.
    Other(&'static str),
}

impl Content {
    /// What it is, in words.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Whole(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// The file's tree with the environment laid over it, and what was found on the way. No tree: the file cannot be read.
pub(super) fn read(file: &Path, environment: &Environment) -> (Option<Node>, Vec<Finding>) {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(finding) => return (None, vec![*finding]),
    };
    let (document, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        return (None, syntax_errors(&text, &errors));
    }
    let mut reader = Reader { lines: Lines::of(&text), places: BTreeMap::new(), findings: Vec::new() };
    let values = reader.top(document.get_ref());
    let Reader { places, mut findings, .. } = reader;
    let (overrides, bad) = environment.overrides();
    findings.extend(bad);
    match merge(values, &overrides) {
        Some(merged) => {
            let places = Places { file: places, overrides: &overrides };
            let mut path = Vec::new();
            let content = Content::Table(places.table(merged, &mut path, &Place::File));
            (Some(Node { place: Place::File, content }), findings)
        }
        None => {
            findings.push(error(
                Place::File,
                "the file and the environment do not fit together",
                "unset the FRONTDESK__ variables one by one",
            ));
            (None, findings)
        }
    }
}

fn error(place: Place, what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { severity: Severity::Error, place, table: String::new(), key: None, what: what.into(), mend: mend.into() }
}

fn read_text(file: &Path) -> Result<String, Box<Finding>> {
    let refuse = |place, what: String, mend: &str| Err(Box::new(error(place, what, mend)));
    let mut bytes = Vec::new();
    let whole = std::fs::File::open(file).and_then(|open| open.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(problem) = whole {
        let tried = shown_path(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
        let what = match problem.kind() {
            std::io::ErrorKind::NotFound => format!("there is no configuration at {tried}"),
            _ => format!("{tried} cannot be read: {problem}"),
        };
        let mend = match problem.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "make the file and its folder readable for the user that this runs as"
            }
            _ => {
                "name the file with --config FILE or with FRONTDESK_CONFIG=FILE; without either it is channels.toml in the \
                 folder that the command is called in"
            }
        };
        return refuse(Place::File, what, mend);
    }
    if bytes.len() as u64 > MAX_BYTES {
        return refuse(Place::File, "larger than 1 MiB, so no configuration".into(), "name another file");
    }
    String::from_utf8(bytes).or_else(|problem| {
        let valid = problem.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(problem.as_bytes().get(..valid).unwrap_or_default()).into_owned();
        refuse(Lines::of(&before).place(before.len()), "not UTF-8".into(), "save the file as UTF-8")
    })
}

/// The first of each line: further ones are mostly its consequences. The parser's own words name what it expected; its
/// picture of the line is left out, since a secret may stand there.
fn syntax_errors(text: &str, errors: &[toml::de::Error]) -> Vec<Finding> {
    let lines = Lines::of(text);
    let mut errors: Vec<_> = errors.iter().map(|one| (one.span().map_or(text.len(), |span| span.start), one)).collect();
    errors.sort_by_key(|(at, _)| *at);
    let mut findings: Vec<Finding> = Vec::new();
    let mut reported = 0;
    for (at, problem) in errors {
        let place = lines.place(at);
        let Place::Line { line, .. } = place else { continue };
        if line == reported || findings.len() == MAX_SYNTAX_ERRORS {
            continue;
        }
        reported = line;
        let what = problem.message().lines().collect::<Vec<_>>().join(", ");
        let mend = if what.contains("duplicate key") {
            "keep one of the two"
        } else {
            "see https://toml.io/en/v1.0.0; text stands in quotes: key = \"value\""
        };
        findings.push(error(place, format!("not TOML: {what}"), mend));
    }
    findings
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(place, _)| place + 1);
        Self { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.as_bytes().get(start..offset.min(self.text.len())).unwrap_or_default();
        // Continuation bytes of UTF-8 begin no character.
        let column = 1 + before.iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
        Place::Line { line, column }
    }
}

/// Turns the document into values for `config`, noting the place of each.
struct Reader<'a> {
    lines: Lines<'a>,
    places: BTreeMap<KeyPath, Place>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    /// `config` takes names of tables with dots or brackets for paths (`"a[9999999999]"` even reserves the memory), so
    /// such names never get there; no table of ours has one.
    fn top(&mut self, table: &DeTable<'_>) -> HashMap<String, Value> {
        let mut values = self.table(table, &mut Vec::new());
        values.retain(|name, _| {
            let plain = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
            if !plain {
                let place = self.places.get(&vec![name.clone()]).cloned().unwrap_or(Place::File);
                let mut finding = error(place, "unknown table", "remove it");
                finding.table = shown_name(name);
                self.findings.push(finding);
            }
            plain
        });
        values
    }

    fn table(&mut self, table: &DeTable<'_>, path: &mut KeyPath) -> HashMap<String, Value> {
        let mut values = HashMap::new();
        for (name, value) in table.iter() {
            path.push(name.get_ref().to_string());
            self.places.insert(path.clone(), self.lines.place(name.span().start));
            let value = self.value(value.get_ref(), path);
            path.pop();
            values.insert(name.get_ref().to_string(), value);
        }
        values
    }

    fn value(&mut self, value: &DeValue<'_>, path: &mut KeyPath) -> Value {
        let kind = match value {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            // What does not fit is out of every key's range, and so is the largest number.
            DeValue::Integer(number) => {
                ValueKind::I64(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
            }
            DeValue::Boolean(on) => ValueKind::Boolean(*on),
            DeValue::Float(_) => ValueKind::Float(0.0),
            DeValue::Datetime(_) => ValueKind::Nil,
            DeValue::Table(table) => ValueKind::Table(self.table(table, path)),
            DeValue::Array(list) => {
                let mut values = Vec::new();
                for (index, value) in list.iter().enumerate() {
                    path.push(index.to_string());
                    self.places.insert(path.clone(), self.lines.place(value.span().start));
                    values.push(self.value(value.get_ref(), path));
                    path.pop();
                }
                ValueKind::Array(values)
            }
        };
        Value::new(None, kind)
    }
}

/// The file's values as a source for `config`.
#[derive(Clone)]
struct FileValues(HashMap<String, Value>);

/// The values may be secrets.
impl fmt::Debug for FileValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileValues")
    }
}

impl config::Source for FileValues {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn merge(values: HashMap<String, Value>, overrides: &[Override]) -> Option<HashMap<String, Value>> {
    let vars = overrides.iter().map(|one| (one.variable.clone(), one.value.clone())).collect();
    let merged = config::Config::builder()
        .add_source(FileValues(values))
        .add_source(config::Environment::with_prefix("FRONTDESK").separator("__").source(Some(vars)))
        .build()
        .ok()?;
    match merged.cache.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

/// Where everything stands.
struct Places<'a> {
    file: BTreeMap<KeyPath, Place>,
    overrides: &'a [Override],
}

impl Places<'_> {
    fn find(&self, path: &KeyPath, parent: &Place) -> Place {
        let exact = self.overrides.iter().find(|one| one.path == *path || one.path.join(".") == path.join("."));
        if let Some(one) = exact {
            return Place::Variable(one.variable.clone());
        }
        if let Some(place) = self.file.get(path) {
            return place.clone();
        }
        if self.overrides.iter().any(|one| one.path.starts_with(path)) {
            return Place::Variable(format!("{}__*", variable_for(path)));
        }
        parent.clone()
    }

    fn table(&self, values: HashMap<String, Value>, path: &mut KeyPath, parent: &Place) -> BTreeMap<String, Node> {
        let mut table = BTreeMap::new();
        for (name, value) in values {
            path.push(name.clone());
            table.insert(name, self.node(value, path, parent));
            path.pop();
        }
        table
    }

    fn node(&self, value: Value, path: &mut KeyPath, parent: &Place) -> Node {
        let place = self.find(path, parent);
        let content = match value.kind {
            ValueKind::String(text) => Content::Text(text),
            ValueKind::I64(number) => Content::Whole(number),
            ValueKind::Boolean(on) => Content::Switch(on),
            ValueKind::Float(_) => Content::Other("a fraction"),
            ValueKind::Table(values) => Content::Table(self.table(values, path, &place)),
            ValueKind::Array(values) => {
                let mut list = Vec::new();
                for (index, value) in values.into_iter().enumerate() {
                    path.push(index.to_string());
                    list.push(self.node(value, path, &place));
                    path.pop();
                }
                Content::List(list)
            }
            _ => Content::Other("a date or time"),
        };
        Node { place, content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\nüb\n\nend";
        let lines = Lines::of(text);
        let at = |needle: &str| lines.place(text.find(needle).unwrap_or_default());
        assert_eq!(at("a"), Place::Line { line: 1, column: 1 });
        assert_eq!(at("b"), Place::Line { line: 2, column: 2 });
        assert_eq!(at("end"), Place::Line { line: 4, column: 1 });
        assert_eq!(lines.place(text.len()), Place::Line { line: 4, column: 4 });
        assert_eq!(lines.place(10_000), Place::Line { line: 4, column: 4 });
        assert_eq!(Lines::of("").place(0), Place::Line { line: 1, column: 1 });
    }
}
