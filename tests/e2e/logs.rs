//! What stands in the log at the default level: what happened, and nothing that a customer or an agent wrote, no secret,
//! and nothing that forges a line.

use std::time::Duration;

use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use reqwest::Method;
use serde_json::json;

use crate::world::{ADMIN, AGENT_SECRET, BOT, INGEST, SHOP_SECRET, World, sections, takes};

#[tokio::test]
async fn t37_an_agents_bad_answers_leave_nothing_of_themselves_in_the_log() {
    let answers: [fn(&Received) -> Reply; 6] = [
        |_| Reply::text(500, "canary-answer"),
        |_| Reply::status(307).header("location", "http://canary-answer.example/"),
        |_| Reply::text(200, "canary-answer {"),
        |_| Reply::json(200, json!({ "canary-answer": "canary-answer" })),
        |_| Reply::json(200, json!({ "text": ["canary-answer"] })),
        |_| Reply::json(200, json!({ "actions": [{ "type": "canary-answer" }] })),
    ];
    for answer in answers {
        let world = World::of(FarEnd::start(answer).await, FarEnd::start(takes).await);
        let mut daemon = world.start().await;
        // Two conversations in a row make an endpoint unwell, and the log says why.
        for thread in ["canary-one", "canary-two"] {
            world.say(thread, "canary-id", "canary-text").await;
        }
        daemon.says("the agent is unwell").await.unwrap();
        assert_nothing_shown(&mut daemon).await;
    }
}

#[tokio::test]
async fn t37_t38_no_text_no_address_and_no_secret_is_in_the_log_whatever_goes_wrong() {
    // Addresses may carry keys; nothing listens at the shop's.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let agent = FarEnd::start(|request: &Received| match &crate::world::text_of_event(request)[..] {
        "canary-text refused" => Reply::text(400, "canary-answer"),
        _ => crate::world::echo(request),
    })
    .await;
    let mut world = World::of(agent, FarEnd::start(takes).await);
    let agent_url = format!("{}canary-path?key=canary-query", world.agent.url());
    world.site.reconfigure(&sections(&agent_url, &format!("http://{closed}/canary-path?key=canary-query"), ""));
    let mut daemon = world.start().await;

    for kind in ["answered", "refused"] {
        let body = json!({
            "id": format!("canary-external-{kind}"), "thread": format!("canary-thread-{kind}"),
            "from": { "id": "canary-sender", "name": "canary\n\u{1b}[31m\u{2028}", "email": "canary@example.com" },
            "text": format!("canary-text {kind}"),
        });
        let answer = world.post_body(body.to_string()).await.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap());
    }
    for bad in ["{ canary-text", "{\"canary-text\": 1}", "{\"from\": {\"id\": \"canary\\n\\u001b[31mforged\"}}"] {
        world.post_body(bad).await.unwrap();
    }
    let wrong = world.request(Method::GET, "/v1/conversations?canary-query=1").bearer_auth("canary-token");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
    world.request(Method::GET, "/canary-path").header("x-canary", "canary-header").send().await.unwrap();

    daemon.says("dead letter").await.unwrap();
    daemon.says("the channel is unwell").await.unwrap();
    assert_nothing_shown(&mut daemon).await;
}

/// Ends the daemon and looks at everything that it said.
async fn assert_nothing_shown(daemon: &mut frontdesk_testkit::daemon::Daemon) {
    daemon.terminate().unwrap();
    daemon.ended(Duration::from_secs(30)).await.unwrap();
    let said = daemon.said();
    assert!(said.contains("stopped"), "the log was not heard to its end: {said}");
    for secret in ["canary", AGENT_SECRET, SHOP_SECRET, INGEST, BOT, ADMIN, "frt_", "whsec_"] {
        assert!(!said.contains(secret), "{secret} is in the log:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no control characters: {said:?}");
}
