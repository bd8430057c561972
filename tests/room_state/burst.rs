//! What a burst costs: counted, whatever the number of readers and of events.

use std::sync::Arc;

use allocation_counter::measure;
use natter::model::{Message, Timestamp};
use natter::rooms::state::Progress;
use natter::wire::frame::text_frame;
use natter::wire::inbound::JoinFrom;

use crate::outlet::Fake;
use crate::{BEGIN, World, stored};

/// A room of so many live readers besides the sender, who is its first.
fn crowd(count: usize) -> (World, Vec<Arc<Fake>>) {
    let mut world = World::new(100);
    world.join(0, false, 50);
    let mut readers = Vec::new();
    for n in 0..count {
        let link = Fake::new(&format!("reader{n}"), false);
        let plan = world
            .state
            .plan(JoinFrom::default(), Timestamp::from_millis(BEGIN), false);
        let progress = world.state.join(Arc::clone(&link), text_frame(b"{}"), plan, None, None);
        assert_eq!(progress, Progress::Live);
        readers.push(link);
    }
    (world, readers)
}

/// So many messages of the first reader's.
fn said(world: &mut World, count: usize) -> Vec<natter::rooms::state::Committed<Fake>> {
    let link = Arc::clone(&world.readers[0].0);
    let mut message = || Message {
        room: world.room,
        id: world.next_id(),
        author: link.author.clone(),
        body: "hi".to_owned(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted_at: None,
        last_event: None,
    };
    (0..count).map(|_| stored(Arc::clone(&link), message())).collect()
}

/// Allocations while a message is delivered to so many.
fn allocations(count: usize) -> u64 {
    let (mut world, _readers) = crowd(count);
    let batch = said(&mut world, 1);
    let encodings = world.state.encodings();
    let burst = world.state.committed(batch);
    assert_eq!(
        world.state.encodings() - encodings,
        1,
        "one encoding for {count} readers"
    );
    measure(|| assert_eq!(world.state.deliver(&burst, 0, count + 1), None)).count_total
}

#[test]
fn a_delivery_allocates_nothing() {
    // The first of all clones of a burst's bytes makes them shared, which costs the burst, not the reader.
    let (few, many) = (allocations(10), allocations(1_000));
    assert!(few <= 2, "{few} allocations for a burst");
    assert_eq!(many, few, "allocations for 1,000 readers and for 10");
}

#[test]
fn a_burst_is_one_write_for_each_reader_and_the_same_bytes_for_all() {
    let (mut world, readers) = crowd(20);
    let before: Vec<usize> = readers.iter().map(|reader| reader.handed.lock().len()).collect();
    let batch = said(&mut world, 25);
    let burst = world.state.committed(batch);
    assert_eq!(burst.events, 25);
    assert_eq!(world.state.deliver(&burst, 0, 100), None);
    let first = readers[0].handed.lock().last().expect("a burst").clone();
    for (reader, before) in readers.iter().zip(before) {
        let handed = reader.handed.lock();
        // What is handed to a link while nothing waits there is one system call.
        assert_eq!(handed.len() - before, 1, "25 messages, one write");
        assert_eq!(handed[before].as_ptr(), first.as_ptr(), "not a copy");
    }
}
