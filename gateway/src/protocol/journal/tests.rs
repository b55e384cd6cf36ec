//! The captures of devices/ncr-journal, and what no capture shows.

use std::path::Path;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::*;
use crate::event::Event;
use crate::normalize::{Context, journal};
use crate::profile::Profile;

fn entries(parts: &[&[u8]]) -> (Vec<Entry>, Vec<Fault>) {
    let mut reader = Journal::new(Dialect::named("ncr").expect("the built-in dialect"));
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    let mut out = |told: Result<Entry, Fault>| match told {
        Ok(entry) => entries.push(entry),
        Err(fault) => faults.push(fault),
    };
    for part in parts {
        reader.push(part, &mut out);
    }
    reader.finish(&mut out);
    (entries, faults)
}

fn events_of(entries: &[Entry], profile: &Profile) -> Vec<Event> {
    let context = Context { profile, time_zone: &TimeZone::get("Europe/Berlin").expect("bundled") };
    entries.iter().flat_map(|entry| journal::events(entry, &context)).collect()
}

fn events(text: &str) -> Vec<Event> {
    let (entries, faults) = entries(&[text.as_bytes()]);
    assert_eq!(faults, []);
    events_of(&entries, &Profile::builtin("ncr-journal").expect("built in"))
}

fn names(text: &str) -> Vec<String> {
    events(text).iter().map(Event::to_string).collect()
}

fn message(entries: &[Entry]) -> Map<String, Value> {
    let mut message = Map::new();
    entries.iter().for_each(|entry| entry.merge_into(&mut message));
    message
}

struct Capture {
    name: String,
    bytes: Vec<u8>,
    sample: Value,
}

fn captures() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices/ncr-journal/captures");
    let mut captures: Vec<Capture> = std::fs::read_dir(folder)
        .expect("the captures")
        .map(|file| {
            let path = file.expect("a file").path();
            let sample: Value = serde_json::from_slice(&std::fs::read(&path).expect("reads")).expect("is JSON");
            let hex = sample["hex"].as_str().expect("hex");
            let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"));
            Capture { name: path.display().to_string(), bytes: bytes.collect(), sample }
        })
        .collect();
    captures.sort_by(|left, right| left.name.cmp(&right.name));
    assert!(captures.len() >= 7);
    captures
}

#[test]
fn captures_give_the_expected_events_and_fields() {
    let profile = Profile::builtin("ncr-journal").expect("built in");
    for Capture { name, bytes, sample } in captures() {
        let (entries, faults) = entries(&[&bytes]);
        assert_eq!(faults, [], "{name}");
        let told: Vec<Value> = events_of(&entries, &profile).iter().map(|event| event.to_string().into()).collect();
        assert_eq!(Value::from(told), sample["expect_events"], "{name}");
        let message = message(&entries);
        for (field, value) in sample["expect"].as_object().expect("an object") {
            assert_eq!(message.get(field), Some(value), "{name}: {field} of {message:?}");
        }
    }
}

/// A small generator with a fixed seed: the test is the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).expect("few sides")).expect("small")
    }
}

#[test]
fn splitting_the_bytes_differently_changes_nothing() {
    let mut dice = Dice(0x5eed);
    let mut all = Vec::new();
    for Capture { name, bytes, .. } in captures() {
        let whole = entries(&[&bytes]);
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(entries(&[left, right]), whole, "{name} cut at {at}");
        }
        all.extend_from_slice(&bytes);
        all.push(b'\r');
    }
    let whole = entries(&[&all]);
    for _ in 0..50 {
        let mut parts = Vec::new();
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(1 + dice.roll(rest.len().min(200)));
            parts.push(part);
            rest = after;
        }
        assert_eq!(entries(&parts), whole);
    }
}

#[test]
fn any_bytes_are_survived() {
    let mut dice = Dice(0xacc1dea7);
    let captures = captures();
    for round in 0..400 {
        // Half of the rounds are noise, half a capture with bytes knocked over.
        let mut bytes: Vec<u8> = match round % 2 {
            0 => (0..dice.roll(9000)).map(|_| u8::try_from(dice.roll(256)).expect("a byte")).collect(),
            _ => captures[dice.roll(captures.len())].bytes.clone(),
        };
        for _ in 0..dice.roll(20) {
            if !bytes.is_empty() {
                let at = dice.roll(bytes.len());
                bytes[at] = u8::try_from(dice.roll(256)).expect("a byte");
            }
        }
        let (entries, _) = entries(&[&bytes]);
        events_of(&entries, &Profile::builtin("ncr-journal").expect("built in"));
    }
}

#[test]
fn noise_is_one_fault_and_reading_goes_on() {
    let mut bytes = vec![0xf8; 300];
    bytes[100] = b'\r';
    bytes[200] = b'\r';
    bytes.extend_from_slice(b"\r 05:52:11 NOTES TAKEN\r");
    let (entries, faults) = entries(&[&bytes]);
    assert_eq!((entries.len(), faults.len()), (1, 1));
    assert_eq!(faults[0].reason, "bytes that are no journal text");
}

#[test]
fn one_happening_is_one_event() {
    for (text, expected) in [
        // A card that cannot be read, three attempts.
        (
            "     *TRANSACTION START*\r CARD INSERTED\r    *8313*1*D*9,M-81,R-0\rCARD INITIALISE ATTEMPT = 1\r\
             \x20   *8313*1*D*9,M-81,R-0\rCARD INITIALISE ATTEMPT = 2\r    *8313*1*D*9,M-81,R-0\r\
             CARD INITIALISE ATTEMPT = 3\r 06:46:15 PIN ENTERED\r",
            &["txn.started:info", "card.inserted:info", "card.read_error:warning", "txn.pin_entered:info"][..],
        ),
        // Words first, then the status, twice over.
        (
            "SUPERVISOR MODE EXIT\r     *    *1*P*20,M-\r*847*01/15/2030*10:21*\rPOWER-UP/RESET\r  *    *1*B*0750,M-\r\
             POWER-UP/RESET\r  *    *1*B*0750,M-\r",
            &["mode.supervisor_exited:info", "power.restart:warning", "power.restart:warning"],
        ),
        // A failed dispense: the status has the supplies, the receipt the words.
        (
            "[000p[040q(I     *8319*2*E(1*400000000,M-04,R-10033S\r   UNABLE TO DISPENSE\r",
            &["dispense.failed:major", "supply.out:critical:cassette_3", "supply.out:critical:cassette_4"],
        ),
        (
            "   UNABLE TO DISPENSE\r*8319*2*E*400000000,M-04,R-10030\r",
            &["dispense.failed:major", "supply.out:critical:cassette_3"],
        ),
        // Declined twice in one session.
        (
            " 11:28:04 OPCODE = BBD     \r 11:28:06 GENAC 2 : AAC\r   INCORRECT PIN\r 11:28:24 PIN ENTERED\r\
             \x2011:28:45 OPCODE = BBD     \r   UNABLE TO PROCESS\r",
            &["txn.declined:warning", "txn.pin_entered:info", "txn.declined:warning"],
        ),
        // The note acceptor's status and the words below it; the same line again in one attempt.
        (
            "*630*01/15/2030*00:46*\r*7231*1*(Iw(1*3, M-02, R-10011\rA/C \rDEVICE ERROR\rESC: 000\r\
             *7231*1*(Iw(1*3, M-02, R-10011\r",
            &["device.fault:warning"],
        ),
        // The same operator key twice is two keys.
        ("     *7735*1*R*04\r     *7735*1*R*04\r", &["mode.supervisor_key:info", "mode.supervisor_key:info"]),
        ("     *    *1*D*1,M-2006000190,R-4\r", &["card.captured:major", "supply.overfill:major:capture_bin"]),
        (
            "*7420*1*w*1, M-00, R-10011\rA/C\rCUSTOMER CANCEL\r*7677*1*w*0, M-02, R-100110021\r",
            &["supply.low:warning:supply_8"],
        ),
    ] {
        assert_eq!(names(text), expected, "{text:?}");
    }
}

#[test]
fn counts_belong_to_the_event_before_them() {
    let text = "*073*10/03/2030*19:37*\r\x1b[05pCASH COUNTS CLEARED\rCASH DISPENSED      \rTYPE 1 = 00011  TYPE 2 = 00000\r\
                TYPE 3 = 00000  TYPE 4 = 00004\r\rCASH REMAINING\rTYPE 1 = 00001  TYPE 2 = 00000\r\x1b[00p\r\
                *078*10/03/2030*19:38*\r[05pCASH ADDED\rTYPE 1 =  2000  TYPE 2 =  2000\rTYPE 3 =  2000  TYPE 4 =  1500[00p\r";
    let told = events(text);
    let kinds: Vec<String> = told.iter().map(Event::to_string).collect();
    assert_eq!(kinds, ["counters.cleared:info", "cash.replenished:info"]);
    assert_eq!(told[0].attributes["dispensed"], serde_json::json!([11, 0, 0, 4]));
    assert_eq!(told[0].attributes["remaining"], serde_json::json!([1, 0]));
    assert_eq!(told[1].attributes["added"], serde_json::json!([2000, 2000, 2000, 1500]));
    // A block that does not end is let go, and costs no memory.
    let endless = format!("CASH ADDED\r{}", "TYPE 1 =  2000\r".repeat(1000));
    let (all, _) = entries(&[endless.as_bytes()]);
    assert!(all.iter().all(|entry| entry.text.len() <= 65));
    assert_eq!(all.iter().map(|entry| entry.text.len()).sum::<usize>(), 1001);
    // The end of the block tells; the next line may be hours away.
    let mut reader = Journal::new(Dialect::named("ncr").expect("the built-in dialect"));
    let mut count = 0;
    reader.push(b"\x1b[05pCASH ADDED\rTYPE 1 =  2000  TYPE 2 =  2000\x1b[00p\r", &mut |_| count += 1);
    assert_eq!(count, 1);
}

#[test]
fn a_deposit_and_a_recovery() {
    assert_eq!(
        names(
            "12:39:43*CIM-ITEMS INSERTED\r12:39:50*NOTE ERROR OCCURRED:REASON:0--DOUBLE NOTES HAVE BEEN DETECTED\r\
             12:40:22*CIM-INPUT REFUSED,REASON-INVALID MEDIA\r12:40:31*CIM-ITEMS TAKEN\r12:41:48*CIM-DEPOSIT COMPLETED\r\
             *1*B*0750,M-\r05:32:03*CASHIN RETRACT STARTED - CASSETTES\r05:32:35*CASHIN RECOVERY FAILED - HARDWARE ERROR\r\
             07:01:23 CUSTOMER CANCELLED\r"
        ),
        [
            "cash.inserted:info",
            "device.warning:warning",
            "cash.refused:warning",
            "txn.completed:info",
            "power.restart:warning",
            "cash.retracted:major",
            "device.fault:major",
            "txn.cancelled:info"
        ]
    );
}

#[test]
fn the_mixed_case_wording() {
    let told = events(
        "Card Inserted (502265XXXXXX0092)\r\nATR RECEIVED T=0\r\nTransaction Request [ DA   AD]\r\n\
         Transaction Reply [Host Seq.No.: 1642]\r\nNext State [125] Function [DisplayAndPrint]\r\n\
         Dispense Type3 = 1 notes\r\nCard is being eject\r\nCard Ejected\r\nCash Present\r\nCash Taken\r\n",
    );
    let kinds: Vec<&str> = told.iter().map(|event| event.kind.name()).collect();
    assert_eq!(kinds, ["card.inserted", "txn.requested", "txn.reply", "cash.presented", "cash.taken"]);
    assert_eq!(told[0].card.as_deref(), Some("502265******0092"));
    assert_eq!(told[1].attributes["opcode"], " DA   AD");
}

#[test]
fn a_session_ends_with_what_is_known_of_it() {
    let text = "*511*01/15/2030*23:58*\r*TRANSACTION START*\r CARD INSERTED\r  PAN 4123456789010018\r 23:59:47 OPCODE = FI \r\
                \x2023:59:50 OPCODE = BBD \r   WITHDRAWAL    41,500.00\r 00:00:11 NOTES TAKEN\r 00:00:12 TRANSACTION END\r\
                *TRANSACTION START*\r 00:01:00 TRANSACTION END\r";
    let (all, _) = entries(&[text.as_bytes()]);
    let mut profile = Profile::builtin("ncr-journal").expect("built in");
    profile.currency = None;
    let told = events_of(&all, &profile);
    let end = &told[3];
    assert_eq!(end.to_string(), "txn.ended:info");
    assert_eq!(end.card.as_deref(), Some("412345******0018"));
    assert_eq!((&end.attributes["opcode"], &end.attributes["amount"]), (&"BBD".into(), &"41500.00".into()));
    assert_eq!(end.attributes["result"], "cash_taken");
    assert_eq!(end.occurred_at.map(|at| at.to_string()).as_deref(), Some("2030-01-15T23:00:12Z"));
    assert_eq!(told[1].occurred_at.map(|at| at.to_string()).as_deref(), Some("2030-01-15T22:58:00Z"));
    assert!(told[5].card.is_none());
    profile.currency = "JMD".parse().ok();
    let told = events_of(&all, &profile);
    assert_eq!(told[3].amount.map(|amount| amount.to_string()).as_deref(), Some("41500.00"));
}

#[test]
fn no_date_no_instant() {
    let told = events("08:53:21*CASHIN RECOVERY OK  \r");
    assert_eq!(told[0].occurred_at, None);
    assert_eq!(told[0].attributes["local_time"], "08:53:21");
    // A status line between two sessions is printed before its header: its time is not known.
    let told = events("*847*01/15/2030*10:21*\rPOWER-UP/RESET\r  *    *1*B*0750,M-\r   *    *1*P*21,M-\r");
    assert!(told[0].occurred_at.is_some());
    assert_eq!(told[1].occurred_at, None);
}

#[test]
fn no_card_number_leaves_the_codec() {
    let (all, _) =
        entries(&[b" PAN 4123456789011234\rTRACK 2 DATA: 4123456789011234=2912\r Card Inserted (4123456789011234)\r"]);
    assert!(!all.is_empty());
    assert!(!format!("{all:?}").contains("6789011"));
}
