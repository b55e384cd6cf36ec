//! The Python that has what the subscriber and the schemas' test need.

use std::path::PathBuf;
use std::process::Command;

/// A file of `docs`.
pub(crate) fn docs(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).join(name)
}

/// The interpreter of `VESTIBULE_PYTHON`, or of the folder that `.ci/test` makes.
pub(crate) fn python() -> Command {
    let usual = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/vestibule-venv/bin/python");
    let program = std::env::var_os("VESTIBULE_PYTHON").map_or_else(usual, PathBuf::from);
    assert!(program.exists(), "{} is not there: .ci/test makes it of .ci/requirements.txt", program.display());
    let mut command = Command::new(program);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
