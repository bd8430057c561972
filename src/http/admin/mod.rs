//! The admin area's API, for superusers only: others get 403, whoever is not logged in 401.
//!
//! Every act is written into the audit log before it is done: an act without its line would be worse than a line
//! without its act.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use super::Http;
use super::gate::LoggedIn;
use super::problem::Result;
use crate::store::NewAuditEntry;

mod audit;
mod invites;
mod messages;
mod rooms;
mod stats;
mod users;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new()
        .merge(stats::routes())
        .merge(users::routes())
        .merge(rooms::routes())
        .merge(messages::routes())
        .merge(audit::routes())
        .merge(invites::routes())
}

/// Writes a line of the audit log.
async fn note(http: &Http, actor: &LoggedIn, action: &str, target: String, detail: String) -> Result<()> {
    let entry = NewAuditEntry {
        actor: Some(actor.user.id),
        actor_name: actor.user.name.to_string(),
        action: action.to_owned(),
        target,
        detail,
    };
    http.store.append_audit(entry).await?;
    Ok(())
}
