//! The channels' own routes, mounted under `/v1/channels/{channel}` without knowing what they do.
//!
//! What a route is handed: a body read whole within its bound, headers, and whether a token of ours came along that may hand
//! in messages on this channel. A wrong token, or one for something else, is answered here. The `Authorization` header of
//! a request with a token of ours is not handed on: a channel has no use for it.

use std::{str::FromStr, sync::Arc};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use frontdesk_model::{Bearer, ChannelName, Method, Route, RouteRequest, RouteResponse};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{
    MountedChannel, Scope,
    auth::{self, Shown},
    body::{self, json},
    problem::{self, Problem, ProblemKind},
    routes::SharedApi,
};

/// Adds every route of a channel.
pub(crate) fn channel(router: Router<SharedApi>, api: &SharedApi, mounted: MountedChannel) -> Router<SharedApi> {
    let name = mounted.name;
    mounted.routes.into_iter().fold(router, |router, route| {
        let path = format!("/v1/channels/{name}{}", route.document.path);
        let method = match route.document.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
        };
        let mount = Arc::new(Mount { api: Arc::clone(api), channel: name.clone(), route });
        router.route(&path, on(method, move |request: Request| async move { mount.answer(request).await }))
    })
}

struct Mount {
    api: SharedApi,
    channel: ChannelName,
    route: Route,
}

impl Mount {
    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        let bearer = self.bearer(request.headers())?;
        body::must_be_plain(request.headers())?;
        let (head, body) = request.into_parts();
        let body = body::read(body, self.route.max_body, self.api.limits.body_time).await?;
        let headers = copied(&head.headers, bearer);
        match self.route.handler.handle(RouteRequest { headers, body, bearer }).await {
            RouteResponse::Json { status, headers, body } => Ok(self.succeeded(status, headers, &body)),
            RouteResponse::Problem(problem) => Ok(problem::of_a_channel(&problem)),
        }
    }

    fn bearer(&self, headers: &HeaderMap) -> Result<Bearer, Problem> {
        let token = match auth::shown(headers) {
            Shown::Nothing if self.api.tokenless().is_some() => return Ok(Bearer::Ingest),
            Shown::Nothing => return Ok(Bearer::Absent),
            Shown::Broken => return Err(auth::wrong()),
            Shown::Bearer(token) => token,
        };
        let access = self.api.tokens.find(token).ok_or_else(auth::wrong)?.needs(&[Scope::Ingest])?;
        if !access.sees(&self.channel) {
            return Err(Problem::new(
                ProblemKind::Forbidden,
                "this token is held to other channels; use one whose channels name this one",
            ));
        }
        Ok(Bearer::Ingest)
    }

    fn succeeded(&self, status: u16, headers: Vec<(&'static str, String)>, value: &serde_json::Value) -> Response {
        let Ok(status) = StatusCode::from_u16(status) else {
            tracing::error!(channel = %self.channel, status, "a route answered with what is no HTTP status");
            return body::internal().into_response();
        };
        let mut response = json(status, value);
        for (name, value) in headers {
            match (HeaderName::from_str(name), HeaderValue::from_str(&value)) {
                (Ok(name), Ok(value)) => {
                    response.headers_mut().insert(name, value);
                }
                _ => tracing::warn!(channel = %self.channel, name, "a route's header cannot be sent and is left out"),
            }
        }
        response
    }
}

fn copied(headers: &HeaderMap, bearer: Bearer) -> Vec<(String, String)> {
    let is_ours = |name: &HeaderName| bearer == Bearer::Ingest && *name == header::AUTHORIZATION;
    let kept = headers.iter().filter(|(name, _)| !is_ours(name));
    kept.filter_map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    })
    .collect()
}
