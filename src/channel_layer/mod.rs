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
//! - *broadcast*: what is broadcast reaches every other node, whatever it joined, once, and not the sender.
//! - *interrupted*: a node whose connection was interrupted is told `Lost`; after the last such report, what it had
//!   joined arrives again without a further `join`, so a repair that begins then misses nothing. (It may be told as
//!   early as the interruption begins, and again when it is over.)
//! - *reachable*: `ping` succeeds while the layer answers, and fails while it does not.
//! - *closed*: what was published before `close` arrives; afterwards every call answers `Closed`, also a `next` that
//!   was waiting.
//!
//! Order is not promised. While the layer is out of reach, `publish`, `broadcast` and `join` fail with `Unavailable`
//! soon; they neither wait for it to come back nor store without bound. What was published then may arrive all the
//! same, or not.

mod arrivals;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod local;
pub mod nats;

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
    /// What another node told all others.
    Broadcast {
        /// Its bytes.
        payload: Bytes,
    },
    /// Some durable payloads were dropped before this node could take them, or the connection was interrupted.
    Lost {
        /// How many; 0 where that is not known.
        count: u64,
    },
}

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The layer is out of reach.
    #[error("the channel layer can't be reached: {0}")]
    Unavailable(String),
    /// The payload is longer than the layer carries.
    #[error("a payload of {bytes} bytes is too long for the channel layer, {most} is the most")]
    TooLong {
        /// The payload's length.
        bytes: usize,
        /// What the layer carries.
        most: usize,
    },
    /// The layer was closed.
    #[error("the channel layer is closed")]
    Closed,
}

/// A channel layer's result.
pub type Result<T> = std::result::Result<T, Error>;

/// One node's end of the layer.
#[async_trait]
pub trait ChannelLayer: Send + Sync {
    /// From when this returns, payloads for the room arrive. If it fails, the room is not joined.
    async fn join(&self, room: RoomId) -> Result<()>;

    /// Payloads for the room no longer arrive. This also works while the layer is out of reach.
    async fn leave(&self, room: RoomId) -> Result<()>;

    /// Hands a payload to every other node that joined the room.
    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> Result<()>;

    /// Hands a payload to every other node, whatever it joined. For status frames and the like: it may be lost, and
    /// nobody is told.
    async fn broadcast(&self, payload: Bytes) -> Result<()>;

    /// The next thing that arrived; waits for it. One task per node calls this.
    async fn next(&self) -> Result<Incoming>;

    /// Whether the layer answers now, for readiness.
    async fn ping(&self) -> Result<()>;

    /// Hands over what was published and leaves; every other call then answers `Closed`. A second `close` does nothing.
    async fn close(&self);
}
