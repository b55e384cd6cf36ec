//! A terminal that speaks NDC over TCP: frames with a 2-byte big-endian length, and an answer to every host command.

mod voice;

use std::net::SocketAddr;

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

pub use voice::Voice;

use super::figures::Figures;
use super::line::Line;
use super::script::{Play, Script};
use super::talk::{Clock, Talk, Talks};
use super::{Retry, Tally, Tempo};
use crate::protocol::framing::Framing;

/// A simulated NDC terminal.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// Where the gateway's link listens.
    pub address: SocketAddr,
    /// The terminal's logical unit number: 3 or 9 digits.
    pub luno: String,
    /// What happens at it.
    pub script: Script,
    /// Decides cards, PIN blocks and waits.
    pub seed: u64,
    /// How fast.
    pub tempo: Tempo,
    /// How to come back.
    pub retry: Retry,
}

impl Terminal {
    /// Plays the script until it ends, or until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Tally {
        let figures = Figures::default();
        let (voice, play) = (Voice::new(self.luno, self.seed), Play::new(self.script, self.seed));
        let talk = Talk::new(voice, play, self.tempo, Clock::Real(TimeZone::UTC), Framing::LENGTH);
        talk.call(Line::new(self.address, self.retry), &figures, &shutdown).await;
        figures.tally()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::simulate::Pace;
    use crate::simulate::script::{Act, Step};

    const SCRIPT: Script = Script {
        opening: &[
            Step { after_ms: 10, act: Act::SupervisorIn },
            Step { after_ms: 10, act: Act::Restart },
            Step { after_ms: 400, act: Act::SupervisorOut },
        ],
        round: &[],
    };

    async fn take(stream: &mut TcpStream) -> String {
        let length = stream.read_u16().await.unwrap();
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await.unwrap();
        String::from_utf8(message).unwrap().replace('\x1c', "|")
    }

    #[tokio::test]
    async fn it_hangs_up_at_a_restart_comes_back_and_answers_commands() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let terminal = Terminal {
            address: listener.local_addr().unwrap(),
            luno: "001000001".into(),
            script: SCRIPT,
            seed: 1,
            tempo: Pace::percent(1000).into(),
            retry: Retry::default(),
        };
        let host = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(take(&mut stream).await, "12|001000001||P21");
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(take(&mut stream).await, "12|001000001||B0022");
            stream.write_all(&Framing::LENGTH.wrap(b"1\x1c001000001\x1c\x1c2").unwrap()).await.unwrap();
            assert_eq!(take(&mut stream).await, "22|001000001|||9");
            assert_eq!(take(&mut stream).await, "12|001000001||P20");
        };
        let ((), tally) = tokio::join!(host, terminal.run(CancellationToken::new()));
        assert_eq!((tally.sent, tally.connections, tally.commands), (4, 2, 1));
    }
}
