//! Who asks for how much at once: one source that floods must leave room for the others.
//!
//! A source is the address that a client connects from (of IPv6 the network of 64 bits that one customer of a provider
//! has); behind one of our own proxies it is the address that the proxy names in `X-Forwarded-For`. Each source has so many
//! seats for requests in hand, over all its connections: a seat is taken when a request's head is there, and free again when its
//! answer is handed to the kernel. Who finds none waits for a moment in a line of bounded length, and is then told to come again.
//! Of the connections a source may hold a share.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Network;

/// Requests of one source that are in hand at once.
const SEATS: usize = 64;
/// Requests of one source that wait for a seat.
const LINE: usize = 256;
/// How long they wait.
const WAIT: Duration = Duration::from_secs(1);
/// Connections that a source may hold whatever its share is.
const LEAST_SHARE: usize = 64;

/// Who is counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d].into_iter().fold(0, |bits, piece| (bits << 16) | u64::from(piece)))
            }
        }
    }
}

/// The address that a request comes from: the peer's, or, where the peer is a proxy of ours, the last one in
/// `X-Forwarded-For` that is not. What stands before that anybody may have written.
pub(crate) fn origin(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_ours = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_ours(peer) {
        return peer;
    }
    let mut nearest = peer;
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    for entry in lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')) {
        // What a proxy of ours was told by nobody knows whom is still that proxy's.
        let Some(address) = forwarded_address(entry.trim()) else { return nearest };
        if !is_ours(address) {
            return address;
        }
        nearest = address;
    }
    nearest
}

/// An address, perhaps with a port as some proxies add it.
fn forwarded_address(entry: &str) -> Option<IpAddr> {
    let plain = entry.parse().ok();
    plain.or_else(|| entry.parse::<std::net::SocketAddr>().ok().map(|address| address.ip())).or_else(|| {
        let inner = entry.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok()
    })
}

/// Everybody who is here.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    sources: Mutex<HashMap<Source, Arc<Party>>>,
}

/// What one source has in hand.
#[derive(Debug)]
struct Party {
    seats: Arc<Semaphore>,
    waiting: AtomicUsize,
    connections: AtomicUsize,
}

/// One source, known for as long as one of these is there.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    crowd: Arc<Crowd>,
    source: Source,
    /// `None` only while it is dropped.
    party: Option<Arc<Party>>,
}

/// A request in hand.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    _guest: Guest,
}

/// A connection that counts into its source's share.
#[derive(Debug)]
pub(crate) struct Counted(Guest);

/// Why there was no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too many wait already.
    Line,
    /// Waited in vain.
    Waited,
}

impl Crowd {
    /// Whoever comes from there.
    pub(crate) fn guest(self: &Arc<Self>, source: Source) -> Guest {
        let party = Arc::clone(self.all().entry(source).or_insert_with(|| {
            Arc::new(Party {
                seats: Arc::new(Semaphore::new(SEATS)),
                waiting: AtomicUsize::new(0),
                connections: AtomicUsize::new(0),
            })
        }));
        Guest { crowd: Arc::clone(self), source, party: Some(party) }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Source, Arc<Party>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// A seat, at once or after a short wait.
    pub(crate) async fn seat(&self) -> Result<Seat, Full> {
        let Some(party) = &self.party else { return Err(Full::Line) };
        if let Ok(permit) = Arc::clone(&party.seats).try_acquire_owned() {
            return Ok(Seat { _permit: permit, _guest: self.clone() });
        }
        let in_line = InLine(&party.waiting);
        if party.waiting.fetch_add(1, Ordering::Relaxed) >= LINE {
            return Err(Full::Line);
        }
        let permit = tokio::time::timeout(WAIT, Arc::clone(&party.seats).acquire_owned()).await;
        drop(in_line);
        match permit {
            Ok(Ok(permit)) => Ok(Seat { _permit: permit, _guest: self.clone() }),
            _ => Err(Full::Waited),
        }
    }

    /// Counts a connection; `None` when the source has its share of `all` already.
    pub(crate) fn connection(self, all: usize) -> Option<Counted> {
        let share = LEAST_SHARE.max(all / 4);
        let counted = Counted(self);
        let before = counted.0.party.as_ref().map_or(0, |party| party.connections.fetch_add(1, Ordering::Relaxed));
        (before < share).then_some(counted)
    }
}

impl Counted {
    pub(crate) fn guest(&self) -> &Guest {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(party) = &self.0.party {
            party.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.crowd.all();
        drop(self.party.take());
        // Clones are made of living ones, or under this lock: the last one to go sees that it is.
        if all.get(&self.source).is_some_and(|party| Arc::strong_count(party) == 1) {
            all.remove(&self.source);
        }
    }
}

/// A place in the line, given back however the waiting ends.
struct InLine<'a>(&'a AtomicUsize);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use http::HeaderValue;

    use super::*;

    fn from(peer: &str, forwarded: &[&'static str]) -> String {
        let headers =
            forwarded.iter().map(|line| ("x-forwarded-for".parse().unwrap(), HeaderValue::from_static(line))).collect();
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        origin(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_a_proxy_of_ours_says_where_a_request_comes_from() {
        assert_eq!(from("203.0.113.7", &["198.51.100.1"]), "203.0.113.7");
        assert_eq!(from("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("::1", &["2001:db8::5"]), "2001:db8::5");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_last_entry_that_is_not_ours_counts_and_what_stands_before_it_does_not() {
        assert_eq!(from("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["1.1.1.1", "198.51.100.1,10.0.0.2", "10.0.0.3"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["10.0.0.9, 10.0.0.2"]), "10.0.0.9", "all ours: the farthest");
        assert_eq!(from("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1", "written by nobody knows whom");
        assert_eq!(from("10.0.0.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["[2001:db8::5]:4711"]), "2001:db8::5");
        assert_eq!(from("10.0.0.1", &["[2001:db8::5]"]), "2001:db8::5");
    }

    #[test]
    fn a_network_of_one_customer_is_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.2"), source("10.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_without_a_seat_waits_for_a_moment_and_another_does_not() {
        let crowd = Arc::new(Crowd::default());
        let (one, other) = (crowd.guest(Source::V6(1)), crowd.guest(Source::V6(2)));
        let mut seats = Vec::new();
        for _ in 0..SEATS {
            seats.push(one.seat().await.unwrap());
        }
        assert_eq!(one.seat().await.unwrap_err(), Full::Waited);
        other.seat().await.unwrap();
        let (next, ()) = tokio::join!(one.seat(), async { drop(seats.pop()) });
        next.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded_and_those_who_give_up_leave_it() {
        let crowd = Arc::new(Crowd::default());
        let guest = crowd.guest(Source::V6(1));
        let mut seats = Vec::new();
        for _ in 0..SEATS {
            seats.push(guest.seat().await.unwrap());
        }
        let mut line = tokio::task::JoinSet::new();
        for _ in 0..LINE {
            let guest = guest.clone();
            line.spawn(async move { guest.seat().await.map(drop) });
        }
        let waiting = || guest.party.as_ref().unwrap().waiting.load(Ordering::Relaxed);
        while waiting() < LINE {
            tokio::task::yield_now().await;
        }
        assert_eq!(guest.seat().await.unwrap_err(), Full::Line);
        line.abort_all();
        while line.join_next().await.is_some() {}
        drop(seats);
        guest.seat().await.unwrap();
        assert_eq!(waiting(), 0);
    }

    #[test]
    fn a_source_holds_its_share_of_connections_and_gets_it_back() {
        let crowd = Arc::new(Crowd::default());
        let connect = |all| crowd.guest(Source::V6(1)).connection(all);
        let mut held: Vec<_> = (0..250).map(|_| connect(1000).unwrap()).collect();
        assert!(connect(1000).is_none());
        assert!(crowd.guest(Source::V6(2)).connection(1000).is_some());
        held.pop();
        held.push(connect(1000).unwrap());
        assert!(connect(1000).is_none(), "a refused one is not counted");
        drop(held);
        let few: Vec<_> = (0..64).map(|_| connect(8).unwrap()).collect();
        assert_eq!(few.len(), 64, "however few there are");
    }

    #[tokio::test]
    async fn nobody_is_remembered_who_is_gone() {
        let crowd = Arc::new(Crowd::default());
        let guest = crowd.guest(Source::V6(1));
        let seat = guest.seat().await.unwrap();
        let connection = guest.clone().connection(1000).unwrap();
        drop(guest);
        drop(connection);
        assert_eq!(crowd.all().len(), 1);
        drop(seat);
        assert_eq!(crowd.all().len(), 0);
    }
}
