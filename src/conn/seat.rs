//! Where a connection rests while there is nothing to do for it.
//!
//! Whoever runs leaves its seat's waker where it is to be woken from, looks round once more, and only then sits down.
//! A wake-up before it sits is noted, so it does not sit down; one after that finds it and makes it run again. At any
//! time it either runs or rests, so there is one at most who leaves wakers.

use std::sync::Arc;
use std::task::Wake;

use parking_lot::Mutex;

/// Who can rest.
pub(super) trait Sleeper: Sized + Send + 'static {
    /// Runs again. Called by whoever wakes it, with locks of its own, so it does not more than to start a task.
    fn woken(self, seat: Arc<Seat<Self>>);
}

/// A seat for one.
#[derive(Debug)]
pub(super) struct Seat<S> {
    held: Mutex<Held<S>>,
}

#[derive(Debug)]
enum Held<S> {
    /// It runs.
    Nobody {
        /// It was to be woken meanwhile.
        woken: bool,
    },
    Resting(S),
}

impl<S> Default for Seat<S> {
    fn default() -> Self {
        Self {
            held: Mutex::new(Held::Nobody { woken: false }),
        }
    }
}

impl<S> Seat<S> {
    /// Rests until it is woken; whoever was to be woken since it last sat or tried to gets itself back.
    pub(super) fn sit(&self, who: S) -> Option<S> {
        let held = &mut *self.held.lock();
        if matches!(held, Held::Nobody { woken: true }) {
            *held = Held::Nobody { woken: false };
            return Some(who);
        }
        *held = Held::Resting(who);
        None
    }
}

impl<S: Sleeper> Wake for Seat<S> {
    fn wake(self: Arc<Self>) {
        let held = {
            let held = &mut *self.held.lock();
            let resting = matches!(held, Held::Resting(_));
            std::mem::replace(held, Held::Nobody { woken: !resting })
        };
        if let Held::Resting(who) = held {
            who.woken(self);
        }
    }
}

#[cfg(test)]
mod tests;
