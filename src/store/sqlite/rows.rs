//! Between rows and the model's values. Whatever a row holds that the model forbids is reported as damage.

use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};

use crate::model::message::Author;
use crate::model::{EventId, Message, Name, Role, Room, RoomId, RoomKind, Timestamp, User, UserId};

/// The columns of a message, in the order of [`message`].
macro_rules! message_columns {
    () => {
        "m.room_id, m.id, m.author_id, m.author_name, m.body, m.reply_to, m.mentions, m.edited_at, m.deleted_at, m.last_event"
    };
}
pub(super) use message_columns;
/// How many columns that is: the first of any further one.
pub(super) const MESSAGE_COLUMNS: usize = 10;

/// The columns of a room, in the order of [`room`].
macro_rules! room_columns {
    () => {
        "r.id, r.name, r.title, r.kind, r.pair_low, r.pair_high, r.created_at, r.archived, r.deleted"
    };
}
pub(super) use room_columns;
pub(super) const ROOM_COLUMNS: usize = 9;

/// The columns of a user, in the order of [`user`].
macro_rules! user_columns {
    () => {
        "u.id, u.name, u.superuser, u.disabled, u.created_at, u.last_seen"
    };
}
pub(super) use user_columns;

type Got<T> = rusqlite::Result<T>;

fn damaged(column: usize, kind: Type, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(FromSqlError::Other(what.into())))
}

pub(super) fn user_id(row: &Row<'_>, column: usize) -> Got<UserId> {
    row.get(column).map(UserId::from_bytes)
}

pub(super) fn room_id(row: &Row<'_>, column: usize) -> Got<RoomId> {
    row.get(column).map(RoomId::from_bytes)
}

pub(super) fn event_id(row: &Row<'_>, column: usize) -> Got<EventId> {
    row.get(column).map(EventId::from_bytes)
}

pub(super) fn optional_event_id(row: &Row<'_>, column: usize) -> Got<Option<EventId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(EventId::from_bytes))
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Got<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| damaged(column, Type::Integer, "a negative number"))
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> Got<Timestamp> {
    unsigned(row, column).map(Timestamp::from_millis)
}

pub(super) fn optional_timestamp(row: &Row<'_>, column: usize) -> Got<Option<Timestamp>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(_) => timestamp(row, column).map(Some),
    }
}

pub(super) fn name(row: &Row<'_>, column: usize) -> Got<Name> {
    let text = row.get_ref(column)?.as_str()?;
    Name::parse(text).map_err(|error| damaged(column, Type::Text, &error.to_string()))
}

pub(super) fn role(row: &Row<'_>, column: usize) -> Got<Role> {
    let word = row.get_ref(column)?.as_str()?;
    Role::parse(word).ok_or_else(|| damaged(column, Type::Text, "not a role"))
}

/// Ids one after the other; NULL where there are none.
pub(super) fn mentions(row: &Row<'_>, column: usize) -> Got<Vec<UserId>> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else {
        return Ok(Vec::new());
    };
    let (ids, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(damaged(column, Type::Blob, "not a row of ids"));
    }
    Ok(ids.iter().map(|id| UserId::from_bytes(*id)).collect())
}

/// What [`mentions`] reads.
pub(super) fn mentions_blob(ids: &[UserId]) -> Option<Vec<u8>> {
    (!ids.is_empty()).then(|| ids.iter().flat_map(|id| *id.as_bytes()).collect())
}

pub(super) fn message(row: &Row<'_>) -> Got<Message> {
    Ok(Message {
        room: room_id(row, 0)?,
        id: event_id(row, 1)?,
        author: Author {
            id: user_id(row, 2)?,
            name: name(row, 3)?,
        },
        body: row.get(4)?,
        reply_to: optional_event_id(row, 5)?,
        mentions: mentions(row, 6)?,
        edited_at: optional_timestamp(row, 7)?,
        deleted_at: optional_timestamp(row, 8)?,
        last_event: optional_event_id(row, 9)?,
    })
}

pub(super) fn room(row: &Row<'_>) -> Got<Room> {
    let word = row.get_ref(3)?.as_str()?;
    let kind = RoomKind::parse(word).ok_or_else(|| damaged(3, Type::Text, "not a kind of room"))?;
    let pair = match kind {
        RoomKind::Direct => Some((user_id(row, 4)?, user_id(row, 5)?)),
        RoomKind::Public | RoomKind::Private => None,
    };
    Ok(Room {
        id: room_id(row, 0)?,
        name: if kind == RoomKind::Direct {
            None
        } else {
            Some(name(row, 1)?)
        },
        title: row.get(2)?,
        kind,
        pair,
        created_at: timestamp(row, 6)?,
        archived: row.get(7)?,
        deleted: row.get(8)?,
    })
}

pub(super) fn user(row: &Row<'_>) -> Got<User> {
    Ok(User {
        id: user_id(row, 0)?,
        name: name(row, 1)?,
        superuser: row.get(2)?,
        disabled: row.get(3)?,
        created_at: timestamp(row, 4)?,
        last_seen: optional_timestamp(row, 5)?,
    })
}

/// A bound or count as SQLite has it.
pub(super) fn integer(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time as SQLite has it.
pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}
