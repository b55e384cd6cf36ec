//! `/api/v1/terminals`: who is there, where it stands and how it is.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::View;
use super::page::{Page, limit};
use super::problem::Problem;
use crate::auth::Identity;
use crate::event::Severity;
use crate::log::{Register, RegisterKind};
use crate::terminals::{Entry, Known};

/// What a list of terminals may be asked for; all that is given must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    /// A group's number or name.
    group: Option<String>,
    /// A branch's number or name.
    branch: Option<String>,
    /// A region's number or name.
    region: Option<String>,
    /// Only terminals that nobody configured, or only others.
    unknown: Option<bool>,
    /// Only terminals with an open condition at least this bad.
    severity: Option<Severity>,
    /// Most terminals of one answer.
    limit: Option<usize>,
    /// The name behind which to go on.
    cursor: Option<String>,
}

/// The terminals that somebody may see.
pub(super) fn seen_by(identity: &Identity, view: &View) -> Vec<Entry> {
    let mut entries = view.directory.all(&view.log);
    entries.retain(|entry| identity.terminals.contain(&entry.name));
    entries
}

/// The answer where there is no such terminal, and where it is none of the caller's: who is for others learns nothing of it.
pub(super) fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "terminal_not_found", "there is no terminal of this name")
}

/// `GET /api/v1/terminals`
pub(super) async fn list(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(filter) = filter?;
    let limit = limit(filter.limit)?;
    let mut entries = seen_by(&identity, &view);
    view.log.register(|register| {
        let named = |kind: RegisterKind, wanted: &Option<String>| match wanted {
            None => Ok(None),
            Some(wanted) => number(register, kind, wanted).map(Some),
        };
        let (group, branch, region) = (
            named(RegisterKind::Group, &filter.group)?,
            named(RegisterKind::Branch, &filter.branch)?,
            named(RegisterKind::Region, &filter.region)?,
        );
        entries.retain(|entry| {
            let group_holds = group.as_ref().is_none_or(|group| {
                register.get(RegisterKind::Group, group).is_some_and(|row| entry.is_in(group, row))
            });
            let is = |have: Option<u64>, wanted: &Option<String>| {
                wanted.as_ref().is_none_or(|wanted| have.is_some_and(|have| have.to_string() == *wanted))
            };
            group_holds
                && is(entry.number("branch"), &branch)
                && is(entry.region, &region)
                && filter.unknown.is_none_or(|unknown| unknown == (entry.known == Known::Unknown))
                && filter.severity.is_none_or(|least| entry.severity().is_some_and(|worst| worst >= least))
        });
        let page = Page::cut(entries, limit, |entry| filter.cursor.as_ref().is_none_or(|after| entry.name > *after));
        let next = page.next(|entry| entry.name.clone());
        let terminals: Vec<Value> = page.items.iter().map(|entry| summary(entry, register).into()).collect();
        Ok(Json(json!({ "terminals": terminals, "next": next })))
    })
}

/// `GET /api/v1/terminals/{name}`
pub(super) async fn show(
    State(view): State<View>,
    Extension(identity): Extension<Arc<Identity>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let entry = view.directory.one(&view.log, &name).filter(|entry| identity.terminals.contain(&entry.name));
    let entry = entry.ok_or_else(missing)?;
    let mut shown = view.log.register(|register| {
        let mut shown = summary(&entry, register);
        shown.insert("devices".to_owned(), devices(&entry, register));
        shown.insert("groups".to_owned(), groups(&entry, register));
        shown
    });
    if let Some(config) = &entry.config {
        let links = config.link.iter().map(|link| {
            let up = view.metrics.link_up.with_label_values(&[&entry.name, &link.name]).get() == 1;
            let mut shown = json!({ "name": link.name, "protocol": link.protocol, "up": up });
            if let Some(listen) = link.listen {
                shown["listen"] = listen.to_string().into();
            }
            if let Some(serial) = &link.serial {
                shown["serial"] = serial.display().to_string().into();
            }
            shown
        });
        shown.insert("links".to_owned(), links.collect());
    }
    for key in ["address", "subnet", "latitude", "longitude", "cash_level", "replenished_at", "uptime_s"] {
        if let Some(value) = entry.row.get(key) {
            shown.insert(key.to_owned(), value.clone());
        }
    }
    let conditions = entry.state.conditions.iter().map(|(key, condition)| {
        let mut shown = serde_json::to_value(condition).unwrap_or_default();
        shown["key"] = key.as_str().into();
        shown
    });
    shown.insert("conditions".to_owned(), conditions.collect());
    if !entry.state.counters.is_empty() {
        let counters = entry.state.counters.iter().map(|(name, value)| (name.clone(), value.clone()));
        shown.insert("counters".to_owned(), Value::Object(counters.collect()));
    }
    Ok(Json(shown.into()))
}

/// What stands of a terminal in a list.
fn summary(entry: &Entry, register: &Register) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            shown.insert(key.to_owned(), value);
        }
    };
    put("name", entry.name.as_str().into());
    put("known", json!(entry.known));
    put("label", entry.text("label").into());
    if let Some(config) = &entry.config {
        put("profile", config.profile.as_str().into());
        put("time_zone", config.time_zone.as_str().into());
        put("luno", config.luno.as_deref().into());
    } else {
        put("time_zone", entry.text("time_zone").into());
    }
    for (key, kind, number) in
        [("branch", RegisterKind::Branch, entry.number("branch")), ("region", RegisterKind::Region, entry.region)]
    {
        let Some(number) = number else { continue };
        let name = register.get(kind, &number.to_string()).and_then(|row| row.get("name")).cloned();
        put(key, json!({ "id": number, "name": name }));
    }
    put("status", entry.text("status").into());
    put("software", entry.text("software").into());
    put("in_service", entry.state.in_service.into());
    put("severity", entry.severity().map(Severity::name).into());
    put("open_conditions", entry.state.conditions.len().into());
    put("events", entry.events.into());
    put("last_seen", entry.last_event_at.map(|at| at.to_string()).into());
    if !entry.heard.is_empty() {
        put("heard", Value::Object(entry.heard.clone()));
    }
    shown
}

/// The devices in a terminal, with their rows.
fn devices(entry: &Entry, register: &Register) -> Value {
    let fitted = register.of(RegisterKind::Fitted).map(|(_, row)| row);
    let fitted = fitted.filter(|row| row.get("terminal").and_then(Value::as_str) == Some(&entry.name));
    fitted
        .map(|row| {
            let number = row.get("device").and_then(Value::as_u64).unwrap_or_default();
            let mut shown = register.get(RegisterKind::Device, &number.to_string()).cloned().unwrap_or_default();
            shown.insert("id".to_owned(), number.into());
            if let Some(status) = row.get("status") {
                shown.insert("status".to_owned(), status.clone());
            }
            Value::Object(shown)
        })
        .collect()
}

/// The groups that a terminal is in.
fn groups(entry: &Entry, register: &Register) -> Value {
    let groups = register.of(RegisterKind::Group).filter(|(id, row)| entry.is_in(id, row));
    groups.map(|(id, row)| json!({ "id": id.parse::<u64>().ok(), "name": row.get("name") })).collect()
}

/// The number of the row that has this number or this name.
fn number(register: &Register, kind: RegisterKind, wanted: &str) -> Result<String, Problem> {
    let named = |row: &Map<String, Value>| row.get("name").and_then(Value::as_str) == Some(wanted);
    let found = register.of(kind).find(|(id, row)| *id == wanted || named(row));
    found.map(|(id, _)| id.to_owned()).ok_or_else(|| {
        let (code, what) = match kind {
            RegisterKind::Group => ("group_not_found", "group"),
            RegisterKind::Branch => ("branch_not_found", "branch"),
            _ => ("region_not_found", "region"),
        };
        Problem::new(StatusCode::NOT_FOUND, code, format!("there is no {what} of this number or name"))
    })
}
