//! The server as clients meet it: a process of its own, real sockets, a real database. One module per promise.

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod counts;
mod crash;
mod direct;
mod metrics;
mod nonce;
mod order;
mod presence;
mod proxied;
mod refusals;
mod resume;
mod revocation;
mod rooms;
mod slow;
mod sockets;
mod stop;
mod traces;
