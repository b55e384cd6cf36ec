//! `GET /api/v1/events`: events as they stand in the log, filtered, page by page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::View;
use super::page::limit;
use super::problem::Problem;
use crate::auth::Identity;
use crate::event::Severity;
use crate::log::{Filter, KindPattern, LogError, Piece, Stored};

/// Events that are looked at for one page: bounds the time of a search that finds nothing.
const EXAMINED: usize = 20_000;
/// Pages read from disk at the same time: it is the one that events are written to.
pub(super) static READS: Semaphore = Semaphore::const_new(2);

/// What may be asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Question {
    terminal: Option<String>,
    /// Patterns, apart by commas.
    kind: Option<String>,
    severity: Option<Severity>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    pub(super) after: Option<String>,
    limit: Option<usize>,
    /// The newest of them instead of the first.
    newest: bool,
}

impl Question {
    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        let patterns = self.kind.as_deref().unwrap_or_default().split(',').filter(|text| !text.is_empty());
        let kinds: Result<Vec<KindPattern>, String> = patterns.map(str::parse).collect();
        Ok(Filter {
            terminal: self.terminal.clone(),
            kinds: kinds.map_err(|reason| bad(format!("`kind`: {reason}")))?,
            severity: self.severity,
            since: self.since,
            until: self.until,
        })
    }
}

/// Answers one page: `{"events":[…],"upto":…,"more":…}`. `upto` is the `after` of the page behind, and `more` whether there is
/// something there now; `pruned` are places that were asked for and are gone.
pub(super) async fn list(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(question) = question?;
    let (filter, limit) = (question.filter()?, limit(question.limit)?);
    let after = match question.after.as_deref().map(str::parse::<u64>) {
        None => None,
        Some(Ok(after)) => Some(after),
        Some(Err(_)) => return Err(bad("`after` must be a place in the log: a number".to_owned())),
    };
    if question.newest && after.is_some() {
        return Err(bad("`newest` and `after` exclude each other".to_owned()));
    }
    let wanted = move |stored: &Stored| sees(&identity, stored) && filter.wants(&stored.event);
    let read = move || {
        let records = view.log.records()?;
        if question.newest {
            let (upto, events) = (records.head()?, records.newest(limit, EXAMINED, wanted)?);
            return Ok(Piece { events, upto, ..Piece::default() });
        }
        records.after(after.unwrap_or(0), limit, EXAMINED, wanted)
    };
    let _turn = READS.acquire().await;
    let piece = tokio::task::spawn_blocking(read).await;
    let piece = piece.unwrap_or_else(|panic| Err(LogError::Unreadable(panic.to_string()))).map_err(unreadable)?;
    Ok(answer(&piece))
}

/// Whether somebody may see an event: tokens for some terminals show those alone.
pub(super) fn sees(identity: &Identity, stored: &Stored) -> bool {
    identity.terminals.contain(&stored.event.terminal)
}

/// The events byte for byte, as everybody else gets them.
fn answer(piece: &Piece) -> Response {
    let bytes: usize = piece.events.iter().map(|stored| stored.json.len() + 1).sum();
    let mut body = String::with_capacity(bytes + 96);
    body.push_str("{\"events\":[");
    for (index, stored) in piece.events.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&stored.json);
    }
    body.push_str(&format!("],\"upto\":{},\"more\":{}", piece.upto, piece.more));
    if let Some((first, last)) = piece.pruned {
        body.push_str(&format!(",\"pruned\":[{first},{last}]"));
    }
    body.push('}');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
}

pub(super) fn unreadable(error: LogError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unreadable", error.to_string())
}
