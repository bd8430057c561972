//! Other people: finding them, and what one may know of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::extract::{Params, Segments};
use super::gate::LoggedIn;
use super::problem::{Problem, Result};
use super::views::UserRef;
use crate::limits;
use crate::model::{Name, Timestamp, UserId};
use crate::rooms::directory::UserKey;
use crate::store::UserFilter;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new().routes(routes!(find)).routes(routes!(profile))
}

/// People found.
#[derive(Debug, Serialize, ToSchema)]
struct Users {
    users: Vec<UserRef>,
}

/// Somebody, as others see them.
#[derive(Debug, Serialize, ToSchema)]
struct Profile {
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    #[schema(value_type = String)]
    username: Name,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    /// Whether they have a connection; only for people who share a room with you.
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    /// When they last had one; only for people who share a room with you, and absent if never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time", nullable = false)]
    last_seen: Option<Timestamp>,
}

/// People whose name begins with `q`
#[utoipa::path(operation_id = "find_users", get, path = "/api/users", tag = "people",
    params(("q" = Option<String>, Query, description = "the beginning of a name"),
        ("limit" = Option<u32>, Query, description = "1 to 100 (20)")),
    responses((status = 200, body = Users), (status = 401, body = Problem), (status = 422, body = Problem)))]
async fn find(State(http): State<Arc<Http>>, _me: LoggedIn, params: Params) -> Result<Json<Users>> {
    let limit = params.limit(20, limits::SEARCH_RESULTS_MAX)?;
    let found = http
        .store
        .find_users(params.search()?, UserFilter::All, None, limit)
        .await?;
    let users = found.iter().filter(|user| !user.disabled).map(UserRef::from).collect();
    Ok(Json(Users { users }))
}

/// One person
#[utoipa::path(operation_id = "get_user", get, path = "/api/users/{user}", tag = "people",
    params(("user" = String, Path, description = "name or id")),
    responses((status = 200, body = Profile), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
async fn profile(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(user): Segments<String>,
) -> Result<Json<Profile>> {
    let user = http.directory.user(&UserKey::parse(&user)?).await?;
    let whereabouts = http.directory.whereabouts(me.user.id, &user).await?;
    Ok(Json(Profile {
        id: user.id,
        username: user.name.clone(),
        created_at: user.created_at,
        online: whereabouts.map(|found| found.online),
        last_seen: whereabouts.and_then(|found| found.last_seen),
    }))
}
