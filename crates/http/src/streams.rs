//! How many live streams are open, in all and for one caller. Each costs a place among the connections and at most one page
//! of changes in memory, however slow its reader is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::problem::{Problem, ProblemKind};

/// Streams in all.
const ALL: usize = 64;
/// Streams of one caller.
const OF_ONE: usize = 8;
/// When a place may be free again, in seconds.
const COME_AGAIN: u64 = 10;

/// Every open stream.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<HashMap<String, usize>>);

/// One open stream.
#[derive(Debug)]
pub(crate) struct Open {
    streams: Arc<Streams>,
    caller: String,
}

impl Streams {
    /// A place for one more.
    pub(crate) fn open(self: &Arc<Self>, caller: &str) -> Result<Open, Problem> {
        let mut open = self.all();
        if open.values().sum::<usize>() >= ALL {
            let detail =
                format!("all {ALL} places for streams are taken; come again when another client has closed one");
            return Err(refused(ProblemKind::Unavailable, detail));
        }
        let own = open.entry(caller.to_owned()).or_default();
        if *own >= OF_ONE {
            let detail =
                format!("a token has at most {OF_ONE} streams open at once; close one, or filter less and open fewer");
            return Err(refused(ProblemKind::TooManyStreams, detail));
        }
        *own += 1;
        metrics::gauge!("frontdesk_http_streams_open").increment(1.0);
        Ok(Open { streams: Arc::clone(self), caller: caller.to_owned() })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(kind: ProblemKind, detail: String) -> Problem {
    metrics::counter!("frontdesk_http_refused_total", "reason" => "streams").increment(1);
    Problem::new(kind, detail).retry_after(COME_AGAIN)
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.streams.all();
        if let Some(own) = open.get_mut(&self.caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&self.caller);
            }
        }
        metrics::gauge!("frontdesk_http_streams_open").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    #[test]
    fn one_caller_has_eight_streams_and_all_together_sixty_four() {
        let streams = Arc::new(Streams::default());
        let mut open: Vec<_> = (0..8).map(|_| streams.open("bot").unwrap()).collect();
        assert!(streams.open("bot").is_err());
        for caller in 1..8 {
            open.extend((0..8).map(|_| streams.open(&caller.to_string()).unwrap()));
        }
        assert!(streams.open("other").is_err());
        open.pop();
        streams.open("other").unwrap();
        drop(open);
        assert!(streams.all().is_empty(), "nobody is remembered who is gone");
    }
}
