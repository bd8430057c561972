//! The stop, in a fixed order: not ready, but still serving, until balancers have noticed; no new connections; goodbye to
//! those that are open, in batches; what is under way is written; then whatever others wait for is given back, and the
//! stores are closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Config;
use crate::fanout::{Link, Registry};
use crate::shutdown::{Phase, Sequence, Tasks, Token};
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;

use super::Parts;

/// Connections told goodbye in one go, before other tasks get their turn.
const GOODBYES_AT_ONCE: usize = 200;
/// How often a batch of connections is closed.
const BATCH_EVERY: f64 = 0.1;
/// The part of the time that is left in which connections are closed; the rest is for what is under way.
const CLOSING_PART: f64 = 0.75;

/// Stops, within the configured deadline. A step that takes too long is cut short and named in the log.
pub async fn stop(config: &Config, parts: &Parts, token: &Token, connections: &Tasks) {
    // From here on it is not ready.
    token.advance(Phase::Draining);
    let goodbye = async {
        token.advance(Phase::Closing);
        let left = config.shutdown_deadline.saturating_sub(config.drain_delay);
        say_goodbye(&parts.gate.registry, &|count| Pace::of(count, config, left)).await;
    };
    let outcomes = Sequence::new()
        .then("delay", sleep(config.drain_delay))
        .then("connections", goodbye)
        .then("requests", async {
            connections.idle().await;
            // Those whose clients have gone.
            parts.http.changes.idle().await;
        })
        .then("channel layer", async {
            if let Some(cluster) = parts.gate.hub.cluster() {
                cluster.leave().await;
            }
        })
        // Only now: until the last connection was gone, its revocation had to be waited for.
        .then("control log", async { parts.log.detach(parts.node).await })
        .then("presence", async { parts.company.close().await })
        .then("store", async {
            token.advance(Phase::Stopping);
            parts.store.shared().close().await;
        })
        .then("sessions", async { parts.sessions.close().await })
        .run(config.shutdown_deadline)
        .await;
    for outcome in outcomes.iter().filter(|outcome| !outcome.finished) {
        tracing::warn!(step = outcome.step, took = ?outcome.took, "a step of the stop was cut short");
    }
}

/// When connections are closed, and when they are to come back. Each is served for as long as possible: it is closed
/// right before the moment at which it is to return, or earlier where the deadline comes first.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    /// How many connections there are.
    count: usize,
    /// Seconds over which they return.
    spread: f64,
    /// Seconds over which they are closed.
    closing: f64,
    /// How many batches that is.
    batches: usize,
}

impl Pace {
    fn of(count: usize, config: &Config, left: Duration) -> Self {
        Self::new(count, config.drain_pace, config.drain_window, left)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of sockets is far below 2^52")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of batches is not negative and small"
    )]
    fn new(count: usize, a_second: u32, window: Duration, left: Duration) -> Self {
        let spread = (count as f64 / f64::from(a_second)).min(window.as_secs_f64());
        let closing = spread.min(left.as_secs_f64() * CLOSING_PART);
        Self {
            count,
            spread,
            closing,
            batches: ((closing / BATCH_EVERY).ceil() as usize).max(1),
        }
    }

    /// When a batch is closed, from the beginning.
    fn closes(self, batch: usize) -> f64 {
        self.closing * self.part(batch)
    }

    /// Which connections are in it.
    fn members(self, batch: usize) -> std::ops::Range<usize> {
        let at = |batch| self.count * batch / self.batches;
        at(batch)..at(batch + 1)
    }

    /// How long somebody in it is to wait before coming back; `luck` is from 0 to 1.
    fn delay(self, batch: usize, luck: f64) -> f64 {
        let one = self.part(batch + 1) - self.part(batch);
        (self.spread * (self.part(batch) + luck * one) - self.closes(batch)).max(0.0)
    }

    /// How much of all batches comes before this one.
    #[expect(clippy::cast_precision_loss, reason = "a count of batches is far below 2^52")]
    const fn part(self, batch: usize) -> f64 {
        batch as f64 / self.batches as f64
    }
}

/// Tells every connection to come back elsewhere, batch by batch, and waits until all are gone.
async fn say_goodbye(registry: &Registry, pace: &(dyn Fn(usize) -> Pace + Sync)) {
    let begun = Instant::now();
    let links = registry.all();
    let pace = pace(links.len());
    let close = |link: &Arc<Link>, batch| {
        link.close(farewell(CloseCode::GoingAway, pace.delay(batch, rand::random::<f64>())));
    };
    for batch in 0..pace.batches {
        sleep_until(begun + Duration::from_secs_f64(pace.closes(batch))).await;
        for (index, link) in links[pace.members(batch)].iter().enumerate() {
            close(link, batch);
            if index % GOODBYES_AT_ONCE == GOODBYES_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
    while !registry.is_empty() {
        // Who was still in the handshake is told too; telling somebody twice changes nothing.
        for link in registry.all() {
            close(&link, pace.batches - 1);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(40);

    /// Who is closed when, and returns when, at the least and the greatest luck.
    fn course(pace: Pace) -> Vec<(f64, f64, f64)> {
        let of = |batch: usize| {
            let closed = pace.closes(batch);
            let back = move |luck: f64| closed + pace.delay(batch, luck);
            pace.members(batch).map(move |_| (closed, back(0.0), back(1.0)))
        };
        (0..pace.batches).flat_map(of).collect()
    }

    #[test]
    fn everybody_is_closed_once_and_returns_are_spread_evenly() {
        for (count, a_second, window, spread) in
            [(1_000, 100, 60, 10.0), (1_000, 500, 60, 2.0), (10_000, 100, 20, 20.0)]
        {
            let course = course(Pace::new(count, a_second, Duration::from_secs(window), LEFT));
            assert_eq!(course.len(), count);
            for tenth in 0..10 {
                let (from, to) = (spread / 10.0 * f64::from(tenth), spread / 10.0 * f64::from(tenth + 1));
                let middle = course.iter().map(|(_, least, most)| f64::midpoint(*least, *most));
                let share = middle.filter(|back| (from..to).contains(back)).count() * 10;
                assert!(
                    share.abs_diff(count) <= count / 5,
                    "{share} of {count} in tenth {tenth}"
                );
            }
            assert!(
                course
                    .iter()
                    .all(|(closed, least, most)| closed <= least && most - closed < 0.21)
            );
        }
    }

    #[test]
    fn a_deadline_closes_sooner_and_lets_them_return_as_late() {
        let pace = Pace::new(1_000, 10, Duration::from_secs(60), LEFT);
        assert!((pace.closing - 30.0).abs() < 1e-9 && (pace.spread - 60.0).abs() < 1e-9);
        let course = course(pace);
        assert!(
            course
                .iter()
                .all(|(closed, least, _)| *closed < 30.0 && closed <= least)
        );
        assert!(course.last().is_some_and(|(_, _, most)| (59.0..60.1).contains(most)));
    }

    #[test]
    fn without_a_window_or_with_nobody_there_is_one_batch_at_once() {
        for (count, window) in [(500, 0), (0, 60)] {
            let pace = Pace::new(count, 100, Duration::from_secs(window), LEFT);
            assert_eq!((pace.batches, pace.members(0)), (1, 0..count));
            assert!(pace.closes(0).abs() < 1e-9 && pace.delay(0, 1.0).abs() < 1e-9);
        }
    }
}
