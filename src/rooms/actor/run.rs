//! The loop of a room's task, and its commands.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::gate::Incoming;
use super::store_steps::Step;
use super::{Actor, Changing, Command, Join, JoinError, Send, Write};
use crate::control_log::lease::DeliveryLease;
use crate::fanout::{Link, Outlet};
use crate::limits;
use crate::model::{ConnectionId, Moment, Room, UserId};
use crate::rooms::cluster::{Mailbox, Post};
use crate::rooms::hub::Hub;
use crate::rooms::state::{Plan, Progress};
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::frame::text_frame;
use crate::wire::outbound::{LeftReason, Outbound, Ref, to_json};

/// What a send is told that never reached the store.
pub(super) const NOT_STORED: &str = "the server can't store now and has not stored this: send it again";
/// How often a join's history is read before it gets the newest page and a `reset`.
const READS_PER_JOIN: u32 = 2;
/// Commands taken in one go.
const COMMANDS_AT_ONCE: usize = 256;

/// Runs a room until nobody has read it for a while.
pub async fn run(hub: Arc<Hub>, room: Arc<Room>, mut commands: mpsc::Receiver<Command>, mailbox: Option<Arc<Mailbox>>) {
    let mut actor = Actor::new(hub, room, mailbox.clone());
    let lease = actor.hub.cluster().map(|cluster| cluster.lease().clone());
    let mut taken = Vec::new();
    for turn in (0..4).cycle() {
        let woken = next(
            &mut actor,
            &mut commands,
            &mut taken,
            mailbox.as_deref(),
            lease.as_ref(),
            turn,
        );
        match woken.await {
            Woken::Asked(0) => return,
            Woken::Asked(_) => {
                for command in taken.drain(..) {
                    actor.asked(command).await;
                }
                actor.start_write();
            }
            Woken::Step(step) => {
                actor.take_in(Incoming::Step(step)).await;
                actor.start_write();
            }
            Woken::Post(post) => actor.take_in(Incoming::Post(post)).await,
            Woken::Released => {
                actor.release().await;
                actor.start_write();
            }
        }
        // The hub lets go of the room only while no command waits, under the lock that hands out rooms.
        if actor.is_idle() && actor.hub.retire(&actor.room, &mut commands) {
            while let Some(command) = commands.recv().await {
                actor.hub.send(&actor.room, command).await;
            }
            actor.detach().await;
            return;
        }
    }
}

/// Why a room's task goes on.
enum Woken {
    /// Commands were taken, so many; none: nobody can ask any more.
    Asked(usize),
    /// Something that was begun has ended.
    Step(Step),
    /// Other nodes had something for it.
    Post(Post),
    /// What waited for the lease may go on.
    Released,
}

/// Waits for whatever is there first. Each kind is looked at first in its turn, so none starves another, and a run of
/// the same events is the same run.
async fn next(
    actor: &mut Actor,
    commands: &mut mpsc::Receiver<Command>,
    taken: &mut Vec<Command>,
    mailbox: Option<&Mailbox>,
    lease: Option<&DeliveryLease>,
    turn: usize,
) -> Woken {
    let mut post = pin!(arrived(mailbox));
    let mut released = pin!(released(lease, actor.gated.since()));
    let steps = &mut actor.steps;
    poll_fn(move |cx| {
        for place in turn..turn + 4 {
            let woken = match place % 4 {
                0 => commands.poll_recv_many(cx, taken, COMMANDS_AT_ONCE).map(Woken::Asked),
                1 => match steps.poll_next_unpin(cx) {
                    Poll::Ready(Some(step)) => Poll::Ready(Woken::Step(step)),
                    // Only what the room itself does begins another.
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                },
                2 => post.as_mut().poll(cx).map(Woken::Post),
                _ => released.as_mut().poll(cx).map(|()| Woken::Released),
            };
            if woken.is_ready() {
                return woken;
            }
        }
        Poll::Pending
    })
    .await
}

/// What other nodes had for the room; a server that runs alone waits for ever.
async fn arrived(mailbox: Option<&Mailbox>) -> Post {
    let Some(mailbox) = mailbox else {
        return std::future::pending().await;
    };
    mailbox.arrived().await;
    mailbox.take()
}

/// Waits until what came then and could not be written may be; where nothing waits, for ever.
pub(super) async fn released(lease: Option<&DeliveryLease>, since: Option<Moment>) {
    match (lease, since) {
        (Some(lease), Some(since)) => lease.released(since).await,
        (None, Some(_)) => {}
        (_, None) => std::future::pending().await,
    }
}

impl Actor {
    /// Does what was asked. What makes the room write to sockets waits while it may not; what is dropped first is dropped.
    pub(super) async fn asked(&mut self, command: Command) {
        match command {
            Command::Join(_) | Command::Drained(_) => self.take_in(Incoming::Command(command)).await,
            Command::Typing { .. } | Command::Person { .. } if !self.is_open() => {}
            Command::Leave { connection, .. } => {
                self.gated.forget(connection);
                self.command(command);
            }
            command => self.command(command),
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Join(join) => self.join(*join),
            Command::Leave { connection, answer } => self.leave(connection, answer),
            Command::Drained(connection) => self.advance(connection),
            Command::Send(send) if self.writes.len() >= limits::ROOM_WRITES_MAX => {
                refuse(&send, "refused", NOT_STORED, Some(2.0));
            }
            Command::Send(send) => self.writes.push_back(Write::Send(send)),
            Command::Change { change, reply } => {
                let at = Instant::now();
                let change = Box::new(Changing { change, reply, at });
                self.writes.push_back(Write::Change(change));
            }
            Command::Typing { author, connection } => self.typing(&author, connection),
            Command::Cut { user, reason, done } => {
                self.cut(user, reason);
                let _ = done.send(());
            }
            Command::Newest(reply) => self.newest(reply),
            Command::Readers(reply) => {
                let users: BTreeSet<_> = self.state.links().map(|link| link.author().id).collect();
                let _ = reply.send(users.into_iter().collect());
            }
            Command::Changed { room, done } => {
                self.changed(room);
                let _ = done.send(());
            }
            Command::Person {
                author,
                online,
                last_seen,
            } => self.person(&author, online, last_seen),
            Command::Tick => self.tick(),
        }
    }

    /// Answers a join, or keeps it until it is counted and what it needs has been read.
    pub(super) fn join(&mut self, join: Join) {
        if !self.attach() {
            self.joins.push(join);
            return;
        }
        if !join.counted {
            return self.enter(join);
        }
        let hopeless = join.reads > READS_PER_JOIN;
        match self.state.plan(join.from, self.hub.now(), hopeless) {
            plan @ (Plan::From { .. } | Plan::FromStore { .. }) => self.finish_join(join, plan),
            plan @ (Plan::NeedsLatest | Plan::NeedsEvents { .. }) => {
                self.joins.push(join);
                // All who wait share one read; who comes while it is under way is looked at when it has returned.
                let counters = self.hub.counters();
                if self.loading {
                    counters.reads_shared.add(1);
                } else {
                    counters.reads_led.add(1);
                    self.load(plan);
                }
            }
        }
    }

    fn finish_join(&mut self, join: Join, plan: Plan) {
        // Looked at in the same step as the registration: a cut that came before is seen here, a later one finds it.
        if !join.watch.holds() {
            return self.turn_away(join, JoinError::Stale);
        }
        let Join {
            link,
            opened,
            from,
            reference,
            reply,
            ..
        } = join;
        let connection = link.connection();
        let present = &self.roll.listed;
        let room = self.state.room();
        let joined = text_frame(&to_json(&Outbound::Joined {
            reference: reference.as_ref(),
            room: &room.label,
            room_id: room.id,
            kind: self.room.kind,
            title: &self.room.title,
            archived: self.room.archived,
            role: opened.role,
            present_count: present.count,
            present: &present.names,
            cursor: self.state.ring().newest(),
            read: opened.read,
            with: opened.with.as_ref().map(|user| &user.name),
            with_id: opened.with.as_ref().map(|user| user.id),
            created: opened.created,
        }));
        let counters = self.hub.counters();
        match plan {
            Plan::From { reset: true, .. } => counters.reset_joins.add(1),
            Plan::From { page: true, .. } => counters.first_joins.add(1),
            _ => counters.resumed_joins.add(1),
        }
        let progress = self.state.join(Arc::clone(&link), joined, plan, from.since, reference);
        if progress == Progress::Gone {
            self.state.leave(connection);
            self.departure(&link);
        }
        let answer = if progress == Progress::Gone {
            Err(JoinError::Gone)
        } else {
            Ok(())
        };
        self.after_progress(connection, progress);
        let _ = reply.send(answer);
    }

    fn leave(&mut self, connection: ConnectionId, answer: Option<(Arc<Link>, Option<Ref>, LeftReason)>) {
        // A join that waits is taken back too.
        let waited = self.take_joins(|join| join.link.connection() == connection);
        let left = self.state.leave(connection);
        if let Some((link, reference, reason)) = answer {
            let _ = link.answer(self.state.left_frame(reference.as_ref(), reason));
        }
        let counted = waited.into_iter().find(|join| join.counted).map(|join| join.link);
        let Some(link) = left.or(counted) else { return };
        self.departure(&link);
        self.idle_since = Instant::now();
    }

    fn cut(&mut self, user: UserId, reason: LeftReason) {
        for join in self.take_joins(|join| join.link.author().id == user) {
            self.turn_away(join, JoinError::Stale);
        }
        let links: Vec<_> = self.state.links_of(user).cloned().collect();
        for link in links {
            self.expel(&link, reason);
        }
        self.idle_since = Instant::now();
    }

    fn expel(&mut self, link: &Arc<Link>, reason: LeftReason) {
        self.state.leave(link.connection());
        if link.identity().one_room {
            let code = match reason {
                LeftReason::Kicked => CloseCode::Kicked,
                LeftReason::Banned => CloseCode::Banned,
                LeftReason::Deleted => CloseCode::RoomGone,
                LeftReason::Left | LeftReason::Unsubscribed => CloseCode::Left,
            };
            link.abort(&farewell(code, 0.0));
        } else {
            let _ = link.answer(self.state.left_frame(None, reason));
        }
        self.departure(link);
    }

    fn changed(&mut self, room: Arc<Room>) {
        self.room = room;
        if self.room.deleted {
            for join in self.take_joins(|_| true) {
                self.turn_away(join, JoinError::Stale);
            }
            let links: Vec<_> = self.state.links().cloned().collect();
            for link in links {
                self.expel(&link, LeftReason::Deleted);
            }
            self.idle_since = Instant::now();
        }
    }

    /// Looks after what time brings: presence, answers that are overdue, writes that could not begin.
    fn tick(&mut self) {
        // What it would read could not be told now.
        if self.is_open() {
            self.tell_presence();
        }
        self.look_again();
        self.begin_repair();
        self.look_at_floor();
        self.typed.retain(|_, at| at.elapsed() < limits::TYPING_INTERVAL);
        self.answer_overdue();
    }
}

/// Answers a send with an error.
pub(super) fn refuse(send: &Send, code: &'static str, detail: &str, retry_after: Option<f64>) {
    let room = send.message.room.to_string();
    let frame = text_frame(&to_json(&Outbound::Error {
        code,
        detail,
        retry_after,
        reference: send.reference.as_ref(),
        nonce: send.message.nonce.as_ref().map(crate::model::Nonce::as_str),
        room: Some(&room),
    }));
    send.link.refused(code);
    let _ = send.link.answer(frame);
    send.link.send_answered();
}
