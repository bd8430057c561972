//! A session's row: how what is stored becomes one, and how one becomes what its owner sees.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, named_params};
use sha2::{Digest, Sha256};
use tower_sessions::session::Id;

use super::super::stored::{Stored, timestamp};
use super::super::{Result, SessionHandle, SessionInfo};
use crate::model::UserId;

/// The columns that [`info`] reads.
pub(super) const COLUMNS: &str = "handle, user_id, created_at, last_seen_at, expires_at, agent, address";

/// What a session is found by: a hash over its id, other than the one that its handle is made of.
pub(super) fn hash_of(id: Id) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"natter session id");
    hash.update(id.0.to_be_bytes());
    hash.finalize().into()
}

/// What is stored of a session, beside what it is found by.
pub(super) struct Keyed {
    pub(super) id_hash: [u8; 32],
    pub(super) stored: Stored,
}

impl Keyed {
    /// Inserts it unless its id is taken; answers whether it was inserted.
    pub(super) fn insert(&self, db: &Connection, now: i64) -> Result<bool> {
        let rows = db
            .prepare_cached(
                "INSERT INTO sessions
                     (id_hash, handle, user_id, data, agent, address, created_at, last_seen_at, expires_at)
                 VALUES (:id, :handle, :user, :data, :agent, :address, :now, :now, :expires)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(named_params! {
                ":id": self.id_hash, ":handle": self.stored.handle.to_string(), ":user": self.stored.user.map(|user| *user.as_bytes()),
                ":data": self.stored.data, ":agent": self.stored.agent, ":address": self.stored.address,
                ":now": now, ":expires": self.stored.expires_at,
            })?;
        Ok(rows == 1)
    }

    /// Writes it over the live row with its id; without one it writes nothing.
    pub(super) fn update(&self, db: &Connection, now: i64) -> Result<()> {
        db.prepare_cached(
            "UPDATE sessions
             SET user_id = :user, data = :data, agent = :agent, address = :address, last_seen_at = :now,
                 expires_at = :expires
             WHERE id_hash = :id AND expires_at > :now",
        )?
        .execute(named_params! {
            ":id": self.id_hash, ":user": self.stored.user.map(|user| *user.as_bytes()),
            ":data": self.stored.data, ":agent": self.stored.agent, ":address": self.stored.address,
            ":now": now, ":expires": self.stored.expires_at,
        })?;
        Ok(())
    }
}

fn handle(text: &str) -> rusqlite::Result<SessionHandle> {
    let damaged = || rusqlite::Error::FromSqlConversionFailure(0, Type::Text, "not 32 hex digits".into());
    SessionHandle::parse(text).ok_or_else(damaged)
}

/// Reads a row of [`COLUMNS`].
pub(super) fn info(row: &Row<'_>) -> rusqlite::Result<SessionInfo> {
    Ok(SessionInfo {
        handle: handle(row.get_ref(0)?.as_str()?)?,
        user: UserId::from_bytes(row.get(1)?),
        created_at: timestamp(row.get(2)?),
        last_seen_at: timestamp(row.get(3)?),
        expires_at: timestamp(row.get(4)?),
        agent: row.get(5)?,
        address: row.get(6)?,
    })
}
