//! A reader of small JSON objects that a stranger wrote: keeps the texts of the first two levels, at most [`KEPT`] fields of
//! an object or items of a list, and passes over everything else without storing it. So a body never costs much more memory than its bytes.
//!
//! `serde_json` holds the nesting to [`MAX_DEPTH`]. A field that is given twice is refused: readers disagree about which one
//! counts.

use std::fmt;

use frontdesk_model::HttpProblem;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::refusal::Refusal;

/// How deeply values may be nested; the limit that `serde_json` keeps.
pub(super) const MAX_DEPTH: usize = 128;
/// Fields of one object that are looked at: more than any object here has, so that one of them is unknown or twice there.
const KEPT: usize = 24;
/// Levels of objects whose fields are kept: the message, and `from` within it.
const LEVELS: u8 = 2;

/// A value, as far as anybody here asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    Switch(bool),
    Number,
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    /// What it is, for a sentence.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "text",
            Self::Switch(_) => "true or false",
            Self::Number => "a number",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a body.
pub(super) fn read(body: &[u8]) -> Result<Value, HttpProblem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Kept(LEVELS, Items::Passed).deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| refused(&error))
}

fn refused(error: &serde_json::Error) -> HttpProblem {
    let words = error.to_string();
    // The library has no name for this one but its words, which a test holds it to.
    if words.starts_with("recursion limit exceeded") {
        return Refusal::TooDeep.because(format!(
            "values may be nested at most {MAX_DEPTH} deep (line {}, column {})",
            error.line(),
            error.column()
        ));
    }
    Refusal::InvalidJson.because(format!("send the message as a JSON object; the reader says: {words}"))
}

/// Reads a value and keeps the fields of this many levels of objects, and the items of lists that are such a field.
struct Kept(u8, Items);

/// Whether the items of a list are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Items {
    Kept,
    Passed,
}

impl<'de> DeserializeSeed<'de> for Kept {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kept {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Switch(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        if self.1 == Items::Kept {
            while items.len() < KEPT
                && let Some(item) = list.next_element_seed(Self(self.0, Items::Passed))?
            {
                items.push(item);
            }
        }
        while list.next_element::<Passed>()?.is_some() {}
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        let Some(below) = self.0.checked_sub(1) else {
            while map.next_entry::<Passed, Passed>()?.is_some() {}
            return Ok(Value::Object(fields));
        };
        while fields.len() < KEPT {
            let Some(name) = map.next_key::<String>()? else { return Ok(Value::Object(fields)) };
            let value = map.next_value_seed(Kept(below, Items::Kept))?;
            fields.push((name, value));
        }
        while map.next_entry::<Passed, Passed>()?.is_some() {}
        Ok(Value::Object(fields))
    }
}

/// Reads a value and forgets it, held to the same depth (serde's own `IgnoredAny` is held to none).
struct Passed;

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Passed)
    }
}

impl<'de> Visitor<'de> for Passed {
    type Value = Passed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_str<E>(self, _: &str) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Passed, A::Error> {
        while list.next_element::<Passed>()?.is_some() {}
        Ok(Passed)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Passed, A::Error> {
        while map.next_entry::<Passed, Passed>()?.is_some() {}
        Ok(Passed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn names_the_depth_that_it_really_keeps() {
        assert_eq!(read(nested(MAX_DEPTH - 1).as_bytes()).unwrap(), Value::List(Vec::new()));
        assert_eq!(read(nested(MAX_DEPTH).as_bytes()).unwrap_err().slug, "json-too-deep");
    }

    #[test]
    fn keeps_no_more_than_it_needs() {
        let wide =
            format!("{{{}\"z\":1}}", (0..1000).map(|n| format!("\"{n}\":{{\"a\":{{\"b\":1}}}},")).collect::<String>());
        let Value::Object(fields) = read(wide.as_bytes()).unwrap() else { panic!("an object") };
        assert_eq!(fields.len(), KEPT);
        assert_eq!(fields.first().unwrap().1, Value::Object(vec![("a".into(), Value::Object(vec![]))]));
    }

    #[test]
    fn refuses_what_follows_the_value() {
        assert_eq!(read(b"{} {}").unwrap_err().slug, "invalid-json");
        assert_eq!(read(b"").unwrap_err().slug, "invalid-json");
        assert_eq!(read(b"\xff").unwrap_err().slug, "invalid-json");
    }
}
