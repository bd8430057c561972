//! The machine of doubt, step by step.

mod halves;
mod newer;
mod replies;

use super::*;

const BEGIN: u64 = 1_700_000_000_000;

/// A node, and the time.
struct Node {
    doubt: Doubt<u64>,
    ms: u64,
}

fn boot(n: u8) -> BootId {
    BootId::from_bytes([n; 16])
}

fn room(n: u8) -> RoomId {
    RoomId::from_bytes([n; 16])
}

const CONDITION: Condition = Condition {
    position: [0; 16],
    reaches_log: true,
    reaches_store: true,
    goodbye: false,
};

impl Node {
    fn new() -> Self {
        let mut node = Self {
            doubt: Doubt::new(boot(0), at(0)),
            ms: 0,
        };
        node.give(Input::Leases {
            began: Duration::ZERO,
            holders: vec![boot(0)],
            time: None,
        });
        node
    }

    fn give(&mut self, input: Input<u64>) -> Vec<Action<u64>> {
        let mut actions = Vec::new();
        self.doubt.handle(input, at(self.ms), &mut actions);
        actions
    }

    /// Lets time pass, tick by tick, with frames of publisher 1 while `frames` yields some.
    fn pass(&mut self, ms: u64, mut frames: impl FnMut(u64) -> Option<StatusFrame>) -> Vec<Action<u64>> {
        let mut actions = Vec::new();
        for _ in 0..ms / 100 {
            self.ms += 100;
            if self.ms.is_multiple_of(1_000) {
                let (began, holders) = (Duration::from_millis(self.ms), vec![boot(0), boot(1)]);
                actions.extend(self.give(Input::Leases {
                    began,
                    holders,
                    time: None,
                }));
                if let Some(frame) = frames(self.ms) {
                    actions.extend(self.give(Input::Frame(frame)));
                }
            }
            actions.extend(self.give(Input::Tick));
        }
        actions
    }

    fn event(&mut self, number: u64) -> Vec<Action<u64>> {
        self.give(Input::Event(arrived(number, self.ms)))
    }
}

fn at(ms: u64) -> Now {
    Now {
        elapsed: Duration::from_millis(ms),
        wall: Timestamp::from_millis(BEGIN + ms),
    }
}

fn arrived(number: u64, ms: u64) -> Arrived<u64> {
    Arrived {
        room: room(1),
        boot: boot(1),
        number,
        previous: Timestamp::from_millis(if number == 1 { 0 } else { BEGIN + ms - 1 }),
        id: EventId::new(BEGIN + ms, u16::try_from(number).unwrap(), 0),
        late: None,
        cause: None,
        event: number,
    }
}

/// Frame number `ms / 1,000` of publisher 1, which wrote up to `number` in room 1.
fn frame(ms: u64, number: u64) -> StatusFrame {
    StatusFrame {
        boot: boot(1),
        number: ms / 1_000,
        started: Timestamp::from_millis(BEGIN),
        clock: Timestamp::from_millis(BEGIN + ms),
        position: [0; 16],
        reaches_log: true,
        reaches_store: true,
        goodbye: false,
        since: (ms / 1_000).saturating_sub(3),
        peers: Vec::new(),
        rooms: Vec::from_iter((number > 0).then_some(Wrote {
            room: room(1),
            number,
            age_ms: 500,
        })),
    }
}

fn delivered(actions: &[Action<u64>]) -> Vec<u64> {
    let of = |action: &Action<u64>| match action {
        Action::Deliver { event, .. } => Some(*event),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

fn repairs(actions: &[Action<u64>]) -> Vec<u64> {
    let of = |action: &Action<u64>| match action {
        Action::Repair { after, .. } => Some(after.timestamp().millis().saturating_sub(BEGIN)),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// A node with room 1 active, which has heard publisher 1 for 40 s.
fn settled() -> Node {
    let mut node = Node::new();
    node.give(Input::Activated(room(1)));
    let actions = node.pass(40_000, |ms| Some(frame(ms, 0)));
    assert_eq!(actions, [], "nothing is in doubt while everything is heard");
    node
}

#[test]
fn events_are_delivered_once_and_in_the_order_of_their_numbers() {
    let mut node = settled();
    assert_eq!(delivered(&node.event(1)), [1]);
    assert_eq!(delivered(&node.event(1)), [] as [u64; 0]);
    assert_eq!(delivered(&node.event(3)), [] as [u64; 0]);
    assert_eq!(delivered(&node.event(2)), [2, 3]);
    assert_eq!(node.pass(3_000, |ms| Some(frame(ms, 3))), []);
}

#[test]
fn a_hole_is_repaired_and_what_waited_behind_it_follows() {
    let mut node = settled();
    node.event(1);
    assert_eq!(node.event(3), []);
    let actions = node.pass(300, |_| None);
    // The last frame told of everything up to 40 s.
    assert_eq!(repairs(&actions), [10_000]);
    let missed = EventId::new(BEGIN + 40_000, 2, 0);
    assert!(node.doubt.fresh(room(1), missed, None));
    assert!(!node.doubt.fresh(room(1), missed, None));
    let done = node.give(Input::Repaired {
        room: room(1),
        done: true,
    });
    assert_eq!(delivered(&done), [3]);
    assert_eq!(delivered(&node.event(4)), [4]);
}

#[test]
fn a_frame_tells_of_what_was_lost_last() {
    let mut node = settled();
    node.event(1);
    let actions = node.pass(1_300, |ms| Some(frame(ms, 2)));
    assert_eq!(repairs(&actions), [10_000]);
    assert_eq!(node.doubt.causes().get(&Cause::Hole), Some(&1));
}

#[test]
fn silence_is_repaired_from_the_mark_every_two_seconds_and_once_more_after_the_lease() {
    let mut node = settled();
    let mut actions = Vec::new();
    for _ in 0..80 {
        let now = node.pass(100, |_| None);
        if !repairs(&now).is_empty() {
            actions.extend(node.give(Input::Repaired {
                room: room(1),
                done: true,
            }));
        }
        actions.extend(now);
    }
    // Silent since 40 s: at 43.1 s from the mark less the span, then from where the last one began.
    assert_eq!(repairs(&actions), [10_000, 13_100, 15_100]);
    node.give(Input::Leases {
        began: Duration::from_millis(node.ms),
        holders: vec![boot(0)],
        time: None,
    });
    assert_eq!(repairs(&node.give(Input::Tick)), [17_100]);
    assert_eq!(node.doubt.doubting(), 0);
}

#[test]
fn a_room_that_can_not_be_repaired_is_held_until_it_is() {
    let mut node = settled();
    let mut actions = Vec::new();
    for _ in 0..140 {
        let now = node.pass(100, |_| None);
        if !repairs(&now).is_empty() {
            actions.extend(node.give(Input::Repaired {
                room: room(1),
                done: false,
            }));
        }
        actions.extend(now);
    }
    assert!(actions.contains(&Action::Hold { room: room(1) }));
    assert_eq!(delivered(&node.event(1)), [] as [u64; 0]);
    let (_, deliver) = node
        .doubt
        .publish(room(1), EventId::new(BEGIN + 60_000, 0, 1), None, at(node.ms));
    assert!(!deliver);
    // Every one of them began where nothing was missing yet.
    assert!(repairs(&actions).iter().all(|after| *after == 10_000));
    let release = loop {
        let now = node.pass(100, |_| None);
        if !repairs(&now).is_empty() {
            break node.give(Input::Repaired {
                room: room(1),
                done: true,
            });
        }
    };
    assert_eq!(release[0], Action::Release { room: room(1) });
}

#[test]
fn the_first_number_seen_is_believed_where_the_activation_covers_what_was_before() {
    let mut node = settled();
    let mut first = arrived(7, node.ms);
    first.previous = Timestamp::from_millis(BEGIN);
    // The room became active at 0 s and the number before was given then: it may have been missed.
    let actions = node.give(Input::Event(first.clone()));
    assert_eq!((delivered(&actions), repairs(&actions).len()), (vec![], 1));
    node.give(Input::Deactivated(room(1)));
    node.give(Input::Activated(room(1)));
    first.id = EventId::new(BEGIN + node.ms, 1, 1);
    let actions = node.give(Input::Event(first));
    assert_eq!((delivered(&actions), repairs(&actions).len()), (vec![7], 0));
}

#[test]
fn frames_name_what_was_written_since_the_slowest_peer_heard_one() {
    let mut node = Node::new();
    let mut numbers = Vec::new();
    for n in 1..=6_u8 {
        let id = EventId::new(BEGIN, u16::from(n), 0);
        numbers.push(node.doubt.publish(room(n), id, None, at(0)).0.number);
        let frame = node.doubt.next_frame(CONDITION, at(0));
        let rooms = frame.rooms.len();
        assert_eq!(
            (frame.since, rooms),
            (u64::from(n).saturating_sub(3), usize::from(n.min(3)))
        );
    }
    assert_eq!(numbers, [1; 6]);
    // A peer that has heard frame 2 only.
    let mut of_peer = frame(1_000, 0);
    of_peer.peers = vec![Heard {
        boot: boot(0),
        frame: 2,
    }];
    node.give(Input::Frame(of_peer));
    let frame = node.doubt.next_frame(CONDITION, at(0));
    assert_eq!((frame.number, frame.since, frame.rooms.len()), (7, 2, 4));
    assert_eq!(
        frame.peers,
        [Heard {
            boot: boot(1),
            frame: 1
        }]
    );
}

#[test]
fn a_clock_that_is_off_is_told_once_it_can_be_compared() {
    let mut node = Node::new();
    assert_eq!(node.doubt.clock(at(0)), ClockCheck::Good);
    for n in 1..=2 {
        let mut ahead = frame(1_000, 0);
        (ahead.boot, ahead.clock) = (boot(n), Timestamp::from_millis(BEGIN + 60_000));
        node.give(Input::Frame(ahead));
    }
    assert_eq!(node.doubt.clock(at(0)), ClockCheck::Off(Duration::from_secs(60)));
}

#[test]
fn what_lay_in_a_queue_says_nothing_of_a_clock() {
    let mut node = Node::new();
    // Two peers that made a frame at `ms` by their clocks, which are `ahead`, when they had heard our frame `echo`.
    let hear = |node: &mut Node, ms: u64, ahead: u64, echo: u64| {
        for n in 1..=2 {
            let mut heard = frame(ms, 0);
            (heard.boot, heard.clock) = (boot(n), Timestamp::from_millis(BEGIN + ms + ahead));
            heard.peers = vec![Heard {
                boot: boot(0),
                frame: echo,
            }];
            node.give(Input::Frame(heard));
        }
        node.doubt.clock(at(node.ms))
    };
    let mut echo = 0;
    for second in 1..=5 {
        node.ms = second * 1_000;
        echo = node.doubt.next_frame(CONDITION, at(node.ms)).number;
        assert_eq!(hear(&mut node, second * 1_000, 0, echo), ClockCheck::Good);
    }
    // Paused for a while, or cut off: what they said meanwhile comes at once, in whichever order with the ticks.
    for paused in [7_000, 30_000] {
        let begun = node.ms;
        node.ms += paused;
        for second in 1..=6 {
            assert_eq!(hear(&mut node, begun + second * 1_000, 0, echo), ClockCheck::Good);
            node.give(Input::Tick);
        }
        // They hear us again.
        echo = node.doubt.next_frame(CONDITION, at(node.ms)).number;
        node.ms += 1_000;
        let ms = node.ms;
        assert_eq!(hear(&mut node, ms, 0, echo), ClockCheck::Good);
    }
    // What is known to be young is believed.
    echo = node.doubt.next_frame(CONDITION, at(node.ms)).number;
    node.ms += 1_000;
    let ms = node.ms;
    assert_eq!(
        hear(&mut node, ms, 60_000, echo),
        ClockCheck::Off(Duration::from_secs(60))
    );
}

#[test]
fn a_late_event_is_told_however_old_its_message_is_unless_that_was_told() {
    let mut node = settled();
    // So old that the node has forgotten what it told then.
    let old = EventId::new(BEGIN - 60_000, 1, 0);
    let late = |number, message| Arrived {
        late: Some(message),
        ..arrived(number, 40_000)
    };
    assert_eq!(delivered(&node.give(Input::Event(late(1, old)))), [1]);
    assert_eq!(delivered(&node.event(2)), [2]);
    let told = arrived(2, node.ms).id;
    assert_eq!(delivered(&node.give(Input::Event(late(3, told)))), [] as [u64; 0]);
    // The same where this node has stored it, and where it reads it.
    let id = |counter| EventId::new(BEGIN + node.ms, counter, 7);
    assert!(node.doubt.publish(room(1), id(1), Some(old), at(node.ms)).1);
    assert!(node.doubt.fresh(room(1), id(2), Some(old)));
}

#[test]
fn one_publisher_too_many_has_its_rooms_read_again() {
    let mut node = settled();
    for n in 0..limits::PUBLISHERS_MAX as u128 + 10 {
        let mut other = frame(node.ms, 0);
        (other.number, other.since) = (1, 0);
        other.boot = BootId::from_bytes((n + (1 << 64)).to_be_bytes());
        assert_eq!(repairs(&node.give(Input::Frame(other))), [] as [u64; 0]);
    }
    assert!(node.doubt.publishers.len() <= limits::PUBLISHERS_MAX);
    let mut one_more = frame(node.ms, 5);
    one_more.boot = boot(9);
    assert_eq!(repairs(&node.give(Input::Frame(one_more))).len(), 1);
}

#[test]
fn a_clock_is_not_trusted_while_others_are_known_and_none_was_heard() {
    let mut node = Node::new();
    node.pass(8_000, |_| None);
    assert_eq!(node.doubt.clock(at(node.ms)), ClockCheck::Unknown);
    node.pass(1_000, |ms| Some(frame(ms, 0)));
    assert_eq!(node.doubt.clock(at(node.ms)), ClockCheck::Good);
}

#[test]
fn a_clock_that_was_ahead_hides_nothing_once_it_is_right() {
    let mut node = Node::new();
    node.give(Input::Activated(room(1)));
    let ahead = |ms| StatusFrame {
        clock: Timestamp::from_millis(BEGIN + ms + 60_000),
        ..frame(ms, 0)
    };
    node.pass(20_000, |ms| Some(ahead(ms)));
    node.pass(20_000, |ms| Some(frame(ms, 0)));
    node.event(1);
    node.event(3);
    assert_eq!(repairs(&node.pass(300, |_| None)), [10_000]);
}

#[test]
fn a_room_that_began_while_our_clock_was_ahead_is_read_from_its_beginning() {
    let ahead = Now {
        wall: Timestamp::from_millis(BEGIN + 60_000),
        ..at(0)
    };
    let mut doubt = Doubt::new(boot(0), ahead);
    doubt.handle(Input::Activated(room(1)), ahead, &mut Vec::new());
    let mut node = Node { doubt, ms: 0 };
    node.pass(40_000, |ms| Some(frame(ms, 0)));
    node.event(1);
    node.event(3);
    assert_eq!(repairs(&node.pass(300, |_| None)), [10_000]);
}

#[test]
fn a_clock_that_is_far_behind_makes_repairs_read_one_span_more_at_most() {
    let mut node = Node::new();
    let hour = 3_600_000;
    for n in [1, 2] {
        let mut heard = frame(1_000, 0);
        let behind = if n == 1 { hour } else { 0 };
        (heard.boot, heard.clock) = (boot(n), Timestamp::from_millis(BEGIN - behind));
        node.give(Input::Frame(heard));
    }
    node.give(Input::Activated(room(1)));
    let floor = node.doubt.floor(room(1), at(node.ms));
    assert_eq!(at(node.ms).wall.since(floor), limits::CATCH_UP_SPAN);
}
