//! Counts what one connection was given: each message once, in the order of ids, none missing. Without I/O.

use std::collections::BTreeMap;

use super::plan::{Delivered, Plan};

/// Which of a row of numbers were seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    words: Vec<u64>,
}

impl Seen {
    /// Notes a number; answers whether it is new.
    pub fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = (usize::try_from(number / 64).unwrap_or(usize::MAX), 1 << (number % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// How many of these numbers are not among the others.
    #[must_use]
    pub fn missing_from(&self, other: &Self) -> u64 {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        let missing = self.words.iter().zip(others).map(|(own, other)| own & !other);
        missing.map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many numbers were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the first of its kind and in its place.
    Fine,
    /// It was delivered before.
    Duplicate,
    /// It sorts before something that was delivered earlier.
    WrongOrder,
    /// The same, but it says so itself: it became durable late and belongs to an earlier place.
    Late,
    /// It can't be: no such sender in this room, or no such message.
    Foreign,
}

/// The counts of one connection.
#[derive(Debug)]
pub struct Tally {
    connection: usize,
    /// The messages seen of each sender of the room, in the senders' order.
    seen: Vec<Seen>,
    greatest: [u8; 36],
    /// Where messages have no ids: the next number of each sender.
    next: Vec<u64>,
    /// Messages delivered for the first time.
    pub delivered: u64,
    /// Further deliveries of the same.
    pub duplicates: u64,
    /// Deliveries after one with a greater id.
    pub wrong_order: u64,
    /// Those of them that say that they are late.
    pub late: u64,
    /// Deliveries that can't be.
    pub foreign: u64,
    /// Own sends that were acknowledged.
    pub acked: Seen,
    /// Acks of sends that had one before.
    pub acks_twice: u64,
    /// Errors by code.
    pub errors: BTreeMap<String, u64>,
    /// Frames that are not what the protocol has.
    pub broken: u64,
    /// The close code if the server closed, or 1006 if the connection just ended.
    pub closed: Option<u16>,
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(plan: &Plan, connection: usize) -> Self {
        Self {
            connection,
            seen: vec![Seen::default(); plan.senders_in(plan.room(connection))],
            greatest: [0; 36],
            next: vec![0; plan.senders_in(plan.room(connection))],
            delivered: 0,
            duplicates: 0,
            wrong_order: 0,
            late: 0,
            foreign: 0,
            acked: Seen::default(),
            acks_twice: 0,
            errors: BTreeMap::new(),
            broken: 0,
            closed: None,
        }
    }

    /// Counts a delivery.
    pub fn deliver(&mut self, plan: &Plan, message: &Delivered) -> Verdict {
        let place = message.sender / plan.rooms;
        let possible = plan.room(message.sender) == plan.room(self.connection)
            && message.sender != self.connection
            && place < self.seen.len()
            && message.seq < plan.sends_each() as u64;
        if !possible {
            self.foreign += 1;
            return Verdict::Foreign;
        }
        if !self.seen[place].insert(message.seq) {
            self.duplicates += 1;
            return Verdict::Duplicate;
        }
        self.delivered += 1;
        if message.id == [0; 36] {
            if message.seq >= self.next[place] {
                self.next[place] = message.seq + 1;
                return Verdict::Fine;
            }
        } else if message.id > self.greatest {
            self.greatest = message.id;
            return Verdict::Fine;
        }
        if message.late {
            self.late += 1;
            return Verdict::Late;
        }
        self.wrong_order += 1;
        Verdict::WrongOrder
    }

    /// Up to which id it has seen its room.
    #[must_use]
    pub fn cursor(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.greatest).ok()?;
        (self.greatest != [0; 36]).then(|| text.to_owned())
    }

    /// Counts the ack of an own send.
    pub fn ack(&mut self, seq: u64) -> bool {
        let new = self.acked.insert(seq);
        self.acks_twice += u64::from(!new);
        new
    }

    /// Counts an error.
    pub fn error(&mut self, code: &str) {
        *self.errors.entry(code.to_owned()).or_default() += 1;
    }

    /// How many acknowledged messages of the room's other senders did not arrive. `acked` holds every sender's, in the
    /// order of connections.
    #[must_use]
    pub fn lost(&self, plan: &Plan, acked: &[Seen]) -> u64 {
        let room = plan.room(self.connection);
        let senders = (0..self.seen.len()).map(|place| place * plan.rooms + room);
        senders
            .zip(&self.seen)
            .filter(|(sender, _)| *sender != self.connection)
            .map(|(sender, seen)| acked.get(sender).map_or(0, |acked| acked.missing_from(seen)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            connections: 6,
            rooms: 2,
            sends: 400,
            ..Plan::example()
        }
    }

    fn message(sender: usize, seq: u64, place: u8) -> Delivered {
        Delivered {
            sender,
            seq,
            id: [place; 36],
            late: false,
        }
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let plan = plan();
        // Connection 4 is in room 0, whose senders are the connections 0 and 2.
        let mut tally = Tally::new(&plan, 4);
        let verdicts = [
            (message(0, 0, 1), Verdict::Fine),
            (message(2, 0, 3), Verdict::Fine),
            (message(0, 1, 2), Verdict::WrongOrder),
            (message(0, 1, 2), Verdict::Duplicate),
            (message(2, 1, 4), Verdict::Fine),
            (
                Delivered {
                    late: true,
                    ..message(0, 3, 2)
                },
                Verdict::Late,
            ),
            (message(1, 0, 9), Verdict::Foreign),
            (message(0, 100, 9), Verdict::Foreign),
            (message(9, 0, 9), Verdict::Foreign),
        ];
        for (number, (message, expected)) in verdicts.iter().enumerate() {
            assert_eq!(tally.deliver(&plan, message), *expected, "delivery {number}");
        }
        assert_eq!(
            (
                tally.delivered,
                tally.duplicates,
                tally.wrong_order,
                tally.late,
                tally.foreign
            ),
            (5, 1, 1, 1, 3)
        );
        let mut acked = vec![Seen::default(); 4];
        for seq in 0..70 {
            acked[0].insert(seq);
        }
        acked[2].insert(0);
        acked[3].insert(0);
        // Of sender 0 the messages 0, 1 and 3 came; sender 3 is in the other room.
        assert_eq!(tally.lost(&plan, &acked), 67);
    }

    #[test]
    fn without_ids_each_senders_own_order_counts() {
        let plan = plan();
        let mut tally = Tally::new(&plan, 4);
        for (sender, seq, expected) in [
            (0, 0, Verdict::Fine),
            (0, 2, Verdict::Fine),
            (2, 0, Verdict::Fine),
            (0, 1, Verdict::WrongOrder),
        ] {
            assert_eq!(tally.deliver(&plan, &message(sender, seq, 0)), expected);
        }
    }

    #[test]
    fn a_sender_misses_nothing_of_its_own() {
        let plan = plan();
        let mut tally = Tally::new(&plan, 0);
        assert!(tally.ack(0) && !tally.ack(0));
        assert_eq!(tally.acks_twice, 1);
        let acked = vec![tally.acked.clone(), Seen::default(), Seen::default(), Seen::default()];
        assert_eq!(tally.lost(&plan, &acked), 0);
        assert_eq!(tally.deliver(&plan, &message(0, 0, 1)), Verdict::Foreign);
    }
}
