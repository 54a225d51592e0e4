//! Two daemons on one store: they know of each other, one alone receives where only one may, and quiet that one was asked for is kept by
//! both.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_engine::{ConnectedChannel, Engine, EngineOptions};
use frontdesk_model::*;
use serde_json::Value;
use world::{Channel, World, soon};

const SECOND: Duration = Duration::from_secs(1);

/// A channel whose platform allows one connection, and how many there are.
struct OneLine {
    channel: Arc<Channel>,
    lines: Arc<AtomicUsize>,
}

struct Line(Arc<AtomicUsize>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Adapter for OneLine {
    fn capabilities(&self) -> &Capabilities {
        self.channel.capabilities()
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn routes(&self, _: Arc<dyn Inbox>) -> Vec<Route> {
        Vec::new()
    }

    async fn probe(&self) -> Result<(), ProbeError> {
        Ok(())
    }

    async fn receive(&self, _: Arc<dyn Inbox>) -> Result<(), ReceiveError> {
        let before = self.lines.fetch_add(1, Ordering::SeqCst);
        let _line = Line(Arc::clone(&self.lines));
        assert_eq!(before, 0, "two lines at once");
        std::future::pending().await
    }

    fn render(&self, outgoing: &Outgoing) -> Vec<FrozenPart> {
        self.channel.render(outgoing)
    }

    async fn send(&self, part: &Dispatch<'_>) -> Outcome {
        self.channel.send(part).await
    }
}

/// Another daemon on the world's store.
async fn another(world: &World, name: &str, adapter: Arc<dyn Adapter>) -> Engine {
    let connected = ConnectedChannel {
        name: "shop".parse().unwrap(),
        kind: "webhook".parse().unwrap(),
        account: "shop".parse().unwrap(),
        adapter,
    };
    let options = EngineOptions {
        files: None,
        exempt: Vec::new(),
        exempt_for_replies: Vec::new(),
        name: name.into(),
        public_url: "https://desk.example.com".into(),
        agent: None,
        channels: vec![connected],
        retention: None,
    };
    Engine::start(world.store.clone(), world.clock.clone(), options).await.unwrap()
}

async fn world() -> World {
    World::new(None, Channel::new(Resend::SameKey, 1)).await
}

async fn daemons(engine: &Engine) -> Vec<Value> {
    let status = serde_json::to_value(engine.desk().status().await.unwrap()).unwrap();
    status["daemons"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_daemon_shows_all_and_a_stopped_one_no_more() {
    let world = world().await;
    world.clock.advance(SECOND);
    let second = another(&world, "there", world.channel.clone()).await;
    world.advance_until(SECOND, "both know of both", || async { daemons(&world.engine).await.len() == 2 }).await;
    let seen = daemons(&second).await;
    assert_eq!(seen.iter().map(|daemon| &daemon["name"]).collect::<Vec<_>>(), ["here", "there"]);
    assert_eq!(seen.iter().map(|daemon| &daemon["this"]).collect::<Vec<_>>(), [false, true]);
    second.drain(SECOND).await;
    world.advance_until(SECOND, "one is gone", || async { daemons(&world.engine).await.len() == 1 }).await;
}

#[tokio::test]
async fn one_daemon_receives_where_one_alone_may_and_the_other_takes_over() {
    let world = world().await;
    let (lines, name) = (Arc::new(AtomicUsize::new(0)), "shop".parse().unwrap());
    let line = || Arc::new(OneLine { channel: world.channel.clone(), lines: Arc::clone(&lines) });
    let first = another(&world, "first", line()).await;
    let mut receiving = tokio::task::JoinSet::new();
    receiving.spawn(first.receive(&name).unwrap());
    world.advance_until(SECOND, "the first receives", || async { lines.load(Ordering::SeqCst) == 1 }).await;
    let second = another(&world, "second", line()).await;
    let taking_over = tokio::spawn(second.receive(&name).unwrap());
    for _ in 0..60 {
        // In either task a second line would end the test.
        world.clock.advance(SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(!taking_over.is_finished() && receiving.try_join_next().is_none());
    }
    let holder = daemons(&second).await.into_iter().find(|daemon| daemon["holds"] == serde_json::json!(["shop"]));
    assert_eq!(holder.unwrap()["name"], "first");
    receiving.shutdown().await;
    first.drain(SECOND).await;
    world.advance_until(SECOND, "the second receives", || async { lines.load(Ordering::SeqCst) == 1 }).await;
    taking_over.abort();
}

#[tokio::test]
async fn a_daemon_that_cannot_tell_the_others_stops_receiving_before_they_begin() {
    let world = world().await;
    let (lines, name) = (Arc::new(AtomicUsize::new(0)), "shop".parse().unwrap());
    let line = Arc::new(OneLine { channel: world.channel.clone(), lines: Arc::clone(&lines) });
    let first = another(&world, "first", line).await;
    let receiving = tokio::spawn(first.receive(&name).unwrap());
    world.advance_until(SECOND, "the first receives", || async { lines.load(Ordering::SeqCst) == 1 }).await;
    // Its meetings end, as with a store that does not answer; its clock goes on.
    first.begin_drain();
    let stopped_at = world.clock.boot();
    world.advance_until(SECOND, "it has let go", || async { lines.load(Ordering::SeqCst) == 0 }).await;
    assert!(world.clock.boot() - stopped_at < Duration::from_secs(30), "before others may have the channel");
    receiving.abort();
}

#[tokio::test]
async fn quiet_that_one_daemon_was_asked_for_is_kept_by_the_other() {
    let world = world().await;
    world.channel.then(Outcome::RetryAfter {
        after: Some(Duration::from_secs(600)),
        scope: Scope::Channel,
        reason: "it answered 429".into(),
    });
    let id = world.write("t", "1", "hello").await.conversation;
    let reply = || frontdesk_engine::parse_reply(br#"{"text": "hello"}"#).unwrap();
    let mia = || frontdesk_engine::Speaker::Teammate { name: "mia".into() };
    world.desk.reply(id, reply(), mia(), None).await.unwrap();
    world.channel.sends(1).await;
    let asked = world.clock.now();
    let told = || async {
        let seen: Timestamp = daemons(&world.engine).await[0]["seen_at"].as_str().unwrap().parse().unwrap();
        seen > asked
    };
    world.advance_until(SECOND, "the first has met the others again", told).await;
    let other = Channel::new(Resend::SameKey, 1);
    let second = another(&world, "there", other.clone()).await;
    let began_at = world.clock.boot();
    let heard = || async {
        let seen = daemons(&second).await;
        seen.len() == 2
    };
    world.advance_until(SECOND, "the second has heard of the first", heard).await;
    let elsewhere = world.write("u", "1", "hello").await.conversation;
    second.desk().reply(elsewhere, reply(), mia(), None).await.unwrap();
    for _ in 0..60 {
        world.clock.advance(5 * SECOND);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(other.sent().is_empty(), "{:?} after {:?}", other.sent(), world.clock.boot() - began_at);
    let sent = || async { !other.sent().is_empty() || world.channel.sent().len() > 1 };
    world.advance_until(5 * SECOND, "both go on when the quiet is over", sent).await;
    assert!(world.clock.boot() - began_at >= Duration::from_secs(580));
    soon("and the second stops", second.drain(SECOND)).await;
}
