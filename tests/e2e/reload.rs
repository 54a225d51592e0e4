//! Another configuration while the daemon runs: what changes, and what must not notice.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use frontdesk_testkit::{
    daemon::Daemon,
    far_end::{FarEnd, Reply},
};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::{AGENT_SECRET, World, echo, message, sections, takes, text_of_delivery};

/// Writes another configuration and waits until the daemon has said what became of it.
async fn reload(world: &mut World, daemon: &mut Daemon, sections: &str, says: &str) {
    world.site.reconfigure(sections);
    world.site.write().unwrap();
    daemon.hang_up().unwrap();
    daemon.says(says).await.unwrap();
}

fn annex(url: &str) -> String {
    format!("[channels.annex]\nkind = \"webhook\"\ndeliver_url = \"{url}\"\n")
}

async fn post(world: &World, channel: &str, id: &str) -> StatusCode {
    let path = format!("/v1/channels/{channel}/messages");
    let body = message("t", id, "hello").to_string();
    world.request(Method::POST, &path).bearer_auth(crate::world::ADMIN).body(body).send().await.unwrap().status()
}

#[tokio::test]
async fn channels_come_and_go_without_a_lost_request_on_the_others() {
    let mut world = World::that_echoes().await;
    let annex_end = FarEnd::start(takes).await;
    let mut daemon = world.start().await;
    let plain = sections(&world.agent.url(), &world.shop.url(), "");
    let with_annex = format!("{plain}{}", annex(&annex_end.url()));

    // Load on the channel that stays, from before the first change until after the last.
    let done = Arc::new(AtomicBool::new(false));
    let loading = {
        let (done, http, url) = (Arc::clone(&done), world.http.clone(), world.site.url("/v1/channels/shop/messages"));
        tokio::spawn(async move {
            let mut sent = 0;
            while !done.load(Ordering::SeqCst) {
                let body = message(&format!("load-{}", sent % 7), &sent.to_string(), "hello").to_string();
                let answer = http.post(&url).bearer_auth(crate::world::INGEST).body(body).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::ACCEPTED, "request {sent}");
                sent += 1;
            }
            sent
        })
    };
    assert_eq!(post(&world, "annex", "0").await, StatusCode::NOT_FOUND);
    reload(&mut world, &mut daemon, &with_annex, "added=\"annex\"").await;
    assert_eq!(post(&world, "annex", "1").await, StatusCode::ACCEPTED);
    assert_eq!(text_of_delivery(&annex_end.wait_for(1).await[0]), "re: hello");
    let elsewhere = FarEnd::start(takes).await;
    reload(&mut world, &mut daemon, &format!("{plain}{}", annex(&elsewhere.url())), "changed=\"annex\"").await;
    assert_eq!(post(&world, "annex", "2").await, StatusCode::ACCEPTED);
    elsewhere.wait_for(1).await;
    reload(&mut world, &mut daemon, &plain, "removed=\"annex\"").await;
    assert_eq!(post(&world, "annex", "3").await, StatusCode::NOT_FOUND);
    done.store(true, Ordering::SeqCst);
    let sent = loading.await.unwrap();
    assert_eq!(world.shop.wait_for(sent).await.len(), sent, "every answer, once");
    assert_eq!(annex_end.count(), 1);
}

#[tokio::test]
async fn an_invalid_file_keeps_the_old_configuration_and_every_mistake_is_named() {
    let mut world = World::that_echoes().await;
    let mut daemon = world.start().await;
    let plain = sections(&world.agent.url(), &world.shop.url(), "");
    let broken = plain.replace("deliver_url", "deliver_to") + "\n[channels.x]\nkind = \"pigeon\"\n";
    reload(&mut world, &mut daemon, &broken, "mistakes=2").await;
    daemon.says("deliver_to").await.unwrap();
    daemon.says("table=\"channels.x\"").await.unwrap();
    world.say("t", "1", "still here?").await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: still here?");
    reload(&mut world, &mut daemon, &plain, "the configuration was read anew").await;
}

#[tokio::test]
async fn what_waits_for_a_removed_channel_is_shown_and_goes_out_when_it_is_back() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&open);
    let annex_end =
        FarEnd::start(move |_| if gate.load(Ordering::SeqCst) { Reply::status(204) } else { Reply::status(503) }).await;
    let mut world = World::that_echoes().await;
    let plain = sections(&world.agent.url(), &world.shop.url(), "");
    let with_annex = format!("{plain}{}", annex(&annex_end.url()));
    world.site.reconfigure(&with_annex);
    let mut daemon = world.start().await;
    assert_eq!(post(&world, "annex", "1").await, StatusCode::ACCEPTED);
    annex_end.wait_for(1).await;
    reload(&mut world, &mut daemon, &plain, "removed=\"annex\"").await;
    let status = world
        .get_until("/v1/status", "the channel is shown as absent", |status| {
            status["channels"].as_array().is_some_and(|all| all.iter().any(|channel| channel["state"] == "absent"))
        })
        .await;
    let absent = status["channels"].as_array().unwrap().iter().find(|channel| channel["state"] == "absent").unwrap();
    assert_eq!((&absent["name"], &absent["waiting"]), (&Value::from("annex"), &Value::from(1)));
    open.store(true, Ordering::SeqCst);
    let before = annex_end.count();
    reload(&mut world, &mut daemon, &with_annex, "added=\"annex\"").await;
    let requests = annex_end.wait_for(before + 1).await;
    assert_eq!(text_of_delivery(requests.last().unwrap()), "re: hello");
}

#[tokio::test]
async fn a_token_is_exchanged_and_the_old_one_opens_nothing_any_more() {
    let mut world = World::that_echoes().await;
    let mut daemon = world.start().await;
    let plain = sections(&world.agent.url(), &world.shop.url(), "");
    let new = "another-ingest-token-987";
    reload(&mut world, &mut daemon, &plain.replace(crate::world::INGEST, new), "read anew").await;
    assert_eq!(world.post("t", "1", "old token").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let body = message("t", "2", "new token").to_string();
    let answer =
        world.request(Method::POST, "/v1/channels/shop/messages").bearer_auth(new).body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert!(!daemon.said().contains(new), "no token in the log");
}

#[tokio::test]
async fn another_agent_is_asked_from_then_on_and_the_old_ones_answer_still_counts() {
    let slow = FarEnd::start(|request| echo(request).after(Duration::from_millis(700))).await;
    let mut world = World::of(slow, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    world.say("a", "1", "to the old one").await;
    world.agent.wait_for(1).await;
    let new = FarEnd::start(echo).await;
    let other = sections(&new.url(), &world.shop.url(), "");
    reload(&mut world, &mut daemon, &other, "read anew").await;
    world.say("b", "1", "to the new one").await;
    let mut said: Vec<String> = world.shop.wait_for(2).await.iter().map(text_of_delivery).collect();
    said.sort();
    assert_eq!(said, ["re: to the new one", "re: to the old one"]);
    assert_eq!((world.agent.count(), new.count()), (1, 1), "nobody was asked twice");
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_a_storm_of_signals_harms_nothing() {
    let mut world = World::that_echoes().await;
    let mut daemon = world.start().await;
    let mut sections = sections(&world.agent.url(), &world.shop.url(), "");
    let _ = write!(sections, "[channels.more]\nkind = \"webhook\"\n");
    world.site.reconfigure(&sections);
    let file = world.site.write().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("sqlite:./data", "sqlite:./elsewhere")).unwrap();
    for _ in 0..200 {
        daemon.hang_up().unwrap();
    }
    daemon.says("this change waits for a restart of the daemon").await.unwrap();
    assert!(!world.site.folder().join("elsewhere").exists());
    world.say("t", "1", "through the storm").await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: through the storm");
    daemon.terminate().unwrap();
    daemon.hang_up().unwrap();
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());
    assert!(!daemon.said().contains(AGENT_SECRET));
}
