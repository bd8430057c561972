//! The store of a cluster: ScyllaDB or Cassandra, by CQL. `cql/README.md` describes the tables.
//!
//! Every write is durable on a quorum of the local data centre when it returns. The node's shared clock names what is
//! written; rooms let it observe what other nodes have written. Nothing here depends on the order in which writes
//! reach the servers: write timestamps follow from ids (`stamp`), rows are never deleted, and lightweight transactions
//! settle only what must be unique (names, and the uses of invites).

mod accounts;
mod append;
mod archive;
mod audit;
mod buckets;
mod changes;
mod connect;
mod fill;
mod index;
mod listing;
mod members;
mod migrate;
mod options;
mod reading;
mod rooms;
mod rows;
mod second;
mod session;
mod stamp;
mod statements;
mod tls;
mod totals;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;

pub use buckets::BucketLimits;
pub use migrate::{Migrated, OpenError, migrate};
pub use options::{OptionsError, ScyllaOptions};
pub use session::{Counters, LatencyHook, StatementKind};

use super::{Error, Result, Store, Totals};
use crate::limits;
use crate::model::{BootId, SharedClock};
use index::Indexes;
use second::Second;
use session::Cql;
use statements::Statements;

/// The store of a cluster.
pub struct ScyllaStore {
    cql: Cql,
    clock: Arc<SharedClock>,
    indexes: Indexes,
    totals: totals::Added,
    boot: BootId,
    bucket_limits: BucketLimits,
    late_after: Duration,
    me: Weak<Self>,
}

/// What tests may scale down.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// When buckets roll.
    pub buckets: BucketLimits,
    /// After how long a message or change counts as late.
    pub late_after: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            buckets: BucketLimits::REAL,
            late_after: limits::LATE_AFTER,
        }
    }
}

impl ScyllaStore {
    /// Connects to the cluster and checks that its schema is the one this program knows.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do: `natter migrate`, where the schema is not there yet.
    pub async fn connect(options: &ScyllaOptions, clock: Arc<SharedClock>) -> Result<Arc<Self>, OpenError> {
        Self::connect_tuned(options, clock, Tuning::default()).await
    }

    /// [`ScyllaStore::connect`] with limits other than a server's, for tests that scale time and rows down.
    ///
    /// # Errors
    /// As for [`ScyllaStore::connect`].
    pub async fn connect_tuned(
        options: &ScyllaOptions,
        clock: Arc<SharedClock>,
        tuning: Tuning,
    ) -> Result<Arc<Self>, OpenError> {
        let second = Second::new();
        let session = connect::connect(options, second.clone()).await?;
        migrate::enter(&session, &options.keyspace).await?;
        migrate::check(&session, &options.keyspace).await?;
        let statements = Statements::prepare(&session).await?;
        let store = Arc::new_cyclic(|me| Self {
            cql: Cql::new(session, statements, second),
            clock,
            indexes: Indexes::default(),
            totals: totals::Added::default(),
            boot: BootId::random(),
            bucket_limits: tuning.buckets,
            late_after: tuning.late_after,
            me: Weak::clone(me),
        });
        tokio::spawn(totals::keep(Arc::downgrade(&store)));
        Ok(store)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.cql.counters
    }

    /// Each statement's name, how often it was run, and how long that took in all.
    #[must_use]
    pub fn ran(&self) -> Vec<(&'static str, u64, Duration)> {
        self.cql.statements.ran()
    }

    /// Lets somebody hear how long each statement takes, for metrics.
    pub fn on_latency(&self, hook: LatencyHook) {
        self.cql.on_latency(hook);
    }

    fn me(&self) -> Result<Arc<Self>> {
        self.me
            .upgrade()
            .ok_or_else(|| Error::Refused("the store is closed".into()))
    }
}

#[async_trait]
impl Store for ScyllaStore {
    async fn ping(&self) -> Result<()> {
        let found: Option<(i32,)> = self.cql.first(&self.cql.statements.ping, ("schema",)).await?;
        found
            .map(drop)
            .ok_or_else(|| Error::Damaged("the schema's version is gone".into()))
    }

    async fn totals(&self) -> Result<Totals> {
        self.sum_totals().await
    }

    async fn close(&self) {
        if let Err(error) = self.note_totals().await {
            tracing::debug!(%error, "the totals can't be noted any more");
        }
        self.cql.close().await;
    }
}
