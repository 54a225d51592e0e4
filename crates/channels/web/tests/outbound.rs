//! Messages that are delivered: what goes out, and what the answers mean.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::time::{Duration, Instant};

use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Reply};
use http::HeaderMap;
use world::*;

fn to(far_end: &FarEnd) -> World {
    World::new(&settings([("deliver_url", deliver_to(far_end.addr()))]))
}

async fn outcome_of(reply: Reply) -> Outcome {
    let far_end = FarEnd::start(move |_| reply.clone()).await;
    let outcome = to(&far_end).send(&outgoing()).await;
    assert_eq!(far_end.count(), 1);
    outcome
}

#[tokio::test]
async fn the_body_says_what_was_written_and_only_that() {
    let world = World::new(&settings([]));
    insta::assert_json_snapshot!("markdown_body", world.adapter.render(&outgoing())[0]);
    let mut literal = outgoing();
    literal.message.content = Content::Text("a < b & \u{0} **c**".into());
    (literal.to, literal.reply_to_external) = (None, None);
    insta::assert_json_snapshot!("text_body", world.adapter.render(&literal)[0]);
}

#[test]
fn what_html_cannot_show_is_told_and_does_no_harm() {
    let world = World::new(&settings([]));
    let html = |markdown: &str| {
        let content = Content::Markdown(markdown.into());
        let mut message = outgoing();
        message.message.content = content.clone();
        let frozen = world.adapter.render(&message);
        let html = frozen[0].0["data"]["message"]["html"].as_str().unwrap().to_owned();
        (html, world.adapter.degraded(&content))
    };
    assert_eq!(
        html("| a |\n|---|\n| b |"),
        ("<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>".into(), vec![])
    );
    let (forged, lost) = html("[x](javascript:alert(1)) <script>alert(1)</script>");
    assert!(!forged.contains("javascript:") && !forged.contains("<script"), "{forged}");
    assert_eq!(lost, ["links"]);
}

#[tokio::test]
async fn a_delivery_is_signed_so_that_the_reference_accepts_it() {
    let far_end = FarEnd::start(|_| Reply::status(204)).await;
    let world = World::new(&settings([
        ("deliver_url", deliver_to(far_end.addr())),
        ("secret", secrets(&[SECRET, OLD_SECRET])),
    ]));
    assert_eq!(world.send(&outgoing()).await, Outcome::Sent { external_id: None });
    let request = &far_end.requests()[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook?token=t0k3n-in-the-query"));
    let id = outgoing().message.id.to_string();
    assert_eq!(request.header("webhook-id"), Some(id.as_str()));
    assert_eq!(request.header("webhook-timestamp"), Some("1767607200"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("user-agent"), Some(concat!("Frontdesk/", env!("CARGO_PKG_VERSION"))));
    let signatures: Vec<String> = [SECRET, OLD_SECRET]
        .map(|secret| standardwebhooks::Webhook::new(secret).unwrap().sign(&id, 1_767_607_200, &request.body).unwrap())
        .to_vec();
    assert_eq!(request.header("webhook-signature"), Some(signatures.join(" ").as_str()), "the first one first");
}

/// The reference looks at the real clock, so this delivery is made by it.
#[tokio::test]
async fn the_reference_verifies_a_delivery_of_this_moment() {
    let far_end = FarEnd::start(|_| Reply::status(204)).await;
    let world = to(&far_end);
    let seconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let since = Duration::from_secs(seconds - u64::try_from(now().as_secs()).unwrap());
    world.clock.advance(since);
    world.send(&outgoing()).await;
    let request = &far_end.requests()[0];
    let headers: HeaderMap = request.headers.clone();
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(&request.body, &headers).unwrap();
}

#[tokio::test]
async fn without_a_secret_it_is_not_signed() {
    let far_end = FarEnd::start(|_| Reply::status(204)).await;
    let mut plain = Settings::default();
    plain.insert("deliver_url", deliver_to(far_end.addr()));
    assert_eq!(World::new(&plain).send(&outgoing()).await, Outcome::Sent { external_id: None });
    assert_eq!(far_end.requests()[0].header("webhook-signature"), None);
    assert!(far_end.requests()[0].header("webhook-id").is_some());
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    let mut meanings = String::new();
    for status in
        [200, 201, 202, 204, 299, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 425]
            .into_iter()
            .chain([429, 451, 500, 501, 502, 503, 504, 599])
    {
        meanings.push_str(&format!("{status}: {:?}\n", outcome_of(Reply::status(status)).await));
    }
    insta::assert_snapshot!("meanings", meanings);
}

#[tokio::test]
async fn retry_after_is_understood_in_seconds_and_as_a_date() {
    let day = Duration::from_secs(24 * 3600);
    for (value, span) in [
        ("120", Some(Duration::from_secs(120))),
        ("0", Some(Duration::ZERO)),
        (" 7 ", Some(Duration::from_secs(7))),
        ("Mon, 05 Jan 2026 10:02:00 GMT", Some(Duration::from_secs(120))),
        ("Mon, 05 Jan 2026 09:00:00 GMT", Some(Duration::ZERO)),
        ("Tue, 05 Jan 2055 10:00:00 GMT", Some(day)),
        ("99999999999999999999999", Some(day)),
        ("-1", None),
        ("soon", None),
        ("", None),
    ] {
        for (status, wanted) in
            [(429, Scope::Channel), (503, Scope::Channel), (500, Scope::Message), (408, Scope::Message)]
        {
            let outcome = outcome_of(Reply::status(status).header("retry-after", value)).await;
            let Outcome::RetryAfter { after, scope, .. } = outcome else { panic!("{outcome:?}") };
            assert_eq!((after, scope), (span, wanted), "{status} {value:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_any_size_and_slowness_is_left_behind_in_time() {
    let began = Instant::now();
    let endless = Reply::text(200, &"x".repeat(10_000_000));
    assert_eq!(outcome_of(endless.clone()).await, Outcome::Sent { external_id: None });
    let dripping = endless.drip(1, Duration::from_secs(3600));
    assert_eq!(outcome_of(dripping).await, Outcome::Sent { external_id: None });
    let broken = Reply::text(200, "0123456789").break_off_after(5);
    assert_eq!(outcome_of(broken).await, Outcome::Sent { external_id: None }, "the status was there");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_short_answer_leaves_the_connection_for_the_next_delivery() {
    let peers = std::sync::Arc::new(std::sync::Mutex::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counted = std::sync::Arc::clone(&peers);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            *counted.lock().unwrap() += 1;
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut request = vec![0; 65_536];
                // A request of this size arrives in one or two pieces, of which the last one ends in the body's brace.
                while let Ok(read @ 1..) = stream.read(&mut request).await {
                    if request[..read].ends_with(b"}") {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no").await.unwrap();
                        // The rest comes when the status has long been read.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        if stream.write_all(b"k").await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    let world = World::new(&settings([("deliver_url", deliver_to(address))]));
    for _ in 0..5 {
        assert_eq!(world.send(&outgoing()).await, Outcome::Sent { external_id: None });
    }
    assert_eq!(*peers.lock().unwrap(), 1, "connections for five deliveries");
}

#[tokio::test]
async fn a_far_end_that_does_not_speak_http_is_uncertain() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::new(&settings([("deliver_url", deliver_to(listener.local_addr().unwrap()))]));
    let serving = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await.unwrap();
    };
    let message = outgoing();
    let (outcome, ()) = tokio::join!(world.send(&message), serving);
    assert!(matches!(outcome, Outcome::Uncertain { .. }), "{outcome:?}");
}

#[tokio::test]
async fn t37_no_outcome_and_no_probe_shows_address_or_secret() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let unknown = "http://no-such-host.invalid/path-of-ours?token=t0k3n-in-the-query".to_owned();
    // A TLS handshake with what speaks none.
    let plain = FarEnd::start(|_| Reply::status(200)).await;
    let tls = format!("https://{}/path-of-ours?token={QUERY_TOKEN}", plain.addr());
    let refused = format!("http://{closed}/path-of-ours?token={QUERY_TOKEN}");
    for url in [unknown, tls, refused] {
        let world = World::new(&settings([("deliver_url", Setting::Text(url.clone()))]));
        let outcome = world.send(&outgoing()).await;
        assert!(
            matches!(outcome, Outcome::RetryAfter { after: None, scope: Scope::Channel, .. }),
            "{url}: {outcome:?}"
        );
        let probe = world.adapter.probe().await.unwrap_err();
        let shown = format!("{outcome:?} {probe} {probe:?}");
        for hidden in [QUERY_TOKEN, "path-of-ours", &SECRET[6..], "Where is", "ships"] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
        assert!(probe.to_string().contains("check the address"), "{probe}");
    }
}

#[tokio::test]
async fn a_probe_delivers_nothing_and_any_answer_will_do() {
    for status in [200, 404, 405, 500] {
        let far_end = FarEnd::start(move |_| Reply::status(status)).await;
        to(&far_end).adapter.probe().await.unwrap();
        let request = &far_end.requests()[0];
        assert_eq!((request.method.as_str(), request.body.len()), ("OPTIONS", 0));
        assert_eq!(request.header("webhook-id"), None);
    }
    World::new(&settings([])).adapter.probe().await.unwrap();
}

#[tokio::test]
async fn without_a_deliver_url_nothing_can_be_sent() {
    let world = World::new(&settings([]));
    assert!(!world.adapter.capabilities().outbound);
    let outcome = world.send(&outgoing()).await;
    assert!(matches!(outcome, Outcome::Failed { scope: Scope::Channel, .. }), "{outcome:?}");
}
