//! The store's folder: one daemon at a time, and a copy at any moment holds everything acknowledged.

use std::{path::Path, sync::Arc, time::Duration};

use frontdesk_testkit::{daemon::Site, far_end::FarEnd};
use tokio::task::JoinSet;

use crate::world::{World, client, echo, sections, takes, text_of_delivery};

#[tokio::test]
async fn a_second_daemon_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let world = World::that_echoes().await;
    let mut first = world.start().await;
    world.say("t", "1", "before").await;
    let other = Site::at(env!("CARGO_BIN_EXE_frontdesk"), world.site.folder()).unwrap().with(&sections(
        &world.agent.url(),
        &world.shop.url(),
        "",
    ));
    let mut second = other.launch().unwrap();
    let status = second.ended(Duration::from_secs(20)).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let said = second.said();
    assert!(said.contains("in use by another daemon"), "{said}");
    assert!(said.contains(world.site.folder().to_str().unwrap()), "names the folder: {said}");

    first.ready().await.unwrap();
    world.say("t", "2", "after").await;
    let delivered = world.shop.wait_for(2).await;
    assert_eq!(delivered.iter().map(text_of_delivery).collect::<Vec<_>>(), ["re: before", "re: after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_folder_at_any_moment_holds_every_acknowledged_message() {
    let world = Arc::new(World::that_echoes().await);
    let daemon = world.start().await;
    let (report, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let mut writers = JoinSet::new();
    for thread in 0..8 {
        let (world, report) = (Arc::clone(&world), report.clone());
        writers.spawn(async move {
            for number in 0..12 {
                let words = format!("word {thread}-{number}");
                let conversation = world.say(&format!("t{thread}"), &number.to_string(), &words).await;
                report.send((conversation, words)).unwrap();
            }
        });
    }
    drop(report);
    let mut before = Vec::new();
    while before.len() < 30 {
        before.push(acknowledged.recv().await.unwrap());
    }
    // It stands still in the middle of its work: transactions, log and index are as a power cut would find them.
    daemon.freeze().await.unwrap();
    while let Ok(one) = acknowledged.try_recv() {
        before.push(one);
    }
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&world.site.data(), &copy.path().join("data"));
    daemon.thaw().unwrap();
    writers.join_all().await;

    let (agent, shop) = (FarEnd::start(echo).await, FarEnd::start(takes).await);
    let site = Site::at(env!("CARGO_BIN_EXE_frontdesk"), copy.path()).unwrap();
    let site = site.with(&sections(&agent.url(), &shop.url(), ""));
    let restored = World { site, agent, shop, http: client() };
    let _second = restored.start().await;
    for (conversation, words) in before {
        let messages = restored.messages(&conversation).await;
        assert!(messages.iter().any(|one| one["text"] == words.as_str()), "{words} is missing in the copy");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            // The control socket holds nothing.
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
