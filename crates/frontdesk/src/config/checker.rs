//! One checker for every table: our own sections and the channels' tables list their keys in the same form.
//!
//! It collects findings instead of stopping at the first. What it hands on has the shapes that the keys demand; keys
//! that it complained about are remembered, so that nobody complains about them twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use frontdesk_model::{Key, Need, Problem, Setting, Settings, Shape};

use super::{
    environment::Environment,
    finding::{Finding, Place, Severity, shown_name},
    nearest::nearest,
    secrets,
    source::{Content, Node},
    units,
};

/// Longest text that is taken for one value.
const MAX_TEXT: usize = 64 * 1024;

/// Collects what is wrong.
pub(super) struct Checker<'a> {
    /// Where secrets may come from.
    pub(super) environment: &'a Environment,
    /// Where relative paths start.
    pub(super) base: &'a Path,
    /// What was found so far.
    pub(super) findings: Vec<Finding>,
}

/// A table whose values have their shapes.
pub(super) struct Table {
    name: String,
    place: Place,
    places: BTreeMap<&'static str, Place>,
    refused: BTreeSet<&'static str>,
    /// What is right in it.
    pub(super) settings: Settings,
}

impl Table {
    /// Whether the key stands in the table, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether the key stands in the file itself, and not in a variable.
    pub(super) fn is_in_the_file(&self, key: &str) -> bool {
        !matches!(self.places.get(key), None | Some(Place::Variable(_)))
    }

    /// Whether nothing was complained about so far.
    pub(super) fn is_right(&self) -> bool {
        self.refused.is_empty()
    }
}

/// What is wrong with a value and what to write instead.
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) mend: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}

impl Checker<'_> {
    /// Adds a finding about a table, or about a key of it that has no [`Key`].
    pub(super) fn find(&mut self, severity: Severity, place: &Place, table: &str, key: Option<&str>, wrong: Wrong) {
        self.findings.push(Finding {
            severity,
            place: place.clone(),
            table: table.to_owned(),
            key: key.map(str::to_owned),
            what: wrong.what,
            mend: wrong.mend,
        });
    }

    /// Adds a finding about a key of a checked table, unless there is one already.
    pub(super) fn complain(&mut self, severity: Severity, table: &mut Table, problem: Problem) {
        if table.refused.contains(problem.key) {
            return;
        }
        if severity == Severity::Error {
            table.refused.insert(problem.key);
        }
        let place = table.places.get(problem.key).unwrap_or(&table.place).clone();
        self.find(severity, &place, &table.name, Some(problem.key), Wrong { what: problem.what, mend: problem.mend });
    }

    /// Takes a node as a table, or complains.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n BTreeMap<String, Node>> {
        if let Content::Table(entries) = &node.content {
            return Some(entries);
        }
        let what = format!("{} stands where a table belongs", node.content.name());
        self.find(
            Severity::Error,
            &node.place,
            name,
            None,
            Wrong::new(what, format!("write [{name}] on a line of its own, its keys below")),
        );
        None
    }

    /// Checks one table against its keys. `also`: keys that were looked at before.
    pub(super) fn table(&mut self, node: &Node, name: &str, keys: &[Key], also: &[&str]) -> Option<Table> {
        let entries = self.entries(node, name)?;
        let mut table = Table {
            name: name.to_owned(),
            place: node.place.clone(),
            places: BTreeMap::new(),
            refused: BTreeSet::new(),
            settings: Settings::default(),
        };
        for (written, value) in entries.iter().filter(|(written, _)| !also.contains(&written.as_str())) {
            match keys.iter().find(|key| key.name == written) {
                Some(key) => self.value(&mut table, key, value),
                None => self.unknown_key(name, written, &value.place, keys, also),
            }
        }
        for key in keys.iter().filter(|key| key.need == Need::Required && !table.places.contains_key(key.name)) {
            table.refused.insert(key.name);
            let mend = format!("add {} = {}: {}", key.name, example(key.shape), key.doc);
            self.find(Severity::Error, &table.place, name, Some(key.name), Wrong::new("missing", mend));
        }
        Some(table)
    }

    fn value(&mut self, table: &mut Table, key: &Key, value: &Node) {
        table.places.insert(key.name, value.place.clone());
        match self.shaped(table, key, value) {
            Ok(setting) => table.settings.insert(key.name, setting),
            Err(Wrong { what, mend }) => self.complain(Severity::Error, table, Problem { key: key.name, what, mend }),
        }
    }

    fn unknown_key(&mut self, table: &str, written: &str, place: &Place, keys: &[Key], also: &[&str]) {
        let known: BTreeSet<&str> = keys.iter().map(|key| key.name).chain(also.iter().copied()).collect();
        let wrong = unknown("key", written, &known, &format!("[{table}] knows"));
        self.find(Severity::Error, place, table, Some(&shown_name(written)), wrong);
    }

    fn shaped(&mut self, table: &mut Table, key: &Key, value: &Node) -> Result<Setting, Wrong> {
        let wanted = |what: &str| {
            Wrong::new(
                format!("{} stands where {what} belongs", value.content.name()),
                format!("write {} = {}", key.name, example(key.shape)),
            )
        };
        let from_environment = matches!(value.place, Place::Variable(_));
        match (key.shape, &value.content) {
            (Shape::Text, Content::Text(text)) => plain_text(text, key).map(Setting::Text),
            (Shape::Text, _) => Err(wanted("text")),
            (Shape::LongText, Content::Text(text)) => plain_text(text, key).map(Setting::Text),
            (Shape::LongText, Content::Table(table)) => secrets::text_file(table, self.base).map(Setting::Text),
            (Shape::LongText, _) => Err(wanted("text")),
            (Shape::Choice(words), Content::Text(text)) => choice(words, text).map(Setting::Text),
            (Shape::Choice(_), _) => Err(wanted("one of a few words")),
            (Shape::HttpUrl, Content::Text(text)) => http_url(text).map(Setting::Text),
            (Shape::HttpUrl, _) => Err(wanted("an address")),
            (Shape::Span, Content::Text(text)) => units::span(text).map(Setting::Span).ok_or_else(|| {
                Wrong::new(
                    "not a span of time",
                    "write a whole number and one of ms, s, min, h, days, such as \"30 s\"; at most 100 years",
                )
            }),
            (Shape::Span, _) => Err(wanted("a span of time")),
            (Shape::Size, Content::Whole(number)) => u64::try_from(*number)
                .map(Setting::Number)
                .map_err(|_| Wrong::new("below zero", "write a size such as \"256 MB\"")),
            (Shape::Size, Content::Text(text)) => units::size(text).map(Setting::Number).ok_or_else(|| {
                Wrong::new(
                    "not a size",
                    "write a whole number and one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, such as \"256 MB\"",
                )
            }),
            (Shape::Size, _) => Err(wanted("a size")),
            (Shape::Whole(least, most), Content::Whole(number)) => whole(least, most, u64::try_from(*number).ok()),
            (Shape::Whole(least, most), Content::Text(text)) if from_environment => {
                whole(least, most, text.parse().ok())
            }
            (Shape::Whole(least, most), other) => {
                let what = format!("{} stands where a whole number belongs", other.name());
                Err(Wrong::new(what, format!("write a whole number from {least} to {most}")))
            }
            (Shape::Switch, Content::Switch(on)) => Ok(Setting::Switch(*on)),
            (Shape::Switch, Content::Text(text)) if from_environment => text
                .parse()
                .map(Setting::Switch)
                .map_err(|_| Wrong::new("neither true nor false", "set it to true or false")),
            (Shape::Switch, _) => Err(wanted("true or false")),
            (Shape::Texts, Content::Text(text)) if from_environment => Ok(Setting::Texts(
                text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect(),
            )),
            (Shape::Texts, Content::List(list)) => texts(list, key).map(Setting::Texts),
            (Shape::Texts, _) => Err(wanted("a list of texts")),
            (Shape::Secrets, _) => self.secrets(table, key, value),
        }
    }

    fn secrets(&mut self, table: &mut Table, key: &Key, value: &Node) -> Result<Setting, Wrong> {
        let single = [value];
        let each: Vec<&Node> = match &value.content {
            Content::List(list) => list.iter().collect(),
            _ => single.to_vec(),
        };
        if each.is_empty() {
            return Err(Wrong::new("an empty list of secrets", "put one in, or remove the key"));
        }
        let mut found = Vec::new();
        for one in each {
            let resolved = secrets::resolve(&one.content, self.environment, self.base)?;
            if let Some(Wrong { what, mend }) = resolved.warning {
                self.complain(Severity::Warning, table, Problem { key: key.name, what, mend });
            }
            found.push(resolved.secret);
        }
        Ok(Setting::Secrets(found))
    }
}

/// A word that is not known, with the one that was probably meant.
pub(super) fn unknown(sort: &str, written: &str, known: &BTreeSet<&str>, owner: &str) -> Wrong {
    let all = known.iter().copied().collect::<Vec<_>>().join(", ");
    match nearest(written, known.iter().copied()) {
        Some(near) => Wrong::new(
            format!("unknown {sort}; did you mean {near}?"),
            format!("write {near}, or remove it ({owner} {all})"),
        ),
        None => Wrong::new(format!("unknown {sort}"), format!("remove it ({owner} {all})")),
    }
}

/// What a value of this shape looks like.
fn example(shape: Shape) -> String {
    match shape {
        Shape::Text => "\"...\"".into(),
        Shape::LongText => "\"...\" or { file = \"path\" }".into(),
        Shape::Choice(words) => format!("\"{}\"", words.first().copied().unwrap_or_default()),
        Shape::HttpUrl => "\"https://...\"".into(),
        Shape::Span => "\"30 s\"".into(),
        Shape::Size => "\"256 MB\"".into(),
        Shape::Whole(least, _) => least.to_string(),
        Shape::Switch => "true".into(),
        Shape::Texts => "[\"...\"]".into(),
        Shape::Secrets => "{ env = \"NAME\" }".into(),
    }
}

fn plain_text(text: &str, key: &Key) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("empty", format!("write something, or remove the key ({})", key.doc)));
    }
    if text.len() > MAX_TEXT {
        return Err(Wrong::new("longer than 64 KiB", "shorten it"));
    }
    Ok(text.to_owned())
}

fn choice(words: &[&str], text: &str) -> Result<String, Wrong> {
    if words.contains(&text) {
        return Ok(text.to_owned());
    }
    let all = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
    Err(match nearest(text, words.iter().copied()) {
        Some(near) => Wrong::new(format!("unknown word; did you mean \"{near}\"?"), format!("write {all}")),
        None => Wrong::new("unknown word", format!("write {all}")),
    })
}

fn http_url(text: &str) -> Result<String, Wrong> {
    let refuse = |what: &str| Err(Wrong::new(what, "write an address such as \"https://shop.example.com/frontdesk\""));
    // The parser would drop these silently.
    if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return refuse("white space in an address");
    }
    let Ok(url) = url::Url::parse(text) else { return refuse("not an address") };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("a user name or password in an address, where it would end up in logs");
    }
    if url.fragment().is_some() {
        return refuse("an address with a fragment (#...)");
    }
    Ok(url.into())
}

fn whole(least: u64, most: u64, number: Option<u64>) -> Result<Setting, Wrong> {
    number
        .filter(|number| (least..=most).contains(number))
        .map(Setting::Number)
        .ok_or_else(|| Wrong::new("out of range", format!("write a whole number from {least} to {most}")))
}

fn texts(list: &[Node], key: &Key) -> Result<Vec<String>, Wrong> {
    let one = |node: &Node| match &node.content {
        Content::Text(text) => plain_text(text, key),
        other => Err(Wrong::new(
            format!("{} in a list of texts", other.name()),
            format!("write {} = {}", key.name, example(key.shape)),
        )),
    };
    list.iter().map(one).collect()
}
