//! How things leave a store: by age, and because somebody asked to be forgotten.
//!
//! Both go a bounded step at a time, so that no other verb waits long, and both are driven from outside: a store does nothing
//! by itself. One suite in `testkit` holds every implementation to it.

use async_trait::async_trait;

use crate::{ContactId, StoreError, Timestamp};

/// What a store that forgets owes.
#[async_trait]
pub trait Keeping: Send + Sync {
    /// Takes away what was recorded before a moment, one step of a pass over everything. From the front of a log, and never past the
    /// cursor of a lane: what has still to be done stays, and so does what came after it. A log that becomes empty goes with its
    /// conversation; a contact goes with the last conversation. Dead letters go with their events. That a message was
    /// taken once is known for [`Retire::known_for_millis`] more, so that a sender's repeat is no new message.
    async fn retire(&self, retire: Retire) -> Result<Retired, StoreError>;

    /// Takes a contact out of the store, one step at a time; repeat it while there is [more](Erased::More). A conversation with
    /// nobody else is emptied: what was said in it by either side becomes [`MessageDeleted`](crate::EventBody::MessageDeleted) at its
    /// place, its thread is let go (whoever writes there next begins a conversation anew), nothing of it is sent or asked any more,
    /// claims on it are over, it is resolved. Where others take part only what this contact wrote becomes so. At the end the contact
    /// is gone. What was begun is among the [`Keeping::erasures`] until it is done, whatever happens meanwhile.
    async fn erase(&self, erase: Erase) -> Result<Erased, StoreError>;

    /// Contacts whose erasure was begun and is not done.
    async fn erasures(&self) -> Result<Vec<ContactId>, StoreError>;
}

/// One step of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retire {
    /// What is older goes.
    pub before: Timestamp,
    /// For how long, from now, a message that goes is still known to have been taken.
    pub known_for_millis: i64,
    /// Looks at about this many events; at least 1.
    pub events: usize,
    /// What the step before gave as [`Retired::resume`]; `None` begins a pass.
    pub resume: Option<String>,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retired {
    /// Events that went.
    pub events: u64,
    /// Conversations that went with their last event.
    pub conversations: u64,
    /// Where the pass goes on; `None` when it is over. Opaque.
    pub resume: Option<String>,
}

/// One step of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erase {
    /// Whom.
    pub contact: ContactId,
    /// For how long, from now, a message that goes is still known to have been taken.
    pub known_for_millis: i64,
    /// Looks at about this many events; at least 1.
    pub events: usize,
}

/// How far an erasure has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// There is no such contact.
    NotFound,
    /// Go on.
    More,
    /// Nothing of the contact is left.
    Done,
}
