//! `GET /api/v1/journal`: the kept journal text of one terminal, page by page.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::civil::Date;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::View;
use super::problem::{Problem, expected};
use super::terminals::missing;
use crate::auth::Identity;
use crate::log::{self, LogError, Page, Search};

/// Lines of a page where nothing is asked for, and most of them.
const USUAL_LINES: usize = 500;
const MOST_LINES: usize = 2000;
/// Searches at the same time: each reads the disk that events are written to.
static SEARCHES: Semaphore = Semaphore::const_new(2);

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    terminal: String,
    date: Option<Date>,
    from: Option<Date>,
    to: Option<Date>,
    grep: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Question {
    fn search(self) -> Result<Search, String> {
        if self.date.is_some() && (self.from.is_some() || self.to.is_some()) {
            return Err("`date` is one day, `from` and `to` are several: ask for one or the others".to_owned());
        }
        let limit = self.limit.unwrap_or(USUAL_LINES);
        if !(1..=MOST_LINES).contains(&limit) {
            return Err(format!("`limit` is 1 to {MOST_LINES}"));
        }
        Ok(Search {
            terminal: self.terminal,
            from: self.date.or(self.from),
            to: self.date.or(self.to),
            pattern: self
                .grep
                .map(|pattern| log::pattern(&pattern).map_err(|reason| format!("`grep`: {reason}")))
                .transpose()?,
            limit,
            after: self
                .cursor
                .map(|cursor| cursor.parse().map_err(|reason| format!("`cursor`: {reason}")))
                .transpose()?,
        })
    }
}

/// Answers one page: `{"lines":[…],"next":…}`. `next` is the `cursor` of the page behind, `null` on the last.
pub(super) async fn search(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    question: Result<Query<Question>, QueryRejection>,
) -> Response {
    let question = question.map_err(|rejection| expected("the query", &rejection.body_text()));
    let search = match question.and_then(|Query(question)| question.search()) {
        Ok(search) => search,
        Err(reason) => return Problem::new(StatusCode::BAD_REQUEST, "bad_request", reason).into_response(),
    };
    if !identity.terminals.contain(&search.terminal) {
        return missing().into_response();
    }
    let _turn = SEARCHES.acquire().await;
    let found = tokio::task::spawn_blocking(move || view.log.archive()?.search(&search)).await;
    match found.unwrap_or_else(|panic| Err(LogError::Unreadable(panic.to_string()))) {
        Ok(page) => Json::<Page>(page).into_response(),
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store_unreadable", error.to_string()).into_response()
        }
    }
}
