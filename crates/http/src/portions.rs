//! Large answers, handed to the connection piece by piece.
//!
//! The connection asks for the next piece when the client has taken what came before, so this is where it is known how
//! far an answer is: its source keeps the seat until the last piece is on its way.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, HttpBody},
    response::Response,
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::crowd::Seat;

/// The largest piece; an answer that is not larger is handed over at once.
const PIECE: usize = 64 * 1024;

/// The answer, whose seat is given back when it is taken.
pub(crate) fn keeping(response: Response, seat: Option<Seat>) -> Response {
    let large = response.body().size_hint().lower() > PIECE as u64;
    match seat {
        Some(seat) if large => response.map(|body| Body::new(Portions { body, rest: Bytes::new(), _seat: seat })),
        _ => response,
    }
}

struct Portions {
    body: Body,
    rest: Bytes,
    _seat: Seat,
}

impl HttpBody for Portions {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.size_hint().exact() {
            Some(exact) => SizeHint::with_exact(exact + self.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}
