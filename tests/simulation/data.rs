//! What the store holds, and the writes that are on their way to it: each lands at its own time, whether or not the node
//! that sent it still waits or lives. Whoever wrote last by the order of event ids wins, whatever landed last.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use natter::model::{Author, Event, EventId, EventKind, Message, NewMessage, RoomId, UserId};
use tokio::sync::oneshot;

/// One write.
#[derive(Debug, Clone)]
pub enum Write {
    /// A message.
    Message(NewMessage, EventId),
    /// What a nonce was used for.
    Send(UserId, String, RoomId, EventId),
    /// A line of what happened to messages.
    Event(RoomId, EventId, Happened),
    /// A message's new text.
    Edit(RoomId, EventId, EventId, String),
    /// A message's end.
    Delete(RoomId, EventId, EventId),
}

/// What happened to a message.
#[derive(Debug, Clone)]
pub enum Happened {
    /// It was edited.
    Edited(EventId, String),
    /// It was deleted.
    Deleted(EventId),
    /// It became durable late.
    Late(EventId),
}

/// A message's row: what it was at first, and what was written to it since, in either order.
#[derive(Debug, Clone, Default)]
struct MessageRow {
    first: Option<NewMessage>,
    edit: Option<(EventId, String)>,
    deletion: Option<EventId>,
}

impl MessageRow {
    fn message(&self, id: EventId) -> Option<Message> {
        let first = self.first.as_ref()?;
        let edit = self.edit.as_ref();
        let body = match (self.deletion, edit) {
            (Some(_), _) => String::new(),
            (None, Some((_, body))) => body.clone(),
            (None, None) => first.body.clone(),
        };
        Some(Message {
            room: first.room,
            id,
            author: Author {
                id: first.author.id,
                name: first.author.name.clone(),
            },
            body,
            reply_to: first.reply_to,
            mentions: Vec::new(),
            edited_at: edit.map(|(event, _)| event.timestamp()),
            deleted_at: self.deletion.map(|event| event.timestamp()),
            last_event: self.deletion.max(edit.map(|(event, _)| *event)),
        })
    }
}

struct OnItsWay {
    node: usize,
    write: Write,
    answer: oneshot::Sender<()>,
}

/// What is stored, and what is on its way.
#[derive(Default)]
pub struct Data {
    rows: BTreeMap<(RoomId, EventId), MessageRow>,
    events: BTreeMap<(RoomId, EventId), Happened>,
    sends: BTreeMap<(UserId, String), (RoomId, EventId)>,
    on_their_way: BTreeMap<(u64, u64), OnItsWay>,
    sent: u64,
}

impl Data {
    /// Sends a write off that lands then.
    pub fn send(&mut self, at: u64, node: usize, write: Write) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        self.sent += 1;
        self.on_their_way
            .insert((at, self.sent), OnItsWay { node, write, answer });
        answered
    }

    /// Lands what is due; `told` is asked of each message whether its node lives to hear of it.
    pub fn land(&mut self, now: u64, mut told: impl FnMut(usize) -> bool) {
        while let Some(first) = self.on_their_way.first_entry()
            && first.key().0 <= now
        {
            let OnItsWay { node, write, answer } = first.remove();
            let is_message = matches!(write, Write::Message(..));
            self.apply(write);
            if !is_message || told(node) {
                let _ = answer.send(());
            }
        }
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Message(new, id) => {
                self.rows.entry((new.room, id)).or_default().first.get_or_insert(new);
            }
            Write::Send(author, nonce, room, id) => match self.sends.entry((author, nonce)) {
                Entry::Occupied(mut known) if known.get().1 < id => {
                    known.insert((room, id));
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(free) => {
                    free.insert((room, id));
                }
            },
            Write::Event(room, id, happened) => {
                self.events.insert((room, id), happened);
            }
            Write::Edit(room, message, event, body) => {
                let edit = &mut self.rows.entry((room, message)).or_default().edit;
                if edit.as_ref().is_none_or(|(before, _)| *before < event) {
                    *edit = Some((event, body));
                }
            }
            Write::Delete(room, message, event) => {
                let deletion = &mut self.rows.entry((room, message)).or_default().deletion;
                *deletion = (*deletion).max(Some(event));
            }
        }
    }

    /// What a nonce was used for.
    pub fn used(&self, author: UserId, nonce: &str) -> Option<(RoomId, EventId)> {
        self.sends.get(&(author, nonce.to_owned())).copied()
    }

    /// One message.
    pub fn message(&self, room: RoomId, id: EventId) -> Option<Message> {
        self.rows.get(&(room, id))?.message(id)
    }

    /// The message with this id, whatever room it is in.
    pub fn find(&self, id: EventId) -> Option<Message> {
        let mut rows = self.rows.iter().filter(|((_, of), _)| *of == id);
        rows.find_map(|(_, row)| row.message(id))
    }

    /// The messages between two ids, ascending. Of two that come from two attempts at one send, only one is there.
    pub fn messages(&self, room: RoomId, above: EventId, below: EventId) -> Vec<Message> {
        let mut found: Vec<Message> = Vec::new();
        let mut attempts: BTreeMap<(UserId, u64), usize> = BTreeMap::new();
        for ((_, id), row) in self.rows.range((room, above)..(room, below)) {
            let Some(message) = row.message(*id).filter(|_| *id > above) else {
                continue;
            };
            match attempts.entry((message.author.id, id.attempt_hash())) {
                Entry::Vacant(free) => {
                    free.insert(found.len());
                    found.push(message);
                }
                Entry::Occupied(known) => {
                    let kept = &mut found[*known.get()];
                    let deleted = kept.deleted_at.or(message.deleted_at);
                    if message.last_event > kept.last_event {
                        *kept = Message { id: kept.id, ..message };
                    }
                    if deleted.is_some() {
                        kept.deleted_at = deleted;
                        kept.body = String::new();
                    }
                }
            }
        }
        found
    }

    /// At most so many events above an id, ascending.
    pub fn events(&self, room: RoomId, above: EventId, limit: usize) -> Vec<Event> {
        let end = EventId::new(u64::MAX, EventId::COUNTER_MAX, u64::MAX);
        let said = self.rows.range((room, above)..=(room, end));
        let said = said.filter_map(|((_, id), row)| {
            let kind = EventKind::Message(row.message(*id)?);
            Some(Event { id: *id, kind })
        });
        let happened = self.events.range((room, above)..=(room, end));
        let happened = happened.filter_map(|((_, id), happened)| {
            let kind = self.told(room, *id, happened)?;
            Some(Event { id: *id, kind })
        });
        let mut events: Vec<Event> = said.chain(happened).filter(|event| event.id > above).collect();
        events.sort_unstable_by_key(|event| event.id);
        events.truncate(limit);
        events
    }

    fn told(&self, room: RoomId, id: EventId, happened: &Happened) -> Option<EventKind> {
        Some(match happened {
            Happened::Edited(message, body) => {
                let mut message = self.message(room, *message)?;
                if message.deleted_at.is_none() {
                    message.body.clone_from(body);
                }
                message.edited_at = Some(id.timestamp());
                message.last_event = Some(id);
                EventKind::Edited(message)
            }
            Happened::Deleted(message) => EventKind::Deleted {
                message: self.message(room, *message)?.id,
            },
            Happened::Late(message) => EventKind::Late(self.message(room, *message)?),
        })
    }

    /// The greatest position in a room.
    pub fn newest(&self, room: RoomId) -> Option<EventId> {
        let all = (room, EventId::new(0, 0, 0))..=(room, EventId::new(u64::MAX, EventId::COUNTER_MAX, u64::MAX));
        let message = self.rows.range(all.clone()).next_back().map(|((_, id), _)| *id);
        let event = self.events.range(all).next_back().map(|((_, id), _)| *id);
        message.max(event)
    }
}
