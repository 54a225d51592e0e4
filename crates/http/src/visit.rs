//! What a request brings along from its connection.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use http::HeaderMap;

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
}

impl Visit {
    pub(crate) fn new(peer: Option<(IpAddr, Counted)>, crowd: Arc<Crowd>) -> Self {
        Self { peer: peer.map(Arc::new), crowd }
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
}
