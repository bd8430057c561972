//! Who is in a room, who may not be, and how far each has read.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, ROOM_COLUMNS, integer, millis, room_columns};
use crate::model::{EventId, Member, Role, RoomId, Standing, Timestamp, UserId};
use crate::store::{Ban, Error, Membership, Result};

const PUT: &str = "INSERT INTO members (room_id, user_id, name_key, role, joined_at)
    VALUES (?1, ?2, (SELECT name_key FROM users WHERE id = ?2), ?3, ?4)
    ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role";
const IS_USER: &str = "SELECT 1 FROM users WHERE id = ?1";
const ROLE: &str = "SELECT role FROM members WHERE room_id = ?1 AND user_id = ?2";
const IS_BANNED: &str = "SELECT 1 FROM bans WHERE room_id = ?1 AND user_id = ?2";
const END: &str = "DELETE FROM members WHERE room_id = ?1 AND user_id = ?2";
const HEIR: &str = "SELECT user_id FROM members WHERE room_id = ?1
    ORDER BY role = 'moderator' DESC, joined_at, user_id LIMIT 1";
const SET_ROLE: &str = "UPDATE members SET role = ?3 WHERE room_id = ?1 AND user_id = ?2";
const BAN: &str = "INSERT INTO bans (room_id, user_id, by_id, at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (room_id, user_id) DO NOTHING";
const UNBAN: &str = "DELETE FROM bans WHERE room_id = ?1 AND user_id = ?2";
const BANS: &str = "SELECT b.user_id, u.name, b.by_id, b.at FROM bans b JOIN users u ON u.id = b.user_id
    WHERE b.room_id = ?1 ORDER BY u.name_key";
const LIST: &str = "SELECT m.user_id, u.name, m.role, m.joined_at
    FROM members m INDEXED BY members_in_order CROSS JOIN users u ON u.id = m.user_id
    WHERE m.room_id = ?1 AND m.name_key >= ?2 AND m.name_key < ?2 || char(0x10ffff) AND m.name_key > ?3
    ORDER BY m.name_key LIMIT ?4";
const COUNT: &str = "SELECT count(*) FROM members WHERE room_id = ?1";
const ROOMS_OF: &str = concat!(
    "SELECT ",
    room_columns!(),
    ", m.role, k.id FROM members m
     JOIN rooms r ON r.id = m.room_id
     LEFT JOIN read_markers k ON k.user_id = m.user_id AND k.room_id = m.room_id
     WHERE m.user_id = ?1 AND r.deleted = 0 ORDER BY r.name_key, r.id"
);
const SHARE: &str = "SELECT 1 FROM members a JOIN members b ON b.room_id = a.room_id AND b.user_id = ?2
    JOIN rooms r ON r.id = a.room_id AND r.deleted = 0 WHERE a.user_id = ?1 LIMIT 1";
const MARKER: &str = "SELECT id FROM read_markers WHERE user_id = ?1 AND room_id = ?2";
const SET_MARKER: &str = "INSERT INTO read_markers (user_id, room_id, id) VALUES (?1, ?2, ?3)
    ON CONFLICT (user_id, room_id) DO UPDATE SET id = max(id, excluded.id)";

fn role(db: &Connection, room: RoomId, user: UserId) -> Result<Option<Role>> {
    Ok(db
        .prepare_cached(ROLE)?
        .query_row(params![room.as_bytes(), user.as_bytes()], |row| rows::role(row, 0))
        .optional()?)
}

/// Only a member has a role: one who has gone meanwhile is not brought back.
pub(super) fn set_role(db: &Connection, room: RoomId, user: UserId, role: Role) -> Result<()> {
    let changed = db
        .prepare_cached(SET_ROLE)?
        .execute(params![room.as_bytes(), user.as_bytes(), role.as_str()])?;
    if changed == 1 { Ok(()) } else { Err(Error::NotFound) }
}

fn is_banned(db: &Connection, room: RoomId, user: UserId) -> Result<bool> {
    Ok(db
        .prepare_cached(IS_BANNED)?
        .exists(params![room.as_bytes(), user.as_bytes()])?)
}

pub(super) fn standing(db: &Connection, room: RoomId, user: UserId) -> Result<Standing> {
    if is_banned(db, room, user)? {
        return Ok(Standing::Banned);
    }
    Ok(role(db, room, user)?.map_or(Standing::Outsider, Standing::Member))
}

/// A ban that landed between a caller's check and this write stands: then nobody becomes a member.
pub(super) fn put(
    db: &Connection,
    room: RoomId,
    user: UserId,
    new: Role,
    at: Timestamp,
    read: Option<EventId>,
) -> Result<()> {
    if is_banned(db, room, user)? {
        return Ok(());
    }
    if !db.prepare_cached(IS_USER)?.exists([user.as_bytes()])? {
        return Err(Error::NotFound);
    }
    let newcomer = role(db, room, user)?.is_none();
    db.prepare_cached(PUT)?
        .execute(params![room.as_bytes(), user.as_bytes(), new.as_str(), millis(at)])?;
    if let Some(id) = read.filter(|_| newcomer) {
        set_read_marker(db, room, user, id)?;
    }
    Ok(())
}

pub(super) fn end(db: &Connection, room: RoomId, user: UserId) -> Result<Option<UserId>> {
    let left = role(db, room, user)?;
    db.prepare_cached(END)?
        .execute(params![room.as_bytes(), user.as_bytes()])?;
    if left != Some(Role::Owner) {
        return Ok(None);
    }
    let heir = db
        .prepare_cached(HEIR)?
        .query_row([room.as_bytes()], |row| rows::user_id(row, 0))
        .optional()?;
    if let Some(heir) = heir {
        set_role(db, room, heir, Role::Owner)?;
    }
    Ok(heir)
}

pub(super) fn hand_over(db: &Connection, room: RoomId, from: UserId, to: UserId) -> Result<()> {
    set_role(db, room, from, Role::Moderator)?;
    set_role(db, room, to, Role::Owner)
}

pub(super) fn ban(db: &Connection, room: RoomId, user: UserId, by: UserId, at: Timestamp) -> Result<()> {
    db.prepare_cached(BAN)?
        .execute(params![room.as_bytes(), user.as_bytes(), by.as_bytes(), millis(at)])?;
    end(db, room, user).map(drop)
}

pub(super) fn unban(db: &Connection, room: RoomId, user: UserId) -> Result<()> {
    Ok(db
        .prepare_cached(UNBAN)?
        .execute(params![room.as_bytes(), user.as_bytes()])
        .map(drop)?)
}

pub(super) fn bans(db: &Connection, room: RoomId) -> Result<Vec<Ban>> {
    let mut statement = db.prepare_cached(BANS)?;
    let found = statement.query_map([room.as_bytes()], |row| {
        Ok(Ban {
            user: rows::user_id(row, 0)?,
            name: rows::name(row, 1)?,
            by: rows::user_id(row, 2)?,
            at: rows::timestamp(row, 3)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn list(db: &Connection, room: RoomId, prefix: &str, after: &str, limit: usize) -> Result<Vec<Member>> {
    let mut statement = db.prepare_cached(LIST)?;
    let found = statement.query_map(params![room.as_bytes(), prefix, after, integer(limit)], |row| {
        Ok(Member {
            user: rows::user_id(row, 0)?,
            name: rows::name(row, 1)?,
            role: rows::role(row, 2)?,
            joined_at: rows::timestamp(row, 3)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn count(db: &Connection, room: RoomId) -> Result<u64> {
    Ok(db
        .prepare_cached(COUNT)?
        .query_row([room.as_bytes()], |row| rows::unsigned(row, 0))?)
}

pub(super) fn rooms_of(db: &Connection, user: UserId) -> Result<Vec<Membership>> {
    let mut statement = db.prepare_cached(ROOMS_OF)?;
    let found = statement.query_map([user.as_bytes()], |row| {
        Ok(Membership {
            room: rows::room(row)?,
            role: rows::role(row, ROOM_COLUMNS)?,
            read: rows::optional_event_id(row, ROOM_COLUMNS + 1)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn share_a_room(db: &Connection, a: UserId, b: UserId) -> Result<bool> {
    Ok(db.prepare_cached(SHARE)?.exists(params![a.as_bytes(), b.as_bytes()])?)
}

pub(super) fn read_marker(db: &Connection, room: RoomId, user: UserId) -> Result<Option<EventId>> {
    Ok(db
        .prepare_cached(MARKER)?
        .query_row(params![user.as_bytes(), room.as_bytes()], |row| rows::event_id(row, 0))
        .optional()?)
}

pub(super) fn set_read_marker(db: &Connection, room: RoomId, user: UserId, id: EventId) -> Result<EventId> {
    db.prepare_cached(SET_MARKER)?
        .execute(params![user.as_bytes(), room.as_bytes(), id.as_bytes()])?;
    Ok(read_marker(db, room, user)?.unwrap_or(id))
}
