//! `tests/TRAPS.md` is true: every failure and every trap has its row, and every test that a row names is one.

use std::path::{Path, PathBuf};

use regex::Regex;

/// Failures of others, and traps of the client library.
const ROWS: [(&str, usize); 2] = [("F", 25), ("R", 21)];
/// Where the client library may be named.
const CODEC: [&str; 1] = ["src/mqtt/wire/"];

fn gateway() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether the file has a test of this name that is run.
fn is_test(path: &Path, name: &str) -> bool {
    says_test(&std::fs::read_to_string(path).unwrap_or_default(), name)
}

fn says_test(text: &str, name: &str) -> bool {
    let attributes = format!(r"((?:#\[[^\]]*\][ \n]*)+)(?:async )?fn {name}\(");
    let found = Regex::new(&attributes).expect("a pattern").captures(text);
    let test = Regex::new(r"#\[(tokio::)?test(\([^)]*\))?\]").expect("a pattern");
    found.is_some_and(|found| test.is_match(&found[1]) && !found[1].contains("ignore"))
}

#[test]
fn a_test_that_is_not_run_is_none() {
    for (text, expected) in [
        ("#[test]\nfn it() {", true),
        ("#[tokio::test(flavor = \"multi_thread\")]\n    async fn it() {", true),
        ("#[allow(dead_code)]\n#[test]\nfn it() {", true),
        ("fn it() {", false),
        ("#[test]\n#[ignore]\nfn it() {", false),
        ("#[ignore = \"slow\"]\n#[test]\nfn it() {", false),
        ("#[test]\n#[cfg_attr(debug_assertions, ignore)]\nfn it() {", false),
        ("#[test]\nfn it_not() {", false),
    ] {
        assert_eq!(says_test(text, "it"), expected, "{text}");
    }
}

#[test]
fn every_row_is_there_and_names_tests_that_are_there() {
    let text = std::fs::read_to_string(gateway().join("tests/TRAPS.md")).expect("reads");
    let named = Regex::new(r"`([a-z_0-9/]+\.rs)::([a-z_0-9]+)`").expect("a pattern");
    let (mut ids, mut faults) = (Vec::new(), Vec::new());
    for row in text.lines().filter(|line| line.starts_with("| F") || line.starts_with("| R")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, .., shown] = cells[..] else { panic!("{row}") };
        ids.push(id.to_owned());
        let tests: Vec<_> = named.captures_iter(shown).map(|found| found.extract().1).collect();
        if cells.len() != 4 || tests.is_empty() {
            faults.push(format!("{id} has {} cells and {} tests", cells.len(), tests.len()));
        }
        let missing = tests.into_iter().filter(|[path, name]| !is_test(&gateway().join(path), name));
        faults.extend(missing.map(|[path, name]| format!("{id}: {path} has no test {name}")));
    }
    let all = ROWS.iter().flat_map(|(kind, count)| (1..=*count).map(move |number| format!("{kind}{number}")));
    assert_eq!(ids, all.collect::<Vec<_>>());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn of_the_client_library_the_codec_alone_is_used() {
    let mut folders = vec![gateway().join("src")];
    let (mut files, mut faults) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let place: PathBuf = path.strip_prefix(gateway()).expect("below").to_owned();
            let place = place.to_string_lossy();
            let may = CODEC.iter().any(|codec| place.starts_with(codec));
            let uses = text.lines().filter(|line| line.contains("rumqttc::") || line.contains("use rumqttc"));
            let foreign = uses.filter(|line| !may || (place.starts_with(CODEC[0]) && !line.contains("mqttbytes")));
            faults.extend(foreign.map(|line| format!("{place}: {line}")));
        }
    }
    assert!(files > 100 && faults.is_empty(), "{faults:#?}");
}
