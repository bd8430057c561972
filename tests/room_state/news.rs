//! What is news to a room of a cluster, and where it goes.

use natter::model::{BootId, Event, EventId, EventKind, Message, Timestamp};
use natter::rooms::envelope::{Content, Durable};
use natter::rooms::state::Told;
use natter::wire::frame::text_frame;
use natter::wire::outbound::event_json;

use crate::shared::{BEGIN, World};

#[test]
fn a_digest_spares_messages_but_not_what_was_done_to_them() {
    let mut world = World::new(10);
    world.join(0, false, false);
    world.write(3, 1_000);
    world.delete(0);
    // The deletion's id lies below the last message's, and it arrives after the reader has left.
    world.write(1, 1_000);
    let deletion = world.under_way.remove(3);
    world.arrive(4, false);
    world.absorb(0);
    world.state.leave(world.readers[0].0.connection);
    let told = world.told(&deletion).into_iter().collect();
    world.receive(told);
    world.join(0, true, true);
    let handed: usize = world.readers[0].0.handed.lock().iter().map(bytes::Bytes::len).sum();
    assert!(handed < 600, "the messages are spared: {handed} bytes");
    world.absorb(0);
    let texts: Vec<&String> = world.readers[0].1.texts.values().collect();
    assert_eq!((texts.len(), texts[0].as_str()), (4, ""));
    assert!(!texts[3].is_empty());
}

#[test]
fn what_was_told_is_not_told_again() {
    let mut world = World::new(10);
    world.join(0, false, false);
    world.write(2, 10);
    let again: Vec<Event> = world.under_way.clone();
    world.arrive(2, true);
    let told = again.iter().filter_map(|event| world.told(event)).collect();
    let burst = world.state.receive(told);
    assert_eq!(burst.events, 0);
    assert!(world.state.news_among(&again).is_empty());
}

#[test]
fn a_late_message_is_kept_in_its_place() {
    let mut world = World::new(10);
    world.write(1, 10);
    world.arrive(1, false);
    world.join(0, false, false);
    world.clock += 10_000;
    let message = Message {
        room: world.room,
        id: EventId::new(BEGIN + 5, 0, 9),
        author: world.author.clone(),
        body: "late".into(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted_at: None,
        last_event: None,
    };
    let id = EventId::new(world.clock, 0, 9);
    let event = Event {
        id,
        kind: EventKind::Late(message.clone()),
    };
    let told = Told::from_layer(Durable {
        boot: BootId::from_bytes([1; 16]),
        number: 1,
        previous: Timestamp::default(),
        id,
        content: Content::Late {
            message: message.id,
            author: world.author.clone(),
            cause: None,
            frame: text_frame(&event_json("hall", world.room, &event)),
            plain: text_frame(b"{}"),
        },
    });
    world.receive(told.into_iter().collect());
    world.absorb(0);
    let held: Vec<&str> = world.readers[0].1.texts.values().map(String::as_str).collect();
    assert_eq!(held[0], "late", "it sorts by its own id: {held:?}");
    // Whoever joins later is told it too.
    world.join(1, false, false);
    world.absorb(1);
    assert_eq!(world.readers[1].1.texts.len(), 2);
}
