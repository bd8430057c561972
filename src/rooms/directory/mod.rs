//! The rules of rooms and people: who a name means, who may do what, and what follows from it.
//!
//! Sockets and HTTP both ask here and nowhere else, so a rule can't hold on one and not on the other. Every revocation
//! goes the same way: the change is made durable, then put into the control log, then answered (G6). The directory
//! knows no socket and no request: it tells the live side through [`Live`].
//!
//! What the store said about rooms, people and standings is cached; entries of the control log make it forget
//! ([`Directory::apply`]). It forgets before the change is announced, and a read that began earlier is not kept. A node
//! that may have missed an entry, because its lease has lapsed, asks the store about rooms and standings each time.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::control_log::lease::DeliveryLease;
use crate::control_log::{self, ControlLog, Entry, RoomCut};
use crate::limits;
use crate::model::{
    Action, Author, EventId, Name, Room, RoomId, Standing, Timestamp, User, UserId, Verdict, WallClock, permission,
};
use crate::presence::Presence;
use crate::rooms::live::Live;
use crate::sessions::UserSessions;
use crate::store::Store;
use crate::throttle::{self, Kind, Throttle};

mod cache;
mod ends;
mod error;
mod joining;
mod members;
mod messages;
mod owed;
mod people;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

use cache::Cache;
pub use error::Error;
pub use joining::Joined;
pub use people::Whereabouts;
pub use settings::check_title;

/// The directory's result.
pub type Result<T> = std::result::Result<T, Error>;

/// How a client names a room: by name, or by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomKey {
    /// By id.
    Id(RoomId),
    /// By name.
    Name(Name),
}

impl RoomKey {
    /// Reads a name, or an id of 36 characters or 32 hex digits: no name has either form.
    ///
    /// # Errors
    /// [`Error::InvalidName`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self> {
        match RoomId::parse(text) {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Ok(Self::Name(Name::parse(text)?)),
        }
    }
}

/// How a client names a user: by name, or by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserKey {
    /// By id.
    Id(UserId),
    /// By name.
    Name(Name),
}

impl UserKey {
    /// Reads a name, or an id of 36 characters or 32 hex digits: no name has either form.
    ///
    /// # Errors
    /// [`Error::InvalidName`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self> {
        match UserId::parse(text) {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => Ok(Self::Name(Name::parse(text)?)),
        }
    }
}

/// What the directory stands on.
#[derive(Clone)]
pub struct Seams {
    /// Durable rooms, accounts and messages.
    pub store: Arc<dyn Store>,
    /// Whether this node knows of all revocations; while it does not, nothing that they may concern is taken from memory.
    pub lease: DeliveryLease,
    /// Revocations.
    pub control_log: Arc<dyn ControlLog>,
    /// Whose sessions are whose.
    pub sessions: Arc<dyn UserSessions>,
    /// Who is connected.
    pub presence: Arc<dyn Presence>,
    /// The live side of rooms.
    pub live: Arc<dyn Live>,
    /// How often somebody may do what costs every node something.
    pub throttles: Arc<dyn Throttle>,
    /// The time.
    pub clock: Arc<dyn WallClock>,
}

/// The rules. Cheap to share behind an `Arc`.
pub struct Directory {
    seams: Seams,
    rooms: Cache<RoomId, Arc<Room>>,
    room_names: Cache<Name, RoomId>,
    users: Cache<UserId, Arc<User>>,
    user_names: Cache<Name, UserId>,
    standings: Cache<(RoomId, UserId), Standing>,
    markers: Cache<(RoomId, UserId), Option<EventId>>,
    member_counts: Cache<RoomId, u64>,
    /// Names that nobody had, and when that was.
    absent: Cache<Name, Instant>,
    /// Stored changes that are not announced yet.
    owed: Mutex<VecDeque<Entry>>,
    ends: ends::Ends,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

/// Tells whether a standing may have changed since it was looked at.
#[derive(Debug)]
pub struct Watch {
    directory: Arc<Directory>,
    ticket: cache::Ticket,
}

impl Watch {
    /// False once the control log has named this standing since the watch began (or, rarely, another one).
    #[must_use]
    pub fn holds(&self) -> bool {
        self.directory.standings.is_current(&self.ticket)
    }
}

impl Directory {
    /// A directory that knows nothing yet.
    #[must_use]
    pub fn new(seams: Seams) -> Self {
        Self {
            seams,
            rooms: Cache::new(limits::CACHED_ROOMS_MAX),
            room_names: Cache::new(limits::CACHED_ROOMS_MAX),
            users: Cache::new(limits::CACHED_USERS_MAX),
            user_names: Cache::new(limits::CACHED_USERS_MAX),
            standings: Cache::new(limits::CACHED_STANDINGS_MAX),
            markers: Cache::new(limits::CACHED_STANDINGS_MAX),
            member_counts: Cache::new(limits::CACHED_ROOMS_MAX),
            absent: Cache::new(limits::ABSENT_NAMES_MAX),
            owed: Mutex::default(),
            ends: ends::Ends::default(),
        }
    }

    /// How often each cache was asked, and how often it knew.
    #[must_use]
    pub fn asked(&self) -> [(&'static str, (u64, u64)); 6] {
        [
            ("rooms", self.rooms.asked()),
            ("room_names", self.room_names.asked()),
            ("users", self.users.asked()),
            ("user_names", self.user_names.asked()),
            ("standings", self.standings.asked()),
            ("markers", self.markers.asked()),
        ]
    }

    fn now(&self) -> Timestamp {
        self.seams.clock.now()
    }

    /// Forgets what an entry of the control log makes wrong. The node calls it for every entry before it reports the
    /// entry's position.
    pub fn apply(&self, entry: &Entry) {
        match entry {
            Entry::Session { .. } => {}
            Entry::User { user, .. } => self.users.forget(user),
            Entry::Standing { room, user, .. } => {
                self.standings.forget(&(*room, *user));
                self.markers.forget(&(*room, *user));
                self.member_counts.forget(room);
            }
            Entry::Room { room, why } => {
                self.rooms.forget(room);
                if matches!(why, RoomCut::Deleted) {
                    self.room_names.forget_where(|_, id| id == room);
                }
            }
        }
    }

    /// Forgets everything: for a node that has missed entries of the control log.
    pub fn forget_all(&self) {
        self.rooms.forget_where(|_, _| true);
        self.room_names.forget_where(|_, _| true);
        self.users.forget_where(|_, _| true);
        self.user_names.forget_where(|_, _| true);
        self.standings.forget_where(|_, _| true);
        self.markers.forget_where(|_, _| true);
        self.member_counts.forget_where(|_, _| true);
    }

    /// Counts a try of a user's, or of what else `of` names, or refuses it.
    async fn count(&self, kind: Kind, what: &'static str, of: &(impl Display + Sync)) -> Result<()> {
        match self.seams.throttles.check(kind, &of.to_string()).await? {
            throttle::Verdict::Allowed => Ok(()),
            throttle::Verdict::RetryAfter(wait) => Err(Error::RateLimited { what, wait }),
        }
    }

    /// The same where being refused for want of a count would cost people more than not being counted: what is counted
    /// takes nothing away from anybody, and has bounds of its own. Among nodes each counts for itself then
    /// (`throttle::beside`).
    async fn count_if_possible(&self, kind: Kind, what: &'static str, user: UserId) -> Result<()> {
        match self.count(kind, what, &user).await {
            Err(Error::Unavailable(cause)) => {
                tracing::warn!(cause, "{what} of a user passed without being counted");
                Ok(())
            }
            counted => counted,
        }
    }

    /// Counts what makes every node act and wait for all others. What the rules of this module revoke for a user they
    /// count themselves, but for leaving a room, which must not be refused half-way.
    ///
    /// # Errors
    /// [`Error::RateLimited`]; [`Error::Unavailable`] if it can't be counted.
    pub async fn may_revoke(&self, user: UserId) -> Result<()> {
        self.count(Kind::Revocation, "changes that every node must act on", &user)
            .await
    }

    /// Announces a durable change and waits until every node has acted on it.
    async fn revoke(&self, entry: Entry) -> Result<()> {
        self.apply(&entry);
        let outcome = control_log::revoke(&*self.seams.control_log, entry.clone()).await;
        self.note(&entry, outcome.is_ok());
        outcome?;
        Ok(())
    }

    /// Announces a change that takes nothing away from anybody: nobody has to wait for it.
    async fn announce(&self, entry: Entry) -> Result<()> {
        self.apply(&entry);
        let outcome = self.seams.control_log.append(entry.clone()).await;
        self.note(&entry, outcome.is_ok());
        outcome?;
        Ok(())
    }

    /// A room by id, deleted ones left out.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what the store says.
    pub async fn room_by_id(&self, id: RoomId) -> Result<Arc<Room>> {
        if let Some(room) = self.rooms.get(&id).filter(|_| self.seams.lease.may_write()) {
            return Ok(room);
        }
        let ticket = self.rooms.ticket(&id);
        let room = self.seams.store.room(id).await?;
        let room = room.filter(|room| !room.deleted).ok_or(Error::NotFound("room"))?;
        let room = Arc::new(room);
        self.rooms.fill(ticket, id, room.clone());
        Ok(room)
    }

    async fn room_by_name(&self, name: &Name) -> Result<Option<Arc<Room>>> {
        if let Some(id) = self.room_names.get(name) {
            match self.room_by_id(id).await {
                Err(Error::NotFound(_)) => self.room_names.forget(name),
                found => return found.map(Some),
            }
        }
        let name_ticket = self.room_names.ticket(name);
        let Some(room) = self.seams.store.room_by_name(name).await? else {
            return Ok(None);
        };
        self.room_names.fill(name_ticket, name.clone(), room.id);
        // Read again by id: that fill has its own ticket, and a deletion between the reads is noticed.
        match self.room_by_id(room.id).await {
            Err(Error::NotFound(_)) => Ok(None),
            found => found.map(Some),
        }
    }

    /// A room by name or id. Says nothing about whether anybody may see it: [`Directory::authorise`] does.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what the store says.
    pub async fn room(&self, key: &RoomKey) -> Result<Arc<Room>> {
        match key {
            RoomKey::Id(id) => self.room_by_id(*id).await,
            RoomKey::Name(name) => self.room_by_name(name).await?.ok_or(Error::NotFound("room")),
        }
    }

    /// A user by id. Name and id never change; the flags may be as old as the last change made on another node.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what the store says.
    pub async fn user_by_id(&self, id: UserId) -> Result<Arc<User>> {
        if let Some(user) = self.users.get(&id) {
            return Ok(user);
        }
        let ticket = self.users.ticket(&id);
        let user = self.seams.store.user(id).await?.ok_or(Error::NotFound("user"))?;
        let user = Arc::new(user);
        self.users.fill(ticket, id, user.clone());
        Ok(user)
    }

    async fn user_by_name(&self, name: &Name) -> Result<Arc<User>> {
        if let Some(id) = self.user_names.get(name) {
            return self.user_by_id(id).await;
        }
        let name_ticket = self.user_names.ticket(name);
        let user = self.seams.store.user_by_name(name).await?;
        let id = user.ok_or(Error::NotFound("user"))?.id;
        self.user_names.fill(name_ticket, name.clone(), id);
        self.user_by_id(id).await
    }

    /// A user by name or id.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what the store says.
    pub async fn user(&self, key: &UserKey) -> Result<Arc<User>> {
        match key {
            UserKey::Id(id) => self.user_by_id(*id).await,
            UserKey::Name(name) => self.user_by_name(name).await,
        }
    }

    /// What a user is to a room.
    ///
    /// # Errors
    /// What the store says.
    pub async fn standing(&self, room: RoomId, user: UserId) -> Result<Standing> {
        let key = (room, user);
        if let Some(standing) = self.standings.get(&key).filter(|_| self.seams.lease.may_write()) {
            return Ok(standing);
        }
        let ticket = self.standings.ticket(&key);
        let standing = self.seams.store.standing(room, user).await?;
        self.standings.fill(ticket, key, standing);
        Ok(standing)
    }

    /// Begins to watch what a user is to a room: take it, then look at their standing, then rely on both for as long as
    /// [`Watch::holds`].
    #[must_use]
    pub fn watch(self: &Arc<Self>, room: RoomId, user: UserId) -> Watch {
        Watch {
            directory: Arc::clone(self),
            ticket: self.standings.ticket(&(room, user)),
        }
    }

    /// How many members a room has.
    ///
    /// # Errors
    /// What the store says.
    pub async fn member_count(&self, room: RoomId) -> Result<u64> {
        if let Some(count) = self.member_counts.get(&room) {
            return Ok(count);
        }
        let ticket = self.member_counts.ticket(&room);
        let count = self.seams.store.member_count(room).await?;
        self.member_counts.fill(ticket, room, count);
        Ok(count)
    }

    /// A member's read marker. Every join tells it, so a warm room's joins must not read it from the store; but a marker
    /// that another node has moved is not announced, and kept here it would go back.
    async fn marker(&self, room: RoomId, user: UserId) -> Result<Option<EventId>> {
        if !self.seams.live.is_alone() {
            return Ok(self.seams.store.read_marker(room, user).await?);
        }
        let key = (room, user);
        if let Some(marker) = self.markers.get(&key) {
            return Ok(marker);
        }
        let ticket = self.markers.ticket(&key);
        let marker = self.seams.store.read_marker(room, user).await?;
        self.markers.fill(ticket, key, marker);
        Ok(marker)
    }

    /// May the user do this in the room? Answers what they are to it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`] or [`Error::Banned`] by the matrix; [`Error::Archived`] for writing in
    /// a read-only room.
    pub async fn authorise(&self, action: Action, room: &Room, user: UserId) -> Result<Standing> {
        let standing = self.standing(room.id, user).await?;
        match permission::verdict(action, room.kind, standing) {
            Verdict::NotFound => return Err(Error::NotFound("room")),
            Verdict::Banned => return Err(Error::Banned),
            Verdict::Forbidden => return Err(Error::Forbidden("your role in this room does not allow it")),
            Verdict::Allow => {}
        }
        let writes = matches!(action, Action::Send | Action::ChangeOwn | Action::DeleteOthers);
        if room.archived && writes {
            return Err(Error::Archived);
        }
        Ok(standing)
    }

    /// A room by name or id, if the user may do this in it.
    ///
    /// # Errors
    /// As [`Directory::room`] and [`Directory::authorise`].
    pub async fn permitted(&self, action: Action, key: &RoomKey, user: UserId) -> Result<(Arc<Room>, Standing)> {
        let room = self.room(key).await?;
        let standing = self.authorise(action, &room, user).await?;
        Ok((room, standing))
    }
}

/// How messages and notices name a user.
#[must_use]
pub fn author_of(user: &User) -> Author {
    Author {
        id: user.id,
        name: user.name.clone(),
    }
}
