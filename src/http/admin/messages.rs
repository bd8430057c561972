//! Messages of everybody: by id, or by room and time; delete.
//!
//! Looking at what was said in private is an act like any other: it leaves a line in the audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::note;
use crate::http::Http;
use crate::http::extract::{Params, Segments};
use crate::http::gate::{LoggedIn, Superuser};
use crate::http::messages::{Asked, asked, page};
use crate::http::problem::{Problem, Result};
use crate::http::views::{MessagePage, MessagePageView, MessageSchema};
use crate::model::{EventId, Message, Room, RoomKind, Timestamp};
use crate::rooms::directory::RoomKey;
use crate::wire::outbound::MessageView;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(look, delete))
}

async fn note_look(http: &Http, me: &LoggedIn, room: &Room, what: String) -> Result<()> {
    if room.kind == RoomKind::Public {
        return Ok(());
    }
    note(http, me, "message.read", room.label(), what).await
}

/// A page of any room's history
#[utoipa::path(operation_id = "admin_list_messages", get, path = "/api/admin/messages", tag = "admin",
    params(("room" = String, Query, description = "name or id"),
        ("before" = Option<String>, Query, description = "only messages before this id"),
        ("after" = Option<String>, Query, description = "only messages after this id"),
        ("around" = Option<String>, Query, description = "this message and what surrounds it"),
        ("at" = Option<String>, Query, description = "what surrounds this moment (RFC 3339)"),
        ("limit" = Option<u32>, Query, description = "1 to 200 (50)")),
    responses((status = 200, body = MessagePage), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn list(State(http): State<Arc<Http>>, Superuser(me): Superuser, params: Params) -> Result<Response> {
    let room = params.get("room");
    let room = room.ok_or_else(|| Problem::invalid("room", "room: say which room, by name or id"))?;
    let (mut asked, limit) = asked(&params)?;
    if let Some(text) = params.get("at") {
        if asked != Asked::Range(crate::store::Range::Latest) {
            return Err(Problem::invalid("at", "at: goes with neither before, after nor around"));
        }
        let at = Timestamp::parse_rfc3339(text);
        let expected = || Problem::invalid("at", "at: expected a time such as 2026-11-23T14:02:07Z");
        asked = Asked::Around(EventId::floor_of(at.ok_or_else(expected)?));
    }
    let room = http.directory.room(&RoomKey::parse(room)?).await?;
    note_look(&http, &me, &room, String::new()).await?;
    let (messages, has_more) = page(&http, room.id, asked, limit).await?;
    Ok(Json(MessagePageView::new(&room.label(), &messages, has_more)).into_response())
}

async fn find(http: &Http, id: &str) -> Result<(Message, Room)> {
    let expected = |_| Problem::invalid("id", "id: expected the id of a message");
    let id = EventId::parse(id).map_err(expected)?;
    let message = http.store.find_message(id).await?;
    let message = message.ok_or_else(|| Problem::not_found("message"))?;
    // Rooms that were deleted count here too.
    let room = http.store.room(message.room).await?;
    let room = room.ok_or_else(|| Problem::not_found("room"))?;
    Ok((message, room))
}

/// One message, whatever room it is in
#[utoipa::path(operation_id = "admin_get_message", get, path = "/api/admin/messages/{id}", tag = "admin",
    params(("id" = String, Path, description = "the message's id")),
    responses((status = 200, body = MessageSchema), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn look(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    Segments(id): Segments<String>,
) -> Result<Response> {
    let (message, room) = find(&http, &id).await?;
    note_look(&http, &me, &room, message.id.to_string()).await?;
    Ok(Json(MessageView::new(&room.label(), &message)).into_response())
}

/// Deletes a message
#[utoipa::path(operation_id = "admin_delete_message", delete, path = "/api/admin/messages/{id}", tag = "admin",
    params(("id" = String, Path, description = "the message's id")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn delete(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    Segments(id): Segments<String>,
) -> Result<StatusCode> {
    let (message, room) = find(&http, &id).await?;
    let detail = format!("{} by {}", message.id, message.author.name);
    note(&http, &me, "message.delete", room.label(), detail).await?;
    http.directory
        .delete_as_superuser(me.user.id, &room, message.id)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
