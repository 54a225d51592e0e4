//! The live stream of everything that is added to any log, for whoever follows it.
//!
//! It is the store's own order of changes, read page by page and only as fast as the reader takes it; nothing is held for
//! a reader that is slow or gone. A position names a place in that order: whoever goes on from the last one they saw
//! misses nothing and sees nothing twice, also after a restart.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{ChangeFilter, ChannelName, Take};
use tokio::sync::watch;

use crate::{desk::DeskError, runtime::Shared, wire::ChangeView};

/// One page.
const TAKE: Take = Take { rows: 100, bytes: 256 * 1024 };
/// Another daemon on the same store may have added something: looked at so often without a sign.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A reader's place in the stream.
pub struct Feed {
    shared: Arc<Shared>,
    grown: watch::Receiver<u64>,
    filter: ChangeFilter,
    position: String,
}

/// Some events in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedBatch {
    /// The events.
    pub items: Vec<FeedItem>,
    /// Whether some before these are not kept any more.
    pub lost: bool,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedItem {
    /// Where to go on behind it.
    pub position: String,
    /// Its type, as `message.created`.
    pub kind: &'static str,
    /// The agent's envelope without history and reply token: one line of JSON.
    pub data: String,
}

impl Feed {
    pub(crate) async fn open(
        shared: Arc<Shared>,
        after: Option<String>,
        channels: Vec<ChannelName>,
    ) -> Result<Self, DeskError> {
        let grown = shared.watch_logs();
        let filter = ChangeFilter { channels, conversation: None };
        let position = match after {
            // Read once, so that a position that nothing named is refused at once.
            Some(after) => {
                shared.store.changes(Some(after.clone()), filter.clone(), Take { rows: 1, bytes: 0 }).await?;
                after
            }
            None => shared.store.changes(None, filter.clone(), TAKE).await?.position,
        };
        Ok(Self { shared, grown, filter, position })
    }

    /// Where the next batch goes on.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.position
    }

    /// The next events; waits until there are some. Dropped while it waits, nothing is missed by the next call.
    ///
    /// # Errors
    /// The store is not there, or the daemon is stopping.
    pub async fn next(&mut self) -> Result<FeedBatch, DeskError> {
        loop {
            if self.shared.is_draining() {
                return Err(DeskError::Unavailable { reason: "the daemon is stopping".into(), retry_after: 5 });
            }
            self.grown.borrow_and_update();
            let found = self.shared.store.changes(Some(self.position.clone()), self.filter.clone(), TAKE).await?;
            let items: Vec<FeedItem> = found
                .data
                .iter()
                .filter_map(|change| {
                    let view = ChangeView::from(change);
                    let data = serde_json::to_string(&view).ok()?;
                    Some(FeedItem { position: change.position.clone(), kind: view.kind, data })
                })
                .collect();
            self.position = found.position;
            if !items.is_empty() || found.lost {
                return Ok(FeedBatch { items, lost: found.lost });
            }
            if found.more {
                continue;
            }
            tokio::select! {
                // The sender lives in `shared`.
                _ = self.grown.changed() => {}
                () = self.shared.clock.sleep(LOOK_EVERY) => {}
                () = self.shared.draining() => {}
            }
        }
    }
}
