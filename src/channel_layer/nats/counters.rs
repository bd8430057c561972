//! What the metrics read: plain counters, so that this module knows nothing of how they are shown.

use std::sync::atomic::AtomicU64;

/// Counts since the start; each only grows, but for `subscriptions`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Durable payloads handed to NATS.
    pub published_durable: AtomicU64,
    /// Ephemeral payloads handed to NATS.
    pub published_ephemeral: AtomicU64,
    /// Broadcasts handed to NATS.
    pub published_broadcast: AtomicU64,
    /// Payloads and broadcasts that could not be handed to it.
    pub unpublished: AtomicU64,
    /// Payloads and broadcasts that arrived.
    pub received: AtomicU64,
    /// Payloads and broadcasts dropped because this node was slow: exact for its own queue, at least so many for the
    /// client's.
    pub dropped: AtomicU64,
    /// Interruptions of a connection.
    pub interruptions: AtomicU64,
    /// Rooms that are subscribed to now.
    pub subscriptions: AtomicU64,
}
