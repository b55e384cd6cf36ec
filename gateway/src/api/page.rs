//! Lists in pages: at most so many items, and where to go on.

use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;

use super::problem::{Problem, expected};

/// Items of a page where nothing else is asked for, and most of them.
const USUAL: usize = 100;
const MOST: usize = 1000;

/// A part of a list.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    more: bool,
}

impl<T> Page<T> {
    /// The first `limit` items that come `behind` where the page before ended.
    pub(super) fn cut(items: Vec<T>, limit: usize, behind: impl FnMut(&T) -> bool) -> Page<T> {
        let mut items: Vec<T> = items.into_iter().filter(behind).take(limit + 1).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Page { items, more }
    }

    /// What to give as `cursor` for the next page, if there is one.
    pub(super) fn next<K>(&self, key: impl Fn(&T) -> K) -> Option<K> {
        self.items.last().filter(|_| self.more).map(key)
    }
}

/// The size of a page that was asked for.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(USUAL) {
        limit @ 1..=MOST => Ok(limit),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("`limit` must be 1 to {MOST}"))),
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", expected("the query", &rejection.body_text()))
    }
}
