//! Filling the store in bulk with messages that have their ids already: for load tests and imports.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::rows::{mentions_blob, millis};
use super::{Ids, SqliteStore, append};
use crate::limits;
use crate::model::{EventId, Message};
use crate::store::Result;

const INSERT: &str = "INSERT INTO messages
    (room_id, id, author_id, author_name, deleted_at, edited_at, last_event, reply_to, mentions, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (room_id, id) DO NOTHING";

impl SqliteStore {
    /// Stores messages as they are, with their ids, a few thousand to a transaction; ids that exist are left as they
    /// are. Answers how many were new. Ascending ids go in fastest. Later appends get greater ids than all of them, so
    /// an id from the future would drag the clock there: give none.
    ///
    /// # Errors
    /// As for any write; what was stored before the error stays.
    pub async fn seed_messages(&self, messages: Vec<Message>) -> Result<u64> {
        let mut stored = 0;
        let mut messages = messages.into_iter();
        loop {
            let some: Vec<_> = messages.by_ref().take(limits::SEED_ROWS_PER_WRITE).collect();
            if some.is_empty() {
                return Ok(stored);
            }
            let ids = Arc::clone(&self.ids);
            stored += self.engine.write(move |db| seed(db, &mut ids.lock(), &some)).await?;
        }
    }
}

fn seed(db: &Connection, ids: &mut Ids, messages: &[Message]) -> Result<u64> {
    let before = append::count(db)?;
    // Ids below the mark of the count would be missed by it, so the mark moves to the greatest id with them.
    let mut stored = 0;
    let mut insert = db.prepare_cached(INSERT)?;
    for message in messages {
        ids.observe(message.id);
        stored += insert.execute(params![
            message.room.as_bytes(),
            message.id.as_bytes(),
            message.author.id.as_bytes(),
            message.author.name.as_str(),
            message.deleted_at.map(millis),
            message.edited_at.map(millis),
            message.last_event.as_ref().map(EventId::as_bytes),
            message.reply_to.as_ref().map(EventId::as_bytes),
            mentions_blob(&message.mentions),
            message.body,
        ])? as u64;
    }
    append::set_count(db, before + stored, ids.greatest)?;
    Ok(stored)
}
