//! One WebSocket: the handshake, the task that reads it, the requests it makes, and what ends it.
//!
//! A connection owns the decoder and the list of joined rooms, and is a task only while it has something to do. It
//! writes nothing itself but answers and what has waited; rooms write through its [`crate::fanout::Link`]. An idle
//! connection holds no buffer, no task and no timer: pings, silence and expiry are looked after by one sweep.

mod connection;
mod enforcer;
mod failure;
mod read;
mod recheck;
mod requests;
mod seat;
mod sweep;
mod upgrade;

pub use enforcer::enforce;
pub use sweep::sweep;
pub use upgrade::{Held, Params, Refusal, Target, Who, connect, upgrade};

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::fanout::Registry;
use crate::model::{Author, RoomId, Timestamp, UserId, WallClock};
use crate::rooms::directory::Directory;
use crate::rooms::hub::Hub;
use crate::sessions::UserSessions;
use crate::store::Store;

/// What every connection of this node shares.
pub struct Gate {
    /// The rules.
    pub directory: Arc<Directory>,
    /// The active rooms.
    pub hub: Arc<Hub>,
    /// All connections.
    pub registry: Arc<Registry>,
    /// Whose sessions are whose.
    pub sessions: Arc<dyn UserSessions>,
    /// For `last_seen`.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn WallClock>,
    /// Whether sends are throttled.
    pub throttled: bool,
    /// Where connections run that are woken.
    runtime: Handle,
    /// People whose last connection closed, and when: announced by the sweep if they are not back by then.
    departures: Mutex<BTreeMap<UserId, (Author, Timestamp)>>,
    /// Rooms that changed while the store could not say how, and how often; each is looked at until it can.
    look_again: Mutex<HashMap<RoomId, u64>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("connections", &self.registry.len())
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// What connections share. Its connections run on the runtime that this is called on.
    #[must_use]
    pub fn new(
        directory: Arc<Directory>,
        hub: Arc<Hub>,
        sessions: Arc<dyn UserSessions>,
        clock: Arc<dyn WallClock>,
        throttled: bool,
    ) -> Self {
        hub.know(&directory);
        let registry = Arc::clone(hub.registry());
        let store = hub.store();
        Self {
            directory,
            hub,
            registry,
            sessions,
            store,
            clock,
            throttled,
            runtime: Handle::current(),
            departures: Mutex::default(),
            look_again: Mutex::default(),
        }
    }
}
