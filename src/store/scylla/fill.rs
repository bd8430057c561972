//! Filling the store in bulk with messages that have their ids already: for load tests and imports. Buckets are begun
//! where they get full; ascending ids give the best ones.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::value::MaybeUnset;
use uuid::Uuid;

use super::ScyllaStore;
use super::append::{hour_of, shard_of};
use super::buckets::Starts;
use super::rows::{BEGINNING, END, cql, mentions_blob, start, time};
use super::stamp;
use crate::limits;
use crate::model::{EventId, Message, Nonce, RoomId};
use crate::store::Result;

/// Writes that are under way at once.
pub(super) const WRITES_AT_ONCE: usize = 64;

/// The rooms that are being filled.
#[derive(Default)]
pub(super) struct Filling(HashMap<RoomId, Room>);

struct Room {
    starts: Starts,
    /// The newest bucket, and how many rows it holds.
    newest: u64,
    rows: u64,
    greatest: EventId,
    hour: Option<(u64, u64)>,
}

impl Filling {
    /// The bucket that an event belongs to, once its room's messages are in.
    pub(super) fn bucket_of(&self, room: RoomId, id: EventId) -> u64 {
        let known = self.0.get(&room);
        known.map_or(0, |known| known.starts.of(id.timestamp().millis()))
    }
}

/// Where a message goes, and what has to be written besides it.
pub(super) struct Place {
    pub(super) bucket: u64,
    begun: Option<u64>,
    hour: Option<u64>,
}

impl Room {
    fn place(&mut self, id: EventId, most: u64) -> Place {
        let at = id.timestamp().millis();
        // A bucket begins in a millisecond that holds no earlier message, so that all of it lies on one side.
        let full = self.rows >= most && at > self.greatest.timestamp().millis() && at > self.newest;
        let begun = full.then_some(at);
        if let Some(begun) = begun {
            self.starts.extend(&[begun]);
            (self.newest, self.rows) = (begun, 0);
        }
        let bucket = self.starts.of(at);
        self.rows += u64::from(bucket == self.newest);
        self.greatest = self.greatest.max(id);
        let hour = Some((hour_of(id), bucket)).filter(|hour| self.hour != Some(*hour));
        self.hour = hour.or(self.hour);
        Place {
            bucket,
            begun,
            hour: hour.map(|(hour, _)| hour),
        }
    }
}

impl ScyllaStore {
    /// Stores messages as they are, with their ids; ids that exist are written again. Answers how many were written.
    /// Later ids are greater than all of them, so an id from the future would drag the clock there: give none. Buckets
    /// begin in the past here, which nodes that know these rooms already do not expect: fill rooms that nobody is in.
    ///
    /// # Errors
    /// As for any write; what was stored before the error stays.
    pub async fn seed_messages(&self, messages: Vec<Message>) -> Result<u64> {
        let mut filling = Filling::default();
        let mut placed = Vec::with_capacity(messages.len());
        for message in messages {
            let place = self.place(&mut filling, message.room, message.id).await?;
            placed.push((message, place));
        }
        let count = placed.len() as u64;
        stream::iter(placed)
            .map(|(message, place)| async move { self.restore(&message, None, &place).await })
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(count)
    }

    /// Where a message goes that is put in as it is.
    pub(super) async fn place(&self, filling: &mut Filling, room: RoomId, id: EventId) -> Result<Place> {
        self.clock.observe(id);
        if let Some(known) = filling.0.get_mut(&room) {
            return Ok(known.place(id, self.bucket_limits.rows));
        }
        let found: Vec<(i64,)> = self
            .cql
            .rows(&self.cql.statements.starts, (cql(room.as_bytes()),))
            .await?;
        let starts: Vec<u64> = found
            .into_iter()
            .filter_map(|(start,)| u64::try_from(start).ok())
            .collect();
        let newest = starts.iter().copied().max().unwrap_or(0);
        let bounds = (cql(BEGINNING.as_bytes()), cql(END.as_bytes()));
        let values = (cql(room.as_bytes()), start(newest), bounds.0, bounds.1);
        let count: Option<(i64,)> = self.cql.first(&self.cql.statements.message_count, values).await?;
        let mut known = Room {
            starts: Starts::new(starts),
            newest,
            rows: count.and_then(|(count,)| u64::try_from(count).ok()).unwrap_or(0),
            greatest: BEGINNING,
            hour: None,
        };
        let place = known.place(id, self.bucket_limits.rows);
        filling.0.insert(room, known);
        Ok(place)
    }

    /// Writes a message in its present state. It loses to whatever changes it later.
    pub(super) async fn restore(&self, message: &Message, nonce: Option<&Nonce>, place: &Place) -> Result<()> {
        let (room, id) = (cql(message.room.as_bytes()), cql(message.id.as_bytes()));
        if let Some(begun) = place.begun {
            let values = (room, start(begun), cql(self.boot.as_bytes()));
            self.cql.write(&self.cql.statements.start_insert, values).await?;
        }
        if let Some(hour) = place.hour {
            let values = (start(hour), shard_of(message.room), room, start(place.bucket));
            self.cql.write(&self.cql.statements.hour_insert, values).await?;
        }
        if let Some(nonce) = nonce.filter(|_| self.clock.now().since(message.at()) < limits::NONCE_KEPT) {
            let author = cql(message.author.id.as_bytes());
            let values = (
                author,
                nonce.as_str(),
                room,
                start(place.bucket),
                id,
                stamp::micros(message.id),
            );
            self.cql.write(&self.cql.statements.send_insert, values).await?;
        }
        let optional = |id: Option<EventId>| MaybeUnset::<Uuid>::from_option(id.map(|id| cql(id.as_bytes())));
        let changed = message.last_event.is_some() || !message.mentions.is_empty();
        let mentions = changed.then(|| mentions_blob(&message.mentions));
        let values = (
            room,
            start(place.bucket),
            id,
            cql(message.author.id.as_bytes()),
            message.author.name.as_str(),
            message.body.as_str(),
            optional(message.reply_to),
            MaybeUnset::from_option(mentions),
            MaybeUnset::from_option(nonce.map(Nonce::as_str)),
            MaybeUnset::from_option(message.edited_at.map(time)),
            MaybeUnset::from_option(message.deleted_at.map(time)),
            optional(message.last_event),
            message.last_event.map_or(stamp::FIRST, stamp::of_event),
        );
        self.cql.write(&self.cql.statements.message_restore, values).await?;
        self.totals.message();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_where_they_are_full_and_between_milliseconds() {
        let mut room = Room {
            starts: Starts::new(Vec::new()),
            newest: 0,
            rows: 0,
            greatest: BEGINNING,
            hour: None,
        };
        let times = [5, 6, 6, 6, 7, 8, 9, 10, 4];
        let mut nth = 0;
        let places = times.map(|at| {
            nth += 1;
            room.place(EventId::new(at, nth, 0), 3)
        });
        assert_eq!(
            places.each_ref().map(|place| place.bucket),
            [0, 0, 0, 0, 7, 7, 7, 10, 0]
        );
        let begun: Vec<u64> = places.iter().filter_map(|place| place.begun).collect();
        assert_eq!(begun, [7, 10]);
        assert_eq!(places.iter().filter(|place| place.hour.is_some()).count(), 4);
    }
}
