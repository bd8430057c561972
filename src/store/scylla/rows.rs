//! Between rows and the model's values. Whatever a row holds that the model forbids is reported as damage; rows that
//! only a late change has made (without an author, or without a name) are none.

use scylla::DeserializeRow;
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use crate::model::{Author, EventId, Message, Name, Role, Room, RoomId, RoomKind, Timestamp, User, UserId};
use crate::store::{Error, Result};

/// The greatest event id there can be; the bounds of ranges need version 7.
pub(super) const END: EventId = EventId::new(u64::MAX, EventId::COUNTER_MAX, u64::MAX);
/// Below every event id.
pub(super) const BEGINNING: EventId = EventId::new(0, 0, 0);

pub(super) fn cql(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

pub(super) fn event_id(uuid: Uuid) -> EventId {
    EventId::from_bytes(*uuid.as_bytes())
}

pub(super) fn user_id(uuid: Uuid) -> UserId {
    UserId::from_bytes(*uuid.as_bytes())
}

pub(super) fn room_id(uuid: Uuid) -> RoomId {
    RoomId::from_bytes(*uuid.as_bytes())
}

pub(super) fn time(at: Timestamp) -> CqlTimestamp {
    CqlTimestamp(i64::try_from(at.millis()).unwrap_or(i64::MAX))
}

pub(super) fn timestamp(at: CqlTimestamp) -> Timestamp {
    Timestamp::from_millis(u64::try_from(at.0).unwrap_or_default())
}

/// A bucket's start as CQL has it.
pub(super) fn start(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// A bound on rows as CQL has it.
pub(super) fn limit(rows: usize) -> i32 {
    i32::try_from(rows).unwrap_or(i32::MAX)
}

pub(super) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::Damaged(what.to_string())
}

pub(super) fn name(text: &str) -> Result<Name> {
    Name::parse(text).map_err(|error| damaged(format!("the name {text:?}: {error}")))
}

/// Ids one after the other.
pub(super) fn mentions(bytes: Option<&[u8]>) -> Result<Vec<UserId>> {
    let (ids, rest) = bytes.unwrap_or_default().as_chunks::<16>();
    if !rest.is_empty() {
        return Err(damaged("mentions that are not a row of ids"));
    }
    Ok(ids.iter().map(|id| UserId::from_bytes(*id)).collect())
}

/// What [`mentions`] reads.
pub(super) fn mentions_blob(ids: &[UserId]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

#[derive(Debug, DeserializeRow)]
pub(super) struct MessageRow {
    pub(super) id: Uuid,
    author_id: Option<Uuid>,
    author_name: Option<String>,
    body: Option<String>,
    reply_to: Option<Uuid>,
    mentions: Option<Vec<u8>>,
    edited_at: Option<CqlTimestamp>,
    deleted_at: Option<CqlTimestamp>,
    last_event: Option<Uuid>,
}

impl MessageRow {
    /// The message; none if a change is all there is of it. A deletion is sticky, whatever an edit wrote after it.
    pub(super) fn message(self, room: RoomId) -> Result<Option<Message>> {
        let (Some(author), Some(author_name)) = (self.author_id, self.author_name) else {
            return Ok(None);
        };
        let deleted_at = self.deleted_at.map(timestamp);
        let (body, mentions) = if deleted_at.is_some() {
            (String::new(), Vec::new())
        } else {
            (self.body.unwrap_or_default(), mentions(self.mentions.as_deref())?)
        };
        Ok(Some(Message {
            room,
            id: event_id(self.id),
            author: Author {
                id: user_id(author),
                name: name(&author_name)?,
            },
            body,
            reply_to: self.reply_to.map(event_id),
            mentions,
            edited_at: self.edited_at.map(timestamp),
            deleted_at,
            last_event: self.last_event.map(event_id),
        }))
    }
}

/// The messages of some rows.
pub(super) fn messages(rows: Vec<MessageRow>, room: RoomId) -> Result<Vec<Message>> {
    rows.into_iter()
        .filter_map(|row| row.message(room).transpose())
        .collect()
}

#[derive(Debug, DeserializeRow)]
pub(super) struct EventRow {
    pub(super) id: Uuid,
    pub(super) kind: Option<String>,
    pub(super) message_id: Option<Uuid>,
    pub(super) mentions: Option<Vec<u8>>,
    pub(super) body: Option<String>,
}

#[derive(Debug, Clone, DeserializeRow)]
pub(super) struct RoomRow {
    id: Uuid,
    name: Option<String>,
    title: Option<String>,
    kind: Option<String>,
    pair_low: Option<Uuid>,
    pair_high: Option<Uuid>,
    created_at: Option<CqlTimestamp>,
    archived: Option<bool>,
    deleted: Option<bool>,
    pub(super) title_stamp: Option<i64>,
    pub(super) kind_stamp: Option<i64>,
    pub(super) archived_stamp: Option<i64>,
    pub(super) deleted_stamp: Option<i64>,
}

impl RoomRow {
    /// The room; none if it was never made.
    pub(super) fn room(&self) -> Result<Option<Room>> {
        let (Some(kind), Some(created_at)) = (&self.kind, self.created_at) else {
            return Ok(None);
        };
        let kind = RoomKind::parse(kind).ok_or_else(|| damaged(format!("the kind of room {kind:?}")))?;
        let pair = match kind {
            RoomKind::Direct => self.pair_low.zip(self.pair_high),
            RoomKind::Public | RoomKind::Private => None,
        };
        Ok(Some(Room {
            id: room_id(self.id),
            name: self.name.as_deref().map(name).transpose()?,
            title: self.title.clone().unwrap_or_default(),
            kind,
            pair: pair.map(|(low, high)| (user_id(low), user_id(high))),
            created_at: timestamp(created_at),
            archived: self.archived.unwrap_or_default(),
            deleted: self.deleted.unwrap_or_default(),
        }))
    }
}

#[derive(Debug, DeserializeRow)]
pub(super) struct UserRow {
    id: Uuid,
    name: Option<String>,
    superuser: Option<bool>,
    disabled: Option<bool>,
    created_at: Option<CqlTimestamp>,
    last_seen: Option<CqlTimestamp>,
}

impl UserRow {
    /// The user; none if it was never made.
    pub(super) fn user(self) -> Result<Option<User>> {
        let (Some(text), Some(created_at)) = (self.name, self.created_at) else {
            return Ok(None);
        };
        Ok(Some(User {
            id: user_id(self.id),
            name: name(&text)?,
            superuser: self.superuser.unwrap_or_default(),
            disabled: self.disabled.unwrap_or_default(),
            created_at: timestamp(created_at),
            last_seen: self.last_seen.map(timestamp),
        }))
    }
}

/// A member's row, also where the membership has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemberRow {
    pub(super) user: UserId,
    /// None once the membership has ended.
    pub(super) role: Option<Role>,
    pub(super) joined_at: Timestamp,
    /// When the role was written, as CQL has it.
    pub(super) role_stamp: Option<i64>,
    /// When it was written that the membership has ended, or has not.
    pub(super) ended_stamp: Option<i64>,
}

/// What the statements for members select.
/// What `events_whole` reads.
pub(super) type EventColumns = (
    Uuid,
    Option<String>,
    Option<Uuid>,
    Option<Uuid>,
    Option<Vec<u8>>,
    Option<String>,
);

pub(super) type MemberColumns = (
    Uuid,
    Option<String>,
    Option<CqlTimestamp>,
    Option<bool>,
    Option<i64>,
    Option<i64>,
);

pub(super) fn member((user, role, joined_at, ended, role_stamp, ended_stamp): MemberColumns) -> Result<MemberRow> {
    let word = role.filter(|_| ended == Some(false));
    let role = word
        .map(|word| Role::parse(&word).ok_or_else(|| damaged(format!("the role {word:?}"))))
        .transpose()?;
    Ok(MemberRow {
        user: user_id(user),
        role,
        joined_at: joined_at.map(timestamp).unwrap_or_default(),
        role_stamp,
        ended_stamp,
    })
}

/// The model's answer for many rows.
pub(super) fn members(rows: Vec<MemberColumns>) -> Result<Vec<MemberRow>> {
    rows.into_iter().map(member).collect()
}
