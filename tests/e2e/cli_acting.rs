//! What the command line does: it says things, changes conversations, and goes on after a stop.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    cli::{run, run_with},
    world::{World, echo, takes, text_of_delivery},
};

#[tokio::test]
async fn what_is_sent_goes_out_in_the_operators_name_and_the_desk_has_the_conversation() {
    let world = World::of(FarEnd::start(|_| Reply::status(204)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    let out = world.cli(&["send", &id, "It ships today."]).await.fine();
    assert!(out.starts_with("queued as msg_") && out.contains(&format!(" in {id}, version 2\n")), "{out}");
    assert!(out.ends_with(&format!("frontdesk conversations hand-back {id}\n")), "{out}");
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "It ships today.");
    let message = world.settled(&id, "sent").await;
    assert_eq!(message["author"], json!({ "kind": "teammate", "name": "operator" }));
    assert_eq!(world.get(&format!("/v1/conversations/{id}")).await["owner"], "desk");

    let piped = run_with(world.site.folder(), &["send", &id, "--markdown", "-", "--json"], "**Two**\n\nlines\n").await;
    assert_eq!(piped.json()["conversation_id"], id.as_str());
    world.shop.wait_for(2).await;
    let newest = world.settled(&id, "sent").await;
    assert_eq!((&newest["markdown"], &newest["text"]), (&json!("**Two**\n\nlines"), &newest["text"]));

    let contact = world.messages(&id).await[0]["author"]["id"].as_str().unwrap().to_owned();
    let out = world.cli(&["send", &contact, "And more."]).await.fine();
    assert!(out.contains(&format!(" in {id}, ")), "names the conversation: {out}");
    assert_eq!(text_of_delivery(&world.shop.wait_for(3).await[2]), "And more.");
}

#[tokio::test]
async fn what_the_channel_cannot_show_is_told_to_who_wrote_it_and_harms_nobody() {
    let world = World::of(FarEnd::start(|_| Reply::status(204)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    let arguments = ["send", &id, "--markdown", "-", "--json"];
    let said = run_with(world.site.folder(), &arguments, "It [ships](javascript:x) <b>**today**</b>.\n").await.json();
    assert_eq!(said["messages"][0]["degraded"], json!(["links"]));
    let delivered: Value = serde_json::from_slice(&world.shop.wait_for(1).await[0].body).unwrap();
    let message = &delivered["data"]["message"];
    assert_eq!(message["html"], "<p>It ships &lt;b&gt;<b>today</b>&lt;/b&gt;.</p>");
    assert_eq!(message["text"], "It ships <b>today</b>.");
    let arguments = ["send", &id, "--markdown", "-", "--private", "--json"];
    let note = run_with(world.site.folder(), &arguments, "It [ships](javascript:x).\n").await.json();
    assert_eq!(note["messages"][0]["degraded"], json!([]), "a note is shown by no channel");
}

#[tokio::test]
async fn a_note_is_no_message_and_changes_nothing() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.settled(&id, "sent").await;
    let before = world.get(&format!("/v1/conversations/{id}")).await;
    let out = world.cli(&["send", &id, "--private", "Called her."]).await.fine();
    assert!(out.starts_with("noted as msg_") && out.lines().count() == 1, "{out}");
    let after = world.get(&format!("/v1/conversations/{id}")).await;
    assert_eq!((&after["owner"], &after["version"]), (&before["owner"], &before["version"]));
    assert_eq!(world.shop.count(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_the_reason() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.settled(&id, "sent").await;
    let said = world.cli(&["send", &id, "--if-version", "7", "Too late."]).await.refused(1);
    let words = "frontdesk: the conversation is at version 1, and not at the one named\n  mend: read what is new, then";
    assert!(said.starts_with(words) && !said.contains("if_version"), "{said}");
    let said = world.cli(&["send", &id, "--if-version", "7", "Too late.", "--json"]).await.refused(1);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["type"], "version-conflict", "{said}");
    for text in ["", "  \n", "-"] {
        let said = world.cli(&["send", &id, text]).await.refused(2);
        assert!(said.contains("there is nothing to say"), "{said}");
    }
    let said = world.cli(&["send", "cnt_00000000000000000000000000", "Hello?"]).await.refused(1);
    assert!(said.contains("there is no contact"), "{said}");
    assert_eq!(world.shop.count(), 1);
}

/// A daemon that breaks off in the middle once: nobody knows whether the first request counted.
#[tokio::test]
async fn a_reply_whose_answer_was_lost_is_sent_again_under_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, first) = (Arc::clone(&heads), AtomicBool::new(true));
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            let mut piece = [0; 4096];
            while !request.ends_with("}]}") {
                let read = stream.read(&mut piece).await.unwrap();
                request.push_str(std::str::from_utf8(&piece[..read]).unwrap());
            }
            seen.lock().unwrap().push(request);
            if first.swap(false, Ordering::SeqCst) {
                continue;
            }
            let body = r#"{"version":2,"messages":[{"id":"msg_1","status":"queued","degraded":["buttons"]}]}"#;
            let answer = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let id = "cnv_00000000000000000000000000";
    let out = run(folder.path(), &["send", "--socket", path.to_str().unwrap(), id, "Once."]).await.fine();
    assert!(
        out.starts_with(
            "queued as msg_1 in cnv_00000000000000000000000000, version 2 (the channel cannot show: buttons)\n"
        ),
        "{out}"
    );
    let heads = heads.lock().unwrap().clone();
    let key = |head: &String| {
        let line = head.lines().find(|line| line.starts_with("idempotency-key: ")).expect("a key");
        line.to_owned()
    };
    assert_eq!(heads.len(), 2);
    assert_eq!(key(&heads[0]), key(&heads[1]));
    server.abort();
}

#[tokio::test]
async fn a_conversation_is_taken_assigned_put_to_sleep_resolved_and_handed_back() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.settled(&id, "sent").await;
    let path = format!("/v1/conversations/{id}");
    let is = |conversation: &Value, wanted: Value| {
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&conversation[key], value, "{key} of {conversation}");
        }
    };
    let out = world.cli(&["conversations", "take", &id]).await.fine();
    assert_eq!(out, format!("{id}: open, owner desk, version 2\n"));
    world.cli(&["conversations", "assign", &id, "mia"]).await.fine();
    is(&world.get(&path).await, json!({ "owner": "desk", "assignee": "mia" }));
    world.cli(&["conversations", "assign", &id, "--nobody"]).await.fine();
    is(&world.get(&path).await, json!({ "assignee": null }));
    world.cli(&["conversations", "snooze", &id, "2h"]).await.fine();
    assert!(world.get(&path).await["snoozed_until"].is_string());
    world.cli(&["conversations", "reopen", &id]).await.fine();
    is(&world.get(&path).await, json!({ "status": "open" }));
    let resolved = world.cli(&["conversations", "resolve", &id, "--json"]).await.json();
    is(&resolved, json!({ "status": "resolved", "id": id }));
    let said = world.cli(&["conversations", "hand-back", &id, "--if-version", "1"]).await.refused(1);
    assert!(said.contains("not at the one named"), "{said}");
    world.cli(&["conversations", "hand-back", &id]).await.fine();
    is(&world.get(&path).await, json!({ "owner": "agent" }));
    // The agent goes on.
    world.say("t", "2", "still there?").await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(2).await[1]), "re: still there?");
}

#[tokio::test]
async fn an_agent_that_wanted_no_more_is_asked_again_once_it_is_resumed() {
    let gone = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&gone);
    let agent =
        FarEnd::start(move |request| if answers.load(Ordering::SeqCst) { Reply::status(410) } else { echo(request) });
    let world = World::of(agent.await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    world.get_until("/v1/status", "stopped", |status| status["agent"]["state"] == "stopped").await;
    gone.store(false, Ordering::SeqCst);
    let out = world.cli(&["agent", "resume"]).await.fine();
    assert_eq!(out, "the agent gets events again; what waited goes to it now\n");
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: hello");
}

#[tokio::test]
async fn a_channel_that_took_no_more_sends_again_once_it_is_resumed() {
    let gone = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&gone);
    let shop =
        FarEnd::start(move |request| if answers.load(Ordering::SeqCst) { Reply::status(410) } else { takes(request) });
    let world = World::of(FarEnd::start(echo).await, shop.await);
    let _daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.get_until("/v1/status", "stopped", |status| status["channels"][0]["state"] == "stopped").await;
    let shown = world.cli(&["status"]).await.fine();
    assert!(shown.contains("go on with: frontdesk channel resume shop"), "{shown}");
    gone.store(false, Ordering::SeqCst);
    let said = world.cli(&["channel", "resume", "shpo"]).await.refused(1);
    assert_eq!(said, "frontdesk: there is no channel shpo\n  mend: write shop (there are: shop)\n");
    let out = world.cli(&["channel", "resume", "shop"]).await.fine();
    assert_eq!(out, "shop sends again; what waited goes out now\n");
    world.settled(&id, "sent").await;
}

#[tokio::test]
async fn somebody_is_erased_once_it_is_said_that_it_is_meant() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "my card is 4111").await;
    world.settled(&id, "sent").await;
    let contact = world.messages(&id).await[0]["author"]["id"].as_str().unwrap().to_owned();
    let said = world.cli(&["contact", "erase", &contact]).await.refused(2);
    assert!(said.contains("gone for good") && said.contains("--yes"), "{said}");
    assert!(!world.messages(&id).await.is_empty());
    assert_eq!(world.cli(&["contact", "erase", &contact, "--yes"]).await.fine(), "erased\n");
    assert!(world.messages(&id).await.is_empty());
    let log = world.get(&format!("/v1/conversations/{id}/events")).await;
    assert!(!log.to_string().contains("4111"), "{log}");
    assert_eq!(log["data"][0]["type"], "message.deleted");
    let said = world.cli(&["contact", "erase", &contact, "--yes"]).await.refused(1);
    assert!(said.contains("there is no contact"), "{said}");
    let again = world.say("t", "2", "hello").await;
    assert_ne!(again, id, "the thread begins anew");
    world.settled(&again, "sent").await;
}
