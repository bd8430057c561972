//! Reading and changing messages and events. Every statement here is a search in an index; none scans messages.

use async_trait::async_trait;
use rusqlite::{Connection, Params, params};

use super::engine::ReadKind;
use super::rows::{self, MESSAGE_COLUMNS, integer, mentions_blob, message_columns, millis};
use super::{Ids, SqliteStore, append};
use crate::limits;
use crate::model::{Change, ChangeKind, Event, EventId, EventKind, Message, NewMessage, RoomId, UserId};
use crate::store::{Appended, Error, MessageStore, Page, Range, Result, Unread};

const ONE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.room_id = ?1 AND m.id = ?2"
);
const BY_ID: &str = concat!("SELECT ", message_columns!(), " FROM messages m WHERE m.id = ?1");
const LATEST: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.room_id = ?1 ORDER BY m.id DESC LIMIT ?2"
);
const BEFORE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.room_id = ?1 AND m.id < ?3 ORDER BY m.id DESC LIMIT ?2"
);
const AFTER: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.room_id = ?1 AND m.id > ?3 ORDER BY m.id LIMIT ?2"
);
const BETWEEN: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.room_id = ?1 AND m.id > ?3 AND m.id < ?4 ORDER BY m.id LIMIT ?2"
);
const EVENTS: &str = concat!(
    "SELECT ",
    message_columns!(),
    ", e.id, e.kind, e.body, e.mentions FROM room_events e
     CROSS JOIN messages m ON m.room_id = e.room_id AND m.id = e.message_id
     WHERE e.room_id = ?1 AND e.id > ?3 ORDER BY e.id LIMIT ?2"
);
const NEWEST_MESSAGE: &str = "SELECT id FROM messages WHERE room_id = ?1 ORDER BY id DESC LIMIT 1";
const NEWEST_EVENT: &str = "SELECT id FROM room_events WHERE room_id = ?1 ORDER BY id DESC LIMIT 1";
const UNREAD: &str = "SELECT count(*), coalesce(sum(named), 0) FROM (
    SELECT coalesce(instr(mentions, ?2) % 16 = 1, 0) AS named FROM (
        SELECT author_id, deleted_at, mentions FROM messages WHERE room_id = ?1 AND id > ?3 ORDER BY id DESC LIMIT ?4
    ) WHERE author_id <> ?2 AND deleted_at IS NULL LIMIT ?5)";
const ADD_EVENT: &str = "INSERT INTO room_events (room_id, id, kind, message_id, by_id, mentions, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const EDIT: &str = "UPDATE messages SET body = ?3, mentions = ?4, edited_at = ?5, last_event = ?6
    WHERE room_id = ?1 AND id = ?2";
const DELETE: &str = "UPDATE messages SET body = '', mentions = NULL, deleted_at = ?3, last_event = ?4
    WHERE room_id = ?1 AND id = ?2";
const EMPTY_EDITS: &str = "UPDATE room_events SET body = '', mentions = NULL
    WHERE room_id = ?1 AND message_id = ?2 AND kind = 'edited'";

/// All of them, for the test of their query plans.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 14] = [
    ONE,
    BY_ID,
    LATEST,
    BEFORE,
    AFTER,
    BETWEEN,
    EVENTS,
    NEWEST_MESSAGE,
    NEWEST_EVENT,
    UNREAD,
    ADD_EVENT,
    EDIT,
    DELETE,
    EMPTY_EDITS,
];

fn one(db: &Connection, room: RoomId, id: EventId) -> Result<Option<Message>> {
    let mut statement = db.prepare_cached(ONE)?;
    let mut rows = statement.query(params![room.as_bytes(), id.as_bytes()])?;
    Ok(rows.next()?.map(rows::message).transpose()?)
}

fn many(db: &Connection, sql: &str, params: impl Params) -> Result<Vec<Message>> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(params, rows::message)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn page(db: &Connection, room: RoomId, range: Range, limit: usize) -> Result<Page> {
    let room = room.as_bytes();
    // One more than asked tells whether there is more.
    let count = integer(limit.saturating_add(1));
    let mut messages = match &range {
        Range::Latest => many(db, LATEST, params![room, count]),
        Range::Before(id) => many(db, BEFORE, params![room, count, id.as_bytes()]),
        Range::After(id) => many(db, AFTER, params![room, count, id.as_bytes()]),
        Range::Between(from, to) => many(db, BETWEEN, params![room, count, from.as_bytes(), to.as_bytes()]),
    }?;
    let has_more = messages.len() > limit;
    messages.truncate(limit);
    if matches!(range, Range::Latest | Range::Before(_)) {
        messages.reverse();
    }
    Ok(Page { messages, has_more })
}

/// Messages and events are read apart and merged; neither side needs more than the limit.
fn events(db: &Connection, room: RoomId, after: EventId, limit: usize) -> Result<Vec<Event>> {
    let bounds = params![room.as_bytes(), integer(limit), after.as_bytes()];
    let mut events: Vec<Event> = many(db, AFTER, bounds)?
        .into_iter()
        .map(|message| Event {
            id: message.id,
            kind: EventKind::Message(message),
        })
        .collect();
    let mut statement = db.prepare_cached(EVENTS)?;
    let mut rows = statement.query(bounds)?;
    while let Some(row) = rows.next()? {
        events.push(event(row)?);
    }
    events.sort_unstable_by_key(|event| event.id);
    events.truncate(limit);
    Ok(events)
}

/// An edit tells the text as of that edit, except that the text of a message deleted since is told nowhere.
fn event(row: &rusqlite::Row<'_>) -> Result<Event> {
    let mut message = rows::message(row)?;
    let id = rows::event_id(row, MESSAGE_COLUMNS)?;
    let kind = match row.get_ref(MESSAGE_COLUMNS + 1)?.as_str().unwrap_or_default() {
        "edited" => {
            if message.deleted_at.is_none() {
                message.body = row.get::<_, Option<String>>(MESSAGE_COLUMNS + 2)?.unwrap_or_default();
                message.mentions = rows::mentions(row, MESSAGE_COLUMNS + 3)?;
            }
            message.edited_at = Some(id.timestamp());
            message.last_event = Some(id);
            EventKind::Edited(message)
        }
        "deleted" => EventKind::Deleted { message: message.id },
        "late" => EventKind::Late(message),
        other => {
            return Err(Error::Damaged(format!(
                "the event {id} is of the unknown kind {other:?}"
            )));
        }
    };
    Ok(Event { id, kind })
}

fn newest(db: &Connection, room: RoomId) -> Result<Option<EventId>> {
    let greatest = |sql: &str| -> Result<Option<EventId>> {
        let mut statement = db.prepare_cached(sql)?;
        let mut rows = statement.query([room.as_bytes()])?;
        Ok(rows.next()?.map(|row| rows::event_id(row, 0)).transpose()?)
    };
    Ok(greatest(NEWEST_MESSAGE)?.max(greatest(NEWEST_EVENT)?))
}

fn unread(db: &Connection, room: RoomId, user: UserId, marker: Option<EventId>) -> Result<Unread> {
    let marker = marker.unwrap_or(EventId::new(0, 0, 0));
    let bounds = params![
        room.as_bytes(),
        user.as_bytes(),
        marker.as_bytes(),
        integer(limits::UNREAD_SCAN_MAX),
        integer(limits::UNREAD_MAX)
    ];
    let count = |row: &rusqlite::Row<'_>, column| row.get::<_, u32>(column);
    Ok(db.prepare_cached(UNREAD)?.query_row(bounds, |row| {
        Ok(Unread {
            messages: count(row, 0)?,
            mentions: count(row, 1)?,
        })
    })?)
}

fn change(db: &Connection, ids: &mut Ids, change: Change) -> Result<Event> {
    let mut message = one(db, change.room, change.message)?.ok_or(Error::NotFound)?;
    let key = (change.room.as_bytes(), change.message.as_bytes());
    match change.kind {
        ChangeKind::Edit { body, mentions } => {
            if message.deleted_at.is_some() {
                return Err(Error::NotFound);
            }
            let id = ids.next_random();
            let named = mentions_blob(&mentions);
            db.prepare_cached(ADD_EVENT)?.execute(params![
                key.0,
                id.as_bytes(),
                "edited",
                key.1,
                change.by.as_bytes(),
                named,
                body
            ])?;
            db.prepare_cached(EDIT)?.execute(params![
                key.0,
                key.1,
                body,
                named,
                millis(id.timestamp()),
                id.as_bytes()
            ])?;
            message.body = body;
            message.mentions = mentions;
            message.edited_at = Some(id.timestamp());
            message.last_event = Some(id);
            Ok(Event {
                id,
                kind: EventKind::Edited(message),
            })
        }
        ChangeKind::Delete => {
            let kind = EventKind::Deleted { message: message.id };
            if message.deleted_at.is_some() {
                let id = message
                    .last_event
                    .ok_or_else(|| Error::Damaged(format!("the deleted message {} has no event", message.id)))?;
                return Ok(Event { id, kind });
            }
            let id = ids.next_random();
            let nothing: Option<&str> = None;
            db.prepare_cached(ADD_EVENT)?.execute(params![
                key.0,
                id.as_bytes(),
                "deleted",
                key.1,
                change.by.as_bytes(),
                nothing,
                nothing
            ])?;
            db.prepare_cached(DELETE)?
                .execute(params![key.0, key.1, millis(id.timestamp()), id.as_bytes()])?;
            db.prepare_cached(EMPTY_EDITS)?.execute(params![key.0, key.1])?;
            Ok(Event { id, kind })
        }
    }
}

#[async_trait]
impl MessageStore for SqliteStore {
    async fn append(&self, batch: Vec<NewMessage>) -> Vec<Result<Appended>> {
        let count = batch.len();
        if count == 0 {
            return Vec::new();
        }
        let ids = std::sync::Arc::clone(&self.ids);
        // No savepoint: each message is one statement, and one that fails leaves nothing.
        let results = self
            .engine
            .write_statements(count, move |db| Ok(append::append(db, &mut ids.lock(), batch)))
            .await;
        results.unwrap_or_else(|error: Error| vec![Err(error); count])
    }

    async fn change(&self, wanted: Change) -> Result<Event> {
        let ids = std::sync::Arc::clone(&self.ids);
        self.engine.write(move |db| change(db, &mut ids.lock(), wanted)).await
    }

    async fn message(&self, room: RoomId, id: EventId) -> Result<Option<Message>> {
        self.engine.read(move |db| one(db, room, id)).await
    }

    async fn find_message(&self, id: EventId) -> Result<Option<Message>> {
        self.engine
            .read(move |db| {
                let mut statement = db.prepare_cached(BY_ID)?;
                let mut rows = statement.query([id.as_bytes()])?;
                Ok(rows.next()?.map(rows::message).transpose()?)
            })
            .await
    }

    async fn page(&self, room: RoomId, range: Range, limit: usize) -> Result<Page> {
        self.engine
            .read_as(ReadKind::MessageRange, move |db| page(db, room, range, limit))
            .await
    }

    async fn events(&self, room: RoomId, after: EventId, limit: usize) -> Result<Vec<Event>> {
        self.engine
            .read_as(ReadKind::MessageRange, move |db| events(db, room, after, limit))
            .await
    }

    async fn newest(&self, room: RoomId) -> Result<Option<EventId>> {
        self.engine.read(move |db| newest(db, room)).await
    }

    async fn unread(&self, room: RoomId, user: UserId, marker: Option<EventId>) -> Result<Unread> {
        self.engine.read(move |db| unread(db, room, user, marker)).await
    }
}
