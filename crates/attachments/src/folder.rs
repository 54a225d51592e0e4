//! The folder in which bytes lie.
//!
//! ```text
//! store                     whose bytes these are: the store's id
//! objects/ab/<sha256>       the bytes
//! refs/ab/<sha256>/<id>     an empty file for each attachment that refers to them
//! uploads/<id>.json         what was handed in by itself, and is there to be used for a day
//! erased/<id>               a reference of somebody who is being erased; holds the hash
//! tmp/<random>              on its way here
//! ```
//!
//! **Durability.** Bytes are written under a temporary name and flushed, then renamed; the reference is made in the same breath and
//! both folders are flushed before the caller hears of it. So a store that says that bytes are here is right, whenever the
//! power goes.
//!
//! **Who forgets.** A reference says that somebody meant to refer to these bytes. Whether a message really does is the store's to
//! say: the caller looks there before it has a reference taken away. Bytes go with their last reference. `lock` is held while
//! references and bytes come and go, so that several processes may use the folder.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use frontdesk_model::{AttachmentId, ContentHash, Stored, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::sniff::{HEAD, media_type_of};

const OWNER: &str = "store";
const LOCK: &str = "lock";
const OBJECTS: &str = "objects";
const REFERENCES: &str = "refs";
const UPLOADS: &str = "uploads";
const ERASED: &str = "erased";
const TEMPORARY: &str = "tmp";

/// What a folder is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesOptions {
    /// No file is larger.
    pub max_bytes: u64,
    /// Nothing new is written when the disk has less left, in bytes.
    pub min_free: u64,
}

/// The folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    root: Arc<Path>,
    options: FilesOptions,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It carries the id of another store.
    #[error(
        "the folder {0} holds the attachments of another store\n  mend: point url in [attachments] at this store's own folder, or at an \
         empty one if this store has no attachments yet"
    )]
    Foreign(PathBuf),
    /// It carries no id, and the store has attachments.
    #[error(
        "the folder {0} is not the one in which this store's attachments lie: it is new or empty\n  mend: put the folder back from its \
         backup, or point url in [attachments] at where it is now; a folder that is lost for good is replaced by an empty one with \
         a file named store in it that holds {1}"
    )]
    Empty(PathBuf, String),
    /// The machine refused.
    #[error(
        "the folder {0} cannot be used for attachments: {1}\n  mend: let the user that the daemon runs as write there, or set url in \
         [attachments]"
    )]
    Unusable(PathBuf, io::Error),
}

/// Why bytes could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There are more of them than may be.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// The disk is nearly full.
    #[error("the disk of the attachments is nearly full")]
    NoRoom,
    /// They are not here.
    #[error("the bytes are not here")]
    Missing,
    /// The machine refused.
    #[error("the folder of the attachments: {0}")]
    Io(#[from] io::Error),
}

/// What was handed in by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// What it is called.
    pub name: String,
    /// Its bytes.
    pub stored: Stored,
    /// Who handed it in.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Bytes and what refers to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub sha256: ContentHash,
    /// Since when something new last referred to them.
    pub since: SystemTime,
    /// What refers to them.
    pub references: Vec<AttachmentId>,
}

/// Whose attachments a folder holds, if it says so.
///
/// # Errors
/// The machine refused.
pub fn store_of(root: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(root.join(OWNER)) {
        Ok(id) => Ok(Some(id.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many bytes lie in a folder under this hash, if any do.
///
/// # Errors
/// The machine refused.
pub fn size_in(root: &Path, sha256: ContentHash) -> io::Result<Option<u64>> {
    match fs::metadata(object_in(root, sha256)) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn object_in(root: &Path, sha256: ContentHash) -> PathBuf {
    let [share, ..] = sha256.0;
    root.join(OBJECTS).join(format!("{share:02x}")).join(sha256.to_string())
}

impl Files {
    /// Opens a store's folder, and makes it where there is none and the store `has_files` not yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(root: &Path, store: &str, has_files: bool, options: FilesOptions) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Unusable(root.to_owned(), error);
        match store_of(root).map_err(unusable)? {
            Some(owner) if owner == store => {}
            Some(_) => return Err(OpenError::Foreign(root.to_owned())),
            None if has_files => return Err(OpenError::Empty(root.to_owned(), store.to_owned())),
            None => {
                make_folder(root).map_err(unusable)?;
                let temporary = root.join(format!("{OWNER}.new"));
                write_flushed(&temporary, store.as_bytes()).map_err(unusable)?;
                fs::rename(temporary, root.join(OWNER)).map_err(unusable)?;
                flush_folder(root).map_err(unusable)?;
            }
        }
        for inner in [OBJECTS, REFERENCES, UPLOADS, ERASED, TEMPORARY] {
            make_folder(&root.join(inner)).map_err(unusable)?;
        }
        flush_folder(root).map_err(unusable)?;
        let files = Self { root: root.into(), options };
        // Whether it may be written to is learned now and not with the first attachment.
        files.lock().map_err(unusable)?;
        Ok(files)
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// No file is larger, in bytes.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.options.max_bytes
    }

    /// Whether new bytes may come.
    ///
    /// # Errors
    /// The disk is nearly full.
    pub fn room(&self) -> Result<(), FilesError> {
        let space = rustix::fs::statvfs(&*self.root).map_err(io::Error::from)?;
        if space.f_bavail.saturating_mul(space.f_frsize) < self.options.min_free {
            return Err(FilesError::NoRoom);
        }
        Ok(())
    }

    /// A place for bytes on their way here.
    ///
    /// # Errors
    /// There is no room.
    pub async fn begin(&self) -> Result<Incoming, FilesError> {
        self.room()?;
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.root.join(TEMPORARY).join(name);
        let file = tokio::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).await?;
        let on_disk = OnDisk(path);
        let (max_bytes, files) = (self.options.max_bytes, self.clone());
        Ok(Incoming { files, file, on_disk, hash: Sha256::new(), head: Vec::new(), size: 0, max_bytes })
    }

    /// One more attachment refers to bytes that are here.
    ///
    /// # Errors
    /// They are not here any more, or the machine refused.
    pub async fn refer(&self, sha256: ContentHash, reference: AttachmentId) -> Result<(), FilesError> {
        self.blocking(move |files| {
            let _lock = files.lock()?;
            let object = files.object(sha256);
            touch(&object).map_err(missing)?;
            Ok(files.make_reference(sha256, reference)?)
        })
        .await
    }

    /// An attachment refers to these bytes no more; they go with their last reference.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn release(&self, sha256: ContentHash, reference: AttachmentId) -> Result<(), FilesError> {
        self.blocking(move |files| {
            let _lock = files.lock()?;
            remove(&files.references(sha256).join(reference.to_string()))?;
            Ok(files.remove_unreferenced(sha256)?)
        })
        .await
    }

    /// Bytes, to be read, and how many.
    ///
    /// # Errors
    /// They are not here, or the machine refused.
    pub async fn read(&self, sha256: ContentHash) -> Result<(tokio::fs::File, u64), FilesError> {
        let file = tokio::fs::File::open(self.object(sha256)).await.map_err(missing)?;
        let size = file.metadata().await?.len();
        Ok((file, size))
    }

    /// How many bytes are here under this hash, if any are.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn size(&self, sha256: ContentHash) -> Result<Option<u64>, FilesError> {
        self.blocking(move |files| Ok(size_in(&files.root, sha256)?)).await
    }

    /// Whether bytes are here as they should be: so many, and these.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn is_whole(&self, sha256: ContentHash, size: u64) -> Result<bool, FilesError> {
        self.blocking(move |files| {
            let file = match fs::File::open(files.object(sha256)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                file => file?,
            };
            if file.metadata()?.len() != size {
                return Ok(false);
            }
            let mut hash = Sha256::new();
            io::copy(&mut io::BufReader::with_capacity(1 << 16, file), &mut hash)?;
            Ok(<[u8; 32]>::from(hash.finalize()) == sha256.0)
        })
        .await
    }

    /// Remembers what was handed in by itself.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn note_upload(&self, id: AttachmentId, upload: &Upload) -> Result<(), FilesError> {
        let written = serde_json::to_vec(upload).map_err(io::Error::other)?;
        self.blocking(move |files| {
            let folder = files.root.join(UPLOADS);
            let temporary = files.root.join(TEMPORARY).join(id.to_string());
            write_flushed(&temporary, &written)?;
            fs::rename(temporary, folder.join(format!("{id}.json")))?;
            Ok(flush_folder(&folder)?)
        })
        .await
    }

    /// What was handed in by itself under this id, as long as it is there.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn upload(&self, id: AttachmentId) -> Result<Option<Upload>, FilesError> {
        let path = self.root.join(UPLOADS).join(format!("{id}.json"));
        match tokio::fs::read(path).await {
            Ok(written) => Ok(Some(serde_json::from_slice(&written).map_err(io::Error::other)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets what was handed in by itself; its bytes go with their last reference.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn forget_upload(&self, id: AttachmentId) -> Result<(), FilesError> {
        if let Some(upload) = self.upload(id).await? {
            self.release(upload.stored.sha256, id).await?;
            self.blocking(move |files| Ok(remove(&files.root.join(UPLOADS).join(format!("{id}.json")))?)).await?;
        }
        Ok(())
    }

    /// A share of all bytes (`share` of 256) to which nothing new referred for `quiet`, with what refers to them.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn quiet_ones(&self, share: u8, quiet: Duration) -> Result<Vec<Held>, FilesError> {
        self.blocking(move |files| {
            let Some(before) = SystemTime::now().checked_sub(quiet) else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for name in names_in(&files.root.join(OBJECTS).join(format!("{share:02x}")))? {
                let Ok(sha256) = name.parse::<ContentHash>() else { continue };
                let Ok(since) = fs::metadata(files.object(sha256)).and_then(|file| file.modified()) else { continue };
                if since <= before {
                    let references = names_in(&files.references(sha256))?;
                    let references = references.iter().filter_map(|name| name.parse().ok()).collect();
                    found.push(Held { sha256, since, references });
                }
            }
            Ok(found)
        })
        .await
    }

    /// Takes away these references to bytes, and the bytes with their last one; nothing where something new refers to them since
    /// they were looked at.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn drop_quiet(&self, held: Held, dead: Vec<AttachmentId>) -> Result<(), FilesError> {
        self.blocking(move |files| {
            let _lock = files.lock()?;
            let since = match fs::metadata(files.object(held.sha256)).and_then(|file| file.modified()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                since => since?,
            };
            if since != held.since {
                return Ok(());
            }
            for reference in dead {
                remove(&files.references(held.sha256).join(reference.to_string()))?;
            }
            Ok(files.remove_unreferenced(held.sha256)?)
        })
        .await
    }

    /// What never came to its end, and was last written before so long.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn drop_unfinished(&self, quiet: Duration) -> Result<(), FilesError> {
        self.blocking(move |files| {
            let Some(before) = SystemTime::now().checked_sub(quiet) else { return Ok(()) };
            let folder = files.root.join(TEMPORARY);
            for name in names_in(&folder)? {
                let path = folder.join(name);
                if fs::metadata(&path).and_then(|file| file.modified()).is_ok_and(|at| at <= before) {
                    remove(&path)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Everything that was handed in by itself.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn uploads(&self) -> Result<Vec<AttachmentId>, FilesError> {
        let id = |name: &String| name.strip_suffix(".json").and_then(|name| name.parse().ok());
        self.blocking(move |files| Ok(names_in(&files.root.join(UPLOADS))?.iter().filter_map(id).collect())).await
    }

    /// Remembers references of somebody who is being erased, so that their bytes go though the daemon stops meanwhile.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn note_erased(&self, references: Vec<(AttachmentId, ContentHash)>) -> Result<(), FilesError> {
        self.blocking(move |files| {
            let folder = files.root.join(ERASED);
            for (reference, sha256) in &references {
                write_flushed(&folder.join(reference.to_string()), sha256.to_string().as_bytes())?;
            }
            Ok(flush_folder(&folder)?)
        })
        .await
    }

    /// References of those who are or were being erased.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn erased(&self) -> Result<Vec<(AttachmentId, ContentHash)>, FilesError> {
        self.blocking(move |files| {
            let folder = files.root.join(ERASED);
            let mut found = Vec::new();
            for name in names_in(&folder)? {
                let hash = fs::read_to_string(folder.join(&name)).unwrap_or_default();
                if let (Ok(reference), Ok(sha256)) = (name.parse(), hash.parse()) {
                    found.push((reference, sha256));
                }
            }
            Ok(found)
        })
        .await
    }

    /// A reference that was remembered as erased is dealt with. `gone`: it is; with it go, without waiting, whatever was handed in
    /// with the same bytes, and the bytes with their last reference.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn settle_erased(
        &self,
        reference: AttachmentId,
        sha256: ContentHash,
        gone: bool,
    ) -> Result<(), FilesError> {
        if gone {
            let uploads = self.blocking(move |files| Ok(names_in(&files.references(sha256))?)).await?;
            for upload in uploads.iter().filter_map(|name| name.parse::<AttachmentId>().ok()) {
                if upload.message().is_none() {
                    self.forget_upload(upload).await?;
                }
            }
            self.release(sha256, reference).await?;
        }
        self.blocking(move |files| Ok(remove(&files.root.join(ERASED).join(reference.to_string()))?)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let files = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        done.map_err(|_| io::Error::other("the work on the folder was broken off"))?
    }

    fn lock(&self) -> io::Result<fs::File> {
        let lock =
            fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(self.root.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    fn object(&self, sha256: ContentHash) -> PathBuf {
        object_in(&self.root, sha256)
    }

    fn references(&self, sha256: ContentHash) -> PathBuf {
        let [share, ..] = sha256.0;
        self.root.join(REFERENCES).join(format!("{share:02x}")).join(sha256.to_string())
    }

    fn make_reference(&self, sha256: ContentHash, reference: AttachmentId) -> io::Result<()> {
        let folder = self.references(sha256);
        make_folder(&folder)?;
        write_flushed(&folder.join(reference.to_string()), b"")?;
        flush_folder(&folder)?;
        for parent in folder.ancestors().skip(1).take(2) {
            flush_folder(parent)?;
        }
        Ok(())
    }

    fn remove_unreferenced(&self, sha256: ContentHash) -> io::Result<()> {
        let references = self.references(sha256);
        if names_in(&references)?.is_empty() {
            let object = self.object(sha256);
            remove(&object)?;
            if let Some(folder) = object.parent().filter(|folder| folder.exists()) {
                flush_folder(folder)?;
            }
            if references.exists() {
                fs::remove_dir(references)?;
            }
        }
        Ok(())
    }
}

/// A temporary file, gone with this unless it was moved.
#[derive(Debug)]
struct OnDisk(PathBuf);

impl Drop for OnDisk {
    fn drop(&mut self) {
        // One that is left behind is swept later.
        let _ = fs::remove_file(&self.0);
    }
}

/// Bytes on their way here. Dropped before [`Incoming::keep`], they are gone.
#[derive(Debug)]
pub struct Incoming {
    files: Files,
    file: tokio::fs::File,
    on_disk: OnDisk,
    hash: Sha256,
    head: Vec<u8>,
    size: u64,
    max_bytes: u64,
}

impl Incoming {
    /// Some more.
    ///
    /// # Errors
    /// They are too many, or the machine refused.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.max_bytes {
            return Err(FilesError::TooLarge(self.max_bytes));
        }
        // A megabyte apart the disk is looked at again: many at once could fill it.
        if size >> 20 != self.size >> 20 {
            self.files.room()?;
        }
        self.size = size;
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.hash.update(bytes);
        self.file.write_all(bytes).await?;
        Ok(())
    }

    /// How many came so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many there may be.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// What they are.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        media_type_of(&self.head)
    }

    /// What a file of this sort usually ends with.
    #[must_use]
    pub fn ending(&self) -> Option<&'static str> {
        crate::sniff::ending_of(self.media_type())
    }

    /// Keeps them for good, for this attachment. Returns when they and the reference are as durable as the disk makes them.
    ///
    /// # Errors
    /// The machine refused.
    pub async fn keep(mut self, reference: AttachmentId) -> Result<Stored, FilesError> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let media_type = self.media_type().to_owned();
        let Self { files, on_disk, hash, size, .. } = self;
        let sha256 = ContentHash(hash.finalize().into());
        files
            .blocking(move |files| {
                let _lock = files.lock()?;
                let object = files.object(sha256);
                if touch(&object).is_err() {
                    if let Some(folder) = object.parent() {
                        make_folder(folder)?;
                        fs::rename(&on_disk.0, &object)?;
                        touch(&object)?;
                        flush_folder(folder)?;
                    }
                    flush_folder(&files.root.join(OBJECTS))?;
                }
                Ok(files.make_reference(sha256, reference)?)
            })
            .await?;
        Ok(Stored { media_type, size, sha256 })
    }
}

fn missing(error: io::Error) -> FilesError {
    if error.kind() == io::ErrorKind::NotFound { FilesError::Missing } else { FilesError::Io(error) }
}

/// Something new refers to it, from now on.
fn touch(object: &Path) -> io::Result<()> {
    fs::File::options().append(true).open(object)?.set_modified(SystemTime::now())
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn flush_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

fn write_flushed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The names in a folder; none where there is no such folder.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
