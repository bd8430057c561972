//! A map whose entries lie in one array without gaps, found through a table of their places.
//!
//! A usual hash table has room for the whole entry in each of its buckets, and between half and seven eighths of them are
//! in use. Here only a place of four bytes is spread so thinly, and the array grows by an eighth. For the tables that have
//! an entry for each connection or member that is half the memory, and going over all entries reads nothing else.

use std::hash::{BuildHasher as _, Hash, RandomState};

use hashbrown::HashTable;

/// The map.
#[derive(Debug)]
pub struct DenseMap<K, V> {
    places: HashTable<u32>,
    entries: Vec<(K, V)>,
    hasher: RandomState,
}

impl<K, V> Default for DenseMap<K, V> {
    fn default() -> Self {
        Self {
            places: HashTable::new(),
            entries: Vec::new(),
            hasher: RandomState::new(),
        }
    }
}

/// Grows an array that is full by an eighth, in place of doubling it.
pub fn grow<T>(array: &mut Vec<T>) {
    if array.len() == array.capacity() {
        array.reserve_exact((array.len() / 8).max(4));
    }
}

impl<K: Hash + Eq, V> DenseMap<K, V> {
    /// Where the key's entry lies, until an entry is taken out: then the last one takes that one's place.
    #[must_use]
    pub fn place(&self, key: &K) -> Option<u32> {
        let same = |place: &u32| self.entries[*place as usize].0 == *key;
        self.places.find(self.hasher.hash_one(key), same).copied()
    }

    /// The entry at a place.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<&(K, V)> {
        self.entries.get(place as usize)
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the key has an entry.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    /// The key's value.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).map(|place| &self.entries[place as usize].1)
    }

    /// The key's value, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).map(|place| &mut self.entries[place as usize].1)
    }

    /// The key's value, which is put there if there was none.
    pub fn entry(&mut self, key: K, or: impl FnOnce() -> V) -> &mut V {
        let place = match self.place(&key) {
            Some(place) => place as usize,
            None => self.push(key, or()),
        };
        &mut self.entries[place].1
    }

    /// Puts a value in; answers the one that it replaces.
    ///
    /// # Panics
    /// With more entries than four bytes can name.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(place) = self.place(&key) {
            return Some(std::mem::replace(&mut self.entries[place as usize].1, value));
        }
        self.push(key, value);
        None
    }

    fn push(&mut self, key: K, value: V) -> usize {
        let place = self.entries.len();
        let named = u32::try_from(place).unwrap_or_else(|_| unreachable!("bounded maps have fewer entries than 2^32"));
        let Self {
            places,
            entries,
            hasher,
        } = self;
        let hash = |place: &u32| hasher.hash_one(&entries[*place as usize].0);
        places.insert_unique(hasher.hash_one(&key), named, hash);
        grow(entries);
        entries.push((key, value));
        place
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<(K, V)> {
        let same = |place: &u32| self.entries[*place as usize].0 == *key;
        let found = self.places.find_entry(self.hasher.hash_one(key), same).ok()?;
        let place = found.remove().0 as usize;
        let removed = self.entries.swap_remove(place);
        self.moved(self.entries.len(), place);
        Some(removed)
    }

    /// Notes that the entry that stood at one place stands at another one now.
    fn moved(&mut self, from: usize, to: usize) {
        if let Some((key, _)) = self.entries.get(to) {
            let hash = self.hasher.hash_one(key);
            if let Some(place) = self.places.find_mut(hash, |place| *place as usize == from) {
                *place = u32::try_from(to).unwrap_or(*place);
            }
        }
    }

    /// Keeps the entries that pass.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
        self.places.clear();
        let Self {
            places,
            entries,
            hasher,
        } = self;
        for (place, (key, _)) in (0_u32..).zip(entries.iter()) {
            let hash = |place: &u32| hasher.hash_one(&entries[*place as usize].0);
            places.insert_unique(hasher.hash_one(key), place, hash);
        }
    }

    /// All entries, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u8, u16),
        Entry(u8, u16),
        Remove(u8),
        Retain(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Entry(key, value)),
            4 => any::<u8>().prop_map(Step::Remove),
            1 => any::<u8>().prop_map(Step::Retain),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec(step(), 1..400)) {
            let (mut map, mut model) = (DenseMap::default(), HashMap::new());
            for step in steps {
                match step {
                    Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    Step::Entry(key, value) => {
                        prop_assert_eq!(*map.entry(key, || value), *model.entry(key).or_insert(value));
                    }
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove_entry(&key)),
                    Step::Retain(divisor) => {
                        let keep = |key: &u8, value: &mut u16| {
                            *value = value.wrapping_add(1);
                            !key.is_multiple_of(divisor % 7 + 2)
                        };
                        map.retain(keep);
                        model.retain(|key, value| keep(key, value));
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
                for key in 0..=u8::MAX {
                    prop_assert_eq!(map.get(&key), model.get(&key));
                }
                prop_assert!(map.iter().all(|(key, value)| model.get(key) == Some(value)));
            }
        }
    }

    #[test]
    fn the_array_grows_by_an_eighth() {
        let mut map = DenseMap::default();
        for key in 0..10_000_u32 {
            map.insert(key, key);
        }
        assert!(map.entries.capacity() <= 10_000 + 10_000 / 8);
    }
}
