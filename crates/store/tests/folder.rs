//! What the folder promises: who may open it, what reopening keeps, and the forms in which everything is stored.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use frontdesk_model::*;
use frontdesk_store::{Durability, OpenError, SqliteOptions, SqliteStore};
use frontdesk_testkit::{
    clock::TestClock,
    store_suite::{self, Bench, LEASE},
};
use rusqlite::Connection;

fn clock() -> TestClock {
    TestClock::new("2026-01-05T10:00:00Z".parse().unwrap())
}

fn options() -> SqliteOptions {
    SqliteOptions { min_free: 0, ..SqliteOptions::default() }
}

fn open(folder: &Path, clock: &TestClock) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(folder, options(), Arc::new(clock.clone()))
}

fn bench(folder: &Path, clock: &TestClock) -> Bench {
    Bench::new(Arc::new(open(folder, clock).unwrap()), clock.clone(), ())
}

/// The error of an opening that must not succeed, as an operator reads it.
fn mistake(opened: Result<SqliteStore, OpenError>) -> String {
    opened.err().unwrap().to_string()
}

#[tokio::test]
async fn reopening_keeps_everything_and_voids_leases() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let first = bench(folder.path(), &clock);
    let (id, _) = first.say("order-77").await;
    let message = first.queue_reply(id).await;
    let agent = first.one(Lane::Agent).await;
    let deliver = first.one(Lane::Deliver).await;
    let frozen = vec![FrozenPart(serde_json::json!({"text": "one"}))];
    first.settle(&deliver, vec![Effect::Freeze { message, parts: frozen }], Then::Keep).await;
    let intent = Effect::SetPart { message, index: 0, state: PartState::Intent };
    first.settle(&deliver, vec![intent], Then::Keep).await;
    let (parked, _) = first.say("parked").await;
    let waits = first.one(Lane::Agent).await;
    first.park(&waits, Duration::from_secs(60), Some(Waiting::Agent), 2).await;
    first.say("dead").await;
    let letter = first.bury(&first.one(Lane::Agent).await).await;
    let key = MasterKey { id: "k0000001".into(), key: Secret::new([7; 32]) };
    let key = first.store.master_key(key).await.unwrap();
    let keep = Duration::from_secs(60);
    let once = Some(Once { key: [1; 32], fingerprint: [1; 32], answer: "noted".into(), keep });
    let append = Append { once, ..first.appending(id, vec![], vec![first.note()]) };
    first.store.append(append.clone()).await.unwrap();
    let before = (first.conversation(id).await, first.log(id).await, first.store.describe());
    first.store.close().await.unwrap();
    drop(first);

    let again = bench(folder.path(), &clock);
    assert_eq!((again.conversation(id).await, again.log(id).await, again.store.describe()), before);
    let repeated = again.store.append(append).await.unwrap();
    assert!(matches!(repeated, Applied::Repeated { answer, .. } if answer == "noted"));
    let other = MasterKey { id: "k0000002".into(), key: Secret::new([8; 32]) };
    assert_eq!(again.store.master_key(other).await.unwrap(), key);
    assert_eq!(again.store.dead_letter(letter.id).await.unwrap(), Some(letter));
    for old in [&agent, &deliver] {
        assert_eq!(again.settle(old, Vec::new(), Then::Advance).await, Applied::LeaseLost);
        assert_eq!(again.store.renew(old.id, LEASE).await.unwrap(), Held::Gone);
    }
    let claimed = again.claim(Lane::Agent, 10).await;
    assert_eq!(claimed.claims.iter().map(|claim| claim.conversation.id).collect::<Vec<_>>(), [id]);
    assert_eq!(claimed.next_due, Some(clock.now().plus(Duration::from_secs(60))));
    let delivery = again.one(Lane::Deliver).await.delivery.unwrap();
    assert_eq!(delivery.parts[0].state, PartState::Intent);
    assert_eq!(again.store.wake(Waiting::Agent).await.unwrap(), 1);
    let woken = again.one(Lane::Agent).await;
    assert_eq!((woken.conversation.id, woken.progress.attempts), (parked, 2));
}

#[tokio::test]
async fn a_second_daemon_on_the_folder_is_refused_and_told_why() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let first = open(folder.path(), &clock).unwrap();
    let refused = open(folder.path(), &clock);
    assert!(matches!(refused, Err(OpenError::InUse(_))));
    let sentence = mistake(refused);
    assert!(sentence.contains(&folder.path().display().to_string()), "{sentence}");
    assert!(sentence.contains("in use by another daemon") && sentence.contains("stop that one"), "{sentence}");
    // Closing is enough, though the value still lives; so is dropping without closing.
    first.close().await.unwrap();
    drop(open(folder.path(), &clock).unwrap());
    open(folder.path(), &clock).unwrap();
}

#[tokio::test]
async fn dropping_the_store_finishes_what_was_handed_in() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let first = bench(folder.path(), &clock);
    let inbound = first.inbound(&frontdesk_testkit::store_suite::thread("order-77"));
    let message = inbound.message;
    let mut call = Box::pin(first.store.commit_inbound(inbound));
    // Handed in, and given up on before the answer.
    let _ = tokio::time::timeout(Duration::ZERO, &mut call).await;
    drop(call);
    drop(first);
    let again = bench(folder.path(), &clock);
    assert!(again.store.message(message).await.unwrap().is_some());
}

#[test]
fn a_new_folder_is_for_its_owner_only() {
    let outside = tempfile::tempdir().unwrap();
    let made = outside.path().join("a/data");
    let _store = open(&made, &clock()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&made), 0o700);
    for entry in fs::read_dir(&made).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named_with_the_mend() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "in the way").unwrap();
    let wanted = outside.path().join("file/data");
    let sentence = mistake(open(&wanted, &clock()));
    assert!(sentence.contains(&wanted.display().to_string()) && sentence.contains("[store] url"), "{sentence}");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frontdesk.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    let opened = open(folder.path(), &clock());
    assert!(matches!(opened, Err(OpenError::Foreign(_))), "{}", mistake(opened));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_of_a_newer_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), &clock()).unwrap());
    let path = folder.path().join("frontdesk.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let sentence = mistake(open(folder.path(), &clock()));
    assert!(sentence.contains("newer Frontdesk (format 99)"), "{sentence}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_of_an_earlier_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), &clock()).unwrap());
    let path = folder.path().join("frontdesk.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
    let before = fs::read(&path).unwrap();
    let sentence = mistake(open(folder.path(), &clock()));
    assert!(sentence.contains("earlier Frontdesk (format 1)") && sentence.contains("[store] url"), "{sentence}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_file_is_named_with_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), &clock()).unwrap());
    let path = folder.path().join("frontdesk.db");
    fs::write(&path, vec![0x55; 8192]).unwrap();
    let sentence = mistake(open(folder.path(), &clock()));
    assert!(sentence.contains(&path.display().to_string()) && sentence.contains("restore"), "{sentence}");
}

#[test]
fn what_a_power_cut_can_lose_is_stated() {
    let folder = tempfile::tempdir().unwrap();
    let describe = |durability| {
        let options = SqliteOptions { durability, ..options() };
        SqliteStore::open(folder.path(), options, Arc::new(clock())).unwrap().describe()
    };
    let strict = describe(Durability::Strict);
    let relaxed = describe(Durability::Relaxed);
    assert_eq!(strict.name, format!("SQLite in {} (strict)", folder.path().display()));
    assert_eq!(strict.durability, "a power cut loses nothing that was acknowledged");
    assert!(relaxed.name.ends_with("(relaxed)") && relaxed.durability.contains("can lose"), "{relaxed:?}");
    assert_eq!(strict.store_id, relaxed.store_id);
    assert_eq!(strict.store_id.len(), 32);
}

/// A change of the tables or of a stored form is a change of format: it shows here, and asks for a new version number.
#[tokio::test]
async fn everything_is_stored_in_these_forms() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let first = bench(folder.path(), &clock);
    let (id, _) = first.say("order-77").await;
    let letter = first.bury(&first.one(Lane::Agent).await).await;
    first.say("order-77").await;
    let next = first.one(Lane::Agent).await;
    first.requeue(&letter, DeadLetterEnd::Replay).await;
    first.park(&next, Duration::from_secs(60), Some(Waiting::Agent), 2).await;
    let message = first.queue_reply(id).await;
    let frozen = vec![FrozenPart(serde_json::json!({"text": "one"}))];
    let sent = PartState::Sent { external_id: Some("77".into()) };
    let effects = vec![Effect::Freeze { message, parts: frozen }, Effect::SetPart { message, index: 0, state: sent }];
    first.apply(id, effects).await;
    let keep = Duration::from_secs(86_400);
    let once = Some(Once { key: [1; 32], fingerprint: [2; 32], answer: "msg_1 queued".into(), keep });
    let waits = vec![
        Effect::SetAssignee(Some("Mia".into())),
        Effect::SetSnooze(Some(clock.now().plus(keep))),
        Effect::SetAnswerBy(Some(clock.now().plus(2 * keep))),
        Effect::NoteAnswered(clock.now()),
        Effect::SetBatch(Some(Batch { from: Seq(1), through: Seq(2) })),
    ];
    first.store.append(Append { once, ..first.appending(id, vec![], waits) }).await.unwrap();
    first.say("dead").await;
    first.bury(&first.one(Lane::Agent).await).await;
    first.store.close().await.unwrap();

    let file = Connection::open(folder.path().join("frontdesk.db")).unwrap();
    let mut shown = String::new();
    for pragma in ["application_id", "user_version", "journal_mode"] {
        let value = file.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, rusqlite::types::Value>(0));
        shown.push_str(&format!("{pragma}: {:?}\n", value.unwrap()));
    }
    let texts = |query: &str| {
        let mut statement = file.prepare(query).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    shown.push_str(&texts("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").join("\n\n"));
    let rows = [
        (
            "conversations",
            "number || ' ' || kind || ' ' || account || ' ' || thread || ' ' || channel || ' ' || shelf || ' ' ||
             coalesce(assignee, '-') || ' ' || coalesce(timer_at, '-') || ' ' || updated_at || ' agent: ' ||
             agent_cursor || ' ' || agent_head || ' ' || coalesce(agent_at, '-') || ' ' || agent_tried || ' ' ||
             coalesce(agent_waiting, '-') || ' ' || coalesce(agent_more, '-') || ' deliver: ' || deliver_cursor || ' '
             || deliver_head || ' ' || coalesce(deliver_at, '-') || ' ' || deliver_tried || ' ' ||
             coalesce(deliver_waiting, '-') || ' ' || coalesce(deliver_more, '-') || ' ' || doc",
        ),
        ("participants", "length(contact) || ' ' || conversation"),
        ("events", "position || ' ' || conversation || ' ' || seq || ' ' || marks || ' ' || at || ' ' || doc"),
        ("messages", "length(id) || ' ' || conversation || ' ' || seq || ' ' || coalesce(status, '-')"),
        ("parts", "place || ' ' || frozen || ' ' || state"),
        ("dead_letters", "doc"),
        ("contacts", "doc"),
        ("dedupe", "length(key) || ' ' || conversation || ' ' || length(message)"),
        ("requests", "length(key) || ' ' || length(fingerprint) || ' ' || until || ' ' || version || ' ' || answer"),
        ("meta", "name || ' ' || typeof(value) || ' ' || length(value)"),
    ];
    for (table, columns) in rows {
        shown.push_str(&format!("\n\n== {table}\n{}", texts(&format!("SELECT {columns} FROM {table}")).join("\n")));
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn what_is_erased_stands_in_no_file_any_more() {
    const SAID: &[u8] = b"my card is 4111 1111";
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let bench = bench(folder.path(), &clock);
    let mut inbound = bench.inbound(&store_suite::thread("order-77"));
    for effect in &mut inbound.effects {
        if let Effect::Append { body: EventBody::MessageCreated { message }, .. } = effect {
            message.content = Content::Text(String::from_utf8(SAID.to_vec()).unwrap());
        }
    }
    bench.store.commit_inbound(inbound).await.unwrap();
    let holds = || {
        let files = fs::read_dir(folder.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(SAID.len()).any(|window| window == SAID))
    };
    assert!(holds());
    let contact = store_suite::contact(1).id;
    let step = Erase { contact, known_for_millis: 0, events: 10 };
    while bench.keeping().erase(step).await.unwrap() == Erased::More {}
    bench.store.close().await.unwrap();
    assert!(!holds());
}
