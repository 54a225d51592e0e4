//! Server-sent events as the API writes them ([WHATWG HTML 9.2.6]): pieces of bytes in, whole events out.
//!
//! [WHATWG HTML 9.2.6]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

/// A line longer than this is none of ours.
const LONGEST: usize = 64 << 20;

/// One event, or a step of the position without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Where to go on behind it.
    pub(super) position: Option<String>,
    /// The event, if there is one.
    pub(super) event: Option<Told>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) kind: String,
    pub(super) data: String,
}

/// Reads a stream.
#[derive(Debug, Default)]
pub(super) struct Steps {
    line: Vec<u8>,
    position: Option<String>,
    kind: String,
    data: Vec<String>,
}

impl Steps {
    /// The steps that are whole with these bytes. What is not whole when a stream ends never happened.
    pub(super) fn of(&mut self, bytes: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        for byte in bytes {
            match byte {
                // Of a line end in two bytes the first one ends it, and the second is no line.
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    steps.extend(self.line(&line));
                }
                b'\r' => {}
                _ if self.line.len() >= LONGEST => {}
                _ => self.line.push(*byte),
            }
        }
        steps
    }

    fn line(&mut self, line: &[u8]) -> Option<Step> {
        if line.is_empty() {
            return self.step();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.position = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.kind),
            "data" => self.data.push(value.to_owned()),
            _ => {}
        }
        None
    }

    fn step(&mut self) -> Option<Step> {
        let kind = std::mem::take(&mut self.kind);
        let data = std::mem::take(&mut self.data);
        let position = self.position.take();
        let event = (!data.is_empty()).then(|| Told { kind, data: data.join("\n") });
        (position.is_some() || event.is_some()).then_some(Step { position, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "retry: 1000\nid: 1\n\n:\n\nid: 2\nevent: message.created\ndata: {\"a\":1}\n\n\
                           event: reset\ndata: {\"type\":\"reset\"}\n\n:\r\nid: 3\r\n\r\nid: 4\ndata: cut";

    fn step(position: Option<&str>, event: Option<(&str, &str)>) -> Step {
        let told = |(kind, data): (&str, &str)| Told { kind: kind.into(), data: data.into() };
        Step { position: position.map(str::to_owned), event: event.map(told) }
    }

    #[test]
    fn a_stream_is_read_the_same_however_it_is_cut() {
        let wanted = [
            step(Some("1"), None),
            step(Some("2"), Some(("message.created", "{\"a\":1}"))),
            step(None, Some(("reset", "{\"type\":\"reset\"}"))),
            step(Some("3"), None),
        ];
        for size in [1, 2, 3, 7, 50, 1000] {
            let mut steps = Steps::default();
            let read: Vec<Step> = WRITTEN.as_bytes().chunks(size).flat_map(|piece| steps.of(piece)).collect();
            assert_eq!(read, wanted, "in pieces of {size}");
        }
    }
}
