//! SQLite passes the suite, and each broken store fails its clause and no other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;

use super::broken::Broken;
use super::{CLAUSES, Subject, check};
use crate::model::SystemTime;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// SQLite on a file of its own, perhaps with a fault in front.
struct Sqlite {
    sound: Arc<SqliteStore>,
    store: Arc<dyn Store>,
    dir: tempfile::TempDir,
    /// From where a later process reads: the live files, or what the fault against `durable` kept.
    survives: PathBuf,
}

/// Copies a database as a killed process leaves it: the file and its log, without closing either.
fn copy_as_killed(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["natter.db", "natter.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// An empty database with its schema: copying it spares each of the many subjects the migration.
static TEMPLATE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // On a thread of its own, since whoever asks first is within a runtime already.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    std::thread::spawn(move || runtime.block_on(store.close()))
        .join()
        .unwrap();
    dir
});

fn open(dir: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(&dir.join("natter.db"), Arc::new(SystemTime)).unwrap()
}

impl Sqlite {
    fn sound() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let survives = dir.path().join("live");
        copy_as_killed(TEMPLATE.path(), &survives);
        let sound = open(&survives);
        Self {
            store: Arc::clone(&sound) as Arc<dyn Store>,
            sound,
            dir,
            survives,
        }
    }

    fn broken(clause: &'static str) -> Self {
        let mut subject = Self::sound();
        let live = subject.survives.clone();
        let before_write: Box<dyn Fn() + Send + Sync> = if clause == "durable" {
            subject.survives = subject.dir.path().join("kept");
            let kept = subject.survives.clone();
            Box::new(move || copy_as_killed(&live, &kept))
        } else {
            Box::new(|| {})
        };
        subject.store = Arc::new(Broken {
            inner: Arc::clone(&subject.store),
            clause,
            before_write,
            newest: Default::default(),
            revived: Default::default(),
            markers: Default::default(),
        });
        subject
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn reborn(&self) -> anyhow::Result<Arc<dyn Store>> {
        let next = tempfile::tempdir_in(self.dir.path())?.keep();
        copy_as_killed(&self.survives, &next);
        Ok(open(&next))
    }

    async fn fill(&self, full: bool) -> bool {
        self.sound.limit_pages(if full { 1 } else { u32::MAX }).await.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_every_clause() {
    for clause in CLAUSES {
        check(clause, &Sqlite::sound())
            .await
            .unwrap_or_else(|error| panic!("{clause}: {error:#}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_broken_store_fails_its_clause_and_no_other() {
    for broken in CLAUSES {
        let mut failed = Vec::new();
        for clause in CLAUSES {
            if let Err(error) = check(clause, &Sqlite::broken(broken)).await {
                println!("breaking {broken} fails {clause}: {error:#}");
                failed.push(*clause);
            }
        }
        assert_eq!(failed, [*broken], "a store that breaks {broken}");
    }
}
