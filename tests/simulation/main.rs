//! The simulation: three nodes with the server's own rooms, connections, machine of doubt and delivery lease, six people
//! who talk, over a network, a store and a control log that fail by a seed; judged as the tests with real nodes are.
//!
//! `NATTER_TEST_SEED` runs one seed; `NATTER_TEST_SEEDS` so many.

#[cfg(feature = "testing")]
mod conformance;
mod data;
mod ground;
#[path = "../judge/mod.rs"]
mod judge;
mod log;
mod mechanisms;
mod net;
mod node;
mod person;
mod pipe;
mod resting;
mod rooms;
mod sessions;
mod store;
mod weather;
mod world;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ground::Switches;
use judge::history::Event;
use judge::{Rules, Violation, check};
use world::{Outcome, Plan, run};

/// Of a hundred requests far from any fault, so many may fail: who is on their way to another node, or asks a room that
/// is being repaired.
const FAILURES_PERCENT: usize = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn rules() -> Rules {
    Rules {
        failures_percent: FAILURES_PERCENT,
        grace: 5_000,
        ..Rules::default()
    }
}

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        talk: 25_000,
        faults: weather::ALL.to_vec(),
        at_once: 2,
        every: (1_000, 7_000),
        lasts: None,
        length: 0,
        parts: 2,
        stalls: 1,
        leaves: 3,
        switches: Switches::default(),
    }
}

fn judged(plan: &Plan) -> (Outcome, Vec<Violation>) {
    let outcome = run(plan);
    let mut found = check(&outcome.history, &rules());
    if !outcome.converged {
        found.push(Violation {
            rule: "everybody has everything in time",
            what: String::new(),
        });
    }
    (outcome, found)
}

/// What came of some seeds.
#[derive(Default)]
struct Sum {
    acknowledged: usize,
    revoked: usize,
    repaired: u64,
    /// The most of a hundred requests that failed far from faults, and the seed of that run.
    refused: (usize, u64),
    failed: Vec<u64>,
}

impl Sum {
    fn add(&mut self, seed: u64) {
        let (outcome, found) = judged(&plan(seed));
        let count = |is: fn(&Event) -> bool| outcome.history.events().filter(|(_, event)| is(event)).count();
        self.acknowledged += count(|event| matches!(event, Event::Acknowledged { .. }));
        self.revoked += count(|event| matches!(event, Event::Revoked { .. }));
        self.repaired += outcome.repaired;
        let (refused, of) = judge::ends::failures(&outcome.history, &rules());
        self.refused = self.refused.max((refused.len() * 100 / of.max(1), seed));
        if found.is_empty() {
            return;
        }
        let copy = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}.jsonl"));
        std::fs::write(&copy, outcome.history.to_lines()).expect("the history can be kept");
        println!(
            "NATTER_TEST_SEED={seed} breaks rules; its history is in {}",
            copy.display()
        );
        for one in found.iter().take(6) {
            println!("    {}: {}", one.rule, one.what);
        }
        self.failed.push(seed);
    }
}

#[test]
fn no_seed_breaks_a_rule() {
    let seeds = match number("NATTER_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("NATTER_TEST_SEEDS").unwrap_or(1_000),
    };
    let begun = Instant::now();
    let next = AtomicU64::new(seeds.start);
    // Each run has a thread to itself, and nothing in common with the others.
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return sum;
            }
            sum.add(seed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let sums: Vec<Sum> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|one| one.join().expect("runs")).collect()
    });
    let all = |of: fn(&Sum) -> u64| sums.iter().map(of).sum::<u64>();
    let (acknowledged, revoked) = (all(|sum| sum.acknowledged as u64), all(|sum| sum.revoked as u64));
    let repaired = all(|sum| sum.repaired);
    let refused = sums.iter().map(|sum| sum.refused).max().unwrap_or_default();
    println!(
        "seeds {seeds:?}: {acknowledged} requests acknowledged, {revoked} revocations, {repaired} events repaired, at \
         most {} of a hundred requests failed far from faults (seed {}), {:?}",
        refused.0,
        refused.1,
        begun.elapsed()
    );
    let failed: Vec<u64> = sums.iter().flat_map(|sum| sum.failed.iter().copied()).collect();
    assert!(failed.is_empty(), "{} seeds break rules: {failed:?}", failed.len());
    assert!(
        acknowledged > 0 && repaired > 0 && revoked > 0,
        "hardly anything happened"
    );
}

#[test]
fn a_seed_is_a_run() {
    let one = run(&plan(7)).history.to_lines();
    let again = run(&plan(7)).history.to_lines();
    let differs = one.lines().zip(again.lines()).position(|(one, again)| one != again);
    assert_eq!(differs, None, "the runs differ from this line on");
    assert_eq!(one.len(), again.len());
}
