//! The folder of bytes: what is kept is found again, what is referred to stays, and what belongs to another store is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use frontdesk_attachments::{Files, FilesError, FilesOptions, OpenError, Upload};
use frontdesk_model::{AttachmentId, ContentHash, MessageId, Stored, Timestamp};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

const OPTIONS: FilesOptions = FilesOptions { max_bytes: 1000, min_free: 0 };
const DAY: Duration = Duration::from_secs(24 * 3600);

fn open(folder: &Path) -> Files {
    Files::open(folder, "store-1", false, OPTIONS).unwrap()
}

fn id(number: u8) -> AttachmentId {
    AttachmentId::of_message(MessageId::from_bytes([number; 16]), 0)
}

async fn keep(files: &Files, bytes: &[u8], reference: AttachmentId) -> Stored {
    let mut incoming = files.begin().await.unwrap();
    for piece in bytes.chunks(7) {
        incoming.write(piece).await.unwrap();
    }
    incoming.keep(reference).await.unwrap()
}

async fn read(files: &Files, sha256: ContentHash) -> Result<Vec<u8>, FilesError> {
    let (mut file, size) = files.read(sha256).await?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len() as u64, size);
    Ok(bytes)
}

fn objects(folder: &Path) -> usize {
    let shares = fs::read_dir(folder.join("objects")).unwrap();
    shares.map(|share| fs::read_dir(share.unwrap().path()).unwrap().count()).sum()
}

fn age(folder: &Path, sha256: ContentHash, by: Duration) {
    let text = sha256.to_string();
    let object = folder.join("objects").join(&text[..2]).join(text);
    fs::File::options().append(true).open(object).unwrap().set_modified(SystemTime::now() - by).unwrap();
}

#[tokio::test]
async fn what_is_kept_is_found_under_its_hash_and_stays_once_however_often_it_comes() {
    let folder = TempDir::new().unwrap();
    let files = open(folder.path());
    let stored = keep(&files, b"\x89PNG\r\n\x1a\n and more", id(1)).await;
    assert_eq!((stored.media_type.as_str(), stored.size), ("image/png", 17));
    assert_eq!(keep(&files, b"\x89PNG\r\n\x1a\n and more", id(2)).await, stored);
    assert_eq!(objects(folder.path()), 1);
    let again = open(folder.path());
    assert_eq!(read(&again, stored.sha256).await.unwrap(), b"\x89PNG\r\n\x1a\n and more");
    assert!(again.is_whole(stored.sha256, 17).await.unwrap());
    assert!(!again.is_whole(stored.sha256, 16).await.unwrap());
    assert!(!again.is_whole(ContentHash([1; 32]), 17).await.unwrap());
    let mode = fs::metadata(folder.path().join("objects")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else's eyes");
}

#[tokio::test]
async fn bytes_go_with_their_last_reference() {
    let folder = TempDir::new().unwrap();
    let files = open(folder.path());
    let stored = keep(&files, b"hello", id(1)).await;
    files.refer(stored.sha256, id(2)).await.unwrap();
    files.release(stored.sha256, id(1)).await.unwrap();
    assert!(read(&files, stored.sha256).await.is_ok());
    files.release(stored.sha256, id(2)).await.unwrap();
    assert!(matches!(read(&files, stored.sha256).await, Err(FilesError::Missing)));
    assert!(matches!(files.refer(stored.sha256, id(3)).await, Err(FilesError::Missing)));
    files.release(stored.sha256, id(2)).await.unwrap();
    assert_eq!(objects(folder.path()), 0);
}

#[tokio::test]
async fn what_is_too_large_or_never_finished_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let files = open(folder.path());
    let mut incoming = files.begin().await.unwrap();
    incoming.write(&[7; 1000]).await.unwrap();
    assert!(matches!(incoming.write(&[7]).await, Err(FilesError::TooLarge(1000))));
    drop(incoming);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    fs::write(folder.path().join("tmp/left-by-a-kill"), b"x").unwrap();
    files.drop_unfinished(DAY).await.unwrap();
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 1, "somebody may be writing it");
    files.drop_unfinished(Duration::ZERO).await.unwrap();
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_nearly_full_disk_takes_nothing_new() {
    let folder = TempDir::new().unwrap();
    let files = Files::open(folder.path(), "store-1", false, FilesOptions { min_free: u64::MAX, ..OPTIONS }).unwrap();
    assert!(matches!(files.begin().await, Err(FilesError::NoRoom)));
}

#[test]
fn a_folder_of_another_store_is_refused_and_so_is_an_empty_one_once_there_are_attachments() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("deep/attachments");
    let refused = Files::open(&path, "store-1", true, OPTIONS).unwrap_err();
    assert!(matches!(refused, OpenError::Empty(..)), "{refused}");
    assert!(!path.exists(), "a refusal makes nothing");
    Files::open(&path, "store-1", false, OPTIONS).unwrap();
    Files::open(&path, "store-1", true, OPTIONS).unwrap();
    let refused = Files::open(&path, "store-2", false, OPTIONS).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign(_)), "{refused}");
}

#[tokio::test]
async fn the_sweep_sees_only_what_is_quiet_and_takes_only_what_stayed_so() {
    let folder = TempDir::new().unwrap();
    let files = open(folder.path());
    let stored = keep(&files, b"hello", id(1)).await;
    let [share, ..] = stored.sha256.0;
    assert_eq!(files.quiet_ones(share, DAY).await.unwrap(), []);
    age(folder.path(), stored.sha256, 2 * DAY);
    let mut seen = files.quiet_ones(share, DAY).await.unwrap();
    assert_eq!(seen[0].references, [id(1)]);
    assert_eq!(files.quiet_ones(share.wrapping_add(1), DAY).await.unwrap(), []);
    // Somebody refers to it between the look and the step.
    files.refer(stored.sha256, id(2)).await.unwrap();
    files.drop_quiet(seen.remove(0), vec![id(1), id(2)]).await.unwrap();
    assert!(read(&files, stored.sha256).await.is_ok());
    age(folder.path(), stored.sha256, 2 * DAY);
    let seen = files.quiet_ones(share, DAY).await.unwrap().remove(0);
    files.drop_quiet(seen, vec![id(1)]).await.unwrap();
    assert!(read(&files, stored.sha256).await.is_ok(), "one reference is left");
    let seen = files.quiet_ones(share, DAY).await.unwrap().remove(0);
    files.drop_quiet(seen, vec![id(2)]).await.unwrap();
    assert!(matches!(read(&files, stored.sha256).await, Err(FilesError::Missing)));
}

#[tokio::test]
async fn an_upload_is_remembered_until_it_is_forgotten() {
    let folder = TempDir::new().unwrap();
    let files = open(folder.path());
    let handle = AttachmentId::new(Timestamp::from_millis(1), [3; 9]);
    let stored = keep(&files, b"hello", handle).await;
    let upload =
        Upload { name: "a.txt".into(), stored: stored.clone(), by: "token:bot".into(), at: Timestamp::from_millis(1) };
    files.note_upload(handle, &upload).await.unwrap();
    let again = open(folder.path());
    assert_eq!(again.upload(handle).await.unwrap(), Some(upload));
    assert_eq!(again.uploads().await.unwrap(), [handle]);
    again.forget_upload(handle).await.unwrap();
    assert_eq!((again.upload(handle).await.unwrap(), objects(folder.path())), (None, 0));
}

#[tokio::test]
async fn what_is_erased_is_remembered_over_a_stop_and_goes_with_what_was_handed_in() {
    let folder = TempDir::new().unwrap();
    let files = open(folder.path());
    let handle = AttachmentId::new(Timestamp::from_millis(1), [3; 9]);
    let stored = keep(&files, b"hello", handle).await;
    let upload = Upload { name: "a.txt".into(), stored: stored.clone(), by: "x".into(), at: Timestamp::from_millis(1) };
    files.note_upload(handle, &upload).await.unwrap();
    files.refer(stored.sha256, id(1)).await.unwrap();
    files.refer(stored.sha256, id(2)).await.unwrap();
    files.note_erased(vec![(id(1), stored.sha256), (id(2), stored.sha256)]).await.unwrap();
    let again = open(folder.path());
    let mut erased = again.erased().await.unwrap();
    erased.sort();
    assert_eq!(erased, [(id(1), stored.sha256), (id(2), stored.sha256)]);
    again.settle_erased(id(1), stored.sha256, true).await.unwrap();
    assert_eq!(again.upload(handle).await.unwrap(), None);
    again.settle_erased(id(2), stored.sha256, false).await.unwrap();
    assert!(read(&again, stored.sha256).await.is_ok(), "the second one's message is still there");
    assert_eq!(again.erased().await.unwrap(), []);
    again.release(stored.sha256, id(2)).await.unwrap();
    assert_eq!(objects(folder.path()), 0);
}
