//! The rooms that are active on this node, and the way to each one's task.
//!
//! A room becomes active when somebody joins it or changes something in it, and retires when nobody has read it for a
//! while. The hub also knows which direct conversations to tell when a person comes online, and reaches a user's
//! connections with notices.

mod telling;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::actor::{self, Command};
use super::cluster::{Cluster, Mailbox};
use super::counters::Counters;
use super::directory::Directory;
use super::doubt::Input;
use super::live::Live;
use crate::fanout::Registry;
use crate::limits;
use crate::model::{Change, Event, EventId, Room, RoomId, Timestamp, UserId, WallClock};
use crate::presence::Presence;
use crate::store::{self, Store};
use crate::wire::outbound::{LeftReason, Notice, RoomRef};

/// The way to a room's task.
#[derive(Debug)]
pub struct RoomHandle {
    /// The room's names.
    pub room: RoomRef,
    commands: mpsc::Sender<Command>,
    /// What other nodes have for it.
    mailbox: Option<Arc<Mailbox>>,
}

impl RoomHandle {
    /// Hands a command over if there is room, else gives it back.
    ///
    /// # Errors
    /// The command, and whether the queue is full or the room has retired.
    pub fn try_send(&self, command: Command) -> Result<(), mpsc::error::TrySendError<Command>> {
        self.commands.try_send(command)
    }

    /// Hands a command over; waits while the queue is full.
    ///
    /// # Errors
    /// The command, if the room has retired.
    pub async fn send(&self, command: Command) -> Result<(), Command> {
        self.commands.send(command).await.map_err(|error| error.0)
    }
}

#[derive(Debug, Default)]
struct Active {
    rooms: BTreeMap<RoomId, Arc<RoomHandle>>,
    /// Active direct conversations of each person.
    direct: HashMap<UserId, BTreeSet<RoomId>>,
}

/// The active rooms of this node.
pub struct Hub {
    active: Mutex<Active>,
    store: Arc<dyn Store>,
    presence: Arc<dyn Presence>,
    registry: Arc<Registry>,
    clock: Arc<dyn WallClock>,
    counters: Counters,
    /// The other nodes; none for a server that runs alone.
    cluster: Option<Arc<Cluster>>,
    rules: OnceLock<Weak<Directory>>,
    /// Notices were dropped while the node could not deliver.
    notices_dropped: Arc<AtomicBool>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("active", &self.active_rooms())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without active rooms.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        presence: Arc<dyn Presence>,
        registry: Arc<Registry>,
        clock: Arc<dyn WallClock>,
    ) -> Arc<Self> {
        Self::among(store, presence, registry, clock, None)
    }

    /// A hub whose rooms are told on other nodes too.
    #[must_use]
    pub fn among(
        store: Arc<dyn Store>,
        presence: Arc<dyn Presence>,
        registry: Arc<Registry>,
        clock: Arc<dyn WallClock>,
        cluster: Option<Arc<Cluster>>,
    ) -> Arc<Self> {
        let active = Mutex::default();
        Arc::new(Self {
            active,
            store,
            presence,
            registry,
            clock,
            counters: Counters::default(),
            cluster,
            rules: OnceLock::new(),
            notices_dropped: Arc::default(),
        })
    }

    /// Says who knows what people are to rooms: those who are named in a message are told only if they may read it.
    pub fn know(&self, rules: &Arc<Directory>) {
        let _ = self.rules.set(Arc::downgrade(rules));
    }

    /// Who knows what people are to rooms.
    pub(super) fn rules(&self) -> Option<Arc<Directory>> {
        self.rules.get().and_then(Weak::upgrade)
    }

    /// The other nodes; `None` for a server that runs alone.
    #[must_use]
    pub const fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Presence.
    #[must_use]
    pub fn presence(&self) -> Arc<dyn Presence> {
        Arc::clone(&self.presence)
    }

    /// The connections of this node.
    #[must_use]
    pub const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What the rooms count.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How many rooms are active.
    #[must_use]
    pub fn active_rooms(&self) -> usize {
        self.active.lock().rooms.len()
    }

    /// The way to a room, which becomes active if it is not.
    #[must_use]
    pub fn room(self: &Arc<Self>, room: &Arc<Room>) -> Arc<RoomHandle> {
        let mut active = self.active.lock();
        if let Some(handle) = active.rooms.get(&room.id)
            && !handle.commands.is_closed()
        {
            return Arc::clone(handle);
        }
        let (commands, receiver) = mpsc::channel(limits::ROOM_QUEUE_MAX);
        let mailbox = self.cluster.as_ref().map(|_| Arc::<Mailbox>::default());
        let handle = Arc::new(RoomHandle {
            room: (&**room).into(),
            commands,
            mailbox: mailbox.clone(),
        });
        active.rooms.insert(room.id, Arc::clone(&handle));
        for user in people_of(room) {
            active.direct.entry(user).or_default().insert(room.id);
        }
        self.counters.activations.add(1);
        // The task ends by itself once it is idle, or when the runtime stops.
        tokio::spawn(actor::run(Arc::clone(self), Arc::clone(room), receiver, mailbox));
        handle
    }

    fn active(&self, room: RoomId) -> Option<Arc<RoomHandle>> {
        self.active.lock().rooms.get(&room).cloned()
    }

    /// Lets go of a room whose task is idle, unless a command came meanwhile.
    pub(super) fn retire(&self, room: &Room, commands: &mut mpsc::Receiver<Command>) -> bool {
        // Locked first: whoever makes the room active again must come after its end.
        let mut doubt = self.cluster.as_ref().map(|cluster| (cluster, cluster.doubt()));
        let mut active = self.active.lock();
        if !commands.is_empty() {
            return false;
        }
        // Whoever holds the handle and sends after this finds the queue closed and asks for the room again; what came
        // between the look and the closing is handed on by the task.
        commands.close();
        active.rooms.remove(&room.id);
        for user in people_of(room) {
            if let Some(rooms) = active.direct.get_mut(&user) {
                rooms.remove(&room.id);
                if rooms.is_empty() {
                    active.direct.remove(&user);
                }
            }
        }
        drop(active);
        if let Some((cluster, doubt)) = &mut doubt {
            let mut actions = Vec::new();
            doubt.handle(Input::Deactivated(room.id), cluster.now(), &mut actions);
            actions.into_iter().for_each(|action| self.act(action));
        }
        true
    }

    /// Sends a command to a room, which becomes active if it is not; waits while its queue is full.
    pub async fn send(self: &Arc<Self>, room: &Arc<Room>, command: Command) {
        let mut command = command;
        loop {
            match self.room(room).send(command).await {
                Ok(()) => return,
                // It retired in between: the next one is fresh.
                Err(back) => command = back,
            }
        }
    }

    /// Takes a user's connections out of a room. On return nothing more of the room is written to them.
    pub async fn cut(&self, room: RoomId, user: UserId, reason: LeftReason) {
        if let Some(handle) = self.active(room) {
            let (done, wait) = oneshot::channel();
            if handle.send(Command::Cut { user, reason, done }).await.is_ok() {
                let _ = wait.await;
            }
        }
    }

    /// Every active room, and who reads it here.
    pub async fn readers(&self) -> Vec<(RoomId, Vec<UserId>)> {
        let rooms: Vec<_> = self.active.lock().rooms.values().cloned().collect();
        let mut all = Vec::with_capacity(rooms.len());
        for handle in rooms {
            let (reply, answer) = oneshot::channel();
            if handle.send(Command::Readers(reply)).await.is_ok()
                && let Ok(users) = answer.await
            {
                all.push((handle.room.id, users));
            }
        }
        all
    }

    /// Tells an active room its present state. On return it acts on it.
    pub async fn room_changed(&self, room: Arc<Room>) {
        if let Some(handle) = self.active(room.id) {
            let (done, wait) = oneshot::channel();
            if handle.send(Command::Changed { room, done }).await.is_ok() {
                let _ = wait.await;
            }
        }
    }

    /// Lets a second pass in every room. A room whose queue is full looks at the clock later.
    pub fn tick(&self) {
        let rooms: Vec<_> = self.active.lock().rooms.values().cloned().collect();
        for room in rooms {
            let _ = room.try_send(Command::Tick);
        }
    }
}

fn people_of(room: &Room) -> impl Iterator<Item = UserId> {
    room.pair.into_iter().flat_map(|(low, high)| [low, high])
}

/// The hub as the rules of rooms see it.
#[derive(Debug, Clone)]
pub struct LiveHub(pub Arc<Hub>);

#[async_trait]
impl Live for LiveHub {
    async fn change(&self, room: &Room, change: Change) -> store::Result<Event> {
        let (reply, answer) = oneshot::channel();
        let room = Arc::new(room.clone());
        self.0.send(&room, Command::Change { change, reply }).await;
        answer
            .await
            .unwrap_or_else(|_| Err(store::Error::UnknownOutcome("the room's task ended".into())))
    }

    async fn newest_message(&self, room: &Arc<Room>) -> store::Result<Option<EventId>> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(room, Command::Newest(reply)).await;
            answer.await
        };
        if let Ok(Ok(answer)) = tokio::time::timeout(limits::NEWEST_WITHIN, asked).await {
            return answer;
        }
        // The room's task could not find out by itself, or not in time: the channel layer or the lease may keep it.
        let page = self.0.store.page(room.id, store::Range::Latest, 1).await?;
        Ok(page.messages.last().map(|message| message.id))
    }

    fn is_alone(&self) -> bool {
        self.0.cluster().is_none()
    }

    fn inbox(&self, user: UserId, notice: &Notice) {
        self.0.notice(user, notice, None, |_| true);
    }
}
