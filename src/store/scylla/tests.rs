//! The store against a real CQL server. `NATTER_TEST_CQL` holds its address (`host:port`); without it these tests are
//! skipped, loudly. Each test has a keyspace of its own, or shares one whose names are fresh.

mod members;
mod moving;
mod storage;
mod suite;
mod ties;
mod writes;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OnceCell;

use super::{ScyllaOptions, ScyllaStore, Tuning, migrate};
use crate::model::{
    Author, Message, Name, NewMessage, Nonce, RoomId, SharedClock, SystemTime, Timestamp, UserId, WallClock,
};
use crate::store::{Appended, MessageStore as _};

/// A keyspace of this run, which the tests share: whatever they make has a name or id of its own.
static SHARED: OnceCell<Option<ScyllaOptions>> = OnceCell::const_new();

/// The address of the server with a keyspace of this name; `None` where there is no server.
pub(super) fn options(keyspace: &str) -> Option<ScyllaOptions> {
    let Ok(address) = std::env::var("NATTER_TEST_CQL") else {
        // Straight to the terminal: what a test that passes prints is not shown.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: NATTER_TEST_CQL names no CQL server (host:port)"
        );
        return None;
    };
    Some(ScyllaOptions::parse(&format!("scylla://{address}/{keyspace}?replication=1")).unwrap())
}

/// The shared keyspace, migrated by whoever asks first.
pub(super) async fn shared() -> Option<ScyllaOptions> {
    let made = SHARED.get_or_init(|| async {
        let options = options(&format!("natter_test_{:08x}", rand::random::<u32>()))?;
        migrate(&options).await.unwrap();
        Some(options)
    });
    made.await.clone()
}

/// A clock that stands wherever the test puts it.
pub(super) struct TestClock(AtomicU64);

impl TestClock {
    pub(super) fn at(millis: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(millis)))
    }

    pub(super) fn forward(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl WallClock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// One node's store in the shared keyspace, and a room of its own.
pub(super) struct Node {
    pub(super) store: Arc<ScyllaStore>,
    pub(super) clock: Arc<SharedClock>,
    pub(super) room: RoomId,
    pub(super) author: Author,
}

impl Node {
    pub(super) async fn new(wall: Arc<dyn WallClock>, tuning: Tuning) -> Option<Self> {
        let options = shared().await?;
        let clock = Arc::new(SharedClock::new(wall));
        Some(Self {
            store: ScyllaStore::connect_tuned(&options, Arc::clone(&clock), tuning)
                .await
                .unwrap(),
            clock,
            room: RoomId::random(),
            author: Author {
                id: UserId::random(),
                name: Name::parse("ann").unwrap(),
            },
        })
    }

    pub(super) async fn plain() -> Option<Self> {
        Self::new(Arc::new(SystemTime), Tuning::default()).await
    }

    /// Another node of the same cluster, with a clock of its own, that speaks as the same person in the same room.
    pub(super) async fn peer(&self, wall: Arc<dyn WallClock>) -> Self {
        let peer = Self::new(wall, Tuning::default()).await.unwrap();
        Self {
            room: self.room,
            author: self.author.clone(),
            ..peer
        }
    }

    pub(super) fn says(&self, body: &str) -> NewMessage {
        NewMessage {
            room: self.room,
            author: self.author.clone(),
            body: body.into(),
            nonce: None,
            retry: false,
            reply_to: None,
            mentions: Vec::new(),
        }
    }

    pub(super) fn says_once(&self, body: &str, nonce: &str) -> NewMessage {
        NewMessage {
            nonce: Nonce::parse(nonce),
            ..self.says(body)
        }
    }

    pub(super) async fn append(&self, new: NewMessage) -> Appended {
        self.store.append(vec![new]).await.remove(0).unwrap()
    }

    /// Waits until the look at the buckets that a first message sets off is over.
    pub(super) async fn looked(&self) {
        while !self.store.indexes.of(self.room).is_looked_at() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn say(&self, body: &str) -> Message {
        self.append(self.says(body)).await.message
    }
}
