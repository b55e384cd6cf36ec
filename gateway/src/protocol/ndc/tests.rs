use std::sync::LazyLock;

use super::*;
use crate::normalize::{self, Context};
use crate::profile::Profile;

fn json(frame: &str) -> serde_json::Value {
    let message = decode(frame.replace('|', "\x1c").replace('~', "\x1d").as_bytes(), &Options::default());
    serde_json::to_value(message.expect("a message")).expect("serialises")
}

#[test]
fn other_classes_show_nothing_but_class_and_luno() {
    let shown = json("51|001000001||01A2E166|12|;4123456789011234=2912?||");
    assert_eq!(shown, serde_json::json!({"class": "51", "kind": "exit_to_host", "luno": "001000001"}));
    assert_eq!(json("41|000")["kind"], "install_status");
    assert_eq!(json("7|000|x")["kind"], "host_to_exit");
    assert_eq!(json("02|000||9")["kind"], "unknown");
    let long = decode(b"51\x1c4123456789011234\x1c\x1c", &Options::default()).expect("a message");
    assert_eq!(long.luno(), "412345******1234");
}

#[test]
fn who_speaks_decides_what_a_class_means() {
    let kind = |frame: &str, speaker| {
        let options = Options { speaker, ..Options::default() };
        let message = decode(frame.replace('|', "\x1c").as_bytes(), &options).expect("a message");
        serde_json::to_value(message).expect("serialises")["kind"].clone()
    };
    for (frame, of_terminal, of_host) in [
        ("12|000||B8300", "unsolicited_status", "terminal_command"),
        ("11|000||1|14", "transaction_request", "terminal_command"),
        ("23|000||3|02A68B", "encryptor_init_data", "unknown"),
        ("61||||000001181011124235279606279633000", "ej_upload", "ej_host"),
        ("41|000|x|1", "install_status", "transaction_reply"),
        ("4|000||133", "transaction_reply", "transaction_reply"),
    ] {
        assert_eq!((kind(frame, Speaker::Terminal), kind(frame, Speaker::Host)), (of_terminal.into(), of_host.into()));
    }
}

#[test]
fn header_and_etx_are_taken_off() {
    let options = Options { header: 3, strip_etx: true, ..Options::default() };
    let message = decode(b"xyz12\x1c000\x1c\x1cB8300\x03", &options).expect("a message");
    assert_eq!(serde_json::to_value(&message).expect("serialises")["config_id"], "8300");
    assert!(decode(b"xy", &options).is_err());
}

#[test]
fn what_is_no_message_is_a_fault() {
    for frame in ["", "\x1c", "12", "hello", "12|000", "12|000|", "12|000||", "22|000||", "22|000|||", "22|000||8"] {
        let frame = frame.replace('|', "\x1c");
        assert!(decode(frame.as_bytes(), &Options::default()).is_err(), "{frame:?}");
    }
}

#[test]
fn a_fault_shows_no_track() {
    let options = Options { header: 1, ..Options::default() };
    let frame = "11|000|||15|%B4123456789011234^EXAMPLE/A^29121010000?|;4123456789011234=2912?".replace('|', "\x1c");
    let fault = decode(frame.as_bytes(), &options).expect_err("no class behind that header");
    assert_eq!(fault.frame, "11<FS>000<FS><FS><FS>15<FS>%***********… (77 bytes)");
    let status = "x22|000||8||0|";
    let fault = decode(status.replace('|', "\x1c").as_bytes(), &options).expect_err("no device");
    assert_eq!(fault.frame, "x22<FS>000<FS><FS>8<FS><FS>0<FS>");
}

#[test]
fn a_request_that_lost_a_digit_of_its_class_shows_no_track() {
    let frame = "1|001000001|;4123456789011234=2912101?|01A468E4|14|;4123456789011234=2912101?".replace('|', "\x1c");
    assert!(decode(frame.as_bytes(), &Options::default()).is_err());
}

#[test]
fn groups_lose_card_data() {
    let shown =
        json("12|000||E000000000|00000|0301~CAM~9B026000~5A0841234567890112345F3401019F2608B2746052B28B6413|10000");
    assert_eq!(shown["appended_group_data"], serde_json::json!(["CAM", "9B026000", "5F3401019F2608B2746052B28B6413"]));
    assert_eq!(shown["diagnostic_raw"], "0301");
    assert_eq!(shown["supplies"], serde_json::json!([1, 0, 0, 0, 0]));
}

/// A small generator (xorshift64): the tests need no better.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit.max(1)
    }

    pub(super) fn pick<'t, T>(&mut self, table: &'t [T]) -> &'t T {
        &table[self.below(table.len())]
    }
}

/// Every capture of the model, without framing, and who speaks in it.
fn captures() -> Vec<(String, Vec<u8>, Speaker)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../devices/ncr-selfserv-ndc/captures");
    let mut captures = Vec::new();
    for file in std::fs::read_dir(folder).expect("captures") {
        let json = std::fs::read(file.expect("a file").path()).expect("readable");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let text = |key: &str| json[key].as_str().expect("text").to_owned();
        let digits = text("hex");
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"))
            .collect();
        let bytes = if text("framing") == "len2be" { bytes[2..].to_vec() } else { bytes };
        let speaker = if text("protocol") == "ndc_host" { Speaker::Host } else { Speaker::Terminal };
        captures.push((text("id"), bytes, speaker));
    }
    captures.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(captures.len() >= 60, "only {} captures found", captures.len());
    captures
}

/// Decodes and normalises; whatever comes out must be fit to be written down.
fn survive(frame: &[u8], options: &Options) -> Option<serde_json::Value> {
    static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile::builtin("ncr-selfserv-ndc").expect("built in"));
    let message = decode(frame, options).ok()?;
    let json = serde_json::to_value(&message).expect("serialises");
    let message = crate::protocol::Message::Ndc(message);
    let context = Context { profile: &PROFILE, time_zone: &jiff::tz::TimeZone::UTC };
    let events = normalize::normalize(&message, &context);
    assert!(!events.is_empty() || json["kind"] == "unsolicited_status" || json["kind"] == "solicited_status", "{json}");
    normalize::good(&message, &context);
    Some(json)
}

#[test]
fn a_frame_cut_anywhere_is_a_message_or_a_fault() {
    for (_, frame, speaker) in captures() {
        for speaker in [speaker, Speaker::Terminal, Speaker::Host] {
            for end in 0..frame.len() {
                survive(&frame[..end], &Options { strip_etx: true, speaker, ..Options::default() });
            }
        }
    }
}

#[test]
fn a_header_and_a_trailing_etx_change_nothing() {
    for (id, frame, speaker) in captures() {
        let plain = survive(&frame, &Options { speaker, ..Options::default() }).expect("a message");
        let dressed = [&b"\x60\x00\x1c"[..], &frame, &[ETX]].concat();
        let options = Options { header: 3, strip_etx: true, speaker };
        let mut read = survive(&dressed, &options).expect("a message");
        if let Some(length) = read.get_mut("frame_length") {
            assert_eq!(*length, dressed.len());
            *length = frame.len().into();
        }
        assert_eq!(read, plain, "{id}");
    }
}

#[test]
fn damage_never_makes_it_fail() {
    let mut random = Random::new(0x2545_f491_4f6c_dd1d);
    let alphabet = b"\x1c\x1c\x1d\x1b\x00\x03\x0c\xff\xe9 0123456789ABCFHIJKLMNPRE:;<=>?@x";
    for (_, frame, speaker) in captures() {
        for _ in 0..150 {
            let mut frame = frame.clone();
            for _ in 0..=random.below(6) {
                let at = random.below(frame.len());
                match random.below(4) {
                    0 => frame.insert(at, *random.pick(alphabet)),
                    1 if frame.len() > 1 => drop(frame.remove(at)),
                    2 => frame.truncate(at.max(1)),
                    _ => frame[at] = *random.pick(alphabet),
                }
            }
            let speaker = *random.pick(&[speaker, speaker, Speaker::Terminal, Speaker::Host]);
            survive(&frame, &Options { strip_etx: true, speaker, ..Options::default() });
        }
    }
}

/// Card number, the rest of track 2, PIN block, and a buffer's PIN block of these requests.
fn secrets(frame: &[u8]) -> Vec<String> {
    let text = text(frame);
    let fields: Vec<&str> = text.split(FS).collect();
    let mut secrets: Vec<&str> = fields.get(5).into_iter().flat_map(|track2| track2.split([';', '=', '?'])).collect();
    secrets.extend(fields.get(9));
    secrets.extend(fields.iter().skip(12).filter_map(|buffer| buffer.strip_prefix('U')));
    secrets.into_iter().filter(|secret| secret.len() >= 8 && !secret.contains('X')).map(str::to_owned).collect()
}

#[test]
fn no_cut_and_no_damage_shows_card_data() {
    let mut random = Random::new(0x1234_5678_9abc_def1);
    let mut looked_for = 0;
    for (id, whole, _) in captures().into_iter().filter(|(id, ..)| id.starts_with("ndc_txn_request")) {
        let secrets = secrets(&whole);
        looked_for += secrets.len();
        for round in 0..2_000 {
            let mut frame = whole.clone();
            if let Some(end) = whole.len().checked_sub(round) {
                frame.truncate(end);
            } else {
                // Separators that come and go move every field to another's place.
                for _ in 0..=random.below(3) {
                    let separators: Vec<usize> = (0..frame.len()).filter(|at| frame[*at] == 0x1c).collect();
                    let at = *random.pick(&separators);
                    match random.below(2) {
                        0 => frame.insert(at, 0x1c),
                        _ => drop(frame.remove(at)),
                    }
                }
            }
            let options = Options { speaker: *random.pick(&[Speaker::Terminal, Speaker::Host]), ..Options::default() };
            let shown = match decode(&frame, &options) {
                Ok(message) => serde_json::to_string(&message).expect("serialises"),
                Err(fault) => fault.frame,
            };
            for secret in &secrets {
                assert!(!shown.contains(secret), "{id}: {secret} in {shown}");
            }
        }
    }
    assert!(looked_for >= 15, "only {looked_for} secrets known");
}

#[test]
fn no_bytes_make_it_fail() {
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let alphabet = b"\x1c\x1c\x1c\x1d0123456789ABCFHIJKLMNPRE\xff\xe9:?";
    let heads = ["11", "12", "22", "23", "61", "1", "3", "4", "6", "8", "51"];
    for _ in 0..50_000 {
        let mut frame = format!("{}\x1c000\x1c\x1c", random.pick(&heads)).into_bytes();
        for _ in 0..random.below(60) {
            frame.push(*random.pick(alphabet));
        }
        if let Ok(message) = decode(&frame, &Options { strip_etx: true, ..Options::default() }) {
            serde_json::to_string(&message).expect("serialises");
        }
    }
}
