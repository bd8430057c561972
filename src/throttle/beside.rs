//! Counts of this node alone, for what people may go on with while those of all nodes are out of reach.
//!
//! Without Redis people go on making rooms and joining them. What one of them may do so is then counted by each node for
//! itself, so that it stays bounded: as much as otherwise, on each node. What must not be tried uncounted, such as
//! passwords, is refused as before.

use async_trait::async_trait;

use super::local::LocalThrottles;
use super::{Error, Kind, Result, Throttle, Verdict};

/// Shared counts, with some of one's own beside them.
pub struct Beside<T> {
    shared: T,
    own: LocalThrottles,
}

impl<T> Beside<T> {
    /// Puts counts of this node beside shared ones.
    pub const fn new(shared: T, own: LocalThrottles) -> Self {
        Self { shared, own }
    }
}

/// Whether it goes on without the shared counts.
const fn goes_on(kind: Kind) -> bool {
    matches!(kind, Kind::RoomCreation | Kind::Membership)
}

#[async_trait]
impl<T: Throttle> Throttle for Beside<T> {
    async fn check(&self, kind: Kind, key: &str) -> Result<Verdict> {
        match self.shared.check(kind, key).await {
            Err(Error::Unavailable(_)) if goes_on(kind) => self.own.check(kind, key).await,
            checked => checked,
        }
    }

    async fn take_back(&self, kind: Kind, key: &str) -> Result<()> {
        match self.shared.take_back(kind, key).await {
            Err(Error::Unavailable(_)) if goes_on(kind) => self.own.take_back(kind, key).await,
            done => done,
        }
    }

    async fn reset(&self, kind: Kind, key: &str) -> Result<()> {
        match self.shared.reset(kind, key).await {
            Err(Error::Unavailable(_)) if goes_on(kind) => self.own.reset(kind, key).await,
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    /// Counts that are out of reach.
    struct Away;

    #[async_trait]
    impl Throttle for Away {
        async fn check(&self, _kind: Kind, _key: &str) -> Result<Verdict> {
            Err(Error::Unavailable("away".into()))
        }

        async fn take_back(&self, _kind: Kind, _key: &str) -> Result<()> {
            Err(Error::Unavailable("away".into()))
        }

        async fn reset(&self, _kind: Kind, _key: &str) -> Result<()> {
            Err(Error::Unavailable("away".into()))
        }
    }

    fn still() -> LocalThrottles {
        LocalThrottles::with(1_000, Arc::new(|| Duration::ZERO))
    }

    #[tokio::test]
    async fn rooms_and_memberships_are_counted_here_and_nothing_else_is_let_through() {
        let throttles = Beside::new(Away, still());
        for kind in Kind::ALL {
            if !goes_on(kind) {
                assert!(throttles.check(kind, "ann").await.is_err(), "{kind:?}");
                continue;
            }
            for _ in 0..kind.policy().burst() {
                assert_eq!(throttles.check(kind, "ann").await, Ok(Verdict::Allowed));
            }
            let refused = throttles.check(kind, "ann").await;
            assert!(matches!(refused, Ok(Verdict::RetryAfter(_))), "{kind:?}: {refused:?}");
            assert_eq!(throttles.check(kind, "bob").await, Ok(Verdict::Allowed));
            throttles.take_back(kind, "ann").await.unwrap();
            assert_eq!(throttles.check(kind, "ann").await, Ok(Verdict::Allowed));
            throttles.reset(kind, "ann").await.unwrap();
            assert_eq!(throttles.check(kind, "ann").await, Ok(Verdict::Allowed));
        }
    }

    #[tokio::test]
    async fn while_the_shared_counts_are_in_reach_they_alone_count() {
        let throttles = Beside::new(still(), still());
        for _ in 0..Kind::RoomCreation.policy().burst() {
            throttles.check(Kind::RoomCreation, "ann").await.unwrap();
        }
        let refused = throttles.check(Kind::RoomCreation, "ann").await;
        assert!(matches!(refused, Ok(Verdict::RetryAfter(_))));
        let own = throttles.own.check(Kind::RoomCreation, "ann").await;
        assert_eq!(own, Ok(Verdict::Allowed));
    }
}
