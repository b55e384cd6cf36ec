//! The ways to a gateway: its configuration, its data folder, its HTTP interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::ask::{self, Asked};
use super::exit::Exit;
use crate::config::Config;

/// Where a running gateway listens where nobody says otherwise.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The data folder.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Folder {
    /// The gateway's configuration, for its data folder.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Folder {
    /// The data folder that is meant.
    pub(super) fn dir(&self) -> Result<PathBuf, Exit> {
        Ok(match (&self.dir, self.config()?) {
            (Some(dir), _) => dir.clone(),
            (None, config) => config.unwrap_or_default().log.dir,
        })
    }

    /// The configuration, where it is given.
    pub(super) fn config(&self) -> Result<Option<Config>, Exit> {
        Ok(self.config.as_deref().map(Config::load).transpose()?)
    }
}

/// The data folder, where the store itself is read.
#[derive(Debug, Args)]
pub(super) struct OptionalFolder {
    /// Read the store of this configuration instead of asking the gateway: no token is needed, and it need not run. With
    /// --http the gateway is asked, and this says how.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The same with the data folder.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    dir: Option<PathBuf>,
}

impl OptionalFolder {
    /// The data folder that is meant, if one is.
    pub(super) fn dir(&self, config: Option<&Config>) -> Option<PathBuf> {
        self.dir.clone().or_else(|| config.map(|config| config.log.dir.clone()))
    }

    /// The configuration, where it is given.
    pub(super) fn config(&self) -> Result<Option<Config>, Exit> {
        Ok(self.config.as_deref().map(Config::load).transpose()?)
    }
}

/// What opens a running gateway's HTTP interface.
#[derive(Debug, Args)]
pub(super) struct Key {
    /// Where the gateway's HTTP interface listens; without it, where the configuration says, else 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    pub(super) http: Option<SocketAddr>,
    /// File with a token and nothing else; without it, the one in the environment's VESTIBULE_TOKEN, or none.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A way to a running gateway.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) http: SocketAddr,
    pub(super) token: Option<String>,
    pub(super) certificate: Option<PathBuf>,
}

impl Key {
    /// The door that it opens.
    pub(super) fn door(&self, config: Option<&Config>) -> Result<Door, Exit> {
        let mut http = self.http.or(config.map(|config| config.http.listen)).unwrap_or(USUAL);
        if http.ip().is_unspecified() {
            http.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let certificate = config.and_then(|config| config.http.tls.as_ref()).map(|tls| tls.certificate.clone());
        let token = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map(Some)
                .map_err(|error| Exit::no_input(format!("the token file {}: {error}", path.display())))?,
            None => std::env::var("VESTIBULE_TOKEN").ok(),
        };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Door { http, token, certificate })
    }
}

impl Door {
    /// The JSON at this path.
    pub(super) fn get(&self, path: &str) -> Result<Value, Exit> {
        self.ask("GET", path, None)
    }

    /// The JSON that answers this body.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Exit> {
        self.ask("POST", path, Some(body))
    }

    /// The text at this path.
    pub(super) fn text(&self, path: &str) -> Result<String, Exit> {
        let (token, certificate) = (self.token.as_deref(), self.certificate.as_deref());
        ask::text(self.http, &Asked { method: "GET", path, token, body: None, certificate })
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Exit> {
        let (token, certificate) = (self.token.as_deref(), self.certificate.as_deref());
        ask::send(self.http, &Asked { method, path, token, body, certificate })
    }
}
