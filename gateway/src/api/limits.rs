//! How big a request may be, and how long it may take.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::config::Config;
use super::problem::Problem;

/// Refuses a request whose path and headers are too much.
pub(super) async fn headers(State(config): State<Arc<Config>>, request: Request, next: Next) -> Response {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let sizes = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let refuse = |status, code, detail: String| Problem::new(status, code, detail).into_response();
    if path > config.max_header_bytes {
        let detail = format!("a path has {} bytes at most", config.max_header_bytes);
        return refuse(StatusCode::URI_TOO_LONG, "path_too_long", detail);
    }
    if request.headers().len() > config.max_headers || path + sizes.sum::<usize>() > config.max_header_bytes {
        let detail =
            format!("a request has {} headers at most, {} bytes in all", config.max_headers, config.max_header_bytes);
        return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail);
    }
    next.run(request).await
}

/// Reads the body whole, within its size and time, and lets the answer begin within its time.
pub(super) async fn body_and_time(State(config): State<Arc<Config>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let too_large = || {
        let detail = format!("a body has {} bytes at most", config.max_body_bytes);
        closing(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail))
    };
    let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > config.max_body_bytes) {
        return too_large();
    }
    let body = match timeout(config.request_timeout(), read(body, config.max_body_bytes)).await {
        Ok(Ok(Some(body))) => body,
        Ok(Ok(None)) => return too_large(),
        Ok(Err(error)) => {
            let detail = format!("the body cannot be read: {error}");
            return closing(Problem::new(StatusCode::BAD_REQUEST, "body_unreadable", detail));
        }
        Err(_) => {
            let detail = format!("the body did not come within {} s", config.request_timeout_s);
            return closing(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail));
        }
    };
    let answer = next.run(Request::from_parts(parts, Body::from(body)));
    timeout(config.request_timeout(), answer).await.unwrap_or_else(|_| {
        let detail = format!("there was no answer within {} s", config.request_timeout_s);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_slow", detail).into_response()
    })
}

/// The body; `None` where it is too large.
async fn read(body: Body, most: usize) -> Result<Option<Bytes>, axum::Error> {
    let (mut pieces, mut whole) = (body.into_data_stream(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > most {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.into()))
}

/// The rest of the body is not read: nothing else can come on this connection.
fn closing(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
