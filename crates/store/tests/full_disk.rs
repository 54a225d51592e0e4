//! A disk without room: nothing new comes in, what is in flight is finished, and all goes on once there is room.
//!
//! The full disk is a real one, small and in memory. To mount it the test needs to be root, or to be allowed a user
//! namespace of its own (`unshare -rm`), in which it runs itself again. With neither it fails: it never passes unrun.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use frontdesk_model::*;
use frontdesk_store::{SqliteOptions, SqliteStore};
use frontdesk_testkit::{
    clock::TestClock,
    store_suite::{Bench, LEASE, said, thread},
};

const INSIDE: &str = "FRONTDESK_TEST_IN_NAMESPACE";

/// A mounted file system of so many bytes, unmounted at the end.
struct SmallDisk {
    folder: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`: mounting is not allowed here.
    fn mount(megabytes: u64) -> Option<Self> {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("disk");
        fs::create_dir(&folder).unwrap();
        let size = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "frontdesk-test"]).arg(&folder).output();
        mounted.is_ok_and(|done| done.status.success()).then_some(Self { folder, _parent: parent })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Not a byte is left.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for block in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![1; block]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// Runs the test on a small disk, here or in a namespace of its own.
fn on_a_small_disk<F: Future<Output = ()>>(name: &str, megabytes: u64, test: impl FnOnce(SmallDisk) -> F) {
    if let Some(disk) = SmallDisk::mount(megabytes) {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test(disk));
        return;
    }
    assert!(std::env::var_os(INSIDE).is_none(), "no small disk can be mounted, not even in a user namespace");
    let again = Command::new("unshare")
        .args(["--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(again.success(), "failed in a user namespace; run the tests as root if this machine allows none");
}

fn open(folder: &Path, clock: &TestClock, options: SqliteOptions) -> Bench {
    let store = SqliteStore::open(folder, options, Arc::new(clock.clone())).unwrap();
    Bench::new(Arc::new(store), clock.clone(), ())
}

fn clock() -> TestClock {
    TestClock::new("2026-01-05T10:00:00Z".parse().unwrap())
}

const SMALL: SqliteOptions =
    SqliteOptions { min_free: 0, reserve: 4 << 20, durability: frontdesk_store::Durability::Strict };

/// A message of some size, so that the log of writes soon needs room.
async fn say_much(bench: &Bench) -> Result<Committed, StoreError> {
    let mut inbound = bench.inbound(&thread("order-77"));
    let content = Content::Text("x".repeat(50_000));
    let message = Message { content, ..said(inbound.message, Direction::Inbound) };
    inbound.effects = vec![bench.event(message, Vec::new(), None)];
    bench.store.commit_inbound(inbound).await
}

/// The store looks at the disk once a second.
async fn until_room(bench: &Bench, wanted: fn(&Room) -> bool) {
    let start = Instant::now();
    while !wanted(&bench.store.room()) {
        assert!(start.elapsed() < Duration::from_secs(20), "still {:?}", bench.store.room());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn on_a_full_disk_nothing_new_comes_in_and_what_is_in_flight_is_settled() {
    let name = "on_a_full_disk_nothing_new_comes_in_and_what_is_in_flight_is_settled";
    on_a_small_disk(name, 24, |disk| async move {
        let bench = open(&disk.data(), &clock(), SMALL);
        let mut flights = Vec::new();
        for number in 0..40 {
            bench.say(&format!("flight-{number}")).await;
            flights.push(bench.one(Lane::Agent).await);
        }
        let released = flights.pop().unwrap();
        let (again, _) = bench.say("again").await;
        let effects = vec![bench.note()];
        let append = bench.appending(again, vec![], effects);
        let answer = bench.store.append(append.clone()).await.unwrap();
        let known = bench.inbound(&thread("again"));
        bench.store.commit_inbound(known.clone()).await.unwrap();
        disk.fill();
        let mut taken = 0;
        let refused = loop {
            match say_much(&bench).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
            assert!(taken < 1000, "the disk is never full");
        };
        assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
        assert!(matches!(bench.store.room(), Room::Low(_)));
        let new = bench.appending(again, vec![], vec![bench.note()]);
        assert!(matches!(bench.store.append(new).await, Err(StoreError::Full(_))));
        // What has run already is not said to have been refused.
        assert_eq!(bench.store.append(append).await.unwrap(), answer);
        assert!(matches!(bench.store.commit_inbound(known).await.unwrap(), Committed::Duplicate { .. }));
        let mut settled = Vec::new();
        for claim in &flights {
            let (reply, effect) = bench.reply();
            let applied = bench.settle(claim, vec![effect], Then::Advance).await;
            assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
            settled.push(reply);
        }
        assert_eq!(bench.park(&released, Duration::ZERO, None, 1).await, Held::Yes);
        // The measurement grows old; the room made for settling is still not given to new work.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let still = say_much(&bench).await;
        assert!(matches!(still, Err(StoreError::Full(_))), "{still:?}");
        fs::remove_file(disk.ballast()).unwrap();
        until_room(&bench, |room| *room == Room::Enough).await;
        assert_eq!(fs::metadata(disk.data().join("reserve")).unwrap().len(), SMALL.reserve);
        say_much(&bench).await.unwrap();
        for reply in settled {
            assert!(bench.store.message(reply).await.unwrap().is_some());
        }
        bench.store.close().await.unwrap();
    });
}

#[test]
fn a_store_on_a_full_disk_opens_and_finishes_what_it_has() {
    on_a_small_disk("a_store_on_a_full_disk_opens_and_finishes_what_it_has", 24, |disk| async move {
        let first = open(&disk.data(), &clock(), SMALL);
        first.say("order-77").await;
        first.store.close().await.unwrap();
        drop(first);
        disk.fill();
        let again = open(&disk.data(), &clock(), SMALL);
        assert!(again.one(Lane::Agent).await.event.seq == Seq(1));
        let claim = {
            again.clock.advance(frontdesk_testkit::store_suite::LEASE);
            again.one(Lane::Agent).await
        };
        let applied = again.settle(&claim, vec![again.reply().1], Then::Advance).await;
        assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
    });
}

/// However often: what a start takes is kept aside from all who settle, and kept aside anew when the files are closed.
#[test]
fn a_full_disk_is_opened_again_and_again() {
    on_a_small_disk("a_full_disk_is_opened_again_and_again", 24, |disk| async move {
        let options = SqliteOptions { min_free: 1 << 20, ..SMALL };
        let first = open(&disk.data(), &clock(), options);
        let key = MasterKey { id: "k0000001".into(), key: Secret::new([7; 32]) };
        first.store.master_key(key.clone()).await.unwrap();
        first.say("order-77").await;
        let hour = Duration::from_secs(3600);
        first.park(&first.one(Lane::Agent).await, hour, None, 1).await;
        first.store.close().await.unwrap();
        drop(first);
        for _ in 0..20 {
            disk.fill();
            let again = open(&disk.data(), &clock(), options);
            let other = MasterKey { id: "k0000002".into(), key: Secret::new([8; 32]) };
            assert_eq!(again.store.master_key(other).await.unwrap(), key);
            assert!(matches!(again.store.room(), Room::Low(_)));
            disk.fill();
            // Nothing can be written now; everything can be read.
            let (operation, lane) = (again.operation(), Lane::Agent);
            let request = ClaimRequest { operation, lane, limit: 1, lease: LEASE, order: ClaimOrder::LongestDue };
            let claims = again.store.claim(request).await.unwrap();
            assert!(claims.claims.len() + usize::from(claims.next_due.is_some()) > 0);
            assert_eq!(again.store.census().await.unwrap().open, 1);
            again.store.close().await.unwrap();
        }
    });
}

/// As `kill -9` leaves it: with the log of writes, and without a reserve.
#[test]
fn a_full_disk_is_opened_after_a_crash() {
    on_a_small_disk("a_full_disk_is_opened_after_a_crash", 24, |disk| async move {
        let before = open(&disk.data(), &clock(), SMALL);
        let (id, _) = before.say("order-77").await;
        let crashed = disk.data().with_file_name("crashed");
        fs::create_dir(&crashed).unwrap();
        for entry in fs::read_dir(disk.data()).unwrap().map(Result::unwrap) {
            if !["lock", "reserve"].iter().any(|name| entry.file_name() == *name) {
                fs::copy(entry.path(), crashed.join(entry.file_name())).unwrap();
            }
        }
        File::create(crashed.join("lock")).unwrap();
        disk.fill();
        let after = open(&crashed, &clock(), SMALL);
        assert_eq!(after.log(id).await.len(), 1);
        assert_eq!(after.one(Lane::Agent).await.event.seq, Seq(1));
    });
}

#[test]
fn a_disk_too_full_to_open_is_named_with_the_mend() {
    on_a_small_disk("a_disk_too_full_to_open_is_named_with_the_mend", 24, |disk| async move {
        let without = SqliteOptions { reserve: 0, ..SMALL };
        let first = open(&disk.data(), &clock(), without);
        first.say("order-77").await;
        first.store.close().await.unwrap();
        drop(first);
        disk.fill();
        let sentence = SqliteStore::open(&disk.data(), without, Arc::new(clock())).err().unwrap().to_string();
        assert!(sentence.contains(&disk.data().display().to_string()), "{sentence}");
        assert!(sentence.contains("is full") && sentence.contains("make room"), "{sentence}");
        fs::remove_file(disk.ballast()).unwrap();
        open(&disk.data(), &clock(), without);
    });
}

#[tokio::test]
async fn under_the_floor_new_work_is_refused_and_work_in_flight_goes_on() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let roomy = SqliteOptions { min_free: 0, ..SqliteOptions::default() };
    let first = open(folder.path(), &clock, roomy);
    let (id, _) = first.say("order-77").await;
    first.store.close().await.unwrap();
    // Ids carry their moment: those of the second bench must not meet those of the first.
    clock.advance(Duration::from_secs(1));
    let floor = SqliteOptions { min_free: u64::MAX, ..roomy };
    let bench = open(folder.path(), &clock, floor);
    let Room::Low(why) = bench.store.room() else { panic!() };
    assert!(why.contains("MB free") && why.contains("min_free"), "{why}");
    let refused = bench.store.commit_inbound(bench.inbound(&thread("order-77"))).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    let append = bench.appending(id, Vec::new(), vec![bench.note()]);
    assert!(matches!(bench.store.append(append).await, Err(StoreError::Full(_))));
    assert_eq!(bench.log(id).await.len(), 1);
    let claim = bench.one(Lane::Agent).await;
    let applied = bench.settle(&claim, vec![bench.reply().1], Then::Advance).await;
    assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
    let deliver = bench.one(Lane::Deliver).await;
    assert_eq!(bench.park(&deliver, Duration::ZERO, None, 1).await, Held::Yes);
}
