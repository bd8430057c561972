//! Live figures.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::Http;
use crate::http::gate::Superuser;
use crate::http::problem::{Problem, Result};
use crate::http::stats::Curves;
use crate::model::Timestamp;
use crate::process;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new().routes(routes!(stats))
}

/// Figures of the server.
#[derive(Debug, Serialize, ToSchema)]
struct Figures {
    /// Accounts.
    users: u64,
    /// Rooms that are not deleted, direct conversations included.
    rooms: u64,
    /// Messages ever stored.
    messages: u64,
    /// WebSockets open now.
    connections: u64,
    /// People with a WebSocket now.
    people: u64,
    /// Messages stored in the running minute so far.
    messages_this_minute: u64,
    /// The last hour, minute by minute.
    curves: Curves,
    /// Memory in use; null where the system does not tell.
    #[schema(required)]
    memory_bytes: Option<u64>,
    /// Processor time used since the start; null where the system does not tell.
    #[schema(required)]
    cpu_seconds: Option<f64>,
    /// Files and sockets open; null where the system does not tell.
    #[schema(required)]
    open_files: Option<u64>,
    #[schema(value_type = String, format = "date-time")]
    started_at: Timestamp,
    uptime_seconds: u64,
    version: &'static str,
}

/// Live figures
#[utoipa::path(operation_id = "admin_stats", get, path = "/api/admin/stats", tag = "admin",
    responses((status = 200, body = Figures), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn stats(State(http): State<Arc<Http>>, _me: Superuser) -> Result<Json<Figures>> {
    let totals = http.store.totals().await?;
    let usage = process::usage(None);
    Ok(Json(Figures {
        users: totals.users,
        rooms: totals.rooms,
        messages: totals.messages,
        connections: http.stats.connections(),
        people: http.stats.people(),
        messages_this_minute: http.stats.messages_this_minute(),
        curves: http.stats.curves(),
        memory_bytes: usage.map(|usage| usage.resident),
        cpu_seconds: usage.map(|usage| usage.cpu.as_secs_f64()),
        open_files: process::open_files(None),
        started_at: http.stats.started(),
        uptime_seconds: http.stats.uptime().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}
