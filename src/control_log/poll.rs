//! One look for all who wait for the same, however many they are; it may have a pace.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// The looks of one node. Whoever has the lock looks; the others wait for it and take what was seen, if that look began
/// after they had asked for one.
pub(crate) struct Poll<T> {
    /// How long after a look began the next one may begin.
    pace: Duration,
    /// When the last one began, and what it saw.
    last: Mutex<Option<(Instant, T)>>,
}

impl<T> Default for Poll<T> {
    fn default() -> Self {
        Self::paced(Duration::ZERO)
    }
}

impl<T> Poll<T> {
    /// Looks of which the next begins so long after the last at the earliest.
    pub(crate) fn paced(pace: Duration) -> Self {
        Self {
            pace,
            last: Mutex::default(),
        }
    }
}

impl<T: Clone + Send> Poll<T> {
    /// What a look sees that begins after this call.
    pub(crate) async fn next<F>(&self, look: impl FnOnce() -> F + Send) -> T
    where
        F: Future<Output = T> + Send,
    {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((begun, looked)) = &*last {
            if *begun > asked {
                return looked.clone();
            }
            tokio::time::sleep(self.pace.saturating_sub(begun.elapsed())).await;
        }
        let begun = Instant::now();
        let looked = look().await;
        *last = Some((begun, looked.clone()));
        looked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::control_log::{Error, Result};

    #[tokio::test]
    async fn who_waits_at_the_same_time_shares_a_look_that_began_after_they_asked() {
        let (poll, looks) = (Poll::<Result<()>>::default(), AtomicU32::new(0));
        let look = || async {
            let number = looks.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            Err(Error::Unavailable(number.to_string()))
        };
        let seen = futures_util::future::join_all((0..500).map(|_| poll.next(look))).await;
        // The first has begun to look when the others ask, so one more is for them.
        let unavailable = |number: u32| Err(Error::Unavailable(number.to_string()));
        assert!(seen[0] == unavailable(0) && seen[1..].iter().all(|looked| *looked == unavailable(1)));
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        // Who asks later gets a look of its own.
        assert_eq!(poll.next(look).await, unavailable(2));
    }

    #[tokio::test]
    async fn who_gives_up_does_not_hold_up_the_others() {
        let poll = Poll::<Result<()>>::default();
        let never = poll.next(std::future::pending);
        assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
        let next = poll.next(|| async { Err(Error::Unconfirmed) }).await;
        assert_eq!(next, Err(Error::Unconfirmed));
    }
}
