//! Rooms: made, found, changed. A room's rows come first and its name last, so a process that dies in between leaves
//! rows that nobody finds, and never a name without a room.

use scylla::value::MaybeUnset;
use uuid::Uuid;

use super::ScyllaStore;
use super::rows::{RoomRow, cql, damaged, room_id, time};
use super::session::after_a_write;
use super::stamp;
use crate::model::{Name, Role, Room, RoomId, RoomKind, Timestamp, UserId};
use crate::store::{Error, NewRoom, Result, RoomChange};

/// The key under which it is settled who made a direct conversation; no name has a space in it.
fn direct_key(id: RoomId) -> String {
    format!("direct {id}")
}

impl ScyllaStore {
    pub(super) async fn room_row(&self, id: RoomId) -> Result<Option<RoomRow>> {
        self.cql
            .first(&self.cql.statements.room_one, (cql(id.as_bytes()),))
            .await
    }

    pub(super) async fn find_room(&self, id: RoomId) -> Result<Option<Room>> {
        self.room_row(id).await?.map_or(Ok(None), |row| row.room())
    }

    /// The room that holds a name, deleted or not.
    async fn holder(&self, key: &str) -> Result<Option<(Uuid, Option<Room>)>> {
        let found: Option<(Uuid,)> = self.cql.first(&self.cql.statements.room_by_name, (key,)).await?;
        let Some((id,)) = found else { return Ok(None) };
        Ok(Some((id, self.find_room(room_id(id)).await?)))
    }

    pub(super) async fn find_room_by_name(&self, name: &Name) -> Result<Option<Room>> {
        let holder = self.holder(&name.key()).await?;
        Ok(holder.and_then(|(_, room)| room).filter(|room| !room.deleted))
    }

    pub(super) async fn make_room(&self, new: NewRoom) -> Result<Room> {
        // Nearly always this tells that a name is taken; the transaction below is for those who ask at once.
        if self.find_room_by_name(&new.name).await?.is_some() {
            return Err(Error::NameTaken);
        }
        let owner = self.find_user(new.owner).await?.ok_or(Error::NotFound)?;
        let room = Room {
            id: RoomId::random(),
            name: Some(new.name),
            title: new.title,
            kind: new.kind,
            pair: None,
            created_at: new.at,
            archived: false,
            deleted: false,
        };
        let stamp = stamp::above(None, self.clock.now());
        self.insert_room(&room, stamp).await.map_err(after_a_write)?;
        self.enrol(room.id, (owner.id, &owner.name), Role::Owner, new.at, None)
            .await
            .map_err(after_a_write)?;
        if self.claim_room_name(&room).await.map_err(after_a_write)? {
            self.totals.room(1);
            return Ok(room);
        }
        // Somebody was faster. What was written belongs to nobody and is hidden.
        let values = (stamp + 1, cql(room.id.as_bytes()));
        self.cql
            .write(&self.cql.statements.room_set_deleted, values)
            .await
            .map_err(after_a_write)?;
        Err(Error::NameTaken)
    }

    /// Gives an imported room its name, or notes that a direct conversation was made.
    pub(super) async fn claim_imported(&self, room: &Room) -> Result<()> {
        if room.name.is_some() {
            return match self.claim_room_name(room).await? {
                true => Ok(()),
                false => Err(Error::NameTaken),
            };
        }
        let values = (direct_key(room.id), cql(room.id.as_bytes()));
        self.cql
            .lwt(&self.cql.statements.room_name_claim, values)
            .await
            .map(drop)
    }

    /// Gives the room its name; false if another room that is not deleted has it.
    pub(super) async fn claim_room_name(&self, room: &Room) -> Result<bool> {
        let Some(key) = room.name.as_ref().map(Name::key) else {
            return Ok(true);
        };
        let id = cql(room.id.as_bytes());
        loop {
            if self
                .cql
                .lwt(&self.cql.statements.room_name_claim, (key.as_str(), id))
                .await?
            {
                return Ok(true);
            }
            match self.holder(&key).await? {
                Some((holder, _)) if holder == id => return Ok(true),
                Some((_, Some(other))) if !other.deleted => return Ok(false),
                // The name of a deleted room is free: whoever takes it over first has it.
                Some((holder, _)) => {
                    let values = (id, key.as_str(), holder);
                    if self.cql.lwt(&self.cql.statements.room_name_take, values).await? {
                        return Ok(true);
                    }
                }
                None => {}
            }
        }
    }

    /// Writes a room's own row and those that list it.
    pub(super) async fn insert_room(&self, room: &Room, stamp: i64) -> Result<()> {
        let (low, high) = room.pair.unzip();
        let values = (
            cql(room.id.as_bytes()),
            MaybeUnset::from_option(room.name.as_ref().map(Name::as_str)),
            room.title.as_str(),
            room.kind.as_str(),
            MaybeUnset::from_option(low.map(|low| cql(low.as_bytes()))),
            MaybeUnset::from_option(high.map(|high| cql(high.as_bytes()))),
            time(room.created_at),
            room.archived,
            room.deleted,
            stamp,
        );
        tokio::try_join!(
            self.cql.write(&self.cql.statements.room_insert, values),
            self.list_room(room, stamp),
        )
        .map(drop)
    }

    pub(super) async fn open_direct_room(&self, a: UserId, b: UserId, at: Timestamp) -> Result<(Room, bool)> {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let id = RoomId::direct(low, high);
        if let Some(room) = self.find_room(id).await? {
            return Ok((room, false));
        }
        let (one, other) = tokio::try_join!(self.find_user(low), self.find_user(high))?;
        let (one, other) = (one.ok_or(Error::NotFound)?, other.ok_or(Error::NotFound)?);
        let room = Room {
            id,
            name: None,
            title: String::new(),
            kind: RoomKind::Direct,
            pair: Some((low, high)),
            created_at: at,
            archived: false,
            deleted: false,
        };
        // The members first: whoever finds the room finds them too.
        for person in [&one, &other] {
            self.enrol(id, (person.id, &person.name), Role::Member, at, None)
                .await
                .map_err(after_a_write)?;
        }
        let stamp = stamp::above(None, self.clock.now());
        self.insert_room(&room, stamp).await.map_err(after_a_write)?;
        let values = (direct_key(id), cql(id.as_bytes()));
        let made = self.cql.lwt(&self.cql.statements.room_name_claim, values).await;
        let made = made.map_err(after_a_write)?;
        if made {
            self.totals.room(1);
        }
        let room = self.find_room(id).await.map_err(after_a_write)?;
        let room = room.ok_or_else(|| damaged(format!("the direct conversation {id} can't be found")))?;
        Ok((room, made))
    }

    pub(super) async fn alter_room(&self, id: RoomId, change: RoomChange) -> Result<Room> {
        let row = self.room_row(id).await?.ok_or(Error::NotFound)?;
        let mut room = row.room()?.filter(|room| !room.deleted).ok_or(Error::NotFound)?;
        let (now, key) = (self.clock.now(), cql(id.as_bytes()));
        let mut newest = stamp::above(None, now);
        let mut above = |read| {
            let stamp = stamp::above(read, now);
            newest = newest.max(stamp);
            stamp
        };
        let mut wrote = false;
        // Each column by itself: who changes the title at the same time as somebody archives undoes nothing.
        if let Some(title) = change.title {
            let values = (above(row.title_stamp), title.as_str(), key);
            self.cql.write(&self.cql.statements.room_set_title, values).await?;
            (room.title, wrote) = (title, true);
        }
        // A direct conversation stays one, and nothing else becomes one.
        if let Some(kind) = change.kind
            && room.kind != RoomKind::Direct
            && kind != RoomKind::Direct
        {
            let values = (above(row.kind_stamp), kind.as_str(), key);
            let result = self.cql.write(&self.cql.statements.room_set_kind, values).await;
            result.map_err(|error| if wrote { after_a_write(error) } else { error })?;
            (room.kind, wrote) = (kind, true);
        }
        if let Some(archived) = change.archived {
            let values = (above(row.archived_stamp), archived, key);
            let result = self.cql.write(&self.cql.statements.room_set_archived, values).await;
            result.map_err(|error| if wrote { after_a_write(error) } else { error })?;
            (room.archived, wrote) = (archived, true);
        }
        if change.deleted {
            let values = (above(row.deleted_stamp), key);
            let result = self.cql.write(&self.cql.statements.room_set_deleted, values).await;
            result.map_err(|error| if wrote { after_a_write(error) } else { error })?;
            (room.deleted, wrote) = (true, true);
            self.totals.room(-1);
        }
        if wrote {
            self.list_room(&room, newest).await.map_err(after_a_write)?;
        }
        Ok(room)
    }
}
