//! A connection of the test: it takes or refuses what the test wants it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use natter::fanout::{Outlet, Taken};
use natter::model::{Author, ConnectionId, Name, RoomId, UserId};
use parking_lot::Mutex;

/// A connection that takes what it is told to take.
pub struct Fake {
    pub connection: ConnectionId,
    pub author: Author,
    echo: bool,
    pub full: AtomicBool,
    pub handed: Mutex<Vec<Bytes>>,
}

impl Fake {
    pub fn new(name: &str, echo: bool) -> Arc<Self> {
        Arc::new(Self {
            connection: ConnectionId::random(),
            author: Author {
                id: UserId::random(),
                name: Name::parse(name).unwrap(),
            },
            echo,
            full: AtomicBool::new(false),
            handed: Mutex::new(Vec::with_capacity(1_024)),
        })
    }
}

impl Outlet for Fake {
    fn connection(&self) -> ConnectionId {
        self.connection
    }

    fn author(&self) -> &Author {
        &self.author
    }

    fn echo(&self) -> bool {
        self.echo
    }

    fn events(&self, frames: &Bytes) -> Taken {
        if self.full.load(Ordering::Relaxed) {
            return Taken::Full;
        }
        self.handed.lock().push(frames.clone());
        Taken::Yes
    }

    fn answer(&self, frames: Bytes) -> Taken {
        self.handed.lock().push(frames);
        Taken::Yes
    }

    fn ephemeral(&self, _: &Bytes) {}

    fn behind(&self, _: RoomId, _: u64) {}

    fn send_answered(&self) {}
}
