//! What happens to the nodes, the log and the network.

use std::time::Duration;

use rand::RngExt;

use super::parts::{Node, Revocation, Without};
use super::{NODES, World};
use crate::limits;
use crate::model::BootId;

impl World {
    /// A node's link to the layer breaks or comes back; what was told meanwhile it has not heard.
    fn set_linked(&mut self, number: usize, linked: bool) {
        let node = &mut self.nodes[number];
        if linked && !node.linked && self.without != Without::Losses {
            node.machine.lost(self.now);
        }
        node.linked = linked;
    }

    /// Processes end, in order or not, and others begin in their place.
    fn generations(&mut self) {
        if self.chance(0.06) {
            let number = self.some();
            if self.nodes[number].runs(self.now) {
                self.end(number);
            }
        }
        if self.chance(0.15) {
            let number = self.some();
            if !self.nodes[number].lives && self.births < u8::MAX {
                self.births += 1;
                // It begins with both servers in reach, else it would not begin.
                let (boot, tail) = (BootId::from_bytes([self.births; 16]), self.log.tail());
                self.log
                    .leases
                    .insert(*boot.as_bytes(), (self.now + limits::LEASE_LIFE, tail));
                let mut node = Node::born(boot, self.now, tail);
                // Whoever connects to it is looked at then.
                node.done = self.revocations.iter().map(|made| (made.number, self.now)).collect();
                self.nodes[number] = node;
            }
        }
    }

    fn end(&mut self, number: usize) {
        let goodbye = self.random.random_bool(0.5);
        if goodbye {
            self.send(number, true);
            if self.nodes[number].reaches {
                let boot = self.nodes[number].boot;
                self.log.leases.remove(boot.as_bytes());
            }
        }
        self.nodes[number].lives = false;
        let boot = self.nodes[number].boot;
        let its = self.revocations.iter_mut().filter(|made| made.by == boot);
        its.filter(|made| made.answered.is_none())
            .for_each(|made| made.failed = true);
    }

    pub(super) fn weather(&mut self) {
        self.generations();
        if self.chance(0.1) {
            let number = self.some();
            let linked = !self.nodes[number].linked;
            self.set_linked(number, linked);
        }
        if self.chance(0.05) {
            // A node loses both servers at once.
            let number = self.some();
            self.nodes[number].reaches = false;
            self.set_linked(number, false);
        }
        if self.chance(0.05) {
            (0..usize::from(NODES)).for_each(|number| self.set_linked(number, true));
        }
        if self.chance(0.15) {
            let node = self.some();
            self.nodes[node].reaches = !self.nodes[node].reaches;
        }
        if self.chance(0.08) {
            let reaches = self.random.random_bool(0.5);
            self.nodes.iter_mut().for_each(|node| node.reaches = reaches);
        }
        if self.chance(0.1) {
            let (from, to) = (self.some(), self.some());
            self.cut[from][to] = !self.cut[from][to];
        }
        if self.chance(0.05) {
            self.cut = Default::default();
        }
        if self.chance(0.1) {
            let (node, pause) = (self.some(), self.random.random_range(100..12_000));
            self.nodes[node].paused_until = self.now + Duration::from_millis(pause);
        }
        if self.chance(0.03) {
            // Emptied; or failed over, with the newest entry lost and the leases as they were.
            self.log.since = self.now;
            if self.without != Without::Incarnations {
                self.log.incarnation += 1;
            }
            if self.random.random_bool(0.5) {
                self.log.entries.clear();
                self.log.leases.clear();
            } else {
                self.log.entries.pop();
            }
        }
        if self.chance(0.3) {
            let by = self.some();
            if self.nodes[by].reaches && self.nodes[by].runs(self.now) {
                let number = self.revocations.len() as u64;
                self.log.entries.push(number);
                self.revocations.push(Revocation {
                    number,
                    by: self.nodes[by].boot,
                    at: self.now,
                    position: self.log.tail(),
                    answered: None,
                    failed: false,
                });
            }
        }
    }
}
