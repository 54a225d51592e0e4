//! `GET /v1/status` and what an operator does about it: how everything is, whether what the store holds fits together, and going on
//! after a stop.

use axum::{
    extract::{RawPathParams, State},
    response::Response,
};
use frontdesk_engine::{CheckView, DeskError, StatusView};
use frontdesk_model::ChannelName;
use http::{HeaderMap, StatusCode, Uri};

use crate::{
    Scope,
    body::json,
    endpoint::{Endpoint, Who},
    problem::{Problem, ProblemKind},
    query,
    routes::{PathParams, SharedApi, unknown_channel},
};

const ADMINS: &[Scope] = &[Scope::Admin];

const STATUS: &str = "Channels, lanes, agent, store. `unwell` says in sentences what should be looked at, the worst first. The \
    administrators' listener answers it without a token.";

const CHECK: &str = "Looks at everything in the store, some of it with each request: go on with `page` until `next` is null. What it looks at \
    goes on changing; that is no flaw.";

pub(crate) fn endpoints() -> [Endpoint; 4] {
    [
        Endpoint::get("/v1/store/check", "checkStore", check)
            .about("Whether what the store holds fits together", CHECK)
            .open_to(Who::Scopes(ADMINS))
            .query(
                "page",
                "What the step before gave as `next`.",
                serde_json::json!({"type": "string", "minLength": 1, "maxLength": 512}),
            )
            .answers::<CheckView<'_>>(StatusCode::OK, "What this step found.")
            .fails(&[ProblemKind::InvalidQuery, ProblemKind::NotFound, ProblemKind::Unavailable]),
        Endpoint::get("/v1/status", "getStatus", status)
            .about("How everything is", STATUS)
            .open_to(Who::Scopes(ADMINS))
            .answers::<StatusView>(StatusCode::OK, "How everything is.")
            .fails(&[ProblemKind::Unavailable]),
        Endpoint::post("/v1/agent/resume", "resumeAgent", resume_agent)
            .about(
                "Sends events to the agent again",
                "After the agent said that it wants no more (410); while it is unwell, one try at once.",
            )
            .open_to(Who::Scopes(ADMINS))
            .answers_empty("Events go out again.")
            .fails(&[ProblemKind::NotFound, ProblemKind::Unavailable]),
        Endpoint::post("/v1/channels/{channel}/resume", "resumeChannel", resume_channel)
            .about(
                "Sends messages on a channel again",
                "After its far end said that it takes no more (410); while it is unwell, one try at once.",
            )
            .open_to(Who::Scopes(ADMINS))
            .answers_empty("Messages go out again.")
            .fails(&[ProblemKind::UnknownChannel, ProblemKind::Unavailable]),
    ]
}

/// `GET /v1/status`
async fn status(State(api): State<SharedApi>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    api.caller(&headers, ADMINS)?.needs_all_channels("the status shows all channels")?;
    query::none(uri.query())?;
    Ok(json(StatusCode::OK, &api.desk.status().await?))
}

/// The same for machines that watch.
pub(crate) async fn watched(State(api): State<SharedApi>) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &api.desk.status().await?))
}

/// `GET /v1/store/check`
async fn check(State(api): State<SharedApi>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    api.caller(&headers, ADMINS)?.needs_all_channels("the store has all channels")?;
    let mut page = None;
    query::words(uri.query(), &["page"], |_, value| {
        page = Some(value.to_owned());
        Ok(())
    })?;
    match api.desk.check(page).await.map_err(query::of_a_page)? {
        Some(looked) => Ok(json(StatusCode::OK, &CheckView::from(&looked))),
        None => Err(Problem::new(ProblemKind::NotFound, "a store of this kind cannot be checked")),
    }
}

/// `POST /v1/agent/resume`
async fn resume_agent(State(api): State<SharedApi>, uri: Uri, headers: HeaderMap) -> Result<StatusCode, Problem> {
    api.caller(&headers, ADMINS)?.needs_all_channels("the agent is there for all channels")?;
    query::none(uri.query())?;
    api.desk.resume_agent().await.map_err(|error| match error {
        DeskError::NotFound(_) => {
            Problem::new(ProblemKind::NotFound, "there is no agent in the configuration; add [agent] with its url")
        }
        other => other.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/channels/{channel}/resume`
async fn resume_channel(
    State(api): State<SharedApi>,
    path: PathParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let access = api.caller(&headers, ADMINS)?;
    query::none(uri.query())?;
    let name =
        path.as_ref().ok().and_then(of_a_channel).filter(|name| access.sees(name)).ok_or_else(unknown_channel)?;
    api.desk.resume_channel(&name).await.map_err(|error| match error {
        DeskError::NotFound(_) => unknown_channel(),
        other => other.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

fn of_a_channel(path: &RawPathParams) -> Option<ChannelName> {
    path.iter().next().and_then(|(_, name)| name.parse().ok())
}
