//! Questions to a running gateway, over its own HTTP interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::exit::Exit;
use super::health::tls;

/// A gateway that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const MOST: u64 = 64 * 1024 * 1024;

/// A question.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// Path, and query.
    pub(super) path: &'a str,
    /// Whoever asks shows this.
    pub(super) token: Option<&'a str>,
    /// What is sent.
    pub(super) body: Option<&'a Value>,
    /// The file with the gateway's certificate, where it speaks TLS.
    pub(super) certificate: Option<&'a Path>,
}

/// The JSON at this path (and query).
///
/// # Errors
/// Where no gateway answers, or with the problem that it answers.
pub(super) fn get(http: SocketAddr, path: &str) -> Result<Value, Exit> {
    send(http, &Asked { method: "GET", path, token: None, body: None, certificate: None })
}

/// The JSON that answers this body at this path.
///
/// # Errors
/// As [`get`].
pub(super) fn post(http: SocketAddr, path: &str, token: Option<&str>, body: &Value) -> Result<Value, Exit> {
    send(http, &Asked { method: "POST", path, token, body: Some(body), certificate: None })
}

/// Asks, and gives the JSON of the answer.
///
/// # Errors
/// As [`get`].
pub(super) fn send(http: SocketAddr, asked: &Asked<'_>) -> Result<Value, Exit> {
    serde_json::from_str(&text(http, asked)?)
        .map_err(|error| Exit::unavailable(format!("{http} is no gateway: {error}")))
}

/// Asks, and gives the answer's body as it is.
///
/// # Errors
/// As [`get`].
pub(super) fn text(http: SocketAddr, asked: &Asked<'_>) -> Result<String, Exit> {
    let answer =
        fetch(http, asked).map_err(|error| Exit::unavailable(format!("no gateway answers at {http}: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    if head.starts_with("HTTP/1.1 2") {
        return Ok(body.to_owned());
    }
    let body: Value = serde_json::from_str(body)
        .map_err(|_| Exit::unavailable(format!("{http} is no gateway: {}", head.lines().next().unwrap_or_default())))?;
    Err(Exit::unavailable(body["detail"].as_str().unwrap_or("the gateway refused").to_owned()))
}

fn fetch(http: SocketAddr, asked: &Asked<'_>) -> std::io::Result<String> {
    let stream = connect(http, TIMEOUT)?;
    match asked.certificate {
        Some(certificate) => fetch_on(tls::wrap(stream, http, certificate)?, http, asked),
        None => fetch_on(stream, http, asked),
    }
}

/// A connection on which a word must come within `silence`.
pub(super) fn connect(http: SocketAddr, silence: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&http, TIMEOUT)?;
    stream.set_read_timeout(Some(silence))?;
    Ok(stream)
}

fn fetch_on(mut stream: impl Read + Write, http: SocketAddr, asked: &Asked<'_>) -> std::io::Result<String> {
    let mut request = format!("{} {} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n", asked.method, asked.path);
    if let Some(token) = asked.token {
        request.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    let body = asked.body.map(Value::to_string).unwrap_or_default();
    if asked.body.is_some() {
        request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    write!(stream, "{request}\r\n{body}")?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// A name as a part of a path or query.
pub(super) fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let part = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(part).collect()
}
