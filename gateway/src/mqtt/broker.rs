//! Where the brokers are and who we are to them: settings, and the files that a connection is made with. Those are read
//! anew for each connection; while one lasts, a change of them is noticed.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::client::Route;
use super::wire::Login;
use super::{Address, Broken, Client, Greeting, Limits, Tls, Version};
use crate::watch::Watch;

/// Modes that let everybody read a file.
const READABLE: u32 = 0o004;
/// Modes that let others than its owner write to it.
const WRITABLE: u32 = 0o022;

/// The brokers of one installation, as one client of theirs sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Where they are, in the order in which they are tried.
    pub addresses: Vec<Address>,
    /// Which MQTT they speak.
    pub version: Version,
    /// TLS, for addresses that are spoken to by TLS.
    pub tls: Option<Tls>,
    /// Our client id; two clients with one id throw each other out.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// File with the password and nothing else.
    pub password_file: Option<PathBuf>,
    /// File with a token that stands in the password's place.
    pub token_file: Option<PathBuf>,
    /// Seconds of silence after which the broker is pinged.
    pub keep_alive_s: u16,
    /// Seconds for name lookup, TCP, TLS and MQTT handshake together.
    pub connect_timeout_s: u16,
    /// Seconds after which a missing acknowledgement ends the connection.
    pub ack_timeout_s: u16,
    /// First and longest pause between rounds of the brokers.
    pub reconnect: (Duration, Duration),
    /// Most bytes of one packet.
    pub max_packet_bytes: u32,
}

/// What of a broker's files cannot be used: the setting that names it, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: {1}")]
pub(crate) struct Unfit(pub(crate) &'static str, pub(crate) String);

/// One broker with the files as they are now: ready to be connected to.
pub(crate) struct Door {
    route: Route,
    login: Login,
    version: Version,
    patience: Duration,
    /// The files, and how they looked.
    pub(crate) watch: Watch,
}

impl Broker {
    /// How long an acknowledgement may take.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.ack_timeout_s.max(1)))
    }

    /// What of the files cannot be used now: the key, and a sentence. Blocks for the time of a few small reads.
    pub(crate) fn unreadable(&self) -> Vec<(&'static str, String)> {
        let tls = self.tls.clone().or_else(|| self.addresses.iter().any(|at| at.tls).then(Tls::default));
        let tls = tls.and_then(|tls| tls.read().err()).map(|why| ("tls", why));
        let login = self.login().err().map(|Unfit(key, why)| (key, why));
        tls.into_iter().chain(login).collect()
    }

    /// Which of the files with secrets others may use: the key, and a sentence. A group that may read them is let be.
    pub(crate) fn exposed(&self) -> Vec<(&'static str, String)> {
        let key = self.tls.as_ref().and_then(|tls| tls.key.as_ref());
        let files = [
            ("password_file", self.password_file.as_ref()),
            ("token_file", self.token_file.as_ref()),
            ("tls.key", key),
        ];
        let exposed = |path: &PathBuf| {
            let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
            let may = if mode & WRITABLE != 0 { "write" } else { "read" };
            let open = mode & (READABLE | WRITABLE) != 0;
            open.then(|| format!("others may {may} `{}` (mode {mode:03o}): `chmod 600` it", path.display()))
        };
        files.into_iter().filter_map(|(key, path)| Some((key, exposed(path?)?))).collect()
    }

    /// Whether files that a connection was made with, and that have changed, can be used: then it is to be left for a new
    /// one. `None` where nothing has changed. What cannot be used is passed over until the next change.
    pub(crate) async fn changed_files(&self, watch: &mut Watch) -> Option<bool> {
        if !watch.has_changed() {
            return None;
        }
        let broker = self.clone();
        let faults = tokio::task::spawn_blocking(move || broker.unreadable()).await.unwrap_or_default();
        match faults.first() {
            None => {
                tracing::info!("a password, token or certificate file has changed; the broker is connected to anew")
            }
            Some((key, reason)) => {
                tracing::error!(key, reason, "a file has changed and cannot be used; the connection stays as it is");
                watch.take();
            }
        }
        Some(faults.is_empty())
    }

    /// Reads the files that a connection to this address needs. Blocks for the time of a few small reads.
    pub(crate) fn door(&self, address: Address) -> Result<Door, Unfit> {
        let tls = address.tls.then(|| self.tls.clone().unwrap_or_default());
        let files = tls.iter().flat_map(Tls::files).map(|path| path.to_owned());
        let files = files.chain(self.password_file.clone()).chain(self.token_file.clone());
        let watch = Watch::new(files.collect());
        let (tls, own_expiry) = match tls {
            None => (None, None),
            Some(tls) => {
                let name = tls.server_name.clone().unwrap_or_else(|| address.host.clone());
                let name = name.try_into().map_err(|_| Unfit("tls", format!("`{}` is no host name", address.host)))?;
                let (config, own_expiry) = tls.read().map_err(|why| Unfit("tls", why))?;
                (Some((config, name)), own_expiry)
            }
        };
        Ok(Door {
            route: Route { host: address.host, port: address.port, tls, own_expiry },
            login: self.login()?,
            version: self.version,
            patience: Duration::from_secs(u64::from(self.connect_timeout_s.max(1))),
            watch,
        })
    }

    /// Who we are.
    fn login(&self) -> Result<Login, Unfit> {
        let name = self.username.clone().unwrap_or_default();
        let (key, path) = match (&self.password_file, &self.token_file) {
            (Some(path), _) => ("password_file", path),
            (None, Some(path)) => ("token_file", path),
            (None, None) => return Ok((!name.is_empty()).then(|| (name, String::new()))),
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some((name, text.trim_end_matches(['\r', '\n']).to_owned()))),
            Err(error) => Err(Unfit(key, format!("`{}` cannot be read: {error}", path.display()))),
        }
    }
}

impl Door {
    /// Connects and waits for the broker's welcome.
    pub(crate) async fn open(&self, greeting: &Greeting) -> Result<(Client, Limits), Broken> {
        Client::connect(&self.route, self.version, greeting, &self.login, self.patience).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn passwords_and_tokens_lose_their_last_line_end() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret \r\n").expect("writes");
        let nobody = Broker {
            addresses: Vec::new(),
            version: Version::V5,
            tls: None,
            client_id: String::new(),
            username: None,
            password_file: None,
            token_file: None,
            keep_alive_s: 15,
            connect_timeout_s: 20,
            ack_timeout_s: 10,
            reconnect: (Duration::from_secs(1), Duration::from_secs(2)),
            max_packet_bytes: 1024,
        };
        let with_token = Broker { token_file: Some(path.clone()), ..nobody.clone() };
        assert_eq!(with_token.login(), Ok(Some((String::new(), "s3cret ".to_owned()))));
        let named = Broker { username: Some("gw".to_owned()), password_file: Some(path.clone()), ..nobody.clone() };
        for (mode, may) in
            [(0o600, None), (0o640, None), (0o644, Some("read")), (0o660, Some("write")), (0o602, Some("write"))]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("is set");
            for (broker, key) in [(&with_token, "token_file"), (&named, "password_file")] {
                match (&broker.exposed()[..], may) {
                    ([], None) => {}
                    ([(found, why)], Some(may)) if *found == key => {
                        assert!(why.starts_with(&format!("others may {may} ")) && why.contains("chmod 600"), "{why}");
                    }
                    (found, _) => panic!("{mode:o}: {found:?}"),
                }
            }
        }
        assert_eq!(named.login(), Ok(Some(("gw".to_owned(), "s3cret ".to_owned()))));
        assert_eq!(nobody.login(), Ok(None));
        let absent = Broker { token_file: Some("/nowhere".into()), ..nobody };
        assert!(matches!(absent.unreadable()[..], [("token_file", _)]));
    }
}
