//! Who enters and leaves, as presence is told of it: beside the room's task, which never waits for it (G9). A join waits
//! until it is counted, so that its `joined` names everybody, itself included; messages go on meanwhile.
//!
//! Presence is told of many at a time, and of each connection in the order in which it came and went.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::store_steps::Step;
use super::{Actor, Join, JoinError};
use crate::fanout::{Link, Outlet};
use crate::limits;
use crate::model::{Author, ConnectionId, RoomId};
use crate::presence::{self, Presence, Present};

/// A connection enters the room or leaves it.
#[derive(Debug)]
struct Move {
    author: Author,
    connection: ConnectionId,
    enters: bool,
}

/// What presence said to some moves.
#[derive(Debug)]
pub(super) struct Counted {
    /// Whether each changed who is here.
    moves: Vec<(Move, presence::Result<bool>)>,
    /// Who is here after them, where that was asked.
    present: Option<presence::Result<Present>>,
}

/// What presence is told, and what it said last.
#[derive(Debug, Default)]
pub(super) struct Roll {
    /// What it was not told yet, in order.
    moves: Vec<Move>,
    under_way: bool,
    /// Joins that wait to be counted.
    joins: Vec<Join>,
    /// Who was here at the last listing.
    pub(super) listed: Present,
    /// Nothing is known to have changed since. In a crowd that is so for a second, so that many joins cost one listing.
    is_current: bool,
}

impl Roll {
    pub(super) const fn is_empty(&self) -> bool {
        self.moves.is_empty() && self.joins.is_empty()
    }

    /// Who is here has to be looked up again.
    pub(super) const fn changed(&mut self) {
        self.is_current = false;
    }

    const fn is_crowd(&self) -> bool {
        self.listed.count > limits::PRESENT_NAMES_MAX as u64
    }
}

impl Actor {
    /// Counts a join in; it goes on once that is done.
    pub(super) fn enter(&mut self, mut join: Join) {
        join.counted = true;
        self.tell_move(&join.link, true);
        self.roll.joins.push(join);
    }

    /// Counts a connection out.
    pub(super) fn departure(&mut self, link: &Arc<Link>) {
        self.tell_move(link, false);
    }

    fn tell_move(&mut self, link: &Arc<Link>, enters: bool) {
        self.roll.moves.push(Move {
            author: link.author().clone(),
            connection: link.connection(),
            enters,
        });
        self.start_counting();
    }

    fn start_counting(&mut self) {
        if self.roll.under_way || self.roll.moves.is_empty() {
            return;
        }
        self.roll.under_way = true;
        let count = self.roll.moves.len().min(limits::PRESENCE_MOVES_MAX);
        let moves: Vec<Move> = self.roll.moves.drain(..count).collect();
        let (known, crowd) = (self.roll.is_current, self.roll.is_crowd());
        let (presence, room) = (self.hub.presence(), self.room.id);
        self.steps.push(Box::pin(async move {
            let entered = moves.iter().any(|step| step.enters);
            let moves = tell(&*presence, room, moves).await;
            let changed = moves.iter().any(|(_, answer)| *answer == Ok(true));
            let present = if entered && !(known && (crowd || !changed)) {
                Some(presence.present(room, limits::PRESENT_NAMES_MAX).await)
            } else {
                None
            };
            Step::Counted(Counted { moves, present })
        }));
    }

    /// Presence was told: those who are counted in go on.
    pub(super) fn counted(&mut self, counted: Counted) {
        self.roll.under_way = false;
        let mut entered = Vec::new();
        for (
            Move {
                author,
                connection,
                enters,
            },
            answer,
        ) in counted.moves
        {
            let changed = answer == Ok(true);
            match answer {
                Ok(true) if enters => self.comings.came(&author.name),
                Ok(true) => self.comings.went(&author.name),
                Ok(false) => {}
                // Presence notes it and makes up for it later: nobody is kept out of a room because it is away.
                Err(error) => tracing::debug!(%error, "presence was not told who came or went"),
            }
            self.roll.is_current &= !changed || self.roll.is_crowd();
            if enters {
                entered.push(connection);
            }
        }
        if let Some(present) = counted.present {
            self.list(present);
        }
        let joins = self
            .roll
            .joins
            .extract_if(.., |join| entered.contains(&join.link.connection()));
        for join in joins.collect::<Vec<Join>>() {
            self.join(join);
        }
        self.start_counting();
    }

    fn list(&mut self, present: presence::Result<Present>) {
        self.roll.is_current = present.is_ok();
        self.roll.listed = present.unwrap_or_else(|error| {
            tracing::debug!(%error, "a join is told of nobody's presence");
            Present::default()
        });
        if self.roll.is_current && self.cluster.is_some() {
            self.comings.begin_roster(&self.roll.listed);
        }
    }

    /// Takes back the joins that wait of which this is true.
    pub(super) fn take_joins(&mut self, wanted: impl Fn(&Join) -> bool) -> Vec<Join> {
        let waiting = self.joins.extract_if(.., |join| wanted(join));
        let mut taken: Vec<Join> = waiting.collect();
        taken.extend(self.roll.joins.extract_if(.., |join| wanted(join)));
        taken
    }

    /// A join comes to nothing: it is counted out, unless its connection was here before.
    pub(super) fn turn_away(&mut self, join: Join, error: JoinError) {
        if join.counted && !self.state.has(join.link.connection()) {
            self.departure(&join.link);
        }
        let _ = join.reply.send(Err(error));
    }
}

/// Tells presence of these moves: each connection's in their order, those of several at once.
async fn tell(presence: &dyn Presence, room: RoomId, moves: Vec<Move>) -> Vec<(Move, presence::Result<bool>)> {
    let mut of_each: HashMap<ConnectionId, Vec<Move>> = HashMap::new();
    for step in moves {
        of_each.entry(step.connection).or_default().push(step);
    }
    let told = stream::iter(of_each.into_values()).map(|moves| async move {
        let mut told = Vec::with_capacity(moves.len());
        for step in moves {
            let Author { id, name } = &step.author;
            let answer = if step.enters {
                presence.enter(room, *id, name, step.connection).await
            } else {
                presence.leave(room, *id, step.connection).await
            };
            told.push((step, answer));
        }
        told
    });
    told.buffer_unordered(limits::PRESENCE_MOVES_AT_ONCE).concat().await
}
