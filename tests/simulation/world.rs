//! A whole run: nodes, people, weather, and time, which passes in small steps. In each step every node that is not paused
//! runs alone until it has nothing left to do, so a run follows from its seed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use natter::model::{Name, Role, Room, RoomId, RoomKind, Timestamp, User};
use natter::presence::local::LocalPresence;

use crate::ground::{EPOCH, Ground, Switches};
use crate::judge::history::{Event, History, Row, once_each};
use crate::node::Node;
use crate::person::{Around, Person};
use crate::weather::Fault;

/// How long a step is, in milliseconds.
const STEP: u64 = 25;
/// How long everybody may take to have everything once all is healed.
const CONVERGE: u64 = 75_000;
/// How long a repair may take once everybody is back.
const REPAIRED: u64 = 15_000;
/// How far clocks are off at most while nothing is wrong with them.
const SKEW: i64 = 900;

/// What a run is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// From which everything follows.
    pub seed: u64,
    /// How long people talk, in milliseconds.
    pub talk: u64,
    /// What may go wrong.
    pub faults: Vec<Fault>,
    /// How many things may be wrong at once.
    pub at_once: usize,
    /// How long it is at least and at most until the next thing goes wrong.
    pub every: (u64, u64),
    /// For how long each lasts, if not for as long as it does by itself.
    pub lasts: Option<std::ops::RangeInclusive<u64>>,
    /// How long texts are, in characters of four bytes.
    pub length: usize,
    /// How many of a hundred deeds are to have oneself silenced.
    pub parts: u32,
    /// How many are to stop reading for a while.
    pub stalls: u32,
    /// How many are to leave the connection.
    pub leaves: u64,
    /// What is switched off.
    pub switches: Switches,
}

struct Slot {
    node: Option<Node>,
    skew: i64,
    /// It stands still until then.
    paused: Option<u64>,
    /// It is started again then.
    back: u64,
}

struct Spell {
    fault: Fault,
    node: usize,
    name: String,
    until: u64,
}

/// A run.
pub struct World {
    plan: Plan,
    ground: Arc<Ground>,
    presence: LocalPresence,
    owner: User,
    rooms: Vec<Room>,
    slots: Vec<Slot>,
    people: Vec<Person>,
    spells: Vec<Spell>,
    next_spell: u64,
    repaired: u64,
}

/// What came of a run.
pub struct Outcome {
    /// What was written down.
    pub history: History,
    /// Everybody had everything in time.
    pub converged: bool,
    /// Events that repairs have found.
    pub repaired: u64,
}

/// Runs one.
pub fn run(plan: &Plan) -> Outcome {
    let mut world = World::new(plan.clone());
    world.talk();
    let converged = world.settle();
    world.look_around();
    Outcome {
        history: world.ground.history(),
        converged,
        repaired: world.repaired,
    }
}

impl World {
    fn new(plan: Plan) -> Self {
        let ground = Arc::new(Ground::new(plan.seed, plan.switches));
        let owner = ground.accounts.lock().user(ground.bytes(), "owner");
        let rooms: Vec<Room> = ["hall", "attic"]
            .into_iter()
            .map(|name| Room {
                id: RoomId::from_bytes(ground.bytes()),
                name: Some(Name::parse(name).expect("a name")),
                title: String::new(),
                kind: RoomKind::Public,
                pair: None,
                created_at: Timestamp::from_millis(EPOCH),
                archived: false,
                deleted: false,
            })
            .collect();
        for room in &rooms {
            let mut accounts = ground.accounts.lock();
            accounts.rooms.insert(room.id, room.clone());
            accounts.members.insert((room.id, owner.id), Role::Owner);
        }
        let people: Vec<Person> = ["ann", "ben", "cid", "dot", "eve", "fay"]
            .into_iter()
            .enumerate()
            .map(|(nth, name)| Person::new(&ground, name, if nth < 4 { &rooms } else { &rooms[..1] }))
            .collect();
        for person in &people {
            let mut accounts = ground.accounts.lock();
            for room in &rooms {
                accounts.members.insert((room.id, person.user().id), Role::Member);
            }
        }
        let mut world = Self {
            next_spell: 8_000,
            plan,
            ground,
            presence: LocalPresence::new(),
            owner,
            rooms,
            slots: Vec::new(),
            people,
            spells: Vec::new(),
            repaired: 0,
        };
        for index in 0..3 {
            let skew = world.some_skew(SKEW);
            let node = Some(Node::start(&world.ground, index, &world.presence, skew));
            world.slots.push(Slot {
                node,
                skew,
                paused: None,
                back: 0,
            });
        }
        world
    }

    fn some_skew(&self, most: i64) -> i64 {
        let most = most.unsigned_abs();
        i64::try_from(self.ground.dice(0..=2 * most)).expect("a small one") - most.cast_signed()
    }

    fn talk(&mut self) {
        // Everybody is in every room before anybody talks, so everybody is expected to have all of it.
        while !self.people.iter().all(Person::is_calm) {
            self.step(false);
            assert!(self.ground.now() < 60_000, "nobody comes in");
        }
        self.next_spell = self.ground.now() + self.ground.dice(500..=4_000);
        let end = self.ground.now() + self.plan.talk;
        while self.ground.now() < end {
            self.faults(true);
            self.step(true);
        }
    }

    /// Waits until everybody is back and has everything; an edit of which nobody knows whether it was stored may be shown
    /// or not, so where there is one it waits for as long as anything else could take.
    fn settle(&mut self) -> bool {
        let end = self.ground.now() + CONVERGE;
        self.faults(false);
        let mut calm_since = None;
        while self.ground.now() < end {
            for _ in 0..20 {
                self.step(false);
            }
            let is_calm = self.people.iter().all(Person::is_calm);
            if !is_calm {
                calm_since = None;
                continue;
            }
            let since = *calm_since.get_or_insert(self.ground.now());
            if self.ground.now() - since > REPAIRED || self.is_settled() {
                return true;
            }
        }
        false
    }

    fn is_settled(&self) -> bool {
        self.rooms.iter().all(|room| {
            let stored = self.rows(room);
            self.people.iter().all(|person| person.shows(room, &stored))
        })
    }

    fn rows(&self, room: &Room) -> Vec<Row> {
        let (least, most) = (
            natter::model::EventId::new(0, 0, 0),
            natter::model::EventId::new(u64::MAX, 0, 0),
        );
        let messages = self.ground.data.lock().messages(room.id, least, most);
        messages.into_iter().map(row).collect()
    }

    fn look_around(&mut self) {
        for (index, slot) in self.slots.iter().enumerate() {
            let Some(node) = &slot.node else { continue };
            for room in &self.rooms {
                self.ground.record(Event::History {
                    node: index.to_string(),
                    room: room.label(),
                    rows: once_each(node.history(room).into_iter().map(row).collect()),
                });
            }
            self.repaired += node.repaired();
        }
    }

    /// Lets a moment pass for everybody.
    fn step(&mut self, talking: bool) {
        let now = self.ground.now() + STEP;
        self.ground.set_now(now);
        self.ground.net.lock().deliver(now);
        self.land(now);
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.node.is_none() && now >= slot.back {
                slot.node = Some(Node::start(&self.ground, index, &self.presence, slot.skew));
            }
            let Some(node) = &slot.node else { continue };
            if let Some(until) = slot.paused {
                if now < until {
                    continue;
                }
                slot.paused = None;
                node.jump_to(now);
            }
            node.run_until(now + STEP);
        }
        let nodes: Vec<Option<&Node>> = self.slots.iter().map(|slot| slot.node.as_ref()).collect();
        let around = Around {
            nodes: &nodes,
            talking,
            owner: &self.owner,
            length: self.plan.length,
            parts: self.plan.parts,
            stalls: if talking { self.plan.stalls } else { 0 },
            leaves: self.plan.leaves,
        };
        for person in &mut self.people {
            person.step(&around);
        }
    }

    /// Writes land; a node whose fuse is lit does not live to hear of it.
    fn land(&mut self, now: u64) {
        let mut burnt = Vec::new();
        let ground = Arc::clone(&self.ground);
        ground.data.lock().land(now, |node| {
            if ground.weather.lock().fuse.remove(&node) {
                burnt.push(node);
            }
            !burnt.contains(&node)
        });
        for node in burnt {
            self.kill(node);
        }
    }

    fn kill(&mut self, index: usize) {
        if let Some(node) = self.slots[index].node.take() {
            self.repaired += node.repaired();
            drop(node);
            self.ground.net.lock().forget(index);
            self.people.iter_mut().for_each(|person| person.died(index));
        }
        self.slots[index].paused = None;
        self.slots[index].back = self.ground.now() + self.ground.dice(500..=6_000);
    }

    /// Ends faults whose time has come, and begins others; or ends all.
    fn faults(&mut self, goes_on: bool) {
        let now = self.ground.now();
        let (over, last): (Vec<Spell>, Vec<Spell>) = std::mem::take(&mut self.spells)
            .into_iter()
            .partition(|spell| !goes_on || spell.until <= now);
        self.spells = last;
        for spell in over {
            self.set(spell.fault, spell.node, false, now);
            self.ground.record(Event::Fault {
                name: spell.name,
                begins: false,
            });
        }
        if !goes_on || now < self.next_spell || self.plan.faults.is_empty() {
            return;
        }
        self.next_spell = now + self.ground.dice(self.plan.every.0..=self.plan.every.1);
        let fault = self.plan.faults[self.pick(self.plan.faults.len())];
        let node = self.pick(self.slots.len());
        // What is one state for all can't be in two spells at once.
        if self.spells.len() >= self.plan.at_once || self.spells.iter().any(|spell| spell.fault.excludes(fault)) {
            return;
        }
        let lasts = self.plan.lasts.clone().unwrap_or_else(|| fault.lasts());
        let until = now + self.ground.dice(lasts);
        let name = format!("{fault:?} of {node} from {now} to {until}");
        self.ground.record(Event::Fault {
            name: name.clone(),
            begins: true,
        });
        self.set(fault, node, true, until);
        self.spells.push(Spell {
            fault,
            node,
            name,
            until,
        });
    }

    fn pick(&self, of: usize) -> usize {
        usize::try_from(self.ground.dice(0..=of as u64 - 1)).expect("few")
    }

    fn set(&mut self, fault: Fault, node: usize, begins: bool, until: u64) {
        fault.set(&mut self.ground.weather.lock(), node, self.slots.len(), begins);
        match fault {
            // The client of the layer says when it is cut off, and once more when it is back.
            Fault::Cut | Fault::Island => self.ground.net.lock().tell_lost(node),
            Fault::Kill if begins => {
                self.kill(node);
                self.slots[node].back = until;
            }
            Fault::Pause => self.slots[node].paused = begins.then_some(until).or(self.slots[node].paused.map(|_| 0)),
            Fault::LogEmptied if begins => self.ground.log.lock().empty(self.ground.now()),
            Fault::ClockStep if begins => self.set_clock(node, self.some_skew(SKEW)),
            Fault::ClockOff => {
                let skew = if begins { 60_000 } else { self.some_skew(SKEW) };
                self.set_clock(node, skew);
            }
            _ => {}
        }
    }

    fn set_clock(&mut self, index: usize, skew: i64) {
        let slot = &mut self.slots[index];
        slot.skew = skew;
        if let Some(node) = &slot.node {
            node.hands.skew.store(skew, Ordering::Relaxed);
        }
    }
}

fn row(message: natter::model::Message) -> Row {
    Row {
        id: message.id,
        token: message.body.split(' ').next().unwrap_or_default().to_owned(),
        deleted: message.deleted_at.is_some(),
    }
}
