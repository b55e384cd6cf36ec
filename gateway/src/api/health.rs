//! Whether the gateway lives, whether it can take events, and its figures.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::View;
use super::problem::Problem;
use crate::auth::Identity;

/// The process answers.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// The log takes and commits, and has room. Whether the broker is there makes no difference: events are kept until it is.
pub(super) async fn ready(State(view): State<View>) -> Response {
    let refuse = |why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why).into_response();
    if view.stop.is_cancelled() {
        return refuse("the gateway is stopping");
    }
    if view.log.head().has_changed().is_err() {
        return refuse("the event log has stopped");
    }
    if let Some(why) = view.log.refuses() {
        let detail = format!("nothing new is accepted: {why}");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disk_full", detail).into_response();
    }
    "ok\n".into_response()
}

/// All metrics in the Prometheus text format. They are of every terminal, and nothing for who is for some.
pub(super) async fn metrics(State(view): State<View>, identity: Option<Extension<Arc<Identity>>>) -> Response {
    if identity.is_some_and(|Extension(identity)| !identity.terminals.are_all()) {
        let detail = "the figures are of every terminal, and the token is for some";
        return Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response();
    }
    let (store, wal) = view.log.sizes();
    view.metrics.log_store_bytes.set(i64::try_from(store).unwrap_or(i64::MAX));
    view.metrics.log_wal_bytes.set(i64::try_from(wal).unwrap_or(i64::MAX));
    view.log.count_written(&view.metrics);
    match view.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics_unavailable", error.to_string()).into_response()
        }
    }
}

/// Counts requests by the class of their answer.
pub(super) async fn count(State(view): State<View>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let class = match response.status().as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    view.metrics.http_requests.with_label_values(&[class]).inc();
    response
}
