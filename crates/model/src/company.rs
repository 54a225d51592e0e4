//! What daemons that share a store tell each other: who is there, who holds a channel that one daemon alone may hold, and who asked
//! for quiet.
//!
//! Every daemon [meets](Company::meet) the others every few seconds. Who was not heard of for longer than it said it would be silent is
//! gone, and what it held is free. All spans count on one clock: the store's.

use std::time::Duration;

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
