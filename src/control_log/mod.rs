//! The control-log seam: the ordered log of revocations that every node reads.
//!
//! A revocation is first made durable where it belongs (session store, room store), then appended here, then answered
//! once every node has reported a position at or past it. So nothing stored after the answer reaches a revoked
//! connection (G6).
//!
//! What a node does all day is a *reading*: one call that renews its lease, tells which position it has acted on, and
//! returns every entry after that. A node that has no lease any more is not waited for, and by then its delivery lease
//! ([`lease`]) has run out too, so it writes to nobody.
//!
//! A log has an *incarnation*: where what it held may have been lost (emptied, failed over), it is another log, and
//! positions of the two can't be compared.
//!
//! Clauses, each held by a test of the conformance suite under the same name:
//! - *ordered*: positions ascend in the order in which `append` returned.
//! - *every*: a node that reads from a position gets every entry after it, in order, none twice.
//! - *behind*: a node whose position is no longer kept is told `Behind`, never given a hole.
//! - *emptied*: so is one whose position is of another incarnation.
//! - *end*: `end` answers a position that everything lies at or before that was appended until then, in the incarnation
//!   of that moment.
//! - *wakes*: `changed` returns as soon as there is an entry, and waits while there is none, for at most
//!   [`limits::LEASE_RENEWAL`].
//! - *reported*: `wait_reported` returns Ok only after every attached node has read from the position or a later one of
//!   the same incarnation, or checked everything in a later one.
//! - *detached*: a node that detached is not waited for.
//! - *holders*: a reading names every attached node, with the position that it read from last.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod lease;
pub mod local;
pub(crate) mod poll;
pub mod redis;

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::model::{BootId, RoomId, Timestamp, UserId};
use crate::sessions::SessionHandle;

/// A place in the log: everything up to it, in this incarnation. Positions of different incarnations have no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which log this is a place in; another one after the log was emptied or failed over.
    pub incarnation: u64,
    /// Ascends with the entries; 0 is before the first.
    pub offset: u64,
}

impl Position {
    /// Whether everything up to `other` lies at or before this.
    #[must_use]
    pub const fn reaches(self, other: Self) -> bool {
        self.incarnation == other.incarnation && self.offset >= other.offset
    }

    /// The 16 bytes that travel in status frames: incarnation, then offset, most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.incarnation) << 64) | u128::from(self.offset)).to_be_bytes()
    }

    /// The position of these bytes; each 16 bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        let low = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
        Self {
            incarnation: low(number >> 64),
            offset: low(number),
        }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.incarnation == other.incarnation).then(|| self.offset.cmp(&other.offset))
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}/{}", self.incarnation, self.offset)
    }
}

/// What one reading brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What came after the position that was read from, oldest first.
    pub entries: Vec<Arc<Entry>>,
    /// The end of the log: once the entries are acted on, this is what the node has acted on.
    pub position: Position,
    /// Every node with a lease, the reader included, and the position that each read from last.
    pub holders: Vec<(BootId, Position)>,
    /// What the clock of the log's server showed, where it has one of its own. It decides between nodes whose clocks have
    /// no majority, and nothing else.
    pub time: Option<Timestamp>,
}

/// Why all or most of a user's connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserCut {
    /// The account was disabled.
    Disabled,
    /// The password was changed.
    PasswordChanged,
    /// An administrator ended the sessions.
    SessionsEnded,
}

/// Why somebody's place in a room changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomCut {
    /// Title, visibility or archive state changed; members stay.
    Changed,
    /// It is gone.
    Deleted,
}

/// What every node must act on. Its JSON form is what nodes of other versions read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Entries after the reader's position are gone, or the log is another one: check everything again, go on from here.
    #[error("entries were missed; the log goes on at position {resume_at}")]
    Behind {
        /// The newest position.
        resume_at: Position,
    },
    /// Not every node reported in time. The log is in reach, and the node that asks has itself acted on the position:
    /// else it would be `Unavailable`.
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

    /// The newest position. It is looked up after the call has begun.
    async fn end(&self) -> Result<Position>;

    /// One reading: renews the node's lease, notes that it has acted on everything up to `acted`, and answers what came
    /// after that, without waiting for more.
    async fn read(&self, node: BootId, acted: Position) -> Result<Reading>;

    /// Waits until there may be something after a position, for at most [`limits::LEASE_RENEWAL`]. It proves nothing:
    /// only a reading does.
    async fn changed(&self, after: Position);

    /// Waits until every attached node has acted on this position, for at most `patience`.
    async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()>;

    /// A revocation has waited so long for its entry to be confirmed, or in vain: for who counts.
    fn waited(&self, _time: Duration) {}
}

/// Announces a revocation that is already durable, and waits until every node has acted on it or
/// [`limits::REVOCATION_WAIT`] has passed. Answers the entry's position.
///
/// A node that has not reported by then can no longer write to sockets by itself (its delivery lease has run out), so
/// the revocation holds all the same; that is logged, not an error.
///
/// # Errors
/// [`Error::Unavailable`] if the log can't be reached, before or while it waits: answer 503, the caller repeats the
/// revocation. The lease of a node that has not read the entry may hold as long as nobody reaches the log.
pub async fn revoke(log: &dyn ControlLog, entry: Entry) -> Result<Position> {
    let begun = Instant::now();
    let position = log.append(entry).await?;
    let confirmed = confirmed(log, position).await;
    log.waited(begun.elapsed());
    if !confirmed? {
        tracing::warn!(%position, "a revocation was answered before every node had confirmed it");
    }
    Ok(position)
}

/// Waits until every node has acted on what the log holds now, as [`revoke`] waits for its entry; nothing is appended.
/// Answers the newest position.
///
/// It is for what no store knows (any more): where the log was lost with it, every node has checked its connections by
/// then.
///
/// # Errors
/// As [`revoke`].
pub async fn confirm(log: &dyn ControlLog) -> Result<Position> {
    let position = log.end().await?;
    if !confirmed(log, position).await? {
        tracing::debug!(%position, "not every node has confirmed it");
    }
    Ok(position)
}

/// Whether every node has acted on a position in time.
async fn confirmed(log: &dyn ControlLog, position: Position) -> Result<bool> {
    match log.wait_reported(position, limits::REVOCATION_WAIT).await {
        Ok(()) => Ok(true),
        Err(Error::Unconfirmed) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEWHERE: Position = Position {
        incarnation: 3,
        offset: 7,
    };

    /// A log that keeps nothing and answers a wait with what it was given.
    struct Answers(Result<()>);

    #[async_trait]
    impl ControlLog for Answers {
        async fn attach(&self, _node: BootId) -> Result<Position> {
            Ok(SOMEWHERE)
        }

        async fn detach(&self, _node: BootId) {}

        async fn append(&self, _entry: Entry) -> Result<Position> {
            Ok(SOMEWHERE)
        }

        async fn end(&self) -> Result<Position> {
            Ok(SOMEWHERE)
        }

        async fn read(&self, _node: BootId, _acted: Position) -> Result<Reading> {
            std::future::pending().await
        }

        async fn changed(&self, _after: Position) {}

        async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()> {
            assert_eq!((position, patience), (SOMEWHERE, limits::REVOCATION_WAIT));
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn an_unconfirmed_revocation_is_answered_an_unreachable_log_is_an_error() {
        let entry = conformance::some_entry(1);
        let gone = Error::Unavailable("gone".into());
        assert_eq!(revoke(&Answers(Ok(())), entry.clone()).await, Ok(SOMEWHERE));
        let answer = revoke(&Answers(Err(Error::Unconfirmed)), entry.clone()).await;
        assert_eq!(answer, Ok(SOMEWHERE));
        assert_eq!(revoke(&Answers(Err(gone.clone())), entry).await, Err(gone.clone()));
        assert_eq!(confirm(&Answers(Ok(()))).await, Ok(SOMEWHERE));
        assert_eq!(confirm(&Answers(Err(gone.clone()))).await, Err(gone));
    }

    #[test]
    fn positions_of_two_incarnations_have_no_order() {
        let at = |incarnation, offset| Position { incarnation, offset };
        assert!(at(1, 5).reaches(at(1, 5)) && at(1, 6).reaches(at(1, 5)) && !at(1, 4).reaches(at(1, 5)));
        assert!(!at(2, 9).reaches(at(1, 5)) && !at(1, 9).reaches(at(2, 5)));
        assert_eq!(at(1, 9).partial_cmp(&at(2, 5)), None);
        assert!(at(1, 4) < at(1, 5));
        let far = at(u64::MAX - 1, 5);
        assert_eq!(Position::from_bytes(far.to_bytes()), far);
    }
}
