//! A wrong clock for one process.

use std::path::{Path, PathBuf};

/// A system clock of one process, by libfaketime. What it does not touch: time since the boot, and the process itself.
pub(crate) struct FakeClock {
    file: PathBuf,
    mark: PathBuf,
}

impl FakeClock {
    /// A clock that is `offset` seconds off, of a machine whose time daemon has not set it yet.
    pub(crate) fn new(dir: &Path, offset: i64) -> FakeClock {
        let clock = FakeClock { file: dir.join("offset"), mark: dir.join("daemon/set") };
        std::fs::create_dir_all(dir.join("daemon")).expect("is made");
        // What it left is gone with the machine's memory.
        let _ = std::fs::remove_file(&clock.mark);
        clock.set(offset);
        clock
    }

    /// A clock that wakes in 1970.
    pub(crate) fn in_1970(dir: &Path) -> FakeClock {
        FakeClock::new(dir, 60 - jiff::Timestamp::now().as_second())
    }

    /// Moves it: it is so many seconds off now.
    pub(crate) fn set(&self, offset: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{offset:+}")).expect("is written");
        std::fs::rename(new, &self.file).expect("is replaced");
    }

    /// The time daemon says that it is right.
    pub(crate) fn confirm(&self) {
        std::fs::write(&self.mark, jiff::Timestamp::now().to_string()).expect("is written");
    }

    /// The settings by which the gateway knows of the daemon.
    pub(crate) const SETTINGS: &str = "clock.marks = ['{dir}/daemon/set']\n";

    /// What the process needs in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let library = ["x86_64", "aarch64"]
            .map(|machine| PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1")));
        let library =
            library.into_iter().find(|path| path.exists()).expect("libfaketime is installed (apt install faketime)");
        vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // Waiting and measuring go by the machine's own time, as they do where a system clock is set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }
}
