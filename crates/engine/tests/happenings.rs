//! What happens besides new messages: edits, reactions, pressed buttons, albums, what cannot be read, and what our side does to
//! what it sent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::{sync::Arc, time::Duration};

use frontdesk_engine::{Speaker, parse_reply};
use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use serde_json::{Value, json};
use world::{Channel, World, envelope};

fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

async fn silent() -> FarEnd {
    FarEnd::start(|_: &Received| Reply::status(204)).await
}

async fn able(agent: &FarEnd) -> World {
    World::new(Some(&agent.url()), Channel::able(1)).await
}

fn happened(id: &str, what: Happening) -> Occurrence {
    Occurrence {
        thread: "t".parse().unwrap(),
        external_id: id.parse().unwrap(),
        unique_within: UniqueWithin::Account,
        sender: Some(envelope("t", "x", "x").sender),
        at: None,
        what,
    }
}

fn ours(thread: &str, id: &str, text: &str) -> Envelope {
    Envelope { unique_within: UniqueWithin::Account, ..envelope(thread, id, text) }
}

fn inbox(world: &World) -> Arc<dyn Inbox> {
    world.engine.inbox(&"shop".parse().unwrap()).unwrap()
}

async fn kinds(world: &World, id: ConversationId) -> Vec<&'static str> {
    let log = world.store.events(id, Seq::ZERO, Take { rows: 100, bytes: 1_000_000 }).await.unwrap().unwrap().data;
    log.iter().map(|event| event.body.kind()).collect()
}

#[tokio::test]
async fn an_edit_changes_the_message_keeps_what_it_said_and_is_told_once() {
    let agent = silent().await;
    let world = able(&agent).await;
    let accepted = inbox(&world).accept(ours("t", "m1", "helo")).await.unwrap();
    agent.wait_for(1).await;
    let edit = happened(
        "e1",
        Happening::Edited {
            message: "m1".parse().unwrap(),
            content: Content::Text("hello".into()),
            attachments: Vec::new(),
            unknown: None,
        },
    );
    inbox(&world).note(edit.clone()).await.unwrap();
    inbox(&world).note(edit).await.unwrap();
    agent.wait_for(2).await;
    let told = body(&agent.requests()[1]);
    assert_eq!(told["type"], "message.edited");
    assert_eq!(told["data"]["message"]["text"], "hello");
    assert_eq!(told["data"]["message"]["id"], accepted.message.to_string());
    assert_eq!(told["data"]["before"]["text"], "helo");
    assert_eq!(told["data"]["conversation"]["version"], 2);
    let messages = world.messages(accepted.conversation).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].message.content, Content::Text("hello".into()));
    assert!(messages[0].message.edited_at.is_some());
    assert_eq!(kinds(&world, accepted.conversation).await, ["message.created", "message.edited"]);
}

#[tokio::test]
async fn an_edit_that_changes_no_words_or_is_of_something_unknown_is_nothing() {
    let agent = silent().await;
    let world = able(&agent).await;
    let accepted = inbox(&world).accept(ours("t", "m1", "hello")).await.unwrap();
    for message in ["m1", "m7"] {
        let (message, content) = (message.parse().unwrap(), Content::Text("hello".into()));
        let what = Happening::Edited { message, content, attachments: Vec::new(), unknown: None };
        inbox(&world).note(happened("e1", what)).await.unwrap();
    }
    assert_eq!(kinds(&world, accepted.conversation).await, ["message.created"]);
}

#[tokio::test]
async fn an_edit_of_a_message_that_never_came_is_that_message_once() {
    let agent = silent().await;
    let world = able(&agent).await;
    let stands_now = |message: &str| Happening::Edited {
        message: message.parse().unwrap(),
        content: Content::Text("are you open?".into()),
        attachments: Vec::new(),
        unknown: Some(Box::new(ours("t", message, "are you open?"))),
    };
    // The first begins the conversation, the second comes into it; each comes twice.
    for (id, message) in [("e1", "m1"), ("e1", "m1"), ("e2", "m2"), ("e2", "m2")] {
        inbox(&world).note(happened(id, stands_now(message))).await.unwrap();
    }
    agent.wait_for(2).await;
    assert_eq!(body(&agent.requests()[0])["type"], "message.created");
    let again = inbox(&world).accept(ours("t", "m1", "are you open?")).await.unwrap();
    assert_eq!(again.seen, Seen::Before);
    assert_eq!(kinds(&world, again.conversation).await, ["message.created", "message.created"]);
}

/// What was not confirmed when a daemon died comes again, in order, edits too: an earlier one must not undo a later one.
#[tokio::test]
async fn edits_that_come_again_after_a_kill_undo_nothing() {
    let agent = silent().await;
    let world = able(&agent).await;
    let edit = async |id: &str, message: &str, says: &str| {
        let what = Happening::Edited {
            message: message.parse().unwrap(),
            content: Content::Text(says.into()),
            attachments: Vec::new(),
            unknown: Some(Box::new(ours("t", message, says))),
        };
        inbox(&world).note(happened(id, what)).await.unwrap();
    };
    let accepted = inbox(&world).accept(ours("t", "m1", "one")).await.unwrap();
    // Of m1 the first edit changes no words; of m2 it is the first that is heard.
    for _ in 0..2 {
        for (id, message, says) in
            [("e1", "m1", "one"), ("e2", "m1", "two"), ("e3", "m2", "three"), ("e4", "m2", "four")]
        {
            edit(id, message, says).await;
        }
    }
    let messages = world.messages(accepted.conversation).await;
    let says: Vec<&str> = messages.iter().map(|record| record.message.content.source()).collect();
    assert_eq!(says, ["two", "four"]);
    let kinds = kinds(&world, accepted.conversation).await;
    assert_eq!(kinds, ["message.created", "message.edited", "message.created", "message.edited"]);
}

#[tokio::test]
async fn an_edit_of_a_later_item_of_an_album_leaves_what_the_others_say() {
    let agent = silent().await;
    let world = able(&agent).await;
    let item = |id: &str, caption: &str| Envelope { album: Some("a".into()), ..ours("t", id, caption) };
    let first = inbox(&world).accept(item("m1", "my bike")).await.unwrap();
    let joined = inbox(&world).accept(item("m2", "")).await.unwrap();
    assert_eq!(joined.message, first.message);
    let edit = async |id: &str, message: &str, says: &str| {
        let (message, content) = (message.parse().unwrap(), Content::Text(says.into()));
        let what = Happening::Edited { message, content, attachments: Vec::new(), unknown: None };
        inbox(&world).note(happened(id, what)).await.unwrap();
        world.messages(first.conversation).await[0].message.content.source().to_owned()
    };
    assert_eq!(edit("e1", "m2", "").await, "my bike");
    assert_eq!(edit("e2", "m2", "its wheel").await, "my bike\n\nits wheel");
    assert_eq!(edit("e3", "m1", "my old bike").await, "my old bike");
}

#[tokio::test]
async fn a_reaction_to_what_was_sent_names_the_message() {
    let agent = FarEnd::start(|request: &Received| {
        if body(request)["type"] == "message.created" {
            Reply::json(200, json!({"text": "hi"}))
        } else {
            Reply::status(204)
        }
    })
    .await;
    let world = able(&agent).await;
    let accepted = inbox(&world).accept(ours("t", "m1", "hello")).await.unwrap();
    world.until_status(accepted.conversation, 1, DeliveryStatus::Sent).await;
    let sent = world.messages(accepted.conversation).await[1].message.id;
    let what = Happening::Reacted {
        message: "ext1".parse().unwrap(),
        added: vec!["\u{1f44d}".into()],
        removed: vec!["\u{1f44e}".into()],
    };
    inbox(&world).note(happened("r1", what)).await.unwrap();
    agent.wait_for(3).await;
    let told: Vec<Value> = agent.requests()[1..].iter().map(body).collect();
    assert_eq!([&told[0]["type"], &told[1]["type"]], ["reaction.removed", "reaction.added"]);
    assert_eq!(told[1]["data"]["reaction"]["reaction"], "\u{1f44d}");
    assert_eq!(told[1]["data"]["reaction"]["message_id"], sent.to_string());
    assert_eq!(told[1]["data"]["message"]["id"], sent.to_string());
    assert_eq!(world.conversation(accepted.conversation).await.unanswered_from, None, "it asks nothing");
}

#[tokio::test]
async fn a_pressed_button_is_asked_about_and_answered() {
    let agent = FarEnd::start(|request: &Received| match body(request)["type"].as_str() {
        Some("button.pressed") => Reply::json(200, json!({"text": "on its way"})),
        _ => Reply::json(
            200,
            json!({"messages": [{"text": "What next?", "buttons": [{"id": "track", "label": "Track it"}]}]}),
        ),
    })
    .await;
    let world = able(&agent).await;
    let accepted = inbox(&world).accept(ours("t", "m1", "hello")).await.unwrap();
    world.until_status(accepted.conversation, 1, DeliveryStatus::Sent).await;
    let asked = world.messages(accepted.conversation).await[1].message.clone();
    assert_eq!(asked.buttons, [Button { id: "track".into(), label: "Track it".into() }]);
    let what = Happening::Pressed { message: Some("ext1".parse().unwrap()), button: "track".into(), label: None };
    inbox(&world).note(happened("p1", what.clone())).await.unwrap();
    inbox(&world).note(happened("p1", what)).await.unwrap();
    let sent = world.channel.sends(2).await;
    assert_eq!(sent[1].text, "on its way/0");
    let told = body(&agent.requests()[1]);
    assert_eq!(told["data"]["button"]["id"], "track");
    assert_eq!(told["data"]["button"]["label"], "Track it");
    assert_eq!(told["data"]["button"]["message_id"], asked.id.to_string());
    assert_eq!(told["data"].get("message"), None);
    world.until_status(accepted.conversation, 2, DeliveryStatus::Sent).await;
    assert_eq!(world.conversation(accepted.conversation).await.unanswered_from, None);
    assert_eq!(agent.requests().len(), 2);
}

#[tokio::test]
async fn a_press_where_nothing_is_kept_begins_a_conversation_with_the_words_on_the_button() {
    let agent = silent().await;
    let world = able(&agent).await;
    let what = Happening::Pressed { message: None, button: "track".into(), label: Some("Track it".into()) };
    inbox(&world).note(happened("p1", what)).await.unwrap();
    agent.wait_for(1).await;
    assert_eq!(body(&agent.requests()[0])["data"]["message"]["text"], "Track it");
}

#[tokio::test]
async fn an_albums_items_become_one_message_that_is_asked_about_when_no_more_come() {
    let agent = silent().await;
    let world = able(&agent).await;
    let file = |name: &str| RemoteFile { at: FileAt::Handle(name.into()), name: Some(name.into()) };
    let item = |id: &str, text: &str| Envelope {
        album: Some("a1".into()),
        attachments: vec![file(id)],
        ..ours("t", id, text)
    };
    let first = inbox(&world).accept(item("m1", "three of them")).await.unwrap();
    let second = inbox(&world).accept(item("m2", "")).await.unwrap();
    let third = inbox(&world).accept(item("m3", "the last")).await.unwrap();
    let again = inbox(&world).accept(item("m2", "")).await.unwrap();
    assert_eq!([first.message, first.message, first.message], [second.message, third.message, again.message]);
    assert_eq!([first.seen, second.seen, again.seen], [Seen::New, Seen::New, Seen::Before]);
    let messages = world.messages(first.conversation).await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].message.content, Content::Text("three of them\n\nthe last".into()));
    let names: Vec<&str> = messages[0].message.attachments.iter().map(|of| of.name.as_str()).collect();
    assert_eq!(names, ["m1", "m2", "m3"]);
    world.clock.advance(Duration::from_millis(900));
    assert_eq!(agent.requests().len(), 0, "one may still come");
    world
        .advance_until(Duration::from_millis(100), "the agent is asked", || async { !agent.requests().is_empty() })
        .await;
    let told = body(&agent.requests()[0]);
    assert_eq!(told["data"]["message"]["attachments"].as_array().unwrap().len(), 3);
    let late = inbox(&world).accept(item("m4", "")).await.unwrap();
    assert_ne!(late.message, first.message, "what comes too late is a message of its own");
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_as_a_dead_letter_and_read_again_when_that_is_replayed() {
    let agent = silent().await;
    let world = able(&agent).await;
    for (id, raw) in [("u1", "{\"new\": 1}"), ("u2", "still {"), ("u1", "{\"new\": 1}")] {
        let what = Happening::Unreadable { raw: raw.into(), reason: "a field is of another form".into() };
        inbox(&world).note(Occurrence { sender: None, ..happened(id, what) }).await.unwrap();
    }
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        assert!(letter.reason.contains("could not be read"), "{}", letter.reason);
        assert_eq!(kinds(&world, letter.conversation).await, ["input.unreadable"]);
        world.desk.replay(letter.id).await.unwrap();
    }
    world.until("both were read again", || async { world.channel.read_again().len() == 2 }).await;
    world.until("one is a letter again", || async { world.dead_letters().await.len() == 1 }).await;
    agent.wait_for(1).await;
    assert_eq!(body(&agent.requests()[0])["data"]["message"]["text"], "{\"new\": 1}");
}

#[tokio::test]
async fn an_answer_to_what_was_sent_names_it_and_a_quote_stays() {
    let agent = FarEnd::start(|_: &Received| Reply::json(200, json!({"text": "hi"}))).await;
    let world = able(&agent).await;
    let accepted = inbox(&world).accept(ours("t", "m1", "hello")).await.unwrap();
    world.until_status(accepted.conversation, 1, DeliveryStatus::Sent).await;
    let answer = Envelope {
        reply_to: Some("ext1".parse().unwrap()),
        quote: Some("hi".into()),
        forwarded_from: Some("Bo".into()),
        origin: Some("web-42".into()),
        ..ours("t", "m2", "why?")
    };
    inbox(&world).accept(answer).await.unwrap();
    agent.wait_for(2).await;
    let told = body(&agent.requests()[1]);
    let sent = world.messages(accepted.conversation).await[1].message.id;
    assert_eq!(told["data"]["message"]["reply_to"], sent.to_string());
    assert_eq!(told["data"]["message"]["quote"], "hi");
    assert_eq!(told["data"]["message"]["forwarded_from"], "Bo");
    assert_eq!(told["data"]["conversation"]["origin"], "web-42");
}

#[tokio::test]
async fn what_whoever_looks_should_know_is_noted_only_where_there_is_a_conversation() {
    let agent = silent().await;
    let world = able(&agent).await;
    inbox(&world).note(happened("b1", Happening::Told("the bot was blocked".into()))).await.unwrap();
    let accepted = inbox(&world).accept(ours("t", "m1", "hello")).await.unwrap();
    inbox(&world).note(happened("b2", Happening::Told("the bot was blocked".into()))).await.unwrap();
    assert_eq!(kinds(&world, accepted.conversation).await, ["message.created", "conversation.updated"]);
}

async fn answered(parts: usize) -> (World, FarEnd, ConversationId, MessageId) {
    let agent = FarEnd::start(|_: &Received| Reply::json(200, json!({"text": "hi"}))).await;
    let world = World::new(Some(&agent.url()), Channel::able(parts)).await;
    let accepted = inbox(&world).accept(ours("t", "m1", "hello")).await.unwrap();
    world.until_status(accepted.conversation, 1, DeliveryStatus::Sent).await;
    let sent = world.messages(accepted.conversation).await[1].message.id;
    (world, agent, accepted.conversation, sent)
}

async fn act(world: &World, id: ConversationId, action: Value) -> Result<(), String> {
    let reply =
        parse_reply(json!({ "actions": [action] }).to_string().as_bytes()).map_err(|error| error.to_string())?;
    world.desk.reply(id, reply, Speaker::Agent, None).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_sent_message_is_changed_and_taken_back() {
    let (world, _agent, id, sent) = answered(2).await;
    act(&world, id, json!({"type": "edit", "message_id": sent, "text": "hello"})).await.unwrap();
    let sends = world.channel.sends(4).await;
    assert_eq!(sends[2].text, "edit ext1: hello/0");
    assert_eq!(sends[3].text, "edit ext2: hello/1");
    assert_eq!(world.messages(id).await[1].message.content, Content::Text("hello".into()));
    act(&world, id, json!({"type": "delete", "message_id": sent})).await.unwrap();
    let sends = world.channel.sends(6).await;
    assert_eq!([sends[4].text.as_str(), sends[5].text.as_str()], ["withdraw ext1", "withdraw ext2"]);
    assert_eq!(kinds(&world, id).await[3..], ["message.edited", "message.deleted"]);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_change_that_shortens_takes_the_rest_back_and_the_next_one_knows_it() {
    let (world, _agent, id, sent) = answered(3).await;
    world.channel.takes_parts(1);
    act(&world, id, json!({"type": "edit", "message_id": sent, "text": "short"})).await.unwrap();
    act(&world, id, json!({"type": "edit", "message_id": sent, "text": "shorter"})).await.unwrap();
    let sends = world.channel.sends(7).await;
    let texts: Vec<&str> = sends[3..].iter().map(|send| send.text.as_str()).collect();
    assert_eq!(texts, ["edit ext1: short/0", "withdraw ext2", "withdraw ext3", "edit ext1: shorter/0"]);
    world.channel.takes_parts(2);
    act(&world, id, json!({"type": "edit", "message_id": sent, "text": "long again"})).await.unwrap();
    world.until("a dead letter", || async { world.dead_letters().await.len() == 1 }).await;
    let reason = &world.dead_letters().await[0].reason;
    assert!(reason.contains("needs 2 messages") && reason.contains("and 1 had been sent"), "{reason}");
    assert_eq!(world.channel.sent().len(), 7, "nothing half is shown");
    assert_eq!(world.messages(id).await[1].status, Some(DeliveryStatus::Sent));
}

#[tokio::test]
async fn a_change_that_may_not_have_arrived_is_made_again() {
    let (world, _agent, id, sent) = answered(1).await;
    world.channel.then(Outcome::Uncertain { reason: "the connection broke".into() });
    act(&world, id, json!({"type": "edit", "message_id": sent, "text": "hello"})).await.unwrap();
    world.advance_until(Duration::from_secs(1), "it is made again", || async { world.channel.sent().len() == 3 }).await;
    assert_eq!(world.channel.sent()[2].text, "edit ext1: hello/0");
}

#[tokio::test]
async fn a_change_that_is_refused_is_a_dead_letter() {
    let (world, _agent, id, sent) = answered(1).await;
    world.channel.then(Outcome::Failed { scope: Scope::Message, reason: "too old".into() });
    act(&world, id, json!({"type": "delete", "message_id": sent})).await.unwrap();
    world.until("a dead letter", || async { world.dead_letters().await.len() == 1 }).await;
    assert_eq!(world.dead_letters().await[0].reason, "too old");
}

#[tokio::test]
async fn only_what_our_side_sent_here_can_be_changed() {
    let (world, _agent, id, _) = answered(1).await;
    let theirs = world.messages(id).await[0].message.id;
    for action in
        [json!({"type": "edit", "message_id": theirs, "text": "x"}), json!({"type": "delete", "message_id": theirs})]
    {
        let refused = act(&world, id, action).await.unwrap_err();
        assert!(refused.contains("no message that was sent"), "{refused}");
    }
    let refused = act(&world, id, json!({"type": "edit", "message_id": theirs, "text": " "})).await.unwrap_err();
    assert!(refused.contains("says nothing"), "{refused}");
}

#[tokio::test]
async fn a_channel_without_buttons_shows_a_list_and_says_so() {
    let agent = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let world = World::new(Some(&agent.url()), Channel::new(Resend::SameKey, 1)).await;
    let accepted = world.write("t", "1", "hello").await;
    let reply = json!({"messages": [{"text": "Which?", "buttons": [{"label": "Red"}, {"label": "Blue"}]}]});
    let reply = parse_reply(reply.to_string().as_bytes()).unwrap();
    let replied = world.desk.reply(accepted.conversation, reply, Speaker::Agent, None).await.unwrap();
    assert_eq!(replied.messages[0].degraded, ["buttons"]);
    let sent = world.channel.sends(1).await;
    assert_eq!(sent[0].text, "Which?\n\n1. Red\n2. Blue/0");
}

#[tokio::test]
async fn while_the_agent_works_the_other_side_sees_that() {
    let agent = FarEnd::start(|_: &Received| Reply::status(204).after(Duration::from_secs(2))).await;
    let world = able(&agent).await;
    inbox(&world).accept(ours("t", "m1", "hello")).await.unwrap();
    world.advance_until(Duration::from_millis(100), "typing is shown", || async { world.channel.typed() > 0 }).await;
}
