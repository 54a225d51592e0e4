//! `/healthz`: the process answers. `/readyz`: it should be sent work; fails only for the store, start-up and drain, never
//! for a sick channel or agent.

use axum::{extract::State, response::Response};
use frontdesk_engine::Readiness;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    body::json,
    endpoint::Endpoint,
    problem::{Problem, ProblemKind},
    routes::SharedApi,
};

/// Whether it does.
#[derive(Serialize, ToSchema)]
struct HealthView {
    status: &'static str,
}

pub(crate) fn endpoints() -> [Endpoint; 2] {
    [
        Endpoint::get("/healthz", "isAlive", alive)
            .about("Whether the process answers", "")
            .answers::<HealthView>(StatusCode::OK, "It does."),
        Endpoint::get("/readyz", "isReady", ready)
            .about(
                "Whether to send work here",
                "Fails for the store, start-up and drain; never for a sick channel or agent.",
            )
            .answers::<HealthView>(StatusCode::OK, "Send it.")
            .fails(&[ProblemKind::NotReady]),
    ]
}

/// `GET /healthz`
pub(crate) async fn alive() -> Response {
    json(StatusCode::OK, &HealthView { status: "ok" })
}

/// `GET /readyz`
pub(crate) async fn ready(State(api): State<SharedApi>) -> Result<Response, Problem> {
    match api.desk.readiness() {
        Readiness::Ready => Ok(json(StatusCode::OK, &HealthView { status: "ready" })),
        Readiness::NotReady(reason) => Err(Problem::new(ProblemKind::NotReady, reason).retry_after(5)),
    }
}
