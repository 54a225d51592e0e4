//! Where a command's output goes: to a terminal with colours and a width, or to anything else, plain and whole.

use std::{
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use super::Failure;
use crate::config::{Colour, Environment};

/// A terminal narrower than this gets lines that wrap, instead of columns that say nothing.
const LEAST_WIDTH: usize = 40;

/// Standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    colour: Colour,
    /// In columns, where a person looks at it.
    width: Option<usize>,
}

/// How a piece of text looks, where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Paint {
    /// As everything else.
    #[default]
    Plain,
    /// What a table's columns are called, and what matters less.
    Faint,
    /// What the eye should find.
    Bold,
    /// As it should be.
    Good,
    /// Somebody may want to look.
    Odd,
    /// Somebody has to look.
    Bad,
}

impl Paint {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Faint => Some("2"),
            Self::Bold => Some("1"),
            Self::Good => Some("32"),
            Self::Odd => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// Whether a stream is coloured: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or the terminal is dumb.
#[must_use]
pub fn colour_of(terminal: bool, environment: &Environment) -> Colour {
    let unwanted = environment.get("NO_COLOR").is_some_and(|set| !set.is_empty());
    let unable = environment.get("TERM") == Some("dumb");
    if terminal && !unwanted && !unable { Colour::On } else { Colour::Off }
}

impl Screen {
    /// Standard output as it is.
    #[must_use]
    pub fn of_stdout(environment: &Environment) -> Self {
        let terminal = io::stdout().is_terminal();
        let known = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = if terminal { known().filter(|columns| *columns >= LEAST_WIDTH) } else { None };
        Self { colour: colour_of(terminal, environment), width }
    }

    /// Columns to keep within, if any.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }

    pub(super) fn paint(&self, paint: Paint, text: &str) -> String {
        match (self.colour, paint.code()) {
            (Colour::On, Some(code)) if !text.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// Writes all of it at once.
    ///
    /// # Errors
    /// Nobody reads any more, or the disk behind it is full.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::failed(format!("the output cannot be written: {error}")),
        })
    }
}

#[cfg(test)]
impl Screen {
    /// For tests of what is printed.
    pub(super) fn made_up(colour: Colour, width: Option<usize>) -> Self {
        Self { colour, width }
    }
}

/// Says something beside the output: on standard error, and it does not matter if nobody listens.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// How far something is: one line on standard error that is written over, for a person at a terminal.
pub(super) struct Progress {
    shown: bool,
    said: Option<Instant>,
}

/// No eye reads faster.
const BETWEEN: Duration = Duration::from_millis(200);

impl Progress {
    pub(super) fn begin(shown: bool) -> Self {
        Self { shown, said: None }
    }

    pub(super) fn say(&mut self, how_far: &str) {
        if self.shown && self.said.is_none_or(|said| said.elapsed() >= BETWEEN) {
            let _ = write!(io::stderr(), "\r\u{1b}[K{how_far}");
            self.said = Some(Instant::now());
        }
    }

    /// Leaves nothing of it on the screen.
    pub(super) fn end(self) {
        if self.said.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// Asks, where there is somebody to ask. `why`: why one should be asked at all.
pub(super) fn agreed(why: &str, question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let mend = "add --yes if it is meant";
        return Err(Failure::wrong(format!("{why}, and there is no terminal to ask on")).mend(mend));
    }
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let of = |vars: &[(&str, &str)]| vars.iter().copied().collect::<Environment>();
        assert_eq!(colour_of(true, &of(&[])), Colour::On);
        assert_eq!(colour_of(true, &of(&[("NO_COLOR", "")])), Colour::On, "empty counts as not set");
        assert_eq!(colour_of(true, &of(&[("NO_COLOR", "1")])), Colour::Off);
        assert_eq!(colour_of(true, &of(&[("TERM", "dumb")])), Colour::Off);
        assert_eq!(colour_of(false, &of(&[])), Colour::Off);
    }
}
