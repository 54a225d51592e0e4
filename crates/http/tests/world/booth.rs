//! A channel for tests: routes that behave well, badly, or not at all, and a far end that refuses one text.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use frontdesk_model::*;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Notify, watch};

/// The far end refuses a message that says this.
pub const REFUSED: &str = "the far end refuses this";
/// More than the kernel's buffers between two sockets hold.
pub const LARGE: usize = 32 * 1024 * 1024;

static CAPABILITIES: LazyLock<Capabilities> = LazyLock::new(|| Capabilities {
    max_text: None,
    unit: TextUnit::CodePoints,
    buttons: false,
    edit: false,
    attachments: false,
    typing: false,
    outbound: true,
    resend: Resend::SameKey,
    delete: false,
    refers: false,
});

#[derive(Clone, Default)]
pub struct Booth(Arc<State>);

#[derive(Default)]
struct State {
    entered: Notify,
    release: Notify,
    hanging: watch::Sender<usize>,
    forgiving: AtomicBool,
    messages: AtomicU64,
}

impl Booth {
    /// Waits until a handler of `/hang` has been entered.
    pub async fn entered(&self) {
        self.0.entered.notified().await;
    }

    /// Lets one handler of `/hang` answer.
    pub fn release(&self) {
        self.0.release.notify_one();
    }

    /// Waits until so many handlers of `/hang` are in hand at once.
    pub async fn in_hand(&self, wanted: usize) {
        let mut hanging = self.0.hanging.subscribe();
        super::soon("requests in hand", hanging.wait_for(|now| *now >= wanted)).await.unwrap();
    }

    /// How many handlers of `/hang` are in hand.
    pub fn hanging(&self) -> usize {
        *self.0.hanging.borrow()
    }

    /// Lets all handlers of `/hang` answer that are in hand.
    pub fn release_all(&self) {
        self.0.release.notify_waiters();
    }

    /// From now on the far end refuses nothing.
    pub fn forgive(&self) {
        self.0.forgiving.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Adapter for Booth {
    fn capabilities(&self) -> &Capabilities {
        &CAPABILITIES
    }

    fn routes(&self, inbox: Arc<dyn Inbox>) -> Vec<Route> {
        let route = |method, path| {
            let handler = Counter { path, state: Arc::clone(&self.0), inbox: Arc::clone(&inbox) };
            let max_body = if path == "/messages" { 1_000_000 } else { 4096 };
            Route { document: document(method, path), max_body, handler: Arc::new(handler) }
        };
        let posts = ["/messages", "/echo", "/refuse", "/panic", "/broken"].map(|path| route(Method::Post, path));
        let gets = ["/hang", "/large"].map(|path| route(Method::Get, path));
        posts.into_iter().chain(gets).collect()
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        Ok(())
    }

    async fn receive(&self, _: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        std::future::pending().await
    }

    fn render(&self, outgoing: &Outgoing) -> Vec<FrozenPart> {
        vec![FrozenPart(json!(outgoing.message.content.source()))]
    }

    async fn send(&self, dispatch: &Dispatch<'_>) -> Outcome {
        if dispatch.part.0 == json!(REFUSED) && !self.0.forgiving.load(Ordering::SeqCst) {
            return Outcome::Failed { scope: Scope::Message, reason: "the far end refuses it".into() };
        }
        Outcome::Sent { external_id: None }
    }
}

fn document(method: Method, path: &'static str) -> RouteDocument {
    let problem = |(status, slug, title)| ProblemDocument { status, slug, title };
    RouteDocument {
        method,
        path,
        id: path,
        summary: "A route for tests",
        description: "",
        admissions: vec![Admission::Bearer, Admission::Signature, Admission::Anybody],
        headers: vec![],
        body: (method == Method::Post).then(|| json!({"type": "object"})),
        example: None,
        answers: [200, 202]
            .map(|status| AnswerDocument {
                status,
                description: "It is done.",
                headers: vec![HeaderDocument { name: "Frontdesk-Duplicate", description: "It was here before." }],
                body: json!(true),
            })
            .to_vec(),
        problems: vec![problem((401, "bad-signature", "The signature does not match"))],
    }
}

struct Counter {
    path: &'static str,
    state: Arc<State>,
    inbox: Arc<dyn Inbox>,
}

#[async_trait]
impl RouteHandler for Counter {
    async fn handle(&self, request: RouteRequest) -> RouteResponse {
        match self.path {
            "/messages" => self.take(&request).await,
            "/echo" => echo(&request),
            "/refuse" => RouteResponse::Problem(HttpProblem {
                status: 401,
                slug: "bad-signature",
                title: "The signature does not match",
                detail: "sign the raw body with the channel's secret".into(),
                retry_after: Some(7),
            }),
            "/panic" => panic!("a bug in a channel"),
            "/hang" => {
                let released = self.state.release.notified();
                self.state.entered.notify_one();
                let _hanging = Hanging::new(&self.state.hanging);
                released.await;
                ok(200, json!({"released": true}))
            }
            "/large" => ok(200, json!("x".repeat(LARGE))),
            _ => ok(99, json!(null)),
        }
    }
}

/// Counts a handler for as long as it is there.
struct Hanging<'a>(&'a watch::Sender<usize>);

impl<'a> Hanging<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|now| *now += 1);
        Self(count)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|now| *now -= 1);
    }
}

#[derive(Deserialize)]
struct Written {
    thread: String,
    text: String,
}

impl Counter {
    async fn take(&self, request: &RouteRequest) -> RouteResponse {
        let written: Written = serde_json::from_slice(&request.body).unwrap();
        let number = self.state.messages.fetch_add(1, Ordering::SeqCst);
        let identity = Identity { kind: "booth".into(), value: "u42".into(), trust: Trust::Verified };
        let envelope = Envelope {
            thread: written.thread.parse().unwrap(),
            external_id: number.to_string().parse().unwrap(),
            unique_within: UniqueWithin::Account,
            sender: Sender { identity, also: Vec::new(), name: Some("Ada".into()), locale: None },
            content: Content::Text(written.text),
            subject: None,
            attachments: Vec::new(),
            auto_generated: false,
            sent_at: None,
            reply_to: None,
            quote: None,
            forwarded_from: None,
            album: None,
            origin: None,
        };
        let accepted = self.inbox.accept(envelope).await.unwrap();
        ok(202, json!({"conversation_id": accepted.conversation, "message_id": accepted.message}))
    }
}

/// What the route was handed.
fn echo(request: &RouteRequest) -> RouteResponse {
    let headers: BTreeMap<_, _> = request.headers.iter().cloned().collect();
    let body = String::from_utf8_lossy(&request.body);
    RouteResponse::Json {
        status: 200,
        headers: vec![("frontdesk-duplicate", "true".into()), ("broken", "line\nbreak".into())],
        body: json!({"headers": headers, "bearer": format!("{:?}", request.bearer), "body": body}),
    }
}

fn ok(status: u16, body: serde_json::Value) -> RouteResponse {
    RouteResponse::Json { status, headers: Vec::new(), body }
}
