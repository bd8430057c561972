//! The control-log seam: the ordered log of revocations that every node reads.
//!
//! A revocation is first made durable where it belongs (session store, room store), then appended here, then answered
//! once every node has reported a position at or past it. So nothing stored after the answer reaches a revoked
//! connection (G6).
//!
//! Clauses, each held by a test of the conformance suite under the same name:
//! - *ordered*: positions ascend in the order in which `append` returned.
//! - *every*: a reader that asks from a position gets every entry after it, in order, none twice.
//! - *behind*: a reader whose position is no longer kept is told `Behind`, never given a hole.
//! - *wakes*: `next` returns as soon as there is an entry, and waits while there is none.
//! - *reported*: `wait_reported` returns Ok only after every attached node has reported a position at or past it.
//! - *detached*: a node that detached is not waited for.

#[cfg(test)]
pub mod conformance;
pub mod local;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::limits;
use crate::model::{BootId, RoomId, UserId};
use crate::sessions::SessionHandle;

/// A place in the log; 0 is before the first entry.
pub type Position = u64;

/// Why all or most of a user's connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserCut {
    /// The account was disabled.
    Disabled,
    /// The password was changed.
    PasswordChanged,
    /// An administrator ended the sessions.
    SessionsEnded,
}

/// Why somebody's place in a room changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StandingCut {
    /// Their role changed; they stay.
    Role,
    /// They were thrown out.
    Kicked,
    /// They were banned.
    Banned,
    /// They left by themselves.
    Left,
    /// They became a member, or a ban was lifted: only cached knowledge is wrong.
    Admitted,
}

/// Why a room changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomCut {
    /// Title, visibility or archive state changed; members stay.
    Changed,
    /// It is gone.
    Deleted,
}

/// What every node must act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// One session ended.
    Session {
        /// Which.
        handle: SessionHandle,
        /// Whose.
        user: UserId,
    },
    /// A user's sessions ended.
    User {
        /// Whose.
        user: UserId,
        /// The one that stays, if any.
        except: Option<SessionHandle>,
        /// Why.
        why: UserCut,
    },
    /// Somebody's place in a room changed.
    Standing {
        /// The room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// How.
        why: StandingCut,
    },
    /// A room changed.
    Room {
        /// The room.
        room: RoomId,
        /// How.
        why: RoomCut,
    },
}

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log is out of reach: the revocation must be answered 503.
    #[error("the control log can't be reached: {0}")]
    Unavailable(String),
    /// Entries between the reader's position and the log's oldest are gone: check everything again, go on from here.
    #[error("entries were missed; the log goes on at position {resume_at}")]
    Behind {
        /// The newest position.
        resume_at: Position,
    },
    /// Not every node reported in time.
    #[error("not every node has confirmed in time")]
    Unconfirmed,
}

/// A control log's result.
pub type Result<T> = std::result::Result<T, Error>;

/// The log.
#[async_trait]
pub trait ControlLog: Send + Sync {
    /// Counts a node in: it is waited for from now on. Answers the newest position, from which it reads.
    async fn attach(&self, node: BootId) -> Result<Position>;

    /// Counts a node out.
    async fn detach(&self, node: BootId);

    /// Puts an entry at the end; answers its position.
    async fn append(&self, entry: Entry) -> Result<Position>;

    /// The entries after a position, with the position of the last; waits until there is one.
    async fn next(&self, after: Position) -> Result<(Vec<Arc<Entry>>, Position)>;

    /// A node tells that it has acted on everything up to this position.
    async fn report(&self, node: BootId, position: Position) -> Result<()>;

    /// Waits until every attached node has reported this position or a later one, for at most `patience`.
    async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()>;
}

/// Announces a revocation that is already durable, and waits until every node has acted on it or
/// [`limits::REVOCATION_WAIT`] has passed. Answers the entry's position.
///
/// A node that has not reported by then can no longer write to sockets by itself (its delivery lease has run out), so
/// the revocation holds all the same; that is logged, not an error.
///
/// # Errors
/// [`Error::Unavailable`] if the log can't be reached: answer 503, the caller repeats the revocation.
pub async fn revoke(log: &dyn ControlLog, entry: Entry) -> Result<Position> {
    let position = log.append(entry).await?;
    match log.wait_reported(position, limits::REVOCATION_WAIT).await {
        Ok(()) => {}
        Err(Error::Unconfirmed) => {
            tracing::warn!(position, "a revocation was answered before every node had confirmed it");
        }
        Err(error) => return Err(error),
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that keeps nothing and answers a wait with what it was given.
    struct Answers(Result<()>);

    #[async_trait]
    impl ControlLog for Answers {
        async fn attach(&self, _node: BootId) -> Result<Position> {
            Ok(0)
        }

        async fn detach(&self, _node: BootId) {}

        async fn append(&self, _entry: Entry) -> Result<Position> {
            Ok(7)
        }

        async fn next(&self, _after: Position) -> Result<(Vec<Arc<Entry>>, Position)> {
            std::future::pending().await
        }

        async fn report(&self, _node: BootId, _position: Position) -> Result<()> {
            Ok(())
        }

        async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()> {
            assert_eq!((position, patience), (7, limits::REVOCATION_WAIT));
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn an_unconfirmed_revocation_is_answered_an_unreachable_log_is_an_error() {
        let entry = conformance::some_entry(1);
        let gone = Error::Unavailable("gone".into());
        assert_eq!(revoke(&Answers(Ok(())), entry.clone()).await, Ok(7));
        assert_eq!(revoke(&Answers(Err(Error::Unconfirmed)), entry.clone()).await, Ok(7));
        assert_eq!(revoke(&Answers(Err(gone.clone())), entry).await, Err(gone));
    }
}
