//! The writer thread: takes one job, drains what has queued up, commits once, answers all.
//!
//! It never waits for more jobs: under load they queue up during the sync, which is what makes the batches.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Counters, EngineError};
use crate::limits;

/// Pages in the log after which the writer copies them back into the database.
const CHECKPOINT_PAGES: i64 = 1_000;

/// What the thread is told.
pub(super) enum Order {
    Run(Box<dyn Job>),
    Stop(oneshot::Sender<()>),
}

/// How much of a job an error undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of it.
    Savepoint,
    /// The failing statement.
    Statements,
}

/// A write whose result is kept until the fate of its transaction is known.
pub(super) trait Job: Send {
    /// Rows it writes, as its share of a transaction.
    fn weight(&self) -> usize;
    fn run(&mut self, db: &Connection);
    fn answer(self: Box<Self>, fate: &Result<(), EngineError>);
}

pub(super) struct Task<T, E, F> {
    weight: usize,
    scope: Scope,
    work: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Task<T, E, F> {
    pub(super) fn new(weight: usize, scope: Scope, work: F, answer: oneshot::Sender<Result<T, E>>) -> Self {
        Self {
            weight,
            scope,
            work: Some(work),
            result: None,
            answer,
        }
    }
}

impl<T, E, F> Job for Task<T, E, F>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<EngineError> + Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, db: &Connection) {
        let Some(work) = self.work.take() else { return };
        self.result = Some(match self.scope {
            Scope::Statements => work(db),
            Scope::Savepoint => in_savepoint(db, work),
        });
    }

    fn answer(self: Box<Self>, fate: &Result<(), EngineError>) {
        // A job's own error may stem from a neighbour that was rolled back with it, so the transaction's fate comes
        // first.
        let result = match (fate, self.result) {
            (Err(error), _) => Err(error.clone().into()),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(EngineError::Refused("the write was not run".into()).into()),
        };
        // Nobody listens if the caller's future was dropped; the write stands all the same.
        let _ = self.answer.send(result);
    }
}

fn in_savepoint<T, E, F>(db: &Connection, work: F) -> Result<T, E>
where
    F: FnOnce(&Connection) -> Result<T, E>,
    E: From<EngineError>,
{
    run_cached(db, "SAVEPOINT job").map_err(EngineError::from)?;
    let result = work(db);
    // SQLite may have rolled back the whole transaction already (disk full); the caller sees that by itself.
    if !db.is_autocommit() {
        if result.is_err() {
            run_cached(db, "ROLLBACK TO job").map_err(EngineError::from)?;
        }
        run_cached(db, "RELEASE job").map_err(EngineError::from)?;
    }
    result
}

fn run_cached(db: &Connection, sql: &str) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute([]).map(drop)
}

/// Starts the thread. It ends when it is told to or when the last sender is dropped.
pub(super) fn spawn(
    name: &'static str,
    db: Connection,
    queue: mpsc::Receiver<Order>,
    counters: Arc<Counters>,
) -> io::Result<()> {
    thread::Builder::new()
        .name(format!("{name}-writer"))
        .spawn(move || Writer { db, queue, counters }.run())
        .map(drop)
}

struct Writer {
    db: Connection,
    queue: mpsc::Receiver<Order>,
    counters: Arc<Counters>,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(limits::WRITER_BATCH_MAX);
        let mut stops = Vec::new();
        while let Some(order) = self.queue.blocking_recv() {
            self.gather(order, &mut batch, &mut stops);
            if !batch.is_empty() {
                let fate = self.commit(&mut batch);
                for job in batch.drain(..) {
                    job.answer(&fate);
                }
                self.checkpoint("PASSIVE", CHECKPOINT_PAGES);
            }
        }
        self.checkpoint("TRUNCATE", 1);
        drop(self.db);
        for stop in stops {
            let _ = stop.send(());
        }
    }

    /// Takes what has queued up, without waiting for more.
    fn gather(&mut self, first: Order, batch: &mut Vec<Box<dyn Job>>, stops: &mut Vec<oneshot::Sender<()>>) {
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Run(job) => {
                    weight += job.weight().max(1);
                    batch.push(job);
                }
                Order::Stop(done) => {
                    // What is queued before the door closed is still done: `blocking_recv` goes on until it is empty.
                    self.queue.close();
                    stops.push(done);
                }
            }
            next = if weight < limits::WRITER_BATCH_MAX {
                self.queue.try_recv().ok()
            } else {
                None
            };
        }
    }

    /// Runs a batch in one transaction. Ok once it is committed and synced.
    fn commit(&self, batch: &mut [Box<dyn Job>]) -> Result<(), EngineError> {
        self.counters.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let fate = self.run_batch(batch);
        let counter = if fate.is_ok() {
            &self.counters.commits
        } else {
            &self.counters.failed_commits
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &fate {
            tracing::error!(%error, jobs = batch.len(), "a transaction was not committed");
        }
        fate
    }

    fn run_batch(&self, batch: &mut [Box<dyn Job>]) -> Result<(), EngineError> {
        run_cached(&self.db, "BEGIN IMMEDIATE").map_err(|error| EngineError::Refused(error.to_string()))?;
        for job in batch {
            if catch_unwind(AssertUnwindSafe(|| job.run(&self.db))).is_err() {
                self.roll_back()?;
                return Err(EngineError::Refused("a write of the same transaction panicked".into()));
            }
            if self.db.is_autocommit() {
                return Err(EngineError::Refused(
                    "the database rolled the transaction back (disk full or failing)".into(),
                ));
            }
        }
        let Err(error) = run_cached(&self.db, "COMMIT") else {
            return Ok(());
        };
        self.roll_back()?;
        Err(EngineError::of_rolled_back_commit(&error))
    }

    /// Makes sure that no transaction is open.
    fn roll_back(&self) -> Result<(), EngineError> {
        if self.db.is_autocommit() {
            return Ok(());
        }
        run_cached(&self.db, "ROLLBACK")
            .map_err(|error| EngineError::UnknownOutcome(format!("the transaction can't be rolled back: {error}")))
    }

    /// Copies the log back into the database once it holds so many pages that are not copied yet. A failure is no
    /// one's loss: the log holds everything, and the next batch tries again.
    fn checkpoint(&self, mode: &str, pages: i64) {
        let run = |mode: &str| -> rusqlite::Result<(i64, i64)> {
            self.db
                .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
                .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
        };
        match run("NOOP") {
            Ok((log, copied)) if log - copied.max(0) < pages => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "can't see how long the database's log is"),
        }
        match run(mode) {
            Ok(_) => drop(self.counters.checkpoints.fetch_add(1, Ordering::Relaxed)),
            Err(error) => tracing::warn!(%error, "can't copy the log into the database; it will be tried again"),
        }
    }
}
