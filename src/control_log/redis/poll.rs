//! One look at the leases for all revocations that wait on this node: however many they are, Redis is asked at most once
//! in [`PACE`].

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::script::{Leases, Look};
use crate::control_log::Result;

/// How long after a look began the next one may begin.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// What a look has seen.
pub(super) type Looked = Arc<Result<(Look, Leases)>>;

struct Last {
    begun: Instant,
    looked: Looked,
}

/// The looks of one node. Whoever has the lock looks; the others wait for it and take what was seen, if that look began
/// after they had asked for one.
#[derive(Default)]
pub(super) struct Poll {
    last: Mutex<Option<Last>>,
}

impl Poll {
    /// What a look sees that begins after this call.
    pub(super) async fn next<F, L>(&self, look: L) -> Looked
    where
        F: Future<Output = Result<(Look, Leases)>> + Send,
        L: FnOnce() -> F + Send,
    {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(last) = &*last {
            if last.begun > asked {
                return Arc::clone(&last.looked);
            }
            tokio::time::sleep(PACE.saturating_sub(last.begun.elapsed())).await;
        }
        let begun = Instant::now();
        let looked = Arc::new(look().await);
        *last = Some(Last {
            begun,
            looked: Arc::clone(&looked),
        });
        looked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::control_log::Error;

    #[tokio::test]
    async fn who_waits_at_the_same_time_shares_a_look_that_began_after_they_asked() {
        let (poll, looks) = (Poll::default(), AtomicU32::new(0));
        let look = || async {
            let number = looks.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            Err(Error::Unavailable(number.to_string()))
        };
        let seen = futures_util::future::join_all((0..500).map(|_| poll.next(look))).await;
        // The first has begun to look when the others ask, so one more is for them.
        let unavailable = |number: u32| Err(Error::Unavailable(number.to_string()));
        assert!(*seen[0] == unavailable(0) && seen[1..].iter().all(|looked| **looked == unavailable(1)));
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        // Who asks later gets a look of its own.
        assert_eq!(*poll.next(look).await, unavailable(2));
    }

    #[tokio::test]
    async fn who_gives_up_does_not_hold_up_the_others() {
        let poll = Poll::default();
        let never = poll.next(std::future::pending);
        assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
        let next = poll.next(|| async { Err(Error::Unconfirmed) }).await;
        assert_eq!(*next, Err(Error::Unconfirmed));
    }
}
