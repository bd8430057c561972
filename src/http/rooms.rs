//! Rooms: mine, public ones, one, a new one, and the direct conversation with somebody.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::extract::{JsonBody, Params, Segments};
use super::gate::LoggedIn;
use super::problem::{Problem, Result};
use super::views::RoomView;
use crate::limits;
use crate::model::{Action, Name, Role, RoomKind, Standing};
use crate::rooms::directory::{self, RoomKey, check_title};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(look, configure))
        .routes(routes!(direct))
}

/// My rooms, and public ones.
#[derive(Debug, Serialize, ToSchema)]
struct Rooms {
    /// Those that you are in, direct conversations included.
    rooms: Vec<RoomView>,
    /// Public ones that you are not in and not banned from, at most 100, by name.
    public: Vec<RoomView>,
}

/// Who can find and join a room.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    /// Anybody.
    Public,
    /// Only who is invited.
    Private,
}

impl From<Visibility> for RoomKind {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Public => Self::Public,
            Visibility::Private => Self::Private,
        }
    }
}

/// A room to be made.
#[derive(Debug, Deserialize, ToSchema)]
struct NewRoom {
    /// 1 to 32 of ASCII letters, digits, `_` and `-`; unique without regard to case.
    name: String,
    visibility: Option<Visibility>,
    /// At most 100 characters.
    title: Option<String>,
}

/// What to change of a room.
#[derive(Debug, Deserialize, ToSchema)]
struct RoomChange {
    /// At most 100 characters; empty for none.
    title: Option<String>,
    visibility: Option<Visibility>,
}

/// Your rooms, and public ones that you are not in
#[utoipa::path(operation_id = "list_rooms", get, path = "/api/rooms", tag = "rooms",
    params(("q" = Option<String>, Query, description = "narrows the public rooms to those whose name or title holds it")),
    responses((status = 200, body = Rooms), (status = 401, body = Problem), (status = 422, body = Problem)))]
async fn list(State(http): State<Arc<Http>>, me: LoggedIn, params: Params) -> Result<Json<Rooms>> {
    let (http, me) = (&*http, me.user.id);
    let mine = http.store.rooms_of(me).await?;
    let public = http
        .store
        .public_rooms(params.search()?, limits::SEARCH_RESULTS_MAX + mine.len())
        .await?;
    let mut others = Vec::new();
    for room in public {
        if others.len() == limits::SEARCH_RESULTS_MAX {
            break;
        }
        let known = mine.iter().any(|membership| membership.room.id == room.id);
        if !known && http.directory.standing(room.id, me).await? == Standing::Outsider {
            others.push(room);
        }
    }
    let rooms = stream::iter(mine)
        .map(|mine| async move { RoomView::of(http, me, &mine.room, Some(mine.role), mine.read).await })
        .buffered(limits::ROOM_LOOKUPS_AT_ONCE)
        .try_collect()
        .await?;
    let public = stream::iter(others)
        .map(|room| async move { RoomView::of(http, me, &room, None, None).await })
        .buffered(limits::ROOM_LOOKUPS_AT_ONCE)
        .try_collect()
        .await?;
    Ok(Json(Rooms { rooms, public }))
}

/// Makes a room that you own
#[utoipa::path(operation_id = "create_room", post, path = "/api/rooms", tag = "rooms", request_body = NewRoom,
    responses((status = 201, body = RoomView), (status = 401, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn create(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    JsonBody(new): JsonBody<NewRoom>,
) -> Result<(StatusCode, Json<RoomView>)> {
    let name = Name::parse(&new.name).map_err(directory::Error::from)?;
    let title = check_title(new.title.as_deref().unwrap_or_default())?;
    let kind = new.visibility.unwrap_or(Visibility::Public).into();
    let room = http.directory.create(me.user.id, name, title, kind).await?;
    let view = RoomView::of(&http, me.user.id, &room, Some(Role::Owner), None).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

/// One room
#[utoipa::path(operation_id = "get_room", get, path = "/api/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, description = "name or id")),
    responses((status = 200, body = RoomView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn look(State(http): State<Arc<Http>>, me: LoggedIn, Segments(room): Segments<String>) -> Result<Json<RoomView>> {
    let key = RoomKey::parse(&room)?;
    let (room, standing) = http.directory.permitted(Action::See, &key, me.user.id).await?;
    Ok(Json(RoomView::fresh(&http, me.user.id, &room, standing.role()).await?))
}

/// Changes a room, as its owner
#[utoipa::path(operation_id = "change_room", patch, path = "/api/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, description = "name or id")), request_body = RoomChange,
    responses((status = 200, body = RoomView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn configure(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(room): Segments<String>,
    JsonBody(change): JsonBody<RoomChange>,
) -> Result<Json<RoomView>> {
    let room = http.directory.room(&RoomKey::parse(&room)?).await?;
    let (title, kind) = (change.title.as_deref(), change.visibility.map(RoomKind::from));
    let room = http.directory.configure(me.user.id, &room, title, kind).await?;
    Ok(Json(
        RoomView::fresh(&http, me.user.id, &room, Some(Role::Owner)).await?,
    ))
}

/// The direct conversation with somebody, made if need be
#[utoipa::path(operation_id = "open_direct", put, path = "/api/direct/{user}", tag = "rooms",
    params(("user" = String, Path, description = "name or id")),
    responses((status = 200, body = RoomView), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn direct(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(user): Segments<String>,
) -> Result<Json<RoomView>> {
    let joined = http.directory.open_direct(&me.user, &user).await?;
    let view = RoomView::of(&http, me.user.id, &joined.room, Some(joined.role), joined.read).await?;
    Ok(Json(view))
}
