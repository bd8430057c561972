//! The schema: numbered files, applied in order by one process at a time, and the check at start that they were.
//!
//! The lock is a row with a lease: who dies while holding it blocks the next for a minute at most. A file that was cut
//! short is applied again from its beginning, so every statement in it has to bear that.

use std::time::{Duration, Instant};

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::Statement;
use uuid::Uuid;

use super::options::ScyllaOptions;
use super::second::Second;
use super::{connect, session};

/// One numbered file of `cql/`.
struct Migration {
    version: i32,
    name: &'static str,
    text: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "0001_store.cql",
    text: include_str!("../../../cql/0001_store.cql"),
}];
const OVERLAY: Migration = Migration {
    version: 0,
    name: "scylla_overlay.cql",
    text: include_str!("../../../cql/scylla_overlay.cql"),
};

/// How long a lock lives that nobody renews.
const LEASE_SECONDS: i32 = 60;
/// How long somebody else's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a change of the schema may take.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60);

/// What keeps a store from being opened or migrated.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cluster can't be reached, or refuses.
    #[error("the store can't be opened: {0}")]
    Connect(#[from] crate::store::Error),
    /// The keyspace does not exist.
    #[error("the keyspace \"{0}\" does not exist: run `natter migrate` once, with the same --store")]
    NoKeyspace(String),
    /// Migrations are missing.
    #[error(
        "the schema of keyspace \"{keyspace}\" has version {found}, this program needs {wanted}: run `natter migrate`"
    )]
    Behind {
        /// Which keyspace.
        keyspace: String,
        /// What it has.
        found: i32,
        /// What is needed.
        wanted: i32,
    },
    /// A later program has changed the schema so that this one can't work with it.
    #[error(
        "the schema of keyspace \"{keyspace}\" has version {found}, which programs that know version {needed} or later \
         can use; this one knows {known}: use the newer program (it came with the `natter migrate` that was run)"
    )]
    Ahead {
        /// Which keyspace.
        keyspace: String,
        /// What it has.
        found: i32,
        /// What a program has to know.
        needed: i32,
        /// What this one knows.
        known: i32,
    },
    /// Another process migrates.
    #[error("another process has been migrating keyspace \"{0}\" for two minutes: let it finish, then try again")]
    Locked(String),
    /// A statement failed.
    #[error("{file}: {why}; the statement was: {statement}")]
    Statement {
        /// In which file.
        file: &'static str,
        /// The server's answer.
        why: String,
        /// What was to be done.
        statement: String,
    },
}

/// What a migration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 where there was nothing.
    pub from: i32,
    /// The version now.
    pub to: i32,
    /// Whether the options that only ScyllaDB has were applied.
    pub overlay: bool,
}

/// What this program applies, in order.
#[cfg(not(feature = "next-version"))]
fn migrations() -> impl Iterator<Item = &'static Migration> {
    MIGRATIONS.iter()
}

#[cfg(feature = "next-version")]
fn migrations() -> impl Iterator<Item = &'static Migration> {
    const NEXT: &Migration = &Migration {
        version: 2,
        name: "the next version",
        text: crate::next_version::MIGRATION,
    };
    MIGRATIONS.iter().chain(crate::next_version::is_on().then_some(NEXT))
}

/// The version that this program needs.
fn wanted() -> i32 {
    migrations().last().map_or(0, |migration| migration.version)
}

/// The least version that a program has to know to work with a schema that this file has made.
fn runs_with(text: &str) -> i32 {
    let first = text.lines().next().unwrap_or_default();
    first
        .strip_prefix("-- natter: runs with ")
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(i32::MAX)
}

/// The statements of a file.
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect();
    lines
        .join("\n")
        .split(";\n")
        .map(|statement| statement.trim().trim_end_matches(';').to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

pub(super) async fn run(session: &Session, file: &'static str, text: &str) -> Result<(), OpenError> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
    let result = session.query_unpaged(statement, ()).await;
    if matches!(&result, Err(error) if is_there_already(text, error)) {
        return Ok(());
    }
    result.map(drop).map_err(|error| OpenError::Statement {
        file,
        why: error.to_string(),
        statement: text.to_owned(),
    })
}

/// Whether a column was to be added that a run which was cut short has added. ScyllaDB has no `IF NOT EXISTS` for it.
fn is_there_already(statement: &str, error: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, why)) = error else {
        return false;
    };
    let adds = statement.starts_with("ALTER TABLE ") && statement.contains(" ADD ");
    // Cassandra says the one, ScyllaDB the other.
    adds && (why.contains("already exists") || why.contains("conflicts with an existing column"))
}

const OWN: &str = "the schema's own tables";

/// Makes the keyspace if need be, and brings its schema to this program's version.
///
/// # Errors
/// [`OpenError`] says what is wrong and what to do.
pub async fn migrate(options: &ScyllaOptions) -> Result<Migrated, OpenError> {
    let session = connect::connect(options, Second::new()).await?;
    make_keyspace(&session, options).await?;
    enter(&session, &options.keyspace).await?;
    for table in [
        "CREATE TABLE IF NOT EXISTS schema_versions (part text, version int, runs_with int, name text,
             PRIMARY KEY ((part), version)) WITH CLUSTERING ORDER BY (version DESC)",
        "CREATE TABLE IF NOT EXISTS migration_lock (part text PRIMARY KEY, holder uuid)",
    ] {
        run(&session, OWN, table).await?;
    }
    let holder = Uuid::from_bytes(rand::random());
    lock(&session, &options.keyspace, holder).await?;
    let result = apply(&session, options, holder).await;
    let released = session
        .query_unpaged(
            "DELETE FROM migration_lock WHERE part = 'schema' IF holder = ?",
            (holder,),
        )
        .await;
    if let Err(error) = released {
        tracing::warn!(%error, "the lock of the migration stays for up to a minute");
    }
    result
}

async fn apply(session: &Session, options: &ScyllaOptions, holder: Uuid) -> Result<Migrated, OpenError> {
    let (from, needed) = version(session).await?.unwrap_or((0, 0));
    if needed > wanted() {
        return Err(ahead(&options.keyspace, from, needed));
    }
    for migration in migrations().filter(|migration| migration.version > from) {
        for statement in statements(migration.text) {
            renew(session, holder).await?;
            run(session, migration.name, &statement).await?;
        }
        let note = "INSERT INTO schema_versions (part, version, runs_with, name) VALUES ('schema', ?, ?, ?)";
        let values = (migration.version, runs_with(migration.text), migration.name);
        let noted = session.query_unpaged(note, values).await;
        noted.map_err(|error| failed(OWN, note, &error))?;
    }
    let overlay = is_scylla(session).await?;
    if overlay {
        for statement in statements(OVERLAY.text) {
            renew(session, holder).await?;
            run(session, OVERLAY.name, &statement).await?;
        }
    }
    Ok(Migrated {
        from,
        to: from.max(wanted()),
        overlay,
    })
}

fn failed(file: &'static str, statement: &str, error: &ExecutionError) -> OpenError {
    OpenError::Statement {
        file,
        why: error.to_string(),
        statement: statement.to_owned(),
    }
}

fn ahead(keyspace: &str, found: i32, needed: i32) -> OpenError {
    OpenError::Ahead {
        keyspace: keyspace.to_owned(),
        found,
        needed,
        known: wanted(),
    }
}

async fn make_keyspace(session: &Session, options: &ScyllaOptions) -> Result<(), OpenError> {
    let state = session.get_cluster_state();
    let mut nodes = state.get_nodes_info().iter();
    // Three copies, or one for each node of a smaller cluster, unless told otherwise.
    let copies = options.replication.map_or_else(
        || match &options.datacenter {
            Some(wanted) => nodes
                .filter(|node| node.datacenter.as_ref() == Some(wanted))
                .count()
                .clamp(1, 3),
            None => nodes.by_ref().count().clamp(1, 3),
        },
        usize::from,
    );
    let place = options.datacenter.as_deref().unwrap_or("replication_factor");
    let text = format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{'class': 'NetworkTopologyStrategy', '{place}': '{copies}'}}",
        options.keyspace
    );
    run(session, "the keyspace", &text).await
}

/// Uses the keyspace from now on.
pub(super) async fn enter(session: &Session, keyspace: &str) -> Result<(), OpenError> {
    session
        .use_keyspace(keyspace, false)
        .await
        .map_err(|_| OpenError::NoKeyspace(keyspace.to_owned()))
}

async fn query<R>(session: &Session, text: &str) -> Result<Vec<R>, OpenError>
where
    R: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>,
{
    let result = session.query_unpaged(text, ()).await;
    let result = result.map_err(|error| failed(OWN, text, &error))?;
    let damaged = |why: String| crate::store::Error::Damaged(why);
    let rows = result.into_rows_result().map_err(|error| damaged(error.to_string()))?;
    let rows = rows.rows::<R>().map_err(|error| damaged(error.to_string()))?;
    let mut found = Vec::new();
    for row in rows {
        found.push(row.map_err(|error| damaged(error.to_string()))?);
    }
    Ok(found)
}

/// The schema's version, and what a program has to know to use it; none where no migration ran.
async fn version(session: &Session) -> Result<Option<(i32, i32)>, OpenError> {
    let text = "SELECT version, runs_with FROM schema_versions WHERE part = 'schema' LIMIT 1";
    Ok(query::<(i32, i32)>(session, text).await?.pop())
}

/// Whether the session's schema is one that this program can work with.
pub(super) async fn check(session: &Session, keyspace: &str) -> Result<(), OpenError> {
    let tables = format!(
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}' AND table_name = 'schema_versions'"
    );
    let (found, needed) = if query::<(String,)>(session, &tables).await?.is_empty() {
        (0, 0)
    } else {
        version(session).await?.unwrap_or((0, 0))
    };
    if needed > wanted() {
        return Err(ahead(keyspace, found, needed));
    }
    if found < wanted() {
        return Err(OpenError::Behind {
            keyspace: keyspace.to_owned(),
            found,
            wanted: wanted(),
        });
    }
    Ok(())
}

/// Whether the server is ScyllaDB: only it has this table.
async fn is_scylla(session: &Session) -> Result<bool, OpenError> {
    let text =
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'system' AND table_name = 'scylla_local'";
    Ok(!query::<(String,)>(session, text).await?.is_empty())
}

async fn transaction(session: &Session, text: &str, holder: Uuid) -> Result<bool, OpenError> {
    let held = if text.contains("IF holder") { 2 } else { 1 };
    let result = if held == 2 {
        session.query_unpaged(text, (holder, holder)).await
    } else {
        session.query_unpaged(text, (holder,)).await
    };
    let result = result.map_err(|error| failed(OWN, text, &error))?;
    Ok(session::applied(result)?)
}

async fn lock(session: &Session, keyspace: &str, holder: Uuid) -> Result<(), OpenError> {
    let since = Instant::now();
    let text = format!(
        "INSERT INTO migration_lock (part, holder) VALUES ('schema', ?) IF NOT EXISTS USING TTL {LEASE_SECONDS}"
    );
    while !transaction(session, &text, holder).await? {
        if since.elapsed() > PATIENCE {
            return Err(OpenError::Locked(keyspace.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Holds the lock for another minute.
async fn renew(session: &Session, holder: Uuid) -> Result<(), OpenError> {
    let text =
        format!("UPDATE migration_lock USING TTL {LEASE_SECONDS} SET holder = ? WHERE part = 'schema' IF holder = ?");
    if transaction(session, &text, holder).await? {
        Ok(())
    } else {
        Err(OpenError::Locked("this one: the lease ran out".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_without_holes_and_say_who_can_use_them() {
        for (nth, migration) in MIGRATIONS.iter().enumerate() {
            let number = i32::try_from(nth).unwrap() + 1;
            assert_eq!(migration.version, number, "{}", migration.name);
            assert!(
                migration.name.starts_with(&format!("{number:04}_")),
                "{}",
                migration.name
            );
            assert!((1..=number).contains(&runs_with(migration.text)), "{}", migration.name);
        }
    }

    #[test]
    fn a_file_is_cut_into_statements() {
        let text =
            "-- natter: runs with 1\nCREATE TABLE a (x int);\n\n-- and\nALTER TABLE a\n  WITH b = {'c': 'd;e'};\n";
        assert_eq!(
            statements(text),
            ["CREATE TABLE a (x int)", "ALTER TABLE a\n  WITH b = {'c': 'd;e'}"]
        );
        assert_eq!(statements(OVERLAY.text).len(), 6);
        assert!(
            statements(MIGRATIONS[0].text)
                .iter()
                .all(|s| s.starts_with("CREATE TABLE IF NOT EXISTS "))
        );
    }
}
