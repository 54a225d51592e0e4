//! `frontdesk decode` and `frontdesk render`: a look into a kind of channel, without the network, a store or secrets.

use std::io::{self, BufRead, ErrorKind, Read as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::builder::PossibleValuesParser;
use frontdesk_model::{Insight, Raw, Unreadable, Wanted};
use serde_json::{Value, json};

use super::{Call, Failure, words};
use crate::registry;

/// A longer input, or a longer line, is not read: the largest mails have 50 MB, and a third more in base64.
const MAX_INPUT: usize = 100 * 1024 * 1024;

/// `frontdesk decode` and `frontdesk render`
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which kind of channel
    #[arg(value_parser = PossibleValuesParser::new(registry::insights().iter().map(|kind| kind.name())))]
    kind: String,
    /// One request on each line, one answer on each line
    #[arg(long)]
    jsonl: bool,
}

/// What is done with each input.
type Work = fn(&dyn Insight, Raw) -> Result<Value, Unreadable>;

/// Decodes.
///
/// # Errors
/// The input cannot be decoded, or nobody reads the output.
pub fn decode(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    run(call, arguments, |kind, raw| as_json(&kind.decode(&raw)?))
}

/// Renders.
///
/// # Errors
/// It is not an answer, or nobody reads the output.
pub fn render(call: &Call, arguments: &Arguments) -> Result<(), Failure> {
    run(call, arguments, |kind, raw| as_json(&kind.render(&Wanted::read(&*raw.json()?)?)))
}

fn run(call: &Call, arguments: &Arguments, work: Work) -> Result<(), Failure> {
    if let Some(file) = call.config.as_ref().filter(|file| !file.is_file()) {
        return Err(Failure::wrong(format!("{}: there is no such configuration", file.display()))
            .mend("name one that is there, or none: nothing of it is needed"));
    }
    let kind = registry::insights().iter().find(|kind| kind.name() == arguments.kind);
    let kind = *kind.ok_or_else(|| Failure::wrong(format!("there is no kind of channel {}", arguments.kind)))?;
    let input = io::stdin().lock();
    if arguments.jsonl { each_line(kind, input, work) } else { all_of_it(call, kind, input, work) }
}

fn all_of_it(call: &Call, kind: &dyn Insight, input: impl BufRead, work: Work) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(MAX_INPUT + 1).unwrap_or(u64::MAX);
    input.take(bound).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    if bytes.len() > MAX_INPUT {
        return Err(Failure::failed(too_large()));
    }
    let result = work(kind, Raw::Bytes(bytes)).map_err(|error| Failure::failed(error.message).called(error.code))?;
    call.print_json(&result)
}

fn each_line(kind: &dyn Insight, mut input: impl BufRead, work: Work) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut line = Vec::new();
    loop {
        let read = next_line(&mut input, &mut line).map_err(|error| unread(&error))?;
        let answer = match read {
            Read::End => return Ok(()),
            Read::TooLong => refused(Value::Null, &Unreadable::new("too-large", too_large())),
            Read::Line => answered(kind, &line, work),
        };
        let mut text = words::in_json(&answer.to_string()).into_owned();
        text.push('\n');
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::failed(format!("the output cannot be written: {error}")),
        })?;
    }
}

fn answered(kind: &dyn Insight, line: &[u8], work: Work) -> Value {
    let mut request = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => {
            let wanted = "a request is an object such as {\"id\": \"1\", \"input\": {}}";
            return refused(Value::Null, &Unreadable::new("invalid-request", wanted));
        }
        Err(error) => {
            return refused(Value::Null, &Unreadable::new("invalid-json", format!("the line is no JSON: {error}")));
        }
    };
    let id = request.remove("id").unwrap_or_default();
    match raw(request.remove("input"), request.remove("input_b64")).and_then(|raw| work(kind, raw)) {
        Ok(result) => json!({ "id": id, "ok": true, "result": result }),
        Err(error) => refused(id, &error),
    }
}

fn raw(input: Option<Value>, input_b64: Option<Value>) -> Result<Raw, Unreadable> {
    match (input, input_b64) {
        (Some(input), None) => Ok(Raw::Json(input)),
        (None, Some(Value::String(text))) => STANDARD
            .decode(text)
            .map(Raw::Bytes)
            .map_err(|error| Unreadable::new("invalid-base64", format!("`input_b64` is no base64: {error}"))),
        (None, Some(_)) => Err(Unreadable::new("invalid-request", "`input_b64` must be text in quotes")),
        (None, None) => {
            Err(Unreadable::new("invalid-request", "give what is to be looked at, in `input` or `input_b64`"))
        }
        (Some(_), Some(_)) => Err(Unreadable::new("invalid-request", "give `input` or `input_b64`, and not both")),
    }
}

fn refused(id: Value, error: &Unreadable) -> Value {
    json!({ "id": id, "ok": false, "error": error })
}

fn as_json(what: &impl serde::Serialize) -> Result<Value, Unreadable> {
    serde_json::to_value(what).map_err(|error| Unreadable::new("internal", error.to_string()))
}

fn too_large() -> String {
    format!("the input is larger than {} MB", MAX_INPUT >> 20)
}

fn unread(error: &io::Error) -> Failure {
    Failure::failed(format!("the input cannot be read: {error}"))
}

/// What there was to read.
enum Read {
    Line,
    TooLong,
    End,
}

/// Reads a line, and of one that is too long nothing but its end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    line.clear();
    let mut too_long = false;
    loop {
        let found = match input.fill_buf() {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = found.iter().position(|byte| *byte == b'\n');
        let piece = found.get(..end.unwrap_or(found.len())).unwrap_or_default();
        too_long |= line.len() + piece.len() > MAX_INPUT;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(piece);
        }
        let (at_end_of_input, taken) = (found.is_empty(), piece.len() + usize::from(end.is_some()));
        input.consume(taken);
        if end.is_some() || at_end_of_input {
            return Ok(match (too_long, at_end_of_input && line.is_empty()) {
                (true, _) => Read::TooLong,
                (false, true) => Read::End,
                (false, false) => Read::Line,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise
    use super::*;

    #[test]
    fn a_line_that_is_too_long_costs_only_itself() {
        let text = format!("a\n{}\nb\n\nc", "x".repeat(MAX_INPUT + 1));
        let mut input = io::BufReader::new(text.as_bytes());
        let (mut line, mut seen) = (Vec::new(), Vec::new());
        loop {
            match next_line(&mut input, &mut line).unwrap() {
                Read::End => break,
                Read::TooLong => seen.push("too long".to_owned()),
                Read::Line => seen.push(String::from_utf8(line.clone()).unwrap()),
            }
        }
        assert_eq!(seen, ["a", "too long", "b", "", "c"]);
    }
}
