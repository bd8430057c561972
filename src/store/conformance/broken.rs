//! A store that breaks one clause and keeps all others: a sound one with a single fault in front of it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::model::{
    Change, ChangeKind, Event, EventId, EventKind, Member, Message, Name, NewMessage, Role, Room, RoomId, Standing,
    Timestamp, User, UserId,
};
use crate::store::{
    AccountStore, Appended, AuditEntry, AuditStore, Ban, Error, Invite, Membership, MessageStore, NewAuditEntry,
    NewRoom, NewUser, Page, Range, Result, RoomChange, RoomStore, Store, Totals, Unread, UserFilter,
};

/// A sound store and the clause it is to break.
pub(super) struct Broken {
    pub(super) inner: Arc<dyn Store>,
    /// The clause's name.
    pub(super) clause: &'static str,
    /// Called before each append and change: the fault against `durable` keeps what was on the disk at that moment.
    pub(super) before_write: Box<dyn Fn() + Send + Sync>,
    pub(super) newest: Mutex<HashMap<RoomId, Option<EventId>>>,
    pub(super) revived: Mutex<HashMap<EventId, Message>>,
    pub(super) markers: Mutex<HashMap<(RoomId, UserId), EventId>>,
}

impl Broken {
    fn breaks(&self, clause: &str) -> bool {
        self.clause == clause
    }

    /// An edit brings a deleted message back.
    async fn revive(&self, change: &Change) -> Result<Event> {
        let ChangeKind::Edit { body, .. } = &change.kind else {
            return Err(Error::NotFound);
        };
        let found = self
            .inner
            .message(change.room, change.message)
            .await?
            .ok_or(Error::NotFound)?;
        let revived = Message {
            body: body.clone(),
            deleted_at: None,
            ..found
        };
        self.revived.lock().insert(revived.id, revived.clone());
        Ok(Event {
            id: change.message,
            kind: EventKind::Edited(revived),
        })
    }
}

/// Hands calls on to the sound store.
macro_rules! pass {
    ($self:ident . $name:ident ( $($argument:expr),* )) => { $self.inner.$name($($argument),*).await };
}

#[async_trait]
impl MessageStore for Broken {
    async fn append(&self, batch: Vec<NewMessage>) -> Vec<Result<Appended>> {
        (self.before_write)();
        let mut batch = batch;
        if self.breaks("nonce") {
            batch.iter_mut().for_each(|new| new.nonce = None);
        }
        if self.breaks("ordered") {
            batch.reverse();
            let mut results = pass!(self.append(batch));
            results.reverse();
            return results;
        }
        let results = pass!(self.append(batch.clone()));
        if self.breaks("refused") {
            let failed = batch
                .into_iter()
                .zip(&results)
                .filter(|(_, result)| **result == Err(Error::NonceReused));
            let anyway = failed.map(|(new, _)| NewMessage { nonce: None, ..new }).collect();
            pass!(self.append(anyway));
        }
        results
    }

    async fn change(&self, change: Change) -> Result<Event> {
        (self.before_write)();
        let result = pass!(self.change(change.clone()));
        if self.breaks("sticky") && result == Err(Error::NotFound) {
            return self.revive(&change).await;
        }
        result
    }

    async fn message(&self, room: RoomId, id: EventId) -> Result<Option<Message>> {
        let revived = self.revived.lock().get(&id).cloned();
        if revived.is_some() {
            Ok(revived)
        } else {
            pass!(self.message(room, id))
        }
    }

    async fn find_message(&self, id: EventId) -> Result<Option<Message>> {
        pass!(self.find_message(id))
    }

    async fn page(&self, room: RoomId, range: Range, limit: usize) -> Result<Page> {
        match range {
            Range::Before(id) if self.breaks("ranges") => {
                let inclusive = EventId::from_bytes((id.as_u128() + 1).to_be_bytes());
                pass!(self.page(room, Range::Before(inclusive), limit))
            }
            _ => pass!(self.page(room, range, limit)),
        }
    }

    async fn events(&self, room: RoomId, after: EventId, limit: usize) -> Result<Vec<Event>> {
        let mut events = pass!(self.events(room, after, limit))?;
        if self.breaks("events") {
            events.retain(|event| !matches!(event.kind, EventKind::Deleted { .. }));
        }
        Ok(events)
    }

    async fn newest(&self, room: RoomId) -> Result<Option<EventId>> {
        let fresh = pass!(self.newest(room))?;
        if self.breaks("visible") {
            return Ok(*self.newest.lock().entry(room).or_insert(fresh));
        }
        Ok(fresh)
    }

    async fn unread(&self, room: RoomId, user: UserId, marker: Option<EventId>) -> Result<Unread> {
        // Somebody else's eyes, so one's own messages count.
        let user = if self.breaks("unread") { UserId::random() } else { user };
        pass!(self.unread(room, user, marker))
    }
}

#[async_trait]
impl RoomStore for Broken {
    async fn create_room(&self, room: NewRoom) -> Result<Room> {
        pass!(self.create_room(room))
    }

    async fn open_direct(&self, a: UserId, b: UserId, at: Timestamp) -> Result<(Room, bool)> {
        let (room, made) = pass!(self.open_direct(a, b, at))?;
        Ok((room, made || self.breaks("direct")))
    }

    async fn room(&self, id: RoomId) -> Result<Option<Room>> {
        pass!(self.room(id))
    }

    async fn room_by_name(&self, name: &Name) -> Result<Option<Room>> {
        pass!(self.room_by_name(name))
    }

    async fn change_room(&self, id: RoomId, change: RoomChange) -> Result<Room> {
        pass!(self.change_room(id, change))
    }

    async fn public_rooms(&self, query: &str, limit: usize) -> Result<Vec<Room>> {
        let query = if self.breaks("listed") { "" } else { query };
        pass!(self.public_rooms(query, limit))
    }

    async fn all_rooms(&self, query: &str, after: Option<RoomId>, limit: usize) -> Result<Vec<Room>> {
        pass!(self.all_rooms(query, after, limit))
    }

    async fn standing(&self, room: RoomId, user: UserId) -> Result<Standing> {
        pass!(self.standing(room, user))
    }

    async fn put_member(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        at: Timestamp,
        read: Option<EventId>,
    ) -> Result<()> {
        if self.breaks("bans") {
            pass!(self.unban(room, user))?;
        }
        pass!(self.put_member(room, user, role, at, read))
    }

    async fn set_role(&self, room: RoomId, user: UserId, role: Role) -> Result<()> {
        pass!(self.set_role(room, user, role))
    }

    async fn end_member(&self, room: RoomId, user: UserId) -> Result<Option<UserId>> {
        let heir = pass!(self.end_member(room, user))?;
        Ok(if self.breaks("succession") { None } else { heir })
    }

    async fn hand_over(&self, room: RoomId, from: UserId, to: UserId) -> Result<()> {
        pass!(self.hand_over(room, from, to))
    }

    async fn ban(&self, room: RoomId, user: UserId, by: UserId, at: Timestamp) -> Result<()> {
        pass!(self.ban(room, user, by, at))
    }

    async fn unban(&self, room: RoomId, user: UserId) -> Result<()> {
        pass!(self.unban(room, user))
    }

    async fn bans(&self, room: RoomId) -> Result<Vec<Ban>> {
        pass!(self.bans(room))
    }

    async fn members(&self, room: RoomId, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Member>> {
        let prefix = if self.breaks("members") { "" } else { prefix };
        pass!(self.members(room, prefix, after, limit))
    }

    async fn member_count(&self, room: RoomId) -> Result<u64> {
        pass!(self.member_count(room))
    }

    async fn rooms_of(&self, user: UserId) -> Result<Vec<Membership>> {
        pass!(self.rooms_of(user))
    }

    async fn share_a_room(&self, a: UserId, b: UserId) -> Result<bool> {
        pass!(self.share_a_room(a, b))
    }

    async fn read_marker(&self, room: RoomId, user: UserId) -> Result<Option<EventId>> {
        let moved = self.markers.lock().get(&(room, user)).copied();
        if moved.is_some() {
            Ok(moved)
        } else {
            pass!(self.read_marker(room, user))
        }
    }

    async fn set_read_marker(&self, room: RoomId, user: UserId, id: EventId) -> Result<EventId> {
        let stands = pass!(self.set_read_marker(room, user, id))?;
        if self.breaks("marker") {
            self.markers.lock().insert((room, user), id);
            return Ok(id);
        }
        Ok(stands)
    }
}

#[async_trait]
impl AccountStore for Broken {
    async fn create_user(&self, user: NewUser, invite: Option<&str>) -> Result<User> {
        let invite = if self.breaks("invites") { None } else { invite };
        let result = pass!(self.create_user(user.clone(), invite));
        if self.breaks("names") && result == Err(Error::NameTaken) {
            // Compares names with their case.
            let holder = pass!(self.user_by_name(&user.name))?;
            if holder.is_some_and(|holder| holder.name.as_str() != user.name.as_str()) {
                let name = Name::parse(&format!("x-{:016x}", rand::random::<u64>()));
                let name = name.map_err(|error| Error::Damaged(error.to_string()))?;
                return pass!(self.create_user(NewUser { name, ..user }, invite));
            }
        }
        result
    }

    async fn create_users(&self, users: Vec<NewUser>) -> Result<Vec<User>> {
        pass!(self.create_users(users))
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        pass!(self.user(id))
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>> {
        pass!(self.users(ids))
    }

    async fn user_by_name(&self, name: &Name) -> Result<Option<User>> {
        pass!(self.user_by_name(name))
    }

    async fn users_by_name(&self, names: &[Name]) -> Result<Vec<User>> {
        pass!(self.users_by_name(names))
    }

    async fn find_users(
        &self,
        prefix: &str,
        filter: UserFilter,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<User>> {
        let filter = if self.breaks("accounts") {
            UserFilter::All
        } else {
            filter
        };
        pass!(self.find_users(prefix, filter, after, limit))
    }

    async fn user_count(&self) -> Result<u64> {
        pass!(self.user_count())
    }

    async fn password_hash(&self, user: UserId) -> Result<Option<String>> {
        pass!(self.password_hash(user))
    }

    async fn set_password_hash(&self, user: UserId, hash: String) -> Result<()> {
        pass!(self.set_password_hash(user, hash))
    }

    async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<()> {
        pass!(self.set_disabled(user, disabled))
    }

    async fn set_superuser(&self, user: UserId, superuser: bool) -> Result<()> {
        pass!(self.set_superuser(user, superuser))
    }

    async fn set_last_seen(&self, seen: Vec<(UserId, Timestamp)>) -> Result<()> {
        pass!(self.set_last_seen(seen))
    }

    async fn create_invite(&self, invite: Invite) -> Result<()> {
        pass!(self.create_invite(invite))
    }

    async fn invites(&self, now: Timestamp) -> Result<Vec<Invite>> {
        pass!(self.invites(now))
    }

    async fn delete_invite(&self, code: &str) -> Result<bool> {
        pass!(self.delete_invite(code))
    }
}

#[async_trait]
impl AuditStore for Broken {
    async fn append_audit(&self, entry: NewAuditEntry) -> Result<AuditEntry> {
        pass!(self.append_audit(entry))
    }

    async fn audit(&self, before: Option<EventId>, limit: usize) -> Result<Vec<AuditEntry>> {
        let mut lines = pass!(self.audit(before, limit))?;
        if self.breaks("audit") {
            lines.reverse();
        }
        Ok(lines)
    }
}

#[async_trait]
impl Store for Broken {
    async fn ping(&self) -> Result<()> {
        pass!(self.ping())
    }

    async fn totals(&self) -> Result<Totals> {
        pass!(self.totals())
    }

    async fn close(&self) {
        pass!(self.close());
    }
}
