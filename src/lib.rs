//! Natter, a horizontally scaled chat server. ARCHITECTURE.md has the map and the order in which modules may use each
//! other; `tests/tidy.rs` holds it.
#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod channel_layer;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod conn;
pub mod control_log;
pub mod dense;
pub mod fanout;
pub mod http;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod model;
#[cfg(feature = "next-version")]
pub mod next_version;
pub mod presence;
pub mod process;
pub mod redis_link;
pub mod rooms;
pub mod sessions;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod throttle;
pub mod wire;
