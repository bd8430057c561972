//! The way to the cluster: how the driver is set up, and what becomes of a server that says nothing.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::timestamp_generator::MonotonicTimestampGenerator;
use scylla::statement::{Consistency, SerialConsistency};

use super::options::ScyllaOptions;
use super::second::Second;
use super::session::Doubting;
use crate::limits;
use crate::store::{Error, Result};

/// Connects to the cluster, without a keyspace. `second` decides which statements a second server may get.
pub(super) async fn connect(options: &ScyllaOptions, second: Second) -> Result<Session> {
    let mut balancing = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &options.datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(limits::CQL_TIMEOUT))
        .load_balancing_policy(balancing.build())
        .retry_policy(Arc::new(Doubting))
        .speculative_execution_policy(Some(Arc::new(second)))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(limits::CQL_TIMEOUT)
        .keepalive_interval(Duration::from_secs(5))
        .keepalive_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        // Cassandra has no shards to connect to; ScyllaDB gets at least one connection for each of its own.
        .pool_size(PoolSize::PerHost(limits::CQL_CONNECTIONS_PER_NODE))
        .timestamp_generator(Arc::new(MonotonicTimestampGenerator::new()))
        // Which server holds what follows from the keyspace's replication: without it the driver could not send a
        // request to a replica right away.
        .keyspaces_to_fetch([options.keyspace.as_str()]);
    if let Some((user, password)) = &options.credentials {
        builder = builder.user(user, password);
    }
    builder = super::tls::encrypt(builder, options)?;
    // The driver itself waits for ever where a server takes a connection and then says nothing.
    let mut failed = "no answer in time".to_owned();
    for _ in 0..limits::CQL_OPEN_ATTEMPTS {
        match tokio::time::timeout(limits::CQL_OPEN, builder.build()).await {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(error)) => {
                failed = error.to_string();
                break;
            }
            Err(_) => tracing::warn!("no answer in time from {options}"),
        }
    }
    let advice = super::tls::advice(options, &failed);
    Err(Error::Refused(format!("no connection to {options}: {failed}{advice}")))
}
