//! What the rooms count on their hot path: plain atomics, read by the metrics and by tests that assert counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the send-to-ack histogram's buckets, in milliseconds; the last bucket has none.
pub const ACK_BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 15, 25, 50, 100, 250, 1_000, 2_500, 5_000];

/// The rooms' counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that became durable.
    pub messages: Counter,
    /// Frames of durable events that were encoded: one per event, whatever the number of readers.
    pub encodings: Counter,
    /// Pages read from the store for readers that were far behind.
    pub store_catch_ups: Counter,
    /// Sends that an earlier attempt had stored.
    pub repeated: Counter,
    /// Bursts handed to readers.
    pub deliveries: Counter,
    /// Times that a reader fell behind.
    pub fell_behind: Counter,
    /// Connections that were opened.
    pub connections_opened: Counter,
    /// Edits that were stored.
    pub edited: Counter,
    /// Deletions that were stored.
    pub deleted: Counter,
    /// Times that somebody was told as typing.
    pub typing: Counter,
    /// Times that comings and goings were told in a room.
    pub presence: Counter,
    /// Read markers that were moved.
    pub read: Counter,
    /// Notices to inboxes.
    pub inbox: Counter,
    /// Joins answered with the latest page.
    pub first_joins: Counter,
    /// Joins that resumed.
    pub resumed_joins: Counter,
    /// Joins that resumed after a gap, and were told `reset`.
    pub reset_joins: Counter,
    /// Times that a reader went on from the ring once it had drained.
    pub ring_catch_ups: Counter,
    /// Rooms that became active.
    pub activations: Counter,
    /// Time from reading a send to its acknowledgement, by bucket; not cumulative.
    pub ack_buckets: [Counter; ACK_BUCKETS_MS.len() + 1],
    /// The sum of those times, in microseconds.
    pub ack_micros: Counter,
}

impl Counters {
    /// Notes how long a send took to its acknowledgement.
    pub fn send_to_ack(&self, took: Duration) {
        let millis = took.as_millis();
        let bucket = ACK_BUCKETS_MS.iter().position(|&bound| millis <= u128::from(bound));
        self.ack_buckets[bucket.unwrap_or(ACK_BUCKETS_MS.len())].add(1);
        self.ack_micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}
