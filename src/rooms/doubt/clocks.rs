//! What time it is in the cluster, as the nodes' clocks say, ours included, that their status frames tell.
//!
//! Whether a clock is right is told by their median. Where an even number is split in halves that can't both be right,
//! the clock of the control log's server says which half is; while that is out of reach the time in the middle counts, so
//! that both halves are wrong. So it does where that clock agrees with the minority of an odd number against a majority by
//! one, of which one may have been wrong only when it was last heard. The time itself, from which floors and marks are
//! made, is that of the clock furthest behind: one that is set wrong then makes repairs read more than they need, never
//! less. It counts for one span behind the median at most: what was told in the last minute is known when a room is first
//! read, so no more than that may be read again and pass for news. Both are kept against elapsed time, so neither a step
//! of our wall clock nor a pause moves them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Now;
use crate::limits;
use crate::model::{BootId, Timestamp};

/// Samples kept of each clock; the greatest of them had the least delay.
const SAMPLES: usize = 4;
/// Frames of ours whose times are kept. An echo of an older one makes no frame young.
const TOLD: usize = 8;

/// When a clock was asked and what it is, newest first.
type Samples = VecDeque<(Duration, i64)>;

/// What is known of the clocks. A clock is its wall time less our elapsed time, in milliseconds.
#[derive(Debug)]
pub(super) struct Clocks {
    peers: HashMap<BootId, Samples>,
    /// Of the control log's server.
    server: Samples,
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
            server: VecDeque::new(),
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

    /// A reading of the control log that began then has returned, and says what its server's clock showed.
    pub(super) fn asked(&mut self, began: Duration, time: Timestamp, now: Now) {
        if now.elapsed.saturating_sub(began) <= limits::STATUS_SILENCE {
            self.server.truncate(SAMPLES - 1);
            self.server.push_front((now.elapsed, difference(time, now.elapsed)));
        }
        self.compare(now);
    }

    /// Compares anew; what was not heard for a while no longer counts.
    pub(super) fn compare(&mut self, now: Now) {
        self.own = difference(now.wall, now.elapsed);
        let counts = |samples: &Samples| {
            let last = samples.front();
            last.is_some_and(|(at, _)| now.elapsed.saturating_sub(*at) <= limits::PEER_HEARD)
        };
        self.peers.retain(|_, samples| counts(samples));
        if !counts(&self.server) {
            self.server.clear();
        }
        let shows = |samples: &Samples| samples.iter().map(|(_, clock)| *clock).max();
        let mut clocks: Vec<i64> = self.peers.values().filter_map(shows).collect();
        clocks.push(self.own);
        clocks.sort_unstable();
        self.median = middle(&clocks, shows(&self.server));
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

/// What these clocks, ascending, take for right, given the server's.
fn middle(clocks: &[i64], server: Option<i64>) -> i64 {
    let half = clocks.len() / 2;
    let apart = |low: i64, high: i64| high.saturating_sub(low) > 2 * millis(limits::CLOCK_OFF_MAX);
    if clocks.len().is_multiple_of(2) {
        let (low, high) = (clocks[half - 1], clocks[half]);
        let decided = server.filter(|_| apart(low, high));
        return decided.map_or(i64::midpoint(low, high), |server| server.clamp(low, high));
    }
    let most = clocks[half];
    // With the server's there is an even number, and the middle lies between this one and the next on its side.
    let next = match server.filter(|_| half > 0) {
        Some(server) if server < most => clocks[half - 1],
        Some(_) => clocks[half + 1],
        None => return most,
    };
    let contradicted = server.is_some_and(|server| !apart(server.min(next), server.max(next)));
    if contradicted && apart(most.min(next), most.max(next)) {
        i64::midpoint(most, next)
    } else {
        most
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn difference(wall: Timestamp, elapsed: Duration) -> i64 {
    i64::try_from(wall.millis()).unwrap_or(i64::MAX) - millis(elapsed)
}
