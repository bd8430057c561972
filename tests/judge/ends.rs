//! Read markers, presence, and how many requests failed.

use std::collections::{BTreeSet, HashMap, HashSet};

use natter::model::EventId;

use super::history::{Client, Connection, Event, History, Op, Room};
use super::{Rules, Violation, fault_spans, near};

/// Checks them.
pub fn check(history: &History, rules: &Rules, found: &mut Vec<Violation>) {
    let mut tell = |rule, what| found.push(Violation { rule, what });
    check_markers(history, &mut tell);
    check_presence(history, &mut tell);
    let (failed, of) = failures(history, rules);
    if failed.len() * 100 > of * rules.failures_percent {
        let what = format!(
            "{} of {of} requests failed far from any fault, among them {:?}",
            failed.len(),
            failed.first()
        );
        tell("errors only near faults", what);
    }
}

fn check_markers(history: &History, tell: &mut impl FnMut(&'static str, String)) {
    let mut marks: HashMap<(Client, &Room), EventId> = HashMap::new();
    for (_, event) in history.events() {
        if let Event::Marked { client, room, id } = event {
            let mark = marks.entry((*client, room)).or_insert(*id);
            if *mark > *id {
                tell(
                    "read markers go forward",
                    format!("client {client} in {room}: {mark}, then {id}"),
                );
            }
            *mark = (*mark).max(*id);
        }
    }
}

fn check_presence(history: &History, tell: &mut impl FnMut(&'static str, String)) {
    let mut clients: HashMap<Connection, Client> = HashMap::new();
    let mut there: HashMap<&Room, HashSet<Connection>> = HashMap::new();
    for (_, event) in history.events() {
        match event {
            Event::Opened { connection, client, .. } => {
                clients.insert(*connection, *client);
            }
            Event::Live { connection, room } => {
                there.entry(room).or_default().insert(*connection);
            }
            Event::Closed { connection } => {
                for all in there.values_mut() {
                    all.remove(connection);
                }
            }
            Event::Revoked {
                connections,
                room: Some(room),
            } => {
                let all = there.entry(room).or_default();
                all.retain(|one| !connections.contains(one));
            }
            Event::Present {
                node,
                room,
                clients: told,
            } => {
                let told: BTreeSet<Client> = told.iter().copied().collect();
                let are = there.get(room).into_iter().flatten().map(|one| clients[one]);
                let are: BTreeSet<Client> = are.collect();
                if told != are {
                    let what = format!("{node} says of {room} {told:?}, connected are {are:?}");
                    tell("presence without ghosts", what);
                }
            }
            _ => {}
        }
    }
}

/// The requests that had no acknowledgement at once although no fault was near, and how many were answered there.
pub fn failures(history: &History, rules: &Rules) -> (Vec<Op>, usize) {
    let spans = fault_spans(history, rules.grace);
    let mut asked: HashMap<Op, u64> = HashMap::new();
    let (mut failed, mut of) = (Vec::new(), 0);
    for entry in &history.entries {
        match &entry.event {
            Event::Invoked { op, .. } => {
                asked.insert(*op, entry.at);
            }
            Event::Acknowledged { op, .. } | Event::Refused { op } | Event::Unknown { op }
                if !near(&spans, asked[op], entry.at) =>
            {
                of += 1;
                if !matches!(entry.event, Event::Acknowledged { .. }) {
                    failed.push(*op);
                }
            }
            _ => {}
        }
    }
    (failed, of)
}
