//! Errors as RFC 9457 problem JSON, each with a stable `code`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::mask;

/// A problem, as it is answered.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    /// Headers that go with it.
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem and what is wrong, in a sentence. Whatever it quotes is masked, for it goes to logs and screens.
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl AsRef<str>) -> Problem {
        Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: mask::printed(detail.as_ref()).into_owned(),
            headers: Vec::new(),
        }
    }

    /// The same problem, answered with one more header. A value that can be none is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Problem {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut headers = HeaderMap::from_iter(self.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        (status, headers, body).into_response()
    }
}

/// What a parser says is wrong, without what it quotes: of `unknown field …, expected one of …` the end alone.
pub(super) fn expected(what: &str, parser: &str) -> String {
    match (parser.rfind("missing field `"), parser.rfind(", expected ")) {
        (Some(at), _) => format!("{what} is not as it should be: {}", &parser[at..]),
        (None, Some(at)) => format!("{what} is not as it should be{}", &parser[at..]),
        (None, None) => format!("{what} cannot be read"),
    }
}

/// The answer where there is no such route. What was asked for is not said again: there may be a card number in it.
pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
}

/// The answer where there is such a route, but not for this method.
pub(super) async fn method_not_allowed() -> Problem {
    let detail = "this path does not answer this method; `Allow` says which it answers";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
