//! Changes that were stored but whose announcement failed: they are announced as soon as the control log is in reach.
//!
//! The request was answered 503, and whoever made it should repeat it; but a change that stays unknown to other nodes
//! would leave them with what they knew before, and some requests can't be repeated (a session that is gone has no user
//! any more).

use super::Directory;
use crate::control_log::{Entry, StandingCut};
use crate::limits;

/// Whether it tells of somebody who may come in.
const fn admits(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Standing {
            why: StandingCut::Admitted,
            ..
        }
    )
}

impl Directory {
    /// Notes what became of an announcement.
    pub(super) fn note(&self, entry: &Entry, announced: bool) {
        let mut owed = self.owed.lock();
        if announced {
            owed.retain(|other| other != entry);
            return;
        }
        if owed.contains(entry) {
            return;
        }
        if owed.len() >= limits::OWED_ANNOUNCEMENTS_MAX {
            tracing::error!("too many changes wait for the control log; the oldest is left to whoever repeats it");
            // What lets somebody in takes nothing away from anybody, so it gives way to what shuts out.
            match owed.iter().position(admits) {
                Some(admission) => drop(owed.remove(admission)),
                None if admits(entry) => return,
                None => drop(owed.pop_front()),
            }
        }
        owed.push_back(entry.clone());
    }

    /// Whether a stored change waits to be announced.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.owed.lock().is_empty()
    }

    /// Announces what waits, until it is done or fails again.
    pub async fn settle(&self) {
        let mut left = self.owed.lock().len();
        while left > 0 {
            let Some(entry) = self.owed.lock().front().cloned() else {
                return;
            };
            if let Err(error) = self.revoke(entry).await {
                tracing::debug!(%error, "a change can't be announced yet");
                return;
            }
            left -= 1;
        }
    }
}
