//! Requests that could not be decided in time: each gets its answer all the same, so that no connection waits for ever
//! while the store, the lease or the clock keeps the room from going on (G10).

use std::collections::VecDeque;

use tokio::time::Instant;

use super::run::{NOT_STORED, refuse};
use super::{Actor, Join, JoinError, UnderWay, Write};
use crate::limits;
use crate::store;

/// What a change is told that may or may not be stored.
const NO_ANSWER: &str = "the store has not answered in time";

fn is_overdue(at: Instant) -> bool {
    at.elapsed() >= limits::SEND_DECISION
}

impl Write {
    fn is_overdue(&self) -> bool {
        is_overdue(match self {
            Self::Send(send) => send.at,
            Self::Change(change) => change.at,
        })
    }

    fn refuse(self) {
        match self {
            Self::Send(send) => refuse(&send, "refused", NOT_STORED, Some(2.0)),
            Self::Change(change) => {
                let _ = change.reply.send(Err(store::Error::Refused(NOT_STORED.into())));
            }
        }
    }
}

impl UnderWay {
    /// Tells those who have waited too long that the outcome is not known.
    fn answer_overdue(&mut self) {
        if let Some((_, reply)) = self.change.take_if(|(at, _)| is_overdue(*at)) {
            let _ = reply.send(Err(store::Error::UnknownOutcome(NO_ANSWER.into())));
        }
        if self.told || !self.sends.iter().any(|send| is_overdue(send.at)) {
            return;
        }
        self.told = true;
        let detail = "the server does not know whether this was stored: retry it";
        for send in &self.sends {
            refuse(send, "unknown_outcome", detail, Some(1.0));
        }
    }
}

impl Actor {
    /// Answers what has waited for too long: writes that are under way, those that could not begin, and joins.
    pub(super) fn answer_overdue(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.answer_overdue();
        }
        if self.writes.iter().any(Write::is_overdue) {
            let writes = std::mem::take(&mut self.writes);
            let (late, waiting): (VecDeque<Write>, VecDeque<Write>) = writes.into_iter().partition(Write::is_overdue);
            self.writes = waiting;
            late.into_iter().for_each(Write::refuse);
        }
        // Who asked for the newest message looks for it in the store after a while, and waits no more.
        self.newest_asked.retain(|asked| !asked.is_closed());
        let is_late = |join: &Join| is_overdue(join.at);
        let mut late = self.gated.take_joins(is_late);
        late.extend(self.take_joins(is_late));
        for join in late {
            self.turn_away(join, JoinError::Overdue);
        }
    }
}
