//! The files that a connection is made with: user, password or token, certificates. They are read anew at each
//! connection; while one lasts, a change of them is noticed.

use std::path::PathBuf;
use std::time::SystemTime;

use super::Config;

/// User name and password; either may be empty.
pub(super) type Login = Option<(String, String)>;

/// Reads who we are. Blocks for the time of a small read.
pub(super) fn login(config: &Config) -> Result<Login, String> {
    let name = config.username.clone().unwrap_or_default();
    let Some(path) = config.password_file.as_ref().or(config.token_file.as_ref()) else {
        return Ok((!name.is_empty()).then(|| (name, String::new())));
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((name, text.trim_end_matches(['\r', '\n']).to_owned()))),
        Err(error) => Err(format!("`{}` cannot be read: {error}", path.display())),
    }
}

/// What the files look like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Looks(Vec<Option<(SystemTime, u64)>>);

/// The files, and how they looked when the connection was made.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    known: Looks,
    seen: Looks,
}

impl Watch {
    /// Remembers how the files look now. Blocks for the time of a look.
    pub(super) fn new(files: Vec<PathBuf>) -> Watch {
        let known = look(&files);
        Watch { files, seen: known.clone(), known }
    }

    /// Looks again: whether something has changed, and stays as it is since the last look. Whoever writes several files
    /// is not disturbed half-way.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = look(&self.files);
        let still = now == self.seen;
        self.seen = now;
        still && self.seen != self.known
    }

    /// What has changed was looked at and is no good: it is passed over until the next change.
    pub(super) fn pass_over(&mut self) {
        self.known = self.seen.clone();
    }
}

fn look(files: &[PathBuf]) -> Looks {
    let outside = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    Looks(files.iter().map(outside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_come_to_rest() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("token");
        std::fs::write(&path, "one").expect("writes");
        let mut watch = Watch::new(vec![path.clone()]);
        assert!(!watch.has_changed());
        std::fs::write(&path, "three").expect("writes");
        assert!(!watch.has_changed(), "it may still be written");
        assert!(watch.has_changed() && watch.has_changed());
        watch.pass_over();
        assert!(!watch.has_changed());
        std::fs::remove_file(&path).expect("removes");
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "a file that is gone has changed too");
    }

    #[test]
    fn passwords_and_tokens_lose_their_last_line_end() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret \r\n").expect("writes");
        let config = Config { token_file: Some(path.clone()), ..Config::default() };
        assert_eq!(login(&config), Ok(Some((String::new(), "s3cret ".to_owned()))));
        let config = Config { username: Some("gw".to_owned()), password_file: Some(path), ..Config::default() };
        assert_eq!(login(&config), Ok(Some(("gw".to_owned(), "s3cret ".to_owned()))));
        assert_eq!(login(&Config::default()), Ok(None));
    }
}
