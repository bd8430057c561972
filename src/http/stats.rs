//! Live figures for the admin area: gauges that others keep, and curves of the last hour that are sampled here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use crate::limits;
use crate::model::{Timestamp, WallClock};

/// What the live side counts.
pub trait Gauges: Send + Sync {
    /// WebSockets open now.
    fn connections(&self) -> u64;
    /// People with a WebSocket now.
    fn people(&self) -> u64;
    /// Messages stored since the start.
    fn messages(&self) -> u64;
}

/// The curves of the last hour, one value for each minute, oldest first, the running minute not included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Curves {
    /// Messages stored in that minute.
    #[schema(value_type = Vec<u64>)]
    pub messages: VecDeque<u64>,
    /// WebSockets open at its end.
    #[schema(value_type = Vec<u64>)]
    pub connections: VecDeque<u64>,
    /// People with a WebSocket at its end.
    #[schema(value_type = Vec<u64>)]
    pub people: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    curves: Curves,
    messages_before: u64,
}

/// Live figures.
pub struct Stats {
    gauges: Arc<dyn Gauges>,
    started: Timestamp,
    clock: Arc<dyn WallClock>,
    ring: Mutex<Ring>,
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

impl Stats {
    /// Figures of a server that starts now.
    #[must_use]
    pub fn new(gauges: Arc<dyn Gauges>, clock: Arc<dyn WallClock>) -> Self {
        Self {
            gauges,
            started: clock.now(),
            clock,
            ring: Mutex::default(),
        }
    }

    /// Notes the minute that has just ended. Called once a minute.
    pub fn sample(&self) {
        let mut ring = self.ring.lock();
        let messages = self.gauges.messages();
        let sent = messages.saturating_sub(ring.messages_before);
        ring.messages_before = messages;
        push(&mut ring.curves.messages, sent);
        push(&mut ring.curves.connections, self.gauges.connections());
        push(&mut ring.curves.people, self.gauges.people());
    }

    /// Samples once a minute for ever; the composition root drops it at the end.
    pub async fn run(&self) {
        let mut minutes = interval(Duration::from_secs(60));
        // A machine that slept must not fill the curves with minutes that it did not see.
        minutes.set_missed_tick_behavior(MissedTickBehavior::Skip);
        minutes.tick().await;
        loop {
            minutes.tick().await;
            self.sample();
        }
    }

    /// The curves so far.
    #[must_use]
    pub fn curves(&self) -> Curves {
        self.ring.lock().curves.clone()
    }

    /// WebSockets open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.gauges.connections()
    }

    /// People with a WebSocket now.
    #[must_use]
    pub fn people(&self) -> u64 {
        self.gauges.people()
    }

    /// Messages stored in the running minute so far.
    #[must_use]
    pub fn messages_this_minute(&self) -> u64 {
        let before = self.ring.lock().messages_before;
        self.gauges.messages().saturating_sub(before)
    }

    /// How long the server has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.clock.now().since(self.started)
    }

    /// When it was started.
    #[must_use]
    pub const fn started(&self) -> Timestamp {
        self.started
    }
}

fn push(curve: &mut VecDeque<u64>, value: u64) {
    if curve.len() == limits::CURVE_MINUTES {
        curve.pop_front();
    }
    curve.push_back(value);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::SystemTime;

    #[derive(Default)]
    struct Counted(AtomicU64);

    impl Gauges for Counted {
        fn connections(&self) -> u64 {
            7
        }
        fn people(&self) -> u64 {
            3
        }
        fn messages(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn curves_hold_the_last_hour() {
        let counted = Arc::new(Counted::default());
        let stats = Stats::new(counted.clone(), Arc::new(SystemTime));
        for minute in 0..100 {
            counted.0.fetch_add(minute, Ordering::Relaxed);
            assert_eq!(stats.messages_this_minute(), minute);
            stats.sample();
        }
        let curves = stats.curves();
        assert_eq!(curves.messages, (40..100).collect::<VecDeque<u64>>());
        assert_eq!(curves.connections.len(), limits::CURVE_MINUTES);
        assert_eq!(curves.people.back(), Some(&3));
        assert_eq!(stats.messages_this_minute(), 0);
    }
}
