//! HTTP: health for whoever watches the process, metrics for Prometheus, terminals, places and events for people and
//! programs, the kept journals for disputes, the outbox, and who one is here.
//!
//! A request's way: connections (`server`: TLS, how many, how slow) → its size (`limits`) → the route's one authorisation
//! layer (`auth`) → its body and its time (`limits`) → its handler. A route cannot be added without saying who may use
//! it. Where there is no route there is nothing to guard: the answer is 404 for everybody.

mod audit;
mod auth;
mod commands;
mod config;
mod events;
mod health;
mod identity;
mod journal;
mod limits;
mod outbox;
mod page;
mod places;
mod problem;
mod reload;
mod server;
mod stall;
mod stream;
mod terminals;
mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use self::config::Config;
pub use self::reload::Reloads;
pub use self::tls::{Client as ClientCertificate, Config as TlsConfig, Tls};

use self::audit::Audit;
use self::auth::{Access, Gate};
use self::server::Server;
use crate::auth::{Auth, Permission};
use crate::command::Desk;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::terminals::Directory;

/// How often the tokens' and certificates' files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What the handlers see of the gateway.
#[derive(Clone)]
pub struct View {
    /// The log: ready means that it takes and commits.
    pub log: Log,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Who is there.
    pub directory: Directory,
    /// Who may do what.
    pub auth: Auth,
    /// Where commands are asked for.
    pub desk: Arc<dyn Desk>,
    /// Where it is asked for that the configuration is read again.
    pub reloads: Reloads,
    /// Set while the gateway drains.
    pub stop: CancellationToken,
}

/// Serves until `stop` is cancelled and the requests that were under way are answered.
pub async fn serve(listener: Arc<TcpListener>, config: Config, tls: Option<Tls>, view: View) {
    let (config, tls) = (Arc::new(config), tls.map(Arc::new));
    let audit = Audit::new(view.log.clone());
    let gate = Arc::new(Gate::new(view.auth.clone(), &config, audit, Arc::clone(&view.metrics)));
    let server = Server {
        config: Arc::clone(&config),
        tls: tls.clone(),
        metrics: Arc::clone(&view.metrics),
        stop: view.stop.clone(),
    };
    let watching = watch(Arc::clone(&gate), tls, view.clone());
    tokio::select! {
        () = server.run(listener, router(gate, config, view)) => {}
        () = watching => {}
    }
}

fn router(gate: Arc<Gate>, config: Arc<Config>, view: View) -> Router {
    let figures = match config.metrics_are_public(view.auth.config()) {
        true => Access::Everybody,
        false => Access::Permitted(Permission::ReadState),
    };
    let state = Access::Permitted(Permission::ReadState);
    let administer = Access::Permitted(Permission::Administer);
    Routes { router: Router::new(), gate, config: Arc::clone(&config) }
        .add("/livez", Access::Everybody, get(health::live))
        .add("/readyz", Access::Everybody, get(health::ready))
        .add("/metrics", figures, get(health::metrics))
        .add("/api/v1/whoami", Access::Known, get(identity::whoami))
        .add("/api/v1/terminals", state, get(terminals::list))
        .add("/api/v1/terminals/{name}", state, get(terminals::show))
        .add("/api/v1/groups", state, get(places::groups))
        .add("/api/v1/groups/{id}", state, get(places::group))
        .add("/api/v1/branches", state, get(places::branches))
        .add("/api/v1/regions", state, get(places::regions))
        .add("/api/v1/devices", state, get(places::devices))
        .add("/api/v1/journal", state, get(journal::search))
        .add("/api/v1/events", state, get(events::list))
        .add("/api/v1/events/stream", state, get(stream::listen))
        .add("/api/v1/outbox", state, get(outbox::status))
        .add("/api/v1/outbox/dead-letters", state, get(outbox::dead_letters))
        .add("/api/v1/outbox/dead-letters/replay", administer, post(outbox::replay))
        .add("/api/v1/outbox/salvage", administer, post(outbox::salvage))
        // Who may ask what of which terminal is decided where commands are taken, as for every other way they come by.
        .add("/api/v1/commands", Access::Known, post(commands::ask).get(commands::list))
        .add("/api/v1/commands/{id}", state, get(commands::show))
        .add("/api/v1/tokens", administer, get(identity::tokens))
        .add("/api/v1/reload", administer, post(reload::reload))
        .router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(config, limits::headers))
        .layer(from_fn_with_state(view.clone(), health::count))
        .with_state(view)
}

/// Routes, each with who may use it.
struct Routes {
    router: Router<View>,
    gate: Arc<Gate>,
    config: Arc<Config>,
}

impl Routes {
    fn add(mut self, path: &str, access: Access, method: MethodRouter<View>) -> Routes {
        let method = method
            .route_layer(from_fn_with_state(Arc::clone(&self.config), limits::body_and_time))
            .route_layer(from_fn_with_state((Arc::clone(&self.gate), access), auth::authorise));
        // What was answered to one caller is for no cache to give to another.
        let method = match access {
            Access::Everybody => method,
            Access::Known | Access::Permitted(_) => method.route_layer(map_response(unshared)),
        };
        self.router = self.router.route(path, method);
        self
    }
}

async fn unshared(mut response: Response) -> Response {
    use axum::http::{HeaderValue, header::CACHE_CONTROL};
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Takes changed tokens and certificates, and tells what has not been told yet of refusals. Never ends by itself.
async fn watch(gate: Arc<Gate>, tls: Option<Arc<Tls>>, view: View) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (auth, files) = (view.auth.clone(), tls.clone());
        let look = move || (auth.reload(), files.and_then(|tls| tls.reload()));
        let Ok((tokens, certificate)) = tokio::task::spawn_blocking(look).await else {
            tracing::error!("Looking at the tokens and certificates ended in a panic.");
            continue;
        };
        if let Some(fault) = tokens.fault {
            tracing::error!(fault, "The tokens cannot be read; those before stay in force.");
        }
        gate.audit.changed(tokens.changes);
        gate.audit.tell_due(Instant::now());
        match certificate {
            Some(Ok(())) => tracing::info!("The new certificate of HTTP is in force."),
            Some(Err(fault)) => {
                tracing::error!(fault, "The new certificate of HTTP cannot be used; the one before stays.")
            }
            None => {}
        }
        view.metrics.auth_tokens_fault.set(i64::from(view.auth.is_at_fault()));
        if let Some(tls) = &tls {
            view.metrics.http_certificate_expiry.set(tls.expires());
        }
    }
}
