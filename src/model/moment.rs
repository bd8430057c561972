//! Moments of the time that passes although the machine sleeps.
//!
//! On Linux the clock behind `Instant` stands still while the machine is suspended. Whoever judges a lease, a silence or
//! the age of a reading by it would believe after a night's sleep that all of it is a second old. So a [`Moment`] also
//! says for how long the machine had been suspended by then: by how much boot time is ahead of monotonic time. Elsewhere
//! it is an `Instant`.

use std::time::Duration;

use tokio::time::Instant;

/// A moment. The later one is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    running: Instant,
    suspended: Duration,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            running: Instant::now(),
            suspended: suspended(),
        }
    }

    /// How long it has been since an earlier moment; nothing if that was later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let running = self.running.saturating_duration_since(earlier.running);
        running + self.suspended.saturating_sub(earlier.suspended)
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The moment so much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self {
            running: self.running + time,
            ..self
        }
    }
}

/// For how long the machine has been suspended since this process first asked.
fn suspended() -> Duration {
    #[cfg(test)]
    let added = testing::ADDED.get();
    #[cfg(not(test))]
    let added = Duration::ZERO;
    machine::suspended() + added
}

#[cfg(target_os = "linux")]
mod machine {
    use std::sync::OnceLock;
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::Ahead;

    static BEGINNING: OnceLock<Ahead> = OnceLock::new();

    /// By how much boot time is ahead; a little less where this thread was interrupted between the two readings.
    fn ahead() -> Duration {
        let read = |clock| {
            let at = clock_gettime(clock);
            let seconds = u64::try_from(at.tv_sec).unwrap_or_default();
            Duration::new(seconds, u32::try_from(at.tv_nsec).unwrap_or_default())
        };
        let boot = read(ClockId::Boottime);
        boot.saturating_sub(read(ClockId::Monotonic))
    }

    pub(super) fn suspended() -> Duration {
        BEGINNING.get_or_init(|| Ahead::of(ahead)).further(ahead())
    }
}

#[cfg(not(target_os = "linux"))]
mod machine {
    pub(super) const fn suspended() -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// By how much boot time was ahead of monotonic time when a process first looked.
#[cfg(any(test, target_os = "linux"))]
#[derive(Debug)]
struct Ahead {
    first: Duration,
    /// The greatest seen since, in nanoseconds further ahead: what was read in an interrupted moment is too little.
    further: std::sync::atomic::AtomicU64,
}

#[cfg(any(test, target_os = "linux"))]
impl Ahead {
    /// Readings of which the greatest is taken for the beginning.
    const READINGS: usize = 16;
    /// Less than this is the time between two readings, and no suspension. No lease is so short that it would matter.
    const NOISE: Duration = Duration::from_millis(1);

    fn of(mut read: impl FnMut() -> Duration) -> Self {
        let first = (0..Self::READINGS).map(|_| read()).max();
        Self {
            first: first.unwrap_or_default(),
            further: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// How long the machine was suspended since, given what is read now.
    fn further(&self, ahead: Duration) -> Duration {
        use std::sync::atomic::Ordering;
        let further = ahead.saturating_sub(self.first);
        if further < Self::NOISE {
            return Duration::from_nanos(self.further.load(Ordering::Relaxed));
        }
        let nanos = u64::try_from(further.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos.max(self.further.fetch_max(nanos, Ordering::Relaxed)))
    }
}

/// For tests: what this thread takes for the machine's suspensions.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        pub(super) static ADDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// The machine sleeps for so long.
    pub(crate) fn suspend(time: Duration) {
        ADDED.set(ADDED.get() + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_passes_while_the_machine_runs_and_while_it_sleeps() {
        let begun = Moment::now();
        tokio::time::advance(SECOND).await;
        assert_eq!(begun.elapsed(), SECOND);
        testing::suspend(60 * SECOND);
        assert_eq!(begun.elapsed(), 61 * SECOND);
        let woken = Moment::now();
        tokio::time::advance(SECOND).await;
        assert_eq!((woken.elapsed(), begun.elapsed()), (SECOND, 62 * SECOND));
        assert!(woken > begun && begun.since(woken) == Duration::ZERO);
        assert_eq!(begun.plus(SECOND).since(begun), SECOND);
    }

    #[test]
    fn what_an_interrupted_reading_lacks_is_no_suspension_and_takes_none_back() {
        let mut readings = [3, 9, 5].into_iter().cycle().map(Duration::from_micros);
        let ahead = Ahead::of(|| readings.next().unwrap());
        for micros in [9, 0, 5, 900] {
            assert_eq!(ahead.further(Duration::from_micros(micros)), Duration::ZERO);
        }
        let slept = Duration::from_micros(9) + 60 * SECOND;
        assert_eq!(ahead.further(slept), 60 * SECOND);
        assert_eq!(ahead.further(slept / 2), 60 * SECOND);
        assert_eq!(ahead.further(Duration::ZERO), 60 * SECOND);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_machine_is_asked() {
        let first = machine::suspended();
        assert!(machine::suspended() >= first);
    }
}
