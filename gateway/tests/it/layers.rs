//! Which module imports which is what ARCHITECTURE.md says, no more and no less; and what must never be, is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The parts that an event or a command passes through: they meet in the log, and in the traits of `command`.
const STAGES: [&str; 5] = ["link", "rules", "forward", "commands", "api"];
/// What gives the same answer to the same question, whenever and wherever.
const PURE: [&str; 5] = ["event", "local_time", "mask", "normalize", "protocol"];
/// What would be I/O, a clock, or a thread.
const IMPURE: &str =
    r"std::(fs|net|env|process|thread|os)(?-u:\b)|tokio|SystemTime|Instant(?-u:\b)|Timestamp::now|Zoned::now";

fn gateway() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the program, as the module at the top that it belongs to, its path, and its text without tests.
fn sources() -> Vec<(String, PathBuf, String)> {
    let (mut folders, mut all) = (vec![gateway().join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let place = path.strip_prefix(gateway().join("src")).expect("below").to_owned();
            let name = place.to_string_lossy();
            let is_test = name.ends_with("tests.rs") || name.contains("tests/");
            let top = name.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
            if is_test || !name.ends_with(".rs") || ["lib", "main"].contains(&top.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("reads");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            all.push((top, place, lines.collect::<Vec<_>>().join("\n")));
        }
    }
    assert!(all.len() > 150, "{} files", all.len());
    all
}

/// What the code says: the modules at the top that each of them names.
fn found() -> Edges {
    let one = Regex::new(r"(?-u:\b)crate::([a-z_0-9]+)").expect("a pattern");
    let several = Regex::new(r"(?-u:\b)crate::\{([^;]*)\};").expect("a pattern");
    let inner = Regex::new(r"\{[^{}]*\}").expect("a pattern");
    let mut edges = Edges::new();
    for (top, _, text) in sources() {
        let named = edges.entry(top.clone()).or_default();
        named.extend(one.captures_iter(&text).map(|found| found[1].to_owned()));
        for found in several.captures_iter(&text) {
            let mut list = found[1].to_owned();
            while inner.is_match(&list) {
                list = inner.replace_all(&list, "").into_owned();
            }
            let names = list.split(',').filter_map(|path| path.trim().split("::").next());
            named.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
        }
        named.remove(&top);
    }
    edges
}

/// What ARCHITECTURE.md says: the rows `` | `module` | `a`, `b` | `` below its heading.
fn told() -> Edges {
    let text = std::fs::read_to_string(gateway().join("ARCHITECTURE.md")).expect("reads");
    let section = text.split("\n## ").find(|section| section.starts_with("Who imports whom\n")).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let names = |list: &str| list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    rows.map(|(module, list)| (module.to_owned(), names(list))).collect()
}

#[test]
fn the_table_of_imports_is_true() {
    let (found, told) = (found(), told());
    let modules: BTreeSet<&String> = found.keys().chain(told.keys()).collect();
    let none = BTreeSet::new();
    let wrong: Vec<String> = modules
        .into_iter()
        .filter(|module| found.get(*module) != told.get(*module))
        .map(|module| {
            let (is, says) = (found.get(module).unwrap_or(&none), told.get(module).unwrap_or(&none));
            format!("{module} imports {is:?}, and ARCHITECTURE.md says {says:?}")
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stages_never_import_one_another() {
    let found = found();
    for stage in STAGES {
        let others: Vec<&String> = found[stage].iter().filter(|name| STAGES.contains(&name.as_str())).collect();
        assert!(others.is_empty(), "{stage} imports {others:?}");
    }
    let above: Vec<&str> =
        found.iter().filter(|(_, named)| named.contains("gateway")).map(|(module, _)| module.as_str()).collect();
    assert_eq!(above, ["cli"], "nobody else knows who builds them all");
    for below in ["log", "mqtt", "tls", "auth", "command", "clock", "watch", "metrics"] {
        let above: Vec<&str> =
            found[below].iter().map(String::as_str).filter(|name| STAGES.contains(name) || *name == "cli").collect();
        assert!(above.is_empty(), "{below} imports {above:?}");
    }
}

#[test]
fn what_is_pure_has_no_way_to_the_world() {
    let impure = Regex::new(IMPURE).expect("a pattern");
    let allowed: BTreeSet<&str> = PURE.into_iter().chain(["profile", "command"]).collect();
    let mut faults = Vec::new();
    for (top, place, text) in sources().into_iter().filter(|(top, ..)| PURE.contains(&top.as_str())) {
        let lines = text.lines().filter(|line| impure.is_match(line));
        faults.extend(lines.map(|line| format!("{} in {top}: {}", place.display(), line.trim())));
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let found = found();
    for module in PURE {
        let others: Vec<&String> = found[module].iter().filter(|name| !allowed.contains(name.as_str())).collect();
        assert!(others.is_empty(), "{module} imports {others:?}");
    }
}
