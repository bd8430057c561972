//! The embedded store: one SQLite file, one writer thread, a few readers.
//!
//! It owns the tables and their statements, and gives messages and events their ids: the writer thread draws each id
//! inside the transaction that stores it, so ids become visible in their own order and nothing here is ever late.
//! Connections, transactions and commits belong to [`engine`].

mod accounts;
mod append;
pub mod archive;
mod audit;
pub mod engine;
mod members;
mod messages;
mod rooms;
mod rows;
mod seed;

#[cfg(test)]
mod sync_tests;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;

use super::{Error, Result, Store, Totals};
use crate::model::{EventId, HybridClock, Timestamp, WallClock};
use append::NonceSweep;
use engine::{Counters, Engine, EngineError, Migration, OpenError, Schema};
use rows::event_id;

const SCHEMA: Schema = Schema {
    name: "store",
    application_id: 0x4e74_7472,
    migrations: &[Migration {
        version: 1,
        sql: include_str!("migrations/0001_store.sql"),
    }],
    // The right edges of the busy rooms and of the indexes.
    writer_cache_kib: 32 * 1_024,
};

/// The store of one process on one file. A second process may open the file beside it for accounts and the audit log
/// (`createsuperuser`); messages are appended by the server alone, since its clock knows only its own ids.
pub struct SqliteStore {
    engine: Engine,
    ids: Arc<Mutex<Ids>>,
}

/// What the writer needs to give out ids. Only jobs on the writer thread lock it, so it is never contended.
struct Ids {
    clock: HybridClock,
    wall: Arc<dyn WallClock>,
    /// The greatest id that the clock has issued or observed.
    greatest: EventId,
    sweep: NonceSweep,
}

impl Ids {
    /// A fresh id that is greater than all others in the store.
    fn next(&mut self, attempt_hash: u64) -> EventId {
        let id = self.clock.next(self.wall.now(), attempt_hash);
        self.greatest = self.greatest.max(id);
        id
    }

    /// A fresh id for what nobody retries.
    fn next_random(&mut self) -> EventId {
        self.next(rand::random())
    }

    fn observe(&mut self, id: EventId) {
        self.clock.observe(id);
        self.greatest = self.greatest.max(id);
    }
}

impl SqliteStore {
    /// Opens or makes the database and brings its schema up to date. Blocks on the disk: call it at start.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the path or the file and what to do.
    pub fn open(path: &Path, clock: Arc<dyn WallClock>) -> Result<Arc<Self>, OpenError> {
        let engine = Engine::open(path, &SCHEMA)?;
        let newest = engine
            .read_blocking(|db| newest_ids(db).map_err(EngineError::from))
            .map_err(|source| OpenError::Content {
                path: path.into(),
                source,
            })?;
        let mut ids = Ids {
            clock: HybridClock::new(),
            wall: clock,
            greatest: EventId::new(0, 0, 0),
            sweep: NonceSweep::default(),
        };
        for id in newest {
            ids.observe(id);
        }
        Ok(Arc::new(Self {
            engine,
            ids: Arc::new(Mutex::new(ids)),
        }))
    }

    /// Lets the file grow to so many pages of 4 KiB, for tests of a full disk.
    #[cfg(test)]
    pub(crate) async fn limit_pages(&self, pages: u32) -> Result<()> {
        self.engine
            .write(move |db| {
                let sql = format!("PRAGMA max_page_count = {pages}");
                Ok(db.query_row(&sql, [], |_| Ok(()))?)
            })
            .await
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.engine.counters()
    }
}

/// The greatest ids that were ever given out, whatever to.
fn newest_ids(db: &Connection) -> rusqlite::Result<Vec<EventId>> {
    let mut newest = Vec::new();
    for table in ["messages", "room_events", "audit"] {
        let sql = format!("SELECT id FROM {table} ORDER BY id DESC LIMIT 1");
        let mut statement = db.prepare(&sql)?;
        let mut rows = statement.query([])?;
        if let Some(row) = rows.next()? {
            newest.push(event_id(row, 0)?);
        }
    }
    Ok(newest)
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(why) => Self::Refused(why),
            EngineError::UnknownOutcome(why) => Self::UnknownOutcome(why),
            EngineError::Damaged(why) => Self::Damaged(why),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        // The foreign keys lead to rooms and users, so what is missing is what the caller named.
        let code = error.sqlite_error().map(|e| e.extended_code);
        if code == Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) {
            return Self::NotFound;
        }
        EngineError::from(error).into()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<()> {
        self.engine
            .read(|db| {
                Ok(db
                    .prepare_cached("SELECT one FROM message_count")?
                    .query_row([], |_| Ok(()))?)
            })
            .await
    }

    async fn totals(&self) -> Result<Totals> {
        self.engine
            .read(|db| {
                let count = |sql: &str| -> rusqlite::Result<u64> {
                    db.prepare_cached(sql)?.query_row([], |row| rows::unsigned(row, 0))
                };
                Ok(Totals {
                    users: count("SELECT count(*) FROM users")?,
                    rooms: count("SELECT count(*) FROM rooms WHERE deleted = 0")?,
                    messages: append::count(db)?,
                })
            })
            .await
    }

    async fn close(&self) {
        self.engine.close().await;
    }
}

/// The clock's reading as the writer sees it.
fn now(ids: &Ids) -> Timestamp {
    ids.wall.now()
}
