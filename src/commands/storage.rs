//! Opens the embedded storage for commands, with what to do where it can't be.

use std::path::PathBuf;
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

/// The store's file.
///
/// # Errors
/// If the store is on servers.
pub fn store_path(config: &Config) -> anyhow::Result<PathBuf> {
    config
        .store_path()
        .context("this build has no store on servers; give --store sqlite")
}

/// The sessions' file.
///
/// # Errors
/// If sessions are on servers.
pub fn sessions_path(config: &Config) -> anyhow::Result<PathBuf> {
    config
        .sessions_path()
        .context("this build has no sessions on servers; give --sessions sqlite")
}

/// Opens the store, made and brought up to date if need be.
///
/// # Errors
/// What is wrong with the file or its folder.
pub fn open_store(config: &Config) -> anyhow::Result<Arc<SqliteStore>> {
    SqliteStore::open(&store_path(config)?, Arc::new(SystemTime)).context("the store can't be opened")
}

/// Opens the sessions, made and brought up to date if need be.
///
/// # Errors
/// What is wrong with the file or its folder.
pub fn open_sessions(config: &Config) -> anyhow::Result<SqliteSessions> {
    SqliteSessions::open(&sessions_path(config)?, Arc::new(SystemTime)).context("the sessions can't be opened")
}
