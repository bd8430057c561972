//! Reading messages and events. No statement here scans: each names the partitions it looks into.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::ScyllaStore;
use super::append::{HOUR_SHARDS, hour_of};
use super::rows::{BEGINNING, END, EventRow, MessageRow, cql, event_id, limit, mentions, messages, room_id, start};
use super::walk::Direction;
use crate::limits;
use crate::model::{Change, Event, EventId, EventKind, Message, NewMessage, RoomId, UserId};
use crate::store::{Appended, Error, MessageStore, Page, Range, Result, Unread};

/// Messages looked up by id in one statement.
const IDS_AT_ONCE: usize = 100;
/// Reads of one request that run side by side.
const READS_AT_ONCE: usize = 16;
/// Rows looked at in one bite of counting what is unread.
const UNREAD_BITE: usize = 200;

type UnreadRow = (Uuid, Option<Uuid>, Option<CqlTimestamp>, Option<Vec<u8>>);

impl ScyllaStore {
    /// A message of a bucket.
    pub(super) async fn message_in(&self, room: RoomId, bucket: u64, id: EventId) -> Result<Option<Message>> {
        let values = (cql(room.as_bytes()), start(bucket), cql(id.as_bytes()));
        let found: Option<MessageRow> = self.cql.first(&self.cql.statements.message_one, values).await?;
        let Some(message) = found.map(|row| row.message(room)).transpose()?.flatten() else {
            return Ok(None);
        };
        self.clock.observe(message.last_event.unwrap_or(id).max(id));
        Ok(Some(message))
    }

    /// A message, and the bucket that it is in.
    pub(super) async fn locate(&self, room: RoomId, id: EventId) -> Result<Option<(u64, Message)>> {
        let index = self.index_for_reads(room).await?;
        for bucket in index.covering(id, id).iter().rev() {
            if let Some(message) = self.message_in(room, bucket.start, id).await? {
                return Ok(Some((bucket.start, message)));
            }
        }
        Ok(None)
    }

    /// The messages with these ids, as far as they exist.
    pub(super) async fn messages_by_id(&self, room: RoomId, ids: Vec<EventId>) -> Result<HashMap<EventId, Message>> {
        let index = self.index_for_reads(room).await?;
        let mut by_bucket: HashMap<u64, Vec<Uuid>> = HashMap::new();
        for id in ids {
            for bucket in index.covering(id, id) {
                by_bucket.entry(bucket.start).or_default().push(cql(id.as_bytes()));
            }
        }
        let asked = by_bucket.into_iter().flat_map(|(bucket, mut ids)| {
            ids.sort_unstable();
            ids.dedup();
            let chunks: Vec<_> = ids.chunks(IDS_AT_ONCE).map(<[Uuid]>::to_vec).collect();
            chunks.into_iter().map(move |ids| (bucket, ids))
        });
        let found: Vec<Vec<MessageRow>> = stream::iter(asked)
            .map(|(bucket, ids)| async move {
                let values = (cql(room.as_bytes()), start(bucket), ids);
                self.cql.rows(&self.cql.statements.messages_in, values).await
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        let found = messages(found.into_iter().flatten().collect(), room)?;
        Ok(found.into_iter().map(|message| (message.id, message)).collect())
    }

    /// At most `wanted` edits, deletions and late messages above a position, in order; fewer only if there are no more.
    async fn changes(&self, room: RoomId, after: EventId, wanted: usize) -> Result<Vec<Event>> {
        // Older ones have expired, so their partitions are not worth a look.
        let mut after = after.max(self.oldest_event());
        let mut events = Vec::new();
        loop {
            let rows = self.change_rows(room, after, wanted).await?;
            let last = rows.last().map(|row| event_id(row.id));
            let complete = rows.len() < wanted;
            events.extend(self.told(room, rows).await?);
            match last {
                Some(last) if !complete && events.len() < wanted => after = last,
                _ => return Ok(events),
            }
        }
    }

    fn oldest_event(&self) -> EventId {
        let kept = std::time::Duration::from_secs(limits::EVENT_DAYS_MAX * 24 * 60 * 60);
        EventId::floor_of(self.clock.now().minus(kept))
    }

    async fn change_rows(&self, room: RoomId, after: EventId, wanted: usize) -> Result<Vec<EventRow>> {
        let index = self.index_for_reads(room).await?;
        let buckets = index.covering(after, self.no_later_than(END));
        let mut rows: Vec<EventRow> = Vec::new();
        for (nth, bucket) in buckets.iter().enumerate() {
            let key = (cql(room.as_bytes()), start(bucket.start));
            let values = (key.0, key.1, cql(after.as_bytes()), limit(wanted));
            let found: Vec<EventRow> = self.cql.rows(&self.cql.statements.events_up, values).await?;
            rows.extend(found);
            rows.sort_unstable_by_key(|row| event_id(row.id));
            let last = rows.get(wanted - 1).map(|row| event_id(row.id).timestamp().millis());
            let next = buckets.get(nth + 1).map(|next| next.start);
            if last.is_some_and(|last| next.is_none_or(|next| last < next)) {
                break;
            }
        }
        rows.truncate(wanted);
        Ok(rows)
    }

    /// What rows of events tell, given the present state of their messages. Kinds that a later version has added are
    /// passed over, and so is what concerns a message that never landed.
    async fn told(&self, room: RoomId, rows: Vec<EventRow>) -> Result<Vec<Event>> {
        let wanted = rows.iter().filter_map(|row| row.message_id.map(event_id)).collect();
        let present = self.messages_by_id(room, wanted).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let id = event_id(row.id);
            self.clock.observe(id);
            let Some(message) = row.message_id.and_then(|id| present.get(&event_id(id))) else {
                continue;
            };
            let mut message = message.clone();
            let kind = match row.kind.as_deref() {
                Some("edited") => {
                    // An edit tells the text as of that edit, except that a text deleted since is told nowhere.
                    if message.deleted_at.is_none() {
                        message.body = row.body.unwrap_or_default();
                        message.mentions = mentions(row.mentions.as_deref())?;
                    }
                    message.edited_at = Some(id.timestamp());
                    message.last_event = Some(id);
                    EventKind::Edited(message)
                }
                Some("deleted") => EventKind::Deleted { message: message.id },
                Some("late") => EventKind::Late(message),
                _ => continue,
            };
            events.push(Event { id, kind });
        }
        Ok(events)
    }

    async fn newest_event(&self, room: RoomId, bucket: u64) -> Result<Option<EventId>> {
        let values = (cql(room.as_bytes()), start(bucket), cql(self.oldest_event().as_bytes()));
        let found: Option<(Uuid,)> = self.cql.first(&self.cql.statements.event_newest, values).await?;
        Ok(found.map(|(id,)| event_id(id)))
    }

    async fn newest_message(&self, room: RoomId, bucket: u64) -> Result<Option<EventId>> {
        let values = (cql(room.as_bytes()), start(bucket));
        let found: Option<(Uuid,)> = self.cql.first(&self.cql.statements.message_newest, values).await?;
        Ok(found.map(|(id,)| event_id(id)))
    }

    async fn greatest(&self, room: RoomId) -> Result<Option<EventId>> {
        let index = self.index_for_reads(room).await?;
        let buckets = index.covering(BEGINNING, self.no_later_than(END));
        let mut greatest = None;
        for (nth, bucket) in buckets.iter().enumerate().rev() {
            let (message, event) = tokio::try_join!(
                self.newest_message(room, bucket.start),
                self.newest_event(room, bucket.start)
            )?;
            greatest = greatest.max(message).max(event);
            let before = nth.checked_sub(1).map(|before| buckets[before].end);
            if let Some(found) = greatest
                && before.is_none_or(|end| found.timestamp().millis() >= end)
            {
                break;
            }
        }
        if let Some(id) = greatest {
            self.clock.observe(id);
        }
        Ok(greatest)
    }

    async fn count_unread(&self, room: RoomId, user: UserId, marker: Option<EventId>) -> Result<Unread> {
        let marker = marker.unwrap_or(BEGINNING);
        let index = self.index_for_reads(room).await?;
        let buckets = index.covering(marker, self.no_later_than(END));
        let (mut unread, mut seen) = (Unread::default(), 0);
        for bucket in buckets.iter().rev() {
            let mut below = END;
            loop {
                let bite = UNREAD_BITE.min(limits::UNREAD_SCAN_MAX - seen);
                let (key, marker) = ((cql(room.as_bytes()), start(bucket.start)), cql(marker.as_bytes()));
                let values = (key.0, key.1, marker, cql(below.as_bytes()), limit(bite));
                let rows: Vec<UnreadRow> = self.cql.rows(&self.cql.statements.unread_down, values).await?;
                seen += rows.len();
                for (_, author, deleted_at, named) in &rows {
                    if author.is_none_or(|author| author == cql(user.as_bytes())) || deleted_at.is_some() {
                        continue;
                    }
                    unread.messages += 1;
                    unread.mentions += u32::from(mentions(named.as_deref())?.contains(&user));
                    if unread.messages as usize >= limits::UNREAD_MAX {
                        return Ok(unread);
                    }
                }
                match rows.last() {
                    Some((last, ..)) if rows.len() == bite && seen < limits::UNREAD_SCAN_MAX => below = event_id(*last),
                    _ => break,
                }
            }
            if seen >= limits::UNREAD_SCAN_MAX {
                break;
            }
        }
        Ok(unread)
    }

    /// Looks in the rooms that spoke in the id's hour; there is no index by id, since it would cost every send a write.
    async fn find_in_hour(&self, id: EventId) -> Result<Option<Message>> {
        let hour = hour_of(id);
        let mut rooms: Vec<(Uuid, i64)> = Vec::new();
        for shard in 0..HOUR_SHARDS {
            let values = (start(hour), shard, limit(limits::HOUR_ROOMS_MAX));
            rooms.extend(
                self.cql
                    .rows::<(Uuid, i64)>(&self.cql.statements.hour_rooms, values)
                    .await?,
            );
            if rooms.len() > limits::HOUR_ROOMS_MAX {
                return Err(Error::Refused(
                    "too many rooms spoke in that hour to search all of them: look the message up in its room".into(),
                ));
            }
        }
        let mut looked = stream::iter(rooms)
            .map(|(room, bucket)| async move {
                self.message_in(room_id(room), u64::try_from(bucket).unwrap_or_default(), id)
                    .await
            })
            .buffer_unordered(READS_AT_ONCE);
        while let Some(found) = looked.next().await {
            if let Some(message) = found? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl MessageStore for ScyllaStore {
    async fn append(&self, batch: Vec<NewMessage>) -> Vec<Result<Appended>> {
        let count = batch.len();
        match self.me() {
            Ok(me) => me.append_all(batch).await,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn change(&self, change: Change) -> Result<Event> {
        self.change_message(change).await
    }

    async fn message(&self, room: RoomId, id: EventId) -> Result<Option<Message>> {
        Ok(self.locate(room, id).await?.map(|(_, message)| message))
    }

    async fn find_message(&self, id: EventId) -> Result<Option<Message>> {
        self.find_in_hour(id).await
    }

    async fn page(&self, room: RoomId, range: Range, limit: usize) -> Result<Page> {
        let (bounds, direction) = match range {
            Range::Latest => ((BEGINNING, END), Direction::Down),
            Range::Before(id) => ((BEGINNING, id), Direction::Down),
            Range::After(id) => ((id, END), Direction::Up),
            Range::Between(from, to) => ((from, to), Direction::Up),
        };
        // One more than asked tells whether there is more.
        let mut messages = self.walk(room, bounds, direction, limit.saturating_add(1)).await?;
        let has_more = messages.len() > limit;
        messages.truncate(limit);
        if direction == Direction::Down {
            messages.reverse();
        }
        Ok(Page { messages, has_more })
    }

    async fn events(&self, room: RoomId, after: EventId, limit: usize) -> Result<Vec<Event>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (said, mut events) = tokio::try_join!(
            self.walk(room, (after, END), Direction::Up, limit),
            self.changes(room, after, limit)
        )?;
        events.extend(said.into_iter().map(|message| Event {
            id: message.id,
            kind: EventKind::Message(message),
        }));
        events.sort_unstable_by_key(|event| event.id);
        events.truncate(limit);
        Ok(events)
    }

    async fn newest(&self, room: RoomId) -> Result<Option<EventId>> {
        self.greatest(room).await
    }

    async fn unread(&self, room: RoomId, user: UserId, marker: Option<EventId>) -> Result<Unread> {
        self.count_unread(room, user, marker).await
    }
}
