//! One daemon with its two ends: everything that a test needs to send a message in and see what comes of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use frontdesk_testkit::{
    daemon::{Daemon, Site},
    far_end::{FarEnd, Received, Reply},
    process::{forget_peak, memory},
};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::sync::Semaphore;

/// What events to the agent are signed with.
pub(crate) const AGENT_SECRET: &str = "whsec_YWdlbnQtc2VjcmV0LWFnZW50LXNlY3JldC0wMTIzNDU=";
/// What the shop's requests and ours to it are signed with.
pub(crate) const SHOP_SECRET: &str = "whsec_c2hvcC1zZWNyZXQtc2hvcC1zZWNyZXQtMDEyMzQ1Njc=";
/// Hands in messages.
pub(crate) const INGEST: &str = "ingest-token-0123456789";
/// Reads and answers.
pub(crate) const BOT: &str = "bot-token-0123456789";
/// Everything.
pub(crate) const ADMIN: &str = "admin-token-0123456789";

/// A site, the agent endpoint, and the far end of the channel `shop`.
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) agent: FarEnd,
    pub(crate) shop: FarEnd,
    pub(crate) http: reqwest::Client,
}

impl World {
    /// Not started yet.
    pub(crate) fn of(agent: FarEnd, shop: FarEnd) -> Self {
        Self::with_agent_lines(agent, shop, "")
    }

    /// With further lines in `[agent]`.
    pub(crate) fn with_agent_lines(agent: FarEnd, shop: FarEnd, lines: &str) -> Self {
        let site =
            Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap().with(&sections(&agent.url(), &shop.url(), lines));
        Self { site, agent, shop, http: client() }
    }

    /// With an `[agent]` table of the test's own.
    pub(crate) fn with_agent_table(agent: FarEnd, shop: FarEnd, table: &str) -> Self {
        let site = Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap().with(&sections_with(table, &shop.url()));
        Self { site, agent, shop, http: client() }
    }

    /// An agent that answers each message with `re: ` and its text, and a far end that takes everything.
    pub(crate) async fn that_echoes() -> Self {
        Self::of(FarEnd::start(echo).await, FarEnd::start(|_| Reply::status(204)).await)
    }

    /// Starts the daemon.
    pub(crate) async fn start(&self) -> Daemon {
        self.site.start().await.unwrap()
    }

    /// A request to the daemon.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.site.url(path))
    }

    /// Hands a message in, with the ingest token.
    pub(crate) async fn post(&self, thread: &str, id: &str, text: &str) -> reqwest::Result<Response> {
        self.post_body(message(thread, id, text).to_string()).await
    }

    /// Hands any bytes in, with the ingest token.
    pub(crate) async fn post_body(&self, body: impl Into<reqwest::Body>) -> reqwest::Result<Response> {
        self.request(Method::POST, "/v1/channels/shop/messages").bearer_auth(INGEST).body(body).send().await
    }

    /// Hands a message in and wants it taken; its conversation.
    pub(crate) async fn say(&self, thread: &str, id: &str, text: &str) -> String {
        let answer = self.post(thread, id, text).await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        body["conversation_id"].as_str().unwrap().to_owned()
    }

    /// Reads with the admin token; wants 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).bearer_auth(ADMIN).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// A conversation's messages, oldest first.
    pub(crate) async fn messages(&self, conversation: &str) -> Vec<Value> {
        let page = self.get(&format!("/v1/conversations/{conversation}/messages?limit=200")).await;
        assert_eq!(page["next"], Value::Null, "more than a test should need");
        page["data"].as_array().unwrap().iter().rev().cloned().collect()
    }

    /// Reads until it is as wanted: for states that give no signal to the outside.
    pub(crate) async fn get_until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..1500 {
            last = self.get(path).await;
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not in time: {what}; last seen: {last:#}");
    }

    /// Waits until the newest message of a conversation is outbound and has this status.
    pub(crate) async fn settled(&self, conversation: &str, status: &str) -> Value {
        let path = format!("/v1/conversations/{conversation}/messages?limit=1");
        let page = self
            .get_until(&path, &format!("{conversation} {status}"), |page| {
                page["data"][0]["direction"] == "outbound" && page["data"][0]["status"] == status
            })
            .await;
        page["data"][0].clone()
    }

    /// The dead letters, newest first.
    pub(crate) async fn dead_letters(&self) -> Vec<Value> {
        self.get("/v1/dead-letters").await["data"].as_array().unwrap().clone()
    }
}

/// How much a daemon's memory has grown since some moment.
pub(crate) struct Growth {
    process: u32,
    before: f64,
}

impl Growth {
    /// From now on.
    pub(crate) fn of(daemon: &Daemon) -> Self {
        forget_peak(daemon.pid()).unwrap();
        Self { process: daemon.pid(), before: memory(daemon.pid()).unwrap().resident }
    }

    /// At no moment by more than this.
    pub(crate) fn assert_below(&self, mib: f64) {
        let grown = memory(self.process).unwrap().peak - self.before;
        println!("grown by {grown:.1} MiB, at most {mib} wanted, from {:.1}", self.before);
        assert!(grown < mib, "grown by {grown:.1} MiB from {:.1}", self.before);
    }
}

/// The configuration's tables for an agent and a shop.
pub(crate) fn sections(agent: &str, shop: &str, agent_lines: &str) -> String {
    sections_with(&format!("url = \"{agent}\"\nsecret = \"{AGENT_SECRET}\"\n{agent_lines}"), shop)
}

/// The configuration's tables for what stands under `[agent]` and a shop.
pub(crate) fn sections_with(agent_table: &str, shop: &str) -> String {
    format!(
        r#"
[agent]
{agent_table}

[channels.shop]
kind = "webhook"
secret = "{SHOP_SECRET}"
deliver_url = "{shop}"

[tokens.ingest]
token = "{INGEST}"
scopes = ["ingest"]

[tokens.bot]
token = "{BOT}"
scopes = ["agent"]

[tokens.admin]
token = "{ADMIN}"
scopes = ["admin"]
"#
    )
}

pub(crate) fn client() -> reqwest::Client {
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// An inbound message.
pub(crate) fn message(thread: &str, id: &str, text: &str) -> Value {
    json!({ "id": id, "thread": thread, "from": { "id": format!("u-{thread}"), "name": "Ada" }, "text": text })
}

/// An event as the agent got it.
pub(crate) fn event(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// What the customer wrote.
pub(crate) fn text_of_event(request: &Received) -> String {
    event(request)["data"]["message"]["text"].as_str().unwrap().to_owned()
}

/// What came out at the far end.
pub(crate) fn text_of_delivery(request: &Received) -> String {
    let message = &event(request)["data"]["message"];
    message["text"].as_str().unwrap().to_owned()
}

/// Which thread a delivery is for.
pub(crate) fn thread_of_delivery(request: &Received) -> String {
    event(request)["data"]["thread"].as_str().unwrap().to_owned()
}

/// `webhook-id`: the event's id at the agent, the message's at the far end.
pub(crate) fn webhook_id(request: &Received) -> String {
    request.header("webhook-id").unwrap().to_owned()
}

/// Whether a request is signed with this secret, over exactly these bytes.
pub(crate) fn is_signed(request: &Received, secret: &str) -> bool {
    Webhook::new(secret).unwrap().verify(&request.body, &request.headers).is_ok()
}

/// Answers with `re: ` and what was said.
pub(crate) fn echo(request: &Received) -> Reply {
    Reply::json(200, json!({ "text": format!("re: {}", text_of_event(request)) }))
}

/// Gives each of these answers once, in order, and the last one from then on.
pub(crate) fn one_after_another(
    answers: Vec<fn(&Received) -> Reply>,
) -> impl Fn(&Received) -> Reply + Send + Sync + 'static {
    let next = AtomicUsize::new(0);
    move |request| {
        let at = next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        answers[at](request)
    }
}

/// Answers one request for each permit of `gate`, and says on `answered` that it does.
pub(crate) async fn gated(gate: &Arc<Semaphore>, answered: &Arc<Semaphore>, answer: fn(&Received) -> Reply) -> FarEnd {
    let (gate, answered) = (Arc::clone(gate), Arc::clone(answered));
    FarEnd::start_async(move |request| {
        let (gate, answered) = (Arc::clone(&gate), Arc::clone(&answered));
        async move {
            gate.acquire().await.unwrap().forget();
            answered.add_permits(1);
            answer(&request)
        }
    })
    .await
}

/// A closed gate.
pub(crate) fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// Takes everything.
pub(crate) fn takes(_: &Received) -> Reply {
    Reply::status(204)
}
