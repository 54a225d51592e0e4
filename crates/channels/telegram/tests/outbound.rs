//! What is sent, exactly, and what answers are understood as.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::time::Duration;

use frontdesk_model::*;
use frontdesk_testkit::far_end::{FarEnd, Reply};
use serde_json::{Value, json};
use world::*;

#[tokio::test]
async fn a_message_is_one_exact_request() {
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 501, "chat": {"id": 123}}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outcome = send(&adapter, &outgoing("123", "It ships **today**, *Ada*.")).await;
    assert_eq!(outcome, Outcome::Sent { external_id: Some("123:501".into()) });
    let requests = far_end.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, format!("/bot{TOKEN}/sendMessage"));
    assert_eq!(
        params(&requests[0]),
        json!({
            "chat_id": 123,
            "text": "It ships today, Ada.",
            "entities": [
                {"type": "bold", "offset": 9, "length": 5},
                {"type": "italic", "offset": 16, "length": 3}
            ],
            "reply_parameters": {"message_id": 76, "allow_sending_without_reply": true},
            "link_preview_options": {"is_disabled": true}
        })
    );
}

#[tokio::test]
async fn parts_go_to_the_topic_and_only_the_first_answers() {
    let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), vec![]);
    let mut long = outgoing("-1001/5", &"word ".repeat(2000));
    long.reply_to_external = Some(ExternalId::new("-1001:76").unwrap());
    let parts = adapter.render(&long);
    assert!(parts.len() > 1);
    for (nth, FrozenPart(part)) in parts.iter().enumerate() {
        let params = &part["params"];
        assert_eq!((&params["chat_id"], &params["message_thread_id"]), (&json!(-1001), &json!(5)));
        assert!(params["text"].as_str().unwrap().encode_utf16().count() <= 4096);
        assert_eq!(params.get("reply_parameters").is_some(), nth == 0);
    }
}

/// <https://core.telegram.org/bots/api#sendmessage>: required where a person writes to a channel.
#[tokio::test]
async fn direct_messages_of_a_channel_are_answered_in_their_topic() {
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 9}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    assert_eq!(
        send(&adapter, &outgoing("-1001/direct-5", "Hello")).await,
        Outcome::Sent { external_id: Some("-1001:9".into()) }
    );
    let sent = params(&far_end.requests()[0]);
    assert_eq!((&sent["chat_id"], &sent["direct_messages_topic_id"]), (&json!(-1001), &json!(5)));
    assert!(sent.get("message_thread_id").is_none(), "{sent}");
    adapter.typing(&ThreadId::new("-1001/direct-5").unwrap()).await;
    assert_eq!(far_end.count(), 1, "typing would be shown elsewhere");
}

async fn outcome(reply: Reply) -> Outcome {
    let far_end = FarEnd::start(move |_| reply.clone()).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outcome = send(&adapter, &outgoing("123", "Hello")).await;
    assert_eq!(far_end.count(), 1, "no tries of its own");
    outcome
}

#[tokio::test]
async fn each_answer_is_what_the_contract_says() {
    let none = || json!({});
    for status in [400, 403, 413] {
        let outcome = outcome(refused(status, "Bad Request: chat not found", none())).await;
        assert!(matches!(outcome, Outcome::Failed { scope: Scope::Message, .. }), "{status}: {outcome:?}");
    }
    for status in [401, 404] {
        let outcome = outcome(refused(status, "Unauthorized", none())).await;
        assert!(matches!(outcome, Outcome::RetryAfter { scope: Scope::Channel, .. }), "{status}: {outcome:?}");
    }
    for status in [500, 502, 504] {
        let outcome = outcome(Reply::text(status, "<html>")).await;
        assert!(matches!(outcome, Outcome::Uncertain { .. }), "{status}: {outcome:?}");
    }
    let stranger = outcome(Reply::text(200, "<html>welcome to our network</html>")).await;
    assert!(matches!(stranger, Outcome::Uncertain { .. }), "{stranger:?}");
    let echo = outcome(refused(400, &format!("cannot find {TOKEN}"), none())).await;
    assert!(!format!("{echo:?}").contains("secret"), "{echo:?}");
}

#[tokio::test]
async fn a_flood_is_about_its_chat_until_a_second_chat_hears_of_it() {
    let far_end = FarEnd::start(|_| refused(429, "Too Many Requests: retry after 7", json!({"retry_after": 7}))).await;
    let (adapter, clock) = channel_at(far_end.addr(), vec![]);
    let scope = async |thread: &str| match send(&adapter, &outgoing(thread, "Hello")).await {
        Outcome::RetryAfter { after, scope, .. } => {
            assert_eq!(after, Some(Duration::from_secs(7)));
            scope
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(scope("123").await, Scope::Message);
    assert_eq!(scope("123").await, Scope::Message, "the same chat again");
    assert_eq!(scope("124").await, Scope::Channel);
    clock.advance(Duration::from_secs(8));
    assert_eq!(scope("125").await, Scope::Message, "the earlier one is over");
}

#[tokio::test]
async fn a_group_that_moved_is_written_to_where_it_is() {
    let far_end = FarEnd::start(|request| match params(request)["chat_id"].as_i64() {
        Some(-5) => {
            let words = "Bad Request: group chat was upgraded to a supergroup chat";
            refused(400, words, json!({"migrate_to_chat_id": -1005}))
        }
        _ => ok(json!({"message_id": 9})),
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let first = send(&adapter, &outgoing("-5", "Hello")).await;
    assert!(matches!(first, Outcome::RetryAfter { scope: Scope::Message, .. }), "{first:?}");
    let second = send(&adapter, &outgoing("-5", "Hello")).await;
    assert_eq!(second, Outcome::Sent { external_id: Some("-1005:9".into()) });
}

#[tokio::test]
async fn typing_is_shown_in_the_topic() {
    let far_end = FarEnd::start(|_| ok(Value::Bool(true))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    adapter.typing(&ThreadId::new("-1001/5").unwrap()).await;
    let requests = far_end.requests();
    assert_eq!(method(&requests[0]), "sendChatAction");
    assert_eq!(params(&requests[0]), json!({"chat_id": -1001, "action": "typing", "message_thread_id": 5}));
}

/// A message with one file that is here.
fn with_file(name: &str, media_type: &str) -> Outgoing {
    let mut outgoing = outgoing("-1001/5", "");
    outgoing.reply_to_external = Some(ExternalId::new("-1001:76").unwrap());
    let stored = Stored { media_type: media_type.into(), size: 4, sha256: ContentHash([0; 32]) };
    let id = AttachmentId::of_message(outgoing.message.id, 0);
    outgoing.message.attachments = vec![Attachment { id, name: name.into(), state: AttachmentState::Stored(stored) }];
    outgoing
}

#[tokio::test]
async fn a_file_is_read_here_and_uploaded() {
    let here = FarEnd::start(|_| Reply::text(200, "%PDF")).await;
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 8}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outgoing = with_file("bill \"5\".pdf", "application/pdf");
    let parts = adapter.render(&outgoing);
    assert_eq!(parts.len(), 1, "there are no words");
    let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
    let send = async |links: &[Link]| {
        adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part: &parts[0], links }).await
    };
    assert_eq!(send(&[link]).await, Outcome::Sent { external_id: Some("-1001:8".into()) });
    let requests = far_end.requests();
    assert_eq!(method(&requests[0]), "sendDocument");
    assert_eq!(requests[0].header("content-type"), Some("multipart/form-data; boundary=frontdesk-part"));
    let body = String::from_utf8(requests[0].body.to_vec()).unwrap();
    for field in [
        "name=\"chat_id\"\r\n\r\n-1001\r\n",
        "name=\"message_thread_id\"\r\n\r\n5\r\n",
        "name=\"reply_parameters\"\r\n\r\n{\"allow_sending_without_reply\":true,\"message_id\":76}\r\n",
        "name=\"document\"; filename=\"bill %225%22.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n--frontdesk-part--\r\n",
    ] {
        assert!(body.contains(field), "{field} in {body}");
    }
    for size in [0, 50_000_001] {
        let mut part = parts[0].clone();
        part.0["file"]["size"] = size.into();
        let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
        let dispatch = Dispatch { message: outgoing.message.id, index: 0, part: &part, links: &[link] };
        let outcome = adapter.send(&dispatch).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{size}: {outcome:?}");
    }
    let gone = send(&[]).await;
    assert!(matches!(gone, Outcome::Failed { scope: Scope::Message, .. }), "{gone:?}");
    assert_eq!(far_end.count(), 1, "nothing is sent without its bytes");
}

/// Telegram's server decodes what stands in a name like an address's; in its older versions a semicolon ends it.
#[tokio::test]
async fn a_files_name_arrives_as_it_is_and_breaks_no_form() {
    let here = FarEnd::start(|_| Reply::text(200, "%PDF")).await;
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 8}))).await;
    for (name, written) in [
        ("50%20off.pdf", "50%2520off.pdf"),
        ("100%.pdf", "100%.pdf"),
        ("a; name=chat_id; b.pdf", "a%3B name=chat_id%3B b.pdf"),
    ] {
        let (adapter, _) = channel_at(far_end.addr(), vec![]);
        let outgoing = with_file(name, "application/pdf");
        let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
        let part = &adapter.render(&outgoing)[0];
        adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part, links: &[link] }).await;
        let body = String::from_utf8(far_end.requests().pop().unwrap().body.to_vec()).unwrap();
        assert!(body.contains(&format!("name=\"document\"; filename=\"{written}\"\r\n")), "{body}");
    }
}

/// A server of one's own may say `null` where Telegram says nothing.
#[tokio::test]
async fn an_answer_with_nulls_in_it_is_an_answer() {
    let sent =
        json!({"ok": true, "result": {"message_id": 7}, "description": null, "error_code": null, "parameters": null});
    assert_eq!(outcome(Reply::json(200, sent)).await, Outcome::Sent { external_id: Some("123:7".into()) });
    let refused = json!({"ok": false, "error_code": 400, "description": null, "parameters": null});
    let refused = outcome(Reply::json(400, refused)).await;
    assert!(matches!(refused, Outcome::Failed { scope: Scope::Message, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_tried_again() {
    let here = FarEnd::start(|_| Reply::status(503)).await;
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 8}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let outgoing = with_file("a.jpg", "image/jpeg");
    let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
    let part = &adapter.render(&outgoing)[0];
    assert_eq!(part.0["method"], "sendPhoto");
    for (media_type, method) in [("audio/opus", "sendVoice"), ("audio/ogg", "sendDocument"), ("audio/m4a", "sendAudio")]
    {
        assert_eq!(adapter.render(&with_file("a", media_type))[0].0["method"], method);
    }
    let outcome = adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part, links: &[link] }).await;
    assert!(matches!(outcome, Outcome::RetryAfter { scope: Scope::Message, .. }), "{outcome:?}");
    assert_eq!(far_end.count(), 0);
}

#[tokio::test]
async fn buttons_stand_under_the_last_text_or_the_last_file() {
    let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), vec![]);
    let keyboard = json!({"inline_keyboard": [[{"text": "Track it", "callback_data": "track"}]]});
    let button = Button { id: "track".into(), label: "Track it".into() };
    let mut long = outgoing("123", &"word ".repeat(2000));
    long.message.buttons = vec![button.clone()];
    let mut file = with_file("a.jpg", "image/jpeg");
    file.message.buttons = vec![button];
    for message in [long, file] {
        let parts = adapter.render(&message);
        let (last, others) = parts.split_last().unwrap();
        assert_eq!(last.0["params"]["reply_markup"], keyboard);
        assert!(others.iter().all(|part| part.0["params"].get("reply_markup").is_none()));
    }
}

#[tokio::test]
async fn a_sent_message_is_changed_by_one_exact_request() {
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 501}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let mut changed = outgoing("-1001/5", "It **shipped**.");
    changed.message.buttons = vec![Button { id: "track".into(), label: "Track".into() }];
    let parts = adapter.render(&changed);
    let dispatch = Dispatch { message: changed.message.id, index: 0, part: &parts[0], links: &[] };
    assert_eq!(adapter.edit(&dispatch, "-1001:501").await, Outcome::Sent { external_id: Some("-1001:501".into()) });
    let requests = far_end.requests();
    assert_eq!(method(&requests[0]), "editMessageText");
    assert_eq!(
        params(&requests[0]),
        json!({
            "chat_id": -1001, "message_id": 501, "text": "It shipped.",
            "entities": [{"type": "bold", "offset": 3, "length": 7}],
            "link_preview_options": {"is_disabled": true},
            "reply_markup": {"inline_keyboard": [[{"text": "Track", "callback_data": "track"}]]}
        })
    );
}

/// What becomes of a change and of a taking back that are answered so.
async fn changed(reply: Reply) -> [Outcome; 2] {
    let far_end = FarEnd::start(move |_| reply.clone()).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let changed = outgoing("123", "Hello");
    let parts = adapter.render(&changed);
    let dispatch = Dispatch { message: changed.message.id, index: 0, part: &parts[0], links: &[] };
    let edited = adapter.edit(&dispatch, "123:501").await;
    let withdrawn = adapter.withdraw(&changed.thread, "123:501").await;
    assert_eq!(far_end.count(), 2, "no tries of its own");
    [edited, withdrawn]
}

#[tokio::test]
async fn changing_and_taking_back_may_be_asked_for_again() {
    let sent = Outcome::Sent { external_id: Some("123:501".into()) };
    let refused = |words: &str| refused(400, words, json!({}));
    assert_eq!(changed(ok(json!(true))).await, [sent.clone(), sent.clone()]);
    let words = "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a \
                 current content and reply markup of the message";
    assert_eq!(changed(refused(words)).await[0], sent);
    assert_eq!(changed(refused("Bad Request: message to delete not found")).await[1], sent);
    for outcome in changed(refused("Bad Request: message can't be changed any more")).await {
        assert!(matches!(outcome, Outcome::Failed { scope: Scope::Message, .. }), "{outcome:?}");
    }
    for outcome in changed(Reply::reset()).await {
        assert!(
            matches!(outcome, Outcome::RetryAfter { scope: Scope::Message, .. }),
            "not known, and harmless: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_text_is_not_changed_and_what_is_no_message_not_taken_back() {
    let far_end = FarEnd::start(|_| ok(json!(true))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let file = with_file("a.jpg", "image/jpeg");
    let parts = adapter.render(&file);
    let dispatch = Dispatch { message: file.message.id, index: 0, part: &parts[0], links: &[] };
    for outcome in [adapter.edit(&dispatch, "123:501").await, adapter.withdraw(&file.thread, "elsewhere").await] {
        assert!(matches!(outcome, Outcome::Failed { scope: Scope::Message, .. }), "{outcome:?}");
    }
    assert_eq!(far_end.count(), 0);
}

#[tokio::test]
async fn a_file_goes_up_once_and_then_by_telegrams_name_for_it() {
    let here = FarEnd::start(|_| Reply::text(200, "%PDF")).await;
    let far_end = FarEnd::start(|request| {
        let by_name = request.header("content-type") == Some("application/json");
        if by_name && params(request)["document"] == "old" && params(request)["chat_id"] == 124 {
            return refused(400, "Bad Request: wrong file identifier/HTTP URL specified", json!({}));
        }
        ok(json!({"message_id": 8, "document": {"file_id": "old"}}))
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let send = async |thread: &str| {
        let mut outgoing = with_file("bill.pdf", "application/pdf");
        outgoing.thread = ThreadId::new(thread).unwrap();
        let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
        let part = &adapter.render(&outgoing)[0];
        adapter.send(&Dispatch { message: outgoing.message.id, index: 0, part, links: &[link] }).await
    };
    assert!(matches!(send("123").await, Outcome::Sent { .. }));
    assert!(matches!(send("123").await, Outcome::Sent { .. }));
    assert_eq!(here.count(), 1, "read once");
    assert_eq!(params(&far_end.requests()[1])["document"], "old");
    let forgotten = send("124").await;
    assert!(
        matches!(forgotten, Outcome::RetryAfter { after: Some(Duration::ZERO), scope: Scope::Message, .. }),
        "{forgotten:?}"
    );
    assert!(matches!(send("124").await, Outcome::Sent { .. }), "the bytes go up again");
    assert_eq!(here.count(), 2);
}

/// Telegram takes no picture of which one side is more than twenty times the other, and some people take no voices.
#[tokio::test]
async fn a_file_that_is_not_taken_for_what_it_shows_goes_as_a_document() {
    let here = FarEnd::start(|_| Reply::text(200, "JPEG")).await;
    let far_end = FarEnd::start(|request| match method(request) {
        "sendPhoto" => refused(400, "Bad Request: PHOTO_INVALID_DIMENSIONS", json!({})),
        "sendVoice" => refused(400, "Bad Request: VOICE_MESSAGES_FORBIDDEN", json!({})),
        _ => ok(json!({"message_id": 8})),
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    for (name, media_type) in [("a.jpg", "image/jpeg"), ("a.ogg", "audio/opus")] {
        let outgoing = with_file(name, media_type);
        let link = Link { id: outgoing.message.attachments[0].id, url: here.url(), expires_at: now() };
        let part = &adapter.render(&outgoing)[0];
        let dispatch = Dispatch { message: outgoing.message.id, index: 0, part, links: &[link] };
        let refused = adapter.send(&dispatch).await;
        assert!(
            matches!(refused, Outcome::RetryAfter { after: Some(Duration::ZERO), scope: Scope::Message, .. }),
            "{refused:?}"
        );
        assert!(matches!(adapter.send(&dispatch).await, Outcome::Sent { .. }));
        let last = far_end.requests().pop().unwrap();
        assert_eq!(method(&last), "sendDocument");
        let body = String::from_utf8(last.body.to_vec()).unwrap();
        assert!(body.contains(&format!("name=\"document\"; filename=\"{name}\"")), "{body}");
    }
}

#[tokio::test]
async fn links_are_shown_with_what_they_lead_to_only_where_that_is_wished() {
    for (setting, disabled) in [(None, true), (Some("off"), true), (Some("on"), false)] {
        let more = setting.map(|setting| ("link_previews", text(setting)));
        let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), more.into_iter().collect());
        let FrozenPart(part) = &adapter.render(&outgoing("123", "See https://shop.example"))[0];
        let options = disabled.then(|| json!({"is_disabled": true}));
        assert_eq!(part["params"].get("link_preview_options"), options.as_ref(), "{setting:?}");
    }
}

#[tokio::test]
async fn t40_what_looks_like_markup_is_sent_as_text() {
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 1}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let said = "<b>bold</b> *a* _b_ [x](https://evil.example) `c` ||d|| &lt;";
    let mut literal = outgoing("123", "");
    literal.message.content = Content::Text(said.into());
    literal.message.buttons = vec![Button { id: "<b>".into(), label: "*<b>no</b>*".into() }];
    send(&adapter, &literal).await;
    let sent = params(&far_end.requests()[0]);
    assert_eq!(sent["text"], said);
    assert!(sent.get("parse_mode").is_none(), "{sent}");
    // An address stays one, and leads where it says.
    let link = json!([{"type": "text_link", "offset": 24, "length": 20, "url": "https://evil.example"}]);
    assert_eq!(sent["entities"], link, "nothing else is marked");
    assert_eq!(sent["reply_markup"]["inline_keyboard"][0][0], json!({"text": "*<b>no</b>*", "callback_data": "<b>"}));
}

#[tokio::test]
async fn t39_a_reply_mentions_nobody_that_it_does_not_name_as_one() {
    let far_end = FarEnd::start(|_| ok(json!({"message_id": 1}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    send(&adapter, &outgoing("-1001", "@everyone @all hello")).await;
    let sent = params(&far_end.requests()[0]);
    assert!(
        sent.get("entities").is_none(),
        "a bot cannot notify all of a group, and nobody is mentioned by an entity: {sent}"
    );
}
