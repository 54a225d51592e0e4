//! `/v1/conversations`: reading, replying, changing.

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use frontdesk_engine::{BadReply, ConversationView, DeskError, EventView, MessageView, Repeat, Speaker, parse_reply};
use frontdesk_model::{
    Attention, ChannelName, Conversation, ConversationFilter, ConversationId, EventId, Page, Status,
};
use http::{HeaderMap, StatusCode, Uri};
use sha2::{Digest, Sha256};

use crate::{
    Scope,
    auth::{self, Access, Shown},
    body::{self, ListView, json},
    patch,
    problem::{Problem, ProblemKind},
    query,
    routes::{Api, PathParams, SharedApi, path_id},
};

/// The largest reply or change, in bytes.
const MAX_BODY: usize = 1024 * 1024;

const READERS: &[Scope] = &[Scope::Agent, Scope::Desk];
const CHANGERS: &[Scope] = &[Scope::Desk];

/// `GET /v1/conversations`
pub(crate) async fn list(State(api): State<SharedApi>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let access = api.caller(&headers, READERS)?;
    let mut filter = ConversationFilter::default();
    let mut wanted = None;
    let page = query::of_a_list(uri.query(), &["status", "channel", "attention"], |key, value| {
        match key {
            "status" => filter.status = Some(read_status(value)?),
            "attention" => filter.attention = Some(read_attention(value)?),
            _ => wanted = Some(read_channel(value)?),
        }
        Ok(())
    })?;
    let found = match visible(access, wanted) {
        Visible::All => api.desk.conversations(filter, page).await?,
        // A store takes no channels for all channels.
        Visible::Only(channels) if channels.is_empty() => Page { data: Vec::new(), next: None },
        Visible::Only(channels) => api.desk.conversations(ConversationFilter { channels, ..filter }, page).await?,
    };
    let data = found.data.iter().map(ConversationView::from).collect();
    Ok(json(StatusCode::OK, &ListView { data, next: found.next }))
}

/// `GET /v1/conversations/{id}`
pub(crate) async fn one(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = api.caller(&headers, READERS)?;
    query::none(uri.query())?;
    let conversation = seen(&api, access, path_id(&path)?).await?;
    Ok(json(StatusCode::OK, &ConversationView::from(&conversation)))
}

/// `PATCH /v1/conversations/{id}`
pub(crate) async fn change(
    State(api): State<SharedApi>,
    path: PathParams,
    request: Request,
) -> Result<Response, Problem> {
    let access = api.caller(request.headers(), CHANGERS)?;
    query::none(request.uri().query())?;
    let id = path_id(&path)?;
    body::must_be_json(request.headers())?;
    let body = body::read(request.into_body(), MAX_BODY, api.limits.body_time).await?;
    let change = patch::read(&body)?;
    guard(&api, access, id).await?;
    let conversation = api.desk.update(id, change, &access.teammate()).await?;
    Ok(json(StatusCode::OK, &ConversationView::from(&conversation)))
}

/// `GET /v1/conversations/{id}/messages`
pub(crate) async fn messages(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = api.caller(&headers, READERS)?;
    let page = query::of_a_list(uri.query(), &[], |_, _| Ok(()))?;
    let id = path_id(&path)?;
    guard(&api, access, id).await?;
    let found = api.desk.messages(id, page).await?;
    let data = found.data.iter().map(MessageView::from).collect();
    Ok(json(StatusCode::OK, &ListView { data, next: found.next }))
}

/// `GET /v1/conversations/{id}/events`
pub(crate) async fn events(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = api.caller(&headers, READERS)?;
    let page = query::of_a_list(uri.query(), &[], |_, _| Ok(()))?;
    let id = path_id(&path)?;
    guard(&api, access, id).await?;
    let found = api.desk.events(id, page).await?;
    let data = found.data.iter().map(EventView::from).collect();
    Ok(json(StatusCode::OK, &ListView { data, next: found.next }))
}

/// `POST /v1/conversations/{id}/messages`
pub(crate) async fn reply(
    State(api): State<SharedApi>,
    path: PathParams,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let (id, speaker, event) = replier(&api, &path, &head.headers).await?;
    query::none(head.uri.query())?;
    if head.headers.contains_key("idempotency-key") {
        // Ignoring it would let a repeat say everything twice, against the sender's trust.
        return Err(invalid(
            "Idempotency-Key: not understood here yet; leave it out and read the messages before a repeat",
        ));
    }
    body::must_be_json(&head.headers)?;
    let (reply, fingerprint) = read_reply(body, &api).await?;
    // A reply token is made for one event, and one event has one reply: asked again after a crash, the agent says it again.
    let repeat = event.map(|event| Repeat { key: event.to_string(), by: "event".to_owned(), fingerprint });
    let replied = match api.desk.reply(id, reply, speaker, repeat).await {
        Err(DeskError::KeyReused) if event.is_some() => Err(DeskError::AlreadyAnswered),
        answer => answer,
    }?;
    Ok(json(StatusCode::ACCEPTED, &replied))
}

/// Who replies, known before any of the body is read.
async fn replier(
    api: &Api,
    path: &PathParams,
    headers: &HeaderMap,
) -> Result<(ConversationId, Speaker, Option<EventId>), Problem> {
    if let Shown::Bearer(token) = auth::shown(headers)
        && auth::is_reply_token(token)
        && api.tokens.find(token).is_none()
    {
        let id = path_id(path)?;
        if let Some(event) = api.desk.reply_token_opens(token, id) {
            return Ok((id, Speaker::Agent, Some(event)));
        }
        return Err(Problem::new(
            ProblemKind::Unauthorized,
            "this reply token is over or was made for another conversation; use the latest event's or a token of the configuration",
        ));
    }
    let access = api.caller(headers, READERS)?;
    let id = path_id(path)?;
    guard(api, access, id).await?;
    Ok((id, access.speaker(), None))
}

/// The reply, and what it says as a hash.
async fn read_reply(body: Body, api: &Api) -> Result<(frontdesk_engine::Reply, [u8; 32]), Problem> {
    let body = body::read(body, MAX_BODY, api.limits.body_time).await?;
    let fingerprint = Sha256::digest(&body).into();
    let reply = parse_reply(&body).map_err(|error| match error {
        BadReply::NotJson(_) => Problem::new(ProblemKind::InvalidJson, error.to_string()),
        BadReply::Form(detail) => invalid(detail),
    })?;
    if reply.messages.is_empty() && reply.actions.is_empty() {
        return Err(invalid("the reply says and does nothing; write text, markdown, messages or actions"));
    }
    Ok((reply, fingerprint))
}

/// The conversation, if the caller may see it.
async fn seen(api: &Api, access: &Access, id: ConversationId) -> Result<Conversation, Problem> {
    access.only_seen(api.desk.conversation(id).await?)
}

/// Like [`seen`], without reading the conversation for callers who may see all of them.
async fn guard(api: &Api, access: &Access, id: ConversationId) -> Result<(), Problem> {
    if access.channels().is_some() {
        seen(api, access, id).await?;
    }
    Ok(())
}

/// Which channels a list may show.
enum Visible {
    All,
    Only(Vec<ChannelName>),
}

fn visible(access: &Access, wanted: Option<ChannelName>) -> Visible {
    match (access.channels(), wanted) {
        (None, None) => Visible::All,
        (Some(channels), None) => Visible::Only(channels.to_vec()),
        (_, Some(wanted)) => Visible::Only(Some(wanted).filter(|wanted| access.sees(wanted)).into_iter().collect()),
    }
}

fn read_status(value: &str) -> Result<Status, Problem> {
    match value {
        "open" => Ok(Status::Open),
        "pending" => Ok(Status::Pending),
        "resolved" => Ok(Status::Resolved),
        _ => Err(query::not_one_of("status", &["open", "pending", "resolved"])),
    }
}

fn read_attention(value: &str) -> Result<Attention, Problem> {
    match value {
        "dead_letter" => Ok(Attention::DeadLetter),
        "handoff" => Ok(Attention::Handoff),
        "fallback" => Ok(Attention::Fallback),
        _ => Err(query::not_one_of("attention", &["dead_letter", "handoff", "fallback"])),
    }
}

fn read_channel(value: &str) -> Result<ChannelName, Problem> {
    ChannelName::new(value).map_err(|error| query::refused(format!("channel: {error}")))
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(ProblemKind::InvalidRequest, detail)
}
