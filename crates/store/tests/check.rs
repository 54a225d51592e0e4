//! What is wrong in a file is found: each test damages a store on purpose.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use std::{fs, os::unix::fs::FileExt as _, path::Path, sync::Arc, time::Duration};

use frontdesk_model::*;
use frontdesk_store::{SqliteOptions, SqliteStore};
use frontdesk_testkit::{
    clock::TestClock,
    store_suite::{
        Bench, LEASE,
        checking::{checked, some_of_everything},
    },
};
use rusqlite::Connection;

fn bench(folder: &Path) -> Bench {
    let clock = TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let options = SqliteOptions { min_free: 0, ..SqliteOptions::default() };
    let store = SqliteStore::open(folder, options, Arc::new(clock.clone())).unwrap();
    Bench::new(Arc::new(store), clock, ())
}

/// What a check says of a store in which somebody did this.
async fn after(damage: &str) -> Vec<(FlawKind, Option<usize>, String)> {
    let folder = tempfile::tempdir().unwrap();
    let first = bench(folder.path());
    let ids = some_of_everything(&first).await;
    first.store.close().await.unwrap();
    Connection::open(folder.path().join("frontdesk.db")).unwrap().execute_batch(damage).unwrap();
    let again = bench(folder.path());
    let found = checked(&again, 1000).await.flaws;
    // In small steps the same.
    assert_eq!(checked(&again, 1).await.flaws.len(), found.len(), "{damage}");
    let place = |id: ConversationId| ids.iter().position(|known| *known == id).unwrap();
    found.into_iter().map(|flaw| (flaw.kind, flaw.conversation.map(place), flaw.what)).collect()
}

/// Each of these, and nothing else, in the first of the conversations or in the one that is named.
async fn finds(damage: &str, expected: &[(FlawKind, Option<usize>, &str)]) {
    let found = after(damage).await;
    let kinds: Vec<_> = found.iter().map(|(kind, place, _)| (*kind, *place)).collect();
    let wanted: Vec<_> = expected.iter().map(|(kind, place, _)| (*kind, *place)).collect();
    assert_eq!(kinds, wanted, "{damage}: {found:?}");
    for ((_, _, what), (_, _, wanted)) in found.iter().zip(expected) {
        assert!(what.contains(wanted), "{damage}: {what}");
        assert!(!what.contains("Where is my order"), "{what}");
    }
}

#[tokio::test]
async fn nothing_is_found_where_nothing_was_done() {
    finds("SELECT 1;", &[]).await;
}

#[tokio::test]
async fn a_log_with_a_gap_or_beyond_its_ends_is_found() {
    use FlawKind::{Lane, Log, Message, Unreadable};
    finds(
        "DELETE FROM events WHERE conversation = 1 AND seq = 2;",
        &[(Log, Some(0), "event 2 is missing"), (Message, Some(0), "leads to an event that is not there")],
    )
    .await;
    finds(
        "UPDATE conversations SET doc = json_set(doc, '$.last_seq', 2) WHERE number = 1;",
        &[
            (Lane, Some(0), "the agent lane stands at 3, and the log ends at 2"),
            (Log, Some(0), "event 3 lies behind the end of the log, 2"),
        ],
    )
    .await;
    finds(
        "UPDATE conversations SET doc = json_set(doc, '$.last_seq', 5) WHERE number = 1;",
        &[(Log, Some(0), "events 4 to 5 are missing")],
    )
    .await;
    finds(
        "UPDATE conversations SET doc = json_set(doc, '$.first_seq', 2) WHERE number = 1;",
        &[
            (Log, Some(0), "the first unanswered message is said to be 1"),
            (Log, Some(0), "event 1 is there, and should not be"),
        ],
    )
    .await;
    finds(
        "UPDATE events SET doc = '{' WHERE conversation = 1 AND seq = 1;",
        &[(Unreadable, Some(0), "event 1 cannot be read")],
    )
    .await;
    finds("UPDATE events SET marks = 0 WHERE conversation = 1 AND seq = 1;", &[(Log, Some(0), "event 1 is marked")])
        .await;
    finds("UPDATE conversations SET doc = '' WHERE number = 4;", &[(Unreadable, Some(3), "cannot be read")]).await;
    for (change, wanted) in [
        ("'$.unanswered_from', 9", "the first unanswered message is said to be 9"),
        ("'$.unanswered_from', NULL, '$.answer_by', '2026-01-05T10:00:00Z'", "nothing waits for an answer"),
        ("'$.batch', json('{\"from\":2,\"through\":9}')", "the agent is to be asked about 2 to 9"),
    ] {
        let damage = format!("UPDATE conversations SET doc = json_set(doc, {change}) WHERE number = 4;");
        let found = after(&damage).await;
        assert!(
            found.iter().any(|(kind, place, what)| { (*kind, *place) == (Log, Some(3)) && what.contains(wanted) }),
            "{damage}: {found:?}"
        );
    }
}

#[tokio::test]
async fn work_that_nobody_would_find_is_found() {
    use FlawKind::{Lane, Schedule};
    let hidden = [(Schedule, Some(0), "the agent lane has work, and nobody will find it")];
    finds("UPDATE conversations SET agent_at = NULL WHERE number = 1;", &hidden).await;
    finds(
        "UPDATE conversations SET agent_at = NULL, agent_head = agent_cursor WHERE number = 1;",
        &[(Schedule, Some(0), "event 3 is for the agent lane, which does not know of it")],
    )
    .await;
    finds(
        "UPDATE conversations SET deliver_at = 7 WHERE number = 1;",
        &[(Schedule, Some(0), "the deliver lane is due, and has no work")],
    )
    .await;
    finds("UPDATE conversations SET agent_tried = 2 WHERE number = 3;", &[(Schedule, Some(2), "nobody looks for")])
        .await;
    finds(
        "UPDATE conversations SET agent_cursor = 9 WHERE number = 1;",
        &[
            (Lane, Some(0), "the agent lane stands at 9, and the log ends at 3"),
            (Lane, Some(0), "the agent lane has work up to 3 and stands behind it, at 9"),
            (Schedule, Some(0), "the agent lane is due, and has no work"),
        ],
    )
    .await;
    finds(
        "UPDATE conversations SET agent_more = '{\"redo\":[{\"seq\":7}]}' WHERE number = 1;",
        &[(Lane, Some(0), "the agent lane is to do 7 once more, which is not in the log")],
    )
    .await;
}

#[tokio::test]
async fn messages_and_parts_that_tell_two_stories_are_found() {
    use FlawKind::{Delivery, Message, Unreadable};
    let of_reply = "(SELECT id FROM messages WHERE status IS NOT NULL)";
    finds(
        "UPDATE parts SET state = '{\"state\":\"intent\"}' WHERE place = 1;",
        &[(Delivery, Some(0), "counts as sent, and a part of it was not sent")],
    )
    .await;
    finds("DELETE FROM parts;", &[(Delivery, Some(0), "was on its way and has no parts")]).await;
    finds("DELETE FROM parts WHERE place = 0;", &[(Delivery, Some(0), "is missing")]).await;
    for (status, wanted) in [
        ("failed", "counts as failed, and a part of it is out"),
        ("uncertain", "counts as uncertain, and it is known"),
        ("discarded", "was discarded and has parts"),
    ] {
        let damage = format!("UPDATE messages SET status = '{status}' WHERE status IS NOT NULL;");
        finds(&damage, &[(Delivery, Some(0), wanted)]).await;
    }
    finds(
        "UPDATE messages SET status = 'flown' WHERE status IS NOT NULL;",
        &[(Unreadable, Some(0), "what became of event 2 cannot be read")],
    )
    .await;
    finds(
        "UPDATE messages SET status = NULL WHERE status IS NOT NULL;",
        &[
            (Delivery, Some(0), "it is not known what became of it"),
            (Delivery, Some(0), "which is no message to be sent"),
        ],
    )
    .await;
    finds(
        &format!("DELETE FROM messages WHERE id = {of_reply};"),
        &[
            (Message, Some(0), "the message of event 2 is not found by its id"),
            (Delivery, None, "which is no message to be sent"),
        ],
    )
    .await;
    finds(
        &format!("UPDATE messages SET seq = 1 WHERE id = {of_reply};"),
        &[(Message, Some(0), "found somewhere else"), (Message, Some(0), "does not bring it")],
    )
    .await;
}

#[tokio::test]
async fn what_leads_nowhere_is_found() {
    use FlawKind::{DeadLetter, Known, Participant};
    finds("DELETE FROM dedupe WHERE conversation = 2;", &[(Known, Some(1), "would not be known if it came again")])
        .await;
    finds(
        "INSERT INTO dedupe (key, conversation, message) VALUES (x'00000000000000000000000000000009', 2, x'01');",
        &[(FlawKind::Unreadable, None, "cannot be read")],
    )
    .await;
    finds(
        "INSERT INTO dedupe (key, conversation, message) SELECT randomblob(16), 2, randomblob(16);",
        &[(Known, Some(1), "counts as taken, and is not there")],
    )
    .await;
    finds("UPDATE dedupe SET until = 7 WHERE conversation = 2;", &[(Known, Some(1), "neither for now nor for ever")])
        .await;
    finds("DELETE FROM participants WHERE conversation = 2;", &[(Participant, Some(1), "and is not listed for it")])
        .await;
    finds(
        "INSERT INTO participants (contact, conversation) SELECT randomblob(16), 2;",
        &[(Participant, Some(1), "and takes no part in it")],
    )
    .await;
    finds(
        "INSERT INTO participants (contact, conversation) SELECT randomblob(16), 99;",
        &[(Participant, None, "a conversation that is not there (number 99)")],
    )
    .await;
    finds(
        "DELETE FROM contacts;",
        &[0, 1, 2, 3].map(|place| (Participant, Some(place), "takes part in it, and is not known")),
    )
    .await;
    finds(
        "DELETE FROM dead_letters;",
        &[(DeadLetter, Some(1), "attention is asked for a dead letter, and it has none")],
    )
    .await;
    finds(
        "UPDATE dead_letters SET conversation = 99;",
        &[
            (DeadLetter, Some(1), "attention is asked for a dead letter, and it has none"),
            (DeadLetter, None, "leads to a conversation that is not there"),
        ],
    )
    .await;
    finds(
        "UPDATE dead_letters SET doc = json_set(doc, '$.seq', 7);",
        &[(DeadLetter, Some(1), "leads to an event that is not there")],
    )
    .await;
    finds(
        "INSERT INTO events (conversation, seq, marks, at, doc) VALUES (99, 1, 0, 0, '{}');",
        &[(FlawKind::Log, None, "there are events of a conversation that is not there (number 99)")],
    )
    .await;
}

#[tokio::test]
async fn what_lists_threads_and_timers_show_wrongly_is_found() {
    use FlawKind::{List, Thread};
    finds("UPDATE conversations SET thread = 'order-7' WHERE number = 1;", &[(Thread, Some(0), "another thread")])
        .await;
    for column in ["shelf", "updated_at"] {
        let damage = format!("UPDATE conversations SET {column} = {column} + 1 WHERE number = 1;");
        finds(&damage, &[(List, Some(0), "lists show it")]).await;
    }
    for column in ["channel", "assignee"] {
        let damage = format!("UPDATE conversations SET {column} = 'other' WHERE number = 1;");
        finds(&damage, &[(List, Some(0), "lists show it")]).await;
    }
    finds("UPDATE conversations SET timer_at = NULL WHERE number = 3;", &[(List, Some(2), "another moment")]).await;
}

/// By SQLite itself.
#[tokio::test]
async fn a_damaged_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let first = bench(folder.path());
    some_of_everything(&first).await;
    first.store.close().await.unwrap();
    let file = folder.path().join("frontdesk.db");
    let connection = Connection::open(&file).unwrap();
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let page = number("SELECT rootpage FROM sqlite_schema WHERE name = 'requests_by_end'");
    let at = u64::try_from((page - 1) * number("PRAGMA page_size")).unwrap();
    drop(connection);
    fs::File::options().write(true).open(&file).unwrap().write_all_at(&[7; 64], at).unwrap();
    let again = bench(folder.path());
    let found = checked(&again, 1000).await.flaws;
    let [flaw] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((flaw.kind, flaw.conversation), (FlawKind::File, None));
    assert!(flaw.what.contains(&format!("page {page}")), "{}", flaw.what);
}

#[tokio::test]
async fn a_claim_that_does_not_end_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path());
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    bench.store.renew(claim.id, Duration::from_secs(90_000)).await.unwrap();
    let found = checked(&bench, 10).await.flaws;
    let [flaw] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((flaw.kind, flaw.conversation), (FlawKind::Claim, Some(id)));
    bench.store.renew(claim.id, LEASE).await.unwrap();
    assert_eq!(checked(&bench, 10).await.flaws, []);
}
