//! A mosquitto of our own on a free loopback port, gone when dropped.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running mosquitto. A missing program fails the test: nothing is skipped.
pub(crate) struct Mosquitto {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Mosquitto {
    /// A broker that lets everybody in, with a window as wide as the clients'.
    pub(crate) fn start() -> Mosquitto {
        Mosquitto::with("allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n", &[])
    }

    /// A broker with these lines in its configuration. `{dir}` in them stands for its folder, where `files` are written
    /// before.
    pub(crate) fn with(lines: &str, files: &[(&str, &str)]) -> Mosquitto {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("the broker's file is written");
        }
        let lines = lines.replace("{dir}", &dir.path().display().to_string());
        // Somebody may take the free port before the broker does.
        for _ in 0..20 {
            let port = free_port();
            let mut config = format!("listener {port} 127.0.0.1\nuser root\npersistence false\n");
            config.push_str("log_dest stderr\nlog_type all\n");
            let _ = writeln!(config, "{lines}");
            let path = dir.path().join("mosquitto.conf");
            std::fs::write(&path, config).expect("the broker's configuration is written");
            if let Some(child) = launch(&path) {
                return Mosquitto { child, dir, port };
            }
        }
        panic!("mosquitto does not start with:\n{lines}");
    }

    /// A broker at this port, which must be free, that lets everybody in.
    pub(crate) fn at(port: u16) -> Mosquitto {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("mosquitto.conf");
        let config = format!(
            "listener {port} 127.0.0.1\nuser root\npersistence false\nlog_dest stderr\nlog_type all\n\
             allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        );
        std::fs::write(&path, config).expect("the broker's configuration is written");
        let child = launch(&path).expect("the port is still free");
        Mosquitto { child, dir, port }
    }

    /// The TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Has it read its files again.
    pub(crate) fn reload(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("it runs");
    }

    /// Ends it in order, and starts it anew at the same port, with what it has kept.
    pub(crate) fn restart(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        self.child.wait().expect("it ends");
        self.child = launch(&self.dir.path().join("mosquitto.conf")).expect("the port is still free");
    }

    /// A file in the broker's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// Starts the broker and waits until it says that it runs; `None` where it ended instead.
fn launch(config: &Path) -> Option<Child> {
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let mut child = Command::new(program)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mosquitto is installed (apt install mosquitto)");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
    let runs = lines.by_ref().map_while(Result::ok).any(|line| line.ends_with(" running"));
    if !runs {
        let _ = child.wait();
        return None;
    }
    // A full pipe would stop the broker.
    std::thread::spawn(move || lines.for_each(drop));
    Some(child)
}
