use super::*;

fn json(text: &str) -> serde_json::Value {
    serde_json::to_value(decode(text.as_bytes()).expect("a message")).expect("serialises")
}

#[test]
fn card_data_pin_and_keys_are_never_kept() {
    for name in
        ["CardReader.ReadRawData", "PinPad.GetPinBlock", "Keyboard.KeyEvent", "CardReader.Unheard", "Printer.PrintForm"]
    {
        for kind in ["completion", "event", "command", "unsolicited"] {
            let text = format!(
                r#"{{"payload":{{"track2":{{"data":"SECRET0","status":"ok"}},"pinBlock":"SECRET1","list":[["SECRET2"]]}},
                   "header":{{"name":"{name}","requestId":1,"type":"{kind}","completionCode":"success","errorDescription":"SECRET3"}}}}"#
            );
            let message = json(&text);
            assert!(!message.to_string().contains("SECRET"), "{message}");
            if name.starts_with("CardReader") {
                assert_eq!(message["must_drop"][0], "payload.track2.data", "{message}");
            }
        }
    }
}

#[test]
fn unsolicited_is_said_in_two_ways() {
    let text =
        |kind: &str, id: &str| format!(r#"{{"header":{{"name":"VendorMode.ModeEnteredEvent",{id}"type":"{kind}"}}}}"#);
    assert!(decode(text("unsolicited", "").as_bytes()).expect("a message").is_unsolicited());
    assert!(decode(text("event", "").as_bytes()).expect("a message").is_unsolicited());
    assert!(decode(text("event", "\"requestId\":null,").as_bytes()).expect("a message").is_unsolicited());
    assert!(!decode(text("event", "\"requestId\":3,").as_bytes()).expect("a message").is_unsolicited());
    assert!(decode(text("gossip", "").as_bytes()).is_err());
    assert!(decode(br#"{"payload":{}}"#).is_err());
}

#[test]
fn depth_and_size_do_no_harm() {
    let header = r#""header":{"name":"Common.StatusChangedEvent","type":"unsolicited"}"#;
    let deep = format!(r#"{{{header},"payload":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    // What lies too deep is skipped where it stands, without recursion.
    assert!(decode(deep.as_bytes()).expect("a message").readings.is_empty());
    let wide = format!(r#"{{{header},"payload":{{"a":[{}0]}}}}"#, "\"x\",".repeat(200_000));
    let message = decode(wide.as_bytes()).expect("a message");
    assert!(message.readings.len() <= 2048, "{}", message.readings.len());
    let long = format!(
        r#"{{{header},"payload":{{"{}":{{"b":"c"}},"common":{{"device":"{}"}}}}}}"#,
        "k".repeat(5_000),
        "v".repeat(5_000)
    );
    let message = decode(long.as_bytes()).expect("a message");
    assert_eq!(message.fact("device_state").map(str::len), Some(NAME_MAX));
    assert!(decode(&vec![b' '; MAX_MESSAGE + 1]).is_err());
}

#[test]
fn units_services_and_readings() {
    let storage = json(
        r#"{"header":{"name":"Storage.GetStorage","type":"completion","requestId":4,"completionCode":"success"},
            "payload":{"storage":{"unit2":{"status":"ok","cash":{"configuration":{"types":{"cashIn":true,"cashOut":false}},
            "status":{"initial":{"unrecognized":0},"count":17,"replenishmentStatus":"empty"}}},"unit10":{"status":"missing"}}}}"#,
    );
    assert_eq!(storage["units"], serde_json::json!({"unit2": "empty", "unit10": "missing"}));
    let services = json(
        r#"{"header":{"name":"ServicePublisher.GetServices","type":"completion","requestId":1,"completionCode":"success"},
            "payload":{"vendorName":"X","services":[{"serviceURI":"wss://a:5847/xfs4iot/v1.0/CardReader"},{"serviceURI":"ws://b/x"}]}}"#,
    );
    assert_eq!(services["services"][1], "ws://b/x");
    let status = json(
        r#"{"header":{"name":"Common.Status","type":"completion","requestId":2,"completionCode":"success"},
            "payload":{"common":{"device":"online"},"cashDispenser":{"positions":[{"shutter":"jammed"},{"shutter":"closed"}]}}}"#,
    );
    assert_eq!(
        (&status["device_state"], &status["readings"]["cashDispenser.positions.0.shutter"]),
        (&"online".into(), &"jammed".into())
    );
}

#[test]
fn service_addresses() {
    let service = Service::parse("wss://terminal.example:5847/xfs4iot/v1.0/MainCardReader").expect("an address");
    assert_eq!((service.secure, service.port, service.name()), (true, 5847, "MainCardReader"));
    assert_eq!(service.device(), Some(Device::CardReader));
    assert_eq!(Service::parse("ws://[::1]:5846/a").map(|service| service.port), Some(5846));
    assert_eq!(Service::parse("wss://a/b").map(|service| service.port), Some(443));
    for bad in ["http://a/b", "wss://a:0/b", "wss://a:x/b", "ws://a/b\r\nX: y", "a"] {
        assert_eq!(Service::parse(bad), None, "{bad}");
    }
}

#[test]
fn every_question_is_a_message_that_changes_nothing() {
    for query in [Query::GetServices, Query::Status, Query::Capabilities, Query::GetStorage] {
        let message = json(&query.message(7));
        assert_eq!((&message["type"], &message["request_id"]), (&"command".into(), &7.into()));
        assert!(
            ["ServicePublisher.GetServices", "Common.Status", "Common.Capabilities", "Storage.GetStorage"]
                .contains(&message["name"].as_str().expect("a name")),
            "{message}"
        );
    }
}

#[test]
fn nothing_of_what_is_no_message_is_shown() {
    for text in [
        r#"{"payload":{"track2":{"data":"SECRET4123456789011234"}},"header":"#,
        r#"{"payload":{"track2":{"data":"SECRET"}},"header":{"name":"CardReader.ReadRawData","type":"SECRET"}}"#,
        r#"{"header":"SECRET","payload":{}}"#,
        r#"{"header":{"name":"CardReader.ReadRawData","type":"event","requestId":"SECRET"}}"#,
    ] {
        let fault = decode(text.as_bytes()).expect_err("is no message");
        assert!(!format!("{fault:?}").contains("SECRET"), "{fault:?}");
    }
}

#[test]
fn a_change_names_its_properties() {
    let change = json(
        r#"{"header":{"name":"Common.StatusChangedEvent","type":"unsolicited"},"payload":{"auxiliaries":{"safeDoor":"open"}}}"#,
    );
    assert_eq!(change["safe_door"], "open");
}

#[test]
fn the_device_shows_in_interfaces_and_in_the_name_of_the_service() {
    let device = |name: &str, payload: &str, service: Option<Device>| {
        let text = format!(r#"{{"header":{{"name":"{name}","type":"completion","requestId":1}},"payload":{payload}}}"#);
        decode(text.as_bytes()).expect("a message").of_service(service).device
    };
    let capabilities = r#"{"common":{"x":1},"cardReader":{"type":"motor"}}"#;
    assert_eq!(device("Common.Capabilities", capabilities, None), Some(Device::CardReader));
    let status = r#"{"common":{"device":"online"},"printer":{"media":"present"}}"#;
    assert_eq!(device("Common.Status", status, None), Some(Device::ReceiptPrinter));
    assert_eq!(device("Common.Status", status, Some(Device::JournalPrinter)), Some(Device::JournalPrinter));
    assert_eq!(device("Common.Status", capabilities, Some(Device::CashHandler)), Some(Device::CardReader));
}
