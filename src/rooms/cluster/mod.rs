//! This node among others: what goes out to them, what comes from them, and what may have been missed.
//!
//! One task takes from the channel layer and gives each active room what concerns it ([`Mailbox`]); another publishes,
//! so that no room waits for the network before it tells its own members. What may be missing is for the machine in
//! [`doubt`](super::doubt) to say; rooms do the reading. A node that runs alone has none of this.

mod attendance;
mod mailbox;
mod run;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, mpsc};

pub use attendance::Attendance;
pub use mailbox::{Mailbox, Passing, Post, least};
pub use run::run;

use super::counters::Counter;
use super::doubt::{Cause, ClockCheck, Condition, Doubt, Mechanisms, Now, Number, StatusFrame};
use super::envelope::{self, Content, Durable, Envelope};
use super::state::Told;
use crate::channel_layer::{ChannelLayer, Class};
use crate::control_log::Position;
use crate::control_log::lease::{self, DeliveryLease};
use crate::limits;
use crate::model::{BootId, EventId, Moment, RoomId, SharedClock, Timestamp, WallClock};

/// What the node's task counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Payloads of durable events handed to the channel layer: one for each event, whatever the number of members.
    pub published: Counter,
    /// Payloads that could not be handed over; other nodes repair what they lack.
    pub unpublished: Counter,
    /// Durable events that came from other nodes.
    pub arrived: Counter,
    /// Times that the channel layer reported a loss.
    pub losses: Counter,
    /// Repairs that read a room again.
    pub repairs: Counter,
    /// Repairs that could not read.
    pub repairs_failed: Counter,
    /// Events that a repair found and nobody here had been told.
    pub repaired: Counter,
    /// Typing and presence from other nodes, dropped because a room was busy.
    pub passing_dropped: Counter,
    /// Payloads that this build could not read.
    pub unreadable: Counter,
}

/// How certain the node is of what it has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Publishers that are in doubt now.
    pub doubting: usize,
    /// Rooms that are held now.
    pub held_rooms: usize,
    /// How often something came into doubt, by cause.
    pub causes: Vec<(Cause, u64)>,
    /// How many doubts of rooms were ended by repairs, by cause.
    pub settled: Vec<(Cause, u64)>,
    /// How far this node's clock is before the median of all nodes', in milliseconds; less than 0 is behind it.
    pub clock_offset_ms: i64,
    /// Whether this node's clock may give ids.
    pub clock: ClockCheck,
    /// Events that wait to be handed to the channel layer.
    pub outgoing: usize,
}

/// Something to be published.
#[derive(Debug)]
struct Outgoing {
    room: RoomId,
    class: Class,
    /// It is an event that the store holds.
    event: bool,
    payload: Bytes,
}

/// This node's place in the cluster.
pub struct Cluster {
    boot: BootId,
    layer: Arc<dyn ChannelLayer>,
    wall: Arc<dyn WallClock>,
    ids: Option<Arc<SharedClock>>,
    lease: DeliveryLease,
    reaches_store: Box<dyn Fn() -> bool + Send + Sync>,
    began: Moment,
    doubt: Mutex<Doubt<Option<Told>>>,
    attendance: Attendance,
    outgoing: mpsc::Sender<Outgoing>,
    /// Taken by the task that publishes.
    waiting: Mutex<Option<mpsc::Receiver<Outgoing>>>,
    repairs: Semaphore,
    checks: Arc<Semaphore>,
    counts: Counts,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

/// What a node's place in a cluster stands on.
pub struct Neighbours {
    /// This process.
    pub boot: BootId,
    /// The way to the others.
    pub layer: Arc<dyn ChannelLayer>,
    /// The time.
    pub wall: Arc<dyn WallClock>,
    /// What gives this node's ids, if it is not the store itself. It is told of each id that comes from another node, so
    /// that the next ones are greater, and when the wall clock was found right.
    pub ids: Option<Arc<SharedClock>>,
    /// Whether this node may write to sockets.
    pub lease: DeliveryLease,
    /// Whether this node reaches the store, as it says in its status frames.
    pub reaches_store: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Cluster {
    /// A node that has heard nobody yet.
    #[must_use]
    pub fn new(neighbours: Neighbours) -> Arc<Self> {
        let Neighbours {
            boot,
            layer,
            wall,
            ids,
            lease,
            reaches_store,
        } = neighbours;
        let (outgoing, waiting) = mpsc::channel(limits::PUBLISH_QUEUE_MAX);
        let now = Now {
            elapsed: Duration::ZERO,
            wall: wall.now(),
        };
        Arc::new(Self {
            boot,
            attendance: Attendance::new(Arc::clone(&layer)),
            layer,
            wall,
            ids,
            lease,
            reaches_store,
            began: Moment::now(),
            doubt: Mutex::new(Doubt::new(boot, now)),
            outgoing,
            waiting: Mutex::new(Some(waiting)),
            repairs: Semaphore::new(limits::REPAIRS_AT_ONCE),
            checks: Arc::new(Semaphore::new(limits::NOTICE_CHECKS_AT_ONCE)),
            counts: Counts::default(),
        })
    }

    #[doc(hidden)]
    pub fn switch(&self, mechanisms: Mechanisms) {
        self.doubt.lock().switch(mechanisms);
    }

    /// This process.
    #[must_use]
    pub const fn boot(&self) -> BootId {
        self.boot
    }

    /// Whether this node may write to sockets.
    #[must_use]
    pub const fn lease(&self) -> &DeliveryLease {
        &self.lease
    }

    /// What was counted.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What this node has joined on the layer.
    #[must_use]
    pub const fn attendance(&self) -> &Attendance {
        &self.attendance
    }

    /// The permits for reading rooms again, so that a repair of all rooms does not drown the store.
    #[must_use]
    pub const fn repairs(&self) -> &Semaphore {
        &self.repairs
    }

    /// The permits for looking whether somebody who is named may read what names them.
    #[must_use]
    pub const fn checks(&self) -> &Arc<Semaphore> {
        &self.checks
    }

    /// The present moment for the machine.
    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            elapsed: self.began.elapsed(),
            wall: self.wall.now(),
        }
    }

    pub(super) fn elapsed_at(&self, at: Moment) -> Duration {
        at.since(self.began)
    }

    /// The machine of doubt and repair. Lock it before the hub's map of rooms, never while that is locked.
    pub(super) fn doubt(&self) -> MutexGuard<'_, Doubt<Option<Told>>> {
        self.doubt.lock()
    }

    /// What the machine knows of doubt, for the metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let now = self.now();
        let doubt = self.doubt.lock();
        Figures {
            doubting: doubt.doubting(),
            held_rooms: doubt.held_rooms(),
            causes: doubt.causes().iter().map(|(cause, count)| (*cause, *count)).collect(),
            settled: doubt.settled().iter().map(|(cause, count)| (*cause, *count)).collect(),
            clock_offset_ms: doubt.clock_offset(now),
            clock: doubt.clock(now),
            outgoing: self.outgoing.max_capacity() - self.outgoing.capacity(),
        }
    }

    /// For how long rooms lacked a repair until one had read everything: as [`Times::read`] answers.
    ///
    /// [`Times::read`]: super::counters::Times::read
    #[must_use]
    pub fn repair_times(&self) -> (Vec<(Duration, u64)>, u64, Duration) {
        self.doubt.lock().repair_times().read()
    }

    /// Whether this node's clock may give ids now.
    #[must_use]
    pub fn clock(&self) -> ClockCheck {
        let now = self.now();
        let check = self.doubt.lock().clock(now);
        if check == ClockCheck::Good
            && let Some(ids) = &self.ids
        {
            ids.believe(now.wall);
        }
        check
    }

    /// Whether this node can take sends, for readiness.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn serves(&self) -> Result<(), String> {
        if !self.lease.may_write() {
            return Err("no fresh reading of the control log: nothing is delivered".into());
        }
        match self.clock() {
            ClockCheck::Good => Ok(()),
            ClockCheck::Unknown => Err("the clock was not yet compared with the other nodes'".into()),
            ClockCheck::Off(by) => Err(format!(
                "the clock is off by {:.1} s from the median of all nodes: set it right",
                by.as_secs_f64()
            )),
        }
    }

    /// Up to which time this node has seen all of an active room.
    #[must_use]
    pub fn floor(&self, room: RoomId) -> Timestamp {
        let now = self.now();
        self.doubt.lock().floor(room, now)
    }

    /// Numbers an event that this node has stored. The second answer says whether to tell it here: not what was told
    /// already, and not while the room is held.
    pub(super) fn number(&self, room: RoomId, id: EventId, late: Option<EventId>) -> (Number, bool) {
        let now = self.now();
        self.doubt.lock().publish(room, id, late, now)
    }

    /// A write failed without telling whether it is stored: this node and the others read the room again.
    pub(super) fn unsure(&self, room: RoomId) {
        let now = self.now();
        self.doubt.lock().unsure(room, now);
    }

    /// Hands a durable event over for the other nodes. It never waits: what can't be handed over is a loss, which the
    /// others find by its number.
    pub(super) fn publish(&self, room: RoomId, number: Number, id: EventId, content: Content) {
        let envelope = Envelope::Durable(Durable {
            boot: self.boot,
            number: number.number,
            previous: number.previous,
            id,
            content,
        });
        let outgoing = Outgoing {
            room,
            class: Class::Durable,
            event: true,
            payload: envelope.encode(),
        };
        if self.outgoing.try_send(outgoing).is_err() {
            self.counts.unpublished.add(1);
        }
    }

    /// Hands something over that no store holds.
    pub(super) fn pass(&self, room: RoomId, class: Class, passing: envelope::Passing) {
        // Typing and presence are the first to give way.
        let busy = self.outgoing.capacity() < limits::PUBLISH_QUEUE_MAX / 2;
        if class == Class::Ephemeral && busy {
            return;
        }
        let outgoing = Outgoing {
            room,
            class,
            event: false,
            payload: Envelope::Passing(passing).encode(),
        };
        if self.outgoing.try_send(outgoing).is_err() {
            self.counts.unpublished.add(1);
        }
    }

    fn next_frame(&self, goodbye: bool) -> StatusFrame {
        let (position, reaches_log) = self.lease.condition();
        let condition = Condition {
            position: position.map_or([0; 16], Position::to_bytes),
            reaches_log,
            reaches_store: (self.reaches_store)(),
            goodbye,
        };
        let now = self.now();
        let frame = self.doubt.lock().next_frame(condition, now);
        // A peer that echoes this frame proves that it was heard after now.
        self.lease.frame_sent(frame.number);
        frame
    }

    fn frame_heard(&self, frame: &StatusFrame) {
        let echo = frame.peers.iter().find(|peer| peer.boot == self.boot);
        self.lease.frame_heard(lease::Told {
            boot: frame.boot,
            number: frame.number,
            position: (frame.position != [0; 16]).then(|| Position::from_bytes(frame.position)),
            reaches_log: frame.reaches_log,
            goodbye: frame.goodbye,
            echo: echo.map(|peer| peer.frame),
        });
    }

    /// Says goodbye and leaves the layer: nothing is published after this.
    pub async fn leave(&self) {
        // What was handed over before goes out first, so that the goodbye names its numbers.
        while self.outgoing.capacity() < self.outgoing.max_capacity() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let frame = self.next_frame(true);
        if let Err(error) = self.layer.broadcast(frame.encode()).await {
            tracing::debug!(%error, "the others were not told of this node's end");
        }
        self.layer.close().await;
    }
}
