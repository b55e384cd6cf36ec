//! The clock's part of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How it is known whether the system's clock is right.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Files that a time daemon leaves, or touches, once it has set the clock. Where one of them is there, the clock is
    /// right; where the folder of one is there and the file is not, it is wrong; else nothing says.
    pub marks: Vec<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        // systemd-timesyncd's own, which it touches at each answer, and one for whatever else sets the clock.
        Config { marks: vec!["/run/systemd/timesync/synchronized".into(), "/run/vestibule/time-synced".into()] }
    }
}

impl Config {
    /// Everything that is wrong with these settings: the key, and a sentence that says why.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let relative = self.marks.iter().filter(|path| !path.is_absolute());
        relative.map(|path| ("marks", format!("`{}` must be an absolute path", path.display()))).collect()
    }
}
