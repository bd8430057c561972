//! What all of a crowd share, and what others can see of each of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::sync::watch;

use crate::common::User;
use crate::judge::history::Client;
use crate::parting::Parting;
use crate::recorder::Recorder;

/// What a crowd is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// They write.
    Talk,
    /// They only send again what is open.
    Settle,
    /// They stay as they are: it is the end.
    Over,
}

/// Nobody is urged.
const NOWHERE: usize = usize::MAX;

/// What all of a crowd share.
pub struct Ground {
    /// Where everything is written down.
    pub recorder: Arc<Recorder>,
    /// Where the nodes listen now.
    pub nodes: Mutex<Vec<SocketAddr>>,
    /// The room.
    pub room: String,
    /// The room's owner, who kicks people.
    pub owner: Mutex<User>,
    /// The people, by name.
    pub names: Mutex<HashMap<String, Client>>,
    /// What to do.
    pub phase: watch::Sender<Phase>,
    /// Milliseconds between two things that one person does.
    pub pace: Range<u64>,
    /// When somebody came back who had been asked to.
    pub returns: Mutex<Vec<Instant>>,
    /// Whether people are silenced at all: who shares an account would be silenced with the others.
    pub parts: bool,
    /// Whether people may be logged out; else they are only kicked.
    log_outs: AtomicBool,
    /// Everybody on this node is to be kicked at once.
    urged: AtomicUsize,
}

impl Ground {
    /// Where nothing has happened yet.
    pub fn new(nodes: Vec<SocketAddr>, room: String, owner: User, pace: Range<u64>, parts: bool) -> Self {
        Self {
            recorder: Arc::new(Recorder::new()),
            nodes: Mutex::new(nodes),
            room,
            owner: Mutex::new(owner),
            names: Mutex::default(),
            phase: watch::Sender::new(Phase::Settle),
            pace,
            returns: Mutex::default(),
            parts,
            log_outs: AtomicBool::new(true),
            urged: AtomicUsize::new(NOWHERE),
        }
    }

    /// A node, as a load balancer gives one.
    pub fn any_node(&self, random: &mut StdRng) -> (usize, SocketAddr) {
        let nodes = self.nodes.lock();
        let node = random.random_range(0..nodes.len());
        (node, nodes[node])
    }

    /// Says whether people may be logged out.
    pub fn allow_log_outs(&self, allow: bool) {
        self.log_outs.store(allow, Ordering::SeqCst);
    }

    /// Asks for a kick of everybody who is on a node, or of nobody in particular.
    pub fn urge(&self, node: Option<usize>) {
        self.urged.store(node.unwrap_or(NOWHERE), Ordering::SeqCst);
    }

    /// Whether those on a node are to be kicked at once.
    pub fn urged(&self, node: usize) -> bool {
        self.urged.load(Ordering::SeqCst) == node
    }

    /// How somebody on a node is silenced next.
    pub fn parting(&self, node: usize, random: &mut StdRng) -> Parting {
        if random.random_bool(0.5) && self.log_outs.load(Ordering::SeqCst) && !self.urged(node) {
            Parting::LogOut
        } else {
            Parting::Kick
        }
    }
}

/// What one person has, for those who wait until all have everything.
#[derive(Default)]
pub struct Standing {
    /// The messages: text and whether it is deleted, by what attempts at one send have in common.
    pub rows: HashMap<u64, (String, bool)>,
    /// Requests without an answer.
    pub open: usize,
    /// Whether a connection is live, and will be.
    pub live: bool,
    /// How it is being silenced.
    pub parting: Option<Parting>,
}
