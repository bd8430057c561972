//! Writes down what happens, in one order for all clients of a test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::judge::history::{Event, History};

/// A history that grows.
pub struct Recorder {
    begun: Instant,
    history: Mutex<History>,
    numbers: AtomicU32,
}

impl Recorder {
    /// Begins an empty history.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            history: Mutex::new(History::default()),
            numbers: AtomicU32::new(0),
        }
    }

    /// A number that nothing else has: for a client, a connection or a request.
    pub fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes down what happens now.
    pub fn record(&self, event: Event) {
        let mut history = self.history.lock();
        // Taken under the lock, so that times ascend with the order.
        let at = u64::try_from(self.begun.elapsed().as_millis()).expect("a short test");
        history.push(at, event);
    }

    /// Looks at what was written down so far, without a copy.
    pub fn look<T>(&self, at: impl FnOnce(&History) -> T) -> T {
        at(&self.history.lock())
    }

    /// What was written down.
    pub fn history(&self) -> History {
        self.history.lock().clone()
    }
}
