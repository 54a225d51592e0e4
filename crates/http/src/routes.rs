//! Which path is answered by what.

use std::{collections::BTreeSet, ops::Deref, str::FromStr, sync::Arc};

use axum::{
    Router,
    extract::{RawPathParams, State, rejection::RawPathParamsRejection},
    middleware,
    routing::get,
};
use bytes::Bytes;
use frontdesk_engine::Desk;
use frontdesk_model::{BadId, ChannelName, RouteDocument};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::json;

use crate::{
    HttpOptions, Limits, MountedChannel, Network, Scope, answer, attachments,
    auth::{Access, Shown, Tokens, shown},
    changes, contacts, conversations, dead_letters,
    endpoint::Endpoint,
    front::{Door, House, OPERATOR},
    health, metrics, mount, openapi,
    problem::{Problem, ProblemKind},
    status,
};

/// What the routes behind all doors share.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) desk: Desk,
    pub(crate) house: Arc<House>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Option<metrics::Page>,
    pub(crate) trusted: Arc<[Network]>,
    /// The channels whose routes are mounted.
    pub(crate) mounted: Arc<BTreeSet<ChannelName>>,
    /// All of it, described.
    pub(crate) description: Bytes,
}

impl Base {
    pub(crate) fn new(desk: Desk, house: Arc<House>, channels: &[MountedChannel], options: HttpOptions) -> Self {
        Self {
            desk,
            house,
            tokens: Arc::new(Tokens::new(options.tokens)),
            limits: options.limits,
            metrics: options.metrics,
            trusted: options.trusted_proxies.into(),
            mounted: Arc::new(channels.iter().map(|channel| channel.name.clone()).collect()),
            description: openapi::describe(&endpoints(), &described(channels)).into(),
        }
    }
}

fn described(channels: &[MountedChannel]) -> Vec<RouteDocument> {
    channels.iter().flat_map(|channel| channel.routes.iter().map(|route| route.document.clone())).collect()
}

/// What every handler works with.
pub(crate) struct Api {
    base: Base,
    /// Who asks without showing a token, where that is somebody.
    tokenless: Option<Access>,
}

pub(crate) type SharedApi = Arc<Api>;

impl Deref for Api {
    type Target = Base;

    fn deref(&self) -> &Base {
        &self.base
    }
}

impl Api {
    /// The caller, who must have one of these scopes.
    pub(crate) fn caller(&self, headers: &HeaderMap, scopes: &[Scope]) -> Result<&Access, Problem> {
        match (&self.tokenless, shown(headers)) {
            (Some(access), Shown::Nothing) => access.needs(scopes),
            _ => self.tokens.caller(headers, scopes),
        }
    }

    /// Who asks without showing a token, where that is somebody.
    pub(crate) fn tokenless(&self) -> Option<&Access> {
        self.tokenless.as_ref()
    }
}

/// Every endpoint of the API, as it is served and described.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let description = Endpoint::get("/openapi.json", "describe", openapi::page)
        .about("This description", "What is served, as OpenAPI 3.1.")
        .answers_with(StatusCode::OK, "An OpenAPI document.", "application/json", Some(json!({"type": "object"})));
    health::endpoints()
        .into_iter()
        .chain([description])
        .chain(conversations::endpoints())
        .chain(contacts::endpoints())
        .chain(attachments::endpoints())
        .chain(changes::endpoints())
        .chain(dead_letters::endpoints())
        .chain(status::endpoints())
        .collect()
}

/// The API, health, and the channels' own routes.
pub(crate) fn api(base: &Base, door: Door, channels: Vec<MountedChannel>) -> Router {
    let tokenless = (door == Door::Control).then(|| Access::everything(OPERATOR));
    let api = Arc::new(Api { base: base.clone(), tokenless });
    let fixed = endpoints().into_iter().fold(Router::new(), |routes, endpoint| endpoint.mount(routes));
    let all = channels.into_iter().fold(fixed, |router, mounted| mount::channel(router, &api, mounted));
    finished(all.fallback(unknown_path), api)
}

/// What machines that watch may see.
pub(crate) fn watching(base: &Base) -> Router {
    let api = Arc::new(Api { base: base.clone(), tokenless: None });
    let mut routes = health::endpoints().into_iter().fold(Router::new(), |routes, endpoint| endpoint.mount(routes));
    routes = routes.route("/v1/status", get(status::watched));
    if base.metrics.is_some() {
        routes = routes.route("/metrics", get(metrics::page));
    }
    finished(routes.fallback(unwatched_path), api)
}

fn finished(routes: Router<SharedApi>, api: SharedApi) -> Router {
    let bounds = answer::Bounds { request_time: api.limits.request_time, trusted: Arc::clone(&api.trusted) };
    routes
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(Arc::new(bounds), answer::around))
        .with_state(api)
}

/// What stands in a path's places; an error where it is not even text.
pub(crate) type PathParams = Result<RawPathParams, RawPathParamsRejection>;

/// The id in a path. What does not have the form of one names nothing.
pub(crate) fn path_id<T: FromStr<Err = BadId>>(path: &PathParams) -> Result<T, Problem> {
    let text = path.as_ref().ok().and_then(|path| path.iter().next()).map(|(_, text)| text).unwrap_or_default();
    text.parse().map_err(|error: BadId| Problem::new(ProblemKind::NotFound, format!("the id in the path is {error}")))
}

async fn unknown_path(State(api): State<SharedApi>, uri: Uri) -> Problem {
    let channel = uri.path().strip_prefix("/v1/channels/").and_then(|rest| rest.split('/').next());
    if let Some(channel) = channel.filter(|channel| !channel.is_empty())
        && !api.mounted.iter().any(|known| known.as_str() == channel)
    {
        return unknown_channel();
    }
    Problem::new(ProblemKind::UnknownPath, "nothing is served under this path; /openapi.json says what is, and how")
}

/// The name is not repeated, and no other is told: which channels there are is for those who run them.
pub(crate) fn unknown_channel() -> Problem {
    Problem::new(
        ProblemKind::UnknownChannel,
        "there is no channel of the name in the path; use the name of one of the [channels] of the configuration",
    )
}

async fn unwatched_path() -> Problem {
    Problem::new(
        ProblemKind::UnknownPath,
        "this listener is for watching: /metrics, /v1/status, /healthz and /readyz; the API is on the public listener",
    )
}

async fn unknown_method() -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed, "use one of the methods that the Allow header names")
}
