//! Acts on the control log: forgets what entries make wrong, cuts the connections they concern, then reports the
//! position, so that the revocation can be answered (G6).

use std::sync::Arc;

use super::Gate;
use crate::control_log::{ControlLog, Entry, Error, Position, RoomCut, StandingCut, UserCut};
use crate::model::{BootId, RoomId};
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::outbound::LeftReason;

/// How long to wait before the log is asked again after it could not be read.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Reads the control log from a position until the task is dropped.
pub async fn enforce(gate: Arc<Gate>, log: Arc<dyn ControlLog>, node: BootId, attached: Position) {
    let mut position = attached;
    loop {
        match log.next(position).await {
            Ok((entries, last)) => {
                for entry in entries {
                    act(&gate, &entry).await;
                }
                position = last;
            }
            Err(Error::Behind { resume_at }) => {
                tracing::error!(
                    position,
                    resume_at,
                    "control-log entries were missed: ending every connection"
                );
                gate.directory.forget_all();
                cut_everybody(&gate);
                position = resume_at;
            }
            Err(error) => {
                tracing::warn!(%error, "the control log can't be read");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        if let Err(error) = log.report(node, position).await {
            tracing::warn!(%error, "the control log did not take a report");
        }
    }
}

async fn act(gate: &Gate, entry: &Entry) {
    gate.directory.apply(entry);
    match entry {
        Entry::Session { handle, user } => {
            for link in gate
                .registry
                .of_user(*user)
                .iter()
                .filter(|link| link.identity().session == *handle)
            {
                link.abort(&farewell(CloseCode::LoggedOut, 0.0));
            }
        }
        Entry::User { user, except, why } => {
            let code = match why {
                UserCut::Disabled => CloseCode::AccountDisabled,
                UserCut::PasswordChanged => CloseCode::PasswordChanged,
                UserCut::SessionsEnded => CloseCode::LoggedOut,
            };
            let stays = |session| except.as_ref() == Some(session);
            for link in gate
                .registry
                .of_user(*user)
                .iter()
                .filter(|link| !stays(&link.identity().session))
            {
                link.abort(&farewell(code, 0.0));
            }
        }
        Entry::Standing { room, user, why } => {
            let reason = match why {
                StandingCut::Kicked => LeftReason::Kicked,
                StandingCut::Banned => LeftReason::Banned,
                StandingCut::Left => LeftReason::Left,
                StandingCut::Role | StandingCut::Admitted => return,
            };
            gate.hub.cut(*room, *user, reason).await;
        }
        Entry::Room {
            room,
            why: RoomCut::Changed | RoomCut::Deleted,
        } => room_changed(gate, *room).await,
    }
}

/// Shows an active room its present state, as the store has it. Until the store can be read the entry is not done.
async fn room_changed(gate: &Gate, room: RoomId) {
    loop {
        match gate.store.room(room).await {
            Ok(Some(room)) => return gate.hub.room_changed(Arc::new(room)).await,
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, %room, "a changed room can't be read"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends every connection: what was missed may concern any of them, and each is checked anew when it comes back.
fn cut_everybody(gate: &Gate) {
    for link in gate.registry.all() {
        link.abort(&farewell(CloseCode::GoingAway, 0.0));
    }
}
