//! One node: the server's own rooms, connections, machine of doubt and delivery lease, on a runtime of its own whose time
//! only the simulation moves. A node that is not moved is paused; one whose runtime is dropped is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use natter::conn::{self, Gate, Params, Target, Who};
use natter::control_log::ControlLog;
use natter::control_log::lease::DeliveryLease;
use natter::fanout::{Registry, Socket};
use natter::model::clock::SharedClock;
use natter::model::{BootId, ConnectionId, EventId, Message, Room, Timestamp, User, WallClock};
use natter::presence::local::LocalPresence;
use natter::rooms::cluster::{self, Cluster, Neighbours};
use natter::rooms::directory::{Directory, Error, Seams};
use natter::rooms::hub::{Hub, LiveHub};
use natter::sessions::{SessionHandle, UserSessions};
use natter::store::{MessageStore as _, Range};
use natter::throttle::Off;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::ground::{EPOCH, Ground, pass};
use crate::log::SimLog;
use crate::net::SimLayer;
use crate::pipe::NodeEnd;
use crate::sessions::SimSessions;
use crate::store::SimStore;

/// A node's wall clock.
pub struct Hands {
    base: Instant,
    begun: u64,
    /// How far it is off, in milliseconds.
    pub skew: AtomicI64,
}

impl WallClock for Hands {
    fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.base.elapsed().as_millis()).expect("a short run");
        let right = EPOCH + self.begun + passed;
        Timestamp::from_millis(right.saturating_add_signed(self.skew.load(Ordering::Relaxed)))
    }
}

/// What of a node others talk to.
pub struct Parts {
    directory: Arc<Directory>,
    gate: Arc<Gate>,
    sessions: Arc<SimSessions>,
    store: Arc<SimStore>,
    cluster: Arc<Cluster>,
}

/// One node.
pub struct Node {
    runtime: Runtime,
    begun: u64,
    base: Instant,
    /// Its wall clock.
    pub hands: Arc<Hands>,
    parts: Arc<Parts>,
}

/// What somebody is to be silenced by.
#[derive(Debug, Clone)]
pub enum Cut {
    /// The end of a session.
    LogOut(SessionHandle),
    /// The end of a membership, by the room's owner.
    Kick(User, Room),
}

impl Node {
    /// Starts one.
    pub fn start(ground: &Arc<Ground>, index: usize, presence: &LocalPresence, skew: i64) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let begun = ground.now();
        let boot = BootId::from_bytes(ground.bytes());
        let (base, hands, parts) = runtime.block_on(async {
            let base = Instant::now();
            let skew = AtomicI64::new(skew);
            let hands = Arc::new(Hands { base, begun, skew });
            let parts = Arc::new(assemble(ground, index, presence, boot, hands.clone()));
            (base, hands, parts)
        });
        Self {
            runtime,
            begun,
            base,
            hands,
            parts,
        }
    }

    fn at(&self, now: u64) -> Instant {
        self.base + Duration::from_millis(now - self.begun)
    }

    /// Lets it run until then.
    pub fn run_until(&self, now: u64) {
        let until = self.at(now);
        self.runtime.block_on(async { tokio::time::sleep_until(until).await });
    }

    /// It was paused, and goes on at a later time than it stopped at.
    pub fn jump_to(&self, now: u64) {
        let to = self.at(now);
        self.runtime.block_on(async {
            tokio::time::advance(to.saturating_duration_since(Instant::now())).await;
        });
    }

    /// Somebody opens a socket.
    pub fn open(&self, session: SessionHandle, pipe: NodeEnd, connection: ConnectionId, echo: bool) {
        let parts = Arc::clone(&self.parts);
        self.runtime.spawn(async move {
            let Ok(live) = parts.sessions.live(&session).await else {
                return;
            };
            let Some(live) = live else { return pipe.refuse() };
            let Ok(user) = parts.directory.user_by_id(live.user).await else {
                return;
            };
            let who = Who {
                user,
                session,
                expires_at: live.expires_at,
            };
            let params = Params {
                echo,
                ..Params::default()
            };
            let socket = Socket::Pipe(Arc::new(pipe));
            let _ = conn::connect(parts.gate.clone(), socket, connection, who, Target::Rooms, params).await;
        });
    }

    /// Silences somebody; `done` is called once that is acknowledged.
    pub fn cut(&self, user: User, cut: Cut, done: impl FnOnce() + Send + 'static) {
        let parts = Arc::clone(&self.parts);
        self.runtime.spawn(async move {
            loop {
                let asked = match &cut {
                    Cut::LogOut(session) => parts.directory.end_session(user.id, session).await,
                    Cut::Kick(owner, room) => parts.directory.kick(owner, room, &user).await,
                };
                match (asked, &cut) {
                    // An attempt before has ended it, and this one has announced it.
                    (Ok(()), _) | (Err(Error::NotFound(_)), Cut::LogOut(_)) => return done(),
                    (Err(_), _) => pass(500).await,
                }
            }
        });
    }

    /// A room's whole history as this node has it.
    pub fn history(&self, room: &Room) -> Vec<Message> {
        let store = Arc::clone(&self.parts.store);
        self.runtime.block_on(async {
            let mut all: Vec<Message> = Vec::new();
            loop {
                let after = all.last().map_or(EventId::new(0, 0, 0), |message| message.id);
                let page = store.page(room.id, Range::After(after), 200).await.expect("a page");
                all.extend(page.messages);
                if !page.has_more {
                    return all;
                }
            }
        })
    }

    /// Its connections.
    pub fn registry(&self) -> &Registry {
        &self.parts.gate.registry
    }

    /// How many tasks it has.
    pub fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// How many events repairs have found so far.
    pub fn repaired(&self) -> u64 {
        self.parts.cluster.counts().repaired.get()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.parts.gate.registry.abandon();
    }
}

/// Puts a node together as the composition root does, over the simulated seams.
fn assemble(ground: &Arc<Ground>, index: usize, presence: &LocalPresence, boot: BootId, hands: Arc<Hands>) -> Parts {
    let ids = Arc::new(SharedClock::new(hands.clone()));
    let lease = if ground.switches.lease {
        DeliveryLease::among_others(boot)
    } else {
        DeliveryLease::unlimited()
    };
    let log = Arc::new(SimLog::new(ground.clone(), index, lease.clone()));
    let store = Arc::new(SimStore::new(ground.clone(), index, ids.clone()));
    let sessions = Arc::new(SimSessions::new(ground.clone(), index));
    let presence = presence.node();
    let cluster = Cluster::new(Neighbours {
        boot,
        layer: Arc::new(SimLayer::new(ground.clone(), index)),
        wall: hands.clone(),
        ids: Some(ids),
        lease: lease.clone(),
        reaches_store: Box::new(|| true),
    });
    cluster.switch(ground.switches.mechanisms);
    let registry = Arc::new(Registry::new());
    let hub = Hub::among(
        store.clone(),
        presence.clone(),
        registry,
        hands.clone(),
        Some(cluster.clone()),
    );
    let directory = Arc::new(Directory::new(Seams {
        store: store.clone(),
        lease: lease.clone(),
        control_log: log.clone(),
        sessions: sessions.clone(),
        presence,
        live: Arc::new(LiveHub(hub.clone())),
        throttles: Arc::new(Off),
        clock: hands.clone(),
    }));
    let gate = Arc::new(Gate::new(
        directory.clone(),
        hub.clone(),
        sessions.clone(),
        hands,
        false,
    ));
    tokio::spawn(cluster::run(hub));
    tokio::spawn(conn::sweep(gate.clone()));
    let reader = gate.clone();
    tokio::spawn(async move {
        let position = loop {
            match log.attach(boot).await {
                Ok(position) => break position,
                Err(_) => pass(200).await,
            }
        };
        conn::enforce(reader, log, lease, boot, position).await;
    });
    Parts {
        directory,
        gate,
        sessions,
        store,
        cluster,
    }
}
