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

/// Upper bounds of the buckets of [`Times`], in milliseconds; the last bucket has none.
pub const BUCKETS_MS: [u64; 14] = [1, 2, 5, 10, 15, 25, 50, 100, 250, 1_000, 2_500, 5_000, 10_000, 30_000];

/// How long something took, each time.
#[derive(Debug, Default)]
pub struct Times {
    /// How often it took so long, by bucket; not cumulative.
    buckets: [Counter; BUCKETS_MS.len() + 1],
    /// The sum, in microseconds.
    micros: Counter,
}

impl Times {
    /// Notes one.
    pub fn note(&self, took: Duration) {
        let bucket = BUCKETS_MS
            .iter()
            .position(|&bound| took <= Duration::from_millis(bound));
        self.buckets[bucket.unwrap_or(BUCKETS_MS.len())].add(1);
        self.micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Each bucket's upper bound and how often it took so long; how often it took longer than the last bound; the sum.
    #[must_use]
    pub fn read(&self) -> (Vec<(Duration, u64)>, u64, Duration) {
        let bounds = BUCKETS_MS.iter().map(|&bound| Duration::from_millis(bound));
        let buckets = bounds.zip(self.buckets.iter().map(Counter::get)).collect();
        let beyond = self.buckets[BUCKETS_MS.len()].get();
        (buckets, beyond, Duration::from_micros(self.micros.get()))
    }
}

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
    /// Joins that began a read of the store.
    pub reads_led: Counter,
    /// Joins that waited for a read that somebody else had begun.
    pub reads_shared: Counter,
    /// Time from reading a send to its acknowledgement.
    pub send_to_ack: Times,
    /// Time from the moment in an event's id to its delivery on this node.
    pub send_to_delivery: Times,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let times = Times::default();
        for micros in [0, 1_000, 1_001, 1_999, 2_000, 30_000_000, 30_000_001] {
            times.note(Duration::from_micros(micros));
        }
        let (buckets, beyond, sum) = times.read();
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[0], counts[1], counts[2], counts[13], beyond), (2, 3, 0, 1, 1));
        assert_eq!(sum, Duration::from_micros(60_006_001));
    }
}
