//! The store that the configuration names, opened.

use std::sync::Arc;

use anyhow::{Context as _, bail};

use crate::config::{Config, StoreAt};
use crate::metrics::{Metrics, raise};
use crate::model::{Message, SharedClock, SystemTime};
use crate::store::Store;
use crate::store::scylla::{self, Migrated, ScyllaOptions, ScyllaStore, StatementKind};
use crate::store::sqlite::SqliteStore;

use super::place;

/// A store that is open, of whichever kind.
#[derive(Clone)]
pub enum OpenStore {
    /// In a file of this node.
    Sqlite(Arc<SqliteStore>),
    /// On ScyllaDB or Cassandra, with the clock that names what it stores.
    Cql(Arc<ScyllaStore>, Arc<SharedClock>),
}

impl OpenStore {
    /// Opens it. A file is made and brought up to date; a schema on servers must be up to date.
    ///
    /// # Errors
    /// What is wrong with the file or the servers, with the key that names them and what to do.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        match &config.store {
            StoreAt::Sqlite(_) => {
                let Some(path) = config.store_path() else {
                    bail!("{} names no file", place(config, "store"));
                };
                // Opening a file may take a while: another process may hold it, a journal may have to be read.
                let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, Arc::new(SystemTime)));
                Ok(Self::Sqlite(opened.await??))
            }
            StoreAt::Cql(address) => {
                let context = || format!("{} can't be used", place(config, "store"));
                let options = ScyllaOptions::of(address).with_context(context)?;
                let clock = Arc::new(SharedClock::new(Arc::new(SystemTime)));
                let store = ScyllaStore::connect(&options, Arc::clone(&clock)).await;
                Ok(Self::Cql(store.with_context(context)?, clock))
            }
        }
    }

    /// Opens it after its schema was made or brought up to date.
    ///
    /// # Errors
    /// As [`OpenStore::open`], and what is wrong with a step of the schema.
    pub async fn migrated(config: &Config) -> anyhow::Result<Self> {
        if let StoreAt::Cql(address) = &config.store {
            let context = || format!("{} can't be migrated", place(config, "store"));
            let options = ScyllaOptions::of(address).with_context(context)?;
            let Migrated { from, to, overlay } = scylla::migrate(&options).await.with_context(context)?;
            let options = if overlay { ", with ScyllaDB's own options" } else { "" };
            println!("store: schema {from} before, {to} now{options}");
        }
        Self::open(config).await
    }

    /// What gives the ids of this node's events. A file has one node, and gives them itself.
    pub fn ids(&self) -> Option<Arc<SharedClock>> {
        match self {
            Self::Sqlite(_) => None,
            Self::Cql(_, clock) => Some(Arc::clone(clock)),
        }
    }

    /// Lets the metrics hear how long statements take.
    pub fn time(&self, metrics: &Arc<Metrics>) {
        if let Self::Cql(store, _) = self {
            let metrics = Arc::clone(metrics);
            store.on_latency(Arc::new(move |kind, took| {
                let kind = match kind {
                    StatementKind::Range => "range",
                    StatementKind::Read => "read",
                    StatementKind::Write => "write",
                    StatementKind::Lwt => "lwt",
                };
                metrics.store_seconds.of(kind).observe(took.as_secs_f64());
            }));
        }
    }

    /// The store as everybody else knows it.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Cql(store, _) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// Stores messages as they are, with their ids; answers how many were written.
    ///
    /// # Errors
    /// As for any write; what was stored before the error stays.
    pub async fn seed_messages(&self, messages: Vec<Message>) -> crate::store::Result<u64> {
        match self {
            Self::Sqlite(store) => store.seed_messages(messages).await,
            Self::Cql(store, _) => store.seed_messages(messages).await,
        }
    }

    /// Brings the store's own counts into the metrics.
    pub fn feed(&self, metrics: &Metrics) {
        use std::sync::atomic::Ordering::Relaxed;
        match self {
            Self::Sqlite(store) => {
                let counts = store.counters();
                raise(
                    metrics.store_reads.of("message_range"),
                    counts.range_reads.load(Relaxed),
                );
                raise(metrics.store_reads.of("other"), counts.other_reads.load(Relaxed));
                raise(&metrics.store_writes, counts.writes.load(Relaxed));
                raise(&metrics.store_commits, counts.commits.load(Relaxed));
                raise(&metrics.store_commits_failed, counts.failed_commits.load(Relaxed));
                raise(&metrics.store_checkpoints, counts.checkpoints.load(Relaxed));
            }
            Self::Cql(store, _) => {
                let counts = store.counters();
                raise(
                    metrics.store_reads.of("message_range"),
                    counts.range_reads.load(Relaxed),
                );
                raise(metrics.store_reads.of("other"), counts.other_reads.load(Relaxed));
                raise(&metrics.store_writes, counts.writes.load(Relaxed));
                raise(&metrics.store_lwts, counts.lwts.load(Relaxed));
                raise(&metrics.store_failures, counts.failures.load(Relaxed));
                raise(&metrics.store_late, counts.late.load(Relaxed));
                raise(&metrics.store_buckets, counts.rolls.load(Relaxed));
                raise(&metrics.store_walked, counts.walked.load(Relaxed));
                for (name, runs, took) in store.ran() {
                    #[expect(clippy::cast_precision_loss, reason = "a count is far below 2^52")]
                    metrics.store_statements.raise(name, runs as f64);
                    metrics.store_statement_seconds.raise(name, took.as_secs_f64());
                }
            }
        }
    }
}
