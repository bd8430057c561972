//! What rooms hand to a link: frames of events, answers, and the note that it has fallen behind.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{EVENT_BYTES_MAX, Link};
use crate::fanout::outlet::{Outlet, Taken};
use crate::fanout::signals::Signals;
use crate::limits;
use crate::model::{Author, ConnectionId, RoomId};

impl Outlet for Link {
    fn connection(&self) -> ConnectionId {
        self.identity.connection
    }

    fn author(&self) -> &Author {
        &self.identity.author
    }

    fn echo(&self) -> bool {
        self.identity.echo
    }

    fn events(&self, frames: &Bytes) -> Taken {
        let outbox = &mut *self.outbox.lock();
        if outbox.refuses() {
            return Taken::Gone;
        }
        let waiting = outbox.bytes();
        if waiting > 0 && waiting + frames.len() > EVENT_BYTES_MAX {
            return Taken::Full;
        }
        self.put(outbox, frames)
    }

    fn answer(&self, frames: Bytes) -> Taken {
        let outbox = &mut *self.outbox.lock();
        if outbox.refuses() {
            return Taken::Gone;
        }
        self.put(outbox, &frames)
    }

    fn ephemeral(&self, frames: &Bytes) {
        let outbox = &mut *self.outbox.lock();
        if outbox.refuses() {
            return;
        }
        if outbox.is_written() {
            let _ = self.put(outbox, frames);
        } else {
            self.traffic.dropped_ephemeral();
        }
    }

    fn behind(&self, room: RoomId, arrival: u64) {
        let outbox = &mut *self.outbox.lock();
        if !outbox.dead {
            if !outbox.is_behind() {
                self.traffic.fell_behind();
            }
            outbox.waiting.get_or_insert_default().behind.push((room, arrival));
            self.signal(Signals::BEHIND);
        }
    }

    fn send_answered(&self) {
        let before = self.sends_under_way.fetch_sub(1, Ordering::AcqRel);
        if usize::from(before) == limits::SENDS_IN_FLIGHT_PER_CONNECTION {
            self.signal(Signals::PERMIT);
        }
    }
}
