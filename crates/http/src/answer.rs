//! What is around every request: its time limit, the headers of every answer, what a bug turns into, and a line at debug level.

use std::{
    any::Any,
    borrow::Cow,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, header};

use crate::{
    Network,
    body::internal,
    crowd::Full,
    portions,
    problem::{Problem, ProblemKind},
    visit::Visit,
};

/// What one request is held to.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) request_time: Duration,
    pub(crate) trusted: Arc<[Network]>,
}

const NOSNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
const NO_STORE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Goes around every route, and around what no route answers.
pub(crate) async fn around(State(bounds): State<Arc<Bounds>>, request: Request, next: Next) -> Response {
    let watched = Watched::of(&request);
    let response = dressed(seated(&bounds, request, next).await);
    watched.report(&response);
    response
}

/// What every answer has.
pub(crate) fn dressed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [NOSNIFF, NO_STORE] {
        headers.insert(name, value);
    }
    response
}

/// Answers once the source has a seat for it, which it keeps until the answer is taken.
async fn seated(bounds: &Bounds, request: Request, next: Next) -> Response {
    let visit = request.extensions().get::<Visit>();
    let seat = match visit.and_then(|visit| visit.guest(request.headers(), &bounds.trusted)) {
        None => None,
        Some(guest) => match guest.seat().await {
            Ok(seat) => Some(seat),
            Err(full) => return too_many(full).into_response(),
        },
    };
    let answered = tokio::time::timeout(bounds.request_time, caught(next.run(request))).await;
    match answered {
        Ok(Ok(response)) => portions::keeping(response, seat),
        Ok(Err(Panicked)) => {
            // The panic itself, with its place, has gone to standard error; what it says may hold anything.
            tracing::error!("a request ended in a panic");
            internal().into_response()
        }
        Err(_) => took_too_long(bounds.request_time).into_response(),
    }
}

fn too_many(full: Full) -> Problem {
    let reason = match full {
        Full::Line => "line",
        Full::Waited => "waited",
    };
    metrics::counter!("frontdesk_http_refused_total", "reason" => reason).increment(1);
    let detail = "too many requests from this address are in hand; nothing of this one was done: send it again in a moment, and fewer at once";
    Problem::new(ProblemKind::TooManyRequests, detail).retry_after(1)
}

fn took_too_long(limit: Duration) -> Problem {
    let seconds = limit.as_secs_f32();
    let detail = format!("not finished within {seconds} s; it may have been carried out: read before you repeat it");
    Problem::new(ProblemKind::TookTooLong, detail).retry_after(5)
}

/// What the metrics and the line at debug level say. Nothing that a client wrote is in it: the path is the route's, the method
/// one of ours.
struct Watched {
    method: &'static str,
    route: Option<MatchedPath>,
    began: Instant,
}

impl Watched {
    fn of(request: &Request) -> Self {
        let method = match *request.method() {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        Self { method, route: request.extensions().get().cloned(), began: Instant::now() }
    }

    fn report(&self, response: &Response) {
        let path = self.route.as_ref().map_or("none", MatchedPath::as_str);
        let (status, took) = (response.status(), self.began.elapsed());
        tracing::debug!(method = self.method, route = path, status = status.as_u16(), ?took, "answered");
        let class = match status.as_u16() {
            ..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        let route = template(path).into_owned();
        metrics::counter!(
            "frontdesk_http_requests_total", "method" => self.method, "route" => route.clone(), "status" => class
        )
        .increment(1);
        metrics::histogram!("frontdesk_http_request_seconds", "method" => self.method, "route" => route).record(took);
    }
}

/// A channel's route without the channel, so that there are no more of them than routes.
fn template(path: &str) -> Cow<'_, str> {
    match path.strip_prefix("/v1/channels/").and_then(|rest| rest.split_once('/')) {
        Some((_, own)) => Cow::Owned(format!("/v1/channels/{{channel}}/{own}")),
        None => Cow::Borrowed(path),
    }
}

/// A handler panicked: a bug, which costs this request and nothing else.
struct Panicked;

async fn caught<F: Future>(inner: F) -> Result<F::Output, Panicked> {
    Caught(pin!(inner)).await
}

struct Caught<'a, F>(Pin<&'a mut F>);

impl<F: Future> Future for Caught<'_, F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The future is not polled again after a panic, so what it left half done is never seen.
        let polled: Result<_, Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}
