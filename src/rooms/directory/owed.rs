//! Changes that were stored but whose announcement failed: they are announced as soon as the control log is in reach.
//!
//! The request was answered 503, and whoever made it should repeat it; but a change that stays unknown to other nodes
//! would leave them with what they knew before, and some requests can't be repeated (a session that is gone has no user
//! any more).

use super::{Directory, Error, Result};
use crate::control_log::{self, Entry, StandingCut};
use crate::limits;
use crate::model::UserId;
use crate::sessions::SessionHandle;

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

    /// Notes that a session is being ended, for as long as the answer lives.
    pub(super) fn ending(&self, user: UserId, handle: &SessionHandle) -> Ending<'_> {
        self.ending.lock().push((handle.clone(), user));
        Ending(self, handle.clone(), user)
    }

    /// Whose session this was, if it is being ended here or was ended a short while ago anywhere.
    async fn ender(&self, handle: &SessionHandle) -> Result<Option<UserId>> {
        let here = self.ending.lock().iter().find(|(ended, _)| ended == handle).cloned();
        match here {
            Some((_, user)) => Ok(Some(user)),
            None => Ok(self.seams.sessions.ended(handle).await?),
        }
    }

    /// Finishes the end of a session that is gone from the store. Whoever ended it may not have announced it yet, or have
    /// died before: if it is known that it ended, it is announced (again). Else every node has acted on what the control
    /// log holds; if the store was lost together with the log, that is when each has looked at its connections again.
    /// Nothing is appended for what may never have been a session: strangers can ask.
    ///
    /// # Errors
    /// What the control log says; [`Error::RateLimited`] for too many of a user's; [`Error::Unavailable`] if too many ask.
    pub async fn settle_session(&self, handle: &SessionHandle) -> Result<()> {
        let ends = |entry: &&Entry| matches!(entry, Entry::Session { handle: ended, .. } if ended == handle);
        let owed = self.owed.lock().iter().find(ends).cloned();
        if let Some(entry) = owed {
            return self.revoke(entry).await;
        }
        if let Some(user) = self.ender(handle).await? {
            self.may_revoke(user).await?;
            let handle = handle.clone();
            return self.revoke(Entry::Session { handle, user }).await;
        }
        let Ok(_permit) = self.confirmations.try_acquire() else {
            return Err(Error::Unavailable(
                "too many log-outs of unknown sessions at once".into(),
            ));
        };
        control_log::confirm(&*self.seams.control_log).await?;
        Ok(())
    }
}

/// A session that is being ended.
#[must_use]
pub(super) struct Ending<'a>(&'a Directory, SessionHandle, UserId);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut ending = self.0.ending.lock();
        if let Some(at) = ending
            .iter()
            .position(|(handle, user)| *handle == self.1 && *user == self.2)
        {
            ending.swap_remove(at);
        }
    }
}
