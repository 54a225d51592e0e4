//! `/healthz`: the process answers. `/readyz`: it should be sent work; fails only for the store, start-up and drain, never
//! for a sick channel or agent.

use axum::{extract::State, response::Response};
use frontdesk_engine::Readiness;
use http::StatusCode;
use serde::Serialize;

use crate::{
    body::json,
    problem::{Problem, ProblemKind},
    routes::SharedApi,
};

#[derive(Serialize)]
struct StatusView {
    status: &'static str,
}

/// `GET /healthz`
pub(crate) async fn alive() -> Response {
    json(StatusCode::OK, &StatusView { status: "ok" })
}

/// `GET /readyz`
pub(crate) async fn ready(State(api): State<SharedApi>) -> Result<Response, Problem> {
    match api.desk.readiness() {
        Readiness::Ready => Ok(json(StatusCode::OK, &StatusView { status: "ready" })),
        Readiness::NotReady(reason) => Err(Problem::new(ProblemKind::NotReady, reason).retry_after(5)),
    }
}
