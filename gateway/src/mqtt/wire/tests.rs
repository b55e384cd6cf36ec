//! What brokers send, read; what we send, measured.

use super::*;

fn read_all(version: Version, bytes: &[u8]) -> Vec<Result<Option<Word>, Garbled>> {
    let mut heard = BytesMut::from(bytes);
    let (mut words, mut reader) = (Vec::new(), Reader::new(version));
    loop {
        let word = reader.read(&mut heard);
        let last = !matches!(word, Ok(Some(_)));
        words.push(word);
        if last {
            return words;
        }
    }
}

#[test]
fn acknowledgements_are_read_in_both_versions_however_the_bytes_are_cut() {
    let five = [0x40, 2, 0, 7, 0x40, 3, 1, 0, 0x97, 0x40, 4, 0, 9, 0x87, 0, 0xd0, 0];
    let words = [
        Word::Ack(7, Verdict::Accepted),
        Word::Ack(256, Verdict::Later("quota exceeded")),
        Word::Ack(9, Verdict::Forbidden),
        Word::Pong,
    ];
    let mut heard = BytesMut::new();
    let (mut found, mut reader) = (Vec::new(), Reader::new(Version::V5));
    for byte in five {
        heard.extend_from_slice(&[byte]);
        found.extend(reader.read(&mut heard).expect("is MQTT"));
    }
    assert_eq!(found, words);
    let words = read_all(Version::V311, &[0x40, 2, 0, 7, 0xd0, 0, 0x40]);
    assert_eq!(words, [Ok(Some(Word::Ack(7, Verdict::Accepted))), Ok(Some(Word::Pong)), Ok(None)]);
}

#[test]
fn only_an_accepting_reason_counts_as_an_acknowledgement() {
    for (code, verdict) in [
        (0x00, Verdict::Accepted),
        (0x10, Verdict::Accepted),
        (0x80, Verdict::Later("unspecified error")),
        (0x87, Verdict::Forbidden),
        (0x90, Verdict::Never("topic name invalid")),
        (0x91, Verdict::Later("packet identifier in use")),
        (0x95, Verdict::Never("packet too large")),
        (0x97, Verdict::Later("quota exceeded")),
        (0x99, Verdict::Never("payload format invalid")),
    ] {
        assert_eq!(read_all(Version::V5, &[0x40, 3, 0, 1, code])[0], Ok(Some(Word::Ack(1, verdict))), "{code:#x}");
    }
    // Whatever the reason, and whatever stands behind it, it is a verdict, and what comes next is read.
    for code in 0..=0xff_u8 {
        let [first, next, ..] = &read_all(Version::V5, &[0x40, 6, 0, 1, code, 2, 0xff, 0, 0xd0, 0])[..] else {
            panic!("two words: {code:#x}")
        };
        let Ok(Some(Word::Ack(1, verdict))) = first else { panic!("{code:#x}: {first:?}") };
        assert_eq!(*verdict == Verdict::Accepted, [0x00, 0x10].contains(&code), "{code:#x}");
        let never = [0x81, 0x8f, 0x90, 0x95, 0x99, 0x9a].contains(&code);
        assert_eq!(matches!(verdict, Verdict::Never(_)), never, "{code:#x}");
        assert_eq!(*next, Ok(Some(Word::Pong)), "{code:#x}");
    }
}

#[test]
fn a_welcome_has_limits_and_a_refusal_a_reason() {
    let welcome = [0x20, 14, 0, 0, 11, 0x21, 0, 9, 0x27, 0, 0, 4, 0, 0x13, 0, 30];
    let Ok(Some(Word::Welcome(limits))) = read_all(Version::V5, &welcome)[0].clone() else { panic!("a welcome") };
    assert_eq!((limits.in_flight, limits.packet, limits.keep_alive_s), (9, 1024, Some(30)));
    assert!(limits.retains && limits.acknowledges);
    for (version, bytes, text) in [
        (Version::V5, &[0x20, 3, 0, 0x86, 0][..], "bad user name or password"),
        (Version::V311, &[0x20, 2, 0, 4], "bad user name or password"),
        (Version::V311, &[0x20, 2, 0, 1], "it does not speak MQTT 3.1.1 on this port"),
    ] {
        assert_eq!(read_all(version, bytes)[0], Ok(Some(Word::Refusal(text.to_owned()))));
    }
}

#[test]
fn farewells_say_why_with_properties_or_without() {
    let taken = Word::Goodbye("another client has our client id".to_owned());
    assert_eq!(read_all(Version::V5, &[0xe0, 2, 0x8e, 0])[0], Ok(Some(taken)));
    assert!(matches!(&read_all(Version::V5, &[0xe0, 1, 0x8b])[0], Ok(Some(Word::Goodbye(_)))));
    assert!(matches!(&read_all(Version::V5, &[0xe0, 0])[0], Ok(Some(Word::Goodbye(_)))));
}

#[test]
fn what_is_no_answer_is_garbled_and_never_waited_for() {
    assert!(read_all(Version::V5, &[0x20, 3, 0, 0, 9])[0].is_err(), "properties that are not there");
    for bytes in [
        &[0x40, 1, 0][..],
        &[0x00, 0],
        &[0xff; 8],
        &[0x40, 0xff, 0xff, 0xff, 0x7f],
        &[0x32, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x32, 4, 0, 9, b'a', 0],
        &[0x32, 5, 0, 1, b'a', 0, 0],
        &[0x34, 6, 0, 1, b'a', 0, 1, 0],
    ] {
        for version in [Version::V5, Version::V311] {
            assert!(read_all(version, bytes)[0].is_err(), "{bytes:?} in {version:?}");
        }
    }
}

#[test]
fn a_packet_is_as_large_as_it_says() {
    let content = |encoding| Some(Content { kind: "application/cloudevents+json", encoding });
    for version in [Version::V5, Version::V311] {
        for length in [0, 60, 100, 16_300, 16_400, 2_097_200] {
            for content in [None, content(None), content(Some("zstd"))] {
                let payload = Bytes::from(vec![b'x'; length]);
                let publication = Publication { topic: "a/b".to_owned(), payload, retain: false, content };
                let packet = version.packet(publication);
                let (size, mut out) = (packet.size(), BytesMut::new());
                packet.write(7, &mut out).expect("is written");
                assert_eq!(out.len(), size);
                assert_eq!(out[0], 0x32, "QoS 1, first time, not retained");
            }
        }
    }
}

#[test]
fn a_greeting_asks_for_a_clean_session_and_leaves_a_will() {
    let will = Publication {
        topic: "h".to_owned(),
        payload: Bytes::from_static(b"offline"),
        retain: true,
        content: Some(Content { kind: "application/json", encoding: None }),
    };
    let login = Some(("gw".to_owned(), "secret".to_owned()));
    let greeting = Greeting { client_id: "id".to_owned(), keep_alive_s: 15, will: Some(will), session: Resume::Never };
    for (version, level) in [(Version::V5, 5), (Version::V311, 4)] {
        let mut out = BytesMut::new();
        version.greet(&greeting, &login, &mut out).expect("is written");
        assert_eq!(&out[2..9], [0, 4, b'M', b'Q', b'T', b'T', level]);
        assert_eq!(out[9], 0b1110_1110, "user name, password, will retained at QoS 1, clean");
        assert_eq!(&out[10..12], [0, 15]);
    }
}

#[test]
fn a_greeting_may_ask_for_what_was_kept() {
    let session = Resume::Within { seconds: 3600, at_once: 16 };
    let greeting = Greeting { client_id: "id".to_owned(), keep_alive_s: 15, will: None, session };
    let greet = |version: Version, greeting: &Greeting| {
        let mut out = BytesMut::new();
        version.greet(greeting, &None, &mut out).expect("is written");
        out
    };
    let five = greet(Version::V5, &greeting);
    assert_eq!(five[9], 0, "not a clean start, no will, no login");
    let says = |part: &[u8]| five.windows(part.len()).any(|window| window == part);
    assert!(says(&[0x11, 0, 0, 0x0e, 0x10]) && says(&[0x21, 0, 16]), "session expiry and receive maximum: {five:?}");
    assert_eq!(greet(Version::V311, &greeting)[9], 0);
    let forgotten = Greeting { session: Resume::Within { seconds: 0, at_once: 16 }, ..greeting };
    assert_eq!(greet(Version::V311, &forgotten)[9], 0b10, "3.1.1 cannot say for how long, but that it is not at all");
}

#[test]
fn a_subscription_is_said_and_its_answer_read() {
    for (version, written, granted, refused) in [
        (Version::V5, &[0x82, 9, 0, 7, 0, 0, 3, b'a', b'/', b'+', 0x29][..], &[0x90, 4, 0, 7, 0, 1][..], 0x87),
        (Version::V311, &[0x82, 8, 0, 7, 0, 3, b'a', b'/', b'+', 1], &[0x90, 3, 0, 7, 1], 0x80),
    ] {
        let mut out = BytesMut::new();
        version.subscribe("a/+".to_owned(), 7, &mut out).expect("is written");
        assert_eq!(out, written);
        assert_eq!(read_all(version, granted)[0], Ok(Some(Word::Subscribed(7, true))));
        for code in [refused, 0] {
            let (_, front) = granted.split_last().expect("has bytes");
            let answer = read_all(version, &[front, &[code]].concat());
            assert_eq!(answer[0], Ok(Some(Word::Subscribed(7, false))), "{code:#x}");
        }
        let mut out = BytesMut::new();
        version.acknowledge(0x1234, &mut out);
        assert_eq!(out, &[0x40, 2, 0x12, 0x34][..]);
    }
}

/// A message, as a broker delivers it.
fn message(version: Version, kind: u8, topic: &[u8], properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(topic.len()).expect("short");
    let mut body = [&[0, length], topic].concat();
    if kind & 0b110 != 0 {
        body.extend([0, 9]);
    }
    if version == Version::V5 {
        body.push(u8::try_from(properties.len()).expect("short"));
        body.extend(properties);
    }
    body.extend(payload);
    let (mut bytes, mut left) = (vec![kind], body.len());
    loop {
        let low = u8::try_from(left % 128).expect("seven bits");
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            bytes.extend(body);
            return bytes;
        }
    }
}

#[test]
fn messages_are_read_however_odd_they_are_and_those_behind_them_too() {
    let large = vec![b'x'; 200_000];
    for version in [Version::V5, Version::V311] {
        // A user property that is no text, and a subscription's identifier before another property.
        let odd = [0x26, 0, 1, 0xff, 0, 1, 0xfe, 0x0b, 1, 0x01, 1];
        let stream = [
            message(version, 0x32, b"a/b", &odd, b"{}"),
            message(version, 0x3b, b"a/b", &[], b""),
            message(version, 0x30, b"a\xffb", &[], b"qos 0"),
            message(version, 0x32, b"a/b", &[], &large),
            vec![0xd0, 0],
        ]
        .concat();
        for step in [1, 7, 1000, stream.len()] {
            let (mut reader, mut heard, mut found) = (Reader::new(version), BytesMut::new(), Vec::new());
            for piece in stream.chunks(step) {
                heard.extend_from_slice(piece);
                while let Some(word) = reader.read(&mut heard).expect("is MQTT") {
                    found.push(word);
                }
                assert!(heard.len() <= 70_000, "what is too large is not kept");
            }
            let [Word::Delivery(odd), Word::Delivery(empty), Word::Delivery(once), Word::Delivery(large), Word::Pong] =
                &found[..]
            else {
                panic!("{found:?}")
            };
            assert_eq!((odd.topic.as_str(), odd.id, odd.payload.as_deref()), ("a/b", Some(9), Ok(&b"{}"[..])));
            assert!(empty.retained && empty.payload.as_deref() == Ok(&[]) && !odd.retained);
            assert_eq!((once.topic.as_str(), once.id), ("a\u{fffd}b", None));
            assert!(large.id == Some(9) && large.payload.as_ref().is_err_and(|bytes| *bytes > 200_000));
        }
    }
}
