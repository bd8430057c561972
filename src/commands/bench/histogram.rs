//! Times in buckets that grow with what they hold: every value up to 18 minutes is kept to within one percent, in a
//! fixed 35 KB, and many threads may count at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Linear buckets within each power of two; their width is at most 1/128 of what they hold.
const FINE_BITS: u32 = 7;
const FINE: usize = 1 << FINE_BITS;
/// Values of 2^40 ns and more count as this.
const TOP_BITS: u32 = 40;
const BUCKETS: usize = (TOP_BITS - FINE_BITS + 1) as usize * FINE;

/// Counts durations.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

/// What a histogram tells, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many durations were counted.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them were shorter.
    pub p50: f64,
    /// 90 % of them were shorter.
    pub p90: f64,
    /// 99 % of them were shorter.
    pub p99: f64,
    /// 99.9 % of them were shorter.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min((1 << TOP_BITS) - 1);
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(FINE_BITS + 1);
    // Below the shift's top bit lie FINE values of one width; the first two groups are those of width one.
    shift as usize * FINE + usize::try_from(nanos >> shift).unwrap_or(0)
}

/// The middle of a bucket, in nanoseconds.
fn middle_of(bucket: usize) -> u64 {
    if bucket < 2 * FINE {
        return bucket as u64;
    }
    let shift = bucket / FINE - 1;
    let least = ((bucket - shift * FINE) as u64) << shift;
    least + (1 << shift) / 2
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
        self.max.fetch_max(nanos, Ordering::Relaxed);
    }

    /// What was counted so far; `None` if nothing was.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "for people, who read a few digits")]
    pub fn summary(&self) -> Option<Summary> {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        if count == 0 {
            return None;
        }
        let max = self.max.load(Ordering::Relaxed);
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let quantile = |per_mille: u64| {
            // The least value that so many are not above, so at least the first one.
            let rank = (count * per_mille).div_ceil(1_000).max(1);
            let mut below = 0;
            let bucket = counts.iter().position(|in_bucket| {
                below += in_bucket;
                below >= rank
            });
            millis(bucket.map_or(max, middle_of).min(max))
        };
        Some(Summary {
            count,
            mean: millis(self.sum.load(Ordering::Relaxed)) / count as f64,
            p50: quantile(500),
            p90: quantile(900),
            p99: quantile(990),
            p999: quantile(999),
            max: millis(max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_is_kept_to_within_a_percent(nanos in 0..(1u64 << TOP_BITS)) {
            let middle = middle_of(bucket_of(nanos));
            prop_assert!(middle.abs_diff(nanos) as f64 <= nanos as f64 / 100.0, "{} became {}", nanos, middle);
        }

        #[test]
        fn buckets_ascend_with_values(a in any::<u64>(), b in any::<u64>()) {
            prop_assert!(bucket_of(a.min(b)) <= bucket_of(a.max(b)));
            prop_assert!(bucket_of(a) < BUCKETS);
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let histogram = Histogram::default();
        assert_eq!(histogram.summary(), None);
        for millis in 1..=1_000 {
            histogram.record(Duration::from_millis(millis));
        }
        let summary = histogram.summary().unwrap();
        let near = |found: f64, expected: f64| assert!((found - expected).abs() <= expected / 100.0, "{summary:?}");
        near(summary.p50, 500.0);
        near(summary.p90, 900.0);
        near(summary.p99, 990.0);
        near(summary.p999, 999.0);
        near(summary.mean, 500.5);
        assert_eq!((summary.count, summary.max), (1_000, 1_000.0));
    }

    #[test]
    fn one_value_is_every_quantile() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(7));
        let summary = histogram.summary().unwrap();
        assert!(
            (summary.p50 - 0.007).abs() < 0.000_1 && summary.p999 <= summary.max,
            "{summary:?}"
        );
    }
}
