use super::*;

/// A frame, or the reason of a fault; and at the end whether the framer is broken.
type Outcome = (Vec<Result<Vec<u8>, Fault>>, bool);

fn run<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut framer = Framer::new(framing);
    let mut out = Vec::new();
    let mut emit = |frame: Result<&[u8], Fault>| out.push(frame.map(<[u8]>::to_vec));
    for piece in pieces {
        framer.push(piece, &mut emit);
    }
    let broken = framer.broken();
    framer.finish(&mut emit);
    (out, broken)
}

fn frames(framing: Framing, bytes: &[u8]) -> Vec<Result<Vec<u8>, Fault>> {
    run(framing, [bytes]).0
}

/// A small generator (xorshift64): the tests need no better.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

#[test]
fn cutting_the_stream_differently_changes_nothing() {
    let framings = [
        Framing::LENGTH,
        Framing::Length { form: LengthForm::Binary2, inclusive: true, etx: false, max: 40 },
        Framing::Length { form: LengthForm::Binary2, inclusive: false, etx: true, max: 5 },
        Framing::ASCII_LENGTH,
        Framing::length(LengthForm::Bcd2),
        Framing::Length { form: LengthForm::Visa4, inclusive: true, etx: false, max: 60 },
        Framing::Line { max: 6 },
        Framing::LINE,
        Framing::Delimiter { byte: 0xff, max: 9 },
        Framing::TRITON,
        Framing::Triton { max: 7 },
        Framing::NONE,
        Framing::None { max: 50 },
        Framing::Upload { max: 20 },
        Framing::UPLOAD,
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..3_000 {
        let alphabet = [0_u8, 0, 0, 1, 2, 3, 9, b'\r', b'\n', b'a', b'b', b'0', b'0', b'2', 0xff];
        let framing = framings[round % framings.len()];
        let words: &[&[u8]] = match framing {
            Framing::Upload { .. } => &[b"<>", b"<", b">", b"1", b"30", b"a", b"\n", b"n<>4", b"{}", b"x<>2{}"],
            _ => &[],
        };
        let mut next = || match words.len() {
            0 => vec![alphabet[random.below(alphabet.len())]],
            count => words[random.below(count)].to_vec(),
        };
        let stream: Vec<u8> = (0..60).flat_map(|_| next()).collect();
        let whole = run(framing, [&stream[..]]);
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((random.below(9)).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        assert_eq!(run(framing, pieces), whole, "{framing:?} of {stream:?}");
        assert_eq!(run(framing, stream.chunks(1)), whole, "{framing:?} of {stream:?}");
    }
}

#[test]
fn length_before_every_frame() {
    let two = vec![Ok(b"abc".to_vec()), Ok(b"d".to_vec())];
    assert_eq!(frames(Framing::LENGTH, b"\x00\x03abc\x00\x00\x00\x01d"), two);
    let inclusive = Framing::Length { form: LengthForm::Binary2, inclusive: true, etx: false, max: 9 };
    assert_eq!(frames(inclusive, b"\x00\x05abc\x00\x02\x00\x03d"), two);
    assert!(run(inclusive, [&b"\x00\x01abc"[..]]).1, "a length that does not even count itself");
}

#[test]
fn what_is_wrapped_is_one_frame_again() {
    let etx = Framing::Length { form: LengthForm::Binary2, inclusive: true, etx: true, max: 9 };
    for framing in [Framing::LENGTH, etx, Framing::ASCII_LENGTH, Framing::LINE, Framing::NONE] {
        let wrapped = framing.wrap(b"abc").expect("short");
        assert_eq!(frames(framing, &wrapped), [Ok(b"abc".to_vec())], "{framing:?}");
    }
    assert_eq!(Framing::LENGTH.wrap(&[0; 65_536]), None);
    assert_eq!(etx.wrap(&[0; 65_533]), None);
    assert_eq!(Framing::ASCII_LENGTH.wrap(&[0; 10_000]), None);
}

#[test]
fn lengths_of_other_forms() {
    let two = vec![Ok(b"abc".to_vec()), Ok(b"d".to_vec())];
    for (form, stream) in [
        (LengthForm::Ascii4, &b"0003abc00000001d"[..]),
        (LengthForm::Bcd2, b"\x00\x03abc\x00\x00\x00\x01d"),
        (LengthForm::Visa4, b"\x00\x03\x00\x00abc\x00\x01\x00\x00d"),
    ] {
        assert_eq!(frames(Framing::length(form), stream), two, "{form:?}");
    }
    let (out, broken) = run(Framing::ASCII_LENGTH, [&b"0001a00x1b0001c"[..]]);
    assert!(broken, "nobody knows where the next frame begins");
    assert!(matches!(&out[..], [Ok(_), Err(fault)] if fault.reason.contains("length")), "{out:?}");
}

#[test]
fn an_etx_that_the_length_counts_is_no_part_of_the_frame() {
    let etx = Framing::Length { form: LengthForm::Binary2, inclusive: false, etx: true, max: 9 };
    let out = frames(etx, b"\x00\x04abc\x03\x00\x02xy\x00\x02d\x03");
    let [Ok(first), Err(fault), Ok(last)] = &out[..] else { panic!("{out:?}") };
    assert_eq!((first.as_slice(), last.as_slice()), (&b"abc"[..], &b"d"[..]));
    assert!(fault.reason.contains("ETX"));
}

#[test]
fn a_frame_too_large_is_one_fault() {
    let (out, broken) = run(Framing::LENGTH.with_max(4), [&b"\xff\xffabc"[..], b"defgh"]);
    assert!(broken);
    assert!(matches!(&out[..], [Err(fault)] if fault.reason.contains("65535")), "{out:?}");

    let (out, broken) = run(Framing::Line { max: 4 }, [&b"ok\r\nabcdefgh"[..], b"ijk\rfour\r\n\nend"]);
    assert!(!broken);
    let [first, Err(fault), rest @ ..] = &out[..] else { panic!("{out:?}") };
    assert_eq!(first, &Ok(b"ok".to_vec()));
    assert_eq!(fault.frame, "abcd");
    assert_eq!(rest, [Ok(b"four".to_vec()), Ok(b"end".to_vec())]);
}

#[test]
fn half_a_frame_then_hang_up() {
    let out = frames(Framing::LENGTH, b"\x00\x05ab");
    assert!(matches!(&out[..], [Err(_)]), "{out:?}");
    assert!(frames(Framing::LENGTH, b"").is_empty());
}

#[test]
fn settings_read_from_toml() {
    let framing: Framing = toml::from_str("kind = \"length\"\ninclusive = true").expect("a framing");
    assert_eq!(
        framing,
        Framing::Length { form: LengthForm::Binary2, inclusive: true, etx: false, max: MAX_LENGTH_FRAME }
    );
    assert!(toml::from_str::<Framing>("kind = \"line\"\nmaximum = 3").is_err());
}

#[test]
fn an_upload_is_a_header_and_as_many_bytes_as_it_says() {
    let upload = Framing::Upload { max: 9 };
    let file = |text: &str| Ok(text.as_bytes().to_vec());
    assert_eq!(frames(upload, b"a.json<>2{}"), [file("a.json<>2{}")]);
    assert_eq!(frames(upload, b"a<>2{}\n b<>4{  }c<>0 d<>2[]"), ["a<>2{}", "b<>4{  }", "c<>0", "d<>2[]"].map(file));
    let reason = |bytes: &[u8]| {
        let (out, broken) = run(upload, [bytes]);
        match &out[..] {
            [Err(fault)] => (fault.reason.clone(), broken),
            _ => panic!("{out:?}"),
        }
    };
    assert_eq!(reason(b"a<>5{}"), ("the file is short: 2 of 5 bytes came".to_owned(), false));
    assert_eq!(reason(b"a<>5"), ("the file is short: 0 of 5 bytes came".to_owned(), false));
    assert_eq!(reason(b"a<"), ("the stream ended in the middle of an upload's header".to_owned(), false));
    for wrong in [&b"a<>10{}"[..], b"a<>x{}", b"a<>-1{}", b"a<>99999999999", &[b'a'; 300]] {
        assert!(reason(wrong).1, "{:?}", String::from_utf8_lossy(wrong));
    }
}
