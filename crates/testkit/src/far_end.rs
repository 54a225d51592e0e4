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
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::Sleep,
};

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
    Drips { piece: usize, pause: Duration },
    BreaksOff { sent: usize },
    Hangs,
    Closes,
    Resets,
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

    /// A body of any bytes.
    #[must_use]
    pub fn bytes(status: u16, body: Bytes) -> Self {
        Self { body, ..Self::status(status) }
    }

    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: serde_json::Value) -> Self {
        Self::text(status, &body.to_string()).header("content-type", "application/json")
    }

    /// Its status and body.
    #[must_use]
    pub fn content(&self) -> (u16, &[u8]) {
        (self.status, &self.body)
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

    /// The connection is reset instead (the client sees an error, and not its end), with the request taken.
    #[must_use]
    pub fn reset() -> Self {
        Self { way: Way::Resets, ..Self::status(200) }
    }

    /// The head at once, then the body in pieces of so many bytes with a pause before each.
    #[must_use]
    pub fn drip(mut self, piece: usize, pause: Duration) -> Self {
        self.way = Way::Drips { piece: piece.max(1), pause };
        self
    }

    /// The head announces the whole body; the connection is closed after so many bytes of it.
    #[must_use]
    pub fn break_off_after(mut self, sent: usize) -> Self {
        self.way = Way::BreaksOff { sent };
        self
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
                    connection(stream, seen, handler).await;
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
                {
                    // Looked at in place: many requests are only copied once they are as wanted.
                    let requests = self.record.requests.lock().unwrap();
                    if wanted(&requests) {
                        return requests.clone();
                    }
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

async fn connection(stream: TcpStream, record: Arc<Record>, handler: Handler) {
    let service = service_fn(move |request| Box::pin(serve(Arc::clone(&record), Arc::clone(&handler), request)));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection that ends early is what some tests are about.
    let Err(ended) = Pin::new(&mut connection).await else { return };
    let cause = std::error::Error::source(&ended).and_then(|cause| cause.downcast_ref::<Cut>());
    if matches!(cause, Some(Cut::Reset)) {
        // Closing without lingering is what sends a reset.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// How a connection ends on purpose.
#[derive(Debug)]
enum Cut {
    Close,
    Reset,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// Counts a request as unanswered until it is dropped, with its answer or with its connection.
struct Unanswered(Arc<Record>);

impl Unanswered {
    fn begin(record: Arc<Record>) -> Self {
        let now = record.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        record.most_at_once.fetch_max(now, Ordering::SeqCst);
        Self(record)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

type AnswerBody = Either<Full<Bytes>, Slow>;

async fn serve(
    record: Arc<Record>,
    handler: Handler,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let received = Received {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        body,
        at: Instant::now(),
    };
    let _unanswered = Unanswered::begin(Arc::clone(&record));
    record.requests.lock().unwrap().push(received.clone());
    record.changed.notify_waiters();
    let reply = handler(received).await;
    if reply.delay > Duration::ZERO {
        tokio::time::sleep(reply.delay).await;
    }
    let body = match reply.way {
        Way::Hangs => match std::future::pending::<Infallible>().await {},
        Way::Closes => return Err(Cut::Close.into()),
        Way::Resets => return Err(Cut::Reset.into()),
        Way::Answers => Either::Left(Full::new(reply.body)),
        Way::Drips { piece, pause } => Either::Right(Slow::new(reply.body, piece, pause, usize::MAX)),
        Way::BreaksOff { sent } => Either::Right(Slow::new(reply.body, sent.max(1), Duration::ZERO, sent)),
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(body)?)
}

/// A body that comes in pieces, and perhaps not to its end.
struct Slow {
    rest: Bytes,
    piece: usize,
    pause: Duration,
    /// Bytes until the connection is cut.
    until_cut: usize,
    waiting: Pin<Box<Sleep>>,
}

impl Slow {
    fn new(rest: Bytes, piece: usize, pause: Duration, until_cut: usize) -> Self {
        Self { rest, piece, pause, until_cut, waiting: Box::pin(tokio::time::sleep(pause)) }
    }
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.waiting.as_mut().poll(cx));
        if self.until_cut == 0 {
            return Poll::Ready(Some(Err(Cut::Close)));
        }
        let length = self.piece.min(self.rest.len()).min(self.until_cut);
        let piece = self.rest.split_to(length);
        self.until_cut -= length;
        let next = tokio::time::Instant::now() + self.pause;
        self.waiting.as_mut().reset(next);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests;
