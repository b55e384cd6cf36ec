//! The one layer that every request passes.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Routes that tell nothing about accounts, customers or terminals' owners: health and figures.
const PUBLIC: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Lets a request pass if its route is public or its caller may use it: for now, whoever is on this machine.
pub(super) async fn authorise(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if PUBLIC.contains(&request.uri().path()) || peer.ip().is_loopback() {
        return next.run(request).await;
    }
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorised", "this route needs a token").into_response()
}
