//! Scenarios: events in, expected effects out, in TOML. The same files run natively here and on the built wasm in the
//! gateway's tests.
//!
//! ```toml
//! description = "A cassette runs low"
//! flags = { atm-01 = ["reports_requests"] }      # what profiles say of terminals
//!
//! [[event]]                                      # the JSON form of an event ...
//! terminal = "atm-01"
//! kind = "supply.low"
//! component = "cassette_2"
//! expect = [{ raise = "cassette_2", severity = "warning" }]   # ... and what must follow, in order; absent: nothing
//! ```
//!
//! An effect is `raise`, `clear`, `emit` or `command` with its key, kind or verb; every further name that stands beside it
//! (`severity`, `title`, `detail`, `component`, `arguments`, `attributes`) must be equal too. `restart = true` on an event
//! takes the rule away before it and brings it back.

use std::path::Path;

use toml::{Table, Value};

use crate::{Action, Effect, Rule, Severity, TestEvent, TestHost, component, device, kind};

/// Runs every scenario of a plugin's folder on the rule, and holds its `plugin.toml` against the rule.
/// Tests run in the folder of their package, so a rule's own test names it `.`.
///
/// # Errors
/// With one sentence about the first thing that is not as it should be.
pub fn run_folder<R: Rule>(folder: &str) -> Result<usize, String> {
    let folder = Path::new(folder);
    let manifest = read(&folder.join("plugin.toml"))?;
    check_subscriptions::<R>(&manifest)?;
    let scenarios = folder.join("scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(&scenarios).map_err(|error| format!("{}: {error}", scenarios.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            run::<R>(&read(&path)?, &manifest).map_err(|why| format!("{}: {why}", path.display()))?;
            count += 1;
        }
    }
    if count == 0 { Err(format!("{}: no scenario", scenarios.display())) } else { Ok(count) }
}

fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.parse().map_err(|error| format!("{}: {error}", path.display()))
}

fn check_subscriptions<R: Rule>(manifest: &Table) -> Result<(), String> {
    let kinds = R::SUBSCRIPTIONS.iter().flat_map(|wanted| wanted.parts().0);
    let mut asked: Vec<&str> = kinds.map(|code| kind::name(*code)).collect();
    let mut said: Vec<&str> = strings(manifest.get("subscriptions")).collect();
    asked.sort_unstable();
    said.sort_unstable();
    if asked == said {
        Ok(())
    } else {
        Err(format!("plugin.toml says subscriptions {said:?}, the rule asks for {asked:?}"))
    }
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn run<R: Rule>(scenario: &Table, manifest: &Table) -> Result<(), String> {
    let mut host = TestHost::<R>::new();
    for (terminal, flags) in scenario.get("flags").and_then(Value::as_table).into_iter().flatten() {
        strings(Some(flags)).for_each(|flag| host.flag(terminal, flag));
    }
    let events = scenario.get("event").and_then(Value::as_array).ok_or("no [[event]]")?;
    for (number, row) in events.iter().enumerate() {
        let row = row.as_table().ok_or("an event is a table")?;
        let wrong = |why: String| format!("event {}: {why}", number + 1);
        let effects: Vec<Table> = host.event(event(row).map_err(wrong)?).iter().map(effect).collect();
        effects.iter().try_for_each(|effect| granted(effect, manifest)).map_err(wrong)?;
        let expected = row.get("expect").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let equal = effects.len() == expected.len() && effects.iter().zip(expected).all(|(got, want)| holds(got, want));
        if !equal {
            return Err(wrong(format!("expected {expected:?}, the rule answered {effects:?}")));
        }
    }
    Ok(())
}

/// The event of a scenario's row.
fn event(row: &Table) -> Result<TestEvent, String> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let name = text("kind").ok_or("it has no kind")?;
    let code = kind::named(name).ok_or_else(|| format!("unknown kind `{name}`"))?;
    let mut event = TestEvent::new(text("terminal").unwrap_or_default(), code);
    if let Some(name) = text("severity") {
        let severity = (0..4).map(Severity::from_code).find(|severity| severity.name() == name);
        event = event.severity(severity.ok_or_else(|| format!("unknown severity `{name}`"))?);
    }
    if let Some(name) = text("device") {
        event = event.device(device::named(name).ok_or_else(|| format!("unknown device `{name}`"))?);
    }
    if let Some(name) = text("component") {
        event = event.component(component::named(name).ok_or_else(|| format!("unknown component `{name}`"))?);
    }
    event = match text("state") {
        Some("raised") => event.raised(),
        Some("cleared") => event.cleared(),
        _ => event,
    };
    for name in ["detail", "card", "protocol", "link", "occurred_at", "cause", "rule"] {
        if let Some(value) = text(name) {
            event = event.field(name, value);
        }
    }
    for (name, value) in row.get("attributes").and_then(Value::as_table).into_iter().flatten() {
        event = event.attribute(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    Ok(event)
}

/// The table form of an effect.
fn effect(action: &Action) -> Table {
    let severity = |code: u8| Severity::from_code(code).name();
    let pairs = |pairs: &[(String, String)]| -> Table {
        pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
    };
    let mut table = Table::new();
    let mut put = |name: &str, value: Value| table.insert(name.to_owned(), value);
    match &action.effect {
        Effect::Raise(alert) => {
            put("raise", alert.key.as_str().into());
            put("severity", severity(alert.severity).into());
            put("title", alert.title.as_str().into());
            put("detail", alert.detail.as_str().into());
        }
        Effect::Clear(clearance) => {
            put("clear", clearance.key.as_str().into());
            put("detail", clearance.detail.as_str().into());
        }
        Effect::Emit(derived) => {
            put("emit", kind::name(derived.kind).into());
            put("severity", severity(derived.severity).into());
            put("detail", derived.detail.as_str().into());
            put("attributes", Value::Table(pairs(&derived.attributes)));
        }
        Effect::Command(command) => {
            put("command", command.verb.as_str().into());
            put("arguments", Value::Table(pairs(&command.arguments)));
        }
    }
    put("component", component::name(action.component).into());
    table
}

/// Whether everything that is expected is so.
fn holds(got: &Table, want: &Value) -> bool {
    want.as_table().is_some_and(|want| want.iter().all(|(name, value)| got.get(name) == Some(value)))
}

/// Whether `plugin.toml` asks for what the rule does.
fn granted(effect: &Table, manifest: &Table) -> Result<(), String> {
    let grants = manifest.get("grants").and_then(Value::as_table);
    let listed = |list: &str, value: &Value| {
        strings(grants.and_then(|grants| grants.get(list))).any(|granted| Some(granted) == value.as_str())
    };
    let granted = match (effect.get("emit"), effect.get("command")) {
        (Some(kind), _) => listed("emit", kind),
        (None, Some(verb)) => listed("command", verb),
        (None, None) => grants.and_then(|grants| grants.get("alert")).and_then(Value::as_bool) == Some(true),
    };
    if granted { Ok(()) } else { Err(format!("plugin.toml asks for no grant for {effect:?}")) }
}
