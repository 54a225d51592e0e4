//! A Telegram bot's channel: from a customer's chat to the agent and back, over a fake of the platform's own server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use frontdesk_testkit::{
    bot_api::BotApi,
    far_end::{FarEnd, Received, Reply},
    ledger::Dice,
};
use serde_json::{Value, json};

use crate::{
    ten_kills::seed,
    world::{World, event, takes, text_of_event},
};

const CHATS: usize = 6;
const MESSAGES: usize = 20;
const KILLS: usize = 4;

fn with_bot(world: World, telegram: &BotApi) -> World {
    let channel = format!(
        "[channels.tg]\nkind = \"telegram\"\ntoken = \"{}\"\napi_url = \"{}\"\nrate = \"off\"\n",
        telegram.token(),
        telegram.url()
    );
    World { site: world.site.with(&channel), ..world }
}

/// In every conversation there is: what its messages to the customer have come to.
async fn outcomes(world: &World) -> Vec<String> {
    let page = world.get("/v1/conversations?limit=200").await;
    let mut statuses = Vec::new();
    for conversation in page["data"].as_array().unwrap() {
        let messages = world.messages(conversation["id"].as_str().unwrap()).await;
        let outbound = messages.iter().filter(|message| message["direction"] == "outbound");
        statuses.extend(outbound.map(|message| message["status"].as_str().unwrap().to_owned()));
    }
    statuses
}

#[tokio::test]
async fn what_is_written_to_the_bot_is_answered_in_its_chat_and_files_come_along() {
    let telegram = BotApi::start().await;
    let world = with_bot(World::that_echoes().await, &telegram);
    let _daemon = world.start().await;
    let ada = telegram.person("Ada", "de");
    telegram.say(ada, ada, "Where is my order?");
    let call = telegram.wait_for("sendMessage", 1).await.remove(0);
    assert_eq!((&call.params["chat_id"], &call.params["text"]), (&json!(ada), &json!("re: Where is my order?")));
    telegram.send_file(ada, ada, "document", "bill.txt", b"12 bicycles", "My bill");
    let told = world.agent.wait_for(2).await.iter().map(event).next_back().unwrap();
    let attachment = &told["data"]["message"]["attachments"][0];
    assert_eq!((&attachment["name"], &attachment["state"]), (&json!("bill.txt"), &json!("stored")), "{told:#}");
    let bytes = world.http.get(attachment["url"].as_str().unwrap()).send().await.unwrap().text().await.unwrap();
    assert_eq!(bytes, "12 bicycles");
    // All of it belongs to one conversation, and Telegram has nothing left for us.
    let page = world.get("/v1/conversations").await;
    assert_eq!((page["data"].as_array().unwrap().len(), &page["data"][0]["kind"]), (1, &json!("telegram")));
    telegram.wait_for("sendMessage", 2).await;
    world.get_until("/v1/status", "a confirmed portion", |_| telegram.pending() == 0).await;
}

/// The platform has no key by which it would know a repeat: what was in flight is uncertain, and is not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_no_message_of_a_chat_and_send_no_answer_twice() {
    let seed = seed();
    println!("seed {seed} (FRONTDESK_TEST_SEED repeats it)");
    let mut dice = Dice(seed);
    let telegram = BotApi::start().await;
    telegram.latency(Duration::from_millis(20));
    let agent = FarEnd::start(|request: &Received| {
        let reply = Reply::json(200, json!({ "text": format!("re: {}", text_of_event(request)) }));
        reply.after(Duration::from_millis(30))
    })
    .await;
    let world = with_bot(World::of(agent, FarEnd::start(takes).await), &telegram);
    let people: Vec<i64> = (0..CHATS).map(|_| telegram.person("Ada", "en")).collect();
    let mut daemon = world.start().await;
    for number in 0..MESSAGES {
        for person in &people {
            telegram.say(*person, *person, &format!("{person} says {number}"));
        }
        tokio::time::sleep(dice.millis(10, 60)).await;
        if number % (MESSAGES / KILLS) == MESSAGES / KILLS - 1 {
            tokio::time::sleep(dice.millis(0, 150)).await;
            daemon.kill().await.unwrap();
            daemon = world.start().await;
        }
    }
    let all = CHATS * MESSAGES;
    let whole = |requests: &[Received]| requests.iter().map(text_of_event).collect::<BTreeSet<_>>().len() == all;
    let asked = world.agent.wait_until("every message asked", whole).await;
    let mut settled = Vec::new();
    for _ in 0..400 {
        settled = outcomes(&world).await;
        if settled.len() == all && settled.iter().all(|status| status == "sent" || status == "uncertain") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let uncertain = settled.iter().filter(|status| *status == "uncertain").count();
    assert_eq!(settled.len() - uncertain, settled.iter().filter(|status| *status == "sent").count(), "{settled:?}");
    assert!(settled.len() == all && uncertain <= CHATS * KILLS, "{} settled, {uncertain} uncertain", settled.len());
    // What the agent heard and what each chat saw: in order, and nothing in a chat twice.
    in_order(asked.iter().map(text_of_event), Repeats::Allowed);
    let seen: Vec<String> = telegram.sent().iter().map(text_of).collect();
    in_order(seen.iter().map(|text| text.trim_start_matches("re: ").to_owned()), Repeats::None);
    assert!(seen.len() + uncertain >= all, "{} of {all} seen, {uncertain} uncertain", seen.len());
    daemon.terminate().unwrap();
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());
}

fn text_of(message: &Value) -> String {
    message["text"].as_str().unwrap_or_default().to_owned()
}

#[derive(PartialEq)]
enum Repeats {
    Allowed,
    None,
}

/// `PERSON says NUMBER`, each person's in order.
fn in_order(texts: impl Iterator<Item = String>, repeats: Repeats) {
    let mut latest: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts {
        let (person, number) = text.split_once(" says ").unwrap();
        let number: usize = number.parse().unwrap();
        if let Some(last) = latest.get(person) {
            let good = number > *last || (repeats == Repeats::Allowed && number == *last);
            assert!(good, "{person}: {number} after {last}");
        }
        latest.insert(person.to_owned(), number);
    }
}

#[tokio::test]
async fn a_check_online_says_how_the_bot_is_set_up_and_what_to_switch_where() {
    let telegram = BotApi::start().await;
    let world = with_bot(World::that_echoes().await, &telegram);
    world.site.write().unwrap();
    let check = |arguments: &'static [&'static str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_frontdesk"));
        command.current_dir(world.site.folder()).args(["check", "--online"]).args(arguments);
        async { tokio::task::spawn_blocking(move || command.output()).await.unwrap() }
    };
    let said = check(&[]).await.unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{text} {}", String::from_utf8_lossy(&said.stderr));
    assert!(text.contains("tg (telegram)\n") && text.contains("  fine "), "{text}");
    let found: Value = serde_json::from_slice(&check(&["--json"]).await.unwrap().stdout).unwrap();
    assert!(found.is_array(), "{found}");
    assert!(telegram.sent().is_empty() && telegram.count("getUpdates") == 0, "it takes nothing and sends nothing");
    drop(telegram);
    let said = check(&[]).await.unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.contains("  wrong "), "{text}");
}
