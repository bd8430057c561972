//! The send path and its exceptions: what it costs, retries, late writes, and who wins where clocks differ.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use scylla::value::MaybeUnset;

use super::{Node, TestClock};
use crate::model::{Change, ChangeKind, EventId, EventKind, Message, NewMessage, SystemTime, WallClock};
use crate::store::scylla::session::Counters;
use crate::store::scylla::{BucketLimits, Tuning, stamp};
use crate::store::{Appended, Error, MessageStore as _, Range, Store as _};

fn counts(counters: &Counters) -> [u64; 4] {
    [
        &counters.range_reads,
        &counters.other_reads,
        &counters.writes,
        &counters.lwts,
    ]
    .map(|counter| counter.load(Ordering::Relaxed))
}

fn edit(message: &Message, body: &str) -> Change {
    Change {
        room: message.room,
        message: message.id,
        by: message.author.id,
        kind: ChangeKind::Edit {
            body: body.into(),
            mentions: Vec::new(),
        },
    }
}

fn delete(message: &Message) -> Change {
    Change {
        kind: ChangeKind::Delete,
        ..edit(message, "")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_in_a_room_that_speaks_costs_no_read_and_no_transaction() {
    let Some(node) = Node::plain().await else { return };
    node.say("the first of the hour").await;
    node.looked().await;
    let seen = counts(node.store.counters());
    let batch = (0..50).map(|nth| node.says_once("hi", &format!("n-{nth}"))).collect();
    for result in node.store.append(batch).await {
        assert!(result.unwrap().fresh);
    }
    let now = counts(node.store.counters());
    assert_eq!([now[0] - seen[0], now[1] - seen[1], now[3] - seen[3]], [0, 0, 0]);
    // What one author said at once in two batches of at most 4 KiB, and what each nonce was used for.
    assert_eq!(now[2] - seen[2], 2 + 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_meanwhile_finds_nothing_without_what_its_author_said_before() {
    let Some(node) = Node::plain().await else { return };
    let mut after = node.say("the first of the hour").await.id;
    let room = node.says_once("", "none").room;
    let mut partly = 0;
    for round in 0..40 {
        // Two batches and a few more, with longer texts.
        let text = |nth: usize| format!("{nth} {}", "x".repeat(nth * 7));
        let batch: Vec<NewMessage> = (0..50)
            .map(|nth| node.says_once(&text(nth), &format!("r-{round}-{nth}")))
            .collect();
        let expected: Vec<String> = batch.iter().map(|new| new.body.clone()).collect();
        let append = node.store.append(batch);
        let read = async {
            loop {
                let events = node.store.events(room, after, 100).await.unwrap();
                let bodies: Vec<&str> = events
                    .iter()
                    .filter_map(|event| match &event.kind {
                        EventKind::Message(message) => Some(message.body.as_str()),
                        _ => None,
                    })
                    .collect();
                assert_eq!(bodies, &expected[..bodies.len()], "round {round}");
                partly += usize::from(!bodies.is_empty() && bodies.len() < 50);
                if bodies.len() == 50 {
                    return events.last().unwrap().id;
                }
            }
        };
        let (stored, last) = tokio::join!(append, read);
        assert!(stored.iter().all(Result::is_ok));
        after = last;
    }
    // Else nothing was read in between.
    assert!(partly > 0, "no read met a part");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_on_another_node_gives_the_first_id_whether_it_landed_or_not() {
    let Some(node) = Node::plain().await else { return };
    let peer = node.peer(Arc::new(SystemTime)).await;
    let first = node.append(node.says_once("hi", "n-1")).await;
    let retry = NewMessage {
        retry: true,
        ..peer.says_once("hi", "n-1")
    };
    assert_eq!(
        peer.append(retry.clone()).await,
        Appended::repeated(first.message.clone())
    );

    // The row of the first attempt never landed, but what its nonce was used for did.
    let lost = node.says_once("lost", "n-2");
    let id = node.clock.next(crate::model::id::attempt_hash(
        lost.author.id,
        lost.room,
        b"n-2",
        "lost",
    ));
    let values = (
        uuid::Uuid::from_bytes(*lost.author.id.as_bytes()),
        "n-2",
        uuid::Uuid::from_bytes(*lost.room.as_bytes()),
        0_i64,
        uuid::Uuid::from_bytes(*id.as_bytes()),
        5_i64,
    );
    node.store
        .cql
        .write(&node.store.cql.statements.send_insert, values)
        .await
        .unwrap();
    let retried = peer.append(NewMessage { retry: true, ..lost }).await;
    assert_eq!((retried.message.id, retried.fresh, retried.late), (id, false, None));
    let page = node.store.page(node.room, Range::Latest, 10).await.unwrap();
    assert_eq!(page.messages, [first.message, retried.message]);

    let other = NewMessage {
        body: "ho".into(),
        ..retry
    };
    assert_eq!(peer.store.append(vec![other]).await, [Err(Error::NonceReused)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_overtakes_its_first_attempt_is_shown_once() {
    let Some(node) = Node::plain().await else { return };
    let peer = node.peer(Arc::new(SystemTime)).await;
    node.say("before").await;
    // Neither knows of the other: the retry looked before the first attempt had landed.
    let first = node.append(node.says_once("hi", "n-1")).await.message;
    let second = peer.append(peer.says_once("hi", "n-1")).await.message;
    assert_ne!(first.id, second.id);
    let shown = |page: crate::store::Page| page.messages.iter().map(|m| m.body.clone()).collect::<Vec<_>>();
    let page = node.store.page(node.room, Range::Latest, 10).await.unwrap();
    assert!(page.messages[1] == first, "{page:?}");
    assert_eq!(shown(page), ["before", "hi"]);
    // A page is full where more exists, although two of its rows are one message.
    let page = node.store.page(node.room, Range::Latest, 2).await.unwrap();
    assert_eq!((page.messages.len(), page.has_more), (2, false));
    // Deleted if either is, and the one that was edited last is shown.
    node.store.change(edit(&second, "ho")).await.unwrap();
    assert_eq!(
        shown(node.store.page(node.room, Range::Latest, 10).await.unwrap()),
        ["before", "ho"]
    );
    node.store.change(delete(&first)).await.unwrap();
    assert_eq!(
        shown(peer.store.page(node.room, Range::Latest, 10).await.unwrap()),
        ["before", ""]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_message_is_announced_where_readers_still_find_it() {
    let tuning = Tuning {
        late_after: Duration::ZERO,
        ..Tuning::default()
    };
    let Some(late) = Node::new(Arc::new(SystemTime), tuning).await else {
        return;
    };
    let peer = late.peer(Arc::new(SystemTime)).await;
    let appended = late.append(late.says_once("hi", "n-1")).await;
    let cursor = appended.message.id;
    let event = appended.late.expect("every write is late here");
    assert!(event > cursor);
    let events = peer.store.events(late.room, cursor, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].id, &events[0].kind),
        (event, &EventKind::Late(appended.message.clone()))
    );
    assert_eq!(peer.store.newest(late.room).await.unwrap(), Some(event));
    // A retry hours later says so as well, since whether the first attempt landed in time is not known.
    let retried = late
        .append(NewMessage {
            retry: true,
            ..late.says_once("hi", "n-1")
        })
        .await;
    assert_eq!((retried.message.id, retried.fresh), (cursor, false));
    assert!(retried.late > Some(event));
    assert_eq!(late.store.counters().late.load(Ordering::Relaxed), 2);
}

/// The row of a message's first attempt, once more.
async fn insert_again(node: &Node, said: &Message) {
    let values = (
        uuid::Uuid::from_bytes(*said.room.as_bytes()),
        0_i64,
        uuid::Uuid::from_bytes(*said.id.as_bytes()),
        uuid::Uuid::from_bytes(*said.author.id.as_bytes()),
        "ann",
        said.body.as_str(),
        MaybeUnset::<uuid::Uuid>::Unset,
        MaybeUnset::<Vec<u8>>::Unset,
        MaybeUnset::<String>::Unset,
        stamp::bound(stamp::FIRST),
    );
    let cql = &node.store.cql;
    cql.write(&cql.statements.message_insert, &values).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_win_by_their_events_whatever_the_clocks_say() {
    let Some(node) = Node::plain().await else { return };
    let now = SystemTime.now().millis();
    // One node's clock is two seconds behind, the other's two ahead.
    let behind = node.peer(TestClock::at(now - 2_000)).await;
    let ahead = node.peer(TestClock::at(now + 2_000)).await;
    let said = ahead.say("one").await;
    let edited = behind.store.change(edit(&said, "two")).await.unwrap();
    assert!(edited.id > said.id, "who changes something has seen it");
    let again = ahead.store.change(edit(&said, "three")).await.unwrap();
    assert!(again.id > edited.id);
    let body = async |node: &Node| node.store.message(said.room, said.id).await.unwrap().unwrap().body;
    assert_eq!(
        (body(&behind).await, body(&ahead).await),
        ("three".into(), "three".into())
    );
    // The first attempt's row arrives once more, late: it takes nothing back.
    insert_again(&node, &said).await;
    assert_eq!(body(&node).await, "three");
    behind.store.change(delete(&said)).await.unwrap();
    insert_again(&node, &said).await;
    let found = ahead.store.message(said.room, said.id).await.unwrap().unwrap();
    assert!(found.deleted_at.is_some() && found.body.is_empty());
}

/// Writes an edit's and a deletion's row updates in one of both orders, as they would arrive from two nodes.
async fn arrive(node: &Node, said: &Message, edit_first: bool, edit_id: EventId, delete_id: EventId) -> Message {
    let cql = &node.store.cql;
    let key = |id: &[u8; 16]| uuid::Uuid::from_bytes(*id);
    let at = |id: EventId| super::super::rows::time(id.timestamp());
    let edit = (
        stamp::bound(stamp::of_event(edit_id)),
        "edited",
        Vec::<u8>::new(),
        at(edit_id),
        key(edit_id.as_bytes()),
        key(said.room.as_bytes()),
        0_i64,
        key(said.id.as_bytes()),
    );
    let delete = (
        stamp::bound(stamp::of_event(delete_id)),
        "",
        Vec::<u8>::new(),
        at(delete_id),
        key(delete_id.as_bytes()),
        key(said.room.as_bytes()),
        0_i64,
        key(said.id.as_bytes()),
    );
    if edit_first {
        cql.write(&cql.statements.message_edit, edit).await.unwrap();
        cql.write(&cql.statements.message_delete, delete).await.unwrap();
    } else {
        cql.write(&cql.statements.message_delete, delete).await.unwrap();
        cql.write(&cql.statements.message_edit, edit).await.unwrap();
    }
    node.store.message(said.room, said.id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_and_a_deletion_end_the_same_in_either_order() {
    let Some(node) = Node::plain().await else { return };
    for delete_is_later in [true, false] {
        let mut ends = Vec::new();
        for edit_first in [true, false] {
            let said = node.say("one").await;
            let ids = (
                said.id.timestamp().plus(Duration::from_secs(1)),
                said.id.timestamp().plus(Duration::from_secs(2)),
            );
            let (low, high) = (EventId::floor_of(ids.0), EventId::floor_of(ids.1));
            let (edit_id, delete_id) = if delete_is_later { (low, high) } else { (high, low) };
            let found = arrive(&node, &said, edit_first, edit_id, delete_id).await;
            assert!(found.body.is_empty() && found.deleted_at.is_some(), "{found:?}");
            ends.push(found.last_event == Some(high));
        }
        assert_eq!(ends, [true, true]);
    }
}

/// What is wrong after writes arrived in another order than that of their events.
async fn wrongs(node: &Node) -> Vec<&'static str> {
    let mut wrongs = Vec::new();
    let ahead = node.peer(TestClock::at(SystemTime.now().millis() + 2_000)).await;
    let text = async |said: &Message| node.store.message(said.room, said.id).await.unwrap().unwrap().body;
    let cause = node.say("one").await;
    node.store.change(edit(&cause, "two")).await.unwrap();
    insert_again(node, &cause).await;
    if text(&cause).await != "two" {
        wrongs.push("a first attempt that landed again took an edit back");
    }
    let late = ahead.say("one").await;
    let later = |seconds| EventId::floor_of(late.id.timestamp().plus(Duration::from_secs(seconds)));
    let deleted = arrive(node, &late, false, later(1), later(2)).await;
    if deleted.last_event != Some(later(2)) {
        wrongs.push("an edit from before a deletion came after it and is the last event");
    }
    wrongs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_write_timestamps_the_order_of_arrival_would_decide() {
    let Some(node) = Node::plain().await else { return };
    assert!(wrongs(&node).await.is_empty());
    let wrong = stamp::SWITCHED_OFF.scope((), wrongs(&node)).await;
    assert_eq!(
        wrong,
        [
            "a first attempt that landed again took an edit back",
            "an edit from before a deletion came after it and is the last event",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_later_version_are_passed_over() {
    let Some(node) = Node::plain().await else { return };
    let said = node.say("one").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = node.clock.next(rand::random());
        let values = (
            uuid::Uuid::from_bytes(*said.room.as_bytes()),
            0_i64,
            uuid::Uuid::from_bytes(*id.as_bytes()),
            "reaction",
            uuid::Uuid::from_bytes(*said.id.as_bytes()),
            scylla::value::MaybeUnset::<uuid::Uuid>::Unset,
            scylla::value::MaybeUnset::<Vec<u8>>::Unset,
            scylla::value::MaybeUnset::<String>::Unset,
            super::super::stamp::micros(id),
        );
        node.store
            .cql
            .write(&node.store.cql.statements.event_insert, values)
            .await
            .unwrap();
        ids.push(id);
    }
    let edited = node.store.change(edit(&said, "two")).await.unwrap();
    // A short answer would say that there is no more.
    let events = node.store.events(said.room, said.id, 2).await.unwrap();
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), [edited.id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_sorts_after_its_cause_from_a_node_whose_clock_is_ahead() {
    let Some(node) = Node::plain().await else { return };
    let ahead = node.peer(TestClock::at(SystemTime.now().millis() + 2_000)).await;
    let cause = ahead.say("cause").await;
    let reply = NewMessage {
        reply_to: Some(cause.id),
        ..node.says("reply")
    };
    let reply = node.append(reply).await.message;
    assert!(reply.id > cause.id);
    // An invented cause from the far future moves nothing.
    let invented = NewMessage {
        reply_to: Some(EventId::new(u64::MAX, 0, 0)),
        ..node.says("to nothing")
    };
    let next = node.append(invented).await.message;
    assert!(next.id.timestamp().since(reply.id.timestamp()) < Duration::from_secs(3_600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_those_of_all_processes() {
    let Some(node) = Node::plain().await else { return };
    let before = node.store.totals().await.unwrap().messages;
    for nth in 0..3 {
        node.say(&format!("message {nth}")).await;
    }
    assert!(node.store.totals().await.unwrap().messages >= before + 3);
    node.store.close().await;
    assert!(matches!(node.store.totals().await, Err(Error::Refused(_))));
    let peer = node.peer(Arc::new(SystemTime)).await;
    assert!(peer.store.totals().await.unwrap().messages >= before + 3);
}

#[test]
fn what_tests_scale_is_what_servers_have_otherwise() {
    assert_eq!(Tuning::default().buckets, BucketLimits::REAL);
    assert_eq!(Tuning::default().late_after, crate::limits::LATE_AFTER);
}
