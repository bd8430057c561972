//! The ring by itself: what goes, what is covered, what a change leaves.

use super::*;
use crate::wire::frame::{text_frame, text_of};

fn id(n: u64) -> EventId {
    EventId::new(n, 0, n)
}

fn message(n: u64) -> Entry {
    Entry {
        id: id(n),
        message: id(n),
        is_message: true,
        late: false,
        author: None,
        from: None,
        frame: Bytes::from(format!("m{n}")),
    }
}

#[test]
fn the_oldest_goes_and_the_floor_follows() {
    let mut ring = Ring::new();
    ring.prime(Vec::new(), true, None);
    let count = limits::RING_EVENTS_MAX as u64 + 10;
    for n in 1..=count {
        ring.push(message(n));
    }
    assert_eq!(
        ring.next_arrival() - ring.first_arrival(),
        limits::RING_EVENTS_MAX as u64
    );
    assert!(ring.covers(id(10)));
    assert!(!ring.covers(id(9)));
    assert_eq!(ring.get(ring.latest_from(50)).unwrap().id, id(count - 49));
    assert_eq!(ring.count_above(id(count - 5)), 5);
    assert_eq!(ring.latest_from(0), ring.next_arrival());
}

#[test]
fn a_change_replaces_the_message_and_silences_earlier_changes() {
    let mut ring = Ring::new();
    ring.prime(vec![message(1), message(2)], true, Some(id(2)));
    ring.replace(id(1), &Bytes::from_static(b"edited"));
    ring.push(Entry {
        id: id(3),
        message: id(1),
        is_message: false,
        late: false,
        author: None,
        from: None,
        frame: Bytes::from_static(b"e3"),
    });
    ring.replace(id(1), &Bytes::from_static(b"deleted"));
    let frames: Vec<_> = (ring.first_arrival()..ring.next_arrival())
        .map(|n| ring.get(n).unwrap().frame.clone())
        .collect();
    assert_eq!(frames, [&b"deleted"[..], b"m2", b""]);
    assert_eq!(ring.bytes(), 9);
}

#[test]
fn a_primed_ring_covers_only_what_comes_until_it_is_extended() {
    let mut ring = Ring::new();
    assert!(!ring.has_latest(0));
    ring.prime((11..=20).map(message).collect(), false, Some(id(20)));
    assert!(!ring.covers(id(15)));
    assert!(ring.has_latest(10));
    assert!(!ring.has_latest(11));
    let start = ring.first_arrival();
    ring.extend_back((5..=20).map(message).collect(), id(4), false);
    assert!(ring.covers(id(4)));
    assert_eq!(ring.first_arrival(), start - 6);
    assert_eq!(ring.get(ring.first_above(id(12))).unwrap().id, id(13));
}

#[test]
fn a_digest_is_compared_over_its_own_range() {
    let mut ring = Ring::new();
    ring.prime((1..=20).map(message).collect(), true, Some(id(20)));
    let xor = (5..=10).fold(0, |xor, n| xor ^ id(n).as_u128());
    assert!(ring.agrees(
        Digest {
            count: 6,
            xor,
            from: Some(id(5))
        },
        id(1),
        id(10)
    ));
    assert!(!ring.agrees(
        Digest {
            count: 6,
            xor,
            from: Some(id(4))
        },
        id(1),
        id(10)
    ));
    assert!(!ring.agrees(
        Digest {
            count: 5,
            xor: xor ^ id(7).as_u128(),
            from: Some(id(5))
        },
        id(1),
        id(10)
    ));
}

#[test]
fn a_late_event_goes_on_saying_so_when_its_message_is_changed() {
    let mut ring = Ring::new();
    ring.prime(vec![message(1)], true, Some(id(1)));
    ring.push(Entry {
        id: id(2),
        is_message: false,
        late: true,
        ..message(1)
    });
    ring.replace(id(1), &text_frame(br#"{"message":"edited"}"#));
    let frames: Vec<_> = (ring.first_arrival()..ring.next_arrival())
        .map(|n| text_of(&ring.get(n).unwrap().frame).unwrap().to_vec())
        .collect();
    assert_eq!(frames[0], br#"{"message":"edited"}"#);
    let late = |n| format!(r#"{{"message":"edited","late":true,"event_id":"{}"}}"#, id(n));
    assert_eq!(frames[1], late(2).as_bytes());
    // One that was read before the change tells what is known here.
    let mut another = Entry {
        id: id(3),
        is_message: false,
        late: true,
        ..message(1)
    };
    ring.bring_up_to_date(&mut another);
    assert_eq!(text_of(&another.frame).unwrap(), late(3).as_bytes());
}
