//! Updates that Telegram posts, and the address that they are posted to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::{sync::Arc, time::Duration};

use frontdesk_model::*;
use frontdesk_telegram::TelegramKind;
use frontdesk_testkit::{
    adapter_suite::TestInbox,
    bot_api::BotApi,
    far_end::{FarEnd, Reply},
};
use serde_json::{Value, json};
use world::*;

const HEADER: &str = "x-telegram-bot-api-secret-token";

fn webhook() -> Vec<(&'static str, Setting)> {
    vec![("receive", text("webhook"))]
}

fn request(secret: Option<&str>, body: &str) -> RouteRequest {
    RouteRequest {
        headers: secret.map(|secret| (HEADER.to_owned(), secret.to_owned())).into_iter().collect(),
        body: body.to_owned().into(),
        bearer: Bearer::Absent,
    }
}

/// Registers at a far end, and says the secret that was agreed on.
async fn agreed(adapter: &Arc<dyn Adapter>, far_end: &FarEnd, inbox: &Arc<TestInbox>) -> String {
    let set = far_end.wait_until("an address", |seen| seen.iter().any(|one| method(one) == "setWebhook"));
    let seen =
        tokio::select! { ended = adapter.receive(Arc::clone(inbox) as _) => panic!("{ended:?}"), seen = set => seen };
    let set = seen.iter().find(|one| method(one) == "setWebhook").unwrap();
    params(set)["secret_token"].as_str().unwrap().to_owned()
}

async fn platform() -> FarEnd {
    FarEnd::start(|request| match method(request) {
        "getMe" => ok(json!({"id": 4242, "username": "DeskBot"})),
        "getWebhookInfo" => ok(json!({"url": "", "pending_update_count": 0})),
        _ => ok(Value::Bool(true)),
    })
    .await
}

fn status(response: &RouteResponse) -> u16 {
    match response {
        RouteResponse::Json { status, .. } => *status,
        RouteResponse::Problem(problem) => problem.status,
    }
}

#[tokio::test]
async fn t33_a_forged_update_is_refused_and_reaches_nobody() {
    let far_end = platform().await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let inbox = TestInbox::open();
    let secret = agreed(&adapter, &far_end, &inbox).await;
    assert!(secret.len() == 64 && !secret.contains("AAE"), "it does not show the token");
    let asked = far_end.count();
    let route = adapter.routes(Arc::clone(&inbox) as _).remove(0);
    let body = private(1, 123, 1, json!({"text": "hello"})).to_string();
    let mut flipped = secret.clone();
    let last = if flipped.pop() == Some('0') { '1' } else { '0' };
    flipped.push(last);
    for (what, brought) in [
        ("none", None),
        ("an empty one", Some("")),
        ("another", Some("guess")),
        ("one letter off", Some(flipped.as_str())),
        ("one that goes on", Some(&*format!("{secret}0"))),
        ("the token", Some(TOKEN)),
    ] {
        let RouteResponse::Problem(problem) = route.handler.handle(request(brought, &body)).await else {
            panic!("taken with {what}");
        };
        assert_eq!((problem.status, problem.slug), (401, "unauthorized"), "{what}");
        assert!(!format!("{problem:?}").contains(&secret));
        let described = &route.document.problems;
        assert!(described.iter().any(|known| (known.status, known.slug) == (problem.status, problem.slug)));
    }
    assert_eq!((inbox.arrivals(), far_end.count()), (0, asked), "nothing is done for a stranger");
    let response = route.handler.handle(request(Some(&secret), &body)).await;
    assert_eq!(status(&response), 200, "{response:?}");
    assert_eq!(inbox.taken().len(), 1);
}

#[tokio::test]
async fn t36_a_flood_of_forged_updates_asks_nothing_of_telegram_or_the_store() {
    let far_end = platform().await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let inbox = TestInbox::open();
    let route = adapter.routes(Arc::clone(&inbox) as _).remove(0);
    for n in 0..10_000 {
        let body = format!("{{\"update_id\": {n}}}");
        assert_eq!(status(&route.handler.handle(request(Some("guess"), &body)).await), 401);
    }
    assert_eq!((inbox.arrivals(), far_end.count()), (0, 0));
}

#[tokio::test]
async fn an_update_is_answered_after_its_commit_and_a_repeat_changes_nothing() {
    let far_end = platform().await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let inbox = TestInbox::held();
    let secret = agreed(&adapter, &far_end, &inbox).await;
    let handler = adapter.routes(Arc::clone(&inbox) as _).remove(0).handler;
    let update = request(Some(&secret), &private(1, 123, 1, json!({"text": "hello"})).to_string());
    let mut answering = std::pin::pin!(handler.handle(update.clone()));
    tokio::select! {
        biased;
        response = &mut answering => panic!("before the commit: {response:?}"),
        () = inbox.wait_for_arrivals(1) => {}
    }
    for _ in 0..100 {
        tokio::select! {
            biased;
            response = &mut answering => panic!("before the commit: {response:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    inbox.commit_one();
    assert_eq!(status(&answering.await), 200);
    inbox.commit_one();
    assert_eq!(status(&handler.handle(update).await), 200);
    assert_eq!(inbox.taken().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_taken_is_to_come_again() {
    let far_end = platform().await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let inbox = TestInbox::open();
    let secret = agreed(&adapter, &far_end, &inbox).await;
    inbox.close();
    let handler = adapter.routes(Arc::clone(&inbox) as _).remove(0).handler;
    for body in [private(1, 123, 1, json!({"text": "hello"})).to_string(), "{\"update_id\": 1, ".to_owned()] {
        let RouteResponse::Problem(problem) = handler.handle(request(Some(&secret), &body)).await else {
            panic!("confirmed what was not taken");
        };
        assert_eq!((problem.status, problem.retry_after), (503, Some(7)));
    }
    inbox.reopen();
    let update = private(1, 123, 1, json!({"text": "hello"})).to_string();
    assert_eq!(status(&handler.handle(request(Some(&secret), &update)).await), 200);
    assert_eq!(inbox.taken().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_does_not_hold_up_what_follows() {
    let far_end = platform().await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let inbox = TestInbox::open();
    let secret = agreed(&adapter, &far_end, &inbox).await;
    let handler = adapter.routes(Arc::clone(&inbox) as _).remove(0).handler;
    for body in ["{\"update_id\": 1, ", "{\"update_id\": 1, \"message\": {\"message_id\": \"x\"}}"] {
        assert_eq!(status(&handler.handle(request(Some(&secret), body)).await), 200);
    }
    let raws: Vec<String> = inbox
        .noted()
        .into_iter()
        .map(|one| if let Happening::Unreadable { raw, .. } = one.what { raw } else { panic!("{one:?}") })
        .collect();
    assert_eq!(raws[0], "{\"update_id\": 1, ");
    assert_eq!(serde_json::from_str::<Value>(&raws[1]).unwrap()["message"]["message_id"], "x");
}

#[tokio::test]
async fn the_address_is_registered_for_one_connection_with_what_is_wanted() {
    let far_end = platform().await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    agreed(&adapter, &far_end, &TestInbox::open()).await;
    let requests = far_end.requests();
    let mut asked = params(requests.iter().find(|one| method(one) == "setWebhook").unwrap());
    asked.as_object_mut().unwrap().remove("secret_token").unwrap();
    assert_eq!(
        asked,
        json!({
            "url": "https://desk.example.com/v1/channels/tg/updates",
            "max_connections": 1,
            "allowed_updates": ["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"]
        })
    );
    assert!(requests.iter().all(|one| method(one) != "getUpdates"));
    // The same on every daemon with this token.
    let again = platform().await;
    let (other, _) = channel_at(again.addr(), webhook());
    let secret = agreed(&other, &again, &TestInbox::open()).await;
    assert_eq!(params(requests.iter().find(|one| method(one) == "setWebhook").unwrap())["secret_token"], secret);
}

#[tokio::test]
async fn a_webhook_of_another_program_is_reported_and_stays() {
    let far_end = FarEnd::start(|request| match method(request) {
        "getMe" => ok(json!({"id": 4242, "username": "DeskBot"})),
        _ => ok(json!({"url": "https://other.example/hook/s3cret"})),
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let error = adapter.receive(TestInbox::open() as _).await.unwrap_err().to_string();
    assert!(error.contains("other.example") && !error.contains("s3cret"), "{error}");
    assert!(far_end.requests().iter().all(|one| !matches!(method(one), "setWebhook" | "deleteWebhook")));
}

#[tokio::test]
async fn an_address_that_telegram_does_not_take_is_said_with_its_mend() {
    let far_end = FarEnd::start(|request| match method(request) {
        "getMe" => ok(json!({"id": 4242, "username": "DeskBot"})),
        "getWebhookInfo" => ok(json!({"url": ""})),
        _ => refused(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook", json!({})),
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let error = adapter.receive(TestInbox::open() as _).await.unwrap_err().to_string();
    assert!(error.contains("public_url") && error.contains("443"), "{error}");
}

#[tokio::test]
async fn what_others_changed_is_set_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let far_end = FarEnd::start(move |request| match method(request) {
        "getMe" => ok(json!({"id": 4242, "username": "DeskBot"})),
        "getWebhookInfo" => match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            // Ours, at an address of before; then as it was set; then gone.
            0 => ok(json!({"url": "https://old.example.com/v1/channels/tg/updates"})),
            1 => ok(json!({"url": "https://desk.example.com/v1/channels/tg/updates"})),
            _ => ok(json!({"url": ""})),
        },
        _ => ok(Value::Bool(true)),
    })
    .await;
    let (adapter, clock) = channel_at(far_end.addr(), webhook());
    let sets =
        |seen: &[frontdesk_testkit::far_end::Received]| seen.iter().filter(|one| method(one) == "setWebhook").count();
    let watching = async {
        let mut seen = far_end.requests();
        while sets(&seen) < 2 {
            clock.advance(Duration::from_secs(60));
            tokio::task::yield_now().await;
            seen = far_end.requests();
        }
        seen
    };
    let watching = tokio::time::timeout(PATIENCE, watching);
    let seen = tokio::select! { ended = adapter.receive(TestInbox::open() as _) => panic!("{ended:?}"), seen = watching => seen.unwrap() };
    let looks = seen.iter().filter(|one| method(one) == "getWebhookInfo").count();
    assert!(looks >= 3, "not set again while it is as it was set");
}

#[tokio::test]
async fn a_channel_that_polls_again_takes_its_own_address_away_and_goes_on() {
    let telegram = BotApi::start().await;
    let ada = telegram.person("Ada", "en");
    telegram.say(ada, ada, "while nobody was there");
    let adapter = channel_of(&telegram, vec![]);
    let hook = reqwest::Client::new().post(format!("{}/bot{}/setWebhook", telegram.url(), telegram.token()));
    let hook = hook.header("content-type", "application/json");
    let hook = hook.body(json!({"url": "http://127.0.0.1:9/v1/channels/tg/updates"}).to_string());
    assert!(hook.send().await.unwrap().status().is_success());
    let inbox = TestInbox::open();
    tokio::select! {
        ended = adapter.receive(Arc::clone(&inbox) as _) => panic!("{ended:?}"),
        () = inbox.wait_for_arrivals(1) => {}
    }
    assert_eq!(telegram.count("deleteWebhook"), 1);
    assert_eq!(inbox.taken()[0].content.source(), "while nobody was there");
}

#[tokio::test]
async fn a_channel_that_polls_has_no_route_and_the_kind_describes_it() {
    let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), vec![]);
    assert!(adapter.routes(TestInbox::open() as _).is_empty());
    let documents = TelegramKind.routes();
    assert_eq!(documents.iter().map(|document| document.path).collect::<Vec<_>>(), ["/updates"]);
}

#[tokio::test]
async fn nothing_is_taken_while_telegram_does_not_say_who_the_bot_is() {
    let far_end = platform().await;
    let (adapter, _) = channel_at(far_end.addr(), webhook());
    let secret = agreed(&adapter, &far_end, &TestInbox::open()).await;
    let silent = FarEnd::start(|_| Reply::close()).await;
    let (adapter, _) = channel_at(silent.addr(), webhook());
    let inbox = TestInbox::open();
    let handler = adapter.routes(Arc::clone(&inbox) as _).remove(0).handler;
    let update = private(1, 123, 1, json!({"text": "hello"})).to_string();
    assert_eq!(status(&handler.handle(request(Some(&secret), &update)).await), 503);
    assert_eq!(inbox.arrivals(), 0);
}
