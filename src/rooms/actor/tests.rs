//! The room's task step by step: what is asked of it is done at once, and its reads return when the test says so.

mod site;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::site::Site;
use super::gate::Incoming;
use super::run::released;
use super::*;
use crate::model::{EventId, Message, NewMessage};
use crate::presence::Presence;
use crate::rooms::cluster::{Passing, Post};
use crate::rooms::doubt::Input;

/// A moment that long ago.
fn ago(span: Duration) -> Instant {
    Instant::now()
        .checked_sub(span)
        .expect("the machine has run for longer")
}

fn overdue() -> Instant {
    ago(limits::SEND_DECISION)
}

fn change(room: &Room, message: &Message) -> Change {
    Change {
        room: room.id,
        message: message.id,
        by: message.author.id,
        kind: crate::model::ChangeKind::Delete,
    }
}

#[tokio::test]
async fn a_second_lapse_while_something_waits_is_waited_for() {
    let mut site = Site::new().await;
    site.close();
    site.actor.take_in(Incoming::Post(Post::default())).await;
    site.actor
        .take_in(Incoming::Command(Command::Drained(ConnectionId::random())))
        .await;
    site.open();
    // Behind the others, while the node may write.
    site.actor
        .take_in(Incoming::Command(Command::Drained(ConnectionId::random())))
        .await;
    site.actor.release().await;
    site.close();
    for _ in 0..2 {
        assert!(!site.actor.gated.is_empty());
        let lease = site.lease.clone();
        let waits = released(Some(&lease), site.actor.gated.since());
        assert!(waits.now_or_never().is_none(), "the room's task would spin");
        site.actor.release().await;
    }
    site.open();
    released(Some(&site.lease.clone()), site.actor.gated.since()).await;
    site.release().await;
}

#[tokio::test]
async fn what_waits_for_the_lease_stays_small_and_goes_on_reading_by_reading() {
    let mut site = Site::new().await;
    site.close();
    for _ in 0..1_000 {
        site.mailbox().repair(EventId::new(7, 0, 0));
        for _ in 0..limits::ROOM_PASSING_MAX {
            site.mailbox().pass(Passing::Typing(Bytes::new()));
        }
        let post = site.mailbox().take();
        site.actor.take_in(Incoming::Post(post)).await;
        site.actor.asked(Command::Tick).await;
    }
    assert!(site.actor.steps.is_empty(), "nothing is read that could not be told");
    let first = site.actor.gated.since();
    let mut count = 0;
    site.open();
    while !site.actor.gated.is_empty() {
        count += 1;
        // The first did not wait for a later reading because others came after it.
        assert!(count > 1 || site.actor.gated.since() == first);
        site.actor.release().await;
    }
    assert_eq!(count, 2);
    site.settle().await;
}

#[tokio::test]
async fn a_room_with_something_in_its_gate_does_not_retire() {
    let mut site = Site::new().await;
    site.close();
    let answer = site.ask_to_join(None).await;
    site.actor.idle_since = ago(limits::ROOM_LINGER);
    assert!(!site.actor.is_idle());
    site.open();
    site.release().await;
    site.settle().await;
    assert_eq!(answer.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn what_a_join_reads_in_a_held_room_is_left_for_the_repair() {
    let mut site = Site::new().await;
    site.join(None).await;
    site.actor.tell_held(true);
    let missed = site.stored_elsewhere("missed").await;
    // Somebody with an old cursor: the room has to be read for them.
    let long_ago = EventId::floor_of(missed.at().minus(Duration::from_secs(600)));
    site.join(Some(long_ago)).await;
    site.actor.tell_held(false);
    site.mailbox().repair(long_ago);
    let post = site.mailbox().take();
    site.actor.take_in(Incoming::Post(post)).await;
    site.settle().await;
    assert_eq!(site.repaired(), 1, "who was there before is told");
}

#[tokio::test]
async fn an_answer_to_what_nobody_here_was_told_waits_until_that_was_read() {
    let mut site = Site::new().await;
    site.join(None).await;
    let missed = site.stored_elsewhere("missed").await;
    let reply = NewMessage {
        reply_to: Some(missed.id),
        ..site.says("an answer")
    };
    site.ask_to_send(reply.clone()).await;
    assert!(site.actor.under_way.is_none(), "it waits");
    site.settle().await;
    assert_eq!(site.repaired(), 1, "what it answers is told");
    site.actor.start_write();
    assert!(site.actor.under_way.is_some());
    site.settle().await;
    assert_eq!(site.actor.hub.counters().messages.get(), 1);
    // The second answer to the same finds it told.
    site.ask_to_send(reply).await;
    assert!(site.actor.under_way.is_some());
    site.settle().await;
    // What a read does not find holds nobody up for ever.
    let nowhere = NewMessage {
        reply_to: Some(EventId::new(missed.at().millis() + 1, 0, 7)),
        ..site.says("to nobody")
    };
    site.ask_to_send(nowhere).await;
    assert!(site.actor.under_way.is_none());
    site.settle().await;
    site.actor.start_write();
    assert!(site.actor.under_way.is_some());
}

#[tokio::test]
async fn after_a_long_burst_writes_wait_for_more_of_them_or_for_a_moment() {
    let mut site = Site::new().await;
    site.join(None).await;
    site.actor.rest(BURST_RESTS_FROM / 2, BURST_REST_MAX);
    assert!(!site.actor.rests, "a short one");
    site.actor.rest(BURST_RESTS_FROM, BURST_REST_MAX);
    for _ in 1..WORTH_A_BURST {
        site.ask_to_send(site.says("one of many")).await;
        assert!(site.actor.under_way.is_none(), "it rests");
    }
    site.ask_to_send(site.says("the last of many")).await;
    assert_eq!(
        site.actor.under_way.as_ref().map(|write| write.sends.len()),
        Some(WORTH_A_BURST)
    );
    site.settle().await;
    assert!(!site.actor.rests, "the rest is over");
    assert_eq!(site.actor.hub.counters().messages.get(), WORTH_A_BURST as u64);
    site.actor.rest(BURST_RESTS_FROM, BURST_REST_MAX);
    site.ask_to_send(site.says("alone")).await;
    assert!(site.actor.under_way.is_none());
    site.settle().await;
    site.actor.start_write();
    assert!(site.actor.under_way.is_some(), "one alone waits a moment only");
}

#[tokio::test]
async fn what_the_gate_dropped_is_read_again_however_long_it_was_closed() {
    let mut site = Site::new().await;
    site.join(None).await;
    let message = site.stored_elsewhere("dropped").await;
    // As if it had been delivered to the mailbox and did not fit.
    assert!(site.cluster().doubt().fresh(site.actor.room.id, message.id, None));
    let post = Post {
        overflowed: true,
        oldest: Some(message.id),
        ..Post::default()
    };
    site.close();
    site.actor.take_in(Incoming::Post(post)).await;
    for _ in 0..100 {
        site.pass(Duration::from_secs(1));
        site.actor.hub.doubt(Input::Tick);
        site.actor.asked(Command::Tick).await;
    }
    site.open();
    site.release().await;
    site.settle().await;
    assert_eq!(site.repaired(), 1);
}

#[tokio::test]
async fn changes_and_joins_that_wait_too_long_are_answered() {
    let mut site = Site::new().await;
    let message = site.stored_elsewhere("helo").await;
    site.close();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (reply, answer) = oneshot::channel();
        let change = change(&site.actor.room, &message);
        site.actor.asked(Command::Change { change, reply }).await;
        site.actor.start_write();
        answers.push(answer);
    }
    let joined = site.ask_to_join(None).await;
    site.actor.asked(Command::Tick).await;
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "not yet");
    for write in &mut site.actor.writes {
        if let Write::Change(change) = write {
            change.at = overdue();
        }
    }
    let mut joins = site.actor.gated.take_joins(|_| true);
    for mut join in joins.drain(..) {
        join.at = overdue();
        site.actor
            .take_in(Incoming::Command(Command::Join(Box::new(join))))
            .await;
    }
    site.actor.asked(Command::Tick).await;
    for answer in answers {
        assert!(matches!(answer.await.unwrap(), Err(store::Error::Refused(_))));
    }
    assert_eq!(joined.await.unwrap(), Err(JoinError::Overdue));
    assert!(site.actor.gated.is_empty() && site.actor.writes.is_empty());
}

#[tokio::test]
async fn a_change_that_the_store_does_not_answer_is_told_so_and_delivered_when_it_does() {
    let mut site = Site::new().await;
    let message = site.stored_elsewhere("helo").await;
    site.join(None).await;
    let (reply, answer) = oneshot::channel();
    let change = change(&site.actor.room, &message);
    site.actor.asked(Command::Change { change, reply }).await;
    site.actor.start_write();
    let under_way = site.actor.under_way.as_mut().expect("the change");
    under_way.change.as_mut().expect("who waits").0 = overdue();
    site.actor.asked(Command::Tick).await;
    assert!(matches!(answer.await.unwrap(), Err(store::Error::UnknownOutcome(_))));
    let before = site.actor.hub.counters().deleted.get();
    site.settle().await;
    assert_eq!(site.actor.hub.counters().deleted.get(), before + 1);
}

#[tokio::test]
async fn nobody_waits_for_presence_but_who_joins() {
    let mut site = Site::new().await;
    site.join(None).await;
    site.presence.stuck.store(true, Ordering::SeqCst);
    let mut joined = site.ask_to_join(None).await;
    // Whoever is here talks on, and is cut in no time.
    let before = site.actor.hub.counters().deleted.get();
    let message = site.stored_elsewhere("oops").await;
    let (reply, answer) = oneshot::channel();
    let change = change(&site.actor.room, &message);
    site.actor.asked(Command::Change { change, reply }).await;
    site.actor.start_write();
    while site.actor.hub.counters().deleted.get() == before {
        let step = site.actor.steps.next().await.unwrap();
        site.actor.take_in(Incoming::Step(step)).await;
    }
    assert!(answer.await.unwrap().is_ok());
    assert!(joined.try_recv().is_err(), "not counted yet");
    site.presence.stuck.store(false, Ordering::SeqCst);
    site.presence.moved.notify_waiters();
    site.settle().await;
    assert_eq!(joined.await.unwrap(), Ok(()));
    assert_eq!(site.actor.state.len(), 2);
}

#[tokio::test]
async fn who_leaves_before_they_are_counted_is_counted_out() {
    let mut site = Site::new().await;
    site.presence.stuck.store(true, Ordering::SeqCst);
    let joined = site.ask_to_join(None).await;
    while site.actor.attached != Attached::Yes {
        let step = site.actor.steps.next().await.unwrap();
        site.actor.take_in(Incoming::Step(step)).await;
    }
    let (user, reason) = (site.ann.id, crate::wire::outbound::LeftReason::Kicked);
    let (done, cut) = oneshot::channel();
    site.actor.asked(Command::Cut { user, reason, done }).await;
    assert_eq!((cut.await, joined.await.unwrap()), (Ok(()), Err(JoinError::Stale)));
    site.presence.stuck.store(false, Ordering::SeqCst);
    site.presence.moved.notify_waiters();
    site.settle().await;
    assert!(site.actor.roll.is_empty() && site.actor.state.is_empty());
    let present = site.presence.present(site.actor.room.id, 10).await.unwrap();
    assert_eq!(present.count, 0);
}
