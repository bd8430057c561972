//! Tests of the SQLite session store that are not in the contract: what is on the disk, and what is not written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tower_sessions::Session;

use super::super::conformance::{self, Sessions, World, record_of};
use super::super::{ADDRESS_KEY, AGENT_KEY, USER_KEY};
use super::*;
use crate::model::Timestamp;

/// A clock that moves when it is told to.
#[derive(Debug, Default)]
struct TestClock(AtomicU64);

impl WallClock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Stores in files of their own, under a clock of their own.
pub(crate) struct SqliteWorld {
    directory: TempDir,
    files: AtomicU64,
    clock: Arc<TestClock>,
}

impl SqliteWorld {
    pub(crate) fn new() -> Self {
        let clock = TestClock(AtomicU64::new(1_800_000_000_000));
        Self {
            directory: TempDir::new().unwrap(),
            files: AtomicU64::new(0),
            clock: Arc::new(clock),
        }
    }

    pub(crate) fn open(&self) -> SqliteSessions {
        let file = format!("sessions{}.db", self.files.fetch_add(1, Ordering::Relaxed));
        SqliteSessions::open(&self.directory.path().join(file), Arc::clone(&self.clock) as _).unwrap()
    }

    fn tick(&self, span: Duration) {
        let span = u64::try_from(span.as_millis()).unwrap();
        self.clock.0.fetch_add(span, Ordering::SeqCst);
    }
}

#[async_trait]
impl World for SqliteWorld {
    async fn sessions(&self) -> Arc<dyn Sessions> {
        Arc::new(self.open())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, span: Duration) {
        self.tick(span);
    }
}

fn writes(sessions: &SqliteSessions) -> u64 {
    sessions.shared.engine.counters().writes.load(Ordering::Relaxed)
}

#[tokio::test]
async fn sqlite_keeps_every_clause() {
    assert_eq!(conformance::failures(&SqliteWorld::new()).await, []);
}

#[tokio::test]
async fn the_id_is_nowhere_on_the_disk() {
    let world = SqliteWorld::new();
    let sessions = world.open();
    let mut record = record_of(&world, UserId::random());
    sessions.create(&mut record).await.unwrap();
    sessions.load(&record.id).await.unwrap();
    let bytes = record.id.0.to_be_bytes();
    let reversed = record.id.0.to_le_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let texts = [record.id.to_string(), record.id.0.to_string(), hex];
    let secrets = texts.iter().map(String::as_bytes).chain([&bytes[..], &reversed[..]]);
    let mut found_handle = false;
    for file in std::fs::read_dir(world.directory.path()).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        let holds = |what: &[u8]| content.windows(what.len()).any(|window| window == what);
        for secret in secrets.clone() {
            assert!(!holds(secret));
        }
        found_handle |= holds(SessionHandle::of(record.id).to_string().as_bytes());
    }
    assert!(found_handle, "the search looked at the right files");
}

#[tokio::test]
async fn agent_and_address_come_from_the_data_and_are_cut() {
    let world = SqliteWorld::new();
    let sessions = world.open();
    let user = UserId::random();
    let mut record = record_of(&world, user);
    record.data.insert(AGENT_KEY.into(), "ä".repeat(1_000).into());
    record.data.insert(ADDRESS_KEY.into(), "192.0.2.7".into());
    sessions.create(&mut record).await.unwrap();
    let info = &sessions.list(user).await.unwrap()[0];
    assert_eq!(info.agent, "ä".repeat(limits::SESSION_TEXT_CHARS_MAX));
    assert_eq!(info.address, "192.0.2.7");
    assert_eq!((info.created_at, info.last_seen_at), (world.now(), world.now()));
    assert_eq!(info.expires_at.to_offset(), record.expiry_date);
}

#[tokio::test]
async fn a_user_that_is_no_id_is_refused() {
    let world = SqliteWorld::new();
    let mut record = record_of(&world, UserId::random());
    record.data.insert(USER_KEY.into(), "ann".into());
    let answer = world.open().create(&mut record).await;
    assert!(matches!(answer, Err(session_store::Error::Encode(_))), "{answer:?}");
}

#[tokio::test]
async fn loading_writes_at_most_once_a_minute() {
    let world = SqliteWorld::new();
    let sessions = world.open();
    let user = UserId::random();
    let mut record = record_of(&world, user);
    sessions.create(&mut record).await.unwrap();
    let before = writes(&sessions);
    world.tick(limits::SESSION_TOUCH_INTERVAL / 2);
    for _ in 0..10 {
        sessions.load(&record.id).await.unwrap().unwrap();
    }
    assert_eq!(writes(&sessions), before);
    world.tick(limits::SESSION_TOUCH_INTERVAL / 2);
    sessions.load(&record.id).await.unwrap().unwrap();
    while sessions.list(user).await.unwrap()[0].last_seen_at != world.now() {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        sessions.load(&record.id).await.unwrap().unwrap();
    }
    assert_eq!(writes(&sessions), before + 1);
}

#[tokio::test]
async fn a_save_that_changes_nothing_writes_nothing() {
    let world = SqliteWorld::new();
    let sessions = world.open();
    let mut record = record_of(&world, UserId::random());
    for number in 0..20 {
        record.data.insert(format!("key {number}"), number.into());
    }
    sessions.create(&mut record).await.unwrap();
    let before = writes(&sessions);
    record.expiry_date += limits::SESSION_TOUCH_INTERVAL / 2;
    // A fresh map has another order of its own.
    record.data = record.data.into_iter().collect();
    sessions.save(&record).await.unwrap();
    assert_eq!(writes(&sessions), before);
    record.expiry_date += limits::SESSION_TOUCH_INTERVAL;
    sessions.save(&record).await.unwrap();
    assert_eq!(sessions.load(&record.id).await.unwrap(), Some(record));
    assert_eq!(writes(&sessions), before + 1);
}

#[tokio::test]
async fn an_expired_session_can_not_be_saved_alive_and_is_swept() {
    let world = SqliteWorld::new();
    let sessions = world.open();
    let user = UserId::random();
    let later = world.now().plus(Duration::from_secs(7_200));
    let mut many = Vec::new();
    for number in 0..=2 * BATCH {
        many.push(NewSession {
            id: Id::default(),
            user,
            expires_at: if number == 0 {
                later
            } else {
                world.now().plus(Duration::from_secs(1))
            },
        });
    }
    let (kept, gone) = (many[0].id, many[1].id);
    sessions.create_many(many).await.unwrap();
    let mut record = sessions.load(&gone).await.unwrap().unwrap();
    world.tick(Duration::from_secs(1));
    record.expiry_date = later.to_offset();
    sessions.save(&record).await.unwrap();
    assert_eq!(sessions.load(&gone).await.unwrap(), None);
    assert_eq!(sessions.sweep().await.unwrap(), 2 * u64::from(BATCH));
    assert_eq!(sessions.sweep().await.unwrap(), 0);
    assert!(sessions.load(&kept).await.unwrap().is_some());
}

#[tokio::test]
async fn sessions_outlive_the_process() {
    let world = SqliteWorld::new();
    let path = world.directory.path().join("sessions.db");
    let open = || SqliteSessions::open(&path, Arc::clone(&world.clock) as _).unwrap();
    let mut record = record_of(&world, UserId::random());
    let first = open();
    first.create(&mut record).await.unwrap();
    first.close().await;
    assert!(matches!(first.ping().await, Err(Error::Unavailable(_))));
    let second = open();
    assert_eq!(second.ping().await, Ok(()));
    assert_eq!(second.load(&record.id).await.unwrap(), Some(record));
}

/// A browser's session, as the layer makes it for a request that carries this cookie.
fn request(sessions: &SqliteSessions, id: Option<Id>) -> Session {
    Session::new(id, Arc::new(sessions.clone()), None)
}

#[tokio::test]
async fn a_log_in_changes_the_id_and_a_late_request_does_not_undo_a_log_out() {
    let directory = TempDir::new().unwrap();
    let clock = Arc::new(crate::model::SystemTime);
    let sessions = SqliteSessions::open(&directory.path().join("sessions.db"), clock).unwrap();
    let user = UserId::random();

    let anonymous = request(&sessions, None);
    anonymous.insert("draft", "hi").await.unwrap();
    anonymous.save().await.unwrap();
    let before = anonymous.id().unwrap();

    let login = request(&sessions, Some(before));
    login.insert(USER_KEY, user).await.unwrap();
    login.cycle_id().await.unwrap();
    login.save().await.unwrap();
    let id = login.id().unwrap();
    assert_ne!(id, before);
    assert!(sessions.load(&before).await.unwrap().is_none());

    let slow = request(&sessions, Some(id));
    assert_eq!(slow.get::<UserId>(USER_KEY).await.unwrap(), Some(user));
    assert!(sessions.end(user, &SessionHandle::of(id)).await.unwrap());
    slow.insert("draft", "ho").await.unwrap();
    slow.save().await.unwrap();
    assert_eq!(sessions.list(user).await.unwrap(), []);
    let next = request(&sessions, Some(id));
    assert_eq!(next.get::<UserId>(USER_KEY).await.unwrap(), None);
}
