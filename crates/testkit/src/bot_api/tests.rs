use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{BotApi, Fault, Flood, Supergroup};
use crate::far_end::{FarEnd, Reply};

async fn ask(api: &BotApi, method: &str, params: Value) -> Value {
    ask_at(&api.url(), api.token(), method, params).await
}

async fn ask_at(url: &str, token: &str, method: &str, params: Value) -> Value {
    let body = params.to_string();
    let headers = [("Content-Type", "application/json")];
    let url = format!("{url}/bot{token}/{method}");
    let (status, body) = super::webhook::request("POST", &url, &headers, body.as_bytes()).await.unwrap();
    let mut answer: Value = serde_json::from_slice(&body).unwrap();
    answer["status"] = json!(status);
    answer
}

fn refused(answer: &Value) -> (i64, &str) {
    assert_eq!(answer["ok"], false, "{answer}");
    assert_eq!(answer["status"], answer["error_code"]);
    (answer["error_code"].as_i64().unwrap(), answer["description"].as_str().unwrap())
}

#[tokio::test]
async fn an_update_comes_again_until_an_offset_beyond_it_confirms_it() {
    let api = BotApi::start().await;
    let ada = api.person("Ada", "en");
    for text in ["one", "two", "three"] {
        api.say(ada, ada, text);
    }
    let first = ask(&api, "getUpdates", json!({ "limit": 2 })).await;
    assert_eq!(first["result"].as_array().unwrap().len(), 2);
    assert_eq!(first, ask(&api, "GETUPDATES", json!({ "limit": 2 })).await);
    let offset = first["result"][1]["update_id"].as_i64().unwrap() + 1;
    let rest = ask(&api, "getUpdates", json!({ "offset": offset })).await;
    assert_eq!(rest["result"][0]["message"]["text"], "three");
    assert_eq!(api.pending(), 1);
    api.say(ada, ada, "four");
    let last = ask(&api, "getUpdates", json!({ "offset": -1 })).await;
    assert_eq!(last["result"][0]["message"]["text"], "four");
    assert_eq!(api.pending(), 1);
}

#[tokio::test]
async fn a_waiting_poll_gets_what_comes_and_a_newer_poll_or_a_webhook_ends_it() {
    let api = Arc::new(BotApi::start().await);
    let ada = api.person("Ada", "en");
    let (url, token) = (api.url(), api.token());
    let poll = || {
        let url = url.clone();
        tokio::spawn(async move { ask_at(&url, token, "getUpdates", json!({ "timeout": 20 })).await })
    };
    let polls = |count: u64| {
        let api = Arc::clone(&api);
        async move {
            while api.with(|state| state.poll_generation) < count {
                tokio::task::yield_now().await;
            }
        }
    };
    let first = poll();
    polls(1).await;
    let second = poll();
    let said = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    assert_eq!(refused(&first.await.unwrap()), (409, said));
    polls(2).await;
    api.say(ada, ada, "hello");
    let got = second.await.unwrap();
    assert_eq!(got["result"][0]["message"]["text"], "hello");
    ask(&api, "getUpdates", json!({ "offset": got["result"][0]["update_id"].as_i64().unwrap() + 1 })).await;
    let third = poll();
    polls(4).await;
    let hook = FarEnd::start(|_| Reply::status(200)).await;
    ask(&api, "setWebhook", json!({ "url": hook.url() })).await;
    assert_eq!(refused(&third.await.unwrap()), (409, "Conflict: terminated by setWebhook request"));
    let (code, said) = {
        let answer = ask(&api, "getUpdates", json!({})).await;
        (refused(&answer).0, refused(&answer).1.to_owned())
    };
    assert_eq!(code, 409);
    assert!(said.contains("while webhook is active; use deleteWebhook"), "{said}");
    ask(&api, "deleteWebhook", json!({})).await;
    assert_eq!(ask(&api, "getUpdates", json!({})).await["ok"], true);
}

#[tokio::test]
async fn a_webhook_gets_each_update_with_its_secret_until_it_takes_it() {
    let api = BotApi::start().await;
    let ada = api.person("Ada", "en");
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let hook = FarEnd::start(move |_| {
        let first = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        Reply::status(if first { 500 } else { 200 })
    })
    .await;
    api.hook_retry(Duration::from_millis(1));
    let params = json!({ "url": format!("{}push", hook.url()), "secret_token": "s3cret", "max_connections": 1 });
    assert_eq!(ask(&api, "setWebhook", params).await["result"], true);
    api.say(ada, ada, "one");
    api.say(ada, ada, "two");
    let came = hook.wait_for(3).await;
    let texts: Vec<String> = came
        .iter()
        .map(|request| {
            assert_eq!(request.header("x-telegram-bot-api-secret-token"), Some("s3cret"));
            assert_eq!(request.path, "/push");
            let update: Value = serde_json::from_slice(&request.body).unwrap();
            update["message"]["text"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(texts, ["one", "one", "two"]);
    let info = ask(&api, "getWebhookInfo", json!({})).await;
    assert_eq!(info["result"]["last_error_message"], "Wrong response from the webhook: 500");
    assert_eq!(info["result"]["max_connections"], 1);
}

#[tokio::test]
async fn a_request_is_refused_in_the_platforms_words() {
    let api = BotApi::start().await;
    let ada = api.person("Ada", "en");
    let wrong = ask_at(&api.url(), "1:wrong", "getMe", json!({})).await;
    assert_eq!(refused(&wrong), (401, "Unauthorized"));
    assert_eq!(ask(&api, "getMe", json!({})).await["result"]["is_bot"], true);
    let emoji = |offset: i64, length: i64| json!([{ "type": "bold", "offset": offset, "length": length }]);
    let bold_and = |kind: &str, offset: i64| json!([{ "type": "bold", "offset": 0, "length": 3 }, { "type": kind, "offset": offset, "length": 3 }]);
    let button = |data: &str| json!({ "inline_keyboard": [[{ "text": "A", "callback_data": data }]] });
    let cases = [
        ("nothing", json!({}), 404, "Not Found: method not found"),
        ("sendMessage", json!({ "text": "a" }), 400, "Bad Request: chat_id is empty"),
        ("sendMessage", json!({ "chat_id": 1, "text": "a" }), 400, "Bad Request: chat not found"),
        ("sendMessage", json!({ "chat_id": ada, "text": " \n" }), 400, "Bad Request: message text is empty"),
        ("sendMessage", json!({ "chat_id": ada, "text": "é".repeat(4097) }), 400, "Bad Request: message is too long"),
        (
            "sendMessage",
            json!({ "chat_id": ada, "text": "a😀b", "entities": emoji(2, 1) }),
            400,
            "Bad Request: entity begins in a middle of a UTF-16 symbol at byte offset 1",
        ),
        (
            "sendMessage",
            json!({ "chat_id": ada, "text": "a😀b", "entities": emoji(3, 2) }),
            400,
            "Bad Request: entity beginning at UTF-16 offset 3 ends after the end of the text at UTF-16 offset 4",
        ),
        (
            "sendMessage",
            json!({ "chat_id": ada, "text": "abcdef", "entities": bold_and("italic", 2) }),
            400,
            "Bad Request: can't parse entities: entities bold at 0 and italic at 2 overlap",
        ),
        (
            "sendMessage",
            json!({ "chat_id": ada, "text": "abcdef", "entities": bold_and("code", 0) }),
            400,
            "Bad Request: can't parse entities: code at 0 can't be within bold at 0",
        ),
        (
            "sendMessage",
            json!({ "chat_id": ada, "text": "a", "reply_markup": button(&"x".repeat(65)) }),
            400,
            "Bad Request: BUTTON_DATA_INVALID",
        ),
        (
            "sendMessage",
            json!({ "chat_id": ada, "text": "a", "reply_parameters": { "message_id": 99 } }),
            400,
            "Bad Request: message to be replied not found",
        ),
        (
            "editMessageText",
            json!({ "chat_id": ada, "message_id": 99, "text": "a" }),
            400,
            "Bad Request: message to edit not found",
        ),
        ("deleteMessage", json!({ "chat_id": ada, "message_id": 99 }), 400, "Bad Request: message to delete not found"),
        (
            "answerCallbackQuery",
            json!({ "callback_query_id": "1" }),
            400,
            "Bad Request: query is too old and response timeout expired or query ID is invalid",
        ),
        (
            "sendPhoto",
            json!({ "chat_id": ada, "photo": "nothing" }),
            400,
            "Bad Request: wrong file identifier/HTTP URL specified",
        ),
    ];
    for (method, params, code, said) in cases {
        let answer = ask(&api, method, params.clone()).await;
        assert_eq!(refused(&answer), (code, said), "{method} {params}");
    }
    assert!(api.sent().is_empty());
}

#[tokio::test]
async fn a_message_is_sent_edited_pressed_and_deleted() {
    let api = BotApi::start().await;
    let ada = api.person("Ada", "en");
    let question = api.say(ada, ada, "/start shop");
    let keyboard = json!({ "inline_keyboard": [[{ "text": "Yes", "callback_data": "y" }]] });
    let params = json!({ "chat_id": ada, "text": "Hello 😀", "entities": [{ "type": "bold", "offset": 6, "length": 2 }],
        "reply_parameters": { "message_id": question }, "reply_markup": keyboard });
    let sent = ask(&api, "sendMessage", params).await["result"].clone();
    assert_eq!(sent["reply_to_message"]["text"], "/start shop");
    assert_eq!(sent["entities"], json!([{ "type": "bold", "offset": 6, "length": 2 }]));
    let number = sent["message_id"].as_i64().unwrap();
    let query = api.press(ada, ada, number, "Yes");
    let updates = ask(&api, "getUpdates", json!({})).await;
    assert_eq!(updates["result"][1]["callback_query"]["data"], "y");
    assert_eq!(ask(&api, "answerCallbackQuery", json!({ "callback_query_id": query })).await["result"], true);
    let same = json!({ "chat_id": ada, "message_id": number, "text": "Hello 😀", "entities": sent["entities"],
        "reply_markup": keyboard });
    let answer = ask(&api, "editMessageText", same).await;
    assert!(refused(&answer).1.starts_with("Bad Request: message is not modified"));
    let edit = json!({ "chat_id": ada, "message_id": number, "text": "Bye" });
    assert_eq!(ask(&api, "editMessageText", edit).await["result"]["text"], "Bye");
    let delete = json!({ "chat_id": ada, "message_id": number });
    assert_eq!(ask(&api, "deleteMessage", delete).await["result"], true);
    assert_eq!(api.message(ada, number), None);
    assert_eq!(api.sent().len(), 1);
}

#[tokio::test]
async fn a_chat_that_is_shut_or_moved_says_so() {
    let api = BotApi::start().await;
    let ada = api.person("Ada", "en");
    let group = api.group("Garden");
    api.shut(ada, ada);
    let to = |chat: i64| json!({ "chat_id": chat, "text": "a" });
    let answer = ask(&api, "sendMessage", to(ada)).await;
    assert_eq!(refused(&answer), (403, "Forbidden: bot was blocked by the user"));
    api.open(ada, ada);
    assert_eq!(ask(&api, "sendMessage", to(ada)).await["ok"], true);
    let new = api.migrate(group, ada);
    let answer = ask(&api, "sendMessage", to(group)).await;
    assert_eq!(refused(&answer), (400, "Bad Request: group chat was upgraded to a supergroup chat"));
    assert_eq!(answer["parameters"]["migrate_to_chat_id"], new);
    assert_eq!(ask(&api, "sendMessage", to(new)).await["ok"], true);
    let forum = api.supergroup("Forum", Supergroup::Forum);
    let topic = json!({ "chat_id": forum, "text": "a", "message_thread_id": 5 });
    assert_eq!(ask(&api, "sendMessage", topic).await["result"]["is_topic_message"], true);
}

#[tokio::test]
async fn limits_and_faults_come_when_they_are_switched_on() {
    let api = BotApi::start().await;
    let ada = api.person("Ada", "en");
    let message = json!({ "chat_id": ada, "text": "a" });
    api.flood(Some(Flood { retry_after: 7, ..Flood::default() }));
    assert_eq!(ask(&api, "sendMessage", message.clone()).await["ok"], true);
    let answer = ask(&api, "sendMessage", message.clone()).await;
    assert_eq!(refused(&answer), (429, "Too Many Requests: retry after 7"));
    assert_eq!(answer["parameters"]["retry_after"], 7);
    api.flood(None);
    api.fault("sendMessage", Fault::Status(502));
    assert_eq!(refused(&ask(&api, "sendMessage", message.clone()).await).0, 502);
    let url = format!("{}/bot{}/sendMessage", api.url(), api.token());
    let headers = [("Content-Type", "application/json")];
    api.fault("*", Fault::Reset);
    api.fault("*", Fault::ResetAfterDone);
    for done in [1, 2] {
        let body = message.to_string();
        let ended = super::webhook::request("POST", &url, &headers, body.as_bytes()).await;
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(api.sent().len(), done);
    }
    assert_eq!(api.count("sendMessage"), 5);
}

#[tokio::test]
async fn reactions_come_only_when_they_are_asked_for() {
    let api = BotApi::start().await;
    let ada = api.person("Ada", "en");
    let message = api.say(ada, ada, "a");
    api.react(ada, ada, message, "👍");
    assert_eq!(api.pending(), 1);
    ask(&api, "getUpdates", json!({ "allowed_updates": ["message", "message_reaction"] })).await;
    api.react(ada, ada, message, "👍");
    api.edit(ada, message, "b");
    let updates = ask(&api, "getUpdates", json!({})).await;
    assert_eq!(updates["result"][1]["message_reaction"]["new_reaction"][0]["emoji"], "👍");
    assert_eq!(updates["result"].as_array().unwrap().len(), 2);
}
