//! Bodies, read whole and within bounds, and answers in JSON.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use serde::Serialize;

use crate::problem::{Problem, ProblemKind};

/// Reads a body of at most `max_bytes` that arrives within `within`. Memory is taken as bytes arrive, not as announced.
pub(crate) async fn read(body: Body, max_bytes: usize, within: Duration) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    let slow = || {
        let seconds = within.as_secs_f32();
        Problem::new(ProblemKind::BodyTooSlow, format!("the whole body must arrive within {seconds} s; send it again"))
    };
    tokio::time::timeout(within, collect(body, max_bytes)).await.map_err(|_| slow())?
}

async fn collect(mut body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::new(
                ProblemKind::BodyIncomplete,
                "the body broke off or its framing is wrong; send it again",
            ));
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        // Nearly every body comes in one piece, which is passed on as it is.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

fn too_large(max_bytes: usize) -> Problem {
    Problem::new(ProblemKind::BodyTooLarge, format!("at most {max_bytes} bytes are read here; send less"))
}

/// Refuses a body that is packed. Nothing is ever unpacked here, so nothing can swell.
pub(crate) fn must_be_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    let detail = "send the body as it is, without a Content-Encoding";
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
}

/// Refuses a body that does not say it is JSON as it stands.
pub(crate) fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    must_be_plain(headers)?;
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        let detail = "send JSON, and say so: Content-Type: application/json";
        Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        // Every form that is answered with is made of texts, numbers and lists.
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            axum::response::IntoResponse::into_response(internal())
        }
    }
}

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct ListView<T> {
    pub(crate) data: Vec<T>,
    pub(crate) next: Option<String>,
}

pub(crate) fn internal() -> Problem {
    Problem::new(ProblemKind::Internal, "this is a mistake in Frontdesk, not in the request; its log says more")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;

    /// A body in pieces, of a length that is not announced.
    struct Pieces(std::slice::Iter<'static, &'static str>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }

    async fn read_pieces(pieces: &'static [&'static str], max_bytes: usize) -> Result<Bytes, Problem> {
        read(Body::new(Pieces(pieces.iter())), max_bytes, Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn pieces_are_put_together_up_to_the_bound_and_not_beyond() {
        assert_eq!(read_pieces(&[], 0).await.unwrap(), "");
        assert_eq!(read_pieces(&["abc"], 3).await.unwrap(), "abc");
        assert_eq!(read_pieces(&["a", "", "b", "c"], 3).await.unwrap(), "abc");
        assert!(read_pieces(&["abcd"], 3).await.is_err());
        assert!(read_pieces(&["a", "b", "c", "d"], 3).await.is_err());
    }

    #[test]
    fn only_plain_json_is_taken_for_json() {
        let headers = |pairs: &[(header::HeaderName, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
        };
        assert!(must_be_json(&headers(&[(header::CONTENT_TYPE, "application/json")])).is_ok());
        assert!(must_be_json(&headers(&[(header::CONTENT_TYPE, "Application/JSON; charset=utf-8")])).is_ok());
        assert!(must_be_json(&headers(&[])).is_err());
        assert!(must_be_json(&headers(&[(header::CONTENT_TYPE, "application/x-www-form-urlencoded")])).is_err());
        let packed = [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_ENCODING, "gzip")];
        assert!(must_be_json(&headers(&packed)).is_err());
    }
}
