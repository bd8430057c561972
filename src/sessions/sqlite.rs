//! Sessions in an SQLite file of their own, through the engine that every SQLite file here has.
//!
//! The file holds a hash of each session's id, never the id: who reads a backup can't log in with it. Requests read;
//! they write only what changed. When a session was last seen is noted at most once a minute, beside the request, and
//! a save that would only move the expiry by less than that is left out, so a busy session costs no commit per request.

mod row;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::Semaphore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{self, SessionStore};

use row::{COLUMNS, Keyed, hash_of, info};

use super::stored::{ID_TRIES, Stored, millis, no_free_id, timestamp};
use super::{Error, NewSession, Result, SessionHandle, SessionInfo, UserSessions};
use crate::limits;
use crate::model::{Timestamp, UserId, WallClock};
use crate::store::sqlite::engine::{Engine, EngineError, Migration, OpenError, Schema};

const SCHEMA: Schema = Schema {
    name: "sessions",
    // "NtrS"
    application_id: 0x4e74_7253,
    migrations: &[Migration {
        version: 1,
        sql: include_str!("migrations/0001_sessions.sql"),
    }],
    // Sessions are touched in no order, so a larger part of the file here would only double the kernel's cache.
    writer_cache_kib: 1_024,
};

/// Rows that one transaction of a sweep or of a bulk creation touches, so that others get their turn.
const BATCH: u16 = 500;

/// The embedded session store. Cloning it gives another handle to the same file.
#[derive(Clone)]
pub struct SqliteSessions {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    clock: Arc<dyn WallClock>,
    touches: Arc<Semaphore>,
}

impl fmt::Debug for SqliteSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSessions").finish_non_exhaustive()
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(why) | EngineError::UnknownOutcome(why) => Self::Unavailable(why),
            EngineError::Damaged(why) => Self::Damaged(why),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        EngineError::from(error).into()
    }
}

/// A live row, as `load` and `save` look at it.
struct Found {
    data: String,
    last_seen_at: i64,
    expires_at: i64,
}

impl SqliteSessions {
    /// Opens the file, or makes it. Blocks on the disk: call it at start.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the path or the file and what to do.
    pub fn open(path: &Path, clock: Arc<dyn WallClock>) -> std::result::Result<Self, OpenError> {
        Ok(Self {
            shared: Arc::new(Shared {
                engine: Engine::open(path, &SCHEMA)?,
                clock,
                touches: Arc::new(Semaphore::new(limits::SESSION_TOUCHES_AT_ONCE)),
            }),
        })
    }

    /// Finishes what is queued and closes the file. Later calls fail.
    pub async fn close(&self) {
        self.shared.engine.close().await;
    }

    fn now(&self) -> i64 {
        millis(self.shared.clock.now())
    }

    async fn find(&self, id_hash: [u8; 32], now: i64) -> Result<Option<Found>> {
        let query = move |db: &Connection| {
            let mut found = db.prepare_cached(
                "SELECT data, last_seen_at, expires_at FROM sessions WHERE id_hash = ?1 AND expires_at > ?2",
            )?;
            let row = found.query_row(params![id_hash, now], |row| {
                Ok(Found {
                    data: row.get(0)?,
                    last_seen_at: row.get(1)?,
                    expires_at: row.get(2)?,
                })
            });
            Ok::<_, Error>(row.optional()?)
        };
        self.shared.engine.read(query).await
    }

    /// Notes beside the request that the session was seen. If too many notes are under way this one is left out; the
    /// session's next request tries again.
    fn touch(&self, id_hash: [u8; 32], now: i64) {
        let Ok(permit) = Arc::clone(&self.shared.touches).try_acquire_owned() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let touched = shared.engine.write(move |db| {
                let mut touch = db
                    .prepare_cached("UPDATE sessions SET last_seen_at = ?2 WHERE id_hash = ?1 AND last_seen_at < ?2")?;
                Ok::<_, Error>(touch.execute(params![id_hash, now])?)
            });
            if let Err(error) = touched.await {
                tracing::debug!(%error, "could not note when a session was seen");
            }
            drop(permit);
        });
    }
}

/// Whether two moments are less than [`limits::SESSION_TOUCH_INTERVAL`] apart.
fn close_together(a: i64, b: i64) -> bool {
    u128::from(a.abs_diff(b)) < limits::SESSION_TOUCH_INTERVAL.as_millis()
}

#[async_trait]
impl SessionStore for SqliteSessions {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        let now = self.now();
        for _ in 0..ID_TRIES {
            let stored = Keyed {
                id_hash: hash_of(record.id),
                stored: Stored::of(record)?,
            };
            if self.shared.engine.write(move |db| stored.insert(db, now)).await? {
                return Ok(());
            }
            record.id = Id::default();
        }
        Err(no_free_id())
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let (id_hash, stored, now) = (hash_of(record.id), Stored::of(record)?, self.now());
        match self.find(id_hash, now).await? {
            // It ended meanwhile; a request that still held it must not bring it back.
            None => Ok(()),
            Some(found) if found.data == stored.data && close_together(found.expires_at, stored.expires_at) => Ok(()),
            Some(_) => {
                let keyed = Keyed { id_hash, stored };
                Ok(self.shared.engine.write(move |db| keyed.update(db, now)).await?)
            }
        }
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let (id_hash, now) = (hash_of(*id), self.now());
        let Some(found) = self.find(id_hash, now).await? else {
            return Ok(None);
        };
        if now > found.last_seen_at && !close_together(now, found.last_seen_at) {
            self.touch(id_hash, now);
        }
        Ok(Some(Record {
            id: *id,
            data: serde_json::from_str(&found.data).map_err(|error| session_store::Error::Decode(error.to_string()))?,
            expiry_date: timestamp(found.expires_at).to_offset(),
        }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let id_hash = hash_of(*id);
        let delete = move |db: &Connection| {
            db.prepare_cached("DELETE FROM sessions WHERE id_hash = ?1")?
                .execute([id_hash])?;
            Ok::<_, Error>(())
        };
        Ok(self.shared.engine.write(delete).await?)
    }
}

#[async_trait]
impl UserSessions for SqliteSessions {
    async fn list(&self, user: UserId) -> Result<Vec<SessionInfo>> {
        let now = self.now();
        let query = move |db: &Connection| {
            let mut list = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM sessions WHERE user_id = ?1 AND expires_at > ?2
                 ORDER BY expires_at DESC LIMIT ?3"
            ))?;
            let rows = list.query_map(params![user.as_bytes(), now, limits::SESSIONS_LISTED_MAX as i64], info)?;
            let mut list = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            list.sort_by(|a, b| (b.created_at, &a.handle).cmp(&(a.created_at, &b.handle)));
            Ok::<_, Error>(list)
        };
        self.shared.engine.read(query).await
    }

    async fn live(&self, handle: &SessionHandle) -> Result<Option<SessionInfo>> {
        let (handle, now) = (handle.clone(), self.now());
        let query = move |db: &Connection| {
            let mut one = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM sessions WHERE handle = ?1 AND user_id IS NOT NULL AND expires_at > ?2"
            ))?;
            Ok::<_, Error>(one.query_row(params![handle.to_string(), now], info).optional()?)
        };
        self.shared.engine.read(query).await
    }

    async fn expiries(&self, handles: &[SessionHandle]) -> Result<Vec<Option<Timestamp>>> {
        let (handles, now) = (handles.to_vec(), self.now());
        let query = move |db: &Connection| {
            let mut one = db.prepare_cached(
                "SELECT expires_at FROM sessions WHERE handle = ?1 AND user_id IS NOT NULL AND expires_at > ?2",
            )?;
            let mut expiry = |handle: &SessionHandle| {
                let found = one.query_row(params![handle.to_string(), now], |row| row.get(0));
                Ok::<_, Error>(found.optional()?.map(timestamp))
            };
            handles.iter().map(&mut expiry).collect::<Result<Vec<_>>>()
        };
        self.shared.engine.read(query).await
    }

    async fn end(&self, user: UserId, handle: &SessionHandle) -> Result<bool> {
        let (handle, now) = (handle.clone(), self.now());
        let end = move |db: &Connection| {
            let mut end =
                db.prepare_cached("DELETE FROM sessions WHERE handle = ?1 AND user_id = ?2 AND expires_at > ?3")?;
            Ok::<_, Error>(end.execute(params![handle.to_string(), user.as_bytes(), now])? == 1)
        };
        self.shared.engine.write(end).await
    }

    async fn end_all(&self, user: UserId, except: Option<&SessionHandle>) -> Result<u64> {
        let (except, now) = (except.map(ToString::to_string), self.now());
        let end = move |db: &Connection| {
            let mut end =
                db.prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND handle IS NOT ?2 AND expires_at > ?3")?;
            Ok::<_, Error>(end.execute(params![user.as_bytes(), except, now])? as u64)
        };
        self.shared.engine.write(end).await
    }

    async fn create_many(&self, sessions: Vec<NewSession>) -> Result<()> {
        let now = self.now();
        for batch in sessions.chunks(BATCH.into()) {
            let keyed = |session: &NewSession| Keyed {
                id_hash: hash_of(session.id),
                stored: Stored::bare(session),
            };
            let batch: Vec<_> = batch.iter().map(keyed).collect();
            let insert = move |db: &Connection| {
                for session in &batch {
                    if !session.insert(db, now)? {
                        return Err(Error::Unavailable(format!(
                            "the id of session {} is taken",
                            session.stored.handle
                        )));
                    }
                }
                Ok(())
            };
            self.shared.engine.write(insert).await?;
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<u64> {
        let now = self.now();
        let mut swept = 0;
        loop {
            let sweep = move |db: &Connection| {
                let mut sweep = db.prepare_cached(
                    "DELETE FROM sessions WHERE id_hash IN
                         (SELECT id_hash FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
                )?;
                Ok::<_, Error>(sweep.execute(params![now, BATCH])?)
            };
            let rows = self.shared.engine.write(sweep).await?;
            swept += rows as u64;
            if rows < usize::from(BATCH) {
                return Ok(swept);
            }
        }
    }

    async fn ping(&self) -> Result<()> {
        let ping = |db: &Connection| Ok::<_, Error>(db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?);
        self.shared.engine.read(ping).await.map(drop)
    }
}

#[cfg(test)]
pub(crate) mod tests;
