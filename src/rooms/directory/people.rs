//! The rules of accounts and log-ins: whose sessions end when, and what others may know of somebody.

use super::{Directory, Error, Result};
use crate::control_log::{Entry, UserCut};
use crate::model::{Timestamp, User, UserId};
use crate::sessions::SessionHandle;

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whereabouts {
    /// They have a connection now.
    pub online: bool,
    /// When they last had one.
    pub last_seen: Option<Timestamp>,
}

impl Directory {
    /// Ends one session of a user, and its sockets.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a handle that is not one of theirs; [`Error::RateLimited`] for too many of those.
    pub async fn end_session(&self, user: UserId, handle: &SessionHandle) -> Result<()> {
        // Who asks for the same meanwhile finds no session any more, and must not be answered before us.
        let _ending = self.ending(user, handle);
        let known = self.seams.sessions.end(user, handle).await?;
        if !known {
            // Handles cost nothing to invent, sessions do; so only these are counted.
            self.may_revoke(user).await?;
        }
        // Announced also when it was gone: an earlier attempt may have ended it and not got further. Others' handles
        // do no harm, since a session is cut only where both handle and user fit.
        self.announce_end(user, handle).await?;
        if known { Ok(()) } else { Err(Error::NotFound("session")) }
    }

    /// Ends all sessions of a user, and their sockets.
    ///
    /// # Errors
    /// What the session store and the control log say.
    pub async fn end_sessions(&self, user: UserId) -> Result<u64> {
        self.cut_user(user, None, UserCut::SessionsEnded).await
    }

    async fn cut_user(&self, user: UserId, except: Option<&SessionHandle>, why: UserCut) -> Result<u64> {
        let ended = self.seams.sessions.end_all(user, except).await?;
        let except = except.cloned();
        self.revoke(Entry::User { user, except, why }).await?;
        Ok(ended)
    }

    /// Replaces the password's hash; all sessions but one end.
    ///
    /// # Errors
    /// What the stores and the control log say.
    pub async fn change_password(&self, user: UserId, hash: String, except: Option<&SessionHandle>) -> Result<()> {
        self.seams.store.set_password_hash(user, hash).await?;
        self.cut_user(user, except, UserCut::PasswordChanged).await?;
        Ok(())
    }

    /// Disables an account: nobody can log in to it, its sessions and sockets end.
    ///
    /// # Errors
    /// What the stores and the control log say.
    pub async fn disable(&self, user: UserId) -> Result<()> {
        self.seams.store.set_disabled(user, true).await?;
        self.cut_user(user, None, UserCut::Disabled).await?;
        Ok(())
    }

    /// Lets somebody log in again.
    ///
    /// # Errors
    /// What the store says.
    pub async fn enable(&self, user: UserId) -> Result<()> {
        self.seams.store.set_disabled(user, false).await?;
        self.users.forget(&user);
        Ok(())
    }

    /// Makes or unmakes a superuser.
    ///
    /// # Errors
    /// What the store says.
    pub async fn set_superuser(&self, user: UserId, superuser: bool) -> Result<()> {
        self.seams.store.set_superuser(user, superuser).await?;
        self.users.forget(&user);
        Ok(())
    }

    /// Whether somebody is there, for oneself and for people who share a room with them; `None` for others.
    ///
    /// # Errors
    /// What store and presence say.
    pub async fn whereabouts(&self, asker: UserId, user: &User) -> Result<Option<Whereabouts>> {
        if asker != user.id && !self.seams.store.share_a_room(asker, user.id).await? {
            return Ok(None);
        }
        self.look_up(user.id).await.map(Some)
    }

    /// Whether somebody is there. The caller has checked that the asker may know.
    ///
    /// # Errors
    /// What store and presence say.
    pub async fn look_up(&self, user: UserId) -> Result<Whereabouts> {
        let online = !self.seams.presence.online(&[user]).await?.is_empty();
        // Read fresh: the cached user does not follow this field.
        let stored = self.seams.store.user(user).await?;
        Ok(Whereabouts {
            online,
            last_seen: stored.and_then(|stored| stored.last_seen),
        })
    }
}
