//! The suite that every control log passes: one check per clause of the contract, each under the clause's name, and
//! broken logs that fail one check each and no other.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;

use super::{ControlLog, Entry, Error, Position, RoomCut};
use crate::model::{BootId, RoomId};

/// Loses everything that a log holds.
pub type Lose = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A fresh log.
pub struct Ends {
    /// The log as each node sees it.
    pub nodes: Vec<Arc<dyn ControlLog>>,
    /// Empties it.
    pub lose: Lose,
}

/// What an implementation lends to the suite.
#[async_trait]
pub trait World: Sync {
    /// A fresh log, as so many nodes see it.
    async fn ends(&self, count: usize) -> Ends;

    /// How many entries it keeps.
    fn capacity(&self) -> usize {
        16
    }

    /// What has not happened after this long will not happen by itself; less than `limits::LEASE_RENEWAL`.
    fn quiet(&self) -> Duration;

    /// What has to happen, happens within this.
    fn patience(&self) -> Duration;
}

/// Runs the whole suite; answers the clauses that failed, with what was seen.
pub async fn failures(world: &dyn World) -> Vec<(&'static str, String)> {
    let results = [
        ("ordered", ordered(world).await),
        ("every", every(world).await),
        ("behind", behind(world).await),
        ("emptied", emptied(world).await),
        ("end", end(world).await),
        ("wakes", wakes(world).await),
        ("reported", reported(world).await),
        ("detached", detached(world).await),
        ("holders", holders(world).await),
    ];
    results
        .into_iter()
        .filter_map(|(clause, result)| Some((clause, format!("{:#}", result.err()?))))
        .collect()
}

/// An entry that can be told from others by its number.
#[must_use]
pub fn some_entry(number: u8) -> Entry {
    Entry::Room {
        room: RoomId::from_bytes([number; 16]),
        why: RoomCut::Changed,
    }
}

/// Whether something is still not done after the world's quiet time.
async fn waits<T>(world: &dyn World, what: impl Future<Output = T>) -> bool {
    tokio::time::timeout(world.quiet(), what).await.is_err()
}

/// A log with nodes attached to it.
struct Attached {
    nodes: Vec<(BootId, Arc<dyn ControlLog>)>,
    start: Position,
    lose: Lose,
}

impl Attached {
    async fn new(world: &dyn World, count: usize) -> Result<Self> {
        let ends = world.ends(count).await;
        let mut nodes = Vec::new();
        let mut start = None;
        for end in ends.nodes {
            let node = BootId::random();
            start = Some(end.attach(node).await?);
            nodes.push((node, end));
        }
        Ok(Self {
            nodes,
            start: start.context("at least one node")?,
            lose: ends.lose,
        })
    }

    fn log(&self, number: usize) -> &dyn ControlLog {
        &*self.nodes[number].1
    }

    /// One reading of one node.
    async fn read(&self, number: usize, acted: Position) -> super::Result<super::Reading> {
        let (node, log) = &self.nodes[number];
        log.read(*node, acted).await
    }

    /// All entries after a position, as plain values.
    async fn entries(&self, number: usize, after: Position) -> Result<(Vec<Entry>, Position)> {
        let reading = self.read(number, after).await?;
        let entries = reading.entries.iter().map(|entry| Entry::clone(entry)).collect();
        Ok((entries, reading.position))
    }
}

/// *ordered*: positions ascend in the order in which `append` returned.
pub async fn ordered(world: &dyn World) -> Result<()> {
    let world = Attached::new(world, 2).await?;
    let mut last = world.start;
    for number in 0..6 {
        let position = world.log(usize::from(number) % 2).append(some_entry(number)).await?;
        ensure!(position > last, "append {number} answered {position} after {last}");
        last = position;
    }
    Ok(())
}

/// *every*: a node that reads from a position gets every entry after it, in order, none twice.
pub async fn every(world: &dyn World) -> Result<()> {
    let world = Attached::new(world, 2).await?;
    for number in 1..=3 {
        world.log(0).append(some_entry(number)).await?;
    }
    let (got, at) = world.entries(1, world.start).await?;
    ensure!(
        got == [1, 2, 3].map(some_entry),
        "1, 2, 3 were appended, these were read: {got:?}"
    );
    for number in 4..=6 {
        world.log(0).append(some_entry(number)).await?;
    }
    let (got, at) = world.entries(1, at).await?;
    ensure!(
        got == [4, 5, 6].map(some_entry),
        "4, 5, 6 were appended, these were read: {got:?}"
    );
    let (got, _) = world.entries(1, at).await?;
    ensure!(got.is_empty(), "nothing was appended, these were read: {got:?}");
    Ok(())
}

/// *behind*: a node whose position is no longer kept is told so, never given a hole.
pub async fn behind(world: &dyn World) -> Result<()> {
    let capacity = world.capacity();
    let world = Attached::new(world, 1).await?;
    for _ in 0..2 * capacity {
        world.log(0).append(some_entry(1)).await?;
    }
    let reading = world.read(0, world.start).await;
    let Err(Error::Behind { resume_at }) = reading else {
        anyhow::bail!("{capacity} entries are gone, and the reader got {reading:?}");
    };
    world.log(0).append(some_entry(2)).await?;
    let (got, _) = world.entries(0, resume_at).await?;
    ensure!(
        got == [some_entry(2)],
        "after position {resume_at} entry 2 was appended, these were read: {got:?}"
    );
    Ok(())
}

/// *emptied*: so is one whose position is of another incarnation.
pub async fn emptied(world: &dyn World) -> Result<()> {
    let world = Attached::new(world, 1).await?;
    let before = world.log(0).append(some_entry(1)).await?;
    world.read(0, before).await.context("a reading of what is there")?;
    (world.lose)().await;
    world.log(0).append(some_entry(2)).await?;
    let reading = world.read(0, before).await;
    let Err(Error::Behind { resume_at }) = reading else {
        anyhow::bail!("everything was lost, and the reader got {reading:?}");
    };
    world.read(0, resume_at).await.context("a reading of the new log")?;
    Ok(())
}

/// *end*: `end` answers a position that everything lies at or before that was appended until then, in the incarnation of
/// that moment.
pub async fn end(world: &dyn World) -> Result<()> {
    let world = Attached::new(world, 2).await?;
    let end = world.log(1).end().await?;
    ensure!(end == world.start, "nothing was appended, and {end} is the end");
    let position = world.log(0).append(some_entry(1)).await?;
    let end = world.log(1).end().await?;
    ensure!(end == position, "{position} was appended, and {end} is the end");
    (world.lose)().await;
    let end = world.log(1).end().await?;
    ensure!(
        end.incarnation != position.incarnation,
        "everything was lost, and {end} is the end"
    );
    Ok(())
}

/// *wakes*: `changed` returns as soon as there is an entry, and waits while there is none.
pub async fn wakes(world: &dyn World) -> Result<()> {
    let (quiet, patience) = (world, world.patience());
    let world = Attached::new(world, 2).await?;
    let mut changed = pin!(world.log(1).changed(world.start));
    ensure!(
        waits(quiet, &mut changed).await,
        "changed returned though nothing was appended"
    );
    let position = world.log(0).append(some_entry(1)).await?;
    let woken = tokio::time::timeout(patience, changed).await;
    woken.context("a waiting reader was not woken by an append")?;
    let changed = tokio::time::timeout(patience, world.log(1).changed(world.start)).await;
    changed.context("changed waited though there was an entry")?;
    ensure!(
        waits(quiet, world.log(1).changed(position)).await,
        "changed returned though nothing came after the position"
    );
    Ok(())
}

/// *reported*: `wait_reported` returns Ok only after every attached node has read from the position or a later one.
pub async fn reported(world: &dyn World) -> Result<()> {
    let (quiet, patience) = (world, world.patience());
    let world = Attached::new(world, 2).await?;
    let start = world.start;
    let position = world.log(0).append(some_entry(1)).await?;
    for (done, acted) in [(0, start), (0, position), (1, start)] {
        world.read(done, acted).await?;
        let answer = world.log(0).wait_reported(position, quiet.quiet()).await;
        // Until the node that asks has itself acted on it, the log may as well be called out of reach.
        ensure!(
            answer.is_err(),
            "node {done} of 2 has acted on {acted}, {position} was waited for: {answer:?}"
        );
    }
    let mut waiting = pin!(world.log(0).wait_reported(position, patience));
    ensure!(waits(quiet, &mut waiting).await, "it did not wait for the second node");
    world.read(1, position).await?;
    waiting.await.context("both nodes have reported")?;
    (world.lose)().await;
    let after = world.log(0).append(some_entry(2)).await?;
    for number in [0, 1] {
        let _ = world.read(number, position).await;
    }
    let answer = world.log(0).wait_reported(after, quiet.quiet()).await;
    ensure!(answer.is_err(), "{position} of a lost log was counted as {after}");
    Ok(())
}

/// *detached*: a node that detached is not waited for.
pub async fn detached(world: &dyn World) -> Result<()> {
    let patience = world.patience();
    let world = Attached::new(world, 2).await?;
    let position = world.log(0).append(some_entry(1)).await?;
    world.read(0, position).await?;
    world.log(1).detach(world.nodes[1].0).await;
    let answer = world.log(0).wait_reported(position, patience).await;
    ensure!(answer.is_ok(), "the only node that is left has reported: {answer:?}");
    Ok(())
}

/// *holders*: a reading names every attached node, with the position that it read from last.
pub async fn holders(world: &dyn World) -> Result<()> {
    let world = Attached::new(world, 2).await?;
    let start = world.start;
    let position = world.log(0).append(some_entry(1)).await?;
    let sorted = |mut holders: Vec<(BootId, Position)>| {
        holders.sort_by_key(|(node, _)| *node.as_bytes());
        holders
    };
    for at in [start, position] {
        world.read(1, at).await?;
        let got = sorted(world.read(0, start).await?.holders);
        let expected = sorted(vec![(world.nodes[0].0, start), (world.nodes[1].0, at)]);
        ensure!(got == expected, "the nodes are {expected:?}, the reading named {got:?}");
    }
    Ok(())
}

#[cfg(test)]
mod broken {
    use super::super::Reading;
    use super::super::local::LocalControlLog;
    use super::*;

    /// What a broken log does wrong.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fault {
        /// Every append answers the same position.
        CountsNot,
        /// The second of several entries is left out.
        Skips,
        /// The first of several entries comes twice.
        Repeats,
        /// Several entries come in the wrong order.
        Turns,
        /// A reader that is behind goes on as if nothing were missing.
        HidesTheHole,
        /// A reader of what was lost goes on as if nothing had been there.
        HidesTheLoss,
        /// The end leaves out the newest entry.
        EndsEarly,
        /// `changed` returns without an entry.
        WakesForNothing,
        /// Who waits is not woken by an append.
        Sleeps,
        /// `wait_reported` does not wait.
        Hurries,
        /// `detach` has no effect.
        NeverForgets,
        /// A reading names the reader only.
        KnowsNobody,
    }

    struct BrokenWorld(Fault);

    struct Broken {
        fault: Fault,
        inner: LocalControlLog,
    }

    #[async_trait]
    impl World for BrokenWorld {
        async fn ends(&self, count: usize) -> Ends {
            let inner = LocalControlLog::with_capacity(self.capacity());
            let end = |_| {
                Arc::new(Broken {
                    fault: self.0,
                    inner: inner.clone(),
                }) as _
            };
            Ends {
                nodes: (0..count).map(end).collect(),
                lose: Box::new(move || {
                    let inner = inner.clone();
                    Box::pin(async move { inner.lose_everything() })
                }),
            }
        }

        fn quiet(&self) -> Duration {
            Duration::ZERO
        }

        fn patience(&self) -> Duration {
            // What happens at all happens at once here; only the faults that make somebody wait for ever take this long.
            Duration::from_millis(50)
        }
    }

    #[async_trait]
    impl ControlLog for Broken {
        async fn attach(&self, node: BootId) -> super::super::Result<Position> {
            self.inner.attach(node).await
        }

        async fn detach(&self, node: BootId) {
            if self.fault != Fault::NeverForgets {
                self.inner.detach(node).await;
            }
        }

        async fn append(&self, entry: Entry) -> super::super::Result<Position> {
            let mut position = self.inner.append(entry).await?;
            if self.fault == Fault::CountsNot {
                position.offset = 1;
            }
            Ok(position)
        }

        async fn end(&self) -> super::super::Result<Position> {
            let mut end = self.inner.end().await?;
            if self.fault == Fault::EndsEarly {
                end.offset = end.offset.saturating_sub(1);
            }
            Ok(end)
        }

        async fn read(&self, node: BootId, acted: Position) -> super::super::Result<Reading> {
            let mut reading = self.inner.read(node, acted).await;
            if let Err(Error::Behind { resume_at }) = reading {
                let lost = resume_at.incarnation != acted.incarnation;
                let offset = resume_at.offset - 1;
                if self.fault == if lost { Fault::HidesTheLoss } else { Fault::HidesTheHole } {
                    reading = self.inner.read(node, Position { offset, ..resume_at }).await;
                }
            }
            let mut reading = reading?;
            if self.fault == Fault::KnowsNobody {
                reading.holders.retain(|(holder, _)| *holder == node);
            }
            if reading.entries.len() > 1 {
                match self.fault {
                    Fault::Skips => drop(reading.entries.remove(1)),
                    Fault::Repeats => reading.entries.insert(1, Arc::clone(&reading.entries[0])),
                    Fault::Turns => reading.entries.reverse(),
                    _ => {}
                }
            }
            Ok(reading)
        }

        async fn changed(&self, after: Position) {
            match self.fault {
                Fault::WakesForNothing => {}
                Fault::Sleeps => std::future::pending().await,
                _ => self.inner.changed(after).await,
            }
        }

        async fn wait_reported(&self, position: Position, patience: Duration) -> super::super::Result<()> {
            if self.fault == Fault::Hurries {
                return Ok(());
            }
            self.inner.wait_reported(position, patience).await
        }
    }

    #[tokio::test]
    async fn each_broken_log_fails_its_own_clause_and_no_other() {
        for (fault, clause) in [
            (Fault::CountsNot, "ordered"),
            (Fault::Skips, "every"),
            (Fault::Repeats, "every"),
            (Fault::Turns, "every"),
            (Fault::HidesTheHole, "behind"),
            (Fault::HidesTheLoss, "emptied"),
            (Fault::EndsEarly, "end"),
            (Fault::WakesForNothing, "wakes"),
            (Fault::Sleeps, "wakes"),
            (Fault::Hurries, "reported"),
            (Fault::NeverForgets, "detached"),
            (Fault::KnowsNobody, "holders"),
        ] {
            let failed = failures(&BrokenWorld(fault)).await;
            let clauses: Vec<_> = failed.iter().map(|(clause, _)| *clause).collect();
            assert_eq!(clauses, [clause], "{fault:?}: {failed:?}");
        }
    }
}
