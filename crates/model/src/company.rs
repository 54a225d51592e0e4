//! What daemons that share a store tell each other: who is there, who holds a channel that one daemon alone may hold, who asked
//! for quiet, and how much of what a platform allows is spent.
//!
//! Every daemon [meets](Company::meet) the others every few seconds. Who was not heard of for longer than it said it would be silent is
//! gone, and what it held is free. All spans count on one clock: the store's.

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{DaemonId, StoreError, Timestamp, Waiting};

/// What a store owes to the daemons on it. One suite in `testkit` holds every implementation to it.
#[async_trait]
pub trait Company: Send + Sync {
    /// Says that a daemon is there, what it has to tell and what it wants to hold; hears of all, itself included. Atomic: of
    /// two that want the same at once, one gets it. What a daemon held and does not want any more is free.
    async fn meet(&self, presence: Presence) -> Result<Gathering, StoreError>;

    /// A daemon is gone, and what it held is free at once.
    async fn leave(&self, daemon: DaemonId) -> Result<(), StoreError>;

    /// Takes a place in each of a channel's budgets, or in none. Atomic: over all daemons no more than a budget's `most` places
    /// lie in any span as long as its `within`. A place that is taken and not used is spent all the same.
    ///
    /// # Errors
    /// The store is away; or a budget is none ([`Budget::MOST`], [`Budget::WITHIN`]), or there are more than 8 of them.
    async fn spend(&self, channel: &Waiting, budgets: &[Budget], patience: Duration) -> Result<Spent, StoreError>;

    /// Whether daemons on other machines can be there at all.
    fn is_open(&self) -> bool;
}

/// One daemon, as it tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Which one: made anew at every start.
    pub daemon: DaemonId,
    /// For people: its machine and process.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it says this.
    pub at: Timestamp,
    /// It counts as gone when it is not heard of for longer.
    pub stay: Duration,
    /// Claims that it works on: of the agent lane and of the deliver lane.
    pub in_hand: [u64; 2],
    /// What is unwell as it sees it, a sentence each.
    pub unwell: Vec<String>,
    /// Of what it wants to be the only one. At most 64.
    pub wants: Vec<Waiting>,
    /// Which far ends told it to be quiet, and for how long from now.
    pub pauses: Vec<Pause>,
}

/// A far end that wants quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Which.
    pub of: Waiting,
    /// For how long from now.
    pub rest: Duration,
}

/// So many in so long a time: what a platform allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Of what, as the channel's kind calls it: the account, a chat. Two of one channel with the same name are the same.
    pub of: String,
    /// How many places; 1 to [`MOST`](Self::MOST).
    pub most: u32,
    /// In any span as long as this; a millisecond to [`WITHIN`](Self::WITHIN).
    pub within: Duration,
}

impl Budget {
    /// More places are none: each is remembered.
    pub const MOST: u32 = 1_000;
    /// Longer spans are none.
    pub const WITHIN: Duration = Duration::from_secs(3600);
    /// So many budgets are asked for at once.
    pub const AT_ONCE: usize = 8;

    /// Whether a store takes it.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        (1..=Self::MOST).contains(&self.most) && (Duration::from_millis(1)..=Self::WITHIN).contains(&self.within)
    }
}

/// So many in so long a time, as the configuration writes it: `20/s`, `600/min`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; 1 to [`Budget::MOST`].
    pub most: u32,
    /// In any span as long as this.
    pub within: Duration,
}

/// It is not written as a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a number from 1 to {} for each s, min or h", Budget::MOST)]
pub struct BadRate;

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let (most, unit) = text.split_once('/').ok_or(BadRate)?;
        let within = match unit.trim() {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(BadRate),
        };
        // A sign is no part of a number here.
        let most = most.trim();
        let most = if most.starts_with('+') { Err(BadRate) } else { most.parse().map_err(|_| BadRate) }?;
        let rate = Self { most, within: Duration::from_secs(within) };
        if rate.budget("").is_sound() { Ok(rate) } else { Err(BadRate) }
    }
}

impl Rate {
    /// The budget that keeps to it.
    #[must_use]
    pub fn budget(self, of: impl Into<String>) -> Budget {
        Budget { of: of.into(), most: self.most, within: self.within }
    }
}

/// What came of asking for places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// They are taken, and their moment comes after this span, which is no longer than the patience was.
    After(Duration),
    /// It would be longer; nothing is taken. It is worth asking again after this span.
    Later(Duration),
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gathering {
    /// Everybody, the one that started first at the front.
    pub daemons: Vec<Presence>,
    /// Who holds what one alone may hold.
    pub held: Vec<(Waiting, DaemonId)>,
    /// Who wants quiet, as the others told it, with what is left of it.
    pub pauses: Vec<Pause>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_for_each_unit_of_time() {
        let rate = |most, within| Ok(Rate { most, within: Duration::from_secs(within) });
        assert_eq!("20/s".parse(), rate(20, 1));
        assert_eq!("1000/h".parse(), rate(1000, 3600));
        assert_eq!(" 1 / min ".parse(), rate(1, 60));
        for bad in
            ["", "off", "20", "20/", "/s", "0/s", "1001/s", "-1/s", "+1/s", "1.5/s", "20/d", "20/s/s", "99999999999/s"]
        {
            assert_eq!(bad.parse::<Rate>(), Err(BadRate), "{bad}");
        }
    }
}
