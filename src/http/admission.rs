//! How many handshakes are served at once. When everybody comes back at the same moment, a few are let in, some wait
//! briefly, and the rest is told when to try again, so that those who are let in are served in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::limits;

/// Serving one handshake: held until the connection is open.
#[derive(Debug, Clone)]
pub struct Admitted {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// The gate before the handshakes.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    line: usize,
    patience: Duration,
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(
            limits::HANDSHAKES_AT_ONCE,
            limits::HANDSHAKES_WAITING_MAX,
            limits::HANDSHAKE_WAIT,
        )
    }
}

impl Admission {
    /// So many at once, and so many that wait for at most so long.
    #[must_use]
    pub fn new(at_once: usize, line: usize, patience: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
            line,
            patience,
        }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `unavailable` with the time to come back after, if the line is full or did not move in time.
    pub async fn enter(&self) -> Result<Admitted, Problem> {
        let places = || Arc::clone(&self.places);
        let permit = match places().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                let place = Line::join(&self.waiting, self.line).ok_or_else(refusal)?;
                let permit = tokio::time::timeout(self.patience, places().acquire_owned()).await;
                drop(place);
                permit.ok().and_then(Result::ok)
            }
        };
        let permit = permit.ok_or_else(refusal)?;
        Ok(Admitted {
            _permit: Arc::new(permit),
        })
    }
}

/// The delays are spread, so that those who are turned away do not come back as one.
fn refusal() -> Problem {
    let wait = 1.0 + 4.0 * rand::random::<f64>();
    Problem::new(
        "unavailable",
        "too many connections are being opened at once: try again",
    )
    .retry_after(wait)
}

/// A place in the line, given up when dropped, also by a client that goes away.
struct Line<'a>(&'a AtomicUsize);

impl<'a> Line<'a> {
    fn join(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < most).then_some(place)
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_is_served_in_turn_and_the_rest_is_sent_away() {
        let admission = Arc::new(Admission::new(2, 3, Duration::from_secs(60)));
        let first = [admission.enter().await.unwrap(), admission.enter().await.unwrap()];
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let admission = Arc::clone(&admission);
                tokio::spawn(async move { admission.enter().await.is_ok() })
            })
            .collect();
        while admission.waiting.load(Ordering::Acquire) < 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            assert_eq!(admission.enter().await.unwrap_err().code(), "unavailable");
        }
        drop(first);
        for one in waiting {
            assert!(one.await.unwrap());
        }
        assert!(admission.enter().await.is_ok());
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let admission = Admission::new(1, 1, Duration::from_millis(1));
        let _held = admission.enter().await.unwrap();
        assert!(admission.enter().await.is_err());
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
    }
}
