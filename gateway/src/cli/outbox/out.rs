//! Where lines go: standard output, or a file that is there whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::exit::Exit;
use crate::cli::interrupt;

/// A place for lines.
pub(in crate::cli) enum Out {
    Screen(BufWriter<io::StdoutLock<'static>>),
    File(BufWriter<NamedTempFile>, PathBuf),
}

impl Out {
    /// Standard output, or where it is `-`; else a new file.
    pub(in crate::cli) fn to(path: Option<&Path>) -> Result<Out, Exit> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Out::Screen(BufWriter::new(io::stdout().lock())));
        };
        if path.exists() {
            return Err(Exit::cannot_create(format!("{} is there already", path.display())));
        }
        // It goes away with whatever ends this before its end.
        interrupt::watch();
        let file = NamedTempFile::new_in(folder(path));
        let file = file.map_err(|error| Exit::cannot_create(format!("{}: {error}", path.display())))?;
        Ok(Out::File(BufWriter::new(file), path.to_owned()))
    }

    /// Writes a line; false where the reader has seen enough (`| head`).
    pub(in crate::cli) fn line(&mut self, line: &str) -> Result<bool, Exit> {
        match self {
            Out::Screen(out) => taken(writeln!(out, "{line}")),
            Out::File(out, path) => {
                interrupt::check()?;
                // A file has no reader who could have seen enough.
                writeln!(out, "{line}").map_err(|error| Exit::io(format!("{}: {error}", path.display()))).map(|()| true)
            }
        }
    }

    /// Writes what is held back.
    pub(in crate::cli) fn flush(&mut self) -> Result<bool, Exit> {
        match self {
            Out::Screen(out) => taken(out.flush()),
            Out::File(out, _) => taken(out.flush()),
        }
    }

    /// Everything is written: a file is synced and gets its name.
    pub(in crate::cli) fn finish(mut self) -> Result<(), Exit> {
        self.flush()?;
        let Out::File(out, path) = self else { return Ok(()) };
        let io = |error: io::Error| Exit::io(format!("{}: {error}", path.display()));
        let file = out.into_inner().map_err(|error| io(error.into_error()))?;
        file.as_file().sync_all().map_err(io)?;
        file.persist_noclobber(&path).map_err(|error| io(error.error))?;
        File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(io)
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn taken(written: io::Result<()>) -> Result<bool, Exit> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Exit::io(error.to_string())),
    }
}
