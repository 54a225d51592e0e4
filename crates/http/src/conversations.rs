//! `/v1/conversations`: reading, replying, changing.

use axum::{
    extract::{Request, State},
    response::Response,
};
use frontdesk_engine::{ConversationView, DeskError, EventView, MessageView, Repeat, Replied, Speaker};
use frontdesk_model::{
    Attention, BadId, ChannelName, ContactId, Conversation, ConversationFilter, ConversationId, EventId, Owner, Page,
    Status,
};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use crate::{
    Scope,
    auth::{self, Access, Shown},
    bodies,
    body::{self, ListView, json as answer},
    endpoint::{Endpoint, Who},
    patch,
    problem::{Problem, ProblemKind},
    query,
    replies::{self, Said},
    routes::{Api, PathParams, SharedApi, path_id},
};

/// The largest change, in bytes.
const MAX_BODY: usize = 64 * 1024;

const FILTERS: &[&str] = &["status", "channel", "owner", "assignee", "contact", "attention"];
const ATTENTIONS: &[&str] = &["dead_letter", "handoff", "fallback"];
const REPLY: &str = "Says something, or does something, or both, in one step: all of it is stored, or nothing. A message with `private` is a note for our side, which needs scope `desk`. A token with scope \
    `agent` and the reply token speak as the agent, who is refused once teammates have taken over; others speak as the \
    teammate of the token's name, and take over by it. With `if_version` it counts only if the customer has not written \
    meanwhile.";
const READERS: &[Scope] = &[Scope::Agent, Scope::Desk];
const CHANGERS: &[Scope] = &[Scope::Desk];

pub(crate) fn endpoints() -> [Endpoint; 6] {
    let readers = Who::Scopes(READERS);
    let one_of = |words: &[&str]| json!({"type": "string", "enum": words});
    [
        Endpoint::get("/v1/conversations", "listConversations", list)
            .about("Lists conversations, the latest first", "")
            .open_to(readers)
            .query("status", "Only of this status.", one_of(&["open", "pending", "resolved"]))
            .query("channel", "Only on this channel.", json!({"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}))
            .query("owner", "Only those that are answered by this side.", one_of(&["agent", "desk"]))
            .query("assignee", "Only those of this teammate.", json!({"type": "string", "minLength": 1}))
            .query("contact", "Only those with this contact.", json!({"type": "string", "pattern": "^cnt_"}))
            .query("attention", "Only those that the desk should look at for this reason.", one_of(ATTENTIONS))
            .lists::<ConversationView<'_>>("A page of them.")
            .fails(&[ProblemKind::Unavailable]),
        Endpoint::get("/v1/conversations/{id}", "getConversation", one)
            .about("Reads a conversation", "")
            .open_to(readers)
            .answers::<ConversationView<'_>>(StatusCode::OK, "The conversation.")
            .fails(&[ProblemKind::NotFound, ProblemKind::Unavailable]),
        Endpoint::patch("/v1/conversations/{id}", "changeConversation", change)
            .about(
                "Changes a conversation",
                "What is left out stays. With `if_version` nothing changes unless it is the present version.",
            )
            .open_to(Who::Scopes(CHANGERS))
            .takes(bodies::change())
            .answers::<ConversationView<'_>>(StatusCode::OK, "The conversation after it.")
            .fails(&[ProblemKind::NotFound, ProblemKind::VersionConflict, ProblemKind::Unavailable]),
        Endpoint::get("/v1/conversations/{id}/messages", "listMessages", messages)
            .about("Lists a conversation's messages, newest first", "")
            .open_to(readers)
            .lists::<MessageView<'_>>("A page of them; `next` is the page before.")
            .fails(&[ProblemKind::NotFound, ProblemKind::Unavailable]),
        Endpoint::get("/v1/conversations/{id}/events", "listEvents", events)
            .about("Lists a conversation's log in order", "")
            .open_to(readers)
            .lists::<EventView<'_>>("A page of it.")
            .fails(&[ProblemKind::NotFound, ProblemKind::Unavailable]),
        replies::described(
            Endpoint::post("/v1/conversations/{id}/messages", "reply", reply)
                .about("Replies", REPLY)
                .open_to(Who::ScopesOrReplyToken(READERS))
                .takes(bodies::reply())
                .answers::<Replied>(StatusCode::ACCEPTED, "It is stored; delivery follows."),
        ),
    ]
}

/// `GET /v1/conversations`
pub(crate) async fn list(State(api): State<SharedApi>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let access = api.caller(&headers, READERS)?;
    let mut filter = ConversationFilter::default();
    let mut wanted = None;
    let page = query::of_a_list(uri.query(), FILTERS, |key, value| {
        match key {
            "status" => filter.status = Some(read_status(value)?),
            "owner" => filter.owner = Some(read_owner(value)?),
            "assignee" => filter.assignee = Some(read_assignee(value)?),
            "contact" => filter.contact = Some(read_contact(value)?),
            "attention" => filter.attention = Some(read_attention(value)?),
            _ => wanted = Some(read_channel(value)?),
        }
        Ok(())
    })?;
    let found = match visible(access, wanted) {
        Visible::All => api.desk.conversations(filter, page).await.map_err(query::of_a_page)?,
        // A store takes no channels for all channels.
        Visible::Only(channels) if channels.is_empty() => Page { data: Vec::new(), next: None },
        Visible::Only(channels) => {
            api.desk.conversations(ConversationFilter { channels, ..filter }, page).await.map_err(query::of_a_page)?
        }
    };
    let data = found.data.iter().map(ConversationView::from).collect();
    Ok(answer(StatusCode::OK, &ListView { data, next: found.next }))
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
    Ok(answer(StatusCode::OK, &ConversationView::from(&conversation)))
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
    Ok(answer(StatusCode::OK, &ConversationView::from(&conversation)))
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
    let found = api.desk.messages(id, page).await.map_err(query::of_a_page)?;
    let data = found.data.iter().map(MessageView::from).collect();
    Ok(answer(StatusCode::OK, &ListView { data, next: found.next }))
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
    let found = api.desk.events(id, page).await.map_err(query::of_a_page)?;
    let data = found.data.iter().map(EventView::from).collect();
    Ok(answer(StatusCode::OK, &ListView { data, next: found.next }))
}

/// `POST /v1/conversations/{id}/messages`
pub(crate) async fn reply(
    State(api): State<SharedApi>,
    path: PathParams,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let (id, replier) = replier(&api, &path, &head.headers).await?;
    query::none(head.uri.query())?;
    let said = replies::read(&api, &head, body, &replier.by(id)).await?;
    let replied = match replier {
        Replier::Caller(access) => {
            let speaker = said.speaker(access)?;
            api.desk.reply(id, said.reply, speaker, said.repeat).await?
        }
        Replier::Event(_) if said.has_notes() => return Err(replies::no_notes()),
        Replier::Event(event) => reply_to_event(&api, id, event, said).await?,
    };
    Ok(replies::answer(&replied))
}

/// An event has one reply: asked again after a crash, the agent says it again. A further reply needs a key of its own.
async fn reply_to_event(api: &Api, id: ConversationId, event: EventId, said: Said) -> Result<Replied, DeskError> {
    let has_key = said.repeat.is_some();
    let repeat = said.repeat.unwrap_or_else(|| Repeat {
        key: event.to_string(),
        by: "event".to_owned(),
        fingerprint: said.digest,
    });
    match api.desk.reply(id, said.reply, Speaker::Agent, Some(repeat)).await {
        Err(DeskError::KeyReused) if !has_key => Err(DeskError::AlreadyAnswered),
        answer => answer,
    }
}

/// Who replies.
enum Replier<'a> {
    /// Somebody with a token of the configuration, or who needs none.
    Caller(&'a Access),
    /// The agent, with the reply token of this event.
    Event(EventId),
}

impl Replier<'_> {
    /// Names them among all.
    fn by(&self, conversation: ConversationId) -> String {
        match self {
            Self::Caller(access) => access.by(),
            Self::Event(_) => format!("reply:{conversation}"),
        }
    }
}

/// Who replies, known before any of the body is read.
async fn replier<'a>(
    api: &'a Api,
    path: &PathParams,
    headers: &HeaderMap,
) -> Result<(ConversationId, Replier<'a>), Problem> {
    if let Shown::Bearer(token) = auth::shown(headers)
        && auth::is_reply_token(token)
        && api.tokens.find(token).is_none()
    {
        let id = path_id(path)?;
        if let Some(event) = api.desk.reply_token_opens(token, id) {
            return Ok((id, Replier::Event(event)));
        }
        return Err(Problem::new(
            ProblemKind::Unauthorized,
            "this reply token is over or was made for another conversation; use the latest event's or a token of the configuration",
        ));
    }
    let access = api.caller(headers, READERS)?;
    let id = path_id(path)?;
    guard(api, access, id).await?;
    Ok((id, Replier::Caller(access)))
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
pub(crate) enum Visible {
    All,
    Only(Vec<ChannelName>),
}

pub(crate) fn visible(access: &Access, wanted: Option<ChannelName>) -> Visible {
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
        _ => Err(query::not_one_of("attention", ATTENTIONS)),
    }
}

fn read_owner(value: &str) -> Result<Owner, Problem> {
    match value {
        "agent" => Ok(Owner::Agent),
        "desk" => Ok(Owner::Desk),
        _ => Err(query::not_one_of("owner", &["agent", "desk"])),
    }
}

fn read_assignee(value: &str) -> Result<String, Problem> {
    match patch::assignee(value) {
        Some(name) => Ok(name),
        None => Err(query::refused(format!("assignee: {}", patch::ASSIGNEE_RULE))),
    }
}

fn read_contact(value: &str) -> Result<ContactId, Problem> {
    value.parse().map_err(|error: BadId| query::refused(format!("contact: {error}")))
}

pub(crate) fn read_channel(value: &str) -> Result<ChannelName, Problem> {
    ChannelName::new(value).map_err(|error| query::refused(format!("channel: {error}")))
}
