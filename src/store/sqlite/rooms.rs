//! Rooms: made, found, changed, listed. Who is in them is in `members`; the trait's one implementation is here.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Params, params};

use super::rows::{self, integer, millis, room_columns};
use super::{SqliteStore, members};
use crate::model::{EventId, Member, Name, Role, Room, RoomId, RoomKind, Standing, Timestamp, UserId};
use crate::store::{Ban, Error, Membership, NewRoom, Result, RoomChange, RoomStore};

const INSERT: &str = "INSERT INTO rooms (id, name, name_key, title, title_key, kind, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (name_key) WHERE deleted = 0 AND name_key <> '' DO NOTHING";
const INSERT_DIRECT: &str = "INSERT INTO rooms (id, name_key, title, title_key, kind, pair_low, pair_high, created_at)
    VALUES (?1, '', '', '', 'direct', ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING";
const ONE: &str = concat!("SELECT ", room_columns!(), " FROM rooms r WHERE r.id = ?1");
const BY_NAME: &str = concat!(
    "SELECT ",
    room_columns!(),
    " FROM rooms r WHERE r.name_key = ?1 AND r.name_key <> '' AND r.deleted = 0"
);
const CHANGE: &str =
    "UPDATE rooms SET title = ?2, title_key = ?3, kind = ?4, archived = ?5, deleted = ?6 WHERE id = ?1";
const PUBLIC: &str = concat!(
    "SELECT ",
    room_columns!(),
    " FROM rooms r WHERE r.kind = 'public' AND r.archived = 0 AND r.deleted = 0
      AND (?1 = '' OR instr(r.name_key, ?1) > 0 OR instr(r.title_key, ?1) > 0)
      ORDER BY r.name_key LIMIT ?2"
);
const ALL: &str = concat!(
    "SELECT ",
    room_columns!(),
    " FROM rooms r WHERE r.deleted = 0 AND (r.name_key, r.id) > (?3, ?4)
      AND (?1 = '' OR instr(r.name_key, ?1) > 0 OR instr(r.title_key, ?1) > 0)
      ORDER BY r.name_key, r.id LIMIT ?2"
);
const KEY: &str = "SELECT name_key FROM rooms WHERE id = ?1";

fn one(db: &Connection, id: RoomId) -> Result<Option<Room>> {
    let mut statement = db.prepare_cached(ONE)?;
    let mut rows = statement.query([id.as_bytes()])?;
    Ok(rows.next()?.map(rows::room).transpose()?)
}

fn many(db: &Connection, sql: &str, params: impl Params) -> Result<Vec<Room>> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(params, rows::room)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn create(db: &Connection, new: NewRoom) -> Result<Room> {
    let id = RoomId::random();
    let made = db.prepare_cached(INSERT)?.execute(params![
        id.as_bytes(),
        new.name.as_str(),
        new.name.key(),
        new.title,
        new.title.to_lowercase(),
        new.kind.as_str(),
        millis(new.at)
    ])?;
    if made == 0 {
        return Err(Error::NameTaken);
    }
    members::put(db, id, new.owner, Role::Owner, new.at, None)?;
    Ok(Room {
        id,
        name: Some(new.name),
        title: new.title,
        kind: new.kind,
        pair: None,
        created_at: new.at,
        archived: false,
        deleted: false,
    })
}

fn open_direct(db: &Connection, a: UserId, b: UserId, at: Timestamp) -> Result<(Room, bool)> {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let id = RoomId::direct(low, high);
    let made = db.prepare_cached(INSERT_DIRECT)?.execute(params![
        id.as_bytes(),
        low.as_bytes(),
        high.as_bytes(),
        millis(at)
    ])?;
    if made == 1 {
        members::put(db, id, low, Role::Member, at, None)?;
        members::put(db, id, high, Role::Member, at, None)?;
    }
    let room = one(db, id)?.ok_or_else(|| Error::Damaged(format!("the direct conversation {id} can't be found")))?;
    Ok((room, made == 1))
}

fn change(db: &Connection, id: RoomId, change: RoomChange) -> Result<Room> {
    let mut room = one(db, id)?.filter(|room| !room.deleted).ok_or(Error::NotFound)?;
    room.title = change.title.unwrap_or(room.title);
    room.archived = change.archived.unwrap_or(room.archived);
    room.deleted = change.deleted;
    // A direct conversation stays one, and nothing else becomes one.
    if let Some(kind) = change.kind
        && room.kind != RoomKind::Direct
        && kind != RoomKind::Direct
    {
        room.kind = kind;
    }
    db.prepare_cached(CHANGE)?.execute(params![
        id.as_bytes(),
        room.title,
        room.title.to_lowercase(),
        room.kind.as_str(),
        room.archived,
        room.deleted
    ])?;
    Ok(room)
}

fn all(db: &Connection, query: &str, after: Option<RoomId>, limit: usize) -> Result<Vec<Room>> {
    let (key, id) = match &after {
        None => (String::new(), &[0; 16]),
        Some(id) => {
            let mut statement = db.prepare_cached(KEY)?;
            let mut rows = statement.query([id.as_bytes()])?;
            let row = rows.next()?.ok_or(Error::NotFound)?;
            (row.get(0)?, id.as_bytes())
        }
    };
    many(db, ALL, params![query.to_lowercase(), integer(limit), key, id])
}

#[async_trait]
impl RoomStore for SqliteStore {
    async fn create_room(&self, room: NewRoom) -> Result<Room> {
        self.engine.write(move |db| create(db, room)).await
    }

    async fn open_direct(&self, a: UserId, b: UserId, at: Timestamp) -> Result<(Room, bool)> {
        // Nearly always it exists, and then no write is needed.
        let id = RoomId::direct(a, b);
        if let Some(room) = self.room(id).await? {
            return Ok((room, false));
        }
        self.engine.write(move |db| open_direct(db, a, b, at)).await
    }

    async fn room(&self, id: RoomId) -> Result<Option<Room>> {
        self.engine.read(move |db| one(db, id)).await
    }

    async fn room_by_name(&self, name: &Name) -> Result<Option<Room>> {
        let key = name.key();
        let found = self.engine.read(move |db| many(db, BY_NAME, [key])).await?;
        Ok(found.into_iter().next())
    }

    async fn change_room(&self, id: RoomId, wanted: RoomChange) -> Result<Room> {
        self.engine.write(move |db| change(db, id, wanted)).await
    }

    async fn public_rooms(&self, query: &str, limit: usize) -> Result<Vec<Room>> {
        let query = query.to_lowercase();
        self.engine
            .read(move |db| many(db, PUBLIC, params![query, integer(limit)]))
            .await
    }

    async fn all_rooms(&self, query: &str, after: Option<RoomId>, limit: usize) -> Result<Vec<Room>> {
        let query = Arc::<str>::from(query);
        self.engine.read(move |db| all(db, &query, after, limit)).await
    }

    async fn standing(&self, room: RoomId, user: UserId) -> Result<Standing> {
        self.engine.read(move |db| members::standing(db, room, user)).await
    }

    async fn put_member(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        at: Timestamp,
        read: Option<EventId>,
    ) -> Result<()> {
        self.engine
            .write(move |db| members::put(db, room, user, role, at, read))
            .await
    }

    async fn set_role(&self, room: RoomId, user: UserId, role: Role) -> Result<()> {
        self.engine
            .write(move |db| members::set_role(db, room, user, role))
            .await
    }

    async fn end_member(&self, room: RoomId, user: UserId) -> Result<Option<UserId>> {
        self.engine.write(move |db| members::end(db, room, user)).await
    }

    async fn hand_over(&self, room: RoomId, from: UserId, to: UserId) -> Result<()> {
        self.engine
            .write(move |db| members::hand_over(db, room, from, to))
            .await
    }

    async fn ban(&self, room: RoomId, user: UserId, by: UserId, at: Timestamp) -> Result<()> {
        self.engine.write(move |db| members::ban(db, room, user, by, at)).await
    }

    async fn unban(&self, room: RoomId, user: UserId) -> Result<()> {
        self.engine.write(move |db| members::unban(db, room, user)).await
    }

    async fn bans(&self, room: RoomId) -> Result<Vec<Ban>> {
        self.engine.read(move |db| members::bans(db, room)).await
    }

    async fn members(&self, room: RoomId, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Member>> {
        let prefix = prefix.to_ascii_lowercase();
        let after = after.map(Name::key).unwrap_or_default();
        self.engine
            .read(move |db| members::list(db, room, &prefix, &after, limit))
            .await
    }

    async fn member_count(&self, room: RoomId) -> Result<u64> {
        self.engine.read(move |db| members::count(db, room)).await
    }

    async fn rooms_of(&self, user: UserId) -> Result<Vec<Membership>> {
        self.engine.read(move |db| members::rooms_of(db, user)).await
    }

    async fn share_a_room(&self, a: UserId, b: UserId) -> Result<bool> {
        self.engine.read(move |db| members::share_a_room(db, a, b)).await
    }

    async fn read_marker(&self, room: RoomId, user: UserId) -> Result<Option<EventId>> {
        self.engine.read(move |db| members::read_marker(db, room, user)).await
    }

    async fn set_read_marker(&self, room: RoomId, user: UserId, id: EventId) -> Result<EventId> {
        self.engine
            .write(move |db| members::set_read_marker(db, room, user, id))
            .await
    }
}
