//! `/api/v1/groups`, `branches`, `regions` and `devices`: the register as it was uploaded, with who belongs to what: terminals that the caller may see.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::View;
use super::page::{Page, limit};
use super::problem::Problem;
use super::terminals::seen_by;
use crate::auth::Identity;
use crate::log::RegisterKind;

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Part {
    /// Most rows of one answer.
    limit: Option<usize>,
    /// The number behind which to go on.
    cursor: Option<u64>,
}

type Asked = Result<Query<Part>, QueryRejection>;
type Caller = Extension<Arc<Identity>>;

/// `GET /api/v1/groups`, each with the number of its members.
pub(super) async fn groups(
    State(view): State<View>,
    Extension(caller): Caller,
    part: Asked,
) -> Result<Json<Value>, Problem> {
    let entries = seen_by(&caller, &view);
    rows(&view, RegisterKind::Group, part, "groups", |id, row| {
        let members = entries.iter().filter(|entry| entry.is_in(id, row)).count();
        json!({ "members": members })
    })
}

/// `GET /api/v1/groups/{id}`, with the names of its members.
pub(super) async fn group(
    State(view): State<View>,
    Extension(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let entries = seen_by(&caller, &view);
    view.log.register(|register| {
        let missing = || Problem::new(StatusCode::NOT_FOUND, "group_not_found", "there is no group of this number");
        let row = register.get(RegisterKind::Group, &id).ok_or_else(missing)?;
        let members: Vec<&str> =
            entries.iter().filter(|entry| entry.is_in(&id, row)).map(|entry| entry.name.as_str()).collect();
        let mut shown = row.clone();
        shown.insert("id".to_owned(), id.parse::<u64>().ok().into());
        shown.insert("members".to_owned(), members.into());
        Ok(Json(shown.into()))
    })
}

/// `GET /api/v1/branches`, each with the number of its terminals.
pub(super) async fn branches(
    State(view): State<View>,
    Extension(caller): Caller,
    part: Asked,
) -> Result<Json<Value>, Problem> {
    let mut terminals: BTreeMap<String, u64> = BTreeMap::new();
    for branch in seen_by(&caller, &view).iter().filter_map(|entry| entry.number("branch")) {
        *terminals.entry(branch.to_string()).or_default() += 1;
    }
    rows(&view, RegisterKind::Branch, part, "branches", |id, _| json!({ "terminals": terminals.get(id).unwrap_or(&0) }))
}

/// `GET /api/v1/regions`, each with the number of its terminals.
pub(super) async fn regions(
    State(view): State<View>,
    Extension(caller): Caller,
    part: Asked,
) -> Result<Json<Value>, Problem> {
    let mut terminals: BTreeMap<String, u64> = BTreeMap::new();
    for region in seen_by(&caller, &view).iter().filter_map(|entry| entry.region) {
        *terminals.entry(region.to_string()).or_default() += 1;
    }
    rows(&view, RegisterKind::Region, part, "regions", |id, _| json!({ "terminals": terminals.get(id).unwrap_or(&0) }))
}

/// `GET /api/v1/devices`
pub(super) async fn devices(State(view): State<View>, part: Asked) -> Result<Json<Value>, Problem> {
    rows(&view, RegisterKind::Device, part, "devices", |_, _| json!({}))
}

/// A page of the rows of a kind in the order of their numbers, each with more that is known.
fn rows(
    view: &View,
    kind: RegisterKind,
    part: Asked,
    name: &str,
    more: impl Fn(&str, &crate::terminals::Row) -> Value,
) -> Result<Json<Value>, Problem> {
    let Query(part) = part?;
    let limit = limit(part.limit)?;
    view.log.register(|register| {
        let mut rows: Vec<_> = register.of(kind).filter_map(|(id, row)| Some((id.parse::<u64>().ok()?, row))).collect();
        rows.sort_unstable_by_key(|(id, _)| *id);
        let page = Page::cut(rows, limit, |(id, _)| part.cursor.is_none_or(|after| *id > after));
        let next = page.next(|(id, _)| *id);
        let shown = page.items.into_iter().map(|(id, row)| {
            let mut shown = row.clone();
            shown.insert("id".to_owned(), id.into());
            if let Value::Object(more) = more(&id.to_string(), row) {
                shown.extend(more);
            }
            Value::Object(shown)
        });
        Ok(Json(json!({ name: shown.collect::<Vec<_>>(), "next": next })))
    })
}
