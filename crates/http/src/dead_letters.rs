//! `/v1/dead-letters`: what was given up, to be tried anew or dropped.

use axum::{extract::State, response::Response};
use frontdesk_engine::DeadLetterView;
use frontdesk_model::DeadLetterId;
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;

use crate::{
    Scope,
    body::{ListView, json},
    problem::{Problem, ProblemKind},
    query,
    routes::{Api, PathParams, SharedApi, path_id},
};

/// `GET /v1/dead-letters`
pub(crate) async fn list(State(api): State<SharedApi>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let access = api.caller(&headers, &[Scope::Admin])?;
    let page = query::of_a_list(uri.query(), &[], |_, _| Ok(()))?;
    let found = api.desk.dead_letters(page).await?;
    // A page of a token that is held to channels may be short, or empty with a page after it.
    let shown = found.data.iter().filter(|letter| access.sees(&letter.channel));
    let data = shown.map(DeadLetterView::from).collect();
    Ok(json(StatusCode::OK, &ListView { data, next: found.next }))
}

#[derive(Serialize)]
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
