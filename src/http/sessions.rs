//! Where one is logged in, and ending that from afar.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::extract::Segments;
use super::gate::LoggedIn;
use super::problem::{Problem, Result};
use crate::model::Timestamp;
use crate::sessions::SessionHandle;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(end))
}

/// A session. Its handle names it and can't be used to log in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView {
    handle: String,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    #[schema(value_type = String, format = "date-time")]
    last_seen_at: Timestamp,
    #[schema(value_type = String, format = "date-time")]
    expires_at: Timestamp,
    /// What the browser called itself.
    user_agent: String,
    /// From where it was opened.
    address: String,
    /// It is the session of this request.
    current: bool,
}

/// My sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Sessions {
    sessions: Vec<SessionView>,
}

/// Your sessions
#[utoipa::path(operation_id = "list_sessions", get, path = "/api/sessions", tag = "accounts",
    responses((status = 200, body = Sessions), (status = 401, body = Problem)))]
async fn list(State(http): State<Arc<Http>>, me: LoggedIn) -> Result<Json<Sessions>> {
    let sessions = http.sessions.list(me.user.id).await?;
    let view = |info: crate::sessions::SessionInfo| SessionView {
        current: info.handle == me.handle,
        handle: info.handle.to_string(),
        created_at: info.created_at,
        last_seen_at: info.last_seen_at,
        expires_at: info.expires_at,
        user_agent: info.agent,
        address: info.address,
    };
    let sessions = sessions.into_iter().map(view).collect();
    Ok(Json(Sessions { sessions }))
}

/// Ends one of your sessions; its sockets are closed
#[utoipa::path(operation_id = "end_session", delete, path = "/api/sessions/{handle}", tag = "accounts",
    params(("handle" = String, Path, description = "the session's handle")),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 429, body = Problem)))]
async fn end(State(http): State<Arc<Http>>, me: LoggedIn, Segments(handle): Segments<String>) -> Result<StatusCode> {
    let handle = SessionHandle::parse(&handle).ok_or_else(|| Problem::not_found("session"))?;
    http.directory.end_session(me.user.id, &handle).await?;
    Ok(StatusCode::NO_CONTENT)
}
