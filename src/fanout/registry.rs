//! All connections of this node, by user, and the node's coarse clock.
//!
//! A revocation looks here for the sockets it concerns. A connection is registered before its session is checked for
//! the last time, so that a revocation between the two finds either the link or a session that has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::link::Link;
use super::traffic::Traffic;
use crate::model::{ConnectionId, UserId};

/// All connections of this node.
#[derive(Debug, Default)]
pub struct Registry {
    links: Mutex<BTreeMap<(UserId, ConnectionId), Arc<Link>>>,
    seconds: AtomicU32,
    traffic: Arc<Traffic>,
}

impl Registry {
    /// No connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connection.
    pub fn add(&self, link: Arc<Link>) {
        let key = (link.identity().author.id, link.identity().connection);
        self.links.lock().insert(key, link);
    }

    /// Removes a connection, and counts what it ended with.
    pub fn remove(&self, link: &Link) {
        let key = (link.identity().author.id, link.identity().connection);
        if self.links.lock().remove(&key).is_some() {
            self.traffic.ended(link.ended_with());
        }
    }

    /// What all connections have taken since the start.
    #[must_use]
    pub const fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// A user's connections.
    #[must_use]
    pub fn of_user(&self, user: UserId) -> Vec<Arc<Link>> {
        let least = ConnectionId::from_bytes([0; 16]);
        let greatest = ConnectionId::from_bytes([0xff; 16]);
        self.links
            .lock()
            .range((user, least)..=(user, greatest))
            .map(|(_, link)| Arc::clone(link))
            .collect()
    }

    /// Every connection.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Link>> {
        self.links.lock().values().cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.lock().len()
    }

    /// How many people have one.
    #[must_use]
    pub fn people(&self) -> usize {
        let links = self.links.lock();
        let mut last = None;
        links
            .keys()
            .filter(|(user, _)| last.replace(*user) != Some(*user))
            .count()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Seconds since the node started, as of the last sweep: cheap enough for every read.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.seconds.load(Ordering::Relaxed)
    }

    /// Sets the coarse clock; the sweep calls this once a second.
    pub fn set_seconds(&self, seconds: u32) {
        self.seconds.store(seconds, Ordering::Relaxed);
    }
}
