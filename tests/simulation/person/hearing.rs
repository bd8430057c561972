//! What one person is told: messages, changes, answers.

use natter::limits;
use natter::model::EventId;
use serde_json::Value;

use super::{Person, Talk};
use crate::judge::history::{Connection, Deed, Event, Op, Row};

fn id(value: &Value) -> Option<EventId> {
    value.as_str().and_then(|text| EventId::parse(text).ok())
}

fn token(frame: &Value) -> String {
    let text = frame["message"].as_str().unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

impl Person {
    fn at(&self, frame: &Value) -> Option<usize> {
        let name = frame["room"].as_str()?;
        self.places.iter().position(|place| place.name == name)
    }

    pub(super) fn take(&mut self, frame: &Value, now: u64) {
        let Talk { connection, slow, .. } = *self.talk.as_ref().expect("it is connected");
        let kind = frame["type"].as_str().expect("a type");
        match kind {
            "hello" => self.talk.as_mut().expect("it is connected").welcome = true,
            "ack" => self.acknowledged(frame, connection),
            "error" => self.refused(frame, now),
            _ => {}
        }
        let Some(at) = self.at(frame) else { return };
        let place = &mut self.places[at];
        let room = place.name.clone();
        match kind {
            "message" => {
                let message = id(&frame["id"]).expect("an id");
                let row = Row {
                    id: message,
                    token: token(frame),
                    deleted: frame["deleted"] == true,
                };
                let again = (slow || place.own.contains(&message)) && place.held.contains(&message);
                place.shown(&row);
                place.paged += usize::from(!place.live);
                place.heard = Some(message);
                place.see(id(&frame["event_id"]).or(Some(message)));
                // What it has and is told again counts as told late: its client looks whether it was changed.
                let late = frame["late"] == true || again;
                self.ground.record(Event::Shown {
                    connection,
                    room,
                    row,
                    late,
                });
            }
            "edited" | "deleted" => {
                let row = Row {
                    id: id(&frame["id"]).expect("an id"),
                    token: token(frame),
                    deleted: kind == "deleted",
                };
                let change = id(&frame["event_id"]).expect("an event id");
                place.changed(&row, change);
                place.see(Some(change));
                self.ground.record(Event::Changed {
                    connection,
                    room,
                    change,
                    row,
                });
            }
            "reset" => {
                let (from, to) = (id(&frame["from"]).expect("a cursor"), id(&frame["to"]));
                place.tail = to;
                self.ground.record(Event::Reset {
                    connection,
                    room,
                    from,
                    to,
                });
            }
            "live" => {
                let first = place.cursor.is_none() || place.tail.is_none();
                place.see(id(&frame["cursor"]));
                place.live = true;
                if first {
                    let least = place
                        .held
                        .first()
                        .copied()
                        .filter(|_| place.paged >= limits::JOIN_MESSAGES);
                    place.tail = Some(least.unwrap_or_else(|| EventId::new(0, 0, 0)));
                }
                self.ground.record(Event::Live { connection, room });
            }
            "left" => (place.live, place.asked, place.again) = (false, true, u64::MAX),
            _ => {}
        }
    }

    fn op(frame: &Value) -> Option<Op> {
        frame["ref"].as_u64().and_then(|number| Op::try_from(number).ok())
    }

    fn acknowledged(&mut self, frame: &Value, connection: Connection) {
        let Some((op, pending)) = Self::op(frame).and_then(|op| self.open.remove_entry(&op)) else {
            return;
        };
        let message = id(&frame["id"]).expect("an id");
        let id = id(&frame["event_id"]).unwrap_or(message);
        self.ground.record(Event::Acknowledged { op, id });
        let place = &mut self.places[pending.room];
        if let Deed::Send { token, .. } = pending.deed {
            place.own.push(message);
            if !self.echo && !place.held.contains(&message) {
                // Its own client shows what it has sent.
                let row = Row {
                    id: message,
                    token,
                    deleted: false,
                };
                place.shown(&row);
                let room = place.name.clone();
                self.ground.record(Event::Shown {
                    connection,
                    room,
                    row,
                    late: true,
                });
            }
        }
    }

    fn refused(&mut self, frame: &Value, now: u64) {
        if frame["ref"] == "join" {
            if let Some(at) = self.at(frame) {
                (self.places[at].asked, self.places[at].again) = (false, now + 1_000);
            }
            return;
        }
        let Some(op) = Self::op(frame).filter(|op| self.open.contains_key(op)) else {
            return;
        };
        let unknown = matches!(frame["code"].as_str(), Some("unknown_outcome" | "timeout" | "internal"));
        if unknown || self.open[&op].attempts > 1 {
            self.unknown(op, now);
        } else {
            self.open.remove(&op);
            self.ground.record(Event::Refused { op });
        }
    }

    pub(super) fn unknown(&mut self, op: Op, now: u64) {
        self.ground.record(Event::Unknown { op });
        let pending = self.open.get_mut(&op).expect("it is open");
        if matches!(pending.deed, Deed::Send { .. }) {
            pending.again = Some(now + 1_000);
        } else {
            // Only sends can be repeated safely.
            self.open.remove(&op);
        }
    }
}
