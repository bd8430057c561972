//! The task that owns one room. It is the only place where a room's order is decided on this node: one append to the
//! store is under way at a time, whatever waits meanwhile goes into the next, and what returned is delivered before
//! anything else. So the busier a room, the larger its batches and the cheaper each delivery.
//!
//! It holds no socket and does no work that can block: store reads run beside it and come back as steps.

mod command;
mod gate;
mod mention;
mod newest;
mod overdue;
mod presence;
mod remote;
mod repair;
mod roll;
mod run;
mod store_steps;
#[cfg(test)]
mod tests;
mod untold;

pub use command::{Command, Join, JoinError, Send};
pub(super) use run::run;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::gate::Gated;
use self::presence::Comings;
use self::remote::Attached;
use self::repair::Repairs;
use self::roll::Roll;
use self::store_steps::Step;
use self::untold::Untold;
use super::cluster::{Cluster, Mailbox};
use super::hub::Hub;
use super::state::{Burst, Progress, RoomState, Told};
use crate::fanout::Link;
use crate::limits;
use crate::model::{Change, ConnectionId, Event, Room, Timestamp, UserId};
use crate::store;

/// Readers that one slice of a fan-out serves before other tasks get their turn: a socket write takes no part in
/// tokio's cooperative budget.
const READERS_PER_SLICE: usize = 128;
/// Sends in one append.
const SENDS_PER_APPEND: usize = 256;
/// A burst that took less is not rested after: there are few to write to, so little is saved.
const BURST_RESTS_FROM: Duration = Duration::from_micros(300);
/// The longest rest after a burst: what a large room's acknowledgements may come later by.
const BURST_REST_MAX: Duration = Duration::from_millis(5);
/// Writes that wait for nothing any more, since they make a good burst.
const WORTH_A_BURST: usize = 32;

/// A write that waits for the one under way.
enum Write {
    Send(Box<Send>),
    Change(Box<Changing>),
}

/// An edit or a deletion, and who waits for it since when.
struct Changing {
    change: Change,
    reply: oneshot::Sender<store::Result<Event>>,
    at: Instant,
}

/// The write that is under way.
struct UnderWay {
    since: Instant,
    sends: Vec<Send>,
    change: Option<(Instant, oneshot::Sender<store::Result<Event>>)>,
    /// The senders were told `unknown_outcome`.
    told: bool,
}

/// One room's task.
struct Actor {
    hub: Arc<Hub>,
    room: Arc<Room>,
    state: RoomState<Link>,
    steps: FuturesUnordered<BoxFuture<'static, Step>>,
    writes: VecDeque<Write>,
    under_way: Option<UnderWay>,
    /// Reads that returned while a write was under way: they may hold what it has stored but not yet delivered.
    put_off: Vec<Step>,
    joins: Vec<Join>,
    /// Who wants to know the newest message.
    newest_asked: Vec<newest::Asked>,
    loading: bool,
    /// The other nodes, and what they have for the room.
    cluster: Option<(Arc<Cluster>, Arc<Mailbox>)>,
    attached: Attached,
    /// Members were told `degraded`.
    held: bool,
    /// What has to be read again.
    repairs: Repairs,
    /// What is looked for in the store.
    untold: Untold,
    /// What waits until this node may write to sockets.
    gated: Gated,
    comings: Comings,
    roll: Roll,
    typed: HashMap<UserId, Instant>,
    /// The next write waits a moment (`Actor::rest`).
    rests: bool,
    encodings_counted: u64,
    idle_since: Instant,
}

impl Actor {
    fn new(hub: Arc<Hub>, room: Arc<Room>, mailbox: Option<Arc<Mailbox>>) -> Self {
        let mut state = RoomState::new((&*room).into());
        let cluster = hub.cluster().cloned().zip(mailbox);
        if let Some((cluster, _)) = &cluster {
            state = state.publishing();
            state.switch(cluster.doubt().mechanisms());
        }
        Self {
            hub,
            room,
            state,
            steps: FuturesUnordered::new(),
            writes: VecDeque::new(),
            under_way: None,
            put_off: Vec::new(),
            joins: Vec::new(),
            newest_asked: Vec::new(),
            loading: false,
            cluster,
            attached: Attached::No,
            held: false,
            repairs: Repairs::default(),
            untold: Untold::default(),
            gated: Gated::default(),
            comings: Comings::default(),
            roll: Roll::default(),
            typed: HashMap::new(),
            rests: false,
            encodings_counted: 0,
            idle_since: Instant::now(),
        }
    }

    /// Delivers a burst to every live reader.
    async fn deliver(&mut self, burst: &Burst) {
        let mut start = 0;
        while let Some(next) = self.state.deliver(burst, start, READERS_PER_SLICE) {
            start = next;
            tokio::task::yield_now().await;
        }
        self.hub
            .counters()
            .deliveries
            .add((burst.events * self.state.len()) as u64);
        let encodings = self.state.encodings();
        self.hub.counters().encodings.add(encodings - self.encodings_counted);
        self.encodings_counted = encodings;
    }

    /// Tells the members what another node has stored, or what was found in the store.
    async fn tell(&mut self, told: Vec<Told>) -> usize {
        let given: Vec<Timestamp> = told.iter().map(|event| event.id().timestamp()).collect();
        let burst = self.state.receive(told);
        self.deliver(&burst).await;
        self.note_delivered(&given);
        burst.events
    }

    /// Notes how long after these moments what was said in them has been delivered.
    fn note_delivered(&self, given: &[Timestamp]) {
        let now = self.hub.now();
        let times = &self.hub.counters().send_to_delivery;
        given.iter().for_each(|at| times.note(now.since(*at)));
    }

    /// Brings a reader that has drained further.
    fn advance(&mut self, connection: ConnectionId) {
        let progress = self.state.advance(connection);
        if !matches!(progress, Progress::NeedsStore { .. }) {
            self.hub.counters().ring_catch_ups.add(1);
        }
        self.after_progress(connection, progress);
    }

    /// Whether nothing is left to do and nobody has been here for a while.
    fn is_idle(&self) -> bool {
        self.state.is_empty()
            && self.steps.is_empty()
            && self.under_way.is_none()
            && self.writes.is_empty()
            && self.joins.is_empty()
            && self.newest_asked.is_empty()
            && self.gated.is_empty()
            && self.roll.is_empty()
            && self.idle_since.elapsed() >= limits::ROOM_LINGER
    }
}
