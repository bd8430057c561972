//! When a statement may be given to a second server: as often as first ones answer in time.
//!
//! A server that is stopped costs people a moment and not their request, since a second one is asked after a while. Where
//! all are slow that would only double what they have to do. So there is a budget: whoever may ask a second one takes
//! from it when the request begins, a request that was answered in time gives that back and adds one. While one of
//! several servers is stopped the others earn more than is spent; while all are slow nothing is earned, and beyond what
//! was left each statement is sent once.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use scylla::policies::speculative_execution::{Context, SpeculativeExecutionPolicy};
use tokio::time::Instant;

use crate::limits;

tokio::task_local! {
    /// Whether the request that this task makes may be given to a second server.
    static MAY: Cell<bool>;
}

/// What is left, and who decides by it.
#[derive(Debug, Clone)]
pub(super) struct Second {
    left: Arc<AtomicU32>,
}

impl Second {
    pub(super) fn new() -> Self {
        Self {
            left: Arc::new(AtomicU32::new(limits::CQL_SECOND_SERVERS_MAX)),
        }
    }

    /// Runs a request; the second answer says whether two servers may have got it.
    pub(super) async fn watch<T, E>(&self, request: impl Future<Output = Result<T, E>>) -> (Result<T, E>, bool) {
        let since = Instant::now();
        let run = async {
            let result = request.await;
            (result, MAY.with(Cell::get))
        };
        let (result, may) = MAY.scope(Cell::new(false), run).await;
        let in_time = since.elapsed() < limits::CQL_SECOND_SERVER_AFTER;
        if in_time {
            self.earn(u32::from(may) + u32::from(result.is_ok()));
        }
        (result, may && !in_time)
    }

    fn earn(&self, count: u32) {
        let add = |left: u32| Some(left.saturating_add(count).min(limits::CQL_SECOND_SERVERS_MAX));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Whether the request that begins may be given to a second server.
    fn grant(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        let may = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok();
        // Requests that nobody watches, such as those of a migration, have no second server.
        may && MAY.try_with(|granted| granted.set(true)).is_ok()
    }
}

impl SpeculativeExecutionPolicy for Second {
    /// Asked once for each request that can be applied twice, when it begins.
    fn max_retry_count(&self, _context: &Context) -> usize {
        usize::from(self.grant())
    }

    fn retry_interval(&self, _context: &Context) -> Duration {
        limits::CQL_SECOND_SERVER_AFTER
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    const MOST: u32 = limits::CQL_SECOND_SERVERS_MAX;

    /// A request that takes so long, as the driver makes it; whether a second server got it.
    async fn request(second: &Second, idempotent: bool, takes: Duration, good: bool) -> bool {
        let asked = async {
            if idempotent {
                second.grant();
            }
            tokio::time::sleep(takes).await;
            if good { Ok(()) } else { Err(()) }
        };
        second.watch(asked).await.1
    }

    const FAST: Duration = Duration::from_millis(5);
    const SLOW: Duration = Duration::from_millis(1_500);

    #[tokio::test(start_paused = true)]
    async fn where_all_are_slow_no_more_are_sent_twice_than_were_left() {
        let second = Second::new();
        let mut twice = 0;
        for _ in 0..10 {
            let some = (0..200).map(|_| request(&second, true, SLOW, true));
            twice += join_all(some).await.into_iter().filter(|twice| *twice).count();
        }
        assert_eq!(twice, MOST as usize);
        // Fast failures earn nothing either.
        for _ in 0..200 {
            request(&second, true, FAST, false).await;
        }
        assert!(!request(&second, true, SLOW, true).await);
        // It recovers with them.
        request(&second, true, FAST, true).await;
        assert!(request(&second, true, SLOW, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn with_one_of_three_stopped_all_that_it_has_get_a_second_one() {
        let second = Second::new();
        let mut stopped = Vec::new();
        for nth in 0..6_000 {
            let takes = if nth % 3 == 0 { SLOW } else { FAST };
            let second = second.clone();
            let asked = tokio::spawn(async move { request(&second, true, takes, true).await });
            if takes == SLOW {
                stopped.push(asked);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for asked in stopped {
            assert!(asked.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_applied_twice_is_given_to_one_however_long_it_takes() {
        let second = Second::new();
        assert!(!request(&second, false, SLOW, true).await);
        assert!(request(&second, true, SLOW, true).await);
        assert_eq!(second.left.load(Ordering::Relaxed), MOST - 1);
    }

    #[tokio::test]
    async fn who_is_not_watched_has_no_second_server() {
        assert!(!Second::new().grant());
    }
}
