//! A directory over the real embedded seams in a folder of its own, with a live side that writes down what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::super::{Directory, Seams};
use crate::control_log::lease::DeliveryLease;
use crate::control_log::local::LocalControlLog;
use crate::control_log::{self, ControlLog, Entry, Position, Reading};
use crate::model::{
    Author, BootId, Change, Event, EventId, Message, Name, NewMessage, Role, Room, RoomKind, Standing, SystemTime,
    Timestamp, User, UserId, WallClock,
};
use crate::presence::Presence;
use crate::presence::local::LocalPresence;
use crate::rooms::live::Live;
use crate::sessions::UserSessions;
use crate::sessions::sqlite::SqliteSessions;
use crate::store::sqlite::SqliteStore;
use crate::store::{self, NewUser, Store};
use crate::throttle::local::LocalThrottles;
use crate::throttle::{Off, Throttle};
use crate::wire::outbound::Notice;

/// Stores changes and writes down notices.
pub(crate) struct Recorder {
    store: Arc<dyn Store>,
    notices: Mutex<Vec<(UserId, Notice)>>,
    among_others: AtomicBool,
}

#[async_trait]
impl Live for Recorder {
    async fn change(&self, _room: &Room, change: Change) -> store::Result<Event> {
        self.store.change(change).await
    }

    async fn newest_message(&self, room: &Arc<Room>) -> store::Result<Option<EventId>> {
        let page = self.store.page(room.id, store::Range::Latest, 1).await?;
        Ok(page.messages.last().map(|message| message.id))
    }

    fn is_alone(&self) -> bool {
        !self.among_others.load(Ordering::SeqCst)
    }

    fn inbox(&self, user: UserId, notice: &Notice) {
        self.notices.lock().push((user, notice.clone()));
    }
}

/// A control log that writes down what is put into it, and can be out of reach.
pub(crate) struct Log {
    inner: LocalControlLog,
    pub(crate) down: AtomicBool,
    entries: Mutex<Vec<Entry>>,
}

#[async_trait]
impl ControlLog for Log {
    async fn attach(&self, node: BootId) -> control_log::Result<Position> {
        self.inner.attach(node).await
    }
    async fn detach(&self, node: BootId) {
        self.inner.detach(node).await;
    }
    async fn append(&self, entry: Entry) -> control_log::Result<Position> {
        if self.down.load(Ordering::SeqCst) {
            return Err(control_log::Error::Unavailable("down".into()));
        }
        self.entries.lock().push(entry.clone());
        self.inner.append(entry).await
    }
    async fn end(&self) -> control_log::Result<Position> {
        if self.down.load(Ordering::SeqCst) {
            return Err(control_log::Error::Unavailable("down".into()));
        }
        self.inner.end().await
    }
    async fn read(&self, node: BootId, acted: Position) -> control_log::Result<Reading> {
        self.inner.read(node, acted).await
    }
    async fn changed(&self, after: Position) {
        self.inner.changed(after).await;
    }
    async fn wait_reported(&self, position: Position, patience: std::time::Duration) -> control_log::Result<()> {
        self.inner.wait_reported(position, patience).await
    }
}

/// Everything, ready to be asked.
pub(crate) struct World {
    pub(crate) directory: Arc<Directory>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sessions: SqliteSessions,
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) log: Arc<Log>,
    live: Arc<Recorder>,
    _folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(None, Arc::new(Off))
    }

    /// With throttles for which time stands still, so that nothing recovers during a test.
    pub(crate) fn throttled() -> Self {
        let still = LocalThrottles::with(100, Arc::new(|| std::time::Duration::ZERO));
        Self::over(None, Arc::new(still))
    }

    /// With sessions and presence from elsewhere, and these throttles.
    pub(crate) fn over(
        elsewhere: Option<(Arc<dyn UserSessions>, Arc<dyn Presence>)>,
        throttles: Arc<dyn Throttle>,
    ) -> Self {
        let folder = TempDir::new().unwrap();
        let clock: Arc<dyn WallClock> = Arc::new(SystemTime);
        let store: Arc<dyn Store> = SqliteStore::open(&folder.path().join("store.db"), clock.clone()).unwrap();
        let sessions = SqliteSessions::open(&folder.path().join("sessions.db"), clock.clone()).unwrap();
        let (user_sessions, presence) =
            elsewhere.unwrap_or_else(|| (Arc::new(sessions.clone()) as _, LocalPresence::new().node()));
        let log = Arc::new(Log {
            inner: LocalControlLog::new(),
            down: AtomicBool::new(false),
            entries: Mutex::default(),
        });
        let live = Arc::new(Recorder {
            store: store.clone(),
            notices: Mutex::default(),
            among_others: AtomicBool::new(false),
        });
        let directory = Arc::new(Directory::new(Seams {
            store: store.clone(),
            lease: DeliveryLease::unlimited(),
            control_log: log.clone(),
            sessions: user_sessions,
            presence: presence.clone(),
            live: live.clone(),
            throttles,
            clock,
        }));
        Self {
            directory,
            store,
            sessions,
            presence,
            log,
            live,
            _folder: folder,
        }
    }

    /// From now on other nodes may write to the store too.
    pub(crate) fn among_others(&self) {
        self.live.among_others.store(true, Ordering::SeqCst);
    }

    pub(crate) async fn user(&self, name: &str) -> User {
        let user = NewUser {
            name: Name::parse(name).unwrap(),
            password_hash: "!".into(),
            superuser: false,
            at: Timestamp::from_millis(1_000),
        };
        self.store.create_user(user, None).await.unwrap()
    }

    /// A room of this kind, and somebody of each standing in it: outsider, banned, member, moderator, owner. In a
    /// direct conversation the last three are the same person, and nobody is banned.
    pub(crate) async fn room_with_everybody(&self, kind: RoomKind, prefix: &str) -> (Arc<Room>, [User; 5]) {
        let mut people = Vec::new();
        for name in ["outsider", "banned", "member", "moderator", "owner"] {
            people.push(self.user(&format!("{prefix}-{name}")).await);
        }
        let people: [User; 5] = people.try_into().unwrap();
        let [_, banned, member, moderator, owner] = &people;
        if kind == RoomKind::Direct {
            let joined = self
                .directory
                .open_direct(owner, &member.name.to_string())
                .await
                .unwrap();
            return (joined.room, people);
        }
        let name = Name::parse(&format!("{prefix}-room")).unwrap();
        let room = self
            .directory
            .create(owner.id, name, String::new(), kind)
            .await
            .unwrap();
        self.directory.ban(owner, &room, banned).await.unwrap();
        self.directory.put_member(owner, &room, member, None).await.unwrap();
        self.directory
            .put_member(owner, &room, moderator, Some(Role::Moderator))
            .await
            .unwrap();
        (room, people)
    }

    pub(crate) async fn say(&self, room: &Room, author: &User, body: &str) -> Message {
        let message = NewMessage {
            room: room.id,
            author: Author {
                id: author.id,
                name: author.name.clone(),
            },
            body: body.into(),
            nonce: None,
            retry: false,
            reply_to: None,
            mentions: Vec::new(),
        };
        self.store.append(vec![message]).await.remove(0).unwrap().message
    }

    pub(crate) async fn standing(&self, room: &Room, user: &User) -> Standing {
        let cached = self.directory.standing(room.id, user.id).await.unwrap();
        let stored = self.store.standing(room.id, user.id).await.unwrap();
        assert_eq!(cached, stored, "the cache says what the store says");
        stored
    }

    /// What a user was told since the last time, as words.
    pub(crate) fn told(&self, user: &User) -> Vec<String> {
        let mut notices = self.live.notices.lock();
        let mut words = Vec::new();
        notices.retain(|(to, notice)| {
            if *to == user.id {
                let json: serde_json::Value = serde_json::from_slice(&notice.to_json()).unwrap();
                let word = if json["type"] == "inbox" {
                    &json["what"]
                } else {
                    &json["type"]
                };
                words.push(word.as_str().unwrap().to_owned());
            }
            *to != user.id
        });
        words
    }

    /// What was put into the control log since the last time.
    pub(crate) fn logged(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.log.entries.lock())
    }

    pub(crate) fn far_id() -> EventId {
        EventId::new(4_000_000_000_000, 0, 1)
    }
}
