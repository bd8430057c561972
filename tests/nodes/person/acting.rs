//! What one person does: writes, replies, edits, deletes, moves its read marker, has itself silenced.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use natter::model::EventId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use super::{OPEN_MAX, Pending, Person};
use crate::common::Sock;
use crate::ground::Phase;
use crate::judge::history::{Connection, Deed, Event, Op};
use crate::parting::Parting;

impl Person {
    /// Does one thing; false if it is to leave.
    pub(super) async fn act(&mut self, connection: Connection, socket: &mut Sock, phase: Phase) -> bool {
        if self.is_parting() {
            return true;
        }
        let now = Instant::now();
        let due = self
            .open
            .iter()
            .find(|(_, one)| one.again.is_some_and(|at| at <= now))
            .map(|(op, _)| *op);
        if let Some(op) = due {
            self.ask(connection, socket, op).await;
            return true;
        }
        if phase != Phase::Talk {
            return true;
        }
        self.stays = self.stays.saturating_sub(1);
        if self.leaving.is_none() && (self.stays == 0 || self.ground.urged(self.node)) {
            self.leaving = Some(self.ground.parting(self.node, &mut self.random));
        }
        if let Some(leaving) = self.leaving {
            // What is open when a connection is silenced would fail, and requests fail near faults only.
            if self.open.is_empty() || self.ground.urged(self.node) {
                self.part(leaving, connection);
            }
            return true;
        }
        if self.open.len() >= OPEN_MAX {
            return true;
        }
        let deed = match self.random.random_range(0..100) {
            0..3 if self.open.is_empty() => return false,
            3..8 => {
                let mark = if self.random.random_bool(0.3) {
                    self.random_own()
                } else {
                    self.heard
                };
                if let Some(mark) = mark {
                    let number = self.ground.recorder.number();
                    socket.send(json!({ "type": "read", "id": mark, "ref": number })).await;
                }
                None
            }
            8..13 => self.random_own().map(|id| Deed::Edit {
                id,
                token: self.token(),
            }),
            13..16 => self.random_own().map(|id| {
                // What is deleted can't be changed any more.
                self.own.retain(|own| *own != id);
                Deed::Delete { id }
            }),
            16..30 => Some(Deed::Send {
                token: self.token(),
                reply_to: self.heard,
            }),
            _ => Some(Deed::Send {
                token: self.token(),
                reply_to: None,
            }),
        };
        if let Some(deed) = deed {
            let op = self.ground.recorder.number();
            self.open.insert(
                op,
                Pending {
                    deed,
                    attempts: 0,
                    again: None,
                },
            );
            self.ask(connection, socket, op).await;
        }
        true
    }

    /// Has itself silenced.
    fn part(&mut self, how: Parting, connection: Connection) {
        self.leaving = None;
        self.stays = self.random.random_range(40..150);
        let mut standing = self.standing.lock();
        (standing.live, standing.parting) = (false, Some(how));
        drop(standing);
        let random = StdRng::seed_from_u64(self.random.random());
        let asked = how.ask(Arc::clone(&self.ground), self.user.clone(), connection, random);
        self.parting = Some(tokio::spawn(asked));
    }

    /// Whether it is being silenced, or was; where nothing came of that it goes on as before.
    fn is_parting(&mut self) -> bool {
        let Some(parting) = self.parting.take_if(|parting| parting.is_finished()) else {
            return self.parting.is_some();
        };
        let silenced = parting.now_or_never().expect("it is finished").expect("a parting");
        if silenced {
            self.parting = Some(tokio::spawn(std::future::ready(true)));
        } else {
            let mut standing = self.standing.lock();
            (standing.live, standing.parting) = (true, None);
        }
        silenced
    }

    fn token(&self) -> String {
        format!("{}-{}", self.number, self.ground.recorder.number())
    }

    fn random_own(&mut self) -> Option<EventId> {
        let recent = self.own.len().min(20);
        let at = (recent > 0).then(|| self.own.len() - 1 - self.random.random_range(0..recent));
        at.map(|at| self.own[at])
    }

    async fn ask(&mut self, connection: Connection, socket: &mut Sock, op: Op) {
        let pending = self.open.get_mut(&op).expect("it is open");
        pending.attempts += 1;
        pending.again = None;
        let mut frame = match &pending.deed {
            Deed::Send { token, reply_to } => {
                let mut frame = json!({ "type": "send", "message": token, "nonce": format!("n-{op}") });
                if let Some(cause) = reply_to {
                    frame["reply_to"] = json!(cause);
                }
                if pending.attempts > 1 {
                    frame["retry"] = json!(true);
                }
                frame
            }
            Deed::Edit { id, token } => json!({ "type": "edit", "id": id, "message": token }),
            Deed::Delete { id } => json!({ "type": "delete", "id": id }),
        };
        frame["ref"] = json!(op);
        let deed = pending.deed.clone();
        self.standing.lock().open = self.open.len();
        let (client, room) = (self.number, self.ground.room.clone());
        self.record(Event::Invoked {
            op,
            client,
            connection,
            room,
            deed,
        });
        socket.send(frame).await;
    }
}
