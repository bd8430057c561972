//! What all nodes and people of a run share: the time, the dice, the weather, what was written down.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use natter::rooms::doubt::Mechanisms;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::data::Data;
use crate::judge::history::{Event, History};
use crate::log::LogState;
use crate::net::Net;
use crate::sessions::Accounts;

/// When every run begins, by a clock that is right.
pub const EPOCH: u64 = 1_800_000_000_000;

/// What may be switched off, to see what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Switches {
    /// Those of the machine of doubt and of rooms.
    pub mechanisms: Mechanisms,
    /// The store announces what took long.
    pub late: bool,
    /// Nodes learn of revocations.
    pub log: bool,
    /// Nodes look at their lease before they deliver.
    pub lease: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            mechanisms: Mechanisms::default(),
            late: true,
            log: true,
            lease: true,
        }
    }
}

/// What is wrong now. Numbers are those of nodes.
#[derive(Debug, Default)]
pub struct Weather {
    /// How many of a hundred packets vanish.
    pub loss: u32,
    /// And how many come twice.
    pub twice: u32,
    /// What vanishes is reported to whom it was for.
    pub reported: bool,
    /// How long a packet may take, in milliseconds.
    pub delay: u64,
    /// Cut off from the channel layer, and told so.
    pub cut: BTreeSet<usize>,
    /// What the first sends does not reach the second, and nobody is told.
    pub one_way: BTreeSet<(usize, usize)>,
    /// Cut off from the store.
    pub store_away: BTreeSet<usize>,
    /// How long the store may take, in milliseconds.
    pub store_slow: u64,
    /// How many of a hundred writes are not answered.
    pub store_silent: u32,
    /// Cut off from the control log and the sessions.
    pub log_away: BTreeSet<usize>,
    /// Ends with the next message that it stores.
    pub fuse: BTreeSet<usize>,
}

/// What is shared.
pub struct Ground {
    now: AtomicU64,
    numbers: AtomicU32,
    random: Mutex<SmallRng>,
    /// What may be switched off.
    pub switches: Switches,
    /// What is wrong now.
    pub weather: Mutex<Weather>,
    /// What is under way between nodes.
    pub net: Mutex<Net>,
    /// What the store holds.
    pub data: Mutex<Data>,
    /// The control log.
    pub log: Mutex<LogState>,
    /// Accounts and sessions.
    pub accounts: Mutex<Accounts>,
    history: Mutex<History>,
}

impl Ground {
    /// A run's.
    pub fn new(seed: u64, switches: Switches) -> Self {
        Self {
            now: AtomicU64::new(0),
            numbers: AtomicU32::new(0),
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            switches,
            weather: Mutex::default(),
            net: Mutex::default(),
            data: Mutex::default(),
            log: Mutex::default(),
            accounts: Mutex::default(),
            history: Mutex::default(),
        }
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Lets time pass.
    pub fn set_now(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// A number that nothing else has.
    pub fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// A number of this range.
    pub fn dice(&self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.random.lock().random_range(range)
    }

    /// Whether something happens that happens so often out of a hundred times.
    pub fn chance(&self, of_a_hundred: u32) -> bool {
        of_a_hundred > 0 && self.random.lock().random_range(0..100) < of_a_hundred
    }

    /// Sixteen bytes.
    pub fn bytes(&self) -> [u8; 16] {
        self.random.lock().random()
    }

    /// Writes down what happens now.
    pub fn record(&self, event: Event) {
        self.history.lock().push(self.now(), event);
    }

    /// What was written down.
    pub fn history(&self) -> History {
        self.history.lock().clone()
    }
}

/// Lets some milliseconds pass on a node.
pub async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
