//! Sessions in an SQLite file of their own, through the engine that every SQLite file here has.
//!
//! The file holds a hash of each session's id, never the id: who reads a backup can't log in with it. Requests read;
//! they write only what changed. When a session was last seen is noted at most once a minute, beside the request, and
//! a save that would only move the expiry by less than that is left out, so a busy session costs no commit per request.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{self, SessionStore};

use super::{ADDRESS_KEY, AGENT_KEY, Error, NewSession, Result, SessionHandle, SessionInfo, USER_KEY, UserSessions};
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
};

/// Fresh ids that `create` tries; with 128 random bits even the second is never needed, unless the randomness is
/// broken, and then it has to say so instead of trying for ever.
const ID_TRIES: usize = 4;
/// Rows that one transaction of a sweep or of a bulk creation touches, so that others get their turn.
const BATCH: u16 = 500;

const COLUMNS: &str = "handle, user_id, created_at, last_seen_at, expires_at, agent, address";

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

impl From<Error> for session_store::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(why) => Self::Backend(why),
            Error::Damaged(why) => Self::Decode(why),
        }
    }
}

/// What a session is found by: a hash over its id, other than the one that its handle is made of.
fn hash_of(id: Id) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"natter session id");
    hash.update(id.0.to_be_bytes());
    hash.finalize().into()
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// One row, as it is written.
struct Stored {
    id_hash: [u8; 32],
    handle: SessionHandle,
    user: Option<UserId>,
    data: String,
    agent: String,
    address: String,
    expires_at: i64,
}

impl Stored {
    fn of(record: &Record) -> session_store::Result<Self> {
        let encode = |why: String| session_store::Error::Encode(why);
        let text = |key| record.data.get(key).and_then(Value::as_str);
        let user = match record.data.get(USER_KEY) {
            None => None,
            Some(value) => {
                let id = value.as_str().and_then(|id| UserId::parse(id).ok());
                Some(id.ok_or_else(|| encode(format!("the session's {USER_KEY:?} is not a user id: {value}")))?)
            }
        };
        let short = |key| -> String {
            let text = text(key).unwrap_or_default();
            text.chars().take(limits::SESSION_TEXT_CHARS_MAX).collect()
        };
        let expires_at = record.expiry_date.unix_timestamp_nanos() / 1_000_000;
        Ok(Self {
            id_hash: hash_of(record.id),
            handle: SessionHandle::of(record.id),
            user,
            data: serde_json::to_string(&record.data).map_err(|error| encode(error.to_string()))?,
            agent: short(AGENT_KEY),
            address: short(ADDRESS_KEY),
            expires_at: i64::try_from(expires_at).unwrap_or(i64::MAX),
        })
    }

    /// Inserts it unless its id is taken; answers whether it was inserted.
    fn insert(&self, db: &Connection, now: i64) -> Result<bool> {
        let rows = db
            .prepare_cached(
                "INSERT INTO sessions
                     (id_hash, handle, user_id, data, agent, address, created_at, last_seen_at, expires_at)
                 VALUES (:id, :handle, :user, :data, :agent, :address, :now, :now, :expires)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(named_params! {
                ":id": self.id_hash, ":handle": self.handle.as_str(), ":user": self.user.map(|user| *user.as_bytes()),
                ":data": self.data, ":agent": self.agent, ":address": self.address,
                ":now": now, ":expires": self.expires_at,
            })?;
        Ok(rows == 1)
    }

    /// Writes it over the live row with its id; without one it writes nothing.
    fn update(&self, db: &Connection, now: i64) -> Result<()> {
        db.prepare_cached(
            "UPDATE sessions
             SET user_id = :user, data = :data, agent = :agent, address = :address, last_seen_at = :now,
                 expires_at = :expires
             WHERE id_hash = :id AND expires_at > :now",
        )?
        .execute(named_params! {
            ":id": self.id_hash, ":user": self.user.map(|user| *user.as_bytes()),
            ":data": self.data, ":agent": self.agent, ":address": self.address,
            ":now": now, ":expires": self.expires_at,
        })?;
        Ok(())
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
            let stored = Stored::of(record)?;
            if self.shared.engine.write(move |db| stored.insert(db, now)).await? {
                return Ok(());
            }
            record.id = Id::default();
        }
        Err(session_store::Error::Backend(format!(
            "{ID_TRIES} random session ids in a row were taken: the system's randomness is broken"
        )))
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let (stored, now) = (Stored::of(record)?, self.now());
        match self.find(stored.id_hash, now).await? {
            // It ended meanwhile; a request that still held it must not bring it back.
            None => Ok(()),
            Some(found) if found.data == stored.data && close_together(found.expires_at, stored.expires_at) => Ok(()),
            Some(_) => Ok(self.shared.engine.write(move |db| stored.update(db, now)).await?),
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

/// Reads a row of [`COLUMNS`].
fn info(row: &Row<'_>) -> rusqlite::Result<SessionInfo> {
    Ok(SessionInfo {
        handle: SessionHandle(row.get::<_, String>(0)?.into()),
        user: UserId::from_bytes(row.get(1)?),
        created_at: timestamp(row.get(2)?),
        last_seen_at: timestamp(row.get(3)?),
        expires_at: timestamp(row.get(4)?),
        agent: row.get(5)?,
        address: row.get(6)?,
    })
}

#[async_trait]
impl UserSessions for SqliteSessions {
    async fn list(&self, user: UserId) -> Result<Vec<SessionInfo>> {
        let now = self.now();
        let query = move |db: &Connection| {
            let mut list = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM sessions WHERE user_id = ?1 AND expires_at > ?2
                 ORDER BY created_at DESC, handle"
            ))?;
            let rows = list.query_map(params![user.as_bytes(), now], info)?;
            Ok::<_, Error>(rows.collect::<rusqlite::Result<_>>()?)
        };
        self.shared.engine.read(query).await
    }

    async fn live(&self, handle: &SessionHandle) -> Result<Option<SessionInfo>> {
        let (handle, now) = (handle.clone(), self.now());
        let query = move |db: &Connection| {
            let mut one = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM sessions WHERE handle = ?1 AND user_id IS NOT NULL AND expires_at > ?2"
            ))?;
            Ok::<_, Error>(one.query_row(params![handle.as_str(), now], info).optional()?)
        };
        self.shared.engine.read(query).await
    }

    async fn end(&self, user: UserId, handle: &SessionHandle) -> Result<bool> {
        let (handle, now) = (handle.clone(), self.now());
        let end = move |db: &Connection| {
            let mut end =
                db.prepare_cached("DELETE FROM sessions WHERE handle = ?1 AND user_id = ?2 AND expires_at > ?3")?;
            Ok::<_, Error>(end.execute(params![handle.as_str(), user.as_bytes(), now])? == 1)
        };
        self.shared.engine.write(end).await
    }

    async fn end_all(&self, user: UserId, except: Option<&SessionHandle>) -> Result<u64> {
        let (except, now) = (except.map(|handle| handle.as_str().to_owned()), self.now());
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
            let batch: Vec<_> = batch.iter().map(Stored::bare).collect();
            let insert = move |db: &Connection| {
                for session in &batch {
                    if !session.insert(db, now)? {
                        return Err(Error::Unavailable(format!(
                            "the id of session {} is taken",
                            session.handle
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

impl Stored {
    /// A session that holds nothing but its user.
    fn bare(session: &NewSession) -> Self {
        let data = HashMap::from([(USER_KEY, session.user)]);
        Self {
            id_hash: hash_of(session.id),
            handle: SessionHandle::of(session.id),
            user: Some(session.user),
            data: serde_json::to_string(&data).unwrap_or_default(),
            agent: String::new(),
            address: String::new(),
            expires_at: millis(session.expires_at),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
