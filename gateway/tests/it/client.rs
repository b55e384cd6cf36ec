//! Asking a gateway over HTTP.

use std::fmt::Write as _;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::gateway::DEADLINE;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) text: String,
}

impl Answer {
    /// The problem's code; empty where it is none.
    pub(crate) fn code(&self) -> &str {
        assert_eq!(self.body["code"].is_string(), self.head.contains("application/problem+json"), "{self:?}");
        self.body["code"].as_str().unwrap_or("")
    }
}

/// Sends a request as it is, and reads the answer to its end.
pub(crate) async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.expect("asks");
    read(stream).await
}

async fn read(mut stream: impl AsyncRead + Unpin) -> Answer {
    let mut text = String::new();
    let end = timeout(DEADLINE, stream.read_to_string(&mut text)).await.expect("an answer in time");
    // A server that answers before it has read everything may reset the connection behind its answer.
    assert!(end.is_ok() || !text.is_empty(), "{end:?}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer {
        status,
        head: head.to_lowercase(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        text: body.to_owned(),
    }
}

/// A request of these headers that ends the connection.
pub(crate) fn get(path: &str, token: Option<&str>, headers: &str) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}");
    if let Some(token) = token {
        let _ = write!(request, "Authorization: Bearer {token}\r\n");
    }
    request + "\r\n"
}
