//! The listener: takes connections, holds each to the limits, and ends them in good order.
//!
//! Below the limit of connections one is accepted as it comes; at the limit nothing is accepted, and clients wait in the
//! kernel's backlog. An accept that fails because descriptors or memory are short is tried again after a pause. On
//! `stop` nothing more is accepted, idle connections are closed, and each request in flight is answered as its
//! connection's last; so is the first one of a connection that was taken a moment before.
//!
//! A source that holds its share of all connections already is told so on a further one, and that ends.

use std::{convert::Infallible, future::Future, io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower_service::Service as _;

use crate::{
    Front, Limits, answer,
    crowd::Counted,
    front::Door,
    parting::Explained,
    patience::Patient,
    problem::{Problem, ProblemKind},
    visit::{Pace, Visit},
};

/// How long to wait before the next accept when descriptors or memory are short.
const BREATH: Duration = Duration::from_millis(100);
/// What is read ahead and written behind, per connection; hyper asks for at least 8 KiB.
const LEAST_BUFFER: usize = 64 * 1024;
/// On `stop`: how long a connection that has said nothing yet has for its request. Whoever connects has one on the way, and a
/// connection that ends without a word is a failure to its client.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// How many connections beyond a source's share are told so at once; further ones are just closed.
const TURNED_AWAY: usize = 32;
/// How long such a connection has for its request.
const TURNED_AWAY_TIME: Duration = Duration::from_secs(2);

/// Serves the API until `stop` completes, and returns once the last connection has ended: how long that may take is for the
/// caller to bound. Dropping the future ends every connection at once.
pub async fn serve(listener: TcpListener, front: Front, limits: Limits, stop: impl Future<Output = ()>) {
    hold_open(listener, Door::Public, front, limits, stop).await;
}

/// Like [`serve`], for machines that watch: metrics, status and health, without sign-in. Listen where nobody else can
/// reach it.
pub async fn serve_admin(listener: TcpListener, front: Front, limits: Limits, stop: impl Future<Output = ()>) {
    hold_open(listener, Door::Admin, front, limits, stop).await;
}

/// Like [`serve`], for who runs the daemon: the whole API without a token, with the rights of scope `admin`, in the name of
/// `operator`. The file's permissions say who that is.
pub async fn serve_control(listener: UnixListener, front: Front, limits: Limits, stop: impl Future<Output = ()>) {
    hold_open(listener, Door::Control, front, limits, stop).await;
}

async fn hold_open(listener: impl Listener, door: Door, front: Front, limits: Limits, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let (stopping, told) = watch::channel(());
    let hall = Hall {
        http: protocol(&limits),
        places: Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS))),
        beyond: Arc::new(Semaphore::new(TURNED_AWAY)),
        limits,
        door,
        front,
    };
    let mut connections = JoinSet::new();
    let mut accepted_last = true;
    loop {
        let next = tokio::select! {
            biased;
            () = &mut stop => break,
            // Ended ones are taken out as they end, so that the set holds living ones only.
            Some(_) = connections.join_next() => continue,
            next = hall.next(&listener) => next,
        };
        match next {
            Ok((stream, peer, place)) => {
                accepted_last = true;
                match hall.admit(peer) {
                    Admitted::In(counted) => {
                        connections.spawn(hall.connection(stream, place, counted, told.clone()));
                    }
                    Admitted::Not => hall.turn_away(stream, &mut connections),
                }
            }
            Err(error) if concerns_one_client(&error) => {}
            Err(error) => {
                if accepted_last {
                    tracing::warn!(%error, "cannot take connections; trying again until it works");
                }
                accepted_last = false;
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    let _ = stopping.send(());
    while connections.join_next().await.is_some() {}
}

/// Where connections come from.
trait Listener {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and where it comes from, where that says anything. Dropping the future loses none.
    async fn accept(&self) -> io::Result<(Self::Stream, Option<IpAddr>)>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let (stream, peer) = Self::accept(self).await?;
        // Answers are written in one piece; waiting for more to send with them only adds delay.
        // A client that is gone already is found out when its request is read.
        let _ = stream.set_nodelay(true);
        Ok((stream, Some(peer.ip())))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        Ok((Self::accept(self).await?.0, None))
    }
}

/// A client that was gone before we came is no reason to pause.
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(LEAST_BUFFER));
    http
}

/// Where connections are received.
struct Hall {
    http: http1::Builder,
    places: Arc<Semaphore>,
    beyond: Arc<Semaphore>,
    limits: Limits,
    door: Door,
    front: Front,
}

/// Whether a connection is served.
enum Admitted {
    /// It is; what counts it into its source's share, if it is of one.
    In(Option<(IpAddr, Counted)>),
    /// Its source has its share.
    Not,
}

impl Hall {
    /// A free place, and then a connection for it.
    async fn next<L: Listener>(&self, listener: &L) -> io::Result<(L::Stream, Option<IpAddr>, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, place))
    }

    fn admit(&self, peer: Option<IpAddr>) -> Admitted {
        let Some(peer) = peer else { return Admitted::In(None) };
        // All that a proxy passes on comes from its address; what is behind it is told apart by request.
        let all = if self.front.trusts(peer) { usize::MAX } else { self.limits.connections };
        let counted = self.front.crowd().guest(peer.into()).connection(all);
        counted.map_or(Admitted::Not, |counted| Admitted::In(Some((peer, counted))))
    }

    fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        place: OwnedSemaphorePermit,
        counted: Option<(IpAddr, Counted)>,
        mut stopping: watch::Receiver<()>,
    ) -> impl Future<Output = ()> + use<S> {
        let pace = Pace::default();
        let patient = Patient::new(stream, pace.clone(), self.limits.answer_time, self.limits.farewell_time);
        let visit = Visit::new(counted, Arc::clone(self.front.crowd()), pace, stopping.clone());
        let (front, door) = (self.front.clone(), self.door);
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        // Each request is answered by the routes of its own moment.
        let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            begins.notify_one();
            visit.begin();
            request.extensions_mut().insert(visit.clone());
            let (answer, visit) = (front.behind(door).call(request), visit.clone());
            async move {
                let mut answer = answer.await?;
                if visit.is_leaving() {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(Explained::new(patient)), service);
        async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                _ = stopping.changed() => {
                    tokio::select! {
                        biased;
                        ended = connection.as_mut() => ended,
                        _ = tokio::time::timeout(FIRST_WORDS, begun.notified()) => {
                            connection.as_mut().graceful_shutdown();
                            connection.await
                        }
                    }
                }
            };
            // A client that goes away, or runs into a limit, is an everyday thing; hyper's words hold nothing it sent.
            if let Err(error) = ended {
                tracing::trace!(%error, "a connection ended early");
            }
            drop(place);
        }
    }

    /// One answer that says why, and the end.
    fn turn_away<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, connections: &mut JoinSet<()>) {
        metrics::counter!("frontdesk_http_refused_total", "reason" => "connections").increment(1);
        let Ok(place) = Arc::clone(&self.beyond).try_acquire_owned() else { return };
        let patient = Patient::new(stream, Pace::default(), TURNED_AWAY_TIME, TURNED_AWAY_TIME);
        let mut http = self.http.clone();
        http.keep_alive(false).header_read_timeout(TURNED_AWAY_TIME);
        let service = service_fn(|_| async { Ok::<_, Infallible>(too_many_connections()) });
        let connection = http.serve_connection(TokioIo::new(Explained::new(patient)), service);
        connections.spawn(async move {
            let _ = tokio::time::timeout(2 * TURNED_AWAY_TIME, connection).await;
            drop(place);
        });
    }
}

fn too_many_connections() -> Response {
    let detail = "this address holds its share of all connections; use those again, or close some";
    answer::dressed(Problem::new(ProblemKind::TooManyRequests, detail).retry_after(1).into_response())
}
