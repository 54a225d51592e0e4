//! One message's whole way.

use frontdesk_testkit::{daemon::Site, far_end::FarEnd};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::world::{
    AGENT_SECRET, SHOP_SECRET, World, client, echo, event, is_signed, message, takes, text_of_delivery, webhook_id,
};

/// As the shipped configuration runs: no tokens, no secrets; the keys of the first start are enough.
#[tokio::test]
async fn a_first_start_without_tokens_makes_a_key_that_sends_a_message_and_reads_its_reply() {
    let (agent, shop) = (FarEnd::start(echo).await, FarEnd::start(takes).await);
    let site = Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap().with(&format!(
        "[agent]\nurl = \"{}\"\n[channels.shop]\nkind = \"webhook\"\ndeliver_url = \"{}\"\n",
        agent.url(),
        shop.url()
    ));
    let _daemon = site.start().await.unwrap();
    let key = std::fs::read_to_string(site.data().join("shop.token")).unwrap();
    let http = client();
    let answer = http
        .post(site.url("/v1/channels/shop/messages"))
        .bearer_auth(key.trim())
        .body(message("t", "1", "hello").to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = answer.json().await.unwrap();
    let delivered = shop.wait_for(1).await;
    assert_eq!(text_of_delivery(&delivered[0]), "re: hello");

    let path = format!("/v1/conversations/{}/messages", answer["conversation_id"].as_str().unwrap());
    let messages: Value = http.get(site.url(&path)).bearer_auth(key.trim()).send().await.unwrap().json().await.unwrap();
    assert_eq!(messages["data"].as_array().unwrap().len(), 2, "{messages}");
    let made = std::fs::read_to_string(site.data().join("agent.secret")).unwrap();
    assert!(is_signed(&agent.requests()[0], made.trim()), "signed with the secret of the first start");
}

#[tokio::test]
async fn a_message_reaches_the_agent_and_its_reply_the_far_end_and_the_api_shows_both() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let conversation = world.say("order-77", "note-1", "Where is my order?").await;

    let delivered = world.shop.wait_for(1).await;
    assert_eq!(text_of_delivery(&delivered[0]), "re: Where is my order?");
    assert!(is_signed(&delivered[0], SHOP_SECRET));
    let asked = world.agent.requests();
    assert_eq!(asked.len(), 1);
    assert!(is_signed(&asked[0], AGENT_SECRET));
    assert_eq!(webhook_id(&asked[0]), event(&asked[0])["id"].as_str().unwrap(), "the event's id is the request's");

    world.settled(&conversation, "sent").await;
    let messages = world.messages(&conversation).await;
    let said: Vec<_> = messages.iter().map(|one| (&one["direction"], &one["text"], &one["status"])).collect();
    assert_eq!(
        said,
        [
            (&json!("inbound"), &json!("Where is my order?"), &Value::Null),
            (&json!("outbound"), &json!("re: Where is my order?"), &json!("sent")),
        ]
    );
    assert_eq!(messages[1]["id"], webhook_id(&delivered[0]), "the message's id is the delivery's webhook-id");
}

#[tokio::test]
async fn what_the_agent_and_the_far_end_are_sent_has_this_form() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let conversation = world.say("order-77", "note-1", "Where is my order?").await;
    world.settled(&conversation, "sent").await;
    world.say("order-77", "note-2", "Hello?").await;
    let delivered = world.shop.wait_for(2).await;
    let asked = world.agent.requests();
    insta::assert_json_snapshot!("event_to_the_agent", event(&asked[1]), {
        ".id" => "evt_...",
        ".timestamp" => "[time]",
        ".data.conversation.id" => "cnv_...",
        ".data.conversation.created_at" => "[time]",
        ".data.conversation.updated_at" => "[time]",
        ".data.contact.id" => "cnt_...",
        ".data.message.id" => "msg_...",
        ".data.message.author.id" => "cnt_...",
        ".data.message.received_at" => "[time]",
        ".data.history[].id" => "msg_...",
        ".data.history[].author.id" => "cnt_...",
        ".data.history[].received_at" => "[time]",
        ".data.history[1].sent_at" => "[time]",
        ".data.reply_url" => "http://.../v1/conversations/cnv_.../messages",
        ".data.reply_token" => "frt_...",
    });
    insta::assert_json_snapshot!("delivery_to_the_far_end", event(&delivered[0]), {
        ".id" => "msg_...",
        ".timestamp" => "[time]",
        ".data.message.id" => "msg_...",
    });
}

#[tokio::test]
async fn a_request_signed_with_the_channels_secret_needs_no_token() {
    let world = World::that_echoes().await;
    let _daemon = world.start().await;
    let body = json!({ "from": { "id": "u1" }, "text": "signed" }).to_string();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signature =
        Webhook::new(SHOP_SECRET).unwrap().sign("wh-1", i64::try_from(now).unwrap(), body.as_bytes()).unwrap();
    let answer = world
        .request(Method::POST, "/v1/channels/shop/messages")
        .header("webhook-id", "wh-1")
        .header("webhook-timestamp", now)
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED, "the id of the message is the header's");
    assert_eq!(text_of_delivery(&world.shop.wait_for(1).await[0]), "re: signed");
}

#[tokio::test]
async fn without_a_deliver_url_replies_are_read_from_the_api() {
    let agent = FarEnd::start(echo).await;
    let shop = FarEnd::start(takes).await;
    let mut world = World::of(agent, shop);
    let without: String = crate::world::sections(&world.agent.url(), "", "")
        .lines()
        .filter(|line| !line.starts_with("deliver_url"))
        .map(|line| format!("{line}\n"))
        .collect();
    world.site.reconfigure(&without);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "hello").await;
    let reply = world.settled(&conversation, "sent").await;
    assert_eq!(reply["text"], "re: hello");
}
