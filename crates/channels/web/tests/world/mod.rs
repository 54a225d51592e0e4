//! A webhook channel between a test's inbox and a test's far end, and the requests of a sender who signs with the reference
//! library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, dead_code, missing_docs, unreachable_pub)] // tests may stop at the first surprise; not every test file uses everything

use std::{net::SocketAddr, sync::Arc, time::Duration};

use frontdesk_model::*;
use frontdesk_testkit::{
    adapter_suite::{AdapterCase, TestInbox},
    clock::TestClock,
    far_end::Received,
};
use frontdesk_web::WebhookKind;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// What stands in the query of `deliver_url`.
pub const QUERY_TOKEN: &str = "t0k3n-in-the-query";

pub fn now() -> Timestamp {
    "2026-01-05T10:00:00Z".parse().unwrap()
}

pub fn secrets(secrets: &[&str]) -> Setting {
    Setting::Secrets(secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect())
}

/// Settings with one secret, and the further ones given.
pub fn settings(more: impl IntoIterator<Item = (&'static str, Setting)>) -> Settings {
    let mut settings = Settings::default();
    settings.insert("secret", secrets(&[SECRET]));
    for (name, setting) in more {
        settings.insert(name, setting);
    }
    settings
}

pub fn checked(settings: &Settings) -> Box<dyn ChannelConfig> {
    WebhookKind.validate(&ChannelName::new("shop").unwrap(), settings).unwrap()
}

pub fn deliver_to(address: SocketAddr) -> Setting {
    Setting::Text(format!("http://{address}/hook?token={QUERY_TOKEN}"))
}

/// A channel, and everything around it.
pub struct World {
    pub clock: Arc<TestClock>,
    pub inbox: Arc<TestInbox>,
    pub adapter: Arc<dyn Adapter>,
}

impl World {
    pub fn new(settings: &Settings) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(TestClock::new(now()));
        let adapter = checked(settings)
            .build(frontdesk_model::Surroundings { clock: Arc::clone(&clock) as _, public_url: None })
            .unwrap();
        Self { clock, inbox: TestInbox::open(), adapter }
    }

    pub async fn hand_in(&self, request: RouteRequest) -> RouteResponse {
        let routes = self.adapter.routes(Arc::clone(&self.inbox) as _);
        routes[0].handler.handle(request).await
    }

    /// The problem that a request gets.
    pub async fn refused(&self, request: RouteRequest) -> HttpProblem {
        match self.hand_in(request).await {
            RouteResponse::Problem(problem) => problem,
            taken @ RouteResponse::Json { .. } => panic!("taken: {taken:?}"),
        }
    }

    /// Status, `Frontdesk-Duplicate`, and body.
    pub async fn taken(&self, request: RouteRequest) -> (u16, Option<String>, serde_json::Value) {
        match self.hand_in(request).await {
            RouteResponse::Json { status, headers, body } => {
                let duplicate = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("Frontdesk-Duplicate"));
                (status, duplicate.map(|(_, value)| value), body)
            }
            RouteResponse::Problem(problem) => panic!("refused: {problem:?}"),
        }
    }

    pub async fn send(&self, outgoing: &Outgoing) -> Outcome {
        let parts = self.adapter.render(outgoing);
        assert_eq!(parts.len(), 1);
        self.adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part: &parts[0], links: &[] }).await
    }
}

/// A request without any proof.
pub fn bare(body: &str) -> RouteRequest {
    RouteRequest { headers: Vec::new(), body: body.to_owned().into(), bearer: Bearer::Absent }
}

/// A request with a bearer token of ours.
pub fn with_token(body: &str) -> RouteRequest {
    RouteRequest { bearer: Bearer::Ingest, ..bare(body) }
}

pub fn header(mut request: RouteRequest, name: &str, value: &str) -> RouteRequest {
    request.headers.push((name.to_owned(), value.to_owned()));
    request
}

/// A signed request, as the reference library signs it.
pub fn signed_with(secret: &str, id: &str, at: i64, body: &str) -> RouteRequest {
    let signature = standardwebhooks::Webhook::new(secret).unwrap().sign(id, at, body.as_bytes()).unwrap();
    let request = header(bare(body), "webhook-id", id);
    header(header(request, "webhook-timestamp", &at.to_string()), "webhook-signature", &signature)
}

pub fn signed(id: &str, body: &str) -> RouteRequest {
    signed_with(SECRET, id, now().as_secs(), body)
}

pub fn hello() -> String {
    r#"{"from":{"id":"u42"},"text":"Where is my order?"}"#.to_owned()
}

/// A message to Ada, in markdown.
pub fn outgoing() -> Outgoing {
    let thread = ThreadId::new("order-77").unwrap();
    let key = ThreadKey {
        kind: KindName::new("webhook").unwrap(),
        account: AccountId::new("shop").unwrap(),
        thread: thread.clone(),
    };
    let partition = Partition::of(&key);
    let identity = |kind: &str, value: &str, trust| Identity { kind: kind.into(), value: value.into(), trust };
    Outgoing {
        message: Message {
            id: MessageId::new(now(), partition, [7; 9]),
            direction: Direction::Outbound,
            author: Author::Agent,
            external_id: None,
            content: Content::Markdown("It ships **today**.".into()),
            reply_to: Some(MessageId::new(now(), partition, [6; 9])),
            private: false,
            attachments: Vec::new(),
            auto_generated: false,
            sent_at: None,
            received_at: now(),
            buttons: Vec::new(),
            quote: None,
            forwarded_from: None,
            edited_at: None,
            settles_at: None,
        },
        conversation: ConversationId::new(now(), partition, [5; 9]),
        thread,
        to: Some(Contact {
            id: ContactId::from_bytes([4; 16]),
            name: Some("Ada".into()),
            locale: None,
            identities: vec![
                identity("email", "ada@example.com", Trust::Asserted),
                identity("webhook", "u42", Trust::Verified),
            ],
        }),
        reply_to_external: Some(ExternalId::new("order-77-note-3").unwrap()),
    }
}

/// The channel as the suite that every channel passes sees it.
pub struct WebhookCase;

impl AdapterCase for WebhookCase {
    fn config(&self, far_end: SocketAddr) -> Box<dyn ChannelConfig> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        checked(&settings([
            ("deliver_url", deliver_to(far_end)),
            ("timeout", Setting::Span(Duration::from_secs(1))),
            ("secret", secrets(&[SECRET, OLD_SECRET])),
        ]))
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn good_request(&self, number: u32) -> Option<RouteRequest> {
        Some(signed(&format!("m{number}"), &hello()))
    }

    fn bad_requests(&self) -> Vec<(&'static str, RouteRequest)> {
        vec![
            ("nobody vouches for it", bare(&hello())),
            (
                "signed with another secret",
                signed_with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "m", now().as_secs(), &hello()),
            ),
            ("no JSON", signed("m", "{")),
            ("nothing said", signed("m", r#"{"from":{"id":"u42"}}"#)),
            (
                "attachment by no address",
                signed("m", r#"{"from":{"id":"u42"},"text":"x","attachments":[{"url":"file:///x"}]}"#),
            ),
        ]
    }

    fn outgoing(&self) -> Outgoing {
        outgoing()
    }

    fn key(&self, received: &Received) -> Option<String> {
        received.header("webhook-id").map(str::to_owned)
    }

    fn secrets(&self) -> Vec<String> {
        let behind = |secret: &str| secret.trim_start_matches("whsec_").to_owned();
        vec![behind(SECRET), behind(OLD_SECRET), QUERY_TOKEN.to_owned()]
    }
}
