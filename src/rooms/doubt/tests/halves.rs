//! Clocks of an even number of nodes, which may have no majority.

use super::*;

/// Lets nodes whose clocks are off by so many seconds hear each other for a while; whether each takes sends then. The
/// server of the control log is off by `server`, or out of reach.
fn takes_sends(off: &[i64], server: Option<i64>) -> Vec<bool> {
    let now = |ms: u64, off: i64| Now {
        elapsed: Duration::from_millis(ms),
        wall: Timestamp::from_millis((BEGIN + ms).saturating_add_signed(off * 1_000)),
    };
    let boots: Vec<BootId> = (0..).map(boot).take(off.len()).collect();
    let made = boots.iter().zip(off);
    let mut nodes: Vec<Doubt<u64>> = made.map(|(boot, off)| Doubt::new(*boot, now(0, *off))).collect();
    for ms in (1_000..20_000).step_by(1_000) {
        let frames: Vec<StatusFrame> = nodes
            .iter_mut()
            .zip(off)
            .map(|(node, off)| node.next_frame(CONDITION, now(ms, *off)))
            .collect();
        for (nth, node) in nodes.iter_mut().enumerate() {
            let now_there = now(ms + 5, off[nth]);
            for frame in frames.iter().filter(|frame| frame.boot != boots[nth]) {
                node.handle(Input::Frame(frame.clone()), now_there, &mut Vec::new());
            }
            let leases = Input::Leases {
                began: Duration::from_millis(ms),
                holders: boots.clone(),
                time: server.map(|off| now(ms + 2, off).wall),
            };
            node.handle(leases, now_there, &mut Vec::new());
            node.handle(Input::Tick, now_there, &mut Vec::new());
        }
    }
    let check = |(node, off): (&Doubt<u64>, &i64)| node.clock(now(19_500, *off)) == ClockCheck::Good;
    nodes.iter().zip(off).map(check).collect()
}

#[test]
fn of_two_clocks_a_minute_apart_the_one_that_the_server_confirms_goes_on() {
    for off in [60, -60] {
        assert_eq!(takes_sends(&[0, off], Some(0)), [true, false]);
        assert_eq!(takes_sends(&[off, 0], Some(1)), [false, true]);
    }
}

#[test]
fn of_four_clocks_the_two_that_the_server_confirms_go_on() {
    assert_eq!(takes_sends(&[0, 60, 0, 60], Some(0)), [true, false, true, false]);
    assert_eq!(takes_sends(&[-60, -60, 1, 0], Some(0)), [false, false, true, true]);
    // Three are a majority, whatever the server says.
    assert_eq!(takes_sends(&[0, 0, 0, 60], Some(60)), [true, true, true, false]);
}

#[test]
fn without_the_server_both_halves_refuse() {
    assert_eq!(takes_sends(&[0, 60], None), [false; 2]);
    assert_eq!(takes_sends(&[0, 60, 0, 60], None), [false; 4]);
    // It is wrong itself, between the two.
    assert_eq!(takes_sends(&[0, 60], Some(30)), [false; 2]);
}

#[test]
fn a_majority_by_one_that_the_server_contradicts_is_none() {
    for off in [60, -60] {
        assert_eq!(takes_sends(&[off, off, 0], Some(0)), [false; 3]);
        assert_eq!(takes_sends(&[off, off, 0], None), [true, true, false]);
        assert_eq!(takes_sends(&[off, 0, 0], Some(0)), [false, true, true]);
        assert_eq!(takes_sends(&[0, 0, 0], Some(off)), [true; 3]);
    }
}

#[test]
fn clocks_that_may_both_be_right_ask_nobody() {
    for server in [None, Some(0), Some(3_600), Some(-3_600)] {
        assert_eq!(takes_sends(&[0, 3], server), [true; 2]);
        assert_eq!(takes_sends(&[0, 0, 3, 3], server), [true; 4]);
        // One alone has nobody to be compared with, and an odd number has one in the middle.
        assert_eq!(takes_sends(&[60], server), [true]);
        assert_eq!(takes_sends(&[0, 1, 60], server), [true, true, false]);
    }
}
