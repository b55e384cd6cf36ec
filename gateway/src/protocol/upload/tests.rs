//! Documents as they come, and as they should not.

use super::*;

fn reason(frame: &[u8]) -> String {
    decode(frame).expect_err("is refused").reason
}

fn frame(json: &str) -> Vec<u8> {
    format!("a.json<>{}{json}", json.len()).into_bytes()
}

#[test]
fn tables_become_rows_and_what_nobody_knows_is_passed_over() {
    let json = r#"{"Region":[{"id":1,"regionName":"North","colour":"red"}],"Weather":[{"rain":true}],
        "ATM":[{"atmId":7,"latitude":34.05,"longitude":-181,"cash_level":10000.00,"groupId":null,"uptime":9}]}"#;
    let document = decode(&frame(json)).expect("a document");
    assert_eq!((document.file.as_str(), document.rows()), ("a.json", 2));
    let atm = &document.terminals[0];
    assert_eq!((atm.atm_id, atm.latitude, atm.longitude, atm.uptime), (7, Some(34.05), None, Some(9)));
    assert_eq!(atm.cash_level.map(|cash| cash.to_string()), Some("10000.00".to_owned()));
    assert_eq!(atm.status.as_str(), "", "nothing is made up");
    let shown = serde_json::to_value(&document).expect("serialises");
    assert_eq!(shown["Region"][0]["regionName"], "North");
    assert_eq!(shown["ATM"][0]["cash_level"], "10000.00");
}

#[test]
fn the_name_is_for_reading_alone() {
    for (name, shown) in [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\a.json", "a.json"),
        ("a\x1b[2J\n.json", "a[2J.json"),
        ("4123456789011234.json", "412345******1234.json"),
        ("", ""),
    ] {
        let json = r#"{"Region":[{"id":1}]}"#;
        let document = decode(format!("{name}<>{}{json}", json.len()).as_bytes()).expect("a document");
        assert_eq!(document.file, shown);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (json, said) in [
        ("{", "EOF"),
        ("[]", "no JSON object"),
        (r#"{"Region":[{"id":1},{"id":"x"}]}"#, "Region[1].id"),
        (r#"{"Region":[{"id":4123456789011234}]}"#, "412345******1234"),
        (r#"{"ElectronicJournal":[{"ejId":1,"atmId":1}]}"#, "ejData"),
        (r#"{"Region":[{"id":1}]}{}"#, "behind its end"),
        (r#"{"Weather":[]}"#, "no row of a table"),
        (r#"{"Group":[{"groupId":1,"groupRule":{"colour":"red"}}]}"#, "colour"),
    ] {
        let reason = reason(&frame(json));
        assert!(reason.contains(said), "{json}: {reason}");
        assert!(!reason.contains("4123456789011234"));
    }
    assert!(reason(b"no header").contains("name<>size"));
    assert!(reason(b"a<>x{}").contains("name<>size"));
    assert!(reason(b"a<>9{}").contains("2 of the 9 bytes"));
    let many = format!(r#"{{"Region":[{}{{"id":1}}]}}"#, r#"{"id":1},"#.repeat(MAX_ROWS));
    assert!(reason(&frame(&many)).contains("20001 rows"));
    assert!(decode(b"a<>24\xef\xbb\xbf{\"Region\":[{\"id\":1}]}").is_ok(), "a byte order mark");
}

#[test]
fn card_numbers_do_not_pass() {
    let pans = ["4123456789011234", "4123-4567-8901-1234", "4123 4567 8901 1234", ";4123456789011234=29121011234?"];
    for pan in pans {
        let json = format!(
            r#"{{"ElectronicJournal":[{{"ejId":1,"atmId":1,"ejData":"card {pan} in","timestamp":"{pan}"}}],
            "ATM":[{{"atmId":1,"atmName":"{pan}","status":"{pan}","software_version":"{pan}","cash_level":4123456789011234}}],
            "Transaction":[{{"transactionId":1,"transactionType":"{pan}","transactionDetail":"Card number: {pan}"}}],
            "Group":[{{"groupId":1,"groupRule":{{"model":"{pan}"}}}}]}}"#
        );
        let document = decode(&frame(&json)).expect("a document");
        let shown = format!("{document:?} {}", serde_json::to_string(&document).expect("serialises"));
        for secret in ["456789", "789011", "6789", "4567 8901", "2912101"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

#[test]
fn a_document_cut_anywhere_is_a_fault_and_never_a_panic() {
    let whole = frame(r#"{"Region":[{"id":1,"regionName":"Ü"}],"Event":[{"eventId":1,"eventName":"x"}]}"#);
    for end in 0..whole.len() {
        assert!(decode(&whole[..end]).is_err(), "{end}");
    }
    assert!(decode(&whole).is_ok());
}
