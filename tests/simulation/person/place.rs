//! What one person has of one room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use natter::limits;
use natter::model::{EventId, Room};

use crate::judge::history::Row;

/// One of its rooms.
pub struct Place {
    pub room: Room,
    pub name: String,
    pub cursor: Option<EventId>,
    /// Ids of messages that it has, and from where on none is missing.
    pub held: BTreeSet<EventId>,
    pub tail: Option<EventId>,
    /// What it shows, by what attempts at one send have in common.
    pub rows: BTreeMap<u64, (EventId, String, bool)>,
    pub changes: BTreeMap<u64, EventId>,
    pub own: Vec<EventId>,
    pub heard: Option<EventId>,
    pub asked: bool,
    pub again: u64,
    pub live: bool,
    pub paged: usize,
}

impl Place {
    /// A room that it has not joined yet.
    pub fn new(room: &Room) -> Self {
        Self {
            room: room.clone(),
            name: room.label(),
            cursor: None,
            held: BTreeSet::new(),
            tail: None,
            rows: BTreeMap::new(),
            changes: BTreeMap::new(),
            own: Vec::new(),
            heard: None,
            asked: false,
            again: 0,
            live: false,
            paged: 0,
        }
    }

    pub fn see(&mut self, seen: Option<EventId>) {
        self.cursor = self.cursor.max(seen);
    }

    /// Of two attempts at one send it goes on showing the first that it was told; deleted if either is.
    pub fn shown(&mut self, row: &Row) {
        self.held.insert(row.id);
        let new = (row.id, row.token.clone(), row.deleted);
        let shown = self.rows.entry(row.id.attempt_hash()).or_insert_with(|| new.clone());
        if row.deleted {
            (shown.1, shown.2) = (String::new(), true);
        } else if shown.0 == row.id && !shown.2 {
            *shown = new;
        }
    }

    pub fn changed(&mut self, row: &Row, change: EventId) {
        let last = self.changes.entry(row.id.attempt_hash()).or_insert(change);
        if *last > change {
            return;
        }
        *last = change;
        if let Some(shown) = self.rows.get_mut(&row.id.attempt_hash())
            && !shown.2
        {
            (shown.1, shown.2) = (row.token.clone(), row.deleted);
        }
    }

    /// What it has of the span before its cursor.
    pub fn digest(&self) -> Option<String> {
        let (cursor, tail) = (self.cursor?, self.tail?);
        let span: Duration = limits::CATCH_UP_SPAN;
        let lower = EventId::floor_of(cursor.timestamp().minus(span));
        let ids: Vec<EventId> = self.held.range(lower.max(tail)..=cursor).copied().collect();
        let xor = ids.iter().fold(0, |xor, id| xor ^ id.as_u128());
        let digest = format!("{}.{xor:032x}", ids.len());
        if tail < lower {
            return Some(digest);
        }
        ids.first().map(|first| format!("{digest}.{first}"))
    }
}
