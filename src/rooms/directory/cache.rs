//! A bounded map of what the store said, safe against fills that were overtaken by a change.
//!
//! A reader takes a [`Ticket`] before it asks the store and hands it back with the answer. If the key was forgotten in
//! between, the answer may describe the time before the change, so it is used once and not kept. Tickets compare a
//! generation that a few hundred keys share: a false alarm only costs one more read.
//!
//! Nothing says "does not exist" here: what is missing is asked again, so that a new name is seen at once.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::dense::DenseMap;

/// Generations that the keys of one cache share.
const GENERATIONS: usize = 256;

/// Proof of what was known when a read of the store began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    slot: usize,
    generation: u64,
}

/// The map. When its young half is full it becomes the old one, and what the old half still held is dropped, so the
/// keys in use stay and the bound holds without a list of uses.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    hasher: RandomState,
    half: usize,
    inner: Mutex<Inner<K, V>>,
    lookups: AtomicU64,
    hits: AtomicU64,
}

#[derive(Debug)]
struct Inner<K, V> {
    young: DenseMap<K, V>,
    old: DenseMap<K, V>,
    generations: Box<[u64; GENERATIONS]>,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// A cache of at most `entries` entries.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            half: (entries / 2).max(1),
            inner: Mutex::new(Inner {
                young: DenseMap::default(),
                old: DenseMap::default(),
                generations: Box::new([0; GENERATIONS]),
            }),
            lookups: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }
    }

    fn slot(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key) % GENERATIONS as u64).unwrap_or_default()
    }

    /// What is known of the key.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let found = self.look(key);
        if found.is_some() {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// How often it was asked, and how often it knew.
    pub(super) fn asked(&self) -> (u64, u64) {
        let hits = self.hits.load(Ordering::Relaxed);
        (self.lookups.load(Ordering::Relaxed), hits)
    }

    fn look(&self, key: &K) -> Option<V> {
        let mut inner = self.inner.lock();
        if let Some(value) = inner.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = inner.old.remove(key)?;
        self.put(&mut inner, key, value.clone());
        Some(value)
    }

    /// To be taken before the store is read.
    pub(super) fn ticket(&self, key: &K) -> Ticket {
        let slot = self.slot(key);
        Ticket {
            slot,
            generation: self.inner.lock().generations[slot],
        }
    }

    /// Whether the key was not forgotten since the ticket was taken.
    pub(super) fn is_current(&self, ticket: &Ticket) -> bool {
        self.inner.lock().generations[ticket.slot] == ticket.generation
    }

    /// Keeps what the store said, unless the key was forgotten since the ticket was taken.
    pub(super) fn fill(&self, ticket: Ticket, key: K, value: V) {
        let mut inner = self.inner.lock();
        if inner.generations[ticket.slot] == ticket.generation {
            self.put(&mut inner, key, value);
        }
    }

    fn put(&self, inner: &mut Inner<K, V>, key: K, value: V) {
        if inner.young.len() >= self.half {
            inner.old = std::mem::take(&mut inner.young);
        }
        inner.young.insert(key, value);
    }

    /// Drops what is known of the key, and every fill of it that is under way.
    pub(super) fn forget(&self, key: &K) {
        let slot = self.slot(key);
        let mut inner = self.inner.lock();
        inner.generations[slot] += 1;
        inner.young.remove(key);
        inner.old.remove(key);
    }

    /// Drops everything whose key fits, and every fill that is under way.
    pub(super) fn forget_where(&self, fits: impl Fn(&K, &V) -> bool) {
        let mut inner = self.inner.lock();
        for generation in inner.generations.iter_mut() {
            *generation += 1;
        }
        inner.young.retain(|key, value| !fits(key, value));
        inner.old.retain(|key, value| !fits(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_that_was_overtaken_is_thrown_away() {
        let cache = Cache::new(8);
        let ticket = cache.ticket(&1);
        cache.forget(&1);
        cache.fill(ticket, 1, "old");
        assert_eq!(cache.get(&1), None);
        cache.fill(cache.ticket(&1), 1, "new");
        assert_eq!(cache.get(&1), Some("new"));
        let ticket = cache.ticket(&1);
        cache.forget_where(|_, _| true);
        cache.fill(ticket, 1, "old");
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let cache = Cache::new(8);
        cache.fill(cache.ticket(&0), 0, 0);
        for key in 1..1_000 {
            cache.fill(cache.ticket(&key), key, key);
            assert_eq!(cache.get(&0), Some(0));
            let inner = cache.inner.lock();
            assert!(inner.young.len() + inner.old.len() <= 8);
        }
    }
}
