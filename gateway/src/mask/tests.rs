use std::borrow::Cow;

use super::*;

#[test]
fn a_card_number_keeps_six_and_four() {
    assert_eq!(pan("4123456789011234"), "412345******1234");
    assert_eq!(pan("1234567890"), "******7890");
    assert_eq!(pan("12"), "12");
}

#[test]
fn text_keeps_all_but_card_numbers() {
    assert_eq!(text("PAN 4123456789011234 AT 12:00"), "PAN 412345******1234 AT 12:00");
    assert_eq!(text("TRAN NO 000312"), "TRAN NO 000312");
    assert_eq!(text("counters 00001000020000300004"), "counters ****************0004");
    assert!(matches!(text("no digits: ünïcode"), Cow::Borrowed(_)));
}

#[test]
fn numbers_in_the_groups_of_a_printed_card_are_masked() {
    assert_eq!(text("PAN 4123 4567 8901 1234."), "PAN 4123 45** **** 1234.");
    assert_eq!(text("4123-4567-8901-1234"), "4123-45**-****-1234");
    assert_eq!(text("3782 822463 10005"), "3782 82**** *0005");
    for kept in ["2026-11-20 21:42:05", "01980 00000 00020 00040", "1234 5678", "1 2 3 4 5 6 7 8 9 10 11 12 13"] {
        assert_eq!(text(kept), kept);
    }
}

#[test]
fn whatever_stands_between_the_groups_of_a_card_number_it_is_masked() {
    for between in [".", "/", "_", "|", ",", ":", "*", "-", "  ", " - ", "\t", "\u{a0}", "\u{200b}", "\u{2013}", "\n"] {
        let card = ["5105", "1051", "0510", "5100"].join(between);
        let shown = ["5105", "10**", "****", "5100"].join(between);
        assert_eq!(text(&format!("CARD {card} OK")), format!("CARD {shown} OK"));
        assert_eq!(number(&card), shown);
    }
    for (card, shown) in [
        ("5105 10510510 5100", "5105 10****** 5100"),
        ("51051051/05105100", "510510**/****5100"),
        ("5105.105105105100", "5105.10******5100"),
        ("378282246310-005", "378282*****0-005"),
        ("3782/822463/10005", "3782/82****/*0005"),
        ("5 1 0 5 1 0 5 1 0 5 1 0 5 1 0 0", "5 1 0 5 1 0 * * * * * * 5 1 0 0"),
        ("N O  5 1 0 5 1 0 5 1 0 5 1 0 5 1 0 0  E", "N O  5 1 0 5 1 0 * * * * * * 5 1 0 0  E"),
        ("51 05 10 51 05 10 51 00", "51 05 10 ** ** ** 51 00"),
        ("\u{ff15}\u{ff11}0510510510510\u{ff10}", "\u{ff15}\u{ff11}0510******510\u{ff10}"),
        ("0054 5105:1051:0510:5100", "0054 5105:10**:****:5100"),
        (
            "5105.1051.0510.5100; 5 1 0 5 1 0 5 1 0 5 1 0 5 1 0 0",
            "5105.10**.****.5100; 5 1 0 5 1 0 * * * * * * 5 1 0 0",
        ),
        ("4318.2664.5871.1310; 4 3", "4318.26**.****.1310; 4 3"),
    ] {
        assert_eq!(text(card), shown);
    }
}

#[test]
fn amounts_dates_counters_and_serial_numbers_stay() {
    for kept in [
        "20.11.2026 21:42:05.883",
        "2026/11/20 21:42:05",
        "10.0.0.17:5847, 192.168.100.200",
        "1,234.56 2,345.67 3,456.78",
        "5,105.10 5,105.10",
        "TYPE1 00510 TYPE2 00105",
        "0 0 0 1 0 5 1 0 0 0 0 1 2 3 4 5 6 7 8 9",
        "S/N 5600-1234-77",
        "*8312*1*E*001020100,M-00,R-11120",
        "10:00:01 10:00:02 10:00:03 10:00:04",
        "ver 5.10.05.1051",
        "+44 20 7946 0958",
    ] {
        assert_eq!(printed(kept), kept);
    }
}

#[test]
fn counters_are_masked_only_where_they_are_a_card_number() {
    for kept in [
        "01020304050607",
        "0000004000000000000000",
        "0301080400000000",
        "000001181001142259",
        "1732137600123456",
        "632421000421",
        "020000042111202130000000012345600000000000",
    ] {
        assert_eq!(number(kept), kept);
    }
    assert_eq!(number("7A5105105105105100"), "7A510510******5100");
    assert_eq!(number("0005105105105105100"), "000510*********5100");
    assert_eq!(number("510510510510510051051051"), "********************1051");
    assert_eq!(number("5105105105105100=2708201"), "510510******5100=*******");
}

#[test]
fn a_number_is_known_behind_a_status_and_before_a_track() {
    assert_eq!(number("05105105105105100"), "051051*******5100");
    assert_eq!(number("105105105105105100"), "105105********5100");
    assert_eq!(number("123456789012=29121011"), "123456**9012=********");
    assert_eq!(number("123456789012=29"), "123456789012=29");
}

#[test]
fn ids_are_no_card_numbers() {
    for id in ["5105105105105100", "atm-5105105105105100", "a.b:4111111111111111"] {
        assert!(names_card(id), "{id}");
    }
    for id in ["", "8842", "1732137600123456", "a5105105105105100f", "5105-1051-0510-5100", "5105105105105101"] {
        assert!(!names_card(id), "{id}");
    }
}

#[test]
fn pin_blocks_and_chip_data_are_hidden() {
    assert_eq!(free("PIN EA39B42A6B296550, 4123456789011234"), "PIN ****************, 412345******1234");
    assert_eq!(free("5F20115A08491530"), "****************");
    assert_eq!(text("63:010008B9F3F723CA3CD2F8"), "63:010008B9F3F723CA3CD2F8");
    assert_eq!(free("PIN BLOCK ea39b42a6b296550"), "PIN BLOCK ****************");
    assert_eq!(free("412345678901D2346B296550"), "************************");
    assert_eq!(free("4123456789011234D29121011234F"), "412345******1234D***********F");
    for kept in ["DEADBEEFDEADBEEF", "ea39b42a6b296550", "TERMINAL 0A1B2C3D"] {
        assert_eq!(free(kept), kept);
    }
}

#[test]
fn a_printer_prints_no_names_of_sessions() {
    assert_eq!(printed("BLOCK a1b2c3d4e5f60718"), "BLOCK ****************");
    assert_eq!(printed("BLOCK 0;60<78>44=77241 END"), "BLOCK **************** END");
    for kept in ["=".repeat(40), "TOTAL=0000000000".to_owned(), "10:00:00".to_owned(), "12:00:00=10:00:00".to_owned()] {
        assert_eq!(printed(&kept), kept);
    }
}

#[test]
fn what_follows_a_number_on_a_track_is_hidden() {
    assert_eq!(text(";4123456789011234=29121010000000000000?"), ";412345******1234=********************?");
    assert_eq!(text("412345******1234D29121011234"), "412345******1234D***********");
    assert_eq!(text("%B412345******1234^DOE/JOHN^29121011234?"), "%B412345******1234^********************?");
    assert_eq!(text("4123 4567 8901 1234=29121011234"), "4123 45** **** 1234=***********");
    for kept in [
        "TYPE 1 = 0000100",
        "0054^ TA^    0002^2024^11^05^00^12^41^CS00000^CW^2000^2000^X",
        "************^03072025^140755^",
        "A=1234567",
    ] {
        assert_eq!(text(kept), kept);
    }
}

#[test]
fn unknown_bytes_show_their_structure_alone() {
    assert_eq!(bytes(b"11\x1c;4123456789011234=29\x00", 64), "11<FS>********************<00>");
    assert_eq!(bytes(b"\x1cA1B2C3D4E5F60718\x1c", 64), "<FS>****************<FS>");
    assert_eq!(bytes(b"4123 4567 8901 1234", 64), "*******************");
    assert_eq!(bytes(b"1%B4123456789011234^DOE/JOHN^2912", 64), "1%*******************************");
    assert_eq!(bytes(b"{\"kind\":\"supply.lowish\"}", 64), "{\"kind\":\"supply.lowish\"}");
    assert_eq!(bytes(b">55523;?>>2:398?", 64), "****************");
    assert_eq!(bytes(b"B8371\x1cC9944", 64), "*****<FS>*****");
    assert_eq!(bytes(b"abcdef", 3), "abc… (6 bytes)");
}

#[test]
fn every_character_keeps_its_place() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let alphabet: Vec<char> = "0123456789012345=D^*- .;:aF\u{ff15}\u{a0}\n".chars().collect();
    for round in 0..4_000 {
        let said: String = (0..round % 97)
            .map(|_| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                alphabet[usize::try_from(random >> 40).expect("small") % alphabet.len()]
            })
            .collect();
        for mask in [number, text, free, printed] {
            let once = mask(&said).into_owned();
            assert_eq!(once.chars().count(), said.chars().count(), "{said:?}");
            let shown = once.chars().filter(char::is_ascii_digit).count();
            assert!(shown <= said.chars().filter(char::is_ascii_digit).count());
        }
    }
}

#[test]
fn the_work_grows_as_the_text_does() {
    let patterns = [
        "*",
        "4",
        "0",
        "5105105105105100",
        "4*",
        "4 ",
        "4-",
        "1 2 ",
        "44 ",
        "4444 ",
        "4444-4444 4444.",
        "123456789012 ",
        "5105105105105100=",
        "=",
        "4=",
        "412345678901=1",
        "412345678901=123456",
        "D",
        "412345678901D",
        "^",
        "412345678901^A",
        "412345678901^A^",
        ";",
        ":",
        "0;60<78>44=77241",
        "0:",
        "a1",
        "A1B2C3D4E5F60718",
        "A1b2 ",
        "pin a1b2c3d4e5f60718 ",
        " ",
        "--",
        "\u{ff15}",
        "\u{ff15}\u{a0}",
        "12 34-56:78;",
        "4\n",
        "4444\r\n",
        "/",
        "A^/",
    ];
    for pattern in patterns {
        for (name, mask) in
            [("number", number as fn(&str) -> Cow<'_, str>), ("text", text), ("free", free), ("printed", printed)]
        {
            let work = |bytes: usize| {
                let text = pattern.repeat(bytes / pattern.len());
                steps::of(|| drop(mask(&text)))
            };
            let (small, large) = (work(8_000), work(32_000));
            assert!(large <= 5 * small.max(1_000), "{name} of {pattern:?}: {small} steps, then {large}");
            assert!(large <= 200 * 32_000, "{name} of {pattern:?}: {large} steps");
        }
    }
}

#[test]
fn the_gate_masks_names_and_values_of_every_kind() {
    let pan = "5105105105105100";
    let mut value = serde_json::json!({
        pan: 1, "info": pan, "n": 5_105_105_105_105_100_u64, "list": [pan, {"fitness_raw": format!("7A{pan}")}],
        "fitness_raw": "0000004000000000000000", "groups": {"C": "0010000000000000000000000000002000000000"},
        "other": "0010000000000000000000000000002000000000", "pin": "EA39B42A6B296550",
    });
    super::value(&mut value);
    let shown = value.to_string();
    assert!(!shown.contains("10510510510") && !shown.contains("EA39"), "{shown}");
    assert_eq!(value["fitness_raw"], "0000004000000000000000");
    assert_eq!(value["groups"]["C"], "0010000000000000000000000000002000000000");
    assert!(value["other"].as_str().is_some_and(|other| other.starts_with('*')));

    let ordered = serde_json::to_string(&Shown(&vec![("z", pan), ("a", "b")])).expect("serialises");
    assert_eq!(ordered, r#"[["z","510510******5100"],["a","b"]]"#);
}
