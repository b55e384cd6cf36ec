//! People and programs at a broker, by mosquitto's own clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::certificates::Authority;
use crate::process::{Process, until};

const WITHIN: Duration = Duration::from_secs(60);

/// Who comes to a broker: a user, and how that is shown.
pub(crate) struct Client {
    user: String,
    arguments: Vec<String>,
}

impl Client {
    /// One with a password.
    pub(crate) fn new(broker: SocketAddr, version: &str, user: &str, password: &str) -> Client {
        let mut client = Client::at(broker, version, user);
        client.arguments.extend(["-u", user, "-P", password].map(str::to_owned));
        client
    }

    /// One with a certificate of this authority, whose files go to a folder.
    pub(crate) fn by_certificate(
        broker: SocketAddr,
        version: &str,
        user: &str,
        authority: &Authority,
        dir: &Path,
    ) -> Client {
        let mut client = Client::at(broker, version, user);
        let [ca, certificate, key] = files(authority, dir, user, user);
        for (option, file) in [("--cafile", ca), ("--cert", certificate), ("--key", key)] {
            client.arguments.extend([option.to_owned(), file.display().to_string()]);
        }
        client
    }

    fn at(broker: SocketAddr, version: &str, user: &str) -> Client {
        let version = if version == "5" { "mqttv5" } else { "mqttv311" };
        let (host, port) = (broker.ip().to_string(), broker.port().to_string());
        let arguments = ["-V", version, "-h", &host, "-p", &port, "-q", "1"].map(str::to_owned).to_vec();
        Client { user: user.to_owned(), arguments }
    }

    fn command(&self, program: &str, what: &str) -> Command {
        let mut command = Command::new(program);
        // A name that the access lists give to this user alone.
        command.args(&self.arguments).arg("-i").arg(format!("{}-{what}", self.user));
        command
    }

    /// Publishes, and gives what the publisher complained about; `what` is in mosquitto_pub's own words.
    pub(crate) fn publish(&self, topic: &str, what: &[&str]) -> String {
        let output = self.command("mosquitto_pub", "says").arg("-t").arg(topic).args(what).output();
        String::from_utf8_lossy(&output.unwrap().stderr).into_owned()
    }

    /// How many retained messages the broker has for these topics, of so many that there are.
    pub(crate) fn retained(&self, topic: &str, of: usize) -> usize {
        let mut command = self.command("mosquitto_sub", "looks");
        command.args(["--retained-only", "-F", "%t", "-t", topic, "-C", &of.to_string(), "-W", "5"]);
        String::from_utf8_lossy(&command.output().unwrap().stdout).lines().count()
    }

    /// Begins to listen, and waits until the broker has answered whether it may: by a word, or by hanging up.
    pub(crate) async fn listen(&self, dir: &Path, topic: &str) -> Listener {
        let dir = tempfile::tempdir_in(dir).unwrap().keep();
        let mut command = Command::new("stdbuf");
        let id = format!("{}-{}", self.user, dir.file_name().unwrap().display());
        command.args(["-oL", "mosquitto_sub"]).args(&self.arguments).args(["-i", &id, "-d", "-v", "-t", topic]);
        let mut listener =
            Listener { process: Process::start("listener", command, &dir), log: dir.join("listener.log") };
        let answered = async || {
            let (ended, text) = (listener.process.ended().is_some(), listener.text());
            // Who is let in again was hung up on for asking.
            let hung_up = text.matches("received CONNACK (0)").count() > 1;
            (ended || hung_up || text.contains("received SUBACK")).then_some(())
        };
        let log = dir.join("listener.log");
        let missing = || format!("the subscription is not answered: {}", std::fs::read_to_string(&log).unwrap());
        until(WITHIN, missing, answered).await;
        listener
    }
}

/// The files of an authority and of a certificate that it signs for this name.
pub(crate) fn files(authority: &Authority, dir: &Path, file: &str, name: &str) -> [PathBuf; 3] {
    let signed = authority.sign(name, (2025, 2090));
    [("ca", &authority.pem), ("pem", &signed.certificate), ("key", &signed.key)].map(|(end, text)| {
        let path = dir.join(format!("{file}.{end}"));
        std::fs::write(&path, text).unwrap();
        path
    })
}

/// Somebody who listens, as far as the broker allows it.
pub(crate) struct Listener {
    process: Process,
    log: PathBuf,
}

impl Listener {
    /// All that came, and what the client said about the line.
    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until a line of what came has all of these words in it.
    pub(crate) async fn hears(&self, words: &[&str]) {
        let heard = async || {
            let all = |line: &str| words.iter().all(|word| line.contains(word));
            self.text().lines().any(all).then_some(())
        };
        until(WITHIN, || format!("{words:?} is not heard, but\n{}", self.text()), heard).await;
    }
}
