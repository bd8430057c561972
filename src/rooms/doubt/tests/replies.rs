//! Replies to what was not told, and writes whose outcome nobody knows.

use super::*;

#[test]
fn a_reply_waits_for_what_it_answers_if_that_was_not_told() {
    let mut node = settled();
    let reply = |number, cause| Arrived {
        cause: Some(cause),
        ..arrived(number, 40_000)
    };
    let known = arrived(1, 40_000).id;
    assert_eq!(delivered(&node.event(1)), [1]);
    assert_eq!(delivered(&node.give(Input::Event(reply(2, known)))), [2]);
    // Nobody remembers whether that was told.
    let old = EventId::new(BEGIN - 31_000, 0, 0);
    assert_eq!(delivered(&node.give(Input::Event(reply(3, old)))), [3]);
    let untold = EventId::new(BEGIN + 39_000, 1, 0);
    let actions = node.give(Input::Event(reply(4, untold)));
    assert_eq!((delivered(&actions), repairs(&actions)), (vec![], vec![9_000]));
    assert_eq!(
        delivered(&node.event(5)),
        [] as [u64; 0],
        "what follows stays behind it"
    );
    assert!(node.doubt.fresh(room(1), untold, None));
    let repaired = || Input::Repaired {
        room: room(1),
        done: true,
    };
    assert_eq!(delivered(&node.give(repaired())), [4, 5]);
    assert_eq!(node.doubt.causes().get(&Cause::Reply), Some(&1));
    // A read that had begun before the reply came need not hold what it answers.
    node.event(7);
    assert_eq!(repairs(&node.pass(300, |_| None)).len(), 1);
    let unread = EventId::new(BEGIN + 40_000, 99, 0);
    assert_eq!(delivered(&node.give(Input::Event(reply(8, unread)))), [] as [u64; 0]);
    let actions = node.give(repaired());
    assert_eq!((delivered(&actions), repairs(&actions).len()), (vec![7], 1));
    assert_eq!(delivered(&node.give(repaired())), [8]);
    assert_eq!(node.pass(1_000, |ms| Some(frame(ms, 8))), []);
}

#[test]
fn a_write_without_an_outcome_has_its_room_read_again_here_and_elsewhere() {
    let mut node = settled();
    node.doubt.unsure(room(1), at(node.ms));
    assert_eq!(repairs(&node.give(Input::Tick)), [10_000]);
    // The others are told of a number that they never hear.
    let wrote = node.doubt.next_frame(CONDITION, at(node.ms)).rooms;
    assert_eq!(wrote.iter().map(|wrote| wrote.number).collect::<Vec<_>>(), [1]);
}
