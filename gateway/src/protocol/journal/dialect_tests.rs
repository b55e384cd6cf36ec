//! The dialects in `devices/`, line by line, and what a dialect file can get wrong.

use jiff::tz::TimeZone;

use super::*;
use crate::event::Event;
use crate::normalize::{Context, journal};
use crate::profile::Profile;
use crate::protocol::{Decoder, Message, Protocol, Stream};

/// What one line or record of this model means, and the message it is.
fn told(model: &str, line: &str) -> (Vec<String>, Map<String, Value>) {
    let (events, message) = decoded(model, line);
    (events.iter().map(Event::to_string).collect(), message)
}

fn decoded(model: &str, lines: &str) -> (Vec<Event>, Map<String, Value>) {
    let profile = Profile::builtin(model).expect("built in");
    let context = Context { profile: &profile, time_zone: &TimeZone::UTC };
    let mut journal = Journal::new(profile.dialect().expect("compiles"));
    let (mut events, mut message) = (Vec::new(), Map::new());
    let mut out = |entry: Result<Entry, Fault>| {
        let entry = entry.unwrap_or_else(|fault| panic!("{lines:?}: {fault:?}"));
        entry.merge_into(&mut message);
        events.extend(journal::events(&entry, &context));
    };
    lines.split('\r').filter(|line| !line.is_empty()).for_each(|line| journal.line(line.as_bytes(), &mut out));
    journal.finish(&mut out);
    (events, message)
}

#[test]
fn every_line_of_an_ncr_journal_has_its_meaning() {
    for (line, expected) in [
        ("     *TRANSACTION START*", "txn.started:info"),
        (" CARD INSERTED", "card.inserted:info"),
        (" 05:51:33 ATR RECEIVED T=0", ""),
        (" 05:51:47 OPCODE = BBD     ", ""),
        (" 05:51:39 PIN ENTERED", "txn.pin_entered:info"),
        (" 05:51:48 GENAC 1 : ARQC", ""),
        (" 05:51:50 GENAC 2 : TC", ""),
        (" 05:51:50 GENAC 2 : AAC", "txn.declined:warning"),
        (" EXTERNAL AUTHENTICATE: NO ARPC", ""),
        (" 05:52:06 NOTES STACKED", "cash.stacked:info"),
        (" 05:52:09 CARD TAKEN", "card.taken:info"),
        (" 05:52:11 NOTES PRESENTED 1,2,1,0", "cash.presented:info"),
        (" 05:52:11 NOTES TAKEN", "cash.taken:info"),
        (" 07:01:23 CUSTOMER CANCELLED", "txn.cancelled:info"),
        (" 05:52:22 TRANSACTION END", "txn.ended:info"),
        ("PRIMARY CARD READER ACTIVATED", ""),
        ("\u{1b}[05pSUPERVISOR MODE ENTRY\u{1b}[00p", "mode.supervisor_entered:warning"),
        ("SUPERVISOR MODE EXIT", "mode.supervisor_exited:info"),
        ("POWER-UP/RESET", "power.restart:warning"),
        ("CASH COUNTS CLEARED", "counters.cleared:info"),
        ("CASH ADDED\rTYPE 1 = 02000", "cash.replenished:info"),
        ("REMAINING        01204 01077 00019 00014", "counters.reported:info"),
        ("09:14:03*CIM-SHUTTER OPENED", ""),
        ("09:14:02*CIM-DEPOSIT ACTIVATED", ""),
        ("12:41:48*CIM-DEPOSIT COMPLETED", "txn.completed:info"),
        ("09:14:31*CIM-DEPOSIT COMPLETED - ITEMS REFUNDED", "cash.refunded:info"),
        ("09:14:11*CIM-ITEMS INSERTED", "cash.inserted:info"),
        ("09:14:22*CIM-ITEMS PRESENTED", ""),
        ("09:14:29*CIM-ITEMS TAKEN", ""),
        ("09:14:20*CIM-INPUT REFUSED,REASON-INVALID MEDIA", "cash.refused:warning"),
        ("08:53:21*CIM-RESET CALLED", ""),
        ("08:53:06*CASHIN RETRACT STARTED - CASSETTES", "cash.retracted:major"),
        ("08:53:21*CASHIN RECOVERY OK  ", "device.recovered:info"),
        ("12:39:50*NOTE ERROR OCCURRED:REASON:0--DOUBLE NOTES", "device.warning:warning"),
        ("08:53:06*INIT BNA STARTED", ""),
        ("CPM BIN DOOR REMOVED", "security.door_open:major"),
        ("CPM BIN DOOR INSERTED", "security.door_closed:info"),
        ("CARD INITIALISE ATTEMPT = 1", "card.read_error:warning"),
        ("   NOT ENOUGH FUNDS", "txn.declined:warning"),
        ("   INVALID AMOUNT", "txn.declined:warning"),
        ("   EXCEEDS LIMIT", "txn.declined:warning"),
        ("Card Inserted (502265XXXXXX0092)", "card.inserted:info"),
        ("Transaction Request [ DA   AD]", "txn.requested:info"),
        ("Transaction Reply [Host Seq.No.: 1642]", "txn.reply:info"),
        ("Next State [125] Function [DisplayAndPrint]", ""),
        ("Dispense Type3 = 1 notes", ""),
        ("Card is being eject", ""),
        ("Card Ejected", ""),
        ("Cash Present", "cash.presented:info"),
        ("Cash Taken", "cash.taken:info"),
    ] {
        let (events, message) = told("ncr-journal", line);
        assert_eq!(events.join(" "), expected, "{line:?}");
        let dialect = Dialect::named("ncr").expect("built in");
        let mut unknown = Journal::new(dialect);
        unknown.push(line.as_bytes(), &mut |_| {});
        unknown.finish(&mut |_| {});
        assert_eq!(unknown.unknown_lines(), 0, "{line:?} {message:?}");
    }
}

#[test]
fn a_printed_status_of_every_device() {
    for (status, expected) in [
        ("A*1,M-00", "clock.fault:warning"),
        ("B*0750,M-", "power.restart:warning"),
        ("C*1,M-02", "device.status_raw:info"),
        ("D*1,M-20,R-4", "card.captured:major supply.overfill:major:capture_bin"),
        ("D*2,M-20,R-1", "card.eject_failed:major"),
        ("D*3,M-20,R-1", "device.warning:warning"),
        ("D*7,M-20,R-1", "card.read_error:warning"),
        ("D*9,M-81,R-0", "card.read_error:warning"),
        ("E*101020100,M-00,R-11120", "dispense.short:major supply.low:warning:cassette_3"),
        (
            "E*200000000,M-04,R-10033",
            "dispense.failed:major supply.out:critical:cassette_3 supply.out:critical:cassette_4",
        ),
        ("E*301020100,M-09,R-11111", "dispense.uncertain:critical"),
        ("E*500000000,M-00,R-41111", "cash.retracted:major supply.overfill:major:reject_bin"),
        ("F*1,M-00", "txn.timeout:warning"),
        ("F*3,M-00,R-4", "device.fault:major supply.overfill:major:deposit_bin"),
        ("G*1,M-05,R-3111", "device.fault:warning supply.out:major:paper"),
        ("G*0,M-00,R-2111", "supply.low:warning:paper"),
        ("H*1,M-05,R-2111", "device.fault:warning supply.low:warning:paper"),
        ("H*<,M-05", "security.tamper:critical"),
        ("K*1,M-00", "device.status_raw:info"),
        ("L*1,M-00", "security.encryptor_fault:critical"),
        ("M*1,M-00", "device.status_raw:info"),
        ("P*21,M-", "mode.supervisor_entered:warning"),
        ("P*20,M-", "mode.supervisor_exited:info"),
        ("P*10011000000000,M-", "security.door_open:major security.silent_alarm:critical"),
        ("R*07", "mode.supervisor_key:info"),
        ("V*3,M-00,R-1111", "device.warning:warning"),
        ("Y*1,M-00", "dispense.short:major"),
        ("Y*=,M-00", "security.tamper:critical"),
        ("d*101020000,M-00,R-1121", "dispense.short:major supply.low:warning:supply_3"),
        ("j*1,M-00", "device.status_raw:info"),
        ("q*1,M-00,R-14", "supply.overfill:major:supply_2"),
        ("w*1, M-00, R-10011", ""),
        ("w*3, M-02, R-10011", "device.fault:warning"),
        ("w*4, M-02, R-10011", "device.fault:major"),
        ("w*7, M-02, R-10011", "cash.retracted:major"),
        ("w*?, M-02", "security.fraud_attempt:critical"),
        ("y*1,M-00", "card.captured:major"),
    ] {
        let (events, _) = told("ncr-journal", &format!("\x1b[000p\x1b[040q\x1b(1     *8312*1*{status}"));
        assert_eq!(events.join(" "), expected, "{status}");
    }
}

#[test]
fn a_procash_journal() {
    let (events, message) = decoded(
        "wincor-procash",
        "23:59:11 -> TRANSACTION START\r23:59:13 TRACK 2 DATA: 4123456789010018=2912101123\r23:59:20 PIN ENTERED\r\
         23:59:31 TRANSACTION REQUEST AABD    \r23:59:33 CASH REQUEST: 01120000\r00:00:45 CASH RETRACTED\r\
         00:00:50 <- TRANSACTION END",
    );
    let names: Vec<String> = events.iter().map(Event::to_string).collect();
    let expected =
        ["txn.started:info", "txn.pin_entered:info", "txn.requested:info", "cash.retracted:major", "txn.ended:info"];
    assert_eq!(names, expected);
    assert_eq!(message["pan_masked"], "412345******0018");
    assert_eq!(message["notes_requested"], serde_json::json!([1, 12, 0, 0]));
    assert_eq!(events[4].attributes["result"], "cash_retracted");
    assert_eq!((events[4].occurred_at, &events[4].attributes["local_time"]), (None, &"00:00:50".into()));
    for (line, expected) in [
        ("10:00:00 BANKNOTES DETECTED", "cash.inserted:info"),
        ("10:00:00 CASH DEPOSIT ACTIVATED", ""),
        ("10:00:00 CASH DEPOSIT CANCELED", "txn.cancelled:info"),
        ("10:00:00 SHUTTER OPENED", ""),
        ("10:00:00 ESCROW: 012", ""),
        ("10:00:00 VAULTED: 012", "txn.completed:info"),
        ("10:00:00 REFUNDED: 003", "cash.refunded:info"),
        ("10:00:00 RETRACTED: 001", "cash.retracted:major"),
        ("10:00:00 REJECTS: 002", "cash.refused:warning"),
        ("10:00:00 REJECTS: 000", ""),
        ("10:00:00 CASSETTE UNIT 2 CHANGED", "cassette.inserted:info:cassette_2"),
        ("10:00:00 CASSETTE UNIT 4 Removed", "cassette.missing:major:cassette_4"),
    ] {
        assert_eq!(told("wincor-procash", line).0.join(" "), expected, "{line}");
    }
}

#[test]
fn every_kind_of_a_moniplus_record() {
    let txn = "CS00000 ^0001^CW^CA^--^0018^************^03072025^140755^00202766^000000000001^00000100^000000^03072025^395\
               ^    2000^       0^    00202766^ 6^FALSE^D1710A3^4123456789010018^0000^000000000000^~L00^1";
    for (kind, data, expected) in [
        ("TA", txn, "txn.completed:info"),
        ("TB", txn, "device.fault:major"),
        ("TC", txn, "txn.reversal:warning"),
        ("TD", "CS00000 ^0001^BI^CA", "power.restart:warning"),
        ("TE", txn, "txn.declined:warning"),
        ("TF", "TF", "comms.degraded:warning"),
        ("TX", txn, "comms.degraded:warning"),
        ("OA", "Safe door: CLOSE", "security.door_closed:info:safe"),
        ("OA", "Cassette 2: REMOVED", "cassette.missing:major:cassette_2"),
        ("OA", "Cash cassette: INSERT", "cassette.inserted:info"),
        ("OA", "Journal view", "mode.supervisor_key:info"),
        ("OB", "OB", "command.ok:info"),
        ("OC", "OC", "command.ok:info"),
        ("OD", "5F2A020840 9F26 0102030405060708", ""),
        ("SA", "SA", "power.restart:warning"),
        ("SG", "SG", "mode.out_of_service:major"),
        ("SB", "SB", "mode.in_service:info"),
        ("SC", "D1710A3", "mode.out_of_service:major"),
        ("SR", "D1710A3", "device.recovered:info"),
        ("SS", "SS", "security.door_open:major:safe"),
        ("SS", "Security door CLOSED", "security.door_closed:info:safe"),
        ("A1", "2000", "cash.replenished:info"),
        ("AF", "AF", "cash.replenished:info"),
        ("D7", "D7", "config.reported:info"),
        ("PB", "PB", "security.password_changed:major"),
        ("BA", "BA", "counters.reported:info"),
        ("K0", "K0", "txn.cancelled:info"),
        ("ZZ", "?", "journal.unparsed:info"),
    ] {
        let body = format!("^ {kind}^    0054^2025^03^07^14^07^29^{data}^X");
        let record = format!("{:04}{body}", body.len() + 3);
        let (events, message) = told("hyosung-moniplus", &record);
        assert_eq!(events.join(" "), expected, "{record}");
        assert_eq!((&message["kind"], &message["seq"]), (&kind.into(), &54.into()));
        assert_eq!(message["ts"], "2025-03-07T14:07:29");
        assert_eq!(message.get("length_wrong"), None, "{record}");
    }
    let (events, message) = decoded("hyosung-moniplus", &format!("0000^ TE^    0054^2025^03^07^14^07^29^{txn}^X"));
    assert_eq!(message["length_wrong"], true);
    assert_eq!((&message["amount_requested"], &message["success"]), (&"2000".into(), &false.into()));
    assert_eq!(
        (&message["tran_no"], &message["surcharge"], &message["error_code"]),
        (&"0001".into(), &"395".into(), &"D1710A3".into())
    );
    assert_eq!(events[0].card.as_deref(), Some("412345******0018"));
    assert_eq!(events[0].occurred_at.map(|at| at.to_string()).as_deref(), Some("2025-03-07T14:07:29Z"));
}

/// A small generator with a fixed seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

#[test]
fn every_model_survives_any_bytes_and_any_cut() {
    let mut dice = Dice(0x0dd_ba11);
    for (model, text) in [
        ("ncr-journal", &b"*511*01/15/2030*05:51*\r*TRANSACTION START*\r  *8312*1*E*001020100,M-00,R-11120\rX\r"[..]),
        ("wincor-procash", b"10:02:11 -> TRANSACTION START\r\n10:02:33 CASH REQUEST: 01020000\r\n10:02:50 <- X\r\n"),
        ("hyosung-moniplus", b"0054^ OA^    0002^2024^11^05^00^12^41^Safe door: OPEN^X\x1c0041^ SF^    0001^20^X\x1c"),
    ] {
        let profile = Profile::builtin(model).expect("built in");
        let run = |parts: &[&[u8]]| {
            let decoder = Decoder::new(Protocol::Journal, &profile).expect("a decoder");
            let mut stream = Stream::new(profile.framing, decoder);
            let mut heard = Vec::new();
            parts.iter().for_each(|part| stream.push(part, &mut |message| heard.push(message)));
            stream.finish(&mut |message| heard.push(message));
            heard
        };
        for round in 0..200 {
            let mut bytes = text.repeat(2);
            for _ in 0..round % 20 {
                let at = dice.roll(bytes.len());
                bytes[at] = u8::try_from(dice.roll(256)).expect("a byte");
            }
            let (left, right) = bytes.split_at(dice.roll(bytes.len()));
            let whole = run(&[&bytes]);
            assert!(!whole.is_empty());
            assert_eq!(run(&[left, right]), whole, "{model}: {bytes:?}");
        }
    }
}

#[test]
fn a_record_behind_noise_is_read() {
    let profile = Profile::builtin("hyosung-moniplus").expect("built in");
    let record = b"0054^ OA^    0002^2024^11^05^00^12^41^Safe door: OPEN^X\x1c";
    for noise in [&b"garbage"[..], b"0041^ SF^    0001^2024^11^05^", b"\xff\x00^^^0054^ OA^"] {
        let mut stream = Stream::new(profile.framing, Decoder::new(Protocol::Journal, &profile).expect("a decoder"));
        let mut heard = Vec::new();
        stream.push(&[noise, record].concat(), &mut |message| heard.push(message));
        let [Err(fault), Ok(Message::Journal(entry))] = &heard[..] else { panic!("{heard:?}") };
        assert!(fault.reason.starts_with("a record without"), "{fault:?}");
        assert_eq!((&entry.fields["data"], entry.fields.get("length_wrong")), (&"Safe door: OPEN".into(), None));
    }
}

#[test]
fn nothing_of_emv_data_survives() {
    let mut all = String::new();
    let dialect = Dialect::named("moniplus").expect("built in");
    Journal::new(dialect).line(b"0060^ OD^    0054^2025^03^07^14^07^29^5A0841234567^X", &mut |entry| {
        all = format!("{entry:?}");
    });
    assert!(all.contains("(12 bytes, not kept)") && all.contains("\"data_length\": Number(12)"), "{all}");
    assert!(!all.contains("41234567"), "{all}");
}

#[test]
fn a_line_that_the_printer_broke_is_one() {
    let (events, message) = decoded("ncr-journal", " 12:40:22*CIM-DEPOSIT COMPLETED - ITEMS \rREFUNDED\r");
    assert_eq!(events.iter().map(Event::to_string).collect::<Vec<_>>(), ["cash.refunded:info"]);
    assert_eq!(message["result"], "refunded");
    // What fills the paper and is not continued stands alone, and a card number that was cut is masked in both halves.
    let mut journal = Journal::new(Dialect::named("ncr").expect("built in"));
    let mut text = Vec::new();
    let mut out =
        |entry: Result<Entry, Fault>| text.extend(entry.expect("text").text.into_iter().map(|line| line.text));
    for line in [
        "              CARD NUMBER     4123456789",
        "010018 OK",
        "   THANK YOU FOR YOUR VISIT TO THE BANK!",
        " 05:52:11 NOTES TAKEN",
    ] {
        journal.line(line.as_bytes(), &mut out);
    }
    journal.finish(&mut out);
    assert_eq!(
        text,
        ["CARD NUMBER     412345****", "**0018 OK", "THANK YOU FOR YOUR VISIT TO THE BANK!", "05:52:11 NOTES TAKEN"]
    );
}

#[test]
fn an_uploaded_block_is_lines_with_their_dates() {
    let lines = uploaded("*511*01/15/2030*05:51*\n*TRANSACTION START*\nTHANK YOU\n05:52:22 TRANSACTION END\n");
    let shown: Vec<String> =
        lines.iter().map(|line| format!("{} {}", line.printed_at.expect("dated"), line.text)).collect();
    assert_eq!(
        shown,
        [
            "2030-01-15T05:51:00 *511*01/15/2030*05:51*",
            "2030-01-15T05:51:00 *TRANSACTION START*",
            "2030-01-15T05:51:00 THANK YOU",
            "2030-01-15T05:52:22 05:52:22 TRANSACTION END"
        ]
    );
}

#[test]
fn the_words_tell_whose_journal_it_is() {
    for (journal, model) in [
        (&b"10:02:11 -> TRANSACTION START\r\n10:02:20 PIN ENTERED\r\n10:02:45 CASH TAKEN\r\n"[..], "wincor-procash"),
        (b" 05:51:39 PIN ENTERED\r", "ncr-journal"),
        (b"     *7307*1*P*21,M-\r*764*01/15/2030*08:47*\r", "ncr-journal"),
        (b"", "ncr-journal"),
    ] {
        assert_eq!(Dialect::recognise(journal), model);
    }
}

#[test]
fn a_fault_of_a_dialect_names_rule_and_reason() {
    for (text, expected) in [
        ("name = 'x'\n[[rule]]\npattern = '^(X'", "rule `^(X`"),
        ("name = 'x'\n[[rule]]\npattern = '^X$'\nevent = 'cash.gone'", "unknown kind `cash.gone`"),
        ("name = 'x'\n[[rule]]\npattern = '^X$'\nevnt = 'cash.taken'", "evnt"),
        ("name = 'x'\n[[rule]]\npattern = '^X$'\nnumbers = ['n']", "rule `^X$`: the pattern has no group `n`"),
        (
            "name = 'x'\n[[rule]]\npattern = '^X$'\ncomponent = 'cassette_{n}'",
            "rule `^X$`: the pattern has no group `n`",
        ),
        ("name = 'x'\n[[rule]]\npattern = '^X$'\ncomponent = 'drawer'", "rule `^X$`: unknown component `drawer`"),
        ("name = 'x'\n[record]\npattern = '^X$'", "has a group `kind`"),
    ] {
        let error = Dialect::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
