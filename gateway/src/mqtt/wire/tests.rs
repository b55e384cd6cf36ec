//! What brokers send, read; what we send, measured.

use super::*;

fn read_all(version: Version, bytes: &[u8]) -> Vec<Result<Option<Word>, Garbled>> {
    let mut heard = BytesMut::from(bytes);
    let mut words = Vec::new();
    loop {
        let word = version.read(&mut heard);
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
    let mut found = Vec::new();
    for byte in five {
        heard.extend_from_slice(&[byte]);
        found.extend(Version::V5.read(&mut heard).expect("is MQTT"));
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
        (0x97, Verdict::Later("quota exceeded")),
        (0x99, Verdict::Never("payload format invalid")),
    ] {
        assert_eq!(read_all(Version::V5, &[0x40, 3, 0, 1, code])[0], Ok(Some(Word::Ack(1, verdict))), "{code:#x}");
    }
    assert!(read_all(Version::V5, &[0x40, 3, 0, 1, 0x77])[0].is_err(), "a reason that there is not");
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
    let taken = Word::Goodbye("another client uses our client id".to_owned());
    assert_eq!(read_all(Version::V5, &[0xe0, 2, 0x8e, 0])[0], Ok(Some(taken)));
    assert!(matches!(&read_all(Version::V5, &[0xe0, 1, 0x8b])[0], Ok(Some(Word::Goodbye(_)))));
    assert!(matches!(&read_all(Version::V5, &[0xe0, 0])[0], Ok(Some(Word::Goodbye(_)))));
}

#[test]
fn what_is_no_answer_is_garbled_and_never_waited_for() {
    assert!(read_all(Version::V5, &[0x20, 3, 0, 0, 9])[0].is_err(), "properties that are not there");
    for bytes in [&[0x40, 1, 0][..], &[0x00, 0], &[0xff; 8], &[0x40, 0xff, 0xff, 0xff, 0x7f], &[0x30, 4, 0, 1, b'a', 0]]
    {
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
    let greeting = Greeting { client_id: "id".to_owned(), keep_alive_s: 15, will };
    for (version, level) in [(Version::V5, 5), (Version::V311, 4)] {
        let mut out = BytesMut::new();
        version.greet(&greeting, &login, &mut out).expect("is written");
        assert_eq!(&out[2..9], [0, 4, b'M', b'Q', b'T', b'T', level]);
        assert_eq!(out[9], 0b1110_1110, "user name, password, will retained at QoS 1, clean");
        assert_eq!(&out[10..12], [0, 15]);
    }
}
