//! What a room's task does with the store: appends, changes, and reads for those who join or are far behind.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::presence::Told;
use super::roll::Counted;
use super::run::refuse;
use super::{
    Actor, BURST_REST_MAX, BURST_RESTS_FROM, Changing, JoinError, SENDS_PER_APPEND, UnderWay, WORTH_A_BURST, Write,
};
use crate::channel_layer;
use crate::fanout::Outlet;
use crate::limits;
use crate::model::{ConnectionId, Event, EventId, EventKind, Message, Timestamp, User, UserId};
use crate::presence::{self, Present};
use crate::rooms::state::{Committed, Plan, Progress, span_before};
use crate::store::{self, Appended, Page, Range};
use crate::telemetry::traces;
use crate::wire::outbound::Notice;

/// Events that one store page of a slow reader's catch-up holds.
const CATCH_UP_PAGE: usize = 200;
/// Events read at most when more than a replay's worth lies beyond a cursor: messages and their changes.
const DEEP_EVENTS_MAX: usize = 4 * limits::REPLAY_EVENTS_MAX;

/// Something that came back from the store.
pub(super) enum Step {
    Appended(Vec<store::Result<Appended>>),
    Changed(store::Result<Event>),
    Latest(store::Result<(Page, Option<EventId>)>),
    Events(store::Result<(Vec<Event>, EventId)>),
    CatchUp {
        connection: ConnectionId,
        events: store::Result<Vec<Event>>,
    },
    Presence {
        count: presence::Result<u64>,
        told: Told,
    },
    /// Presence was told who came and went.
    Counted(Counted),
    /// The rest after a burst is over.
    Rested,
    /// Who is here, to be compared with what members were told.
    Roster(presence::Result<Present>),
    /// Whether the other people of a direct conversation are online.
    Online(presence::Result<Vec<UserId>>),
    /// The room was joined on the channel layer.
    Attached(channel_layer::Result<()>),
    /// A page of what a repair reads.
    Repaired {
        after: EventId,
        events: store::Result<Vec<Event>>,
    },
    /// Somebody of a direct conversation came online or went offline on another node, as a look at presence showed.
    Person {
        person: Option<User>,
        online: bool,
    },
    /// Those whom a message names, as far as they may read it.
    Mentioned {
        users: Vec<UserId>,
        notice: Notice,
    },
    /// A mention came from another node.
    MentionHere {
        user: Option<UserId>,
        frame: Bytes,
    },
}

impl Actor {
    pub(super) async fn step(&mut self, step: Step) {
        match step {
            Step::Appended(results) => self.appended(results).await,
            Step::Changed(result) => self.change_done(result).await,
            Step::Counted(counted) => return self.counted(counted),
            Step::Rested => {
                self.rests = false;
                return;
            }
            // What the write has stored may be in this read, and must not be told twice.
            step if self.under_way.is_some() => {
                self.put_off.push(step);
                return;
            }
            step => return self.read_done(step).await,
        }
        for step in std::mem::take(&mut self.put_off) {
            self.read_done(step).await;
        }
    }

    async fn read_done(&mut self, step: Step) {
        match step {
            Step::Appended(_) | Step::Changed(_) | Step::Counted(_) | Step::Rested => {}
            Step::Latest(result) => {
                let result = match result {
                    Ok((page, newest)) => {
                        self.take_page(page, newest).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                self.loaded(result);
            }
            Step::Events(result) => {
                let result = match result {
                    Ok((events, after)) => {
                        self.take_history(events, after).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                self.loaded(result);
            }
            Step::Presence { count, told } => match count {
                Ok(count) => self.presence_counted(count, told),
                Err(error) => tracing::debug!(%error, "presence can't be counted"),
            },
            Step::Roster(present) => self.compare_roster(present),
            Step::Online(online) => self.compare_online(online),
            Step::Attached(result) => self.attached(result),
            Step::Repaired { after, events } => self.repaired(after, events).await,
            Step::Person { person, online } => self.person_compared(person, online),
            Step::Mentioned { users, notice } => self.tell_mentioned(&users, &notice),
            Step::MentionHere { user, frame } => self.tell_mentioned_here(user, &frame),
            Step::CatchUp { connection, events } => match events {
                Ok(events) => {
                    self.tell_news(&events).await;
                    let complete = events.len() < CATCH_UP_PAGE;
                    let progress = self.state.resume_from_store(connection, &events, complete);
                    self.after_progress(connection, progress);
                }
                // The reader loses nothing by coming back: its cursor is what it had before.
                Err(error) => {
                    tracing::warn!(%error, room = %self.room.id, "a slow reader's history can't be read");
                    if let Some(link) = self.state.leave(connection) {
                        link.close(crate::wire::farewell::farewell(
                            crate::wire::close::CloseCode::GoingAway,
                            2.0,
                        ));
                        self.departure(&link);
                    }
                }
            },
        }
    }

    /// After a burst: the next write waits for as long as this one took with its burst, but for a few milliseconds at most, so
    /// that it brings more at once. Writing to a member costs the same for one message as for ten, so a room that is busy
    /// half of the time needs half the processor time for each. Where enough is waiting already, or a burst is short since
    /// few people are there, nothing rests.
    pub(super) fn rest(&mut self, burst: Duration, write: Duration) {
        if self.rests || burst < BURST_RESTS_FROM {
            return;
        }
        self.rests = true;
        let rest = tokio::time::sleep(write.min(BURST_REST_MAX));
        self.steps.push(Box::pin(async move {
            rest.await;
            Step::Rested
        }));
    }

    /// Begins the next write if none is under way: all sends that wait in a row are one append.
    pub(super) fn start_write(&mut self) {
        if self.under_way.is_some() || self.writes.is_empty() || !self.is_open() {
            return;
        }
        if self.rests && self.writes.len() < WORTH_A_BURST {
            return;
        }
        let mut sends = Vec::new();
        while sends.len() < SENDS_PER_APPEND {
            match self.writes.front() {
                Some(Write::Send(send)) => {
                    let cause = send.message.reply_to;
                    // What is refused anyway keeps nobody waiting.
                    let stands = !send.link.is_dead() && self.state.has(send.link.connection());
                    if stands && !self.held && !self.room.archived && self.waits_for(cause) {
                        break;
                    }
                }
                Some(Write::Change(..)) if sends.is_empty() => return self.start_change(),
                Some(Write::Change(..)) | None => break,
            }
            let Some(Write::Send(send)) = self.writes.pop_front() else {
                break;
            };
            if send.link.is_dead() {
                continue;
            }
            if !self.state.has(send.link.connection()) {
                refuse(
                    &send,
                    "not_joined",
                    "this connection has not joined the room: join it first",
                    None,
                );
            } else if self.held {
                let detail = "the server can't see all of the room now, and has not stored this: send it again";
                refuse(&send, "refused", detail, Some(2.0));
            } else if self.room.archived {
                refuse(&send, "archived", "the room is archived: it can only be read", None);
            } else {
                sends.push(*send);
            }
        }
        if sends.is_empty() {
            return;
        }
        let Some(sends) = self.in_time(sends) else { return };
        let batch = sends.iter().map(|send| send.message.clone()).collect();
        let store = self.hub.store();
        // What the store does for all of them shows in the trace of one.
        let trace = sends.iter().find_map(|send| send.trace.as_ref()?.context());
        self.steps.push(Box::pin(async move {
            Step::Appended(traces::under(trace, store.append(batch)).await)
        }));
        self.under_way = Some(UnderWay {
            since: Instant::now(),
            sends,
            change: None,
            told: false,
        });
    }

    fn start_change(&mut self) {
        if !self.may_change() {
            return;
        }
        if let Some(Write::Change(change)) = self.writes.pop_front() {
            let Changing { change, reply, at } = *change;
            let store = self.hub.store();
            self.steps
                .push(Box::pin(async move { Step::Changed(store.change(change).await) }));
            self.under_way = Some(UnderWay {
                since: Instant::now(),
                sends: Vec::new(),
                change: Some((at, reply)),
                told: false,
            });
        }
    }

    async fn appended(&mut self, results: Vec<store::Result<Appended>>) {
        let Some(under_way) = self.under_way.take() else { return };
        let took = under_way.since.elapsed();
        let mut batch = Vec::with_capacity(results.len());
        // They end once everybody here was told.
        let mut traced = Vec::new();
        for (mut send, result) in under_way.sends.into_iter().zip(results) {
            let Appended { message, fresh, late } = match result {
                Ok(appended) => appended,
                Err(error) => {
                    self.write_failed(&error);
                    if let Some(trace) = &mut send.trace {
                        trace.came_to("not stored", true);
                    }
                    if !under_way.told {
                        let error = crate::rooms::directory::Error::from(error);
                        refuse(&send, error.code(), &error.to_string(), error.retry_after());
                    }
                    continue;
                }
            };
            if fresh {
                self.mention(&message);
            }
            // Who has sent types no more.
            self.typed.remove(&message.author.id);
            if !under_way.told {
                send.link.send_answered();
                self.hub.counters().send_to_ack.note(send.at.elapsed());
            }
            let nonce = send.message.nonce.map(|nonce| nonce.as_str().into());
            traced.extend(send.trace);
            // A send that was told `unknown_outcome` has had its one answer.
            let answered = under_way.told;
            batch.push(Committed {
                link: send.link,
                message,
                reference: send.reference,
                nonce,
                fresh,
                late,
                published: false,
                answered,
            });
        }
        self.hub
            .counters()
            .messages
            .add(batch.iter().filter(|item| item.fresh).count() as u64);
        let repeated = batch.iter().filter(|item| !item.fresh).count() as u64;
        self.hub.counters().repeated.add(repeated);
        let numbers = self.number(&mut batch);
        let told = batch.iter().filter(|item| item.fresh);
        let given: Vec<Timestamp> = told.map(|item| item.message.at()).collect();
        let mut burst = self.state.committed(batch);
        self.publish(&mut burst, numbers);
        let begun = Instant::now();
        self.deliver(&burst).await;
        self.rest(begun.elapsed(), under_way.since.elapsed());
        self.note_delivered(&given);
        drop(traced);
        tracing::trace!(?took, room = %self.room.id, "appended");
    }

    async fn change_done(&mut self, result: store::Result<Event>) {
        let reply = self.under_way.take().and_then(|under_way| under_way.change);
        match &result {
            Ok(event) => {
                if let EventKind::Edited(message) = &event.kind {
                    self.mention(message);
                }
                self.tell_change(event).await;
            }
            Err(error) => self.write_failed(error),
        }
        if let Some((_, reply)) = reply {
            let _ = reply.send(result);
        }
    }

    /// Begins the read that the first of those who wait needs.
    pub(super) fn load(&mut self, plan: Plan) {
        let (store, room) = (self.hub.store(), self.room.id);
        self.loading = true;
        let lowest = self
            .joins
            .iter()
            .filter_map(|join| join.from.since)
            .map(span_before)
            .min();
        self.steps.push(match plan {
            Plan::NeedsEvents { after } => {
                let after = lowest.map_or(after, |lowest| lowest.min(after));
                let shared = self.state.is_shared();
                Box::pin(async move { Step::Events(read_events(&*store, room, after, shared).await) })
            }
            _ => Box::pin(async move {
                // The position is read first: what comes between the two reads is in the page and above it.
                let newest = match store.newest(room).await {
                    Ok(newest) => newest,
                    Err(error) => return Step::Latest(Err(error)),
                };
                Step::Latest(
                    store
                        .page(room, Range::Latest, limits::JOIN_MESSAGES)
                        .await
                        .map(|page| (page, newest)),
                )
            }),
        });
    }

    fn loaded(&mut self, result: store::Result<()>) {
        self.loading = false;
        self.tell_newest(&result);
        let waiting = std::mem::take(&mut self.joins);
        match result {
            Ok(()) => {
                for mut join in waiting {
                    join.reads += 1;
                    self.join(join);
                }
            }
            Err(error) => {
                tracing::warn!(%error, room = %self.room.id, "the room's history can't be read");
                for join in waiting {
                    self.turn_away(join, JoinError::Store(error.clone()));
                }
            }
        }
    }

    /// Does what a reader's progress asks for.
    pub(super) fn after_progress(&mut self, connection: ConnectionId, progress: Progress) {
        if let Progress::NeedsStore { after } = progress {
            let (store, room) = (self.hub.store(), self.room.id);
            self.hub.counters().store_catch_ups.add(1);
            self.steps.push(Box::pin(async move {
                Step::CatchUp {
                    connection,
                    events: store.events(room, after, CATCH_UP_PAGE).await,
                }
            }));
        }
    }
}

/// Everything after an id, if that is a replay's worth; else everything after the point from which on it is. A room of a
/// cluster replays the span before a cursor as well, so there more is a replay's worth.
async fn read_events(
    store: &dyn store::Store,
    room: crate::model::RoomId,
    after: EventId,
    shared: bool,
) -> store::Result<(Vec<Event>, EventId)> {
    let most = limits::REPLAY_EVENTS_MAX + 1;
    let first = if shared { limits::RING_EXTENDED_EVENTS_MAX } else { most };
    let events = store.events(room, after, first).await?;
    if events.len() < first {
        return Ok((events, after));
    }
    let page = store.page(room, Range::Latest, most).await?;
    let from = page.messages.first().map_or(after, |message| message.id).max(after);
    let below = EventId::new(from.timestamp().millis(), from.counter(), 0);
    let events = store.events(room, below, DEEP_EVENTS_MAX).await?;
    if events.len() < DEEP_EVENTS_MAX {
        return Ok((events, below));
    }
    // So many changes lie between these messages that the ring can't hold them; the messages in their present state
    // are what a page needs, and the cursor gets a reset.
    Ok((page.messages.into_iter().map(message_event).collect(), below))
}

pub(super) fn message_event(message: Message) -> Event {
    Event {
        id: message.id,
        kind: EventKind::Message(message),
    }
}
