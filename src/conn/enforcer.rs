//! Acts on the control log: forgets what entries make wrong, cuts the connections they concern, then reports the
//! position, so that the revocation can be answered (G6).
//!
//! Nothing here waits for the store without end: a node that stopped reading for one room's sake would learn of no later
//! revocation. What is cached of a room is forgotten first; only what its task shows may be older for as long as the
//! store does not answer.
//!
//! Each reading that was acted on renews the node's delivery lease. A reading that missed something bars the lease until
//! everything has been checked again.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::Gate;
use super::recheck::recheck;
use crate::control_log::lease::DeliveryLease;
use crate::control_log::{ControlLog, Entry, Error, Position, RoomCut, StandingCut, UserCut};
use crate::limits;
use crate::model::{BootId, Moment, RoomId};
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::outbound::LeftReason;

/// How long to wait before something is asked again that could not be read.
pub(super) const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Reads the control log from a position until the task is dropped.
pub async fn enforce(
    gate: Arc<Gate>,
    log: Arc<dyn ControlLog>,
    lease: DeliveryLease,
    node: BootId,
    attached: Position,
) {
    let mut acted = attached;
    let mut away = false;
    let mut settling: Option<JoinHandle<()>> = None;
    loop {
        let begun = Moment::now();
        match log.read(node, acted).await {
            Ok(reading) => {
                let mut store_answers = true;
                for entry in &reading.entries {
                    act(&gate, entry, &mut store_answers).await;
                }
                acted = reading.position;
                lease.renewed(begun, acted, &reading.holders);
                let holders = reading.holders.iter().map(|(holder, _)| *holder).collect();
                gate.hub.leases(begun, holders, reading.time);
                if std::mem::take(&mut away) {
                    tracing::info!(%acted, "the control log is read again");
                }
                // Beside the loop, since it waits for readings of this node too.
                if gate.directory.owes() && settling.as_ref().is_none_or(JoinHandle::is_finished) {
                    let gate = Arc::clone(&gate);
                    settling = Some(tokio::spawn(async move { gate.directory.settle().await }));
                }
                // After entries the next reading comes at once: it says that they are done.
                if reading.entries.is_empty() {
                    log.changed(acted).await;
                }
            }
            Err(Error::Behind { resume_at }) => {
                tracing::error!(%acted, %resume_at, "control-log entries were missed: nothing is delivered until all is checked");
                lease.bar(resume_at);
                recheck(&gate).await;
                acted = resume_at;
            }
            Err(error) => {
                lease.failed();
                // Once for each time that it goes away: this is tried several times a second.
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(%error, "the control log can't be read");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn act(gate: &Arc<Gate>, entry: &Entry, store_answers: &mut bool) {
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
        } => {
            // Once it failed for one room, the others of this reading don't wait for it either.
            let looked = async { *store_answers && look(gate, *room).await };
            let looked = tokio::time::timeout(limits::ROOM_LOOK_PATIENCE, looked).await;
            if looked != Ok(true) {
                *store_answers = false;
                look_again(gate, *room);
            }
        }
    }
}

/// Looks at a room beside everything else, until the store has said what it is since the last call.
fn look_again(gate: &Arc<Gate>, room: RoomId) {
    let mut waiting = gate.look_again.lock();
    let changes = waiting.entry(room).or_default();
    *changes += 1;
    if *changes > 1 {
        return;
    }
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        let mut seen = 1;
        loop {
            room_changed(&gate, room).await;
            let mut waiting = gate.look_again.lock();
            match waiting.get(&room) {
                // It changed once more after this look may have begun.
                Some(changes) if *changes > seen => seen = *changes,
                _ => {
                    waiting.remove(&room);
                    return;
                }
            }
        }
    });
}

/// Shows an active room its present state, as the store has it. Until the store can be read the entry is not done.
pub(super) async fn room_changed(gate: &Gate, room: RoomId) {
    while !look(gate, room).await {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Shows an active room its present state; false if the store can't say it.
async fn look(gate: &Gate, room: RoomId) -> bool {
    match gate.store.room(room).await {
        Ok(Some(room)) => gate.hub.room_changed(Arc::new(room)).await,
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, %room, "a changed room can't be read");
            return false;
        }
    }
    true
}
