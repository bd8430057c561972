//! All connections of this node, by user and by place, and the node's coarse clock.
//!
//! A revocation looks here for the sockets it concerns. A connection is registered before its session is checked for
//! the last time, so that a revocation between the two finds either the link or a session that has ended.
//!
//! The connections lie in one dense array. A connection's place in it is what the kernel names when its socket has
//! become ready (see [`Readiness`]), and those of one user are chained through their places, so each costs 16 bytes here
//! and a few more in the table of users. A connection that has ended keeps its place, uncounted, until its task has
//! heard the last of its socket.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Found;
use parking_lot::Mutex;
use slab::Slab;

use super::link::Link;
use super::readiness::{Readiness, Selector};
use super::traffic::Traffic;
use crate::model::UserId;

/// No connection of the same user on this side.
const NONE: u32 = u32::MAX;
/// In place of the one before: the connection has ended.
const ENDED: u32 = u32::MAX - 1;

/// A connection, and its neighbours among those of the same user.
#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    before: u32,
    after: u32,
}

impl Entry {
    fn user(&self) -> UserId {
        self.link.identity().author.id
    }
}

#[derive(Debug, Default)]
struct Table {
    entries: Slab<Entry>,
    /// The first connection of each user.
    users: HashTable<u32>,
    hasher: RandomState,
    /// How many have not ended.
    open: usize,
}

impl Table {
    fn user_of(entries: &Slab<Entry>, place: u32) -> Option<UserId> {
        entries.get(place as usize).map(Entry::user)
    }

    /// Adds a connection; `None` if there are more than places can name.
    fn add(&mut self, link: Arc<Link>) -> Option<u32> {
        let user = link.identity().author.id;
        let place = u32::try_from(self.entries.vacant_key())
            .ok()
            .filter(|place| *place < ENDED)?;
        let Self {
            entries, users, hasher, ..
        } = self;
        let same = |other: &u32| Self::user_of(entries, *other) == Some(user);
        let hash = |other: &u32| hasher.hash_one(Self::user_of(entries, *other));
        let after = match users.entry(hasher.hash_one(Some(user)), same, hash) {
            Found::Occupied(mut first) => std::mem::replace(first.get_mut(), place),
            Found::Vacant(none) => {
                none.insert(place);
                NONE
            }
        };
        if let Some(next) = entries.get_mut(after as usize) {
            next.before = place;
        }
        entries.insert(Entry {
            link,
            before: NONE,
            after,
        });
        self.open += 1;
        Some(place)
    }

    /// The place of a connection that is here.
    fn place_of(&self, link: &Link) -> Option<u32> {
        let place = link.place();
        let entry = self.entries.get(place as usize)?;
        std::ptr::eq(Arc::as_ptr(&entry.link), link).then_some(place)
    }

    /// Takes a connection out of its user's; false if it was not among them.
    fn end(&mut self, place: u32) -> bool {
        let Some(entry) = self
            .entries
            .get_mut(place as usize)
            .filter(|entry| entry.before != ENDED)
        else {
            return false;
        };
        let (user, before, after) = (entry.user(), entry.before, entry.after);
        entry.before = ENDED;
        if let Some(next) = self.entries.get_mut(after as usize) {
            next.before = before;
        }
        if let Some(previous) = self.entries.get_mut(before as usize) {
            previous.after = after;
        } else if let Ok(mut first) = self
            .users
            .find_entry(self.hasher.hash_one(Some(user)), |first| *first == place)
        {
            if after == NONE {
                first.remove();
            } else {
                *first.get_mut() = after;
            }
        }
        self.open -= 1;
        true
    }

    fn first_of(&self, user: UserId) -> Option<&u32> {
        let same = |first: &u32| Self::user_of(&self.entries, *first) == Some(user);
        self.users.find(self.hasher.hash_one(Some(user)), same)
    }
}

/// All connections of this node.
#[derive(Debug, Default)]
pub struct Registry {
    table: Mutex<Table>,
    selector: Selector,
    seconds: AtomicU32,
    traffic: Arc<Traffic>,
}

impl Registry {
    /// No connections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What wakes connections whose sockets have become ready. It has to be there before the first connection over a
    /// socket is, and has to run for as long as there are any.
    ///
    /// # Errors
    /// What the system says; or that it runs already.
    pub fn readiness(self: &Arc<Self>) -> io::Result<Readiness> {
        Readiness::new(Arc::clone(self), &self.selector)
    }

    /// Adds a connection, and has its socket watched.
    ///
    /// # Errors
    /// The system can't watch another socket; or nobody asked for [`Registry::readiness`].
    pub fn add(&self, link: &Arc<Link>) -> io::Result<()> {
        let table = &mut *self.table.lock();
        let place = table.add(Arc::clone(link));
        let place = place.ok_or_else(|| io::Error::other("more connections than can be named"))?;
        link.set_place(place);
        self.selector.watch(link, place).inspect_err(|_| {
            table.end(place);
            table.entries.remove(place as usize);
        })
    }

    /// Ends a connection: it is found no more, and what it ended with is counted. Its socket is still watched until
    /// [`Registry::release`].
    pub fn remove(&self, link: &Link) {
        self.end(&mut self.table.lock(), link);
    }

    /// Lets go of a connection, which is ended if it was not.
    pub fn release(&self, link: &Link) {
        let table = &mut *self.table.lock();
        if let Some(place) = self.end(table, link) {
            table.entries.remove(place as usize);
        }
    }

    /// Each connection is counted once, however often it is ended.
    fn end(&self, table: &mut Table, link: &Link) -> Option<u32> {
        let place = table.place_of(link)?;
        if table.end(place) {
            self.traffic.ended(link.ended_with());
        }
        Some(place)
    }

    /// Lets go of all connections that rest, without a word, as the end of a runtime does with those that run: there is
    /// nobody any more who would wake them, and what a resting connection waits with is held by its own link.
    pub fn abandon(&self) {
        let links: Vec<_> = {
            let table = self.table.lock();
            table.entries.iter().map(|(_, entry)| Arc::clone(&entry.link)).collect()
        };
        for link in links {
            link.forget_waker();
        }
    }

    /// Adds the connections at these places, with what their sockets are ready for.
    pub(super) fn found<T>(&self, places: impl Iterator<Item = (usize, T)>, found: &mut Vec<(Arc<Link>, T)>) {
        let table = self.table.lock();
        found.extend(places.filter_map(|(place, ready)| {
            let entry = table.entries.get(place)?;
            Some((Arc::clone(&entry.link), ready))
        }));
    }

    /// What all connections have taken since the start.
    #[must_use]
    pub const fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// A user's connections.
    #[must_use]
    pub fn of_user(&self, user: UserId) -> Vec<Arc<Link>> {
        let table = self.table.lock();
        let at = |place: u32| table.entries.get(place as usize);
        let first = table.first_of(user).and_then(|first| at(*first));
        std::iter::successors(first, |entry| at(entry.after))
            .map(|entry| Arc::clone(&entry.link))
            .collect()
    }

    /// Every connection.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Link>> {
        let table = self.table.lock();
        let mut all = Vec::with_capacity(table.open);
        let open = table.entries.iter().filter(|(_, entry)| entry.before != ENDED);
        all.extend(open.map(|(_, entry)| Arc::clone(&entry.link)));
        all
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().open
    }

    /// How many people have one.
    #[must_use]
    pub fn people(&self) -> usize {
        self.table.lock().users.len()
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

#[cfg(test)]
mod tests;
