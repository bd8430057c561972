//! The presence seam: who is connected, and who is in which room, counted over all nodes.
//!
//! Clauses, each held by a test of the conformance suite under the same name:
//! - *counted*: somebody with two connections stays until both are gone; entering twice with one counts once.
//! - *first-last*: `enter` and `connect` say whether this was the first, `leave` and `disconnect` whether it was the
//!   last, so that the change is announced once.
//! - *listed*: `present` counts people, not connections, and lists at most what was asked, in the order of names.
//! - *lease*: what a node entered vanishes when the node goes.
//!
//! A change that was answered [`Error::Unavailable`] is noted all the same, and the others learn of it once presence is
//! in reach again: whoever entered leaves as usual. Questions that were answered so are not answered with old knowledge.

#[cfg(test)]
pub mod conformance;
pub mod local;
pub mod redis;

use async_trait::async_trait;

use crate::model::{ConnectionId, Name, RoomId, UserId};

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Presence is out of reach; show nobody rather than somebody wrong.
    #[error("presence can't be reached: {0}")]
    Unavailable(String),
}

/// A presence result.
pub type Result<T> = std::result::Result<T, Error>;

/// Who is here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// How many people.
    pub count: u64,
    /// The first of them.
    pub names: Vec<Name>,
}

/// One node's end of presence.
#[async_trait]
pub trait Presence: Send + Sync {
    /// A connection of a user opened; true if it is the user's first.
    async fn connect(&self, user: UserId, connection: ConnectionId) -> Result<bool>;

    /// It closed; true if it was the user's last.
    async fn disconnect(&self, user: UserId, connection: ConnectionId) -> Result<bool>;

    /// Which of these users have a connection.
    async fn online(&self, users: &[UserId]) -> Result<Vec<UserId>>;

    /// A connection joined a room; true if it is the user's first there.
    async fn enter(&self, room: RoomId, user: UserId, name: &Name, connection: ConnectionId) -> Result<bool>;

    /// It left the room; true if it was the user's last there.
    async fn leave(&self, room: RoomId, user: UserId, connection: ConnectionId) -> Result<bool>;

    /// Who is in a room.
    async fn present(&self, room: RoomId, limit: usize) -> Result<Present>;

    /// Which of these users are in a room.
    async fn present_of(&self, room: RoomId, users: &[UserId]) -> Result<Vec<UserId>>;
}
