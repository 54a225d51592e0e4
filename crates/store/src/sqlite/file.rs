//! A store's file as it is, beside the daemon that has it or without one: checked, and copied.
//!
//! Nothing here takes the folder's lock or writes into the folder. What is read is one state of the store, whatever is written
//! meanwhile.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_model::{Checked, Look, Looked, StoreError};
use rusqlite::{
    Connection, OptionalExtension as _,
    backup::{Backup, StepResult},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    DATABASE, OpenError,
    check::{self, FileCheck, quick_check, read_only},
    plans,
    reader::Reader,
    recognise,
};

/// So many pages (of 4 KiB) are copied between two words about how far the copy is.
const PAGES: i32 = 256;
/// How long a copy waits for another program that keeps the file locked.
const LOCKED: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// A store in one folder, read only.
pub struct SqliteFile {
    reader: Reader,
    file_check: FileCheck,
    store_id: String,
}

impl SqliteFile {
    /// Opens a folder that is there. Its leases stay as they are.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let (path, connection) = opened(folder)?;
        let broken = |error| OpenError::Database(path.clone(), error);
        plans::keep(&connection, 64).map_err(broken)?;
        let store_id = connection
            .query_row("SELECT value FROM meta WHERE name = 'store_id'", [], |row| row.get(0))
            .optional()
            .map_err(broken)?
            .unwrap_or_default();
        let reader = Reader::start(connection).map_err(|error| OpenError::Folder(folder.to_owned(), error))?;
        Ok(Self { reader, file_check: FileCheck::of(&path), store_id })
    }
}

#[async_trait]
impl Checked for SqliteFile {
    async fn check(&self, look: Look) -> Result<Looked, StoreError> {
        check::look(&self.reader, &self.file_check, &self.store_id, look).await
    }
}

fn opened(folder: &Path) -> Result<(PathBuf, Connection), OpenError> {
    let path = folder.join(DATABASE);
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(OpenError::Absent(folder.to_owned())),
        Err(error) => return Err(OpenError::Folder(folder.to_owned(), error)),
    }
    let connection = read_only(&path).map_err(|error| OpenError::Database(path.clone(), error))?;
    match recognise(&connection, &path)?.0 {
        0 => Err(OpenError::Absent(folder.to_owned())),
        _ => Ok((path, connection)),
    }
}

/// How far a copy is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// So much of it is there.
    pub done: u64,
    /// Of so much.
    pub of: u64,
}

/// Why there is no copy. What had been written of it is gone.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("{0} is there already; name a file that is not there yet")]
    Exists(PathBuf),
    /// Somebody else makes it.
    #[error("another backup to {0} is under way; wait for it, or name another file")]
    UnderWay(PathBuf),
    /// The system refuses.
    #[error("{0} cannot be written: {1}; name a file in a folder that can be written and has room")]
    Target(PathBuf, io::Error),
    /// There is no store.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// Reading or writing failed on the way.
    #[error("the copy failed: {0}; make sure that there is room for it, and try again")]
    Copy(rusqlite::Error),
    /// It was copied as it is.
    #[error("the copy is damaged, as the store itself may be: {0}; see: frontdesk store check")]
    Damaged(String),
}

/// Copies the store in a folder to a new file, for its owner only, while a daemon runs on it or not: all that was committed when
/// it began. The copy is checked, and durable, before it has its name. Answers how many bytes it has.
///
/// # Errors
/// See [`BackupError`].
pub fn backup(folder: &Path, target: &Path, progress: &mut dyn FnMut(Copied)) -> Result<u64, BackupError> {
    let unwritable = |error| BackupError::Target(target.to_owned(), error);
    let (_, source) = opened(folder)?;
    if fs::symlink_metadata(target).is_ok() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let part = Part::begin(target)?;
    copy(&source, &part.path, progress)?;
    part.file.sync_all().map_err(unwritable)?;
    let bytes = part.file.metadata().map_err(unwritable)?.len();
    part.take_its_name(target)?;
    Ok(bytes)
}

fn copy(source: &Connection, part: &Path, progress: &mut dyn FnMut(Copied)) -> Result<(), BackupError> {
    let mut copy = Connection::open(part).map_err(BackupError::Copy)?;
    // It is written once, made durable at the end, and thrown away if anything goes wrong before that.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(BackupError::Copy)?;
    // One state of the store: without this a copy begins anew whenever the daemon writes.
    source.execute_batch("BEGIN").map_err(BackupError::Copy)?;
    let page: i64 = source
        .query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))
        .and_then(|_| source.query_row("PRAGMA page_size", [], |row| row.get(0)))
        .map_err(BackupError::Copy)?;
    let bytes = |pages: i32| u64::try_from(i64::from(pages).saturating_mul(page)).unwrap_or(0);
    let mut waited = Duration::ZERO;
    {
        let backup = Backup::new(source, &mut copy).map_err(BackupError::Copy)?;
        loop {
            match backup.step(PAGES).map_err(BackupError::Copy)? {
                StepResult::Done => break,
                StepResult::More => {
                    let left = backup.progress();
                    progress(Copied {
                        done: bytes(left.pagecount.saturating_sub(left.remaining)),
                        of: bytes(left.pagecount),
                    });
                }
                _ if waited < LOCKED => {
                    thread::sleep(PAUSE);
                    waited += PAUSE;
                }
                _ => return Err(BackupError::Copy(locked())),
            }
        }
    }
    source.execute_batch("COMMIT").map_err(BackupError::Copy)?;
    let mistakes = quick_check(&copy).map_err(BackupError::Copy)?;
    if let Some(first) = mistakes.into_iter().next() {
        return Err(BackupError::Damaged(first));
    }
    // Closing tidies the log of writes away, which a copy of such a file would have beside it.
    copy.close().map_err(|(_, error)| BackupError::Copy(error))
}

fn locked() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some("the database is locked by another program".into()))
}

/// A copy that is not whole yet: gone when it is dropped before it has its name.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    /// What an earlier try that was broken off left there is begun anew.
    fn begin(target: &Path) -> Result<Self, BackupError> {
        let mut name = target.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let unwritable = |error| BackupError::Target(path.clone(), error);
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::UnderWay(target.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unwritable(error)),
        }
        file.set_len(0).map_err(unwritable)?;
        Ok(Self { path, file })
    }

    fn take_its_name(mut self, target: &Path) -> Result<(), BackupError> {
        let unwritable = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(target.to_owned()),
            _ => BackupError::Target(target.to_owned(), error),
        };
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            // Not every file system can promise that nothing is overwritten: then it is looked for right before.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if fs::symlink_metadata(target).is_err() => {
                fs::rename(&self.path, target).map_err(unwritable)?;
            }
            renamed => renamed.map_err(|error| unwritable(error.into()))?,
        }
        self.path = PathBuf::new();
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            for end in ["", "-wal", "-shm", "-journal"] {
                let mut name = self.path.clone().into_os_string();
                name.push(end);
                let _ = fs::remove_file(name);
            }
        }
    }
}
