//! `/v1/dead-letters`: what was given up, to be tried anew or dropped.

use axum::{extract::State, response::Response};
use frontdesk_engine::DeadLetterView;
use frontdesk_model::DeadLetterId;
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Scope,
    body::{ListView, json},
    endpoint::{Endpoint, Who},
    problem::{Problem, ProblemKind},
    query,
    routes::{Api, PathParams, SharedApi, path_id},
};

const ADMINS: Who = Who::Scopes(&[Scope::Admin]);

pub(crate) fn endpoints() -> [Endpoint; 3] {
    [
        Endpoint::get("/v1/dead-letters", "listDeadLetters", list)
            .about(
                "Lists what was given up, newest first",
                "A token that is held to channels sees its own; its pages may be short.",
            )
            .open_to(ADMINS)
            .lists::<DeadLetterView<'_>>("A page of them.")
            .fails(&[ProblemKind::Unavailable]),
        Endpoint::post("/v1/dead-letters/{id}/replay", "replayDeadLetter", replay)
            .about(
                "Tries its work anew",
                "The event is posted to the agent once more; the parts of a message that are not out are sent.",
            )
            .open_to(ADMINS)
            .answers::<ReplayedView>(StatusCode::ACCEPTED, "It is tried.")
            .fails(&[
                ProblemKind::NotFound,
                ProblemKind::TakenOver,
                ProblemKind::InvalidRequest,
                ProblemKind::Unavailable,
            ]),
        Endpoint::delete("/v1/dead-letters/{id}", "dropDeadLetter", drop_one)
            .about("Gives its work up for good", "")
            .open_to(ADMINS)
            .answers_empty("It is gone.")
            .fails(&[ProblemKind::NotFound, ProblemKind::InvalidRequest, ProblemKind::Unavailable]),
    ]
}

/// `GET /v1/dead-letters`
pub(crate) async fn list(State(api): State<SharedApi>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let access = api.caller(&headers, &[Scope::Admin])?;
    let page = query::of_a_list(uri.query(), &[], |_, _| Ok(()))?;
    let found = api.desk.dead_letters(page).await.map_err(query::of_a_page)?;
    // A page of a token that is held to channels may be short, or empty with a page after it.
    let shown = found.data.iter().filter(|letter| access.sees(&letter.channel));
    let data = shown.map(DeadLetterView::from).collect();
    Ok(json(StatusCode::OK, &ListView { data, next: found.next }))
}

/// A dead letter whose work is tried anew.
#[derive(Serialize, ToSchema)]
struct ReplayedView {
    id: DeadLetterId,
}

/// `POST /v1/dead-letters/{id}/replay`
pub(crate) async fn replay(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = allowed(&api, &path, &uri, &headers)?;
    api.desk.replay(id).await?;
    Ok(json(StatusCode::ACCEPTED, &ReplayedView { id }))
}

/// `DELETE /v1/dead-letters/{id}`
pub(crate) async fn drop_one(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id = allowed(&api, &path, &uri, &headers)?;
    api.desk.drop_dead_letter(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn allowed(api: &Api, path: &PathParams, uri: &Uri, headers: &HeaderMap) -> Result<DeadLetterId, Problem> {
    let access = api.caller(headers, &[Scope::Admin])?;
    query::none(uri.query())?;
    if access.channels().is_some() {
        return Err(Problem::new(
            ProblemKind::Forbidden,
            "dead letters are replayed and dropped with an admin token that is not held to channels",
        ));
    }
    path_id(path)
}
