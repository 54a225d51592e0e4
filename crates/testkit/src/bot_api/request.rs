//! A method's parameters, however they came: in the query, as JSON, as a form or as `multipart/form-data`.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::far_end::Received;

/// A file that came in a request.
#[derive(Debug, Clone)]
pub struct Upload {
    /// As the request named it.
    pub name: String,
    /// As the request said; empty when it did not.
    pub media_type: String,
    /// All of it.
    pub bytes: Bytes,
}

/// The parameters of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Params {
    pub(super) values: Map<String, Value>,
    pub(super) files: HashMap<String, Upload>,
}

impl Params {
    /// `None` when the body is not what its type says.
    pub(super) fn of(request: &Received) -> Option<Self> {
        let mut params = Self::default();
        if let Some((_, query)) = request.path.split_once('?') {
            params.form(query);
        }
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        if request.body.is_empty() {
        } else if kind.starts_with("application/json") {
            params.values.extend(serde_json::from_slice::<Map<String, Value>>(&request.body).ok()?);
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            params.form(std::str::from_utf8(&request.body).ok()?);
        } else if kind.starts_with("multipart/form-data") {
            let (_, boundary) = kind.split_once("boundary=")?;
            params.multipart(boundary.split(';').next()?.trim_matches('"'), &request.body)?;
        }
        Some(params)
    }

    fn form(&mut self, form: &str) {
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.values.insert(unescaped(name), Value::String(unescaped(value)));
        }
    }

    fn multipart(&mut self, boundary: &str, body: &Bytes) -> Option<()> {
        let edge = format!("--{boundary}");
        let mut at = find(body, edge.as_bytes(), 0)? + edge.len();
        while !body.get(at..)?.starts_with(b"--") {
            let head_ends = find(body, b"\r\n\r\n", at)?;
            let head = String::from_utf8_lossy(body.get(at..head_ends)?).into_owned();
            let ends = find(body, format!("\r\n{edge}").as_bytes(), head_ends + 2)?;
            let content = body.slice((head_ends + 4).min(ends)..ends);
            at = ends + 2 + edge.len();
            let line = |wanted: &str| {
                head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
                })
            };
            let disposition = line("content-disposition")?;
            let name = attribute(&disposition, "name")?;
            match attribute(&disposition, "filename") {
                Some(file) => {
                    let media_type = line("content-type").unwrap_or_default();
                    self.files.insert(name, Upload { name: file, media_type, bytes: content });
                }
                None => {
                    self.values.insert(name, Value::String(String::from_utf8(content.to_vec()).ok()?));
                }
            }
        }
        Some(())
    }

    /// A text; empty counts as absent, as the platform takes it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.values.get(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    /// `true`, `1` and `yes` are yes.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes"))
    }

    /// An object or an array, given as such or as text; `Err` when the text is no JSON.
    pub(super) fn object(&self, name: &str) -> Result<Option<Value>, ()> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text).map(Some).map_err(|_| ()),
            Some(other) => Ok(Some(other.clone())),
        }
    }
}

fn find(body: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = body.get(from..)?;
    rest.windows(wanted.len()).position(|window| window == wanted).map(|at| at + from)
}

fn attribute(disposition: &str, wanted: &str) -> Option<String> {
    disposition.split(';').find_map(|piece| {
        let (name, value) = piece.trim().split_once('=')?;
        (name == wanted).then(|| value.trim_matches('"').to_owned())
    })
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let hex = (*first == b'%').then(|| after.get(..2).and_then(|two| std::str::from_utf8(two).ok())).flatten();
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (_, Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
