//! `POST /api/v1/reload`: the configuration is read again, as by SIGHUP, and whoever asked hears what became of it.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::View;
use super::outbox::blocking;
use super::problem::Problem;
use crate::auth::Identity;
use crate::event::{Event, Kind};

/// Events that are looked at together.
const EVENTS: usize = 256;
/// How long a change of HTTP itself takes to be told of; a gateway that stops tells of none.
const PARTING: Duration = Duration::from_secs(2);

/// Where it is asked for. Nobody heeds it until somebody has said that they do: there may be no file to read.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<OnceLock<mpsc::Sender<()>>>);

impl Reloads {
    /// What is asked for from here on. Several wishes at once are one.
    pub fn heed(&self) -> mpsc::Receiver<()> {
        let (sender, receiver) = mpsc::channel(1);
        // A second one who heeds hears nothing: its channel is closed at once.
        let _ = self.0.set(sender);
        receiver
    }

    /// Asks; false where nobody heeds it.
    fn ask(&self) -> bool {
        use mpsc::error::TrySendError::Closed;
        self.0.get().is_some_and(|sender| !matches!(sender.try_send(()), Err(Closed(()))))
    }
}

/// Answers what has changed; 409 `config_refused` with what is against it.
pub(super) async fn reload(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
) -> Result<Json<Value>, Problem> {
    let mut head = view.log.head();
    let mut at = *head.borrow_and_update();
    if !view.reloads.ask() {
        let detail = "the gateway runs without a configuration file";
        return Err(Problem::new(StatusCode::CONFLICT, "no_config_file", detail));
    }
    tracing::info!(by = &*identity.id, "The configuration is to be read again, by HTTP.");
    // Where HTTP itself is changed, this is served to its end by the one before, and the event is about to come.
    let mut left = pin!(async {
        view.stop.cancelled().await;
        sleep(PARTING).await;
    });
    loop {
        let read = match view.log.read_tail(at, EVENTS) {
            Some(read) => read,
            None => {
                let log = view.log.clone();
                blocking(move || log.read_after(at, EVENTS)).await?
            }
        };
        if let Some(told) = read.iter().find_map(|stored| outcome(&stored.event)) {
            return told;
        }
        at = read.last().map_or(at, |stored| stored.seq);
        if at < *head.borrow_and_update() {
            continue;
        }
        let goes_on = tokio::select! {
            changed = head.changed() => changed.is_ok(),
            () = &mut left => false,
        };
        if !goes_on {
            let detail = "the gateway stops, and does not read it any more";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail));
        }
    }
}

/// What an event tells of a configuration that was read.
fn outcome(event: &Event) -> Option<Result<Json<Value>, Problem>> {
    match event.kind {
        Kind::GatewayConfigReloaded => Some(Ok(Json(Value::Object(event.attributes.clone().into_iter().collect())))),
        Kind::GatewayConfigRefused => {
            let faults =
                event.attributes.get("faults").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let faults: Vec<&str> = faults.iter().filter_map(Value::as_str).collect();
            let detail = format!("the one before stays in force: {}", faults.join("; "));
            Some(Err(Problem::new(StatusCode::CONFLICT, "config_refused", detail)))
        }
        _ => None,
    }
}
