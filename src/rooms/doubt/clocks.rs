//! What time it is in the cluster, as the nodes' clocks say, ours included, that their status frames tell.
//!
//! Whether a clock is right is told by their median. The time itself, from which floors and marks are made, is that of the
//! clock furthest behind: one that is set wrong then makes repairs read more than they need, never less. It counts for one
//! span behind the median at most: what was told in the last minute is known when a room is first read, so no more than
//! that may be read again and pass for news. Both are kept against elapsed time, so neither a step of our wall clock nor
//! a pause moves them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Now;
use crate::limits;
use crate::model::{BootId, Timestamp};

/// Samples kept of each clock; the greatest of them had the least delay.
const SAMPLES: usize = 4;
/// Frames of ours whose times are kept. An echo of an older one makes no frame young.
const TOLD: usize = 8;

/// What is known of the clocks. A clock is its wall time less our elapsed time, in milliseconds.
#[derive(Debug)]
pub(super) struct Clocks {
    peers: HashMap<BootId, VecDeque<(Duration, i64)>>,
    began: Duration,
    /// When we made our last frames.
    told: VecDeque<(u64, Duration)>,
    own: i64,
    median: i64,
    least: i64,
}

impl Clocks {
    pub(super) fn new(now: Now) -> Self {
        let own = difference(now.wall, now.elapsed);
        Self {
            peers: HashMap::new(),
            began: now.elapsed,
            told: VecDeque::new(),
            own,
            median: own,
            least: own,
        }
    }

    /// We have made a frame.
    pub(super) fn told(&mut self, number: u64, now: Now) {
        self.told.truncate(TOLD - 1);
        self.told.push_front((number, now.elapsed));
    }

    /// A frame of a peer arrived that was made at `clock`, when the peer had heard our frame `echo`.
    ///
    /// What lay in a queue, or in a buffer while this process was paused, makes a clock seem to be behind. So a frame is
    /// a sample only if it is known to be young: by the frame of ours that it echoes, or because we are. Another one
    /// says only that the peer is there, and its clock counts as it was.
    pub(super) fn heard(&mut self, boot: BootId, clock: Timestamp, echo: Option<u64>, now: Now) {
        let echoed = self.told.iter().find(|(number, _)| Some(*number) == echo);
        let made_after = echoed.map_or(self.began, |(_, at)| *at);
        if now.elapsed.saturating_sub(made_after) <= limits::STATUS_SILENCE {
            let samples = self.peers.entry(boot).or_default();
            samples.truncate(SAMPLES - 1);
            samples.push_front((now.elapsed, difference(clock, now.elapsed)));
        } else if let Some((at, _)) = self.peers.get_mut(&boot).and_then(VecDeque::front_mut) {
            *at = now.elapsed;
        }
        self.compare(now);
    }

    /// Compares anew; what was not heard for a while no longer counts.
    pub(super) fn compare(&mut self, now: Now) {
        self.own = difference(now.wall, now.elapsed);
        self.peers.retain(|_, samples| {
            samples
                .front()
                .is_some_and(|(at, _)| now.elapsed.saturating_sub(*at) <= limits::PEER_HEARD)
        });
        let of_peer = |samples: &VecDeque<(Duration, i64)>| samples.iter().map(|(_, clock)| *clock).max();
        let mut clocks: Vec<i64> = self.peers.values().filter_map(of_peer).collect();
        clocks.push(self.own);
        clocks.sort_unstable();
        let middle = clocks.len() / 2;
        self.median = if clocks.len() % 2 == 1 {
            clocks[middle]
        } else {
            i64::midpoint(clocks[middle - 1], clocks[middle])
        };
        let furthest = self.median.saturating_sub(millis(limits::CATCH_UP_SPAN));
        self.least = clocks[0].max(furthest);
    }

    /// The cluster's time, or less.
    pub(super) fn cluster(&self, elapsed: Duration) -> Timestamp {
        let millis = self.least.saturating_add(millis(elapsed));
        Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
    }

    /// How far our wall clock is before the median, in milliseconds; less than 0 is behind it.
    pub(super) fn offset(&self, now: Now) -> i64 {
        difference(now.wall, now.elapsed).saturating_sub(self.median)
    }

    /// How far our wall clock is off, if further than it may be.
    pub(super) fn off(&self, now: Now) -> Option<Duration> {
        let off = difference(now.wall, now.elapsed).abs_diff(self.median);
        let off = Duration::from_millis(off);
        (off > limits::CLOCK_OFF_MAX).then_some(off)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn difference(wall: Timestamp, elapsed: Duration) -> i64 {
    i64::try_from(wall.millis()).unwrap_or(i64::MAX) - millis(elapsed)
}
