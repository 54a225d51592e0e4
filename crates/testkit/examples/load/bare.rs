//! The bare loop: the same three HTTP exchanges by the same libraries (hyper in, reqwest out, serde_json between), and nothing
//! else: nothing is stored, signed, ordered or tried again. What the daemon needs beyond this is the price of its promises.
//!
//! It is this program again, in a process of its own, with two threads like the daemon's runtime.

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::{ends::Ends, generator::Target, machine::Cores};

/// The process.
pub(crate) struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    pub(crate) async fn start(ends: &Ends, cores: Cores) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--bare-loop").args([ends.agent_url(), ends.far_end_url()]).stdout(Stdio::piped());
        let mut child = cores.on_it(|| command.spawn()).unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        Self { child, address: said.trim().parse().expect("it says where it listens") }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, head: "POST / HTTP/1.1\r\nhost: localhost\r\n".into() }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Never returns.
pub(crate) fn serve(agent: &str, far_end: &str) -> ! {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).tcp_nodelay(true).build();
        let way = Way { client: client.unwrap(), agent: agent.to_owned(), far_end: far_end.to_owned() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.set_nodelay(true);
            let way = way.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| take(request, way.clone()));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

#[derive(Clone)]
struct Way {
    client: reqwest::Client,
    agent: String,
    far_end: String,
}

async fn take(request: Request<Incoming>, way: Way) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap();
    tokio::spawn(async move { way.go(message).await });
    let answer = Bytes::from_static(br#"{"message_id":"msg_0","conversation_id":"cnv_0"}"#);
    let mut response = Response::new(Full::new(answer));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

impl Way {
    async fn go(&self, message: Value) {
        let event = json!({
            "type": "message.created", "id": message["id"], "attempt": 1,
            "data": {
                "conversation": {"channel": "shop", "kind": "webhook", "thread": message["thread"]},
                "contact": {"name": message["from"]["name"], "identities": [{"kind": "webhook", "value": message["from"]["id"]}]},
                "message": {"direction": "inbound", "text": message["text"], "external_id": message["id"]},
            }
        });
        let reply: Value = serde_json::from_slice(&self.post(&self.agent, &event).await).unwrap();
        let delivery = json!({
            "type": "message.created", "id": message["id"],
            "data": {"thread": message["thread"], "to": {"id": message["from"]["id"]}, "message": {"text": reply["text"]}}
        });
        self.post(&self.far_end, &delivery).await;
    }

    async fn post(&self, url: &str, body: &Value) -> Bytes {
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        request.send().await.unwrap().bytes().await.unwrap()
    }
}
