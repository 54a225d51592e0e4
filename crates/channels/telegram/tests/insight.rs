//! What updates mean, and what answers become.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

use frontdesk_model::{Decoded, Insight, Raw, Rendered, Wanted};
use frontdesk_telegram::TelegramInsight;
use serde_json::{Value, json};

fn decoded(update: Value) -> Decoded {
    TelegramInsight.decode(&Raw::Json(update)).unwrap()
}

/// A message with these fields besides those that every message has.
fn message(fields: Value) -> Value {
    let mut message = json!({
        "message_id": 77, "date": 1_767_607_200, "chat": {"id": 123, "type": "private"},
        "from": {"id": 123, "is_bot": false, "first_name": "Ada", "last_name": "L", "username": "ada"}
    });
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "update_id": 1, "message": message })
}

fn rendered(input: Value) -> Rendered {
    TelegramInsight.render(&Wanted::read(&input).unwrap())
}

#[test]
fn a_text_is_shown_with_its_entities() {
    let found = decoded(message(json!({
        "text": "👍 see here", "entities": [
            {"type": "bold", "offset": 0, "length": 2},
            {"type": "text_link", "offset": 7, "length": 4, "url": "https://x.example"},
            {"type": "something_new", "offset": 0, "length": 2},
            {"type": "bold", "offset": -3, "length": 2}
        ]
    })));
    assert_eq!(found.html.as_deref(), Some("<p><b>👍</b> see <a href=\"https://x.example\">here</a></p>"));
    assert_eq!(found.markdown.as_deref(), Some("**👍** see [here](https://x.example)"));
    assert_eq!(found.text.as_deref(), Some("👍 see here"));
    let sender = found.sender.unwrap();
    assert_eq!((sender.id.as_deref(), sender.name.as_deref()), (Some("123"), Some("Ada L")));
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
}

#[test]
fn files_come_with_their_caption() {
    let found = decoded(message(json!({
        "caption": "Look *here*", "caption_entities": [{"type": "spoiler", "offset": 5, "length": 6}],
        "photo": [{"file_id": "small", "file_size": 1}, {"file_id": "large", "file_size": 9}]
    })));
    assert_eq!(found.html.as_deref(), Some("<p>Look <span class=\"spoiler\">*here*</span></p>"));
    assert_eq!(found.attachments.len(), 1);
    assert_eq!(found.attachments[0].file_id.as_deref(), Some("large"));
    let twice = message(json!({
        "animation": {"file_id": "a", "mime_type": "video/mp4", "file_name": "a.mp4"}, "document": {"file_id": "a"}
    }));
    assert_eq!(decoded(twice).attachments.len(), 1, "an animation comes as a document too");
}

#[test]
fn what_is_neither_text_nor_file_is_said_in_words() {
    for (fields, said) in [
        (json!({"contact": {"phone_number": "+123", "first_name": "Bo"}}), "Bo\n+123"),
        (json!({"location": {"latitude": 1.5, "longitude": -2.25}}), "1.5, -2.25"),
        (
            json!({"venue": {"title": "Shop", "address": "Main St 1"}, "location": {"latitude": 1.5, "longitude": 2.5}}),
            "Shop\nMain St 1\n1.5, 2.5",
        ),
        (json!({"poll": {"question": "Which?", "options": [{"text": "a"}, {"text": "b"}]}}), "Which?\n- a\n- b"),
        (json!({"dice": {"emoji": "🎲", "value": 4}}), "🎲 4"),
        (json!({"sticker": {"file_id": "s", "emoji": "👍"}}), "👍"),
    ] {
        assert_eq!(decoded(message(fields)).text.as_deref(), Some(said));
    }
}

#[test]
fn each_sort_of_update_has_its_type() {
    let mut edited = message(json!({"text": "x", "edit_date": 1_767_607_260}));
    let said = edited.as_object_mut().unwrap().remove("message").unwrap();
    let by = json!({"id": 5, "first_name": "Bo"});
    for (update, what) in [
        (message(json!({"text": "x"})), "message.created"),
        (json!({"update_id": 1, "edited_message": said}), "message.edited"),
        (
            json!({"update_id": 1, "callback_query": {"id": "q", "from": by, "data": "track", "message": said}}),
            "button.pressed",
        ),
        (
            json!({"update_id": 1, "message_reaction": {
                "chat": {"id": 1}, "message_id": 7, "user": by, "date": 1, "old_reaction": [],
                "new_reaction": [{"type": "emoji", "emoji": "❤"}]
            }}),
            "reaction.added",
        ),
        (
            json!({"update_id": 1, "message_reaction": {
                "chat": {"id": 1}, "message_id": 7, "date": 1, "new_reaction": [],
                "old_reaction": [{"type": "emoji", "emoji": "❤"}]
            }}),
            "reaction.removed",
        ),
        (
            json!({"update_id": 1, "message_reaction": {"chat": {"id": 1}, "message_id": 7, "new_reaction": []}}),
            "ignored",
        ),
        (message(json!({"new_chat_title": "x"})), "ignored"),
        (json!({"update_id": 1, "chat_member": {}}), "ignored"),
    ] {
        let found = decoded(update);
        assert_eq!(found.what, what);
        assert_eq!(found.reason.is_some(), what == "ignored");
    }
}

#[test]
fn a_topic_is_a_thread_of_its_own() {
    let of = |fields: Value| decoded(message(fields)).conversation.unwrap().key;
    assert_eq!(of(json!({"text": "x", "chat": {"id": -5}, "message_thread_id": 9, "is_topic_message": true})), "-5/9");
    assert_eq!(of(json!({"text": "x", "chat": {"id": -5}, "message_thread_id": 9})), "-5", "a reply is no topic");
}

#[test]
fn what_is_no_update_is_refused() {
    for input in [json!({}), json!([]), json!(7), json!({"update_id": 1, "message": {"text": "x"}})] {
        assert_eq!(TelegramInsight.decode(&Raw::Json(input)).unwrap_err().code, "invalid-input");
    }
}

#[test]
fn an_answer_is_text_and_entities() {
    let shown = rendered(
        json!({"markdown": "It ships **today**:\n\n```rs\nx\n```\n\n> [q](https://x.example)", "reply_to": "77"}),
    );
    assert_eq!(
        shown.requests,
        [json!({"method": "sendMessage", "params": {
            "text": "It ships today:\n\nx\n\nq",
            "entities": [
                {"type": "bold", "offset": 9, "length": 5},
                {"type": "pre", "offset": 17, "length": 1, "language": "rs"},
                {"type": "blockquote", "offset": 20, "length": 1},
                {"type": "text_link", "offset": 20, "length": 1, "url": "https://x.example"}
            ],
            "link_preview_options": {"is_disabled": true},
            "reply_parameters": {"message_id": 77, "allow_sending_without_reply": true}
        }})]
    );
    assert!(shown.degraded.is_empty());
    let literal = rendered(json!({"text": "*a* <b>"}));
    let params = json!({"text": "*a* <b>", "link_preview_options": {"is_disabled": true}});
    assert_eq!(literal.requests, [json!({"method": "sendMessage", "params": params})]);
}

#[test]
fn parts_keep_to_the_units_that_telegram_counts() {
    let emoji = "👩‍👩‍👧".repeat(1000);
    let shown = rendered(json!({"markdown": format!("**{emoji}**")}));
    assert!(shown.requests.len() > 1);
    let mut whole = String::new();
    for request in &shown.requests {
        let text = request["params"]["text"].as_str().unwrap();
        assert!(
            text.encode_utf16().count() <= 4096 && text.starts_with('👩') && text.ends_with('👧'),
            "no family is parted"
        );
        let bold = json!([{"type": "bold", "offset": 0, "length": text.encode_utf16().count()}]);
        assert_eq!(request["params"]["entities"], bold);
        whole.push_str(text);
    }
    assert_eq!(whole, emoji);
    let many = rendered(json!({"markdown": "**a** b ".repeat(150)}));
    assert!(many.requests.len() > 1);
    assert!(many.requests.iter().all(|one| one["params"]["entities"].as_array().unwrap().len() <= 100));
}

#[test]
fn buttons_that_telegram_would_refuse_become_a_list() {
    let with = |id: &str| rendered(json!({"markdown": "x", "buttons": [{"id": id, "label": "Track"}]}));
    let fine = with("track");
    let keyboard = json!({"inline_keyboard": [[{"text": "Track", "callback_data": "track"}]]});
    assert_eq!(fine.requests[0]["params"]["reply_markup"], keyboard);
    assert!(fine.degraded.is_empty());
    let long = with(&"x".repeat(65));
    assert_eq!(long.requests[0]["params"]["text"], "x\n\n1. Track");
    assert_eq!(long.degraded, ["buttons"]);
}

#[test]
fn what_shows_nothing_sends_nothing() {
    for input in ["", " \n ", "[a]: https://x.example"] {
        assert!(rendered(json!({"markdown": input})).requests.is_empty(), "{input:?}");
    }
}
