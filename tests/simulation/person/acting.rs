//! What one person does: writes, replies, edits, deletes, stops reading, leaves, has itself silenced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Around, OPEN_MAX, Parting, Pending, Person};
use crate::judge::history::{Deed, Event, Op};
use crate::node::{Cut, Node};

impl Person {
    /// Does one thing; true if it leaves.
    pub(super) fn act(&mut self, around: &Around<'_>, now: u64) -> bool {
        if self.parting.is_some() {
            return false;
        }
        let due = self
            .open
            .iter()
            .find(|(_, one)| one.again.is_some_and(|at| at <= now) && self.places[one.room].live);
        if let Some(op) = due.map(|(op, _)| *op) {
            self.ask(op, around.length);
            return false;
        }
        if !around.talking || self.open.len() >= OPEN_MAX || now < self.talk.as_ref().map_or(0, |talk| talk.stalled) {
            return false;
        }
        let at = usize::try_from(self.ground.dice(0..=self.places.len() as u64 - 1)).expect("few rooms");
        if !self.places[at].live {
            return false;
        }
        if self.open.is_empty() && self.ground.chance(around.parts) {
            self.part(around, at);
            return false;
        }
        if self.ground.chance(around.stalls) {
            let spell = self.ground.dice(500..=9_000);
            self.talk.as_mut().expect("it is connected").stalled = now + spell;
        }
        let token = format!("{}-{}", self.number, self.ground.number());
        let (own, heard) = (self.places[at].own.clone(), self.places[at].heard);
        let recent = own.len().saturating_sub(10);
        let mine = || {
            let pick = usize::try_from(self.ground.dice(0..=9)).expect("a small one");
            own[recent..].get(pick).copied()
        };
        let deed = match self.ground.dice(0..=99) {
            roll if roll < around.leaves => return true,
            0..10 => mine().map(|id| Deed::Edit { id, token }),
            10..14 => mine().map(|id| Deed::Delete { id }),
            14..32 => Some(Deed::Send { token, reply_to: heard }),
            _ => Some(Deed::Send { token, reply_to: None }),
        };
        if let Some(deed) = deed {
            if let Deed::Delete { id } = &deed {
                self.places[at].own.retain(|own| own != id);
            }
            let op = self.ground.number();
            let pending = Pending {
                room: at,
                deed,
                attempts: 0,
                again: None,
            };
            self.open.insert(op, pending);
            self.ask(op, around.length);
        }
        false
    }

    fn ask(&mut self, op: Op, length: usize) {
        let talk = self.talk.as_ref().expect("it is connected");
        let pending = self.open.get_mut(&op).expect("it is open");
        pending.attempts += 1;
        pending.again = None;
        let room = self.places[pending.room].name.clone();
        // One text for all attempts.
        let text = |token: &str| format!("{token} {}", "\u{1d11e}".repeat(length));
        let mut frame = match &pending.deed {
            Deed::Send { token, reply_to } => {
                let mut frame = json!({ "type": "send", "message": text(token), "nonce": format!("n-{op}") });
                if let Some(cause) = reply_to {
                    frame["reply_to"] = json!(cause);
                }
                if pending.attempts > 1 {
                    frame["retry"] = json!(true);
                }
                frame
            }
            Deed::Edit { id, token } => json!({ "type": "edit", "id": id, "message": text(token) }),
            Deed::Delete { id } => json!({ "type": "delete", "id": id }),
        };
        frame["ref"] = json!(op);
        frame["room"] = json!(room);
        self.ground.record(Event::Invoked {
            op,
            client: self.number,
            connection: talk.connection,
            room,
            deed: pending.deed.clone(),
        });
        talk.pipe.say(&frame.to_string());
    }

    /// Has itself silenced, by any node.
    fn part(&mut self, around: &Around<'_>, at: usize) {
        let there: Vec<&Node> = around.nodes.iter().copied().flatten().collect();
        let pick = usize::try_from(self.ground.dice(0..=there.len() as u64 - 1)).expect("few nodes");
        let log_out = self.ground.chance(50);
        let cut = if log_out {
            Cut::LogOut(self.session.clone())
        } else {
            Cut::Kick(around.owner.clone(), self.places[at].room.clone())
        };
        let room = (!log_out).then(|| self.places[at].name.clone());
        let connections = vec![self.talk.as_ref().expect("it is connected").connection];
        let done = Arc::<AtomicBool>::default();
        let (said, ground) = (Arc::clone(&done), Arc::clone(&self.ground));
        there[pick].cut(self.user.clone(), cut, move || {
            ground.record(Event::Revoked { connections, room });
            said.store(true, Ordering::Relaxed);
        });
        self.parting = Some(Parting {
            done,
            log_out,
            listens: None,
        });
    }
}
