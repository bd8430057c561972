//! Invites to register.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::note;
use crate::http::Http;
use crate::http::extract::{OptionalBody, Segments};
use crate::http::gate::Superuser;
use crate::http::problem::{Problem, Result};
use crate::limits;
use crate::model::{Name, Timestamp, UserId};
use crate::store::Invite;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(delete))
}

/// An invite.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invite)]
struct InviteView {
    /// What the newcomer has to give.
    code: String,
    /// Who made it.
    #[schema(value_type = String)]
    by: Name,
    #[schema(value_type = String, format = "uuid")]
    by_id: UserId,
    /// How many registrations it is still good for.
    uses_left: u32,
    #[schema(value_type = String, format = "date-time")]
    expires_at: Timestamp,
}

/// The invites that are good now.
#[derive(Debug, Serialize, ToSchema)]
struct Invites {
    invites: Vec<InviteView>,
}

/// An invite to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct NewInvite {
    /// Registrations that it is good for: 1 to 1,000 (1).
    uses: Option<u32>,
    /// Days that it lasts: 1 to 365 (7).
    days: Option<u32>,
}

async fn view(http: &Http, invite: Invite) -> Result<InviteView> {
    Ok(InviteView {
        by: http.directory.user_by_id(invite.by).await?.name.clone(),
        code: invite.code,
        by_id: invite.by,
        uses_left: invite.uses_left,
        expires_at: invite.expires_at,
    })
}

/// The invites that are good now
#[utoipa::path(operation_id = "admin_list_invites", get, path = "/api/admin/invites", tag = "admin",
    responses((status = 200, body = Invites), (status = 401, body = Problem), (status = 403, body = Problem)))]
async fn list(State(http): State<Arc<Http>>, _me: Superuser) -> Result<Json<Invites>> {
    let mut invites = Vec::new();
    for invite in http.store.invites(http.clock.now()).await? {
        invites.push(view(&http, invite).await?);
    }
    Ok(Json(Invites { invites }))
}

/// Makes an invite
#[utoipa::path(operation_id = "admin_create_invite", post, path = "/api/admin/invites", tag = "admin", request_body = Option<NewInvite>,
    responses((status = 201, body = InviteView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 422, body = Problem)))]
async fn create(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    OptionalBody(new): OptionalBody<NewInvite>,
) -> Result<(StatusCode, Json<InviteView>)> {
    let new = new.unwrap_or_default();
    let within = |field: &'static str, value: u32, most: u32| {
        let detail = || format!("{field}: expected a number from 1 to {most}, got {value}");
        if (1..=most).contains(&value) {
            Ok(value)
        } else {
            Err(Problem::invalid(field, detail()))
        }
    };
    let uses = within("uses", new.uses.unwrap_or(1), limits::INVITE_USES_MAX)?;
    let days = within("days", new.days.unwrap_or(7), limits::INVITE_DAYS_MAX)?;
    let secret: [u8; 16] = rand::random();
    let invite = Invite {
        code: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
        by: me.user.id,
        uses_left: uses,
        expires_at: http.clock.now().plus(DAY * days),
    };
    // The code is a secret: its beginning tells invites apart well enough.
    let detail = format!("{uses} uses, {days} days");
    note(&http, &me, "invite.create", format!("{}…", &invite.code[..6]), detail).await?;
    http.store.create_invite(invite.clone()).await?;
    Ok((StatusCode::CREATED, Json(view(&http, invite).await?)))
}

/// Withdraws an invite
#[utoipa::path(operation_id = "admin_delete_invite", delete, path = "/api/admin/invites/{code}", tag = "admin",
    params(("code" = String, Path, description = "the invite")),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
async fn delete(
    State(http): State<Arc<Http>>,
    Superuser(me): Superuser,
    Segments(code): Segments<String>,
) -> Result<StatusCode> {
    let shown: String = code.chars().take(6).collect();
    note(&http, &me, "invite.delete", format!("{shown}…"), String::new()).await?;
    if http.store.delete_invite(&code).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("invite"))
    }
}
