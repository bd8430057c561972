//! The session seam: tower-sessions' own `SessionStore`, plus [`UserSessions`], which knows whose a session is.
//!
//! A session's id is the cookie's value and therefore a secret: outside the cookie and the store a session is named by
//! its [`SessionHandle`], which does not lead back to it. Stores keep only a hash of the id.
//!
//! Clauses, each held by a test of the conformance suite under the same name:
//! - *fresh*: `create` never overwrites a session; on a collision it takes another id.
//! - *save-existing*: `save` of a session that was deleted does not bring it back.
//! - *expiry*: a session past its expiry is not loaded, listed or live.
//! - *ended*: after `end` or `end_all` returned, neither `load` nor `live` finds it.
//! - *listed*: every session with a user is listed under that user only, by handle.
//! - *bounded*: a list has a bound, `end_all` has none.
//! - *no-secret*: nothing listed contains the cookie's value.

#[cfg(test)]
pub mod conformance;
pub mod password;
pub mod redis;
pub mod sqlite;
mod stored;

use std::fmt;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::model::{Timestamp, UserId};

/// The key in a session's data under which the user's id stands, as text.
pub const USER_KEY: &str = "user";
/// The key under which the browser's own description stands.
pub const AGENT_KEY: &str = "agent";
/// The key under which the address stands from which the session was opened.
pub const ADDRESS_KEY: &str = "address";

/// Names a session without giving it away: half of a hash over its id, in text 32 hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionHandle([u8; 16]);

impl SessionHandle {
    /// The handle of a session id.
    #[must_use]
    pub fn of(id: tower_sessions::session::Id) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"natter session handle");
        hash.update(id.0.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let (half, _) = digest.split_at(16);
        Self(half.try_into().unwrap_or_default())
    }

    /// Reads a handle that a client gave: 32 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SessionHandle {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionHandle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a session's handle has 32 hex digits"))
    }
}

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Names it.
    pub handle: SessionHandle,
    /// Whose it is.
    pub user: UserId,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last saved or touched.
    pub last_seen_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// What the browser called itself; may be empty.
    pub agent: String,
    /// From where it was opened; may be empty.
    pub address: String,
}

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The session store is out of reach.
    #[error("the session store can't be reached: {0}")]
    Unavailable(String),
    /// What it holds can't be read.
    #[error("a stored session can't be read: {0}")]
    Damaged(String),
}

/// A session store's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A session to be made in bulk, without a log-in (for `natter seed`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The id: the cookie's value.
    pub id: tower_sessions::session::Id,
    /// Whose it is.
    pub user: UserId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Knows whose sessions are whose.
#[async_trait]
pub trait UserSessions: Send + Sync {
    /// The live sessions of a user, newest first; of more than [`crate::limits::SESSIONS_LISTED_MAX`] those that end last.
    async fn list(&self, user: UserId) -> Result<Vec<SessionInfo>>;

    /// One live session.
    async fn live(&self, handle: &SessionHandle) -> Result<Option<SessionInfo>>;

    /// When each of these sessions ends by itself; `None` for those that are not live. For a few dozen at a time: every
    /// open connection's session is asked for once a minute, which costs too much one by one.
    async fn expiries(&self, handles: &[SessionHandle]) -> Result<Vec<Option<Timestamp>>> {
        let found = try_join_all(handles.iter().map(|handle| self.live(handle))).await?;
        Ok(found.into_iter().map(|one| one.map(|one| one.expires_at)).collect())
    }

    /// Ends one session of a user; answers whether it existed. Another user's handle is not found.
    async fn end(&self, user: UserId, handle: &SessionHandle) -> Result<bool>;

    /// Whose a session was that was ended within [`crate::limits::ENDED_SESSION_KEPT`], where this store is told of ends by
    /// several nodes: whoever ended it may not have announced it yet.
    async fn ended(&self, _handle: &SessionHandle) -> Result<Option<UserId>> {
        Ok(None)
    }

    /// Every node has acted on the end of a user's session: [`UserSessions::ended`] need not know it any more.
    async fn settled(&self, _user: UserId, _handle: &SessionHandle) -> Result<()> {
        Ok(())
    }

    /// Ends all sessions of a user but one; answers how many.
    async fn end_all(&self, user: UserId, except: Option<&SessionHandle>) -> Result<u64>;

    /// Makes many sessions at once.
    async fn create_many(&self, sessions: Vec<NewSession>) -> Result<()>;

    /// Removes what has expired; answers how many.
    async fn sweep(&self) -> Result<u64>;

    /// Whether it answers.
    async fn ping(&self) -> Result<()>;
}
