//! A terminal whose devices are XFS4IoT services: a publisher, and a service for every device, on one port.

mod voice;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tokio_util::sync::CancellationToken;

pub use voice::{Unasked, Voice};

use super::figures::Figures;
use super::script;
use super::script::Play;
use super::tempo::Tempo;

/// Where the publisher is.
const PUBLISHER: &str = "/xfs4iot/v1.0";
/// Messages of clients that are remembered.
const ASKED: usize = 1_000;
/// How long to leave slow clients alone.
const BREATH: Duration = Duration::from_millis(1);
/// How long they may take for the last that was said.
const LAST: Duration = Duration::from_secs(2);
/// Messages that a slow client may be behind.
const BEHIND: usize = 64;

/// One device.
#[derive(Clone, Debug)]
pub struct Service {
    /// The last part of its path.
    pub name: &'static str,
    /// What `Common.Status` answers.
    pub status: Value,
    /// What `Storage.GetStorage` answers; nothing where the device has none.
    pub storage: Option<Value>,
    /// Its reset, where it has one.
    pub reset: Option<Reset>,
}

/// The reset of a device.
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    /// The command's name: `CardReader.Reset`.
    pub command: &'static str,
    /// How it completes; where nothing stands here, it never does.
    pub code: Option<&'static str>,
}

/// What a service does towards all its clients.
#[derive(Clone, Debug)]
enum Act {
    Say(String),
    /// Closes in order: a client that asks something meanwhile still reads what was said before.
    Part,
    HangUp,
}

/// A simulated terminal.
#[derive(Debug)]
pub struct Terminal {
    services: Mutex<Vec<Service>>,
    acts: broadcast::Sender<(&'static str, Act)>,
    asked: Mutex<Vec<Value>>,
    /// The services that have a client which knows how they are: each client asks for that first.
    heard: watch::Sender<BTreeSet<String>>,
}

impl Terminal {
    /// A terminal with these devices.
    pub fn new(services: Vec<Service>) -> Terminal {
        Terminal {
            services: Mutex::new(services),
            acts: broadcast::Sender::new(BEHIND),
            asked: Mutex::default(),
            heard: watch::Sender::default(),
        }
    }

    /// Serves every client of this port, for ever.
    pub async fn serve(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let Ok(address) = listener.local_addr() else { return };
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let base = format!("{scheme}://{address}{PUBLISHER}");
        // Clients are served by this very task, so that they end with it.
        let mut clients = futures_util::stream::FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let (tls, base) = (tls.clone(), base.clone());
                    clients.push(async move {
                        match tls {
                            None => self.client(stream, &base).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    self.client(stream, &base).await;
                                }
                            }
                        }
                    });
                }
                Some(()) = clients.next() => {}
            }
        }
    }

    /// Has a service send an unsolicited event to all its clients.
    pub fn say(&self, service: &'static str, name: &str, payload: Value) {
        self.say_text(service, message(name, &payload));
    }

    /// The same with any text.
    pub fn say_text(&self, service: &'static str, text: String) {
        let _ = self.acts.send((service, Act::Say(text)));
    }

    /// Has a service drop all its clients.
    pub fn hang_up(&self, service: &'static str) {
        let _ = self.acts.send((service, Act::HangUp));
    }

    /// From now on its services answer like these.
    fn now_are(&self, services: Vec<Service>) {
        *self.services.lock().unwrap_or_else(PoisonError::into_inner) = services;
    }

    /// Waits until somebody hears every service.
    async fn heard(&self) {
        let all = self.services.lock().unwrap_or_else(PoisonError::into_inner).len();
        let mut heard = self.heard.subscribe();
        // The sender lives as long as we do.
        let _ = heard.wait_for(|heard| heard.len() == all).await;
    }

    /// Plays a script until it ends, or until `shutdown`. While nobody hears it, it waits.
    pub(super) async fn play(&self, play: Play, tempo: &Tempo, figures: &Figures, shutdown: &CancellationToken) {
        let mut voice = Voice::default();
        let tell = async {
            let mut connected = None;
            for step in play {
                tempo.wait(step.after_ms).await;
                self.heard().await;
                connected.get_or_insert_with(|| figures.connection());
                if step.act == script::Act::Restart {
                    self.part().await;
                    connected = None;
                    continue;
                }
                let said = voice.say(step.act);
                self.now_are(voice.services());
                for Unasked { service, name, payload } in said {
                    tempo.turn().await;
                    while self.acts.len() > BEHIND / 2 {
                        tokio::time::sleep(BREATH).await;
                    }
                    self.heard().await;
                    self.say(service, name, payload);
                    figures.sent();
                }
            }
        };
        tokio::select! {
            () = tell => {}
            () = shutdown.cancelled() => {}
        }
        self.part().await;
    }

    /// Has every service say goodbye to its clients, and waits until they have heard everything; not for ever.
    async fn part(&self) {
        let services: Vec<_> =
            self.services.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|it| it.name).collect();
        for service in services {
            let _ = self.acts.send((service, Act::Part));
        }
        let mut heard = self.heard.subscribe();
        let _ = timeout(LAST, heard.wait_for(BTreeSet::is_empty)).await;
    }

    /// What clients have sent, the first thousand.
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn client<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, base: &str) {
        let mut path = String::new();
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let noted = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            request.uri().path().clone_into(&mut path);
            Ok(response)
        };
        let Ok(mut socket) = accept_hdr_async(stream, noted).await else { return };
        let name = path.strip_prefix(PUBLISHER).unwrap_or_default().trim_start_matches('/').to_owned();
        let _heard = Heard { name: &name, by: &self.heard };
        let mut acts = self.acts.subscribe();
        loop {
            tokio::select! {
                frame = socket.next() => match frame {
                    Some(Ok(Frame::Text(text))) => {
                        let asked: Value = serde_json::from_str(&text).unwrap_or_default();
                        if self.answer(&mut socket, &asked, &name, base).await.is_none() {
                            return;
                        }
                    }
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                Ok((to, act)) = acts.recv() => match act {
                    _ if to != name => {}
                    Act::Say(text) => {
                        if socket.send(Frame::text(text)).await.is_err() {
                            return;
                        }
                    }
                    Act::Part => {
                        let _ = socket.close(None).await;
                        while let Some(Ok(_)) = socket.next().await {}
                        return;
                    }
                    Act::HangUp => return,
                },
            }
        }
    }

    /// Acknowledges a command, then completes it.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut WebSocketStream<S>,
        asked: &Value,
        service: &str,
        base: &str,
    ) -> Option<()> {
        self.remember(asked);
        let (name, id) = (asked["header"]["name"].as_str().unwrap_or_default(), &asked["header"]["requestId"]);
        let payload = self.payload(name, service, base);
        let code = match self.reset(name, service) {
            Some(code) => code,
            None if payload.is_some() => Some("success"),
            None => Some("unsupportedCommand"),
        };
        let acknowledged =
            json!({ "header": { "type": "acknowledge", "name": name, "requestId": id, "version": "2.0" } });
        let completed = json!({
            "header": {
                "type": "completion", "name": name, "requestId": id, "version": "2.0", "completionCode": code.unwrap_or_default(),
            },
            "payload": payload.unwrap_or_default(),
        });
        for message in std::iter::once(acknowledged).chain(code.map(|_| completed)) {
            socket.send(Frame::text(message.to_string())).await.ok()?;
        }
        // Of what happens later it hears, and of what was before it knows.
        if name == "Common.Status" {
            self.heard.send_if_modified(|heard| heard.insert(service.to_owned()));
        }
        Some(())
    }

    /// How the reset of a device completes, where this is one. Afterwards the device is as good as new, and says so.
    fn reset(&self, name: &str, service: &str) -> Option<Option<&'static str>> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let service = services.iter_mut().find(|known| known.name == service)?;
        let reset = service.reset.filter(|reset| reset.command == name)?;
        if reset.code == Some("success") {
            service.status["common"]["device"] = json!("online");
            self.say(service.name, "Common.StatusChangedEvent", json!({ "common": { "device": "online" } }));
        }
        Some(reset.code)
    }

    fn remember(&self, asked: &Value) {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < ASKED {
            all.push(asked.clone());
        }
    }

    /// What a command is answered with; nothing where it is not known.
    fn payload(&self, name: &str, service: &str, base: &str) -> Option<Value> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let service = services.iter().find(|known| known.name == service);
        match (name, service) {
            ("ServicePublisher.GetServices", None) => {
                let uri = |service: &Service| json!({ "serviceURI": format!("{base}/{}", service.name) });
                let services: Vec<Value> = services.iter().map(uri).collect();
                Some(json!({ "vendorName": "Simulated", "services": services }))
            }
            ("Common.Status", Some(service)) => Some(service.status.clone()),
            ("Common.Capabilities", Some(_)) => Some(json!({ "common": { "serviceVersion": "1.0" } })),
            ("Storage.GetStorage", Some(service)) => service.storage.clone(),
            _ => None,
        }
    }
}

/// An unsolicited event.
pub(super) fn message(name: &str, payload: &Value) -> String {
    json!({ "header": { "type": "unsolicited", "name": name, "version": "2.0" }, "payload": payload }).to_string()
}

/// A client of a service; with it goes who hears the service.
struct Heard<'t> {
    name: &'t str,
    by: &'t watch::Sender<BTreeSet<String>>,
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        self.by.send_if_modified(|heard| heard.remove(self.name));
    }
}
