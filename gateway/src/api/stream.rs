//! `GET /api/v1/events/stream`: events as they are committed, as server-sent events.
//!
//! Nothing is kept for whoever listens but a place in the log. The next piece is read when the one before has been taken: from
//! memory where the listener keeps up, else from the store on a connection of its own. So a slow one holds nobody up, and misses
//! nothing.
//!
//! `id:` is `{epoch}-{place}`. A place alone would not do: after a damaged store was replaced, or a backup restored, the same places
//! are given again, and a listener that comes back with an old one would miss events.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::View;
use super::events::{Question, READS, bad, sees};
use super::problem::Problem;
use crate::auth::{Identity, Means, Record};
use crate::clock;
use crate::log::{Filter, LogError, Piece, Records, Stored};

/// Events of one piece, and how many are looked at for it.
const EVENTS: usize = 64;
const EXAMINED: usize = 2048;
/// Silence after which a word is said, so that either side notices a line that is dead.
const SILENCE: Duration = Duration::from_secs(15);

/// Answers without an end.
pub(super) async fn listen(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    headers: HeaderMap,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(question) = question?;
    let filter = question.filter()?;
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let head = view.log.head();
    let at = match header.or(question.after.as_deref()) {
        Some(id) => {
            let known = resume(id, &view.log.epoch().to_string(), *head.borrow(), view.log.born_after());
            known.ok_or_else(|| bad(format!("`{id}` is no place in the log")))?
        }
        None => *head.borrow(),
    };
    let token = token(&view, &identity);
    let listener = Listener { view, identity, token, filter, head, at, records: None, begun: false };
    let pieces = stream::unfold(listener, |mut listener| async {
        let piece = listener.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), listener))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Where a listener goes on that has seen everything up to `id`. One of another epoch has seen what that had in common with this
/// one, at most.
fn resume(id: &str, epoch: &str, head: u64, born_after: u64) -> Option<u64> {
    let (before, place) = id.rsplit_once('-').map_or((None, id), |(before, place)| (Some(before), place));
    let place: u64 = place.parse().ok()?;
    let same = before.is_none_or(|before| before == epoch) && place <= head;
    Some(if same { place } else { place.min(born_after) })
}

/// The token that somebody has shown, as it is now.
fn token(view: &View, identity: &Identity) -> Option<Record> {
    (identity.means == Means::Token).then(|| view.auth.tokens().find(&identity.id).cloned()).flatten()
}

/// Somebody who listens.
struct Listener {
    view: View,
    identity: Arc<Identity>,
    /// What they have shown: where that changes, or ends, so does this.
    token: Option<Record>,
    filter: Filter,
    head: watch::Receiver<u64>,
    /// The last place that they have seen, or passed over.
    at: u64,
    /// The store, while they lag behind memory.
    records: Option<Records>,
    begun: bool,
}

impl Listener {
    /// What is said next; none at the end.
    async fn next(&mut self) -> Option<String> {
        if !self.begun {
            self.begun = true;
            return Some(format!("retry: 1000\n{}", self.position()));
        }
        loop {
            if self.view.stop.is_cancelled() || !self.may_stay() {
                return None;
            }
            self.head.borrow_and_update();
            let piece = match self.read().await {
                Ok(piece) => piece,
                Err(error) => {
                    tracing::debug!(%error, "A listener's events cannot be read.");
                    return None;
                }
            };
            let text = self.say(&piece);
            if !text.is_empty() {
                return Some(text);
            }
            if piece.more {
                continue;
            }
            tokio::select! {
                changed = self.head.changed() => changed.ok()?,
                () = tokio::time::sleep(SILENCE) => return Some(self.position()),
                () = self.view.stop.cancelled() => return None,
            }
        }
    }

    /// Whether what they have shown is still there as it was, and has not ended.
    fn may_stay(&self) -> bool {
        let tokens = self.view.auth.tokens();
        self.identity.means != Means::Token
            || self.token.as_ref().is_some_and(|shown| {
                tokens.find(&self.identity.id) == Some(shown) && !tokens.has_ended(shown, clock::judged())
            })
    }

    /// What comes next in the log, as far as it is wanted.
    async fn read(&mut self) -> Result<Piece, LogError> {
        if let Some(read) = self.view.log.read_tail(self.at, EVENTS) {
            self.records = None;
            let upto = read.last().map_or(self.at, |stored| stored.seq);
            let more = read.len() == EVENTS;
            let events = read.into_iter().filter(|stored| wants(&self.identity, &self.filter, stored)).collect();
            return Ok(Piece { events, upto, more, pruned: None });
        }
        let (at, log, records) = (self.at, self.view.log.clone(), self.records.take());
        let (identity, filter) = (Arc::clone(&self.identity), self.filter.clone());
        let _turn = READS.acquire().await;
        let read = tokio::task::spawn_blocking(move || {
            let records = records.map_or_else(|| log.records(), Ok)?;
            let piece = records.after(at, EVENTS, EXAMINED, |stored| wants(&identity, &filter, stored))?;
            Ok((records, piece))
        });
        let (records, piece) = read.await.unwrap_or_else(|panic| Err(LogError::Unreadable(panic.to_string())))?;
        self.records = Some(records);
        Ok(piece)
    }

    /// The words for a piece; none where nothing of it is wanted.
    fn say(&mut self, piece: &Piece) -> String {
        let mut text = String::new();
        let epoch = self.view.log.epoch();
        // Writing to a string cannot fail.
        if let Some((first, last)) = piece.pruned {
            let _ = write!(text, "event: gap\nid: {epoch}-{last}\ndata: {{\"first\":{first},\"last\":{last}}}\n\n");
        }
        for stored in &piece.events {
            let _ = write!(text, "id: {epoch}-{}\ndata: {}\n\n", stored.seq, stored.json);
        }
        self.at = piece.upto;
        text
    }

    /// No event, but how far everything has been looked at: whoever comes back need not begin before.
    fn position(&self) -> String {
        format!("id: {}-{}\n\n", self.view.log.epoch(), self.at)
    }
}

fn wants(identity: &Identity, filter: &Filter, stored: &Stored) -> bool {
    sees(identity, stored) && filter.wants(&stored.event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_goes_on_where_they_were_and_misses_nothing_of_a_new_life() {
        for (id, head, born_after, at) in [
            ("42", 100, 0, Some(42)),
            ("aa-42", 100, 0, Some(42)),
            ("bb-42", 100, 0, Some(0)),
            ("bb-42", 100, 60, Some(42)),
            ("bb-99", 100, 60, Some(60)),
            ("aa-101", 100, 60, Some(60)),
            ("101", 100, 0, Some(0)),
            ("0", 100, 0, Some(0)),
            ("", 100, 0, None),
            ("aa-", 100, 0, None),
            ("x", 100, 0, None),
        ] {
            assert_eq!(resume(id, "aa", head, born_after), at, "{id}");
        }
    }
}
