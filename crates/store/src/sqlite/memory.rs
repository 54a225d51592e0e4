//! What only this process knows, beside the file: who holds which lane, which operations were answered and how, and the
//! conversations and contacts that were in use last. It goes back together with the transaction that it belongs to.
//!
//! Leases and answers stood in SQLite's temporary tables once, and conversations were read and parsed by each verb. Without
//! that, and with one row for a conversation and its lanes, a message's way through the store (`examples/ways.rs`)
//! takes a quarter of the instructions it took: 0.3 million instead of 1.2.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

use frontdesk_model::*;

use super::record::Record;

/// Conversations kept at hand, some 2 KB each.
const RECORDS: usize = 2048;
/// Contacts kept at hand.
const CONTACTS: usize = 2048;
/// How long an operation repeats its answer.
const REPEATS_MILLIS: i64 = 10 * 60 * 1000;
/// No more operations than this are remembered, the oldest being forgotten first: their callers have their answers, as
/// nothing lies between them and the writing thread that could lose one.
const ANSWERS: usize = 20_000;

/// All of it.
pub(super) struct Memory {
    pub(super) records: Records,
    pub(super) contacts: Cache<ContactId, Contact>,
    pub(super) leases: Leases,
    pub(super) answers: Answers,
}

/// A moment of a transaction that can be gone back to.
#[derive(Default)]
pub(super) struct Point {
    records: usize,
    contacts: usize,
    leases: usize,
    answers: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            records: Records { by_id: Cache::new(RECORDS), by_thread: HashMap::new() },
            contacts: Cache::new(CONTACTS),
            leases: Leases::default(),
            answers: Answers::default(),
        }
    }

    pub(super) fn point(&self) -> Point {
        Point {
            records: self.records.by_id.changed.len(),
            contacts: self.contacts.changed.len(),
            leases: self.leases.before.len(),
            answers: self.answers.added.len(),
        }
    }

    /// What was done since did not happen.
    pub(super) fn go_back(&mut self, point: &Point) {
        self.records.by_id.go_back(point.records);
        self.contacts.go_back(point.contacts);
        self.leases.go_back(point.leases);
        self.answers.go_back(point.answers);
    }

    /// What was done is on disk: there is no way back any more.
    pub(super) fn keep(&mut self, boot: i64) {
        self.records.by_id.changed.clear();
        self.contacts.changed.clear();
        self.leases.keep(boot);
        self.answers.added.clear();
    }
}

/// What was read or written last, as it is in the file.
pub(super) struct Cache<K, V> {
    held: HashMap<K, (V, u64)>,
    uses: u64,
    most: usize,
    /// What the present transaction wrote.
    changed: Vec<K>,
}

impl<K: Copy + Eq + Hash, V> Cache<K, V> {
    fn new(most: usize) -> Self {
        Self { held: HashMap::new(), uses: 0, most, changed: Vec::new() }
    }

    pub(super) fn get(&mut self, key: K) -> Option<&V> {
        self.uses += 1;
        self.held.get_mut(&key).map(|(value, used)| {
            *used = self.uses;
            &*value
        })
    }

    /// Until it is put back it is not at hand.
    fn take(&mut self, key: K) -> Option<V> {
        self.held.remove(&key).map(|(value, _)| value)
    }

    /// As it was read, or taken.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.uses += 1;
        self.held.insert(key, (value, self.uses));
        if self.held.len() > self.most {
            // The older half goes: seldom, so that each single use costs nothing.
            let mut used: Vec<u64> = self.held.values().map(|(_, used)| *used).collect();
            let (_, middle, _) = used.select_nth_unstable(self.most / 2);
            let middle = *middle;
            self.held.retain(|_, (_, used)| *used > middle);
        }
    }

    /// As the present transaction wrote it.
    pub(super) fn put_changed(&mut self, key: K, value: V) {
        self.changed.push(key);
        self.put(key, value);
    }

    /// As the present transaction took it away.
    pub(super) fn forget(&mut self, key: K) {
        self.held.remove(&key);
    }

    fn go_back(&mut self, to: usize) {
        for key in self.changed.drain(to..) {
            self.held.remove(&key);
        }
    }
}

/// Conversations at hand, by id and by thread.
pub(super) struct Records {
    by_id: Cache<ConversationId, Record>,
    /// May name conversations that are not at hand any more.
    by_thread: HashMap<ThreadKey, ConversationId>,
}

impl Records {
    pub(super) fn take(&mut self, id: ConversationId) -> Option<Record> {
        self.by_id.take(id)
    }

    pub(super) fn take_thread(&mut self, thread: &ThreadKey) -> Option<Record> {
        let id = self.by_thread.get(thread)?;
        self.by_id.take(*id)
    }

    /// As it is in the file before the present verb.
    pub(super) fn put(&mut self, record: Record) {
        self.note_thread(&record);
        self.by_id.put(record.conversation.id, record);
    }

    /// As the present verb left it in the file.
    pub(super) fn put_changed(&mut self, record: Record) {
        self.note_thread(&record);
        self.by_id.put_changed(record.conversation.id, record);
    }

    /// No conversation is found by it any more.
    pub(super) fn forget_thread(&mut self, thread: &ThreadKey) {
        self.by_thread.remove(thread);
    }

    /// Rows were changed beside the records.
    pub(super) fn forget_all(&mut self) {
        self.by_id.held.clear();
    }

    fn note_thread(&mut self, record: &Record) {
        let conversation = &record.conversation;
        if self.by_thread.get(&conversation.thread) != Some(&conversation.id) {
            self.by_thread.insert(conversation.thread.clone(), conversation.id);
            if self.by_thread.len() > 2 * RECORDS {
                let held = &self.by_id.held;
                self.by_thread.retain(|_, id| held.contains_key(id));
                self.by_thread.insert(conversation.thread.clone(), conversation.id);
            }
        }
    }
}

/// One lane of one conversation.
pub(super) type LaneKey = (ConversationId, Lane);

/// A claim as it is held.
#[derive(Clone, Copy)]
pub(super) struct Lease {
    pub(super) claim: ClaimId,
    pub(super) seq: Seq,
    pub(super) turn: Turn,
    /// Milliseconds since boot.
    pub(super) until: i64,
}

/// Who holds which lane, until when. Opening the folder voids all of it.
#[derive(Default)]
pub(super) struct Leases {
    by_lane: HashMap<LaneKey, Lease>,
    by_claim: HashMap<ClaimId, LaneKey>,
    /// What the present transaction changed, as it was before.
    before: Vec<(LaneKey, Option<Lease>)>,
    /// Leases that were given since those that are over were last forgotten.
    given: usize,
}

impl Leases {
    /// The lane's lease, if its time is not over.
    pub(super) fn of(&self, key: LaneKey, boot: i64) -> Option<&Lease> {
        self.by_lane.get(&key).filter(|lease| lease.until > boot)
    }

    /// The claim, if it is the lane's and its time is not over.
    pub(super) fn held(&self, claim: ClaimId, boot: i64) -> Option<(LaneKey, Lease)> {
        let key = *self.by_claim.get(&claim)?;
        self.of(key, boot).filter(|lease| lease.claim == claim).map(|lease| (key, *lease))
    }

    pub(super) fn give(&mut self, key: LaneKey, lease: Lease) {
        self.given += 1;
        self.set(key, Some(lease));
    }

    pub(super) fn end(&mut self, key: LaneKey) {
        self.set(key, None);
    }

    pub(super) fn all(&self, boot: i64) -> Vec<LaneKey> {
        self.by_lane.iter().filter(|(_, lease)| lease.until > boot).map(|(key, _)| *key).collect()
    }

    /// Those that last longer than this from now.
    pub(super) fn longer_than(&self, span: i64, boot: i64) -> Vec<LaneKey> {
        let until = boot.saturating_add(span);
        self.by_lane.iter().filter(|(_, lease)| lease.until > until).map(|(key, _)| *key).collect()
    }

    fn set(&mut self, key: LaneKey, lease: Option<Lease>) {
        let before = self.replace(key, lease);
        self.before.push((key, before));
    }

    fn replace(&mut self, key: LaneKey, lease: Option<Lease>) -> Option<Lease> {
        let before = match lease {
            Some(lease) => {
                let before = self.by_lane.insert(key, lease);
                self.by_claim.insert(lease.claim, key);
                before
            }
            None => self.by_lane.remove(&key),
        };
        if let Some(before) = before.filter(|before| lease.is_none_or(|lease| lease.claim != before.claim)) {
            self.by_claim.remove(&before.claim);
        }
        before
    }

    fn go_back(&mut self, to: usize) {
        while self.before.len() > to
            && let Some((key, before)) = self.before.pop()
        {
            self.replace(key, before);
        }
    }

    fn keep(&mut self, boot: i64) {
        self.before.clear();
        if self.given > 1024 {
            self.given = 0;
            self.by_lane.retain(|_, lease| lease.until > boot);
            let by_lane = &self.by_lane;
            self.by_claim.retain(|claim, key| by_lane.get(key).is_some_and(|lease| lease.claim == *claim));
        }
    }
}

/// What an operation came to.
#[derive(Clone)]
pub(super) enum Answer {
    Applied(Applied),
    Settled(Applied, Vec<ClaimId>),
    Released(Held),
    Claimed(Vec<ClaimId>),
}

/// Operations that may be repeated. Their callers live in this process: who comes after it knows none of their ids.
#[derive(Default)]
pub(super) struct Answers {
    by_operation: HashMap<OperationId, (i64, Answer)>,
    in_order: VecDeque<(i64, OperationId)>,
    /// Those of the present transaction.
    added: Vec<OperationId>,
}

impl Answers {
    pub(super) fn of(&self, operation: OperationId, now: Timestamp) -> Option<&Answer> {
        let (at, answer) = self.by_operation.get(&operation)?;
        (*at > now.as_millis() - REPEATS_MILLIS).then_some(answer)
    }

    pub(super) fn add(&mut self, operation: OperationId, now: Timestamp, answer: Answer) {
        let now = now.as_millis();
        self.by_operation.insert(operation, (now, answer));
        self.in_order.push_back((now, operation));
        self.added.push(operation);
        while let Some((at, oldest)) = self.in_order.front().copied()
            && (at <= now - REPEATS_MILLIS || self.in_order.len() > ANSWERS)
        {
            self.in_order.pop_front();
            // It may have been answered again since, after its time.
            if self.by_operation.get(&oldest).is_some_and(|(since, _)| *since == at) {
                self.by_operation.remove(&oldest);
            }
        }
    }

    fn go_back(&mut self, to: usize) {
        for operation in self.added.drain(to..) {
            self.by_operation.remove(&operation);
            self.in_order.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(number: u8) -> Lease {
        Lease { claim: ClaimId::from_bytes([number; 16]), seq: Seq(1), turn: Turn::Next, until: 100 }
    }

    fn key(number: u8) -> LaneKey {
        (ConversationId::from_bytes([number; 16]), Lane::Agent)
    }

    #[test]
    fn leases_go_back_with_their_transaction() {
        let mut memory = Memory::new();
        memory.leases.give(key(1), lease(1));
        memory.keep(0);
        let start = memory.point();
        memory.leases.end(key(1));
        let later = memory.point();
        memory.leases.give(key(1), lease(2));
        memory.leases.give(key(2), lease(3));
        memory.go_back(&later);
        assert!(memory.leases.of(key(1), 0).is_none() && memory.leases.of(key(2), 0).is_none());
        memory.go_back(&start);
        assert!(memory.leases.held(lease(1).claim, 0).is_some());
        assert!(memory.leases.held(lease(2).claim, 0).is_none());
        assert!(memory.leases.held(lease(1).claim, 100).is_none(), "its time is over");
    }

    #[test]
    fn leases_that_are_over_are_forgotten() {
        let mut memory = Memory::new();
        for number in 0..=255 {
            for round in 0..5 {
                let claim = ClaimId::from_bytes([number, round, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                memory.leases.give(key(number), Lease { claim, ..lease(0) });
            }
        }
        assert_eq!((memory.leases.by_lane.len(), memory.leases.by_claim.len()), (256, 256));
        memory.keep(100);
        assert_eq!((memory.leases.by_lane.len(), memory.leases.by_claim.len()), (0, 0));
    }

    #[test]
    fn answers_go_back_with_their_transaction_and_are_not_kept_for_ever() {
        let mut memory = Memory::new();
        let operation = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            OperationId::from_bytes(bytes)
        };
        let at = Timestamp::from_millis;
        let answer = || Answer::Released(Held::Yes);
        let start = memory.point();
        memory.answers.add(operation(1), at(0), answer());
        memory.go_back(&start);
        assert!(memory.answers.of(operation(1), at(0)).is_none());
        memory.answers.add(operation(1), at(0), answer());
        memory.keep(0);
        assert!(memory.answers.of(operation(1), at(REPEATS_MILLIS - 1)).is_some());
        assert!(memory.answers.of(operation(1), at(REPEATS_MILLIS)).is_none());
        for number in 0..50_000 {
            memory.answers.add(operation(number), at(1), answer());
            memory.keep(0);
        }
        assert_eq!((memory.answers.by_operation.len(), memory.answers.in_order.len()), (ANSWERS, ANSWERS));
    }

    #[test]
    fn what_was_used_last_stays_at_hand_and_what_was_undone_does_not() {
        let mut cache: Cache<u32, u32> = Cache::new(100);
        for number in 0..1000 {
            cache.put(number, number);
            assert!(cache.get(0).is_some(), "in use all the time");
        }
        assert!(cache.held.len() <= 100);
        assert_eq!(cache.get(999), Some(&999));
        cache.put_changed(999, 1);
        cache.go_back(0);
        assert_eq!(cache.get(999), None);
    }
}
