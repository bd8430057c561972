//! What happened, in the order in which the recorder saw it. It can be written as JSON lines, one entry each, so that a
//! failed run can be read afterwards.

use std::collections::{HashMap, hash_map};
use std::fmt::Write as _;

use natter::model::EventId;
use serde::Serialize;

/// Someone with an account.
pub type Client = u32;
/// One WebSocket of someone.
pub type Connection = u32;
/// One request of someone, whatever the number of its attempts.
pub type Op = u32;
/// A room's name.
pub type Room = String;

/// What is asked for. Tokens are texts that no other request uses, so that a text tells whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// A message.
    Send {
        /// Its text.
        token: String,
        /// What it replies to.
        reply_to: Option<EventId>,
    },
    /// Another text for a message.
    Edit {
        /// The message.
        id: EventId,
        /// Its new text.
        token: String,
    },
    /// A message's end.
    Delete {
        /// The message.
        id: EventId,
    },
}

/// A message as a node's history has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its id.
    pub id: EventId,
    /// Its text; empty if it was deleted.
    pub token: String,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A request goes out, for the first time or again with the same nonce.
    Invoked {
        /// The request; the same for every attempt.
        op: Op,
        /// Who asks.
        client: Client,
        /// On which connection.
        connection: Connection,
        /// In which room.
        room: Room,
        /// For what.
        deed: Deed,
    },
    /// It was acknowledged; `id` is the message's, or the edit's or deletion's own.
    Acknowledged {
        /// The request.
        op: Op,
        /// What it became.
        id: EventId,
    },
    /// It was refused: nothing of it is stored, by any attempt.
    Refused {
        /// The request.
        op: Op,
    },
    /// Its outcome is not known: it may be stored or not, now or later.
    Unknown {
        /// The request.
        op: Op,
    },
    /// A connection is open.
    Opened {
        /// Which.
        connection: Connection,
        /// Whose.
        client: Client,
        /// To which node.
        node: String,
    },
    /// A connection asks for a room, with a cursor or without.
    Joining {
        /// Which.
        connection: Connection,
        /// For what.
        room: Room,
        /// From where on.
        since: Option<EventId>,
    },
    /// The node says that everything up to now was told.
    Live {
        /// On which connection.
        connection: Connection,
        /// In which room.
        room: Room,
    },
    /// A message came.
    Shown {
        /// On which connection.
        connection: Connection,
        /// In which room.
        room: Room,
        /// The message.
        row: Row,
        /// Whether it belongs to an earlier place.
        late: bool,
    },
    /// An edit or a deletion came.
    Changed {
        /// On which connection.
        connection: Connection,
        /// In which room.
        room: Room,
        /// The edit's or deletion's own id.
        change: EventId,
        /// The message as it is now.
        row: Row,
    },
    /// A client is told to read a part of the history itself.
    Reset {
        /// On which connection.
        connection: Connection,
        /// In which room.
        room: Room,
        /// After this one.
        from: EventId,
        /// Before this one.
        to: Option<EventId>,
    },
    /// A connection is over, whoever ended it.
    Closed {
        /// Which.
        connection: Connection,
    },
    /// A revocation was acknowledged.
    Revoked {
        /// The connections that it silences.
        connections: Vec<Connection>,
        /// Only in this room; none is everywhere, and closes them.
        room: Option<Room>,
    },
    /// A fault begins or ends.
    Fault {
        /// Which.
        name: String,
        /// Whether it begins.
        begins: bool,
    },
    /// Somebody's read marker as it was told.
    Marked {
        /// Whose.
        client: Client,
        /// In which room.
        room: Room,
        /// Up to where.
        id: EventId,
    },
    /// A room's whole history as one node has it, after everything was healed and quiet.
    History {
        /// Which node.
        node: String,
        /// Of which room.
        room: Room,
        /// Oldest first.
        rows: Vec<Row>,
    },
    /// Who one node says is present in a room, after everything was healed and quiet.
    Present {
        /// Which node.
        node: String,
        /// In which room.
        room: Room,
        /// Who.
        clients: Vec<Client>,
    },
}

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Milliseconds since the recording began. Entries may share one; their order is the list's.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Everything that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In the order in which it was seen.
    pub entries: Vec<Entry>,
}

impl History {
    /// Adds what has just happened.
    pub fn push(&mut self, at: u64, event: Event) {
        self.entries.push(Entry { at, event });
    }

    /// The events with their places in the order.
    pub fn events(&self) -> impl Iterator<Item = (usize, &Event)> {
        self.entries.iter().map(|entry| &entry.event).enumerate()
    }

    /// As JSON, a line each.
    pub fn to_lines(&self) -> String {
        self.entries.iter().fold(String::new(), |mut text, entry| {
            let line = serde_json::to_string(entry).expect("plain values");
            writeln!(text, "{line}").expect("a string grows");
            text
        })
    }
}

/// A page shows one row of each attempt; of those that lie on different pages a client hides the later one, as it does
/// with what it is told live. Deleted if either is.
pub fn once_each(rows: Vec<Row>) -> Vec<Row> {
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    let mut attempts: HashMap<u64, usize> = HashMap::new();
    for row in rows {
        match attempts.entry(row.id.attempt_hash()) {
            hash_map::Entry::Occupied(first) if kept[*first.get()].token == row.token || row.deleted => {
                kept[*first.get()].deleted |= row.deleted;
            }
            hash_map::Entry::Occupied(_) => kept.push(row),
            hash_map::Entry::Vacant(first) => {
                first.insert(kept.len());
                kept.push(row);
            }
        }
    }
    kept
}
