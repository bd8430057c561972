//! The end of a session that somebody asks for while it is no session any more: another request, another node or the store
//! itself has ended it, and who asks must not be answered before every node has acted on that.

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Directory, Error, Result};
use crate::control_log::poll::Poll;
use crate::control_log::{self, Entry};
use crate::limits;
use crate::model::UserId;
use crate::sessions::SessionHandle;
use crate::throttle::Kind;

/// What is under way here.
pub(super) struct Ends {
    /// Sessions that are being ended.
    under_way: Mutex<Vec<(SessionHandle, UserId)>>,
    /// Places for those who wait for all nodes on behalf of a session that no store knows.
    waiting: Semaphore,
    /// What they wait for.
    confirmed: Poll<Result<()>>,
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            waiting: Semaphore::new(limits::CONFIRMATIONS_WAITING_MAX),
            confirmed: Poll::default(),
        }
    }
}

/// A session that is being ended.
#[must_use]
pub(super) struct Ending<'a>(&'a Directory, (SessionHandle, UserId));

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut ending = self.0.ends.under_way.lock();
        if let Some(at) = ending.iter().position(|one| *one == self.1) {
            ending.swap_remove(at);
        }
    }
}

impl Directory {
    /// Notes that a session is being ended, for as long as the answer lives.
    pub(super) fn ending(&self, user: UserId, handle: &SessionHandle) -> Ending<'_> {
        let one = (handle.clone(), user);
        self.ends.under_way.lock().push(one.clone());
        Ending(self, one)
    }

    /// Announces the end of a session, and notes that everybody knows.
    pub(super) async fn announce_end(&self, user: UserId, handle: &SessionHandle) -> Result<()> {
        self.revoke(Entry::Session {
            handle: handle.clone(),
            user,
        })
        .await?;
        if let Err(error) = self.seams.sessions.settled(user, handle).await {
            tracing::debug!(%error, "an ended session is announced again if somebody asks");
        }
        Ok(())
    }

    /// Announces the end of a session that is owed, under way here, or was noted a while ago by whatever node; false if
    /// there is nothing to announce. A session's holder may ask for it as often as they like, so it is counted for the
    /// session.
    ///
    /// # Errors
    /// What the control log says; [`Error::RateLimited`].
    pub async fn settle_known(&self, handle: &SessionHandle) -> Result<bool> {
        let mut users: Vec<UserId> = self.seams.sessions.ended(handle).await?.into_iter().collect();
        // Somebody else may name a handle that is not theirs, so no entry stands for another one.
        users.extend(
            self.ends
                .under_way
                .lock()
                .iter()
                .filter(|one| one.0 == *handle)
                .map(|one| one.1),
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
        self.count(Kind::Revocation, "log-outs of one session", handle).await?;
        for user in users {
            self.announce_end(user, handle).await?;
        }
        Ok(true)
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
        let Ok(_place) = self.ends.waiting.try_acquire() else {
            let what = "too many log-outs of unknown sessions at once";
            return Err(Error::Unavailable(what.into()));
        };
        let confirm = async || Ok(control_log::confirm(&*self.seams.control_log).await.map(drop)?);
        self.ends.confirmed.next(confirm).await
    }
}
