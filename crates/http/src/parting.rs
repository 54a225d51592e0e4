//! The last words to a client whose request cannot even be read.
//!
//! hyper answers a head that is no HTTP, or too large, by itself: a status, no body, and the end of the connection. Every error of
//! this interface says what was wrong and what to do, so such a bare answer is exchanged for a problem on its way
//! out. It is known by its status and by lacking what stands in every answer of ours.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::problem::{Problem, ProblemKind};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A connection on which no answer is bare.
pub(crate) struct Explained<S> {
    stream: S,
    words: Option<Words>,
}

/// What is sent in place of the bare answer.
struct Words {
    bytes: Vec<u8>,
    sent: usize,
    /// How long the bare answer is. It is the last that is written, so what is longer has other answers before it.
    in_place_of: usize,
}

impl<S> Explained<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, words: None }
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Sends what stands before the bare answer as it is; then the words in full, after which all counts as sent.
    fn poll_words(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while let Some(words) = &mut self.words {
            let before = bytes.len().saturating_sub(words.in_place_of);
            if before > 0 {
                return Pin::new(&mut self.stream).poll_write(context, bytes.get(..before).unwrap_or_default());
            }
            let rest = words.bytes.get(words.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.words = None;
                break;
            }
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => words.sent += sent,
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.words.is_none() {
            self.words = bare_answer(bytes).map(|(length, problem)| Words {
                bytes: problem.into_last_answer(),
                sent: 0,
                in_place_of: length,
            });
        }
        match self.words {
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
            Some(_) => self.poll_words(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        match (filled.next(), filled.next()) {
            // A bare answer has no body and so comes in one piece.
            (Some(only), None) => self.poll_write(context, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How long a bare answer is that these bytes end with, and what should be said instead.
fn bare_answer(bytes: &[u8]) -> Option<(usize, Problem)> {
    let head = bytes.strip_suffix(END_OF_HEAD)?;
    let before = head.windows(END_OF_HEAD.len()).rposition(|four| four == END_OF_HEAD);
    let start = before.map_or(0, |at| at + END_OF_HEAD.len());
    let mut lines = head.get(start..)?.split(|byte| *byte == b'\n');
    let status = lines.next()?.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let problem = match StatusCode::from_bytes(status).ok()? {
        StatusCode::BAD_REQUEST => Problem::new(
            ProblemKind::MalformedRequest,
            "this is no HTTP/1.1 request: look at the request line (no spaces in the path), at the headers (no control \
             characters) and at how the body's length is given (once)",
        ),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::new(
            ProblemKind::HeadTooLarge,
            "request line and headers together are too large, or there are more than 100 headers; send less of them",
        ),
        _ => return None,
    };
    let ours = lines.any(|line| line.starts_with(b"x-content-type-options:"));
    (!ours).then_some((bytes.len() - start, problem))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const OURS: &str = "HTTP/1.1 400 Bad Request\r\nx-content-type-options: nosniff\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn a_bare_answer_is_found_behind_others_and_nothing_else_is_taken_for_one() {
        let length = |text: &str| bare_answer(text.as_bytes()).map(|(length, _)| length);
        assert_eq!(length(BARE), Some(BARE.len()));
        assert_eq!(length(&format!("{OURS}{BARE}")), Some(BARE.len()));
        for other in
            [OURS, "HTTP/1.1 204 No Content\r\n\r\n", "{\"text\": \"HTTP/1.1 400 \"}", "\r\n\r\n", "", &BARE[1..]]
        {
            assert_eq!(length(other), None, "{other}");
        }
        assert_eq!(length(&format!("{BARE}{OURS}")), None);
    }

    #[tokio::test]
    async fn the_words_go_out_whole_however_little_the_client_takes_at_once() {
        let (client, server) = tokio::io::duplex(7);
        let mut server = Explained::new(server);
        let writing = tokio::spawn(async move {
            let both = format!("{OURS}{BARE}");
            server.write_all(both.as_bytes()).await.unwrap();
        });
        let mut client = client;
        let mut read = String::new();
        client.read_to_string(&mut read).await.unwrap();
        writing.await.unwrap();
        let (first, second) = read.split_at(OURS.len());
        assert_eq!(first, OURS);
        assert!(second.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{second}");
        assert!(second.contains("urn:frontdesk:problem:malformed-request"), "{second}");
    }
}
