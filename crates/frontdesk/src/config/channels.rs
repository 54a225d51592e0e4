//! `[channels.NAME]`: each kind lists its keys and checks its settings; here they are brought together.

use std::collections::BTreeMap;

use frontdesk_model::{AccountId, ChannelName, Kind, KindName};

use super::{
    ConfiguredChannel,
    checker::{Checker, Wrong},
    finding::{Place, Severity, shown_name},
    nearest::nearest,
    source::{Content, Node},
};

/// Every channel that is right.
pub(super) fn channels(checker: &mut Checker<'_>, node: Option<&Node>, kinds: &[&dyn Kind]) -> Vec<ConfiguredChannel> {
    let entries = match node {
        Some(node) => checker.entries(node, "channels"),
        None => None,
    };
    if entries.map_or(node.is_none(), BTreeMap::is_empty) {
        let wrong = Wrong::new("no channel, so nothing can come in", "add [channels.NAME] with a kind");
        checker.find(Severity::Warning, &Place::File, "channels", None, wrong);
    }
    let mut channels: Vec<ConfiguredChannel> = Vec::new();
    let mut accounts: BTreeMap<(KindName, AccountId), ChannelName> = BTreeMap::new();
    for (name, node) in entries.into_iter().flatten() {
        let Some(channel) = channel(checker, name, node, kinds) else { continue };
        let account = (channel.kind.clone(), channel.config.account());
        if let Some(other) = accounts.get(&account) {
            let wrong = Wrong::new(
                format!("the same kind and account as [channels.{other}]"),
                "keep one of the two, or give them accounts of their own",
            );
            checker.find(Severity::Error, &node.place, &format!("channels.{name}"), None, wrong);
        }
        accounts.entry(account).or_insert_with(|| channel.name.clone());
        channels.push(channel);
    }
    channels
}

fn channel(checker: &mut Checker<'_>, written: &str, node: &Node, kinds: &[&dyn Kind]) -> Option<ConfiguredChannel> {
    let title = format!("channels.{}", shown_name(written));
    let name = ChannelName::new(written).ok();
    if name.is_none() {
        let wrong = Wrong::new(
            "not a channel's name",
            "use lower-case letters, digits and underscores, a letter first, at most 64",
        );
        checker.find(Severity::Error, &node.place, &title, None, wrong);
    }
    let entries = checker.entries(node, &title)?;
    let (kind, certain) = match kind(checker, &title, node, entries, kinds) {
        Named::Known(kind) => (kind, true),
        Named::Guessed(kind) => (kind, false),
        Named::Unknown => return None,
    };
    let mut table = checker.table(node, &title, kind.keys(), &["kind"])?;
    let name = name?;
    match kind.validate(&name, &table.settings) {
        Ok(config) if certain && table.is_right() => {
            Some(ConfiguredChannel { name, kind: kind.name(), config, settings: table.settings })
        }
        Ok(_) => None,
        Err(problems) => {
            for problem in problems {
                checker.complain(Severity::Error, &mut table, problem);
            }
            None
        }
    }
}

/// What a table says about its kind.
enum Named<'k> {
    /// One that this build has.
    Known(&'k dyn Kind),
    /// The checker knows what is wrong; this one was most likely meant, so that the rest of the table can be looked at.
    Guessed(&'k dyn Kind),
    /// The checker knows what is wrong, and the rest says nothing.
    Unknown,
}

fn kind<'k>(
    checker: &mut Checker<'_>,
    title: &str,
    table: &Node,
    entries: &BTreeMap<String, Node>,
    kinds: &[&'k dyn Kind],
) -> Named<'k> {
    let names: Vec<KindName> = kinds.iter().map(|kind| kind.name()).collect();
    let of = |wanted: &str| kinds.iter().zip(&names).find(|(_, name)| name.as_str() == wanted).map(|(kind, _)| *kind);
    let all = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
    let (place, wrong, meant) = match entries.get("kind").map(|node| (&node.place, &node.content)) {
        None => (&table.place, Wrong::new("missing", format!("add kind = {all}")), None),
        Some((place, Content::Text(written))) => {
            match (of(written), nearest(written, names.iter().map(KindName::as_str))) {
                (Some(kind), _) => return Named::Known(kind),
                (None, Some(near)) => {
                    let mend = format!("write kind = \"{near}\" (this build has {all})");
                    (place, Wrong::new(format!("unknown kind; did you mean {near}?"), mend), of(near))
                }
                (None, None) => {
                    (place, Wrong::new("unknown kind", format!("write kind = {all}: this build has no other")), None)
                }
            }
        }
        Some((place, other)) => {
            let what = format!("{} stands where a kind belongs", other.name());
            (place, Wrong::new(what, format!("write kind = {all}")), None)
        }
    };
    checker.find(Severity::Error, place, title, Some("kind"), wrong);
    meant.or_else(|| by_its_keys(entries, kinds)).map_or(Named::Unknown, Named::Guessed)
}

/// The one kind that knows every other key of the table.
fn by_its_keys<'k>(entries: &BTreeMap<String, Node>, kinds: &[&'k dyn Kind]) -> Option<&'k dyn Kind> {
    let written: Vec<&String> = entries.keys().filter(|key| *key != "kind").collect();
    let knows = |kind: &dyn Kind, key: &str| kind.keys().iter().any(|known| known.name == key);
    let mut fitting = kinds.iter().filter(|kind| !written.is_empty() && written.iter().all(|key| knows(**kind, key)));
    match (fitting.next(), fitting.next()) {
        (Some(kind), None) => Some(*kind),
        _ => None,
    }
}
