//! The conformance suite, and what opening a store promises.

use std::sync::Arc;

use async_trait::async_trait;

use super::{options, shared};
use crate::model::{SharedClock, SystemTime};
use crate::store::Store;
use crate::store::conformance::{CLAUSES, Subject, check};
use crate::store::scylla::{Migrated, OpenError, ScyllaOptions, ScyllaStore, migrate};

struct Cluster {
    options: ScyllaOptions,
    store: Arc<ScyllaStore>,
}

async fn open(options: &ScyllaOptions) -> Result<Arc<ScyllaStore>, OpenError> {
    ScyllaStore::connect(options, Arc::new(SharedClock::new(Arc::new(SystemTime)))).await
}

#[async_trait]
impl Subject for Cluster {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    /// Another process finds what the servers have; that they survive a power cut is their own to show.
    async fn reborn(&self) -> anyhow::Result<Arc<dyn Store>> {
        Ok(open(&self.options).await?)
    }

    /// The servers' disks are not ours to fill.
    async fn fill(&self, _full: bool) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cql_server_keeps_every_clause() {
    let Some(options) = shared().await else { return };
    let mut failed = Vec::new();
    for clause in CLAUSES {
        let store = open(&options).await.unwrap();
        let subject = Cluster {
            options: options.clone(),
            store,
        };
        if let Err(error) = check(clause, &subject).await {
            failed.push(format!("{clause}: {error:#}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_opens_only_on_the_schema_it_knows_and_says_what_to_do() {
    let keyspace = format!("natter_test_{:08x}", rand::random::<u32>());
    let Some(options) = options(&keyspace) else { return };
    let refused = open(&options).await.err().unwrap().to_string();
    assert!(refused.contains("does not exist: run `natter migrate`"), "{refused}");
    let session = scylla::client::session_builder::SessionBuilder::new()
        .known_nodes(&options.nodes)
        .build()
        .await
        .unwrap();
    let run = async |text: String| session.query_unpaged(text, ()).await.map(drop).unwrap();
    run(format!(
        "CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'replication_factor': '1'}}"
    ))
    .await;
    let behind = open(&options).await.err().unwrap();
    assert!(
        matches!(
            behind,
            OpenError::Behind {
                found: 0,
                wanted: 1,
                ..
            }
        ),
        "{behind}"
    );
    assert!(behind.to_string().ends_with("run `natter migrate`"), "{behind}");

    // Two at once: one waits for the other and finds nothing left to do.
    let (one, other) = tokio::join!(migrate(&options), migrate(&options));
    let mut both = [one.unwrap(), other.unwrap()].map(|Migrated { from, to, .. }| (from, to));
    both.sort_unstable();
    assert_eq!(both, [(0, 1), (1, 1)]);
    open(&options).await.unwrap();

    // A later version that earlier programs can live with is none of their business, nor is a column they don't know.
    // A file that was cut short is applied again, also where it adds columns.
    for _ in 0..2 {
        let add = format!("ALTER TABLE {keyspace}.messages ADD colour text");
        super::super::migrate::run(&session, "0002_next.cql", &add)
            .await
            .unwrap();
    }
    run(format!(
        "INSERT INTO {keyspace}.schema_versions (part, version, runs_with, name) VALUES ('schema', 2, 1, 'next')"
    ))
    .await;
    open(&options).await.unwrap();
    assert_eq!(migrate(&options).await.unwrap().to, 2);
    run(format!(
        "INSERT INTO {keyspace}.schema_versions (part, version, runs_with, name) VALUES ('schema', 3, 3, 'next')"
    ))
    .await;
    let ahead = open(&options).await.err().unwrap();
    assert!(
        matches!(
            ahead,
            OpenError::Ahead {
                found: 3,
                needed: 3,
                known: 1,
                ..
            }
        ),
        "{ahead}"
    );
    assert!(matches!(migrate(&options).await, Err(OpenError::Ahead { .. })));
    run(format!("DROP KEYSPACE {keyspace}")).await;
}
