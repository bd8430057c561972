//! A room of a cluster: several nodes tell its events, a lower id may arrive after a higher one, and some events are
//! first seen in the store. Whoever reads it holds in the end what the store holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use natter::client::FrameReader;
use natter::limits;
use natter::model::{Author, BootId, Event, EventId, EventKind, Message, Name, RoomId, Timestamp, UserId};
use natter::rooms::envelope::{Content, Durable};
use natter::rooms::state::{Plan, Progress, RoomState, Told};
use natter::wire::frame::text_frame;
use natter::wire::inbound::{Digest, JoinFrom};
use natter::wire::outbound::{RoomRef, event_json};
use proptest::prelude::*;
use serde_json::Value;

use crate::outlet::Fake;

/// When a walk begins, in milliseconds since 1970.
pub const BEGIN: u64 = 1_700_000_000_000;
/// Events that one read of the model's store yields.
const PAGE: usize = 7;

#[derive(Debug, Clone)]
enum Step {
    /// Another node stores this many messages, ids as much apart in milliseconds; they arrive later.
    Write {
        count: usize,
        apart: u64,
    },
    /// Another node deletes.
    Delete {
        which: usize,
    },
    /// So many of what waits arrive, the newest first or the oldest first.
    Arrive {
        count: usize,
        newest: bool,
    },
    /// What waits is lost on the way.
    Lose {
        which: usize,
    },
    /// A repair reads the store.
    Repair,
    /// The newest messages are read, for somebody who becomes a member.
    Newest,
    Join {
        reader: usize,
        resume: bool,
        digest: bool,
    },
    Fill {
        reader: usize,
    },
    Drain {
        reader: usize,
    },
}

#[derive(Default)]
pub struct Seen {
    pub texts: BTreeMap<EventId, String>,
    cursor: Option<EventId>,
    /// It is to hold everything from here on. What is told live may be older, without all that lies between.
    since: Option<EventId>,
    /// Where the page of a join without a cursor begins.
    page: Option<EventId>,
    /// The join under way has no cursor.
    fresh: bool,
    /// What was told on this visit, and what was told again.
    told: BTreeSet<EventId>,
    pub twice: Vec<EventId>,
    live: bool,
    inside: bool,
}

pub struct World {
    pub state: RoomState<Fake>,
    pub room: RoomId,
    pub author: Author,
    pub readers: Vec<(Arc<Fake>, Seen)>,
    store: BTreeMap<EventId, Event>,
    deleted: BTreeSet<EventId>,
    pub under_way: Vec<Event>,
    pub clock: u64,
    body: usize,
}

impl World {
    pub fn new(body: usize) -> Self {
        let room = RoomId::random();
        let reference = RoomRef {
            id: room,
            label: "hall".to_owned(),
        };
        let mut state = RoomState::new(reference).publishing();
        state.share(Timestamp::from_millis(BEGIN));
        Self {
            state,
            room,
            author: Author {
                id: UserId::random(),
                name: Name::parse("ann").unwrap(),
            },
            readers: (0..3)
                .map(|n| (Fake::new(&format!("r{n}"), false), Seen::default()))
                .collect(),
            store: BTreeMap::new(),
            deleted: BTreeSet::new(),
            under_way: Vec::new(),
            clock: BEGIN,
            body,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock)
    }

    fn put(&mut self, id: EventId, kind: EventKind) {
        let event = Event { id, kind };
        self.store.insert(id, event.clone());
        self.under_way.push(event);
    }

    pub fn write(&mut self, count: usize, apart: u64) {
        for _ in 0..count {
            self.clock += apart;
            let id = EventId::new(self.clock, 0, self.clock);
            let message = Message {
                room: self.room,
                id,
                author: self.author.clone(),
                body: format!("{id}:{}", "x".repeat(self.body)),
                reply_to: None,
                mentions: Vec::new(),
                edited_at: None,
                deleted_at: None,
                last_event: None,
            };
            self.put(id, EventKind::Message(message));
        }
    }

    pub fn delete(&mut self, which: usize) {
        let messages: Vec<EventId> = self
            .store
            .values()
            .filter(|event| matches!(event.kind, EventKind::Message(_)) && !self.deleted.contains(&event.id))
            .map(|event| event.id)
            .collect();
        let Some(&message) = messages.get(which % messages.len().max(1)) else {
            return;
        };
        self.clock += 3;
        self.deleted.insert(message);
        if let Some(Event {
            kind: EventKind::Message(stored),
            ..
        }) = self.store.get_mut(&message)
        {
            stored.body.clear();
            stored.deleted_at = Some(Timestamp::from_millis(self.clock));
        }
        let id = EventId::new(self.clock, 1, self.clock);
        self.put(id, EventKind::Deleted { message });
    }

    pub fn arrive(&mut self, count: usize, newest: bool) {
        let mut told = Vec::new();
        for _ in 0..count.min(self.under_way.len()) {
            let event = if newest {
                self.under_way.pop()
            } else {
                Some(self.under_way.remove(0))
            };
            told.extend(event.and_then(|event| self.told(&event)));
        }
        self.receive(told);
    }

    /// An event as another node published it.
    pub fn told(&self, event: &Event) -> Option<Told> {
        let frame = text_frame(&event_json("hall", self.room, event));
        let content = match &event.kind {
            EventKind::Message(message) => Content::Message {
                author: message.author.clone(),
                cause: message.reply_to,
                frame,
            },
            EventKind::Deleted { message } => Content::Deleted {
                message: *message,
                frame,
            },
            EventKind::Late(_) | EventKind::Edited(_) => return None,
        };
        Told::from_layer(Durable {
            boot: BootId::from_bytes([1; 16]),
            number: 1,
            previous: Timestamp::default(),
            id: event.id,
            content,
        })
    }

    pub fn receive(&mut self, told: Vec<Told>) {
        let burst = self.state.receive(told);
        self.state.deliver(&burst, 0, 100);
    }

    fn above(&self, after: EventId, limit: usize) -> Vec<Event> {
        let above = self.store.range(after..).filter(|(id, _)| **id > after);
        above.take(limit).map(|(_, event)| event.clone()).collect()
    }

    /// Reads the newest messages.
    pub fn newest(&mut self) {
        let messages = self.store.values().filter_map(|event| match &event.kind {
            EventKind::Message(message) => Some(message.clone()),
            _ => None,
        });
        let all: Vec<Message> = messages.collect();
        let page = &all[all.len().saturating_sub(limits::JOIN_MESSAGES)..];
        let events: Vec<Event> = page.iter().map(|message| self.store[&message.id].clone()).collect();
        let news = self.state.news_among(&events);
        self.receive(news);
        let newest = self.store.keys().next_back().copied();
        self.state.prime(page, page.len() == all.len(), newest);
    }

    /// Reads everything and tells what is news, as a repair does.
    fn repair(&mut self) {
        let told = self.state.news_among(&self.above(EventId::new(0, 0, 0), usize::MAX));
        self.receive(told);
    }

    pub fn join(&mut self, reader: usize, resume: bool, digest: bool) {
        self.absorb(reader);
        let seen = &mut self.readers[reader].1;
        let since = seen.cursor.filter(|_| resume);
        seen.fresh = since.is_none();
        let have = since.filter(|_| digest).map(|since| {
            let lower = EventId::floor_of(since.timestamp().minus(limits::CATCH_UP_SPAN));
            let from = seen.since.unwrap_or(lower).max(lower);
            let held: Vec<EventId> = seen.texts.range(from..=since).map(|(id, _)| *id).collect();
            Digest {
                count: u32::try_from(held.len()).unwrap(),
                xor: held.iter().fold(0, |xor, id| xor ^ id.as_u128()),
                from: Some(from),
            }
        });
        seen.live = false;
        seen.inside = true;
        let from = JoinFrom {
            since,
            have,
            latest: limits::JOIN_MESSAGES,
        };
        let mut reads = 0;
        let plan = loop {
            match self.state.plan(from, self.now(), reads > 2) {
                Plan::NeedsLatest => self.newest(),
                Plan::NeedsEvents { after } => {
                    let events = self.above(after, usize::MAX);
                    let news = self.state.news_among(&events);
                    self.receive(news);
                    self.state.extend_back(&events, after);
                }
                plan => break plan,
            }
            reads += 1;
        };
        if let Plan::From { begin, .. } = plan {
            self.readers[reader].1.page = begin;
        }
        let link = Arc::clone(&self.readers[reader].0);
        let progress = self
            .state
            .join(link, text_frame(br#"{"type":"joined"}"#), plan, since, None);
        self.go_on(reader, progress);
    }

    fn go_on(&mut self, reader: usize, mut progress: Progress) {
        let connection = self.readers[reader].0.connection;
        while let Progress::NeedsStore { after } = progress {
            let events = self.above(after, PAGE);
            // What is first seen in such a page is news to the others too.
            let news = self.state.news_among(&events);
            self.receive(news);
            progress = self.state.resume_from_store(connection, &events, events.len() < PAGE);
        }
    }

    pub fn drain(&mut self, reader: usize) {
        self.readers[reader].0.full.store(false, Ordering::Relaxed);
        if self.readers[reader].1.inside {
            let progress = self.state.advance(self.readers[reader].0.connection);
            self.go_on(reader, progress);
        }
        self.absorb(reader);
    }

    pub fn absorb(&mut self, reader: usize) {
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
            Step::Write { count, apart } => self.write(count, apart),
            Step::Delete { which } => self.delete(which),
            Step::Arrive { count, newest } => self.arrive(count, newest),
            Step::Lose { which } => {
                if !self.under_way.is_empty() {
                    self.under_way.remove(which % self.under_way.len());
                }
            }
            Step::Repair => self.repair(),
            Step::Newest => self.newest(),
            Step::Join { reader, resume, digest } => self.join(reader, resume, digest),
            Step::Fill { reader } => self.readers[reader].0.full.store(true, Ordering::Relaxed),
            Step::Drain { reader } => self.drain(reader),
        }
        self.state.set_floor(Timestamp::from_millis(BEGIN));
    }
}

impl Seen {
    fn take(&mut self, frame: &Value) {
        let id = |key: &str| frame[key].as_str().map(|id| EventId::parse(id).unwrap());
        let position = match frame["type"].as_str().unwrap() {
            "message" => {
                let id = id("id").unwrap();
                let text = frame["message"].as_str().unwrap();
                self.texts.insert(id, text.to_owned());
                if !self.told.insert(id) {
                    self.twice.push(id);
                }
                Some(id)
            }
            "deleted" => {
                if let Some(text) = self.texts.get_mut(&id("id").unwrap()) {
                    text.clear();
                }
                id("event_id")
            }
            // What came before belongs to the visit before.
            "joined" if self.fresh => {
                *self = Self {
                    inside: true,
                    since: self.page,
                    twice: std::mem::take(&mut self.twice),
                    ..Self::default()
                };
                None
            }
            "joined" => {
                self.told.clear();
                None
            }
            "live" => {
                self.live = true;
                id("cursor")
            }
            "reset" => {
                *self = Self {
                    inside: true,
                    since: id("to"),
                    twice: std::mem::take(&mut self.twice),
                    ..Self::default()
                };
                None
            }
            _ => None,
        };
        self.cursor = self.cursor.max(position);
    }
}

fn a_step() -> impl Strategy<Value = Step> {
    let reader = 0..3_usize;
    prop_oneof![
        5 => (1..6_usize, 1..2_000_u64).prop_map(|(count, apart)| Step::Write { count, apart }),
        1 => any::<usize>().prop_map(|which| Step::Delete { which }),
        6 => (1..5_usize, any::<bool>()).prop_map(|(count, newest)| Step::Arrive { count, newest }),
        1 => any::<usize>().prop_map(|which| Step::Lose { which }),
        1 => Just(Step::Repair),
        1 => Just(Step::Newest),
        3 => (reader.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(reader, resume, digest)| Step::Join { reader, resume, digest }),
        2 => reader.clone().prop_map(|reader| Step::Fill { reader }),
        2 => reader.prop_map(|reader| Step::Drain { reader }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever the order of arrival and whatever was lost and repaired: who drains holds every message from its first
    /// one on, in its last state, and no visit was told one twice.
    #[test]
    fn whoever_reads_a_shared_room_holds_what_the_store_holds(
        body in prop_oneof![Just(10_usize), Just(60_000)],
        steps in proptest::collection::vec(a_step(), 1..80),
    ) {
        let mut world = World::new(body);
        for step in &steps {
            world.step(step);
        }
        world.arrive(usize::MAX, false);
        world.repair();
        for reader in 0..3 {
            world.drain(reader);
            let (_, seen) = &world.readers[reader];
            if !seen.inside {
                continue;
            }
            prop_assert!(seen.live, "reader {} never became live", reader);
            prop_assert!(seen.twice.is_empty(), "reader {} was told again: {:?}", reader, seen.twice);
            for event in world.store.values() {
                let EventKind::Message(message) = &event.kind else { continue };
                if seen.since.is_some_and(|since| message.id >= since) {
                    let held = seen.texts.get(&message.id);
                    prop_assert_eq!(held, Some(&message.body), "reader {}: {}", reader, message.id);
                }
            }
        }
    }
}
