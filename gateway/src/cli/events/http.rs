//! Events from a running gateway, page by page or as it sends them.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Asked, Screen};
use crate::cli::door::{Door, Line};
use crate::cli::exit::{Code, Exit};
use crate::log::Stored;

/// Events of one page, at most what the gateway gives at once.
const PAGE: u64 = 1000;
/// The gateway says something at least every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(40);
/// Pause before a stream that has ended is asked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// A page, with its events byte for byte.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    upto: u64,
    more: bool,
}

pub(super) fn show(door: &Door, asked: &Asked, screen: &mut Screen) -> Result<(), Exit> {
    let query = asked.which.query();
    let limit = asked.limit.unwrap_or(0);
    let mut at = match asked.after {
        Some(after) => after,
        None if limit > PAGE => {
            let reason =
                format!("a gateway gives {PAGE} of the newest at most; say --since, or read its store with --config");
            return Err(Exit::usage(reason));
        }
        None => {
            let text = door.text(&format!("/api/v1/events?newest=true&limit={}{query}", limit.max(1)))?;
            let page = page(&text)?;
            if limit > 0 && !print(&page, screen)? {
                return Ok(());
            }
            page.upto
        }
    };
    while asked.after.is_some() {
        let text = door.text(&format!("/api/v1/events?after={at}&limit={PAGE}{query}"))?;
        let page = page(&text)?;
        at = page.upto;
        if !print(&page, screen)? {
            return Ok(());
        }
        if !page.more {
            break;
        }
    }
    if asked.follow { follow(door, &query, at.to_string(), screen) } else { Ok(()) }
}

fn page(text: &str) -> Result<Page<'_>, Exit> {
    serde_json::from_str(text).map_err(|error| Exit::unavailable(format!("that is no gateway: {error}")))
}

/// Shows a page; false where nothing more is wanted.
fn print(page: &Page<'_>, screen: &mut Screen) -> Result<bool, Exit> {
    for event in &page.events {
        if let Some(stored) = Stored::read(event.get())
            && !screen.show(&stored)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Shows what comes, and goes on where it was whenever the line or the gateway comes back.
fn follow(door: &Door, query: &str, mut id: String, screen: &mut Screen) -> Result<(), Exit> {
    let mut met = false;
    loop {
        if !screen.out.flush()? || screen.gone() {
            return Ok(());
        }
        let mut heard = false;
        match door.connect(SILENCE) {
            Ok(stream) => match listen(stream, door, query, &mut id, screen, &mut heard)? {
                End::Enough => return Ok(()),
                End::Refused(reason) if !heard => return Err(Exit::unavailable(reason)),
                End::Lost | End::Refused(_) => {}
            },
            Err(exit) if !met || exit.code == Code::Usage => return Err(exit),
            Err(_) => {}
        }
        met |= heard;
        std::thread::sleep(PAUSE);
    }
}

/// How a stream ended.
enum End {
    /// Nobody wants more.
    Enough,
    /// The line broke, or the gateway stopped.
    Lost,
    /// The gateway says no.
    Refused(String),
}

fn listen(
    mut stream: Box<dyn Line>,
    door: &Door,
    query: &str,
    id: &mut String,
    screen: &mut Screen,
    heard: &mut bool,
) -> Result<End, Exit> {
    // HTTP/1.0: the answer comes as it is, and ends with the connection.
    let mut request = format!(
        "GET /api/v1/events/stream?{} HTTP/1.0\r\nHost: {}\r\nLast-Event-ID: {id}\r\n",
        query.trim_start_matches('&'),
        door.place
    );
    if let Some(token) = &door.token {
        request.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    request.push_str("\r\n");
    if stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).is_err() {
        return Ok(End::Lost);
    }
    let mut lines = BufReader::new(stream);
    let (mut line, mut status, mut body) = (String::new(), None, false);
    let (mut seen, mut data) = (None, String::new());
    loop {
        line.clear();
        match lines.read_line(&mut line) {
            Ok(read) if read > 0 && line.ends_with('\n') => {}
            _ => return Ok(End::Lost),
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if status.is_none() {
            let good = text.split(' ').nth(1).is_some_and(|code| code == "200");
            *heard |= good;
            status = Some(good);
        } else if !body {
            if text.is_empty() && status == Some(false) {
                let mut problem = String::new();
                let _ = lines.read_to_string(&mut problem);
                let detail = serde_json::from_str::<Value>(&problem).ok();
                let detail = detail.as_ref().and_then(|problem| problem["detail"].as_str());
                return Ok(End::Refused(detail.unwrap_or("the gateway refused").to_owned()));
            }
            body = text.is_empty();
        } else if let Some(place) = text.strip_prefix("id: ") {
            seen = Some(place.to_owned());
        } else if let Some(more) = text.strip_prefix("data: ") {
            data.push_str(more);
        } else if text.is_empty() {
            // What has come whole counts, and nothing else.
            if let Some(place) = seen.take() {
                *id = place;
            }
            let event = Stored::read(&std::mem::take(&mut data));
            if let Some(event) = event
                && !screen.show(&event)?
            {
                return Ok(End::Enough);
            }
            let waits = lines.buffer().is_empty();
            if waits && (!screen.out.flush()? || screen.gone()) {
                return Ok(End::Enough);
            }
        }
    }
}
