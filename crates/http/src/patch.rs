//! The body of a change to a conversation: `if_version`, `status`, `owner`, and `"attention": null`.

use frontdesk_engine::{Change, nearest};
use frontdesk_model::{Owner, Status, Timestamp, Version};
use serde_json::{Map, Value};

use crate::{
    problem::{Problem, ProblemKind},
    query::excerpt,
};

const FIELDS: &[&str] = &["if_version", "status", "owner", "assignee", "snoozed_until", "attention"];

/// Reads a change. What is wrong is named with its key; no value is repeated.
pub(crate) fn read(body: &[u8]) -> Result<Change, Problem> {
    // Depth is bounded by serde_json (128 levels).
    let value: Value = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let Value::Object(fields) = value else {
        return Err(refused("the body must be a JSON object such as {\"status\": \"resolved\"}"));
    };
    of_fields(&fields)
}

fn of_fields(fields: &Map<String, Value>) -> Result<Change, Problem> {
    let mut change = Change::default();
    for (key, value) in fields {
        match key.as_str() {
            "if_version" => change.if_version = Some(read_version(value)?),
            "status" => change.status = Some(read_status(value)?),
            "owner" => change.owner = Some(read_owner(value)?),
            "assignee" => change.assignee = Some(read_assignee(value)?),
            "snoozed_until" => change.snoozed_until = Some(read_moment(value)?),
            "attention" if value.is_null() => change.clear_attention = true,
            "attention" => return Err(refused("attention: can only be taken away; write null")),
            unknown => return Err(refused(unknown_field(unknown))),
        }
    }
    if change.status == Some(Status::Resolved) && matches!(change.snoozed_until, Some(Some(_))) {
        return Err(refused("snoozed_until: a resolved conversation does not sleep; leave out one of the two"));
    }
    Ok(change)
}

fn unknown_field(name: &str) -> String {
    let known = FIELDS.join(", ");
    let hint = nearest(name, FIELDS).map(|nearest| format!("did you mean {nearest}? ")).unwrap_or_default();
    format!("{}: not a field that can be changed; {hint}known are {known}", excerpt(name))
}

/// What an assignee's name is held to.
pub(crate) const ASSIGNEE_RULE: &str = "write a name of 1 to 120 characters without control characters";

/// A teammate's name as it can be assigned: spaces around it do not count.
pub(crate) fn assignee(name: &str) -> Option<String> {
    let name = name.trim();
    let is_good = (1..=120).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    is_good.then(|| name.to_owned())
}

fn read_assignee(value: &Value) -> Result<Option<String>, Problem> {
    if value.is_null() {
        return Ok(None);
    }
    match value.as_str().and_then(assignee) {
        Some(name) => Ok(Some(name)),
        None => Err(refused(format!("assignee: {ASSIGNEE_RULE}, or null for nobody"))),
    }
}

/// Whether it lies where it may is for the engine, which has the clock.
fn read_moment(value: &Value) -> Result<Option<Timestamp>, Problem> {
    if value.is_null() {
        return Ok(None);
    }
    match value.as_str().and_then(|text| text.parse().ok()) {
        Some(moment) => Ok(Some(moment)),
        None => {
            Err(refused("snoozed_until: write an RFC 3339 time such as 2026-01-05T10:00:00Z, or null to wake it up"))
        }
    }
}

fn read_version(value: &Value) -> Result<Version, Problem> {
    value.as_u64().map(Version).ok_or_else(|| refused("if_version: write the version as a whole number"))
}

fn read_status(value: &Value) -> Result<Status, Problem> {
    match value.as_str() {
        Some("open") => Ok(Status::Open),
        Some("pending") => Ok(Status::Pending),
        Some("resolved") => Ok(Status::Resolved),
        _ => Err(refused("status: write one of open, pending, resolved")),
    }
}

fn read_owner(value: &Value) -> Result<Owner, Problem> {
    match value.as_str() {
        Some("agent") => Ok(Owner::Agent),
        Some("desk") => Ok(Owner::Desk),
        _ => Err(refused("owner: write one of agent, desk")),
    }
}

fn refused(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(ProblemKind::InvalidRequest, detail)
}

fn not_json(error: &serde_json::Error) -> Problem {
    let words = error.to_string();
    let what = words.split(" at line ").next().unwrap_or_default();
    Problem::new(
        ProblemKind::InvalidJson,
        format!("the body is not JSON: {what} (line {} column {})", error.line(), error.column()),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    #[test]
    fn a_change_is_read_field_by_field() {
        let all = r#"{"if_version": 3, "status": "pending", "owner": "desk", "attention": null,
            "assignee": " mia ", "snoozed_until": "2026-01-05T10:00:00Z"}"#;
        let wanted = Change {
            if_version: Some(Version(3)),
            status: Some(Status::Pending),
            owner: Some(Owner::Desk),
            clear_attention: true,
            assignee: Some(Some("mia".into())),
            snoozed_until: Some(Some("2026-01-05T10:00:00Z".parse().unwrap())),
        };
        assert_eq!(read(all.as_bytes()).unwrap(), wanted);
        let none = Change { assignee: Some(None), snoozed_until: Some(None), ..Change::default() };
        assert_eq!(read(br#"{"assignee": null, "snoozed_until": null}"#).unwrap(), none);
        assert_eq!(read(b"{}").unwrap(), Change::default());
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for bad in [
            r#"{"status": "closed"}"#,
            r#"{"status": null}"#,
            r#"{"owner": "mia"}"#,
            r#"{"attention": "handoff"}"#,
            r#"{"if_version": -1}"#,
            r#"{"if_version": "3"}"#,
            r#"{"status": "resolved", "snoozed_until": "2026-01-05T10:00:00Z"}"#,
            r#"{"assigne": "mia"}"#,
            r#"{"assignee": ""}"#,
            r#"{"assignee": " \t "}"#,
            r#"{"assignee": 7}"#,
            r#"{"assignee": "a\nb"}"#,
            r#"{"snoozed_until": "tomorrow"}"#,
            r#"{"snoozed_until": 1}"#,
            "[]",
            "null",
            "",
            "{",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
