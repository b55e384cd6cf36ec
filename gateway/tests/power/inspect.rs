//! What the store says after a cut, against what the rest of the world knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;
use vestibule::log::Progress;

use crate::branch::load::Answered;

/// What was told to others before the cut: nothing of it may be untold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Lines that were answered.
    pub(crate) answered: Vec<Answered>,
    /// Events that the subscriber has.
    pub(crate) published: BTreeMap<u64, Value>,
    /// Commands that were acknowledged: `k0` to the one before `k{accepted}`.
    pub(crate) accepted: usize,
    /// How often each command was heard by its terminal.
    pub(crate) heard: Vec<usize>,
}

/// The rules of the branch, and what each answers with an alert.
const RULES: [(&str, &str); 2] = [("cash-low", "supply.low"), ("dispenser-guard", "cash.presented")];

/// The store as SQLite finds it.
#[derive(Debug, Default)]
struct Store {
    events: BTreeMap<u64, Value>,
    sources: BTreeMap<(String, String), u64>,
    cursors: BTreeMap<String, u64>,
    state: BTreeSet<(String, String)>,
    terminals: BTreeMap<String, u64>,
    commands: BTreeMap<String, String>,
    progress: Progress,
    withdrawals_printed: usize,
}

impl Store {
    fn read(store: &Connection) -> rusqlite::Result<Store> {
        let place = |number: i64| u64::try_from(number).unwrap_or(0);
        let progress = "SELECT floor, ranges, forwarded, dead_lettered, discarded FROM progress";
        let progress = store.query_row(progress, [], |row| {
            Ok(Progress {
                floor: place(row.get(0)?),
                ranges: serde_json::from_str(&row.get::<_, String>(1)?).unwrap(),
                forwarded: place(row.get(2)?),
                dead_lettered: place(row.get(3)?),
                discarded: place(row.get(4)?),
            })
        });
        let printed = "SELECT count(*) FROM journal WHERE trim(text, ' *') = 'TRANSACTION START'";
        Ok(Store {
            events: rows(store, "SELECT seq, json FROM event", |row| {
                Ok((place(row.get(0)?), serde_json::from_str(&row.get::<_, String>(1)?).unwrap()))
            })?,
            sources: rows(store, "SELECT terminal, id, seq FROM source_id", |row| {
                Ok(((row.get(0)?, row.get(1)?), place(row.get(2)?)))
            })?,
            cursors: rows(store, "SELECT id, cursor FROM plugin", |row| Ok((row.get(0)?, place(row.get(1)?))))?,
            state: rows(store, "SELECT plugin, key FROM plugin_state", |row| Ok((row.get(0)?, row.get(1)?)))?,
            terminals: rows(store, "SELECT name, terminal_seq FROM terminal", |row| {
                Ok((row.get(0)?, place(row.get(1)?)))
            })?,
            commands: rows(store, "SELECT id, state FROM command WHERE source = 'http'", |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?,
            progress: progress.optional()?.unwrap_or_default(),
            withdrawals_printed: usize::try_from(store.query_row(printed, [], |row| row.get::<_, i64>(0))?).unwrap(),
        })
    }
}

fn rows<T, C: FromIterator<T>>(
    store: &Connection,
    sql: &str,
    take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<C> {
    store.prepare(sql)?.query_map([], take)?.collect()
}

/// Everything that is wrong with the store in this folder, in sentences.
pub(crate) fn inspect(folder: &Path, told: &Told) -> Vec<String> {
    let names = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut faults: Vec<String> = names
        .map(|name| name.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("corrupt"))
        .map(|name| format!("the store was taken for damaged: {name}"))
        .collect();
    match open(&folder.join("events.db")) {
        Ok(Some(store)) => {
            faults.extend(sequence(&store));
            faults.extend(answered(&store, told));
            faults.extend(published(&store, told));
            faults.extend(effects(&store, told));
            faults.extend(commands(&store, told));
            faults.extend(journal(&store));
        }
        // Before the first commit nobody can have been told anything.
        Ok(None) if told.answered.is_empty() && told.published.is_empty() && told.accepted == 0 => {}
        Ok(None) => faults.push(format!("{} lines were answered, and there is no store", told.answered.len())),
        Err(fault) => faults.push(format!("the store cannot be read: {fault}")),
    }
    faults
}

/// The store, if it was ever made.
fn open(path: &Path) -> Result<Option<Store>, String> {
    if !path.exists() {
        return Ok(None);
    }
    let store = Connection::open(path).map_err(|fault| fault.to_string())?;
    let checked =
        |sql: &str| store.query_row(sql, [], |row| row.get::<_, String>(0)).map_err(|fault| fault.to_string());
    let verdict = checked("PRAGMA integrity_check")?;
    if verdict != "ok" {
        return Err(verdict);
    }
    // The newest table of the schema: the migrations before it are there, or it is not.
    if checked("SELECT count(*) || '' FROM sqlite_schema WHERE name = 'command'")? == "0" {
        return Ok(None);
    }
    Store::read(&store).map(Some).map_err(|fault| fault.to_string())
}

/// The sequence runs from 1 without gaps, so does that of each terminal, and ids are made of them.
fn sequence(store: &Store) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fronts = BTreeSet::new();
    let mut terminals: BTreeMap<String, u64> = BTreeMap::new();
    for ((expected, (seq, event)), id) in
        (1..).zip(&store.events).zip(store.events.values().map(|event| event["id"].as_str().unwrap_or_default()))
    {
        let front = id.strip_suffix(&format!("-{seq}"));
        fronts.extend(front);
        let terminal = event["terminal"].as_str().unwrap_or_default();
        let last = terminals.entry(terminal.to_owned()).or_default();
        *last += 1;
        if *seq != expected || front.is_none() || event["seq"] != *seq || event["terminal_seq"] != *last {
            faults.push(format!("expected the event {expected}, {last} of its terminal: {event}"));
            break;
        }
    }
    if fronts.len() > 1 {
        faults.push(format!("there are several epochs: {fronts:?}"));
    }
    if faults.is_empty() && terminals != store.terminals {
        faults.push(format!("the terminals stand at {:?} and not at {terminals:?}", store.terminals));
    }
    faults
}

/// Every answered line is there once, under the number it was answered with.
fn answered(store: &Store, told: &Told) -> Vec<String> {
    let mut marks: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seq, event) in &store.events {
        if let Some(mark) = event["attributes"]["mark"].as_str() {
            marks.entry(mark).or_default().push(*seq);
        }
    }
    let twice =
        marks.iter().filter(|(_, seqs)| seqs.len() > 1).map(|(mark, seqs)| format!("{mark} is there as {seqs:?}"));
    let lost = told.answered.iter().filter_map(|line| {
        let source = store.sources.get(&(line.terminal.to_owned(), line.mark.clone()));
        let found = marks.get(line.mark.as_str()).map_or(&[][..], Vec::as_slice);
        let kind = store.events.get(&line.seq).map(|event| &event["kind"]);
        let whole = found == [line.seq] && source == Some(&line.seq) && kind.is_some_and(|kind| *kind == line.kind);
        (!whole).then(|| format!("lost: {line:?} is there as {found:?}, its source id as {source:?}"))
    });
    let dangling = store.sources.iter().filter(|((_, id), seq)| {
        !store.events.get(seq).is_some_and(|event| event["attributes"]["mark"] == id.as_str())
    });
    let dangling =
        dangling.map(|((terminal, id), seq)| format!("{terminal}'s id {id} belongs to {seq}, which is another"));
    twice.chain(lost).chain(dangling).collect()
}

/// What was published is there as it was published, and nothing counts as forwarded that was not.
fn published(store: &Store, told: &Told) -> Vec<String> {
    let mut faults: Vec<String> = told
        .published
        .iter()
        .filter(|(seq, event)| store.events.get(seq) != Some(event))
        .map(|(seq, event)| format!("published early: {event} is {:?} in the store", store.events.get(seq)))
        .collect();
    let head = store.events.last_key_value().map_or(0, |(seq, _)| *seq);
    let progress = &store.progress;
    let settled = (1..=head.max(progress.floor)).filter(|seq| progress.is_settled(*seq));
    let early = settled.clone().filter(|seq| !told.published.contains_key(seq));
    faults.extend(early.map(|seq| format!("{seq} counts as forwarded, and nobody has it")));
    let counted = progress.forwarded + progress.dead_lettered + progress.discarded;
    if counted != u64::try_from(settled.count()).unwrap() || progress.forwarded != counted || progress.floor > head {
        faults.push(format!("the books of the forwarder do not add up, with {head} events: {progress:?}"));
    }
    faults
}

/// Up to its position each rule has answered each cause once, behind it none; its state is what these events make it.
fn effects(store: &Store, told: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    let mut effects: BTreeSet<String> = BTreeSet::new();
    let mut alerts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in store.events.values() {
        let (Some(rule), Some(cause)) = (event["rule"].as_str(), event["cause"].as_str()) else { continue };
        if !effects.insert(format!("{rule} {cause} {} {}", event["kind"], event["component"])) {
            faults.push(format!("an effect twice: {event}"));
        }
        let place = cause.rsplit('-').next().and_then(|seq| seq.parse().ok()).unwrap_or(u64::MAX);
        if store.events.get(&place).is_none_or(|event| event["id"] != cause) {
            faults.push(format!("an effect of what never was: {event}"));
        }
        if store.cursors.get(rule).is_none_or(|cursor| *cursor < place) {
            faults.push(format!("an effect behind its rule's position: {event}"));
        }
        *alerts.entry((rule, cause)).or_default() += usize::from(event["kind"] == "alert.raised");
    }
    for line in &told.answered {
        let Some(event) = store.events.get(&line.seq) else { continue };
        for (rule, kind) in RULES {
            let dealt_with = store.cursors.get(rule).is_some_and(|cursor| line.seq <= *cursor);
            let expected = usize::from(line.alerts && line.kind == kind && dealt_with);
            let raised = alerts.get(&(rule, event["id"].as_str().unwrap_or_default())).copied().unwrap_or(0);
            if raised != expected {
                faults.push(format!("{rule} at {:?} has raised {raised} alerts by {event}", store.cursors.get(rule)));
            }
        }
    }
    let state = state(store);
    if state != store.state {
        faults.push(format!("the rules' state is {:?} where their positions make it {state:?}", store.state));
    }
    faults
}

/// What the rules have to remember, by the events up to their positions.
fn state(store: &Store) -> BTreeSet<(String, String)> {
    let mut state = BTreeSet::new();
    for (rule, _) in RULES {
        let cursor = store.cursors.get(rule).copied().unwrap_or(0);
        for event in store.events.range(..=cursor).map(|(_, event)| event) {
            let text = |field: &str| event[field].as_str().unwrap_or_default();
            let key = |what: &str| (rule.to_owned(), format!("{}/{what}", text("terminal")));
            let cassette = text("component").starts_with("cassette_");
            let (key, is) = match (rule, text("kind")) {
                ("cash-low", "supply.low" | "supply.out") if cassette => (key(text("component")), true),
                ("cash-low", "supply.ok") if cassette => (key(text("component")), false),
                ("dispenser-guard", kind) if text("terminal") == "atm-04" => match kind {
                    "txn.requested" => (key("requested"), true),
                    "txn.ended" => (key("requested"), false),
                    "mode.in_service" => (key("open"), false),
                    "cash.presented" if !state.contains(&key("requested")) => (key("open"), true),
                    _ => continue,
                },
                _ => continue,
            };
            if is {
                state.insert(key);
            } else {
                state.remove(&key);
            }
        }
    }
    state
}

/// Every acknowledged command is there and stands where its events say; one that was heard is known to have been sent.
fn commands(store: &Store, told: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    let mut steps: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in store.events.values() {
        if let (Some(id), Some(kind)) = (event["attributes"]["command_id"].as_str(), event["kind"].as_str()) {
            *steps.entry((id, kind)).or_default() += 1;
        }
    }
    for (number, heard) in told.heard.iter().enumerate() {
        let id = format!("k{number}");
        let count = |kind: &str| steps.get(&(id.as_str(), kind)).copied().unwrap_or(0);
        let events = ["requested", "sent", "done", "refused", "expired", "unknown"]
            .map(|state| (state, count(&format!("command.{state}"))));
        let state = store.commands.get(&id).map(String::as_str);
        let expected = match state {
            None => vec![],
            Some("requested") => vec!["requested"],
            Some("sent") => vec!["requested", "sent"],
            Some("expired") => vec!["requested", "expired"],
            // A terminal refuses what was sent to it.
            Some(state) => vec!["requested", "sent", state],
        };
        let agree = events.iter().all(|(state, count)| *count == usize::from(expected.contains(state)));
        let forgotten = state.is_none() && number < told.accepted;
        let unsent = *heard > 0 && matches!(state, None | Some("requested"));
        if !agree || forgotten || unsent || *heard > 1 {
            faults.push(format!("{id} is {state:?}, its events are {events:?}, it was heard {heard} times"));
        }
    }
    faults
}

/// A line of a journal and the event that was read from it stand there together.
fn journal(store: &Store) -> Vec<String> {
    let started =
        store.events.values().filter(|event| event["terminal"] == "atm-03" && event["kind"] == "txn.started").count();
    let printed = store.withdrawals_printed;
    if started == printed {
        vec![]
    } else {
        vec![format!("{started} transactions began, {printed} are in the journal")]
    }
}
