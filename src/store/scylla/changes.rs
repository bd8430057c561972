//! Edits and deletions: a claim on the write timestamp, then the event, then the message's row, all plain. The event's
//! id gives the row's write timestamp, so whoever comes last in the order of events wins, in whatever order the writes
//! arrive. Two nodes may draw ids of one millisecond and counter; the row would then be decided cell by cell, and could
//! show the text of one change with the mentions of the other. So each change says first which id it takes, and looks
//! who else took one with that timestamp: of two, one sees the other at least, and goes on to a later id.

use scylla::value::MaybeUnset;
use uuid::Uuid;

use super::ScyllaStore;
use super::rows::{cql, event_id, mentions_blob, start, time};
use super::session::after_a_write;
use super::stamp;
use crate::model::{Change, ChangeKind, Event, EventId, EventKind, Message, RoomId};
use crate::store::{Error, Result};

/// How often a change is tried again under a fresh id because it took too long.
const TRIES: u32 = 4;
/// How many ids a change draws until one has a write timestamp of its own.
const CLAIMS: u32 = 8;
/// How far, in steps of the counter, a change goes on from a timestamp that others have claimed too: at random, since
/// both may do so.
const STEPS: u16 = 256;

impl ScyllaStore {
    pub(super) async fn change_message(&self, change: Change) -> Result<Event> {
        let (bucket, message) = self.locate(change.room, change.message).await?.ok_or(Error::NotFound)?;
        if message.deleted_at.is_some() {
            return match (&change.kind, message.last_event) {
                (ChangeKind::Edit { .. }, _) => Err(Error::NotFound),
                (ChangeKind::Delete, Some(id)) => Ok(Event {
                    id,
                    kind: EventKind::Deleted { message: message.id },
                }),
                (ChangeKind::Delete, None) => Err(Error::Damaged(format!(
                    "the deleted message {} has no event",
                    message.id
                ))),
            };
        }
        let mut wrote = false;
        for _ in 0..TRIES {
            let begun = self.begin();
            // Above what the message holds already, since reading it moved the clock.
            let event = match self.claim(&change).await {
                Ok((id, place)) => self.write_change(&change, &message, bucket, id, place).await,
                Err(error) => Err(error),
            };
            let event = if wrote { event.map_err(after_a_write)? } else { event? };
            wrote = true;
            if !self.is_late(begun) {
                return Ok(event);
            }
            // Readers may have passed its place: it is told again at a later one.
            self.cql
                .counters
                .late
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Err(Error::UnknownOutcome(
            "the store is so slow that the change was stored without being announced".into(),
        ))
    }

    /// An id whose write timestamp no other change of the message has, and the bucket that the event goes to.
    pub(super) async fn claim(&self, change: &Change) -> Result<(EventId, u64)> {
        let (room, message) = (cql(change.room.as_bytes()), cql(change.message.as_bytes()));
        let index = self.index_for_writes(change.room).await?;
        for _ in 0..CLAIMS {
            let id = self.clock.next(rand::random());
            let place = index.place(id);
            // A deletion has no text that a later one would have to take away.
            let text = match change.kind {
                ChangeKind::Edit { .. } => MaybeUnset::Set(start(place)),
                ChangeKind::Delete => MaybeUnset::Unset,
            };
            let values = (room, message, cql(id.as_bytes()), text, stamp::micros(id));
            self.cql.write(&self.cql.statements.edit_insert, values).await?;
            let (least, greatest) = stamp::sharing(id);
            let values = (room, message, cql(least.as_bytes()), cql(greatest.as_bytes()));
            let same: Vec<(Uuid,)> = self.cql.rows(&self.cql.statements.edits_between, values).await?;
            if same.len() == 1 {
                return Ok((id, place));
            }
            let further = (id.counter() + rand::random_range(0..STEPS)).min(EventId::COUNTER_MAX);
            self.clock.observe(EventId::new(id.timestamp().millis(), further, 0));
        }
        Err(Error::Refused(
            "too many changes of this message at once: repeat it".into(),
        ))
    }

    async fn write_change(
        &self,
        change: &Change,
        message: &Message,
        bucket: u64,
        id: EventId,
        place: u64,
    ) -> Result<Event> {
        let kind = match &change.kind {
            ChangeKind::Edit { body, mentions } => {
                self.write_event(change, "edited", place, id, Some((body, mentions_blob(mentions))))
                    .await?;
                self.edit(change, bucket, id, body, mentions_blob(mentions))
                    .await
                    .map_err(after_a_write)?;
                EventKind::Edited(Message {
                    body: body.clone(),
                    mentions: mentions.clone(),
                    edited_at: Some(id.timestamp()),
                    last_event: Some(id),
                    ..message.clone()
                })
            }
            ChangeKind::Delete => {
                self.write_event(change, "deleted", place, id, None).await?;
                self.delete(change, bucket, id).await.map_err(after_a_write)?;
                EventKind::Deleted { message: message.id }
            }
        };
        Ok(Event { id, kind })
    }

    async fn write_event(
        &self,
        change: &Change,
        kind: &str,
        place: u64,
        id: EventId,
        text: Option<(&String, Vec<u8>)>,
    ) -> Result<()> {
        let (body, mentions) = text.map_or((None, None), |(body, mentions)| (Some(body.as_str()), Some(mentions)));
        let values = (
            cql(change.room.as_bytes()),
            start(place),
            cql(id.as_bytes()),
            kind,
            cql(change.message.as_bytes()),
            cql(change.by.as_bytes()),
            MaybeUnset::from_option(mentions),
            MaybeUnset::from_option(body),
            stamp::micros(id),
        );
        self.cql.write(&self.cql.statements.event_insert, values).await
    }

    async fn edit(&self, change: &Change, bucket: u64, id: EventId, body: &str, mentions: Vec<u8>) -> Result<()> {
        let row = (
            stamp::bound(stamp::of_event(id)),
            body,
            mentions,
            time(id.timestamp()),
            cql(id.as_bytes()),
            cql(change.room.as_bytes()),
            start(bucket),
            cql(change.message.as_bytes()),
        );
        self.cql.write(&self.cql.statements.message_edit, row).await
    }

    async fn delete(&self, change: &Change, bucket: u64, id: EventId) -> Result<()> {
        let row = (
            stamp::bound(stamp::of_event(id)),
            "",
            Vec::<u8>::new(),
            time(id.timestamp()),
            cql(id.as_bytes()),
            cql(change.room.as_bytes()),
            start(bucket),
            cql(change.message.as_bytes()),
        );
        self.cql.write(&self.cql.statements.message_delete, row).await?;
        self.empty_edits(change.room, change.message, id).await
    }

    /// Takes the text out of the message's edits. Reads and exports hide it anyway; this lets the disks forget it, where
    /// repairs run as cql/README.md says. An edit that got no further than its claim has no row, and must not get one by
    /// this: the newest event would be one that never was.
    async fn empty_edits(&self, room: RoomId, message: EventId, deletion: EventId) -> Result<()> {
        let key = (cql(room.as_bytes()), cql(message.as_bytes()));
        let edits: Vec<(Uuid, Option<i64>)> = self.cql.rows(&self.cql.statements.edits_of, key).await?;
        for (edit, bucket) in edits {
            let Some(bucket) = bucket else { continue };
            // An edit of a node that was ahead is emptied too.
            let stamp = stamp::micros(event_id(edit).max(deletion)) + 1;
            let values = (stamp, key.0, bucket, edit);
            self.cql.write(&self.cql.statements.event_empty, values).await?;
        }
        Ok(())
    }
}
