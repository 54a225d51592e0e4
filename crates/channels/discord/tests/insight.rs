//! What frames mean, and what answers become.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

use frontdesk_discord::DiscordInsight;
use frontdesk_model::{Decoded, Insight, Raw, Rendered, Wanted};
use serde_json::{Value, json};

fn frame(name: &str, data: Value) -> Value {
    json!({"op": 0, "s": 3, "t": name, "d": data})
}

/// A message with these fields besides those that every message has.
fn message(fields: Value) -> Value {
    let mut message = json!({
        "id": "77", "channel_id": "5", "guild_id": "6", "type": 0, "timestamp": "2026-01-05T10:00:00.123000+00:00",
        "author": {"id": "123", "username": "ada", "global_name": "Ada"}, "content": "Hi", "mentions": [], "attachments": []
    });
    message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    message
}

fn decoded(frame: Value) -> Decoded {
    DiscordInsight.decode(&Raw::Json(frame)).unwrap()
}

fn created(fields: Value) -> Decoded {
    decoded(frame("MESSAGE_CREATE", message(fields)))
}

fn rendered(input: Value) -> Rendered {
    DiscordInsight.render(&Wanted::read(&input).unwrap())
}

#[test]
fn mentions_have_the_names_that_the_frame_brings() {
    let found = created(json!({
        "content": "<@123> <@!124> <@&9> <#5> <@1>",
        "mentions": [
            {"id": "123", "username": "ada", "global_name": "Ada"},
            {"id": "124", "username": "bo", "member": {"nick": "Captain"}}
        ],
        "mention_channels": [{"id": "5", "name": "help"}]
    }));
    assert_eq!(found.text.as_deref(), Some("@Ada @Captain @9 #help @1"));
    assert_eq!(found.sent_at.unwrap().to_string(), "2026-01-05T10:00:00.123Z");
}

#[test]
fn a_nickname_goes_before_a_name_and_programs_are_known() {
    let found = created(json!({"member": {"nick": "Countess"}}));
    assert_eq!(found.sender.unwrap().name.as_deref(), Some("Countess"));
    assert!(!found.auto_generated);
    let program = created(json!({"webhook_id": "8"}));
    assert!(program.auto_generated && program.sender.unwrap().is_bot);
}

#[test]
fn each_event_has_its_type() {
    let emoji = json!({"id": null, "name": "❤"});
    let reaction = json!({"message_id": "77", "channel_id": "5", "user_id": "123", "emoji": emoji});
    let press = json!({
        "id": "i", "type": 3, "channel_id": "5", "data": {"custom_id": "track", "component_type": 2},
        "message": {"id": "77"}, "user": {"id": "123", "username": "ada"}
    });
    for (name, data, what) in [
        ("MESSAGE_CREATE", message(json!({})), "message.created"),
        ("MESSAGE_CREATE", message(json!({"type": 7})), "ignored"),
        ("MESSAGE_UPDATE", message(json!({"edited_timestamp": "2026-01-05T10:01:00+00:00"})), "message.edited"),
        ("MESSAGE_UPDATE", json!({"id": "77", "channel_id": "5", "embeds": []}), "ignored"),
        ("MESSAGE_DELETE", json!({"id": "77", "channel_id": "5"}), "message.deleted"),
        ("MESSAGE_REACTION_ADD", reaction.clone(), "reaction.added"),
        ("MESSAGE_REACTION_REMOVE", reaction, "reaction.removed"),
        ("INTERACTION_CREATE", press, "button.pressed"),
        ("TYPING_START", json!({}), "ignored"),
    ] {
        let found = decoded(frame(name, data));
        assert_eq!(found.what, what, "{name}");
        assert_eq!(found.reason.is_some(), what == "ignored");
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    for input in [json!({}), json!([]), json!({"op": 0}), json!({"op": 0, "t": "MESSAGE_CREATE", "d": {"content": 5}})]
    {
        assert_eq!(DiscordInsight.decode(&Raw::Json(input)).unwrap_err().code, "invalid-input");
    }
}

#[test]
fn nothing_that_is_sent_can_ping() {
    let hostile =
        "@everyone @here <@1> <@!1> <@&1> <#1> </x:1> `@everyone` [@here](https://x.example)\n\n```\n@everyone\n```";
    for form in ["markdown", "text"] {
        let shown = rendered(json!({ form: hostile }));
        for request in &shown.requests {
            assert_eq!(request["body"]["allowed_mentions"], json!({"parse": []}));
            let content = request["body"]["content"].as_str().unwrap();
            assert!(
                !content.contains("@everyone") && !content.contains("@here") && !content.contains("<@1"),
                "{content}"
            );
        }
    }
}

#[test]
fn a_label_cannot_pass_for_another_address() {
    let shown = rendered(json!({"markdown": "[https://bank.example](https://evil.example)"}));
    assert_eq!(shown.requests[0]["body"]["content"], "https://bank.example (https://evil.example)");
    assert_eq!(shown.degraded, ["links"]);
}

#[test]
fn parts_keep_to_2000_and_fences_are_opened_again() {
    let code = "let x = 1;\n".repeat(400);
    let shown = rendered(json!({"markdown": format!("```rs\n{code}```")}));
    assert!(shown.requests.len() > 2);
    let mut whole = String::new();
    for request in &shown.requests {
        let content = request["body"]["content"].as_str().unwrap();
        assert!(content.chars().count() <= 2000);
        let inside = content.strip_prefix("```rs\n").and_then(|rest| rest.strip_suffix("\n```")).unwrap();
        whole.push_str(inside);
        whole.push('\n');
    }
    assert_eq!(whole, code);
}

#[test]
fn buttons_stand_five_in_a_row_and_those_that_discord_would_refuse_become_a_list() {
    let buttons = |count: usize| (0..count).map(|nth| json!({"id": nth.to_string(), "label": "L"})).collect::<Vec<_>>();
    let with = |buttons: Vec<Value>| rendered(json!({"markdown": "x", "buttons": buttons, "reply_to": "no id"}));
    let shown = with(buttons(6));
    let body = &shown.requests[0]["body"];
    assert_eq!(body["components"].as_array().unwrap().len(), 2);
    assert_eq!(body["components"][0]["components"].as_array().unwrap().len(), 5);
    assert!(body.get("message_reference").is_none(), "what is no id of Discord's is left out");
    for refused in [buttons(26), vec![json!({"id": "a", "label": "L"}), json!({"id": "a", "label": "M"})]] {
        let shown = with(refused);
        assert!(shown.requests[0]["body"].get("components").is_none());
        assert_eq!(shown.degraded, ["buttons"]);
    }
}
