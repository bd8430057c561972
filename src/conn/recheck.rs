//! Checks everything again, for a node that has missed entries of the control log: each connection's session and
//! account, each reader's membership, each active room.
//!
//! Nothing is delivered meanwhile (the delivery lease is barred). What can't be checked is tried until it can: a node
//! that does not know whom it may serve serves nobody.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::Gate;
use super::enforcer::{PAUSE, room_changed};
use crate::fanout::Link;
use crate::limits;
use crate::model::{RoomId, Standing, UserId};
use crate::rooms::directory::Error as Refused;
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::outbound::LeftReason;

/// Forgets what is cached, then checks everything. What comes in meanwhile is checked when it comes in.
pub(super) async fn recheck(gate: &Arc<Gate>) {
    gate.directory.forget_all();
    let links = gate.registry.all();
    tracing::warn!(connections = links.len(), "checking every session and membership");
    let lost: Vec<Arc<Link>> = stream::iter(links)
        .map(|link| async move { session_is_lost(gate, &link).await.then_some(link) })
        .buffer_unordered(limits::RECHECKS_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    if !lost.is_empty() {
        tracing::warn!(
            connections = lost.len(),
            "sessions were lost; closing their connections over a minute"
        );
        close_over_time(lost);
    }
    let readers = gate.hub.readers().await;
    stream::iter(readers)
        .for_each_concurrent(limits::RECHECKS_AT_ONCE, |(room, users)| async move {
            room_changed(gate, room).await;
            for user in users {
                check_reader(gate, room, user).await;
            }
        })
        .await;
}

/// Whether the connection's session is gone. Then nothing is written to it from here on.
async fn session_is_lost(gate: &Gate, link: &Link) -> bool {
    let identity = link.identity();
    if persist("a session", || gate.sessions.live(&identity.session))
        .await
        .is_none()
    {
        link.silence();
        return true;
    }
    let user = persist("an account", || gate.store.user(identity.author.id)).await;
    if user.is_none_or(|user| user.disabled) {
        link.abort(&farewell(CloseCode::AccountDisabled, 0.0));
    }
    false
}

async fn check_reader(gate: &Gate, room: RoomId, user: UserId) {
    let standing = persist("a membership", || async {
        match gate.directory.standing(room, user).await {
            Err(Refused::NotFound(_)) => Ok(Standing::Outsider),
            standing => standing,
        }
    });
    match standing.await {
        Standing::Member(_) => {}
        Standing::Outsider => gate.hub.cut(room, user, LeftReason::Kicked).await,
        Standing::Banned => gate.hub.cut(room, user, LeftReason::Banned).await,
    }
}

/// Asks until there is an answer.
async fn persist<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(what: &str, ask: impl Fn() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "{what} can't be checked"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Closes connections that were silenced, each at a moment of its own, so that their users do not log in all at once.
fn close_over_time(links: Vec<Arc<Link>>) {
    tokio::spawn(async move {
        let count = u32::try_from(links.len()).unwrap_or(u32::MAX).max(1);
        let step = limits::SESSIONS_LOST_SPREAD.min(LOST_STEP * count) / count;
        for link in links {
            link.abort(&farewell(CloseCode::SessionsLost, 0.0));
            tokio::time::sleep(step).await;
        }
    });
}

/// Few connections need no minute: they are closed at this pace.
const LOST_STEP: Duration = Duration::from_millis(100);
