//! The store seam: durable messages, rooms and accounts. This file is the contract; each implementation has its own
//! folder, and `conformance` is the suite that every one of them passes.
//!
//! Clauses, each held by a test of the suite under the same name:
//! - *durable*: when `append` or `change` returns Ok, the write survives the death of the process and of the machine.
//! - *visible*: a read that begins after a write returned sees it.
//! - *ordered*: the messages of one `append` get ascending ids in the order given, greater than every id of earlier
//!   appends to that room that had returned, and greater than the `reply_to` of each.
//! - *nonce*: an append that says it is a retry, with a nonce that its author used within a day, gives the first
//!   attempt's message back as not `fresh` and adds no message; with another room or body it is `NonceReused`. A nonce
//!   used again without saying so may be answered the same way (SQLite does) or store another message (a cluster does,
//!   which spares every first attempt a read).
//! - *late*: a message that became durable more than `limits::LATE_AFTER` after its id was made is answered with a
//!   `late` event, which is stored and stands where readers who are further find it.
//! - *sticky*: the highest event wins an edit; a deletion is never undone, whatever comes after it.
//! - *names*: names of users and of rooms are unique without case, also when two ask at once.
//! - *marker*: a read marker never moves back.
//! - *refused*: an error other than `UnknownOutcome` means that nothing was stored.
//! - *ranges*: bounds are exclusive, pages ascend and are full whenever more exists.
//!
//! What single methods promise beyond that is written at the methods and tested under these names: *events*,
//! *unread*, *direct*, *succession*, *bans*, *members*, *listed*, *accounts*, *invites*, *audit*.
//!
//! The store checks no permission: its callers have.

pub mod archive;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod scylla;
pub mod sqlite;

use async_trait::async_trait;

use crate::model::{
    Change, Event, EventId, Member, Message, Name, NewMessage, Role, Room, RoomId, RoomKind, Standing, Timestamp, User,
    UserId,
};

/// What can go wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store can't do it now (unreachable, overloaded, disk full); nothing was stored.
    #[error("the store can't do this now: {0}")]
    Refused(String),
    /// The write may or may not have been stored.
    #[error("the store did not say whether it stored this: {0}")]
    UnknownOutcome(String),
    /// Another user or room has the name.
    #[error("the name is taken")]
    NameTaken,
    /// What was to be changed does not exist.
    #[error("not found")]
    NotFound,
    /// The nonce was used for another room or body.
    #[error("the nonce was used for another message")]
    NonceReused,
    /// The stored data can't be read; an operator has to look at it.
    #[error("the stored data is damaged: {0}")]
    Damaged(String),
}

/// A store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What became of an appended message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The message, with the id by which it is stored.
    pub message: Message,
    /// It was stored now; if not, an earlier attempt had named it.
    pub fresh: bool,
    /// The `late` event that tells of it, where it became durable more than `limits::LATE_AFTER` after its id was made.
    pub late: Option<EventId>,
}

impl Appended {
    /// A message that was stored now, in time.
    #[must_use]
    pub const fn fresh(message: Message) -> Self {
        Self {
            message,
            fresh: true,
            late: None,
        }
    }

    /// A message that an earlier attempt had named.
    #[must_use]
    pub const fn repeated(message: Message) -> Self {
        Self {
            message,
            fresh: false,
            late: None,
        }
    }
}

/// A range of a room's messages. Bounds are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The newest messages.
    Latest,
    /// The newest messages below the id.
    Before(EventId),
    /// The oldest messages above the id.
    After(EventId),
    /// The oldest messages above the first and below the second id.
    Between(EventId, EventId),
}

/// A page of messages, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Whether the range holds more, in the direction that was read.
    pub has_more: bool,
}

/// Unread counts, each counted up to `limits::UNREAD_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unread {
    /// Others' messages after the marker that are not deleted.
    pub messages: u32,
    /// Those of them that name the user.
    pub mentions: u32,
}

/// Messages and events.
#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Stores messages in order; one result for each, in the same order. Messages of several rooms may be given.
    async fn append(&self, batch: Vec<NewMessage>) -> Vec<Result<Appended>>;

    /// Stores an edit or deletion: its event, then the message's new state. Answers `Edited` with that state, or
    /// `Deleted`. Deleting a deleted message answers its present `last_event` again; editing one is `NotFound`.
    async fn change(&self, change: Change) -> Result<Event>;

    /// One message of a room.
    async fn message(&self, room: RoomId, id: EventId) -> Result<Option<Message>>;

    /// One message, whatever room it is in (for the admin area).
    async fn find_message(&self, id: EventId) -> Result<Option<Message>>;

    /// At most `limit` messages of a range, ascending.
    async fn page(&self, room: RoomId, range: Range, limit: usize) -> Result<Page>;

    /// At most `limit` events (messages as they are now, edits, deletions, late messages) after a position, ascending.
    async fn events(&self, room: RoomId, after: EventId, limit: usize) -> Result<Vec<Event>>;

    /// The greatest position in a room; `None` if nothing was ever said.
    async fn newest(&self, room: RoomId) -> Result<Option<EventId>>;

    /// Counts the unread messages of a user in a room. No marker counts from the beginning. Looks at the newest
    /// `limits::UNREAD_SCAN_MAX` messages; mentions are counted among the messages counted.
    async fn unread(&self, room: RoomId, user: UserId, marker: Option<EventId>) -> Result<Unread>;
}

/// A room to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoom {
    /// Its name.
    pub name: Name,
    /// Its title, empty for none.
    pub title: String,
    /// Public or private; direct conversations are made by `open_direct`.
    pub kind: RoomKind,
    /// Who owns it.
    pub owner: UserId,
    /// When.
    pub at: Timestamp,
}

/// What to change of a room; `None` leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomChange {
    /// A new title.
    pub title: Option<String>,
    /// Public or private.
    pub kind: Option<RoomKind>,
    /// Read-only or not.
    pub archived: Option<bool>,
    /// Delete it: sticky, and its name becomes free.
    pub deleted: bool,
}

/// A room as one user has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The room.
    pub room: Room,
    /// The user's role.
    pub role: Role,
    /// Their read marker.
    pub read: Option<EventId>,
}

/// A ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub user: UserId,
    /// Their name.
    pub name: Name,
    /// Who banned them.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
}

/// Rooms and who is in them.
#[async_trait]
pub trait RoomStore: Send + Sync {
    /// Makes a room with its owner as the first member. `NameTaken` if a room that is not deleted has the name.
    async fn create_room(&self, room: NewRoom) -> Result<Room>;

    /// The direct conversation of two people, made if it does not exist (then true). Both are members.
    async fn open_direct(&self, a: UserId, b: UserId, at: Timestamp) -> Result<(Room, bool)>;

    /// A room by id, deleted ones included.
    async fn room(&self, id: RoomId) -> Result<Option<Room>>;

    /// A room by name, without case; deleted ones are not found.
    async fn room_by_name(&self, name: &Name) -> Result<Option<Room>>;

    /// Changes a room. `NotFound` if it does not exist or is deleted.
    async fn change_room(&self, id: RoomId, change: RoomChange) -> Result<Room>;

    /// Public rooms, not archived or deleted, whose name or title contains `query` (without case), by name.
    async fn public_rooms(&self, query: &str, limit: usize) -> Result<Vec<Room>>;

    /// All rooms whose name or title contains `query`, by name then id, after the given id; deleted ones left out.
    async fn all_rooms(&self, query: &str, after: Option<RoomId>, limit: usize) -> Result<Vec<Room>>;

    /// What a user is to a room.
    async fn standing(&self, room: RoomId, user: UserId) -> Result<Standing>;

    /// Makes somebody a member or changes their role; lifts no ban, so somebody who is banned stays that. A new member's read marker starts at `read`.
    async fn put_member(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        at: Timestamp,
        read: Option<EventId>,
    ) -> Result<()>;

    /// Changes a member's role; [`Error::NotFound`] if they are none any more. One that ends at the same time stays so.
    async fn set_role(&self, room: RoomId, user: UserId, role: Role) -> Result<()>;

    /// Ends a membership, if any. If the owner goes, the longest-standing moderator, else member, follows and is named.
    async fn end_member(&self, room: RoomId, user: UserId) -> Result<Option<UserId>>;

    /// Makes `to` the owner and `from` a moderator, in one step.
    async fn hand_over(&self, room: RoomId, from: UserId, to: UserId) -> Result<()>;

    /// Bans somebody: ends a membership too.
    async fn ban(&self, room: RoomId, user: UserId, by: UserId, at: Timestamp) -> Result<()>;

    /// Lifts a ban; nothing happens if there is none.
    async fn unban(&self, room: RoomId, user: UserId) -> Result<()>;

    /// The bans of a room, by name.
    async fn bans(&self, room: RoomId) -> Result<Vec<Ban>>;

    /// Members whose name begins with `prefix`, in the order of names, after the given name.
    async fn members(&self, room: RoomId, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Member>>;

    /// How many members a room has.
    async fn member_count(&self, room: RoomId) -> Result<u64>;

    /// The rooms of a user, deleted ones left out.
    async fn rooms_of(&self, user: UserId) -> Result<Vec<Membership>>;

    /// How many rooms a user is in, or more: those that they left may be counted too. Cheaper than `rooms_of`.
    async fn rooms_entered(&self, user: UserId) -> Result<u64> {
        Ok(self.rooms_of(user).await?.len() as u64)
    }

    /// Whether two users are members of one same room.
    async fn share_a_room(&self, a: UserId, b: UserId) -> Result<bool>;

    /// A user's read marker in a room.
    async fn read_marker(&self, room: RoomId, user: UserId) -> Result<Option<EventId>>;

    /// Moves a read marker forward; answers where it stands afterwards.
    async fn set_read_marker(&self, room: RoomId, user: UserId, id: EventId) -> Result<EventId>;
}

/// An account to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Its name.
    pub name: Name,
    /// The password's hash (PHC string), or a marker that matches no password.
    pub password_hash: String,
    /// May use the admin area.
    pub superuser: bool,
    /// When.
    pub at: Timestamp,
}

/// An invite to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// What the newcomer has to give.
    pub code: String,
    /// Who made it.
    pub by: UserId,
    /// How many registrations it is still good for.
    pub uses_left: u32,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Which users a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserFilter {
    /// Everybody.
    #[default]
    All,
    /// Superusers.
    Superusers,
    /// Disabled accounts.
    Disabled,
}

/// Accounts.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// Makes an account. With an invite, uses it up in the same step: `NotFound` if it is not good at `user.at`.
    async fn create_user(&self, user: NewUser, invite: Option<&str>) -> Result<User>;

    /// Makes many accounts in few transactions (for `natter seed`), but for names that exist. Answers all, in order.
    async fn create_users(&self, users: Vec<NewUser>) -> Result<Vec<User>>;

    /// A user by id.
    async fn user(&self, id: UserId) -> Result<Option<User>>;

    /// Several users by id, in no particular order; unknown ids are left out.
    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>>;

    /// A user by name, without case.
    async fn user_by_name(&self, name: &Name) -> Result<Option<User>>;

    /// Users by name; those that do not exist are left out.
    async fn users_by_name(&self, names: &[Name]) -> Result<Vec<User>>;

    /// Users whose name begins with `prefix`, by name, after the given name.
    async fn find_users(
        &self,
        prefix: &str,
        filter: UserFilter,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<User>>;

    /// How many accounts there are.
    async fn user_count(&self) -> Result<u64>;

    /// The password's hash.
    async fn password_hash(&self, user: UserId) -> Result<Option<String>>;

    /// Replaces the password's hash.
    async fn set_password_hash(&self, user: UserId, hash: String) -> Result<()>;

    /// Disables or enables.
    async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<()>;

    /// Makes or unmakes a superuser.
    async fn set_superuser(&self, user: UserId, superuser: bool) -> Result<()>;

    /// Notes when users were last connected; never moves back.
    async fn set_last_seen(&self, seen: Vec<(UserId, Timestamp)>) -> Result<()>;

    /// Keeps an invite.
    async fn create_invite(&self, invite: Invite) -> Result<()>;

    /// The invites that are good at `now`.
    async fn invites(&self, now: Timestamp) -> Result<Vec<Invite>>;

    /// Withdraws an invite; answers whether it existed.
    async fn delete_invite(&self, code: &str) -> Result<bool>;
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id, which is its time and place.
    pub id: EventId,
    /// Who did it; `None` for the command line.
    pub actor: Option<UserId>,
    /// Their name at that time.
    pub actor_name: String,
    /// What was done, as a stable word (`user.disable`).
    pub action: String,
    /// To what, as people read it.
    pub target: String,
    /// Further facts, as people read them.
    pub detail: String,
}

/// An audit line to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuditEntry {
    /// Who did it; `None` for the command line.
    pub actor: Option<UserId>,
    /// Their name.
    pub actor_name: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// Further facts.
    pub detail: String,
}

/// The audit log.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Writes a line.
    async fn append_audit(&self, entry: NewAuditEntry) -> Result<AuditEntry>;

    /// The newest lines below an id, newest first.
    async fn audit(&self, before: Option<EventId>, limit: usize) -> Result<Vec<AuditEntry>>;
}

/// Figures for the admin area and `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Accounts.
    pub users: u64,
    /// Rooms that are not deleted.
    pub rooms: u64,
    /// Messages, as far as the store knows cheaply.
    pub messages: u64,
}

/// The whole store.
#[async_trait]
pub trait Store: MessageStore + RoomStore + AccountStore + AuditStore {
    /// Whether it answers: a cheap read on the path that requests take.
    async fn ping(&self) -> Result<()>;

    /// Figures.
    async fn totals(&self) -> Result<Totals>;

    /// Writes out what is under way, then closes; later calls are `Refused`.
    async fn close(&self);
}
