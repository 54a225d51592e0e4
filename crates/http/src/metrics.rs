//! `/metrics`, as Prometheus reads it; on the administrators' listener only.

use std::sync::Arc;

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderValue, header};

use crate::routes::SharedApi;

/// Writes all metrics down.
pub(crate) type Page = Arc<dyn Fn() -> String + Send + Sync>;

/// `GET /metrics`
pub(crate) async fn page(State(api): State<SharedApi>) -> Response {
    let text = api.metrics.as_ref().map(|page| page()).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    let form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}
