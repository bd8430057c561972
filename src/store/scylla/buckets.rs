//! Where the buckets of a room begin, which one a message belongs to, and when the next has to begin. Pure: the rows
//! come from `index`, which also keeps them up to date.
//!
//! A message belongs to the greatest start that is not after its time. A start is written at least a minute before it
//! comes into force, and nodes place by what they have read not long ago; whoever has still not seen it writes into
//! the bucket before. So a read that touches the first ten minutes of a bucket looks into its predecessors too.

use std::time::Duration;

/// What makes a bucket roll. Tests scale them down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketLimits {
    /// Rows, those of the next [`BucketLimits::ahead`] at the present rate included, above which a bucket rolls.
    pub rows: u64,
    /// Age at which a bucket rolls, if it holds `rows_if_old` rows.
    pub age: Duration,
    /// See `age`.
    pub rows_if_old: u64,
    /// The traffic that one bucket may have to take, as time: until a start is decided, written and in force.
    pub ahead: Duration,
}

impl BucketLimits {
    /// The limits of a server.
    pub const REAL: Self = Self {
        rows: 50_000,
        age: Duration::from_secs(30 * 24 * 60 * 60),
        rows_if_old: 1_000,
        ahead: Duration::from_secs(90),
    };
}

/// How long before it comes into force a start is written.
pub(super) const LEAD: Duration = Duration::from_secs(60);
/// Starts lie on multiples of this, so that nodes which decide at the same time decide the same.
const GRID_MS: u64 = 10_000;
/// For so long after a start, messages may still have been placed in the bucket before it.
pub(super) const MISPLACED: Duration = Duration::from_secs(10 * 60);
/// Starts written in one go, for a very hot room.
const STARTS_AT_ONCE: usize = 64;

const fn millis(span: Duration) -> u64 {
    span.as_secs() * 1_000
}

/// The starts of a room's buckets in milliseconds, ascending; the first is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Starts(Vec<u64>);

/// A bucket, with the time up to which it may hold messages (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Its start, which is its name.
    pub(super) start: u64,
    /// No message in it is from this time or later.
    pub(super) end: u64,
}

impl Starts {
    /// Puts starts in order and 0 in front.
    pub(super) fn new(mut starts: Vec<u64>) -> Self {
        starts.push(0);
        starts.sort_unstable();
        starts.dedup();
        Self(starts)
    }

    /// The bucket that a time belongs to.
    pub(super) fn of(&self, at: u64) -> u64 {
        let after = self.0.partition_point(|start| *start <= at);
        self.0[after.saturating_sub(1)]
    }

    /// The buckets that may hold messages of the times `from` to `to` inclusive, oldest first.
    pub(super) fn covering(&self, from: u64, to: u64) -> Vec<Bucket> {
        let next = self
            .0
            .iter()
            .skip(1)
            .map(|start| start.saturating_add(millis(MISPLACED)));
        let ends = next.chain([u64::MAX]);
        self.0
            .iter()
            .zip(ends)
            .map(|(&start, end)| Bucket { start, end })
            .filter(|bucket| bucket.start <= to && bucket.end > from)
            .collect()
    }

    /// Takes further starts in.
    pub(super) fn extend(&mut self, starts: &[u64]) {
        self.0.extend_from_slice(starts);
        self.0.sort_unstable();
        self.0.dedup();
    }

    /// Takes a start out again.
    pub(super) fn remove(&mut self, start: u64) {
        self.0.retain(|held| *held != start || start == 0);
    }

    /// The starts that a room needs besides those it has, given how many rows the present bucket holds and how many
    /// come in a second.
    pub(super) fn next(&self, now: u64, rows: u64, rate: f64, limits: &BucketLimits) -> Vec<u64> {
        #[expect(clippy::cast_precision_loss, reason = "row counts and limits are far below 2^52")]
        let (full, rows_now) = (limits.rows as f64, rows as f64);
        let ahead = limits.ahead.as_secs_f64();
        let last = self.0.last().copied().unwrap_or(0);
        let earliest = (now + millis(LEAD)).next_multiple_of(GRID_MS);
        let old = now.saturating_sub(self.of(now)) >= millis(limits.age) && rows >= limits.rows_if_old;
        let mut starts = Vec::new();
        if last <= now && (old || rows_now + rate * ahead > full) {
            starts.push(earliest);
        }
        // A room so hot that one bucket fills before the next could be decided gets several ahead.
        if rate * ahead > full {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 ms and 90 s"
            )]
            let span = (full / rate * 1_000.0).max(1.0) as u64;
            let until = earliest + millis(limits.ahead);
            let mut next = starts.last().copied().unwrap_or(last) + span;
            while next < until && starts.len() < STARTS_AT_ONCE {
                if next >= earliest {
                    starts.push(next);
                }
                next += span;
            }
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;
    const NOW: u64 = 1_795_442_520_000;

    #[test]
    fn a_time_belongs_to_the_greatest_start_not_after_it() {
        let starts = Starts::new(vec![2_000, 1_000]);
        assert_eq!(
            [0, 999, 1_000, 1_999, 2_000, NOW].map(|at| starts.of(at)),
            [0, 0, 1_000, 1_000, 2_000, 2_000]
        );
    }

    #[test]
    fn the_first_minutes_of_a_bucket_are_looked_for_in_its_predecessors_too() {
        let start = NOW;
        let starts = Starts::new(vec![start, start + 20_000]);
        let covering = |from, to| starts.covering(from, to).iter().map(|b| b.start).collect::<Vec<_>>();
        assert_eq!(covering(0, start - 1), [0]);
        assert_eq!(covering(start, start), [0, start]);
        assert_eq!(covering(start + 30_000, u64::MAX), [0, start, start + 20_000]);
        assert_eq!(covering(start + 600_000, u64::MAX), [start, start + 20_000]);
        assert_eq!(covering(start + 620_000, u64::MAX), [start + 20_000]);
    }

    #[test]
    fn a_sparse_room_keeps_its_one_bucket_for_years() {
        let starts = Starts::new(vec![]);
        assert!(starts.next(NOW, 60, 0.0, &BucketLimits::REAL).is_empty());
        assert!(starts.next(NOW, 999, 1.0, &BucketLimits::REAL).is_empty());
        assert_eq!(starts.next(NOW, 1_000, 0.0, &BucketLimits::REAL), [NOW + 60_000]);
    }

    #[test]
    fn a_bucket_rolls_before_it_is_full_and_only_once() {
        let mut starts = Starts::new(vec![NOW - DAY]);
        let limits = BucketLimits::REAL;
        assert!(starts.next(NOW, 41_000, 99.0, &limits).is_empty());
        let next = starts.next(NOW + 1, 41_100, 99.0, &limits);
        assert_eq!(next, [NOW + 70_000]);
        starts.extend(&next);
        assert!(starts.next(NOW + 2, 45_000, 99.0, &limits).is_empty());
        // In force, it is empty, and holds.
        assert!(starts.next(NOW + 70_000, 0, 99.0, &limits).is_empty());
    }

    #[test]
    fn a_very_hot_room_gets_several_starts_ahead_and_never_fewer() {
        let mut starts = Starts::new(vec![]);
        let (limits, rate) = (BucketLimits::REAL, 5_000.0);
        let mut now = NOW;
        for _ in 0..60 {
            let next = starts.next(now, 0, rate, &limits);
            starts.extend(&next);
            now += 10_000;
        }
        let inside: Vec<_> = starts.0.iter().filter(|start| **start > 0).collect();
        assert!(inside.len() > 50, "{}", inside.len());
        assert!(inside.windows(2).all(|pair| pair[1] - pair[0] <= 10_000), "{inside:?}");
        assert!(**inside.last().unwrap() >= now + 60_000);
    }
}
