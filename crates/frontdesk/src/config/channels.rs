//! `[channels.NAME]`: each kind lists its keys and checks its settings; here they are brought together.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_model::{AccountId, ChannelName, Kind, KindName};

use super::{
    ConfiguredChannel,
    checker::{Checker, Wrong, unknown},
    finding::{Place, Severity, shown_name},
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
    let kind = kind(checker, &title, node, entries, kinds)?;
    let mut table = checker.table(node, &title, kind.keys(), &["kind"])?;
    let name = name?;
    match kind.validate(&name, &table.settings) {
        Ok(config) if table.is_right() => {
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

fn kind<'k>(
    checker: &mut Checker<'_>,
    title: &str,
    table: &Node,
    entries: &BTreeMap<String, Node>,
    kinds: &[&'k dyn Kind],
) -> Option<&'k dyn Kind> {
    let names: Vec<KindName> = kinds.iter().map(|kind| kind.name()).collect();
    let known: BTreeSet<&str> = names.iter().map(KindName::as_str).collect();
    let all = known.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
    let Some(node) = entries.get("kind") else {
        checker.find(
            Severity::Error,
            &table.place,
            title,
            Some("kind"),
            Wrong::new("missing", format!("add kind = {all}")),
        );
        return None;
    };
    let Content::Text(written) = &node.content else {
        let what = format!("{} stands where a kind belongs", node.content.name());
        checker.find(
            Severity::Error,
            &node.place,
            title,
            Some("kind"),
            Wrong::new(what, format!("write kind = {all}")),
        );
        return None;
    };
    let found = kinds.iter().zip(&names).find(|(_, name)| name.as_str() == written).map(|(kind, _)| *kind);
    if found.is_none() {
        checker.find(
            Severity::Error,
            &node.place,
            title,
            Some("kind"),
            unknown("kind", written, &known, "this build has"),
        );
    }
    found
}
