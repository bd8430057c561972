//! What anybody may know of the server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use crate::wire::outbound::LimitsView;

/// The server.
#[derive(Debug, Serialize, ToSchema)]
struct Info {
    /// What it is called.
    name: String,
    /// The version of Natter.
    version: &'static str,
    /// Who may register: `open`, `invite` or `closed`.
    registration: &'static str,
    /// What it lets clients do.
    #[schema(value_type = Limits)]
    limits: LimitsView,
}

/// What the server lets clients do.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the schema of a view that frames have too")]
struct Limits {
    /// Unicode scalar values in one message.
    message_chars: u32,
    /// Bytes in one frame.
    frame_bytes: u32,
    /// Rooms on one connection.
    rooms: u32,
}

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new().routes(routes!(info))
}

/// The server's name, version and limits
#[utoipa::path(operation_id = "get_info", get, path = "/api/info", tag = "server", responses((status = 200, body = Info)), security(()))]
async fn info(State(http): State<Arc<Http>>) -> Json<Info> {
    Json(Info {
        name: http.settings.name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        registration: http.settings.registration.as_str(),
        limits: LimitsView::current(),
    })
}
