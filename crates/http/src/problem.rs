//! Errors as RFC 9457 (`application/problem+json`) shows them.
//!
//! `type` is `urn:frontdesk:problem:` and a slug that does not change; [`ProblemKind`] lists the ones of this interface. The
//! channels' own routes add theirs in the same form. `title` belongs to the slug; `detail` says what was wrong this time and
//! what to do about it, and never repeats a secret.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use frontdesk_engine::DeskError;
use frontdesk_model::{HttpProblem, Version};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

const MEDIA_TYPE: &str = "application/problem+json";
/// What a problem's `type` starts with.
pub(crate) const TYPE_PREFIX: &str = "urn:frontdesk:problem:";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $slug:literal, $status:ident, $title:literal;)*) => {
        /// Every kind of error that this interface answers with by itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ProblemKind {
            $($(#[$doc])* $name,)*
        }

        impl ProblemKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The last piece of `type`. Never changes.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)*
                }
            }

            /// The status it is answered with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            /// What it is, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

kinds! {
    /// 400: a body that has to be JSON is not; `detail` names line and column.
    InvalidJson = "invalid-json", BAD_REQUEST, "The body is not JSON";
    /// 400: what came is not HTTP; the connection is closed.
    MalformedRequest = "malformed-request", BAD_REQUEST, "This is not a request as HTTP knows it";
    /// 400: the body ended early or its framing is broken.
    BodyIncomplete = "body-incomplete", BAD_REQUEST, "The body did not arrive whole";
    /// 401: no bearer token, or one that opens nothing here.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid bearer token is needed";
    /// 403: the token is known, and not for this; `detail` names what is.
    Forbidden = "forbidden", FORBIDDEN, "This token may not do that";
    /// 404: no conversation or dead letter under this id, or none that the token may see.
    NotFound = "not-found", NOT_FOUND, "There is nothing under this id";
    /// 404: no such path.
    UnknownPath = "unknown-path", NOT_FOUND, "There is no such path";
    /// 404: no channel of this name.
    UnknownChannel = "unknown-channel", NOT_FOUND, "There is no such channel";
    /// 405: the path is there, for the methods that `Allow` names.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This path does not have that method";
    /// 408: the body took longer than the time it has; the connection is closed.
    BodyTooSlow = "body-too-slow", REQUEST_TIMEOUT, "The body took too long to arrive";
    /// 409: `if_version` is not the conversation's version; the member `version` is.
    VersionConflict = "version-conflict", CONFLICT, "The conversation has moved on";
    /// 409: teammates have taken the conversation over; the member `version` is its present one.
    TakenOver = "taken-over", CONFLICT, "Teammates have taken the conversation over";
    /// 413: the body is larger than `detail` says; the connection is closed.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// 415: the body is not of a media type that is understood here.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body's media type is not understood";
    /// 422: JSON of another form, or a contradiction to what is stored.
    InvalidRequest = "invalid-request", UNPROCESSABLE_ENTITY, "The request cannot be carried out as it is";
    /// 422: a query key that is not known here, or a value out of bounds.
    InvalidQuery = "invalid-query", UNPROCESSABLE_ENTITY, "The query is not understood";
    /// 422: the `Idempotency-Key` was used before for a request that said something else.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "This Idempotency-Key belongs to another request";
    /// 429: this address asks for too much at once; come again after `Retry-After`.
    TooManyRequests = "too-many-requests", TOO_MANY_REQUESTS, "Too many requests at once";
    /// 429: the token has as many streams open as it may; close one.
    TooManyStreams = "too-many-streams", TOO_MANY_REQUESTS, "Too many streams at once";
    /// 431: request line and headers are too large; the connection is closed.
    HeadTooLarge = "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too large";
    /// 500: a mistake of ours; the log knows more.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side";
    /// 503: nothing new is taken at the moment; come again after `Retry-After`.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Nothing new is taken at the moment";
    /// 503: the request took too long; it may have been carried out.
    TookTooLong = "took-too-long", SERVICE_UNAVAILABLE, "The request took too long";
    /// 503, of `/readyz` alone: the daemon should not be sent work now.
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "Not ready";
}

/// One error on its way out.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: Cow<'static, str>,
    version: Option<Version>,
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), version: None, retry_after: None }
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// All bytes of an answer after which the connection ends.
    pub(crate) fn into_last_answer(self) -> Vec<u8> {
        let status = self.kind.status();
        let body = self.form().bytes();
        let head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {MEDIA_TYPE}\r\nx-content-type-options: nosniff\r\n\
             cache-control: no-store\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    fn form(&self) -> Form<'_> {
        Form {
            kind: format!("{TYPE_PREFIX}{}", self.kind.slug()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            version: self.version,
        }
    }

    fn at_version(self, version: Version) -> Self {
        Self { version: Some(version), ..self }
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        let words = error.to_string();
        match error {
            DeskError::NotFound(what) => {
                let mend = match what {
                    "conversation" => "; GET /v1/conversations lists those that there are",
                    "contact" => "; what a contact wrote has their id in author",
                    "dead letter" => "; GET /v1/dead-letters lists those that there are",
                    "attachment" => "; a message names its attachments",
                    _ => "",
                };
                Self::new(ProblemKind::NotFound, format!("{words}{mend}"))
            }
            DeskError::VersionConflict { version } => {
                let mend = format!("{words}; read what is new, then repeat with that version or without if_version");
                Self::new(ProblemKind::VersionConflict, mend).at_version(version)
            }
            DeskError::TakenOver { version } => Self::new(ProblemKind::TakenOver, words).at_version(version),
            DeskError::KeyReused | DeskError::AlreadyAnswered => Self::new(ProblemKind::IdempotencyKeyReused, words),
            DeskError::Invalid(_) => Self::new(ProblemKind::InvalidRequest, words),
            DeskError::Unavailable { retry_after, .. } => {
                Self::new(ProblemKind::Unavailable, words).retry_after(retry_after)
            }
        }
    }
}

#[derive(Serialize)]
struct Form<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
}

impl Form<'_> {
    fn bytes(&self) -> Vec<u8> {
        // Texts and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn answer(&self, status: StatusCode) -> Response {
        let mut response = Response::new(Body::from(self.bytes()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"frontdesk\""));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let mut response = self.form().answer(status);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // Here some of the request is still on its way and will not be read.
        if matches!(
            self.kind,
            ProblemKind::BodyTooLarge
                | ProblemKind::BodyTooSlow
                | ProblemKind::BodyIncomplete
                | ProblemKind::TookTooLong
        ) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A problem that a channel's own route answers with.
pub(crate) fn of_a_channel(problem: &HttpProblem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let form = Form {
        kind: format!("{TYPE_PREFIX}{}", problem.slug),
        title: problem.title,
        status: status.as_u16(),
        detail: &problem.detail,
        version: None,
    };
    let mut response = form.answer(status);
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
