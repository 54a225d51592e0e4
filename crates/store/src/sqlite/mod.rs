//! SQLite behind the store contract.
//!
//! # How the promises are kept
//!
//! One thread owns the writing connection ([`writer`]). It takes whatever requests are waiting, carries them out in one
//! transaction, commits once, and only then answers all of them: nothing is answered before it is on disk (WAL,
//! `synchronous=FULL` for `strict`), nobody reads what is not committed, and many callers share one `fdatasync`. A request
//! that is refused leaves no trace, and a failing transaction is repeated request by request, so that none fails for
//! another.
//!
//! Who holds which lane is in memory ([`memory`]), so that opening the folder voids all leases. That is sound because the
//! folder is locked: no other process can hold one. What operations were answered is there too, as they can only be repeated
//! by this process; and the conversations that were in use last, because most of a message's way through the store is
//! made within milliseconds. All of that goes back together with the transaction it belongs to.
//!
//! A little space is reserved in a file of its own and given up when the disk is full, so that what is in flight can
//! still be settled; new work is refused some way before that.

mod alone;
mod census;
mod check;
mod claims;
mod effects;
mod file;
mod keeping;
mod lists;
mod log;
mod mark;
mod memory;
mod plans;
mod reader;
mod record;
mod room;
mod rows;
mod shelf;
mod verbs;
mod writer;

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use frontdesk_model::*;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

pub use self::file::{BackupError, Copied, SqliteFile, backup};
use self::{mark::Mark, reader::Reader, room::Space, writer::Writer};
use crate::check::{LONGEST_CLAIM, flaw, name};

const SCHEMA: &str = include_str!("schema.sql");
const SCHEMA_VERSION: i64 = 6;
/// What a file of the format before lacks.
const FROM_5: &str = "CREATE TABLE also_known (key BLOB PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX also_known_by_message ON also_known (message);
    CREATE TABLE remembered (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    PRAGMA user_version = 6;";
/// "FrDk": tells our files from other programs' databases.
const APPLICATION_ID: i64 = 0x4672_446b;
const DATABASE: &str = "frontdesk.db";
const LOCK: &str = "lock";

/// When an answer may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After the disk confirmed the write: a power cut loses nothing that was acknowledged.
    #[default]
    Strict,
    /// After the system took the write: a power cut can lose what the system had not written out yet, a crash of the daemon nothing.
    Relaxed,
}

/// How a folder is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteOptions {
    /// When an answer may be given.
    pub durability: Durability,
    /// With less than this many bytes free on the disk, new work is refused.
    pub min_free: u64,
    /// This many bytes are kept aside for settling on a full disk.
    pub reserve: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { durability: Durability::Strict, min_free: 256_000_000, reserve: 8 << 20 }
    }
}

/// A folder could not be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error(
        "the data folder {0} is in use by another daemon; stop that one first, or give this one a folder of its own ([store] url)"
    )]
    InUse(PathBuf),
    /// The system refuses.
    #[error("the data folder {0} cannot be used: {1}; {mend}", mend = folder_mend(.1))]
    Folder(PathBuf, std::io::Error),
    /// There is none, where one has to be.
    #[error("there is no store in the folder {0}: no daemon has run on it yet, or [store] url names another folder")]
    Absent(PathBuf),
    /// Not ours.
    #[error("{0} is not a Frontdesk database; set [store] url to another folder")]
    Foreign(PathBuf),
    /// Written by a later version.
    #[error(
        "{0} was written by a newer Frontdesk (format {1}); this one knows format {SCHEMA_VERSION}; use the newer program"
    )]
    Newer(PathBuf, i64),
    /// Written by an earlier version, before the first release.
    #[error(
        "{0} was written by an earlier Frontdesk (format {1}), and this one, which knows format {SCHEMA_VERSION}, cannot read it; set [store] url to another folder, or go on with the earlier program"
    )]
    Older(PathBuf, i64),
    /// Opening takes a little room, and there is none.
    #[error(
        "the disk of the data folder {0} is full: nothing can be opened on it; make room there (1 MB is enough to start, [store] min_free to take new messages)"
    )]
    Full(PathBuf),
    /// SQLite cannot read it.
    #[error("the database {0} cannot be opened: {1}; if it is damaged, restore the folder from a snapshot")]
    Database(PathBuf, rusqlite::Error),
}

fn folder_mend(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{AlreadyExists, NotADirectory, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        AlreadyExists | NotADirectory => "a file stands in the way: set [store] url to a folder, or move the file",
        ReadOnlyFilesystem => "set [store] url to a folder on a disk that can be written",
        StorageFull => "free some space on that disk, or set [store] url to a folder on another one",
        _ => "make it writable for this user, or set [store] url",
    }
}

/// A store in one folder, of one process.
pub struct SqliteStore {
    // Before the writer, which lets go of the folder when it is dropped.
    reader: Reader,
    writer: Writer,
    space: Arc<Space>,
    clock: Arc<dyn Clock>,
    description: StoreDescription,
    guests: alone::Guests,
    file_check: check::FileCheck,
}

impl SqliteStore {
    /// Opens a folder, or makes it (for its owner only). Voids all leases.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, options: SqliteOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Folder(folder.to_owned(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        // Held until the writer ends; the system lets go of it when the process ends, however it ends.
        let lock = owners_file(&folder.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let path = folder.join(DATABASE);
        let broken = |error| OpenError::Database(path.clone(), error);
        let connection = match open_database(folder, &path, options.durability) {
            // Even opening takes a little room. It is work in flight that wants to be finished.
            Err(OpenError::Database(_, error)) if lacks_room(&error) => {
                room::give_up_what_opening_takes(folder);
                open_database(folder, &path, options.durability).map_err(|error| match error {
                    OpenError::Database(_, error) if lacks_room(&error) && room::is_full(folder) => {
                        OpenError::Full(folder.to_owned())
                    }
                    error => error,
                })?
            }
            opened => opened?,
        };
        let store_id = store_id(&connection).map_err(broken)?;
        let last_number = connection
            .query_row("SELECT coalesce(max(number), 0) FROM conversations", [], |row| row.get(0))
            .map_err(broken)?;
        match make_due(&connection, clock.now()) {
            // On a full disk nothing is written for this: what is not due by then waits for its time.
            Err(error) if lacks_room(&error) => {
                tracing::warn!(%error, "the disk is full: work is not brought forward");
            }
            done => done.map_err(broken)?,
        }
        let space = Arc::new(Space::new(folder, options.min_free, options.reserve));
        let reader =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(broken)?;
        plans::keep(&reader, 64).map_err(broken)?;
        let description = describe(folder, options.durability, store_id);
        let writer =
            Writer::start(connection, Arc::clone(&clock), Arc::clone(&space), last_number, lock).map_err(unusable)?;
        let reader = Reader::start(reader).map_err(unusable)?;
        let (guests, file_check) = (alone::Guests::default(), check::FileCheck::of(&path));
        Ok(Self { writer, reader, space, clock, description, guests, file_check })
    }
}

/// Customers' messages and the master key: for the owner's eyes, whatever the folder's mode is.
fn owners_file(path: &Path) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn open_database(folder: &Path, path: &Path, durability: Durability) -> Result<Connection, OpenError> {
    let unusable = |error| OpenError::Folder(folder.to_owned(), error);
    if !path.exists() {
        owners_file(path).map_err(unusable)?;
        // SQLite makes sure of the file's bytes; that the folder knows of the file is ours to make sure of.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)?;
    }
    let mut connection = Connection::open(path).map_err(|error| OpenError::Database(path.to_owned(), error))?;
    prepare(&mut connection, durability, path)?;
    Ok(connection)
}

fn lacks_room(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen))
}

fn describe(folder: &Path, durability: Durability, store_id: String) -> StoreDescription {
    let (name, sentence) = match durability {
        Durability::Strict => ("strict", "a power cut loses nothing that was acknowledged"),
        Durability::Relaxed => (
            "relaxed",
            "a power cut can lose what was acknowledged in about the last half minute, and what was sent then may be sent again; a crash of the daemon alone loses nothing; set [store] durability = \"strict\" to lose nothing",
        ),
    };
    StoreDescription {
        name: format!("SQLite in {} ({name})", folder.display()),
        durability: sentence.to_owned(),
        store_id,
    }
}

fn prepare(connection: &mut Connection, durability: Durability, path: &Path) -> Result<(), OpenError> {
    let broken = |error| OpenError::Database(path.to_owned(), error);
    let (tables, version) = recognise(connection, path)?;
    let synchronous = match durability {
        Durability::Strict => "FULL",
        Durability::Relaxed => "NORMAL",
    };
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -4096; PRAGMA busy_timeout = 5000; PRAGMA wal_autocheckpoint = 2000;
             PRAGMA journal_size_limit = 33554432; PRAGMA secure_delete = ON;"
        ))
        .map_err(broken)?;
    if tables == 0 {
        let transaction = connection.transaction().map_err(broken)?;
        transaction
            .execute_batch(&format!(
                "{SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
            ))
            .map_err(broken)?;
        transaction.commit().map_err(broken)?;
    }
    if tables > 0 && version == 5 {
        let transaction = connection.transaction().map_err(broken)?;
        transaction.execute_batch(FROM_5).map_err(broken)?;
        transaction.commit().map_err(broken)?;
    }
    plans::keep(connection, 128).map_err(broken)?;
    Ok(())
}

/// How many tables are there, none in a new file, and of which format. One that is not ours, or of a form that is not known, is
/// refused.
fn recognise(connection: &Connection, path: &Path) -> Result<(i64, i64), OpenError> {
    let broken = |error| OpenError::Database(path.to_owned(), error);
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let application = pragma("application_id").map_err(broken)?;
    let version = pragma("user_version").map_err(broken)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(broken)?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    if version > SCHEMA_VERSION {
        return Err(OpenError::Newer(path.to_owned(), version));
    }
    if tables > 0 && version < SCHEMA_VERSION - 1 {
        return Err(OpenError::Older(path.to_owned(), version));
    }
    Ok((tables, version))
}

/// Work that waits for nothing is due by now; a time in the future is a clock that was wrong.
fn make_due(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    for statement in MAKE_DUE {
        connection.execute(statement, [now.as_millis()])?;
    }
    Ok(())
}

/// After an outage many lanes wait for something: they are passed by within the index.
const MAKE_DUE: [&str; 2] = [
    "UPDATE conversations INDEXED BY agent_due SET agent_at = ?1
     WHERE agent_tried IN (0, 1) AND agent_at > ?1 AND agent_waiting IS NULL",
    "UPDATE conversations INDEXED BY deliver_due SET deliver_at = ?1
     WHERE deliver_tried IN (0, 1) AND deliver_at > ?1 AND deliver_waiting IS NULL",
];

fn store_id(connection: &Connection) -> rusqlite::Result<String> {
    let found = connection
        .query_row("SELECT value FROM meta WHERE name = 'store_id'", [], |row| row.get::<_, String>(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection.execute("INSERT INTO meta (name, value) VALUES ('store_id', lower(hex(randomblob(16))))", [])?;
    connection.query_row("SELECT value FROM meta WHERE name = 'store_id'", [], |row| row.get(0))
}

#[async_trait]
impl Keeping for SqliteStore {
    async fn retire(&self, retire: Retire) -> Result<Retired, StoreError> {
        let store_id = self.description.store_id.clone();
        self.writer.call(move |core| core.retire(&retire, Mark::of(&store_id))).await
    }

    async fn erase(&self, erase: Erase) -> Result<Erased, StoreError> {
        self.writer.call(move |core| core.erase(erase)).await
    }

    async fn erasures(&self) -> Result<Vec<ContactId>, StoreError> {
        self.reader.read(keeping::erasures).await
    }
}

#[async_trait]
impl Checked for SqliteStore {
    async fn check(&self, look: Look) -> Result<Looked, StoreError> {
        let begins = look.resume.is_none();
        let mut looked = check::look(&self.reader, &self.file_check, &self.description.store_id, look).await?;
        if begins {
            looked.flaws.extend(self.endless_claims().await?);
        }
        Ok(looked)
    }
}

impl SqliteStore {
    async fn endless_claims(&self) -> Result<Vec<Flaw>, StoreError> {
        let longest = i64::try_from(LONGEST_CLAIM.as_millis()).unwrap_or(i64::MAX);
        let found = self.writer.call(move |core| Ok(core.memory.leases.longer_than(longest, core.boot()))).await?;
        let told = |(id, lane)| {
            let what = format!("the claim on the {} lane does not end within a day", name(lane));
            flaw(FlawKind::Claim, Some(id), what)
        };
        Ok(found.into_iter().map(told).collect())
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit_inbound(&self, inbound: CommitInbound) -> Result<Committed, StoreError> {
        self.writer.call(move |core| core.commit_inbound(&inbound)).await
    }

    async fn append(&self, append: Append) -> Result<Applied, StoreError> {
        self.writer.call(move |core| core.append(&append)).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claims, StoreError> {
        self.writer.call(move |core| core.claim(request)).await
    }

    async fn renew(&self, claim: ClaimId, lease: std::time::Duration) -> Result<Held, StoreError> {
        self.writer.call(move |core| core.renew(claim, lease)).await
    }

    async fn settle(&self, settle: Settle) -> Result<Settled, StoreError> {
        self.writer.call(move |core| core.settle(&settle)).await
    }

    async fn release(&self, release: Release) -> Result<Held, StoreError> {
        self.writer.call(move |core| core.release(&release)).await
    }

    async fn wake(&self, waiting: Waiting) -> Result<u64, StoreError> {
        let waiting = Arc::new(waiting);
        let mut woken = 0;
        for lane in [Lane::Agent, Lane::Deliver] {
            let mut behind = Some(0);
            while let Some(last) = behind {
                let waiting = Arc::clone(&waiting);
                let (some, more) = self.writer.call(move |core| core.wake(lane, &waiting, last)).await?;
                woken += some;
                behind = more;
            }
        }
        Ok(woken)
    }

    async fn timers(&self, limit: usize) -> Result<Timers, StoreError> {
        let now = self.clock.now();
        self.reader.read(move |connection| lists::timers(connection, now, limit)).await
    }

    async fn changes(
        &self,
        mut after: Option<String>,
        filter: ChangeFilter,
        take: Take,
    ) -> Result<Changes, StoreError> {
        loop {
            let (store_id, filter) = (self.description.store_id.clone(), filter.clone());
            let found = self
                .reader
                .read(move |connection| log::changes(connection, Mark::of(&store_id), after.as_deref(), &filter, take))
                .await?;
            if !found.data.is_empty() || !found.more {
                return Ok(found);
            }
            after = Some(found.position);
        }
    }

    async fn census(&self) -> Result<Census, StoreError> {
        let held = self.writer.call(|core| Ok(core.memory.leases.all(core.boot()))).await?.into_iter().collect();
        let now = self.clock.now();
        self.reader.read(move |connection| census::census(connection, &held, now)).await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.reader.read(move |connection| rows::conversation(connection, id)).await
    }

    async fn conversations(
        &self,
        filter: ConversationFilter,
        page: PageRequest,
    ) -> Result<Page<Conversation>, StoreError> {
        let store_id = self.description.store_id.clone();
        self.reader.read(move |connection| lists::conversations(connection, Mark::of(&store_id), &filter, &page)).await
    }

    async fn messages(
        &self,
        id: ConversationId,
        before: Option<Seq>,
        take: Take,
    ) -> Result<Option<Slice<MessageRecord>>, StoreError> {
        self.reader.read(move |connection| log::messages(connection, id, before, take)).await
    }

    async fn events(&self, id: ConversationId, after: Seq, take: Take) -> Result<Option<Slice<Event>>, StoreError> {
        self.reader.read(move |connection| log::events(connection, id, after, take)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<(ConversationId, MessageRecord)>, StoreError> {
        self.reader.read(move |connection| log::message(connection, id)).await
    }

    async fn find(&self, thread: &ThreadKey, keys: &[DedupeKey]) -> Result<Found, StoreError> {
        let (thread, keys) = (thread.clone(), keys.to_vec());
        self.reader.read(move |connection| rows::find(connection, &thread, &keys)).await
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.reader.read(move |connection| rows::recall(connection, &name)).await
    }

    async fn remember(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.writer.call(move |core| core.remember(&name, &value)).await
    }

    async fn parts(&self, id: MessageId) -> Result<Vec<Part>, StoreError> {
        self.reader.read(move |connection| rows::parts(connection, id)).await
    }

    async fn contact(&self, id: ContactId) -> Result<Option<Contact>, StoreError> {
        self.reader.read(move |connection| rows::contact(connection, id)).await
    }

    async fn dead_letters(&self, page: PageRequest) -> Result<Page<DeadLetter>, StoreError> {
        self.reader.read(move |connection| lists::dead_letters(connection, &page)).await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        self.reader.read(move |connection| rows::dead_letter(connection, id)).await
    }

    async fn requeue(&self, requeue: Requeue) -> Result<Applied, StoreError> {
        self.writer.call(move |core| core.requeue(&requeue)).await
    }

    async fn master_key(&self, candidate: MasterKey) -> Result<MasterKey, StoreError> {
        self.writer.call(move |core| core.master_key(&candidate)).await
    }

    async fn note_files(&self) -> Result<bool, StoreError> {
        self.writer.call(|core| core.note_files()).await
    }

    async fn has_files(&self) -> Result<bool, StoreError> {
        self.reader.read(rows::has_files).await
    }

    fn room(&self) -> Room {
        self.space.room()
    }

    fn describe(&self) -> StoreDescription {
        self.description.clone()
    }

    fn company(&self) -> &dyn Company {
        self
    }

    fn keeping(&self) -> &dyn Keeping {
        self
    }

    fn checked(&self) -> Option<&dyn Checked> {
        Some(self)
    }

    async fn close(&self) -> Result<(), StoreError> {
        // The readers first: the connection that closes last tidies the log of writes away.
        self.file_check.end();
        self.reader.close();
        self.writer.close().await
    }
}
