//! Files handed in and read: bounded, never shown as what they might do harm as, and kept from whom they are not for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use serde_json::json;
use world::{ADMIN, AGENT, ANNEX, Answer, DESK, INGEST, MAX_BYTES, World};

async fn upload(world: &World, query: &str, token: &str, body: &[u8]) -> Answer {
    let mut client = world.client().await;
    let head = format!(
        "POST /v1/attachments{query} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {token}\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head).await;
    client.send(body).await;
    let answer = client.answer().await;
    world::record::answer("POST", &format!("/v1/attachments{query}"), &answer);
    answer
}

async fn uploaded(world: &World, name: &str, body: &[u8]) -> String {
    let answer = upload(world, &format!("?name={name}"), AGENT, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_handed_in_is_read_again_as_what_it_is() {
    let world = World::new().await;
    let answer = upload(&world, "?name=..%2Fr%C3%A9port.txt", AGENT, b"hello").await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json["name"], "r\u{e9}port.txt");
    assert_eq!((&answer.json["media_type"], &answer.json["size"]), (&json!("text/plain"), &json!(5)));
    assert_eq!(answer.json["sha256"], "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    let path = format!("/v1/attachments/{}", answer.json["id"].as_str().unwrap());
    let read = world.get(&path, DESK).await;
    assert_eq!((read.status, read.text.as_str()), (200, "hello"));
    assert_eq!(read.header("content-type"), Some("text/plain"));
    assert_eq!(read.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(read.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    let disposition = "attachment; filename=\"r_port.txt\"; filename*=UTF-8''r%C3%A9port.txt";
    assert_eq!(read.header("content-disposition"), Some(disposition));
}

#[tokio::test]
async fn t21_t23_what_runs_is_a_download_whatever_it_is_called() {
    let world = World::new().await;
    for (bytes, media_type, shown) in [
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".as_slice(), "image/svg+xml", "attachment"),
        (b"<!doctype html><script>alert(1)</script>", "text/html", "attachment"),
        (b"%PDF-1.7\n%%EOF", "application/pdf", "attachment"),
        (b"GIF89a\x01\0\x01\0\0\0\0;", "image/gif", "inline"),
    ] {
        let id = uploaded(&world, "photo.png", bytes).await;
        let read = world.get(&format!("/v1/attachments/{id}"), AGENT).await;
        assert_eq!(read.header("content-type"), Some(media_type));
        assert!(read.header("content-disposition").unwrap().starts_with(shown), "{media_type}");
        assert_eq!(read.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_however_it_announces_itself() {
    let world = World::new().await;
    let most = usize::try_from(MAX_BYTES).unwrap();
    assert_eq!(upload(&world, "", AGENT, &vec![7; most]).await.status, 201);
    let mut client = world.client().await;
    let head = format!("POST /v1/attachments HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {AGENT}\r\n");
    client.send(format!("{head}Content-Length: {}\r\n\r\n", most + 1)).await;
    let announced = client.answer().await;
    assert_eq!((announced.status, announced.slug()), (413, "body-too-large"));
    assert!(announced.detail().contains("max_bytes"), "{announced:?}");
    let mut client = world.client().await;
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    for _ in 0..11 {
        client.send(format!("{:x}\r\n", 100_000)).await;
        client.send(vec![7; 100_000]).await;
        client.send("\r\n").await;
    }
    let silent = client.answer().await;
    assert_eq!((silent.status, silent.slug()), (413, "body-too-large"));
    let empty = upload(&world, "", AGENT, b"").await;
    assert_eq!((empty.status, empty.slug()), (422, "invalid-request"));
    let unknown = upload(&world, "?nmae=x", AGENT, b"x").await;
    assert_eq!((unknown.status, unknown.slug()), (422, "invalid-query"));
}

#[tokio::test]
async fn only_those_who_may_hand_in_and_read() {
    let world = World::new().await;
    assert_eq!(upload(&world, "", "unknown", b"x").await.slug(), "unauthorized");
    assert_eq!(upload(&world, "", INGEST, b"x").await.slug(), "forbidden");
    let id = uploaded(&world, "a.txt", b"hello").await;
    let path = format!("/v1/attachments/{id}");
    assert_eq!(world.get(&path, "").await.slug(), "unauthorized");
    assert_eq!(world.get(&path, INGEST).await.slug(), "forbidden");
    assert_eq!(world.get(&path, ANNEX).await.slug(), "not-found", "held to a channel, and somebody else's");
    assert_eq!(world.get(&path, ADMIN).await.status, 200);
    for query in ["?signature=x", "?expires=99999999999&key=a&signature=b", "?x"] {
        assert_eq!(world.get(&format!("{path}{query}"), ADMIN).await.slug(), "unauthorized", "{query}");
    }
    for nothing in ["att_00000000000000000000000000", "att_0000000000000000000000000000", "att_x", "../../etc/passwd"] {
        let answer = world.get(&format!("/v1/attachments/{}", nothing.replace('/', "%2f")), ADMIN).await;
        assert_eq!((answer.status, answer.slug()), (404, "not-found"), "{nothing}");
    }
}

#[tokio::test]
async fn a_reply_uses_what_was_handed_in_and_what_its_conversation_has() {
    let world = World::new().await;
    let shop = world.write("shop", "order-77", "Hello").await;
    let other = world.write("annex", "order-78", "Hello").await;
    let id = uploaded(&world, "a.txt", b"hello").await;
    let say = |attachment: serde_json::Value| json!({"messages": [{"text": "Here.", "attachments": [attachment]}]});
    let path = format!("/v1/conversations/{shop}/messages");
    let said = world.ask("POST", &path, DESK, Some(say(json!({"id": id})))).await;
    assert_eq!(said.status, 202, "{said:?}");
    let shown = world.get(&path, DESK).await.json["data"][0]["attachments"][0].clone();
    assert_eq!((&shown["name"], &shown["state"], &shown["url"]), (&json!("a.txt"), &json!("stored"), &json!(null)));
    let of_message = shown["id"].as_str().unwrap().to_owned();
    assert_ne!(of_message, id, "the message's own");
    let read = world.get(&format!("/v1/attachments/{of_message}"), DESK).await;
    assert_eq!(read.text, "hello");
    assert_eq!(world.get(&format!("/v1/attachments/{of_message}"), ANNEX).await.slug(), "not-found");
    let again = world.ask("POST", &path, DESK, Some(say(json!({"id": of_message})))).await;
    assert_eq!(again.status, 202, "{again:?}");
    let elsewhere = format!("/v1/conversations/{other}/messages");
    for (path, attachment) in [
        (&elsewhere, json!({"id": of_message})),
        (&path, json!({"id": "att_00000000000000000000000000"})),
        (&path, json!({"id": id, "url": "https://example.com/"})),
        (&path, json!({"url": "file:///etc/passwd"})),
        (&path, json!({})),
    ] {
        let refused = world.ask("POST", path, DESK, Some(say(attachment.clone()))).await;
        assert_eq!((refused.status, refused.slug()), (422, "invalid-request"), "{attachment}");
    }
}
