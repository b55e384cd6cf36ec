//! HTTP: health for whoever watches the process, metrics for Prometheus, terminals and places for people and programs, the
//! kept journals for disputes.
//!
//! Every route passes the one authorisation layer (`auth`), which knows the public ones.

mod auth;
mod health;
mod journal;
mod page;
mod places;
mod problem;
mod terminals;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::log::Log;
use crate::metrics::Metrics;
use crate::terminals::Directory;

/// Settings of the HTTP interface.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Config { listen: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
}

/// What the handlers see of the gateway.
#[derive(Clone)]
pub struct View {
    /// The log: ready means that it takes and commits.
    pub log: Log,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Who is there.
    pub directory: Directory,
    /// Set while the gateway drains.
    pub stop: CancellationToken,
}

/// Serves until `stop` is cancelled and the requests that were under way are answered.
///
/// # Errors
/// Where the listener fails for good.
pub async fn serve(listener: TcpListener, view: View) -> std::io::Result<()> {
    let stop = view.stop.clone();
    let routes = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/terminals", get(terminals::list))
        .route("/api/v1/terminals/{name}", get(terminals::show))
        .route("/api/v1/groups", get(places::groups))
        .route("/api/v1/groups/{id}", get(places::group))
        .route("/api/v1/branches", get(places::branches))
        .route("/api/v1/regions", get(places::regions))
        .route("/api/v1/devices", get(places::devices))
        .method_not_allowed_fallback(problem::not_allowed)
        .route("/api/v1/journal", get(journal::search))
        .fallback(problem::not_found)
        .layer(axum::middleware::from_fn(auth::authorise))
        .layer(axum::middleware::from_fn_with_state(view.clone(), health::count))
        .with_state(view)
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, routes).with_graceful_shutdown(async move { stop.cancelled().await }).await
}
