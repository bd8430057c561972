//! Whether this process lives and whether it can serve: a heartbeat of the main runtime, and named checks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::limits;
use crate::shutdown::{Phase, Token};

/// Shows that the main runtime still runs tasks: it is beaten there and watched from the operators' runtime.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    beats: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Beats for as long as the runtime runs it. Spawn it on the main runtime.
    pub async fn run(self) {
        let mut interval = tokio::time::interval(limits::HEARTBEAT_INTERVAL);
        loop {
            interval.tick().await;
            self.beat();
        }
    }

    /// One beat.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}

/// Counts how many looks in a row found no new beat. Looks are counted rather than time, so that a process that was
/// itself paused does not take that for a stuck runtime when it goes on.
#[derive(Debug, Default)]
pub struct Pulse {
    seen: u64,
    missed: u32,
}

impl Pulse {
    /// One look, every [`limits::HEARTBEAT_INTERVAL`].
    pub fn look(&mut self, heartbeat: &Heartbeat) {
        let beats = heartbeat.beats();
        if beats == self.seen {
            self.missed = self.missed.saturating_add(1);
        } else {
            (self.seen, self.missed) = (beats, 0);
        }
    }

    /// Whether the runtime is to be taken for stuck.
    #[must_use]
    pub const fn is_stuck(&self) -> bool {
        self.missed >= limits::HEARTBEATS_MISSED_MAX
    }
}

type Outcome = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

struct Check {
    name: &'static str,
    ask: Box<dyn Fn() -> Outcome + Send + Sync>,
}

/// What must hold for this node to serve.
#[derive(Default)]
pub struct Checks {
    checks: Vec<Check>,
}

/// A check that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failing {
    /// Its name.
    pub check: &'static str,
    /// Why, for operators.
    pub why: String,
}

impl Checks {
    /// Nothing to check.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check. It is asked on the operators' runtime, so it may use no timer or socket of the main one; channels
    /// and threads are fine. It gets [`limits::CHECK_PATIENCE`].
    #[must_use]
    pub fn with<F, E>(mut self, name: &'static str, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: ToString,
    {
        let ask = move || -> Outcome {
            let asked = ask();
            Box::pin(async move { asked.await.map_err(|error| error.to_string()) })
        };
        self.checks.push(Check {
            name,
            ask: Box::new(ask),
        });
        self
    }

    /// Asks all of them at once; answers those that fail, in the order in which they were added.
    pub async fn failing(&self) -> Vec<Failing> {
        let asked = self.checks.iter().map(|check| async {
            let why = match tokio::time::timeout(limits::CHECK_PATIENCE, (check.ask)()).await {
                Ok(Ok(())) => return None,
                Ok(Err(why)) => why,
                Err(_) => format!("no answer within {:?}", limits::CHECK_PATIENCE),
            };
            Some(Failing { check: check.name, why })
        });
        futures_util::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Everything `/livez` and `/readyz` answer from.
pub struct Health {
    heartbeat: Heartbeat,
    checks: Checks,
    token: Token,
    pulse: parking_lot::Mutex<Pulse>,
    /// The last answers: a crowd that asks for readiness costs its dependencies one question per moment.
    last: tokio::sync::Mutex<Option<(Instant, Vec<Failing>)>>,
}

impl Health {
    /// Health from its sources.
    #[must_use]
    pub fn new(heartbeat: Heartbeat, checks: Checks, token: Token) -> Self {
        Self {
            heartbeat,
            checks,
            token,
            pulse: parking_lot::Mutex::new(Pulse::default()),
            last: tokio::sync::Mutex::new(None),
        }
    }

    /// Watches the heartbeat for as long as it is run.
    pub(super) async fn watch(&self) {
        let mut interval = tokio::time::interval(limits::HEARTBEAT_INTERVAL);
        // After a pause of the process the missed looks are not made up for: they would all find the same beat.
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.pulse.lock().look(&self.heartbeat);
        }
    }

    /// Why the process is not alive, if it is not.
    #[must_use]
    pub fn not_alive(&self) -> Vec<Failing> {
        if self.pulse.lock().is_stuck() {
            let span = limits::HEARTBEAT_INTERVAL * limits::HEARTBEATS_MISSED_MAX;
            return vec![Failing {
                check: "runtime",
                why: format!("the main runtime has run nothing for {span:?}"),
            }];
        }
        Vec::new()
    }

    /// Why this node should get no new connections, if it should not.
    pub async fn not_ready(&self) -> Vec<Failing> {
        if self.token.phase() > Phase::Running {
            return vec![Failing {
                check: "stop",
                why: "the server is stopping".to_owned(),
            }];
        }
        let mut failing = self.not_alive();
        let mut last = self.last.lock().await;
        let asked = match &*last {
            Some((at, asked)) if at.elapsed() < limits::READINESS_KEPT => asked.clone(),
            _ => {
                let asked = self.checks.failing().await;
                *last = Some((Instant::now(), asked.clone()));
                asked
            }
        };
        failing.extend(asked);
        failing
    }

    /// How long a whole answer may take at most, for whoever asks over the network.
    #[must_use]
    pub fn patience() -> Duration {
        limits::CHECK_PATIENCE + Duration::from_secs(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_lost_after_enough_looks_and_found_again() {
        let heartbeat = Heartbeat::default();
        let mut pulse = Pulse::default();
        heartbeat.beat();
        pulse.look(&heartbeat);
        for _ in 0..limits::HEARTBEATS_MISSED_MAX {
            assert!(!pulse.is_stuck());
            pulse.look(&heartbeat);
        }
        assert!(pulse.is_stuck());
        heartbeat.beat();
        pulse.look(&heartbeat);
        assert!(!pulse.is_stuck());
    }

    #[tokio::test]
    async fn failing_checks_are_named_and_a_crowd_asks_once() {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let checks = Checks::new()
            .with("fine", || async { Ok::<_, String>(()) })
            .with("store", move || {
                counter.fetch_add(1, Ordering::Relaxed);
                async { Err("out of reach") }
            });
        let token = Token::new();
        let health = Health::new(Heartbeat::default(), checks, token.clone());
        for _ in 0..3 {
            let failing = health.not_ready().await;
            assert_eq!(failing.len(), 1);
            assert_eq!((failing[0].check, failing[0].why.as_str()), ("store", "out of reach"));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        token.advance(Phase::Draining);
        assert_eq!(health.not_ready().await[0].check, "stop");
    }
}
