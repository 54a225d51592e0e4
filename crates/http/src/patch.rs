//! The body of a change to a conversation: `if_version`, `status`, `owner`, and `"attention": null`.

use frontdesk_engine::Change;
use frontdesk_model::{Owner, Status, Version};
use serde_json::{Map, Value};

use crate::{
    problem::{Problem, ProblemKind},
    query::excerpt,
};

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
            "attention" if value.is_null() => change.clear_attention = true,
            "attention" => return Err(refused("attention: can only be taken away; write null")),
            unknown => {
                let unknown = excerpt(unknown);
                return Err(refused(format!(
                    "{unknown}: not a field that can be changed; known are if_version, status, owner, attention"
                )));
            }
        }
    }
    Ok(change)
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
        let all = br#"{"if_version": 3, "status": "pending", "owner": "desk", "attention": null}"#;
        let wanted = Change {
            if_version: Some(Version(3)),
            status: Some(Status::Pending),
            owner: Some(Owner::Desk),
            clear_attention: true,
            ..Change::default()
        };
        assert_eq!(read(all).unwrap(), wanted);
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
            r#"{"assignee": "mia"}"#,
            "[]",
            "null",
            "",
            "{",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
