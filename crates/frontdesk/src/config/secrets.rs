//! Where secrets come from: text in the file, a variable, a file, a credential of systemd. Long texts may stand in files of
//! their own too.
//!
//! Nothing here repeats what the operator wrote, not even the name of a variable: a secret pasted in the wrong place
//! (`{ env = "whsec_..." }`) is the most common mistake of all.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path},
};

use frontdesk_model::Secret;

use super::{
    checker::Wrong,
    environment::Environment,
    finding::shown_path,
    source::{Content, Node},
};

/// More than any secret needs.
const MAX_BYTES: u64 = 64 * 1024;

const FORMS: &str = "write text, { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }";

/// A secret, and what should be said about it.
pub(super) struct Resolved {
    pub(super) secret: Secret,
    pub(super) warning: Option<Wrong>,
}

/// Fetches one secret.
pub(super) fn resolve(content: &Content, environment: &Environment, base: &Path) -> Result<Resolved, Wrong> {
    match content {
        Content::Text(text) if text.is_empty() => Err(Wrong::new("an empty secret", FORMS)),
        Content::Text(text) => Ok(quiet(text)),
        Content::Table(table) => from_elsewhere(table, environment, base),
        Content::List(_) => Err(Wrong::new("a list in a list of secrets", FORMS)),
        other => Err(Wrong::new(format!("{} stands where a secret belongs", other.name()), FORMS)),
    }
}

fn quiet(text: &str) -> Resolved {
    Resolved { secret: Secret::new(text.to_owned()), warning: None }
}

fn from_elsewhere(table: &BTreeMap<String, Node>, environment: &Environment, base: &Path) -> Result<Resolved, Wrong> {
    let mut entries = table.iter();
    let (Some((source, node)), None) = (entries.next(), entries.next()) else {
        return Err(Wrong::new("not exactly one of env, file and credential", FORMS));
    };
    let Content::Text(name) = &node.content else {
        return Err(Wrong::new("where the secret is to be found must be text", FORMS));
    };
    match source.as_str() {
        "env" => environment.get(name).filter(|value| !value.is_empty()).map(quiet).ok_or_else(|| {
            Wrong::new(
                "the environment has no variable of this name, or an empty one",
                "set it before the start; env takes a variable's name, not the secret itself",
            )
        }),
        "file" => from_file(&base.join(name), base),
        "credential" => from_credential(name, environment),
        _ => Err(Wrong::new("a secret comes from env, file or credential, and from nothing else", FORMS)),
    }
}

/// A text that stands in a file of its own: `{ file = "path" }`.
pub(super) fn text_file(table: &BTreeMap<String, Node>, base: &Path) -> Result<String, Wrong> {
    let mend = "write text, or { file = \"path\" }";
    let mut entries = table.iter();
    let (Some((source, node)), None) = (entries.next(), entries.next()) else {
        return Err(Wrong::new("not exactly one file", mend));
    };
    let (Content::Text(name), "file") = (&node.content, source.as_str()) else {
        return Err(Wrong::new("a text comes from file, and from nothing else", mend));
    };
    let mend = format!("name a file that is there; relative paths start at {}", shown_folder(base));
    let (text, _) = read(&base.join(name), "text", &mend)?;
    if text.trim().is_empty() {
        return Err(Wrong::new("the file that should hold this text is empty", "write something into it"));
    }
    Ok(text)
}

fn from_file(path: &Path, base: &Path) -> Result<Resolved, Wrong> {
    let mend = format!("file takes a path, not the secret itself; relative paths start at {}", shown_folder(base));
    let (secret, mode) = read(path, "secret", &mend)?;
    // Readable by the group or by everybody. Not refused: container platforms mount secrets like that.
    let warning = (mode & 0o044 != 0)
        .then(|| Wrong::new("other users may read the file that holds this secret", "chmod 600 the file"));
    Ok(Resolved { secret: Secret::new(secret), warning })
}

/// In full: a file that is named without a folder has an empty one.
fn shown_folder(folder: &Path) -> String {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let whole = folder.canonicalize().or_else(|_| std::path::absolute(folder));
    shown_path(whole.as_deref().unwrap_or(folder))
}

fn from_credential(name: &str, environment: &Environment) -> Result<Resolved, Wrong> {
    let plain = matches!(Path::new(name).components().collect::<Vec<_>>().as_slice(), [Component::Normal(_)]);
    if !plain || name.contains('/') {
        return Err(Wrong::new(
            "not a credential's name",
            "write the name that LoadCredential= gives it, without slashes",
        ));
    }
    let Some(folder) = environment.get("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) else {
        return Err(Wrong::new(
            "there are no credentials: CREDENTIALS_DIRECTORY is not set",
            "start it as a systemd service with LoadCredential=, or use { file = \"path\" }",
        ));
    };
    let (secret, _) = read(&Path::new(folder).join(name), "secret", "add LoadCredential= for it to the service")?;
    Ok(Resolved { secret: Secret::new(secret), warning: None })
}

/// A file's text without its last line end, and the file's mode.
fn read(path: &Path, sort: &str, mend: &str) -> Result<(String, u32), Wrong> {
    let refuse = |what: &str| Wrong::new(format!("the file that should hold this {sort} {what}"), mend);
    // Asked before opening: opening a pipe would wait for a writer.
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(refuse("is not a regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(refuse("does not exist")),
        _ => {}
    }
    let mut bytes = Vec::new();
    let (mode, read) = File::open(path)
        .and_then(|file| Ok((file.metadata()?.mode(), file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?)))
        .map_err(|error| refuse(&format!("cannot be read: {}", error.kind())))?;
    if read as u64 > MAX_BYTES {
        return Err(refuse("is larger than 64 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse("is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(refuse("is empty"));
    }
    Ok((text.to_owned(), mode))
}
