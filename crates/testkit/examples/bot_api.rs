//! The fake Bot API as a program, for clients in other languages: `tests/bot_api.py` holds it to one that is not ours.
//!
//! Its first line on standard output has `url` and `token`. Then one JSON request a line on standard input
//! (`{"do": "say", "chat": 1, "user": 1, "text": "hello"}`), one answer a line; it ends with its input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a wrong request ends it

use std::{
    io::{BufRead, Write},
    time::Duration,
};

use frontdesk_testkit::bot_api::{BotApi, Fault, Flood, Supergroup};
use serde_json::{Value, json};

#[tokio::main]
async fn main() {
    let api = BotApi::start().await;
    tell(&json!({ "url": api.url(), "token": api.token() }));
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines() {
            let asked: Value = serde_json::from_str(&line.unwrap()).expect("a JSON request");
            tell(&act(&api, &asked));
        }
    })
    .await
    .unwrap();
}

fn tell(answer: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}").unwrap();
    out.flush().unwrap();
}

fn act(api: &BotApi, asked: &Value) -> Value {
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    let number = |name: &str| asked[name].as_i64().unwrap_or_default();
    let (chat, user, message) = (number("chat"), number("user"), number("message"));
    match text("do") {
        "person" => json!(api.person(text("name"), "en")),
        "group" => json!(api.group(text("name"))),
        "forum" => json!(api.supergroup(text("name"), Supergroup::Forum)),
        "say" => json!(api.say(chat, user, text("text"))),
        "edit" => {
            api.edit(chat, message, text("text"));
            Value::Null
        }
        "react" => {
            api.react(chat, user, message, text("emoji"));
            Value::Null
        }
        "press" => json!(api.press(chat, user, message, text("label"))),
        "file" => {
            let kinds = ["photo", "document", "voice", "video", "audio", "animation", "sticker", "video_note"];
            let kind = kinds.into_iter().find(|kind| *kind == text("kind")).expect("a kind of file");
            let bytes = text("content").as_bytes();
            json!(api.send_file(chat, user, kind, text("name"), bytes, text("caption")))
        }
        "album" => json!(api.album(chat, user, &[b"one", b"two"], text("caption"))),
        "shut" => {
            api.shut(chat, user);
            Value::Null
        }
        "open" => {
            api.open(chat, user);
            Value::Null
        }
        "migrate" => json!(api.migrate(chat, user)),
        "flood" => {
            let retry_after = number("retry_after");
            api.flood((retry_after > 0).then(|| Flood { retry_after, ..Flood::default() }));
            Value::Null
        }
        "status" => {
            let status = u16::try_from(number("status")).expect("a status");
            api.fault(text("method"), Fault::Status(status));
            Value::Null
        }
        "reset" => {
            api.fault(text("method"), Fault::ResetAfterDone);
            Value::Null
        }
        "callbacks_live" => {
            api.callbacks_live(Duration::from_millis(number("ms").unsigned_abs()));
            Value::Null
        }
        "pending" => json!(api.pending()),
        "sent" => json!(api.sent()),
        "count" => json!(api.count(text("method"))),
        other => panic!("no such request: {other}"),
    }
}
