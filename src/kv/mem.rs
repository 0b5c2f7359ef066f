//! The reference store: a persistent map in memory.

use super::{Error, Key, KeyRange, KvRead, KvStore, MapWalk, Op, Value, WriteBatch};
use crate::sync::{Mutex, RwLock};
use im::OrdMap;

/// A store in memory. Snapshots are O(1) and never wait for more than the swap of a pointer; a commit copies only the
/// paths it changes. Nothing is durable.
///
/// ```
/// use cachekv::kv::{KvRead, KvStore, MemStore, WriteBatch};
/// # fn main() -> Result<(), cachekv::kv::Error> {
/// let store = MemStore::from_iter([("a", 1), ("b", 2)]);
/// let before = store.snapshot()?;
/// let mut batch = WriteBatch::new();
/// batch.delete("a");
/// store.commit(batch)?;
/// assert_eq!(before.get(&"a")?, Some(1));
/// assert_eq!(store.snapshot()?.get(&"a")?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemStore<K: Key, V: Value> {
    /// Held for the swap of a map, never while a batch is applied.
    state: RwLock<MemSnapshot<K, V>>,
    /// One commit at a time; readers do not take it.
    commit: Mutex<()>,
}

/// A state of a [`MemStore`]; cloning it is O(1).
#[derive(Clone, Debug)]
pub struct MemSnapshot<K: Key, V: Value> {
    map: OrdMap<K, V>,
}

impl<K: Key, V: Value> MemStore<K, V> {
    /// A store without keys.
    pub fn new() -> Self {
        Self::from(OrdMap::new())
    }
}

impl<K: Key, V: Value> From<OrdMap<K, V>> for MemStore<K, V> {
    fn from(map: OrdMap<K, V>) -> Self {
        Self { state: RwLock::new(MemSnapshot { map }), commit: Mutex::new(()) }
    }
}

impl<K: Key, V: Value> FromIterator<(K, V)> for MemStore<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::from(entries.into_iter().collect::<OrdMap<_, _>>())
    }
}

impl<K: Key, V: Value> Default for MemStore<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key, V: Value> KvStore for MemStore<K, V> {
    type Key = K;
    type Value = V;
    type Snapshot = MemSnapshot<K, V>;

    fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        Ok(self.state.read().clone())
    }

    fn commit(&self, batch: WriteBatch<K, V>) -> Result<Self::Snapshot, Error> {
        let _one = self.commit.lock(); // so that no commit is lost between the clone and the swap
        let mut next = self.state.read().clone();
        for (key, op) in batch {
            match op {
                Op::Put(value) => next.map.insert(key, value),
                Op::Delete => next.map.remove(&key),
            };
        }
        // The old map is dropped after the lock is released: it may be the last reference to many nodes.
        let _old = std::mem::replace(&mut *self.state.write(), next.clone());
        Ok(next)
    }
}

impl<K: Key, V: Value> KvRead for MemSnapshot<K, V> {
    type Key = K;
    type Value = V;
    type Iter = MemIter<K, V>;
    type Root = Self;

    fn get(&self, key: &K) -> Result<Option<V>, Error> {
        Ok(self.map.get(key).cloned())
    }

    fn contains(&self, key: &K) -> Result<bool, Error> {
        Ok(self.map.contains_key(key))
    }

    fn scan(&self, range: KeyRange<K>) -> MemIter<K, V> {
        MemIter(MapWalk::new(&self.map, range))
    }

    fn root(&self) -> &Self {
        self
    }
}

/// The entries of a range of a [`MemSnapshot`]; owns the map it walks.
#[derive(Debug)]
pub struct MemIter<K: Key, V: Value>(MapWalk<K, V>);

impl<K: Key, V: Value> Iterator for MemIter<K, V> {
    type Item = Result<(K, V), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Ok)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K: Key, V: Value> DoubleEndedIterator for MemIter<K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(Ok)
    }
}
