//! `vestibule capture`: records what a link hears, without card data, in the form of `devices/<model>/captures`.
//!
//! It takes the place of the link while it records: the gateway must not listen there then. Nothing is answered, so that a
//! source that waits for an answer keeps what it has said for the gateway.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::json;

use super::exit::Exit;
use crate::config::Config;
use crate::mask;
use crate::normalize::{self, Context};
use crate::profile::Profile;
use crate::protocol::framing::{Framer, Framing};
use crate::protocol::{Decoder, Protocol, Stream, redact};

/// Most bytes of a journal in one capture; what its lines mean depends on those before.
const JOURNAL_BYTES: usize = 64 * 1024;
/// Bytes of the readable form.
const TEXT_BYTES: usize = 2048;

/// Record what a link hears as captures without card data.
#[derive(Debug, Args)]
pub(super) struct Capture {
    /// Protocol of the bytes, where no configuration says so.
    #[arg(long, value_enum, value_name = "PROTOCOL", required_unless_present = "config")]
    protocol: Option<Protocol>,
    /// A model's profile: a built-in name, or its folder.
    #[arg(long, value_name = "NAME|DIR")]
    profile: Option<String>,
    /// The gateway's configuration, whose link is to be recorded.
    #[arg(long, short, value_name = "FILE", requires = "terminal")]
    config: Option<PathBuf>,
    /// The terminal of that configuration.
    #[arg(long, value_name = "NAME")]
    terminal: Option<String>,
    /// Its link, where it has several.
    #[arg(long, value_name = "NAME")]
    link: Option<String>,
    /// Listen here, one connection after another.
    #[arg(long, value_name = "ADDR", conflicts_with = "from")]
    listen: Option<SocketAddr>,
    /// Read a file, a pipe or a device that is set up already; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Where the captures are written; a folder of `devices/` as a rule.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// End after so many captures.
    #[arg(long, value_name = "N", default_value_t = 100)]
    count: usize,
}

impl Capture {
    /// Records until enough is recorded or the source has ended.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let (profile, source) = self.source()?;
        fs::create_dir_all(&self.out).map_err(|error| Exit::io(format!("{}: {error}", self.out.display())))?;
        let mut recorder =
            Recorder { profile, folder: &self.out, left: self.count, written: 0, hidden: 0, lines: Vec::new() };
        match source {
            Source::File(path) if path.as_os_str() == "-" => recorder.stream(&mut io::stdin().lock())?,
            Source::File(path) => {
                let missing = |error: io::Error| Exit::no_input(format!("{}: {error}", path.display()));
                recorder.stream(&mut File::open(&path).map_err(missing)?)?;
            }
            Source::Listen(address) => {
                let failed = |error: io::Error| Exit::unavailable(format!("cannot listen on {address}: {error}"));
                let listener = TcpListener::bind(address).map_err(failed)?;
                while recorder.left > 0 {
                    let (mut stream, _) = listener.accept().map_err(failed)?;
                    recorder.stream(&mut stream)?;
                }
            }
        }
        let (folder, written, hidden) = (self.out.display(), recorder.written, recorder.hidden);
        let mut said = format!("{folder}: {written} captures");
        if hidden > 0 {
            said += &format!("; {hidden} frames are not recorded: nobody could tell where their card data stands");
        }
        writeln!(io::stdout(), "{said}").map_err(|error| Exit::io(error.to_string()))
    }

    /// What is recorded, and from where: as the arguments say, else as the configuration does.
    fn source(&self) -> Result<(Profile, Source), Exit> {
        let mut source = match (&self.from, self.listen) {
            (Some(path), _) => Some(Source::File(path.clone())),
            (None, listen) => listen.map(Source::Listen),
        };
        let mut profile = None;
        if let (Some(file), Some(name)) = (&self.config, &self.terminal) {
            let config = Config::load(file)?;
            let links = config.links().into_iter().find(|(terminal, _)| terminal == name).map(|(_, links)| links);
            let links = links.ok_or_else(|| Exit::usage(format!("there is no terminal `{name}`")))?;
            let wanted = |link: &str| self.link.as_deref().is_none_or(|wanted| wanted == link);
            let link = links.into_iter().find(|(link, _)| wanted(&link.name));
            let (link, found) = link.ok_or_else(|| Exit::usage(format!("`{name}` has no such link")))?;
            let mut found = Profile::clone(&found);
            found.framing = found.framing.with_max(link.frame_limit());
            source = source.or(link.listen.map(Source::Listen)).or(link.serial.map(Source::File));
            profile = Some(found);
        }
        if let Some(name) = &self.profile {
            let named = Path::new(name);
            let named = if named.is_dir() { Profile::load(named) } else { Profile::builtin(name) };
            profile = Some(named.map_err(|error| Exit::usage(format!("--profile: {error}")))?);
        }
        let usual = || Profile::builtin(self.protocol.unwrap_or(Protocol::Ndc).usual_profile());
        let profile = profile.map_or_else(usual, Ok).map_err(|error| Exit::software(error.to_string()))?;
        let source =
            source.ok_or_else(|| Exit::usage("say where to hear it: --listen, --from, or --config and --terminal"))?;
        Ok((profile, source))
    }
}

/// Where the bytes come from.
enum Source {
    File(PathBuf),
    Listen(SocketAddr),
}

/// Writes captures.
struct Recorder<'a> {
    profile: Profile,
    folder: &'a Path,
    left: usize,
    written: usize,
    /// Frames of which nothing is known of how to hide their card data.
    hidden: usize,
    /// Lines of a journal that are not written yet, each with its end.
    lines: Vec<u8>,
}

impl Recorder<'_> {
    fn stream(&mut self, source: &mut impl Read) -> Result<(), Exit> {
        let mut framer = Framer::new(self.profile.framing);
        let mut bytes = [0_u8; 4096];
        while self.left > 0 && !framer.broken() {
            // A peer that resets the connection has ended it, too.
            let count = source.read(&mut bytes).unwrap_or(0);
            let mut frames = Vec::new();
            let mut take = |frame: Result<&[u8], crate::protocol::Fault>| frames.extend(frame.ok().map(<[u8]>::to_vec));
            match count {
                0 => framer.finish(&mut take),
                count => framer.push(&bytes[..count], &mut take),
            }
            bytes[..count].fill(0);
            for frame in frames {
                self.frame(&frame)?;
            }
            if count == 0 {
                break;
            }
        }
        if self.lines.is_empty() { Ok(()) } else { self.journal() }
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Exit> {
        match self.profile.protocol {
            Protocol::Journal => {
                if self.lines.len() + frame.len() >= JOURNAL_BYTES {
                    self.journal()?;
                }
                let redacted = redact::redact(&self.profile, frame).unwrap_or_default();
                self.lines.extend(self.profile.framing.wrap(&redacted).unwrap_or_default());
                Ok(())
            }
            Protocol::Jsonl => self.write(frame, "line:LF", Framing::LINE),
            Protocol::Upload => self.write(frame, "upload", self.profile.framing),
            Protocol::Triton => self.write(frame, "STX..ETX LRC", self.profile.framing),
            Protocol::Xfs4iot => self.write(frame, "websocket-text", Framing::NONE.with_max(frame.len())),
            _ => self.write(frame, "payload_only", Framing::NONE),
        }
    }

    fn journal(&mut self) -> Result<(), Exit> {
        let lines = std::mem::take(&mut self.lines);
        let name = if matches!(self.profile.framing, Framing::Line { .. }) { "line:LF" } else { "record:X+FS" };
        self.write(&lines, name, self.profile.framing)
    }

    /// Writes one capture. What is expected of it is what its bytes mean without the card data: that is what stays true.
    fn write(&mut self, bytes: &[u8], framing_name: &str, framing: Framing) -> Result<(), Exit> {
        let protocol = self.profile.protocol;
        if self.left == 0 {
            return Ok(());
        }
        let Some(redacted) = redact::redact(&self.profile, bytes) else {
            self.hidden += 1;
            return Ok(());
        };
        let decoder = Decoder::new(protocol, &self.profile).map_err(|error| Exit::data(error.to_string()))?;
        let context = Context { profile: &self.profile, time_zone: &TimeZone::UTC };
        let mut events = Vec::new();
        let mut heard = |message: Result<_, _>| match message {
            Ok(message) => events.extend(normalize::normalize(&message, &context)),
            Err(fault) => events.push(normalize::fault(&fault)),
        };
        let mut stream = Stream::new(framing, decoder);
        stream.push(&redacted, &mut heard);
        stream.finish(&mut heard);
        let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let id = format!("{}_{at}_{:03}", protocol.name(), self.written + 1);
        let capture = json!({
            "id": id,
            "protocol": protocol.name(),
            "provenance": "recorded; card data overwritten, same length",
            "source": "vestibule capture",
            "framing": framing_name,
            "length": redacted.len(),
            "hex": redacted.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "expect": {},
            "expect_events": events.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "text": mask::redacted(&redacted, TEXT_BYTES),
        });
        let path = self.folder.join(format!("{id}.json"));
        let written = File::create_new(&path).and_then(|mut file| writeln!(file, "{capture:#}"));
        written.map_err(|error| Exit::io(format!("{}: {error}", path.display())))?;
        self.written += 1;
        self.left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(profile: &str, bytes: &[u8]) -> Vec<serde_json::Value> {
        let dir = tempfile::tempdir().expect("a folder");
        let profile = Profile::builtin(profile).expect("built in");
        let mut recorder = Recorder { profile, folder: dir.path(), left: 9, written: 0, hidden: 0, lines: Vec::new() };
        recorder.stream(&mut io::Cursor::new(bytes)).expect("records");
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir.path()).expect("is there").map(|entry| entry.expect("readable").path()).collect();
        files.sort();
        files.iter().map(|file| serde_json::from_slice(&fs::read(file).expect("readable")).expect("JSON")).collect()
    }

    #[test]
    fn every_protocol_is_recorded_in_the_form_that_decode_reads() {
        let journal = b" 05:51:33 CARD INSERTED\r PAN 4123456789011234\r 05:52:11 NOTES TAKEN\r";
        let ndc = b"\x00\x0d12\x1c000\x1c\x1cB8300\x00\x0b12\x1c000\x1c\x1cP21";
        let jsonl = b"{\"kind\":\"card.inserted\",\"card\":\"4123456789011234\"}\n";
        let upload = b"a<>49{\"ATM\":[{\"atmId\":1,\"atmName\":\"4123456789011234\"}]}";
        for (profile, bytes, count, event) in [
            ("ncr-selfserv-ndc", &ndc[..], 2, "power.restart:warning"),
            ("ncr-journal", journal, 1, "card.inserted:info"),
            ("json-lines", jsonl, 1, "card.inserted:info"),
            ("atm-handler", upload, 1, ""),
        ] {
            let captures = record(profile, bytes);
            assert_eq!(captures.len(), count, "{profile}");
            let text = captures[0].to_string();
            assert!(!text.contains("456789") && !text.contains("343536373839"), "{text}");
            let said = captures[0]["expect_events"].as_array().expect("a list");
            assert!(event.is_empty() || said.iter().any(|said| said == event), "{text}");
            let sample = super::super::sample::Sample::parse(text.as_bytes()).expect("a sample");
            assert_eq!(sample.protocol(), Ok(Profile::builtin(profile).expect("built in").protocol));
            sample.framing().expect("a framing");
        }
    }

    #[test]
    fn every_capture_there_is_means_the_same_without_its_card_data() {
        let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices");
        let mut compared = 0;
        let models =
            ["ncr-selfserv-ndc", "ncr-journal", "atm-handler", "iso8583-1987", "iso8583-1993", "triton", "xfs4iot"];
        for model in models {
            for file in fs::read_dir(devices.join(model).join("captures")).expect("is there") {
                let file = file.expect("readable").path();
                let text = fs::read(&file).expect("readable");
                let sample = super::super::sample::Sample::parse(&text).expect("a sample");
                let bytes = sample.bytes().expect("hexadecimal");
                // A folder may hold captures in more ways of writing than its own profile speaks.
                let protocol = sample.protocol().expect("a protocol");
                let model = if protocol == Protocol::Iso8583 { sample.profile(protocol, &bytes) } else { model };
                let profile = Profile::builtin(model).expect("built in");
                let framing = sample.framing().expect("a framing");
                let mut framer = Framer::new(framing);
                let mut redacted = Vec::new();
                let mut take = |frame: Result<&[u8], _>| {
                    let frame = frame.expect("a frame");
                    let rule = redact::redact(&profile, frame).unwrap_or_else(|| panic!("{}", file.display()));
                    // A line's pieces stand for themselves.
                    let piece = matches!(framing, Framing::Triton { .. });
                    redacted.extend(if piece { rule } else { framing.wrap(&rule).expect("fits") });
                };
                framer.push(&bytes, &mut take);
                framer.finish(&mut take);
                let said = |bytes: &[u8]| {
                    let mut said = Vec::new();
                    let context = Context { profile: &profile, time_zone: &TimeZone::UTC };
                    let decoder = Decoder::new(profile.protocol, &profile).expect("a decoder");
                    let mut heard = |message: Result<_, _>| match message {
                        Ok(message) => said.extend(normalize::normalize(&message, &context)),
                        Err(fault) => said.push(normalize::fault(&fault)),
                    };
                    let mut stream = Stream::new(framing, decoder);
                    stream.push(bytes, &mut heard);
                    stream.finish(&mut heard);
                    said.iter().map(ToString::to_string).collect::<Vec<_>>()
                };
                assert_eq!(said(&redacted), said(&bytes), "{}", file.display());
                compared += 1;
            }
        }
        assert!(compared > 70, "{compared}");
    }
}
