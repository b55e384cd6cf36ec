use super::*;
use crate::protocol::xfs4iot::decode;

fn message(kind: &str, name: &str, payload: &str) -> Message {
    let text = format!(
        r#"{{"header":{{"type":"{kind}","name":"{name}","requestId":{},"completionCode":"success"}},"payload":{payload}}}"#,
        if kind == "completion" { "1" } else { "null" }
    );
    decode(text.as_bytes()).expect("a message")
}

fn said(kind: &str, name: &str, payload: &str) -> Vec<String> {
    events(&message(kind, name, payload)).iter().map(ToString::to_string).collect()
}

fn event(name: &str, payload: &str) -> String {
    said("unsolicited", name, payload).join(" ")
}

fn change(payload: &str) -> String {
    event("Common.StatusChangedEvent", payload)
}

#[test]
fn every_named_event_has_its_kind() {
    for (name, payload, expected) in [
        ("CardReader.MediaRemovedEvent", "{}", "card.taken:info"),
        ("CARDREADER.mediaRemovedEvent", "{}", "card.taken:info"),
        ("CardReader.CardActionEvent", r#"{"to":"exit","from":"transport"}"#, ""),
        ("CashManagement.ItemsPresentedEvent", r#"{"position":"outDefault"}"#, "cash.presented:info"),
        ("CashManagement.ItemsInsertedEvent", r#"{"position":"inDefault"}"#, "cash.inserted:info"),
        ("CashManagement.ShutterStatusChangedEvent", r#"{"shutter":"closed"}"#, ""),
        ("CashManagement.MediaDetectedEvent", r#"{"position":"unit3"}"#, "cash.retracted:major"),
        ("CashDispenser.IncompleteDispenseEvent", "{}", "dispense.short:major"),
        ("Printer.PaperThresholdEvent", r#"{"paperSource":"upper","threshold":"low"}"#, "supply.low:warning:paper"),
        ("Printer.PaperThresholdEvent", r#"{"paperSource":"upper","threshold":"full"}"#, "supply.ok:info:paper"),
        ("Printer.RetractBinThresholdEvent", r#"{"binNumber":1,"state":"full"}"#, "supply.overfill:major:retract_bin"),
        ("VendorMode.ModeExitedEvent", "{}", "mode.supervisor_exited:info"),
        ("KeyManagement.InitializedEvent", "{}", "security.key_event:info"),
        ("Common.ErrorEvent", r#"{"eventId":"fraudAttempt"}"#, "security.fraud_attempt:critical"),
        ("Common.ErrorEvent", r#"{"eventId":"user","action":"clear"}"#, "device.warning:warning"),
        (
            "Storage.StorageErrorEvent",
            r#"{"failure":"empty","unit":{"unit2":{"status":"ok"}}}"#,
            "supply.out:critical:unit2",
        ),
        ("Keyboard.KeyEvent", r#"{"completion":"continue","digit":"five"}"#, ""),
        ("Vendor.StrangeEvent", r#"{"secret":"4123456789011234"}"#, "device.status_raw:info"),
    ] {
        assert_eq!(event(name, payload), expected, "{name} {payload}");
    }
}

#[test]
fn storage_units() {
    let one = |name: &str, unit: &str| event(&format!("Storage.{name}"), &format!(r#"{{"unit1":{unit}}}"#));
    let cash = |status: &str| format!(r#"{{"status":"ok","cash":{{"status":{{"replenishmentStatus":"{status}"}}}}}}"#);
    assert_eq!(one("StorageThresholdEvent", &cash("empty")), "supply.out:critical:unit1");
    assert_eq!(one("StorageThresholdEvent", &cash("full")), "supply.overfill:major:unit1");
    assert_eq!(one("StorageThresholdEvent", &cash("high")), "supply.overfill:warning:unit1");
    assert_eq!(one("StorageThresholdEvent", &cash("ok")), "supply.ok:info:unit1");
    assert_eq!(
        one("StorageChangedEvent", r#"{"status":"manipulated"}"#),
        "security.cassette_manipulated:critical:unit1"
    );
    assert_eq!(one("StorageChangedEvent", r#"{"status":"inoperative"}"#), "device.fault:major:unit1");
    assert_eq!(one("StorageChangedEvent", r#"{"status":"ok"}"#), "");
    assert_eq!(one("CountsChangedEvent", r#"{"cash":{"status":{"count":17}}}"#), "counters.reported:info");

    let bin = r#"{"storage":{"unit4":{"status":"ok","cash":{"configuration":{"types":{"cashIn":true,"cashOut":false}},
        "status":{"replenishmentStatus":"empty"}}}}}"#;
    let message = message("completion", "Storage.GetStorage", bin);
    assert!(events(&message).is_empty(), "a bin may be empty");
    let good: Vec<String> = good(&message).iter().map(ToString::to_string).collect();
    assert_eq!(good, ["cassette.inserted:info:unit4", "device.recovered:info:unit4", "supply.ok:info:unit4"]);
}

#[test]
fn a_change_of_status() {
    for (payload, expected) in [
        (r#"{"common":{"device":"online"}}"#, "device.recovered:info"),
        (r#"{"common":{"device":"fraudAttempt"}}"#, "security.fraud_attempt:critical"),
        (r#"{"common":{"device":"noDevice"}}"#, "device.removed:warning"),
        (r#"{"common":{"device":"deviceBusy"}}"#, ""),
        (r#"{"cardReader":{"media":"jammed"}}"#, "device.fault:major"),
        (r#"{"printer":{"paper":{"upper":"out","lower":"out"}}}"#, "supply.out:major:paper"),
        (r#"{"printer":{"paper":{"upper":"jammed"}}}"#, "device.fault:major:paper"),
        (r#"{"cashManagement":{"dispenser":"attention"}}"#, "device.warning:warning"),
        (r#"{"auxiliaries":{"operatorSwitch":"supervisor"}}"#, "mode.supervisor_entered:warning"),
        (r#"{"auxiliaries":{"operatorSwitch":"run"}}"#, "mode.supervisor_exited:info"),
        (
            r#"{"auxiliaries":{"safeDoor":"open","cabinetDoor":"closed"}}"#,
            "security.door_open:major:safe security.door_closed:info:cabinet",
        ),
        (r#"{"auxiliaries":{"tamperSensor":"on"}}"#, "security.tamper:critical"),
        (r#"{"auxiliaries":{"seismicSensor":"on"}}"#, "security.vibration:critical"),
        (r#"{"vendorMode":{"service":"active"}}"#, "mode.supervisor_entered:warning"),
        (r#"{"keyManagement":{"encryptionState":"notInitialized"}}"#, "security.encryptor_fault:critical"),
        (r#"{"somethingNew":{"state":"jammed"}}"#, ""),
    ] {
        assert_eq!(change(payload), expected, "{payload}");
    }
}

#[test]
fn a_whole_status_complains_and_clears() {
    let payload = r#"{"common":{"device":"online"},"cashDispenser":{"positions":[{"shutter":"jammed"}]},
        "auxiliaries":{"safeDoor":"locked","tamperSensor":"off"}}"#;
    let message = message("completion", "Common.Status", payload);
    let bad: Vec<String> = events(&message).iter().map(ToString::to_string).collect();
    assert_eq!(bad, ["device.fault:major:shutter"]);
    let good = good(&message);
    assert!(good.iter().all(|event| event.state == Some(State::Cleared)));
    let good: Vec<String> = good.iter().map(ToString::to_string).collect();
    assert_eq!(
        good,
        ["device.recovered:info", "security.door_closed:info:safe", "security.tamper:critical", "device.removed:info"]
            .map(|text| text.replace("tamper:critical", "tamper:info"))
    );
}

#[test]
fn what_is_refused_or_fails_is_said() {
    let completion = |name: &str, code: &str| {
        let text =
            format!(r#"{{"header":{{"type":"completion","name":"{name}","requestId":9,"completionCode":"{code}"}}}}"#);
        events(&decode(text.as_bytes()).expect("a message"))
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(completion("CashDispenser.Dispense", "hardwareError"), "device.fault:critical");
    assert_eq!(completion("CashDispenser.Dispense", "commandErrorCode"), "dispense.failed:major");
    assert_eq!(completion("CardReader.ReadRawData", "timeOut"), "");
    assert_eq!(completion("Printer.PrintRaw", "invalidCommand"), "protocol.command_reject:warning");
    assert_eq!(completion("Printer.PrintRaw", "success"), "");
}
