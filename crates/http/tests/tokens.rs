//! Who is let in where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};
use world::{ADMIN, AGENT, ANNEX, DESK, INGEST, World};

const NOBODY: &str = "cnv_00000000000000000000000000";
const CONTACT: &str = "cnt_00000000000000000000000000";
const NOTHING: &str = "dlt_00000000000000000000000000";

/// Every route that needs a token, with the tokens of one scope each that it takes.
fn routes() -> Vec<(&'static str, String, Option<Value>, &'static [&'static str])> {
    let readers: &[&str] = &[AGENT, DESK, ADMIN];
    vec![
        ("GET", "/v1/conversations".into(), None, readers),
        ("GET", format!("/v1/conversations/{NOBODY}"), None, readers),
        ("GET", format!("/v1/conversations/{NOBODY}/messages"), None, readers),
        ("GET", format!("/v1/conversations/{NOBODY}/events"), None, readers),
        ("POST", format!("/v1/conversations/{NOBODY}/messages"), Some(json!({"text": "x"})), readers),
        ("PATCH", format!("/v1/conversations/{NOBODY}"), Some(json!({"owner": "desk"})), &[DESK, ADMIN]),
        ("GET", format!("/v1/contacts/{CONTACT}"), None, readers),
        ("POST", format!("/v1/contacts/{CONTACT}/messages"), Some(json!({"text": "x"})), readers),
        ("GET", "/v1/status".into(), None, &[ADMIN]),
        ("GET", "/v1/store/check".into(), None, &[ADMIN]),
        ("POST", "/v1/agent/resume".into(), None, &[ADMIN]),
        ("POST", "/v1/channels/elsewhere/resume".into(), None, &[ADMIN]),
        ("GET", "/v1/dead-letters".into(), None, &[ADMIN]),
        ("POST", format!("/v1/dead-letters/{NOTHING}/replay"), None, &[ADMIN]),
        ("DELETE", format!("/v1/dead-letters/{NOTHING}"), None, &[ADMIN]),
    ]
}

#[tokio::test]
async fn each_route_takes_its_scopes_and_no_other() {
    let world = World::new().await;
    for (method, path, body, takes) in routes() {
        for token in [INGEST, AGENT, DESK, ADMIN] {
            let answer = world.ask(method, &path, token, body.clone()).await;
            if takes.contains(&token) {
                assert!(matches!(answer.status, 200 | 404), "{method} {path} {token}: {answer:?}");
            } else {
                assert_eq!((answer.status, answer.slug()), (403, "forbidden"), "{method} {path} {token}");
                assert!(answer.detail().contains("needs a token with scope"), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn t30_a_missing_or_wrong_token_is_401_everywhere() {
    let world = World::new().await;
    let wrong = ["", "wrong", "token-of-the-admim", "token-of-the-admi", "Token-of-the-admin", "frt_a_b_c"];
    let mut routes = routes();
    routes.push(("POST", "/v1/channels/shop/echo".into(), None, &[]));
    for (method, path, body, _) in routes {
        for token in wrong {
            if token.is_empty() && path.ends_with("/echo") {
                continue; // The route itself decides what an absent token means.
            }
            let answer = world.ask(method, &path, token, body.clone()).await;
            assert_eq!((answer.status, answer.slug()), (401, "unauthorized"), "{method} {path} {token}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"frontdesk\""));
        }
    }
}

#[tokio::test]
async fn two_tokens_at_once_open_nothing() {
    let world = World::new().await;
    let mut client = world.client().await;
    let head = "GET /v1/conversations HTTP/1.1\r\nHost: desk\r\n";
    client.send(format!("{head}Authorization: Bearer {ADMIN}\r\nAuthorization: Bearer {ADMIN}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 401);
}

#[tokio::test]
async fn a_channels_route_learns_of_a_valid_token_and_never_sees_it() {
    let world = World::new().await;
    let echo = |token| world.ask("POST", "/v1/channels/shop/echo", token, Some(json!({"text": "x"})));
    let absent = echo("").await;
    assert_eq!((absent.status, &absent.json["bearer"]), (200, &json!("Absent")));
    for token in [INGEST, ADMIN] {
        let valid = echo(token).await;
        assert_eq!((valid.status, &valid.json["bearer"]), (200, &json!("Ingest")));
        assert!(!valid.text.contains(token), "{valid:?}");
    }
    for token in [AGENT, DESK] {
        let refused = echo(token).await;
        assert_eq!((refused.status, refused.slug()), (403, "forbidden"));
        assert!(refused.detail().contains("scope ingest"), "{refused:?}");
    }
    let elsewhere = echo(ANNEX).await;
    assert_eq!((elsewhere.status, elsewhere.slug()), (403, "forbidden"), "held to another channel");
    let own = world.ask("POST", "/v1/channels/annex/echo", ANNEX, None).await;
    assert_eq!(own.json["bearer"], "Ingest");
}

/// The reply token of an event, as the agent endpoint gets it.
fn reply_token(event: &frontdesk_testkit::far_end::Received) -> String {
    let event: Value = serde_json::from_slice(&event.body).unwrap();
    event["data"]["reply_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_reply_token_answers_its_own_conversation_as_the_agent_and_does_nothing_else() {
    let agent = FarEnd::start(|_| Reply::status(202)).await;
    let world = World::with_agent(&agent.url()).await;
    let own = world.write("shop", "order-77", "Where is my order?").await;
    let token = reply_token(&agent.wait_for(1).await[0]);
    let other = world.write("shop", "order-78", "Hello").await;
    let messages = |id: &str| format!("/v1/conversations/{id}/messages");
    let body = || Some(json!({"text": "On its way."}));

    let replied = world.ask("POST", &messages(&own), &token, body()).await;
    assert_eq!(replied.status, 202, "{replied:?}");
    let said = world.get(&messages(&own), ADMIN).await.json;
    assert_eq!(said["data"][0]["author"], json!({"kind": "agent"}));

    let mut flipped = token.clone().into_bytes();
    *flipped.last_mut().unwrap() ^= 1;
    let flipped = String::from_utf8(flipped).unwrap();
    for (method, path, token) in [
        ("POST", messages(&other), &token),
        ("POST", messages(&own), &flipped),
        ("GET", messages(&own), &token),
        ("GET", format!("/v1/conversations/{own}"), &token),
        ("PATCH", format!("/v1/conversations/{own}"), &token),
        ("GET", "/v1/conversations".into(), &token),
        ("GET", "/v1/dead-letters".into(), &token),
        ("POST", "/v1/channels/shop/echo".into(), &token),
    ] {
        let refused = world.ask(method, &path, token, body()).await;
        assert_eq!((refused.status, refused.slug()), (401, "unauthorized"), "{method} {path}");
        assert!(!refused.text.contains(token.as_str()), "t37: {refused:?}");
    }
    let shown = world.get(&messages(&other), ADMIN).await.json;
    assert_eq!(shown["data"].as_array().unwrap().len(), 1, "nothing was said there");

    // Once teammates have taken over, it is refused like the agent itself.
    assert_eq!(world.ask("POST", &messages(&own), DESK, body()).await.status, 202);
    let refused = world.say_once(&messages(&own), &token, "another", body().unwrap()).await;
    assert_eq!(refused.slug(), "taken-over");
}
