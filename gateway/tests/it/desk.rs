//! The tokens of a gateway, changed by the command line as a person would.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A token file, and a configuration that names it.
pub(crate) struct Desk {
    dir: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let desk = Desk { dir: tempfile::tempdir().expect("a folder") };
        std::fs::write(desk.config(), desk.setting()).expect("is written");
        desk
    }

    pub(crate) fn setting(&self) -> String {
        format!("auth.tokens = {:?}\n", self.dir.path().join("tokens.toml"))
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("vestibule.toml")
    }

    /// `vestibule token VERB …`: what it prints.
    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        let (verb, rest) = arguments.split_first().expect("a verb");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        let output = command.args(["token", verb, "--config"]).arg(self.config()).args(rest).output().expect("runs");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("is text"));
        assert!(output.status.success(), "{arguments:?}: {err}");
        assert_eq!(err, "", "{arguments:?}");
        out.trim_end().to_owned()
    }

    pub(crate) fn add(&self, role: &str) -> String {
        self.token(&["add", "--name", role, "--role", role])
    }
}
