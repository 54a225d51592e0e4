//! The folder of a daemon whose store is elsewhere: its control socket lies there, and the keys that a first start makes. Like the
//! folder of a store it belongs to one daemon at a time, and to nobody else's eyes.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The same file that a SQLite store locks: no two daemons share a folder, whatever their stores are.
const LOCK: &str = "lock";

/// Held until it is dropped; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    _lock: File,
}

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// Another process has it.
    #[error(
        "another Frontdesk uses the folder {0}\n  mend: stop that one, or give this one a folder of its own: set folder in [store]"
    )]
    InUse(PathBuf),
    /// The machine refused.
    #[error(
        "the folder {0} cannot be used: {1}\n  mend: let the user that the daemon runs as write there, or set folder in [store]"
    )]
    Unusable(PathBuf, io::Error),
}

impl OwnFolder {
    /// Makes it if it is not there, and takes it.
    pub(crate) fn take(folder: &Path) -> Result<Self, FolderError> {
        let unusable = |error| FolderError::Unusable(folder.to_owned(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let path = folder.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}
