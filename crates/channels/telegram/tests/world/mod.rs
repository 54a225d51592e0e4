//! A Telegram channel between a test's inbox and a Bot API in the test's hands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, dead_code, missing_docs, unreachable_pub)] // tests may stop at the first surprise; not every test file uses everything

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use frontdesk_model::*;
use frontdesk_telegram::TelegramKind;
use frontdesk_testkit::{
    adapter_suite::{AdapterCase, TestInbox},
    bot_api::BotApi,
    clock::TestClock,
    far_end::{FarEnd, Received, Reply},
};
use serde_json::{Value, json};

pub const TOKEN: &str = "4242:AAE-secret_of_the_bot";

pub fn now() -> Timestamp {
    "2026-01-05T10:00:00Z".parse().unwrap()
}

pub fn text(text: &str) -> Setting {
    Setting::Text(text.to_owned())
}

pub fn settings(more: impl IntoIterator<Item = (&'static str, Setting)>) -> Settings {
    let mut settings = Settings::default();
    settings.insert("token", Setting::Secrets(vec![Secret::new(TOKEN.to_owned())]));
    for (name, setting) in more {
        settings.insert(name, setting);
    }
    settings
}

pub fn validated(settings: &Settings) -> Result<Box<dyn ChannelConfig>, Vec<Problem>> {
    TelegramKind.validate(&ChannelName::new("tg").unwrap(), settings)
}

pub fn channel_at(address: SocketAddr, more: Vec<(&'static str, Setting)>) -> (Arc<dyn Adapter>, Arc<TestClock>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Arc::new(TestClock::new(now()));
    let more = more.into_iter().chain([("api_url", text(&format!("http://{address}")))]);
    let config = validated(&settings(more)).unwrap();
    let public_url = Some("https://desk.example.com".to_owned());
    (config.build(Surroundings { clock: Arc::clone(&clock) as _, public_url }).unwrap(), clock)
}

/// The parameters of a call.
pub fn params(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

pub fn method(received: &Received) -> &str {
    received.path.rsplit('/').next().unwrap()
}

pub fn ok(result: Value) -> Reply {
    Reply::json(200, json!({ "ok": true, "result": result }))
}

pub fn refused(code: u16, words: &str, parameters: Value) -> Reply {
    Reply::json(code, json!({ "ok": false, "error_code": code, "description": words, "parameters": parameters }))
}

/// A Bot API that keeps updates until an offset confirms them, as Telegram's does. With nothing to give a question hangs.
pub async fn polled(updates: Vec<Value>) -> FarEnd {
    let kept = Mutex::new(updates);
    FarEnd::start(move |request| match method(request) {
        "getMe" => ok(json!({ "id": 4242, "is_bot": true, "first_name": "Bot", "username": "DeskBot" })),
        "getUpdates" => {
            let mut kept = kept.lock().unwrap();
            if let Some(offset) = params(request)["offset"].as_i64() {
                kept.retain(|update| update["update_id"].as_i64().unwrap() >= offset);
            }
            if kept.is_empty() { Reply::hang() } else { ok(Value::Array(kept.clone())) }
        }
        _ => ok(Value::Bool(true)),
    })
    .await
}

/// What the bot is written in private.
pub fn private(update: i64, person: i64, message: i64, fields: Value) -> Value {
    let mut said = json!({
        "message_id": message, "date": 1_767_607_200, "chat": {"id": person, "type": "private"},
        "from": {"id": person, "is_bot": false, "first_name": "Ada", "last_name": "L", "language_code": "pt-BR"}
    });
    said.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "update_id": update, "message": said })
}

/// What is said in a supergroup.
pub fn in_group(update: i64, message: i64, fields: Value) -> Value {
    let mut said = private(update, 7, message, fields);
    said["message"]["chat"] = json!({ "id": -1_001, "type": "supergroup", "title": "Ask" });
    said
}

/// Receives until the inbox has seen so many.
pub async fn received(far_end: &FarEnd, count: usize, more: Vec<(&'static str, Setting)>) -> Vec<Envelope> {
    let (adapter, _) = channel_at(far_end.addr(), more);
    let inbox = TestInbox::open();
    tokio::select! {
        ended = adapter.receive(Arc::clone(&inbox) as _) => panic!("receiving ended: {ended:?}"),
        () = inbox.wait_for_arrivals(count) => {}
    }
    inbox.taken()
}

/// Receives until so much was handed in, messages and what else happened.
pub async fn noted(far_end: &FarEnd, count: usize, more: Vec<(&'static str, Setting)>) -> Arc<TestInbox> {
    let (adapter, _) = channel_at(far_end.addr(), more);
    let inbox = TestInbox::open();
    let confirmed =
        far_end.wait_until("a confirmation", |seen| seen.iter().any(|one| !params(one)["offset"].is_null()));
    tokio::select! {
        ended = adapter.receive(Arc::clone(&inbox) as _) => panic!("receiving ended: {ended:?}"),
        _ = confirmed => {}
    }
    assert_eq!(inbox.arrivals(), count);
    inbox
}

/// A channel of the fake's bot.
pub fn channel_of(telegram: &BotApi, more: Vec<(&'static str, Setting)>) -> Arc<dyn Adapter> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let token = Setting::Secrets(vec![Secret::new(telegram.token().to_owned())]);
    let more = more.into_iter().chain([("token", token), ("api_url", text(&telegram.url()))]);
    let public_url = Some("https://desk.example.com".to_owned());
    let surroundings = Surroundings { clock: Arc::new(TestClock::new(now())), public_url };
    validated(&settings(more)).unwrap().build(surroundings).unwrap()
}

pub fn outgoing(thread: &str, markdown: &str) -> Outgoing {
    let thread = ThreadId::new(thread).unwrap();
    let key = ThreadKey {
        kind: KindName::new("telegram").unwrap(),
        account: AccountId::new("4242").unwrap(),
        thread: thread.clone(),
    };
    let partition = Partition::of(&key);
    Outgoing {
        message: Message {
            id: MessageId::new(now(), partition, [7; 9]),
            direction: Direction::Outbound,
            author: Author::Agent,
            external_id: None,
            content: Content::Markdown(markdown.into()),
            reply_to: None,
            private: false,
            attachments: Vec::new(),
            buttons: Vec::new(),
            auto_generated: false,
            sent_at: None,
            received_at: now(),
            quote: None,
            forwarded_from: None,
            edited_at: None,
            settles_at: None,
        },
        conversation: ConversationId::new(now(), partition, [5; 9]),
        thread,
        to: None,
        reply_to_external: Some(ExternalId::new("123:76").unwrap()),
    }
}

pub async fn send(adapter: &Arc<dyn Adapter>, outgoing: &Outgoing) -> Outcome {
    let parts = adapter.render(outgoing);
    adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part: &parts[0], links: &[] }).await
}

/// The channel as the suite that every channel passes sees it.
pub struct TelegramCase;

impl AdapterCase for TelegramCase {
    fn config(&self, far_end: SocketAddr) -> Box<dyn ChannelConfig> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        validated(&settings([("api_url", text(&format!("http://{far_end}")))])).unwrap()
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn good_request(&self, _number: u32) -> Option<RouteRequest> {
        None
    }

    fn bad_requests(&self) -> Vec<(&'static str, RouteRequest)> {
        Vec::new()
    }

    fn outgoing(&self) -> Outgoing {
        outgoing("123", "It ships **today**.")
    }

    fn key(&self, _received: &Received) -> Option<String> {
        None
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned(), "AAE-secret_of_the_bot".to_owned()]
    }
}

/// Long enough for anything that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(30);
