//! `natter export` and `natter import`: the whole store as one archive, for backups and moves.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::config::Config;
use crate::store::Store as _;
use crate::store::sqlite::archive;

use super::storage;

/// Where the archive goes.
#[derive(Debug, Clone, Args)]
pub struct ExportArguments {
    /// The file to write; it must not exist. "-" is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Where the archive is.
#[derive(Debug, Clone, Args)]
pub struct ImportArguments {
    /// The file to read; "-" is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Writes the store to an archive. Works beside a running server: it sees one moment.
///
/// # Errors
/// If there is no store, it can't be read, or the file can't be written.
pub async fn export(config: &Config, arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    let (store, file) = (storage::store_path(config)?, arguments.file.clone());
    ensure!(
        store.exists(),
        "there is no store at {} to export; is --data-dir right?",
        store.display()
    );
    // Opening it tells whether this program knows its schema: of a later one it would leave things out unseen.
    storage::open_store(config)?.close().await;
    let records = tokio::task::spawn_blocking(move || write(&store, &file)).await??;
    eprintln!("{records} records were written");
    Ok(ExitCode::SUCCESS)
}

fn write(store: &Path, file: &Path) -> anyhow::Result<u64> {
    if file == Path::new("-") {
        let (records, mut out) = archive::export(store, BufWriter::new(io::stdout().lock()), storage::now())?;
        out.flush()?;
        return Ok(records);
    }
    ensure!(!file.exists(), "{} exists already; choose another name", file.display());
    // The name appears only once the archive is whole and on disk.
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let out = File::create(&partial).with_context(|| format!("{} can't be made", partial.display()))?;
    let (records, out) = archive::export(store, BufWriter::new(out), storage::now())?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&partial, file).with_context(|| format!("{} can't be made", file.display()))?;
    Ok(records)
}

/// Reads an archive into an empty store.
///
/// # Errors
/// If the store is not empty, or the archive is not whole; the store is then as it was.
pub async fn import(config: &Config, arguments: &ImportArguments) -> anyhow::Result<ExitCode> {
    // Opening it makes the file and its tables.
    storage::open_store(config)?.close().await;
    let (store, file) = (storage::store_path(config)?, arguments.file.clone());
    let read = move || -> anyhow::Result<u64> {
        let from: Box<dyn Read> = if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&file).with_context(|| format!("{} can't be opened", file.display()))?)
        };
        Ok(archive::import(&store, BufReader::new(from))?)
    };
    let records = tokio::task::spawn_blocking(read).await??;
    println!("{records} records were read; everybody logs in again");
    Ok(ExitCode::SUCCESS)
}
