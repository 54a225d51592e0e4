//! How serving ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use tokio::net::TcpStream;
use world::{World, request};

#[tokio::test]
async fn requests_in_flight_are_answered_and_nothing_else_is_taken() {
    let mut world = World::new().await;
    let mut busy = world.client().await;
    busy.send(request("GET", "/v1/channels/shop/hang", "", None)).await;
    world.booth.entered().await;
    let mut idle = world.client().await;
    assert_eq!(idle.ask("GET", "/healthz", "", None).await.status, 200);
    world.stop();
    assert_eq!(idle.ended().await, b"", "an idle connection is closed");
    assert!(TcpStream::connect(world.address).await.is_err(), "nobody listens any more");
    world.booth.release();
    let answer = busy.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    drop((busy, idle));
    world.stopped().await;
}

#[tokio::test]
async fn who_has_just_connected_gets_an_answer_and_who_stays_silent_is_not_waited_for() {
    let mut world = World::new().await;
    // Both are taken: the one that comes last has been answered.
    let (mut quick, mut silent) = (world.client().await, world.client().await);
    let mut last = world.client().await;
    assert_eq!(last.ask("GET", "/healthz", "", None).await.status, 200);
    world.stop();
    assert_eq!(last.ended().await, b"", "serving has begun to end");
    let answer = quick.ask("GET", "/healthz", "", None).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(silent.ended().await, b"");
    world.stopped().await;
}

#[tokio::test]
async fn serving_ends_at_once_when_nobody_is_there() {
    let mut world = World::new().await;
    world.stop();
    world.stopped().await;
}

#[tokio::test]
async fn giving_up_on_serving_ends_every_connection_at_once() {
    let world = World::new().await;
    let mut busy = world.client().await;
    busy.send(request("GET", "/v1/channels/shop/hang", "", None)).await;
    world.booth.entered().await;
    world.abandon();
    assert_eq!(busy.ended().await, b"");
}

#[tokio::test]
async fn readiness_fails_while_the_engine_drains_and_new_work_is_refused() {
    let world = World::new().await;
    assert_eq!(world.get("/readyz", "").await.status, 200);
    let id = world.write_to_agent("order-77").await;
    world.engine.begin_drain();
    let ready = world.get("/readyz", "").await;
    assert_eq!((ready.status, ready.slug()), (503, "not-ready"));
    assert_eq!(world.get("/healthz", "").await.status, 200);
    let body = serde_json::json!({"text": "On its way."});
    let refused = world.ask("POST", &format!("/v1/conversations/{id}/messages"), world::AGENT, Some(body)).await;
    assert_eq!((refused.status, refused.slug()), (503, "unavailable"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    let read = world.get(&format!("/v1/conversations/{id}"), world::AGENT).await;
    assert_eq!(read.status, 200, "reading goes on");
}
