//! A terminal whose devices are XFS4IoT services: a publisher, and a service for every device, on one port.

use std::sync::{Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Where the publisher is.
const PUBLISHER: &str = "/xfs4iot/v1.0";
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
}

/// What a service does towards all its clients.
#[derive(Clone, Debug)]
enum Act {
    Say(String),
    HangUp,
}

/// A simulated terminal.
#[derive(Debug)]
pub struct Terminal {
    services: Vec<Service>,
    acts: broadcast::Sender<(&'static str, Act)>,
    asked: Mutex<Vec<Value>>,
}

impl Terminal {
    /// A terminal with these devices.
    pub fn new(services: Vec<Service>) -> Terminal {
        Terminal { services, acts: broadcast::Sender::new(BEHIND), asked: Mutex::default() }
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
        let message =
            json!({ "header": { "type": "unsolicited", "name": name, "version": "2.0" }, "payload": payload });
        self.say_text(service, message.to_string());
    }

    /// The same with any text.
    pub fn say_text(&self, service: &'static str, text: String) {
        let _ = self.acts.send((service, Act::Say(text)));
    }

    /// Has a service drop all its clients.
    pub fn hang_up(&self, service: &'static str) {
        let _ = self.acts.send((service, Act::HangUp));
    }

    /// Everything that clients have sent.
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
        let service = self.services.iter().find(|service| service.name == name);
        let mut acts = self.acts.subscribe();
        loop {
            tokio::select! {
                frame = socket.next() => match frame {
                    Some(Ok(Frame::Text(text))) => {
                        let asked: Value = serde_json::from_str(&text).unwrap_or_default();
                        if self.answer(&mut socket, &asked, service, base).await.is_none() {
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
        service: Option<&Service>,
        base: &str,
    ) -> Option<()> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
        let (name, id) = (asked["header"]["name"].as_str().unwrap_or_default(), &asked["header"]["requestId"]);
        let payload = match (name, service) {
            ("ServicePublisher.GetServices", None) => {
                let uri = |service: &Service| json!({ "serviceURI": format!("{base}/{}", service.name) });
                let services: Vec<Value> = self.services.iter().map(uri).collect();
                Some(json!({ "vendorName": "Simulated", "services": services }))
            }
            ("Common.Status", Some(service)) => Some(service.status.clone()),
            ("Common.Capabilities", Some(_)) => Some(json!({ "common": { "serviceVersion": "1.0" } })),
            ("Storage.GetStorage", Some(service)) => service.storage.clone(),
            _ => None,
        };
        let code = if payload.is_some() { "success" } else { "unsupportedCommand" };
        let acknowledged =
            json!({ "header": { "type": "acknowledge", "name": name, "requestId": id, "version": "2.0" } });
        let completed = json!({
            "header": {
                "type": "completion", "name": name, "requestId": id, "version": "2.0", "completionCode": code,
            },
            "payload": payload.unwrap_or_default(),
        });
        for message in [acknowledged, completed] {
            socket.send(Frame::text(message.to_string())).await.ok()?;
        }
        Some(())
    }
}
