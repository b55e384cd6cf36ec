//! Simulated terminals that speak the real protocols: for `vestibule demo`, for tests and for load.
//!
//! What happens at a terminal is a [`Script`](script::Script), a plain table of acts. Each protocol has a voice that turns an
//! act into what a terminal of that kind would send, without I/O and the same for the same seed, and a terminal that
//! sends it over a real socket or a real serial line, and comes back when the line is cut.

pub mod expected;
pub mod figures;
pub mod fleet;
pub mod iso8583;
pub mod journal;
pub mod jsonl;
mod line;
pub mod ndc;
mod pty;
mod random;
pub mod script;
mod talk;
mod tempo;
pub mod triton;
pub mod upload;
pub mod xfs4iot;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use random::Random;
pub use talk::{Clock, Heard, Said, Voice};
pub use tempo::{Tempo, Throttle};

/// What a simulated terminal has done until it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages, lines of JSON or lines of print that were sent, those sent again included.
    pub sent: u64,
    /// Lines that the gateway accepted (JSON lines only: the other protocols have no answer).
    pub accepted: u64,
    /// Lines that the gateway refused.
    pub refused: u64,
    /// Commands that were answered (NDC only).
    pub commands: u64,
    /// How often the line was established.
    pub connections: u64,
}

/// How fast a script is played, in percent of its own pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(u32);

impl Default for Pace {
    fn default() -> Self {
        Pace::REAL
    }
}

impl Pace {
    /// As the script says.
    pub const REAL: Pace = Pace(100);

    /// This many percent of the script's pace: 200 is twice as fast. Nothing is slower than 1 %.
    pub fn percent(percent: u32) -> Pace {
        Pace(percent.max(1))
    }

    /// A wait of the script, at this pace.
    pub fn wait(self, script_ms: u32) -> Duration {
        Duration::from_micros(u64::from(script_ms) * 100_000 / u64::from(self.0))
    }
}

/// How long a terminal waits before it tries a cut line again: doubling from `first` to `most`.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { first: Duration::from_millis(100), most: Duration::from_secs(5) }
    }
}

impl Retry {
    /// Waits for the given number of failures in a row; false where it was told to stop instead.
    async fn wait(self, failures: u32, shutdown: &CancellationToken) -> bool {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(1));
        pause(doubled.min(self.most), shutdown).await
    }
}

/// Waits; false where it was told to stop instead.
async fn pause(wait: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use jiff::{Timestamp, Zoned};

    use super::script::{Act, BACK_OFFICE, CARDS, DAY, DRIVE_UP, KIOSK, LOBBY, Level, Play, Script};
    use super::*;
    use crate::normalize::{Context, normalize};
    use crate::profile::Profile;
    use crate::protocol::framing::Framing;
    use crate::protocol::{Decoder, Protocol, Stream};

    /// The events that these bytes become in the gateway, in short; panics where it does not understand them.
    fn heard(protocol: Protocol, profile: &str, bytes: &[u8]) -> Vec<String> {
        let profile = Profile::builtin(profile).unwrap();
        let mut stream = Stream::new(profile.framing, Decoder::new(protocol, &profile).unwrap());
        let mut messages = Vec::new();
        stream.push(bytes, &mut |message| messages.push(message));
        stream.finish(&mut |message| messages.push(message));
        let context = Context { profile: &profile, time_zone: &TimeZone::UTC };
        let mut events = Vec::new();
        for message in messages {
            let message = message.unwrap_or_else(|fault| panic!("{}: {}", fault.reason, fault.frame));
            events.extend(normalize(&message, &context));
        }
        for json in events.iter().map(|event| serde_json::to_string(event).unwrap()) {
            assert!(CARDS.iter().all(|card| !json.contains(card.pan)), "a whole card number in {json}");
        }
        events.iter().map(ToString::to_string).collect()
    }

    fn acts() -> impl Iterator<Item = Act> {
        let more = [Act::Cassette(4, Level::Out)];
        let scripts: [Script; 5] = [LOBBY, DRIVE_UP, BACK_OFFICE, KIOSK, DAY];
        scripts
            .into_iter()
            .flat_map(|script| script.opening.iter().chain(script.round))
            .map(|step| step.act)
            .chain(more)
    }

    #[test]
    fn the_gateway_understands_every_ndc_message() {
        let mut voice = ndc::Voice::new("001000001", 1);
        let said: Vec<u8> = acts()
            .flat_map(|act| voice.say(act))
            .flat_map(|said| match said {
                Said::Message(message) => Framing::LENGTH.wrap(&message).unwrap(),
                _ => Vec::new(),
            })
            .collect();
        let events = heard(Protocol::Ndc, "ncr-selfserv-ndc", &said);
        for expected in [
            "txn.requested:info",
            "txn.completed:info",
            "supply.low:warning:cassette_2",
            "supply.out:critical:cassette_2",
            "supply.low:warning:paper",
            "card.captured:major",
            "cash.retracted:major",
            "mode.supervisor_entered:warning",
            "mode.supervisor_key:info",
            "mode.supervisor_exited:info",
            "power.restart:warning",
        ] {
            assert!(events.iter().any(|event| event == expected), "no {expected} in {events:?}");
        }
    }

    #[test]
    fn the_gateway_understands_every_journal_line() {
        let mut voice = journal::Voice::new(1);
        let now = Timestamp::now().to_zoned(TimeZone::UTC);
        let said: Vec<u8> = acts().flat_map(|act| voice.say(act, &now)).flatten().collect();
        let events = heard(Protocol::Journal, "ncr-journal", &said);
        for expected in [
            "txn.started:info",
            "card.inserted:info",
            "txn.declined:warning",
            "cash.presented:info",
            "counters.reported:info",
            "supply.low:warning:cassette_3",
            "supply.low:warning:paper",
            "card.captured:major",
            "cash.retracted:major",
            "mode.supervisor_entered:warning",
            "mode.supervisor_key:info",
            "mode.supervisor_exited:info",
            "power.restart:warning",
            "txn.ended:info",
        ] {
            assert!(events.iter().any(|event| event == expected), "no {expected} in {events:?}");
        }
        assert!(!events.iter().any(|event| event.starts_with("journal.unparsed")), "{events:?}");
    }

    #[test]
    fn the_gateway_understands_every_json_line() {
        let mut voice = jsonl::Voice::new("test", 1);
        let lines = acts().flat_map(|act| voice.say(act, Timestamp::now()));
        let said: Vec<u8> = lines.flat_map(|(_, line)| (line.json + "\n").into_bytes()).collect();
        let events = heard(Protocol::Jsonl, "json-lines", &said);
        assert!(events.iter().any(|event| event == "cash.presented:info"), "{events:?}");
    }

    /// A voice of each protocol that says everything of its own accord, with the framing of its profile.
    fn said(protocol: Protocol, seed: u64, acts: impl Iterator<Item = Act>) -> Vec<u8> {
        let now: Zoned = "2030-01-15T05:51:30+01:00[Europe/Berlin]".parse().unwrap();
        let framing = Profile::builtin(protocol.usual_profile()).unwrap().framing;
        let mut json = jsonl::Voice::new("run", seed);
        let mut triton = triton::Voice::new("SIM00001", seed);
        let mut services = xfs4iot::Voice::default();
        let mut voice: Box<dyn FnMut(Act) -> Vec<Said>> = match protocol {
            Protocol::Ndc => {
                let mut voice = ndc::Voice::new("001", seed);
                Box::new(move |act| voice.say(act))
            }
            Protocol::Iso8583 => {
                let spec = std::sync::Arc::clone(&crate::protocol::iso8583::Spec::builtin()[0]);
                let mut voice = iso8583::Voice::new(spec, "SIM00001", seed);
                Box::new(move |act| voice.say(act, &now))
            }
            Protocol::Upload => {
                let mut voice = upload::Voice::new(7, "atm-7", seed);
                Box::new(move |act| vec![Said::Message(voice.say(act, &now))])
            }
            Protocol::Journal => {
                let mut voice = journal::Voice::new(seed);
                Box::new(move |act| vec![Said::Message(voice.say(act, &now).concat())])
            }
            Protocol::Jsonl => Box::new(move |act| {
                let lines = json.say(act, now.timestamp()).into_iter();
                lines.map(|(_, line)| Said::Message(line.json.into_bytes())).collect()
            }),
            Protocol::Triton => Box::new(move |act| {
                let bodies = triton.say(act).into_iter();
                // Each in an exchange of its own, or the same again would be a repetition.
                bodies
                    .map(|body| {
                        [&[0x85][..], &crate::protocol::triton::frame(&body.replace('|', "\x1c")), &[0x84]].concat()
                    })
                    .map(Said::Message)
                    .collect()
            }),
            Protocol::Xfs4iot => Box::new(move |act| {
                let said = services.say(act).into_iter();
                said.map(|said| Said::Message(xfs4iot::message(said.name, &said.payload).into_bytes())).collect()
            }),
        };
        let framing = if protocol == Protocol::Journal { Framing::NONE } else { framing };
        let messages = acts.flat_map(&mut voice).filter_map(|said| match said {
            Said::Message(message) => Some(framing.wrap(&message).unwrap()),
            _ => None,
        });
        messages.collect::<Vec<_>>().concat()
    }

    const PROTOCOLS: [Protocol; 7] = [
        Protocol::Ndc,
        Protocol::Iso8583,
        Protocol::Journal,
        Protocol::Jsonl,
        Protocol::Triton,
        Protocol::Xfs4iot,
        Protocol::Upload,
    ];

    #[test]
    fn the_same_seed_says_the_same_and_all_of_it_is_understood() {
        for protocol in PROTOCOLS {
            let day = || Play::new(DAY, 7).take(300).map(|step| step.act);
            let bytes = said(protocol, 7, day());
            assert_eq!(bytes, said(protocol, 7, day()), "{protocol:?}");
            // Services that only say what happens have nothing to draw.
            assert!(protocol == Protocol::Xfs4iot || bytes != said(protocol, 8, day()), "{protocol:?}");
            let events = heard(protocol, protocol.usual_profile(), &bytes);
            assert!(!events.iter().any(|event| event.starts_with("protocol.")), "{protocol:?}: {events:?}");
        }
    }

    #[test]
    fn every_protocol_says_at_least_what_is_expected_of_its_day() {
        for protocol in PROTOCOLS {
            let events =
                heard(protocol, protocol.usual_profile(), &said(protocol, 1, DAY.opening.iter().map(|step| step.act)));
            let mut rest = events.iter();
            // What a reading clears is known only where it is known what was open.
            let profile = Profile::builtin(protocol.usual_profile()).unwrap();
            let wanted = expected::day(&profile).unwrap().events.iter();
            for wanted in
                wanted.filter(|event| !event.starts_with("device.recovered") && !event.starts_with("supply.ok"))
            {
                assert!(rest.any(|event| event == wanted), "{protocol:?}: no {wanted} in its place in {events:#?}");
            }
        }
    }

    #[test]
    fn pace_scales_the_waits_of_a_script() {
        assert_eq!(Pace::REAL.wait(250), Duration::from_millis(250));
        assert_eq!(Pace::percent(1000).wait(250), Duration::from_millis(25));
        assert_eq!(Pace::percent(0).wait(1), Duration::from_millis(100));
    }
}
