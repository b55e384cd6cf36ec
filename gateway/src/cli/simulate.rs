//! `vestibule simulate`: terminals that speak the real protocols, towards any gateway.

mod progress;
mod report;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio::net::{TcpListener, lookup_host};
use tokio::time::{Instant, sleep};
use tokio_serial::SerialPortBuilderExt;
use tokio_util::sync::CancellationToken;

use self::progress::Progress;
use self::report::{Opened, Report};
use super::exit::Exit;
use super::{logging, run};
use crate::profile::Profile;
use crate::protocol::Protocol;
use crate::simulate::figures::Figures;
use crate::simulate::fleet::{Fleet, Name, Place};
use crate::simulate::journal::Words;
use crate::simulate::script::{BACK_OFFICE, DAY, DRIVE_UP, KIOSK, LOBBY, Script};
use crate::simulate::{Clock, Pace, Tempo, expected};

/// How long terminals may take to say and hear their last, at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Files, ports and sockets that are needed beside one for each terminal.
const SPARE_FILES: u64 = 64;

/// Play terminals that speak a real protocol, and measure what they are answered.
///
/// Each has sessions as real ones have: withdrawals, deposits, refusals, cassettes that run low and are filled, a jam, notes
/// that are not taken, an engineer in supervisor mode, a power cycle, and cash that comes out without a transaction. The same
/// seed gives the same messages; with --start, to the byte.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// What the terminals speak.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Protocol,
    /// How many there are.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    terminals: u32,
    /// Messages a second over all terminals, or `max`: as fast as they are taken and answered. Without it, the pace of the
    /// script: a message every second or two of each terminal.
    #[arg(long, value_name = "R|max")]
    rate: Option<Rate>,
    /// Stop after this many seconds; without it, at Ctrl-C, or when all scripts are over.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Decides cards, amounts and waits.
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
    /// Where the gateway listens. All terminals connect there: more than one need a [[listener]] that tells them apart.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["pty", "serial", "listen"])]
    to: Option<String>,
    /// XFS4IoT, whose services are dialled: where the first terminal listens. The next ones have the next ports; with port
    /// 0, and without this, any that are free. The addresses are printed.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["pty", "serial"])]
    listen: Option<SocketAddr>,
    /// Print on a new pseudo-terminal for each terminal; the devices for the gateway's configuration are printed.
    #[arg(long, conflicts_with = "serial")]
    pty: bool,
    /// Be on this serial device, one terminal alone.
    #[arg(long, value_name = "DEV")]
    serial: Option<PathBuf>,
    /// Bits a second of the serial device.
    #[arg(long, value_name = "BAUD", default_value_t = 9600)]
    baud: u32,
    /// The terminals' model: a built-in profile, or its folder. It says how messages are framed, which ISO 8583
    /// is spoken, and whose words are printed.
    #[arg(long, value_name = "NAME|DIR")]
    profile: Option<String>,
    /// What the terminals call themselves (LUNO, field 41, terminal id, name); `###` stands for the number, in so many digits.
    #[arg(long, value_name = "PATTERN")]
    name: Option<String>,
    /// The number of the first terminal.
    #[arg(long, value_name = "N", default_value_t = 1)]
    first: u32,
    /// What happens at the terminals.
    #[arg(long, value_enum, value_name = "SCRIPT", default_value = "day")]
    script: Named,
    /// Play the script's opening once, and end.
    #[arg(long)]
    once: bool,
    /// The terminals' clock begins here and is moved by the script alone; without it, it is this machine's.
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Say which events and which open conditions `--script day --once` must give in this protocol, as JSON, and end.
    #[arg(long)]
    expect: bool,
    /// Write one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// The scripts.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Named {
    /// Everything that can happen, once each, again and again.
    Day,
    /// A busy terminal whose second cassette runs out.
    Lobby,
    /// Printer and card reader trouble.
    DriveUp,
    /// An engineer, and a cassette that runs low.
    BackOffice,
    /// Jackpotting.
    Kiosk,
}

impl Named {
    fn script(self) -> Script {
        match self {
            Named::Day => DAY,
            Named::Lobby => LOBBY,
            Named::DriveUp => DRIVE_UP,
            Named::BackOffice => BACK_OFFICE,
            Named::Kiosk => KIOSK,
        }
    }
}

/// Messages a second.
#[derive(Clone, Debug)]
struct Rate(Tempo);

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text == "max" {
            return Ok(Rate(Tempo::Max));
        }
        let rate = text.parse().ok().and_then(Tempo::rate);
        rate.map(Rate).ok_or_else(|| "expected messages a second, or `max`".to_owned())
    }
}

impl Simulate {
    /// Plays until the time or the scripts are over, then says what came of it.
    pub(super) fn execute(self) -> Result<(), Exit> {
        if self.expect {
            let expected = expected::day(&self.model()?).map_err(|error| Exit::usage(format!("--profile: {error}")))?;
            let expected = serde_json::to_string_pretty(&expected);
            return report::line(&expected.map_err(|error| Exit::software(error.to_string()))?);
        }
        logging::start(self.json, "warn");
        super::runtime()?.block_on(self.play())
    }

    async fn play(self) -> Result<(), Exit> {
        let interrupted = run::stop_signal()?;
        let fleet = self.fleet()?;
        let names = self.names()?;
        room_for(self.terminals)?;
        let places = self.places().await?;
        report::opening(&places.1, &names, self.json)?;
        let terminals = names.into_iter().zip(places.0).collect();

        let (stop, begun) = (CancellationToken::new(), Instant::now());
        let mut tasks = fleet.start(terminals, &stop);
        let progress = Progress::new(self.seconds, u64::from(self.terminals));
        let time = async {
            match self.seconds {
                Some(seconds) => sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let mut failed = None;
        let over = async {
            while let Some(ended) = tasks.join_next().await {
                failed = failed.take().or(ended.ok().and_then(Result::err));
            }
        };
        tokio::select! {
            () = over => {}
            () = time => {}
            () = interrupted => {}
            () = progress.show(&fleet.figures, begun) => {}
        }
        // What comes afterwards is said, but does not count as time.
        let took = begun.elapsed();
        stop.cancel();
        let _ = tokio::time::timeout(LAST_WORDS, async { while tasks.join_next().await.is_some() {} }).await;
        progress.end();
        let report = Report::new(&fleet.figures, self.protocol, self.terminals, took);
        report.print(self.json)?;
        match failed {
            Some(error) => Err(Exit::io(format!("a terminal's line failed: {error}"))),
            None if report.never_connected() => {
                let where_to = self.to.as_deref().unwrap_or("the terminals");
                Err(Exit::unavailable(format!("nobody could be spoken to at {where_to}")))
            }
            None => Ok(()),
        }
    }

    /// The terminals' model.
    fn model(&self) -> Result<Profile, Exit> {
        let named = match &self.profile {
            Some(name) if Path::new(name).is_dir() => Profile::load(Path::new(name)),
            Some(name) => Profile::builtin(name),
            None => Profile::builtin(self.protocol.usual_profile()),
        };
        let profile = named.map_err(|error| Exit::usage(format!("--profile: {error}")))?;
        if profile.protocol != self.protocol {
            let spoken = profile.protocol.name();
            return Err(Exit::usage(format!("--profile: {} speaks {spoken}", profile.name)));
        }
        if self.protocol == Protocol::Journal {
            Words::of(&profile).map_err(|error| Exit::usage(format!("--profile: {error}")))?;
        }
        Ok(profile)
    }

    fn fleet(&self) -> Result<Fleet, Exit> {
        let profile = self.model()?;
        let mut script = self.script.script();
        if self.once {
            script.round = &[];
        }
        let (clock, begun) = match self.start {
            Some(start) => (Clock::Script(Zoned::new(start, TimeZone::UTC)), start),
            None => (Clock::Real(TimeZone::UTC), Timestamp::now()),
        };
        Ok(Fleet {
            protocol: self.protocol,
            profile,
            script,
            seed: self.seed,
            tempo: self.rate.clone().map_or(Tempo::Script(Pace::REAL), |rate| rate.0),
            clock,
            source: format!("sim-{}", begun.as_millisecond()),
            figures: Arc::new(Figures::default()),
        })
    }

    /// What the terminals call themselves.
    fn names(&self) -> Result<Vec<Name>, Exit> {
        let last = self.first.checked_add(self.terminals - 1).ok_or_else(|| Exit::usage("--first is too large"))?;
        let usual = match self.protocol {
            Protocol::Ndc if last < 1_000 => "###",
            Protocol::Ndc => "#########",
            Protocol::Iso8583 | Protocol::Triton => "SIM#####",
            Protocol::Journal | Protocol::Jsonl | Protocol::Xfs4iot | Protocol::Upload => "sim-####",
        };
        let pattern = self.name.as_deref().unwrap_or(usual);
        let names: Vec<Name> =
            (self.first..=last).map(|number| Name { number, text: numbered(pattern, number) }).collect();
        let wrong = match self.protocol {
            Protocol::Ndc => names
                .iter()
                .any(|name| !matches!(name.text.len(), 3 | 9) || !name.text.bytes().all(|byte| byte.is_ascii_digit()))
                .then_some("a LUNO has 3 or 9 digits"),
            Protocol::Iso8583 => names.iter().any(|name| name.text.len() > 8).then_some("field 41 has 8 characters"),
            Protocol::Triton => names.iter().any(|name| name.text.len() > 15).then_some("at most 15 characters"),
            _ => None,
        };
        let unlike = names.len() < 2 || pattern.contains('#');
        match wrong.or((!unlike).then_some("without a `#` all terminals have the same")) {
            Some(reason) => Err(Exit::usage(format!("--name: {reason}"))),
            None => Ok(names),
        }
    }

    /// Where the terminals are, and what of it the gateway's configuration must know.
    async fn places(&self) -> Result<(Vec<Place>, Vec<Opened>), Exit> {
        let protocol = self.protocol;
        let serial = matches!(protocol, Protocol::Journal | Protocol::Triton | Protocol::Ndc | Protocol::Iso8583);
        let count = usize::try_from(self.terminals).unwrap_or(usize::MAX);
        if protocol == Protocol::Xfs4iot {
            if self.to.is_some() || self.pty || self.serial.is_some() {
                return Err(Exit::usage("XFS4IoT services are dialled by the gateway: --listen says where they are"));
            }
            let first = self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
            let mut places = (Vec::with_capacity(count), Vec::with_capacity(count));
            for turn in 0..self.terminals {
                let port = match first.port() {
                    0 => Some(0),
                    port => u16::try_from(turn).ok().and_then(|turn| port.checked_add(turn)),
                };
                let port = port.ok_or_else(|| Exit::usage("--listen: there are not so many ports"))?;
                let address = SocketAddr::new(first.ip(), port);
                let failed = |error| Exit::unavailable(format!("cannot listen on {address}: {error}"));
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                places.1.push(Opened::Address(listener.local_addr().map_err(failed)?));
                places.0.push(Place::Listen(listener));
            }
            return Ok(places);
        }
        if self.listen.is_some() {
            return Err(Exit::usage("--listen is for XFS4IoT: terminals of other protocols connect, --to says where"));
        }
        if (self.pty || self.serial.is_some()) && !serial {
            return Err(Exit::usage(format!("{} is not spoken on serial lines", protocol.name())));
        }
        if self.pty {
            let failed = |error| Exit::io(format!("no pseudo-terminal: {error}"));
            let lines = (0..count).map(|_| Place::pty()).collect::<Result<Vec<_>, _>>().map_err(failed)?;
            return Ok(lines.into_iter().map(|(place, path)| (place, Opened::Device(path))).unzip());
        }
        if let Some(device) = &self.serial {
            if count != 1 {
                return Err(Exit::usage("--serial: one device is one terminal"));
            }
            let port = tokio_serial::new(device.to_string_lossy(), self.baud).open_native_async();
            let port = port.map_err(|error| Exit::unavailable(format!("{}: {error}", device.display())))?;
            return Ok((vec![Place::Serial(Box::new(port))], Vec::new()));
        }
        let Some(to) = &self.to else {
            let or = if serial { ", --pty or --serial" } else { "" };
            return Err(Exit::usage(format!("say where the gateway is: --to HOST:PORT{or}")));
        };
        let mut found = lookup_host(to).await.map_err(|error| Exit::usage(format!("--to: {to}: {error}")))?;
        let address = found.next().ok_or_else(|| Exit::unavailable(format!("--to: {to} has no address")))?;
        Ok(((0..count).map(|_| Place::Call(address)).collect(), Vec::new()))
    }
}

/// A pattern with the number where its first run of `#` is.
fn numbered(pattern: &str, number: u32) -> String {
    let Some(at) = pattern.find('#') else { return pattern.to_owned() };
    let (before, rest) = pattern.split_at(at);
    let after = rest.trim_start_matches('#');
    let width = rest.len() - after.len();
    format!("{before}{number:0width$}{after}")
}

/// Sees to it that so many sockets can be open at once.
fn room_for(terminals: u32) -> Result<(), Exit> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let failed = |error: nix::errno::Errno| Exit::io(format!("the limit of open files: {error}"));
    // A pseudo-terminal has three.
    let wanted = 3 * u64::from(terminals) + SPARE_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if soft < wanted && soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_number_in_their_place() {
        for (pattern, number, expected) in
            [("###", 7, "007"), ("atm-#", 12, "atm-12"), ("a##b", 5, "a05b"), ("lobby", 5, "lobby")]
        {
            assert_eq!(numbered(pattern, number), expected);
        }
    }

    #[test]
    fn a_rate_is_a_number_or_as_fast_as_it_goes() {
        assert!(matches!("max".parse(), Ok(Rate(Tempo::Max))));
        assert!(matches!("250".parse(), Ok(Rate(Tempo::Rate(_)))));
        for wrong in ["0", "-5", "fast", "NaN"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
