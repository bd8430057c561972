//! Opening a database file: whose it is, how it is tuned, which migrations it lacks.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a statement waits for another process's write before it is refused.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection: more than there are statements.
const STATEMENTS_KEPT: usize = 128;
/// Page cache of each reader, in KiB: the upper levels of the trees. Beyond it the kernel's cache serves, which keeps each
/// page once and not once for each reader.
const READER_CACHE_KIB: i64 = 512;
/// Bytes of the log that are kept on disk after a checkpoint.
const LOG_BYTES_KEPT: i64 = 64 * 1024 * 1024;

/// One step of a schema, run once.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1 for the first, then without gaps.
    pub version: u32,
    /// The statements.
    pub sql: &'static str,
}

/// What a database file has to be.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// A word for threads and errors (`store`, `sessions`).
    pub name: &'static str,
    /// Marks the file as this kind of database (`PRAGMA application_id`); never 0, which any SQLite file has.
    pub application_id: i32,
    /// All steps, ascending.
    pub migrations: &'static [Migration],
    /// Page cache of the writer, in KiB.
    pub writer_cache_kib: i64,
}

impl Schema {
    /// The version that this binary writes.
    fn version(&self) -> u32 {
        self.migrations.last().map_or(0, |last| last.version)
    }
}

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory can't be made.
    #[error("can't make the directory {path}: {source}; make it writable or choose another with --data-dir")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file can't be opened or made.
    #[error("can't open {path}: {source}; check that it is a readable and writable file")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{path} is not a Natter {name} database; move it away or choose another path")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Which kind was expected.
        name: &'static str,
    },
    /// The file was written by a later version.
    #[error(
        "{path} has schema version {found}, this binary knows versions up to {known}; run the version of Natter that wrote it, or a newer one"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// A migration failed; the file is as it was before that step.
    #[error("can't bring {path} to schema version {version}: {source}")]
    Migration {
        /// Which file.
        path: PathBuf,
        /// Which step.
        version: u32,
        /// Why.
        source: rusqlite::Error,
    },
    /// SQLite refused.
    #[error("can't open {path}: {source}")]
    Sqlite {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file opened, but what it holds can't be read.
    #[error("can't read {path}: {source}; restore it from a backup")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        source: super::EngineError,
    },
    /// The writer's thread could not be started.
    #[error("can't start the database's writer thread: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// Opens the one connection that writes, with the schema up to date.
pub(super) fn writer(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    make_file(path)?;
    let fail = |source| classify(path, schema, source);
    let mut db = Connection::open_with_flags(path, flags()).map_err(fail)?;
    // First of all whose file it is, so that nobody else's is changed.
    db.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    check_owner(&db, path, schema)?;
    tune_writer(&db, schema).map_err(fail)?;
    migrate(&mut db, path, schema)?;
    Ok(db)
}

/// Opens a connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<Connection> {
        // Read-write, because a read-only one could not recover the log of a killed process; query_only holds it back.
        let db = Connection::open_with_flags(path, flags())?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.pragma_update(None, "query_only", true)?;
        db.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(db)
    };
    open().map_err(|source| OpenError::Sqlite {
        path: path.into(),
        source,
    })
}

/// No mutex: a connection is used by one thread at a time. No URI: a path is a path, whatever it looks like.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Makes the directory and an empty file that only this user can read; SQLite gives its side files the same mode.
fn make_file(path: &Path) -> Result<(), OpenError> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| OpenError::Directory {
                path: directory.into(),
                source,
            })?;
    }
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| OpenError::File {
            path: path.into(),
            source,
        })?;
    Ok(())
}

fn check_owner(db: &Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let fail = |source| classify(path, schema, source);
    let owner: i32 = db
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(fail)?;
    let version: u32 = db
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fail)?;
    let tables: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fail)?;
    let fresh = owner == 0 && version == 0 && tables == 0;
    if !fresh && owner != schema.application_id {
        return Err(OpenError::Foreign {
            path: path.into(),
            name: schema.name,
        });
    }
    if version > schema.version() {
        return Err(OpenError::Newer {
            path: path.into(),
            found: version,
            known: schema.version(),
        });
    }
    Ok(())
}

fn tune_writer(db: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "cache_size", -schema.writer_cache_kib)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    // The writer checkpoints by itself after it has answered, so that no answer waits for it.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(())
}

/// Runs the missing steps, each in a transaction of its own together with its version number.
fn migrate(db: &mut Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    for migration in schema.migrations {
        let step = |db: &mut Connection| -> rusqlite::Result<()> {
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            // Read under the lock: another process may have been faster.
            let version: u32 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version < migration.version {
                tx.execute_batch(migration.sql)?;
                tx.pragma_update(None, "user_version", migration.version)?;
                tx.pragma_update(None, "application_id", schema.application_id)?;
            }
            tx.commit()
        };
        step(db).map_err(|source| OpenError::Migration {
            path: path.into(),
            version: migration.version,
            source,
        })?;
    }
    Ok(())
}

fn classify(path: &Path, schema: &Schema, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign {
            path: path.into(),
            name: schema.name,
        },
        _ => OpenError::Sqlite {
            path: path.into(),
            source,
        },
    }
}
