//! The live state of a room, driven without sockets: outlets of the test are full, slow or gone whenever a random walk
//! says so, and what they were handed is compared with a naive model.

mod burst;
mod news;
mod outlet;
mod shared;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use natter::client::FrameReader;
use natter::limits;
use natter::model::{Event, EventId, EventKind, Message, RoomId, Timestamp};
use natter::rooms::state::{Committed, Plan, Progress, RoomState};
use natter::wire::frame::text_frame;
use natter::wire::inbound::JoinFrom;
use natter::wire::outbound::RoomRef;
use outlet::Fake;
use proptest::prelude::*;
use serde_json::Value;

/// When the first event of a walk happens, in milliseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000;
/// Events that one read of the model's store yields; small, so that walks need several.
const PAGE: usize = 7;

/// One step of a walk.
#[derive(Debug, Clone)]
enum Step {
    Send { by: usize, count: usize, slice: usize },
    Edit { which: usize },
    Delete { which: usize },
    Join { reader: usize, resume: bool, latest: usize },
    Leave { reader: usize },
    Fill { reader: usize },
    Drain { reader: usize },
    Restart,
}

/// What a reader of the model holds: built from the frames alone, as a client would.
#[derive(Default)]
struct Seen {
    /// Messages by id, and the text they read now.
    texts: BTreeMap<String, String>,
    /// The greatest position.
    cursor: Option<String>,
    /// Every message from here on must be held.
    since: Option<String>,
    /// Messages told since the last `joined`.
    told: HashSet<String>,
    last: String,
    live: bool,
    joined: bool,
    acked: HashSet<String>,
    repeats: usize,
    late_insertions: usize,
}

struct World {
    state: RoomState<Fake>,
    room: RoomId,
    readers: Vec<(Arc<Fake>, Seen)>,
    inside: Vec<bool>,
    /// The store: messages in their present state, and every event.
    messages: BTreeMap<EventId, Message>,
    events: Vec<Event>,
    clock: u64,
    body: usize,
}

/// A message that was stored now.
fn stored(link: Arc<Fake>, message: Message) -> Committed<Fake> {
    Committed {
        link,
        message,
        reference: None,
        nonce: None,
        fresh: true,
        late: None,
        published: false,
        answered: false,
    }
}

impl World {
    fn new(body: usize) -> Self {
        let room = RoomId::random();
        let readers = (0..4).map(|n| (Fake::new(&format!("reader{n}"), n == 3), Seen::default()));
        Self {
            state: RoomState::new(RoomRef {
                id: room,
                label: "hall".to_owned(),
            }),
            room,
            readers: readers.collect(),
            inside: vec![false; 4],
            messages: BTreeMap::new(),
            events: Vec::new(),
            clock: BEGIN,
            body,
        }
    }

    fn next_id(&mut self) -> EventId {
        self.clock += 7;
        EventId::new(self.clock, 0, self.clock)
    }

    fn send(&mut self, by: usize, count: usize, slice: usize) {
        let link = Arc::clone(&self.readers[by].0);
        let mut batch = Vec::new();
        for _ in 0..count {
            let id = self.next_id();
            let message = Message {
                room: self.room,
                id,
                author: link.author.clone(),
                body: format!("{}:{}", id, "x".repeat(self.body)),
                reply_to: None,
                mentions: Vec::new(),
                edited_at: None,
                deleted_at: None,
                last_event: None,
            };
            self.messages.insert(id, message.clone());
            self.events.push(Event {
                id,
                kind: EventKind::Message(message.clone()),
            });
            batch.push(stored(Arc::clone(&link), message));
        }
        let burst = self.state.committed(batch);
        let mut at = Some(0);
        while let Some(start) = at {
            at = self.state.deliver(&burst, start, slice);
        }
    }

    fn change(&mut self, which: usize, edit: bool) {
        let alive: Vec<EventId> = self
            .messages
            .values()
            .filter(|m| m.deleted_at.is_none())
            .map(|m| m.id)
            .collect();
        if alive.is_empty() {
            return;
        }
        let id = self.next_id();
        let message = self.messages.get_mut(&alive[which % alive.len()]).unwrap();
        message.last_event = Some(id);
        let kind = if edit {
            message.body = format!("edited at {}", id.timestamp().millis());
            message.edited_at = Some(id.timestamp());
            EventKind::Edited(message.clone())
        } else {
            message.body.clear();
            message.deleted_at = Some(id.timestamp());
            EventKind::Deleted { message: message.id }
        };
        let event = Event { id, kind };
        self.events.push(event.clone());
        let burst = self.state.changed(&event, true).expect("a fresh event");
        self.state.deliver(&burst, 0, usize::MAX - 1_000);
    }

    /// Events above a position as a store reads them: messages in their present state.
    fn above(&self, after: EventId, limit: usize) -> Vec<Event> {
        let found = self.events.iter().filter(|event| event.id > after).take(limit);
        let present = found.map(|event| match &event.kind {
            EventKind::Message(message) => Event {
                id: event.id,
                kind: EventKind::Message(self.messages[&message.id].clone()),
            },
            _ => event.clone(),
        });
        present.collect()
    }

    fn join(&mut self, reader: usize, resume: bool, latest: usize) {
        self.absorb(reader);
        let seen = &mut self.readers[reader].1;
        let cursor = seen.cursor.as_deref().filter(|_| resume && seen.joined);
        let since = cursor.map(|id| EventId::parse(id).unwrap());
        if since.is_none() {
            // A first join: what was held before is forgotten, as by a page that was loaded anew.
            *seen = Seen::default();
        }
        seen.told.clear();
        seen.live = false;
        seen.joined = true;
        seen.last.clear();
        let from = JoinFrom {
            since,
            have: None,
            latest,
        };
        let plan = loop {
            match self.state.plan(from, Timestamp::from_millis(self.clock), false) {
                Plan::NeedsLatest => {
                    let page: Vec<Message> = self
                        .messages
                        .values()
                        .rev()
                        .take(limits::JOIN_MESSAGES)
                        .cloned()
                        .collect();
                    let page: Vec<Message> = page.into_iter().rev().collect();
                    let whole = page.len() == self.messages.len();
                    self.state.prime(&page, whole, self.events.last().map(|event| event.id));
                }
                Plan::NeedsEvents { after } => {
                    let events = self.above(after, usize::MAX);
                    self.state.extend_back(&events, after);
                }
                plan @ (Plan::From { .. } | Plan::FromStore { .. }) => break plan,
            }
        };
        let link = Arc::clone(&self.readers[reader].0);
        let joined = text_frame(br#"{"type":"joined"}"#);
        let progress = self.state.join(link, joined, plan, since, None);
        self.inside[reader] = true;
        self.go_on(reader, progress);
    }

    fn go_on(&mut self, reader: usize, mut progress: Progress) {
        let connection = self.readers[reader].0.connection;
        while let Progress::NeedsStore { after } = progress {
            let events = self.above(after, PAGE);
            progress = self.state.resume_from_store(connection, &events, events.len() < PAGE);
        }
    }

    fn drain(&mut self, reader: usize) {
        self.readers[reader].0.full.store(false, Ordering::Relaxed);
        if self.inside[reader] {
            let progress = self.state.advance(self.readers[reader].0.connection);
            self.go_on(reader, progress);
        }
        self.absorb(reader);
    }

    /// A fresh process: the store is what remains, and everybody has to come back.
    fn restart(&mut self) {
        for reader in 0..self.readers.len() {
            self.absorb(reader);
        }
        let room = RoomRef {
            id: self.room,
            label: "hall".to_owned(),
        };
        self.state = RoomState::new(room);
        self.inside.fill(false);
    }

    /// Reads what a reader was handed, as a client does.
    fn absorb(&mut self, reader: usize) {
        let (link, seen) = &mut self.readers[reader];
        let mut frames = FrameReader::default();
        for bytes in link.handed.lock().drain(..) {
            frames
                .feed(&bytes, |_, text| seen.take(&serde_json::from_slice(text).unwrap()))
                .unwrap();
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            // Who is not in the room can't send: the room refuses it before it gets here.
            Step::Send { by, count, slice } if self.inside[by] => self.send(by, count, slice),
            Step::Send { .. } => {}
            Step::Edit { which } => self.change(which, true),
            Step::Delete { which } => self.change(which, false),
            Step::Join { reader, resume, latest } => self.join(reader, resume, latest),
            Step::Leave { reader } => {
                self.absorb(reader);
                self.state.leave(self.readers[reader].0.connection);
                self.inside[reader] = false;
            }
            Step::Fill { reader } => self.readers[reader].0.full.store(true, Ordering::Relaxed),
            Step::Drain { reader } => self.drain(reader),
            Step::Restart => self.restart(),
        }
    }
}

impl Seen {
    fn take(&mut self, frame: &Value) {
        let text = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
        let id = text("id");
        let position = frame["event_id"].as_str().map_or_else(|| id.clone(), str::to_owned);
        match frame["type"].as_str().unwrap() {
            "message" => {
                self.repeats += usize::from(!self.told.insert(id.clone()));
                self.late_insertions += usize::from(id < self.last);
                self.last = id.clone();
                self.since.get_or_insert_with(|| id.clone());
                self.texts.insert(id.clone(), text("message"));
            }
            "ack" => {
                assert!(self.acked.insert(id.clone()), "acknowledged twice: {id}");
                // The sender knows its own text; the model looks it up.
                self.texts.entry(id).or_insert_with(|| "own".to_owned());
                return;
            }
            "edited" if self.texts.contains_key(&id) => {
                self.texts.insert(id, text("message"));
            }
            "deleted" if self.texts.contains_key(&id) => {
                self.texts.insert(id, String::new());
            }
            "reset" => {
                let to = text("to");
                self.texts.retain(|held, _| *held >= to);
                self.since = Some(to);
                return;
            }
            "live" => {
                self.live = true;
                let cursor = frame["cursor"].as_str().map(str::to_owned);
                self.cursor = self.cursor.take().max(cursor);
                return;
            }
            _ => return,
        }
        self.cursor = self.cursor.take().max(Some(position));
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let reader = 0..4_usize;
    prop_oneof![
        6 => (0..4_usize, 1..6_usize, 1..4_usize).prop_map(|(by, count, slice)| Step::Send { by, count, slice }),
        1 => any::<usize>().prop_map(|which| Step::Edit { which }),
        1 => any::<usize>().prop_map(|which| Step::Delete { which }),
        3 => (reader.clone(), any::<bool>(), prop_oneof![Just(50_usize), Just(0), 1..5_usize])
            .prop_map(|(reader, resume, latest)| Step::Join { reader, resume, latest }),
        1 => reader.clone().prop_map(|reader| Step::Leave { reader }),
        3 => reader.clone().prop_map(|reader| Step::Fill { reader }),
        3 => reader.prop_map(|reader| Step::Drain { reader }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whoever drains has every message from its first one on, each told once per join and in order, in its last
    /// state. Bodies of 60,000 bytes make the ring move on within a few sends; small ones keep everything in it.
    #[test]
    fn whoever_drains_holds_what_the_store_holds(
        body in prop_oneof![Just(10_usize), Just(60_000)],
        steps in proptest::collection::vec(a_step(), 1..80),
    ) {
        let mut world = World::new(body);
        for step in &steps {
            world.step(step);
        }
        for reader in 0..4 {
            world.drain(reader);
            if !world.inside[reader] {
                continue;
            }
            let (link, seen) = &world.readers[reader];
            let connection = link.connection;
            prop_assert!(seen.live, "reader {} never became live", reader);
            prop_assert_eq!(world.state.advance(connection), Progress::Live);
            prop_assert_eq!(seen.late_insertions, 0, "reader {} got a message out of order", reader);
            prop_assert_eq!(seen.repeats, 0, "reader {} got a message twice within one join", reader);
            let from = seen.since.clone().unwrap_or_default();
            for (id, message) in &world.messages {
                let id = id.to_string();
                if seen.since.is_some() && id >= from {
                    match seen.texts.get(&id).map(String::as_str) {
                        Some("own") => {}
                        held => prop_assert_eq!(held, Some(message.body.as_str()), "reader {}: {}", reader, id),
                    }
                }
            }
        }
    }
}

#[test]
fn a_slow_joiner_keeps_its_place_when_older_events_are_read_from_the_store() {
    let mut world = World::new(10);
    world.join(1, false, 50);
    world.join(2, false, 50);
    world.send(1, 3, 1);
    world.absorb(2);
    let cursor = Some(world.readers[2].1.cursor.clone().expect("it heard the messages"));
    world.change(0, true);
    world.send(1, 1, 1);
    world.restart();
    world.readers[2].1.cursor = cursor;
    // One asks for the latest messages and takes none of them yet.
    world.step(&Step::Fill { reader: 0 });
    world.join(0, false, 2);
    // The other's cursor makes the room read the edit, which lies between the messages that are here.
    world.join(2, true, 50);
    world.drain(0);
    let seen = &world.readers[0].1;
    assert_eq!((seen.told.len(), seen.live), (2, true));
}
