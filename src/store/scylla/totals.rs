//! Figures without counting rows: each process notes what it has added itself, in a row of its own, every few seconds
//! and when it closes. A process that is killed takes a few seconds' worth with it, so these are figures for people and
//! nothing may depend on them.

use std::sync::Weak;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use super::ScyllaStore;
use super::rows::cql;
use crate::store::{Result, Totals};

/// The partition of all figures.
const PART: &str = "all";
/// How often a process notes its figures.
const INTERVAL: Duration = Duration::from_secs(10);

/// What this process has added.
#[derive(Debug, Default)]
pub(super) struct Added {
    users: AtomicI64,
    rooms: AtomicI64,
    messages: AtomicI64,
    noted: parking_lot::Mutex<[i64; 3]>,
}

impl Added {
    pub(super) fn user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn room(&self, by: i64) {
        self.rooms.fetch_add(by, Ordering::Relaxed);
    }

    pub(super) fn message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    fn all(&self) -> [i64; 3] {
        [&self.users, &self.rooms, &self.messages].map(|figure| figure.load(Ordering::Relaxed))
    }
}

impl ScyllaStore {
    /// Notes the figures if they have changed.
    pub(super) async fn note_totals(&self) -> Result<()> {
        let all = self.totals.all();
        if *self.totals.noted.lock() == all {
            return Ok(());
        }
        let [users, rooms, messages] = all;
        let values = (PART, cql(self.boot.as_bytes()), users, rooms, messages);
        self.cql.write(&self.cql.statements.totals_put, values).await?;
        *self.totals.noted.lock() = all;
        Ok(())
    }

    /// The figures of all processes, those of this one up to now.
    pub(super) async fn sum_totals(&self) -> Result<Totals> {
        type Row = (Uuid, Option<i64>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = self.cql.rows(&self.cql.statements.totals_all, (PART,)).await?;
        let mut sum = self.totals.all();
        for (boot, users, rooms, messages) in rows {
            if boot != cql(self.boot.as_bytes()) {
                for (sum, added) in sum.iter_mut().zip([users, rooms, messages]) {
                    *sum += added.unwrap_or_default();
                }
            }
        }
        let [users, rooms, messages] = sum.map(|figure| u64::try_from(figure).unwrap_or_default());
        Ok(Totals { users, rooms, messages })
    }
}

/// Notes the figures until the store is closed or gone.
pub(super) async fn keep(store: Weak<ScyllaStore>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(store) = store.upgrade().filter(|store| !store.cql.is_closed()) else {
            return;
        };
        if let Err(error) = store.note_totals().await {
            tracing::debug!(%error, "the totals can't be noted now");
        }
    }
}
