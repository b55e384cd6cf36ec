//! Commands one after the other, by HTTP, to a terminal that writes down what it hears: none may be heard twice.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::STALLED;
use super::gateway::{Gateway, Ports, request};
use super::process::until;

/// The terminal that is commanded.
pub(crate) const TERMINAL: &str = "atm-05";
/// What is asked for in turn, what the terminal then hears, and what it answers. As no two have the same text, a command
/// that is sent again cannot pass for one of its neighbours.
const VERBS: [(&str, &str, &str); 4] = [
    ("out_of_service", "2", "9"),
    ("in_service", "1", "9"),
    ("counters", "41", "C\x1cC02"),
    ("configuration", "3", "F\x1c60022"),
];
/// The pause after an attempt that failed, and before the next look.
const PAUSE: Duration = Duration::from_millis(10);
/// How long it waits where it asked too often.
const TOLD_TO_WAIT: Duration = Duration::from_millis(500);

/// What was asked for and what was heard.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Commands that were acknowledged: `k0` to the one before `k{accepted}`.
    pub(crate) accepted: usize,
    /// How often each of them was heard, by its number.
    pub(crate) heard: Vec<usize>,
    /// What was heard that nobody had asked for.
    pub(crate) faults: Vec<String>,
}

impl Orders {
    /// Ties what was heard to the newest command that says this.
    fn hear(&mut self, text: &str) {
        // The one that is being asked for may be heard before its acknowledgement is read.
        let newest = self.heard.len();
        let found =
            (newest.saturating_sub(VERBS.len())..newest).rev().find(|number| VERBS[number % VERBS.len()].1 == text);
        match found {
            Some(number) => self.heard[number] += 1,
            None => self.faults.push(format!("the terminal was told `{text}`, which nobody asked for")),
        }
    }
}

/// Somebody who commands, and the terminal.
pub(crate) struct Commander {
    orders: Arc<Mutex<Orders>>,
    asking: JoinHandle<()>,
    terminal: JoinHandle<()>,
}

impl Commander {
    /// Goes on until `enough`.
    pub(crate) fn start(ports: Ports, enough: CancellationToken) -> Commander {
        let orders: Arc<Mutex<Orders>> = Arc::default();
        let asking = tokio::spawn(ask(ports.http, Arc::clone(&orders), enough));
        let terminal = tokio::spawn(listen(ports.commanded, Arc::clone(&orders)));
        Commander { orders, asking, terminal }
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Orders) -> T) -> T {
        at(&self.orders.lock().unwrap())
    }

    /// Waits until the last command has ended, after it was enough.
    pub(crate) async fn finish(self, gateway: &mut Gateway) -> Orders {
        let missing = || format!("the last command does not end: {:?}", self.look(|orders| orders.accepted));
        until(STALLED, missing, async || {
            gateway.assert_alive();
            self.asking.is_finished().then_some(())
        })
        .await;
        self.terminal.abort();
        std::mem::take(&mut self.orders.lock().unwrap())
    }
}

/// Asks for one command after the other, each until it is acknowledged, and waits until it has ended.
async fn ask(http: SocketAddr, orders: Arc<Mutex<Orders>>, enough: CancellationToken) {
    for number in 0.. {
        if enough.is_cancelled() {
            return;
        }
        let (verb, ..) = VERBS[number % VERBS.len()];
        let id = format!("k{number}");
        let args = match verb {
            "counters" => json!({"set": "basic"}),
            "configuration" => json!({"part": "id"}),
            _ => json!({}),
        };
        let body = json!({"id": id, "terminal": TERMINAL, "verb": verb, "args": args, "ttl_s": 3600}).to_string();
        orders.lock().unwrap().heard.push(0);
        loop {
            match request(http, "POST", "/api/v1/commands", &body).await {
                Some((202, _)) => break,
                // It was taken before the cut, and its terminal has said no since.
                Some((409, text)) if text.contains("\"code\":\"rejected\"") => break,
                // It asks as often as it can, and is told to wait.
                Some((429, _)) => tokio::time::sleep(TOLD_TO_WAIT).await,
                Some((status, text)) if status < 500 => {
                    return orders.lock().unwrap().faults.push(format!("{id} was answered {status}: {text}"));
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        orders.lock().unwrap().accepted = number + 1;
        let path = format!("/api/v1/commands/{id}");
        loop {
            tokio::time::sleep(PAUSE).await;
            let Some((status, text)) = request(http, "GET", &path, "").await else { continue };
            if status == 429 {
                tokio::time::sleep(TOLD_TO_WAIT).await;
            }
            if status == 404 {
                return orders.lock().unwrap().faults.push(format!("{id} was acknowledged and is forgotten: {text}"));
            }
            let command: Value = serde_json::from_str(&text).unwrap_or_default();
            if command["state"].as_str().is_some_and(|state| !["requested", "sent"].contains(&state)) {
                break;
            }
        }
    }
}

/// The terminal: hears, writes down, answers.
async fn listen(address: SocketAddr, orders: Arc<Mutex<Orders>>) {
    loop {
        if let Ok(stream) = TcpStream::connect(address).await {
            let _ = serve(stream, &orders).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn serve(mut stream: TcpStream, orders: &Mutex<Orders>) -> std::io::Result<()> {
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        let message = String::from_utf8_lossy(&message).into_owned();
        let text = message.rsplit('\x1c').next().unwrap_or_default();
        orders.lock().unwrap().hear(text);
        let answer = VERBS.iter().find(|verb| verb.1 == text).map_or("9", |verb| verb.2);
        let answer = format!("22\x1c005000005\x1c\x1c\x1c{answer}");
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
        stream.write_all(answer.as_bytes()).await?;
    }
}
