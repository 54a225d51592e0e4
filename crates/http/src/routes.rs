//! Which path is answered by what.

use std::{str::FromStr, sync::Arc};

use axum::{
    Router,
    extract::{RawPathParams, rejection::RawPathParamsRejection},
    middleware,
    routing::{delete, get, post},
};
use frontdesk_engine::Desk;
use frontdesk_model::BadId;

use crate::{
    HttpOptions, Limits, MountedChannel, answer,
    auth::Tokens,
    conversations, dead_letters, health, mount,
    problem::{Problem, ProblemKind},
};

/// What every handler works with.
pub(crate) struct Api {
    pub(crate) desk: Desk,
    pub(crate) tokens: Tokens,
    pub(crate) limits: Limits,
}

pub(crate) type SharedApi = Arc<Api>;

/// Everything that is answered: the API, health, and the channels' own routes.
///
/// # Panics
/// A channel brings a path that cannot be mounted, or the same one twice for one method: a mistake in its code.
pub fn router(desk: Desk, channels: Vec<MountedChannel>, options: HttpOptions) -> Router {
    let bounds = answer::Bounds { request_time: options.limits.request_time };
    let api = Arc::new(Api { desk, tokens: Tokens::new(options.tokens), limits: options.limits });
    let fixed = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/conversations", get(conversations::list))
        .route("/v1/conversations/{id}", get(conversations::one).patch(conversations::change))
        .route("/v1/conversations/{id}/messages", get(conversations::messages).post(conversations::reply))
        .route("/v1/conversations/{id}/events", get(conversations::events))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/{id}", delete(dead_letters::drop_one))
        .route("/v1/dead-letters/{id}/replay", post(dead_letters::replay));
    channels
        .into_iter()
        .fold(fixed, |router, mounted| mount::channel(router, &api, mounted))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(bounds, answer::around))
        .with_state(api)
}

/// What stands in a path's places; an error where it is not even text.
pub(crate) type PathParams = Result<RawPathParams, RawPathParamsRejection>;

/// The id in a path. What does not have the form of one names nothing.
pub(crate) fn path_id<T: FromStr<Err = BadId>>(path: &PathParams) -> Result<T, Problem> {
    let text = path.as_ref().ok().and_then(|path| path.iter().next()).map(|(_, text)| text).unwrap_or_default();
    text.parse().map_err(|error: BadId| Problem::new(ProblemKind::NotFound, format!("the id in the path is {error}")))
}

async fn unknown_path() -> Problem {
    Problem::new(
        ProblemKind::UnknownPath,
        "nothing is served under this path; the API is under /v1/conversations and /v1/dead-letters, a channel's routes under /v1/channels/{name}",
    )
}

async fn unknown_method() -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed, "use one of the methods that the Allow header names")
}
