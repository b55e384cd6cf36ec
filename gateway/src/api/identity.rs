//! Who one is here, and who else may come in.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Serialize;

use super::View;
use crate::auth::{Identity, Permission, Record, Role, Terminals};

/// Who the caller is.
#[derive(Serialize)]
pub(super) struct Who {
    #[serde(flatten)]
    identity: Arc<Identity>,
    permissions: &'static [Permission],
}

/// `GET /api/v1/whoami`: what a token or certificate is worth.
pub(super) async fn whoami(Extension(identity): Extension<Arc<Identity>>) -> Json<Who> {
    let permissions = identity.role.permissions();
    Json(Who { identity, permissions })
}

/// A token, without what is kept of its secret.
#[derive(Serialize)]
struct Shown {
    id: String,
    name: String,
    role: Role,
    terminals: Terminals,
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl From<&Record> for Shown {
    fn from(record: &Record) -> Shown {
        let Record { id, name, role, terminals, created, expires, hash: _ } = record.clone();
        Shown { id, name, role, terminals, created, expires }
    }
}

/// `GET /api/v1/tokens`: the tokens in force.
pub(super) async fn tokens(State(view): State<View>) -> Json<serde_json::Value> {
    let shown: Vec<Shown> = view.auth.tokens().all().iter().map(Shown::from).collect();
    Json(serde_json::json!({ "tokens": shown }))
}
