//! `vestibule decode`: recorded bytes in, one JSON object a line out. What one message says, without memory of others.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::complain;
use super::exit::Code;
use super::sample::{self, Sample};

use crate::mask::Shown;
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
            written = written.and_then(|()| line(out, sample, &Shown(&merged)));
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
mod tests;
