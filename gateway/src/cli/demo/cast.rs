//! Who plays in the demo: four terminals in three protocols, and the configuration that expects them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::exit::Exit;
use crate::config::Config;
use crate::simulate::journal::{self, Printer};
use crate::simulate::jsonl::{self, Client};
use crate::simulate::script::{BACK_OFFICE, DRIVE_UP, KIOSK, LOBBY};
use crate::simulate::{Clock, Pace, Retry, ndc};

/// The terminals' addresses.
pub(super) struct Cast {
    lobby: SocketAddr,
    drive_up: SocketAddr,
    kiosk: SocketAddr,
    back_office: Arc<Printer>,
}

impl Cast {
    pub(super) fn new() -> Result<Cast, Exit> {
        let printer = Printer::open().map_err(|error| Exit::io(format!("no pseudo-terminal: {error}")))?;
        Ok(Cast { lobby: port()?, drive_up: port()?, kiosk: port()?, back_office: Arc::new(printer) })
    }

    /// The configuration of a gateway that expects them.
    pub(super) fn config(&self, dir: PathBuf, http: SocketAddr, broker: SocketAddr) -> Config {
        let text = format!(
            r#"
            [gateway]
            id = "demo"
            site = "branch-001"
            # It shows itself to whoever is on this machine.
            [auth]
            loopback = "open"
            [forward]
            host = "{}"
            port = {}
            # The embedded broker cannot hand properties on to the 3.1.1 clients that people bring.
            content_type = false
            [[terminal]]
            name = "atm-01-lobby"
            profile = "ncr-selfserv-ndc"
            luno = "001"
            link = [{{ name = "ndc", protocol = "ndc", listen = "{}" }}]
            [[terminal]]
            name = "atm-02-drive-up"
            profile = "ncr-selfserv-ndc"
            luno = "002"
            link = [{{ name = "ndc", protocol = "ndc", listen = "{}" }}]
            [[terminal]]
            name = "atm-03-back-office"
            profile = "ncr-journal"
            link = [{{ name = "journal", protocol = "journal", serial = "{}" }}]
            [[terminal]]
            name = "atm-04-kiosk"
            profile = "json-lines"
            reports_requests = true
            link = [{{ name = "json", protocol = "jsonl", listen = "{}" }}]
            "#,
            broker.ip(),
            broker.port(),
            self.lobby,
            self.drive_up,
            self.back_office.path().display(),
            self.kiosk,
        );
        // The text is ours: a fault in it is a bug, and the tests see it.
        let mut config = Config::parse(&text).unwrap_or_else(|faults| {
            tracing::error!(%faults, "The demo's configuration is wrong.");
            Config::default()
        });
        config.log.dir = dir;
        config.http.listen = http;
        config
    }

    /// Lets them play until `stop`.
    pub(super) fn perform(self, stop: &CancellationToken) -> TaskTracker {
        let (actors, pace) = (TaskTracker::new(), Pace::default());
        for (address, luno, script, seed) in [(self.lobby, "001", LOBBY, 1), (self.drive_up, "002", DRIVE_UP, 2)] {
            let terminal = ndc::Terminal {
                address,
                luno: luno.to_owned(),
                script,
                seed,
                tempo: pace.into(),
                retry: Retry::default(),
            };
            actors.spawn(terminal.run(stop.clone()));
        }
        let printing = journal::Terminal { script: BACK_OFFICE, seed: 3, time_zone: TimeZone::UTC, baud: 9600, pace };
        actors.spawn(printing.run(self.back_office, stop.clone()));
        // Source ids must be new at each run, or a kept store takes the lines for re-sent ones.
        let source = format!("kiosk-{}", jiff::Timestamp::now().as_millisecond());
        let kiosk = jsonl::Terminal {
            client: Client::new(self.kiosk),
            script: KIOSK,
            seed: 4,
            source,
            tempo: pace.into(),
            clock: Clock::Real(TimeZone::UTC),
        };
        actors.spawn(kiosk.run(stop.clone()));
        actors.close();
        actors
    }
}

/// A free loopback port.
fn port() -> Result<SocketAddr, Exit> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Exit::unavailable(format!("no free port: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_configuration_is_one() {
        let cast = Cast::new().expect("ports and a pty");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1883));
        let config = cast.config(PathBuf::from("x"), address, address);
        assert_eq!((config.gateway.id.as_str(), config.terminal.len()), ("demo", 4));
        assert!(config.forward.is_some());
    }
}
