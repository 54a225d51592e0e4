//! Groups that became supergroups, and have another number since (<https://core.telegram.org/bots/api#responseparameters>).
//!
//! The conversation goes on under the group's first number: what comes from the new one belongs to the old one's thread, and what is
//! sent there goes to the new one. Remembered by the account, so that any daemon knows it after any start.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use frontdesk_model::{Inbox, InboxError};

/// Numbers of supergroups lie below this, those of other groups above (<https://core.telegram.org/api/bots/ids>).
const SUPERGROUPS: i64 = -1_000_000_000_000;
/// So many groups are held in memory; the others are asked for again.
const MOST: usize = 10_000;

#[derive(Default)]
pub(crate) struct Moves {
    /// Where it is remembered, once the channel receives.
    inbox: OnceLock<Arc<dyn Inbox>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By the new number: the old one, or that there is none.
    old: HashMap<i64, Option<i64>>,
    new: HashMap<i64, i64>,
}

impl Moves {
    /// From now on moves are remembered here.
    pub(crate) fn attach(&self, inbox: &Arc<dyn Inbox>) {
        let _ = self.inbox.set(Arc::clone(inbox));
    }

    /// The number that a group's conversation began under.
    pub(crate) async fn first_called(&self, inbox: &Arc<dyn Inbox>, chat: i64) -> Result<i64, InboxError> {
        let held = self.known().old.get(&chat).copied();
        let old = match held {
            Some(old) => old,
            None if chat > SUPERGROUPS => return Ok(chat),
            None => {
                let old = inbox.recall(&name(chat)).await?.and_then(|old| old.parse().ok());
                self.hold(old, chat);
                old
            }
        };
        Ok(old.unwrap_or(chat))
    }

    /// The number that a group has now, as far as this daemon has heard.
    pub(crate) fn now_called(&self, chat: i64) -> i64 {
        self.known().new.get(&chat).copied().unwrap_or(chat)
    }

    /// Remembers a move that was told.
    pub(crate) async fn learn(&self, inbox: &Arc<dyn Inbox>, old: i64, new: i64) -> Result<(), InboxError> {
        inbox.remember(&name(new), &old.to_string()).await?;
        self.hold(Some(old), new);
        Ok(())
    }

    /// Remembers a move that a refused send told. If that fails now, the group's own word of it comes too.
    pub(crate) async fn overheard(&self, old: i64, new: i64) {
        self.hold(Some(old), new);
        if let Some(inbox) = self.inbox.get() {
            let _ = inbox.remember(&name(new), &old.to_string()).await;
        }
    }

    fn hold(&self, old: Option<i64>, new: i64) {
        let mut known = self.known();
        if known.old.len() >= MOST {
            *known = Known::default();
        }
        known.old.insert(new, old);
        if let Some(old) = old {
            known.new.insert(old, new);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(new: i64) -> String {
    format!("moved:{new}")
}
