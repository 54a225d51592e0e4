//! What went in and what came out, as seen from outside: the daemon is asked nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use frontdesk_testkit::ledger::{Said, out_of_order};

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) acknowledged: BTreeSet<Said>,
    /// By event id: which message, and how often the agent was asked.
    pub(crate) asked: BTreeMap<String, (Said, usize)>,
    asked_in_order: Vec<Said>,
    /// By message: under which webhook-ids its answer came, and how often.
    pub(crate) delivered: BTreeMap<Said, (BTreeSet<String>, usize)>,
    delivered_in_order: Vec<Said>,
    /// Webhook-ids that came since the last look.
    pub(crate) fresh: BTreeSet<String>,
    /// Notes of a teammate that were acknowledged.
    pub(crate) noted: BTreeSet<usize>,
    /// Notes that were refused for good.
    pub(crate) refused: usize,
    /// Taken by the far end, which then broke the connection.
    pub(crate) resets: usize,
    /// What went with a server of Redis, as its settings say that it may.
    pub(crate) taken: BTreeSet<Said>,
    /// In flight at each blow, summed.
    pub(crate) struck: usize,
    /// What has to have come out by then.
    promises: Vec<(Instant, &'static str, BTreeSet<Said>)>,
    /// Promises that were not kept in time: after which blow, and how many.
    pub(crate) late: Vec<(&'static str, usize)>,
}

/// A book that many write in.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Book>);

impl Ledger {
    pub(crate) fn with<T>(&self, entry: impl FnOnce(&mut Book) -> T) -> T {
        entry(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits, at most so long, until it holds.
    pub(crate) async fn until(&self, patience: Duration, holds: impl Fn(&Book) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !self.with(|book| holds(book)) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

impl Book {
    pub(crate) fn ask(&mut self, event: String, said: Said) -> usize {
        self.asked_in_order.push(said);
        let (_, times) = self.asked.entry(event).or_insert((said, 0));
        *times += 1;
        *times
    }

    pub(crate) fn deliver(&mut self, said: Said, id: String) -> usize {
        self.delivered_in_order.push(said);
        self.fresh.insert(id.clone());
        let (ids, times) = self.delivered.entry(said).or_default();
        ids.insert(id);
        *times += 1;
        *times
    }

    pub(crate) fn in_flight(&self) -> BTreeSet<Said> {
        self.acknowledged.iter().filter(|said| self.is_open(said)).copied().collect()
    }

    pub(crate) fn in_flight_of(&self, thread: usize) -> usize {
        let of_thread = self.acknowledged.range((thread, 0)..(thread + 1, 0));
        of_thread.filter(|said| self.is_open(said)).count()
    }

    fn is_open(&self, said: &Said) -> bool {
        !self.delivered.contains_key(said) && !self.taken.contains(said)
    }

    /// After a server's end: what was in flight and has not come out is gone.
    pub(crate) fn write_off(&mut self, struck: &BTreeSet<Said>) {
        let gone: Vec<Said> = struck.iter().filter(|said| !self.delivered.contains_key(said)).copied().collect();
        self.taken.extend(gone);
    }

    /// Everything that is in flight now has to come out within this span.
    pub(crate) fn promise(&mut self, blow: &'static str, within: Duration) {
        let open = self.in_flight();
        self.promises.push((Instant::now() + within, blow, open));
    }

    pub(crate) fn keeps_its_promises(&self) -> bool {
        self.promises.iter().all(|(_, _, open)| open.iter().all(|said| self.delivered.contains_key(said)))
    }

    /// Looks after the promises whose time is over; at the end after all of them.
    pub(crate) fn hold_promises(&mut self, all: bool) {
        let now = Instant::now();
        let delivered = &self.delivered;
        let late = &mut self.late;
        self.promises.retain_mut(|(until, blow, open)| {
            open.retain(|said| !delivered.contains_key(said));
            if !open.is_empty() && (all || *until < now) {
                late.push((blow, open.len()));
                return false;
            }
            !open.is_empty()
        });
    }
}

/// What the book says in the end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
    /// Replies that came under more than one id, and messages that became several events.
    pub(crate) doubled: usize,
    pub(crate) reordered: usize,
    /// The same delivery under the same id once more.
    pub(crate) raw_repeats: usize,
    /// The same event or delivery under the same id once more, when younger ones had come already. Who knows the ids sees nothing of
    /// it. Only a daemon that stood still between its last look at the lease and the first byte can do it.
    pub(crate) late_repeats: usize,
    pub(crate) asked_again: usize,
}

impl Verdict {
    pub(crate) fn of(book: &Book) -> Self {
        let several_ids = book.delivered.values().filter(|(ids, _)| ids.len() > 1).count();
        let events: BTreeSet<Said> = book.asked.values().map(|(said, _)| *said).collect();
        Self {
            acknowledged: book.acknowledged.len(),
            lost: book.in_flight().len(),
            doubled: several_ids + (book.asked.len() - events.len()),
            reordered: out_of_order(&first_seen(&book.asked_in_order))
                + out_of_order(&first_seen(&book.delivered_in_order)),
            late_repeats: late_repeats(&book.asked_in_order) + late_repeats(&book.delivered_in_order),
            raw_repeats: book.delivered_in_order.len() - book.delivered.len(),
            asked_again: book.asked_in_order.len() - book.asked.len(),
        }
    }
}

/// Each where it came first.
fn first_seen(seen: &[Said]) -> Vec<Said> {
    let mut known = BTreeSet::new();
    seen.iter().filter(|said| known.insert(**said)).copied().collect()
}

fn late_repeats(seen: &[Said]) -> usize {
    let mut youngest: BTreeMap<usize, usize> = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut late = 0;
    for said @ (thread, number) in seen {
        let youngest = youngest.entry(*thread).or_insert(*number);
        late += usize::from(!known.insert(*said) && number < youngest);
        *youngest = (*youngest).max(*number);
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_sees_what_is_lost_doubled_and_out_of_order() {
        let mut book = Book { acknowledged: [(0, 0), (0, 1), (1, 0)].into(), ..Book::default() };
        assert_eq!(Verdict::of(&book).lost, 3);
        for (said, event, id) in [((0, 0), "a", "x"), ((0, 1), "b", "y"), ((1, 0), "c", "z")] {
            book.ask(event.into(), said);
            book.deliver(said, id.into());
        }
        let well = Verdict { acknowledged: 3, ..Verdict::default() };
        assert_eq!(Verdict::of(&book), well);
        book.deliver((0, 1), "y".into());
        assert_eq!(Verdict::of(&book), Verdict { raw_repeats: 1, ..well.clone() });
        book.deliver((0, 1), "w".into());
        assert_eq!(Verdict::of(&book).doubled, 1);
        book.deliver((0, 0), "x".into());
        assert_eq!((Verdict::of(&book).reordered, Verdict::of(&book).late_repeats), (0, 1));
        book.deliver((1, 2), "v".into());
        book.deliver((1, 1), "u".into());
        assert_eq!((Verdict::of(&book).reordered, Verdict::of(&book).late_repeats), (2, 1), "a gap, and back");
    }
}
