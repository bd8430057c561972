//! What clients were shown: each has a view of each room that it keeps over its connections, as a real client does.

use std::collections::{HashMap, HashSet};

use natter::model::EventId;

use super::history::{Client, Connection, Deed, Event, History, Room, Row};
use super::sends::{Outcome, Sends};
use super::{Rules, Violation, fault_spans, near};

/// What one client has of one room.
#[derive(Default)]
struct View {
    /// The messages, by what attempts at one send have in common.
    rows: HashMap<u64, Row>,
    /// By text, to find one that came under two ids.
    tokens: HashMap<String, u64>,
    /// The last change of each message.
    changes: HashMap<u64, EventId>,
    /// Nothing below is expected; `None` until the first join is over.
    base: Option<EventId>,
    /// What the client was told to read by itself: after the first, before the second.
    gaps: Vec<(EventId, EventId)>,
}

impl View {
    fn expects(&self, id: EventId) -> bool {
        let in_gap = self.gaps.iter().any(|(from, to)| *from < id && id < *to);
        self.base.is_some_and(|base| id >= base) && !in_gap
    }

    fn has(&self, id: EventId) -> bool {
        self.rows.contains_key(&id.attempt_hash())
    }
}

/// A room on one connection, from a join on.
struct Joined {
    client: Client,
    /// The place where the join was asked for, and what its page held.
    asked: usize,
    page: Vec<EventId>,
    cursor: bool,
    live: bool,
    /// When it was live, and what was still missing then: it may be under way.
    since: u64,
    missing: Vec<EventId>,
    shown: HashSet<EventId>,
    /// The place of the last live message of each sending connection.
    order: HashMap<Connection, usize>,
}

/// Walks through a history.
struct Walk<'a> {
    rules: &'a Rules,
    sends: &'a Sends,
    spans: Vec<(u64, u64)>,
    clients: HashMap<Connection, Client>,
    views: HashMap<(Client, &'a Room), View>,
    joined: HashMap<(Connection, &'a Room), Joined>,
    silenced: HashSet<(Connection, Room)>,
    found: &'a mut Vec<Violation>,
}

/// Checks what was shown.
pub fn check(history: &History, sends: &Sends, rules: &Rules, found: &mut Vec<Violation>) {
    let mut walk = Walk {
        rules,
        sends,
        spans: fault_spans(history, rules.grace),
        clients: HashMap::new(),
        views: HashMap::new(),
        joined: HashMap::new(),
        silenced: HashSet::new(),
        found,
    };
    for (place, entry) in history.entries.iter().enumerate() {
        walk.take(place, entry.at, &entry.event);
    }
    walk.end(history);
}

impl<'a> Walk<'a> {
    fn tell(&mut self, rule: &'static str, what: String) {
        self.found.push(Violation { rule, what });
    }

    fn take(&mut self, place: usize, at: u64, event: &'a Event) {
        match event {
            Event::Opened { connection, client, .. } => {
                self.clients.insert(*connection, *client);
            }
            Event::Joining {
                connection,
                room,
                since,
            } => self.joining(place, *connection, room, *since),
            Event::Live { connection, room } => self.live(at, *connection, room),
            Event::Shown {
                connection,
                room,
                row,
                late,
            } => self.shown(at, *connection, room, row, *late),
            Event::Changed {
                connection,
                room,
                change,
                row,
            } => self.changed(*connection, room, *change, row),
            Event::Reset {
                connection,
                room,
                from,
                to,
            } => self.reset(*connection, room, *from, *to),
            Event::Closed { connection } => self.closed(at, *connection),
            Event::Revoked {
                connections,
                room: Some(room),
            } => {
                self.silenced.extend(connections.iter().map(|one| (*one, room.clone())));
            }
            _ => {}
        }
    }

    fn joining(&mut self, place: usize, connection: Connection, room: &'a Room, since: Option<EventId>) {
        let client = self.clients[&connection];
        let view = self.views.entry((client, room)).or_default();
        if view.base.is_none() {
            view.base = since;
        }
        let joined = Joined {
            client,
            asked: place,
            page: Vec::new(),
            cursor: since.is_some(),
            live: false,
            since: 0,
            missing: Vec::new(),
            shown: HashSet::new(),
            order: HashMap::new(),
        };
        self.joined.insert((connection, room), joined);
    }

    /// The client has everything that was acknowledged before it asked, but for what is under way.
    fn live(&mut self, at: u64, connection: Connection, room: &'a Room) {
        let joined = self.joined.get_mut(&(connection, room)).expect("a join before `live`");
        joined.live = true;
        let (client, asked) = (joined.client, joined.asked);
        let view = self.views.get_mut(&(client, room)).expect("a view");
        if view.base.is_none() || !joined.cursor {
            let whole = joined.page.len() < self.rules.page;
            let first = joined.page.iter().min().copied();
            let page = first.filter(|_| !whole).unwrap_or_else(|| EventId::new(0, 0, 0));
            // A page without a cursor that does not reach what was there before leaves a hole that the client knows.
            view.base = Some(view.base.map_or(page, |base| base.max(page)));
        }
        let expected = self
            .sends
            .acknowledged()
            .filter(|(request, _, acked)| request.room == *room && *acked < asked);
        let missing = expected
            .map(|(_, id, _)| id)
            .filter(|id| view.expects(*id) && !view.has(*id))
            .collect();
        let joined = self.joined.get_mut(&(connection, room)).expect("it is joined");
        (joined.since, joined.missing) = (at, missing);
    }

    /// What a resume lacked was to come soon afterwards: it was under way, or about to be read again.
    fn closed(&mut self, at: u64, connection: Connection) {
        let joined = std::mem::take(&mut self.joined);
        let (over, still): (HashMap<_, _>, HashMap<_, _>) =
            joined.into_iter().partition(|((other, _), _)| *other == connection);
        self.joined = still;
        for ((_, room), joined) in over {
            let long = joined.live && at.saturating_sub(joined.since) > self.rules.grace;
            let view = &self.views[&(joined.client, room)];
            let never: Vec<_> = joined.missing.iter().filter(|id| !view.has(**id)).collect();
            if long && !near(&self.spans, at, at) && !never.is_empty() {
                let what = format!(
                    "client {} on connection {connection} in {room} never had {never:?}",
                    joined.client
                );
                self.tell("a resume has no hole", what);
            }
        }
    }

    fn shown(&mut self, at: u64, connection: Connection, room: &'a Room, row: &'a Row, late: bool) {
        let Some(joined) = self.joined.get_mut(&(connection, room)) else {
            return;
        };
        let (client, live) = (joined.client, joined.live);
        if !live {
            joined.page.push(row.id);
        }
        let again = !joined.shown.insert(row.id);
        if again && !late {
            self.tell(
                "shown once",
                format!("{row:?} twice on connection {connection} in {room}"),
            );
        }
        let of = self.sends.of_token(&row.token);
        match of.map(|request| request.outcome) {
            None if !row.deleted => self.tell("nothing is invented", format!("{row:?} shown in {room}")),
            Some(Outcome::Refused) => self.tell("refused is nowhere", format!("{row:?} was shown to {client}")),
            _ => {}
        }
        let quiet = !near(&self.spans, at, at);
        if live && !late && quiet {
            self.live_order(connection, room, row);
        }
        let view = self.views.get_mut(&(client, room)).expect("a view");
        let mut complaints = Vec::new();
        if !row.deleted
            && let Some(other) = view.tokens.insert(row.token.clone(), row.id.attempt_hash())
            && other != row.id.attempt_hash()
        {
            complaints.push(("shown once", format!("client {client} has {row:?} under two ids")));
        }
        if live
            && quiet
            && let Some(Deed::Send {
                reply_to: Some(cause), ..
            }) = of.map(|request| &request.deed)
            && view.expects(*cause)
            && !view.has(*cause)
        {
            let what = format!("client {client} was shown {row:?} before {cause}");
            complaints.push(("a reply is not shown before its cause", what));
        }
        // Of two attempts at one send the first shown stays; deleted if either is.
        let had = view.rows.entry(row.id.attempt_hash()).or_insert_with(|| row.clone());
        if row.deleted {
            (had.deleted, had.token) = (true, row.token.clone());
        } else if had.id == row.id && !had.deleted {
            *had = row.clone();
        }
        for (rule, what) in complaints {
            self.tell(rule, what);
        }
    }

    fn live_order(&mut self, connection: Connection, room: &'a Room, row: &Row) {
        let Some(request) = self.sends.of_token(&row.token) else {
            return;
        };
        if request.attempts > 1 || !matches!(request.deed, Deed::Send { .. }) {
            return;
        }
        let (sender, place) = (request.connection, request.invoked);
        let joined = self.joined.get_mut(&(connection, room)).expect("it is joined");
        if let Some(before) = joined.order.insert(sender, place)
            && before > place
        {
            let what = format!("connection {connection} in {room} was shown {row:?} after a later one");
            self.tell("live messages keep their sender's order", what);
        }
    }

    fn changed(&mut self, connection: Connection, room: &'a Room, change: EventId, row: &Row) {
        let Some(joined) = self.joined.get(&(connection, room)) else {
            return;
        };
        let view = self.views.get_mut(&(joined.client, room)).expect("a view");
        let key = row.id.attempt_hash();
        let last = view.changes.entry(key).or_insert(change);
        if *last <= change {
            *last = change;
            if let Some(had) = view.rows.get_mut(&key)
                && !had.deleted
            {
                had.deleted = row.deleted;
                had.token.clone_from(&row.token);
            }
        }
    }

    fn reset(&mut self, connection: Connection, room: &'a Room, from: EventId, to: Option<EventId>) {
        let beyond = self.sends.requests.values().filter(|request| request.room == *room);
        // What was under way by then may count or not; it counts here, in favour of the server.
        let beyond = beyond.filter(|request| request.id().is_none_or(|id| id > from)).count();
        if beyond <= self.rules.replay_max {
            let what = format!("connection {connection} in {room}: at most {beyond} events after {from}");
            self.tell("no reset without need", what);
        }
        let Some(joined) = self.joined.get(&(connection, room)) else {
            return;
        };
        let end = to.unwrap_or_else(|| EventId::new(u64::MAX, EventId::COUNTER_MAX, u64::MAX));
        let view = self.views.get_mut(&(joined.client, room)).expect("a view");
        view.gaps.push((from, end));
    }

    /// Whoever is connected in the end has all that was acknowledged, as the history has it, and nothing else.
    fn end(mut self, history: &'a History) {
        let mut last: HashMap<&Room, &Vec<Row>> = HashMap::new();
        for (_, event) in history.events() {
            if let Event::History { room, rows, .. } = event {
                last.insert(room, rows);
            }
        }
        let mut complaints = Vec::new();
        for ((client, room), view) in &self.views {
            let Some(rows) = last.get(room) else {
                continue;
            };
            let stored: HashMap<u64, &Row> = rows.iter().map(|row| (row.id.attempt_hash(), row)).collect();
            let unknown: Vec<_> = view
                .rows
                .values()
                .filter(|row| !stored.contains_key(&row.id.attempt_hash()))
                .collect();
            if !unknown.is_empty() {
                let what = format!("client {client} in {room} was shown {unknown:?}");
                complaints.push(("shown is in the history", what));
            }
            let live = self.joined.iter().any(|((connection, other), joined)| {
                let silent = self.silenced.contains(&(*connection, (*other).clone()));
                joined.client == *client && other == room && joined.live && !silent
            });
            if live {
                complaints.extend(self.behind(*client, room, view, &stored));
            }
        }
        for (rule, what) in complaints {
            self.tell(rule, what);
        }
    }

    fn behind(
        &self,
        client: Client,
        room: &Room,
        view: &View,
        stored: &HashMap<u64, &Row>,
    ) -> Option<(&'static str, String)> {
        let acknowledged = self.sends.acknowledged().filter(|(request, ..)| request.room == *room);
        let agree = |id: EventId| {
            let (had, stored) = (view.rows.get(&id.attempt_hash()), stored.get(&id.attempt_hash()));
            had.zip(stored)
                .is_some_and(|(had, stored)| told(had) == told(stored) || self.sends.open_change(id))
        };
        let wrong: Vec<_> = acknowledged
            .map(|(_, id, _)| id)
            .filter(|id| view.expects(*id) && !agree(*id))
            .map(|id| (id, view.rows.get(&id.attempt_hash()).map(told)))
            .collect();
        let what = || format!("client {client} in {room} has not, or not as they are: {wrong:?}");
        (!wrong.is_empty()).then(|| ("who is connected has seen everything", what()))
    }
}

fn told(row: &Row) -> (&str, bool) {
    (&row.token, row.deleted)
}
