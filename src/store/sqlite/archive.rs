//! A database file as an archive, and back. Reads one consistent snapshot, also beside a running server; writes a whole
//! new file or none.

mod insert;

use std::io::{BufRead, Write};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior};

use super::append;
use super::rows;
use crate::model::{EventId, Timestamp, UserId};
use crate::store::archive::{Error, Reader, Record, Writer};

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.to_string())
    }
}

type Got = rusqlite::Result<Record>;
type Table = (&'static str, fn(&Row<'_>) -> Got);

/// Each kind of record with its query, in the archive's order.
const TABLES: [Table; 9] = [
    (
        "SELECT id, name, password_hash, superuser, disabled, created_at, last_seen FROM users ORDER BY id",
        user,
    ),
    (
        "SELECT code, by_id, uses_left, expires_at FROM invites ORDER BY code",
        invite,
    ),
    (
        "SELECT id, name, title, kind, pair_low, pair_high, created_at, archived, deleted FROM rooms ORDER BY id",
        room,
    ),
    (
        "SELECT room_id, user_id, role, joined_at FROM members ORDER BY room_id, user_id",
        member,
    ),
    (
        "SELECT room_id, user_id, by_id, at FROM bans ORDER BY room_id, user_id",
        ban,
    ),
    (
        "SELECT room_id, user_id, id FROM read_markers ORDER BY user_id, room_id",
        marker,
    ),
    (
        "SELECT room_id, id, author_id, author_name, body, reply_to, nonce, mentions, edited_at, deleted_at, last_event
         FROM messages ORDER BY room_id, id",
        message,
    ),
    (
        "SELECT room_id, id, kind, message_id, by_id, mentions, body FROM room_events ORDER BY room_id, id",
        event,
    ),
    (
        "SELECT id, actor_id, actor_name, action, target, detail FROM audit ORDER BY id",
        audit,
    ),
];

/// Writes everything in the database at `path`; answers how many records that is, and what they were written to.
/// Blocks on the disk.
///
/// # Errors
/// [`Error`] if the file can't be read or the archive can't be written.
pub fn export<W: Write>(path: &Path, to: W, now: Timestamp) -> Result<(u64, W), Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.pragma_update(None, "query_only", true)?;
    // One read transaction: what a running server commits meanwhile is not seen by any of the queries.
    let snapshot = db.transaction()?;
    let mut writer = Writer::begin(to, now)?;
    for (sql, record) in TABLES {
        let mut statement = snapshot.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            writer.put(&record(row)?)?;
        }
    }
    writer.finish()
}

/// Reads an archive into the database at `path`, which has to be empty. All of it is stored, or nothing. Blocks on the
/// disk.
///
/// # Errors
/// [`Error`] if the archive is not whole, or the store is not empty.
pub fn import<R: BufRead>(path: &Path, from: R) -> Result<u64, Error> {
    let mut reader = Reader::begin(from)?;
    let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let whole = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let held = whole.query_row("SELECT 1 FROM users UNION SELECT 1 FROM rooms LIMIT 1", [], |_| Ok(()));
    if held.optional()?.is_some() {
        return Err(Error::Store(format!(
            "{} already holds users or rooms; an archive is read into an empty store only: choose another --data-dir",
            path.display()
        )));
    }
    let (mut records, mut messages, mut greatest) = (0, 0, EventId::new(0, 0, 0));
    while let Some(record) = reader.read()? {
        if let Record::Message { id, .. } = &record {
            messages += 1;
            greatest = greatest.max(*id);
        }
        insert::record(&whole, &record).map_err(|error| Error::Line {
            line: reader.line(),
            why: error.to_string(),
        })?;
        records += 1;
    }
    append::set_count(&whole, messages, greatest)?;
    whole.commit()?;
    Ok(records)
}

fn user(row: &Row<'_>) -> Got {
    Ok(Record::User {
        id: rows::user_id(row, 0)?,
        name: rows::name(row, 1)?,
        password_hash: row.get(2)?,
        superuser: row.get(3)?,
        disabled: row.get(4)?,
        created_at: rows::timestamp(row, 5)?,
        last_seen: rows::optional_timestamp(row, 6)?,
    })
}

fn invite(row: &Row<'_>) -> Got {
    Ok(Record::Invite {
        code: row.get(0)?,
        by: rows::user_id(row, 1)?,
        uses_left: row.get(2)?,
        expires_at: rows::timestamp(row, 3)?,
    })
}

fn room(row: &Row<'_>) -> Got {
    let room = rows::room(row)?;
    Ok(Record::Room {
        id: room.id,
        name: room.name,
        title: room.title,
        kind: room.kind,
        pair: room.pair,
        created_at: room.created_at,
        archived: room.archived,
        deleted: room.deleted,
    })
}

fn member(row: &Row<'_>) -> Got {
    Ok(Record::Member {
        room: rows::room_id(row, 0)?,
        user: rows::user_id(row, 1)?,
        role: rows::role(row, 2)?,
        joined_at: rows::timestamp(row, 3)?,
    })
}

fn ban(row: &Row<'_>) -> Got {
    Ok(Record::Ban {
        room: rows::room_id(row, 0)?,
        user: rows::user_id(row, 1)?,
        by: rows::user_id(row, 2)?,
        at: rows::timestamp(row, 3)?,
    })
}

fn marker(row: &Row<'_>) -> Got {
    Ok(Record::Marker {
        room: rows::room_id(row, 0)?,
        user: rows::user_id(row, 1)?,
        id: rows::event_id(row, 2)?,
    })
}

fn message(row: &Row<'_>) -> Got {
    Ok(Record::Message {
        room: rows::room_id(row, 0)?,
        id: rows::event_id(row, 1)?,
        author: rows::user_id(row, 2)?,
        author_name: rows::name(row, 3)?,
        body: row.get(4)?,
        reply_to: rows::optional_event_id(row, 5)?,
        nonce: row.get(6)?,
        mentions: rows::mentions(row, 7)?,
        edited_at: rows::optional_timestamp(row, 8)?,
        deleted_at: rows::optional_timestamp(row, 9)?,
        last_event: rows::optional_event_id(row, 10)?,
    })
}

fn event(row: &Row<'_>) -> Got {
    Ok(Record::Event {
        room: rows::room_id(row, 0)?,
        id: rows::event_id(row, 1)?,
        kind: row.get(2)?,
        message: rows::event_id(row, 3)?,
        by: optional_user_id(row, 4)?,
        mentions: rows::mentions(row, 5)?,
        body: row.get(6)?,
    })
}

fn audit(row: &Row<'_>) -> Got {
    Ok(Record::Audit {
        id: rows::event_id(row, 0)?,
        actor: optional_user_id(row, 1)?,
        actor_name: row.get(2)?,
        action: row.get(3)?,
        target: row.get(4)?,
        detail: row.get(5)?,
    })
}

fn optional_user_id(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UserId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(UserId::from_bytes))
}
