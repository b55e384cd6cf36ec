use super::*;
use crate::protocol::Outcome;
use crate::protocol::framing::{Framer, Framing};

fn json(body: &str) -> serde_json::Value {
    let mut framer = Framer::new(Framing::TRITON);
    let mut out = Vec::new();
    framer.push(&line::frame(&body.replace('|', "\x1c")), &mut |piece| out.push(decode(piece.expect("a piece"))));
    let [Ok(message)] = &out[..] else { panic!("{out:?}") };
    serde_json::to_value(message).expect("serialises")
}

const TRACK: &str = ";4123456789011234=30122010000000000?";

#[test]
fn every_code_is_told_apart_as_request_and_reply() {
    for code in
        ["11", "12", "15", "21", "22", "25", "31", "32", "35", "41", "42", "43", "44", "45", "46", "47", "61", "62"]
    {
        let request = json(&format!("ATM1           |{code}|0007|{TRACK}|00002000|00000100|A1B2C3D4E5F60718|e1|"));
        assert_eq!((request["kind"].as_str(), request["code"].as_str()), (Some("request"), Some(code)), "{request}");
        assert_eq!(request["pan_masked"], "412345******1234");
        assert_eq!((&request["amount_minor"], &request["has_pin_block"]), (&2000.into(), &true.into()));
        assert!(request["transaction"].is_string(), "{request}");
        let reply = json(&format!("0|ATM1|{code}|0007|051|12345678|012030|213015|012030|00090000|00000100||"));
        assert_eq!((reply["kind"].as_str(), reply["response"].as_str()), (Some("reply"), Some("051")), "{reply}");
        assert_eq!(reply["surcharge_minor"], 100);
    }
}

#[test]
fn reversals_totals_and_configuration() {
    let request = json(&format!("ATM1|29|0042|{TRACK}|00010000|00000250|00004000|"));
    assert_eq!((&request["kind"], &request["dispensed_minor"]), (&"reversal_request".into(), &4000.into()));
    assert_eq!(json("ATM1|29|0042|000|")["kind"], "reversal_reply");
    assert_eq!(json("0|ATM1|29|0042|111|")["response"], "111");
    for code in ["50", "51"] {
        assert_eq!(json(&format!("ATM1|{code}|0043||00000000|00000000||"))["kind"], "request");
        let totals = json(&format!("ATM1|{code}|012030|00010002000300000005|"));
        assert_eq!(totals["counts"], serde_json::json!([1, 2, 3]));
        assert_eq!(totals["settlement_minor"], 5);
    }
    assert_eq!(json("ATM1|60|0044||")["kind"], "request");
    let configuration = json("ATM1|60|~8CA64DE9C1B123A7|");
    assert_eq!(configuration["has_key"], true);
    assert!(!configuration.to_string().contains("8CA64DE9"), "{configuration}");
}

#[test]
fn a_communications_header_is_read() {
    let request = json(&format!("TRITON01AB021INFOHDR|ATM1           |11|0001|{TRACK}|00002000|00000000|"));
    assert_eq!(request["header"]["communications_id"], "TRITON01");
    assert_eq!((&request["terminal_id"], &request["code"]), (&"ATM1".into(), &"11".into()));
}

#[test]
fn nothing_of_track_and_pin_block_is_kept() {
    let request = json(&format!("ATM1|11|0001|{TRACK}|00002000|00000000|A1B2C3D4E5F60718|9F2608AABBCCDD|"));
    let shown = request.to_string();
    for secret in ["4123456789011234", "3012201", "A1B2C3D4", "9F2608"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert_eq!(request["misc_fields"], 1);
}

#[test]
fn nothing_of_what_is_not_understood_is_kept() {
    let whole = line::frame(&format!("ATM1\x1c11\x1c0001\x1c{TRACK}\x1c00002000\x1c\x1cA1B2C3D4E5F60718\x1c"));
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let mut garbled = whole.clone();
    garbled[7] ^= 1;
    let unread = line::frame("ATM1\x1cA1B2C3D4E5F60718\x1c4123456789011234");
    for bytes in [&damaged[..], &garbled, &unread, &whole[5..], &whole[..40], &whole[20..60]] {
        for framing in [Framing::TRITON, Framing::Triton { max: 30 }] {
            let mut framer = Framer::new(framing);
            let mut shown = String::new();
            let mut emit = |piece: Result<&[u8], Fault>| {
                shown += &format!("{:?}", piece.and_then(decode));
            };
            framer.push(bytes, &mut emit);
            framer.finish(&mut emit);
            assert!(shown.contains("Fault"), "{shown}");
            for secret in ["412345", "89011234", "3012", "A1B2", "C3D4E5"] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
    }
}

/// What is said to these bytes, as names, with everything committed.
fn said(dialogue: &mut Dialogue, framer: &mut Framer, bytes: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    framer.push(bytes, &mut |piece| dialogue.frame(piece.expect("a piece"), &mut |message| heard.push(message)));
    let answers = heard.iter().flat_map(|heard| dialogue.answer(heard.as_ref(), Outcome::Committed(1)));
    answers.map(|byte| byte & line::CHARACTER).collect()
}

#[test]
fn the_host_polls_acknowledges_asks_again_and_gives_up() {
    let (mut dialogue, mut framer) = (Dialogue::default(), Framer::new(Framing::TRITON));
    let frame = line::frame("ATM1\x1c31\x1c0001\x1c\x1c00000000\x1c00000000\x1c");
    assert!(said(&mut dialogue, &mut framer, &frame).is_empty(), "a tap says nothing");
    assert_eq!(dialogue.opening(), [0x05], "ENQ has even parity as it is");
    let other = line::frame("ATM1\x1c31\x1c0002\x1c\x1c00000000\x1c00000000\x1c");
    assert_eq!(said(&mut dialogue, &mut framer, &other), [0x06]);
    assert_eq!(said(&mut dialogue, &mut framer, &other), [0x06], "a repeated frame is acknowledged again");
    assert_eq!(said(&mut dialogue, &mut framer, &[0x84]), [0x05], "EOT, with parity, begins a new poll");
    assert!(said(&mut dialogue, &mut framer, &[0x84]).is_empty(), "nothing was said: no hot loop of polls");
    assert_eq!(dialogue.quiet(false), [0x05]);

    let mut damaged = frame;
    let last = damaged.len() - 1;
    damaged[last] ^= 0x02;
    let answers: Vec<u8> = (0..4).flat_map(|_| said(&mut dialogue, &mut framer, &damaged)).collect();
    assert_eq!(answers, [0x15, 0x15, 0x15, 0x04]);
    assert_eq!(said(&mut dialogue, &mut framer, b"\xffnoise\x05"), [] as [u8; 0], "noise asks for nothing");
    let headless = &other[3..];
    assert_eq!(said(&mut dialogue, &mut framer, headless), [0x15], "a frame without its beginning");
    assert_eq!(said(&mut dialogue, &mut framer, &other), [0x06]);
    assert_eq!(dialogue.quiet(false), [0x84, 0x05], "the host ends what the terminal does not");
    assert_eq!(dialogue.quiet(true), [0x95], "half a frame is asked for again");
}

#[test]
fn a_repeated_frame_is_one_message() {
    let (mut dialogue, mut framer) = (Dialogue::default(), Framer::new(Framing::TRITON));
    let frame = line::frame("ATM1\x1c51\x1c012030\x1c00010002000300000005\x1c");
    let mut kinds = Vec::new();
    for bytes in [&frame[..], &[0x95], &frame, &[0x84], &frame] {
        framer.push(bytes, &mut |piece| {
            dialogue.frame(piece.expect("a piece"), &mut |message| {
                kinds.push(serde_json::to_value(message.expect("a message")).expect("serialises"));
            });
        });
    }
    let kinds: Vec<&str> = kinds.iter().filter_map(|message| message["kind"].as_str()).collect();
    assert_eq!(kinds, ["totals", "repeated", "totals"], "after EOT the same totals are new");
}

#[test]
fn no_bytes_make_it_fail() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let alphabet = *b"\x02\x02\x03\x03\x04\x05\x06\x15\x1c\x1c\x1c0123456789A;=~\x82\x83\xff";
    let mut dialogue = Dialogue::default();
    dialogue.opening();
    for _ in 0..20_000 {
        let mut bytes = b"\x02T\x1c11".to_vec();
        for _ in 0..random % 60 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.push(alphabet[usize::try_from(random >> 40).expect("24 bits") % alphabet.len()]);
        }
        random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 7;
        let mut framer = Framer::new(Framing::TRITON);
        said(&mut dialogue, &mut framer, &bytes);
        dialogue.quiet(random & 1 == 0);
        if let [b'\x02', .., _] = bytes[..] {
            let checked = [&bytes[1..], b"\x03"].concat();
            let whole = [b"\x02", &checked[..], &[line::check_character(&checked)]].concat();
            let _ = decode(&whole).map(|message| serde_json::to_string(&message).expect("serialises"));
        }
    }
}

#[test]
fn half_a_frame_on_a_quiet_line_is_asked_for_again() {
    use crate::protocol::{Decoder, Protocol, Stream};
    let profile = crate::profile::Profile::builtin("triton").expect("built in");
    let mut stream = Stream::new(profile.framing, Decoder::new(Protocol::Triton, &profile).expect("a decoder"));
    assert_eq!(stream.patience(), None, "a tap has no say in it");
    assert_eq!(stream.opening(), [0x05]);
    assert_eq!(stream.patience(), Some(Dialogue::QUIET));
    let mut heard = Vec::new();
    stream.push(&line::frame("ATM1\x1c11\x1c0001\x1c")[..7], &mut |message| heard.push(message));
    assert!(heard.is_empty());
    assert_eq!(stream.quiet(&mut |message| heard.push(message)), [0x95], "NAK");
    assert!(matches!(&heard[..], [Ok(crate::protocol::Message::Triton(Message::Noise(_)))]), "{heard:?}");
    assert_eq!(stream.quiet(&mut |message| heard.push(message)), [0x05], "then ENQ");
}
