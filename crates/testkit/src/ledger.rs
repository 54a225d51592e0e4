//! What every ledger that watches a daemon from outside needs: choices that can be repeated, and a judgement about order.

use std::{collections::BTreeMap, time::Duration};

/// What a customer said: thread and number. The numbers of a thread begin with 0 and leave none out.
pub type Said = (usize, usize);

/// A small generator: the same choices from the same seed.
#[derive(Debug, Clone, Copy)]
pub struct Dice(pub u64);

impl Dice {
    /// Any number.
    pub fn roll(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From the first up to but without the second.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.roll() % (to - from).max(1)
    }

    /// So many milliseconds, likewise.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    /// The same for the same turn of the same message, whatever comes in between.
    #[must_use]
    pub fn of_message(seed: u64, (thread, number): Said, turn: usize) -> Self {
        let place = ((thread * 100_000 + number) * 100 + turn) as u64;
        Self(seed ^ place.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }
}

/// How often a thread went back or left one out. A repeat of the thread's latest does neither.
#[must_use]
pub fn out_of_order(seen: &[Said]) -> usize {
    let mut latest: BTreeMap<usize, usize> = BTreeMap::new();
    let mut wrong = 0;
    for (thread, number) in seen {
        let expected = latest.get(thread).map_or(0, |last| last + 1);
        let is_repeat = expected > 0 && *number == expected - 1;
        wrong += usize::from(*number != expected && !is_repeat);
        latest.insert(*thread, *number);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_broken_by_a_gap_and_by_an_older_one_but_not_by_a_repeat() {
        assert_eq!(out_of_order(&[(0, 0), (1, 0), (0, 1), (0, 1), (1, 1)]), 0);
        assert_eq!(out_of_order(&[(0, 0), (0, 2)]), 1, "one was left out");
        assert_eq!(out_of_order(&[(0, 0), (0, 1), (0, 0)]), 1, "an older one came again");
    }
}
