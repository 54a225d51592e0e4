//! The other end of an HTTP request, in the test's hands: the fake agent endpoint and the far end of a webhook channel.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a far end that cannot start fails its test

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Handler = Arc<dyn Fn(Received) -> Answer + Send + Sync>;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST`, ...
    pub method: String,
    /// With its query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// When its body was complete.
    pub at: Instant,
}

impl Received {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    delay: Duration,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Answers,
    Hangs,
    Closes,
}

impl Reply {
    /// A bare status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: Duration::ZERO, way: Way::Answers }
    }

    /// A body of any kind.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        Self { body: Bytes::copy_from_slice(body.as_bytes()), ..Self::status(status) }
    }

    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: serde_json::Value) -> Self {
        Self::text(status, &body.to_string()).header("content-type", "application/json")
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Not before this span is over.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Never; the connection stays open.
    #[must_use]
    pub fn hang() -> Self {
        Self { way: Way::Hangs, ..Self::status(200) }
    }

    /// The connection is closed instead, with the request taken.
    #[must_use]
    pub fn close() -> Self {
        Self { way: Way::Closes, ..Self::status(200) }
    }
}

#[derive(Default)]
struct Record {
    requests: Mutex<Vec<Received>>,
    changed: Notify,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

/// A server on a port of its own; gone when it is dropped.
pub struct FarEnd {
    address: SocketAddr,
    record: Arc<Record>,
    _connections: JoinSet<()>,
}

impl FarEnd {
    /// Answers each request by what the function says.
    pub async fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_async(move |request| std::future::ready(answer(&request))).await
    }

    /// Answers each request when the future completes.
    pub async fn start_async<F>(answer: impl Fn(Received) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// On a listener of the test's.
    pub fn listen<F>(listener: TcpListener, answer: impl Fn(Received) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Record::default());
        let handler: Handler = Arc::new(move |request| Box::pin(answer(request)));
        let mut connections = JoinSet::new();
        let seen = Arc::clone(&record);
        connections.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let (seen, handler) = (Arc::clone(&seen), Arc::clone(&handler));
                open.spawn(async move {
                    let service = service_fn(move |request| serve(Arc::clone(&seen), Arc::clone(&handler), request));
                    // A connection that ends early is what some tests are about.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
                while open.try_join_next().is_some() {}
            }
        });
        Self { address, record, _connections: connections }
    }

    /// `http://127.0.0.1:port/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Everything that came so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.record.requests.lock().unwrap().clone()
    }

    /// How many came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.record.requests.lock().unwrap().len()
    }

    /// The most requests that were unanswered at one time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.record.most_at_once.load(Ordering::SeqCst)
    }

    /// Waits until so many requests came; panics after half a minute.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), |requests| requests.len() >= count).await
    }

    /// Waits until the requests are as wanted; panics after half a minute.
    pub async fn wait_until(&self, what: &str, wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let waiting = async {
            loop {
                let changed = self.record.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let requests = self.requests();
                if wanted(&requests) {
                    return requests;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), waiting).await {
            Ok(requests) => requests,
            Err(_) => panic!("not in time: {what} (have {} requests)", self.count()),
        }
    }
}

async fn serve(
    record: Arc<Record>,
    handler: Handler,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let received = Received {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        body,
        at: Instant::now(),
    };
    record.requests.lock().unwrap().push(received.clone());
    let now = record.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    record.most_at_once.fetch_max(now, Ordering::SeqCst);
    record.changed.notify_waiters();
    let reply = handler(received).await;
    if reply.delay > Duration::ZERO {
        tokio::time::sleep(reply.delay).await;
    }
    if reply.way == Way::Hangs {
        std::future::pending::<Infallible>().await;
    }
    record.at_once.fetch_sub(1, Ordering::SeqCst);
    if reply.way == Way::Closes {
        return Err("closed on purpose".into());
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(reply.body))?)
}
