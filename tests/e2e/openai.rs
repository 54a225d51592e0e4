//! A language model as the agent: the daemon against a chat-completions server that is as strict as the real one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use frontdesk_testkit::{
    chat::{self, Asked, Rules},
    daemon::Daemon,
    far_end::{FarEnd, Received, Reply},
};
use serde_json::{Value, json};

use crate::world::{ADMIN, BOT, INGEST, SHOP_SECRET, World, event, gate, sections_with, takes, text_of_delivery};

const MODEL: &str = "some/model";
const KEY: &str = "sk-canary-key-0123456789";
const INSTRUCTIONS: &str = "You answer for a bicycle shop that opens at nine.";

fn rules() -> Rules {
    Rules::of(MODEL).with_key(KEY)
}

/// What stands under `[agent]`.
fn table(server: &FarEnd, key: &str, lines: &str) -> String {
    format!(
        "url = \"{}v1\"\nprotocol = \"openai\"\napi_key = \"{key}\"\nmodel = \"{MODEL}\"\ninstructions = \"{INSTRUCTIONS}\"\n{lines}",
        server.url()
    )
}

async fn world_with(server: FarEnd, lines: &str) -> World {
    let table = table(&server, KEY, lines);
    World::with_agent_table(server, FarEnd::start(takes).await, &table)
}

/// A model that gives these answers one after the other, and the last one from then on.
async fn model(rules: Rules, answers: Vec<Reply>) -> World {
    let next = AtomicUsize::new(0);
    let answer = move |_: &Asked| {
        let at = next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        answers[at].clone()
    };
    world_with(FarEnd::start(rules.answering(answer)).await, "").await
}

fn asked(world: &World) -> Vec<Asked> {
    world.agent.requests().iter().map(Asked::of).collect()
}

async fn conversation(world: &World, id: &str) -> Value {
    world.get(&format!("/v1/conversations/{id}")).await
}

/// The reasons that stand in a conversation's log.
async fn reasons(world: &World, id: &str) -> Vec<String> {
    let events = world.get(&format!("/v1/conversations/{id}/events")).await;
    let reason = |event: &Value| event["data"]["conversation"]["reason"].as_str().map(str::to_owned);
    events["data"].as_array().unwrap().iter().filter_map(reason).collect()
}

async fn handed_over(world: &World, id: &str) -> Value {
    let path = format!("/v1/conversations/{id}");
    world.get_until(&path, "handed over", |conversation| conversation["owner"] == "desk").await
}

#[tokio::test]
async fn a_language_model_answers_without_a_line_of_code() {
    let server = FarEnd::start(rules().answering(|asked| chat::text(&format!("re: **{}**", asked.last_said())))).await;
    let world = world_with(server, "").await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "When do you open?").await;
    let delivered = world.shop.wait_for(1).await;
    assert_eq!(event(&delivered[0])["data"]["message"]["markdown"], "re: **When do you open?**");
    world.settled(&id, "sent").await;
    world.say("t", "2", "And on Sundays?").await;
    world.shop.wait_for(2).await;

    let requests = world.agent.requests();
    assert_eq!(requests.len(), 2, "a strict server had nothing to refuse");
    assert_eq!(requests[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(requests[0].header("accept-encoding"), None, "nothing packed is asked for");
    assert_eq!(requests[0].header("webhook-id"), None);
    let asked = asked(&world);
    assert!(asked[0].system().starts_with(INSTRUCTIONS));
    assert_eq!(asked[0].talk(), ["user: When do you open?"]);
    assert_eq!(asked[0].body["user"], id);
    assert_eq!(asked[0].tools(), ["handoff", "resolve"]);
    assert_eq!(
        asked[1].talk(),
        ["user: When do you open?", "assistant: re: **When do you open?**", "user: And on Sundays?"]
    );
}

#[tokio::test]
async fn what_a_customer_writes_while_the_model_is_busy_goes_out_in_one_request() {
    for (rules, burst) in [
        (rules(), vec!["user: two", "user: three", "user: four"]),
        (rules().alternating(), vec!["user: two\n\nthree\n\nfour"]),
    ] {
        let gate = gate();
        let server = {
            let gate = Arc::clone(&gate);
            FarEnd::start_async(move |request: Received| {
                let (rules, gate) = (rules.clone(), Arc::clone(&gate));
                async move {
                    if let Some(refusal) = rules.refusal(&request) {
                        return refusal;
                    }
                    gate.acquire().await.unwrap().forget();
                    chat::text(&format!("re: {}", Asked::of(&request).last_said()))
                }
            })
            .await
        };
        let world = world_with(server, "").await;
        let _daemon = world.start().await;
        world.say("t", "1", "one").await;
        world.agent.wait_for(1).await;
        for (n, text) in ["two", "three", "four"].iter().enumerate() {
            world.say("t", &format!("{}", n + 2), text).await;
        }
        gate.add_permits(10);
        let delivered = world.shop.wait_for(2).await;
        assert_eq!(text_of_delivery(&delivered[0]), "re: one");
        assert!(text_of_delivery(&delivered[1]).ends_with("four"), "{}", text_of_delivery(&delivered[1]));
        let asked = asked(&world);
        let answered = asked.last().unwrap();
        let mut talk = vec!["user: one", "assistant: re: one"];
        talk.extend(burst);
        assert_eq!(answered.talk(), talk);
        let conversation = answered.body["user"].as_str().unwrap();
        world.settled(conversation, "sent").await;
        assert_eq!(world.messages(conversation).await.len(), 4 + 2, "one reply for all of them");
    }
}

#[tokio::test]
async fn a_handoff_gives_the_conversation_to_the_desk_after_the_models_last_words() {
    let handoff = chat::calls(Some("A colleague will answer."), &[("handoff", json!({ "reason": "wants a refund" }))]);
    let world = model(rules(), vec![handoff]).await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "I want my money back.").await;
    assert_eq!(handed_over(&world, &id).await["attention"], "handoff");
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "A colleague will answer.");
    assert_eq!(reasons(&world, &id).await, ["wants a refund"]);
    world.say("t", "2", "Hello?").await;
    let other = world.say("u", "1", "I want my money back too.").await;
    handed_over(&world, &other).await;
    let users: Vec<Value> = asked(&world).iter().map(|asked| asked.body["user"].clone()).collect();
    assert_eq!(users, [json!(id), json!(other)], "what the desk owns is not the model's");
}

#[tokio::test]
async fn a_model_resolves_what_is_done_and_hears_of_it_again_when_the_customer_writes() {
    let done = chat::calls(None, &[("resolve", json!({}))]);
    let world = model(rules(), vec![chat::text("At nine."), done, chat::text("Also at nine.")]).await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "When do you open?").await;
    world.settled(&id, "sent").await;
    world.say("t", "2", "Thanks!").await;
    let path = format!("/v1/conversations/{id}");
    world.get_until(&path, "resolved", |conversation| conversation["status"] == "resolved").await;
    world.say("t", "3", "And tomorrow?").await;
    let delivered = world.shop.wait_for(2).await;
    assert_eq!(delivered.iter().map(text_of_delivery).collect::<Vec<_>>(), ["At nine.", "Also at nine."]);
    assert_eq!(conversation(&world, &id).await["status"], "open");
}

#[tokio::test]
async fn a_cut_answer_is_never_sent_and_a_shorter_one_is_asked_for_at_once() {
    let world = model(rules(), vec![chat::cut("We open at nine, except on"), chat::text("At nine.")]).await;
    let _daemon = world.start().await;
    let id = world.say("t", "1", "When do you open?").await;
    world.settled(&id, "sent").await;
    let delivered = world.shop.requests();
    assert_eq!(delivered.iter().map(text_of_delivery).collect::<Vec<_>>(), ["At nine."]);
    let asked = asked(&world);
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].talk(), asked[1].talk(), "the piece is not sent back either");
    assert!(asked[1].system().contains("shorter") && !asked[0].system().contains("shorter"));
}

#[tokio::test]
async fn what_the_model_refuses_goes_to_the_desk_and_nothing_is_said() {
    let refused = [
        chat::refusal("I cannot help with that."),
        chat::filtered("Well, first you"),
        chat::error(400, "invalid_request_error", Some("content_filter"), "The prompt was filtered: canary"),
    ];
    for answer in refused {
        let world = model(rules(), vec![answer]).await;
        let _daemon = world.start().await;
        let id = world.say("t", "1", "canary").await;
        assert_eq!(handed_over(&world, &id).await["attention"], "handoff");
        let reasons = reasons(&world, &id).await;
        assert!(reasons.len() == 1 && reasons[0].contains("language model"), "{reasons:?}");
        assert!(!reasons[0].contains("canary"), "{reasons:?}");
        assert_eq!((world.shop.count(), world.messages(&id).await.len()), (0, 1), "nothing but the question");
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_or_cannot_be_read_is_asked_for_again() {
    let bad = [
        chat::completion(&json!({ "role": "assistant", "content": "", "refusal": null }), "stop"),
        chat::completion(&json!({ "role": "assistant", "content": "<think>hm" }), "stop"),
        Reply::text(200, "<html>a proxy's page</html>").header("content-type", "text/html"),
        Reply::json(200, json!({ "error": { "message": "upstream failed", "code": 502 } })),
        Reply::text(200, &"x".repeat(1_000_001)),
        chat::text("too late").drip(64, Duration::from_secs(2)),
        chat::text("too late").after(Duration::from_secs(2)),
        chat::text("cut by the network").break_off_after(40),
    ];
    for answer in bad {
        let server = {
            let next = AtomicUsize::new(0);
            let answer = move |_: &Asked| match next.fetch_add(1, Ordering::SeqCst) {
                0 => answer.clone(),
                _ => chat::text("At nine."),
            };
            FarEnd::start(rules().answering(answer)).await
        };
        let world = world_with(server, "timeout = \"1 s\"").await;
        let _daemon = world.start().await;
        let id = world.say("t", "1", "When do you open?").await;
        world.settled(&id, "sent").await;
        assert_eq!(world.agent.count(), 2);
        let delivered: Vec<_> = world.shop.requests().iter().map(text_of_delivery).collect();
        assert_eq!(delivered, ["At nine."]);
    }
}

#[tokio::test]
async fn a_wrong_key_keeps_everything_waiting_and_says_what_to_mend() {
    let server = FarEnd::start(rules().answering(|_| chat::text("At nine."))).await;
    let wrong = table(&server, "sk-canary-wrong", "");
    let mut world = World::with_agent_table(server, FarEnd::start(takes).await, &wrong);
    let mut daemon = world.start().await;
    let ids = [world.say("t", "1", "canary text").await, world.say("u", "1", "canary text").await];
    daemon.says("the agent is unwell").await.unwrap();
    daemon.says("set api_key in [agent]").await.unwrap();
    assert!(world.dead_letters().await.is_empty());
    assert_nothing_shown(&mut daemon).await;

    let right = table(&world.agent, KEY, "");
    world.site.reconfigure(&sections_with(&right, &world.shop.url()));
    let _daemon = world.start().await;
    for id in &ids {
        world.settled(id, "sent").await;
    }
    assert_eq!(world.shop.count(), 2);
}

#[tokio::test]
async fn servers_that_take_less_are_answered_in_their_way_from_the_second_question_on() {
    let rules = rules().alternating().without_user().without_tools();
    let world = model(rules, vec![chat::text("At nine."), chat::text("Also at nine.")]).await;
    let mut daemon = world.start().await;
    let id = world.say("t", "1", "When do you open?").await;
    world.settled(&id, "sent").await;
    daemon.says("takes no tools").await.unwrap();
    let before = world.agent.count();
    assert_eq!(before, 3, "one without a user, one without tools");
    world.say("t", "2", "And on Sundays?").await;
    world.shop.wait_for(2).await;
    assert_eq!(world.agent.count(), before + 1);
    let last = asked(&world).pop().unwrap();
    assert_eq!(last.talk(), ["user: When do you open?", "assistant: At nine.", "user: And on Sundays?"]);
    assert!(last.tools().is_empty() && last.body.get("user").is_none());
}

#[tokio::test]
async fn killed_while_the_model_thinks_one_reply_comes_out() {
    let thinking = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&thinking);
    let server = FarEnd::start(rules().answering(move |_| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::hang(),
        _ => chat::text("At nine."),
    }))
    .await;
    let world = world_with(server, "").await;
    let mut daemon = world.start().await;
    let id = world.say("t", "1", "When do you open?").await;
    world.agent.wait_for(1).await;
    daemon.kill().await.unwrap();

    let _daemon = world.start().await;
    world.settled(&id, "sent").await;
    let asked = asked(&world);
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, asked[1].body, "the same question");
    assert_eq!((world.shop.count(), world.messages(&id).await.len()), (1, 2));
}

#[tokio::test]
async fn t37_nothing_of_a_servers_errors_its_key_or_the_customers_words_is_in_the_log() {
    let errors: [fn(&Asked) -> Reply; 6] = [
        |_| chat::error(400, "invalid_request_error", Some("canary code"), "canary-text with sk-canary"),
        |_| chat::error(401, "canary-type", Some("canary-code"), "Incorrect API key provided: sk-canary"),
        |_| chat::error(500, "server_error", None, "canary"),
        |_| Reply::text(200, "canary"),
        |_| chat::calls(Some("canary-answer"), &[("canary_tool", json!({ "reason": "canary" }))]),
        |_| chat::calls(None, &[("handoff", json!({ "reason": "canary" }))]),
    ];
    for answer in errors {
        let world = world_with(FarEnd::start(rules().answering(answer)).await, "").await;
        let mut daemon = world.start().await;
        world.say("canary-one", "1", "canary-text").await;
        world.say("canary-two", "1", "canary-text").await;
        world
            .agent
            .wait_until("both asked", |requests| {
                let users: std::collections::BTreeSet<String> =
                    requests.iter().map(|request: &Received| Asked::of(request).body["user"].to_string()).collect();
                users.len() == 2 || requests.len() > 2
            })
            .await;
        assert_nothing_shown(&mut daemon).await;
    }
}

/// Ends the daemon and looks at everything that it said.
async fn assert_nothing_shown(daemon: &mut Daemon) {
    daemon.terminate().unwrap();
    daemon.ended(Duration::from_secs(30)).await.unwrap();
    let said = daemon.said();
    assert!(said.contains("stopped"), "the log was not heard to its end: {said}");
    for secret in ["canary", "bicycle", SHOP_SECRET, INGEST, BOT, ADMIN] {
        assert!(!said.contains(secret), "{secret} is in the log:\n{said}");
    }
}
