use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::*;

fn request(body: &str) -> Received {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    headers.insert("authorization", "Bearer sk-right".parse().unwrap());
    Received {
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        at: Instant::now(),
    }
}

fn right() -> Value {
    json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "Be kind." },
            { "role": "user", "content": "Hello." },
            { "role": "user", "content": [{ "type": "text", "text": "Anybody there?" }] },
        ],
        "tools": [{ "type": "function", "function": { "name": "handoff", "description": "Hand over.", "parameters":
            { "type": "object", "properties": { "reason": { "type": "string" } }, "required": ["reason"] } } }],
        "user": "cnv_1",
        "stream": false,
    })
}

fn rules() -> Rules {
    Rules::of("m").with_key("sk-right")
}

/// `status code param`.
fn said(rules: &Rules, request: &Received) -> String {
    let Some(reply) = rules.refusal(request) else { return "right".into() };
    let (status, body) = reply.content();
    let body: Value = serde_json::from_slice(body).unwrap();
    let error = if body["error"].is_object() { &body["error"] } else { &body };
    assert!(!error["message"].is_null() && error["type"].is_string(), "{body}");
    let word = |key: &str| error[key].as_str().unwrap_or("-").to_owned();
    format!("{status} {} {}", word("code"), word("param"))
}

#[test]
fn a_right_request_is_let_through() {
    assert_eq!(said(&rules(), &request(&right().to_string())), "right");
    let least = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello." }] });
    assert_eq!(said(&rules(), &request(&least.to_string())), "right");
}

#[test]
fn everything_that_the_reference_does_not_have_is_refused_by_its_name() {
    let changes: Vec<(&str, Value, &str)> = vec![
        ("/conversation", json!("x"), "400 unknown_parameter conversation"),
        ("/model", Value::Null, "400 invalid_type model"),
        ("/model", json!("another"), "404 model_not_found -"),
        ("/messages", json!([]), "400 empty_array messages"),
        ("/messages", json!("Hello."), "400 invalid_type messages"),
        ("/messages/1", json!("Hello."), "400 invalid_type messages[1]"),
        ("/messages/1/role", json!("customer"), "400 invalid_value messages[1].role"),
        ("/messages/1/role", json!(1), "400 invalid_type messages[1].role"),
        ("/messages/1/content", json!(null), "400 invalid_type messages[1].content"),
        ("/messages/1/content", json!({ "text": "a" }), "400 invalid_type messages[1].content"),
        ("/messages/1/content", json!([{ "type": "image" }]), "400 invalid_type messages[1].content"),
        ("/messages/1/name", json!("Ada Lovelace"), "400 invalid_value messages[1].name"),
        ("/messages/1/id", json!("msg_1"), "400 unknown_parameter messages[1].id"),
        ("/tools", json!([]), "400 empty_array tools"),
        ("/tools", json!({}), "400 invalid_type tools"),
        ("/tools/0/type", json!("tool"), "400 invalid_value tools[0].type"),
        ("/tools/0/name", json!("handoff"), "400 unknown_parameter tools[0].name"),
        ("/tools/0/function/name", json!("hand over"), "400 invalid_value tools[0].function.name"),
        ("/tools/0/function/extra", json!(1), "400 unknown_parameter tools[0].function.extra"),
        ("/tools/0/function/description", json!(1), "400 invalid_type tools[0].function.description"),
        (
            "/tools/0/function/parameters",
            json!({ "type": "object" }),
            "400 invalid_function_parameters tools[0].function.parameters",
        ),
        (
            "/tools/0/function/parameters/required/0",
            json!("why"),
            "400 invalid_function_parameters tools[0].function.parameters",
        ),
        ("/user", json!(7), "400 invalid_type user"),
        ("/user", json!("u".repeat(65)), "400 string_above_max_length user"),
        ("/stream", json!("false"), "400 invalid_type stream"),
        ("/stream", json!(true), "400 invalid_value stream"),
    ];
    for (place, value, wanted) in changes {
        let mut body = right();
        let (parent, key) = place.rsplit_once('/').unwrap();
        match (body.pointer_mut(parent).unwrap(), key.parse::<usize>()) {
            (Value::Array(list), Ok(at)) => list[at] = value,
            (object, _) => object[key] = value,
        }
        assert_eq!(said(&rules(), &request(&body.to_string())), wanted, "{place}");
    }
    for (key, wanted) in [("model", "400 - -"), ("messages", "400 missing_required_parameter messages")] {
        let mut body = right();
        body.as_object_mut().unwrap().remove(key);
        assert_eq!(said(&rules(), &request(&body.to_string())), wanted, "{key}");
    }
    let mut body = right();
    body["messages"][1].as_object_mut().unwrap().remove("content");
    assert_eq!(said(&rules(), &request(&body.to_string())), "400 missing_required_parameter messages[1].content");
}

#[test]
fn another_address_method_key_or_kind_of_body_is_refused() {
    let changed = |change: fn(&mut Received)| {
        let mut request = request(&right().to_string());
        change(&mut request);
        said(&rules(), &request)
    };
    assert_eq!(changed(|request| request.path = "/chat/completions".into()), "404 - -");
    assert_eq!(changed(|request| request.method = "GET".into()), "405 method_not_supported -");
    assert_eq!(changed(|request| drop(request.headers.remove("authorization"))), "401 - -");
    assert_eq!(
        changed(|request| drop(request.headers.insert("authorization", "Bearer sk-wrong".parse().unwrap()))),
        "401 invalid_api_key -"
    );
    assert_eq!(changed(|request| drop(request.headers.remove("content-type"))), "400 unsupported_content_type -");
    assert_eq!(changed(|request| request.body = Bytes::from_static(b"[]")), "400 - -");
}

#[test]
fn servers_that_take_less_say_so_in_their_own_words() {
    let request = request(&right().to_string());
    assert_eq!(said(&rules().without_tools(), &request), "400 - -");
    assert_eq!(said(&rules().without_user(), &request), "422 - -");
    assert_eq!(said(&rules().alternating(), &request), "400 - -", "two messages of the user in a row");
    assert_eq!(said(&rules().with_context(10), &request), "400 context_length_exceeded messages");
    assert_eq!(said(&rules().with_context(100), &request), "right");
}

#[test]
fn what_was_asked_can_be_looked_at() {
    let mut body = right();
    body["messages"][2] = json!({ "role": "assistant", "content": "Yes?" });
    let asked = Asked { body };
    assert_eq!(asked.talk(), ["user: Hello.", "assistant: Yes?"]);
    assert_eq!((asked.system().as_str(), asked.last_said().as_str()), ("Be kind.", "Yes?"));
    assert_eq!(asked.tools(), ["handoff"]);
}
