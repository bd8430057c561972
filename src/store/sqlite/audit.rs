//! The audit log. Its ids come from the same clock as the messages', so the log reads in the order of what happened.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::params;

use super::SqliteStore;
use super::rows::{self, integer};
use crate::model::{EventId, UserId};
use crate::store::{AuditEntry, AuditStore, NewAuditEntry, Result};

const INSERT: &str =
    "INSERT INTO audit (id, actor_id, actor_name, action, target, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const NEWEST: &str = "SELECT id, actor_id, actor_name, action, target, detail FROM audit
    WHERE id < ?1 ORDER BY id DESC LIMIT ?2";

#[async_trait]
impl AuditStore for SqliteStore {
    async fn append_audit(&self, entry: NewAuditEntry) -> Result<AuditEntry> {
        let ids = Arc::clone(&self.ids);
        self.engine
            .write(move |db| {
                let id = ids.lock().next_random();
                db.prepare_cached(INSERT)?.execute(params![
                    id.as_bytes(),
                    entry.actor.as_ref().map(UserId::as_bytes),
                    entry.actor_name,
                    entry.action,
                    entry.target,
                    entry.detail
                ])?;
                Ok(AuditEntry {
                    id,
                    actor: entry.actor,
                    actor_name: entry.actor_name,
                    action: entry.action,
                    target: entry.target,
                    detail: entry.detail,
                })
            })
            .await
    }

    async fn audit(&self, before: Option<EventId>, limit: usize) -> Result<Vec<AuditEntry>> {
        self.engine
            .read(move |db| {
                let before = before.map_or([0xff; 16], |id| *id.as_bytes());
                let mut statement = db.prepare_cached(NEWEST)?;
                let found = statement.query_map(params![before, integer(limit)], |row| {
                    Ok(AuditEntry {
                        id: rows::event_id(row, 0)?,
                        actor: row.get::<_, Option<[u8; 16]>>(1)?.map(UserId::from_bytes),
                        actor_name: row.get(2)?,
                        action: row.get(3)?,
                        target: row.get(4)?,
                        detail: row.get(5)?,
                    })
                })?;
                Ok(found.collect::<Result<_, _>>()?)
            })
            .await
    }
}
