//! Throttles that are broken on purpose, each in one way.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::super::Result;
use super::super::local::LocalThrottles;
use super::super::local::tests::TestClock;
use super::*;

/// What a broken throttle does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// One more than the burst passes.
    CountsOneTooFew,
    /// Rates tell half the time.
    TellsTooLittle,
    /// Rates refill twice as fast as they should.
    RunsFast,
    /// Waits do not grow.
    WaitsAlike,
    /// Who asks again while refused waits longer.
    PunishesAsking,
    /// Keys that begin alike are one.
    CutsKeys,
    /// `take_back` has no effect.
    KeepsTries,
    /// `reset` has no effect.
    NeverForgets,
}

struct BrokenWorld {
    fault: Fault,
    time: TestClock,
    fast: TestClock,
}

type Key = (Kind, String);

struct Broken {
    fault: Fault,
    inner: LocalThrottles,
    /// Counts the rates under a clock that runs twice as fast.
    fast: LocalThrottles,
    forgiven: Mutex<HashSet<Key>>,
    refusals: Mutex<HashMap<Key, u32>>,
}

#[async_trait]
impl World for BrokenWorld {
    async fn throttle(&self) -> Arc<dyn Throttle> {
        Arc::new(Broken {
            fault: self.fault,
            inner: LocalThrottles::with(100, self.time.clock()),
            fast: LocalThrottles::with(100, self.fast.clock()),
            forgiven: Mutex::default(),
            refusals: Mutex::default(),
        })
    }

    async fn pass(&self, span: Duration) {
        self.time.advance(span);
        self.fast.advance(2 * span);
    }
}

impl Broken {
    fn counts(&self, kind: Kind) -> &LocalThrottles {
        match (self.fault, kind.policy()) {
            (Fault::RunsFast, Policy::Rate(_)) => &self.fast,
            _ => &self.inner,
        }
    }

    fn key<'a>(&self, key: &'a str) -> &'a str {
        match self.fault {
            Fault::CutsKeys => &key[..key.len().min(9)],
            _ => key,
        }
    }

    /// How often the key has been refused in a row, this time included.
    fn refused(&self, kind: Kind, key: &str) -> u32 {
        let mut refusals = self.refusals.lock();
        let count = refusals.entry((kind, key.to_owned())).or_default();
        *count += 1;
        *count
    }
}

#[async_trait]
impl Throttle for Broken {
    async fn check(&self, kind: Kind, key: &str) -> Result<Verdict> {
        let (counts, key) = (self.counts(kind), self.key(key));
        let Verdict::RetryAfter(wait) = counts.check(kind, key).await? else {
            let before = self.refusals.lock().remove(&(kind, key.to_owned()));
            if self.fault == Fault::WaitsAlike && before.is_some() && kind == Kind::LoginAccount {
                counts.take_back(kind, key).await?;
            }
            return Ok(Verdict::Allowed);
        };
        let refused = self.refused(kind, key);
        let rate = matches!(kind.policy(), Policy::Rate(_));
        Ok(match self.fault {
            Fault::CountsOneTooFew if self.forgiven.lock().insert((kind, key.to_owned())) => Verdict::Allowed,
            Fault::TellsTooLittle | Fault::RunsFast if rate => Verdict::RetryAfter(wait / 2),
            Fault::PunishesAsking => Verdict::RetryAfter(wait * refused),
            _ => Verdict::RetryAfter(wait),
        })
    }

    async fn take_back(&self, kind: Kind, key: &str) -> Result<()> {
        if self.fault == Fault::KeepsTries {
            return Ok(());
        }
        self.counts(kind).take_back(kind, self.key(key)).await
    }

    async fn reset(&self, kind: Kind, key: &str) -> Result<()> {
        if self.fault == Fault::NeverForgets {
            return Ok(());
        }
        self.counts(kind).reset(kind, self.key(key)).await
    }
}

#[tokio::test]
async fn each_broken_throttle_fails_its_own_clause_and_no_other() {
    for (fault, clause) in [
        (Fault::CountsOneTooFew, "burst"),
        (Fault::TellsTooLittle, "retry-after"),
        (Fault::RunsFast, "steady"),
        (Fault::WaitsAlike, "growing"),
        (Fault::PunishesAsking, "refused-free"),
        (Fault::CutsKeys, "apart"),
        (Fault::KeepsTries, "taken-back"),
        (Fault::NeverForgets, "reset"),
    ] {
        let world = BrokenWorld {
            fault,
            time: TestClock::default(),
            fast: TestClock::default(),
        };
        let failed = failures(&world).await;
        let clauses: Vec<_> = failed.iter().map(|(clause, _)| *clause).collect();
        assert_eq!(clauses, [clause], "{fault:?}: {failed:?}");
    }
}
