//! What is particular to this store; the contract's clauses are tested by the conformance suite.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::limits;
use crate::model::message::Author;
use crate::model::{Message, Name, NewMessage, Nonce, RoomId, UserId};
use crate::store::{AccountStore, Appended, AuditStore, MessageStore, NewAuditEntry, NewUser, Range};

/// A clock that the test sets.
struct TestClock(AtomicU64);

impl TestClock {
    fn at(millis: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(millis)))
    }

    fn forward(&self, span: Duration) {
        self.0
            .fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl WallClock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

const START: u64 = 1_800_000_000_000;

struct Fixture {
    store: Arc<SqliteStore>,
    clock: Arc<TestClock>,
    path: PathBuf,
    room: RoomId,
    author: Author,
    _dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("natter.db");
    let clock = TestClock::at(START);
    Fixture {
        store: SqliteStore::open(&path, Arc::clone(&clock) as Arc<dyn WallClock>).unwrap(),
        clock,
        path,
        room: RoomId::random(),
        author: Author {
            id: UserId::random(),
            name: Name::parse("ann").unwrap(),
        },
        _dir: dir,
    }
}

impl Fixture {
    fn new_message(&self, body: &str, nonce: Option<&str>) -> NewMessage {
        NewMessage {
            room: self.room,
            author: self.author.clone(),
            body: body.into(),
            nonce: nonce.map(|text| Nonce::parse(text).unwrap()),
            retry: false,
            reply_to: None,
            mentions: Vec::new(),
        }
    }

    async fn append(&self, body: &str, nonce: Option<&str>) -> Result<Appended> {
        let mut results = self.store.append(vec![self.new_message(body, nonce)]).await;
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    async fn send(&self, body: &str) -> Message {
        let appended = self.append(body, None).await.unwrap();
        assert!(appended.fresh, "nobody sent {appended:?} before");
        appended.message
    }

    fn stored(&self, id: EventId, body: &str) -> Message {
        Message {
            room: self.room,
            id,
            author: self.author.clone(),
            body: body.into(),
            reply_to: None,
            mentions: Vec::new(),
            edited_at: None,
            deleted_at: None,
            last_event: None,
        }
    }
}

#[tokio::test]
async fn no_hot_statement_scans_messages_or_sorts() {
    let f = fixture();
    f.store
        .engine
        .read(|db| {
            for sql in messages::STATEMENTS.into_iter().chain(append::STATEMENTS) {
                let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                for number in 1..=explain.parameter_count() {
                    explain.raw_bind_parameter(number, 1)?;
                }
                let mut rows = explain.raw_query();
                let mut searches = 0;
                while let Some(row) = rows.next()? {
                    let step: String = row.get(3)?;
                    // Tables go by their one-letter names where a statement joins; the subquery of a count is bounded
                    // by its own LIMIT, and the count's one row may be scanned.
                    let harmless = step.contains("subquery") || step == "SCAN c" || step == "SCAN message_count";
                    assert!(!step.starts_with("SCAN") || harmless, "{step} in {sql}");
                    assert!(!step.contains("TEMP B-TREE"), "{step} in {sql}");
                    searches += usize::from(step.starts_with("SEARCH"));
                }
                assert!(
                    searches > 0 || sql.starts_with("INSERT") || sql.contains("message_count"),
                    "{sql}"
                );
            }
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_restarted_store_goes_on_above_its_greatest_id() {
    let f = fixture();
    let before = f.send("before").await;
    let audited = f
        .store
        .append_audit(NewAuditEntry {
            actor: None,
            actor_name: "command line".into(),
            action: "test".into(),
            target: String::new(),
            detail: String::new(),
        })
        .await
        .unwrap();
    assert!(audited.id > before.id);
    f.store.close().await;
    // The machine's clock was set back by an hour meanwhile.
    let back = TestClock::at(START - 3_600_000);
    let store = SqliteStore::open(&f.path, back).unwrap();
    let results = store.append(vec![f.new_message("after", None)]).await;
    let after = results[0].as_ref().unwrap();
    assert!(after.message.id > audited.id);
}

#[tokio::test]
async fn a_nonce_may_be_used_again_after_a_day() {
    let f = fixture();
    let first = f.append("hi", Some("n1")).await.unwrap();
    assert!(first.fresh);
    let repeated = |first: Appended| Ok(Appended::repeated(first.message));
    f.clock
        .forward(limits::NONCE_KEPT.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(f.append("hi", Some("n1")).await, repeated(first.clone()));
    assert_eq!(f.append("other", Some("n1")).await, Err(Error::NonceReused));
    f.clock.forward(Duration::from_millis(1));
    let second = f.append("other", Some("n1")).await.unwrap();
    assert!(second.fresh && second.message.id > first.message.id);
    assert_eq!(f.append("other", Some("n1")).await, repeated(second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_overlap_store_one_message() {
    let f = fixture();
    let attempts = (0..8).map(|_| {
        let (store, new) = (Arc::clone(&f.store), f.new_message("hi", Some("n1")));
        tokio::spawn(async move { store.append(vec![new.clone(), new]).await })
    });
    let (mut fresh, mut ids) = (0, Vec::new());
    for attempt in attempts.collect::<Vec<_>>() {
        for result in attempt.await.unwrap() {
            let appended = result.unwrap();
            fresh += usize::from(appended.fresh);
            ids.push(appended.message.id);
        }
    }
    ids.dedup();
    assert_eq!((fresh, ids.len()), (1, 1));
}

#[tokio::test]
async fn old_nonces_are_forgotten_while_messages_arrive() {
    let f = fixture();
    let kept = || {
        f.store.engine.read(|db| {
            let sql = "SELECT count(*) FROM messages WHERE nonce IS NOT NULL";
            Ok::<i64, Error>(db.query_row(sql, [], |row| row.get(0))?)
        })
    };
    let batch = (0..1_500).map(|nth| f.new_message("old", Some(&format!("old-{nth}"))));
    assert!(f.store.append(batch.collect()).await.iter().all(Result::is_ok));
    assert_eq!(kept().await.unwrap(), 1_500);
    f.clock.forward(limits::NONCE_KEPT + Duration::from_secs(1));
    for nth in 0..8 {
        let batch = (0..256).map(|_| f.new_message("new", None)).collect();
        assert!(f.store.append(batch).await.iter().all(Result::is_ok), "{nth}");
    }
    assert_eq!(kept().await.unwrap(), 0);
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_loses_nothing() {
    let f = fixture();
    let mut kept = vec![f.send("before").await];
    f.store.limit_pages(1).await.unwrap();
    let mut refused = 0;
    while refused < 3 {
        match f.append(&"x".repeat(4_000), None).await {
            Ok(appended) => kept.push(appended.message),
            Err(Error::Refused(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    let page = f.store.page(f.room, Range::Latest, 1_000).await.unwrap();
    assert_eq!(page.messages, kept);
    f.store.limit_pages(1_000_000).await.unwrap();
    kept.push(f.send(&"y".repeat(4_000)).await);
    let page = f.store.page(f.room, Range::Latest, 1_000).await.unwrap();
    assert_eq!(page.messages, kept);
}

#[tokio::test]
async fn seeded_messages_keep_their_ids_and_count() {
    let f = fixture();
    let live = f.send("live").await;
    let seeded: Vec<_> = (1..=5_000u64)
        .map(|nth| f.stored(EventId::new(START - 10_000 + nth, 0, nth), "seeded"))
        .collect();
    assert_eq!(f.store.seed_messages(seeded.clone()).await, Ok(5_000));
    assert_eq!(f.store.seed_messages(seeded[..10].to_vec()).await, Ok(0));
    let page = f.store.page(f.room, Range::Before(live.id), 5_000).await.unwrap();
    assert_eq!(page.messages, seeded);
    assert_eq!(f.store.totals().await.unwrap().messages, 5_001);
    let next = f.send("next").await;
    assert!(next.id > live.id);
    assert_eq!(f.store.totals().await.unwrap().messages, 5_002);
}

#[tokio::test]
async fn users_are_made_in_bulk_in_few_transactions() {
    let f = fixture();
    let user = |name: String| NewUser {
        name: Name::parse(&name).unwrap(),
        password_hash: "!".into(),
        superuser: false,
        at: Timestamp::from_millis(START),
    };
    let first = f.store.create_users(vec![user("USER7".into())]).await.unwrap();
    let made = f
        .store
        .create_users((0..10_000).map(|nth| user(format!("user{nth}"))).collect())
        .await
        .unwrap();
    assert_eq!(made.len(), 10_000);
    assert_eq!(made[7], first[0]);
    assert_eq!(f.store.user_count().await, Ok(10_000));
    assert!(f.store.counters().commits.load(Ordering::Relaxed) <= 6);
}

#[tokio::test]
async fn reads_are_counted_by_kind() {
    let f = fixture();
    f.send("hi").await;
    let counts = || {
        let counters = f.store.counters();
        [&counters.range_reads, &counters.other_reads, &counters.writes].map(|count| count.load(Ordering::Relaxed))
    };
    assert_eq!(counts(), [0, 0, 1]);
    f.store.page(f.room, Range::Latest, 50).await.unwrap();
    f.store.events(f.room, EventId::new(0, 0, 0), 50).await.unwrap();
    f.store.newest(f.room).await.unwrap();
    assert_eq!(counts(), [2, 1, 1]);
}

#[tokio::test]
async fn a_late_event_is_read_at_its_own_position() {
    let f = fixture();
    let message = f.send("slow").await;
    let late = EventId::new(message.id.timestamp().millis() + 9_000, 0, 1);
    let (room, id) = (f.room, message.id);
    f.store
        .engine
        .write(move |db| {
            let sql = "INSERT INTO room_events (room_id, id, kind, message_id) VALUES (?1, ?2, 'late', ?3)";
            Ok::<_, Error>(db.execute(sql, [room.as_bytes(), late.as_bytes(), id.as_bytes()])?)
        })
        .await
        .unwrap();
    let events = f.store.events(f.room, message.id, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].id, late);
    assert_eq!(events[0].kind, crate::model::EventKind::Late(message));
    assert_eq!(f.store.newest(f.room).await, Ok(Some(late)));
}

#[tokio::test]
async fn a_broken_row_is_reported_as_damage() {
    let f = fixture();
    f.send("hi").await;
    f.store
        .engine
        .write(|db| Ok::<_, Error>(db.execute("UPDATE messages SET author_name = 'no name!'", [])?))
        .await
        .unwrap();
    let page = f.store.page(f.room, Range::Latest, 50).await;
    assert!(matches!(page, Err(Error::Damaged(_))), "{page:?}");
}
