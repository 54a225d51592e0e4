//! An agent and a far end that answer with gigabytes, bombs, drips and heads without an end, or stand still: the daemon's
//! memory stays within bounds, and other conversations and channels are served.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};

use crate::{
    rogue::{Harm, Rogue},
    world::{ADMIN, Growth, World, echo, message, sections, takes, text_of_delivery, thread_of_delivery},
};

/// By how much a daemon may grow, in MiB: an answer is read up to 1 MB, and what the allocator keeps of that for later.
const GROWTH: f64 = 32.0;
/// What may be read of an answer that nobody wants, and what the kernel on both sides takes of it.
const READ_AHEAD: usize = 24 << 20;

/// How long a harm may be listened to, with a time-out of one second for the first byte and ten for the whole.
fn patience(harm: Harm) -> Duration {
    match harm {
        Harm::AnnouncedGigabyte | Harm::Gigabyte | Harm::Bomb | Harm::Headers | Harm::Line => Duration::from_secs(10),
        Harm::Drip | Harm::Interim => Duration::from_secs(20),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t28_an_agent_that_floods_drips_or_bombs_costs_little_memory_and_others_are_answered() {
    let agent = Rogue::start(|body| {
        let event: Value = serde_json::from_slice(body).unwrap();
        Reply::json(200, json!({ "text": format!("re: {}", event["data"]["message"]["text"].as_str().unwrap()) }))
    })
    .await;
    for harm in Harm::ALL {
        let mut world = World::that_echoes().await;
        world.site.reconfigure(&sections(&agent.url(), &world.shop.url(), "timeout = \"1 s\""));
        let daemon = world.start().await;
        world.say("before", "1", "hello").await;
        world.shop.wait_for(1).await;
        let growth = Growth::of(&daemon);
        let harmed = world.say("harmed", "1", &format!("<{harm:?}>")).await;
        let visit = agent.first(harm).await;
        assert!(visit.sent <= READ_AHEAD || harm == Harm::Interim, "{visit:?}");
        assert!(visit.took < patience(harm), "{visit:?}");
        // Other conversations go on while that one waits for its next try.
        world.say("after", "1", "hello").await;
        let delivered = world.shop.wait_for(2).await;
        assert_eq!(thread_of_delivery(&delivered[1]), "after", "{harm:?}");
        assert_eq!(text_of_delivery(&delivered[1]), "re: hello");
        assert_eq!(world.messages(&harmed).await.len(), 1, "{harm:?} is no reply");
        growth.assert_below(GROWTH);
        assert!(world.dead_letters().await.is_empty(), "what failed once is tried again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t28_sixteen_gigabytes_at_once_cost_what_sixteen_answers_may_have() {
    let agent = Rogue::start(|_| Reply::status(204)).await;
    let mut world = World::that_echoes().await;
    world.site.reconfigure(&sections(&agent.url(), &world.shop.url(), "timeout = \"2 s\""));
    let daemon = world.start().await;
    let growth = Growth::of(&daemon);
    for number in 0..16 {
        world.say(&format!("t{number}"), "1", "<Gigabyte>").await;
    }
    agent.first(Harm::Gigabyte).await;
    world.say("after", "1", "hello").await;
    let answered = |list: &Value| list["data"].as_array().unwrap().iter().any(|event| event["seq"] == 1);
    world.get_until("/v1/conversations", "all taken", |list| list["data"].as_array().unwrap().len() == 17).await;
    let conversations = world.get("/v1/conversations").await;
    let id = conversations["data"][0]["id"].as_str().unwrap();
    world.get_until(&format!("/v1/conversations/{id}/events"), "its event", answered).await;
    growth.assert_below(GROWTH + 16.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t28_a_far_end_that_floods_drips_or_bombs_costs_little_memory_and_its_status_counts() {
    let shop = Rogue::start(|_| Reply::status(204)).await;
    let mut world = World::of(FarEnd::start(echo).await, FarEnd::start(takes).await);
    let sections = sections(&world.agent.url(), &shop.url(), "");
    world.site.reconfigure(&sections.replace("deliver_url", "timeout = \"1 s\"\ndeliver_url"));
    let daemon = world.start().await;
    let first = world.say("before", "1", "hello").await;
    world.settled(&first, "sent").await;
    let growth = Growth::of(&daemon);
    for harm in Harm::ALL {
        let harmed = world.say(&format!("{harm:?}"), "1", &format!("<{harm:?}>")).await;
        let visit = shop.first(harm).await;
        assert!(visit.sent <= READ_AHEAD || harm == Harm::Interim, "{visit:?}");
        assert!(visit.took < patience(harm), "{visit:?}");
        // A status of 200 is an answer, whatever comes behind it; a head without an end is none.
        if !matches!(harm, Harm::Headers | Harm::Line | Harm::Interim) {
            world.settled(&harmed, "sent").await;
        }
        let other = world.say(&format!("after {harm:?}"), "1", "hello").await;
        world.settled(&other, "sent").await;
    }
    growth.assert_below(GROWTH);
    assert!(world.dead_letters().await.is_empty());
}

/// A far end in a process of its own, that can be made to stand still.
struct Apart {
    child: Child,
    url: String,
}

const TAKES_EVERYTHING: &str = r#"
import http.server, sys
class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *rest): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

impl Apart {
    fn start() -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", TAKES_EVERYTHING]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python3 is installed");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, url: format!("http://127.0.0.1:{}/", port.trim()) }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn t28_a_far_end_that_stands_still_holds_up_its_own_channel_only_and_gets_everything_later() {
    let stopped = Apart::start();
    let mut world = World::that_echoes().await;
    let annex = format!("\n[channels.annex]\nkind = \"webhook\"\ndeliver_url = \"{}\"\n", world.shop.url());
    let sections = sections(&world.agent.url(), &stopped.url, "");
    world.site.reconfigure(&(sections.replace("deliver_url", "timeout = \"1 s\"\ndeliver_url") + &annex));
    let daemon = world.start().await;
    // A connection is open and used before it stands still.
    let first = world.say("first", "1", "hello").await;
    world.settled(&first, "sent").await;
    stopped.signal("-STOP");
    let growth = Growth::of(&daemon);
    let mut waiting = Vec::new();
    for number in 0..40 {
        waiting.push(world.say(&format!("t{number}"), "1", "hello").await);
    }
    for number in 0..10 {
        let began = Instant::now();
        let body = message(&format!("a{number}"), "1", "hello").to_string();
        let request = world.request(reqwest::Method::POST, "/v1/channels/annex/messages").bearer_auth(ADMIN);
        assert_eq!(request.body(body).send().await.unwrap().status(), 202);
        world.shop.wait_for(number + 1).await;
        assert!(began.elapsed() < Duration::from_secs(5), "the other channel waits: {:?}", began.elapsed());
    }
    world.get_until("/v1/status", "said to be unwell", |status| status.to_string().contains("unwell")).await;
    stopped.signal("-CONT");
    // New work brings an extra try, and that finds the far end well again.
    waiting.push(world.say("news", "1", "hello").await);
    for conversation in &waiting {
        world.settled(conversation, "sent").await;
    }
    growth.assert_below(GROWTH);
    assert!(world.dead_letters().await.is_empty());
}
