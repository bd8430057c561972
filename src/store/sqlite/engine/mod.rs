//! The engine under every SQLite file: one writer thread with group commit, a few readers, migrations.
//!
//! It owns the connections, the transactions and the fate of a commit; it knows no table. The message store and the
//! session store each open one engine on their own file with their own migrations:
//!
//! ```text
//! const SCHEMA: Schema = Schema {
//!     name: "sessions",
//!     application_id: 0x4e74_7253,
//!     migrations: &[Migration { version: 1, sql: include_str!("migrations/0001_sessions.sql") }],
//!     writer_cache_kib: 1_024,
//! };
//! let engine = Engine::open(&data_dir.join("sessions.db"), &SCHEMA)?;
//! // Several statements: undone together if the closure fails, committed and synced when the future returns Ok.
//! let ended: usize = engine
//!     .write(move |db| Ok::<_, Error>(db.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?.execute([user])?))
//!     .await?;
//! // All statements of one closure see one snapshot.
//! let count: i64 = engine
//!     .read(|db| Ok::<_, Error>(db.prepare_cached("SELECT count(*) FROM sessions")?.query_row([], |row| row.get(0))?))
//!     .await?;
//! ```
//!
//! A caller's error type needs `From<EngineError>`, for what the engine itself has to report, and profits from
//! `From<rusqlite::Error>` (by way of `EngineError::from`), for `?` inside the closures.
//!
//! Why one thread: SQLite has one writer anyway, so a queue in front of it turns lock waits into batches; the more
//! callers wait for one sync, the more of them share the next. Callers never block an async thread: writes wait for a
//! place in a bounded queue, reads for one of a few connections.

mod error;
mod open;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use error::EngineError;
pub use open::{Migration, OpenError, Schema};

use crate::limits;
use crate::telemetry::traces;
use writer::{Job, Order, Scope, Task};

/// What the engine has done since it was opened. Plain counts, for metrics and for tests that assert how much a thing
/// costs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads that were marked as [`ReadKind::MessageRange`].
    pub range_reads: AtomicU64,
    /// All other reads.
    pub other_reads: AtomicU64,
    /// Write jobs that were run, whatever became of them.
    pub writes: AtomicU64,
    /// Transactions that were committed and synced.
    pub commits: AtomicU64,
    /// Transactions that could not be committed.
    pub failed_commits: AtomicU64,
    /// Times the log was copied back into the database file.
    pub checkpoints: AtomicU64,
}

/// What a read is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    /// A range of messages or events: what a join costs when the ring does not help.
    MessageRange,
    /// Anything else.
    Other,
}

/// One open SQLite database. Cheap to share behind an `Arc`; dropping it lets the writer finish what is queued.
#[derive(Debug)]
pub struct Engine {
    orders: mpsc::Sender<Order>,
    readers: Arc<Readers>,
    counters: Arc<Counters>,
}

/// Idle reading connections, and as many permits as there are connections.
#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Engine {
    /// Opens the database file, makes it and its directory (mode 0700) if they are missing, and brings its schema up
    /// to date. Blocks on the disk: call it at start or on a blocking thread.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the path or the file and what to do.
    pub fn open(path: &Path, schema: &Schema) -> Result<Self, OpenError> {
        let writer = open::writer(path, schema)?;
        let idle = (0..limits::READERS)
            .map(|_| open::reader(path))
            .collect::<Result<Vec<_>, _>>()?;
        let counters = Arc::new(Counters::default());
        let (orders, queue) = mpsc::channel(limits::WRITER_QUEUE_MAX);
        let permits = Arc::new(Semaphore::new(idle.len()));
        writer::spawn(schema.name, writer, queue, Arc::clone(&counters))
            .map_err(|source| OpenError::Thread { source })?;
        Ok(Self {
            orders,
            readers: Arc::new(Readers {
                idle: Mutex::new(idle),
                permits,
            }),
            counters,
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Runs a write of any number of statements. If the closure answers an error, all it did is undone and its
    /// neighbours in the same transaction are not touched. The future returns after the commit was synced to disk;
    /// dropping it does not stop the write.
    ///
    /// The closure must not begin, commit or roll back by itself.
    ///
    /// # Errors
    /// The closure's own error; `Refused` if nothing was stored (disk full, database locked by another process for
    /// five seconds, closed); `UnknownOutcome` if the disk did not confirm the commit.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.submit(1, Scope::Savepoint, work).await
    }

    /// Like [`write`](Self::write) without a savepoint, for closures in which each statement stands for itself:
    /// whatever ran before an error stays. `weight` is how many rows it writes, as its share of a transaction.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    pub async fn write_statements<T, E, F>(&self, weight: usize, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.submit(weight, Scope::Statements, work).await
    }

    async fn submit<T, E, F>(&self, weight: usize, scope: Scope, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        let _span = traces::child("sqlite write");
        let (answer, answered) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Task::new(weight, scope, work, answer));
        if self.orders.send(Order::Run(job)).await.is_err() {
            return Err(EngineError::closed().into());
        }
        // The writer answers every job it took; an answer can only be missing if its thread died.
        answered
            .await
            .unwrap_or_else(|_| Err(EngineError::UnknownOutcome("the writer thread is gone".into()).into()))
    }

    /// Runs a read on one of the reading connections, within one transaction, on a blocking thread. Waits for a
    /// connection if all are busy. Needs a tokio runtime.
    ///
    /// # Errors
    /// The closure's own error; `Refused` after [`close`](Self::close).
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        self.read_as(ReadKind::Other, work).await
    }

    /// Like [`read`](Self::read), counted as the given kind.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn read_as<T, E, F>(&self, kind: ReadKind, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<EngineError> + Send + 'static,
    {
        let _span = traces::child("sqlite read");
        let Ok(permit) = Arc::clone(&self.readers.permits).acquire_owned().await else {
            return Err(EngineError::closed().into());
        };
        let counter = match kind {
            ReadKind::MessageRange => &self.counters.range_reads,
            ReadKind::Other => &self.counters.other_reads,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let readers = Arc::clone(&self.readers);
        let reading = tokio::task::spawn_blocking(move || {
            // The connection goes back before the permit, so whoever gets a permit finds a connection.
            let lent = Lent::take(&readers)?;
            let result = in_snapshot(lent.connection(), work);
            drop(lent);
            drop(permit);
            result
        });
        reading
            .await
            .unwrap_or_else(|panic| Err(EngineError::Refused(format!("the read was broken off: {panic}")).into()))
    }

    /// Like [`read`](Self::read), on the calling thread and uncounted: for what has to be known at start.
    ///
    /// # Errors
    /// As for [`read`](Self::read); also if all reading connections are busy.
    pub fn read_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E>,
        E: From<EngineError>,
    {
        let lent = Lent::take(&self.readers)?;
        in_snapshot(lent.connection(), work)
    }

    /// Finishes what is queued, copies the log back into the database and ends the writer. Later calls are refused.
    pub async fn close(&self) {
        self.readers.permits.close();
        let (done, finished) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).await.is_ok() {
            // An error means that the writer went away by another close, which is what was asked for.
            let _ = finished.await;
        }
        self.readers.idle.lock().clear();
    }
}

/// A reading connection on loan; it goes back also when the closure panics.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl<'a> Lent<'a> {
    fn take(readers: &'a Readers) -> Result<Self, EngineError> {
        let connection = readers.idle.lock().pop().ok_or_else(EngineError::closed)?;
        Ok(Self {
            readers,
            connection: Some(connection),
        })
    }

    fn connection(&self) -> &Connection {
        self.connection
            .as_ref()
            .unwrap_or_else(|| unreachable!("a loan holds its connection until it is dropped"))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && !self.readers.permits.is_closed()
        {
            self.readers.idle.lock().push(connection);
        }
    }
}

fn in_snapshot<T, E, F>(connection: &Connection, work: F) -> Result<T, E>
where
    F: FnOnce(&Connection) -> Result<T, E>,
    E: From<EngineError>,
{
    // Dropping the transaction rolls it back, which for a read is the same as committing it.
    let _snapshot = connection.unchecked_transaction().map_err(EngineError::from)?;
    work(connection)
}
