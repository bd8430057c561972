//! Judges a recorded history against the guarantees: who was acknowledged what, who was shown what, and what is there in
//! the end. It knows nothing of servers: whoever runs them records, and it judges what was recorded.
//!
//! Each rule has a name; `spoilt` takes a good history, spoils it in one place and sees that exactly the rule that
//! speaks of it finds it. Ids of one send that is stored twice have the same attempt hash; they count as one message.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod ends;
pub mod history;
mod sends;
mod silence;
mod views;

use history::{Event, History};

/// What differs between runs.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Messages of a first join's page: a page with fewer is the whole room.
    pub page: usize,
    /// Events beyond a cursor up to which there must be no reset.
    pub replay_max: usize,
    /// How long after a fault's end its consequences may still be seen, in milliseconds.
    pub grace: u64,
    /// Of a hundred requests with no fault near, so many may fail.
    pub failures_percent: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            page: 50,
            replay_max: 1_000,
            grace: 15_000,
            failures_percent: 0,
        }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that it breaks.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

/// The rules, by name.
pub const RULES: &[&str] = &[
    "acknowledged is in the history",
    "refused is nowhere",
    "nothing is invented",
    "stored once",
    "history is in the order of ids",
    "nodes agree on the history",
    "a connection's sends keep their order",
    "a reply is after its cause",
    "the last edit wins",
    "a deletion stays",
    "shown once",
    "shown is in the history",
    "live messages keep their sender's order",
    "a reply is not shown before its cause",
    "a resume has no hole",
    "who is connected has seen everything",
    "no reset without need",
    "silence after a revocation",
    "a revoked connection is closed",
    "read markers go forward",
    "presence without ghosts",
    "errors only near faults",
];

/// What of a history breaks which rule.
pub fn check(history: &History, rules: &Rules) -> Vec<Violation> {
    let mut found = Vec::new();
    let sends = sends::Sends::of(history);
    sends::check(history, &sends, &mut found);
    views::check(history, &sends, rules, &mut found);
    silence::check(history, &mut found);
    ends::check(history, rules, &mut found);
    debug_assert!(found.iter().all(|one| RULES.contains(&one.rule)));
    found
}

/// Fails with every violation and the place of the history's copy.
pub fn assert_good(history: &History, rules: &Rules, name: &str) {
    let found = check(history, rules);
    if found.is_empty() {
        return;
    }
    let copy = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.history.jsonl"));
    std::fs::write(&copy, history.to_lines()).expect("the history can be kept");
    let shown: Vec<String> = found
        .iter()
        .take(20)
        .map(|one| format!("{}: {}", one.rule, one.what))
        .collect();
    panic!(
        "{name}: {} violations, the history is in {}\n{}",
        found.len(),
        copy.display(),
        shown.join("\n")
    );
}

/// The spans in which a fault or its consequences last, in milliseconds.
fn fault_spans(history: &History, grace: u64) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    let mut open: Vec<(&str, u64)> = Vec::new();
    for entry in &history.entries {
        if let Event::Fault { name, begins } = &entry.event {
            if *begins {
                open.push((name, entry.at));
            } else if let Some(at) = open.iter().position(|(other, _)| other == name) {
                spans.push((open.remove(at).1, entry.at + grace));
            }
        }
    }
    spans.extend(open.into_iter().map(|(_, begun)| (begun, u64::MAX)));
    spans
}

/// Whether a time lies near a fault.
fn near(spans: &[(u64, u64)], from: u64, to: u64) -> bool {
    spans.iter().any(|&(begun, ended)| from <= ended && begun <= to)
}
