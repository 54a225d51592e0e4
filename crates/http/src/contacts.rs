//! `/v1/contacts`: the people on the other side, read and written to.

use axum::{
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use frontdesk_engine::{ContactView, DeskError, Erasure, Replied};
use frontdesk_model::{ContactId, ConversationFilter, PageRequest};
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Scope,
    auth::Access,
    bodies,
    body::json,
    endpoint::{Endpoint, Who},
    problem::{Problem, ProblemKind},
    query, replies,
    routes::{Api, PathParams, SharedApi, path_id},
};

const READERS: &[Scope] = &[Scope::Agent, Scope::Desk];

pub(crate) fn endpoints() -> [Endpoint; 3] {
    [
        Endpoint::get("/v1/contacts/{id}", "getContact", one)
            .about("Reads a contact", "A token that is held to channels sees those who wrote on one of them.")
            .open_to(Who::Scopes(READERS))
            .answers::<ContactView<'_>>(StatusCode::OK, "The contact.")
            .fails(&[ProblemKind::NotFound, ProblemKind::Unavailable]),
        Endpoint::delete("/v1/contacts/{id}", "eraseContact", erase)
            .about(
                "Erases a contact",
                "Their conversations are emptied, what the other side said in them included; where others take part, what this \
                 contact wrote is. Of each message its place in the log is left (`message.deleted`). There is no way back.",
            )
            .open_to(Who::Scopes(&[Scope::Admin]))
            .answers_empty("Nothing of the contact is left.")
            .answers::<ErasingView>(StatusCode::ACCEPTED, "There is much; it goes on by itself, also after a restart.")
            .fails(&[ProblemKind::NotFound, ProblemKind::InvalidRequest, ProblemKind::Unavailable]),
        replies::described(
            Endpoint::post("/v1/contacts/{id}/messages", "replyToContact", reply)
                .about(
                    "Replies to a contact",
                    "Goes to the conversation with them that was last alive, on one of the token's channels if it is held to some; \
                     `conversation_id` in the answer says which.",
                )
                .open_to(Who::Scopes(READERS))
                .takes(bodies::reply())
                .answers::<Replied>(StatusCode::ACCEPTED, "It is stored; delivery follows."),
        ),
    ]
}

/// `GET /v1/contacts/{id}`
pub(crate) async fn one(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = api.caller(&headers, READERS)?;
    query::none(uri.query())?;
    let id = path_id(&path)?;
    guard(&api, access, id).await?;
    let contact = api.desk.contact(id).await?;
    Ok(json(StatusCode::OK, &ContactView::from(&contact)))
}

/// A contact whose erasure goes on.
#[derive(Serialize, ToSchema)]
struct ErasingView {
    id: ContactId,
}

/// `DELETE /v1/contacts/{id}`
pub(crate) async fn erase(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = api.caller(&headers, &[Scope::Admin])?;
    query::none(uri.query())?;
    if access.channels().is_some() {
        return Err(Problem::new(
            ProblemKind::Forbidden,
            "a contact is erased on all channels at once, so it takes an admin token that is not held to channels",
        ));
    }
    let id = path_id(&path)?;
    let erasure = api.desk.erase_contact(id).await?;
    tracing::info!(contact = %id, by = %access.by(), "a contact is erased");
    Ok(match erasure {
        Erasure::Done => StatusCode::NO_CONTENT.into_response(),
        Erasure::GoesOn => json(StatusCode::ACCEPTED, &ErasingView { id }),
    })
}

/// `POST /v1/contacts/{id}/messages`
pub(crate) async fn reply(
    State(api): State<SharedApi>,
    path: PathParams,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let access = api.caller(&head.headers, READERS)?;
    query::none(head.uri.query())?;
    let id: ContactId = path_id(&path)?;
    // A store takes no channels for all channels.
    if access.channels().is_some_and(<[_]>::is_empty) {
        return Err(nobody());
    }
    let said = replies::read(&api, &head, body, &access.by()).await?;
    let speaker = said.speaker(access)?;
    let replied = api.desk.reply_to_contact(id, said.reply, speaker, said.repeat, access.channels()).await?;
    Ok(replies::answer(&replied))
}

/// A contact that has written on none of the caller's channels does not exist for them.
async fn guard(api: &Api, access: &Access, id: ContactId) -> Result<(), Problem> {
    let Some(channels) = access.channels() else { return Ok(()) };
    if channels.is_empty() {
        return Err(nobody());
    }
    let filter = ConversationFilter { contact: Some(id), channels: channels.to_vec(), ..ConversationFilter::default() };
    let found = api.desk.conversations(filter, PageRequest { limit: 1, page: None }).await?;
    if found.data.is_empty() { Err(nobody()) } else { Ok(()) }
}

fn nobody() -> Problem {
    DeskError::NotFound("contact").into()
}
