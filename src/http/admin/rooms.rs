//! Rooms of everybody: find, give a title, archive, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::note;
use crate::http::Http;
use crate::http::extract::{JsonBody, Params, Segments};
use crate::http::gate::Superuser;
use crate::http::problem::{Problem, Result};
use crate::http::views::{Kind, UserRef};
use crate::limits;
use crate::model::{Name, Room, RoomId, RoomKind, Timestamp};
use crate::rooms::directory::{RoomKey, check_title};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(change, delete))
}

/// A room, as the admin area shows it.
#[derive(Debug, Serialize, ToSchema)]
struct AdminRoom {
    #[schema(value_type = String, format = "uuid")]
    id: RoomId,
    /// Null for a direct conversation.
    #[schema(value_type = Option<String>, required)]
    name: Option<Name>,
    title: String,
    #[schema(value_type = Kind)]
    kind: RoomKind,
    members: u64,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    archived: bool,
    /// The two people of a direct conversation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pair: Vec<UserRef>,
}

/// A page of rooms, by name.
#[derive(Debug, Serialize, ToSchema)]
struct AdminRooms {
    rooms: Vec<AdminRoom>,
    /// Whether there are more after the last one.
    has_more: bool,
}

/// What to change of a room.
#[derive(Debug, Deserialize, ToSchema)]
struct AdminRoomChange {
    /// At most 100 characters; empty for none.
    title: Option<String>,
    /// Read-only.
    archived: Option<bool>,
}

async fn view(http: &Http, room: &Room) -> Result<AdminRoom> {
    let mut pair = Vec::new();
    if let Some((low, high)) = room.pair {
        for id in [low, high] {
            pair.push(UserRef::from(&*http.directory.user_by_id(id).await?));
        }
    }
    Ok(AdminRoom {
        id: room.id,
        name: room.name.clone(),
        title: room.title.clone(),
        kind: room.kind,
        members: http.directory.member_count(room.id).await?,
        created_at: room.created_at,
        archived: room.archived,
        pair,
    })
}

/// Rooms whose name or title holds `q`
#[utoipa::path(operation_id = "admin_list_rooms", get, path = "/api/admin/rooms", tag = "admin",
    params(("q" = Option<String>, Query, description = "part of a name or title"),
        ("after" = Option<String>, Query, description = "the id of the last room of the page before"),
        ("limit" = Option<u32>, Query, description = "1 to 200 (50)")),
    responses((status = 200, body = AdminRooms), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
async fn list(State(http): State<Arc<Http>>, _me: Superuser, params: Params) -> Result<Json<AdminRooms>> {
    let limit = params.limit(limits::PAGE_DEFAULT, limits::PAGE_MAX)?;
    let after = params.id::<RoomId>("after")?;
    let mut found = http.store.all_rooms(params.search()?, after, limit + 1).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let mut rooms = Vec::with_capacity(found.len());
    for room in &found {
        rooms.push(view(&http, room).await?);
    }
    Ok(Json(AdminRooms { rooms, has_more }))
}

/// Gives a room a title, archives it or opens it again
#[utoipa::path(operation_id = "admin_change_room", patch, path = "/api/admin/rooms/{room}", tag = "admin",
    params(("room" = String, Path, description = "name or id")), request_body = AdminRoomChange,
    responses((status = 200, body = AdminRoom), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn change(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    Segments(room): Segments<String>,
    JsonBody(change): JsonBody<AdminRoomChange>,
) -> Result<Json<AdminRoom>> {
    let room = http.directory.room(&RoomKey::parse(&room)?).await?;
    if let Some(title) = &change.title {
        let title = check_title(title)?;
        note(&http, &me, "room.title", room.label(), title).await?;
    }
    match change.archived {
        Some(true) => note(&http, &me, "room.archive", room.label(), String::new()).await?,
        Some(false) => note(&http, &me, "room.unarchive", room.label(), String::new()).await?,
        None => {}
    }
    let directory = &http.directory;
    let changed = directory
        .configure_as_superuser(&room, change.title.as_deref(), change.archived)
        .await?;
    Ok(Json(view(&http, &changed).await?))
}

/// Deletes a room for everybody and for good
#[utoipa::path(operation_id = "admin_delete_room", delete, path = "/api/admin/rooms/{room}", tag = "admin",
    params(("room" = String, Path, description = "name or id")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn delete(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    Segments(room): Segments<String>,
) -> Result<StatusCode> {
    let room = http.directory.room(&RoomKey::parse(&room)?).await?;
    note(&http, &me, "room.delete", room.label(), room.id.to_string()).await?;
    http.directory.delete_room(&room).await?;
    Ok(StatusCode::NO_CONTENT)
}
