//! Connections that have nothing to do: they are no tasks, and what only the sweep notices still reaches them.

use std::sync::Arc;

use natter::limits;
use natter::model::ConnectionId;
use natter::presence::local::LocalPresence;
use natter::wire::close::CloseCode;

use crate::ground::{Ground, Switches};
use crate::node::Node;
use crate::pipe::{PersonEnd, first_frame, pipe};

/// How long a step is, in milliseconds.
const STEP: u64 = 25;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// A node, and its clients.
struct Stage {
    ground: Arc<Ground>,
    node: Node,
}

impl Stage {
    fn new() -> Self {
        let ground = Arc::new(Ground::new(3, Switches::default()));
        let node = Node::start(&ground, 0, &LocalPresence::new(), 0);
        Self { ground, node }
    }

    /// So many sockets of one person.
    fn open(&self, count: usize) -> Vec<PersonEnd> {
        let session = {
            let mut accounts = self.ground.accounts.lock();
            let ann = accounts.user(self.ground.bytes(), "ann");
            accounts.log_in(ann.id, self.ground.bytes())
        };
        let one = |_| {
            let (end, own) = pipe();
            let connection = ConnectionId::from_bytes(self.ground.bytes());
            self.node.open(session.clone(), end, connection, false);
            own
        };
        (0..count).map(one).collect()
    }

    fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 1_000 / STEP {
            let now = self.ground.now() + STEP;
            self.ground.set_now(now);
            self.ground.net.lock().deliver(now);
            self.ground.data.lock().land(now, |_| true);
            self.node.run_until(now + STEP);
        }
    }
}

/// The frames that have come, and whether more can.
fn taken(own: &PersonEnd) -> (Vec<(u8, Vec<u8>)>, bool) {
    let mut bytes = Vec::new();
    let ended = own.take(&mut bytes);
    let frames = std::iter::from_fn(|| first_frame(&mut bytes)).collect();
    assert!(bytes.is_empty(), "half a frame");
    (frames, ended)
}

fn count(frames: &[(u8, Vec<u8>)], opcode: u8) -> usize {
    frames.iter().filter(|(of, _)| *of == opcode).count()
}

#[test]
fn idle_connections_are_no_tasks_and_are_ended_all_the_same() {
    let stage = Stage::new();
    let first = stage.open(1);
    stage.pass(5);
    let before = stage.node.tasks();
    let mut sockets = stage.open(40);
    stage.pass(5);
    assert_eq!(stage.node.tasks(), before, "none of 40 more is a task");
    sockets.extend(first);
    for own in &sockets {
        let (frames, ended) = taken(own);
        assert!(count(&frames, TEXT) > 0 && !ended, "it is open");
    }
    // Those who say something go on, and are answered.
    let (silent, talking) = sockets.split_at(20);
    let patience = limits::SILENCE_MAX.as_secs() + limits::PING_INTERVAL.as_secs();
    let (mut pings, mut answers) = (0, 0);
    for _ in 0..patience / 5 + 1 {
        stage.pass(5);
        for own in talking {
            own.say(r#"{"type":"ping"}"#);
        }
        stage.pass(1);
        for own in talking {
            let (frames, ended) = taken(own);
            assert!(!ended, "it is heard");
            pings += count(&frames, PING);
            answers += count(&frames, TEXT);
        }
    }
    assert!(pings >= talking.len(), "each is asked whether it is there");
    assert!(answers >= talking.len(), "each is answered");
    // Nobody told the server that these are gone.
    for own in silent {
        let (frames, ended) = taken(own);
        assert!(ended && count(&frames, PING) > 0);
        let code = CloseCode::NoAnswer.code().to_be_bytes();
        assert!(
            matches!(frames.last(), Some((CLOSE, payload)) if payload.starts_with(&code)),
            "{frames:?}"
        );
    }
    let registry = stage.node.registry();
    assert_eq!(registry.len(), talking.len());
    let ended: Vec<_> = registry.traffic().closed().filter(|(_, count)| *count > 0).collect();
    assert_eq!(ended, [("no_answer", silent.len() as u64)], "each is counted once");
    // Who goes without a word is noticed at once.
    let gone = talking.len() as u64;
    drop(sockets);
    stage.pass(1);
    assert!(registry.is_empty());
    assert!(registry.traffic().closed().any(|closed| closed == ("gone", gone)));
    assert!(stage.node.tasks() <= before, "and nothing is left of them");
}
