//! `/v1/attachments`: files handed in, and read.
//!
//! What is read was written by a stranger. So nothing of it runs here: its type is what its bytes show, browsers are told not to guess
//! another, only pictures may be shown in place, and whatever is opened all the same is in a sandbox without scripts.

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use frontdesk_engine::{FilesError, Incoming, Readable, Uploaded, is_safe_inline};
use frontdesk_model::AttachmentId;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::{
    Scope, body,
    endpoint::{Endpoint, Who},
    problem::{Problem, ProblemKind},
    query,
    routes::{Api, PathParams, SharedApi, path_id},
};

const USERS: &[Scope] = &[Scope::Agent, Scope::Desk];
/// Read from disk in one go.
const PIECE: usize = 64 * 1024;
/// The longest name that is looked at, in bytes.
const MAX_NAME: usize = 1024;
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

pub(crate) fn endpoints() -> [Endpoint; 2] {
    [
        Endpoint::post("/v1/attachments", "uploadAttachment", upload)
            .about(
                "Hands in a file",
                "The body is the file as it is, of any media type. A reply uses it by its `id` for 24 hours; what no message uses by \
                 then is forgotten. Its type is what its bytes show, whatever `Content-Type` says.",
            )
            .open_to(Who::Scopes(USERS))
            .query(
                "name",
                "What it is called; of a path the last piece counts.",
                json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME}),
            )
            .takes_bytes("The file.")
            .answers::<Uploaded>(StatusCode::CREATED, "It is kept.")
            .fails(&[ProblemKind::InvalidQuery, ProblemKind::Unavailable]),
        Endpoint::get("/v1/attachments/{id}", "getAttachment", one)
            .about(
                "Reads a file",
                "With a token, or with the query of the signed address that events and deliveries carry. Everything but a plain picture is \
                 offered as a download.",
            )
            .open_to(Who::ScopesOrSignedAddress(USERS))
            .query("expires", "Of a signed address: until when it opens, in seconds since 1970.", json!({"type": "string"}))
            .query("key", "Of a signed address: which key signed it.", json!({"type": "string"}))
            .query("signature", "Of a signed address.", json!({"type": "string"}))
            .answers_with(
                StatusCode::OK,
                "Its bytes, under the media type that they show.",
                "*/*",
                Some(json!({"type": "string", "format": "binary"})),
            )
            .with_header("Content-Disposition", "`inline` for a plain picture, else `attachment`; with its name.", json!({"type": "string"}))
            .fails(&[ProblemKind::NotFound, ProblemKind::Unavailable]),
    ]
}

/// `POST /v1/attachments`
async fn upload(State(api): State<SharedApi>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let access = api.caller(&head.headers, USERS)?;
    let name = query::name(head.uri.query(), MAX_NAME)?;
    body::must_be_plain(&head.headers)?;
    let mut incoming = api.desk.begin_upload().await?;
    receive(&api, body, &mut incoming).await?;
    if incoming.size() == 0 {
        return Err(Problem::new(ProblemKind::InvalidRequest, "the body is empty; send the file's bytes as the body"));
    }
    let uploaded = api.desk.finish_upload(incoming, name.as_deref(), &access.by()).await?;
    Ok(body::json(StatusCode::CREATED, &uploaded))
}

/// As it comes: none of it is held longer than it takes to write it down.
async fn receive(api: &Api, mut body: Body, incoming: &mut Incoming) -> Result<(), Problem> {
    let most = incoming.max_bytes();
    if body.size_hint().lower() > most {
        return Err(too_large(most));
    }
    loop {
        let frame = tokio::time::timeout(api.limits.body_time, body.frame()).await.map_err(|_| {
            let seconds = api.limits.body_time.as_secs_f32();
            Problem::new(ProblemKind::BodyTooSlow, format!("nothing of the body came for {seconds} s; send it again"))
        })?;
        let Some(frame) = frame else { return Ok(()) };
        let Ok(frame) = frame else {
            return Err(Problem::new(
                ProblemKind::BodyIncomplete,
                "the body broke off or its framing is wrong; send it again",
            ));
        };
        let Ok(data) = frame.into_data() else { continue };
        incoming.write(&data).await.map_err(|error| match error {
            FilesError::TooLarge(most) => too_large(most),
            error => Problem::new(ProblemKind::Unavailable, error.to_string()).retry_after(30),
        })?;
    }
}

fn too_large(most: u64) -> Problem {
    let detail = format!("at most {most} bytes are taken; send a smaller file, or set max_bytes in [attachments]");
    Problem::new(ProblemKind::BodyTooLarge, detail)
}

/// `GET /v1/attachments/{id}`
async fn one(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let readable = readable(&api, &path, &uri, &headers).await?;
    let (file, size) = api.desk.attachment_bytes(&readable.stored).await?;
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let media_type = &readable.stored.media_type;
    let headers = response.headers_mut();
    let plain = |text: &str| HeaderValue::from_str(text).ok();
    let fields: [(HeaderName, Option<HeaderValue>); 4] = [
        (header::CONTENT_TYPE, plain(media_type)),
        (header::CONTENT_LENGTH, Some(HeaderValue::from(size))),
        (header::CONTENT_DISPOSITION, plain(&disposition(&readable.name, media_type))),
        (header::CONTENT_SECURITY_POLICY, Some(POLICY)),
    ];
    for (name, value) in fields {
        headers.extend(value.map(|value| (name, value)));
    }
    Ok(response)
}

/// With a signed address nothing else is asked; with a token what belongs to another channel does not exist.
async fn readable(api: &Api, path: &PathParams, uri: &Uri, headers: &HeaderMap) -> Result<Readable, Problem> {
    let none = || Problem::from(frontdesk_engine::DeskError::NotFound("attachment"));
    if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
        let id: AttachmentId = path_id(path)?;
        if !api.desk.attachment_link_opens(id, query) {
            return Err(Problem::new(
                ProblemKind::Unauthorized,
                "this signed address is over or was changed; take a fresh one from a newer event, or read the attachment with a token \
                 and without the query",
            ));
        }
        return Ok(api.desk.attachment(id).await?);
    }
    let access = api.caller(headers, USERS)?;
    let readable = api.desk.attachment(path_id(path)?).await?;
    let seen = match (&readable.channel, &readable.by) {
        (Some(channel), _) => access.sees(channel),
        (None, by) => access.channels().is_none() || by.as_deref() == Some(access.by().as_str()),
    };
    if seen { Ok(readable) } else { Err(none()) }
}

/// RFC 6266: the name twice, once for those who know ASCII only.
fn disposition(name: &str, media_type: &str) -> String {
    let shown = if is_safe_inline(media_type) { "inline" } else { "attachment" };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ' ');
    let ascii: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    format!("{shown}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_inside_its_header() {
        let shown = disposition("a\"b\r\nX: y\u{e9} c.png", "image/png");
        assert_eq!(shown, "inline; filename=\"a_b__X_ y_ c.png\"; filename*=UTF-8''a%22b%0D%0AX%3A%20y%C3%A9%20c.png");
        assert!(disposition("page.png", "text/html").starts_with("attachment; "));
    }
}
