//! The engine alone: group commit, order, and what happens at its bounds.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;

use super::*;

const ONE: Migration = Migration {
    version: 1,
    sql: "CREATE TABLE things (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE) STRICT;",
};
const TWO: Migration = Migration {
    version: 2,
    sql: "ALTER TABLE things ADD COLUMN note TEXT;",
};
const SCHEMA: Schema = Schema {
    name: "test",
    application_id: 0x4e74_7254,
    migrations: &[ONE],
    writer_cache_kib: 1_024,
};
const LATER: Schema = Schema {
    migrations: &[ONE, TWO],
    ..SCHEMA
};

struct Fixture {
    engine: Engine,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/test.db");
    Fixture {
        engine: Engine::open(&path, &SCHEMA).unwrap(),
        path,
        _dir: dir,
    }
}

async fn add(engine: &Engine, word: &'static str) -> Result<usize, EngineError> {
    engine
        .write(move |db| {
            Ok(db
                .prepare_cached("INSERT INTO things (word) VALUES (?1)")?
                .execute([word])?)
        })
        .await
}

async fn words(engine: &Engine) -> Vec<String> {
    engine
        .read(|db| {
            let mut statement = db.prepare_cached("SELECT word FROM things ORDER BY id")?;
            let words = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok::<_, EngineError>(words)
        })
        .await
        .unwrap()
}

/// Holds the writer inside a job until the sender is dropped, so that what follows becomes one batch.
async fn hold(engine: &Arc<Engine>) -> (std_mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, held) = std_mpsc::channel::<()>();
    let (inside, entered) = oneshot::channel();
    let engine = Arc::clone(engine);
    let task = tokio::spawn(async move {
        engine
            .write(move |_| {
                let _ = inside.send(());
                let _ = held.recv();
                Ok::<_, EngineError>(())
            })
            .await
            .unwrap();
    });
    entered.await.unwrap();
    (release, task)
}

/// Waits until so many orders stand in the queue.
async fn queued(engine: &Engine, count: usize) {
    while limits::WRITER_QUEUE_MAX - engine.orders.capacity() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_written_is_read() {
    let f = fixture();
    assert_eq!(add(&f.engine, "one").await, Ok(1));
    assert_eq!(words(&f.engine).await, ["one"]);
    assert_eq!(f.engine.counters().writes.load(Ordering::Relaxed), 1);
    assert_eq!(f.engine.counters().commits.load(Ordering::Relaxed), 1);
    assert_eq!(f.engine.counters().other_reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn only_the_owner_can_look_into_the_directory_and_the_file() {
    let f = fixture();
    add(&f.engine, "one").await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(f.path.parent().unwrap()), 0o700);
    assert_eq!(mode(&f.path), 0o600);
    assert_eq!(mode(&f.path.with_extension("db-wal")), 0o600);
}

#[tokio::test]
async fn jobs_that_queue_up_share_one_commit_and_a_failing_one_spoils_none() {
    let f = fixture();
    let engine = Arc::new(f.engine);
    let (release, holder) = hold(&engine).await;
    let mut tasks = Vec::new();
    for (nth, word) in ["a", "b", "a", "c"].into_iter().enumerate() {
        let spawned = Arc::clone(&engine);
        tasks.push(tokio::spawn(async move { add(&spawned, word).await }));
        queued(&engine, nth + 1).await;
    }
    let commits = engine.counters().commits.load(Ordering::Relaxed);
    drop(release);
    holder.await.unwrap();
    let mut fates = Vec::new();
    for task in tasks {
        fates.push(task.await.unwrap().is_ok());
    }
    assert_eq!(fates, [true, true, false, true]);
    assert_eq!(words(&engine).await, ["a", "b", "c"]);
    assert_eq!(engine.counters().commits.load(Ordering::Relaxed), commits + 2);
}

#[tokio::test]
async fn a_failing_job_is_undone_as_a_whole() {
    let f = fixture();
    let failed: Result<(), EngineError> = f
        .engine
        .write(|db| {
            db.execute("INSERT INTO things (word) VALUES ('half')", [])?;
            Err(EngineError::Refused("changed my mind".into()))
        })
        .await;
    assert_eq!(failed, Err(EngineError::Refused("changed my mind".into())));
    assert!(words(&f.engine).await.is_empty());
}

#[tokio::test]
async fn a_panicking_write_is_refused_and_the_writer_lives_on() {
    let f = fixture();
    let failed: Result<(), EngineError> = f
        .engine
        .write(|db| {
            db.execute("INSERT INTO things (word) VALUES ('half')", []).map(drop)?;
            panic!("on purpose")
        })
        .await;
    assert!(matches!(failed, Err(EngineError::Refused(_))), "{failed:?}");
    add(&f.engine, "next").await.unwrap();
    assert_eq!(words(&f.engine).await, ["next"]);
}

#[tokio::test]
async fn a_panicking_read_gives_its_connection_back() {
    let f = fixture();
    for _ in 0..limits::READERS * 2 {
        let failed: Result<(), EngineError> = f.engine.read(|_| panic!("on purpose")).await;
        assert!(matches!(failed, Err(EngineError::Refused(_))), "{failed:?}");
    }
    assert!(words(&f.engine).await.is_empty());
}

#[tokio::test]
async fn a_reader_can_not_write() {
    let f = fixture();
    let tried: Result<usize, EngineError> = f
        .engine
        .read(|db| Ok(db.execute("INSERT INTO things (word) VALUES ('x')", [])?))
        .await;
    assert!(matches!(tried, Err(EngineError::Refused(_))), "{tried:?}");
}

#[tokio::test]
async fn a_full_database_refuses_loses_nothing_and_recovers() {
    let f = fixture();
    add(&f.engine, "before").await.unwrap();
    let limit = |pages: i64| {
        f.engine.write(move |db| {
            let _: i64 = db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0))?;
            Ok::<_, EngineError>(())
        })
    };
    limit(1).await.unwrap();
    let big = "x".repeat(100_000);
    let sent = big.clone();
    let refused: Result<usize, EngineError> = f
        .engine
        .write(move |db| Ok(db.execute("INSERT INTO things (word) VALUES (?1)", [sent])?))
        .await;
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
    assert_eq!(words(&f.engine).await, ["before"]);
    limit(1_000_000).await.unwrap();
    f.engine
        .write(move |db| Ok::<_, EngineError>(db.execute("INSERT INTO things (word) VALUES (?1)", [big])?))
        .await
        .unwrap();
    assert_eq!(words(&f.engine).await.len(), 2);
}

#[tokio::test]
async fn closing_finishes_what_is_queued_and_refuses_the_rest() {
    let f = fixture();
    let engine = Arc::new(f.engine);
    let (release, holder) = hold(&engine).await;
    let queued_write = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { add(&engine, "queued").await }
    });
    queued(&engine, 1).await;
    let closing = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.close().await }
    });
    queued(&engine, 2).await;
    drop(release);
    holder.await.unwrap();
    closing.await.unwrap();
    assert_eq!(queued_write.await.unwrap(), Ok(1));
    assert_eq!(add(&engine, "late").await, Err(EngineError::closed()));
    let read: Result<(), EngineError> = engine.read(|_| Ok(())).await;
    assert_eq!(read, Err(EngineError::closed()));
    engine.close().await;
    let again = Engine::open(&f.path, &SCHEMA).unwrap();
    assert_eq!(words(&again).await, ["queued"]);
}

#[tokio::test]
async fn the_log_is_copied_back_when_it_has_grown() {
    let f = fixture();
    f.engine
        .write(|db| {
            let mut insert = db.prepare_cached("INSERT INTO things (word) VALUES (?1)")?;
            for nth in 0..10 {
                insert.execute([format!("{nth}{}", "x".repeat(500_000))])?;
            }
            Ok::<_, EngineError>(())
        })
        .await
        .unwrap();
    // The checkpoint comes after the answer; the next answer comes after the checkpoint.
    add(&f.engine, "next").await.unwrap();
    assert_eq!(f.engine.counters().checkpoints.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn migrations_run_once_and_in_order() {
    let f = fixture();
    add(&f.engine, "kept").await.unwrap();
    f.engine.close().await;
    for _ in 0..2 {
        let later = Engine::open(&f.path, &LATER).unwrap();
        assert_eq!(words(&later).await, ["kept"]);
        let noted: Result<usize, EngineError> = later
            .write(|db| Ok(db.execute("UPDATE things SET note = 'n'", [])?))
            .await;
        assert_eq!(noted, Ok(1));
        later.close().await;
    }
    let refused = Engine::open(&f.path, &SCHEMA).unwrap_err();
    assert!(
        matches!(refused, OpenError::Newer { found: 2, known: 1, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn two_processes_may_write_beside_each_other() {
    let f = fixture();
    let beside = Engine::open(&f.path, &SCHEMA).unwrap();
    add(&f.engine, "one").await.unwrap();
    add(&beside, "two").await.unwrap();
    add(&f.engine, "three").await.unwrap();
    assert_eq!(words(&beside).await, ["one", "two", "three"]);
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.db");
    std::fs::write(
        &text,
        "This is a letter to my grandmother, and no database at all.".repeat(40),
    )
    .unwrap();
    let before = std::fs::read(&text).unwrap();
    let refused = Engine::open(&text, &SCHEMA).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    assert_eq!(std::fs::read(&text).unwrap(), before);

    let other = dir.path().join("other.db");
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE mine (x)")
        .unwrap();
    let before = std::fs::read(&other).unwrap();
    let refused = Engine::open(&other, &SCHEMA).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    assert_eq!(std::fs::read(&other).unwrap(), before);

    let refused = Engine::open(dir.path(), &SCHEMA).unwrap_err();
    assert!(matches!(refused, OpenError::File { .. }), "{refused}");
}

#[test]
fn a_failing_migration_leaves_the_file_as_it_was() {
    const BROKEN: Schema = Schema {
        migrations: &[
            ONE,
            Migration {
                version: 2,
                sql: "CREATE TABLE more (x); CREATE TABLE more (x);",
            },
        ],
        ..SCHEMA
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let failed = Engine::open(&path, &BROKEN).unwrap_err();
    assert!(matches!(failed, OpenError::Migration { version: 2, .. }), "{failed}");
    assert!(Engine::open(&path, &SCHEMA).is_ok());
}
