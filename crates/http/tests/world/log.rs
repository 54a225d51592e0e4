//! What tracing would write, kept for looking at.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// A log in memory, at one level.
#[derive(Clone)]
pub struct Log {
    level: Level,
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Log {
    pub fn at(level: Level) -> Self {
        Self { level, lines: Arc::default() }
    }

    /// Records what this thread does (with a runtime of one thread: everything) until the guard is dropped.
    pub fn record(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber =
            tracing_subscriber::fmt().with_max_level(self.level).with_ansi(false).with_writer(self.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.lines.lock().unwrap().clone()).unwrap()
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
