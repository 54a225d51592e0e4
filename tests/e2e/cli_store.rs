//! What the command line does with the store itself: checks it, and copies it.

use std::{fs, time::Duration};

use frontdesk_testkit::daemon::Daemon;
use serde_json::{Value, json};

use crate::{cli::run, world::World};

async fn stop(mut daemon: Daemon) {
    daemon.terminate().unwrap();
    daemon.ended(Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn a_store_is_checked_beside_its_daemon_and_without_one() {
    let world = World::that_echoes().await;
    world.site.write().unwrap();
    let absent = world.cli(&["store", "check"]).await.refused(1);
    assert!(absent.contains("there is no store in the folder"), "{absent}");
    let mut daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.settled(&id, "sent").await;
    let asked = world.cli(&["store", "check"]).await.fine();
    assert!(asked.starts_with("all is well: 1 conversations and "), "{asked}");
    let found = world.cli(&["store", "check", "--json"]).await.json();
    assert_eq!((&found["findings"], &found["conversations"]), (&json!([]), &json!(1)));
    // The newest of it is in the log of writes then.
    daemon.kill().await.unwrap();
    assert_eq!(world.cli(&["store", "check", "--json"]).await.json(), found, "the file says the same");
    world.cli(&["store", "check", "--socket", "nobody.sock"]).await.refused(1);
}

#[tokio::test]
async fn what_a_check_finds_is_listed_and_ends_it_with_1() {
    let world = World::that_echoes().await;
    let daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.settled(&id, "sent").await;
    stop(daemon).await;
    let damage = rusqlite::Connection::open(world.site.data().join("frontdesk.db")).unwrap();
    damage.execute_batch("DELETE FROM parts; DELETE FROM events WHERE seq = 1;").unwrap();
    drop(damage);
    for running in [false, true] {
        let _daemon = if running { Some(world.start().await) } else { None };
        let ended = world.cli(&["store", "check"]).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.out.contains("event 1 is missing") && ended.out.contains(&id), "{ended:?}");
        assert!(ended.out.contains("has no parts") && !ended.out.contains("hello"), "{ended:?}");
        let ended = world.cli(&["store", "check", "--json"]).await;
        assert_eq!((ended.status.code(), ended.err.as_str()), (Some(1), ""));
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(found["findings"][0]["kind"], "log");
        assert_eq!(found["findings"][0]["conversation_id"], id.as_str());
    }
}

#[tokio::test]
async fn a_store_goes_back_to_its_copy() {
    let world = World::that_echoes().await;
    let daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.settled(&id, "sent").await;
    let before = world.get(&format!("/v1/conversations/{id}/messages")).await;
    let said = world.cli(&["backup", "copy.db"]).await.fine();
    assert!(said.starts_with("copy.db: ") && said.ends_with(" bytes, checked\n"), "{said}");
    let refused = world.cli(&["backup", "copy.db"]).await.refused(1);
    assert!(refused.contains("copy.db is there already"), "{refused}");
    let later = world.say("u", "2", "said too late").await;
    world.settled(&later, "sent").await;
    stop(daemon).await;
    let made = world.cli(&["backup", "second.db", "--json"]).await.json();
    assert_eq!(made["bytes"], fs::metadata(world.site.folder().join("second.db")).unwrap().len());

    // As the README says: an empty data folder, the file as frontdesk.db, start.
    fs::remove_dir_all(world.site.data()).unwrap();
    fs::create_dir(world.site.data()).unwrap();
    fs::rename(world.site.folder().join("copy.db"), world.site.data().join("frontdesk.db")).unwrap();
    let _daemon = world.start().await;
    assert_eq!(world.get(&format!("/v1/conversations/{id}/messages")).await, before);
    assert_eq!(world.get("/v1/conversations").await["data"].as_array().unwrap().len(), 1);
    world.cli(&["store", "check"]).await.fine();
    let again = world.say("t", "1", "hello").await;
    assert_eq!(again, id, "what was taken is known");
    world.say("t", "3", "and more").await;
    world.settled(&id, "sent").await;
}

#[tokio::test]
async fn a_redis_is_copied_by_its_own_means() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("channels.toml"), "[store]\nurl = \"redis://127.0.0.1:1/0\"\n").unwrap();
    let said = run(folder.path(), &["backup", "copy.db"]).await.refused(1);
    assert!(said.contains("BGSAVE") && said.contains("appendonly"), "{said}");
    assert!(!folder.path().join("copy.db").exists());
}
