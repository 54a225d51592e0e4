//! What is around every request: its time limit, the headers of every answer, what a bug turns into, and a line at debug level.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
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
    body::internal,
    problem::{Problem, ProblemKind},
};

/// What one request is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) request_time: Duration,
}

const NOSNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
const NO_STORE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Goes around every route, and around what no route answers.
pub(crate) async fn around(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let watched = tracing::enabled!(tracing::Level::DEBUG).then(|| Watched::of(&request));
    let answered = tokio::time::timeout(bounds.request_time, caught(next.run(request))).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(Panicked)) => {
            // The panic itself, with its place, has gone to standard error; what it says may hold anything.
            tracing::error!("a request ended in a panic");
            internal().into_response()
        }
        Err(_) => took_too_long(bounds.request_time).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [NOSNIFF, NO_STORE] {
        headers.insert(name, value);
    }
    if let Some(watched) = watched {
        watched.log(&response);
    }
    response
}

fn took_too_long(limit: Duration) -> Problem {
    let seconds = limit.as_secs_f32();
    let detail = format!("not finished within {seconds} s; it may have been carried out: read before you repeat it");
    Problem::new(ProblemKind::TookTooLong, detail).retry_after(5)
}

/// What the line at debug level says. Nothing that a client wrote is in it: the path is the route's, the method one of ours.
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

    fn log(&self, response: &Response) {
        let route = self.route.as_ref().map_or("none", MatchedPath::as_str);
        let status = response.status().as_u16();
        tracing::debug!(method = self.method, route, status, took = ?self.began.elapsed(), "answered");
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
