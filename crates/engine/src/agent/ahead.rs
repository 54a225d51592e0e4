//! What contacts did after the event that the agent is asked about.
//!
//! A backlog is answered one event at a time, and each time it matters how much of it lies behind. So that the same events are
//! not read again with every one of them, what was read is remembered while a conversation has more to come. A log only
//! grows at its end, so what is remembered stays true, whoever else works on it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use frontdesk_model::{ConversationId, Seq, Store, StoreError, Take};

/// Conversations whose backlog is remembered; beyond, it is read again.
const CONVERSATIONS: usize = 4096;
/// Read at once.
const TAKE: Take = Take { rows: 100, bytes: 256 * 1024 };

#[derive(Debug, Default)]
pub(super) struct Ahead {
    known: Mutex<HashMap<ConversationId, Acts>>,
}

/// What contacts did.
#[derive(Debug, Default)]
struct Acts {
    /// The place that was last asked about; a replay asks about an earlier one.
    behind: Seq,
    /// All from there up to here are known.
    through: Seq,
    /// Where they are, in order.
    at: VecDeque<Seq>,
}

impl Ahead {
    /// How many things contacts did behind this place, up to the log's end.
    pub(super) async fn count(
        &self,
        store: &dyn Store,
        conversation: ConversationId,
        behind: Seq,
        end: Seq,
    ) -> Result<usize, StoreError> {
        let known = self.known().remove(&conversation).filter(|acts| (acts.behind..=acts.through).contains(&behind));
        let mut acts = known.unwrap_or_else(|| Acts { behind, through: behind, at: VecDeque::new() });
        acts.behind = behind;
        acts.at.retain(|seq| *seq > behind);
        while acts.through < end {
            let found = store.events(conversation, acts.through, TAKE).await?.map(|slice| slice.data);
            let Some(last) = found.as_ref().and_then(|events| events.last()) else { break };
            acts.through = last.seq;
            let by_contact = found.iter().flatten().filter(|event| event.body.is_by_contact());
            acts.at.extend(by_contact.map(|event| event.seq));
        }
        let count = acts.at.iter().filter(|seq| **seq <= end).count();
        if count > 0 {
            let mut known = self.known();
            if known.len() >= CONVERSATIONS {
                known.clear();
            }
            known.insert(conversation, acts);
        }
        Ok(count)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<ConversationId, Acts>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
