//! `natter migrate`: brings the databases to this version's schema. `serve` does the same at its start; this is for
//! those who want it done, and seen, beforehand.

use std::process::ExitCode;

use crate::config::Config;
use crate::sessions::UserSessions as _;
use crate::store::Store as _;

use super::storage;

/// Opens both databases, which makes or updates them.
///
/// # Errors
/// What is wrong with a file, or with a step of a schema.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let store = storage::open_store(config)?;
    store.ping().await?;
    println!("store: {} is up to date", storage::store_path(config)?.display());
    store.close().await;
    let sessions = storage::open_sessions(config)?;
    sessions.ping().await?;
    println!("sessions: {} is up to date", storage::sessions_path(config)?.display());
    sessions.close().await;
    Ok(ExitCode::SUCCESS)
}
