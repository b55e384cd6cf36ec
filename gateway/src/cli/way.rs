//! The ways to a gateway's store: its configuration, its data folder.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use crate::config::Config;

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
