//! Keys that a first start makes, so that the daemon works before anybody wrote a token or a secret.
//!
//! * Without any `[tokens.NAME]`: for each channel `<data>/<channel>.token`, a bearer token that may hand in messages and
//!   read and answer conversations on that channel only.
//! * With an `[agent]` of protocol `frontdesk` that has no `secret`: `<data>/agent.secret`, so that events are always signed.
//!
//! Beside a store that daemons share, keys are not random but made of the store's master key, so that every daemon has the same
//! ones in its own folder and none has to be told.
//!
//! A key is written to a new file, made durable and then renamed into place, so that it is there whole or not at all.
//! A later start reads it again. A key that others could have read is refused instead of used.
//!
//! Secrets that the other side of a channel has to know as well are never made here: one that only we know
//! would lock it out.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use frontdesk_engine::{Protocol, SharedKeys};
use frontdesk_http::{Scope, TokenGrant};
use frontdesk_model::{ChannelName, Secret};

use crate::config::{Agent, Config};

const TOKEN_PREFIX: &str = "fdt_";
const TOKEN_LETTERS: usize = 32;
const SECRET_PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;
/// Lower case, without letters that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstvwxyz0123456789";
/// More than any key file holds.
const MAX_BYTES: u64 = 4096;

/// The keys that the configuration left to us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// One for each channel; empty when the configuration has tokens.
    pub channels: Vec<ChannelKey>,
    /// What events are signed with, when `[agent]` has no secret.
    pub agent: Option<AgentKey>,
}

/// A bearer token for one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelKey {
    /// The channel.
    pub channel: ChannelName,
    /// The token.
    pub token: Secret,
    /// Where it is kept.
    pub path: PathBuf,
    /// Whether it is new.
    pub origin: Origin,
}

/// The secret that events to the agent are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentKey {
    /// `whsec_...`.
    pub secret: Secret,
    /// Where it is kept.
    pub path: PathBuf,
    /// Whether it is new.
    pub origin: Origin,
}

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made just now.
    Made,
    /// Made by an earlier start.
    Read,
}

impl Keys {
    /// What the channels' tokens open: handing in, reading and answering, on their own channel.
    #[must_use]
    pub fn grants(&self) -> Vec<TokenGrant> {
        let grant = |key: &ChannelKey| TokenGrant {
            name: key.channel.to_string(),
            token: key.token.clone(),
            scopes: [Scope::Ingest, Scope::Agent].into_iter().collect(),
            channels: Some(vec![key.channel.clone()]),
        };
        self.channels.iter().map(grant).collect()
    }
}

/// A key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others may read it.
    #[error("{path} may be read by other users (mode {mode:03o})\n  mend: chmod 600 {path}; if somebody may have seen it, remove it and a new one is made", path = path.display())]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else.
    #[error("{path} does not hold a key of ours\n  mend: remove it and a new one is made at the next start", path = path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The machine refused.
    #[error("{path}: {source}\n  mend: let the user that the daemon runs as read and write that folder", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel gave no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    NoRandomness(String),
}

/// Where the bytes of a new key come from.
pub enum Source {
    /// The kernel.
    Random,
    /// The store that other daemons share.
    Shared(SharedKeys),
}

impl Source {
    fn bytes(&self, name: &str) -> Result<[u8; 32], KeyError> {
        match self {
            Self::Random => random(),
            Self::Shared(keys) => Ok(keys.key(name)),
        }
    }
}

/// Reads or makes every key that the configuration leaves to us. The daemon's folder must be ours alone by now: two
/// daemons that start on one folder at once could hand out different keys.
///
/// # Errors
/// A key cannot be read, must not be used, or cannot be made.
pub fn provide(config: &Config, source: &Source) -> Result<Keys, KeyError> {
    let folder = config.store.folder.as_path();
    let mut keys = Keys::default();
    if config.tokens.is_empty() {
        for channel in &config.channels {
            let path = folder.join(format!("{}.token", channel.name));
            let (token, origin) = read_or_make(folder, &path, is_token, || {
                Ok(token_of(&source.bytes(&format!("token of {}", channel.name))?))
            })?;
            keys.channels.push(ChannelKey { channel: channel.name.clone(), token, path, origin });
        }
    }
    let unsigned = |agent: &Agent| matches!(&agent.protocol, Protocol::Frontdesk { secrets } if secrets.is_empty());
    if config.agent.as_ref().is_some_and(unsigned) {
        let path = folder.join("agent.secret");
        let (secret, origin) =
            read_or_make(folder, &path, is_secret, || Ok(secret_of(&source.bytes("agent's secret")?)))?;
        keys.agent = Some(AgentKey { secret, path, origin });
    }
    Ok(keys)
}

/// What a key's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A bearer token.
    Token,
    /// A secret that requests are signed with.
    Secret,
}

/// Makes a key in a file of its own, in a folder that is there, unless one is there already.
///
/// # Errors
/// What is there is no such key, or may be read by others; or it cannot be made.
pub fn provide_file(path: &Path, sort: Sort) -> Result<Origin, KeyError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (_, origin) = match sort {
        Sort::Token => read_or_make(folder, path, is_token, || Ok(token_of(&random()?)))?,
        Sort::Secret => read_or_make(folder, path, is_secret, || Ok(secret_of(&random()?)))?,
    };
    Ok(origin)
}

fn read_or_make(
    folder: &Path,
    path: &Path,
    valid: fn(&str) -> bool,
    make: impl FnOnce() -> Result<String, KeyError>,
) -> Result<(Secret, Origin), KeyError> {
    let refuse = |source| KeyError::Io { path: path.to_owned(), source };
    match File::open(path) {
        Ok(file) => Ok((read(path, file, valid)?, Origin::Read)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = make()?;
            write_whole(folder, path, &key).map_err(refuse)?;
            Ok((Secret::new(key), Origin::Made))
        }
        Err(error) => Err(refuse(error)),
    }
}

fn read(path: &Path, file: File, valid: fn(&str) -> bool) -> Result<Secret, KeyError> {
    let refuse = |source| KeyError::Io { path: path.to_owned(), source };
    let found = file.metadata().map_err(refuse)?;
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::ReadableByOthers { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    match file.take(MAX_BYTES).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(KeyError::NotAKey { path: path.to_owned() });
        }
        Err(error) => return Err(refuse(error)),
    }
    let key = text.strip_suffix('\n').unwrap_or(&text);
    if valid(key) { Ok(Secret::new(key.to_owned())) } else { Err(KeyError::NotAKey { path: path.to_owned() }) }
}

/// Whole or not at all, after a power cut too.
fn write_whole(folder: &Path, path: &Path, key: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

fn random() -> Result<[u8; 32], KeyError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| KeyError::NoRandomness(error.to_string()))?;
    Ok(bytes)
}

fn token_of(bytes: &[u8; 32]) -> String {
    // 32 divides 256, so each letter is equally likely.
    let letter = |byte: &u8| char::from(ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'0'));
    let letters: String = bytes.iter().map(letter).collect();
    format!("{TOKEN_PREFIX}{letters}")
}

fn is_token(text: &str) -> bool {
    text.strip_prefix(TOKEN_PREFIX)
        .is_some_and(|rest| rest.len() == TOKEN_LETTERS && rest.bytes().all(|byte| ALPHABET.contains(&byte)))
}

fn secret_of(bytes: &[u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes))
}

fn is_secret(text: &str) -> bool {
    text.strip_prefix(SECRET_PREFIX)
        .and_then(|rest| STANDARD.decode(rest).ok())
        .is_some_and(|bytes| bytes.len() == SECRET_BYTES)
}
