//! The rest of a store: rooms, members, accounts. It holds what people who talk need, and says of the rest that nobody
//! asks for it.

use async_trait::async_trait;
use natter::model::{EventId, Member, Name, Role, Room, RoomId, Standing, Timestamp, User, UserId};
use natter::store::{
    AccountStore, AuditEntry, AuditStore, Ban, Invite, Membership, NewAuditEntry, NewRoom, NewUser, Result, RoomChange,
    RoomStore, Store, Totals, UserFilter,
};

use crate::sessions::Accounts;
use crate::store::SimStore;

impl SimStore {
    async fn look<T>(&self, what: impl FnOnce(&mut Accounts) -> T) -> Result<T> {
        self.read(|_| ()).await?;
        Ok(what(&mut self.ground.accounts.lock()))
    }
}

const NOBODY: &str = "nobody asks for this in a simulation";

#[async_trait]
impl RoomStore for SimStore {
    async fn create_room(&self, room: NewRoom) -> Result<Room> {
        let id = RoomId::from_bytes(self.ground.bytes());
        let made = Room {
            id,
            name: Some(room.name),
            title: room.title,
            kind: room.kind,
            pair: None,
            created_at: room.at,
            archived: false,
            deleted: false,
        };
        self.look(|accounts| {
            accounts.members.insert((id, room.owner), Role::Owner);
            accounts.rooms.insert(id, made.clone());
        })
        .await?;
        Ok(made)
    }
    async fn open_direct(&self, _a: UserId, _b: UserId, _at: Timestamp) -> Result<(Room, bool)> {
        unreachable!("{NOBODY}")
    }
    async fn room(&self, id: RoomId) -> Result<Option<Room>> {
        self.look(|accounts| accounts.rooms.get(&id).cloned()).await
    }
    async fn room_by_name(&self, name: &Name) -> Result<Option<Room>> {
        let named = |accounts: &mut Accounts| {
            let mut rooms = accounts.rooms.values();
            rooms.find(|room| room.name.as_ref() == Some(name)).cloned()
        };
        self.look(named).await
    }
    async fn change_room(&self, _id: RoomId, _change: RoomChange) -> Result<Room> {
        unreachable!("{NOBODY}")
    }
    async fn public_rooms(&self, _query: &str, _limit: usize) -> Result<Vec<Room>> {
        unreachable!("{NOBODY}")
    }
    async fn all_rooms(&self, _query: &str, _after: Option<RoomId>, _limit: usize) -> Result<Vec<Room>> {
        unreachable!("{NOBODY}")
    }
    async fn standing(&self, room: RoomId, user: UserId) -> Result<Standing> {
        let role = self
            .look(|accounts| accounts.members.get(&(room, user)).copied())
            .await?;
        Ok(role.map_or(Standing::Outsider, Standing::Member))
    }
    async fn put_member(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        _at: Timestamp,
        _read: Option<EventId>,
    ) -> Result<()> {
        self.look(|accounts| accounts.members.insert((room, user), role))
            .await?;
        Ok(())
    }
    async fn set_role(&self, _room: RoomId, _user: UserId, _role: Role) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn end_member(&self, room: RoomId, user: UserId) -> Result<Option<UserId>> {
        self.look(|accounts| accounts.members.remove(&(room, user))).await?;
        Ok(None)
    }
    async fn hand_over(&self, _room: RoomId, _from: UserId, _to: UserId) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn ban(&self, _room: RoomId, _user: UserId, _by: UserId, _at: Timestamp) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn unban(&self, _room: RoomId, _user: UserId) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn bans(&self, _room: RoomId) -> Result<Vec<Ban>> {
        unreachable!("{NOBODY}")
    }
    async fn members(&self, _room: RoomId, _prefix: &str, _after: Option<&Name>, _limit: usize) -> Result<Vec<Member>> {
        unreachable!("{NOBODY}")
    }
    async fn member_count(&self, room: RoomId) -> Result<u64> {
        let count = |accounts: &mut Accounts| accounts.members.keys().filter(|(of, _)| *of == room).count() as u64;
        self.look(count).await
    }
    async fn rooms_of(&self, _user: UserId) -> Result<Vec<Membership>> {
        Ok(Vec::new())
    }
    async fn share_a_room(&self, _a: UserId, _b: UserId) -> Result<bool> {
        Ok(true)
    }
    async fn read_marker(&self, _room: RoomId, _user: UserId) -> Result<Option<EventId>> {
        Ok(None)
    }
    async fn set_read_marker(&self, _room: RoomId, _user: UserId, id: EventId) -> Result<EventId> {
        Ok(id)
    }
}

#[async_trait]
impl AccountStore for SimStore {
    async fn create_user(&self, user: NewUser, _invite: Option<&str>) -> Result<User> {
        let bytes = self.ground.bytes();
        self.look(|accounts| accounts.user(bytes, &user.name.to_string())).await
    }
    async fn create_users(&self, _users: Vec<NewUser>) -> Result<Vec<User>> {
        unreachable!("{NOBODY}")
    }
    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.look(|accounts| accounts.users.get(&id).cloned()).await
    }
    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>> {
        self.look(|accounts| ids.iter().filter_map(|id| accounts.users.get(id).cloned()).collect())
            .await
    }
    async fn user_by_name(&self, name: &Name) -> Result<Option<User>> {
        self.look(|accounts| accounts.users.values().find(|user| user.name == *name).cloned())
            .await
    }
    async fn users_by_name(&self, _names: &[Name]) -> Result<Vec<User>> {
        unreachable!("{NOBODY}")
    }
    async fn find_users(
        &self,
        _prefix: &str,
        _filter: UserFilter,
        _after: Option<&Name>,
        _limit: usize,
    ) -> Result<Vec<User>> {
        unreachable!("{NOBODY}")
    }
    async fn user_count(&self) -> Result<u64> {
        unreachable!("{NOBODY}")
    }
    async fn password_hash(&self, _user: UserId) -> Result<Option<String>> {
        unreachable!("{NOBODY}")
    }
    async fn set_password_hash(&self, _user: UserId, _hash: String) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn set_disabled(&self, _user: UserId, _disabled: bool) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn set_superuser(&self, _user: UserId, _superuser: bool) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn set_last_seen(&self, _seen: Vec<(UserId, Timestamp)>) -> Result<()> {
        self.look(|_| ()).await
    }
    async fn create_invite(&self, _invite: Invite) -> Result<()> {
        unreachable!("{NOBODY}")
    }
    async fn invites(&self, _now: Timestamp) -> Result<Vec<Invite>> {
        unreachable!("{NOBODY}")
    }
    async fn delete_invite(&self, _code: &str) -> Result<bool> {
        unreachable!("{NOBODY}")
    }
}

#[async_trait]
impl AuditStore for SimStore {
    async fn append_audit(&self, _entry: NewAuditEntry) -> Result<AuditEntry> {
        unreachable!("{NOBODY}")
    }
    async fn audit(&self, _before: Option<EventId>, _limit: usize) -> Result<Vec<AuditEntry>> {
        unreachable!("{NOBODY}")
    }
}

#[async_trait]
impl Store for SimStore {
    async fn ping(&self) -> Result<()> {
        self.read(|_| ()).await
    }
    async fn totals(&self) -> Result<Totals> {
        unreachable!("{NOBODY}")
    }
    async fn close(&self) {}
}
