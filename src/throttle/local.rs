//! Throttles inside one process: one bounded map behind one lock.
//!
//! Beside the map stands an order by the moment at which each key is as good as new. Keys that have recovered are
//! dropped from its front as others come, and when the map is full the key that would recover soonest gives way: that
//! loses the least, and a crowd of fresh addresses can't push out the account that somebody is guessing at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Kind, Policy, Result, Throttle, Verdict, bounded_key, wait_at};
use crate::limits::{self, Growing, Rate};

/// Time since a fixed moment, never running backwards. Injected, so that tests own time.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Recovered keys that one call drops; more than one, so that they get fewer.
const DROPPED_PER_CALL: usize = 4;

/// The embedded throttles.
pub struct LocalThrottles {
    clock: Clock,
    capacity: usize,
    counts: Mutex<Counts>,
}

type Key = (Kind, Arc<str>);

fn key_of(kind: Kind, key: &str) -> Key {
    (kind, bounded_key(key).into())
}

#[derive(Default)]
struct Counts {
    states: HashMap<Key, State>,
    /// Every key of `states`, by the moment at which it is as good as new.
    recovery: BTreeSet<(Duration, Key)>,
}

/// What is counted for one key.
#[derive(Debug, Clone, Copy)]
enum State {
    Bucket {
        rate: Rate,
        /// When it will have leaked dry.
        empty_at: Duration,
    },
    Tries {
        growing: Growing,
        count: u32,
        last: Duration,
    },
}

impl State {
    fn new(policy: Policy, now: Duration) -> Self {
        match policy {
            Policy::Rate(rate) => Self::Bucket { rate, empty_at: now },
            Policy::Growing(growing) => Self::Tries {
                growing,
                count: 0,
                last: now,
            },
        }
    }

    fn take(&mut self, now: Duration) -> Verdict {
        let wait = match self {
            Self::Bucket { rate, empty_at } => {
                let level = empty_at.saturating_sub(now);
                let wait = wait_at(*rate, level);
                if wait.is_none() {
                    *empty_at = now + level + rate.every;
                }
                wait
            }
            Self::Tries { growing, count, last } => {
                let wait = (*last + wait_after(growing, *count)).saturating_sub(now);
                if wait.is_zero() {
                    (*count, *last) = (count.saturating_add(1), now);
                }
                (!wait.is_zero()).then_some(wait)
            }
        };
        wait.map_or(Verdict::Allowed, Verdict::RetryAfter)
    }

    fn take_back(&mut self) {
        match self {
            Self::Bucket { rate, empty_at } => *empty_at = empty_at.saturating_sub(rate.every),
            Self::Tries { count, .. } => *count = count.saturating_sub(1),
        }
    }

    /// When it is as good as new.
    fn recovers_at(&self) -> Duration {
        match self {
            Self::Bucket { empty_at, .. } => *empty_at,
            Self::Tries { count: 0, last, .. } => *last,
            Self::Tries { growing, count, last } => *last + wait_after(growing, *count) + growing.kept,
        }
    }
}

/// How long the try after so many has to wait.
fn wait_after(growing: &Growing, count: u32) -> Duration {
    match count.checked_sub(growing.free) {
        None => Duration::ZERO,
        Some(over) => growing
            .first
            .saturating_mul(2u32.saturating_pow(over))
            .min(growing.longest),
    }
}

impl Counts {
    /// Applies a change to the state of a key, a fresh one if there is none, and puts what came out in its place.
    fn change<T>(&mut self, key: Key, now: Duration, capacity: usize, change: impl FnOnce(&mut State) -> T) -> T {
        self.drop_recovered(now);
        let mut state = match self.states.remove(&key) {
            Some(state) => {
                self.recovery.remove(&(state.recovers_at(), key.clone()));
                if state.recovers_at() <= now {
                    State::new(key.0.policy(), now)
                } else {
                    state
                }
            }
            None => State::new(key.0.policy(), now),
        };
        let result = change(&mut state);
        if state.recovers_at() > now {
            if self.states.len() >= capacity
                && let Some((_, soonest)) = self.recovery.pop_first()
            {
                self.states.remove(&soonest);
            }
            self.recovery.insert((state.recovers_at(), key.clone()));
            self.states.insert(key, state);
        }
        result
    }

    fn drop_recovered(&mut self, now: Duration) {
        for _ in 0..DROPPED_PER_CALL {
            if self.recovery.first().is_none_or(|(at, _)| *at > now) {
                return;
            }
            if let Some((_, key)) = self.recovery.pop_first() {
                self.states.remove(&key);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(state) = self.states.remove(key) {
            self.recovery.remove(&(state.recovers_at(), key.clone()));
        }
    }
}

impl Default for LocalThrottles {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalThrottles {
    /// Nothing is counted yet; at most [`limits::THROTTLE_KEYS_MAX`] keys will be.
    #[must_use]
    pub fn new() -> Self {
        let start = Instant::now();
        Self::with(limits::THROTTLE_KEYS_MAX, Arc::new(move || start.elapsed()))
    }

    /// With another bound and another clock, for tests.
    #[must_use]
    pub fn with(capacity: usize, clock: Clock) -> Self {
        Self {
            clock,
            capacity,
            counts: Mutex::default(),
        }
    }

    fn change<T>(&self, kind: Kind, key: &str, change: impl FnOnce(&mut State) -> T) -> T {
        self.change_at((self.clock)(), kind, key, change)
    }

    fn change_at<T>(&self, now: Duration, kind: Kind, key: &str, change: impl FnOnce(&mut State) -> T) -> T {
        let key = key_of(kind, key);
        self.counts.lock().change(key, now, self.capacity, change)
    }
}

#[async_trait]
impl Throttle for LocalThrottles {
    async fn check(&self, kind: Kind, key: &str) -> Result<Verdict> {
        let now = (self.clock)();
        Ok(self.change_at(now, kind, key, |state| state.take(now)))
    }

    async fn take_back(&self, kind: Kind, key: &str) -> Result<()> {
        self.change(kind, key, State::take_back);
        Ok(())
    }

    async fn reset(&self, kind: Kind, key: &str) -> Result<()> {
        self.counts.lock().forget(&key_of(kind, key));
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
