//! One room of one node whose task is the test itself: with the embedded seams, a lease and a clock that the test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::gate::Incoming;
use super::super::*;
use crate::channel_layer::local::LocalHub;
use crate::control_log::Position;
use crate::control_log::lease::DeliveryLease;
use crate::control_log::local::LocalControlLog;
use crate::fanout::{Identity, Registry};
use crate::model::{
    Author, BootId, EventId, Message, Moment, Name, NewMessage, RoomId, RoomKind, SystemTime, Timestamp, User,
    WallClock,
};
use crate::presence::local::LocalPresence;
use crate::presence::{self, Presence, Present};
use crate::rooms::cluster::Neighbours;
use crate::rooms::directory::{Directory, Joined, Seams};
use crate::rooms::doubt::Input;
use crate::rooms::hub::LiveHub;
use crate::sessions::SessionHandle;
use crate::sessions::sqlite::SqliteSessions;
use crate::store::sqlite::SqliteStore;
use crate::store::{NewUser, Store};
use crate::wire::inbound::JoinFrom;

/// A clock that the test sets.
pub(super) struct Hands(Mutex<Timestamp>);

impl WallClock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// Presence that answers nobody who comes or goes while it is `stuck`.
pub(super) struct Slow {
    inner: Arc<dyn Presence>,
    pub(super) stuck: AtomicBool,
    pub(super) moved: Notify,
}

impl Slow {
    async fn wait(&self) {
        while self.stuck.load(Ordering::SeqCst) {
            self.moved.notified().await;
        }
    }
}

#[async_trait]
impl Presence for Slow {
    async fn connect(&self, user: UserId, connection: ConnectionId) -> presence::Result<bool> {
        self.inner.connect(user, connection).await
    }
    async fn disconnect(&self, user: UserId, connection: ConnectionId) -> presence::Result<bool> {
        self.inner.disconnect(user, connection).await
    }
    async fn online(&self, users: &[UserId]) -> presence::Result<Vec<UserId>> {
        self.inner.online(users).await
    }
    async fn enter(&self, room: RoomId, user: UserId, name: &Name, connection: ConnectionId) -> presence::Result<bool> {
        self.wait().await;
        self.inner.enter(room, user, name, connection).await
    }
    async fn leave(&self, room: RoomId, user: UserId, connection: ConnectionId) -> presence::Result<bool> {
        self.wait().await;
        self.inner.leave(room, user, connection).await
    }
    async fn present(&self, room: RoomId, limit: usize) -> presence::Result<Present> {
        self.inner.present(room, limit).await
    }
    async fn present_of(&self, room: RoomId, users: &[UserId]) -> presence::Result<Vec<UserId>> {
        self.inner.present_of(room, users).await
    }
}

/// One room of one node, whose task is the test itself.
pub(super) struct Site {
    pub(super) actor: Actor,
    directory: Arc<Directory>,
    pub(super) store: Arc<dyn Store>,
    pub(super) lease: DeliveryLease,
    clock: Arc<Hands>,
    pub(super) presence: Arc<Slow>,
    pub(super) ann: User,
    /// The other ends of the connections.
    peers: Vec<TcpStream>,
    _folder: TempDir,
}

const POSITION: Position = Position {
    incarnation: 1,
    offset: 1,
};

impl Site {
    /// A room that nobody reads, on a node that may write.
    pub(super) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(Hands(Mutex::new(SystemTime.now())));
        let store: Arc<dyn Store> = SqliteStore::open(&folder.path().join("store.db"), clock.clone()).unwrap();
        let sessions = SqliteSessions::open(&folder.path().join("sessions.db"), clock.clone()).unwrap();
        let boot = BootId::random();
        let lease = DeliveryLease::of(boot);
        let cluster = Cluster::new(Neighbours {
            boot,
            layer: LocalHub::new().node(),
            wall: clock.clone(),
            ids: None,
            lease: lease.clone(),
            reaches_store: Box::new(|| true),
        });
        let presence = Arc::new(Slow {
            inner: LocalPresence::new().node(),
            stuck: AtomicBool::new(false),
            moved: Notify::new(),
        });
        let registry = Arc::new(Registry::new());
        let hub = Hub::among(store.clone(), presence.clone(), registry, clock.clone(), Some(cluster));
        let directory = Arc::new(Directory::new(Seams {
            store: store.clone(),
            lease: lease.clone(),
            control_log: Arc::new(LocalControlLog::new()),
            sessions: Arc::new(sessions),
            presence: presence.clone(),
            live: Arc::new(LiveHub(hub.clone())),
            throttles: Arc::new(crate::throttle::Off),
            clock: clock.clone(),
        }));
        let new = NewUser {
            name: Name::parse("ann").unwrap(),
            password_hash: "!".into(),
            superuser: false,
            at: clock.now(),
        };
        let ann = store.create_user(new, None).await.unwrap();
        let name = Name::parse("hall").unwrap();
        let room = directory.create(ann.id, name, String::new(), RoomKind::Public).await;
        let mailbox = Arc::<Mailbox>::default();
        let leases = Input::Leases {
            began: Duration::ZERO,
            holders: vec![boot],
            time: None,
        };
        hub.doubt(leases);
        let site = Self {
            actor: Actor::new(hub, room.unwrap(), Some(mailbox)),
            directory,
            store,
            lease,
            clock,
            presence,
            ann,
            peers: Vec::new(),
            _folder: folder,
        };
        site.open();
        site
    }

    /// A reading that begins now returns: the node may write.
    pub(super) fn open(&self) {
        self.lease.renewed(Moment::now(), POSITION, &[]);
        assert!(self.lease.may_write());
    }

    /// The node may not write until another reading has returned.
    pub(super) fn close(&self) {
        self.lease.bar(POSITION);
        assert!(!self.lease.may_write());
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.actor.cluster.as_ref().unwrap().1
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.actor.cluster.as_ref().unwrap().0
    }

    /// Lets everything that is under way return, and what follows from it.
    pub(super) async fn settle(&mut self) {
        while let Some(step) = self.actor.steps.next().await {
            self.actor.take_in(Incoming::Step(step)).await;
        }
    }

    /// What waits for the lease goes on.
    pub(super) async fn release(&mut self) {
        while !self.actor.gated.is_empty() {
            self.actor.release().await;
        }
    }

    pub(super) fn author(&self) -> Author {
        Author {
            id: self.ann.id,
            name: self.ann.name.clone(),
        }
    }

    pub(super) async fn link(&mut self) -> Arc<Link> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        self.peers.push(peer.unwrap());
        let identity = Identity {
            connection: crate::model::ConnectionId::random(),
            author: self.author(),
            session: SessionHandle::of(tower_sessions::session::Id::default()),
            one_room: true,
            echo: false,
        };
        let stream = accepted.unwrap().0.into_std().unwrap();
        Arc::new(Link::new(
            identity,
            stream,
            Arc::default(),
            0,
            Timestamp::from_millis(0),
        ))
    }

    /// Asks to read the room.
    pub(super) async fn ask_to_join(&mut self, since: Option<EventId>) -> oneshot::Receiver<Result<(), JoinError>> {
        let link = self.link().await;
        let (reply, answer) = oneshot::channel();
        let room = self.actor.room.clone();
        let join = Join {
            link,
            opened: Joined {
                room: room.clone(),
                role: crate::model::Role::Owner,
                created: false,
                read: None,
                with: None,
            },
            from: JoinFrom {
                since,
                have: None,
                latest: limits::JOIN_MESSAGES,
            },
            reference: None,
            watch: self.directory.watch(room.id, self.ann.id),
            at: Instant::now(),
            counted: false,
            reads: 0,
            reply,
        };
        let command = Command::Join(Box::new(join));
        self.actor.take_in(Incoming::Command(command)).await;
        answer
    }

    pub(super) async fn join(&mut self, since: Option<EventId>) {
        let answer = self.ask_to_join(since).await;
        self.settle().await;
        assert_eq!(answer.await.unwrap(), Ok(()));
    }

    pub(super) fn says(&self, body: &str) -> NewMessage {
        NewMessage {
            room: self.actor.room.id,
            author: self.author(),
            body: body.into(),
            nonce: None,
            retry: false,
            reply_to: None,
            mentions: Vec::new(),
        }
    }

    /// Another node stores a message, and this one is not told.
    pub(super) async fn stored_elsewhere(&self, body: &str) -> Message {
        let message = self.says(body);
        self.store.append(vec![message]).await.remove(0).unwrap().message
    }

    /// Somebody who reads the room here asks for a send.
    pub(super) async fn ask_to_send(&mut self, message: NewMessage) {
        let link = self.actor.state.links().next().expect("a reader").clone();
        link.send_begun();
        let send = Send {
            link,
            message,
            reference: None,
            at: Instant::now(),
            trace: None,
        };
        self.actor.asked(Command::Send(Box::new(send))).await;
        self.actor.start_write();
    }

    pub(super) fn pass(&self, span: Duration) {
        let mut hands = self.clock.0.lock();
        *hands = hands.plus(span);
    }

    pub(super) fn repaired(&self) -> u64 {
        self.cluster().counts().repaired.get()
    }
}
