//! What was asked for and what is stored in the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use natter::model::EventId;

use super::Violation;
use super::history::{Client, Connection, Deed, Event, History, Op, Room, Row};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged with this id, at this place of the history.
    Acknowledged(EventId, usize),
    /// Refused.
    Refused,
    /// Not known, or not answered.
    Unknown,
}

/// A request with all its attempts.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asked.
    pub client: Client,
    /// The connection of its first attempt.
    pub connection: Connection,
    /// Where.
    pub room: Room,
    /// For what.
    pub deed: Deed,
    /// The place of its first attempt.
    pub invoked: usize,
    /// How often it was sent.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
}

impl Request {
    /// The id it was acknowledged with.
    pub const fn id(&self) -> Option<EventId> {
        match self.outcome {
            Outcome::Acknowledged(id, _) => Some(id),
            _ => None,
        }
    }

    /// The text that it brings.
    pub const fn token(&self) -> Option<&String> {
        match &self.deed {
            Deed::Send { token, .. } | Deed::Edit { token, .. } => Some(token),
            Deed::Delete { .. } => None,
        }
    }
}

/// Every request, in the order of first attempts, and by what it is found.
pub struct Sends {
    /// By number; numbers need not be dense.
    pub requests: BTreeMap<Op, Request>,
    /// By the text that it brings.
    pub by_token: HashMap<String, Op>,
}

impl Sends {
    /// Reads them out of a history.
    pub fn of(history: &History) -> Self {
        let mut requests: BTreeMap<Op, Request> = BTreeMap::new();
        let mut by_token = HashMap::new();
        for (place, event) in history.events() {
            match event {
                Event::Invoked {
                    op,
                    client,
                    connection,
                    room,
                    deed,
                } => {
                    let new = || Request {
                        client: *client,
                        connection: *connection,
                        room: room.clone(),
                        deed: deed.clone(),
                        invoked: place,
                        attempts: 0,
                        outcome: Outcome::Unknown,
                    };
                    let request = requests.entry(*op).or_insert_with(new);
                    request.attempts += 1;
                    if let Some(token) = request.token() {
                        by_token.insert(token.clone(), *op);
                    }
                }
                Event::Acknowledged { op, id } => settle(&mut requests, *op, Outcome::Acknowledged(*id, place)),
                // Where an earlier attempt may have landed, a refusal of a later one does not take that back.
                Event::Refused { op } if requests[op].attempts == 1 => settle(&mut requests, *op, Outcome::Refused),
                _ => {}
            }
        }
        Self { requests, by_token }
    }

    /// The messages that were acknowledged.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&Request, EventId, usize)> {
        self.requests
            .values()
            .filter_map(|request| match (&request.deed, request.outcome) {
                (Deed::Send { .. }, Outcome::Acknowledged(id, place)) => Some((request, id, place)),
                _ => None,
            })
    }

    /// Whether it is unknown if a change of this message is stored.
    pub fn open_change(&self, message: EventId) -> bool {
        let mut open = self
            .requests
            .values()
            .filter(|request| request.outcome == Outcome::Unknown);
        open.any(|request| matches!(&request.deed, Deed::Edit { id, .. } | Deed::Delete { id } if *id == message))
    }

    /// The request that brought a text.
    pub fn of_token(&self, token: &str) -> Option<&Request> {
        self.by_token.get(token).map(|op| &self.requests[op])
    }
}

fn settle(requests: &mut BTreeMap<Op, Request>, op: Op, outcome: Outcome) {
    let request = requests.get_mut(&op).expect("what is answered was asked");
    if !matches!(request.outcome, Outcome::Acknowledged(..)) {
        request.outcome = outcome;
    }
}

/// Checks what is stored, and that ids keep the order of what they stand for.
pub fn check(history: &History, sends: &Sends, found: &mut Vec<Violation>) {
    let mut tell = |rule, what| found.push(Violation { rule, what });
    let mut first: HashMap<&Room, (&str, &Vec<Row>)> = HashMap::new();
    for (_, event) in history.events() {
        let Event::History { node, room, rows } = event else {
            continue;
        };
        if let Some((other, theirs)) = first.get(room) {
            if *theirs != rows {
                tell(
                    "nodes agree on the history",
                    format!("of {room}: {node} and {other} differ"),
                );
            }
            continue;
        }
        first.insert(room, (node, rows));
        for pair in rows.windows(2) {
            if pair[0].id >= pair[1].id {
                let what = format!("of {room}: {} before {}", pair[0].id, pair[1].id);
                tell("history is in the order of ids", what);
            }
        }
        let mut seen = HashSet::new();
        for row in rows.iter().filter(|row| !row.deleted) {
            match sends.of_token(&row.token) {
                None => tell("nothing is invented", format!("{row:?} in {room}")),
                Some(request) if request.outcome == Outcome::Refused => {
                    tell("refused is nowhere", format!("{row:?} in the history of {room}"));
                }
                Some(_) if !seen.insert(&row.token) => tell("stored once", format!("{row:?} in {room}")),
                Some(_) => {}
            }
        }
        let changed = Changes::of(sends, room);
        for row in rows {
            changed.judge(row, sends, &mut tell);
        }
    }
    for (request, id, _) in sends.acknowledged() {
        if let Some((node, rows)) = first.get(&request.room)
            && !rows.iter().any(|row| row.id.attempt_hash() == id.attempt_hash())
        {
            let what = format!(
                "{:?} with {id} is not in {} as {node} has it",
                request.deed, request.room
            );
            tell("acknowledged is in the history", what);
        }
        if let Deed::Send {
            reply_to: Some(cause), ..
        } = request.deed
            && id <= cause
        {
            tell("a reply is after its cause", format!("{id} replies to {cause}"));
        }
    }
    check_order(sends, &mut tell);
}

/// The sends of one connection have ascending ids, in each room; one that was sent again may be anywhere.
fn check_order(sends: &Sends, tell: &mut impl FnMut(&'static str, String)) {
    let mut last: HashMap<(Connection, &Room), EventId> = HashMap::new();
    let mut requests: Vec<_> = sends
        .acknowledged()
        .filter(|(request, ..)| request.attempts == 1)
        .collect();
    requests.sort_by_key(|(request, ..)| request.invoked);
    for (request, id, _) in requests {
        let place = (request.connection, &request.room);
        if let Some(before) = last.insert(place, id)
            && before >= id
        {
            let what = format!("connection {} in {}: {before}, then {id}", place.0, place.1);
            tell("a connection's sends keep their order", what);
        }
    }
}

/// The edits and deletions of one room's messages.
struct Changes<'a> {
    /// By what attempts at one send have in common.
    of: HashMap<u64, Vec<&'a Request>>,
}

impl<'a> Changes<'a> {
    fn of(sends: &'a Sends, room: &Room) -> Self {
        let mut of: HashMap<u64, Vec<&Request>> = HashMap::new();
        for request in sends.requests.values().filter(|request| request.room == *room) {
            if let Deed::Edit { id, .. } | Deed::Delete { id } = &request.deed
                && request.outcome != Outcome::Refused
            {
                of.entry(id.attempt_hash()).or_default().push(request);
            }
        }
        Self { of }
    }

    /// A row is as the acknowledged change with the highest id left it, or as one with an unknown outcome may have.
    fn judge(&self, row: &Row, sends: &Sends, tell: &mut impl FnMut(&'static str, String)) {
        let changes = self.of.get(&row.id.attempt_hash()).map_or(&[][..], Vec::as_slice);
        let deletions = || changes.iter().filter(|one| matches!(one.deed, Deed::Delete { .. }));
        if row.deleted {
            if deletions().next().is_none() {
                tell(
                    "nothing is invented",
                    format!("{} is deleted, which nobody asked for", row.id),
                );
            }
            return;
        }
        if deletions().any(|one| one.id().is_some()) {
            tell("a deletion stays", format!("{row:?} was deleted"));
        }
        let wins = changes.iter().filter(|one| one.token().is_some() && one.id().is_some());
        let wins = wins.max_by_key(|one| one.id());
        let right = sends.of_token(&row.token).is_none_or(|of| match (&of.deed, wins) {
            (Deed::Edit { id, .. }, _) if id.attempt_hash() != row.id.attempt_hash() => false,
            (_, Some(wins)) => of.invoked == wins.invoked || (of.id().is_none() && of.token() != wins.token()),
            (_, None) => true,
        });
        if !right {
            tell(
                "the last edit wins",
                format!("{row:?}; acknowledged last: {:?}", wins.map(|one| &one.deed)),
            );
        }
    }
}
