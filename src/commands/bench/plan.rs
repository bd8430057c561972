//! Who sends what when: everything about a send follows from its number, so that receivers know when a message was
//! meant to be sent without having it told.

use std::time::Duration;

use memchr::memmem::Finder;

/// The pattern of a load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Connections in all; connection `c` is in room `c % rooms`.
    pub connections: usize,
    /// Rooms.
    pub rooms: usize,
    /// Senders: the first of the connections.
    pub senders: usize,
    /// Sends per second, of all senders together.
    pub rate: f64,
    /// Whether each second's sends go out at once at its beginning.
    pub burst: bool,
    /// Sends in all; where answers set the pace, more than there can be.
    pub sends: u64,
    /// Sends that each sender keeps unanswered; 0: the pace does not follow the answers.
    pub window: usize,
    /// How long sends are made.
    pub until: Duration,
    /// Connections that never read: the last ones.
    pub never_read: usize,
    /// From when on times are counted.
    pub warmup: Duration,
    /// Characters in each message.
    pub size: usize,
    /// Tells this run's messages from others'.
    pub run: u32,
}

impl Plan {
    /// The room of a connection.
    #[must_use]
    pub const fn room(&self, connection: usize) -> usize {
        connection % self.rooms
    }

    /// How many connections a room has.
    #[must_use]
    pub const fn members(&self, room: usize) -> usize {
        (self.connections - room).div_ceil(self.rooms)
    }

    /// How many connections of a room read.
    #[must_use]
    pub const fn readers(&self, room: usize) -> usize {
        (self.connections - self.never_read)
            .saturating_sub(room)
            .div_ceil(self.rooms)
    }

    /// Whether a connection reads what comes.
    #[must_use]
    pub const fn reads(&self, connection: usize) -> bool {
        connection < self.connections - self.never_read
    }

    /// How many senders a room has.
    #[must_use]
    pub const fn senders_in(&self, room: usize) -> usize {
        self.senders.saturating_sub(room).div_ceil(self.rooms)
    }

    /// How many messages each sender sends at most.
    #[must_use]
    pub fn sends_each(&self) -> usize {
        usize::try_from(self.sends.div_ceil(self.senders.max(1) as u64)).unwrap_or(usize::MAX)
    }

    /// Which sender sends which of its messages as the `number`th of all.
    #[must_use]
    pub fn sender_of(&self, number: u64) -> (usize, u64) {
        let senders = self.senders as u64;
        (usize::try_from(number % senders).unwrap_or(0), number / senders)
    }

    /// When a message is meant to be sent, from the start.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "numbers of sends are far below 2^52")]
    pub fn intended(&self, sender: usize, seq: u64) -> Duration {
        let number = seq * self.senders as u64 + sender as u64;
        let seconds = number as f64 / self.rate;
        Duration::from_secs_f64(if self.burst { seconds.floor() } else { seconds })
    }

    /// The text of a message: a mark that receivers read, then filling.
    #[must_use]
    pub fn text(&self, sender: usize, seq: u64) -> String {
        let mut text = format!("nb:{:08x}:{sender}:{seq} ", self.run);
        while text.len() < self.size {
            text.push('x');
        }
        text
    }
}

/// Finds this run's mark in frames without reading their JSON.
#[derive(Debug)]
pub struct Marks {
    mark: Finder<'static>,
    id: Finder<'static>,
    late: Finder<'static>,
}

/// What a delivered message's frame tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Who sent it, as the number of the connection.
    pub sender: usize,
    /// Which of the sender's messages it is.
    pub seq: u64,
    /// Its id, as its 36 characters: they sort as ids do. All zero where messages have none.
    pub id: [u8; 36],
    /// Whether it says that it belongs to an earlier place.
    pub late: bool,
}

impl Marks {
    /// Looks for the marks of a run.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            mark: Finder::new(&format!("\"nb:{:08x}:", plan.run)).into_owned(),
            // The quote in front tells it from `room_id` and `author_id`.
            id: Finder::new("\"id\":\"").into_owned(),
            late: Finder::new("\"late\":true").into_owned(),
        }
    }

    /// What a frame tells if it delivers a message of this run. No text of such a message holds a quote, so whatever is
    /// found is a field.
    #[must_use]
    pub fn read(&self, frame: &[u8], has_id: bool) -> Option<Delivered> {
        let mark = self.mark.find(frame)? + self.mark.needle().len();
        let (sender, rest) = number(&frame[mark..])?;
        let (seq, _) = number(rest.strip_prefix(b":")?)?;
        let sender = usize::try_from(sender).ok()?;
        if !has_id {
            return Some(Delivered {
                sender,
                seq,
                id: [0; 36],
                late: false,
            });
        }
        let id = self.id.find(frame)? + self.id.needle().len();
        Some(Delivered {
            sender,
            seq,
            id: frame.get(id..id + 36)?.try_into().ok()?,
            late: self.late.find(frame).is_some(),
        })
    }
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((value, rest))
}

#[cfg(test)]
impl Plan {
    /// Ten connections, four of them senders, in three rooms.
    pub fn example() -> Self {
        Self {
            connections: 10,
            rooms: 3,
            senders: 4,
            rate: 8.0,
            burst: false,
            sends: 10,
            window: 0,
            until: Duration::from_secs(2),
            never_read: 0,
            warmup: Duration::ZERO,
            size: 40,
            run: 0xbeef,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_in_one_room_and_every_send_has_its_time() {
        let plan = Plan::example();
        assert_eq!((0..3).map(|room| plan.members(room)).collect::<Vec<_>>(), [4, 3, 3]);
        assert_eq!((0..3).map(|room| plan.senders_in(room)).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(plan.sends_each(), 3);
        let slow = Plan {
            never_read: 4,
            ..plan.clone()
        };
        assert_eq!((0..3).map(|room| slow.readers(room)).collect::<Vec<_>>(), [2, 2, 2]);
        assert!(slow.reads(5) && !slow.reads(6));
        for number in 0..10 {
            let (sender, seq) = plan.sender_of(number);
            assert_eq!(plan.intended(sender, seq), Duration::from_millis(125 * number));
        }
        let burst = Plan { burst: true, ..plan };
        let (sender, seq) = burst.sender_of(9);
        assert_eq!(burst.intended(sender, seq), Duration::from_secs(1));
    }

    #[test]
    fn marks_are_found_and_only_in_this_run() {
        let plan = Plan::example();
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        let frame = |text: &str| {
            format!(
                "{{\"type\":\"message\",\"room_id\":\"r\",\"author_id\":\"a\",\"id\":\"{id}\",\"message\":\"{text}\"}}"
            )
        };
        let marks = Marks::of(&plan);
        let text = plan.text(2, 7);
        assert_eq!(text.len(), 40);
        let found = marks.read(frame(&text).as_bytes(), true).unwrap();
        assert_eq!(
            (found.sender, found.seq, &found.id[..], found.late),
            (2, 7, id.as_bytes(), false)
        );
        let late = frame(&text).replace("\"type\"", "\"late\":true,\"type\"");
        assert!(marks.read(late.as_bytes(), true).unwrap().late);
        let other = Plan { run: 0xbee0, ..plan };
        assert_eq!(marks.read(frame(&other.text(2, 7)).as_bytes(), true), None);
        assert_eq!(marks.read(b"{\"type\":\"ack\"}", true), None);
    }
}
