//! One good history, and one way to spoil it for each rule.

use std::collections::BTreeSet;

use natter::model::EventId;

use crate::judge::history::{Deed, Event, History, Row};
use crate::judge::{RULES, Rules, check};

const HALL: &str = "hall";

fn id(n: u64) -> EventId {
    EventId::new(1_790_000_000_000 + n, 0, 1_000 + n)
}

fn row(n: u64, token: &str) -> Row {
    Row {
        id: id(n),
        token: token.to_owned(),
        deleted: token.is_empty(),
    }
}

/// Writes a history a line at a time, ten milliseconds apart.
#[derive(Default)]
struct Tale(History);

impl Tale {
    fn add(&mut self, event: Event) {
        let at = 10 * self.0.entries.len() as u64;
        self.0.push(at, event);
    }

    fn ask(&mut self, op: u32, connection: u32, deed: Deed) {
        let client = connection / 10;
        self.add(Event::Invoked {
            op,
            client,
            connection,
            room: HALL.to_owned(),
            deed,
        });
    }

    fn send(&mut self, op: u32, connection: u32, token: &str, reply_to: Option<EventId>) {
        self.ask(
            op,
            connection,
            Deed::Send {
                token: token.to_owned(),
                reply_to,
            },
        );
    }

    fn ack(&mut self, op: u32, n: u64) {
        self.add(Event::Acknowledged { op, id: id(n) });
    }

    fn show(&mut self, connection: u32, n: u64, token: &str) {
        self.add(Event::Shown {
            connection,
            room: HALL.to_owned(),
            row: row(n, token),
            late: false,
        });
    }

    fn change(&mut self, connection: u32, change: u64, n: u64, token: &str) {
        let (change, row) = (id(change), row(n, token));
        self.add(Event::Changed {
            connection,
            room: HALL.to_owned(),
            change,
            row,
        });
    }

    fn open(&mut self, connection: u32, node: &str, since: Option<u64>) {
        let client = connection / 10;
        self.add(Event::Opened {
            connection,
            client,
            node: node.to_owned(),
        });
        self.add(Event::Joining {
            connection,
            room: HALL.to_owned(),
            since: since.map(id),
        });
    }

    fn live(&mut self, connection: u32) {
        self.add(Event::Live {
            connection,
            room: HALL.to_owned(),
        });
    }
}

/// Ann (1) and Ben (2) write, Cat (3) reads, loses her connection and resumes, Dan (4) is logged out.
fn good() -> History {
    let mut tale = Tale::default();
    for (connection, node) in [(10, "a"), (20, "b"), (30, "a"), (40, "b")] {
        tale.open(connection, node, None);
        tale.live(connection);
    }
    let everybody = [10, 20, 30, 40];
    tale.send(1, 10, "one", None);
    tale.send(2, 10, "two", None);
    tale.ack(1, 1);
    tale.ack(2, 2);
    for n in [(1, "one"), (2, "two")] {
        everybody
            .iter()
            .filter(|one| **one != 10)
            .for_each(|one| tale.show(*one, n.0, n.1));
    }
    tale.show(10, 1, "one");
    tale.show(10, 2, "two");
    tale.add(Event::Closed { connection: 30 });
    tale.add(Event::Revoked {
        connections: vec![40],
        room: None,
    });
    tale.add(Event::Closed { connection: 40 });
    tale.send(3, 20, "three", Some(id(2)));
    tale.ack(3, 3);
    tale.show(10, 3, "three");
    tale.show(20, 3, "three");
    tale.ask(
        4,
        10,
        Deed::Edit {
            id: id(1),
            token: "one better".to_owned(),
        },
    );
    tale.ack(4, 4);
    tale.ask(5, 10, Deed::Delete { id: id(2) });
    tale.ack(5, 5);
    for connection in [10, 20] {
        tale.change(connection, 4, 1, "one better");
        tale.change(connection, 5, 2, "");
    }
    tale.open(31, "b", Some(2));
    tale.show(31, 1, "one better");
    tale.show(31, 3, "three");
    tale.change(31, 5, 2, "");
    tale.live(31);
    tale.add(Event::Fault {
        name: "nats".to_owned(),
        begins: true,
    });
    tale.send(6, 20, "lost", None);
    tale.add(Event::Unknown { op: 6 });
    tale.add(Event::Fault {
        name: "nats".to_owned(),
        begins: false,
    });
    tale.send(7, 20, "refused", None);
    tale.add(Event::Refused { op: 7 });
    for n in [1, 3] {
        tale.add(Event::Marked {
            client: 3,
            room: HALL.to_owned(),
            id: id(n),
        });
    }
    for node in ["a", "b"] {
        let rows = vec![row(1, "one better"), row(2, ""), row(3, "three")];
        tale.add(Event::History {
            node: node.to_owned(),
            room: HALL.to_owned(),
            rows,
        });
        tale.add(Event::Present {
            node: node.to_owned(),
            room: HALL.to_owned(),
            clients: vec![1, 2, 3],
        });
    }
    tale.0
}

/// A history spoilt in the way that a rule speaks of.
fn spoilt(rule: &str) -> History {
    let mut history = good();
    let entries = &mut history.entries;
    let find = |entries: &[crate::judge::history::Entry], wanted: &dyn Fn(&Event) -> bool| {
        entries
            .iter()
            .position(|entry| wanted(&entry.event))
            .expect("the good history has it")
    };
    let shown = |connection: u32, n: u64| move |event: &Event| matches!(event, Event::Shown { connection: c, row, .. } if (*c, row.id) == (connection, id(n)));
    let histories = |entries: &mut Vec<crate::judge::history::Entry>, change: &dyn Fn(&mut Vec<Row>)| {
        for entry in entries {
            if let Event::History { rows, .. } = &mut entry.event {
                change(rows);
            }
        }
    };
    match rule {
        "acknowledged is in the history" => histories(entries, &|rows| drop(rows.remove(2))),
        "refused is nowhere" => histories(entries, &|rows| rows.push(row(9, "refused"))),
        "nothing is invented" => histories(entries, &|rows| rows.push(row(9, "from nowhere"))),
        "stored once" => histories(entries, &|rows| rows.push(row(9, "three"))),
        "history is in the order of ids" => histories(entries, &|rows| rows.swap(0, 2)),
        "nodes agree on the history" => {
            let at = find(
                entries,
                &|event| matches!(event, Event::History { node, .. } if node == "b"),
            );
            if let Event::History { rows, .. } = &mut entries[at].event {
                rows.push(row(9, "lost"));
            }
        }
        "a connection's sends keep their order" => {
            let at = find(entries, &|event| matches!(event, Event::Invoked { op: 1, .. }));
            entries.swap(at, at + 1);
        }
        "a reply is after its cause" => {
            let at = find(entries, &|event| matches!(event, Event::Invoked { op: 3, .. }));
            if let Event::Invoked {
                deed: Deed::Send { reply_to, .. },
                ..
            } = &mut entries[at].event
            {
                *reply_to = Some(id(4));
            }
        }
        "the last edit wins" => histories(entries, &|rows| rows[0].token = "one".to_owned()),
        "a deletion stays" => histories(entries, &|rows| rows[1] = row(2, "two")),
        "shown once" => {
            let at = find(entries, &shown(20, 3));
            entries.insert(at, entries[at].clone());
        }
        "shown is in the history" => {
            let at = find(entries, &shown(20, 3));
            let mut entry = entries[at].clone();
            if let Event::Shown { row: shown, .. } = &mut entry.event {
                *shown = row(6, "lost");
            }
            let at = find(entries, &|event| matches!(event, Event::Unknown { op: 6 }));
            entries.insert(at, entry);
        }
        "live messages keep their sender's order" => {
            let (one, two) = (find(entries, &shown(20, 1)), find(entries, &shown(20, 2)));
            entries.swap(one, two);
        }
        "a reply is not shown before its cause" => {
            let at = find(entries, &shown(20, 2));
            let entry = entries.remove(at);
            let at = find(entries, &shown(20, 3));
            entries.insert(at + 1, entry);
        }
        "a resume has no hole" => {
            let at = find(entries, &shown(31, 3));
            entries.remove(at);
            let event = Event::Closed { connection: 31 };
            entries.push(crate::judge::history::Entry { at: 60_000, event });
        }
        "who is connected has seen everything" => drop(entries.remove(find(entries, &shown(20, 3)))),
        "no reset without need" => {
            let at = find(entries, &|event| matches!(event, Event::Live { connection: 31, .. }));
            let event = Event::Reset {
                connection: 31,
                room: HALL.to_owned(),
                from: id(2),
                to: Some(id(3)),
            };
            entries.insert(at, crate::judge::history::Entry { at: 0, event });
        }
        "silence after a revocation" => {
            let at = find(entries, &shown(20, 3));
            let mut entry = entries[at].clone();
            if let Event::Shown { connection, .. } = &mut entry.event {
                *connection = 40;
            }
            entries.insert(at, entry);
        }
        "a revoked connection is closed" => {
            let at = find(entries, &|event| matches!(event, Event::Closed { connection: 40 }));
            entries.remove(at);
        }
        "read markers go forward" => {
            let at = find(entries, &|event| matches!(event, Event::Marked { .. }));
            entries.swap(at, at + 1);
        }
        "presence without ghosts" => {
            let at = find(entries, &|event| matches!(event, Event::Present { .. }));
            if let Event::Present { clients, .. } = &mut entries[at].event {
                clients.push(4);
            }
        }
        "errors only near faults" => entries.retain(|entry| !matches!(entry.event, Event::Fault { .. })),
        other => panic!("nothing spoils {other:?}"),
    }
    history
}

fn rules() -> Rules {
    Rules {
        grace: 10_000,
        ..Rules::default()
    }
}

fn broken(history: &History, rules: &Rules) -> BTreeSet<&'static str> {
    check(history, rules).into_iter().map(|one| one.rule).collect()
}

#[test]
fn a_good_history_breaks_no_rule() {
    assert_eq!(check(&good(), &rules()), []);
}

#[test]
fn each_rule_finds_the_history_that_is_spoilt_in_its_way() {
    let mut wrong = Vec::new();
    for rule in RULES {
        let found = broken(&spoilt(rule), &rules());
        // A message that is gone, or there twice, breaks what rests on it too; nothing else may turn up.
        let also: &[&str] = match *rule {
            "acknowledged is in the history" => &["shown is in the history", "who is connected has seen everything"],
            "the last edit wins" | "a deletion stays" => &["who is connected has seen everything"],
            "presence without ghosts" | "a revoked connection is closed" => &[
                "presence without ghosts",
                "a revoked connection is closed",
                "who is connected has seen everything",
            ],
            "a reply is after its cause" => &["a reply is not shown before its cause"],
            "a connection's sends keep their order" => &["live messages keep their sender's order"],
            "a reply is not shown before its cause" => &["live messages keep their sender's order"],
            _ => &[],
        };
        let rest: Vec<_> = found.iter().filter(|one| *one != rule && !also.contains(one)).collect();
        if !found.contains(rule) || !rest.is_empty() {
            wrong.push(format!("{rule}: found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_second_row_of_one_send_counts_as_the_same_message() {
    let mut history = good();
    for entry in &mut history.entries {
        if let Event::Shown {
            connection: 20, row, ..
        } = &mut entry.event
            && row.id == id(3)
        {
            row.id = EventId::new(1_790_000_000_009, 4, 1_003);
        }
    }
    assert_eq!(check(&history, &rules()), []);
}

#[test]
fn a_refusal_after_an_open_attempt_takes_nothing_back() {
    let mut history = good();
    let at = history
        .entries
        .iter()
        .position(|entry| entry.event == Event::Unknown { op: 6 });
    let at = at.expect("an unknown outcome") - 1;
    let again = history.entries[at].clone();
    let refused = crate::judge::history::Entry {
        at: again.at,
        event: Event::Refused { op: 6 },
    };
    history.entries.splice(at + 2..at + 2, [again, refused]);
    for entry in &mut history.entries {
        if let Event::History { rows, .. } = &mut entry.event {
            rows.push(row(6, "lost"));
        }
    }
    assert_eq!(check(&history, &rules()), []);
}

#[test]
fn a_history_is_a_line_of_json_for_each_entry() {
    let lines = good().to_lines();
    assert_eq!(lines.lines().count(), good().entries.len());
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["event"], &first["node"]), (&"opened".into(), &"a".into()));
}
