//! Messages that are handed in: who may, and what they get.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use frontdesk_model::*;
use world::*;

#[tokio::test]
async fn a_signed_message_is_taken_and_answered_202() {
    let world = World::new(&settings([]));
    let (status, duplicate, body) = world.taken(signed("m1", &hello())).await;
    assert_eq!((status, duplicate), (202, None));
    insta::assert_json_snapshot!("answer", body);
    let taken = world.inbox.taken();
    assert_eq!(taken[0].external_id.as_str(), "m1");
    assert_eq!(taken[0].sender.identity.trust, Trust::Verified);
}

#[tokio::test]
async fn a_token_is_as_good_as_a_signature_and_needs_no_secret() {
    let world = World::new(&Settings::default());
    let request = header(with_token(&hello()), "idempotency-key", "k1");
    assert_eq!(world.taken(request).await.0, 202);
    assert_eq!(world.inbox.taken()[0].external_id.as_str(), "k1");
}

#[tokio::test]
async fn without_either_both_ways_are_told() {
    let world = World::new(&settings([]));
    let problem = world.refused(header(bare(&hello()), "webhook-id", "m1")).await;
    assert_eq!((problem.status, problem.slug), (401, "unauthorized"));
    assert!(problem.detail.contains("webhook-signature") && problem.detail.contains("Bearer"), "{}", problem.detail);
}

#[tokio::test]
async fn a_channel_without_a_secret_believes_no_signature() {
    let world = World::new(&Settings::default());
    let problem = world.refused(signed("m1", &hello())).await;
    assert_eq!(problem.slug, "unauthorized");
    assert!(problem.detail.contains("give the channel a `secret`"), "{}", problem.detail);
}

#[tokio::test]
async fn while_a_secret_is_changed_either_one_verifies() {
    let world = World::new(&settings([("secret", secrets(&[SECRET, OLD_SECRET]))]));
    for (number, secret) in [SECRET, OLD_SECRET].into_iter().enumerate() {
        let request = signed_with(secret, &format!("m{number}"), now().as_secs(), &hello());
        assert_eq!(world.taken(request).await.0, 202);
    }
}

#[tokio::test]
async fn one_right_signature_among_several_is_enough() {
    let world = World::new(&settings([]));
    let mut request = signed("m1", &hello());
    let right = request.headers.pop().unwrap().1;
    let foreign = format!("v1a,{} v1,{} v1, {right} v2,x", STANDARD.encode([3; 64]), STANDARD.encode([4; 32]));
    assert_eq!(world.taken(header(request, "webhook-signature", &foreign)).await.0, 202);
}

#[tokio::test]
async fn an_unavailable_inbox_is_503_with_when_to_come_again() {
    let world = World::new(&settings([]));
    world.inbox.close();
    let problem = world.refused(signed("m1", &hello())).await;
    assert_eq!((problem.status, problem.slug, problem.retry_after), (503, "unavailable", Some(7)));
}

#[tokio::test]
async fn t30_one_flipped_bit_anywhere_in_the_signature_is_401() {
    let world = World::new(&settings([]));
    let right = signed("m1", &hello());
    let encoded = right.header("webhook-signature").unwrap().strip_prefix("v1,").unwrap().to_owned();
    let mac = STANDARD.decode(encoded).unwrap();
    for bit in 0..mac.len() * 8 {
        let mut wrong = mac.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let mut request = right.clone();
        request.headers.pop();
        let request = header(request, "webhook-signature", &format!("v1,{}", STANDARD.encode(wrong)));
        let problem = world.refused(request).await;
        assert_eq!((problem.status, problem.slug), (401, "bad-signature"), "bit {bit}");
    }
    for nonsense in ["", "v1", "v1,", "v1,!!", ",", "v1,AAAA", &format!("v1,{}", STANDARD.encode(&mac[..31]))] {
        let mut request = right.clone();
        request.headers.pop();
        assert_eq!(
            world.refused(header(request, "webhook-signature", nonsense)).await.slug,
            "bad-signature",
            "{nonsense}"
        );
    }
    assert_eq!(world.inbox.arrivals(), 0);
}

#[tokio::test]
async fn t30_one_flipped_bit_anywhere_in_what_is_signed_is_401() {
    let world = World::new(&settings([]));
    let right = signed("m1", &hello());
    for bit in 0..right.body.len() * 8 {
        let mut body = right.body.to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        let request = RouteRequest { body: body.into(), ..right.clone() };
        assert_eq!(world.refused(request).await.slug, "bad-signature", "bit {bit}");
    }
    for (name, value) in [("webhook-id", "m2"), ("webhook-timestamp", "1767607201"), ("webhook-timestamp", "soon")] {
        let mut request = right.clone();
        request.headers.iter_mut().find(|(found, _)| found == name).unwrap().1 = value.to_owned();
        assert_eq!(world.refused(request).await.slug, "bad-signature", "{name}: {value}");
    }
    for missing in ["webhook-id", "webhook-timestamp"] {
        let mut request = right.clone();
        request.headers.retain(|(name, _)| name != missing);
        let problem = world.refused(request).await;
        assert_eq!(problem.slug, "bad-signature");
        assert!(problem.detail.contains(missing), "{}", problem.detail);
    }
    assert_eq!(world.inbox.arrivals(), 0);
}

#[tokio::test]
async fn t31_an_old_or_future_signature_is_401() {
    let world = World::new(&settings([]));
    let at = |seconds: i64| signed_with(SECRET, "m1", now().as_secs() + seconds, &hello());
    for off in [-301, 301, -360, i64::from(i32::MAX)] {
        let problem = world.refused(at(off)).await;
        assert_eq!((problem.status, problem.slug), (401, "stale-timestamp"), "{off} s");
    }
    for off in [-300, 300] {
        assert_eq!(world.taken(at(off)).await.0, 202, "{off} s");
    }
}

#[tokio::test]
async fn t31_a_recorded_request_is_worthless_after_five_minutes() {
    let world = World::new(&settings([]));
    let request = signed("m1", &hello());
    assert_eq!(world.taken(request.clone()).await.0, 202);
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(world.refused(request).await.slug, "stale-timestamp");
}

#[tokio::test]
async fn t31_the_same_id_again_gets_the_first_answer_and_changes_nothing() {
    let world = World::new(&settings([]));
    let (_, _, first) = world.taken(signed("m1", &hello())).await;
    let (status, duplicate, again) = world.taken(signed("m1", r#"{"from":{"id":"u42"},"text":"another"}"#)).await;
    assert_eq!((status, duplicate.as_deref(), again), (202, Some("true"), first));
    assert_eq!(world.inbox.taken().len(), 1);
}

#[tokio::test]
async fn t32_the_raw_bytes_are_verified_not_what_they_mean() {
    let world = World::new(&settings([]));
    let signed = signed("m1", r#"{"from":{"id":"u42"},"text":"x"}"#);
    for same_meaning in [
        r#"{"text":"x","from":{"id":"u42"}}"#,
        r#"{"from": {"id": "u42"}, "text": "x"}"#,
        r#"{"from":{"id":"u42"},"text":"\u0078"}"#,
        "{\"from\":{\"id\":\"u42\"},\"text\":\"x\"}\n",
    ] {
        let request = RouteRequest { body: same_meaning.to_owned().into(), ..signed.clone() };
        assert_eq!(world.refused(request).await.slug, "bad-signature", "{same_meaning}");
    }
    assert_eq!(world.inbox.arrivals(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_verified_before_they_are_refused() {
    let world = World::new(&settings([]));
    let problem = world.refused(RouteRequest { body: vec![0xff, 0xfe].into(), ..signed("m1", "x") }).await;
    assert_eq!(problem.slug, "bad-signature");
    let problem = world.refused(RouteRequest { body: vec![0xff, 0xfe].into(), ..with_token("") }).await;
    assert_eq!(problem.slug, "invalid-json");
}

#[tokio::test]
async fn t42_thread_and_id_never_run_into_each_other() {
    let world = World::new(&settings([]));
    let pairs = [("a:b", "c"), ("a", "b:c"), ("a}:{b", "c"), ("a", "}:{b:c"), ("*", "?")];
    for (thread, id) in pairs {
        let body = serde_json::json!({ "thread": thread, "id": id, "from": { "id": "u" }, "text": "x" }).to_string();
        let (_, duplicate, _) = world.taken(with_token(&body)).await;
        assert_eq!(duplicate, None, "{thread} {id}");
    }
    let taken = world.inbox.taken();
    assert_eq!(taken.len(), pairs.len());
    for (envelope, (thread, id)) in taken.iter().zip(pairs) {
        assert_eq!((envelope.thread.as_str(), envelope.external_id.as_str()), (thread, id), "as they came");
        assert_eq!(envelope.unique_within, UniqueWithin::Thread);
    }
}
