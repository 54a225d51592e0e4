//! Rows of all partitions in one order, fetched from each a few at a time.

use std::collections::VecDeque;

/// Sources that each give their rows in order, merged. `S` names a source.
pub(super) struct Merge<S, K, T> {
    sources: Vec<Source<S, K, T>>,
}

struct Source<S, K, T> {
    name: S,
    rows: VecDeque<(K, T)>,
    /// The key of the row fetched last.
    last: Option<K>,
    /// Whether there may be rows behind those fetched.
    more: bool,
}

impl<S: Copy + PartialEq, K: Ord + Clone, T> Merge<S, K, T> {
    /// Nothing is known yet of any of them.
    pub(super) fn new(names: impl Iterator<Item = S>) -> Self {
        let source = |name| Source { name, rows: VecDeque::new(), last: None, more: true };
        Self { sources: names.map(source).collect() }
    }

    /// Sources that have to be read on, and behind which row, before the next row is certain.
    pub(super) fn hungry(&self) -> Vec<(S, Option<K>)> {
        let hungry = self.sources.iter().filter(|source| source.more && source.rows.is_empty());
        hungry.map(|source| (source.name, source.last.clone())).collect()
    }

    /// What a source gave.
    pub(super) fn feed(&mut self, name: S, rows: Vec<(K, T)>, more: bool) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.name == name) {
            source.more = more && !rows.is_empty();
            source.last = rows.last().map(|(key, _)| key.clone()).or(source.last.take());
            source.rows.extend(rows);
        }
    }

    fn first(&self) -> Option<usize> {
        let fronts =
            self.sources.iter().enumerate().filter_map(|(place, source)| Some((&source.rows.front()?.0, place)));
        fronts.min_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, place)| place)
    }

    /// The next row, without taking it. Certain only while nothing is hungry.
    pub(super) fn peek(&self) -> Option<(S, &K, &T)> {
        let source = self.sources.get(self.first()?)?;
        source.rows.front().map(|(key, row)| (source.name, key, row))
    }

    /// The next row. Certain only while nothing is hungry.
    pub(super) fn pop(&mut self) -> Option<(S, K, T)> {
        let place = self.first()?;
        let source = self.sources.get_mut(place)?;
        source.rows.pop_front().map(|(key, row)| (source.name, key, row))
    }

    /// The row at which each source stands, and whether a source may have rows that were not fetched before any of it.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (S, Option<&K>, bool)> {
        self.sources.iter().map(|source| {
            let front = source.rows.front().map(|(key, _)| key);
            (source.name, front, front.is_none() && source.more)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may stop at the first surprise

    use super::*;

    #[test]
    fn rows_come_in_one_order_and_sources_are_read_on_when_they_run_dry() {
        let mut merge = Merge::new(["a", "b", "c"].into_iter());
        assert_eq!(merge.hungry().len(), 3);
        merge.feed("a", vec![(1, ()), (5, ())], true);
        merge.feed("b", vec![(2, ())], true);
        merge.feed("c", vec![], true);
        let mut seen = Vec::new();
        while merge.hungry().is_empty() {
            seen.push(merge.pop().unwrap().1);
        }
        assert_eq!((seen, merge.hungry()), (vec![1, 2], vec![("b", Some(2))]));
        assert!(merge.fronts().any(|front| front == ("b", None, true)));
        merge.feed("b", vec![(3, ()), (9, ())], false);
        let mut seen = Vec::new();
        while let Some((_, key, ())) = merge.pop() {
            seen.push(key);
        }
        assert_eq!((seen, merge.hungry()), (vec![3, 5, 9], vec![("a", Some(5))]));
    }
}
