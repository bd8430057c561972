//! Accounts: find, disable, make superuser, end sessions.

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
use crate::limits;
use crate::model::{Name, Timestamp, User, UserId};
use crate::rooms::directory::UserKey;
use crate::store::UserFilter;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(change))
        .routes(routes!(end_sessions))
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
struct Account {
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    #[schema(value_type = String)]
    username: Name,
    superuser: bool,
    /// Can't log in; its sessions have ended.
    disabled: bool,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    /// When it last had a WebSocket; null if never.
    #[schema(value_type = Option<String>, format = "date-time", required)]
    last_seen: Option<Timestamp>,
    /// Whether it has one now.
    online: bool,
}

impl Account {
    fn new(user: User, online: &[UserId]) -> Self {
        Self {
            online: online.contains(&user.id),
            id: user.id,
            username: user.name,
            superuser: user.superuser,
            disabled: user.disabled,
            created_at: user.created_at,
            last_seen: user.last_seen,
        }
    }
}

/// A page of accounts, in the order of names.
#[derive(Debug, Serialize, ToSchema)]
struct Accounts {
    users: Vec<Account>,
    /// Whether there are more after the last one.
    has_more: bool,
}

/// What to change of an account.
#[derive(Debug, Deserialize, ToSchema)]
struct AccountChange {
    /// Disabling ends all its sessions and sockets.
    disabled: Option<bool>,
    superuser: Option<bool>,
}

fn filter(params: &Params) -> Result<UserFilter> {
    match params.get("filter").unwrap_or("all") {
        "all" => Ok(UserFilter::All),
        "superusers" => Ok(UserFilter::Superusers),
        "disabled" => Ok(UserFilter::Disabled),
        _ => {
            let detail = "filter: expected \"all\", \"superusers\" or \"disabled\"";
            Err(Problem::invalid("filter", detail))
        }
    }
}

/// Accounts whose name begins with `q`
#[utoipa::path(operation_id = "admin_list_users", get, path = "/api/admin/users", tag = "admin",
    params(("q" = Option<String>, Query, description = "the beginning of a name"),
        ("filter" = Option<String>, Query, description = "all, superusers or disabled"),
        ("after" = Option<String>, Query, description = "only names after this one"),
        ("limit" = Option<u32>, Query, description = "1 to 200 (50)")),
    responses((status = 200, body = Accounts), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
async fn list(State(http): State<Arc<Http>>, _me: Superuser, params: Params) -> Result<Json<Accounts>> {
    let limit = params.limit(limits::PAGE_DEFAULT, limits::PAGE_MAX)?;
    let (filter, after) = (filter(&params)?, params.name("after")?);
    let mut users = http
        .store
        .find_users(params.search()?, filter, after.as_ref(), limit + 1)
        .await?;
    let has_more = users.len() > limit;
    users.truncate(limit);
    let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
    let online = http.presence.online(&ids).await?;
    let users = users.into_iter().map(|user| Account::new(user, &online)).collect();
    Ok(Json(Accounts { users, has_more }))
}

/// Disables or enables an account, makes or unmakes a superuser
#[utoipa::path(operation_id = "admin_change_user", patch, path = "/api/admin/users/{user}", tag = "admin",
    params(("user" = String, Path, description = "name or id")), request_body = AccountChange,
    responses((status = 200, body = Account), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn change(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    Segments(user): Segments<String>,
    JsonBody(change): JsonBody<AccountChange>,
) -> Result<Json<Account>> {
    let user = http.directory.user(&UserKey::parse(&user)?).await?;
    let against_oneself = change.disabled == Some(true) || change.superuser == Some(false);
    if user.id == me.user.id && against_oneself {
        return Err(Problem::new(
            "forbidden",
            "nobody shuts themselves out: ask another superuser",
        ));
    }
    let target = user.name.to_string();
    match change.superuser {
        Some(true) => {
            note(&http, &me, "user.promote", target.clone(), String::new()).await?;
            http.directory.set_superuser(user.id, true).await?;
        }
        Some(false) => {
            note(&http, &me, "user.demote", target.clone(), String::new()).await?;
            http.directory.set_superuser(user.id, false).await?;
        }
        None => {}
    }
    match change.disabled {
        Some(true) => {
            note(&http, &me, "user.disable", target, String::new()).await?;
            http.directory.disable(user.id).await?;
        }
        Some(false) => {
            note(&http, &me, "user.enable", target, String::new()).await?;
            http.directory.enable(user.id).await?;
        }
        None => {}
    }
    let online = http.presence.online(&[user.id]).await?;
    let changed = http.store.user(user.id).await?;
    let changed = changed.ok_or_else(|| Problem::not_found("user"))?;
    Ok(Json(Account::new(changed, &online)))
}

/// Ends all sessions of an account, and closes their sockets
#[utoipa::path(operation_id = "admin_end_sessions", delete, path = "/api/admin/users/{user}/sessions", tag = "admin",
    params(("user" = String, Path, description = "name or id")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn end_sessions(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    Segments(user): Segments<String>,
) -> Result<StatusCode> {
    let user = http.directory.user(&UserKey::parse(&user)?).await?;
    note(&http, &me, "user.end_sessions", user.name.to_string(), String::new()).await?;
    http.directory.end_sessions(user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
