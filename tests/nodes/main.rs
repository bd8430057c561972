//! Several nodes as one chat server: real processes over real NATS, Redis and CQL servers, also while these fail.
//!
//! Each test has a NATS and a Redis server of its own, which cost milliseconds, and shares the CQL server of the
//! environment in one keyspace; names are drawn so that tests don't meet. Between a node and each of its servers stands
//! a proxy that can hold, delay or cut what passes.

#[path = "../common/mod.rs"]
mod common;
#[path = "../judge/mod.rs"]
mod judge;

mod alerts;
mod balanced;
mod cassandra;
mod counts;
mod crowd;
mod delivery;
mod elsewhere;
mod encrypted;
mod fault;
mod faults;
mod ground;
mod hard;
mod matrix;
mod metrics;
mod parting;
mod person;
mod presence;
mod proxy;
mod raw;
mod recorder;
mod revocation;
mod rolling_change;
mod rolling_restart;
mod samples;
mod servers;
mod stores;
mod uncommon;
mod without_redis;
mod world;
