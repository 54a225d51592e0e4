//! The suite on a small channel of its own: sound, it passes every claim; with a flaw, the claim about that flaw fails.
#![allow(clippy::unwrap_used)] // a test may stop at the first surprise

use std::{collections::BTreeSet, net::SocketAddr, sync::Mutex, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use frontdesk_model::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{AdapterCase, Arc, Received};

const SECRET: &str = "open sesame";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    AnswersFirst,
    SwallowsInboxErrors,
    ForgetsDuplicates,
    TakesAnything,
    AnswersOtherwise,
    RendersTheTime,
    EndsReceiving,
    SendsTwice,
    GuessesFailed,
    TellsSecrets,
}

struct Case(Flaw);

#[derive(Debug)]
struct Config(Flaw, SocketAddr);

struct Small {
    flaw: Flaw,
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    capabilities: Capabilities,
}

struct Handler(Flaw, Arc<dyn Inbox>, Mutex<BTreeSet<String>>);

impl ChannelConfig for Config {
    fn account(&self) -> AccountId {
        AccountId::new("small").unwrap()
    }

    fn build(&self, surroundings: frontdesk_model::Surroundings) -> Result<Arc<dyn Adapter>, BuildError> {
        let capabilities = Capabilities {
            max_text: None,
            unit: TextUnit::Bytes,
            buttons: false,
            edit: false,
            attachments: false,
            typing: false,
            outbound: true,
            resend: Resend::SameKey,
            delete: false,
            refers: false,
        };
        Ok(Arc::new(Small { flaw: self.0, address: self.1, clock: surroundings.clock, capabilities }))
    }
}

fn document() -> RouteDocument {
    let problem = |status| ProblemDocument { status, slug: "no", title: "no" };
    RouteDocument {
        method: Method::Post,
        path: "/",
        id: "receiveSmallMessage",
        summary: "Hands in a message",
        description: "",
        admissions: vec![Admission::Anybody],
        headers: vec![],
        body: None,
        example: None,
        answers: vec![AnswerDocument {
            status: 202,
            description: "It is stored.",
            headers: vec![],
            body: serde_json::json!({"type": "string"}),
        }],
        problems: vec![problem(400), problem(503)],
    }
}

#[async_trait]
impl RouteHandler for Handler {
    async fn handle(&self, request: RouteRequest) -> RouteResponse {
        let problem = |status, detail: &str, retry_after| {
            RouteResponse::Problem(HttpProblem { status, slug: "no", title: "no", detail: detail.into(), retry_after })
        };
        let text = String::from_utf8_lossy(&request.body).into_owned();
        if text.is_empty() && self.0 == Flaw::AnswersOtherwise {
            return problem(422, "empty", None);
        }
        if text.is_empty() && self.0 != Flaw::TakesAnything {
            return problem(400, "empty", None);
        }
        let repeat = self.0 == Flaw::ForgetsDuplicates && !self.2.lock().unwrap().insert(text.clone());
        let envelope = Envelope {
            thread: ThreadId::new("t").unwrap(),
            external_id: ExternalId::new(format!("{text} {repeat}")).unwrap(),
            unique_within: UniqueWithin::Thread,
            sender: Sender {
                identity: Identity { kind: "small".into(), value: "u".into(), trust: Trust::Guess },
                also: vec![],
                name: None,
                locale: None,
            },
            content: Content::Text(text),
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
        let fine = |body| RouteResponse::Json { status: 202, headers: vec![], body };
        if self.0 == Flaw::AnswersFirst {
            let inbox = Arc::clone(&self.1);
            tokio::spawn(async move { inbox.accept(envelope).await });
            return fine("soon".into());
        }
        match self.1.accept(envelope).await {
            Ok(accepted) => fine(accepted.message.to_string().into()),
            Err(_) if self.0 == Flaw::SwallowsInboxErrors => fine("whatever".into()),
            Err(InboxError::Unavailable { retry_after, reason }) => {
                problem(503, &reason, Some(retry_after.as_secs() + 1))
            }
        }
    }
}

impl Small {
    async fn post(&self, part: &Dispatch<'_>) -> Result<u16, Outcome> {
        let not_open = |error: std::io::Error| Outcome::RetryAfter {
            after: None,
            scope: Scope::Channel,
            reason: if self.flaw == Flaw::TellsSecrets { format!("{SECRET}: {error}") } else { error.to_string() },
        };
        let mut stream = TcpStream::connect(self.address).await.map_err(not_open)?;
        let body = part.part.0.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: h\r\nkey: {}\r\ncontent-length: {}\r\n\r\n{body}",
            part.message,
            body.len()
        );
        let unknown = || match self.flaw {
            Flaw::GuessesFailed => Outcome::Failed { scope: Scope::Message, reason: "no answer".into() },
            _ => Outcome::Uncertain { reason: "no answer".into() },
        };
        stream.write_all(request.as_bytes()).await.map_err(|_| unknown())?;
        let mut head = [0; 12];
        match tokio::time::timeout(Duration::from_secs(1), stream.read_exact(&mut head)).await {
            Ok(Ok(_)) => String::from_utf8_lossy(&head).rsplit(' ').next().unwrap().parse().map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

#[async_trait]
impl Adapter for Small {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn routes(&self, inbox: Arc<dyn Inbox>) -> Vec<Route> {
        let handler = Arc::new(Handler(self.flaw, inbox, Mutex::default()));
        vec![Route { document: document(), max_body: 100, handler }]
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        TcpStream::connect(self.address).await.map(drop).map_err(|error| ProbeError(error.to_string()))
    }

    async fn receive(&self, _: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        if self.flaw == Flaw::EndsReceiving { Ok(()) } else { std::future::pending().await }
    }

    fn render(&self, message: &Outgoing) -> Vec<FrozenPart> {
        let time = if self.flaw == Flaw::RendersTheTime { self.clock.now().to_string() } else { String::new() };
        vec![FrozenPart(serde_json::json!([message.message.content.source(), time]))]
    }

    async fn send(&self, part: &Dispatch<'_>) -> Outcome {
        if self.flaw == Flaw::SendsTwice {
            let _ = self.post(part).await;
        }
        let reason = String::new();
        match self.post(part).await {
            Ok(200..=299) => Outcome::Sent { external_id: None },
            Ok(500..=599) => Outcome::RetryAfter { after: None, scope: Scope::Message, reason },
            Ok(_) => Outcome::Failed { scope: Scope::Message, reason },
            Err(outcome) => outcome,
        }
    }
}

impl AdapterCase for Case {
    fn config(&self, far_end: SocketAddr) -> Box<dyn ChannelConfig> {
        Box::new(Config(self.0, far_end))
    }

    fn now(&self) -> Timestamp {
        "2026-01-05T10:00:00Z".parse().unwrap()
    }

    fn good_request(&self, number: u32) -> Option<RouteRequest> {
        Some(RouteRequest { headers: vec![], body: number.to_string().into(), bearer: Bearer::Absent })
    }

    fn bad_requests(&self) -> Vec<(&'static str, RouteRequest)> {
        vec![("empty", RouteRequest { headers: vec![], body: Bytes::new(), bearer: Bearer::Absent })]
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing {
            message: Message {
                id: MessageId::from_bytes([1; 16]),
                direction: Direction::Outbound,
                author: Author::Agent,
                external_id: None,
                content: Content::Text("hi".into()),
                reply_to: None,
                private: false,
                attachments: Vec::new(),
                auto_generated: false,
                sent_at: None,
                received_at: self.now(),
                buttons: Vec::new(),
                quote: None,
                forwarded_from: None,
                edited_at: None,
                settles_at: None,
            },
            conversation: ConversationId::from_bytes([2; 16]),
            thread: ThreadId::new("t").unwrap(),
            to: None,
            reply_to_external: None,
        }
    }

    fn key(&self, received: &Received) -> Option<String> {
        received.header("key").map(str::to_owned)
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }
}

mod sound {
    crate::adapter_suite!(super::Case(super::Flaw::None));
}

/// Whether a claim fails for a channel with this flaw.
macro_rules! catches {
    ($($flaw:ident: $claim:ident;)*) => {
        mod catches {
            $(
                #[tokio::test]
                #[should_panic] // whatever words the claim fails with
                async fn $claim() {
                    crate::adapter_suite::$claim(&super::Case(super::Flaw::$flaw)).await;
                }
            )*
        }
    };
}

catches! {
    AnswersFirst: answers_2xx_only_after_accept_returned;
    SwallowsInboxErrors: passes_on_an_inbox_error_and_takes_the_repeat;
    ForgetsDuplicates: gives_a_duplicate_the_first_answer;
    AnswersOtherwise: answers_as_its_description_says;
    TakesAnything: refuses_bad_requests_before_the_inbox;
    RendersTheTime: renders_purely_and_at_least_one_part;
    EndsReceiving: receive_may_be_dropped_at_any_time;
    SendsTwice: sends_once_and_says_sent;
    GuessesFailed: is_uncertain_when_the_far_end_may_have_taken_it;
    TellsSecrets: shows_no_secret_in_any_outcome;
}
