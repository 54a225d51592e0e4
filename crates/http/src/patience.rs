//! A client's connection, with an end to our patience on the sending side.
//!
//! hyper bounds how long a request's head may take, and nothing after that: a client that does not take its answer would be
//! waited for without an end. That is bounded here, and so is the goodbye. When we end a connection while the client is still sending (a body that is too large), closing at
//! once would make the kernel answer with a reset, and the client would lose the answer that explains it (RFC 9112, 9.6). So
//! our side is closed first, and what still comes is thrown away for a short while.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::visit::Pace;

/// A farewell ends when the client has been silent for this long.
const FAREWELL_SILENCE: Duration = Duration::from_millis(500);
/// A farewell ends when this much has been thrown away.
const FAREWELL_BYTES: usize = 16 * 1024 * 1024;

/// A connection that is not waited for without an end.
pub(crate) struct Patient<S> {
    stream: S,
    pace: Pace,
    answer_time: Duration,
    farewell_time: Duration,
    /// Runs while an answer is stuck; gone when all of it is handed to the kernel.
    stuck: Option<Pin<Box<Sleep>>>,
    farewell: Option<Farewell>,
}

struct Farewell {
    /// When the last of the patience ends.
    end: Instant,
    /// When the silence has lasted long enough; never after `end`.
    silence: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Patient<S> {
    pub(crate) fn new(stream: S, pace: Pace, answer_time: Duration, farewell_time: Duration) -> Self {
        Self { stream, pace, answer_time, farewell_time, stuck: None, farewell: None }
    }

    /// What became of a write.
    fn written(&mut self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        // Of an answer without an end not all can ever be taken; there any step forward counts.
        if self.pace.has_no_end() {
            self.stuck = None;
        }
        Poll::Ready(written)
    }

    /// A write that got nowhere: is there patience left?
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = Instant::now() + self.answer_time;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep_until(end)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let farewell_time = self.farewell_time;
        let farewell = self.farewell.get_or_insert_with(|| {
            let end = now + farewell_time;
            let silence = Box::pin(sleep_until(end.min(now + FAREWELL_SILENCE)));
            Farewell { end, silence, bytes_left: FAREWELL_BYTES }
        });
        let mut thrown_away = [0_u8; 16 * 1024];
        // A client that sends faster than this loop reads must not hold the worker: after a few rounds others have a turn.
        for _ in 0..16 {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    farewell.bytes_left = farewell.bytes_left.saturating_sub(buffer.filled().len());
                    if farewell.bytes_left == 0 || now >= farewell.end {
                        return Poll::Ready(());
                    }
                    farewell.silence.as_mut().reset(farewell.end.min(now + FAREWELL_SILENCE));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return farewell.silence.as_mut().poll(context),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.poll_patience(context).map(|ended| ended.map(|()| 0)),
            Poll::Ready(written) => self.written(written),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, pieces) {
            Poll::Pending => self.poll_patience(context).map(|ended| ended.map(|()| 0)),
            Poll::Ready(written) => self.written(written),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write: the answer is taken.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.stuck = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        self.poll_farewell(context).map(Ok)
    }
}
