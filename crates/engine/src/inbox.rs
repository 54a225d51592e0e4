//! Where channels hand in what they receive: the commit.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use frontdesk_model::{
    Accepted, AccountId, ChannelName, Committed, Envelope, Inbox, InboxError, KindName, Lane, Owner, Seen, StoreError,
    ThreadKey,
};

use crate::{rules::Arrival, runtime::Shared};

/// How long a sender is asked to wait when the store cannot take a message.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// One channel's way in.
pub(crate) struct ChannelInbox {
    pub(crate) shared: Arc<Shared>,
    pub(crate) channel: ChannelName,
    pub(crate) kind: KindName,
    pub(crate) account: AccountId,
}

#[async_trait]
impl Inbox for ChannelInbox {
    async fn accept(&self, envelope: Envelope) -> Result<Accepted, InboxError> {
        let shared = &self.shared;
        if shared.is_draining() {
            return Err(unavailable("the daemon is stopping"));
        }
        let thread =
            ThreadKey { kind: self.kind.clone(), account: self.account.clone(), thread: envelope.thread.clone() };
        let first_owner = if shared.options.agent.is_some() { Owner::Agent } else { Owner::Desk };
        let arrival = Arrival {
            ids: &shared.ids,
            keys: &shared.keys,
            now: shared.clock.now(),
            channel: &self.channel,
            thread,
            first_owner,
        };
        let (commit, accepted) = arrival.of(envelope);
        // Also when the sender hangs up before the answer: the commit may have happened all the same.
        let _wake = WakeOnDrop(shared);
        match shared.store.commit_inbound(commit).await {
            Ok(Committed::New { conversation, .. }) => {
                shared.agent_health.new_work(shared.clock.boot());
                Ok(Accepted { conversation, ..accepted })
            }
            Ok(Committed::Duplicate { conversation, message }) => {
                Ok(Accepted { conversation, message, seen: Seen::Before })
            }
            Err(error) => {
                shared.note_store_error(&error);
                Err(unavailable(match error {
                    StoreError::Full(_) => "the store is full",
                    StoreError::Unavailable(_) => "the store is unavailable",
                    StoreError::Refused(_) => "the store refused the message",
                }))
            }
        }
    }
}

struct WakeOnDrop<'a>(&'a Shared);

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wake(Lane::Agent);
    }
}

fn unavailable(reason: &str) -> InboxError {
    InboxError::Unavailable { retry_after: COME_AGAIN, reason: reason.to_owned() }
}
