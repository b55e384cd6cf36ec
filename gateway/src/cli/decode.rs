//! `vestibule decode`: recorded bytes in, one JSON object a line out. What one message says, without memory of others.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::complain;
use super::exit::Code;
use super::sample::{self, Sample};

use crate::normalize::{self, Context};
use crate::profile::Profile;
use crate::protocol::framing::{Framing, LengthForm};
use crate::protocol::ndc::Speaker;
use crate::protocol::{Decoder, Fault, Message, Protocol, Stream};

/// What the input files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Input {
    /// Bytes as they came: for ndc and iso8583 with or without length before every message, else lines.
    Raw,
    /// Hexadecimal digits: for ndc and iso8583 one message a line, else all bytes as they came.
    Hex,
    /// JSON files with `id`, `protocol`, `framing` and `hex`.
    Sample,
}

/// Arguments of `vestibule decode`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Protocol of the bytes; samples name their own.
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    protocol: Option<Protocol>,
    /// What the files hold.
    #[arg(long, value_enum, default_value = "raw")]
    input: Input,
    /// Who speaks, where terminal and host are read differently (ndc); samples may say it themselves.
    #[arg(long, value_enum, default_value = "terminal", value_name = "SPEAKER")]
    from: Speaker,
    /// Print the decoded messages instead of the events they mean.
    #[arg(long)]
    message: bool,
    /// A model's profile: a built-in name, or its folder.
    #[arg(long, value_name = "NAME|DIR")]
    profile: Option<String>,
    /// Time zone of the times that a terminal prints.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,
    /// Files to read; `-` or none is standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Carries `vestibule decode` out.
pub(super) fn run(args: &Args) -> Code {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let exit = match decode_all(args, &mut out) {
        Ok(exit) => out.flush().map(|()| exit),
        Err(error) => Err(error),
    };
    match exit {
        Ok(exit) => exit,
        // The reader has seen enough (`| head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Code::Ok,
        Err(error) => {
            complain(&format!("standard output: {error}"));
            Code::Io
        }
    }
}

/// Why a file cannot be decoded, or its decoded form not be written.
enum Failure {
    Data(String),
    Output(std::io::Error),
}

impl From<String> for Failure {
    fn from(reason: String) -> Failure {
        Failure::Data(reason)
    }
}

/// Decodes every file; one that cannot be decoded is complained about, and the others go on.
fn decode_all(args: &Args, out: &mut impl Write) -> std::io::Result<Code> {
    let time_zone = match TimeZone::get(&args.time_zone) {
        Ok(time_zone) => time_zone,
        Err(error) => {
            complain(&format!("--time-zone: {error}"));
            return Ok(Code::Usage);
        }
    };
    let named = match (&args.profile, args.protocol) {
        (Some(name), _) if Path::new(name).is_dir() => Some(Profile::load(Path::new(name))),
        (Some(name), _) => Some(Profile::builtin(name)),
        (None, Some(protocol)) => Some(Profile::builtin(protocol.usual_profile())),
        (None, None) => None,
    };
    let profile = match named.transpose() {
        Ok(None) if args.input != Input::Sample => {
            complain("--protocol or --profile is needed: only samples name their own");
            return Ok(Code::Usage);
        }
        Ok(profile) => profile.map(|profile| profile.spoken_by(args.from)),
        Err(error) => {
            complain(&format!("--profile: {error}"));
            return Ok(Code::Usage);
        }
    };
    let job = Job { args, time_zone, profile };
    let mut worst = Code::Ok;
    let standard_input = [PathBuf::from("-")];
    for file in if args.files.is_empty() { &standard_input[..] } else { &args.files } {
        let failed = match read(file) {
            Err(error) => Some((Code::NoInput, error.to_string())),
            Ok(bytes) => match job.file(&bytes, out) {
                Ok(()) => None,
                Err(Failure::Data(reason)) => Some((Code::Data, reason)),
                Err(Failure::Output(error)) => return Err(error),
            },
        };
        if let Some((exit, reason)) = failed {
            complain(&format!("{}: {reason}", file.display()));
            worst = worst.max(exit);
        }
    }
    Ok(worst)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    }
}

/// What holds for all files of one call.
struct Job<'a> {
    args: &'a Args,
    time_zone: TimeZone,
    profile: Option<Profile>,
}

impl Job<'_> {
    fn file(&self, bytes: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        match (self.args.input, &self.profile) {
            (Input::Sample, named) => {
                let sample = Sample::parse(bytes)?;
                let protocol = sample.protocol()?;
                let (framing, bytes) = (sample.framing()?, sample.bytes()?);
                let usual = Profile::builtin(sample.profile(protocol, &bytes)).map_err(|error| error.to_string())?;
                let profile = named.as_ref().filter(|named| named.protocol == protocol).unwrap_or(&usual);
                let profile = profile.clone().spoken_by(sample.speaker().unwrap_or(self.args.from));
                self.stream(&profile, framing, &bytes, Some(&sample.id), out)
            }
            (Input::Hex, Some(profile)) if matches!(profile.protocol, Protocol::Ndc | Protocol::Iso8583) => {
                let text = text(bytes)?;
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                let frames = lines.map(sample::hex).collect::<Result<Vec<_>, _>>()?;
                // Every line is a stream of its own, without framing.
                frames.iter().try_for_each(|frame| self.stream(profile, Framing::NONE, frame, None, out))
            }
            (Input::Hex, Some(profile)) => {
                let bytes = sample::hex(text(bytes)?)?;
                self.stream(profile, profile.framing, &bytes, None, out)
            }
            (Input::Raw, Some(profile)) => {
                // A length of 0x3030 or more would be 12 KB; a class or type before the first length is one message alone.
                let binary = matches!(profile.framing, Framing::Length { form: LengthForm::Binary2, .. });
                let alone = binary && bytes.first().is_some_and(u8::is_ascii_digit);
                let framing = if alone { Framing::NONE } else { profile.framing };
                self.stream(profile, framing, bytes, None, out)
            }
            (Input::Hex | Input::Raw, None) => Err(Failure::Data("no protocol".to_owned())),
        }
    }

    /// Decodes one stream of bytes and prints what comes out.
    fn stream(
        &self,
        profile: &Profile,
        framing: Framing,
        bytes: &[u8],
        sample: Option<&str>,
        out: &mut impl Write,
    ) -> Result<(), Failure> {
        let mut written = Ok(());
        let mut merged = Map::new();
        let context = Context { profile, time_zone: &self.time_zone };
        let mut decoded = |message: Result<Message, Fault>| {
            if written.is_ok() {
                written = match (self.args.message, sample) {
                    // One object a sample: where several messages have the same key, the first one counts (journals decide).
                    (true, Some(_)) => {
                        merge(&mut merged, &message);
                        Ok(())
                    }
                    (true, None) => match &message {
                        Ok(message) => line(out, sample, message),
                        Err(fault) => line(out, sample, fault),
                    },
                    (false, _) => events(&message, &context).iter().try_for_each(|event| line(out, sample, event)),
                };
            }
        };
        decode(profile, framing, bytes, &mut decoded)?;
        if self.args.message && sample.is_some() {
            written = written.and_then(|()| line(out, sample, &merged));
        }
        written.map_err(Failure::Output)
    }
}

/// Bytes to messages, cut into frames on the way.
fn decode(
    profile: &Profile,
    framing: Framing,
    bytes: &[u8],
    decoded: &mut impl FnMut(Result<Message, Fault>),
) -> Result<(), String> {
    let decoder = Decoder::new(profile.protocol, profile).map_err(|error| error.to_string())?;
    let mut stream = Stream::new(framing, decoder);
    stream.push(bytes, decoded);
    stream.finish(decoded);
    Ok(())
}

fn events(message: &Result<Message, Fault>, context: &Context<'_>) -> Vec<crate::event::Event> {
    match message {
        Ok(message) => normalize::normalize(message, context),
        Err(fault) => vec![normalize::fault(fault)],
    }
}

fn merge(merged: &mut Map<String, Value>, message: &Result<Message, Fault>) {
    let value = match message {
        // A journal's entries know which of two counts.
        Ok(Message::Journal(entry)) => return entry.merge_into(merged),
        Ok(message) => serde_json::to_value(message),
        Err(fault) => serde_json::to_value(fault),
    };
    if let Ok(Value::Object(keys)) = value {
        for (key, value) in keys {
            merged.entry(key).or_insert(value);
        }
    }
}

/// One line of output: the sample's name first, where there is one.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<&'a str>,
    #[serde(flatten)]
    body: &'a T,
}

fn line(out: &mut impl Write, sample: Option<&str>, body: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, &Line { sample, body })?;
    out.write_all(b"\n")
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "no hexadecimal text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(input: Input, protocol: Option<Protocol>, message: bool, files: Vec<PathBuf>) -> Args {
        Args { protocol, input, from: Speaker::Terminal, message, profile: None, time_zone: "UTC".to_owned(), files }
    }

    fn decoded(args: &Args) -> (Code, Vec<Value>) {
        let mut out = Vec::new();
        let exit = decode_all(args, &mut out).expect("writes to memory");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        (exit, text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    }

    /// `devices/*/captures/*.json`.
    fn captures() -> Vec<PathBuf> {
        let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices");
        let entries = |folder: &Path| {
            std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path())
        };
        let mut files: Vec<PathBuf> =
            entries(&devices).flat_map(|model| entries(&model.join("captures")).collect::<Vec<_>>()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        files
    }

    /// An expectation without a component leaves the component open.
    fn as_expected(event: &Value, expected: &str) -> bool {
        let (kind, severity) = (event["kind"].as_str(), event["severity"].as_str());
        let mut parts = expected.splitn(3, ':');
        kind == parts.next()
            && severity == parts.next()
            && parts.next().is_none_or(|component| event["component"] == component)
    }

    #[test]
    fn every_capture_means_what_is_expected_of_it() {
        let files = captures();
        assert!(files.len() >= 71, "only {} captures found", files.len());
        let mut wrong = Vec::new();
        for file in files {
            let shown = file.display().to_string();
            let capture: Value =
                serde_json::from_slice(&std::fs::read(&file).expect("readable")).unwrap_or_else(|_| panic!("{shown}"));

            let (exit, events) = decoded(&args(Input::Sample, None, false, vec![file.clone()]));
            assert_eq!(exit, Code::Ok, "{shown}");
            let expected: Vec<&str> =
                capture["expect_events"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            if events.len() != expected.len()
                || !events.iter().zip(&expected).all(|(event, expected)| as_expected(event, expected))
            {
                wrong.push(format!("{shown}\n  expected {expected:?}\n  found {events:#?}"));
            }
            assert!(events.iter().all(|event| event["sample"] == capture["id"]), "{shown}");

            let (_, messages) = decoded(&args(Input::Sample, None, true, vec![file]));
            let [message] = &messages[..] else { panic!("{shown}: one object a sample") };
            assert_eq!(message["sample"], capture["id"]);
            for (key, value) in capture["expect"].as_object().expect("an object") {
                if message.get(key) != Some(value) {
                    wrong.push(format!("{shown}\n  {key}: expected {value}, found {:?}", message.get(key)));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn what_cannot_be_decoded_does_not_stop_the_rest() {
        let dir = tempfile::tempdir().expect("a folder");
        let unknown = dir.path().join("unknown.json");
        std::fs::write(&unknown, r#"{"id":"x","protocol":"morse","framing":"none","hex":""}"#).expect("written");
        let good = captures().swap_remove(0);
        let (exit, lines) = decoded(&args(Input::Sample, None, true, vec![unknown.clone(), good.clone()]));
        assert_eq!((exit, lines.len()), (Code::Data, 1));
        let missing = dir.path().join("missing.json");
        let (exit, lines) = decoded(&args(Input::Sample, None, true, vec![missing, unknown, good]));
        assert_eq!((exit, lines.len()), (Code::NoInput, 1));
        assert_eq!(decoded(&args(Input::Raw, None, false, Vec::new())).0, Code::Usage);
    }

    #[test]
    fn raw_and_hexadecimal_input() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            path
        };
        let framed = file("framed", b"\x00\x0d12\x1c000\x1c\x1cB8300\x00\x0b12\x1c000\x1c\x1cP21\x00\x09xyz");
        let alone = file("alone", b"12\x1c000\x1c\x1cP20");
        let (exit, lines) = decoded(&args(Input::Raw, Some(Protocol::Ndc), false, vec![framed, alone]));
        let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
        assert_eq!(kinds, ["power.restart", "mode.supervisor_entered", "protocol.error", "mode.supervisor_exited"]);
        assert_eq!(exit, Code::Ok);
        let hex = file("hex", b"31 32 1c 30 1c 1c 52 30 39\n\n31321c301c1c503231\n");
        let (_, lines) = decoded(&args(Input::Hex, Some(Protocol::Ndc), true, vec![hex]));
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["operator_menu_keys"], "09");
        let broken = file("broken", b"31 3");
        assert_eq!(decoded(&args(Input::Hex, Some(Protocol::Ndc), true, vec![broken])).0, Code::Data);
    }

    #[test]
    fn raw_iso8583_with_and_without_length() {
        let dir = tempfile::tempdir().expect("a folder");
        let echo = b"0800822000000000000004000000000000001120213500000424301";
        let (alone, framed) = (dir.path().join("alone"), dir.path().join("framed"));
        std::fs::write(&alone, echo).expect("written");
        std::fs::write(&framed, [&[0, 55], &echo[..], &[0, 55], &echo[..]].concat()).expect("written");
        let (_, lines) = decoded(&args(Input::Raw, Some(Protocol::Iso8583), false, vec![alone, framed]));
        let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
        assert_eq!(kinds, ["net.echo"; 3]);
    }

    #[test]
    fn a_capture_cut_anywhere_never_fails() {
        for file in captures() {
            let sample = Sample::parse(&std::fs::read(&file).expect("readable")).expect("a sample");
            if sample.protocol() != Ok(Protocol::Ndc) {
                continue;
            }
            let usual = Profile::builtin("ncr-selfserv-ndc").expect("built in");
            let profile = usual.spoken_by(sample.speaker().unwrap_or_default());
            let context = Context { profile: &profile, time_zone: &TimeZone::UTC };
            let bytes = sample.bytes().expect("hexadecimal");
            for end in 0..bytes.len() {
                decode(&profile, Framing::NONE, &bytes[..end], &mut |message| {
                    events(&message, &context);
                    let _ = message.map(|message| normalize::good(&message, &context));
                })
                .expect("a decoder");
            }
        }
    }
}
