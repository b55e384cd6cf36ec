//! Errors as RFC 9457 problem JSON, each with a stable `code`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
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

    /// What is wrong, in a sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
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

/// What a parser says is wrong, without what it quotes of others: of `unknown field …, expected one of …` the end alone. Fields
/// that are missing or doubled are ours.
pub(super) fn expected(what: &str, parser: &str) -> String {
    let from = |words: &str| parser.rfind(words).and_then(|at| parser.get(at..));
    if let Some(end) = from(", expected ") {
        return format!("{what} is not as it should be{end}");
    }
    match from("missing field `").or_else(|| from("duplicate field `")) {
        Some(end) => format!("{what} is not as it should be: {end}"),
        None => format!("{what} cannot be read"),
    }
}

/// The body of a request, as JSON that says that it is.
pub(super) fn body<T>(asked: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match asked {
        Ok(Json(asked)) => Ok(asked),
        Err(JsonRejection::MissingJsonContentType(_)) => {
            let detail = "the body must be JSON, and say so: `Content-Type: application/json`";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
        }
        Err(rejection) => {
            let detail = expected("the body", &rejection.body_text());
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parser_quotes_of_others_is_not_said_again() {
        for (parser, said) in [
            ("x: missing field `verb` at line 1", "the body is not as it should be: missing field `verb` at line 1"),
            (
                "x: duplicate field `ttl_s` at line 1",
                "the body is not as it should be: duplicate field `ttl_s` at line 1",
            ),
            ("unknown field `4111`, expected `a`", "the body is not as it should be, expected `a`"),
            ("unknown field `duplicate field `4111`, expected `a`", "the body is not as it should be, expected `a`"),
            ("key must be a string at 4111", "the body cannot be read"),
        ] {
            assert_eq!(expected("the body", parser), said);
        }
    }
}
