//! One node's way to the store: the steps of a cluster's store, over writes that may be slow, silent or refused.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use natter::limits;
use natter::model::clock::SharedClock;
use natter::model::id::attempt_hash;
use natter::model::{Change, ChangeKind, Event, EventId, EventKind, Message, NewMessage, RoomId, UserId};
use natter::store::{Appended, Error, MessageStore, Page, Range, Result, Unread};
use tokio::time::Instant;

use crate::data::{Data, Happened, Write};
use crate::ground::{Ground, pass};

/// How long a node waits for the answer to a write.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a change or a late event is tried until one is on time.
const TRIES: u32 = 4;
/// How long the store takes at most while nothing is wrong, in milliseconds.
const TAKES: u64 = 12;

const BEGINNING: EventId = EventId::new(0, 0, 0);
const END: EventId = EventId::new(u64::MAX, EventId::COUNTER_MAX, u64::MAX);

/// One node's way.
pub struct SimStore {
    pub(crate) ground: Arc<Ground>,
    node: usize,
    /// The node's clock, which gives ids.
    pub clock: Arc<SharedClock>,
}

struct Attempt {
    new: NewMessage,
    hash: u64,
    id: EventId,
    begun: Instant,
}

/// Something of it was written before, so nobody may call it refused.
fn after_a_write(error: Error) -> Error {
    match error {
        Error::Refused(why) => Error::UnknownOutcome(why),
        error => error,
    }
}

impl SimStore {
    /// A node's.
    pub fn new(ground: Arc<Ground>, node: usize, clock: Arc<SharedClock>) -> Self {
        Self { ground, node, clock }
    }

    async fn write(&self, write: Write) -> Result<()> {
        let ground = &self.ground;
        let (away, slow, silent) = {
            let weather = ground.weather.lock();
            let away = weather.store_away.contains(&self.node);
            (away, weather.store_slow, weather.store_silent)
        };
        if away {
            pass(ground.dice(1..=200)).await;
            return Err(Error::Refused("cut off".into()));
        }
        let takes = ground.dice(1..=slow.max(TAKES));
        let takes = if ground.chance(silent) {
            if ground.chance(50) {
                tokio::time::sleep(PATIENCE).await;
                return Err(Error::UnknownOutcome("silent".into()));
            }
            takes + ground.dice(3_000..=12_000)
        } else {
            takes
        };
        let landed = ground.data.lock().send(ground.now() + takes, self.node, write);
        match tokio::time::timeout(PATIENCE, landed).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::UnknownOutcome("not answered in time".into())),
        }
    }

    /// Reads; what is read is on its way back for a while.
    pub(crate) async fn read<T>(&self, what: impl FnOnce(&Data) -> T) -> Result<T> {
        let ground = &self.ground;
        let most = (ground.weather.lock().store_slow / 2).max(TAKES);
        pass(ground.dice(1..=most)).await;
        if ground.weather.lock().store_away.contains(&self.node) {
            return Err(Error::Refused("cut off".into()));
        }
        let found = what(&ground.data.lock());
        pass(ground.dice(1..=most)).await;
        if ground.weather.lock().store_away.contains(&self.node) {
            return Err(Error::Refused("cut off".into()));
        }
        Ok(found)
    }

    fn hash(&self) -> u64 {
        self.ground.dice(0..=u64::MAX)
    }

    fn is_late(&self, begun: Instant) -> bool {
        self.ground.switches.late && begun.elapsed() > limits::LATE_AFTER
    }

    async fn append_one(&self, attempt: Attempt) -> Result<Appended> {
        let Attempt { new, hash, id, begun } = attempt;
        let nonce = new.nonce.as_ref().map(|nonce| nonce.as_str().to_owned());
        if let Some(nonce) = nonce.as_ref().filter(|_| new.retry)
            && let Some((room, earlier)) = self.read(|data| data.used(new.author.id, nonce)).await?
        {
            if room != new.room || earlier.attempt_hash() != EventId::new(0, 0, hash).attempt_hash() {
                return Err(Error::NonceReused);
            }
            return self.repeat(new, earlier).await;
        }
        let note = async {
            match nonce {
                Some(nonce) => self.write(Write::Send(new.author.id, nonce, new.room, id)).await,
                None => Ok(()),
            }
        };
        let (stored, noted) = tokio::join!(self.write(Write::Message(new.clone(), id)), note);
        stored?;
        noted.map_err(after_a_write)?;
        let late = if self.is_late(begun) {
            Some(self.announce_late(new.room, id).await?)
        } else {
            None
        };
        Ok(Appended {
            message: new.stored_as(id),
            fresh: true,
            late,
        })
    }

    async fn repeat(&self, new: NewMessage, earlier: EventId) -> Result<Appended> {
        self.clock.observe(earlier);
        let room = new.room;
        self.write(Write::Message(new.clone(), earlier)).await?;
        let stored = self.message(room, earlier).await.map_err(after_a_write)?;
        let message = stored.unwrap_or_else(|| new.stored_as(earlier));
        let age = self.clock.now().since(earlier.timestamp());
        let late = if self.ground.switches.late && age > limits::LATE_AFTER {
            Some(self.announce_late(room, earlier).await?)
        } else {
            None
        };
        Ok(Appended {
            message,
            fresh: false,
            late,
        })
    }

    async fn announce_late(&self, room: RoomId, message: EventId) -> Result<EventId> {
        for _ in 0..TRIES {
            let begun = Instant::now();
            let id = self.clock.next(self.hash());
            let written = self.write(Write::Event(room, id, Happened::Late(message))).await;
            written.map_err(after_a_write)?;
            if begun.elapsed() <= limits::LATE_AFTER {
                return Ok(id);
            }
        }
        Err(Error::UnknownOutcome("stored without being announced".into()))
    }

    async fn write_change(&self, change: &Change, message: &Message, id: EventId) -> Result<EventKind> {
        let (room, target) = (change.room, change.message);
        Ok(match &change.kind {
            ChangeKind::Edit { body, .. } => {
                let happened = Happened::Edited(target, body.clone());
                self.write(Write::Event(room, id, happened)).await?;
                let edit = Write::Edit(room, target, id, body.clone());
                self.write(edit).await.map_err(after_a_write)?;
                EventKind::Edited(Message {
                    body: body.clone(),
                    edited_at: Some(id.timestamp()),
                    last_event: Some(id),
                    ..message.clone()
                })
            }
            ChangeKind::Delete => {
                self.write(Write::Event(room, id, Happened::Deleted(target))).await?;
                let delete = Write::Delete(room, target, id);
                self.write(delete).await.map_err(after_a_write)?;
                EventKind::Deleted { message: target }
            }
        })
    }

    fn observe(&self, messages: &[Message]) {
        for message in messages {
            self.clock
                .observe(message.last_event.unwrap_or(message.id).max(message.id));
        }
    }
}

#[async_trait]
impl MessageStore for SimStore {
    async fn append(&self, batch: Vec<NewMessage>) -> Vec<Result<Appended>> {
        for new in &batch {
            if let Some(cause) = new.reply_to.filter(|cause| !self.clock.is_past(*cause)) {
                let _ = self.message(new.room, cause).await;
            }
        }
        let attempts = batch.into_iter().map(|new| {
            let hash = match &new.nonce {
                Some(nonce) => attempt_hash(new.author.id, new.room, nonce.as_str().as_bytes(), &new.body),
                None => self.hash(),
            };
            let (begun, id) = (Instant::now(), self.clock.next(hash));
            Attempt { new, hash, id, begun }
        });
        let attempts: Vec<Attempt> = attempts.collect();
        join_all(attempts.into_iter().map(|attempt| self.append_one(attempt))).await
    }

    async fn change(&self, change: Change) -> Result<Event> {
        let message = self
            .message(change.room, change.message)
            .await?
            .ok_or(Error::NotFound)?;
        if message.deleted_at.is_some() {
            return match (&change.kind, message.last_event) {
                (ChangeKind::Delete, Some(id)) => Ok(Event {
                    id,
                    kind: EventKind::Deleted { message: message.id },
                }),
                _ => Err(Error::NotFound),
            };
        }
        let mut wrote = false;
        for _ in 0..TRIES {
            let begun = Instant::now();
            let id = self.clock.next(self.hash());
            let written = self.write_change(&change, &message, id).await;
            let kind = if wrote {
                written.map_err(after_a_write)?
            } else {
                written?
            };
            wrote = true;
            if !self.is_late(begun) {
                return Ok(Event { id, kind });
            }
        }
        Err(Error::UnknownOutcome("stored without being announced".into()))
    }

    async fn message(&self, room: RoomId, id: EventId) -> Result<Option<Message>> {
        let found = self.read(|data| data.message(room, id)).await?;
        self.observe(found.as_slice());
        Ok(found)
    }

    async fn find_message(&self, id: EventId) -> Result<Option<Message>> {
        self.read(|data| data.find(id)).await
    }

    async fn page(&self, room: RoomId, range: Range, limit: usize) -> Result<Page> {
        let (above, below, newest) = match range {
            Range::Latest => (BEGINNING, END, true),
            Range::Before(id) => (BEGINNING, id, true),
            Range::After(id) => (id, END, false),
            Range::Between(from, to) => (from, to, false),
        };
        let mut messages = self.read(|data| data.messages(room, above, below)).await?;
        self.observe(&messages);
        let has_more = messages.len() > limit;
        if newest {
            messages.drain(..messages.len().saturating_sub(limit));
        } else {
            messages.truncate(limit);
        }
        Ok(Page { messages, has_more })
    }

    async fn events(&self, room: RoomId, after: EventId, limit: usize) -> Result<Vec<Event>> {
        let events = self.read(|data| data.events(room, after, limit)).await?;
        for event in &events {
            self.clock.observe(event.id);
        }
        Ok(events)
    }

    async fn newest(&self, room: RoomId) -> Result<Option<EventId>> {
        let newest = self.read(|data| data.newest(room)).await?;
        if let Some(id) = newest {
            self.clock.observe(id);
        }
        Ok(newest)
    }

    async fn unread(&self, _room: RoomId, _user: UserId, _marker: Option<EventId>) -> Result<Unread> {
        unreachable!("nobody asks what is unread")
    }
}
