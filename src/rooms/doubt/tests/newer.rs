//! Events in the layout of a newer build, of which only the beginning can be read.

use super::*;

fn newer(number: u64, ms: u64) -> Input<u64> {
    let Arrived {
        room,
        boot,
        number,
        previous,
        id,
        ..
    } = arrived(number, ms);
    Input::Numbered(Numbered {
        room,
        boot,
        number,
        previous,
        id,
    })
}

#[test]
fn what_was_told_already_leaves_no_hole() {
    let mut node = settled();
    assert_eq!(delivered(&node.event(1)), [1]);
    // A repair, or a join, was faster.
    assert!(node.doubt.fresh(room(1), arrived(2, 40_000).id, None));
    node.give(newer(2, 40_000));
    assert_eq!(delivered(&node.event(3)), [3]);
    assert_eq!(repairs(&node.pass(2_000, |ms| Some(frame(ms, 3)))), [] as [u64; 0]);
}

#[test]
fn what_was_not_told_is_read_and_what_follows_waits_for_it() {
    let mut node = settled();
    assert_eq!(delivered(&node.event(1)), [1]);
    node.give(newer(2, 40_000));
    assert_eq!(delivered(&node.event(3)), [] as [u64; 0]);
    // From the last mark less the span.
    assert_eq!(repairs(&node.pass(300, |_| None)), [10_000]);
    assert!(node.doubt.fresh(room(1), arrived(2, 40_000).id, None));
    let done = node.give(Input::Repaired {
        room: room(1),
        done: true,
    });
    assert_eq!(delivered(&done), [3]);
    assert_eq!(delivered(&node.event(4)), [4]);
}

#[test]
fn the_first_that_is_seen_of_a_publisher_says_when_the_one_before_it_was() {
    let mut node = settled();
    // The one before was published long before the room was read for the last time.
    let Input::Numbered(first) = newer(7, 40_000) else {
        panic!()
    };
    let long_ago = Timestamp::from_millis(BEGIN - 60_000);
    assert!(node.doubt.fresh(room(1), first.id, None));
    node.give(Input::Numbered(Numbered {
        previous: long_ago,
        ..first
    }));
    assert_eq!(delivered(&node.event(8)), [8]);
    assert_eq!(repairs(&node.pass(900, |_| None)), [] as [u64; 0]);
}
