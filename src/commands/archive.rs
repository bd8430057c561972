//! `natter export` and `natter import`: the whole store as one archive, for backups and moves.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::app::OpenStore;
use crate::config::Config;
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

/// Writes the store to an archive. Works beside running servers. Of a file it sees one moment; of servers it sees each
/// row at its own, so what is said meanwhile may be in it or not.
///
/// # Errors
/// If there is no store, it can't be read, or the file can't be written.
pub async fn export(config: &Config, arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    if let Some(path) = config.store_path() {
        ensure!(
            path.exists(),
            "there is no store at {} to export; is --data-dir right?",
            path.display()
        );
    }
    let to = Destination::at(&arguments.file)?;
    // Opening it tells whether this program knows its schema: of a later one it would leave things out unseen.
    let store = OpenStore::open(config).await?;
    let records = match &store {
        OpenStore::Sqlite(_) => {
            store.shared().close().await;
            let path = config.store_path().context("the store has no file")?;
            tokio::task::spawn_blocking(move || -> anyhow::Result<u64> {
                let (records, out) = archive::export(&path, to.open()?, storage::now())?;
                to.finish(out)?;
                Ok(records)
            })
            .await??
        }
        OpenStore::Cql(cql, _) => {
            let (records, out) = cql.export(to.open()?, storage::now()).await?;
            store.shared().close().await;
            to.finish(out)?;
            records
        }
    };
    eprintln!("{records} records were written");
    Ok(ExitCode::SUCCESS)
}

/// Where an archive goes: its name appears only once it is whole and on disk.
struct Destination {
    /// The file and the name it has until then; `None` for standard output.
    file: Option<(PathBuf, PathBuf)>,
}

impl Destination {
    fn at(file: &Path) -> anyhow::Result<Self> {
        if file == Path::new("-") {
            return Ok(Self { file: None });
        }
        ensure!(!file.exists(), "{} exists already; choose another name", file.display());
        let mut partial = file.as_os_str().to_owned();
        partial.push(".partial");
        let file = Some((file.to_owned(), PathBuf::from(partial)));
        Ok(Self { file })
    }

    fn open(&self) -> anyhow::Result<Out> {
        Ok(match &self.file {
            None => Out::Standard(BufWriter::new(io::stdout())),
            Some((_, partial)) => {
                let file = File::create(partial).with_context(|| format!("{} can't be made", partial.display()))?;
                Out::File(BufWriter::new(file))
            }
        })
    }

    fn finish(&self, out: Out) -> anyhow::Result<()> {
        match (out, &self.file) {
            (Out::File(out), Some((file, partial))) => {
                out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                std::fs::rename(partial, file).with_context(|| format!("{} can't be made", file.display()))
            }
            (mut out, _) => Ok(out.flush()?),
        }
    }
}

/// What an archive is written to.
enum Out {
    Standard(BufWriter<io::Stdout>),
    File(BufWriter<File>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}

/// Reads an archive into an empty store.
///
/// # Errors
/// If the store is not empty, or the archive is not whole. A file is then as it was; on servers what was stored stays,
/// and the keyspace has to be dropped before another try.
pub async fn import(config: &Config, arguments: &ImportArguments) -> anyhow::Result<ExitCode> {
    let file = arguments.file.clone();
    let from = move || -> anyhow::Result<BufReader<Box<dyn Read + Send>>> {
        Ok(BufReader::new(if file == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(&file).with_context(|| format!("{} can't be opened", file.display()))?)
        }))
    };
    // Opening a file makes it and its tables.
    let store = OpenStore::open(config).await?;
    let records = match &store {
        OpenStore::Sqlite(_) => {
            store.shared().close().await;
            let path = config.store_path().context("the store has no file")?;
            let read = move || -> anyhow::Result<u64> { Ok(archive::import(&path, from()?)?) };
            tokio::task::spawn_blocking(read).await??
        }
        OpenStore::Cql(cql, _) => {
            let records = cql.import(from()?).await?;
            store.shared().close().await;
            records
        }
    };
    println!("{records} records were read; everybody logs in again");
    Ok(ExitCode::SUCCESS)
}
