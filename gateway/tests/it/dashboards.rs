//! What dashboards/ shows and alerts on is what the gateway exports.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use vestibule::metrics::{Metrics, NAMES};

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is read") {
        let path = entry.expect("the folder is read").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every `vestibule_…` word of a text.
fn names(text: &str) -> BTreeSet<&str> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !part(c)).filter(|word| word.starts_with("vestibule_")).collect()
}

/// The names that a scrape has: histograms come as three.
fn exported() -> BTreeSet<String> {
    let metrics = Metrics::new().expect("metrics register");
    // A metric with labels shows its type only once it has a value.
    metrics.rule_batch_seconds.with_label_values(&["plugin"]).observe(0.0);
    let text = String::from_utf8(metrics.render().expect("renders")).expect("is text");
    let histogram = |name: &str| text.lines().any(|line| line == format!("# TYPE {name} histogram"));
    let mut exported = BTreeSet::new();
    for name in NAMES {
        if histogram(name) {
            exported.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        } else {
            exported.insert((*name).to_owned());
        }
    }
    exported
}

fn promtool(arguments: &[&str], folder: &Path) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    let output = output.expect("promtool is installed (apt install prometheus)");
    let words = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "promtool {arguments:?}:\n{words}");
}

fn grafana() -> Value {
    let text = std::fs::read_to_string(dashboards().join("grafana/vestibule.json")).expect("the dashboard is read");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}

/// The panels that show something, each with its queries.
fn panels(dashboard: &Value) -> Vec<(&Value, Vec<&str>)> {
    let all = dashboard["panels"].as_array().expect("panels");
    let shown = all.iter().filter(|panel| panel["type"] != "row");
    shown
        .map(|panel| {
            let targets = panel["targets"].as_array().expect("targets");
            (panel, targets.iter().map(|target| target["expr"].as_str().expect("an expression")).collect())
        })
        .collect()
}

#[test]
fn every_metric_named_in_dashboards_exists() {
    let exported = exported();
    let mut found = Vec::new();
    files(&dashboards(), &mut found);
    let mut used = 0;
    for path in found {
        let text = std::fs::read_to_string(&path).expect("dashboards are text");
        for name in names(&text) {
            assert!(exported.contains(name), "{}: the gateway exports no {name}", path.display());
            used += 1;
        }
    }
    assert!(used > 30, "the search finds names: {used}");
}

#[test]
fn promtool_accepts_configuration_and_alerts_and_they_fire_when_they_should() {
    let folder = dashboards().join("prometheus");
    promtool(&["check", "config", "prometheus.yml"], &folder);
    promtool(&["check", "rules", "alerts.yml"], &folder);
    promtool(&["test", "rules", "alerts.test.yml"], &folder);
}

#[test]
fn every_query_of_the_dashboard_parses() {
    let dashboard = grafana();
    let mut rules = String::from("groups:\n  - name: queries\n    rules:\n");
    for (panel, queries) in panels(&dashboard) {
        for (index, query) in queries.iter().enumerate() {
            let query = query.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$terminal", ".*");
            assert!(!query.contains('$'), "{query}");
            let _ =
                writeln!(rules, "      - record: panel_{}_{index}\n        expr: {}", panel["id"], Value::from(query));
        }
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("queries.yml"), rules).expect("the queries are written");
    promtool(&["check", "rules", "queries.yml"], dir.path());
}

#[test]
fn every_panel_says_what_it_shows_and_asks_the_chosen_source() {
    let dashboard = grafana();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "ids are unique");
    }
    for (panel, queries) in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} is described");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(!queries.is_empty(), "{title}");
    }
}
