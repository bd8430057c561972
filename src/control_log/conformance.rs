//! The suite that every control log passes: one check per clause of the contract, each under the clause's name, and
//! broken logs that fail one check each and no other.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;

use super::{ControlLog, Entry, Error, Position, RoomCut};
use crate::model::{BootId, RoomId};

/// What an implementation lends to the suite.
#[async_trait]
pub trait World: Sync {
    /// A fresh log, as so many nodes see it.
    async fn ends(&self, count: usize) -> Vec<Arc<dyn ControlLog>>;

    /// How many entries it keeps.
    fn capacity(&self) -> usize;

    /// What has not happened after this long will not happen by itself.
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
        ("wakes", wakes(world).await),
        ("reported", reported(world).await),
        ("detached", detached(world).await),
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

/// Reads until so many entries have come.
async fn read(
    world: &dyn World,
    end: &Arc<dyn ControlLog>,
    after: Position,
    count: usize,
) -> Result<(Vec<Entry>, Position)> {
    let (mut all, mut at) = (Vec::new(), after);
    while all.len() < count {
        let next = tokio::time::timeout(world.patience(), end.next(at)).await;
        let (entries, position) = next.with_context(|| format!("only {} of {count} entries came", all.len()))??;
        all.extend(entries.iter().map(|entry| Entry::clone(entry)));
        at = position;
    }
    Ok((all, at))
}

/// The position of the newest entry, as a reader learns it.
async fn tail(world: &dyn World, end: &Arc<dyn ControlLog>, after: Position) -> Result<Position> {
    Ok(read(world, end, after, 1).await?.1)
}

/// *ordered*: positions ascend in the order in which `append` returned.
pub async fn ordered(world: &dyn World) -> Result<()> {
    let ends = world.ends(2).await;
    let mut last = 0;
    for number in 0..6 {
        let position = ends[usize::from(number) % 2].append(some_entry(number)).await?;
        ensure!(position > last, "append {number} answered {position} after {last}");
        last = position;
    }
    Ok(())
}

/// *every*: a reader gets every entry after its position, in order, none twice.
pub async fn every(world: &dyn World) -> Result<()> {
    let ends = world.ends(2).await;
    let start = ends[1].attach(BootId::random()).await?;
    for number in 1..=3 {
        ends[0].append(some_entry(number)).await?;
    }
    let (got, at) = read(world, &ends[1], start, 3).await?;
    ensure!(
        got == [1, 2, 3].map(some_entry),
        "1, 2, 3 were appended, these were read: {got:?}"
    );
    for number in 4..=6 {
        ends[0].append(some_entry(number)).await?;
    }
    let (got, _) = read(world, &ends[1], at, 3).await?;
    ensure!(
        got == [4, 5, 6].map(some_entry),
        "4, 5, 6 were appended, these were read: {got:?}"
    );
    Ok(())
}

/// *behind*: a reader whose position is no longer kept is told so, never given a hole.
pub async fn behind(world: &dyn World) -> Result<()> {
    let ends = world.ends(1).await;
    let start = ends[0].attach(BootId::random()).await?;
    for _ in 0..2 * world.capacity() {
        ends[0].append(some_entry(1)).await?;
    }
    let next = tokio::time::timeout(world.patience(), ends[0].next(start)).await?;
    let Err(Error::Behind { resume_at }) = next else {
        anyhow::bail!("{} entries are gone, and the reader got {next:?}", world.capacity());
    };
    ends[0].append(some_entry(2)).await?;
    let (got, _) = read(world, &ends[0], resume_at, 1).await?;
    ensure!(
        got == [some_entry(2)],
        "after position {resume_at} entry 2 was appended, these were read: {got:?}"
    );
    Ok(())
}

/// *wakes*: `next` returns as soon as there is an entry, and waits while there is none.
pub async fn wakes(world: &dyn World) -> Result<()> {
    let ends = world.ends(2).await;
    let start = ends[1].attach(BootId::random()).await?;
    let mut next = pin!(ends[1].next(start));
    ensure!(
        waits(world, &mut next).await,
        "next returned though nothing was appended"
    );
    ends[0].append(some_entry(1)).await?;
    let woken = tokio::time::timeout(world.patience(), next).await;
    let (_, position) = woken.context("a waiting reader was not woken by an append")??;
    ends[0].append(some_entry(2)).await?;
    let next = tokio::time::timeout(world.patience(), ends[1].next(position)).await;
    next.context("next waited though there was an entry")??;
    Ok(())
}

/// *reported*: `wait_reported` returns Ok only after every attached node has reported the position or a later one.
pub async fn reported(world: &dyn World) -> Result<()> {
    let ends = world.ends(2).await;
    let nodes = [BootId::random(), BootId::random()];
    let start = ends[0].attach(nodes[0]).await?;
    ends[1].attach(nodes[1]).await?;
    ends[0].append(some_entry(1)).await?;
    let position = tail(world, &ends[0], start).await?;
    for (done, report) in [(0, start), (0, position), (1, start)] {
        ends[done].report(nodes[done], report).await?;
        let answer = ends[0].wait_reported(position, world.quiet()).await;
        ensure!(
            answer == Err(Error::Unconfirmed),
            "node {done} of 2 reported {report}, {position} was waited for: {answer:?}"
        );
    }
    let mut waiting = pin!(ends[0].wait_reported(position, world.patience()));
    ensure!(waits(world, &mut waiting).await, "it did not wait for the second node");
    ends[1].report(nodes[1], position).await?;
    waiting.await.context("both nodes have reported")?;
    Ok(())
}

/// *detached*: a node that detached is not waited for.
pub async fn detached(world: &dyn World) -> Result<()> {
    let ends = world.ends(2).await;
    let nodes = [BootId::random(), BootId::random()];
    let start = ends[0].attach(nodes[0]).await?;
    ends[1].attach(nodes[1]).await?;
    ends[0].append(some_entry(1)).await?;
    let position = tail(world, &ends[0], start).await?;
    ends[0].report(nodes[0], position).await?;
    ends[1].detach(nodes[1]).await;
    let answer = ends[0].wait_reported(position, world.patience()).await;
    ensure!(answer.is_ok(), "the only node that is left has reported: {answer:?}");
    Ok(())
}

mod broken {
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
        /// `next` returns without an entry.
        WakesForNothing,
        /// Who waits is not woken by an append.
        Sleeps,
        /// `wait_reported` does not wait.
        Hurries,
        /// `detach` has no effect.
        NeverForgets,
    }

    struct BrokenWorld(Fault);

    struct Broken {
        fault: Fault,
        inner: LocalControlLog,
    }

    #[async_trait]
    impl World for BrokenWorld {
        async fn ends(&self, count: usize) -> Vec<Arc<dyn ControlLog>> {
            let inner = LocalControlLog::with_capacity(self.capacity());
            let end = |_| {
                Arc::new(Broken {
                    fault: self.0,
                    inner: inner.clone(),
                }) as _
            };
            (0..count).map(end).collect()
        }

        fn capacity(&self) -> usize {
            16
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
            let position = self.inner.append(entry).await?;
            Ok(if self.fault == Fault::CountsNot { 1 } else { position })
        }

        async fn next(&self, after: Position) -> super::super::Result<(Vec<Arc<Entry>>, Position)> {
            if matches!(self.fault, Fault::WakesForNothing | Fault::Sleeps) {
                let soon = tokio::time::timeout(Duration::ZERO, self.inner.next(after)).await;
                return match (soon, self.fault) {
                    (Ok(next), _) => next,
                    (Err(_), Fault::WakesForNothing) => Ok((Vec::new(), after)),
                    (Err(_), _) => std::future::pending().await,
                };
            }
            let next = self.inner.next(after).await;
            if let (Err(Error::Behind { resume_at }), Fault::HidesTheHole) = (&next, self.fault) {
                return self.inner.next(resume_at - 1).await;
            }
            let (mut entries, position) = next?;
            if entries.len() > 1 {
                match self.fault {
                    Fault::Skips => drop(entries.remove(1)),
                    Fault::Repeats => entries.insert(1, Arc::clone(&entries[0])),
                    Fault::Turns => entries.reverse(),
                    _ => {}
                }
            }
            Ok((entries, position))
        }

        async fn report(&self, node: BootId, position: Position) -> super::super::Result<()> {
            self.inner.report(node, position).await
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
            (Fault::WakesForNothing, "wakes"),
            (Fault::Sleeps, "wakes"),
            (Fault::Hurries, "reported"),
            (Fault::NeverForgets, "detached"),
        ] {
            let failed = failures(&BrokenWorld(fault)).await;
            let clauses: Vec<_> = failed.iter().map(|(clause, _)| *clause).collect();
            assert_eq!(clauses, [clause], "{fault:?}: {failed:?}");
        }
    }
}
