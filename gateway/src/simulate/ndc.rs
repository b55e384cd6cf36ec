//! A terminal that speaks NDC over TCP: frames with a 2-byte big-endian length, and an answer to every host command.

mod voice;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub use voice::{Said, Voice};

use super::script::{Play, Script};
use super::{Pace, Retry, Tally, pause};

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
    pub pace: Pace,
    /// How to come back.
    pub retry: Retry,
}

/// How a connection ended.
enum End {
    /// The script is over.
    Done,
    /// The terminal went down by itself, for this long.
    Down(Duration),
    /// The other side is gone.
    Lost,
}

/// What is left to say, kept across connections.
struct Speech {
    voice: Voice,
    play: Play,
    queue: VecDeque<Said>,
}

impl Speech {
    /// What is said next. Nothing: the script is over.
    fn next(&mut self) -> Option<&Said> {
        while self.queue.is_empty() {
            let step = self.play.next()?;
            self.queue.push_back(Said::Wait(step.after_ms));
            self.queue.extend(self.voice.say(step.act));
        }
        self.queue.front()
    }
}

impl Terminal {
    /// Plays the script until it ends, or until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Tally {
        let mut tally = Tally::default();
        let voice = Voice::new(self.luno.clone(), self.seed);
        let mut speech = Speech { voice, play: Play::new(self.script, self.seed), queue: VecDeque::new() };
        let mut failures = 0;
        loop {
            let connected = tokio::select! {
                () = shutdown.cancelled() => return tally,
                connected = TcpStream::connect(self.address) => connected,
            };
            if let Ok(stream) = connected {
                tally.connections += 1;
                let before = tally.sent;
                let ended = tokio::select! {
                    () = shutdown.cancelled() => return tally,
                    ended = self.session(stream, &mut speech, &mut tally) => ended.unwrap_or(End::Lost),
                };
                match ended {
                    End::Done => return tally,
                    End::Down(wait) => {
                        if !pause(wait, &shutdown).await {
                            return tally;
                        }
                        continue;
                    }
                    End::Lost if tally.sent > before => failures = 0,
                    End::Lost => {}
                }
            }
            if !self.retry.wait(failures, &shutdown).await {
                return tally;
            }
            failures += 1;
        }
    }

    async fn session(&self, mut stream: TcpStream, speech: &mut Speech, tally: &mut Tally) -> io::Result<End> {
        stream.set_nodelay(true)?;
        let mut read = Vec::new();
        loop {
            let wait = match speech.next() {
                None => {
                    stream.shutdown().await?;
                    return Ok(End::Done);
                }
                Some(Said::Message(message)) => {
                    stream.write_all(&frame(message)).await?;
                    tally.sent += 1;
                    speech.queue.pop_front();
                    continue;
                }
                Some(Said::Down(ms)) => {
                    let wait = self.pace.wait(*ms);
                    speech.queue.pop_front();
                    return Ok(End::Down(wait));
                }
                Some(Said::Wait(ms)) => self.pace.wait(*ms),
            };
            let waited = tokio::time::sleep(wait);
            tokio::pin!(waited);
            loop {
                tokio::select! {
                    () = &mut waited => break,
                    count = stream.read_buf(&mut read) => if count? == 0 { return Ok(End::Lost) },
                }
                while let Some(message) = take_frame(&mut read) {
                    if let Some(answer) = speech.voice.answer(&message) {
                        stream.write_all(&frame(&answer)).await?;
                        tally.sent += 1;
                        tally.commands += 1;
                    }
                }
            }
            speech.queue.pop_front();
        }
    }
}

/// A message with its length in front. Our own messages are far shorter than the 65,535 bytes that fit.
pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&message[..usize::from(length)]);
    frame
}

/// Takes a whole frame off the front, if one is there.
fn take_frame(read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*read.first_chunk::<2>()?));
    if read.len() < 2 + length {
        return None;
    }
    Some(read.drain(..2 + length).skip(2).collect())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
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
            pace: Pace::percent(1000),
            retry: Retry::default(),
        };
        let host = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(take(&mut stream).await, "12|001000001||P21");
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(take(&mut stream).await, "12|001000001||B0022");
            stream.write_all(&frame(b"1\x1c001000001\x1c\x1c2")).await.unwrap();
            assert_eq!(take(&mut stream).await, "22|001000001|||9");
            assert_eq!(take(&mut stream).await, "12|001000001||P20");
        };
        let ((), tally) = tokio::join!(host, terminal.run(CancellationToken::new()));
        assert_eq!((tally.sent, tally.connections, tally.commands), (4, 2, 1));
    }

    #[test]
    fn frames_are_taken_whole() {
        let mut read = frame(b"12");
        read.extend_from_slice(&[0, 5, b'2']);
        assert_eq!(take_frame(&mut read).as_deref(), Some(b"12".as_slice()));
        assert_eq!(take_frame(&mut read), None);
        assert_eq!(read, [0, 5, b'2']);
    }
}
