//! Bodies that requests bring, for the API's description. They are read elsewhere: a reply by [`frontdesk_engine::parse_reply`],
//! a change in `patch`. Written by hand, because what may stand beside what is more than types can say.

use serde_json::{Value, json};

/// What a body is called, and its schema.
pub(crate) struct BodySchema {
    pub(crate) name: &'static str,
    pub(crate) schema: Value,
}

/// A reply.
pub(crate) fn reply() -> BodySchema {
    let message_id = || json!({"type": ["string", "null"], "pattern": "^msg_[0-9a-hjkmnp-tv-zA-HJKMNP-TV-Z]{26}$"});
    let words = |description: &str| json!({"type": ["string", "null"], "pattern": "\\S", "description": description});
    let text = || words("What to say, where every character means itself.");
    let markdown = || words("What to say, as CommonMark.");
    let private = json!({"type": "boolean", "description": "A note that only our side sees; needs scope `desk`."});
    // Exactly one of them, and no null in its place.
    let one_of_both = || {
        json!([
            {"required": ["text"], "properties": {"text": {"type": "string"}, "markdown": {"type": "null"}}},
            {"required": ["markdown"], "properties": {"markdown": {"type": "string"}, "text": {"type": "null"}}}
        ])
    };
    let here = json!({
        "type": "object",
        "required": ["id"],
        "properties": {"id": {
            "type": "string",
            "pattern": "^att_[0-9a-hjkmnp-tv-z]{26}([0-7][0-9a-hjkmnp-tv-z])?$",
            "description": "One that was handed in within the last 24 hours, or one of the same conversation."
        }},
        "additionalProperties": false
    });
    let elsewhere = json!({
        "type": "object",
        "required": ["url"],
        "properties": {
            "url": {"type": "string", "format": "uri", "maxLength": 2048, "description": "Where it is fetched: http or https."},
            "name": {"type": ["string", "null"], "description": "What it is called."}
        },
        "additionalProperties": false
    });
    let mut some_words = one_of_both();
    if let Value::Array(forms) = &mut some_words {
        forms.push(json!({
            "required": ["attachments"],
            "properties": {
                "attachments": {"type": "array", "minItems": 1}, "text": {"type": "null"}, "markdown": {"type": "null"}
            }
        }));
    }
    let message = json!({
        "type": "object",
        "description": "One message: `text` or `markdown`, and attachments beside or instead of it.",
        "properties": {
            "text": text(),
            "markdown": markdown(),
            "attachments": {
                "type": ["array", "null"],
                "maxItems": 10,
                "items": {"oneOf": [here, elsewhere]},
                "description": "Files that go with it."
            },
            "reply_to": message_id(),
            "private": private
        },
        "additionalProperties": false,
        "oneOf": some_words
    });
    let action = |name: &str, description: &str, properties: Value, required: &[&str]| {
        let mut all = json!({"type": {"const": name}});
        if let (Value::Object(all), Value::Object(more)) = (&mut all, properties) {
            all.extend(more);
        }
        json!({
            "type": "object", "description": description, "properties": all, "required": required,
            "additionalProperties": false
        })
    };
    let handoff = action(
        "handoff",
        "Teammates go on.",
        json!({"reason": {"type": ["string", "null"], "description": "Why, for the desk."}}),
        &["type"],
    );
    let snooze = action(
        "snooze",
        "The conversation sleeps, unless the contact writes.",
        json!({"until": {"type": "string", "format": "date-time", "description": "From now at most a year."}}),
        &["type", "until"],
    );
    let resolve = action("resolve", "The matter is done.", json!({}), &["type"]);
    let mut forms = vec![json!({
        "description": "Several messages, or actions, or both.",
        "anyOf": [
            {"required": ["messages"], "properties": {"messages": {"type": "array", "minItems": 1}}},
            {"required": ["actions"], "properties": {"actions": {"type": "array", "minItems": 1}}}
        ],
        "properties": {"text": {"type": "null"}, "markdown": {"type": "null"}, "reply_to": {"type": "null"}}
    })];
    if let Value::Array(alone) = one_of_both() {
        forms.push(json!({
            "description": "One message alone, perhaps with actions.",
            "oneOf": alone,
            "properties": {"messages": {"type": "null"}}
        }));
    }
    let schema = json!({
        "type": "object",
        "description": "What to say and to do. `text` or `markdown` alone stand for one message.",
        "properties": {
            "if_version": {
                "type": ["integer", "null"],
                "minimum": 0,
                "description": "Only if the conversation has this version still."
            },
            "messages": {"type": ["array", "null"], "maxItems": 20, "items": message, "description": "What to say, in order."},
            "actions": {
                "type": ["array", "null"],
                "maxItems": 4,
                "items": {"oneOf": [handoff, resolve, snooze]},
                "description": "What else to do."
            },
            "text": text(),
            "markdown": markdown(),
            "reply_to": message_id(),
            "route": {
                "type": ["array", "null"],
                "items": {"const": "origin"},
                "description": "Where it goes; so far always where the customer wrote."
            }
        },
        "additionalProperties": false,
        "oneOf": forms
    });
    BodySchema { name: "Reply", schema }
}

/// A change of a conversation.
pub(crate) fn change() -> BodySchema {
    let schema = json!({
        "type": "object",
        "description": "What changes; everything left out stays.",
        "properties": {
            "if_version": {
                "type": "integer", "minimum": 0, "description": "Only if the conversation has this version still."
            },
            "status": {"enum": ["open", "pending", "resolved"]},
            "owner": {"enum": ["agent", "desk"]},
            "assignee": {
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": 120,
                "pattern": "\\S",
                "description": "The teammate who looks after it; `null`: nobody."
            },
            "snoozed_until": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "Until when it sleeps, from now at most a year; `null` wakes it up."
            },
            "attention": {"type": "null", "description": "`null` takes it away."}
        },
        "additionalProperties": false
    });
    BodySchema { name: "ConversationChange", schema }
}
