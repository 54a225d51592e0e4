//! Every error that a sender can get, and that the list of them is the whole list.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::{collections::BTreeSet, fmt::Write};

use frontdesk_model::*;
use frontdesk_web::Refusal;
use world::*;

/// Fields in place of those of a good message.
fn with(fields: &str) -> String {
    format!(r#"{{"id":"m1","from":{{"id":"u42"}},"text":"x",{fields}}}"#)
}

fn from(fields: &str) -> String {
    format!(r#"{{"id":"m1","from":{{{fields}}},"text":"x"}}"#)
}

/// What is wrong, the slug, the body. Handed in with a token.
fn bodies() -> Vec<(&'static str, Refusal, String)> {
    use Refusal::*;
    let long = "x".repeat(513);
    vec![
        ("empty body", InvalidJson, String::new()),
        ("broken off", InvalidJson, "{\"from\":\n {\"id\": \"u4".into()),
        ("trailing", InvalidJson, format!("{} x", with(r#""thread":"t""#))),
        ("half a surrogate", InvalidJson, with(r#""thread":"\ud800""#)),
        ("a number out of range", InvalidJson, with(r#""thread":1e999"#)),
        ("too deep", TooDeep, with(&format!("\"thread\":{}", "[".repeat(100_000)))),
        ("not an object", InvalidField, "[]".into()),
        ("no id", MissingId, r#"{"from":{"id":"u42"},"text":"x"}"#.into()),
        ("null id", MissingId, r#"{"id":null,"from":{"id":"u42"},"text":"x"}"#.into()),
        ("no from", MissingField, r#"{"id":"m1","text":"x"}"#.into()),
        ("no from.id", MissingField, from(r#""name":"Ada""#)),
        ("no text", MissingField, r#"{"id":"m1","from":{"id":"u42"}}"#.into()),
        ("unknown, near", UnknownField, with(r#""sendat":"x""#)),
        ("unknown, far", UnknownField, with(r#""priority":1"#)),
        ("unknown in from", UnknownField, from(r#""id":"u42","nmae":"x""#)),
        ("unknown, with escapes", UnknownField, with(r#""\u001b[31m\nevil":1"#)),
        ("not announced", UnknownField, with(r#""reply_to":"m0""#)),
        ("text and markdown", TextAndMarkdown, with(r#""markdown":"x""#)),
        ("attachment without url", MissingField, with(r#""attachments":[{"name":"y.jpg"}]"#)),
        ("attachment elsewhere", InvalidField, with(r#""attachments":[{"url":"file:///etc/passwd"}]"#)),
        ("attachment with more", UnknownField, with(r#""attachments":[{"url":"https://x/y.jpg","size":1}]"#)),
        ("attachment as text", InvalidField, with(r#""attachments":["https://x/y.jpg"]"#)),
        (
            "too many attachments",
            InvalidField,
            with(&format!(r#""attachments":[{}]"#, [r#"{"url":"https://x/y"}"#; 11].join(","))),
        ),
        ("attachments as text", InvalidField, with(r#""attachments":"y.jpg""#)),
        ("twice", InvalidField, with(r#""thread":"a","thread":"b""#)),
        ("id a number", InvalidField, r#"{"id":77,"from":{"id":"u42"},"text":"x"}"#.into()),
        ("id too long", InvalidField, format!(r#"{{"id":"{long}","from":{{"id":"u42"}},"text":"x"}}"#)),
        ("id empty", InvalidField, r#"{"id":"","from":{"id":"u42"},"text":"x"}"#.into()),
        ("thread with a line break", InvalidField, with(r#""thread":"a\nb""#)),
        ("from a text", InvalidField, r#"{"id":"m1","from":"u42","text":"x"}"#.into()),
        ("from.id with NUL", InvalidField, from(r#""id":"a\u0000b""#)),
        ("from.name too long", InvalidField, from(&format!(r#""id":"u42","name":"{}""#, "é".repeat(257)))),
        ("from.email none", InvalidField, from(r#""id":"u42","email":"ada at example.com""#)),
        ("from.email two lines", InvalidField, from(r#""id":"u42","email":"a@b\r\nBcc: c@d""#)),
        ("from.locale none", InvalidField, from(r#""id":"u42","locale":"en_US""#)),
        ("text empty", InvalidField, r#"{"id":"m1","from":{"id":"u42"},"text":" \n"}"#.into()),
        ("markdown empty", InvalidField, r#"{"id":"m1","from":{"id":"u42"},"markdown":""}"#.into()),
        ("text a list", InvalidField, r#"{"id":"m1","from":{"id":"u42"},"text":["x"]}"#.into()),
        ("subject too long", InvalidField, with(&format!(r#""subject":"{}""#, "x".repeat(999)))),
        ("auto_generated a text", InvalidField, with(r#""auto_generated":"yes""#)),
        ("sent_at no time", InvalidField, with(r#""sent_at":"yesterday""#)),
    ]
}

fn requests() -> Vec<(&'static str, Refusal, RouteRequest)> {
    use Refusal::*;
    let late = now().as_secs() - 360;
    let mut requests: Vec<_> =
        bodies().into_iter().map(|(what, refusal, body)| (what, refusal, with_token(&body))).collect();
    requests.push(("id of a header with a bell", InvalidField, header(with_token(&hello()), "webhook-id", "a\u{7}b")));
    requests.push(("neither signed nor with a token", Unauthorized, bare(&hello())));
    requests.push(("another's signature", BadSignature, signed_with(OLD_SECRET, "m1", now().as_secs(), &hello())));
    requests.push(("six minutes old", StaleTimestamp, signed_with(SECRET, "m1", late, &hello())));
    requests
}

/// Nothing of a refused message is repeated but the name of an unknown field.
#[tokio::test]
async fn each_says_what_is_wrong_and_what_to_do() {
    let world = World::new(&settings([]));
    let mut shown = String::new();
    let mut seen = BTreeSet::new();
    for (what, refusal, request) in requests() {
        let problem = world.refused(request).await;
        assert_eq!((problem.slug, problem.status), (refusal.slug(), refusal.status()), "{what}: {}", problem.detail);
        assert!(!problem.detail.chars().any(char::is_control), "{what}: {:?}", problem.detail);
        writeln!(shown, "{what}\n    {} {}: {}\n    {}", problem.status, problem.slug, problem.title, problem.detail)
            .unwrap();
        seen.insert(problem.slug);
    }
    assert_eq!(world.inbox.arrivals(), 0);
    world.inbox.close();
    let problem = world.refused(signed("m1", &hello())).await;
    writeln!(shown, "closed\n    {} {}: {}\n    {}", problem.status, problem.slug, problem.title, problem.detail)
        .unwrap();
    seen.insert(problem.slug);
    let all: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.slug()).collect();
    assert_eq!(seen, all, "each of the list is seen here");
    insta::assert_snapshot!("problems", shown);
}

#[tokio::test]
async fn a_signed_timestamp_that_is_no_number_is_named() {
    let world = World::new(&settings([]));
    let body = hello();
    // The reference library signs numbers only, so this sender is its own.
    let request = header(header(bare(&body), "webhook-id", "m1"), "webhook-timestamp", "soon");
    let signature = {
        use hmac::Mac;
        let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &SECRET[6..]).unwrap();
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("m1.soon.{body}").as_bytes());
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac.finalize().into_bytes())
    };
    let problem = world.refused(header(request, "webhook-signature", &format!("v1,{signature}"))).await;
    assert_eq!((problem.status, problem.slug), (401, "stale-timestamp"));
    assert!(problem.detail.contains("whole seconds"), "{}", problem.detail);
}
