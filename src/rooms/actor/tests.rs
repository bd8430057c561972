//! The room's task step by step: what is asked of it is done at once, and its reads return when the test says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::gate::Incoming;
use super::run::released;
use super::*;
use crate::channel_layer::local::LocalHub;
use crate::control_log::Position;
use crate::control_log::lease::DeliveryLease;
use crate::control_log::local::LocalControlLog;
use crate::fanout::{Identity, Registry};
use crate::model::{
    Author, BootId, EventId, Message, Name, NewMessage, RoomKind, SystemTime, Timestamp, User, WallClock,
};
use crate::presence::local::LocalPresence;
use crate::rooms::cluster::{Neighbours, Passing, Post};
use crate::rooms::directory::{Directory, Joined, Seams};
use crate::rooms::doubt::Input;
use crate::rooms::hub::LiveHub;
use crate::sessions::SessionHandle;
use crate::sessions::sqlite::SqliteSessions;
use crate::store::sqlite::SqliteStore;
use crate::store::{NewUser, Store};
use crate::wire::inbound::JoinFrom;

/// A clock that the test sets.
struct Hands(Mutex<Timestamp>);

impl WallClock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// One room of one node, whose task is the test itself.
struct Site {
    actor: Actor,
    directory: Arc<Directory>,
    store: Arc<dyn Store>,
    lease: DeliveryLease,
    clock: Arc<Hands>,
    ann: User,
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
    async fn new() -> Self {
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
            observe: Box::new(|_| ()),
            lease: lease.clone(),
            reaches_store: Box::new(|| true),
        });
        let presence = LocalPresence::new().node();
        let registry = Arc::new(Registry::new());
        let hub = Hub::among(store.clone(), presence.clone(), registry, clock.clone(), Some(cluster));
        let directory = Arc::new(Directory::new(Seams {
            store: store.clone(),
            control_log: Arc::new(LocalControlLog::new()),
            sessions: Arc::new(sessions),
            presence,
            live: Arc::new(LiveHub(hub.clone())),
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
        let room = directory.create(&ann, name, String::new(), RoomKind::Public).await;
        let mailbox = Arc::<Mailbox>::default();
        let leases = Input::Leases {
            began: Duration::ZERO,
            holders: vec![boot],
        };
        hub.doubt(leases);
        let site = Self {
            actor: Actor::new(hub, room.unwrap(), Some(mailbox)),
            directory,
            store,
            lease,
            clock,
            ann,
            peers: Vec::new(),
            _folder: folder,
        };
        site.open();
        site
    }

    /// A reading that begins now returns: the node may write.
    fn open(&self) {
        self.lease.renewed(Instant::now(), POSITION, &[]);
        assert!(self.lease.may_write());
    }

    /// The node may not write until another reading has returned.
    fn close(&self) {
        self.lease.bar(POSITION);
        assert!(!self.lease.may_write());
    }

    fn mailbox(&self) -> &Mailbox {
        &self.actor.cluster.as_ref().unwrap().1
    }

    fn cluster(&self) -> &Cluster {
        &self.actor.cluster.as_ref().unwrap().0
    }

    /// Lets everything that is under way return, and what follows from it.
    async fn settle(&mut self) {
        while let Some(step) = self.actor.steps.next().await {
            self.actor.take_in(Incoming::Step(step)).await;
        }
    }

    /// What waits for the lease goes on.
    async fn release(&mut self) {
        while !self.actor.gated.is_empty() {
            self.actor.release().await;
        }
    }

    fn author(&self) -> Author {
        Author {
            id: self.ann.id,
            name: self.ann.name.clone(),
        }
    }

    async fn link(&mut self) -> Arc<Link> {
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
        let stream = accepted.unwrap().0;
        Arc::new(Link::new(
            identity,
            stream,
            Arc::default(),
            0,
            Timestamp::from_millis(0),
        ))
    }

    /// Asks to read the room.
    async fn ask_to_join(&mut self, since: Option<EventId>) -> oneshot::Receiver<Result<(), JoinError>> {
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
            reads: 0,
            reply,
        };
        let command = Command::Join(Box::new(join));
        self.actor.take_in(Incoming::Command(command)).await;
        answer
    }

    async fn join(&mut self, since: Option<EventId>) {
        let answer = self.ask_to_join(since).await;
        self.settle().await;
        assert_eq!(answer.await.unwrap(), Ok(()));
    }

    /// Another node stores a message, and this one is not told.
    async fn stored_elsewhere(&self, body: &str) -> Message {
        let message = NewMessage {
            room: self.actor.room.id,
            author: self.author(),
            body: body.into(),
            nonce: None,
            retry: false,
            reply_to: None,
            mentions: Vec::new(),
        };
        self.store.append(vec![message]).await.remove(0).unwrap().message
    }

    fn pass(&self, span: Duration) {
        let mut hands = self.clock.0.lock();
        *hands = hands.plus(span);
    }

    fn repaired(&self) -> u64 {
        self.cluster().counts().repaired.get()
    }
}

/// A moment that long ago.
fn ago(span: Duration) -> Instant {
    Instant::now()
        .checked_sub(span)
        .expect("the machine has run for longer")
}

fn overdue() -> Instant {
    ago(limits::SEND_DECISION)
}

fn change(room: &Room, message: &Message) -> Change {
    Change {
        room: room.id,
        message: message.id,
        by: message.author.id,
        kind: crate::model::ChangeKind::Delete,
    }
}

#[tokio::test]
async fn a_second_lapse_while_something_waits_is_waited_for() {
    let mut site = Site::new().await;
    site.close();
    site.actor.take_in(Incoming::Post(Post::default())).await;
    site.actor
        .take_in(Incoming::Command(Command::Drained(ConnectionId::random())))
        .await;
    site.open();
    // Behind the others, while the node may write.
    site.actor
        .take_in(Incoming::Command(Command::Drained(ConnectionId::random())))
        .await;
    site.actor.release().await;
    site.close();
    for _ in 0..2 {
        assert!(!site.actor.gated.is_empty());
        let lease = site.lease.clone();
        let waits = released(Some(&lease), site.actor.gated.since());
        assert!(waits.now_or_never().is_none(), "the room's task would spin");
        site.actor.release().await;
    }
    site.open();
    released(Some(&site.lease.clone()), site.actor.gated.since()).await;
    site.release().await;
}

#[tokio::test]
async fn what_waits_for_the_lease_stays_small_and_goes_on_reading_by_reading() {
    let mut site = Site::new().await;
    site.close();
    for _ in 0..1_000 {
        site.mailbox().repair(EventId::new(7, 0, 0));
        for _ in 0..limits::ROOM_PASSING_MAX {
            site.mailbox().pass(Passing::Typing(Bytes::new()));
        }
        let post = site.mailbox().take();
        site.actor.take_in(Incoming::Post(post)).await;
        site.actor.asked(Command::Tick).await;
    }
    assert!(site.actor.steps.is_empty(), "nothing is read that could not be told");
    let first = site.actor.gated.since();
    let mut count = 0;
    site.open();
    while !site.actor.gated.is_empty() {
        count += 1;
        // The first did not wait for a later reading because others came after it.
        assert!(count > 1 || site.actor.gated.since() == first);
        site.actor.release().await;
    }
    assert_eq!(count, 2);
    site.settle().await;
}

#[tokio::test]
async fn a_room_with_something_in_its_gate_does_not_retire() {
    let mut site = Site::new().await;
    site.close();
    let answer = site.ask_to_join(None).await;
    site.actor.idle_since = ago(limits::ROOM_LINGER);
    assert!(!site.actor.is_idle());
    site.open();
    site.release().await;
    site.settle().await;
    assert_eq!(answer.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn what_a_join_reads_in_a_held_room_is_left_for_the_repair() {
    let mut site = Site::new().await;
    site.join(None).await;
    site.actor.tell_held(true);
    let missed = site.stored_elsewhere("missed").await;
    // Somebody with an old cursor: the room has to be read for them.
    let long_ago = EventId::floor_of(missed.at().minus(Duration::from_secs(600)));
    site.join(Some(long_ago)).await;
    site.actor.tell_held(false);
    site.mailbox().repair(long_ago);
    let post = site.mailbox().take();
    site.actor.take_in(Incoming::Post(post)).await;
    site.settle().await;
    assert_eq!(site.repaired(), 1, "who was there before is told");
}

#[tokio::test]
async fn what_the_gate_dropped_is_read_again_however_long_it_was_closed() {
    let mut site = Site::new().await;
    site.join(None).await;
    let message = site.stored_elsewhere("dropped").await;
    // As if it had been delivered to the mailbox and did not fit.
    assert!(site.cluster().doubt().fresh(site.actor.room.id, message.id, None));
    let post = Post {
        overflowed: true,
        oldest: Some(message.id),
        ..Post::default()
    };
    site.close();
    site.actor.take_in(Incoming::Post(post)).await;
    for _ in 0..100 {
        site.pass(Duration::from_secs(1));
        site.actor.hub.doubt(Input::Tick);
        site.actor.asked(Command::Tick).await;
    }
    site.open();
    site.release().await;
    site.settle().await;
    assert_eq!(site.repaired(), 1);
}

#[tokio::test]
async fn changes_and_joins_that_wait_too_long_are_answered() {
    let mut site = Site::new().await;
    let message = site.stored_elsewhere("helo").await;
    site.close();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (reply, answer) = oneshot::channel();
        let change = change(&site.actor.room, &message);
        site.actor.asked(Command::Change { change, reply }).await;
        site.actor.start_write();
        answers.push(answer);
    }
    let joined = site.ask_to_join(None).await;
    site.actor.asked(Command::Tick).await;
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "not yet");
    for write in &mut site.actor.writes {
        if let Write::Change(change) = write {
            change.at = overdue();
        }
    }
    let mut joins = site.actor.gated.take_joins(|_| true);
    for mut join in joins.drain(..) {
        join.at = overdue();
        site.actor
            .take_in(Incoming::Command(Command::Join(Box::new(join))))
            .await;
    }
    site.actor.asked(Command::Tick).await;
    for answer in answers {
        assert!(matches!(answer.await.unwrap(), Err(store::Error::Refused(_))));
    }
    assert_eq!(joined.await.unwrap(), Err(JoinError::Overdue));
    assert!(site.actor.gated.is_empty() && site.actor.writes.is_empty());
}

#[tokio::test]
async fn a_change_that_the_store_does_not_answer_is_told_so_and_delivered_when_it_does() {
    let mut site = Site::new().await;
    let message = site.stored_elsewhere("helo").await;
    site.join(None).await;
    let (reply, answer) = oneshot::channel();
    let change = change(&site.actor.room, &message);
    site.actor.asked(Command::Change { change, reply }).await;
    site.actor.start_write();
    let under_way = site.actor.under_way.as_mut().expect("the change");
    under_way.change.as_mut().expect("who waits").0 = overdue();
    site.actor.asked(Command::Tick).await;
    assert!(matches!(answer.await.unwrap(), Err(store::Error::UnknownOutcome(_))));
    let before = site.actor.hub.counters().deleted.get();
    site.settle().await;
    assert_eq!(site.actor.hub.counters().deleted.get(), before + 1);
}
