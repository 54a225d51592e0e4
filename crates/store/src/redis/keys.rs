//! The names of keys, and which share of them a thing lies in.
//!
//! The partition's number stands in braces: it alone decides the slot of a cluster, so all keys of a partition lie together.
//! What is looked up by a hash or an id lies in buckets, small hashes that Redis keeps in a few bytes an entry.

use frontdesk_model::{
    ContactId, ConversationId, DedupeKey, MessageId, OperationId, PARTITIONS, Partition, ThreadKey, Waiting,
};
use sha2::{Digest, Sha256};

/// Redis keeps a hash of up to 128 entries flat (`hash-max-listpack-entries`): so many buckets hold 8 million messages so.
pub(super) const MESSAGE_BUCKETS: u16 = 1024;
/// And so many a million threads.
pub(super) const THREAD_BUCKETS: u16 = 128;

/// A partition's keys: all of one shard lie in one slot. Contacts and callers' requests have shards of their own by their
/// own hash, under the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shard(u8);

impl Shard {
    pub(super) const FIRST: Self = Self(0);

    pub(super) fn numbered(number: u8) -> Option<Self> {
        (number < PARTITIONS).then_some(Self(number))
    }

    pub(super) fn next(self) -> Option<Self> {
        Self::numbered(self.0 + 1)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// Of what is spread by a hash or at random.
    pub(super) fn of_byte(byte: u8) -> Self {
        Self(byte % PARTITIONS)
    }

    pub(super) fn of_contact(contact: ContactId) -> Self {
        let [first, ..] = contact.to_bytes();
        Self::of_byte(first)
    }

    pub(super) fn number(self) -> u8 {
        self.0
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl From<Partition> for Shard {
    fn from(partition: Partition) -> Self {
        Self(partition.number())
    }
}

impl From<ConversationId> for Shard {
    fn from(id: ConversationId) -> Self {
        id.partition().into()
    }
}

/// What lies in buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Buckets {
    Threads,
    Messages,
    Known,
}

/// Makes the names.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn of(&self, shard: Shard, kind: &str) -> String {
        format!("{}{{{}}}{kind}", self.prefix, shard.number())
    }

    /// What all keys begin with.
    pub(super) fn pattern(&self) -> String {
        format!("{}{{", self.prefix)
    }

    /// What is the store's as a whole.
    pub(super) fn store(&self) -> String {
        self.of(Shard(0), "store")
    }

    /// What channels remember for their accounts.
    pub(super) fn remembered(&self) -> String {
        self.of(Shard(0), "remembered")
    }

    /// The daemons that are there.
    pub(super) fn daemons(&self) -> String {
        self.of(Shard(0), "daemons")
    }

    /// Who holds what one alone may hold.
    pub(super) fn held(&self) -> String {
        self.of(Shard(0), "held")
    }

    /// The places that are taken in a budget.
    pub(super) fn spent(&self, channel: &Waiting, of: &str) -> String {
        let digest: [u8; 16] = digest(&[b"budget", &waiting_digest(channel), of.as_bytes()]);
        self.of(Shard(0), &format!("b:{}", hex(&digest)))
    }

    pub(super) fn conversation(&self, id: ConversationId) -> String {
        self.of(id.into(), &format!("c:{}", bare(&id.to_string())))
    }

    pub(super) fn log(&self, id: ConversationId) -> String {
        self.of(id.into(), &format!("l:{}", bare(&id.to_string())))
    }

    pub(super) fn schedule(&self, shard: Shard) -> String {
        self.of(shard, "s")
    }

    pub(super) fn waits(&self, shard: Shard) -> String {
        self.of(shard, "w")
    }

    pub(super) fn index(&self, shard: Shard) -> String {
        self.of(shard, "i")
    }

    pub(super) fn timers(&self, shard: Shard) -> String {
        self.of(shard, "t")
    }

    pub(super) fn feed(&self, shard: Shard) -> String {
        self.of(shard, "f")
    }

    pub(super) fn letters(&self, shard: Shard) -> String {
        self.of(shard, "x")
    }

    pub(super) fn posts(&self, shard: Shard) -> String {
        self.of(shard, "p")
    }

    pub(super) fn contacts(&self, shard: Shard) -> String {
        self.of(shard, "k")
    }

    /// Which contact takes part in which conversation.
    pub(super) fn parts(&self, shard: Shard) -> String {
        self.of(shard, "j")
    }

    pub(super) fn operation(&self, shard: Shard, id: OperationId) -> String {
        self.of(shard, &format!("o:{}", bare(&id.to_string())))
    }

    /// In which partition a caller's request is carried out; lies in the shard of its own key.
    pub(super) fn request(&self, key: &[u8; 32]) -> String {
        let [first, ..] = *key;
        self.of(Shard::of_byte(first), &format!("q:{}", hex(key)))
    }

    /// What became of a caller's request there.
    pub(super) fn carried_out(&self, shard: Shard, key: &[u8; 32]) -> String {
        self.of(shard, &format!("r:{}", hex(key)))
    }

    /// Where a message is known by its id, in this shard.
    pub(super) fn message(&self, shard: Shard, id: MessageId) -> String {
        let [.., high, low] = id.to_bytes();
        self.of(shard, &format!("m:{}", u16::from_be_bytes([high, low]) % MESSAGE_BUCKETS))
    }

    pub(super) fn dedupe(&self, shard: Shard, DedupeKey(key): DedupeKey) -> String {
        let [.., high, low] = key;
        self.of(shard, &format!("u:{}", u16::from_be_bytes([high, low]) % MESSAGE_BUCKETS))
    }

    /// So many of the keys under which a shard's messages are known again, from this one on; and which is next.
    pub(super) fn some_dedupe(&self, shard: Shard, from: u16, count: u16) -> (Vec<String>, Option<u16>) {
        let end = from.saturating_add(count).min(MESSAGE_BUCKETS);
        let names = (from..end.max(from + 1)).map(|bucket| self.of(shard, &format!("u:{bucket}"))).collect();
        (names, Some(end).filter(|end| *end < MESSAGE_BUCKETS))
    }

    /// The keys of one sort of buckets, from this one on.
    pub(super) fn buckets(&self, shard: Shard, sort: Buckets, from: u16) -> Vec<String> {
        let (kind, count) = match sort {
            Buckets::Threads => ('h', THREAD_BUCKETS),
            Buckets::Messages => ('m', MESSAGE_BUCKETS),
            Buckets::Known => ('u', MESSAGE_BUCKETS),
        };
        (from..count).map(|bucket| self.of(shard, &format!("{kind}:{bucket}"))).collect()
    }

    /// Which contacts are being erased, and how far.
    pub(super) fn erasing(&self, shard: Shard) -> String {
        self.of(shard, "e")
    }

    pub(super) fn thread(&self, shard: Shard, digest: &[u8; 16]) -> String {
        let [.., high, low] = *digest;
        self.of(shard, &format!("h:{}", u16::from_be_bytes([high, low]) % THREAD_BUCKETS))
    }

    /// The keys that lie under a verb on one conversation, in the order in which the scripts name them.
    pub(super) fn of_verb(&self, id: ConversationId) -> Vec<String> {
        let (shard, bare_id) = (Shard::from(id), id.to_string());
        let own = |kind: char| self.of(shard, &format!("{kind}:{}", bare(&bare_id)));
        vec![
            own('c'),
            own('l'),
            own('a'),
            own('d'),
            self.schedule(shard),
            self.waits(shard),
            self.index(shard),
            self.timers(shard),
            self.feed(shard),
            self.letters(shard),
            self.posts(shard),
        ]
    }
}

fn bare(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, bare)| bare)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest<const N: usize>(pieces: &[&[u8]]) -> [u8; N] {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update((piece.len() as u64).to_be_bytes());
        hash.update(piece);
    }
    let full: [u8; 32] = hash.finalize().into();
    let mut short = [0; N];
    for (to, from) in short.iter_mut().zip(full) {
        *to = from;
    }
    short
}

/// What a thread is known by in its partition.
pub(super) fn thread_digest(thread: &ThreadKey) -> [u8; 16] {
    let ThreadKey { kind, account, thread } = thread;
    digest(&[b"thread", kind.as_str().as_bytes(), account.as_str().as_bytes(), thread.as_str().as_bytes()])
}

/// What lanes that wait for the same have in common.
pub(super) fn waiting_digest(waiting: &Waiting) -> [u8; 8] {
    match waiting {
        Waiting::Agent => digest(&[b"agent"]),
        Waiting::Channel { kind, account } => {
            digest(&[b"channel", kind.as_str().as_bytes(), account.as_str().as_bytes()])
        }
        Waiting::Attachments(message) => digest(&[b"attachments", &message.to_bytes()]),
    }
}

/// Tells one state of knowledge of a contact from another.
pub(super) fn contact_digest(known: &[u8]) -> [u8; 8] {
    digest(&[b"contact", known])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test may stop at the first surprise

    use super::*;

    #[test]
    fn all_keys_of_a_conversation_share_a_tag() {
        let thread = ThreadKey {
            kind: "webhook".parse().unwrap(),
            account: "}a{".parse().unwrap(),
            thread: "{b}".parse().unwrap(),
        };
        let id = ConversationId::new(frontdesk_model::Timestamp::MAX, Partition::of(&thread), [255; 9]);
        let names = Names::new("fd");
        let shard = Shard::from(id);
        let tag = format!("fd{{{}}}", Partition::of(&thread).number());
        let mut keys = names.of_verb(id);
        keys.push(names.thread(shard, &thread_digest(&thread)));
        keys.push(names.dedupe(shard, DedupeKey([7; 16])));
        keys.push(names.carried_out(shard, &[7; 32]));
        assert!(keys.iter().all(|key| key.starts_with(&tag)), "{keys:?}");
        assert_eq!(keys[0], names.conversation(id));
        assert_eq!(keys[1], names.log(id));
    }
}
