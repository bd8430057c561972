//! Opens the embedded storage for commands, with what to do where it can't be.

use std::sync::Arc;

use anyhow::Context as _;

use crate::config::Config;
use crate::model::{SystemTime, Timestamp, WallClock as _};
use crate::sessions::sqlite::SqliteSessions;
use crate::store::sqlite::SqliteStore;

/// The present moment.
#[must_use]
pub fn now() -> Timestamp {
    SystemTime.now()
}

/// Opens the store, made and brought up to date if need be.
///
/// # Errors
/// What is wrong with the file or its folder.
pub fn open_store(config: &Config) -> anyhow::Result<Arc<SqliteStore>> {
    SqliteStore::open(&config.store_path(), Arc::new(SystemTime)).context("the store can't be opened")
}

/// Opens the sessions, made and brought up to date if need be.
///
/// # Errors
/// What is wrong with the file or its folder.
pub fn open_sessions(config: &Config) -> anyhow::Result<SqliteSessions> {
    SqliteSessions::open(&config.sessions_path(), Arc::new(SystemTime)).context("the sessions can't be opened")
}
