//! The audit log, a partition for each day. A second table says which days have lines, so that reading back over a
//! quiet year costs one read.

use async_trait::async_trait;
use scylla::value::MaybeUnset;
use uuid::Uuid;

use super::ScyllaStore;
use super::rows::{END, cql, event_id, limit, start, user_id};
use super::session::after_a_write;
use crate::model::{EventId, UserId};
use crate::store::{AuditEntry, AuditStore, NewAuditEntry, Result};

/// The partition of all days.
const DAYS: &str = "all";

type AuditColumns = (
    Uuid,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

fn day_of(id: EventId) -> i64 {
    start(id.timestamp().millis() / 86_400_000)
}

fn entry((id, actor, actor_name, action, target, detail): AuditColumns) -> AuditEntry {
    AuditEntry {
        id: event_id(id),
        actor: actor.map(user_id),
        actor_name: actor_name.unwrap_or_default(),
        action: action.unwrap_or_default(),
        target: target.unwrap_or_default(),
        detail: detail.unwrap_or_default(),
    }
}

impl ScyllaStore {
    pub(super) async fn insert_audit(&self, entry: &AuditEntry) -> Result<()> {
        let day = day_of(entry.id);
        self.cql.write(&self.cql.statements.audit_day_add, (DAYS, day)).await?;
        let values = (
            day,
            cql(entry.id.as_bytes()),
            MaybeUnset::from_option(entry.actor.as_ref().map(UserId::as_bytes).map(cql)),
            entry.actor_name.as_str(),
            entry.action.as_str(),
            entry.target.as_str(),
            entry.detail.as_str(),
        );
        self.cql
            .write(&self.cql.statements.audit_insert, values)
            .await
            .map_err(after_a_write)
    }
}

#[async_trait]
impl AuditStore for ScyllaStore {
    async fn append_audit(&self, new: NewAuditEntry) -> Result<AuditEntry> {
        let entry = AuditEntry {
            id: self.clock.next(rand::random()),
            actor: new.actor,
            actor_name: new.actor_name,
            action: new.action,
            target: new.target,
            detail: new.detail,
        };
        self.insert_audit(&entry).await?;
        Ok(entry)
    }

    async fn audit(&self, before: Option<EventId>, wanted: usize) -> Result<Vec<AuditEntry>> {
        let before = before.unwrap_or(END);
        let days: Vec<(i64,)> = self
            .cql
            .rows(&self.cql.statements.audit_days, (DAYS, day_of(before)))
            .await?;
        let mut found = Vec::new();
        for (day,) in days {
            let values = (day, cql(before.as_bytes()), limit(wanted - found.len()));
            let lines: Vec<AuditColumns> = self.cql.rows(&self.cql.statements.audit_day, values).await?;
            found.extend(lines.into_iter().map(entry));
            if found.len() >= wanted {
                break;
            }
        }
        Ok(found)
    }
}
