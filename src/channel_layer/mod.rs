//! The channel-layer seam: carries events between nodes.
//!
//! Clauses, each held by a test of the conformance suite under the same name:
//! - *others*: a payload published to a room reaches every other node that had joined it when `publish` was called...
//! - *not-self*: ...and never the publisher itself.
//! - *at-most-once*: no payload arrives twice.
//! - *left*: nothing published after `leave` returned arrives.
//! - *intact*: a payload arrives with exactly its bytes, room and class.
//! - *loss-reported*: durable payloads that are dropped because a node is slow are reported to it as `Lost`. (An
//!   implementation that can't tell the classes apart may report more; a lost typing notice is no reason to repair.)
//! - *ephemeral-first*: durable payloads are never dropped while ephemeral ones wait.
//!
//! Order is not promised.

#[cfg(test)]
pub mod conformance;
pub mod local;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::RoomId;

/// What a payload is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A durable event: its loss is repaired from the store.
    Durable,
    /// Typing and presence: its loss does not matter, and it is dropped first.
    Ephemeral,
}

/// Something that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A payload from another node.
    Payload {
        /// The room it was published to.
        room: RoomId,
        /// What it is worth.
        class: Class,
        /// Its bytes.
        payload: Bytes,
    },
    /// Some durable payloads were dropped before this node could take them.
    Lost {
        /// How many, where that is known.
        count: u64,
    },
}

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The layer is out of reach.
    #[error("the channel layer can't be reached: {0}")]
    Unavailable(String),
    /// The layer was closed.
    #[error("the channel layer is closed")]
    Closed,
}

/// A channel layer's result.
pub type Result<T> = std::result::Result<T, Error>;

/// One node's end of the layer.
#[async_trait]
pub trait ChannelLayer: Send + Sync {
    /// From when this returns, payloads for the room arrive.
    async fn join(&self, room: RoomId) -> Result<()>;

    /// Payloads for the room no longer arrive.
    async fn leave(&self, room: RoomId) -> Result<()>;

    /// Hands a payload to every other node that joined the room.
    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> Result<()>;

    /// The next thing that arrived; waits for it. One task per node calls this.
    async fn next(&self) -> Result<Incoming>;
}
