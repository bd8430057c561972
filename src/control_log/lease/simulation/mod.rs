//! Nodes, a log and a network with pauses, partitions, losses, births and deaths, driven by a seed. Whatever happens, no node may write
//! after a revocation was answered that it has not acted on; and each rule is shown to matter by switching it off.

mod parts;
mod weather;

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use self::parts::{Answer, Frame, Log, Node, Revocation, Without};
use super::machine::{Elapsed, Told};
use crate::control_log::Position;
use crate::limits;
use crate::model::BootId;

const STEP: Duration = Duration::from_millis(40);
const LENGTH: Duration = Duration::from_secs(60);
const NODES: u8 = 3;

struct World {
    without: Without,
    random: SmallRng,
    now: Elapsed,
    nodes: Vec<Node>,
    log: Log,
    network: Vec<Frame>,
    /// Whether frames from one node reach another.
    cut: [[bool; NODES as usize]; NODES as usize],
    revocations: Vec<Revocation>,
    /// Processes so far.
    births: u8,
    open: u64,
    open_without_log: u64,
}

impl World {
    fn new(seed: u64, without: Without) -> Self {
        let start = Position {
            incarnation: 1,
            offset: 0,
        };
        let nodes: Vec<Node> = (0..NODES)
            .map(|number| Node {
                next_frame: Duration::from_millis(u64::from(number) * 300),
                ..Node::born(BootId::from_bytes([number + 1; 16]), Duration::ZERO, start)
            })
            .collect();
        let lease = |node: &Node| (*node.boot.as_bytes(), (limits::LEASE_LIFE, start));
        Self {
            without,
            random: SmallRng::seed_from_u64(seed),
            now: Duration::ZERO,
            log: Log {
                incarnation: 1,
                since: Duration::ZERO,
                entries: Vec::new(),
                leases: nodes.iter().map(lease).collect(),
            },
            nodes,
            network: Vec::new(),
            births: NODES,
            cut: [[false; NODES as usize]; NODES as usize],
            revocations: Vec::new(),
            open: 0,
            open_without_log: 0,
        }
    }

    fn chance(&mut self, per_second: f64) -> bool {
        self.random.random_bool(per_second * STEP.as_secs_f64())
    }

    fn some(&mut self) -> usize {
        self.random.random_range(0..usize::from(NODES))
    }

    /// What a reading that reaches the log now will bring.
    fn read(&mut self, number: usize) -> Answer {
        let (node, tail) = (&self.nodes[number], self.log.tail());
        let acted = node.acted;
        if !node.reaches {
            return Answer::Failed;
        }
        self.log
            .leases
            .insert(*node.boot.as_bytes(), (self.now + limits::LEASE_LIFE, acted));
        if !tail.reaches(acted) && self.without != Without::Incarnations {
            return Answer::Behind(tail);
        }
        let now = self.now;
        let held = self.log.leases.iter().filter(|(_, (until, _))| *until > now);
        let from = usize::try_from(acted.offset).unwrap_or(usize::MAX);
        Answer::Read {
            entries: self.log.entries.get(from..).map(<[u64]>::to_vec).unwrap_or_default(),
            position: tail,
            holders: held.map(|(boot, _)| BootId::from_bytes(*boot)).collect(),
        }
    }

    fn act(&mut self, number: usize) {
        let now = self.now;
        if let Some((began, over, position)) = self.nodes[number].checking {
            if now >= over {
                // The change was durable before it came into the log, so the check has seen it.
                let seen: Vec<u64> = self
                    .revocations
                    .iter()
                    .filter(|r| r.at <= began)
                    .map(|r| r.number)
                    .collect();
                let node = &mut self.nodes[number];
                node.checking = None;
                node.acted = position;
                for revocation in seen {
                    node.done.push((revocation, now));
                }
            }
            return;
        }
        match self.nodes[number].reading.take() {
            None => {
                let answer = self.read(number);
                let takes = match answer {
                    Answer::Failed => 1_500,
                    _ => self.random.random_range(1..400),
                };
                // Between two readings a node waits up to a second; a failed one took that long already.
                self.nodes[number].reading = Some((now, now + Duration::from_millis(takes), answer));
            }
            Some((begun, returns, answer)) if now < returns => {
                self.nodes[number].reading = Some((begun, returns, answer));
            }
            Some((begun, _, answer)) => self.returned(number, begun, answer),
        }
    }

    fn returned(&mut self, number: usize, begun: Elapsed, answer: Answer) {
        let now = self.now;
        match answer {
            Answer::Failed => self.nodes[number].machine.failed(),
            Answer::Behind(position) => {
                self.nodes[number].machine.bar(position);
                self.nodes[number].checking = Some((now, now + Duration::from_millis(300), position));
            }
            Answer::Read {
                entries,
                position,
                mut holders,
            } => {
                let begun = if self.without == Without::Beginnings {
                    now
                } else {
                    begun
                };
                if self.without == Without::Holders {
                    holders.clear();
                }
                let node = &mut self.nodes[number];
                for entry in entries {
                    node.done.push((entry, now));
                }
                node.acted = position;
                node.machine.renewed(begun, position, &holders);
            }
        }
    }

    fn tell(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if self.now < node.next_frame {
            return;
        }
        node.next_frame = self.now + Duration::from_secs(1);
        self.send(number, false);
    }

    fn send(&mut self, number: usize, goodbye: bool) {
        let node = &mut self.nodes[number];
        node.frames += 1;
        node.machine.frame_sent(node.frames, self.now);
        let (mut position, reaches_log) = node.machine.condition();
        if self.without == Without::Positions {
            position = None;
        }
        let (boot, number_of_frame, linked) = (node.boot, node.frames, node.linked);
        for to in 0..usize::from(NODES) {
            let receiver = &self.nodes[to];
            // The layer is one at least until a node has been heard for the first time.
            let cut = self.cut[number][to] && receiver.last_heard(boot).is_some();
            if to == number || cut || !linked || !receiver.lives {
                continue;
            }
            let to = receiver.boot;
            let delay = Duration::from_millis(self.random.random_range(1..800));
            self.network.push(Frame {
                at: self.now + delay,
                to,
                told: Told {
                    boot,
                    number: number_of_frame,
                    position,
                    reaches_log,
                    goodbye,
                    echo: Some(self.nodes[number].last_heard(to).unwrap_or(0)),
                },
            });
        }
    }

    fn hear(&mut self) {
        for frame in std::mem::take(&mut self.network) {
            let to = self.nodes.iter_mut().find(|node| node.boot == frame.to && node.lives);
            let Some(node) = to else { continue };
            // What comes while a process is paused waits in its kernel's buffer.
            if frame.at > self.now || node.paused_until > self.now {
                self.network.push(frame);
                continue;
            }
            if !node.linked {
                continue;
            }
            let mut told = frame.told;
            let heard = node.heard.entry(*told.boot.as_bytes()).or_default();
            *heard = told.number.max(*heard);
            if self.without == Without::Echoes {
                node.frames += 1;
                node.machine.frame_sent(node.frames, self.now);
                told.echo = Some(node.frames);
            }
            node.machine.frame_heard(told, self.now);
        }
    }

    /// Round trips over the layer, one a second.
    fn reach_out(&mut self, number: usize) {
        let (now, takes) = (self.now, self.random.random_range(1..400));
        let node = &mut self.nodes[number];
        if self.without == Without::Link {
            node.machine.linked(now, now);
        }
        match node.trip {
            Some((begun, returns)) if now >= returns => {
                node.trip = None;
                if node.linked {
                    node.machine.linked(begun, now);
                }
            }
            None if now >= node.next_trip => {
                node.next_trip = now + Duration::from_secs(1);
                node.trip = node.linked.then(|| (now, now + Duration::from_millis(takes)));
            }
            _ => {}
        }
    }

    /// Answers what may be answered, as `wait_reported` does.
    fn answer(&mut self) {
        let (now, tail, young) = (
            self.now,
            self.log.tail(),
            self.now < self.log.since + limits::DELIVERY_LEASE,
        );
        for revocation in &mut self.revocations {
            let by = self.nodes.iter().find(|node| node.boot == revocation.by);
            let Some(node) = by.filter(|node| node.runs(now)) else {
                continue;
            };
            if revocation.answered.is_some() || revocation.failed {
                continue;
            }
            let has_acted = |acted: Position| {
                let another =
                    acted.incarnation == tail.incarnation && tail.incarnation != revocation.position.incarnation;
                acted.reaches(revocation.position) || another
            };
            let by_lease = self.log.leases.values().filter(|(until, _)| *until > now);
            let mut known = by_lease.map(|(_, acted)| Some(*acted)).collect::<Vec<_>>();
            known.extend(node.machine.heard(now).into_iter().map(|(_, acted)| acted));
            let introduced = node.machine.introduced(now) || self.without == Without::Introduction;
            let young = (young && self.without != Without::Age) || !introduced;
            let own = node.done.iter().find(|(number, _)| *number == revocation.number);
            let confirmed = known.iter().all(|acted| acted.is_some_and(has_acted)) && own.is_some();
            if node.reaches && confirmed && !young {
                revocation.answered = Some(now);
            } else if now >= revocation.at + limits::REVOCATION_WAIT {
                let since = own.map(|(_, at)| *at);
                let early = since.is_some_and(|at| at + limits::DELIVERY_LEASE <= now) && !young;
                if early || self.without == Without::OwnAct {
                    revocation.answered = Some(now);
                } else {
                    revocation.failed = true;
                }
            }
        }
    }

    /// Who writes although a revocation that it has not acted on was answered.
    fn leak(&mut self) -> Option<String> {
        let now = self.now;
        for (number, node) in self.nodes.iter().enumerate() {
            if !node.runs(now) || now >= node.machine.term().until {
                continue;
            }
            self.open += 1;
            self.open_without_log += u64::from(!node.machine.condition().1);
            let missed = self.revocations.iter().find(|revocation| {
                let acted = node.done.iter().any(|(done, _)| *done == revocation.number);
                revocation.answered.is_some_and(|at| at < now) && !acted
            });
            if let Some(missed) = missed {
                return Some(format!(
                    "at {now:?} node {number} writes; revocation {} of {:?} at {:?} was answered at {:?}",
                    missed.number, missed.by, missed.at, missed.answered
                ));
            }
        }
        None
    }

    fn run(&mut self) -> Option<String> {
        while self.now < LENGTH {
            self.now += STEP;
            self.weather();
            self.hear();
            for number in 0..usize::from(NODES) {
                if self.nodes[number].runs(self.now) {
                    self.act(number);
                    self.tell(number);
                    self.reach_out(number);
                }
            }
            if let Some(leak) = self.leak() {
                return Some(leak);
            }
            self.answer();
        }
        None
    }
}

#[test]
fn no_node_writes_after_a_revocation_that_it_has_not_acted_on() {
    let (mut answered, mut open, mut open_without_log, mut births) = (0, 0, 0, 0);
    for seed in 0..1_000 {
        let mut world = World::new(seed, Without::Nothing);
        let leak = world.run();
        assert_eq!(leak, None, "seed {seed}");
        answered += world
            .revocations
            .iter()
            .filter(|revocation| revocation.answered.is_some())
            .count();
        open += world.open;
        open_without_log += world.open_without_log;
        births += u64::from(world.births - NODES);
    }
    // What never writes and never answers would leak nothing either.
    assert!(answered > 2_000, "only {answered} revocations were answered");
    assert!(open > 500_000, "nodes could write in {open} steps only");
    assert!(births > 1_000, "only {births} nodes began later");
    assert!(
        open_without_log > 5_000,
        "without the log nodes could write in {open_without_log} steps only"
    );
}

#[test]
fn each_rule_is_needed() {
    for without in [
        Without::Beginnings,
        Without::Echoes,
        Without::Positions,
        Without::Holders,
        Without::Incarnations,
        Without::OwnAct,
        Without::Age,
        Without::Link,
        Without::Losses,
        Without::Introduction,
    ] {
        let leak = (0..20_000).find_map(|seed| World::new(seed, without).run());
        assert!(leak.is_some(), "without {without:?} nothing leaks");
    }
}
