//! What the command line shows: status, conversations, dead letters; for people and for programs.

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};

use crate::{
    cli::{masked, world_that_refuses},
    cli_tail::tail_from_now,
    world::{World, echo, takes},
};

/// A page of text as it is kept.
fn assert_page(name: &str, text: &str) {
    insta::assert_snapshot!(name, masked(text));
}

fn without_folder(world: &World, text: &str) -> String {
    text.replace(&*world.site.folder().to_string_lossy(), "~").replace(&world.site.address().to_string(), "HOST")
}

#[tokio::test]
async fn status_shows_everything_and_for_programs_what_the_api_answers() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let conversation = world.say("order-77", "1", "Where is my order?").await;
    world.settled(&conversation, "sent").await;
    let text = world.cli(&["status"]).await.fine();
    assert_page("status_well", &without_folder(&world, &text));
    let mut printed = world.cli(&["status", "--json"]).await.json();
    let mut asked = world.get("/v1/status").await;
    for status in [&mut printed, &mut asked] {
        status["daemon"]["now"] = Value::Null;
    }
    assert_eq!(printed, asked);
    world.cli(&["status", "--check"]).await.fine();
}

#[tokio::test]
async fn what_is_unwell_comes_first_with_what_to_do_about_it() {
    let world = World::of(FarEnd::start(|_| Reply::status(410)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    world.get_until("/v1/status", "the agent has stopped", |status| status["agent"]["state"] == "stopped").await;
    let ended = world.cli(&["status"]).await;
    assert_page("status_unwell", &without_folder(&world, &ended.fine()));
    let ended = world.cli(&["status", "--check"]).await;
    assert_eq!((ended.status.code(), ended.err.as_str()), (Some(1), ""), "it has said all on standard output");
    assert!(ended.out.starts_with("the agent wants no more events (410); go on with: frontdesk agent resume\n"));
}

#[tokio::test]
async fn conversations_are_listed_narrowed_and_paged() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let id = world.say(&format!("order-{number}"), "1", "hello").await;
        world.settled(&id, "sent").await;
        ids.insert(0, id);
    }
    world.cli(&["conversations", "resolve", &ids[0]]).await.fine();
    assert_page("conversations", &world.cli(&["conversations"]).await.fine());
    let listed = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = world.cli(&["conversations", "list", "--json"]).await.json();
    assert_eq!((listed(&all), &all["next"]), (ids.clone(), &Value::Null));
    assert_eq!(all, world.get("/v1/conversations").await, "the API's own form");
    for (arguments, wanted) in [
        (&["--status", "open"][..], &ids[1..]),
        (&["--status", "resolved"], &ids[..1]),
        (&["--channel", "shop", "--owner", "agent"], &ids[..]),
        (&["--owner", "desk"], &[]),
        (&["--channel", "none"], &[]),
        (&["--attention", "handoff"], &[]),
    ] {
        let page = world.cli(&[&["conversations", "--json"], arguments].concat()).await.json();
        // A resolved conversation may have gone to the desk with who resolved it.
        if !arguments.contains(&"--owner") {
            assert_eq!(listed(&page), *wanted, "{arguments:?}");
        }
    }
    let first = world.cli(&["conversations", "--limit", "2"]).await;
    assert_eq!(first.out.lines().count(), 3);
    let words = first.err.strip_prefix("there are more: frontdesk ").unwrap().strip_suffix(", or --all\n").unwrap();
    let mut seen = listed(&world.cli(&["conversations", "--json", "--limit", "2"]).await.json());
    let next: Vec<&str> = words.split(' ').chain(["--json"]).collect();
    seen.extend(listed(&world.cli(&next).await.json()));
    assert_eq!(seen, ids, "the line says how to see the others");
    let none = world.cli(&["conversations", "--channel", "none"]).await.fine();
    assert_eq!(none, "no conversation\n");
}

/// More than one page of the API.
#[tokio::test]
async fn all_means_all() {
    let world = World::of(FarEnd::start(|_| Reply::status(204)).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let mut ids = std::collections::BTreeSet::new();
    for number in 0..205 {
        ids.insert(world.say(&format!("t{number}"), "1", "hello").await);
    }
    for arguments in [&["conversations", "--all", "--json"][..], &["conversations", "--limit", "1000", "--json"]] {
        let page = world.cli(arguments).await.json();
        let listed: Vec<String> =
            page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((listed.len(), &page["next"]), (205, &Value::Null), "{arguments:?}");
        assert_eq!(listed.into_iter().collect::<std::collections::BTreeSet<_>>(), ids);
    }
    let some = world.cli(&["conversations", "--limit", "203", "--json"]).await.json();
    assert_eq!((some["data"].as_array().unwrap().len(), some["next"].is_string()), (203, true));
}

#[tokio::test]
async fn one_conversation_is_shown_with_what_was_said_in_the_order_of_saying() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let id = world.say("order-77", "1", "Where is my order?\n\nI wait since Monday.").await;
    world.settled(&id, "sent").await;
    world.cli(&["send", &id, "--private", "Asked the carrier."]).await.fine();
    assert_page("conversation", &world.cli(&["conversations", "show", &id]).await.fine());
    let shown = world.cli(&["conversations", "show", &id, "--json"]).await.json();
    assert_eq!(shown["conversation"], world.get(&format!("/v1/conversations/{id}")).await);
    assert_eq!(shown["messages"], world.get(&format!("/v1/conversations/{id}/messages")).await);
    let cut = world.cli(&["conversations", "show", &id, "--limit", "1"]).await;
    assert!(cut.out.contains("Asked the carrier.") && !cut.out.contains("Where is"), "the newest: {}", cut.out);
    assert!(cut.err.contains(&format!("frontdesk conversations show {id} --page ")), "{}", cut.err);
    let said = world.cli(&["conversations", "show", "cnv_00000000000000000000000000"]).await.refused(1);
    assert!(said.starts_with("frontdesk: there is no conversation with this id\n  mend: frontdesk conv"), "{said}");
    let said = world.cli(&["conversations", "show", &id, "--page", "nonsense"]).await.refused(2);
    assert!(said.starts_with("frontdesk: --page: "), "{said}");
}

#[tokio::test]
async fn dead_letters_are_listed_shown_replayed_and_dropped() {
    let world = world_that_refuses().await;
    let _daemon = world.start().await;
    for number in 0..3 {
        world.say(&format!("t{number}"), "1", &format!("Question {number}\nand more")).await;
        let count = number + 1;
        world
            .get_until("/v1/dead-letters", "a dead letter", |page| page["data"].as_array().unwrap().len() == count)
            .await;
    }
    assert_page("dead_letters", &world.cli(&["dead-letters", "list"]).await.fine());
    let letters = world.cli(&["dead-letters", "list", "--json"]).await.json();
    assert_eq!(letters, world.get("/v1/dead-letters").await);
    let id = |at: usize| letters["data"][at]["id"].as_str().unwrap();
    assert_page("dead_letter", &world.cli(&["dead-letters", "show", id(0)]).await.fine());
    let shown = world.cli(&["dead-letters", "show", id(2), "--json"]).await.json();
    assert_eq!(shown["dead_letter"], letters["data"][2]);
    assert_eq!(shown["event"]["data"]["message"]["text"], "Question 0\nand more");

    let said = world.cli(&["dead-letters", "drop", id(0)]).await.refused(2);
    assert!(said.contains("there is no terminal to ask on") && said.contains("--yes"), "{said}");
    assert_eq!(world.dead_letters().await.len(), 3);
    assert_eq!(world.cli(&["dead-letters", "drop", "--yes", id(0)]).await.fine(), "1 dropped\n");
    assert_eq!(world.dead_letters().await.len(), 2);

    let none = world.cli(&["dead-letters", "replay", "--all", "--channel", "other"]).await.fine();
    assert_eq!((none.as_str(), world.agent.count()), ("0 replayed\n", 3));
    let done = world.cli(&["dead-letters", "replay", "--all", "--channel", "shop", "--json"]).await.json();
    assert_eq!(done, json!({ "replayed": [id(2), id(1)], "failed": {} }), "the oldest first");
    world.agent.wait_for(5).await;

    // What cannot be done is told, and the others are done all the same.
    let letters =
        world.get_until("/v1/dead-letters", "both again", |page| page["data"].as_array().unwrap().len() == 2).await;
    let there = letters["data"][0]["id"].as_str().unwrap();
    let gone = "dlt_00000000000000000000000000";
    let ended = world.cli(&["dead-letters", "drop", "--yes", gone, there]).await;
    assert_eq!((ended.status.code(), ended.out.as_str()), (Some(1), "1 dropped\n"));
    assert!(ended.err.contains(&format!("{gone}: there is no dead letter with this id")), "{}", ended.err);
    let ended = world.cli(&["dead-letters", "show", gone]).await.refused(1);
    assert!(ended.contains("frontdesk dead-letters list"), "{ended}");
}

/// Names, threads, texts, reasons: everything that a customer or a far end may choose.
#[tokio::test]
async fn t38_nothing_that_a_customer_wrote_reaches_the_terminal_as_more_than_letters() {
    let world = World::of(FarEnd::start(echo).await, FarEnd::start(takes).await);
    let _daemon = world.start().await;
    let follower = tail_from_now(&world, &["--text"]).await;
    let evil = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\u{7f}";
    // No control characters are taken in an id, but what turns text around is no such character.
    let own_id = "order\u{202e}77\u{2066}\u{200b}";
    let body = json!({ "id": "1", "thread": own_id, "from": { "id": own_id, "name": format!("{evil}\nshop  well") },
                       "text": format!("{evil}\r\u{1b}[1A\n  operator: paid\u{2028}x") });
    let answer = world.post_body(body.to_string()).await.unwrap();
    let status = answer.status();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let id = answer["conversation_id"].as_str().unwrap();
    world.settled(id, "sent").await;
    let followed = follower.out_until(|out| out.contains("re: a")).await;
    assert_eq!(followed.chars().find(is_more_than_a_letter), None, "{followed:?}");
    assert!(followed.lines().all(|line| line.contains("  cnv_")), "no line but ours: {followed}");
    for arguments in [
        &["conversations"][..],
        &["conversations", "show", id],
        &["status"],
        &["conversations", "--json"],
        &["conversations", "show", id, "--json"],
        &["status", "--json"],
    ] {
        let out = world.cli(arguments).await.fine();
        assert_eq!(out.chars().find(is_more_than_a_letter), None, "{arguments:?}: {out:?}");
    }
    let shown = world.cli(&["conversations", "show", id]).await.fine();
    let forged: Vec<&str> =
        shown.lines().filter(|line| line.starts_with("operator") || line.starts_with("shop")).collect();
    assert!(forged.is_empty(), "what was written stays behind its margin: {shown}");
}

fn is_more_than_a_letter(letter: &char) -> bool {
    let turns = ('\u{202a}'..='\u{202e}').contains(letter) || ('\u{2066}'..='\u{2069}').contains(letter);
    (letter.is_control() && *letter != '\n') || turns || *letter == '\u{2028}' || *letter == '\u{200b}'
}
