//! The audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Http;
use crate::http::extract::Params;
use crate::http::gate::Superuser;
use crate::http::problem::{Problem, Result};
use crate::limits;
use crate::model::{EventId, Timestamp, UserId};
use crate::store::AuditEntry;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
struct AuditLine {
    #[schema(value_type = String, format = "uuid")]
    id: EventId,
    #[schema(value_type = String, format = "date-time")]
    at: Timestamp,
    /// Their name at that time.
    actor: String,
    /// Who did it; null for the command line.
    #[schema(value_type = Option<String>, format = "uuid", required)]
    actor_id: Option<UserId>,
    /// What was done, as a stable word such as `user.disable`.
    action: String,
    /// To what.
    target: String,
    /// Further facts; may be empty.
    detail: String,
}

impl From<AuditEntry> for AuditLine {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.id.timestamp(),
            actor: entry.actor_name,
            actor_id: entry.actor,
            action: entry.action,
            target: entry.target,
            detail: entry.detail,
        }
    }
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct AuditPage {
    entries: Vec<AuditLine>,
    /// Whether there are older ones.
    has_more: bool,
}

/// The audit log, newest first
#[utoipa::path(operation_id = "admin_list_audit", get, path = "/api/admin/audit", tag = "admin",
    params(("before" = Option<String>, Query, description = "only lines older than this one"),
        ("limit" = Option<u32>, Query, description = "1 to 200 (50)")),
    responses((status = 200, body = AuditPage), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
async fn list(State(http): State<Arc<Http>>, _me: Superuser, params: Params) -> Result<Json<AuditPage>> {
    let limit = params.limit(limits::PAGE_DEFAULT, limits::PAGE_MAX)?;
    let mut entries = http.store.audit(params.event_id("before")?, limit + 1).await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let entries = entries.into_iter().map(AuditLine::from).collect();
    Ok(Json(AuditPage { entries, has_more }))
}
