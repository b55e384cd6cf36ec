//! Questions to a running gateway, over its own HTTP interface.

use std::io::{self, Read, Write};
use std::time::Duration;

use serde_json::Value;

use super::door::Door;
use super::exit::Exit;

/// A gateway that takes longer for what it has in its memory or store is not well.
pub(super) const USUAL: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const MOST: u64 = 64 * 1024 * 1024;

/// What a gateway answers.
#[derive(Debug)]
pub(super) struct Answer {
    /// The first line: version, number, words.
    pub(super) status: String,
    /// What follows the headers.
    body: String,
}

impl Answer {
    /// Whether it is what was asked for.
    pub(super) fn is_good(&self) -> bool {
        self.status.starts_with("HTTP/1.1 2")
    }
}

impl Door {
    /// The JSON at this path (and query).
    ///
    /// # Errors
    /// Where no gateway answers, or with the problem that it answers.
    pub(super) fn get(&self, path: &str) -> Result<Value, Exit> {
        self.json(&self.text(path)?)
    }

    /// The JSON that answers this body at this path, within this time.
    ///
    /// # Errors
    /// As [`Door::get`].
    pub(super) fn post(&self, path: &str, body: &Value, patience: Duration) -> Result<Value, Exit> {
        self.json(&self.good("POST", path, Some(body), patience)?)
    }

    /// The text at this path, as it is.
    ///
    /// # Errors
    /// As [`Door::get`].
    pub(super) fn text(&self, path: &str) -> Result<String, Exit> {
        self.good("GET", path, None, USUAL)
    }

    fn json(&self, text: &str) -> Result<Value, Exit> {
        serde_json::from_str(text).map_err(|error| self.no_gateway(&error.to_string()))
    }

    fn good(&self, method: &str, path: &str, body: Option<&Value>, patience: Duration) -> Result<String, Exit> {
        let answer = self.ask(method, path, body, patience)?;
        if answer.is_good() {
            return Ok(answer.body);
        }
        let problem: Value = serde_json::from_str(&answer.body).map_err(|_| self.no_gateway(&answer.status))?;
        let word = problem["code"].as_str().unwrap_or_default();
        Err(Exit::refused(word, problem["detail"].as_str().unwrap_or("the gateway refused")))
    }

    fn no_gateway(&self, why: &str) -> Exit {
        Exit::unavailable(format!("{} is no gateway: {why}", self.place))
    }

    /// Whatever answers this, within this time.
    ///
    /// # Errors
    /// Where nothing does.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Answer, Exit> {
        let mut line = self.connect(patience)?;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.place);
        if let Some(token) = &self.token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let sent = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", sent.len()));
        }
        let mut answer = String::new();
        let talked = write!(line, "{request}\r\n{sent}")
            .and_then(|()| line.flush())
            .and_then(|()| line.take(MOST).read_to_string(&mut answer));
        talked
            .map_err(|error: io::Error| Exit::unavailable(format!("no gateway answers at {}: {error}", self.place)))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
        Ok(Answer { status: head.lines().next().unwrap_or_default().to_owned(), body: body.to_owned() })
    }
}

/// A name as a part of a path or query.
pub(super) fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let part = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(part).collect()
}
