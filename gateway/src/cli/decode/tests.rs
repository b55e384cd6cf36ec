//! Every capture, and input in its other forms.

use super::*;

fn args(input: Input, protocol: Option<Protocol>, message: bool, files: Vec<PathBuf>) -> Args {
    Args { protocol, input, from: Speaker::Terminal, message, profile: None, time_zone: "UTC".to_owned(), files }
}

fn decoded(args: &Args) -> (Code, Vec<Value>) {
    let mut out = Vec::new();
    let exit = decode_all(args, &mut out).expect("writes to memory");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    (exit, text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// `devices/*/captures/*.json`.
fn captures() -> Vec<PathBuf> {
    let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices");
    let entries =
        |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> =
        entries(&devices).flat_map(|model| entries(&model.join("captures")).collect::<Vec<_>>()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// An expectation without a component leaves the component open.
fn as_expected(event: &Value, expected: &str) -> bool {
    let (kind, severity) = (event["kind"].as_str(), event["severity"].as_str());
    let mut parts = expected.splitn(3, ':');
    kind == parts.next()
        && severity == parts.next()
        && parts.next().is_none_or(|component| event["component"] == component)
}

#[test]
fn every_capture_means_what_is_expected_of_it() {
    let files = captures();
    assert!(files.len() >= 71, "only {} captures found", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let shown = file.display().to_string();
        let capture: Value =
            serde_json::from_slice(&std::fs::read(&file).expect("readable")).unwrap_or_else(|_| panic!("{shown}"));

        let (exit, events) = decoded(&args(Input::Sample, None, false, vec![file.clone()]));
        assert_eq!(exit, Code::Ok, "{shown}");
        let expected: Vec<&str> =
            capture["expect_events"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        if events.len() != expected.len()
            || !events.iter().zip(&expected).all(|(event, expected)| as_expected(event, expected))
        {
            wrong.push(format!("{shown}\n  expected {expected:?}\n  found {events:#?}"));
        }
        assert!(events.iter().all(|event| event["sample"] == capture["id"]), "{shown}");

        let (_, messages) = decoded(&args(Input::Sample, None, true, vec![file]));
        let [message] = &messages[..] else { panic!("{shown}: one object a sample") };
        assert_eq!(message["sample"], capture["id"]);
        for (key, value) in capture["expect"].as_object().expect("an object") {
            if message.get(key) != Some(value) {
                wrong.push(format!("{shown}\n  {key}: expected {value}, found {:?}", message.get(key)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_cannot_be_decoded_does_not_stop_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let unknown = dir.path().join("unknown.json");
    std::fs::write(&unknown, r#"{"id":"x","protocol":"morse","framing":"none","hex":""}"#).expect("written");
    let good = captures().swap_remove(0);
    let (exit, lines) = decoded(&args(Input::Sample, None, true, vec![unknown.clone(), good.clone()]));
    assert_eq!((exit, lines.len()), (Code::Data, 1));
    let missing = dir.path().join("missing.json");
    let (exit, lines) = decoded(&args(Input::Sample, None, true, vec![missing, unknown, good]));
    assert_eq!((exit, lines.len()), (Code::NoInput, 1));
    assert_eq!(decoded(&args(Input::Raw, None, false, Vec::new())).0, Code::Usage);
}

#[test]
fn raw_and_hexadecimal_input() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let framed = file("framed", b"\x00\x0d12\x1c000\x1c\x1cB8300\x00\x0b12\x1c000\x1c\x1cP21\x00\x09xyz");
    let alone = file("alone", b"12\x1c000\x1c\x1cP20");
    let (exit, lines) = decoded(&args(Input::Raw, Some(Protocol::Ndc), false, vec![framed, alone]));
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, ["power.restart", "mode.supervisor_entered", "protocol.error", "mode.supervisor_exited"]);
    assert_eq!(exit, Code::Ok);
    let hex = file("hex", b"31 32 1c 30 1c 1c 52 30 39\n\n31321c301c1c503231\n");
    let (_, lines) = decoded(&args(Input::Hex, Some(Protocol::Ndc), true, vec![hex]));
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["operator_menu_keys"], "09");
    let broken = file("broken", b"31 3");
    assert_eq!(decoded(&args(Input::Hex, Some(Protocol::Ndc), true, vec![broken])).0, Code::Data);
}

#[test]
fn raw_iso8583_with_and_without_length() {
    let dir = tempfile::tempdir().expect("a folder");
    let echo = b"0800822000000000000004000000000000001120213500000424301";
    let (alone, framed) = (dir.path().join("alone"), dir.path().join("framed"));
    std::fs::write(&alone, echo).expect("written");
    std::fs::write(&framed, [&[0, 55], &echo[..], &[0, 55], &echo[..]].concat()).expect("written");
    let (_, lines) = decoded(&args(Input::Raw, Some(Protocol::Iso8583), false, vec![alone, framed]));
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, ["net.echo"; 3]);
}

#[test]
fn a_capture_cut_anywhere_never_fails() {
    for file in captures() {
        let sample = Sample::parse(&std::fs::read(&file).expect("readable")).expect("a sample");
        if sample.protocol() != Ok(Protocol::Ndc) {
            continue;
        }
        let usual = Profile::builtin("ncr-selfserv-ndc").expect("built in");
        let profile = usual.spoken_by(sample.speaker().unwrap_or_default());
        let context = Context { profile: &profile, time_zone: &TimeZone::UTC };
        let bytes = sample.bytes().expect("hexadecimal");
        for end in 0..bytes.len() {
            decode(&profile, Framing::NONE, &bytes[..end], &mut |message| {
                events(&message, &context);
                let _ = message.map(|message| normalize::good(&message, &context));
            })
            .expect("a decoder");
        }
    }
}
