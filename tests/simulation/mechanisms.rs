//! What each mechanism is for: without it, and with the faults that it is there for, some seeds break the rule that it
//! upholds; with it none does. What would make up for it is switched off on both sides, where there is such a thing.

use crate::ground::Switches;
use crate::judge::history::Event;
use crate::judge::{Violation, check};
use crate::weather::Fault;
use crate::world::{Plan, run};
use crate::{judged, rules};

/// Seeds that are looked at until so many have broken a rule.
const SEEDS: u64 = 32;
const ENOUGH: usize = 2;

const EVERYTHING: &str = "who is connected has seen everything";
const CAUSES: &str = "a reply is not shown before its cause";
const ONCE: &str = "shown once";
const SILENCE: &str = "silence after a revocation";

/// A run with such faults, one after the other.
fn plan(seed: u64, faults: &[Fault]) -> Plan {
    Plan {
        seed,
        talk: 30_000,
        faults: faults.to_vec(),
        at_once: 1,
        every: (500, 4_000),
        lasts: None,
        length: 0,
        parts: 0,
        stalls: 0,
        leaves: 3,
        switches: Switches::default(),
    }
}

fn is_shown(rule: &str, plan: impl Fn(u64) -> Plan, off: impl Fn(&mut Switches)) {
    is_shown_by(|plan| judged(plan).1, rule, plan, off);
}

fn is_shown_by(
    judge: impl Fn(&Plan) -> Vec<Violation>,
    rule: &str,
    plan: impl Fn(u64) -> Plan,
    off: impl Fn(&mut Switches),
) {
    let mut broken = Vec::new();
    for seed in 1..=SEEDS {
        let mut plan = plan(seed);
        let with = judge(&plan);
        assert!(with.is_empty(), "seed {seed}, nothing switched off: {:?}", with.first());
        off(&mut plan.switches);
        if judge(&plan).iter().any(|one| one.rule == rule) {
            broken.push(seed);
        }
        if broken.len() == ENOUGH {
            println!("switched off, seeds {broken:?} of {seed} break `{rule}`");
            return;
        }
    }
    panic!("switched off, only seeds {broken:?} of {SEEDS} break `{rule}`");
}

/// Judges a run as if nothing had been wrong: what may be near a fault may not be here.
fn judged_strictly(plan: &Plan) -> Vec<Violation> {
    let mut history = run(plan).history;
    history
        .entries
        .retain(|entry| !matches!(entry.event, Event::Fault { .. }));
    check(&history, &rules())
}

#[test]
fn publish_numbers() {
    is_shown(
        EVERYTHING,
        |seed| plan(seed, &[Fault::Loss]),
        |switches| switches.mechanisms.numbers = false,
    );
}

#[test]
fn status_frames() {
    is_shown(
        EVERYTHING,
        |seed| plan(seed, &[Fault::Loss]),
        |switches| switches.mechanisms.frames = false,
    );
}

#[test]
fn repair_at_reconnect() {
    // Frames would tell of what was lost too, a moment later.
    let alone = |seed| {
        let mut plan = plan(seed, &[Fault::SlowConsumer]);
        plan.switches.mechanisms.frames = false;
        plan
    };
    is_shown(EVERYTHING, alone, |switches| switches.mechanisms.reconnect = false);
}

#[test]
fn causes_of_replies() {
    let causes = |plan: &Plan| {
        let mut found = judged_strictly(plan);
        found.retain(|one| one.rule == CAUSES);
        found
    };
    is_shown_by(
        causes,
        CAUSES,
        |seed| plan(seed, &[Fault::Loss, Fault::Delay]),
        |switches| switches.mechanisms.causes = false,
    );
}

/// The same, where nothing is noticed by what a reply answers: that is found missing too, and read.
fn without_causes(mut plan: Plan) -> Plan {
    plan.switches.mechanisms.causes = false;
    plan
}

#[test]
fn repair_at_silence() {
    is_shown(
        EVERYTHING,
        |seed| {
            without_causes(Plan {
                at_once: 2,
                every: (200, 1_200),
                lasts: Some(1_500..=4_000),
                leaves: 0,
                ..plan(seed, &[Fault::Loss, Fault::Kill, Fault::Kill])
            })
        },
        |switches| switches.mechanisms.silence = false,
    );
}

#[test]
fn floors() {
    is_shown(
        EVERYTHING,
        |seed| Plan {
            talk: 60_000,
            lasts: Some(40_000..=50_000),
            leaves: 0,
            ..plan(seed, &[Fault::Island])
        },
        |switches| switches.mechanisms.floors = false,
    );
}

#[test]
fn held_rooms() {
    is_shown(
        EVERYTHING,
        |seed| {
            without_causes(Plan {
                talk: 60_000,
                lasts: Some(42_000..=50_000),
                ..plan(seed, &[Fault::Blind])
            })
        },
        |switches| switches.mechanisms.hold = false,
    );
}

#[test]
fn catch_up_span() {
    is_shown(
        EVERYTHING,
        |seed| plan(seed, &[Fault::StoreSlow, Fault::Delay, Fault::Cut]),
        |switches| switches.mechanisms.span = false,
    );
}

#[test]
fn seen_ids() {
    is_shown(
        ONCE,
        |seed| plan(seed, &[Fault::Loss, Fault::Cut]),
        |switches| switches.mechanisms.seen = false,
    );
}

#[test]
fn late_events() {
    is_shown(
        EVERYTHING,
        |seed| Plan {
            talk: 70_000,
            at_once: 2,
            lasts: Some(30_000..=45_000),
            ..plan(seed, &[Fault::StoreSilent, Fault::StoreDown])
        },
        |switches| switches.late = false,
    );
}

#[test]
fn arrival_numbers() {
    is_shown(
        EVERYTHING,
        |seed| Plan {
            length: 2_000,
            stalls: 12,
            ..plan(seed, &[Fault::Delay, Fault::StoreSlow])
        },
        |switches| switches.mechanisms.arrivals = false,
    );
}

#[test]
fn the_control_log() {
    is_shown(
        SILENCE,
        |seed| Plan {
            parts: 8,
            ..plan(seed, &[])
        },
        |switches| switches.log = false,
    );
}

#[test]
fn the_delivery_lease() {
    is_shown(
        SILENCE,
        |seed| Plan {
            parts: 8,
            lasts: Some(14_000..=25_000),
            ..plan(seed, &[Fault::LogAway])
        },
        |switches| switches.lease = false,
    );
}

/// Not a mechanism: that the judge sees what a node does that takes nothing although nothing is wrong.
#[test]
fn a_node_that_refuses_everything_is_found() {
    // Its clock is what it refuses for; where that was not written down it has no reason.
    for seed in 1..=3 {
        let found = judged_strictly(&Plan {
            lasts: Some(30_000..=30_000),
            ..plan(seed, &[Fault::ClockOff])
        });
        assert!(
            found.iter().any(|one| one.rule == "errors only near faults"),
            "seed {seed}"
        );
    }
}
