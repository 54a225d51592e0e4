//! `frontdesk decode` and `frontdesk render`, as an operator calls them.

use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::cli::{run, run_with};

const KINDS: [&str; 5] = ["email", "telegram", "discord", "webhook", "webchat"];

const MAIL: &str = "From: Ada <Ada@example.com>\r\nTo: us@shop.example\r\nSubject: =?utf-8?q?H=C3=A4?=\r\nMessage-ID: <2@x>\r\n\
                    References: <0@x> <1@x>\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
                    Yes, please.\r\n\r\nOn Mon, 5 Jan 2026 at 09:00, Shop <us@shop.example> wrote:\r\n> Shall we?\r\n";

/// An input of each kind that says "Hi ada" with a bold "ada", where it can be said.
fn inputs() -> [(&'static str, Value); 4] {
    let update = json!({"update_id": 1, "message": {
        "message_id": 77, "date": 1_767_607_200, "chat": {"id": -5, "type": "group", "title": "g"},
        "from": {"id": 123, "is_bot": false, "first_name": "Ada"}, "reply_to_message": {"message_id": 76, "date": 1, "chat": {"id": -5}},
        "text": "Hi 👍 ada", "entities": [{"type": "bold", "offset": 6, "length": 3}]
    }});
    let frame = json!({"op": 0, "s": 7, "t": "MESSAGE_CREATE", "d": {
        "id": "77", "channel_id": "5", "type": 19, "timestamp": "2026-01-05T10:00:00+00:00",
        "author": {"id": "123", "username": "ada", "global_name": "Ada"}, "message_reference": {"message_id": "76"},
        "content": "Hi 👍 **ada**"
    }});
    let body = json!({"id": "77", "thread": "5", "from": {"id": "123", "name": "Ada"}, "markdown": "Hi 👍 **ada**"});
    let visitor = json!({"id": "77", "text": "Hi 👍 **ada**"});
    [("telegram", update), ("discord", frame), ("webhook", body), ("webchat", visitor)]
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_kind_shows_what_it_makes_of_an_input_without_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, input) in inputs() {
        let found = run_with(folder.path(), &["decode", kind], &input.to_string()).await.json();
        assert_eq!((found["kind"].as_str(), found["type"].as_str()), (Some(kind), Some("message.created")), "{found}");
        assert_eq!(found["message_id"], "77");
        if kind == "webchat" {
            assert_eq!(found["html"], "<p>Hi 👍 **ada**</p>");
            continue;
        }
        assert_eq!((&found["text"], &found["markdown"]), (&json!("Hi 👍 ada"), &json!("Hi 👍 **ada**")), "{kind}");
        assert_eq!(found["html"], "<p>Hi 👍 <b>ada</b></p>", "{kind}");
        assert_eq!((&found["sender"]["id"], &found["sender"]["name"]), (&json!("123"), &json!("Ada")), "{kind}");
        if kind != "webhook" {
            assert_eq!((&found["reply_to"], &found["sent_at"]), (&json!("76"), &json!("2026-01-05T10:00:00.000Z")));
        }
    }
    let mail = run_with(folder.path(), &["decode", "email"], MAIL).await.json();
    assert_eq!(mail["conversation"]["key"], "<0@x>");
    assert_eq!(mail["conversation"]["native"]["references"], json!(["<0@x>", "<1@x>"]));
    assert_eq!((&mail["subject"], &mail["reply_text"]), (&json!("Hä"), &json!("Yes, please.")));
    assert!(mail["quoted_text"].as_str().unwrap().ends_with("> Shall we?"), "{mail}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left in the folder");
}

#[tokio::test]
async fn each_kind_shows_what_it_would_send() {
    let folder = tempfile::tempdir().unwrap();
    let answer =
        json!({"markdown": "# T\n\nIt ships **today**, @everyone <@5>\n\n| a |\n|---|\n| b |", "reply_to": "76"});
    for kind in KINDS {
        let shown = run_with(folder.path(), &["render", kind], &answer.to_string()).await.json();
        let [request] = shown["requests"].as_array().unwrap().as_slice() else { panic!("{shown}") };
        match kind {
            "telegram" => {
                assert_eq!(request["method"], "sendMessage");
                let bold = json!({"type": "bold", "offset": 0, "length": 1});
                assert_eq!(request["params"]["entities"][0], bold);
                assert_eq!(request["params"]["reply_parameters"]["message_id"], 76);
                assert_eq!(shown["degraded"], json!(["headings", "tables"]));
            }
            "discord" => {
                let body = &request["body"];
                assert_eq!(body["allowed_mentions"], json!({"parse": []}));
                let content = body["content"].as_str().unwrap();
                assert!(content.starts_with("# T\n") && content.contains("```\na\n-\nb\n```"), "{content}");
                assert!(!content.contains("@everyone") && !content.contains("<@5>"), "{content}");
                assert_eq!(shown["degraded"], json!(["tables"]));
            }
            "email" => {
                let raw = STANDARD.decode(request["raw_b64"].as_str().unwrap()).unwrap();
                let again =
                    run_with(folder.path(), &["decode", "email"], &String::from_utf8(raw).unwrap()).await.json();
                assert!(again["markdown"].as_str().unwrap().starts_with("# T\n\nIt ships **today**"), "{again}");
                assert!(again["text"].as_str().unwrap().starts_with("T\n\nIt ships today"), "{again}");
            }
            "webhook" => {
                let message = &request["body"]["data"]["message"];
                assert_eq!((&message["markdown"], &message["reply_to"]), (&answer["markdown"], &json!("76")));
                assert!(message["html"].as_str().unwrap().contains("<table>"));
            }
            _ => assert!(request["html"].as_str().unwrap().starts_with("<h1>T</h1><p>It ships <b>today</b>")),
        }
    }
}

#[tokio::test]
async fn long_answers_are_parted_and_buttons_stand_under_the_last_part() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Every word of it counts. ".repeat(400);
    let answer = json!({"markdown": text, "buttons": [{"id": "a", "label": "A"}], "reply_to": 7}).to_string();
    for (kind, most, place) in [("telegram", 4096, "/params/text"), ("discord", 2000, "/body/content")] {
        let shown = run_with(folder.path(), &["render", kind], &answer).await.json();
        let requests = shown["requests"].as_array().unwrap();
        let said: Vec<&str> = requests.iter().map(|one| one.pointer(place).unwrap().as_str().unwrap()).collect();
        assert!(said.len() > 1 && said.iter().all(|part| part.len() <= most), "{kind}");
        assert_eq!(said.join(" "), text.trim(), "{kind}");
        let buttons = |one: &Value| one.to_string().contains("\"A\"");
        assert!(requests.split_last().is_some_and(|(last, others)| buttons(last) && !others.iter().any(buttons)));
        assert_eq!(shown["degraded"], json!([]));
    }
}

#[tokio::test]
async fn a_bad_line_gets_its_error_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let deep = format!("{{\"id\":\"d\",\"input\":{}}}", "[".repeat(5000));
    let input = [
        "no json",
        "",
        "[]",
        r#"{"id":"a"}"#,
        r#"{"id":"b","input_b64":"%"}"#,
        r#"{"id":"c","input":{},"input_b64":""}"#,
        &deep,
        r#"{"id":7,"input":{"id":"1","text":"Hi"}}"#,
        r#"{"id":"e","input":{"text":" "}}"#,
        r#"{"id":"f","input_b64":"eyJ0ZXh0IjoiSGkifQ=="}"#,
    ]
    .join("\n");
    let answers = lines(&run_with(folder.path(), &["decode", "webchat", "--jsonl"], &input).await.fine());
    let seen: Vec<(String, String)> = answers
        .iter()
        .map(|answer| (answer["id"].to_string(), answer["error"]["code"].as_str().unwrap_or("ok").to_owned()))
        .collect();
    let wanted = [
        ("null", "invalid-json"),
        ("null", "invalid-json"),
        ("null", "invalid-request"),
        ("\"a\"", "invalid-request"),
        ("\"b\"", "invalid-base64"),
        ("\"c\"", "invalid-request"),
        ("null", "invalid-json"),
        ("7", "ok"),
        ("\"e\"", "invalid-input"),
        ("\"f\"", "ok"),
    ];
    assert_eq!(seen, wanted.map(|(id, code)| (id.to_owned(), code.to_owned())));
    assert!(answers.iter().all(|answer| answer["ok"].as_bool() == Some(answer["error"].is_null())));
}

#[tokio::test]
async fn what_cannot_be_decoded_ends_with_1_and_a_wrong_call_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["telegram", "discord", "webhook", "webchat"] {
        let said = run_with(folder.path(), &["decode", kind, "--json"], "{}").await.refused(1);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert!(said["type"].is_string() && said["message"].is_string(), "{said}");
    }
    run_with(folder.path(), &["decode", "email"], "").await.refused(1);
    run_with(folder.path(), &["render", "telegram"], "{\"markdwon\": \"x\"}").await.refused(1);
    run(folder.path(), &["decode"]).await.refused(2);
    run(folder.path(), &["decode", "pigeon"]).await.refused(2);
    run(folder.path(), &["decode", "email", "--config", "nowhere.toml"]).await.refused(2);
}

#[tokio::test]
async fn what_is_recognised_and_not_used_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, input) in [
        ("telegram", r#"{"update_id":1,"poll_answer":{}}"#),
        ("discord", r#"{"op":11}"#),
        ("discord", r#"{"op":0,"t":"TYPING_START","d":{}}"#),
    ] {
        let found = run_with(folder.path(), &["decode", kind], input).await.json();
        assert_eq!(found["type"], "ignored");
        assert!(found["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{found}");
    }
}

/// The bound is for a release build; this one is checked for being far from minutes.
#[tokio::test]
async fn thousands_of_lines_are_answered_in_one_go_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, input) in inputs() {
        let input: String = (0..10_000).map(|id| format!("{}\n", json!({"id": id, "input": input}))).collect();
        let began = Instant::now();
        let answers = lines(&run_with(folder.path(), &["decode", kind, "--jsonl"], &input).await.fine());
        assert!(began.elapsed().as_secs() < 60, "{kind}: {:?}", began.elapsed());
        assert!(answers.iter().enumerate().all(|(nth, answer)| answer["id"] == nth && answer["ok"] == true), "{kind}");
        assert_eq!(answers.len(), 10_000);
    }
}
