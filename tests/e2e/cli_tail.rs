//! `frontdesk tail`: what happens, as it happens; without gap or double when the daemon is restarted.

use std::{process::Command, time::Duration};

use frontdesk_testkit::far_end::{FarEnd, Reply};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    cli::{Running, ended, masked, program},
    world::{World, echo, takes},
};

fn tail(world: &World, arguments: &[&str]) -> Running {
    Running::start(program(world.site.folder(), &[&["tail"], arguments].concat()))
}

/// Follows from here on: it has shown an event.
pub(crate) async fn tail_from_now(world: &World, arguments: &[&str]) -> Running {
    let tail = tail(world, arguments);
    // What happened before its stream began is not shown.
    for number in 0.. {
        world.say("ping", &format!("{}-{number}", tail.id()), "ping").await;
        for _ in 0..50 {
            if tail.out().contains("cnv_") {
                return tail;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    unreachable!("it shows one of them")
}

fn events(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not a line of JSON: {line}")))
        .collect()
}

fn interrupt(running: &Running) {
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[tokio::test]
async fn each_event_is_a_line_and_ctrl_c_ends_it_well() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let plain = tail_from_now(&world, &[]).await;
    let with_text = tail_from_now(&world, &["--text"]).await;
    let id = world.say("order-77", "1", "Where is\nmy order?").await;
    world.settled(&id, "sent").await;
    world.cli(&["send", &id, "--private", "Asked the carrier."]).await.fine();
    world.cli(&["conversations", "resolve", &id]).await.fine();
    // How far a delivery is when its message is read is nobody's promise; that it was sent comes behind it.
    let kept = |out: &str| {
        masked(out)
            .replace("agent  queued", "agent  <status>")
            .replace("agent  sending", "agent  <status>")
            .replace("agent  sent", "agent  <status>")
    };
    let of_this = |out: &str| -> String {
        out.lines().filter(|line| line.contains(&id)).map(|line| format!("{line}\n")).collect()
    };
    let done = |out: &str| of_this(out).contains("resolved");
    insta::assert_snapshot!("tail", kept(&of_this(&plain.out_until(done).await)));
    insta::assert_snapshot!("tail_text", kept(&of_this(&with_text.out_until(done).await)));
    for running in [plain, with_text] {
        interrupt(&running);
        let ended = running.ends().await;
        assert_eq!((ended.status.code(), ended.err.as_str()), (Some(0), ""));
    }
}

#[tokio::test]
async fn it_outlives_the_daemon_without_gap_or_double() {
    let world = World::that_echoes().await;
    let mut daemon = world.start().await;
    let tail = tail_from_now(&world, &["--json"]).await;
    let first = world.say("t", "1", "before").await;
    tail.out_until(|out| out.contains(&first)).await;
    for round in 0..3 {
        // Killed at some moment of its work.
        world.say("t", &format!("killed-{round}"), "at the same time").await;
        daemon.kill().await.unwrap();
        tail.says("the daemon is gone; waiting for it to come back").await;
        daemon = world.start().await;
        world.say("t", &format!("after-{round}"), "after").await;
    }
    world
        .get_until(&format!("/v1/conversations/{first}/messages?limit=200"), "all answered", |page| {
            let of = |direction: &str| {
                page["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|one| {
                        one["direction"] == direction && one["status"] != "queued" && one["status"] != "sending"
                    })
                    .count()
            };
            of("inbound") == 7 && of("outbound") == 7
        })
        .await;
    let log = world.get(&format!("/v1/conversations/{first}/events?limit=200")).await;
    let wanted: Vec<&str> = log["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    let last = (*wanted.last().unwrap()).to_owned();
    let out = tail.out_until(|out| out.contains(&last)).await;
    let all = events(&out);
    let shown: Vec<&str> = all
        .iter()
        .filter(|event| event["data"]["conversation"]["id"] == first.as_str())
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(shown, wanted, "the log itself, each event once and in order");
    assert!(tail.err().contains("the daemon is back"), "{}", tail.err());

    // From any position of it the rest comes again.
    let middle = all.iter().find(|event| event["id"] == wanted[3]).unwrap()["position"].as_str().unwrap();
    let again = Running::start(program(world.site.folder(), &["tail", "--json", "--since", middle]));
    let out = again.out_until(|out| out.contains(&last)).await;
    let shown: Vec<String> = events(&out)
        .iter()
        .filter(|event| event["data"]["conversation"]["id"] == first.as_str())
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shown, wanted[4..]);
}

#[tokio::test]
async fn a_daemon_that_stops_in_good_order_is_waited_for_too() {
    let world = World::that_echoes().await;
    let mut daemon = world.start().await;
    let tail = tail_from_now(&world, &[]).await;
    daemon.terminate().unwrap();
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());
    tail.says("waiting for it to come back").await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "again").await;
    tail.out_until(|out| out.contains(&id)).await;
}

#[tokio::test]
async fn only_the_channel_that_is_asked_for_and_a_name_that_is_none_is_pointed_out() {
    let world = World::of(FarEnd::start(echo).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let stranger = tail(&world, &["--channel", "shpo"]);
    stranger.says("no channel shpo is configured; did you mean shop? (there are: shop)").await;
    let known = tail_from_now(&world, &["--channel", "shop"]).await;
    let id = world.say("t", "1", "hello").await;
    known.out_until(|out| out.contains(&id)).await;
    assert_eq!((stranger.out().as_str(), known.err().as_str()), ("", ""));
    let said = world.cli(&["tail", "--since", "nonsense"]).await.refused(2);
    assert!(said.starts_with("frontdesk: --since: "), "{said}");
    assert!(said.contains("not a position that a stream gave"), "{said}");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_without_another_event() {
    let world = World::of(FarEnd::start(|_| Reply::status(204)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    let position = {
        let tail = tail_from_now(&world, &["--json"]).await;
        events(&tail.out_until(|out| out.contains("position")).await)[0]["position"].as_str().unwrap().to_owned()
    };
    world.say("t", "2", "more").await;
    // One line is there; nothing else happens.
    let line = format!("set -o pipefail; {} tail --since '{position}' | head -1", env!("CARGO_BIN_EXE_frontdesk"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &line]).current_dir(world.site.folder());
    let ended = ended(bash).await;
    assert_eq!((ended.status.code(), ended.out.lines().count(), ended.err.as_str()), (Some(0), 1, ""));
}
