//! Every combination of encoding, prefix and padding; every built-in spec there and back; nothing of a card anywhere.

use super::*;
use crate::profile::Profile;
use crate::protocol::framing::{Framing, LengthForm};
use crate::protocol::{Decoder, Protocol, Stream};

/// A small generator (xorshift64): the tests need no better.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn hex(text: &str) -> Vec<u8> {
    digits::from_hex(text.replace(' ', "").as_bytes()).expect("hexadecimal").to_vec()
}

fn mti(digits: &str) -> Mti {
    Mti::new(digits.as_bytes().try_into().expect("four")).expect("a type")
}

/// A spec with field 48 alone.
fn spec_of(field: &str) -> Spec {
    let text = format!(
        "name = \"one\"\nwords = \"one\"\nversion = 0\n[wire]\nmti = \"bcd\"\nbitmap = \"binary\"\n\
         [fields]\n48 = {{ name = \"it\", {field} }}"
    );
    Spec::parse(&text).unwrap_or_else(|error| panic!("{field}: {error}"))
}

/// What stands before field 48 in a message of such a spec.
const BEFORE_48: &str = "0200 0000000000010000";

/// Type without its length, the rest of the field's line, the value, and the value on the wire.
const CONTENTS: [(&str, &str, &str, &str); 21] = [
    ("n", "encoding = 'ascii'", "123", "313233"),
    ("n", "encoding = 'ebcdic'", "123", "f1f2f3"),
    ("n", "encoding = 'bcd', odd = 'left'", "123", "0123"),
    ("n", "encoding = 'bcd', odd = 'right'", "123", "1230"),
    ("n", "encoding = 'bcd', odd = 'right', fill = 'f'", "123", "123f"),
    ("n", "encoding = 'bcd', odd = 'left', fill = 'f'", "123", "f123"),
    ("n", "encoding = 'bcd', odd = 'right'", "1234", "1234"),
    ("x+n", "encoding = 'ascii'", "C0012", "4330303132"),
    ("x+n", "encoding = 'ebcdic'", "D0012", "c4f0f0f1f2"),
    ("x+n", "encoding = 'bcd'", "D0012", "440012"),
    ("x+n", "encoding = 'bcd', odd = 'left'", "C012", "430012"),
    ("z", "encoding = 'ascii'", "12=34", "31323d3334"),
    ("z", "encoding = 'ebcdic'", "12=34", "f1f27ef3f4"),
    ("z", "encoding = 'bcd', odd = 'left'", "12=34", "012d34"),
    ("z", "encoding = 'bcd', odd = 'right'", "12=34", "12d340"),
    ("an", "encoding = 'ascii'", "A1 b", "41312062"),
    ("an", "encoding = 'ebcdic'", "A1 b", "c1f14082"),
    ("ans", "encoding = 'ascii'", "A-1", "412d31"),
    ("ans", "encoding = 'ebcdic'", "A-1", "c160f1"),
    ("b", "encoding = 'binary'", "\x01A", "0141"),
    ("b", "encoding = 'hex'", "\x01A", "30313431"),
];

/// Dots of the notation, encoding of the length, and the lengths 2 to 5 on the wire.
const PREFIXES: [(&str, &str, [&str; 4]); 13] = [
    (".", "ascii", ["32", "33", "34", "35"]),
    (".", "bcd", ["02", "03", "04", "05"]),
    ("..", "ascii", ["3032", "3033", "3034", "3035"]),
    ("..", "ebcdic", ["f0f2", "f0f3", "f0f4", "f0f5"]),
    ("..", "bcd", ["02", "03", "04", "05"]),
    ("..", "binary", ["02", "03", "04", "05"]),
    ("...", "ascii", ["303032", "303033", "303034", "303035"]),
    ("...", "ebcdic", ["f0f0f2", "f0f0f3", "f0f0f4", "f0f0f5"]),
    ("...", "bcd", ["0002", "0003", "0004", "0005"]),
    ("...", "binary", ["0002", "0003", "0004", "0005"]),
    ("....", "ascii", ["30303032", "30303033", "30303034", "30303035"]),
    ("....", "bcd", ["0002", "0003", "0004", "0005"]),
    ("....", "binary", ["0002", "0003", "0004", "0005"]),
];

fn there_and_back(spec: &Spec, value: &str, wire: &str) {
    let wire = hex(&format!("{BEFORE_48} {wire}"));
    let message = Clear::new(mti("0200")).with(48, value.as_bytes());
    assert_eq!(spec.encode(&message).as_deref().map(Vec::as_slice), Ok(wire.as_slice()), "{spec:?}");
    let read = spec.read(&wire).unwrap_or_else(|broken| panic!("{spec:?}: {broken:?}"));
    assert_eq!(read.field(48), Some(value.as_bytes()), "{spec:?}");
}

#[test]
fn every_encoding_with_every_prefix_and_padding() {
    for (letters, rest, value, wire) in CONTENTS {
        // The sign of x+n is not in the notation's length.
        let length = value.len() - usize::from(letters == "x+n");
        there_and_back(&spec_of(&format!("type = '{letters}{length}', {rest}")), value, wire);
        for (dots, prefix, lengths) in PREFIXES {
            let spec = spec_of(&format!("type = '{letters}{dots}8', prefix = '{prefix}', {rest}"));
            there_and_back(&spec, value, &format!("{}{wire}", lengths[value.len() - 2]));
        }
    }
}

#[test]
fn a_fixed_field_is_filled_up() {
    for (field, value, filled) in [
        ("type = 'n6', encoding = 'ascii'", "42", "000042"),
        ("type = 'an6', encoding = 'ascii'", "42", "42    "),
        ("type = 'ans6', encoding = 'ebcdic'", "ab", "ab    "),
    ] {
        let spec = spec_of(field);
        let wire = spec.encode(&Clear::new(mti("0200")).with(48, value.as_bytes())).expect("encodes");
        assert_eq!(spec.read(&wire).expect("reads").field(48), Some(filled.as_bytes()));
    }
}

#[test]
fn every_fault_names_its_field_and_shows_no_content() {
    for (field, wire, reason) in [
        ("type = 'n..19', encoding = 'ascii', prefix = 'ascii'", "6162", "field 48: LL prefix `ab` is no number"),
        ("type = 'n..19', encoding = 'ascii', prefix = 'bcd'", "1a", "field 48: LL prefix `1A` is no number"),
        ("type = 'n..19', encoding = 'ascii', prefix = 'ascii'", "3230", "field 48: LL prefix says 20, at most 19"),
        (
            "type = 'n...99', encoding = 'ascii', prefix = 'ascii'",
            "3039",
            "field 48: the message ends in its LLL prefix",
        ),
        ("type = 'n..19', encoding = 'ascii', prefix = 'ascii'", "3034 3132", "field 48: 4 bytes are announced, 2 are"),
        ("type = 'n2', encoding = 'ascii'", "3941", "field 48: character 2 is not a digit"),
        ("type = 'n3', encoding = 'bcd'", "1234", "field 48: the spare half byte is neither 0 nor F"),
        ("type = 'n3', encoding = 'bcd'", "0a34", "field 48: character 1 is not a digit"),
        ("type = 'an2', encoding = 'ascii'", "4107", "field 48: character 2 is not printable"),
        ("type = 'x+n2', encoding = 'ascii'", "583132", "field 48: the sign is neither C nor D"),
        ("type = 'b2', encoding = 'hex'", "3031 7a7a", "field 48: no hexadecimal digits"),
        ("type = 'n2', encoding = 'ascii'", "3132 33", "1 bytes follow the last field"),
    ] {
        let spec = spec_of(field);
        let wire = hex(&format!("{BEFORE_48} {wire}"));
        let broken = spec.read(&wire).expect_err(reason);
        assert!(broken.reason.contains(reason), "{}", broken.reason);
    }
    let spec = Spec::named("1987-ascii").expect("built in");
    let error = |message: &Clear| spec.encode(message).expect_err("refused");
    assert!(error(&Clear::new(mti("0200")).with(65, b"1")).starts_with("field 65"));
    assert!(error(&Clear::new(mti("0200")).with(4, b"12a")).starts_with("field 4"));
    assert!(error(&Clear::new(mti("0200")).with(2, b"41234567890123456789")).starts_with("field 2"));
    assert!(error(&Clear::new(mti("1200"))).contains("version"));
}

/// A value that the field can hold.
fn value(random: &mut Random, field: &Field) -> Vec<u8> {
    let length = match field.notation.length {
        Length::Fixed(length) => length,
        Length::Variable { max, .. } => 1 + random.below(max.min(60)),
    };
    let mut value: Vec<u8> = (0..length)
        .map(|_| match field.notation.content {
            Content::Numeric | Content::Signed => *random.pick(b"0123456789"),
            Content::Track => *random.pick(b"0123456789="),
            Content::Alphanumeric => *random.pick(b"AZaz09 "),
            Content::Text | Content::Binary => u8::try_from(random.below(256)).expect("a byte"),
        })
        .collect();
    if let (Content::Signed, Some(sign)) = (field.notation.content, value.first_mut()) {
        *sign = *random.pick(b"CD");
    }
    value
}

#[test]
fn every_built_in_spec_reads_what_it_writes_and_is_recognised() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for spec in Spec::builtin() {
        for _ in 0..60 {
            let mut clear = Clear::new(mti(if spec.version == 0 { "0200" } else { "1200" }));
            for (number, field) in spec.fields() {
                if random.below(4) == 0 {
                    clear = clear.with(number, &value(&mut random, field));
                }
            }
            let wire = spec.encode(&clear).unwrap_or_else(|reason| panic!("{}: {reason}", spec.name));
            assert_eq!(spec.read(&wire).as_ref(), Ok(&clear), "{}", spec.name);
            let (found, _) = decode_clear(&wire, &Options::default())
                .unwrap_or_else(|fault| panic!("{} is not recognised: {}", spec.name, fault.reason));
            // Specs of the same words may both explain a message: those that differ in the place of a spare half byte, or
            // in a field that it does not have.
            assert_eq!(found.words, spec.words);
            assert_eq!(found.version, spec.version);
        }
    }
}

/// A purchase as terminals send it, with everything of a card that a message can hold.
fn with_card(spec: &Spec) -> Clear {
    let chip = [hex("9f2608b2746052b28b6413 5a08"), hex("4123456789012349"), hex("9505 0000000000")].concat();
    Clear::new(mti(if spec.version == 0 { "0200" } else { "1200" }))
        .with(2, b"4123456789012349")
        .with(3, b"011000")
        .with(4, b"000000010000")
        .with(7, b"1120213000")
        .with(11, b"000421")
        .with(22, if spec.version == 0 { b"051" } else { b"510101513344" })
        .with(32, b"12345")
        .with(35, b"4123456789012349=30122010000000000")
        .with(36, b"4123456789012349=1=2")
        .with(41, b"ATM00017")
        .with(45, b"B4123456789012349^DOE/J^3012201")
        .with(52, &hex("a1b2c3d4e5f60718"))
        .with(55, &chip)
        .with(62, b"PAN 4123456789012349!")
        .with(63, &[&b"\x01"[..], &hex("4123456789012349")].concat())
        .with(102, b"4123456789012349")
}

#[test]
fn nothing_of_a_card_is_in_a_message_or_a_fault() {
    let secrets = ["4123456789012349", "3132333435363738", "3012201", "A1B2C3D4E5F60718", "DOE", "F4F1F2F3F4F5"];
    let clean = |shown: &str| {
        let shown = shown.to_uppercase();
        assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
    };
    for spec in Spec::builtin() {
        let wire = spec.encode(&with_card(spec)).unwrap_or_else(|reason| panic!("{}: {reason}", spec.name));
        let message = decode(&wire, &Options::default()).expect("recognised");
        clean(&serde_json::to_string(&message).expect("serialises"));
        clean(&format!("{:?}", with_card(spec)));
        let field = |number| message.field(number).expect("there");
        assert_eq!(field(2), "412345******2349");
        assert_eq!([field(35), field(36), field(45), field(52)], [HIDDEN; 4]);
        assert!(field(55).ends_with("9F2608B2746052B28B641395050000000000"), "{}", field(55));
        assert_eq!(message.card.as_deref(), Some("412345******2349"));
        assert_eq!(field(62), "PAN 412345******2349!");
        assert_eq!(field(102), "412345******2349");
        for end in 0..wire.len() {
            let fault = decode(&wire[..end], &Options::default()).expect_err("half a message");
            clean(&fault.reason);
            clean(&fault.frame);
        }
    }
}

#[test]
fn a_card_number_in_place_of_an_account_is_masked() {
    let spec = Spec::named("1987-ascii").expect("built in");
    for (account, shown) in [
        ("10115020104", "10115020104"),
        ("4123456789012349", "412345******2349"),
        ("4123456789012348", "4123456789012348"),
        ("GB29NWBK60161331926819", "GB29NWBK60161331926819"),
    ] {
        let message = Message::new(&Clear::new(mti("0200")).with(102, account.as_bytes()), &spec);
        assert_eq!(message.field(102), Some(shown));
    }
}

#[test]
fn a_track_in_a_private_field_is_hidden() {
    let spec = Spec::named("1987-ascii").expect("built in");
    let bcd = [&b"\x01"[..], &hex("4123456789012349d30120")].concat();
    for (value, shown) in [
        (&b"T2 4123456789012349=3012201"[..], HIDDEN),
        (b"B4123456789012349^DOE/J^3012", HIDDEN),
        (&bcd, HIDDEN),
        (b"PAN 4123456789012349", "PAN 412345******2349"),
        (b"2018", "2018"),
    ] {
        for own in [&b"4123456789012349"[..], b"5500000000000004"] {
            let message = Message::new(&Clear::new(mti("0200")).with(2, own).with(62, value), &spec);
            assert_eq!(message.field(62), Some(shown));
        }
    }
}

#[test]
fn the_card_is_told_where_only_the_track_was_sent() {
    let spec = Spec::named("1987-bcd").expect("built in");
    let message = Message::new(&Clear::new(mti("0200")).with(35, b"4123456789012349=3012"), &spec);
    assert_eq!((message.card.as_deref(), message.field(35)), (Some("412345******2349"), Some(HIDDEN)));
}

#[test]
fn headers_are_found_and_kept() {
    let body = hex(
        "0800 2038000000200002 810000 000001 084909 0522 53415630305a303537363331202020205341564e47583130303131303032303030302020202020200011010008b9f3f723ca3cd2f8",
    );
    let visa = format!("16010200{}", "00".repeat(18));
    for (header, shown) in
        [("6000010002", "6000010002"), (visa.as_str(), visa.as_str()), ("49534f303135303030303137", "ISO015000017")]
    {
        let message = decode(&[hex(header), body.clone()].concat(), &Options::default()).expect("decodes");
        assert_eq!(serde_json::to_value(&message).expect("serialises")["header"], *shown);
        assert_eq!(message.field(63), Some("hex:010008B9F3F723CA3CD2F8"));
    }
    let only = Options { header: HeaderKind::Iso, ..Options::default() };
    assert_eq!(decode(&body, &only).expect_err("refused").reason, "no header of this link");
}

#[test]
fn a_spec_beside_the_profile_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = "name = 'x'\nmaker = 'x'\nprotocol = 'iso8583'\nframing = { kind = 'length', form = 'ascii4' }\n";
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).expect("written");
    write("profile.toml", &format!("{profile}[iso8583]\nspec = 'spec.toml'"));
    let error = Profile::load(folder.path()).expect_err("no spec").to_string();
    assert!(error.contains("iso8583.spec: spec.toml"), "{error}");
    write("spec.toml", "name = 'bank'\nbased_on = '1987-ascii'\n[fields]\n48 = { type = 'n2', keep = 'hidden' }");
    let profile = Profile::load(folder.path()).expect("a profile");
    let message = decode(b"0200000000000001000012", &profile.iso8583).expect("decodes");
    assert_eq!((&*message.spec, message.field(48)), ("bank", Some(HIDDEN)));
    write(
        "profile.toml",
        "name = 'x'\nmaker = 'x'\nprotocol = 'iso8583'\nframing = { kind = 'none' }\niso8583 = { spec = '1986' }",
    );
    let error = Profile::load(folder.path()).expect_err("no such spec").to_string();
    assert!(error.contains("no ISO 8583 spec `1986`; built in are 1987-ascii"), "{error}");
}

#[test]
fn the_example_of_the_readme_is_a_spec() {
    let readme = include_str!("../../../../devices/README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let spec = Spec::parse(example).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(spec.field(120).map(|field| field.keep), Some(Keep::Masked));
}

#[test]
fn half_a_frame_shows_no_bytes() {
    let profile = Profile::builtin(Protocol::Iso8583.usual_profile()).expect("built in");
    let decoder = Decoder::new(Protocol::Iso8583, &profile).expect("a decoder");
    let mut stream = Stream::new(Framing::length(LengthForm::Bcd2), decoder);
    let mut out = Vec::new();
    stream.push(&hex("0099 0200 4000000000000000 16 41234567890123"), &mut |heard| out.push(heard));
    stream.finish(&mut |heard| out.push(heard));
    assert!(matches!(&out[..], [Err(fault)] if fault.frame.is_empty()), "{out:?}");
}

#[test]
fn no_bytes_make_it_fail() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..8_000 {
        let spec = &Spec::builtin()[round % Spec::builtin().len()];
        // Without chip data: a tag that is damaged is another tag.
        let mut wire = spec.encode(&with_card(spec).with(55, b"")).expect("encodes").to_vec();
        for _ in 0..=random.below(6) {
            let at = random.below(wire.len());
            wire[at] = *random.pick(&[0, 0x30, 0x39, 0xf0, 0xff, wire[at] ^ 1, wire[at] ^ 0x80]);
        }
        wire.truncate(1 + random.below(wire.len() * 2));
        let shown = match decode(&wire, &Options::default()) {
            Ok(message) => serde_json::to_string(&message).expect("serialises"),
            Err(fault) => format!("{fault:?}"),
        };
        assert!(!shown.contains("4123456789012349"), "{shown}");
    }
    // Larger than any message, and every field of it there: the time stays linear.
    let huge = [b"0200".to_vec(), vec![b'F'; 32], vec![b'9'; 65_000]].concat();
    assert!(decode(&huge, &Options::default()).is_err());
}
