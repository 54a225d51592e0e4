//! What the listeners serve, replaceable while they do.
//!
//! A request is answered by the routes that are there when it comes in, to its end, whatever is replaced meanwhile. So
//! a new configuration ends no connection and no request.
//!
//! There are three doors. The public one opens by bearer token. The administrators' one is a listener of its own for machines that watch:
//! metrics, status and health without sign-in, and nothing else. The control door is a socket in the file system: who
//! may open the file may do everything, in the name of [`OPERATOR`].

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use axum::Router;
use frontdesk_engine::Desk;
use tokio::sync::watch;

use crate::{HttpOptions, MountedChannel, Network, auth::Tokens, crowd::Crowd, routes, streams::Streams};

/// In whose name the control socket speaks.
pub(crate) const OPERATOR: &str = "operator";

/// Where a request comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// For everybody, who then shows a token.
    Public,
    /// For machines that watch.
    Admin,
    /// For who runs the daemon.
    Control,
}

/// What is served: hand clones of it to the listeners, and replace its routes while they serve. Cheap to clone.
#[derive(Clone)]
pub struct Front(Arc<Inner>);

struct Inner {
    desk: Desk,
    present: RwLock<Rooms>,
    house: Arc<House>,
}

/// What does not change with what is served: who is here.
pub(crate) struct House {
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) streams: Arc<Streams>,
    /// The present ones, for those who stay longer than a request.
    pub(crate) tokens: watch::Sender<Arc<Tokens>>,
}

/// What lies behind the doors.
#[derive(Clone)]
struct Rooms {
    public: Router,
    admin: Router,
    control: Router,
    trusted: Arc<[Network]>,
}

impl Front {
    /// # Panics
    /// A channel brings a path that cannot be mounted, or the same one twice for one method: a mistake in its code.
    #[must_use]
    pub fn new(desk: Desk, channels: Vec<MountedChannel>, options: HttpOptions) -> Self {
        let tokens = watch::Sender::new(Arc::new(Tokens::new(Vec::new())));
        let house = Arc::new(House { crowd: Arc::default(), streams: Arc::default(), tokens });
        let present = RwLock::new(rooms(&desk, &house, channels, options));
        Self(Arc::new(Inner { desk, present, house }))
    }

    /// Other channels and options from now on. Requests in flight finish on what they began with.
    ///
    /// # Panics
    /// As [`Front::new`]; then everything stays as it is.
    pub fn replace(&self, channels: Vec<MountedChannel>, options: HttpOptions) {
        let next = rooms(&self.0.desk, &self.0.house, channels, options);
        *self.0.present.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// What answers a request that comes in now.
    pub(crate) fn behind(&self, door: Door) -> Router {
        let rooms = self.rooms();
        match door {
            Door::Public => rooms.public.clone(),
            Door::Admin => rooms.admin.clone(),
            Door::Control => rooms.control.clone(),
        }
    }

    /// Whether this is a proxy of ours.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.rooms().trusted.iter().any(|network| network.contains(address))
    }

    pub(crate) fn crowd(&self) -> &Arc<Crowd> {
        &self.0.house.crowd
    }

    fn rooms(&self) -> RwLockReadGuard<'_, Rooms> {
        self.0.present.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rooms(desk: &Desk, house: &Arc<House>, channels: Vec<MountedChannel>, options: HttpOptions) -> Rooms {
    let base = routes::Base::new(desk.clone(), Arc::clone(house), &channels, options);
    let rooms = Rooms {
        public: routes::api(&base, Door::Public, channels.clone()),
        admin: routes::watching(&base),
        control: routes::api(&base, Door::Control, channels),
        trusted: Arc::clone(&base.trusted),
    };
    house.tokens.send_replace(base.tokens);
    rooms
}
