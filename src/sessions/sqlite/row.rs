//! A session's row: how a record becomes one, and how one becomes what its owner sees.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, named_params};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use super::super::{ADDRESS_KEY, AGENT_KEY, NewSession, Result, SessionHandle, SessionInfo, USER_KEY};
use crate::limits;
use crate::model::{Timestamp, UserId};

/// The columns that [`info`] reads.
pub(super) const COLUMNS: &str = "handle, user_id, created_at, last_seen_at, expires_at, agent, address";

/// What a session is found by: a hash over its id, other than the one that its handle is made of.
pub(super) fn hash_of(id: Id) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"natter session id");
    hash.update(id.0.to_be_bytes());
    hash.finalize().into()
}

pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// One row, as it is written.
pub(super) struct Stored {
    pub(super) id_hash: [u8; 32],
    pub(super) handle: SessionHandle,
    user: Option<UserId>,
    pub(super) data: String,
    agent: String,
    address: String,
    pub(super) expires_at: i64,
}

impl Stored {
    pub(super) fn of(record: &Record) -> session_store::Result<Self> {
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
        // In the order of keys, so that equal data reads the same and a save that changes nothing is noticed.
        let in_order: BTreeMap<_, _> = record.data.iter().collect();
        let expires_at = record.expiry_date.unix_timestamp_nanos() / 1_000_000;
        Ok(Self {
            id_hash: hash_of(record.id),
            handle: SessionHandle::of(record.id),
            user,
            data: serde_json::to_string(&in_order).map_err(|error| encode(error.to_string()))?,
            agent: short(AGENT_KEY),
            address: short(ADDRESS_KEY),
            expires_at: i64::try_from(expires_at).unwrap_or(i64::MAX),
        })
    }

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
                ":id": self.id_hash, ":handle": self.handle.as_str(), ":user": self.user.map(|user| *user.as_bytes()),
                ":data": self.data, ":agent": self.agent, ":address": self.address,
                ":now": now, ":expires": self.expires_at,
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
            ":id": self.id_hash, ":user": self.user.map(|user| *user.as_bytes()),
            ":data": self.data, ":agent": self.agent, ":address": self.address,
            ":now": now, ":expires": self.expires_at,
        })?;
        Ok(())
    }
}

impl Stored {
    /// A session that holds nothing but its user.
    pub(super) fn bare(session: &NewSession) -> Self {
        let data = BTreeMap::from([(USER_KEY, session.user)]);
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

/// Reads a row of [`COLUMNS`].
pub(super) fn info(row: &Row<'_>) -> rusqlite::Result<SessionInfo> {
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
