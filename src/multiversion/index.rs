//! The hash index of a block's slots: point reads and writes find their slot here.

use super::slot::Slot;
use crate::kv::{Key, Value};
use crate::sync::{Arc, RwLock};
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Enough that two dozen threads seldom meet in one; a power of two.
const SHARDS: usize = if cfg!(any(kv_loom, kv_shuttle)) { 4 } else { 64 };

/// Seeded, where keys may come from somebody who wants them to collide. A schedule that is to be repeated needs the same
/// shards again.
#[cfg(not(any(kv_loom, kv_shuttle)))]
type Hasher = foldhash::fast::RandomState;
#[cfg(any(kv_loom, kv_shuttle))]
type Hasher = foldhash::fast::FixedState;

/// Key → slot, in shards of their own locks. A key is hashed once a look-up: some bits choose the shard, the table uses
/// the others. Own code because a model checker must see its locks; the table itself is hashbrown's.
#[derive(Debug)]
pub(crate) struct Index<K, V, O> {
    hasher: Hasher,
    shards: Box<[Shard<K, V, O>]>,
}

type Shard<K, V, O> = RwLock<HashTable<Arc<Slot<K, V, O>>>>;

impl<K: Key, V: Value, O: Clone> Index<K, V, O> {
    pub(crate) fn new() -> Self {
        Self { hasher: Hasher::default(), shards: (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect() }
    }

    /// The slot of `key`, made if it is not there: everybody gets the same one.
    pub(crate) fn slot(&self, key: &K) -> Arc<Slot<K, V, O>> {
        let hash = self.hasher.hash_one(key);
        // The table takes the lowest and the highest bits; the shard is chosen by others. The mask keeps it in bounds.
        #[expect(clippy::indexing_slicing, reason = "masked by the number of shards")]
        let shard = &self.shards[(hash >> 32) as usize & (SHARDS - 1)];
        if let Some(slot) = shard.read().find(hash, |slot| slot.key() == key) {
            return Arc::clone(slot);
        }
        let mut table = shard.write();
        let entry = table.entry(hash, |slot| slot.key() == key, |slot| self.hasher.hash_one(slot.key()));
        Arc::clone(entry.or_insert_with(|| Arc::new(Slot::new(key.clone()))).get())
    }
}
