//! Changes that were stored but whose announcement failed: they are announced as soon as the control log is in reach.
//!
//! The request was answered 503, and whoever made it should repeat it; but a change that stays unknown to other nodes
//! would leave them with what they knew before, and some requests can't be repeated (a session that is gone has no user
//! any more).

use std::time::Instant;

use tokio::sync::Semaphore;

use super::{Directory, Error, Result};
use crate::control_log::{self, Entry, StandingCut};
use crate::limits;
use crate::model::UserId;
use crate::sessions::SessionHandle;
use crate::throttle::{self, Kind};

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

    /// Announces the end of a session that is owed, under way here, or was noted a while ago by whatever node; false if there
    /// is nothing to announce. A session's holder may ask for it as often as they like, so it is counted for the session.
    ///
    /// # Errors
    /// What the control log says; [`Error::RateLimited`].
    pub async fn settle_known(&self, handle: &SessionHandle) -> Result<bool> {
        let mut users: Vec<UserId> = self.seams.sessions.ended(handle).await?.into_iter().collect();
        // Somebody else may name a handle that is not theirs, so no entry stands for another one.
        let ending = self.ending.lock().clone();
        users.extend(
            ending
                .into_iter()
                .filter(|(ended, _)| ended == handle)
                .map(|(_, user)| user),
        );
        users.extend(self.owed.lock().iter().filter_map(|entry| match entry {
            Entry::Session { handle: ended, user } if ended == handle => Some(*user),
            _ => None,
        }));
        users.sort_unstable();
        users.dedup();
        if users.is_empty() {
            return Ok(false);
        }
        let what = "log-outs of one session";
        if let throttle::Verdict::RetryAfter(wait) = self
            .seams
            .throttles
            .check(Kind::Revocation, &handle.to_string())
            .await?
        {
            return Err(Error::RateLimited { what, wait });
        }
        for user in users {
            self.announce_end(user, handle).await?;
        }
        Ok(true)
    }

    /// Announces the end of a session, and notes that everybody knows.
    pub(super) async fn announce_end(&self, user: UserId, handle: &SessionHandle) -> Result<()> {
        let handle = handle.clone();
        self.revoke(Entry::Session {
            handle: handle.clone(),
            user,
        })
        .await?;
        if let Err(error) = self.seams.sessions.settled(user, &handle).await {
            tracing::debug!(%error, "an ended session is announced again if somebody asks");
        }
        Ok(())
    }

    /// Finishes the end of a session that is gone from the store. Whoever ended it may not have announced it yet, or have
    /// died before: what is known of it is announced (again). Else every node has acted on what the control log holds; if
    /// the store was lost together with the log, that is when each has looked at its connections again. Nothing is appended
    /// for what may never have been a session: strangers can ask.
    ///
    /// # Errors
    /// As [`Directory::settle_known`]; [`Error::Unavailable`] also if too many ask.
    pub async fn settle_session(&self, handle: &SessionHandle) -> Result<()> {
        if self.settle_known(handle).await? {
            return Ok(());
        }
        let Ok(_place) = self.confirmations.places.try_acquire() else {
            return Err(Error::Unavailable(
                "too many log-outs of unknown sessions at once".into(),
            ));
        };
        let asked = Instant::now();
        let mut last = self.confirmations.last.lock().await;
        if let Some((begun, confirmed)) = &*last
            && *begun > asked
        {
            return confirmed.clone();
        }
        let begun = Instant::now();
        let confirmed = control_log::confirm(&*self.seams.control_log).await;
        let confirmed = confirmed.map(drop).map_err(Error::from);
        *last = Some((begun, confirmed.clone()));
        confirmed
    }
}

/// Waits for all nodes on behalf of sessions that no store knows: one for all who asked before it began.
pub(super) struct Confirmations {
    places: Semaphore,
    last: tokio::sync::Mutex<Option<(Instant, Result<()>)>>,
}

impl Default for Confirmations {
    fn default() -> Self {
        Self {
            places: Semaphore::new(limits::CONFIRMATIONS_WAITING_MAX),
            last: tokio::sync::Mutex::default(),
        }
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
