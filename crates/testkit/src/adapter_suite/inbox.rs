//! Inboxes that a test decides for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_model::{
    Accepted, AccountId, ConversationId, Envelope, Inbox, InboxError, KindName, MessageId, Occurrence, Partition, Seen,
    ThreadKey, Timestamp, UniqueWithin,
};
use tokio::sync::{Semaphore, watch};

/// Takes messages as the engine does: the same id in the same thread is the same message. It can be held, so that nothing is
/// committed until it is let go, and closed, so that nothing is taken.
pub struct TestInbox {
    taken: Mutex<Vec<(Envelope, Accepted)>>,
    arrived: watch::Sender<usize>,
    permits: Semaphore,
    closed: AtomicBool,
    noted: Mutex<Vec<Occurrence>>,
    remembered: Mutex<BTreeMap<String, String>>,
}

impl TestInbox {
    /// Takes everything at once.
    #[must_use]
    pub fn open() -> Arc<Self> {
        Self::with_permits(Semaphore::MAX_PERMITS)
    }

    /// Takes nothing until [`TestInbox::commit_one`].
    #[must_use]
    pub fn held() -> Arc<Self> {
        Self::with_permits(0)
    }

    fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            arrived: watch::Sender::new(0),
            permits: Semaphore::new(permits),
            closed: AtomicBool::new(false),
            noted: Mutex::default(),
            remembered: Mutex::default(),
        })
    }

    /// Lets one message that arrived, or will, be committed.
    pub fn commit_one(&self) {
        self.permits.add_permits(1);
    }

    /// From now on nothing is taken.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Takes messages again.
    pub fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Waits until so many messages were handed in, committed or not.
    pub async fn wait_for_arrivals(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let waiting = arrived.wait_for(|so_far| *so_far >= count);
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("a message arrives").unwrap();
    }

    /// How many were handed in.
    #[must_use]
    pub fn arrivals(&self) -> usize {
        *self.arrived.borrow()
    }

    /// What was noted besides messages, in order, each once.
    #[must_use]
    pub fn noted(&self) -> Vec<Occurrence> {
        self.noted.lock().unwrap().clone()
    }

    /// What was committed, in order, each message once.
    #[must_use]
    pub fn taken(&self) -> Vec<Envelope> {
        self.taken.lock().unwrap().iter().map(|(envelope, _)| envelope.clone()).collect()
    }
}

#[async_trait]
impl Inbox for TestInbox {
    async fn accept(&self, envelope: Envelope) -> Result<Accepted, InboxError> {
        self.arrived.send_modify(|count| *count += 1);
        if self.closed.load(Ordering::SeqCst) {
            let reason = "the store is full".to_owned();
            return Err(InboxError::Unavailable { retry_after: Duration::from_millis(6_500), reason });
        }
        self.permits.acquire().await.unwrap().forget();
        let mut taken = self.taken.lock().unwrap();
        let same = |known: &Envelope| {
            known.external_id == envelope.external_id
                && (envelope.unique_within == UniqueWithin::Account || known.thread == envelope.thread)
        };
        if let Some((_, first)) = taken.iter().find(|(known, _)| same(known)) {
            return Ok(Accepted { seen: Seen::Before, ..*first });
        }
        let accepted = ids(&taken, &envelope);
        taken.push((envelope, accepted));
        Ok(accepted)
    }

    async fn note(&self, occurrence: Occurrence) -> Result<(), InboxError> {
        self.arrived.send_modify(|count| *count += 1);
        if self.closed.load(Ordering::SeqCst) {
            let reason = "the store is full".to_owned();
            return Err(InboxError::Unavailable { retry_after: Duration::from_millis(6_500), reason });
        }
        let mut noted = self.noted.lock().unwrap();
        if !noted.iter().any(|known| known.external_id == occurrence.external_id) {
            noted.push(occurrence);
        }
        Ok(())
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, InboxError> {
        Ok(self.remembered.lock().unwrap().get(name).cloned())
    }

    async fn remember(&self, name: &str, value: &str) -> Result<(), InboxError> {
        self.remembered.lock().unwrap().insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}

/// Ids that are the same in each run: the conversation's by its thread, the message's by its number.
fn ids(taken: &[(Envelope, Accepted)], envelope: &Envelope) -> Accepted {
    let at: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
    let key = ThreadKey {
        kind: KindName::new("test").unwrap(),
        account: AccountId::new("test").unwrap(),
        thread: envelope.thread.clone(),
    };
    let partition = Partition::of(&key);
    let number = |number: usize| [0, 0, 0, 0, 0, 0, 0, 0, u8::try_from(number % 256).unwrap()];
    let known = taken.iter().find(|(known, _)| known.thread == envelope.thread);
    let conversation = match known {
        Some((_, accepted)) => accepted.conversation,
        None => ConversationId::new(at, partition, number(taken.len())),
    };
    Accepted { conversation, message: MessageId::new(at, partition, number(taken.len())), seen: Seen::New }
}
