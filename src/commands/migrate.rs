//! `natter migrate`: brings what is stored to this version's schema. `serve` does the same for files at its start, and
//! never for servers: with those, several nodes run, and somebody has to decide when.

use std::process::ExitCode;

use crate::app::{OpenSessions, OpenStore};
use crate::config::Config;

/// Makes or updates what is stored.
///
/// # Errors
/// What is wrong with a file or a server, or with a step of a schema.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let store = OpenStore::migrated(config).await?.shared();
    store.ping().await?;
    match config.store_path() {
        Some(path) => println!("store: {} is up to date", path.display()),
        None => println!("store: the keyspace is up to date"),
    }
    store.close().await;
    let sessions = OpenSessions::open(config).await?;
    sessions.users().ping().await?;
    match config.sessions_path() {
        Some(path) => println!("sessions: {} is up to date", path.display()),
        None => println!("sessions: Redis answers, and needs no schema"),
    }
    sessions.close().await;
    Ok(ExitCode::SUCCESS)
}
