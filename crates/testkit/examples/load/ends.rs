//! The agent endpoint and the far end: they read, note the mark, and answer with bytes that are ready.

use std::{borrow::Cow, net::SocketAddr, rc::Rc};

use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

use crate::{generator::Ground, ledger::Mark, wire::Wire};

/// Both.
pub(crate) struct Ends {
    agent: SocketAddr,
    far_end: SocketAddr,
}

/// What both read of a body.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    message: Words<'a>,
}

#[derive(Deserialize)]
struct Words<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

const TAKEN: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

impl Ends {
    /// They live as long as the runtime does.
    pub(crate) async fn open(ground: &Rc<Ground>) -> Self {
        let agent = listen(Rc::clone(ground), |ground, mark, answer| {
            ground.ledger_mut().at_agent(mark);
            let mark = mark.map(|mark| mark.to_string()).unwrap_or_default();
            let body = format!(r#"{{"text":"{mark} Thank you, we will look into it."}}"#);
            let length = body.len();
            answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ");
            answer.extend_from_slice(format!("{length}\r\n\r\n{body}").as_bytes());
        });
        let far_end = listen(Rc::clone(ground), |ground, mark, answer| {
            let first = ground.ledger_mut().at_far_end(mark);
            if first {
                ground.one_arrived();
            }
            answer.extend_from_slice(TAKEN);
        });
        Self { agent: agent.await, far_end: far_end.await }
    }

    pub(crate) fn agent_url(&self) -> String {
        format!("http://{}/", self.agent)
    }

    pub(crate) fn far_end_url(&self) -> String {
        format!("http://{}/", self.far_end)
    }
}

type Answer = fn(&Ground, Option<Mark>, &mut Vec<u8>);

async fn listen(ground: Rc<Ground>, answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("the program has descriptors left");
            tokio::task::spawn_local(serve(stream, Rc::clone(&ground), answer));
        }
    });
    address
}

async fn serve(stream: TcpStream, ground: Rc<Ground>, answer: Answer) {
    let (mut wire, mut out) = (Wire::new(stream), Vec::new());
    // A connection that breaks shows as a message that came late, twice or never.
    while let Ok(Some(request)) = wire.read().await {
        let body: Option<Body<'_>> = serde_json::from_slice(request.body).ok();
        let mark = body.and_then(|body| Mark::read(&body.data.message.text));
        out.clear();
        answer(&ground, mark, &mut out);
        if wire.write(&out).await.is_err() {
            return;
        }
    }
}
