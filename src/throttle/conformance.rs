//! The suite that all throttles pass: one check per clause of the contract, each under the clause's name, and broken
//! ones that fail one check each and no other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;

use super::{Kind, Policy, Throttle, Verdict};
use crate::limits::{self, Rate};

/// What an implementation lends to the suite.
#[async_trait]
pub trait World: Sync {
    /// Throttles that have counted nothing.
    async fn throttle(&self) -> Arc<dyn Throttle>;

    /// Returns when this much time has passed for them.
    async fn pass(&self, span: Duration);
}

/// Runs the whole suite; answers the clauses that failed, with what was seen.
pub async fn failures(world: &dyn World) -> Vec<(&'static str, String)> {
    let results = [
        ("burst", burst(world).await),
        ("retry-after", retry_after(world).await),
        ("steady", steady(world).await),
        ("growing", growing(world).await),
        ("refused-free", refused_free(world).await),
        ("apart", apart(world).await),
        ("taken-back", taken_back(world).await),
        ("reset", reset(world).await),
    ];
    results
        .into_iter()
        .filter_map(|(clause, result)| Some((clause, result.err()?.to_string())))
        .collect()
}

fn rates() -> impl Iterator<Item = (Kind, Rate)> {
    Kind::ALL.into_iter().filter_map(|kind| match kind.policy() {
        Policy::Rate(rate) => Some((kind, rate)),
        Policy::Growing(_) => None,
    })
}

async fn passes(throttle: &dyn Throttle, kind: Kind, key: &str) -> Result<bool> {
    Ok(throttle.check(kind, key).await? == Verdict::Allowed)
}

/// Tries until it is refused; answers how many passed and the wait that was told.
async fn exhaust(throttle: &dyn Throttle, kind: Kind, key: &str) -> Result<(u32, Duration)> {
    for passed in 0..=10 * kind.policy().burst() {
        if let Verdict::RetryAfter(wait) = throttle.check(kind, key).await? {
            return Ok((passed, wait));
        }
    }
    bail!("{kind:?} is never refused")
}

/// *burst*: as many as the kind allows at once pass, and no more.
pub async fn burst(world: &dyn World) -> Result<()> {
    let throttle = world.throttle().await;
    for kind in Kind::ALL {
        let (passed, _) = exhaust(&*throttle, kind, "ann").await?;
        let allowed = kind.policy().burst();
        ensure!(passed == allowed, "{kind:?} allows {allowed} at once, {passed} passed");
    }
    Ok(())
}

/// *retry-after*: what was refused passes once the time it was told has passed.
pub async fn retry_after(world: &dyn World) -> Result<()> {
    let throttle = world.throttle().await;
    for kind in Kind::ALL {
        let (_, wait) = exhaust(&*throttle, kind, "ann").await?;
        world.pass(wait).await;
        let passed = passes(&*throttle, kind, "ann").await?;
        ensure!(passed, "{kind:?} told to wait {wait:?}, and refused after it");
    }
    Ok(())
}

/// *steady*: after the burst no more pass than the rate allows.
pub async fn steady(world: &dyn World) -> Result<()> {
    for (kind, rate) in rates() {
        let throttle = world.throttle().await;
        exhaust(&*throttle, kind, "ann").await?;
        let mut passed = 0;
        // Ten intervals in steps of a third of one.
        for _ in 0..30 {
            world.pass(rate.every / 3 + Duration::from_nanos(1)).await;
            passed += u32::from(passes(&*throttle, kind, "ann").await?);
        }
        ensure!(passed <= 10, "{kind:?} lets 10 pass in this time, {passed} did");
    }
    Ok(())
}

/// *growing*: each further wait is twice as long as the one before, up to the longest.
pub async fn growing(world: &dyn World) -> Result<()> {
    let throttle = world.throttle().await;
    let (_, mut wait) = exhaust(&*throttle, Kind::LoginAccount, "ann").await?;
    let mut last = Duration::ZERO;
    while wait < limits::LOGIN_ACCOUNT.longest {
        ensure!(
            last.is_zero() || wait == last * 2,
            "a wait of {last:?} was followed by one of {wait:?}"
        );
        world.pass(wait).await;
        let (_, next) = exhaust(&*throttle, Kind::LoginAccount, "ann").await?;
        (last, wait) = (wait, next);
    }
    let longest = limits::LOGIN_ACCOUNT.longest;
    ensure!(
        wait == longest,
        "no wait is longer than {longest:?}, this one is {wait:?}"
    );
    Ok(())
}

/// *refused-free*: a refused try does not count.
pub async fn refused_free(world: &dyn World) -> Result<()> {
    for kind in Kind::ALL {
        let throttle = world.throttle().await;
        let (_, wait) = exhaust(&*throttle, kind, "ann").await?;
        for _ in 0..10 {
            throttle.check(kind, "ann").await?;
        }
        let Verdict::RetryAfter(again) = throttle.check(kind, "ann").await? else {
            continue;
        };
        ensure!(
            again <= wait,
            "{kind:?} told {wait:?}, and {again:?} to who asked again"
        );
    }
    Ok(())
}

/// *apart*: neither another key nor another kind makes a difference.
pub async fn apart(world: &dyn World) -> Result<()> {
    for kind in Kind::ALL {
        let throttle = world.throttle().await;
        exhaust(&*throttle, kind, "192.0.2.1").await?;
        let other = passes(&*throttle, kind, "192.0.2.10").await?;
        ensure!(other, "{kind:?} of one key was used up, and another key's with it");
        for another in Kind::ALL.into_iter().filter(|another| *another != kind) {
            let other = passes(&*throttle, another, "192.0.2.1").await?;
            ensure!(other, "{kind:?} was used up, and {another:?} with it");
        }
    }
    Ok(())
}

/// *taken-back*: `take_back` gives one try back.
pub async fn taken_back(world: &dyn World) -> Result<()> {
    let throttle = world.throttle().await;
    for kind in Kind::ALL {
        throttle.take_back(kind, "ann").await?;
        for number in 0..kind.policy().burst() - 1 {
            ensure!(
                passes(&*throttle, kind, "ann").await?,
                "{kind:?}: try {number} was refused"
            );
        }
        for _ in 0..3 {
            let passed = passes(&*throttle, kind, "ann").await?;
            ensure!(passed, "{kind:?}: a try was given back, and the next one refused");
            throttle.take_back(kind, "ann").await?;
        }
    }
    Ok(())
}

/// *reset*: `reset` makes a key as good as new.
pub async fn reset(world: &dyn World) -> Result<()> {
    let throttle = world.throttle().await;
    for kind in Kind::ALL {
        exhaust(&*throttle, kind, "ann").await?;
        throttle.reset(kind, "ann").await?;
        for number in 0..kind.policy().burst() {
            ensure!(
                passes(&*throttle, kind, "ann").await?,
                "{kind:?}: after a reset try {number} was refused"
            );
        }
    }
    Ok(())
}

mod broken;
