//! Appending messages: the hot path. One statement per message; the unique index on (author, nonce) is all it reads.

use rusqlite::{Connection, params};

use super::rows::{self, integer, message_columns};
use super::{Ids, now};
use crate::limits;
use crate::model::id::attempt_hash;
use crate::model::{EventId, Message, NewMessage};
use crate::store::{Appended, Error, Result};

const INSERT: &str = "INSERT INTO messages (room_id, id, author_id, author_name, nonce, reply_to, mentions, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (author_id, nonce) WHERE nonce IS NOT NULL DO NOTHING";
const BY_NONCE: &str = concat!(
    "SELECT ",
    message_columns!(),
    " FROM messages m WHERE m.author_id = ?1 AND m.nonce = ?2 AND m.nonce IS NOT NULL"
);
const EXISTS: &str = "SELECT 1 FROM messages WHERE room_id = ?1 AND id = ?2";
const FORGET_NONCE: &str = "UPDATE messages SET nonce = NULL WHERE room_id = ?1 AND id = ?2";
const NONCES: &str = "SELECT author_id, nonce, room_id, id FROM messages INDEXED BY messages_by_nonce
    WHERE nonce IS NOT NULL AND (author_id, nonce) > (?1, ?2) ORDER BY author_id, nonce LIMIT ?3";
const COUNT: &str = "SELECT c.count + (SELECT count(*) FROM messages m WHERE m.id > c.mark) FROM message_count c";
const MOVE_MARK: &str = "UPDATE message_count SET count = ?1, mark = ?2";

/// What appending and its housekeeping run, for the test of their query plans.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 7] = [INSERT, BY_NONCE, EXISTS, FORGET_NONCE, NONCES, COUNT, MOVE_MARK];

/// Messages between two bites of housekeeping.
const SWEEP_EVERY: usize = 256;
/// Nonces looked at in one bite: more than were added since the last, so that the walk round the index keeps up.
const SWEEP_BITE: usize = 512;

/// Where the walk over the nonces stands. It goes round the index for ever, in small bites between appends, and
/// forgets what is too old; correctness does not depend on it, since an old nonce that is met is forgotten at once.
#[derive(Debug, Default)]
pub(super) struct NonceSweep {
    author: Vec<u8>,
    nonce: String,
    appended: usize,
}

/// Stores messages in order within the open transaction.
pub(super) fn append(db: &Connection, ids: &mut Ids, batch: Vec<NewMessage>) -> Vec<Result<Appended>> {
    ids.sweep.appended += batch.len();
    let results = batch.into_iter().map(|message| append_one(db, ids, message)).collect();
    if ids.sweep.appended >= SWEEP_EVERY {
        ids.sweep.appended = 0;
        // Housekeeping that fails is nobody's send: it is tried again at the next bite.
        if let Err(error) = sweep(db, ids).and_then(|()| move_mark(db, ids.greatest)) {
            tracing::warn!(%error, "old nonces can't be forgotten now");
        }
    }
    results
}

fn append_one(db: &Connection, ids: &mut Ids, new: NewMessage) -> Result<Appended> {
    if let Some(cause) = new.reply_to
        && cause > ids.greatest
        && db
            .prepare_cached(EXISTS)?
            .exists(params![new.room.as_bytes(), cause.as_bytes()])?
    {
        ids.observe(cause);
    }
    let hash = match &new.nonce {
        Some(nonce) => attempt_hash(new.author.id, new.room, nonce.as_str().as_bytes(), &new.body),
        None => rand::random(),
    };
    let id = ids.next(hash);
    if insert(db, id, &new)? {
        return Ok(Appended::fresh(new.stored_as(id)));
    }
    let Some(earlier) = by_nonce(db, &new)? else {
        return Err(Error::Damaged(
            "a nonce is taken, but its message can't be found".into(),
        ));
    };
    if now(ids).since(earlier.at()) >= limits::NONCE_KEPT {
        forget_nonce(db, &earlier)?;
        return match insert(db, id, &new)? {
            true => Ok(Appended::fresh(new.stored_as(id))),
            false => Err(Error::Damaged("a nonce is taken, but was just forgotten".into())),
        };
    }
    // The body may have been edited since, so it is the hash in the id that tells what the first attempt said.
    if earlier.room == new.room && earlier.id.attempt_hash() == id.attempt_hash() {
        Ok(Appended::repeated(earlier))
    } else {
        Err(Error::NonceReused)
    }
}

/// Inserts a message; false if its nonce is taken.
fn insert(db: &Connection, id: EventId, new: &NewMessage) -> rusqlite::Result<bool> {
    let inserted = db.prepare_cached(INSERT)?.execute(params![
        new.room.as_bytes(),
        id.as_bytes(),
        new.author.id.as_bytes(),
        new.author.name.as_str(),
        new.nonce.as_ref().map(crate::model::Nonce::as_str),
        new.reply_to.as_ref().map(EventId::as_bytes),
        rows::mentions_blob(&new.mentions),
        new.body,
    ])?;
    Ok(inserted == 1)
}

fn by_nonce(db: &Connection, new: &NewMessage) -> rusqlite::Result<Option<Message>> {
    let nonce = new.nonce.as_ref().map(crate::model::Nonce::as_str);
    let mut statement = db.prepare_cached(BY_NONCE)?;
    let mut rows = statement.query(params![new.author.id.as_bytes(), nonce])?;
    rows.next()?.map(rows::message).transpose()
}

fn forget_nonce(db: &Connection, message: &Message) -> rusqlite::Result<()> {
    db.prepare_cached(FORGET_NONCE)?
        .execute(params![message.room.as_bytes(), message.id.as_bytes()])
        .map(drop)
}

/// One bite of the walk over the nonces.
fn sweep(db: &Connection, ids: &mut Ids) -> rusqlite::Result<()> {
    let oldest = EventId::floor_of(now(ids).minus(limits::NONCE_KEPT));
    let mut expired = Vec::new();
    let mut seen = 0;
    {
        let mut statement = db.prepare_cached(NONCES)?;
        let mut rows = statement.query(params![ids.sweep.author, ids.sweep.nonce, integer(SWEEP_BITE)])?;
        while let Some(row) = rows.next()? {
            seen += 1;
            if seen == SWEEP_BITE {
                ids.sweep.author = row.get(0)?;
                ids.sweep.nonce = row.get(1)?;
            }
            let id = rows::event_id(row, 3)?;
            if id < oldest {
                expired.push((rows::room_id(row, 2)?, id));
            }
        }
    }
    if seen < SWEEP_BITE {
        ids.sweep.author.clear();
        ids.sweep.nonce.clear();
    }
    let mut forget = db.prepare_cached(FORGET_NONCE)?;
    for (room, id) in expired {
        forget.execute(params![room.as_bytes(), id.as_bytes()])?;
    }
    Ok(())
}

/// How many messages there are: the count up to the mark, and the few above it.
pub(super) fn count(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached(COUNT)?.query_row([], |row| rows::unsigned(row, 0))
}

/// Moves the mark of the count to the greatest id, so that counting stays cheap.
fn move_mark(db: &Connection, greatest: EventId) -> rusqlite::Result<()> {
    set_count(db, count(db)?, greatest)
}

/// Notes how many messages there are, none of them above `greatest`.
pub(super) fn set_count(db: &Connection, count: u64, greatest: EventId) -> rusqlite::Result<()> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    db.prepare_cached(MOVE_MARK)?
        .execute(params![count, greatest.as_bytes()])
        .map(drop)
}
