//! A copy of a store is the store, as it was when the copy began.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
};

use frontdesk_model::*;
use frontdesk_store::{BackupError, Copied, OpenError, SqliteFile, SqliteOptions, SqliteStore, backup};
use frontdesk_testkit::{
    clock::TestClock,
    store_suite::{
        Bench,
        checking::{checked, expect_no_flaw, some_of_everything},
        thread,
    },
};

fn bench(folder: &Path) -> Bench {
    let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let options = SqliteOptions { min_free: 0, ..SqliteOptions::default() };
    let store = SqliteStore::open(folder, options, Arc::new(clock.clone())).unwrap();
    Bench::new(Arc::new(store), clock, ())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_the_store_is_written_to_is_one_state_of_it() {
    let [folder, other, empty] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let used = Arc::new(bench(folder.path()));
    let ids = some_of_everything(&used).await;
    for number in 0..60 {
        let mut inbound = used.inbound(&thread(&format!("before-{number}")));
        for effect in &mut inbound.effects {
            if let Effect::Append { body: EventBody::MessageCreated { message }, .. } = effect {
                message.content = Content::Text("long ".repeat(20_000));
            }
        }
        used.store.commit_inbound(inbound).await.unwrap();
    }
    let before = used.store.census().await.unwrap();
    // Each word about how far the copy is waits for a write: a copy that began anew with each would never end.
    let file = other.path().join("copy.db");
    let (writer, target, source) = (Arc::clone(&used), file.clone(), folder.path().to_owned());
    let runtime = tokio::runtime::Handle::current();
    let copied = tokio::task::spawn_blocking(move || {
        let mut said = 0;
        let mut say = |Copied { done, of }: Copied| {
            assert!(done <= of);
            said += 1;
            runtime.block_on(writer.say(&format!("meanwhile-{said}")));
        };
        (backup(&source, &target, &mut say), said)
    });
    let (copied, said) = copied.await.unwrap();
    assert!(said > 4, "{said}");
    let bytes = copied.unwrap();
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (bytes, 0o600));
    assert_eq!(names(other.path()), ["copy.db"], "nothing is left beside it");
    used.say("after").await;

    // Put into an empty folder, as the README says.
    fs::copy(&file, empty.path().join("frontdesk.db")).unwrap();
    let restored = bench(empty.path());
    expect_no_flaw(&restored).await;
    assert_eq!(restored.store.census().await.unwrap().open, before.open);
    for id in ids {
        assert_eq!(restored.conversation(id).await, used.conversation(id).await);
        assert_eq!(restored.log(id).await, used.log(id).await);
    }
    assert_eq!(restored.store.describe().store_id, used.store.describe().store_id);
    assert_eq!(restored.claim(Lane::Agent, 1).await.claims.len(), 1, "it goes on");
}

#[tokio::test]
async fn nothing_is_overwritten_and_a_try_that_was_broken_off_stands_in_nobodys_way() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let used = bench(folder.path());
    some_of_everything(&used).await;
    let file = other.path().join("copy.db");
    fs::write(&file, "mine").unwrap();
    let refused = backup(folder.path(), &file, &mut |_| {});
    assert!(matches!(refused, Err(BackupError::Exists(_))), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    fs::remove_file(&file).unwrap();
    fs::write(other.path().join("copy.db.part"), "half of something").unwrap();
    backup(folder.path(), &file, &mut |_| {}).unwrap();
    assert_eq!(names(other.path()), ["copy.db"]);
    let nowhere = backup(folder.path(), &other.path().join("no/such/copy.db"), &mut |_| {});
    assert!(matches!(nowhere, Err(BackupError::Target(..))), "{nowhere:?}");
}

#[tokio::test]
async fn of_a_damaged_store_there_is_no_copy_and_of_none_neither() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let file = other.path().join("copy.db");
    let nothing = backup(folder.path(), &file, &mut |_| {});
    assert!(matches!(nothing, Err(BackupError::Source(OpenError::Absent(_)))), "{nothing:?}");
    let used = bench(folder.path());
    some_of_everything(&used).await;
    used.store.close().await.unwrap();
    let kept = folder.path().join("frontdesk.db");
    let connection = rusqlite::Connection::open(&kept).unwrap();
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let page = number("SELECT rootpage FROM sqlite_schema WHERE name = 'requests_by_end'");
    let at = u64::try_from((page - 1) * number("PRAGMA page_size")).unwrap();
    drop(connection);
    fs::File::options().write(true).open(&kept).unwrap().write_all_at(&[7; 64], at).unwrap();
    let refused = backup(folder.path(), &file, &mut |_| {});
    assert!(matches!(refused, Err(BackupError::Damaged(_))), "{refused:?}");
    assert_eq!(names(other.path()), Vec::<String>::new());
}

/// What a daemon that was killed had written last too; and a claim that somebody holds stays theirs.
#[tokio::test]
async fn a_file_is_checked_beside_its_daemon_and_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let missing = SqliteFile::open(folder.path());
    assert!(matches!(missing.err(), Some(OpenError::Absent(_))));
    assert_eq!(names(folder.path()), Vec::<String>::new(), "nothing is made");
    let used = bench(folder.path());
    some_of_everything(&used).await;
    let claim = used.one(Lane::Agent).await;
    let all = async |file: SqliteFile| {
        let (mut events, mut resume) = (0, None);
        loop {
            let looked = file.check(Look { rows: 3, resume }).await.unwrap();
            assert_eq!(looked.flaws, []);
            events += looked.events;
            resume = looked.resume;
            if resume.is_none() {
                return events;
            }
        }
    };
    assert_eq!(all(SqliteFile::open(folder.path()).unwrap()).await, 6);
    used.finish(&claim).await;
    // The files as a kill leaves them: the newest of it in the log of writes.
    let killed = tempfile::tempdir().unwrap();
    for name in ["frontdesk.db", "frontdesk.db-wal"] {
        fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    assert_eq!(all(SqliteFile::open(killed.path()).unwrap()).await, 6);
    assert_eq!(checked(&bench(killed.path()), 10).await.events, 6);
}
