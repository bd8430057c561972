//! Partitions over time: sparse rooms stay in one, hot rooms split by themselves, and pages are right across the seams.
//! Limits are a twentieth of a server's here, so that rooms roll within tens of thousands of rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::buckets::Starts;
use super::super::rows::{BEGINNING, END, cql, start};
use super::{Node, TestClock};
use crate::limits;
use crate::model::{Change, ChangeKind, EventId, EventKind, SystemTime, WallClock};
use crate::store::scylla::{BucketLimits, Tuning};
use crate::store::{MessageStore as _, Range};

/// A day on which tests begin.
const START: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;

fn scaled() -> Tuning {
    Tuning {
        buckets: BucketLimits {
            rows: BucketLimits::REAL.rows / 20,
            ..BucketLimits::REAL
        },
        ..Tuning::default()
    }
}

/// The rows of each of the room's buckets, oldest first.
pub(super) async fn rows_of_buckets(node: &Node) -> Vec<(u64, i64)> {
    let cql_of = &node.store.cql;
    let room = cql(node.room.as_bytes());
    let found: Vec<(i64,)> = cql_of.rows(&cql_of.statements.starts, (room,)).await.unwrap();
    let mut starts: Vec<u64> = found.iter().map(|(start,)| u64::try_from(*start).unwrap()).collect();
    starts.push(0);
    starts.sort_unstable();
    let mut rows = Vec::new();
    for at in starts {
        let values = (room, start(at), cql(BEGINNING.as_bytes()), cql(END.as_bytes()));
        let count: Option<(i64,)> = cql_of.first(&cql_of.statements.message_count, values).await.unwrap();
        rows.push((at, count.unwrap().0));
    }
    rows
}

/// All ids of the room by pages from the newest back, each checked to be full and in order.
async fn backwards(node: &Node) -> Vec<EventId> {
    let mut ids: Vec<EventId> = Vec::new();
    let mut range = Range::Latest;
    loop {
        let page = node.store.page(node.room, range, 200).await.unwrap();
        assert!(page.messages.is_sorted_by(|a, b| a.id < b.id));
        assert!(!page.has_more || page.messages.len() == 200);
        ids.extend(page.messages.iter().rev().map(|message| message.id));
        match page.messages.first() {
            Some(first) if page.has_more => range = Range::Before(first.id),
            _ => {
                ids.reverse();
                return ids;
            }
        }
    }
}

/// All ids of the room by pages from the oldest on.
async fn forwards(node: &Node) -> Vec<EventId> {
    let mut ids: Vec<EventId> = Vec::new();
    loop {
        let after = ids.last().copied().unwrap_or(BEGINNING);
        let page = node.store.page(node.room, Range::After(after), 200).await.unwrap();
        assert!(!page.has_more || page.messages.len() == 200);
        ids.extend(page.messages.iter().map(|message| message.id));
        if !page.has_more {
            return ids;
        }
    }
}

/// Says so many messages, some at a time, with the clock moving between.
async fn talk(node: &Node, clock: &TestClock, messages: usize, at_once: usize, step_ms: u64) -> Vec<EventId> {
    let mut ids = Vec::with_capacity(messages);
    while ids.len() < messages {
        let batch = (0..at_once).map(|_| node.says("hi")).collect();
        let stored = node.store.append(batch).await;
        if stored.iter().any(Result::is_err) {
            // A server that stalls for a moment has some of them: what it has is what was said.
            tokio::time::sleep(limits::CQL_TIMEOUT * 2).await;
            let after = ids.last().copied().unwrap_or(BEGINNING);
            let page = node.store.page(node.room, Range::After(after), at_once).await.unwrap();
            ids.extend(page.messages.iter().map(|message| message.id));
        } else {
            ids.extend(stored.into_iter().map(|result| result.unwrap().message.id));
        }
        clock.forward(step_ms);
    }
    ids
}

/// Pages of the whole room from both ends, and events from a few places, hold exactly these.
async fn holds_exactly(node: &Node, said: &[EventId], seams: &[u64]) {
    assert!(
        backwards(node).await == said,
        "pages from the newest back are not what was said"
    );
    assert!(
        forwards(node).await == said,
        "pages from the oldest on are not what was said"
    );
    for seam in seams.iter().filter(|seam| **seam > 0) {
        let at = said.partition_point(|id| id.timestamp().millis() < *seam);
        let cursor = said[at.saturating_sub(20).min(said.len() - 1)];
        let from = said.partition_point(|id| *id <= cursor);
        let events = node.store.events(node.room, cursor, 50).await.unwrap();
        let found: Vec<_> = events.iter().map(|event| event.id).collect();
        assert_eq!(
            found,
            said[from..(from + 50).min(said.len())],
            "events across the seam at {seam}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_a_month_for_five_years_is_one_partition() {
    let clock = TestClock::at(START - 60 * 30 * DAY);
    let Some(node) = Node::new(Arc::clone(&clock) as Arc<dyn WallClock>, Tuning::default()).await else {
        return;
    };
    let said = talk(&node, &clock, 60, 1, 30 * DAY).await;
    let cold = node.peer(clock).await;
    let page = cold.store.page(node.room, Range::Latest, 50).await.unwrap();
    let counters = cold.store.counters();
    let reads = counters.range_reads.load(Ordering::Relaxed) + counters.other_reads.load(Ordering::Relaxed);
    assert!(reads <= 3, "the latest page took {reads} reads");
    assert!(page.has_more);
    assert_eq!(page.messages.iter().map(|m| m.id).collect::<Vec<_>>(), said[10..]);
    holds_exactly(&cold, &said, &[]).await;
    assert_eq!(rows_of_buckets(&node).await, [(0, 60)]);
}

/// So many messages at ten a second: the buckets roll by themselves, and none holds more than a fifth above the limit.
async fn rolls_by_itself(messages: usize, at_once: usize, tuning: Tuning) {
    let clock = TestClock::at(START);
    let Some(node) = Node::new(Arc::clone(&clock) as Arc<dyn WallClock>, tuning).await else {
        return;
    };
    let said = talk(&node, &clock, messages, at_once, at_once as u64 * 100).await;
    let buckets = rows_of_buckets(&node).await;
    println!("{buckets:?}");
    let most = i64::try_from(tuning.buckets.rows * 6 / 5).unwrap();
    assert!(buckets.iter().all(|(_, rows)| *rows <= most), "{buckets:?}");
    assert_eq!(
        buckets.iter().map(|(_, rows)| rows).sum::<i64>(),
        i64::try_from(said.len()).unwrap()
    );
    let least = messages / usize::try_from(tuning.buckets.rows).unwrap();
    assert!((least..=2 * least + 2).contains(&buckets.len()), "{buckets:?}");
    let cold = node.peer(clock).await;
    let seams: Vec<u64> = buckets.iter().map(|(start, _)| *start).collect();
    holds_exactly(&cold, &said, &seams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_at_chat_speed_rolls_by_itself() {
    rolls_by_itself(30_000, 25, scaled()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a million rows take minutes: part of test-full"]
async fn a_room_of_a_million_messages_rolls_by_itself() {
    rolls_by_itself(1_000_000, 100, Tuning::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_far_above_the_limit_is_split_and_read_right() {
    let clock = TestClock::at(START);
    let Some(node) = Node::new(Arc::clone(&clock) as Arc<dyn WallClock>, scaled()).await else {
        return;
    };
    // Two hundred a second for two and a half minutes: a bucket would be full before its successor could be decided.
    let said = talk(&node, &clock, 30_000, 50, 250).await;
    let buckets = rows_of_buckets(&node).await;
    println!("{buckets:?}");
    let in_ninety_seconds = 200 * 90;
    assert!(buckets.len() > 4, "{buckets:?}");
    assert!(
        buckets.iter().all(|(_, rows)| *rows <= in_ninety_seconds),
        "{buckets:?}"
    );
    let cold = node.peer(clock).await;
    let seams: Vec<u64> = buckets.iter().map(|(start, _)| *start).collect();
    holds_exactly(&cold, &said, &seams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_at_full_speed_is_read_right() {
    // As fast as it goes, by the real clock; and within a single moment, which has more messages than an id can count.
    let Some(node) = Node::new(Arc::new(SystemTime), scaled()).await else {
        return;
    };
    let standing = TestClock::at(START);
    let mut said = Vec::new();
    for _ in 0..60 {
        let batch = (0..250).map(|_| node.says("hi")).collect();
        let stored = node.store.append(batch).await;
        said.extend(stored.into_iter().map(|result| result.unwrap().message.id));
    }
    let cold = node.peer(Arc::new(SystemTime)).await;
    holds_exactly(&cold, &said, &[]).await;
    let node = Node::new(Arc::clone(&standing) as Arc<dyn WallClock>, scaled())
        .await
        .unwrap();
    let said = talk(&node, &standing, 10_000, 250, 0).await;
    let cold = node.peer(standing).await;
    holds_exactly(&cold, &said, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_not_seen_a_start_misplaces_nothing_that_readers_miss() {
    let Some(node) = Node::plain().await else { return };
    let before = node.say("before the start").await;
    node.looked().await;
    // A start comes into force that this node has not read.
    let at = SystemTime.now().millis() - 5;
    let values = (cql(node.room.as_bytes()), start(at), cql(&[0; 16]));
    node.store
        .cql
        .write(&node.store.cql.statements.start_insert, values)
        .await
        .unwrap();
    let fresh = node.peer(Arc::new(SystemTime)).await;
    let mut said = vec![before.id];
    let misplaced = node
        .store
        .append(vec![node.says("misplaced")])
        .await
        .remove(0)
        .unwrap()
        .message;
    said.push(misplaced.id);
    said.push(fresh.say("in its place").await.id);
    let buckets = rows_of_buckets(&fresh).await;
    assert_eq!(
        buckets.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(),
        [2, 1],
        "{buckets:?}"
    );
    holds_exactly(&fresh, &said, &[at]).await;
    assert_eq!(
        fresh.store.message(node.room, misplaced.id).await.unwrap(),
        Some(misplaced.clone())
    );
    let change = Change {
        room: node.room,
        message: misplaced.id,
        by: node.author.id,
        kind: ChangeKind::Edit {
            body: "changed".into(),
            mentions: Vec::new(),
        },
    };
    let event = fresh.store.change(change).await.unwrap();
    let events = fresh.store.events(node.room, misplaced.id, 10).await.unwrap();
    assert_eq!(events.last(), Some(&event));
    assert!(matches!(event.kind, EventKind::Edited(_)));
    assert_eq!(
        fresh.store.find_message(misplaced.id).await.unwrap().unwrap().body,
        "changed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_while_somebody_writes_misses_nothing() {
    let clock = TestClock::at(START);
    let tuning = Tuning {
        buckets: BucketLimits {
            rows: 200,
            ahead: Duration::from_secs(10),
            ..BucketLimits::REAL
        },
        ..Tuning::default()
    };
    let Some(node) = Node::new(Arc::clone(&clock) as Arc<dyn WallClock>, tuning).await else {
        return;
    };
    let reader = node.peer(Arc::clone(&clock) as Arc<dyn WallClock>).await;
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            let said = talk(&node, &clock, 2_000, 1, 500).await;
            done.store(true, Ordering::Release);
            (node, said)
        })
    };
    let mut walks = Vec::new();
    while !done.load(Ordering::Acquire) || walks.is_empty() {
        walks.push(backwards(&reader).await);
    }
    let (node, said) = writer.await.unwrap();
    for walk in &walks {
        assert!(
            said.starts_with(walk),
            "a walk of {} is not what had been said",
            walk.len()
        );
    }
    assert!(Starts::new(rows_of_buckets(&node).await.iter().map(|(start, _)| *start).collect()) != Starts::new(vec![]));
    assert!(backwards(&reader).await == said);
}
