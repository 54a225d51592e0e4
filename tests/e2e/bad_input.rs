//! Requests that cannot be used: refused with an error that names the mistake, without effect, and the daemon goes on.

use std::time::{SystemTime, UNIX_EPOCH};

use frontdesk_testkit::far_end::FarEnd;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::world::{INGEST, SHOP_SECRET, World, echo, message, takes, text_of_delivery};

const PATH: &str = "/v1/channels/shop/messages";

/// Wants this problem, in the form of RFC 9457.
async fn assert_problem(answer: Response, status: u16, slug: &str) -> Value {
    assert_eq!(answer.status(), status, "{slug}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], format!("urn:frontdesk:problem:{slug}"), "{problem}");
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    problem
}

/// Nothing of it was taken, and the next good message is.
async fn assert_untouched(world: &World) {
    assert_eq!(world.get("/v1/conversations").await["data"], json!([]));
    world.say("good", "1", "hello").await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: hello");
    assert_eq!(world.agent.count(), 1);
}

#[tokio::test]
async fn t29_malformed_deep_and_shapeless_bodies_are_refused() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let deep = format!("{{\"id\":\"1\",\"from\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "not json", "{\"id\":\"1\",", "\u{feff}{}", &"[".repeat(100_000), deep.as_str()] {
        let answer = world.post_body(body.to_owned()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{}", &body[..body.len().min(20)]);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let answer = world.post_body(vec![0xff, 0xfe, b'{', b'}']).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "not UTF-8");
    for body in [
        json!([]),
        json!({ "id": "1", "text": "no sender" }),
        json!({ "id": "1", "from": { "id": "u" } }),
        json!({ "id": "1", "from": { "id": "u" }, "text": "" }),
        json!({ "id": "1", "from": { "id": "u" }, "text": "a", "markdown": "b" }),
        json!({ "id": "1", "from": { "id": "u" }, "text": "a", "txet": "typing error" }),
        json!({ "id": 1, "from": { "id": "u" }, "text": "a" }),
        json!({ "id": "1", "from": { "id": "u" }, "text": "a", "attachments": [{ "url": "file:///etc/passwd" }] }),
    ] {
        let answer = world.post_body(body.to_string()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let without_id = json!({ "from": { "id": "u" }, "text": "a" });
    assert_eq!(world.post_body(without_id.to_string()).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_untouched(&world).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_just_below_it_is_taken() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let answer = world.post("big", "1", &"x".repeat(1_000_001)).await.unwrap();
    let problem = assert_problem(answer, 413, "body-too-large").await;
    assert!(problem["detail"].as_str().unwrap().contains("1000000"), "the limit is named: {problem}");
    assert_untouched(&world).await;
    world.say("big", "2", &"x".repeat(900_000)).await;
    assert_eq!(text_of_delivery(&world.shop.wait_for(2).await[1]).len(), 900_004);
}

#[tokio::test]
async fn t27_a_head_over_the_limit_is_refused() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let answer = world.request(Method::POST, PATH).header("x-bomb", "x".repeat(200_000)).body("{}").send().await;
    if let Ok(answer) = answer {
        assert_eq!(answer.status(), 431);
    }
    assert_untouched(&world).await;
}

#[tokio::test]
async fn t30_t31_t32_only_a_fresh_signature_over_these_very_bytes_is_taken() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let body = message("t", "1", "signed").to_string();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let sign = |at: i64| Webhook::new(SHOP_SECRET).unwrap().sign("wh-1", at, body.as_bytes()).unwrap();
    let post = |at: i64, signature: String, body: String| {
        let request = world.request(Method::POST, PATH).header("webhook-id", "wh-1").header("webhook-timestamp", at);
        request.header("webhook-signature", signature).body(body).send()
    };
    let mut flipped = sign(now).into_bytes();
    flipped[10] ^= 1;
    let flipped = String::from_utf8(flipped).unwrap();
    assert_problem(post(now, flipped, body.clone()).await.unwrap(), 401, "bad-signature").await;
    let reordered = body.replace("\"text\":\"signed\"", "\"text\": \"signed\"");
    assert_ne!(reordered, body);
    assert_problem(post(now, sign(now), reordered).await.unwrap(), 401, "bad-signature").await;
    assert_problem(post(now + 1, sign(now), body.clone()).await.unwrap(), 401, "bad-signature").await;
    for off in [-6 * 60, 6 * 60] {
        assert_problem(post(now + off, sign(now + off), body.clone()).await.unwrap(), 401, "stale-timestamp").await;
    }
    let bare = world.request(Method::POST, PATH).body(body.clone()).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    let wrong = world.request(Method::POST, PATH).bearer_auth("no such token").body(body.clone()).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert_untouched(&world).await;
    assert_eq!(post(now, sign(now), body.clone()).await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn t31_a_known_id_gets_the_first_answer_again_without_effect_after_a_restart_too() {
    let world = World::of(FarEnd::start(echo).await, FarEnd::start(takes).await);
    let mut daemon = world.start().await;
    let first = world.post("t", "1", "hello").await.unwrap();
    assert!(!first.headers().contains_key("frontdesk-duplicate"));
    let first: Value = first.json().await.unwrap();
    // Else the kill would come between the far end's answer and its note, and the delivery once more.
    world.settled(first["conversation_id"].as_str().unwrap(), "sent").await;
    for life in 0..2 {
        // Another text under a known id is the same message still.
        let again = world.post("t", "1", "hello again").await.unwrap();
        assert_eq!(again.status(), StatusCode::ACCEPTED);
        assert_eq!(again.headers()["frontdesk-duplicate"], "true");
        assert_eq!(again.json::<Value>().await.unwrap(), first);
        if life == 0 {
            daemon.kill().await.unwrap();
            daemon = world.start().await;
        }
    }
    // The same id in another thread is another message.
    world.say("u", "1", "elsewhere").await;
    let delivered = world.shop.wait_for(2).await;
    assert_eq!(text_of_delivery(&delivered[1]), "re: elsewhere");
    assert_eq!(world.agent.count(), 2);
}

#[tokio::test]
async fn what_is_not_there_says_so_and_what_is_not_allowed_too() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let body = message("t", "1", "hello").to_string();
    let nobody = world.request(Method::POST, "/v1/channels/nobody/messages").bearer_auth(INGEST).body(body);
    assert_eq!(nobody.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let reading = world.request(Method::GET, "/v1/conversations").bearer_auth(INGEST).send().await.unwrap();
    assert_problem(reading, 403, "forbidden").await;
    let method = world.request(Method::DELETE, PATH).bearer_auth(INGEST).send().await.unwrap();
    assert_eq!(method.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_untouched(&world).await;
}
