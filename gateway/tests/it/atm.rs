//! A terminal that speaks NDC, for which the test speaks.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::gateway::DEADLINE;

/// The other end of a link.
pub(crate) struct Atm(pub(crate) TcpStream);

impl Atm {
    pub(crate) async fn connect(address: SocketAddr) -> Atm {
        let attempt = async {
            loop {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Atm(stream),
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        };
        timeout(DEADLINE, attempt).await.expect("somebody listens")
    }

    pub(crate) async fn heard(&mut self) -> String {
        let read = async {
            let length = self.0.read_u16().await.expect("a frame");
            let mut message = vec![0; usize::from(length)];
            self.0.read_exact(&mut message).await.expect("the whole of it");
            String::from_utf8(message).expect("ASCII").replace('\x1c', "|")
        };
        timeout(DEADLINE, read).await.expect("a message in time")
    }

    /// What it is asked for, without sequence number.
    pub(crate) async fn asked(&mut self) -> String {
        let heard = self.heard().await;
        heard.rsplit('|').next().expect("a field").to_owned()
    }

    pub(crate) async fn hears_nothing(&mut self) {
        let heard = timeout(Duration::from_millis(300), self.0.read_u16()).await;
        assert!(heard.is_err(), "{heard:?}");
    }

    pub(crate) async fn say(&mut self, text: &str) {
        let message = text.replace('|', "\x1c");
        let length = u16::try_from(message.len()).expect("short");
        self.0.write_all(&[&length.to_be_bytes()[..], message.as_bytes()].concat()).await.expect("is taken");
    }
}
