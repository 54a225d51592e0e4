//! What contacts did after the event that the agent is asked about.
//!
//! A backlog is answered one event at a time, and each time it matters how much of it lies behind. So that the same events are
//! not read again with every one of them, what was read is remembered while a conversation has more to come. A log only
//! grows at its end, so what is remembered stays true, whoever else works on it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use frontdesk_model::{Conversation, ConversationId, Event, Seq, Store, StoreError, Take, Version};

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
    /// All from there up to here are known, which was the log's end in this version.
    through: Seq,
    version: Version,
    /// Where they are, in order.
    at: VecDeque<Seq>,
}

impl Ahead {
    /// How many things contacts did behind this place, up to the log's end.
    pub(super) async fn count(
        &self,
        store: &dyn Store,
        conversation: &Conversation,
        behind: Seq,
    ) -> Result<usize, StoreError> {
        let Conversation { id, version, last_seq: end, .. } = *conversation;
        let known = self.known().remove(&id).filter(|acts| (acts.behind..=acts.through).contains(&behind));
        // Whatever a contact does moves the version.
        let nothing_new = known.as_ref().is_some_and(|acts| acts.version == version);
        let mut acts = known.unwrap_or_else(|| Acts { behind, through: behind, version, at: VecDeque::new() });
        acts.at.retain(|seq| *seq > behind);
        acts.behind = behind;
        while acts.through < end && !nothing_new {
            let found = store.events(id, acts.through, TAKE).await?.map(|slice| slice.data);
            let found: Vec<Event> = found.into_iter().flatten().filter(|event| event.seq <= end).collect();
            let Some(last) = found.last() else { break };
            acts.through = last.seq;
            acts.at.extend(found.iter().filter(|event| event.body.is_by_contact()).map(|event| event.seq));
        }
        (acts.through, acts.version) = (end, version);
        let count = acts.at.len();
        if count > 0 {
            let mut known = self.known();
            if known.len() >= CONVERSATIONS {
                known.clear();
            }
            known.insert(id, acts);
        }
        Ok(count)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<ConversationId, Acts>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
