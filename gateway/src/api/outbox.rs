//! `/api/v1/outbox`: how it stands, what was set aside, and what is brought back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::View;
use super::events::{READS, bad, unreadable};
use super::page::limit;
use super::problem::{Problem, body};
use crate::auth::Identity;
use crate::log::{Log, LogError, Status, Wanted, Wreck};

/// Most places of one replay that are named one by one.
const MOST: usize = 1000;
/// One store is salvaged at a time.
static SALVAGING: AtomicBool = AtomicBool::new(false);

/// Where to go on.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct From {
    after: u64,
    limit: Option<usize>,
}

/// Which dead letters.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Replay {
    all: bool,
    seqs: Vec<u64>,
}

/// Which store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Salvage {
    file: String,
}

/// Lets pass who is for every terminal, as the outbox is.
fn for_all(identity: &Identity) -> Result<(), Problem> {
    let detail = "the outbox is of every terminal, and the token is for some";
    let refusal = || Problem::new(StatusCode::FORBIDDEN, "forbidden", detail);
    if identity.terminals.are_all() { Ok(()) } else { Err(refusal()) }
}

/// `GET /api/v1/outbox`.
pub(super) async fn status(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
) -> Result<Json<Status>, Problem> {
    for_all(&identity)?;
    blocking(move || view.log.records()?.status()).await.map(Json)
}

/// `GET /api/v1/outbox/dead-letters`: those of the terminals that are asked about by whoever may see them.
pub(super) async fn dead_letters(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    from: Result<Query<From>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(from) = from?;
    let limit = limit(from.limit)?;
    blocking(move || {
        let records = view.log.records()?;
        let mut letters = records.dead_letters(from.after, limit + 1)?;
        let more = letters.len() > limit;
        letters.truncate(limit);
        let next = letters.last().filter(|_| more).map(|letter| letter.seq);
        let mut shown = Vec::new();
        for letter in letters {
            let event = records.one(letter.seq)?;
            let theirs = event.as_ref().is_some_and(|stored| identity.terminals.contain(&stored.event.terminal));
            if theirs || identity.terminals.are_all() {
                shown.push(json!({
                    "seq": letter.seq, "reason": letter.reason, "at": letter.at,
                    "terminal": event.as_ref().map(|stored| stored.event.terminal.as_str()),
                    "kind": event.as_ref().map(|stored| stored.event.kind),
                    "id": event.as_ref().map(|stored| stored.id()),
                }));
            }
        }
        Ok(json!({ "dead_letters": shown, "next": next }))
    })
    .await
    .map(Json)
}

/// `POST /api/v1/outbox/dead-letters/replay`: answers how many are pending again, once that is
/// committed, and at which of the places named there is none; `gateway.dead_letters_replayed` says who has asked.
pub(super) async fn replay(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    asked: Result<Json<Replay>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    for_all(&identity)?;
    let asked = body(asked)?;
    if asked.all != asked.seqs.is_empty() || asked.seqs.len() > MOST {
        return Err(bad(format!("give `all` or `seqs`: 1 to {MOST} places")));
    }
    let (replayed, none) = view.log.replay_for(&identity.id, &asked.seqs).await.map_err(unreadable)?;
    Ok(Json(json!({ "replayed": replayed, "none": none })))
}

/// `POST /api/v1/outbox/salvage`: begins to bring in what a store in the data folder has not forwarded. 202; the event
/// `gateway.events_salvaged` tells how it ended.
pub(super) async fn salvage(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    asked: Result<Json<Salvage>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    for_all(&identity)?;
    let Salvage { file } = body(asked)?;
    let named = file.strip_prefix("events.db.").is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '\0']));
    if !named {
        return Err(bad(
            "`file` must be the name of a store in the data folder that was set aside: events.db.…".to_owned()
        ));
    }
    let path = view.log.dir().join(&file);
    if !path.is_file() {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "file_not_found",
            format!("there is no {file} in the data folder"),
        ));
    }
    if SALVAGING.swap(true, Ordering::AcqRel) {
        return Err(Problem::new(StatusCode::CONFLICT, "busy", "another store is being salvaged"));
    }
    let (log, head) = (view.log.clone(), *view.log.head().borrow());
    let (name, by) = (file.clone(), Arc::clone(&identity.id));
    tokio::task::spawn_blocking(move || {
        match Wreck::open(&path, Wanted::Pending)
            .map_err(|error| error.to_string())
            .and_then(|wreck| bring(&log, &wreck, &name, &by))
        {
            Ok(()) => log
                .finish(&path)
                .unwrap_or_else(|error| tracing::warn!(%error, "That {name} is salvaged cannot be noted.")),
            Err(error) => tracing::error!(error, "{name} is not salvaged."),
        }
        SALVAGING.store(false, Ordering::Release);
    });
    Ok((StatusCode::ACCEPTED, Json(json!({ "file": file, "after": head }))))
}

fn bring(log: &Log, wreck: &Wreck, name: &str, by: &str) -> Result<(), String> {
    if !wreck.is_store() {
        return Err("nothing in it is of a gateway's store".to_owned());
    }
    log.salvage(wreck, name, Some(by)).map(|_| ()).map_err(|error| error.to_string())
}

/// Asks the store something that takes a while.
pub(super) async fn blocking<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, Problem> {
    let _turn = READS.acquire().await;
    let answer = tokio::task::spawn_blocking(question).await;
    answer.unwrap_or_else(|panic| Err(LogError::Unreadable(panic.to_string()))).map_err(unreadable)
}
