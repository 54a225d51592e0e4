//! The claims themselves.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use frontdesk_model::{
    Adapter, Dispatch, FrozenPart, Outcome, Outgoing, Resend, Route, RouteRequest, RouteResponse, Scope,
};
use tokio::net::TcpListener;

use super::{AdapterCase, TestInbox, channel, channel_at};
use crate::far_end::{FarEnd, Reply};

/// A send ends below this.
const LONGEST_SEND: Duration = Duration::from_secs(25);

async fn agreeable() -> FarEnd {
    FarEnd::start(|_| Reply::status(204)).await
}

fn route(adapter: &Arc<dyn Adapter>, inbox: &Arc<TestInbox>) -> Route {
    adapter.routes(Arc::clone(inbox) as _).into_iter().next().expect("a channel with requests has a route")
}

/// Sends the first part of the case's message.
async fn send(adapter: &Arc<dyn Adapter>, outgoing: &Outgoing) -> Outcome {
    let parts = adapter.render(outgoing);
    let part = parts.first().expect("at least one part");
    adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part, links: &[] }).await
}

fn status(response: &RouteResponse) -> u16 {
    match response {
        RouteResponse::Json { status, .. } => *status,
        RouteResponse::Problem(problem) => problem.status,
    }
}

/// Capabilities do not change, whatever happens to the channel.
pub async fn capabilities_are_constant(case: &dyn AdapterCase) {
    let far_end = FarEnd::start(|_| Reply::status(410)).await;
    let (adapter, _) = channel(case, &far_end);
    let before = adapter.capabilities().clone();
    assert!(before.outbound, "the case has a far end");
    send(&adapter, &case.outgoing()).await;
    let _ = adapter.probe().await;
    assert_eq!(*adapter.capabilities(), before);
}

/// Neither the settings' `Debug` nor building shows a secret; building opens no connection.
pub async fn building_shows_no_secret(case: &dyn AdapterCase) {
    let far_end = agreeable().await;
    assert_hidden(case, &format!("{:?}", case.config(far_end.addr())));
    let _ = channel(case, &far_end);
    tokio::task::yield_now().await;
    assert_eq!(far_end.count(), 0);
}

/// A handler answers 2xx when the inbox has committed, and not before.
pub async fn answers_2xx_only_after_accept_returned(case: &dyn AdapterCase) {
    let Some(request) = case.good_request(1) else { return };
    let far_end = agreeable().await;
    let (adapter, _) = channel(case, &far_end);
    let inbox = TestInbox::held();
    let handler = route(&adapter, &inbox).handler;
    let mut answering = pin!(handler.handle(request));
    tokio::select! {
        biased;
        response = &mut answering => panic!("answered {} before the commit", status(&response)),
        () = inbox.wait_for_arrivals(1) => {}
    }
    // Handed in and not committed: it has to stay unanswered however often it is asked.
    for _ in 0..100 {
        tokio::select! {
            biased;
            response = &mut answering => panic!("answered {} before the commit", status(&response)),
            () = tokio::task::yield_now() => {}
        }
    }
    inbox.commit_one();
    let response = answering.await;
    assert!((200..300).contains(&status(&response)), "{response:?}");
    assert_eq!(inbox.taken().len(), 1);
}

/// What the inbox cannot take is answered with 503 and when to come again; the repeat is taken as new.
pub async fn passes_on_an_inbox_error_and_takes_the_repeat(case: &dyn AdapterCase) {
    let Some(request) = case.good_request(1) else { return };
    let far_end = agreeable().await;
    let (adapter, _) = channel(case, &far_end);
    let inbox = TestInbox::open();
    let handler = route(&adapter, &inbox).handler;
    inbox.close();
    let RouteResponse::Problem(problem) = handler.handle(request.clone()).await else {
        panic!("confirmed what was not taken");
    };
    assert_eq!(problem.status, 503);
    assert_eq!(problem.retry_after, Some(7), "whole seconds, not sooner than the inbox says");
    assert!(problem.detail.contains("the store is full"), "says what the inbox said: {}", problem.detail);
    assert_eq!(inbox.arrivals(), 1, "handed in once, without tries of its own");
    inbox.reopen();
    let response = handler.handle(request).await;
    assert!((200..300).contains(&status(&response)), "{response:?}");
    assert_eq!(inbox.taken().len(), 1);
}

/// A message that is known gets the status and the body of its first answer.
pub async fn gives_a_duplicate_the_first_answer(case: &dyn AdapterCase) {
    let (Some(one), Some(two)) = (case.good_request(1), case.good_request(2)) else { return };
    let far_end = agreeable().await;
    let (adapter, _) = channel(case, &far_end);
    let inbox = TestInbox::open();
    let handler = route(&adapter, &inbox).handler;
    let answer = async |request: &RouteRequest| match handler.handle(request.clone()).await {
        RouteResponse::Json { status, body, .. } => (status, body),
        RouteResponse::Problem(problem) => panic!("{problem:?}"),
    };
    let first = answer(&one).await;
    let other = answer(&two).await;
    assert_ne!(first.1, other.1, "another message has another answer");
    assert_eq!(answer(&one).await, first);
    assert_eq!(inbox.taken().len(), 2);
}

/// Every answer of the first route, fine or not, is one that its description has.
pub async fn answers_as_its_description_says(case: &dyn AdapterCase) {
    let Some(good) = case.good_request(1) else { return };
    let far_end = agreeable().await;
    let (adapter, _) = channel(case, &far_end);
    let inbox = TestInbox::open();
    let route = route(&adapter, &inbox);
    // Twice: a repeat may be answered with headers of its own.
    for request in [good.clone(), good.clone()] {
        let RouteResponse::Json { status, headers, .. } = route.handler.handle(request).await else {
            panic!("refused a good request");
        };
        let described = route.document.answers.iter().find(|answer| answer.status == status);
        let described = described.unwrap_or_else(|| panic!("{status} is not described"));
        for (name, _) in headers {
            let known = described.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
            assert!(known, "the header {name} is not described");
        }
    }
    let bad = case.bad_requests().into_iter().map(|(what, request)| (what, request, true));
    for (what, request, inbox_open) in
        bad.chain([("nothing can be taken", case.good_request(2).unwrap_or(good), false)])
    {
        if !inbox_open {
            inbox.close();
        }
        let RouteResponse::Problem(problem) = route.handler.handle(request).await else {
            panic!("took a request although: {what}");
        };
        let problems = &route.document.problems;
        let known = problems
            .iter()
            .any(|known| (known.status, known.slug, known.title) == (problem.status, problem.slug, problem.title));
        assert!(known, "{what}: {} {} is not described", problem.status, problem.slug);
    }
}

/// What is wrong is refused with 4xx, in a sentence, and reaches nobody.
pub async fn refuses_bad_requests_before_the_inbox(case: &dyn AdapterCase) {
    let far_end = agreeable().await;
    let (adapter, _) = channel(case, &far_end);
    let inbox = TestInbox::open();
    for (what, request) in case.bad_requests() {
        let RouteResponse::Problem(problem) = route(&adapter, &inbox).handler.handle(request).await else {
            panic!("took a request although: {what}");
        };
        assert!((400..500).contains(&problem.status), "{what}: {problem:?}");
        assert!(!problem.detail.is_empty() && !problem.slug.is_empty(), "{what}");
        assert_hidden(case, &format!("{problem:?}"));
    }
    assert_eq!(inbox.arrivals(), 0);
}

/// The same message gives the same parts, at least one, which survive being stored; nothing is sent meanwhile.
pub async fn renders_purely_and_at_least_one_part(case: &dyn AdapterCase) {
    let far_end = agreeable().await;
    let (adapter, clock) = channel(case, &far_end);
    let parts = adapter.render(&case.outgoing());
    assert!(!parts.is_empty());
    clock.advance(Duration::from_secs(3600));
    assert_eq!(adapter.render(&case.outgoing()), parts, "a second time, an hour later");
    let (another, _) = channel(case, &far_end);
    assert_eq!(another.render(&case.outgoing()), parts, "after a restart");
    for part in &parts {
        let stored = serde_json::to_string(part).unwrap();
        assert_eq!(serde_json::from_str::<FrozenPart>(&stored).unwrap(), *part);
        assert_hidden(case, &stored);
    }
    assert_eq!(far_end.count(), 0);
}

/// Receiving can be dropped and begun again, and hands in nothing that nobody sent.
pub async fn receive_may_be_dropped_at_any_time(case: &dyn AdapterCase) {
    let far_end = agreeable().await;
    let (adapter, _) = channel(case, &far_end);
    let inbox = TestInbox::open();
    for _ in 0..3 {
        let mut receiving = pin!(adapter.receive(Arc::clone(&inbox) as _));
        poll_fn(|cx| match receiving.as_mut().poll(cx) {
            Poll::Pending => Poll::Ready(()),
            Poll::Ready(ended) => panic!("receiving ended by itself: {ended:?}"),
        })
        .await;
    }
    assert_eq!(inbox.arrivals(), 0);
}

/// One send is one request.
pub async fn sends_once_and_says_sent(case: &dyn AdapterCase) {
    let far_end = agreeable().await;
    let (adapter, _) = channel(case, &far_end);
    let outcome = send(&adapter, &case.outgoing()).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    assert_eq!(far_end.count(), 1);
}

/// A channel that says a repeat is safe sends the same key and body each time.
pub async fn sends_under_the_same_key_on_every_attempt(case: &dyn AdapterCase) {
    let far_end = FarEnd::start(|_| Reply::status(500)).await;
    let (adapter, clock) = channel(case, &far_end);
    if adapter.capabilities().resend == Resend::MayDouble {
        return;
    }
    for attempt in 1..=3 {
        let outcome = send(&adapter, &case.outgoing()).await;
        assert!(matches!(outcome, Outcome::RetryAfter { .. }), "{outcome:?}");
        assert_eq!(far_end.count(), attempt, "no tries of its own");
        clock.advance(Duration::from_secs(3600));
    }
    let (restarted, _) = channel(case, &far_end);
    send(&restarted, &case.outgoing()).await;
    let requests = far_end.requests();
    let keys: Vec<_> = requests.iter().map(|request| case.key(request)).collect();
    let first = keys.first().unwrap();
    assert!(first.is_some() && keys.iter().all(|key| key == first), "{keys:?}");
    assert!(requests.iter().all(|request| request.body == requests.first().unwrap().body), "the part is frozen");
}

/// A connection that ends after the request went out is no proof of anything.
pub async fn is_uncertain_when_the_far_end_may_have_taken_it(case: &dyn AdapterCase) {
    for reply in [Reply::close(), Reply::reset()] {
        let what = format!("{reply:?}");
        let far_end = FarEnd::start(move |_| reply.clone()).await;
        let (adapter, _) = channel(case, &far_end);
        let outcome = send(&adapter, &case.outgoing()).await;
        assert!(matches!(outcome, Outcome::Uncertain { .. }), "{what}: {outcome:?}");
        assert_eq!(far_end.count(), 1, "{what}: no tries of its own");
    }
}

/// A far end that takes the request and says nothing does not hold a worker for ever.
pub async fn gives_up_on_a_far_end_that_hangs_in_time(case: &dyn AdapterCase) {
    let far_end = FarEnd::start(|_| Reply::hang()).await;
    let (adapter, _) = channel(case, &far_end);
    let began = Instant::now();
    let outcome = tokio::time::timeout(LONGEST_SEND, send(&adapter, &case.outgoing())).await;
    assert!(matches!(outcome, Ok(Outcome::Uncertain { .. })), "after {:?}: {outcome:?}", began.elapsed());
    assert_eq!(far_end.count(), 1);
}

/// Nobody listens: certainly not delivered, and nothing on the channel would be.
pub async fn retries_later_when_no_connection_opens(case: &dyn AdapterCase) {
    let (adapter, _) = channel_at(case, nobody().await);
    let outcome = send(&adapter, &case.outgoing()).await;
    assert!(matches!(outcome, Outcome::RetryAfter { scope: Scope::Channel, .. }), "{outcome:?}");
    let unreachable = adapter.probe().await.expect_err("nobody is there");
    assert_hidden(case, &format!("{unreachable} {unreachable:?}"));
}

/// A redirect leads nowhere.
pub async fn follows_no_redirect(case: &dyn AdapterCase) {
    let elsewhere = agreeable().await;
    let target = elsewhere.url();
    for status in [301, 302, 303, 307, 308] {
        let target = target.clone();
        let far_end = FarEnd::start(move |_| Reply::status(status).header("location", &target)).await;
        let (adapter, _) = channel(case, &far_end);
        let outcome = send(&adapter, &case.outgoing()).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{status}: {outcome:?}");
    }
    assert_eq!(elsewhere.count(), 0);
}

/// However a send ends, what is said about it holds no secret.
pub async fn shows_no_secret_in_any_outcome(case: &dyn AdapterCase) {
    let outgoing = case.outgoing();
    let bad: Vec<Reply> = [302, 400, 401, 404, 410, 429, 500, 503]
        .into_iter()
        .map(Reply::status)
        .chain([
            Reply::close(),
            Reply::reset(),
            Reply::hang(),
            Reply::text(200, &"x".repeat(100_000)).break_off_after(10),
        ])
        .collect();
    for reply in bad {
        // A far end that says back what it was sent, secrets included.
        let far_end = FarEnd::start(move |request| reply.clone().header("location", &request.path)).await;
        let (adapter, _) = channel(case, &far_end);
        assert_hidden(case, &format!("{:?}", send(&adapter, &outgoing).await));
    }
    let (adapter, _) = channel_at(case, nobody().await);
    assert_hidden(case, &format!("{:?}", send(&adapter, &outgoing).await));
}

/// An address where nobody listens.
async fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn assert_hidden(case: &dyn AdapterCase, shown: &str) {
    for secret in case.secrets() {
        assert!(!shown.contains(&secret), "a secret is shown in: {shown}");
    }
}
