//! What a request brings along from its connection.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderMap;
use tokio::sync::watch;

use crate::{
    Network,
    crowd::{self, Counted, Crowd, Guest, Source},
};

/// One connection, as its requests know it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// Where it comes from; `None`: through the control socket, whose visitors are not counted.
    peer: Option<Arc<(IpAddr, Counted)>>,
    crowd: Arc<Crowd>,
    pace: Pace,
    stopping: watch::Receiver<()>,
}

/// Whether the answer that a connection is sending has an end; known to whoever loses patience with its reader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace(Arc<AtomicBool>);

impl Visit {
    pub(crate) fn new(
        peer: Option<(IpAddr, Counted)>,
        crowd: Arc<Crowd>,
        pace: Pace,
        stopping: watch::Receiver<()>,
    ) -> Self {
        Self { peer: peer.map(Arc::new), crowd, pace, stopping }
    }

    /// Who has to have a seat for this request; `None`: nobody.
    pub(crate) fn guest(&self, headers: &HeaderMap, trusted: &[Network]) -> Option<Cow<'_, Guest>> {
        let (peer, counted) = self.peer.as_deref()?;
        let source = Source::from(crowd::origin(*peer, headers, trusted));
        let of_the_peer = counted.guest();
        Some(if source == of_the_peer.source() {
            Cow::Borrowed(of_the_peer)
        } else {
            Cow::Owned(self.crowd.guest(source))
        })
    }

    /// A new request: its answer has an end, as far as is known.
    pub(crate) fn begin(&self) {
        self.pace.0.store(false, Ordering::Relaxed);
    }

    /// The answer to the present request is a stream.
    pub(crate) fn answer_has_no_end(&self) {
        self.pace.0.store(true, Ordering::Relaxed);
    }

    /// Completes when the listener stops: what has no end of its own should end.
    pub(crate) async fn leaving(&mut self) {
        // A sender that is gone has stopped too.
        let _ = self.stopping.changed().await;
    }

    /// Whether the listener stops.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stopping.has_changed().unwrap_or(true)
    }
}

impl Pace {
    pub(crate) fn has_no_end(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
