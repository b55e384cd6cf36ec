//! Telling systemd how it goes, by the socket that it names in the environment: ready, reloading, stopping, alive.

use std::convert::Infallible;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Whoever started the process; nobody, by default.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that we live.
    every: Option<Duration>,
}

/// When the next sign of life is due.
pub(super) struct Heartbeat(Option<Interval>);

impl Supervisor {
    /// The one that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`), if any.
    pub fn from_environment() -> Supervisor {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|path| match connect(path.as_encoded_bytes()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "Whoever started this cannot be told how it goes.");
                None
            }
        });
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        // Twice in its time: one that is late is none too late.
        let every = number("WATCHDOG_USEC").filter(|_| ours).map(|micros| Duration::from_micros(micros.max(2)) / 2);
        Supervisor { socket, every }
    }

    pub(super) fn ready(&self) {
        self.say("READY=1");
    }

    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    pub(super) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat(self.every.map(|every| {
            let mut beats = interval(every);
            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beats
        }))
    }

    fn say(&self, words: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(words.as_bytes()) {
            tracing::debug!(%error, words, "Whoever started this did not hear.");
        }
    }
}

impl Heartbeat {
    /// Says that we live, again and again.
    pub(super) async fn keep(&mut self, supervisor: &Supervisor) -> Infallible {
        loop {
            self.next().await;
            supervisor.alive();
        }
    }

    pub(super) async fn next(&mut self) {
        match &mut self.0 {
            Some(beats) => drop(beats.tick().await),
            None => std::future::pending().await,
        }
    }
}

/// A path, or with `@` in front a name that stands in no folder. Nobody who does not listen can hold us up.
fn connect(address: &[u8]) -> std::io::Result<UnixDatagram> {
    use std::os::unix::ffi::OsStrExt;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match address.split_first() {
        Some((b'@', name)) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(std::ffi::OsStr::from_bytes(address))?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_by_a_path_and_by_a_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("binds");
        let name = format!("vestibule-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&address).expect("binds");
        let given = [path.into_os_string().into_encoded_bytes(), format!("@{name}").into_bytes()];
        for (heard, given) in [by_path, by_name].iter().zip(given) {
            let supervisor = Supervisor { socket: Some(connect(&given).expect("connects")), every: None };
            supervisor.ready();
            supervisor.reloading();
            let mut words = [0; 64];
            let length = heard.recv(&mut words).expect("is told");
            assert_eq!(&words[..length], b"READY=1");
            let length = heard.recv(&mut words).expect("is told");
            let said = String::from_utf8_lossy(&words[..length]).into_owned();
            let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("says since when");
            assert!(micros.parse::<u64>().is_ok_and(|micros| micros > 0), "{said}");
        }
    }
}
