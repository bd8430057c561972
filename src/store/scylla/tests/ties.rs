//! Changes of one message that two nodes make in the same moment: which of them wins is the same wherever one looks.

use super::super::rows::{EventColumns, cql, mentions_blob, time};
use super::super::stamp;
use super::{Node, TestClock};
use crate::model::{Change, ChangeKind, Event, EventId, EventKind, Message, SystemTime, UserId, WallClock as _};
use crate::store::MessageStore as _;

const ROUNDS: usize = 10;

fn edit(message: &Message, body: &str, named: u8) -> Change {
    Change {
        room: message.room,
        message: message.id,
        by: message.author.id,
        kind: ChangeKind::Edit {
            body: body.into(),
            mentions: vec![UserId::from_bytes([named; 16])],
        },
    }
}

fn delete(message: &Message) -> Change {
    Change {
        kind: ChangeKind::Delete,
        ..edit(message, "", 0)
    }
}

fn text(message: &Message) -> (String, Vec<UserId>, Option<EventId>) {
    (message.body.clone(), message.mentions.clone(), message.last_event)
}

/// Two nodes whose clocks stand at the same millisecond, as far as the next id is concerned at the same counter too.
async fn two(node: &Node) -> (Node, Node) {
    let now = SystemTime.now().millis() + 1_500;
    (node.peer(TestClock::at(now)).await, node.peer(TestClock::at(now)).await)
}

/// Makes both clocks issue from the same counter on.
fn level(here: &Node, there: &Node) {
    let greatest = here.clock.next(0).max(there.clock.next(0));
    here.clock.observe(greatest);
    there.clock.observe(greatest);
}

fn edited(event: Event) -> Message {
    match event.kind {
        EventKind::Edited(message) => message,
        other => panic!("{other:?} is no edit"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_one_moment_on_two_nodes_end_as_the_later_of_them() {
    let Some(node) = Node::plain().await else { return };
    let (here, there) = two(&node).await;
    for round in 0..ROUNDS {
        let said = node.say("one").await;
        level(&here, &there);
        // Cell by cell, the greater text would be that of one and the greater mention that of the other.
        let (a, b) = (edit(&said, "zz", 1), edit(&said, "aa", 9));
        let (a, b) = tokio::join!(here.store.change(a), there.store.change(b));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_ne!(stamp::of_event(a.id), stamp::of_event(b.id), "round {round}");
        let told = node.store.events(said.room, said.id, 10).await.unwrap();
        assert_eq!(told.len(), 2, "round {round}: each is told once: {told:?}");
        let last = edited(if a.id > b.id { a } else { b });
        let found = node.store.message(said.room, said.id).await.unwrap().unwrap();
        assert_eq!(text(&found), text(&last), "round {round}");
        // What a repair reads last is what the history shows.
        assert_eq!(text(&edited(told.into_iter().next_back().unwrap())), text(&found));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_of_the_same_moment_as_an_edit_stays() {
    let Some(node) = Node::plain().await else { return };
    let (here, there) = two(&node).await;
    for round in 0..ROUNDS {
        let said = node.say("one").await;
        level(&here, &there);
        let (edited, deleted) = tokio::join!(
            here.store.change(edit(&said, "zz", 1)),
            there.store.change(delete(&said))
        );
        let deleted = deleted.unwrap();
        let found = node.store.message(said.room, said.id).await.unwrap().unwrap();
        assert!(found.deleted_at.is_some() && found.body.is_empty(), "round {round}");
        match edited {
            Ok(edited) => assert_eq!(found.last_event, Some(edited.id.max(deleted.id)), "round {round}"),
            // It came when the deletion was there already.
            Err(error) => assert_eq!(error, crate::store::Error::NotFound),
        }
        for event in node.store.events(said.room, said.id, 10).await.unwrap() {
            let EventKind::Edited(message) = event.kind else {
                continue;
            };
            assert!(message.body.is_empty(), "a text that was deleted is told nowhere");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_got_no_further_than_its_claim_is_no_event_after_the_deletion() {
    let Some(node) = Node::plain().await else { return };
    let (ahead, _) = two(&node).await;
    let said = node.say("one").await;
    ahead.store.claim(&edit(&said, "zz", 1)).await.unwrap();
    let deleted = node.store.change(delete(&said)).await.unwrap();
    assert_eq!(node.store.newest(said.room).await.unwrap(), Some(deleted.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_takes_the_text_out_of_every_edit_also_of_one_that_is_ahead() {
    let Some(node) = Node::plain().await else { return };
    let (ahead, _) = two(&node).await;
    let said = node.say("one").await;
    for editor in [&node, &ahead] {
        editor.store.change(edit(&said, "zz", 1)).await.unwrap();
    }
    node.store.change(delete(&said)).await.unwrap();
    let values = (cql(said.room.as_bytes()), 0_i64, cql(said.id.as_bytes()), 10_i32);
    let rows: Vec<EventColumns> = node
        .store
        .cql
        .rows(&node.store.cql.statements.events_whole, values)
        .await
        .unwrap();
    let kinds: Vec<_> = rows.iter().map(|row| row.1.as_deref()).collect();
    assert_eq!(
        kinds.iter().filter(|kind| **kind == Some("edited")).count(),
        2,
        "{kinds:?}"
    );
    assert!(rows.iter().all(|row| row.4.is_none() && row.5.is_none()), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_edits_with_one_stamp_would_be_mixed_cell_by_cell() {
    let Some(node) = Node::plain().await else { return };
    let said = node.say("one").await;
    let at = said.id.timestamp().millis() + 1_000;
    for (hash, body, named) in [(2, "aa", 9_u8), (1, "zz", 1)] {
        let id = EventId::new(at, 0, hash);
        let row = (
            stamp::bound(stamp::of_event(id)),
            body,
            mentions_blob(&[UserId::from_bytes([named; 16])]),
            time(id.timestamp()),
            cql(id.as_bytes()),
            cql(said.room.as_bytes()),
            0_i64,
            cql(said.id.as_bytes()),
        );
        let statements = &node.store.cql.statements;
        node.store.cql.write(&statements.message_edit, row).await.unwrap();
    }
    let found = node.store.message(said.room, said.id).await.unwrap().unwrap();
    let mixed = (
        "zz".into(),
        vec![UserId::from_bytes([9; 16])],
        Some(EventId::new(at, 0, 2)),
    );
    assert_eq!(text(&found), mixed);
}
