//! Which message of the room is the newest: where what is unread begins for those who become members. The ring says so;
//! while it does not know, all who ask share the read that their joins need as well.

use tokio::sync::oneshot;

use super::Actor;
use crate::model::EventId;
use crate::rooms::state::Plan;
use crate::store;

/// Who waits to be told.
pub(super) type Asked = oneshot::Sender<store::Result<Option<EventId>>>;

impl Actor {
    /// Answers, or keeps the question until the room has been read.
    pub(super) fn newest(&mut self, reply: Asked) {
        let attached = self.attach();
        if attached && self.state.knows_newest() {
            let _ = reply.send(Ok(self.state.newest_message()));
            return;
        }
        self.newest_asked.push(reply);
        if !attached {
            return;
        }
        let counters = self.hub.counters();
        if self.loading {
            counters.reads_shared.add(1);
        } else {
            counters.reads_led.add(1);
            self.load(Plan::NeedsLatest);
        }
    }

    /// The room was read, or could not be. Who can't be told now has to look for themselves.
    pub(super) fn tell_newest(&mut self, read: &store::Result<()>) {
        for reply in std::mem::take(&mut self.newest_asked) {
            match read {
                Ok(()) if self.state.knows_newest() => drop(reply.send(Ok(self.state.newest_message()))),
                Ok(()) => {}
                Err(error) => drop(reply.send(Err(error.clone()))),
            }
        }
    }
}
