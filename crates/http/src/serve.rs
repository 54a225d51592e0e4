//! The listener: takes connections, holds each to the limits, and ends them in good order.
//!
//! Below the limit of connections one is accepted as it comes; at the limit nothing is accepted, and clients wait in the
//! kernel's backlog. An accept that fails because descriptors or memory are short is tried again after a pause. On
//! `stop` nothing more is accepted, idle connections are closed, and each request in flight is answered as its
//! connection's last.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower_service::Service as _;

use crate::{Front, Limits, front::Door, patience::Patient};

/// How long to wait before the next accept when descriptors or memory are short.
const BREATH: Duration = Duration::from_millis(100);
/// What is read ahead and written behind, per connection; hyper asks for at least 8 KiB.
const LEAST_BUFFER: usize = 64 * 1024;

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
            Ok((stream, place)) => {
                accepted_last = true;
                connections.spawn(hall.connection(stream, place, told.clone()));
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

    /// The next connection. Dropping the future loses none.
    async fn accept(&self) -> io::Result<Self::Stream>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // Answers are written in one piece; waiting for more to send with them only adds delay.
        // A client that is gone already is found out when its request is read.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self).await?.0)
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
    limits: Limits,
    door: Door,
    front: Front,
}

impl Hall {
    /// A free place, and then a connection for it.
    async fn next<L: Listener>(&self, listener: &L) -> io::Result<(L::Stream, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        Ok((listener.accept().await?, place))
    }

    fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        place: OwnedSemaphorePermit,
        mut stopping: watch::Receiver<()>,
    ) -> impl Future<Output = ()> + use<S> {
        let stream = Patient::new(stream, self.limits.answer_time, self.limits.farewell_time);
        let (front, door) = (self.front.clone(), self.door);
        // Each request is answered by the routes of its own moment.
        let service = service_fn(move |request| front.behind(door).call(request));
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                _ = stopping.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // A client that goes away, or runs into a limit, is an everyday thing; hyper's words hold nothing it sent.
            if let Err(error) = ended {
                tracing::trace!(%error, "a connection ended early");
            }
            drop(place);
        }
    }
}
