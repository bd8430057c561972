//! What revoked connections still hear.

use std::collections::{HashMap, HashSet};

use super::Violation;
use super::history::{Connection, Deed, Event, History, Op, Room};

/// Nothing that was asked for after a revocation's answer reaches what it silenced, and that is closed.
pub fn check(history: &History, found: &mut Vec<Violation>) {
    let mut asked: HashMap<&str, usize> = HashMap::new();
    let mut silenced: HashMap<Connection, Vec<(Option<&Room>, usize)>> = HashMap::new();
    let mut open: HashSet<Connection> = HashSet::new();
    let mut seen: HashSet<Op> = HashSet::new();
    for (place, event) in history.events() {
        match event {
            Event::Invoked {
                op,
                deed: Deed::Send { token, .. } | Deed::Edit { token, .. },
                ..
            } if seen.insert(*op) => {
                asked.insert(token, place);
            }
            Event::Opened { connection, .. } => {
                open.insert(*connection);
            }
            Event::Closed { connection } => {
                open.remove(connection);
            }
            Event::Revoked { connections, room } => {
                for connection in connections {
                    silenced.entry(*connection).or_default().push((room.as_ref(), place));
                }
            }
            Event::Shown {
                connection, room, row, ..
            }
            | Event::Changed {
                connection, room, row, ..
            } => {
                let from = silenced.get(connection).into_iter().flatten();
                let from = from.filter(|(only, _)| only.is_none_or(|only| only == room));
                let after = asked.get(row.token.as_str());
                if let Some((_, since)) = from.min_by_key(|(_, since)| since)
                    && after.is_some_and(|after| after > since)
                {
                    found.push(Violation {
                        rule: "silence after a revocation",
                        what: format!("{row:?} reached connection {connection} in {room}"),
                    });
                }
            }
            _ => {}
        }
    }
    for (connection, when) in silenced {
        if open.contains(&connection) && when.iter().any(|(room, _)| room.is_none()) {
            found.push(Violation {
                rule: "a revoked connection is closed",
                what: format!("connection {connection} is open in the end"),
            });
        }
    }
}
