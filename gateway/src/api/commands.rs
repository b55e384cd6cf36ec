//! `/api/v1/commands`: asking terminals for something, and how far that has come.

use std::fmt;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::View;
use super::page::limit;
use super::problem::{Problem, body};
use super::server::Peer;
use crate::auth::{Identity, Source as Address};
use crate::command::{Arguments, Asker, Attempt, Code, Command, Deadline, Refusal, Request, Source, State as Stage};
use crate::log::CommandFilter;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    terminal: String,
    verb: String,
    #[serde(default, deserialize_with = "each_once")]
    args: Arguments,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    ttl_s: Option<u64>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

/// Arguments of which none is there twice: the last of two would count, and who asked may have meant the first.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arguments, D::Error> {
    struct Each;
    impl<'de> Visitor<'de> for Each {
        type Value = Arguments;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arguments, A::Error> {
            let mut arguments = Arguments::new();
            while let Some((name, value)) = map.next_entry::<String, Value>()? {
                // A name that could be anything else is not said again.
                let plain = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                let shown = if plain { format!("args.{name}") } else { "args".to_owned() };
                if arguments.insert(name, value).is_some() {
                    return Err(A::Error::custom(format!("duplicate field `{shown}`")));
                }
            }
            Ok(arguments)
        }
    }
    deserializer.deserialize_map(Each)
}

/// Which commands.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    terminal: Option<String>,
    state: Option<Stage>,
    limit: Option<usize>,
    /// The number before which to go on.
    cursor: Option<u64>,
}

/// Which of several commands of one id.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Way {
    source: Option<Source>,
}

/// `POST /api/v1/commands`: 202 once it is committed; the same again answers how far it has come.
pub(super) async fn ask(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Problem> {
    let asker = Asker::Known(identity);
    let address = peer.map(|Extension(peer)| peer.source);
    let unread = Attempt::unread(Source::Http, &asker, address);
    let request = read(asker, address, &headers, asked).inspect_err(|problem| {
        view.desk.refused(&unread, &Refusal::new(Code::BadRequest, problem.detail()));
    })?;
    let command = view.desk.ask(request).await.map_err(|refusal| problem(&refusal))?;
    let location = format!("/api/v1/commands/{}", command.id);
    if let (Stage::Refused | Stage::Expired, Some(code)) = (command.state, &command.code) {
        let detail = command.detail.clone().unwrap_or_default();
        return Err(Problem::new(StatusCode::CONFLICT, known(code), detail).header(header::LOCATION, &location));
    }
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(command)).into_response())
}

/// What is asked, or what is wrong with it.
fn read(
    asker: Asker,
    address: Option<Address>,
    headers: &HeaderMap,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Request, Problem> {
    let bad = |why| Problem::new(StatusCode::BAD_REQUEST, Code::BadRequest.name(), why);
    let asked = body(asked)?;
    let key = match headers.get("idempotency-key").map(|value| value.to_str()) {
        None => None,
        Some(Ok(key)) => Some(key.trim_matches('"').to_owned()),
        Some(Err(_)) => return Err(bad("the idempotency key is no text")),
    };
    let id = match (asked.id, key) {
        (Some(id), Some(key)) if id != key => return Err(bad("`id` and the idempotency key are not the same")),
        (id, key) => id.or(key),
    };
    let deadline = match (asked.ttl_s, asked.expires_at) {
        (None, None) => Deadline::Usual,
        (Some(seconds), None) => Deadline::Seconds(seconds),
        (None, Some(at)) => Deadline::At(at),
        (Some(_), Some(_)) => return Err(bad("give one of `ttl_s` and `expires_at`")),
    };
    Ok(Request {
        source: Source::Http,
        asker,
        address,
        id,
        terminal: asked.terminal,
        verb: asked.verb,
        arguments: asked.args,
        deadline,
    })
}

/// `GET /api/v1/commands/{id}`: that of HTTP, or of the `source` that is asked for, or else any of this id.
pub(super) async fn show(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    Path(id): Path<String>,
    way: Result<Query<Way>, QueryRejection>,
) -> Result<Json<Command>, Problem> {
    let Query(Way { source }) = way?;
    let sources = source.map_or(vec![Source::Http, Source::Mqtt, Source::Rule], |source| vec![source]);
    for source in sources {
        let found = view.log.command(source, &id).map_err(|_| unreadable())?;
        // Who is for other terminals learns nothing of this one.
        if let Some(command) = found.filter(|command| identity.terminals.contain(&command.terminal)) {
            return Ok(Json(command));
        }
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "command_not_found", "there is no command of this id"))
}

/// `GET /api/v1/commands`, newest first.
pub(super) async fn list(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(filter) = filter?;
    let limit = limit(filter.limit)?;
    let wanted = CommandFilter { terminal: filter.terminal, state: filter.state, before: filter.cursor };
    let mut rows = view.log.commands(&wanted, limit + 1).map_err(|_| unreadable())?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.number);
    let rows = rows.into_iter().filter(|row| identity.terminals.contain(&row.command.terminal));
    let commands: Vec<Command> = rows.map(|row| row.command).collect();
    Ok(Json(json!({ "commands": commands, "next": next })))
}

fn unreadable() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable.name(), "the commands cannot be read now")
}

fn problem(refusal: &Refusal) -> Problem {
    let status = match refusal.code {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::Unauthorised => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::UnknownTerminal => StatusCode::NOT_FOUND,
        Code::Busy => StatusCode::TOO_MANY_REQUESTS,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unsupported
        | Code::LinkReadOnly
        | Code::Expired
        | Code::Conflict
        | Code::Rejected
        | Code::DeviceFault
        | Code::ClockNotSynced => StatusCode::CONFLICT,
    };
    Problem::new(status, refusal.code.name(), refusal.detail.clone())
}

/// A stored code as one of the stable words.
fn known(code: &str) -> &'static str {
    Code::ALL.into_iter().map(Code::name).find(|name| *name == code).unwrap_or("refused")
}
