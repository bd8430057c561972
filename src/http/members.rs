//! Who is in a room, who is banned from it, and the changes to both.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::extract::{OptionalBody, Params, Segments};
use super::gate::LoggedIn;
use super::problem::{Problem, Result};
use super::views::RoleName;
use crate::limits;
use crate::model::{Action, Member, Name, Role, Room, RoomId, Timestamp, User, UserId};
use crate::rooms::directory::{RoomKey, UserKey};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(put, remove))
        .routes(routes!(bans))
        .routes(routes!(ban, unban))
}

/// A member of a room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberView {
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    #[schema(value_type = String)]
    username: Name,
    #[schema(value_type = RoleName)]
    role: Role,
    /// Whether they are in the room at this moment.
    present: bool,
    #[schema(value_type = String, format = "date-time")]
    joined_at: Timestamp,
}

/// A page of members, in the order of names.
#[derive(Debug, Serialize, ToSchema)]
struct MemberPage {
    members: Vec<MemberView>,
    /// Whether there are more after the last one.
    has_more: bool,
}

/// What to make of somebody.
#[derive(Debug, Deserialize, ToSchema)]
struct NewMember {
    /// `member`, `moderator` or `owner`; a new member is a `member` unless it says otherwise.
    #[schema(value_type = Option<RoleName>)]
    role: Option<Role>,
}

/// A ban.
#[derive(Debug, Serialize, ToSchema)]
struct BanView {
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    #[schema(value_type = String)]
    username: Name,
    #[schema(value_type = String, format = "date-time")]
    at: Timestamp,
    /// Who banned them.
    #[schema(value_type = String)]
    by: Name,
    #[schema(value_type = String, format = "uuid")]
    by_id: UserId,
}

/// The bans of a room, by name.
#[derive(Debug, Serialize, ToSchema)]
struct Bans {
    bans: Vec<BanView>,
}

async fn views(http: &Http, room: RoomId, members: Vec<Member>) -> Result<Vec<MemberView>> {
    let ids: Vec<UserId> = members.iter().map(|member| member.user).collect();
    let present = http.presence.present_of(room, &ids).await?;
    let view = |member: Member| MemberView {
        present: present.contains(&member.user),
        id: member.user,
        username: member.name,
        role: member.role,
        joined_at: member.joined_at,
    };
    Ok(members.into_iter().map(view).collect())
}

async fn room_and_user(http: &Http, (room, user): &(String, String)) -> Result<(Arc<Room>, Arc<User>)> {
    let (room, user) = (RoomKey::parse(room)?, UserKey::parse(user)?);
    Ok((http.directory.room(&room).await?, http.directory.user(&user).await?))
}

/// Who is in a room
#[utoipa::path(operation_id = "list_members", get, path = "/api/rooms/{room}/members", tag = "members",
    params(("room" = String, Path, description = "name or id"),
        ("after" = Option<String>, Query, description = "only names after this one"),
        ("q" = Option<String>, Query, description = "the beginning of a name"),
        ("limit" = Option<u32>, Query, description = "1 to 200 (50)")),
    responses((status = 200, body = MemberPage), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn list(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(room): Segments<String>,
    params: Params,
) -> Result<Json<MemberPage>> {
    let limit = params.limit(limits::PAGE_DEFAULT, limits::PAGE_MAX)?;
    let (after, prefix) = (params.name("after")?, params.search()?);
    let (room, _) = http
        .directory
        .permitted(Action::Read, &RoomKey::parse(&room)?, me.user.id)
        .await?;
    let mut members = http.store.members(room.id, prefix, after.as_ref(), limit + 1).await?;
    let has_more = members.len() > limit;
    members.truncate(limit);
    let members = views(&http, room.id, members).await?;
    Ok(Json(MemberPage { members, has_more }))
}

/// Invites somebody, or changes their role
///
/// Giving `owner` hands the room over: you become a moderator.
#[utoipa::path(operation_id = "put_member", put, path = "/api/rooms/{room}/members/{user}", tag = "members",
    params(("room" = String, Path, description = "name or id"), ("user" = String, Path, description = "name or id")),
    request_body = Option<NewMember>,
    responses((status = 200, body = MemberView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn put(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(who): Segments<(String, String)>,
    OptionalBody(new): OptionalBody<NewMember>,
) -> Result<Json<MemberView>> {
    let (room, user) = found(&http, &me, Action::See, &who).await?;
    http.directory
        .put_member(&me.user, &room, &user, new.and_then(|new| new.role))
        .await?;
    // Names that go on after this one sort behind it, so the first is the one.
    let members = http.store.members(room.id, user.name.as_str(), None, 1).await?;
    let members = members.into_iter().filter(|member| member.user == user.id).collect();
    let view = views(&http, room.id, members).await?.pop();
    view.map(Json).ok_or_else(|| Problem::not_found("member"))
}

/// Room and user; the room first, so that nobody learns of users through rooms that are not theirs.
async fn found(http: &Http, me: &LoggedIn, action: Action, who: &(String, String)) -> Result<(Arc<Room>, Arc<User>)> {
    http.directory
        .permitted(action, &RoomKey::parse(&who.0)?, me.user.id)
        .await?;
    room_and_user(http, who).await
}

/// Kicks somebody, or leaves
#[utoipa::path(operation_id = "remove_member", delete, path = "/api/rooms/{room}/members/{user}", tag = "members",
    params(("room" = String, Path, description = "name or id"), ("user" = String, Path, description = "name or id")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn remove(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(who): Segments<(String, String)>,
) -> Result<StatusCode> {
    let (room, user) = found(&http, &me, Action::See, &who).await?;
    if user.id == me.user.id {
        http.directory.may_revoke(me.user.id).await?;
        http.directory.leave(me.user.id, &room).await?;
    } else {
        http.directory.kick(&me.user, &room, &user).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Who is banned from a room
#[utoipa::path(operation_id = "list_bans", get, path = "/api/rooms/{room}/bans", tag = "members",
    params(("room" = String, Path, description = "name or id")),
    responses((status = 200, body = Bans), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn bans(State(http): State<Arc<Http>>, me: LoggedIn, Segments(room): Segments<String>) -> Result<Json<Bans>> {
    let room = http.directory.room(&RoomKey::parse(&room)?).await?;
    let mut bans = Vec::new();
    for ban in http.directory.bans(me.user.id, &room).await? {
        bans.push(BanView {
            id: ban.user,
            username: ban.name,
            at: ban.at,
            by: http.directory.user_by_id(ban.by).await?.name.clone(),
            by_id: ban.by,
        });
    }
    Ok(Json(Bans { bans }))
}

/// Bans somebody, member or not
#[utoipa::path(operation_id = "ban", put, path = "/api/rooms/{room}/bans/{user}", tag = "members",
    params(("room" = String, Path, description = "name or id"), ("user" = String, Path, description = "name or id")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn ban(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(who): Segments<(String, String)>,
) -> Result<StatusCode> {
    let (room, user) = found(&http, &me, Action::Ban, &who).await?;
    http.directory.ban(&me.user, &room, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lifts a ban
#[utoipa::path(operation_id = "unban", delete, path = "/api/rooms/{room}/bans/{user}", tag = "members",
    params(("room" = String, Path, description = "name or id"), ("user" = String, Path, description = "name or id")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn unban(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(who): Segments<(String, String)>,
) -> Result<StatusCode> {
    let (room, user) = found(&http, &me, Action::Ban, &who).await?;
    http.directory.unban(&me.user, &room, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
